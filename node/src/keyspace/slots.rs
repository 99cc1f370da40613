//! Whole slots and the whole keyspace: counting, listing, walking, emptying, and taking keys out
//! or in.

use slotway_protocol::cluster::{SLOTS, Slot};

use super::Keyspace;
use super::table::{Entry, ORDER_BITS, Table, key_heap_bytes};
use crate::command::Random;
use crate::persistence::rdb::{LoadedKey, RdbError};
use crate::value::Value;

/// A key on its way from one node to another.
#[derive(Debug, Clone)]
pub struct Exported {
    database: u32,
    key: Box<[u8]>,
    value: Value,
    /// Unix time in milliseconds; 0 for never.
    expires_at: u64,
}

impl Exported {
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl Keyspace {
    /// The number of keys in a slot, in all databases; 0 on a node that is not part of a cluster.
    pub(crate) fn slot_len(&self, slot: Slot) -> usize {
        self.slot_tables(slot).map(Table::len).sum()
    }

    /// Some keys of a slot, in all databases.
    pub(crate) fn slot_keys(&self, slot: Slot, count: usize) -> Vec<&[u8]> {
        let entries = self.slot_tables(slot).flat_map(Table::iter).take(count);
        entries.map(|entry| entry.key.as_bytes()).collect()
    }

    /// Some keys of a slot in the selected database.
    pub(crate) fn slot_keys_here(&self, slot: Slot, count: usize) -> Vec<&[u8]> {
        if !self.is_clustered() {
            return Vec::new();
        }
        let entries = self.database_tables()[slot.index()].iter().take(count);
        entries.map(|entry| entry.key.as_bytes()).collect()
    }

    /// Takes all keys of a slot out of all databases, to be put into another node.
    pub(crate) fn export_slot(&mut self, slot: Slot) -> Vec<Exported> {
        let mut exported = Vec::new();
        if !self.is_clustered() {
            return exported;
        }
        for index in 0..self.databases.len() {
            let place = index << self.slot_bits | slot.index();
            let table = std::mem::take(&mut self.tables[place]);
            self.databases[index].len -= table.len();
            self.disturb_watchers_of(index, std::slice::from_ref(&table));
            let database = self.databases[index].number;
            self.copy_to_snapshot(place, &table);
            let live = (table.into_entries()).filter(|entry| !entry.is_expired(self.now_ms));
            exported.extend(live.map(|entry| Exported {
                database,
                key: entry.key.as_bytes().into(),
                value: entry.value,
                expires_at: entry.expires_at,
            }));
        }
        exported
    }

    /// Takes a key out of the database that was used first of those that have it, to be put into
    /// another node.
    pub(crate) fn export(&mut self, key: &[u8]) -> Option<Exported> {
        let numbers: Vec<u32> = self.databases.iter().map(|known| known.number).collect();
        numbers.into_iter().find_map(|database| {
            self.select_database(database);
            self.select(Slot::of(key));
            let expires_at = self.expires_at(key)?;
            let value = self.remove(key)?;
            Some(Exported {
                database,
                key: key.into(),
                value,
                expires_at,
            })
        })
    }

    /// Puts a key in, in the place of one of that name.
    pub(crate) fn import(&mut self, exported: Exported) {
        self.select_database(exported.database);
        self.select(Slot::of(&exported.key));
        self.replace(&exported.key, exported.value, exported.expires_at);
    }

    /// Takes a key of a file or of the primary.
    pub(crate) fn take_loaded(
        &mut self,
        loaded: LoadedKey<'_>,
        databases: u32,
        keeps_expired: bool,
    ) -> Result<(), RdbError> {
        if loaded.database >= databases {
            return Err(RdbError::Databases(databases));
        }
        self.select_database(loaded.database);
        self.select_key(loaded.key);
        let has_expired = loaded.expires_at != 0 && loaded.expires_at <= self.now_ms;
        if has_expired && !keeps_expired {
            return Ok(());
        }
        let hash = self.hash(loaded.key);
        if self.tables[self.selected].find(hash, loaded.key).is_some() {
            return Err(RdbError::Corrupt("a key is there twice"));
        }
        self.replace(loaded.key, loaded.value, loaded.expires_at);
        Ok(())
    }

    /// An empty keyspace that can take the place of this one.
    pub(crate) fn empty_twin(&self, seed: u64) -> Self {
        let mut twin = Self::new(self.is_clustered(), seed);
        twin.now_ms = self.now_ms;
        twin.hasher = self.hasher.clone();
        twin
    }

    /// Takes all keys of a twin in the place of its own. Whoever watches a key that was there or is
    /// there now is told; snapshots go on with what was there.
    pub(crate) fn take_over(&mut self, mut twin: Self) {
        self.clear();
        let width = self.slot_mask() + 1;
        for index in 0..twin.databases.len() {
            let number = twin.databases[index].number;
            self.select_database(number);
            let first = self.selected & !self.slot_mask();
            let from = &mut twin.tables[index * width..(index + 1) * width];
            self.tables[first..first + width].swap_with_slice(from);
            self.databases[first >> self.slot_bits].len = twin.databases[index].len;
            self.changes += twin.databases[index].len as u64;
        }
        self.disturb_all();
        self.select_database(0);
    }

    /// A walk over all keys of the selected database: visits about `count` keys from `cursor` on
    /// and returns where to go on, 0 at the end. A key that is there all the time is visited,
    /// whatever happens to others.
    pub(crate) fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a [u8], &'a Value),
    ) -> u64 {
        let mut index = (cursor & SLOT_MASK) as usize;
        let mut position = (cursor >> SLOT_BITS) & ((1 << ORDER_BITS) - 1);
        let (mut left, mut tables_left) = (count.max(1), TABLES_MAX);
        let tables_len = self.slot_mask() + 1;
        let first = self.selected & !self.slot_mask();
        while index < tables_len {
            let mut seen = 0;
            let next = self.walk_table(first + index, position, left, &mut |entry| {
                seen += 1;
                if entry.is_expired(self.now_ms) {
                    self.note_lapsed(first + index, entry.key.as_bytes());
                } else {
                    visit(entry.key.as_bytes(), &entry.value);
                }
            });
            left = left.saturating_sub(seen);
            tables_left -= usize::from(seen > 0);
            (index, position) = match next {
                Some(next) => (index, next),
                None => (index + 1, 0),
            };
            if left == 0 || tables_left == 0 {
                break;
            }
        }
        if index >= tables_len {
            return 0;
        }
        position << SLOT_BITS | index as u64
    }

