//! Following and being followed: what becomes of the stream, its id and its numbers when a node
//! changes from one to the other.

use slotway_protocol::engine::{Address, ConnectionId, Now};

use super::backlog::Backlog;
use super::replica::Wish;
use super::{Link, Replication};
use crate::persistence::rdb::StreamPosition;
use crate::server_state::hexadecimal_id;

impl Replication {
    /// Follows another node from now on, keeping what it knows to go on from there; or nobody.
    /// What this means for connections is done at the end of the turn.
    pub(crate) fn follow(&mut self, primary: Option<Address>, now: Now) {
        if self.primary == primary {
            return;
        }
        if primary.is_none() {
            // What comes from now on is another stream. Up to here it is the one before, so that
            // those who followed the same primary can go on with this node.
            let next = self.offset + 1;
            let id = std::mem::replace(&mut self.id, hexadecimal_id(&mut self.random));
            self.second = Some((id, next));
            if self.is_astray {
                self.second = None;
            }
            self.is_astray = false;
        }
        if primary.is_some()
            && let Some(id) = self.restored_id.take()
        {
            self.id = id;
            self.second = None;
        }
        self.primary = primary;
        self.down_since = now.instant;
        self.turned = true;
        self.deserted_at = now.instant;
        self.update_guard();
    }

    /// Counts what a primary has produced. Without a backlog nobody can ask for it.
    pub(crate) fn produce(&mut self, bytes: u64) {
        if self.primary.is_none() && self.backlog.is_some() {
            self.offset += bytes;
            self.restored_id = None;
        }
    }

    /// Counts what was processed of a primary's stream.
    pub(crate) fn process(&mut self, bytes: u64) {
        self.offset += bytes;
    }

    /// What comes from the stream's beginning on can be asked for from now on. Without a backlog
    /// before, nothing was counted, so the id has to be a new one.
    pub(crate) fn begin_backlog(&mut self) {
        if self.backlog.is_some() {
            return;
        }
        if self.primary.is_none() {
            self.id = hexadecimal_id(&mut self.random);
            self.second = None;
        }
        self.backlog = Some(Backlog::new(self.settings.backlog_bytes, self.offset));
    }

    /// Forgets what was produced, after nobody has followed for long.
    pub(crate) fn end_backlog(&mut self) {
        self.backlog = None;
        self.id = hexadecimal_id(&mut self.random);
        self.second = None;
    }

    /// Whether a replica that wants to go on from there can.
    pub(crate) fn can_continue(&self, wish: &Wish) -> bool {
        let Wish::Continue {
            id,
            offset: Some(offset),
        } = wish
        else {
            return false;
        };
        let is_known = *id == self.id
            || self
                .second
                .as_ref()
                .is_some_and(|(second, next)| second == id && offset <= next);
        let backlog = self.backlog.as_ref();
        is_known && backlog.is_some_and(|backlog| backlog.from(*offset).is_some())
    }

    /// What to ask the primary for: the id of the stream and the number of the next byte.
    pub(crate) fn position(&self) -> Option<(String, u64)> {
        (!self.is_astray).then(|| (self.id.clone(), self.offset + 1))
    }

    /// The stream goes on where it was, perhaps under another id; whether it is another one.
    pub(crate) fn go_on(&mut self, connection: ConnectionId, id: Option<String>) -> bool {
        self.link = Link::Up(connection);
        let is_other = id.as_ref().is_some_and(|id| *id != self.id);
        if let Some(id) = id.filter(|_| is_other) {
            let old = std::mem::replace(&mut self.id, id);
            self.second = Some((old, self.offset + 1));
        }
        self.begin_backlog();
        is_other
    }

    /// All keys are those of the primary now. The stream begins anew behind `offset`.
    pub(crate) fn begin_anew(&mut self, connection: ConnectionId, id: Option<String>, offset: u64) {
        self.link = Link::Up(connection);
        // A primary that is too old to tell has none that could be asked for again.
        self.id = id.unwrap_or_else(|| hexadecimal_id(&mut self.random));
        self.offset = offset;
        self.second = None;
        self.is_astray = false;
        self.backlog = Some(Backlog::new(self.settings.backlog_bytes, offset));
    }

    /// What a file with all keys has to say of the stream.
    pub(crate) fn saved_position(&self) -> Option<StreamPosition<'_>> {
        let is_known = !self.is_astray && self.backlog.is_some();
        is_known.then(|| StreamPosition {
            id: &self.id,
            offset: self.offset,
            database: self.stream_database,
        })
    }

    /// Takes up what a file says of the stream: as the place to go on from for a replica, as what
    /// others may go on from for a primary.
    pub(crate) fn restore(&mut self, id: &str, offset: u64, database: u32) {
        self.offset = offset;
        self.stream_database = database;
        if self.primary.is_some() {
            self.id = id.to_owned();
        } else {
            self.second = Some((id.to_owned(), offset + 1));
            self.restored_id = Some(id.to_owned());
        }
        self.backlog = Some(Backlog::new(self.settings.backlog_bytes, offset));
    }
}
