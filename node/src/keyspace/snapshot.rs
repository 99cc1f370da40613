//! All keys as they were at one moment, written in steps while commands go on: before a key that
//! was not written yet is changed for the first time, it is written as it was.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Keyspace;
use super::table::{Entry, Place, Table, order};
use crate::persistence::rdb::Saver;

/// A snapshot that is not complete yet.
#[derive(Debug)]
pub(super) struct Snapshot {
    saver: Saver,
    /// The table whose turn it is and the position in it. What comes before is written.
    cursor: (usize, u64),
    /// Tables from here on came to be later.
    tables_len: usize,
    /// Keys from the cursor on that are not to be written any more: they were written when they
    /// changed, or are new. By their table.
    settled: HashMap<usize, HashSet<Box<[u8]>>>,
    settled_bytes: usize,
    /// Tables that were emptied before the cursor came to their end. What is in their place now
    /// is new.
    detached: BTreeMap<usize, Arc<Table>>,
    /// How much of all this may be kept.
    bytes_max: usize,
}

/// Whom a snapshot is for. Each has one at a time, whatever the others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// The file with all keys.
    File,
    /// The replicas that have asked for all keys.
    Replicas,
    /// This node, to take them in again at once.
    Itself,
}

/// What comes of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SnapshotStep {
    /// The bytes that come next.
    Bytes(Vec<u8>),
    /// The last bytes; the snapshot is over.
    Last(Vec<u8>),
    /// More than it may was to be kept, so the snapshot was given up.
    GivenUp,
}

impl Keyspace {
    /// Begins a snapshot of all keys as they are now. It may keep so many bytes for what changes
    /// until it is complete.
    /// One for the same reader that is under way ends.
    pub(crate) fn begin_snapshot(&mut self, reader: Reader, mut saver: Saver, bytes_max: usize) {
        self.end_snapshot(reader);
        for info in self.database_infos() {
            saver.database(info.number, info.keys, info.expiring);
        }
        let snapshot = Box::new(Snapshot {
            saver,
            cursor: (0, 0),
            tables_len: self.tables.len(),
            settled: HashMap::new(),
            settled_bytes: 0,
            detached: BTreeMap::new(),
            bytes_max,
        });
        self.snapshots.push((reader, snapshot));
    }

    pub(crate) fn end_snapshot(&mut self, reader: Reader) {
        self.snapshots.retain(|(other, _)| *other != reader);
    }

    /// Writes about that many bytes more of the snapshot.
    pub(crate) fn continue_snapshot(&mut self, reader: Reader, bytes: usize) -> SnapshotStep {
        let mut readers = self.snapshots.iter();
        let Some(index) = readers.position(|(other, _)| *other == reader) else {
            return SnapshotStep::GivenUp;
        };
        let (_, mut snapshot) = self.snapshots.swap_remove(index);
        while snapshot.saver.len() < bytes {
            if snapshot.cursor.0 >= snapshot.tables_len {
                snapshot.saver.end();
                return SnapshotStep::Last(snapshot.saver.take());
            }
            self.write_segment(&mut snapshot, bytes);
        }
        let bytes = snapshot.saver.take();
        self.snapshots.push((reader, snapshot));
        SnapshotStep::Bytes(bytes)
    }

    /// To be called before an entry of the selected table changes.
    #[inline]
    pub(super) fn keep_for_snapshot(&mut self, hash: u64, place: Place) {
        if !self.snapshots.is_empty() {
            self.keep_old(hash, place);
        }
    }

    /// To be called before an entry is added to the selected table.
    #[inline]
    pub(super) fn leave_out_of_snapshot(&mut self, hash: u64, key: &[u8]) {
        if !self.snapshots.is_empty() {
            for (_, snapshot) in &mut self.snapshots {
                snapshot.settle(self.selected, hash, key);
            }
            self.bound_snapshots();
        }
    }

    /// Leaves tables that were emptied to the snapshot, as far as it still needs them.
    pub(super) fn hand_to_snapshot(&mut self, first: usize, tables: Vec<Table>) {
        if self.snapshots.is_empty() {
            return;
        }
        for (index, table) in (first..).zip(tables) {
            let table = Arc::new(table);
            for (_, snapshot) in &mut self.snapshots {
                let is_needed = (snapshot.cursor.0..snapshot.tables_len).contains(&index);
                if is_needed && !snapshot.detached.contains_key(&index) {
                    snapshot.detached.insert(index, Arc::clone(&table));
                }
            }
        }
    }