    /// Visits all keys of the selected database.
    pub(crate) fn each<'a>(&'a self, visit: &mut dyn FnMut(&'a [u8], &'a Value)) {
        for table in self.database_tables() {
            for entry in table.iter().filter(|entry| !entry.is_expired(self.now_ms)) {
                visit(entry.key.as_bytes(), &entry.value);
            }
        }
    }

    /// Visits all keys of the selected database with their expiry, 0 for none.
    pub(crate) fn each_with_expiry<'a>(&'a self, visit: &mut dyn FnMut(&'a [u8], &'a Value, u64)) {
        for table in self.database_tables() {
            for entry in table.iter().filter(|entry| !entry.is_expired(self.now_ms)) {
                visit(entry.key.as_bytes(), &entry.value, entry.expires_at);
            }
        }
    }

    /// Visits all keys of one slot of the selected database.
    pub(crate) fn each_in_slot<'a>(
        &'a self,
        slot: Slot,
        visit: &mut dyn FnMut(&'a [u8], &'a Value),
    ) {
        let table = &self.database_tables()[slot.index()];
        for entry in table.iter().filter(|entry| !entry.is_expired(self.now_ms)) {
            visit(entry.key.as_bytes(), &entry.value);
        }
    }

    /// A key of the selected database by chance.
    pub(crate) fn random_key(&self, random: &mut Random) -> Option<&[u8]> {
        for _ in 0..RANDOM_TRIES {
            let len = self.database_len();
            if len == 0 {
                return None;
            }
            let mut rest = random.below(len);
            let table = self.database_tables().iter().find(|table| {
                let here = rest < table.len();
                rest = rest.saturating_sub(table.len());
                here
            })?;
            let entry = table.choose(|bound| random.below(bound))?;
            if !entry.is_expired(self.now_ms) {
                return Some(entry.key.as_bytes());
            }
        }
        None
    }

    /// The bytes of memory that the tables and keys take, without what values have on the heap.
    pub(crate) fn memory(&self) -> usize {
        let tables = self.tables.iter().map(Table::memory).sum::<usize>();
        self.tables.capacity() * size_of::<Table>() + tables
    }

    /// The bytes of one key's entry, without what its value has on the heap.
    pub(crate) fn entry_memory(&self, key: &[u8]) -> Option<usize> {
        let entry = self.live_entry(key)?;
        Some(size_of::<Entry>() + key_heap_bytes(entry))
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.get()
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.get()
    }

    pub(crate) fn reset_counters(&mut self) {
        self.hits.set(0);
        self.misses.set(0);
        self.expired = 0;
    }

    /// Panics when its own counts contradict each other.
    pub(crate) fn check_invariants(&self) {
        let mut lens = vec![0; self.databases.len()];
        for (index, table) in self.tables.iter().enumerate() {
            assert_eq!(table.iter().count(), table.len(), "a table counts its keys");
            let expiring = table.iter().filter(|entry| entry.expires_at != 0).count();
            assert_eq!(expiring, table.expiring, "a table counts its expiring keys");
            lens[index >> self.slot_bits] += table.len();
            for entry in table.iter() {
                assert!(
                    !entry.value.is_empty_collection(),
                    "no empty collection is kept"
                );
                let slot = Slot::of(entry.key.as_bytes()).index();
                assert_eq!(
                    slot & self.slot_mask(),
                    index & self.slot_mask(),
                    "a key is in the table of its slot"
                );
            }
        }
        let counted: Vec<usize> = self.databases.iter().map(|known| known.len).collect();
        assert_eq!(lens, counted, "a database counts its keys");
        let watched = self.databases.iter();
        let watched = watched.map(|known| known.watched.len() + known.awaited.len());
        assert_eq!(
            watched.sum::<usize>(),
            self.watched_len,
            "watched keys are counted"
        );
    }

    pub(super) fn walk_table<'a>(
        &'a self,
        index: usize,
        from: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a Entry),
    ) -> Option<u64> {
        let hash_of = |entry: &Entry| self.hash(entry.key.as_bytes());
        self.tables[index].walk(from, count, hash_of, visit)
    }

    /// The tables of a slot, one a database.
    fn slot_tables(&self, slot: Slot) -> impl Iterator<Item = &Table> {
        let all = self.tables.iter().skip(slot.index());
        let width = self.slot_mask() + 1;
        all.step_by(width).filter(|_| self.is_clustered())
    }
}

