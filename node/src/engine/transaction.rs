//! MULTI and WATCH: what a client has queued, and whether it may still be executed.

use bytes::Bytes;
use slotway_protocol::command::Command;
use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

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

impl Queued {
    /// Finds the arguments again.
    pub(crate) fn parse(&self) -> RequestBuffers {
        let mut buffers = RequestBuffers::default();
        let limits = RequestLimits {
            bulk_bytes_max: u64::from(u32::MAX),
            ..RequestLimits::default()
        };
        let scanned = RequestScanner::default().scan(&self.frame, &limits, &mut buffers);
        assert!(
            matches!(scanned, Ok(Scan::Request { .. })),
            "a request is queued only after it was read once"
        );
        buffers
    }
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
