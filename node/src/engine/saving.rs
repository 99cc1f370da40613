//! Saving all keys: hands the driver the bytes of the file piece by piece, as fast as it writes
//! them, and tells who waits what came of it. And loading them, before a node serves anyone.

use slotway_protocol::engine::{Action, Now};

use super::{Node, Notice};
use crate::command::begin_save;
use crate::keyspace::{Reader, SnapshotStep};
use crate::persistence::rdb::{LoadedKey, Loader, RdbError};
use crate::persistence::saving::{SaveId, SaveTarget, Waiter};

/// What the driver is to do for a save. Notices of a later save mean that the earlier one is given
/// up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SavePart {
    /// Begin a file beside the old one.
    Begin,
    /// The same, but for the base of the append-only file.
    BeginBase,
    /// Write these bytes, and answer with [`super::Event::SaveWritten`].
    Bytes(Vec<u8>),
    /// Put the file in the place of the old one, and answer with [`super::Event::SaveEnded`].
    End,
    /// Leave the file beside until [`super::AofPart::Finish`], and answer with
    /// [`super::Event::SaveEnded`].
    EndBase,
    /// Remove the file that was begun.
    GiveUp,
}

/// A file whose keys are being loaded.
#[derive(Debug)]
pub struct Loading(Loader);

impl Loading {
    /// What came behind the end of the file, once all before it is loaded.
    pub(super) fn take_rest(&mut self) -> Option<Vec<u8>> {
        self.0.take_rest()
    }
}

impl Node {
    /// Says that the driver writes files, so that SAVE is not refused.
    pub fn set_has_files(&mut self) {
        self.state.server.saving.has_files = true;
    }

    /// Begins to load a file of that length.
    pub fn begin_loading(&self, len: u64) -> Loading {
        Loading(Loader::new(Some(len), self.config().rdbchecksum))
    }

    /// Takes the next bytes of a file. When they are wrong, keys that came before are there.
    pub fn load(&mut self, loading: &mut Loading, bytes: &[u8]) -> Result<(), RdbError> {
        loading.0.push(bytes, &mut |key| self.take_key(key))?;
        self.take_libraries(&loading.0.take_libraries())
    }

    /// Ends loading; the file has to be complete.
    pub fn end_loading(&mut self, loading: Loading) -> Result<(), RdbError> {
        let position = loading.0.position().clone();
        let libraries = loading.0.finish(&mut |key| self.take_key(key))?;
        self.take_libraries(&libraries)?;
        if let (Some(id), Some(offset)) = (&position.id, position.offset) {
            let database = position.database.unwrap_or(0);
            let replication = &mut self.state.server.replication;
            replication.restore(id, offset, database);
            self.state.update_listening();
        }
        self.state.keyspace.select_database(0);
        self.state.server.saving.saved_changes = self.state.keyspace.changes;
        Ok(())
    }

    fn take_libraries(&mut self, codes: &[Vec<u8>]) -> Result<(), RdbError> {
        for code in codes {
            if let Err(text) = self.state.server.scripts.load_library(code, false) {
                let why = String::from_utf8_lossy(&text);
                tracing::error!(%why, "Failed creating the library");
                return Err(RdbError::Corrupt(
                    "a library of functions that can't be loaded",
                ));
            }
        }
        Ok(())
    }

    fn take_key(&mut self, loaded: LoadedKey<'_>) -> Result<(), RdbError> {
        // A replica leaves it to its primary to say that a key has expired.
        let keeps_expired = !self.state.server.is_primary();
        let databases = self.state.server.databases();
        self.state
            .keyspace
            .take_loaded(loaded, databases, keeps_expired)
    }

    /// Tells the driver of a save that a client has begun.
    #[inline]
    pub(super) fn announce_save(&mut self, now: Now) {
        let running = &mut self.state.server.saving.running;
        if let Some(running) = running.as_mut().filter(|running| !running.announced) {
            running.announced = true;
            let id = running.id;
            let part = match running.target {
                SaveTarget::File => SavePart::Begin,
                SaveTarget::AofBase => SavePart::BeginBase,
            };
            self.ask_to_save(id, part);
            self.continue_save(id, now);
        }
    }

    /// Begins what BGSAVE has put off.
    pub(super) fn begin_scheduled_save(&mut self, now: Now) {
        let changes = self.state.keyspace.changes;
        let server = &mut self.state.server;
        let is_idle = server.saving.running.is_none() && server.loading.is_none();
        let due = server.saving.due(&server.config.save, changes, now);
        let due = due.filter(|_| is_idle && server.saving.has_files);
        if let Some(point) = due {
            let seconds = point.seconds;
            tracing::info!("{} changes in {seconds} seconds. Saving...", point.changes);
        }
        if due.is_some() || (is_idle && server.saving.scheduled) {
            begin_save(
                &mut self.state.keyspace,
                server,
                SaveTarget::File,
                None,
                now,
            );
        }
        self.announce_save(now);
    }

    /// Writes the next piece.
    pub(super) fn continue_save(&mut self, id: SaveId, now: Now) {
        let running = self.state.server.saving.running.as_mut();
        let Some(running) = running.filter(|running| running.id == id && !running.complete) else {
            return;
        };
        match self
            .state
            .keyspace
            .continue_snapshot(Reader::File, PIECE_BYTES)
        {
            SnapshotStep::Bytes(bytes) => self.ask_to_save(id, SavePart::Bytes(bytes)),
            SnapshotStep::Last(bytes) => {
                running.complete = true;
                let end = match running.target {
                    SaveTarget::File => SavePart::End,
                    SaveTarget::AofBase => SavePart::EndBase,
                };
                self.ask_to_save(id, SavePart::Bytes(bytes));
                self.ask_to_save(id, end);
            }
            SnapshotStep::GivenUp => {
                self.ask_to_save(id, SavePart::GiveUp);
                self.end_save(id, false, now);
            }
        }
    }

    /// Notes what came of a save.
    pub(super) fn end_save(&mut self, id: SaveId, succeeded: bool, now: Now) {
        let server = &self.state.server;
        if !server.saving.is_running(id) {
            return;
        }
        if server.saving.running_for(SaveTarget::AofBase).is_some() {
            return self.end_base(id, succeeded, now);
        }
        self.state.keyspace.end_snapshot(Reader::File);
        for waiter in self.state.server.saving.end(succeeded, now) {
            self.answer_save(waiter, succeeded, now);
        }
        self.state.server.note_disk_error();
    }

    fn answer_save(&mut self, waiter: Waiter, succeeded: bool, now: Now) {
        match waiter {
            Waiter::End => self.end_final_save(succeeded, now),
            Waiter::Client(connection) if succeeded => {
                self.answer_late(connection, b"+OK\r\n", now);
            }
            Waiter::Client(connection) => self.answer_late(connection, b"-ERR\r\n", now),
        }
    }

    pub(super) fn ask_to_save(&mut self, id: SaveId, part: SavePart) {
        self.actions
            .push_back(Action::Notify(Notice::Save(id, part)));
    }
}

/// How much of a file is written in one go, about; takes less than a millisecond or two.
const PIECE_BYTES: usize = 256 * 1024;
