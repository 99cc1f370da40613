//! The keys of a node's databases, in one table a slot, each with its value and expiry.

mod awaited;
mod databases;
mod expiry;
mod slots;
mod snapshot;
mod table;
mod typed;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use slotway_protocol::cluster::{SLOTS, Slot};

pub use slots::Exported;
pub(crate) use snapshot::{Reader, SnapshotStep};

use crate::value::Value;
use awaited::DatabaseKey;
use databases::Database;
use snapshot::Snapshot;
use table::{Entry, Key, Place, Table};

/// All keys. A request's keys are in one table, which [`Keyspace::select_database`] and
/// [`Keyspace::select`] choose before it runs: of its database the slot's, or the only one on a
/// node that is not part of a cluster.
///
/// Methods that read take `&self`, so that several values can be held at once. They do not show
/// keys that have expired; [`Keyspace::finish`] removes those they met.
#[derive(Debug)]
pub(crate) struct Keyspace {
    /// Those of the database that was used first, then those of the next: as many for each.
    tables: Vec<Table>,
    /// What is known of each database that was used, in that order; there is always one.
    databases: Vec<Database>,
    /// The index of the selected table: the low bits are the slot, the others the database.
    selected: usize,
    /// How many low bits of a table's index are the slot.
    slot_bits: u32,
    hasher: FixedState,
    now_ms: u64,
    /// Expired keys that a reading method met, with their table.
    lapsed: RefCell<Vec<(usize, Box<[u8]>)>>,
    /// Where the active expiry goes on: a table and a position in it.
    expiry_cursor: (usize, u64),
    /// How many keys are watched or awaited, in all databases.
    watched_len: usize,
    /// Clients whose watched keys were changed.
    disturbed: Vec<u64>,
    /// Awaited keys that were changed.
    ready: VecDeque<DatabaseKey>,
    /// The keys as they were at one moment, on their way to each who reads them.
    snapshots: Vec<(Reader, Box<Snapshot>)>,
    /// How many changes were made since the start.
    pub(crate) changes: u64,
    pub(crate) expired: u64,
    /// What is done about keys that have expired.
    pub(crate) expiry: ExpiryRule,
    /// Those that were removed, with their database, where somebody wants to know.
    expired_keys: Vec<(u32, Box<[u8]>)>,
    hits: Cell<u64>,
    misses: Cell<u64>,
}

/// What is done about keys that have expired. They are never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExpiryRule {
    /// They are removed when they are met.
    Remove,
    /// They are removed, and [`Keyspace::take_expired`] tells which.
    RemoveAndTell,
    /// They stay until somebody else says that they have to go.
    Keep,
}

impl Keyspace {
    /// An empty keyspace, with a table for each slot or with one.
    pub(crate) fn new(clustered: bool, seed: u64) -> Self {
        let slot_bits = if clustered { SLOTS.trailing_zeros() } else { 0 };
        let mut tables = Vec::new();
        tables.resize_with(1 << slot_bits, Table::default);
        Self {
            tables,
            databases: vec![Database::new(0)],
            selected: 0,
            slot_bits,
            hasher: FixedState::with_seed(seed),
            now_ms: 0,
            lapsed: RefCell::default(),
            expiry_cursor: (0, 0),
            watched_len: 0,
            disturbed: Vec::new(),
            ready: VecDeque::new(),
            snapshots: Vec::new(),
            changes: 0,
            expired: 0,
            expiry: ExpiryRule::Remove,
            expired_keys: Vec::new(),
            hits: Cell::new(0),
            misses: Cell::new(0),
        }
    }

    /// Chooses the table of the keys of the request that comes next, of the selected database.
    #[inline]
    pub(crate) fn select(&mut self, slot: Slot) {
        let mask = self.slot_mask();
        self.selected = self.selected & !mask | slot.index() & mask;
    }

    /// Chooses the table of one key.
    pub(crate) fn select_key(&mut self, key: &[u8]) {
        self.select(Slot::of(key));
    }

    #[inline]
    pub(crate) fn set_now(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// The time of the running request, Unix time in milliseconds.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The value of a key, for a command that reads; counted as a hit or a miss.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Value> {
        let found = self.peek(key);
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.set(counter.get() + 1);
        found
    }

    /// The value of a key, not counted.
    #[inline]
    pub(crate) fn peek(&self, key: &[u8]) -> Option<&Value> {
        self.live_entry(key).map(|entry| &entry.value)
    }