/// The low bits of a cursor are the table's index, the others the position in it.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

const SLOT_MASK: u64 = SLOTS as u64 - 1;

/// A step of a walk visits at most so many tables that have keys.
const TABLES_MAX: usize = 1_024;

const RANDOM_TRIES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::text::Text;

    fn put(keyspace: &mut Keyspace, key: &str) {
        keyspace.select(Slot::of(key.as_bytes()));
        keyspace.set(key.as_bytes(), Value::String(Text::new(b"v")));
    }

    #[test]
    fn a_scan_visits_everything_once() {
        for clustered in [false, true] {
            for count in [1, 10, 1_000] {
                let mut keyspace = Keyspace::new(clustered, 9);
                for index in 0..3_000 {
                    put(&mut keyspace, &format!("key:{index}"));
                    put(&mut keyspace, &format!("{{tag}}:{index}"));
                }
                let mut seen = Vec::new();
                let mut cursor = 0;
                loop {
                    let mut visit = |key: &[u8], _: &Value| seen.push(key.to_vec());
                    let before = cursor;
                    cursor = keyspace.scan(cursor, count, &mut visit);
                    assert_ne!(cursor, before, "a scan goes on");
                    if cursor == 0 {
                        break;
                    }
                }
                seen.sort();
                seen.dedup();
                assert_eq!(seen.len(), 6_000, "clustered: {clustered}, count: {count}");
            }
        }
    }

    #[test]
    fn counts_and_moves_a_slot() {
        let mut keyspace = Keyspace::new(true, 9);
        for index in 0..500 {
            put(&mut keyspace, &format!("{{tag}}:{index}"));
        }
        put(&mut keyspace, "other");
        let slot = Slot::of(b"tag");
        assert_eq!(keyspace.slot_len(slot), 500);
        assert_eq!(keyspace.slot_keys(slot, 7).len(), 7);
        keyspace.check_invariants();
        let exported = keyspace.export_slot(slot);
        assert_eq!((exported.len(), keyspace.len()), (500, 1));
        keyspace.check_invariants();
        let mut other = Keyspace::new(true, 10);
        exported.into_iter().for_each(|key| other.import(key));
        assert_eq!(other.slot_len(slot), 500);
        other.check_invariants();
    }

    #[test]
    fn a_key_moves_with_its_expiry() {
        let (mut from, mut to) = (Keyspace::new(true, 1), Keyspace::new(true, 2));
        from.select(Slot::of(b"k"));
        from.replace(b"k", Value::String(Text::new(b"v")), 5_000);
        to.import(from.export(b"k").unwrap());
        assert!(from.export(b"k").is_none());
        assert_eq!(to.expires_at(b"k"), Some(5_000));
        from.check_invariants();
        to.check_invariants();
    }
}
