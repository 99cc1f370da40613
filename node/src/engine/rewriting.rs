//! Writes the append-only file anew without stopping: what comes from now on goes to a new file,
//! all keys as they are now to another one, and when that is complete both replace all before.

use slotway_protocol::engine::Now;

use super::appending::{AofPart, AofSizes};
use super::{Node, SavePart};
use crate::command::begin_save;
use crate::keyspace::Reader;
use crate::persistence::aof::{LogState, has_grown};
use crate::persistence::saving::{Running, SaveId, SaveTarget};

impl Node {
    /// Begins a rewrite that a client has asked for. To be called when everything that was done
    /// before is with the append-only file, so that it is in the old files.
    pub(super) fn begin_wanted_rewrite(&mut self, now: Now) {
        self.state.server.log.rewriting.wanted = false;
        if self.state.server.saving.running.is_some() {
            self.state.server.log.rewriting.scheduled = true;
        } else {
            self.begin_rewrite(now);
        }
    }

    fn begin_rewrite(&mut self, now: Now) {
        self.state.server.log.rewriting.scheduled = false;
        if !self.state.server.propagation.is_empty() {
            self.hand_over(now);
        }
        self.hand_to_log(true);
        let target = SaveTarget::AofBase;
        begin_save(
            &mut self.state.keyspace,
            &mut self.state.server,
            target,
            None,
            now,
        );
        let server = &mut self.state.server;
        let Some(running) = &server.saving.running else {
            return;
        };
        let id = running.id;
        if server.log.is_open() {
            server.propagation.select_again();
            server.log.begin_rewrite();
            let starts = server.log.state == LogState::Starting;
            self.ask_log(AofPart::Begin { id, starts });
        }
        self.announce_save(now);
    }

    /// Begins what is scheduled, or due as the file has grown, if nothing else is saved now.
    pub(super) fn begin_due_rewrite(&mut self, now: Now) {
        let server = &mut self.state.server;
        let log = &mut server.log;
        if server.saving.running.is_some() || !server.saving.has_files || server.loading.is_some() {
            return;
        }
        let (percentage, least) = (
            server.config.auto_aof_rewrite_percentage,
            server.config.auto_aof_rewrite_min_size,
        );
        let is_large = log.state == LogState::On
            && has_grown(log.current_bytes, log.base_bytes, percentage, least);
        if log.rewriting.scheduled || is_large || log.needs_rewrite() {
            if !log.rewriting.may_begin(now.instant) {
                return;
            }
            if is_large {
                let growth = log.current_bytes * 100 / log.base_bytes.max(1) - 100;
                tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
            }
            self.begin_rewrite(now);
        }
    }

    /// All keys are on the disk, or could not be written.
    pub(super) fn end_base(&mut self, id: SaveId, succeeded: bool, now: Now) {
        self.state.keyspace.end_snapshot(Reader::File);
        if succeeded {
            let keeps_history = self.state.server.config.aof_disable_auto_gc;
            self.ask_log(AofPart::Finish { id, keeps_history });
        } else {
            self.note_rewrite(id, false, now);
        }
    }

    /// The driver has put the new files in the place of the old ones, or could not.
    pub(super) fn end_rewrite(&mut self, id: SaveId, sizes: Option<AofSizes>, now: Now) {
        let log = &mut self.state.server.log;
        if let Some(sizes) = sizes {
            log.base_bytes = sizes.total;
            log.current_bytes = sizes.total;
            log.end_rewrite();
            if log.state == LogState::Starting {
                log.state = LogState::On;
            }
        }
        self.note_rewrite(id, sizes.is_some(), now);
    }

    fn note_rewrite(&mut self, id: SaveId, succeeded: bool, now: Now) {
        let server = &mut self.state.server;
        if !server.saving.is_running(id) {
            return;
        }
        if let Some(running) = server.saving.running.take() {
            let seconds = now.instant.since(running.began).as_secs();
            server.log.rewriting.end(succeeded, seconds);
        }
        // Without the file that it begins with, what is collected is worth nothing.
        let starts = server.log.state == LogState::Starting;
        server.log.rewriting.scheduled |= starts && !succeeded;
    }

    /// Makes the append-only file what the setting says.
    pub(super) fn apply_appendonly(&mut self, now: Now) {
        let server = &mut self.state.server;
        if server.config.appendonly == server.log.is_open()
            || !server.saving.has_files
            || server.loading.is_some()
        {
            return;
        }
        if server.config.appendonly {
            server.log.state = LogState::Starting;
            server.log.rewriting.scheduled = true;
            self.listen_to_writes(true);
            self.stop_rewrite();
            self.begin_due_rewrite(now);
        } else {
            self.close_log();
        }
    }

    /// Ends the append-only file. If the settings want one, the next has other keys to begin with.
    pub(super) fn close_log(&mut self) {
        if !self.state.server.log.is_open() {
            return;
        }
        self.hand_to_log(true);
        self.ask_log(AofPart::Close);
        self.state.server.log.close();
        self.state.server.log.rewriting.scheduled = false;
        self.listen_to_writes(false);
        self.stop_rewrite();
        self.release_replies();
    }

    /// Gives up a rewrite that is under way and no failure.
    fn stop_rewrite(&mut self) {
        let running = self.state.server.saving.running_for(SaveTarget::AofBase);
        if let Some(&Running { id, .. }) = running {
            self.state.server.saving.running = None;
            self.state.keyspace.end_snapshot(Reader::File);
            self.ask_to_save(id, SavePart::GiveUp);
        }
    }
}
