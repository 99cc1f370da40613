//! MULTI and WATCH: what a client has queued, and whether it may still be executed.

use bytes::Bytes;
use slotway_protocol::command::Command;

/// A client's transaction, and the keys it watches for it.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// What was queued since MULTI, in order; `None` outside of one.
    pub(crate) queue: Option<Vec<Queued>>,
    /// A command could not be queued, so EXEC refuses.
    pub(crate) broken: bool,
    /// A watched key was changed, so EXEC does nothing.
    pub(crate) disturbed: bool,
    pub(crate) watched: Vec<WatchedKey>,
}

/// A request that waits for EXEC.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) command: &'static Command,
    /// An array of bulk strings.
    pub(crate) frame: Bytes,
}

/// A key that is watched.
#[derive(Debug)]
pub(crate) struct WatchedKey {
    pub(crate) database: u32,
    pub(crate) key: Box<[u8]>,
    /// It was there; when it has expired by the time of EXEC, that counts as a change.
    pub(crate) was_there: bool,
}

impl Transaction {
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.queue.is_some()
    }
}
