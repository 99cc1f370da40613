//! What is known of the append-only file: how far it has come, and whether it can be trusted. The
//! bytes themselves are written by a driver.

use slotway_protocol::engine::{Instant, Now};

use super::rewriting::Rewriting;

/// The append-only file. Positions count the bytes that writes have produced since the start.
#[derive(Debug, Default)]
pub(crate) struct AppendLog {
    pub(crate) state: LogState,
    /// What was produced and not handed to the driver.
    pending: Vec<u8>,
    produced: u64,
    /// The driver has written up to here, and up to there it is on the disk.
    written: u64,
    synced: u64,
    /// How many times bytes were handed over and not answered yet.
    in_flight: u32,
    /// What the driver has been asked to bring to the disk besides, since when, and up to where.
    syncing: Option<(Instant, u64)>,
    last_sync: Option<Instant>,
    /// Why it can't be written now.
    failure: Option<LogFailure>,
    /// What the disk was told to keep while it has lost something before that.
    synced_in_vain: u64,
    /// From here on there is a new file beside the old ones, and the disk has lost nothing since.
    rewritten_from: Option<u64>,
    /// How long all its files are, and how long they were after the last rewrite.
    pub(crate) current_bytes: u64,
    pub(crate) base_bytes: u64,
    pub(crate) delayed_syncs: u64,
    /// How often more was to wait than may.
    pub(crate) buffer_limit_hits: u64,
    /// The second of the last annotation.
    annotated: u64,
    pub(crate) rewriting: Rewriting,
}

/// Whether there is a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogState {
    #[default]
    Off,
    /// Writes are collected in a file that counts once all keys before them are saved.
    Starting,
    On,
}

/// Why writes are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
enum LogFailure {
    /// The driver could not write, and tries again.
    Write(String),
    /// The disk has lost what was written. Only a rewrite makes good for that.
    Sync(String),
    /// More waits than may.
    Full,
}

impl AppendLog {
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.state != LogState::Off
    }

    /// Takes what writes have produced; with `annotate` the time comes before it.
    pub(crate) fn push(&mut self, bytes: &[u8], annotate: bool, bytes_max: u64, now: Now) {
        if annotate && self.annotated < now.unix_ms / 1_000 {
            self.annotated = now.unix_ms / 1_000;
            let line = format!("#TS:{}\r\n", self.annotated);
            self.produced += line.len() as u64;
            self.pending.extend_from_slice(line.as_bytes());
        }
        self.produced += bytes.len() as u64;
        self.pending.extend_from_slice(bytes);
        if self.buffer_len() > bytes_max && self.failure.is_none() {
            self.buffer_limit_hits += 1;
            self.failure = Some(LogFailure::Full);
        }
    }

    /// What is to be handed over now. Unless all of it has to, it is no more at a time than what
    /// comes together while the driver writes.
    pub(crate) fn take(&mut self, all: bool) -> Option<Vec<u8>> {
        if self.pending.is_empty() || (self.in_flight > 0 && !all) {
            return None;
        }
        self.in_flight += 1;
        Some(std::mem::take(&mut self.pending))
    }

    /// The driver has written bytes that were handed over in so many pieces, and brought them to
    /// the disk or not.
    pub(crate) fn note_written(&mut self, pieces: u32, bytes: u64, synced: bool) {
        self.in_flight = self.in_flight.saturating_sub(pieces);
        self.written += bytes;
        self.current_bytes += bytes;
        if synced && self.needs_rewrite() {
            self.synced_in_vain = self.written;
        } else if synced {
            self.synced = self.written;
        }
        if !matches!(self.failure, Some(LogFailure::Sync(_))) {
            self.failure = None;
        }
    }

    pub(crate) fn note_write_failed(&mut self, reason: String) {
        if !matches!(self.failure, Some(LogFailure::Sync(_))) {
            self.failure = Some(LogFailure::Write(reason));
        }
    }

    /// Whether it is time to bring what was written to the disk; if so, the driver is to be asked.
    pub(crate) fn begin_sync(&mut self, now: Instant) -> bool {
        let is_due = |last: Instant| now.since(last) >= SYNC_INTERVAL;
        if self.synced == self.written || !self.last_sync.is_none_or(is_due) {
            return false;
        }
        self.last_sync = Some(now);
        if let Some((since, _)) = self.syncing {
            self.delayed_syncs += u64::from(now.since(since) >= SYNC_INTERVAL * 2);
            return false;
        }
        self.syncing = Some((now, self.written));
        true
    }

    pub(crate) fn note_synced(&mut self) {
        if let Some((_, position)) = self.syncing.take() {
            if self.needs_rewrite() {
                self.synced_in_vain = self.synced_in_vain.max(position);
            } else {
                self.synced = self.synced.max(position);
            }
        }
    }

    pub(crate) fn note_sync_failed(&mut self, reason: String) {
        self.syncing = None;
        self.synced_in_vain = 0;
        self.rewritten_from = None;
        self.failure = Some(LogFailure::Sync(reason));
    }

    /// All that is produced from now on goes to a new file.
    pub(crate) fn begin_rewrite(&mut self) {
        self.rewritten_from = Some(self.produced);
    }

    /// All keys as they were when the rewrite began are on the disk, so that what was written
    /// before is not needed any more.
    pub(crate) fn end_rewrite(&mut self) {
        let Some(position) = self.rewritten_from.take() else {
            return;
        };
        self.synced = self.synced.max(position).max(self.synced_in_vain);
        if self.needs_rewrite() {
            self.failure = None;
        }
    }

    /// Whether only a rewrite makes the file one to trust again.
    pub(crate) fn needs_rewrite(&self) -> bool {
        matches!(self.failure, Some(LogFailure::Sync(_)))
    }

    /// Why writes are refused, if they are.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| match failure {
            LogFailure::Write(reason) | LogFailure::Sync(reason) => &reason[..],
            LogFailure::Full => "more than aof-buffer-max waits to be written",
        })
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// How far writes have come, how far they are written, and how far on the disk.
    pub(crate) fn produced(&self) -> u64 {
        self.produced
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    pub(crate) fn is_syncing(&self) -> bool {
        self.syncing.is_some()
    }

    /// How many bytes wait to be written.
    pub(crate) fn buffer_len(&self) -> u64 {
        self.produced - self.written
    }

    /// Ends it; what is handed over and not answered counts as written.
    pub(crate) fn close(&mut self) {
        self.state = LogState::Off;
        self.written = self.produced;
        self.synced = self.produced;
        self.in_flight = 0;
        self.syncing = None;
        self.failure = None;
        self.pending = Vec::new();
    }
}

/// How often what was written is brought to the disk, with `appendfsync everysec`.
const SYNC_INTERVAL: core::time::Duration = core::time::Duration::from_secs(1);