    /// Writes what the snapshot still needs of a table that is going to be taken apart.
    pub(super) fn copy_to_snapshot(&mut self, index: usize, table: &Table) {
        let mut snapshots = std::mem::take(&mut self.snapshots);
        let number = self.databases[index >> self.slot_bits].number;
        for (_, snapshot) in &mut snapshots {
            for entry in table.iter() {
                let key = entry.key.as_bytes();
                if snapshot.settle(index, self.hash(key), key) {
                    snapshot.write(number, entry);
                }
            }
        }
        self.snapshots = snapshots;
        self.bound_snapshots();
    }

    #[cold]
    fn keep_old(&mut self, hash: u64, place: Place) {
        let entry = self.tables[self.selected].at(place);
        for (_, snapshot) in &mut self.snapshots {
            if snapshot.settle(self.selected, hash, entry.key.as_bytes()) {
                let number = self.databases[self.selected >> self.slot_bits].number;
                snapshot.write(number, entry);
            }
        }
        self.bound_snapshots();
    }

    fn bound_snapshots(&mut self) {
        self.snapshots.retain(|(_, snapshot)| {
            snapshot.settled_bytes + snapshot.saver.len() <= snapshot.bytes_max
        });
    }

    /// Writes the keys whose turn it is, those of one segment of a table at most, until there are
    /// enough bytes.
    fn write_segment(&self, snapshot: &mut Snapshot, bytes: usize) {
        let (index, from) = snapshot.cursor;
        let number = self.databases[index >> self.slot_bits].number;
        let table = snapshot.detached.get(&index);
        let table = table.map_or(&self.tables[index], |table| &**table);
        let hash_of = |entry: &Entry| self.hash(entry.key.as_bytes());
        let (mut entries, end) = table.segment_from(from, hash_of);
        entries.sort_unstable_by_key(|(order, _)| *order);
        let settled = snapshot.settled.get(&index);
        let mut last = from;
        for (order, entry) in entries {
            // Keys of the same order have to be written together.
            if snapshot.saver.len() >= bytes && order > last {
                snapshot.cursor.1 = order;
                return;
            }
            last = order;
            let key = entry.key.as_bytes();
            if !settled.is_some_and(|settled| settled.contains(key)) {
                snapshot
                    .saver
                    .key(number, key, &entry.value, entry.expires_at);
            }
        }
        match end {
            Some(end) => snapshot.cursor.1 = end,
            None => snapshot.leave_table(),
        }
    }
}

impl Snapshot {
    /// Notes that a key of a table is not to be written any more; whether it was to be.
    fn settle(&mut self, index: usize, hash: u64, key: &[u8]) -> bool {
        let is_ahead = index < self.tables_len && (index, order(hash)) >= self.cursor;
        if !is_ahead || self.detached.contains_key(&index) {
            return false;
        }
        let settled = self.settled.entry(index).or_default();
        if settled.contains(key) {
            return false;
        }
        settled.insert(key.into());
        self.settled_bytes += settled_bytes(key);
        true
    }

    fn write(&mut self, database: u32, entry: &Entry) {
        let key = entry.key.as_bytes();
        self.saver
            .key(database, key, &entry.value, entry.expires_at);
    }

    /// Goes on to the next table and forgets what was noted of this one.
    fn leave_table(&mut self) {
        let index = self.cursor.0;
        self.detached.remove(&index);
        for key in self.settled.remove(&index).unwrap_or_default() {
            self.settled_bytes -= settled_bytes(&key);
        }
        self.cursor = (index + 1, 0);
    }
}