    /// The value of a key to change in place. Call [`Keyspace::note_change`] after changing it,
    /// and [`Keyspace::remove_if_empty`] after taking elements out.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        self.live_entry_mut(key).map(|entry| &mut entry.value)
    }

    #[inline]
    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.live_entry(key).is_some()
    }

    /// Gives a key a value, whatever it held before, and takes its expiry away.
    #[inline]
    pub(crate) fn set(&mut self, key: &[u8], value: Value) {
        self.replace(key, value, 0);
    }

    /// Gives a key a value and an expiry, Unix time in milliseconds, 0 for none.
    #[inline]
    pub(crate) fn replace(&mut self, key: &[u8], value: Value, expires_at: u64) {
        let hash = self.hash(key);
        match self.tables[self.selected].find(hash, key) {
            Some(place) => {
                self.keep_for_snapshot(hash, place);
                let table = &mut self.tables[self.selected];
                let entry = table.at_mut(place);
                let expired_before = usize::from(entry.expires_at != 0);
                entry.value = value;
                entry.expires_at = expires_at;
                table.expiring = table.expiring + usize::from(expires_at != 0) - expired_before;
            }
            None => self.insert(hash, key, value, expires_at),
        }
        self.note_change(key);
    }

    /// Gives a key a value and leaves its expiry as it is.
    pub(crate) fn set_keeping_expiry(&mut self, key: &[u8], value: Value) {
        let expires_at = self.live_entry_mut(key).map_or(0, |entry| entry.expires_at);
        self.replace(key, value, expires_at);
    }

    /// Removes a key and returns its value.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let hash = self.hash(key);
        let place = self.tables[self.selected].find(hash, key)?;
        self.keep_for_snapshot(hash, place);
        let entry = self.tables[self.selected].remove(place);
        self.databases[self.selected >> self.slot_bits].len -= 1;
        if entry.is_expired(self.now_ms) {
            self.expired += 1;
            if self.expiry == ExpiryRule::RemoveAndTell {
                self.expired_keys.push((self.database(), key.into()));
            }
            self.disturb_watchers(key);
            return None;
        }
        self.note_change(key);
        Some(entry.value)
    }

    /// Removes a key whose collection has no elements any more; whether it did.
    pub(crate) fn remove_if_empty(&mut self, key: &[u8]) -> bool {
        let empty = self.peek(key).is_some_and(Value::is_empty_collection);
        if empty {
            self.remove(key);
        }
        empty
    }

    /// The gate of all changes: to be called once for each key whose value a command changed
    /// through a reference. Setting, removing and expiring a key note that themselves.
    #[inline]
    pub(crate) fn note_change(&mut self, key: &[u8]) {
        self.changes += 1;
        if self.watched_len > 0 {
            self.disturb_watchers(key);
        }
    }

    /// The same for a change that nobody waits for, as when entries of a stream go.
    pub(crate) fn note_removal(&mut self, key: &[u8]) {
        self.changes += 1;
        if self.watched_len > 0 {
            self.disturb_watchers_only(key);
        }
    }

    /// Ends a request: removes the expired keys that it met.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if !self.lapsed.get_mut().is_empty() {
            self.remove_lapsed();
        }
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    #[inline]
    fn is_clustered(&self) -> bool {
        self.slot_bits > 0
    }

    #[inline]
    fn slot_mask(&self) -> usize {
        (1 << self.slot_bits) - 1
    }

    #[inline]
    fn live_entry(&self, key: &[u8]) -> Option<&Entry> {
        let table = &self.tables[self.selected];
        let entry = table.at(table.find(self.hash(key), key)?);
        if entry.is_expired(self.now_ms) {
            self.note_lapsed(self.selected, key);
            return None;
        }
        Some(entry)
    }

    /// Notes that a reading method has met an expired key of a table.
    #[cold]
    fn note_lapsed(&self, table: usize, key: &[u8]) {
        if self.expiry != ExpiryRule::Keep {
            self.lapsed.borrow_mut().push((table, key.into()));
        }
    }

    #[inline]
    fn live_entry_mut(&mut self, key: &[u8]) -> Option<&mut Entry> {
        let place = self.live_place(self.hash(key), key)?;
        Some(self.tables[self.selected].at_mut(place))
    }

    #[inline]
    fn live_place(&mut self, hash: u64, key: &[u8]) -> Option<Place> {
        let table = &self.tables[self.selected];
        let place = table.find(hash, key)?;
        if table.at(place).is_expired(self.now_ms) {
            self.remove(key);
            return None;
        }
        self.keep_for_snapshot(hash, place);
        Some(place)
    }

    /// The value of a key to change in place; when there is none, it gets the `empty` one first.
    fn get_or_create(&mut self, key: &[u8], empty: fn() -> Value) -> &mut Value {
        let hash = self.hash(key);
        let place = self.live_place(hash, key).unwrap_or_else(|| {
            self.insert(hash, key, empty(), 0);
            match self.tables[self.selected].find(hash, key) {
                Some(place) => place,
                None => unreachable!("the key was just inserted"),
            }
        });
        &mut self.tables[self.selected].at_mut(place).value
    }

    /// Adds a key that is not there.
    fn insert(&mut self, hash: u64, key: &[u8], value: Value, expires_at: u64) {
        self.leave_out_of_snapshot(hash, key);
        let entry = Entry {
            key: Key::new(key),
            value,
            expires_at,
        };
        let hasher = &self.hasher;
        self.tables[self.selected]
            .insert(hash, entry, |entry| hasher.hash_one(entry.key.as_bytes()));
        self.databases[self.selected >> self.slot_bits].len += 1;
    }

    /// The keys that were removed because they had expired, since this was called last, with their
    /// databases.
    pub(crate) fn take_expired(&mut self) -> Vec<(u32, Box<[u8]>)> {
        std::mem::take(&mut self.expired_keys)
    }

    #[cold]
    fn remove_lapsed(&mut self) {
        let selected = self.selected;
        for (table, key) in std::mem::take(self.lapsed.get_mut()) {
            self.selected = table;
            // The command itself may have given the key a new value meanwhile.
            self.live_entry_mut(&key);
        }
        self.selected = selected;
    }
}
