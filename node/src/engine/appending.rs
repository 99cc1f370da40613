//! Appends what writes do to the append-only file: hands it to the driver, brings it to the disk as
//! often as the settings say, and refuses writes while that does not work.

use slotway_protocol::engine::{Action, Now};

use super::{Node, Notice};
use crate::config::AppendFsync;
use crate::persistence::aof::{LogState, annotation};
use crate::persistence::saving::SaveId;
use crate::replication::propagation::Listener;

/// What the driver is to do with the append-only file, in the order in which it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AofPart {
    /// Append these bytes, and bring them to the disk before the answer if `sync` is true. What
    /// can't be written is kept and tried again.
    Append { bytes: Vec<u8>, sync: bool },
    /// Bring to the disk what was written.
    Sync,
    /// Begin a file for what comes from now on. One that `starts` is only to count once the keys
    /// before it are saved, as there are no files yet.
    Begin { id: SaveId, starts: bool },
    /// The keys are saved: put the file with them in the place of all files that came before.
    Finish { id: SaveId, keeps_history: bool },
    /// Write no more; the files stay as they are.
    Close,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AofEvent {
    /// The bytes of so many [`AofPart::Append`] are written.
    Written {
        pieces: u32,
        bytes: u64,
        synced: bool,
    },
    /// They could not be written yet.
    WriteFailed(String),
    Synced,
    /// What was written may be lost.
    SyncFailed(String),
    /// A file could not be begun.
    BeginFailed(SaveId),
    /// The files are replaced and so long now; or not, and are what they were.
    Finished(SaveId, Option<AofSizes>),
}

/// How long the files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AofSizes {
    pub base: u64,
    pub total: u64,
}

impl Node {
    /// Says that the driver has opened the append-only file, which is so long.
    pub(super) fn open_log(&mut self, sizes: AofSizes) {
        let log = &mut self.state.server.log;
        log.state = LogState::On;
        log.current_bytes = sizes.total;
        log.base_bytes = sizes.base;
        self.listen_to_writes(true);
    }

    /// Takes what writes have produced.
    pub(super) fn append(&mut self, bytes: &[u8], now: Now) {
        let server = &mut self.state.server;
        if server.log.is_open() {
            let config = &server.config;
            let annotate = config.aof_timestamp_enabled;
            server.log.push(bytes, annotate, config.aof_buffer_max, now);
            server.note_disk_error();
            self.hand_to_log(false);
        }
    }

    /// Hands the driver what waits; all of it, or only if nothing else is under way.
    pub(super) fn hand_to_log(&mut self, all: bool) {
        let Some(bytes) = self.state.server.log.take(all) else {
            return;
        };
        let sync = self.state.server.syncs_each_write();
        self.ask_log(AofPart::Append { bytes, sync });
    }

    pub(super) fn take_log_event(&mut self, event: AofEvent, now: Now) {
        let log = &mut self.state.server.log;
        match event {
            AofEvent::Written {
                pieces,
                bytes,
                synced,
            } => log.note_written(pieces, bytes, synced),
            AofEvent::WriteFailed(reason) => log.note_write_failed(reason),
            AofEvent::Synced => log.note_synced(),
            AofEvent::SyncFailed(reason) => log.note_sync_failed(reason),
            AofEvent::BeginFailed(id) => self.end_save(id, false, now),
            AofEvent::Finished(id, sizes) => self.end_rewrite(id, sizes, now),
        }
        self.hand_to_log(false);
        self.state.server.note_disk_error();
        self.release_replies();
    }

    /// What is to be done now and then.
    pub(super) fn tend_log(&mut self, now: Now) {
        let server = &mut self.state.server;
        if server.log.is_open() {
            let policy = server.config.appendfsync;
            let is_wanted = policy != AppendFsync::No && !server.spares_the_disk();
            if is_wanted && server.log.begin_sync(now.instant) {
                self.ask_log(AofPart::Sync);
            }
        }
        self.state.server.note_disk_error();
    }

    /// Says in the file up to where in the stream of writes it is whole, so that this node, or
    /// those who follow it, can go on there after the next start. If anything is appended behind
    /// it, it says nothing any more.
    pub(super) fn log_position(&mut self, now: Now) {
        let server = &mut self.state.server;
        if server.log.state != LogState::On || server.log.has_failed() {
            return;
        }
        if let Some(position) = server.replication.saved_position() {
            let line = annotation(&position);
            let bytes_max = server.config.aof_buffer_max;
            server.log.push(line.as_bytes(), false, bytes_max, now);
            self.hand_to_log(true);
        }
    }

    pub(super) fn listen_to_writes(&mut self, on: bool) {
        let propagation = &mut self.state.server.propagation;
        propagation.listen(Listener::AppendOnlyFile, on);
    }

    pub(super) fn ask_log(&mut self, part: AofPart) {
        self.actions.push_back(Action::Notify(Notice::Aof(part)));
    }
}