/// What it takes to note a key, about.
fn settled_bytes(key: &[u8]) -> usize {
    key.len() + 48
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Model;

    use slotway_protocol::cluster::Slot;

    use super::*;
    use crate::command::Random;
    use crate::persistence::rdb::{About, Loader};
    use crate::value::Value;
    use crate::value::text::Text;

    type Keys = Model<(u32, Vec<u8>), (Vec<u8>, u64)>;

    fn saver() -> Saver {
        let about = About {
            server_version: "7.0.15",
            unix_seconds: 0,
            memory: 0,
            position: None,
            is_aof_base: false,
        };
        Saver::new(about, true, true)
    }

    fn text(value: &Value) -> Vec<u8> {
        match value {
            Value::String(text) => text.as_bytes(&mut Default::default()).to_vec(),
            other => panic!("there are only strings: {other:?}"),
        }
    }

    fn loaded(file: &[u8]) -> Keys {
        let mut keys = Keys::new();
        let mut loader = Loader::new(None, true);
        let mut sink = |key: crate::persistence::rdb::LoadedKey<'_>| {
            let place = (key.database, key.key.to_vec());
            let old = keys.insert(place, (text(&key.value), key.expires_at));
            assert!(old.is_none(), "a key is written once");
            Ok(())
        };
        loader.push(file, &mut sink).unwrap();
        loader.finish(&mut sink).unwrap();
        keys
    }

    /// Changes something by chance, in the keyspace and in the model of it.
    fn change(keyspace: &mut Keyspace, model: &mut Keys, random: &mut Random) {
        let database = random.below(2) as u32;
        let key = format!("{{{}}}{}", random.below(5), random.below(3_000)).into_bytes();
        keyspace.select_database(database);
        keyspace.select(Slot::of(&key));
        let place = (database, key.clone());
        match random.below(1_000) {
            0 => {
                keyspace.clear_database();
                model.retain(|(number, _), _| *number != database);
            }
            1 => {
                keyspace.clear();
                model.clear();
            }
            2 if keyspace.is_clustered() => {
                keyspace.export_slot(Slot::of(&key));
                model.retain(|(_, other), _| Slot::of(other) != Slot::of(&key));
            }
            3..300 => {
                keyspace.remove(&key);
                model.remove(&place);
            }
            300..400 => {
                if keyspace.set_expires_at(&key, 77)
                    && let Some(value) = model.get_mut(&place)
                {
                    value.1 = 77;
                }
            }
            400..500 => {
                if let Some(Value::String(value)) = keyspace.get_mut(&key) {
                    value.make_growing().push(b'+');
                    model.entry(place).and_modify(|value| value.0.push(b'+'));
                }
            }
            number => {
                let value = number.to_string().into_bytes();
                keyspace.set(&key, Value::String(Text::new(&value)));
                model.insert(place, (value, 0));
            }
        }
    }

    #[test]
    fn has_what_was_there_when_it_began() {
        for seed in 0..40 {
            let mut random = Random::new(seed);
            let mut keyspace = Keyspace::new(seed % 2 == 0, seed);
            let mut model = Keys::new();
            for _ in 0..6_000 {
                change(&mut keyspace, &mut model, &mut random);
            }
            let before = model.clone();
            keyspace.begin_snapshot(Reader::Replicas, saver(), usize::MAX);
            for _ in 0..random.below(100) {
                change(&mut keyspace, &mut model, &mut random);
            }
            let expected = model.clone();
            keyspace.begin_snapshot(Reader::File, saver(), usize::MAX);
            let (mut file, mut steps) = (Vec::new(), 0);
            let (mut other_file, mut is_over) = (Vec::new(), false);
            loop {
                for _ in 0..random.below(60) {
                    change(&mut keyspace, &mut model, &mut random);
                }
                steps += 1;
                if !is_over {
                    match keyspace.continue_snapshot(Reader::Replicas, 300) {
                        SnapshotStep::Bytes(bytes) => other_file.extend(bytes),
                        SnapshotStep::Last(bytes) => {
                            other_file.extend(bytes);
                            is_over = true;
                        }
                        SnapshotStep::GivenUp => panic!("there was room"),
                    }
                }
                match keyspace.continue_snapshot(Reader::File, 500) {
                    SnapshotStep::Bytes(bytes) => file.extend(bytes),
                    SnapshotStep::Last(bytes) => break file.extend(bytes),
                    SnapshotStep::GivenUp => panic!("there was room"),
                }
            }
            assert!(steps > 10 || expected.len() < 500, "it is written in steps");
            assert!(loaded(&file) == expected, "seed {seed}");
            while !is_over {
                let step = keyspace.continue_snapshot(Reader::Replicas, 300);
                is_over = matches!(step, SnapshotStep::Last(_));
                if let SnapshotStep::Bytes(bytes) | SnapshotStep::Last(bytes) = step {
                    other_file.extend(bytes);
                }
            }
            assert!(loaded(&other_file) == before, "seed {seed}");
            keyspace.check_invariants();
        }
    }

    #[test]
    fn is_given_up_when_it_would_keep_too_much() {
        let mut keyspace = Keyspace::new(false, 1);
        for index in 0..1_000 {
            let key = format!("key:{index}");
            keyspace.set(key.as_bytes(), Value::String(Text::new(&[b'v'; 30])));
        }
        keyspace.begin_snapshot(Reader::File, saver(), 1_000);
        assert!(matches!(
            keyspace.continue_snapshot(Reader::File, 1),
            SnapshotStep::Bytes(_)
        ));
        for index in 0..1_000 {
            keyspace.remove(format!("key:{index}").as_bytes());
        }
        assert_eq!(
            keyspace.continue_snapshot(Reader::File, 1),
            SnapshotStep::GivenUp
        );
    }
}
