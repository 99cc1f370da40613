//! Whether the keys are being saved and when they were last: what SAVE, BGSAVE and INFO know.

use slotway_protocol::engine::{ConnectionId, Instant, Now};

/// What a node knows of its file.
#[derive(Debug, Default)]
pub(crate) struct Saving {
    /// Whether the driver writes files.
    pub(crate) has_files: bool,
    /// Unix time in seconds.
    pub(crate) last_at: u64,
    pub(crate) last_failed: bool,
    /// How long the last one took; `None` before the first.
    pub(crate) last_seconds: Option<u64>,
    /// How many succeeded.
    pub(crate) count: u64,
    /// How many changes the keyspace counted when the last one that succeeded began.
    pub(crate) saved_changes: u64,
    /// One is to begin soon.
    pub(crate) scheduled: bool,
    pub(crate) running: Option<Running>,
    last_id: u64,
}

/// Tells the notices and events of one save from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveId(u64);

/// A save that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: SaveId,
    pub(crate) began: Instant,
    pub(crate) changes: u64,
    /// The driver knows of it.
    pub(crate) announced: bool,
    /// It has all bytes.
    pub(crate) complete: bool,
    pub(crate) waiters: Vec<Waiter>,
}

/// A client that gets its reply when the save is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) connection: ConnectionId,
    /// It asked for SHUTDOWN SAVE.
    pub(crate) shuts_down: bool,
}

impl Saving {
    pub(crate) fn new(started: Now) -> Self {
        Self {
            last_at: started.unix_ms / 1_000,
            ..Self::default()
        }
    }

    /// Begins a save in the place of the one that is under way, if there is one. Who waited for
    /// that waits for this.
    pub(crate) fn begin(&mut self, began: Instant, changes: u64, waiter: Option<Waiter>) {
        self.last_id += 1;
        self.scheduled = false;
        let running = self.running.take();
        let mut waiters = running.map(|running| running.waiters).unwrap_or_default();
        waiters.extend(waiter);
        self.running = Some(Running {
            id: SaveId(self.last_id),
            began,
            changes,
            announced: false,
            complete: false,
            waiters,
        });
    }

    /// Ends the save that is under way; who waits for it is returned.
    pub(crate) fn end(&mut self, succeeded: bool, now: Now) -> Vec<Waiter> {
        let Some(running) = self.running.take() else {
            return Vec::new();
        };
        self.last_failed = !succeeded;
        self.last_seconds = Some(now.instant.since(running.began).as_secs());
        if succeeded {
            self.last_at = now.unix_ms / 1_000;
            self.count += 1;
            self.saved_changes = running.changes;
        }
        running.waiters
    }

    pub(crate) fn is_running(&self, id: SaveId) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.id == id)
    }
}
