//! What writes have done, as requests that do the same again wherever they run: for the replicas
//! and for the append-only file.
//!
//! What belongs together is a unit: what one command has done, or one transaction. A unit of
//! several requests stands between MULTI and EXEC. SELECT comes before what is for another
//! database than the request before.

use slotway_protocol::command::Flags;
use slotway_protocol::resp::{Request, encode};

use crate::cluster::Keyed;
use crate::keyspace::Keyspace;
use crate::script::runs_script;

/// The requests that were made and not handed over yet.
#[derive(Debug, Default)]
pub(crate) struct Propagation {
    /// One bit for each of those who listen. Nothing is made when nobody does.
    listeners: u8,
    /// Whole units, and the one that is being made.
    stream: Vec<u8>,
    /// Where the unit that is being made begins, and how many requests it has.
    unit_start: usize,
    unit_len: usize,
    /// The database of the request that was made last.
    database: Option<u32>,
    /// The running command has said itself what it did.
    is_said: bool,
}

/// Who may listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Listener {
    Replicas = 1,
    AppendOnlyFile = 2,
}

impl Propagation {
    /// Whether anybody listens.
    #[inline]
    pub(crate) fn is_heard(&self) -> bool {
        self.listeners != 0
    }

    pub(crate) fn is_heard_by(&self, listener: Listener) -> bool {
        self.listeners & listener as u8 != 0
    }

    /// Begins or ends to listen. Who begins gets a SELECT before anything else.
    pub(crate) fn listen(&mut self, listener: Listener, on: bool) {
        let bit = listener as u8;
        self.listeners = self.listeners & !bit | if on { bit } else { 0 };
        self.database = None;
    }

    /// Has nobody listen for a while; what [`Self::end_silence`] is to be given.
    pub(crate) fn silence(&mut self) -> u8 {
        std::mem::take(&mut self.listeners)
    }

    pub(crate) fn end_silence(&mut self, listeners: u8) {
        self.listeners = listeners;
    }

    /// Lets a SELECT come before the next request: somebody begins to read there.
    pub(crate) fn select_again(&mut self) {
        self.database = None;
    }

    /// Adds a request to the unit.
    pub(crate) fn add<A: AsRef<[u8]>>(&mut self, database: u32, args: &[A]) {
        self.select(database);
        encode::request(&mut self.stream, args);
    }

    /// Adds what the running command has done, in its place.
    pub(crate) fn say<A: AsRef<[u8]>>(&mut self, database: u32, args: &[A]) {
        self.is_said = true;
        self.add(database, args);
    }

    /// The running command has said all that it did, also when that is nothing.
    pub(crate) fn have_said(&mut self) {
        self.is_said = true;
    }

    /// Adds the running command as it came, unless it has said itself what it did.
    fn add_command(&mut self, database: u32, request: &Request<'_>) {
        if self.is_said {
            return;
        }
        self.select(database);
        self.stream.extend_from_slice(request.frame());
    }

    /// Ends the unit; how many bytes it has.
    pub(crate) fn finish_unit(&mut self) -> u64 {
        if self.unit_len > 1 {
            let begin = self.unit_start..self.unit_start;
            self.stream.splice(begin, MULTI.iter().copied());
            self.stream.extend_from_slice(EXEC);
        }
        let len = self.stream.len() - self.unit_start;
        self.unit_start = self.stream.len();
        self.unit_len = 0;
        self.is_said = false;
        len as u64
    }

    /// Whether there are bytes to take.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }

    /// How many bytes there are to take.
    pub(crate) fn len(&self) -> usize {
        self.stream.len()
    }

    /// The bytes of all units since this was called last. All who listen get the same.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        assert!(self.unit_len == 0, "only whole units are handed over");
        self.unit_start = 0;
        std::mem::take(&mut self.stream)
    }

    fn select(&mut self, database: u32) {
        self.unit_len += 1;
        if self.database != Some(database) {
            self.database = Some(database);
            let number = database.to_string();
            encode::request(&mut self.stream, &[&b"SELECT"[..], number.as_bytes()]);
        }
    }
}

/// Says what a command has done: that keys have expired, as it has met them, and then itself, if it
/// has changed anything since `changes` were counted.
#[cold]
pub(crate) fn propagate(
    keyspace: &mut Keyspace,
    propagation: &mut Propagation,
    (command, request): Keyed<'_>,
    changes: u64,
) {
    keyspace.finish();
    propagate_expired(keyspace, propagation);
    // What a transaction or a script has done was said by its commands.
    let is_said = !command.flags.contains(Flags::WRITE) || runs_script(command);
    if keyspace.changes != changes && !is_said {
        propagation.add_command(keyspace.database(), &request);
    }
    propagation.is_said = false;
}

/// Says that keys have expired.
pub(crate) fn propagate_expired(keyspace: &mut Keyspace, propagation: &mut Propagation) {
    for (database, key) in keyspace.take_expired() {
        propagation.add(database, &[&b"DEL"[..], &key]);
    }
}

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

#[cfg(test)]
mod tests;
