//! Whether the keys are being saved and when they were last: what SAVE, BGSAVE and INFO know.

use core::time::Duration;

use slotway_protocol::engine::{ConnectionId, Instant, Now};

use crate::config::SavePoint;

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
    /// When one began last, whatever came of it.
    pub(crate) last_try: Option<Instant>,
    last_id: u64,
}

/// Tells the notices and events of one save from those of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SaveId(u64);

/// What all keys are written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SaveTarget {
    /// The file with all keys.
    File,
    /// The base of the append-only file.
    AofBase,
}

/// A save that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: SaveId,
    pub(crate) target: SaveTarget,
    pub(crate) began: Instant,
    pub(crate) changes: u64,
    /// The driver knows of it.
    pub(crate) announced: bool,
    /// It has all bytes.
    pub(crate) complete: bool,
    pub(crate) waiters: Vec<Waiter>,
}

/// Who waits for the end of a save.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Waiter {
    /// A client that gets its reply then.
    Client(ConnectionId),
    /// The node is to end after it.
    End,
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
    pub(crate) fn begin(
        &mut self,
        target: SaveTarget,
        began: Instant,
        changes: u64,
        waiter: Option<Waiter>,
    ) {
        self.last_id += 1;
        if target == SaveTarget::File {
            self.scheduled = false;
            self.last_try = Some(began);
        }
        let running = self.running.take();
        let mut waiters = running.map(|running| running.waiters).unwrap_or_default();
        waiters.extend(waiter);
        self.running = Some(Running {
            id: SaveId(self.last_id),
            target,
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

    /// The save point that says that it is time to save, if one does. After a failure that is not
    /// so at once again.
    pub(crate) fn due<'a>(
        &self,
        points: &'a [SavePoint],
        changes: u64,
        now: Now,
    ) -> Option<&'a SavePoint> {
        let changed = changes.saturating_sub(self.saved_changes);
        let seconds = (now.unix_ms / 1_000).saturating_sub(self.last_at);
        let is_soon = |last: Instant| now.instant.since(last) <= RETRY_INTERVAL;
        if self.last_failed && self.last_try.is_some_and(is_soon) {
            return None;
        }
        let mut points = points.iter();
        points.find(|point| changed >= point.changes && seconds > point.seconds)
    }

    pub(crate) fn is_running(&self, id: SaveId) -> bool {
        self.running
            .as_ref()
            .is_some_and(|running| running.id == id)
    }

    /// The save that is under way, if it is for that.
    pub(crate) fn running_for(&self, target: SaveTarget) -> Option<&Running> {
        let running = self.running.as_ref();
        running.filter(|running| running.target == target)
    }
}

/// After a save that failed, the next one that no client asks for is not before this.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_is_due_once_there_are_enough_changes_after_enough_time() {
        let at = |seconds: u64| Now {
            instant: Instant::from_micros(seconds * 1_000_000),
            unix_ms: 1_700_000_000_000 + seconds * 1_000,
        };
        let points = [(900, 1), (60, 100)].map(|(seconds, changes)| SavePoint { seconds, changes });
        let mut saving = Saving::new(at(0));
        for (changes, seconds, expected) in [
            (0, 10_000, None),
            (1, 900, None),
            (1, 901, Some(900)),
            (99, 61, None),
            (100, 60, None),
            (100, 61, Some(60)),
        ] {
            let due = saving.due(&points, changes, at(seconds));
            assert_eq!(due.map(|point| point.seconds), expected, "{changes}");
        }
        saving.begin(SaveTarget::File, at(70).instant, 100, None);
        saving.end(false, at(71));
        assert!(saving.due(&points, 100, at(75)).is_none(), "not at once");
        assert!(saving.due(&points, 100, at(76)).is_some());
        saving.begin(SaveTarget::File, at(80).instant, 100, None);
        saving.end(true, at(81));
        assert!(
            saving.due(&points, 199, at(200)).is_none(),
            "saved meanwhile"
        );
    }
}
