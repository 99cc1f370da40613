//! Keys that clients wait for, and which of them have changed.

use core::ops::Bound;

use super::Keyspace;
use crate::blocking::Ticket;

/// A key of a database.
pub(crate) type DatabaseKey = (u32, Box<[u8]>);

impl Keyspace {
    /// Notes that a client waits for a key of the selected database.
    pub(crate) fn await_key(&mut self, key: &[u8], ticket: Ticket) {
        let awaited = &mut self.databases[self.selected >> self.slot_bits].awaited;
        let before = awaited.len();
        awaited.entry(key.into()).or_default().insert(ticket);
        self.watched_len += awaited.len() - before;
    }

    /// Ends what [`Keyspace::await_key`] began.
    pub(crate) fn forget_awaited(&mut self, database: u32, key: &[u8], ticket: Ticket) {
        let mut databases = self.databases.iter_mut();
        let Some(database) = databases.find(|known| known.number == database) else {
            return;
        };
        if let Some(tickets) = database.awaited.get_mut(key) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                database.awaited.remove(key);
                self.watched_len -= 1;
            }
        }
    }

    /// The one who waits for that key of the selected database and comes after another.
    pub(crate) fn next_awaiting(&self, key: &[u8], after: Option<Ticket>) -> Option<Ticket> {
        let awaited = &self.databases[self.selected >> self.slot_bits].awaited;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut tickets = awaited.get(key)?.range((from, Bound::Unbounded));
        tickets.next().copied()
    }

    /// How many waits for a key there are.
    pub(crate) fn awaited_len(&self) -> usize {
        let databases = self.databases.iter();
        let awaited = databases.flat_map(|database| database.awaited.values());
        awaited.map(std::collections::BTreeSet::len).sum()
    }

    /// Whether a key has changed that somebody waits for.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next key that has changed and that somebody waits for.
    pub(crate) fn poll_ready(&mut self) -> Option<DatabaseKey> {
        self.ready.pop_front()
    }

    /// Takes all keys that anybody waits for as changed.
    pub(crate) fn ready_all(&mut self) {
        for index in 0..self.databases.len() {
            self.ready_all_of(index);
        }
    }

    /// The same for one database.
    pub(super) fn ready_all_of(&mut self, index: usize) {
        let database = &self.databases[index];
        for key in database.awaited.keys() {
            self.ready.push_back((database.number, key.clone()));
        }
    }

    /// Lets those who wait for a key of the selected database look again.
    pub(crate) fn note_ready(&mut self, key: &[u8]) {
        if self.watched_len > 0 {
            self.note_awaited(key);
        }
    }

    /// Notes that a key of the selected database has changed.
    pub(super) fn note_awaited(&mut self, key: &[u8]) {
        let database = &self.databases[self.selected >> self.slot_bits];
        let is_known = |ready: &DatabaseKey| ready.0 == database.number && *ready.1 == *key;
        if database.awaited.contains_key(key) && !self.ready.iter().any(is_known) {
            self.ready.push_back((database.number, key.into()));
        }
    }
}
