//! A hash table whose entries lie densely in a vector, so that any of them can be picked by its
//! position: at random, in order of insertion, or by a cursor that survives changes.

use core::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::compact::CompactBytes;

/// Keys and values, each at a position below the length.
///
/// [`Table::remove`] moves the last entry into the gap: an entry only ever moves to a lower
/// position. [`Table::remove_ordered`] keeps the order and moves all behind the gap.
#[derive(Debug, Clone)]
pub(crate) struct Table<V> {
    entries: Vec<(CompactBytes, V)>,
    /// Empty while the table is so small that looking at all keys is faster; else a power of two.
    slots: Vec<Slot>,
    /// Only which slot a key is in depends on it, never anything a caller can see.
    hasher: RandomState,
    /// What keys and values hold on the heap.
    heap_bytes: usize,
}

/// A place in the open-addressed index of the entries.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    /// [`VACANT`], or the position of the entry.
    position: u32,
}

const VACANT: u32 = u32::MAX;
const VACANT_SLOT: Slot = Slot {
    hash: 0,
    position: VACANT,
};

/// Up to here there is no index.
const LINEAR_LEN_MAX: usize = 12;

/// What a value holds outside of itself.
pub(crate) trait HeapBytes {
    fn heap_bytes(&self) -> usize;
}

impl HeapBytes for () {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl HeapBytes for f64 {
    fn heap_bytes(&self) -> usize {
        0
    }
}

impl HeapBytes for CompactBytes {
    fn heap_bytes(&self) -> usize {
        Self::heap_bytes(self)
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            slots: Vec::new(),
            hasher: RandomState::default(),
            heap_bytes: 0,
        }
    }
}

impl<V: HeapBytes> Table<V> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<(CompactBytes, V)>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.heap_bytes
    }

    /// The entries in order of their positions.
    pub(crate) fn entries(&self) -> &[(CompactBytes, V)] {
        &self.entries
    }

    /// Makes room for `additional` more entries.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.entries.reserve(additional);
    }

    /// The position of `key`.
    #[inline]
    pub(crate) fn position(&self, key: &[u8]) -> Option<usize> {
        if self.slots.is_empty() {
            return self.entries.iter().position(|(k, _)| k[..] == *key);
        }
        let slot = self.find_slot(self.hash(key), key)?;
        Some(self.slots[slot].position as usize)
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<&V> {
        let position = self.position(key)?;
        Some(&self.entries[position].1)
    }

    /// Adds an entry or replaces its value; the old value is returned.
    pub(crate) fn insert(&mut self, key: &[u8], value: V) -> Option<V> {
        if self.slots.is_empty() {
            if let Some(position) = self.position(key) {
                return Some(self.replace(position, value));
            }
            self.append(key, value);
            return None;
        }
        let hash = self.hash(key);
        if let Some(slot) = self.find_slot(hash, key) {
            return Some(self.replace(self.slots[slot].position as usize, value));
        }
        let position = self.entries.len() as u32;
        self.push(key, value);
        self.occupy(Slot { hash, position });
        self.grow();
        None
    }

    /// Sets the value at `position`, returns the old one.
    ///
    /// # Panics
    /// When there is no such position.
    pub(crate) fn replace(&mut self, position: usize, value: V) -> V {
        self.heap_bytes += value.heap_bytes();
        let old = std::mem::replace(&mut self.entries[position].1, value);
        self.heap_bytes -= old.heap_bytes();
        old
    }

    /// Removes the entry at `position`; the last entry takes its place.
    ///
    /// # Panics
    /// When there is no such position.
    pub(crate) fn remove(&mut self, position: usize) -> (CompactBytes, V) {
        let last = self.entries.len() - 1;
        if !self.slots.is_empty() {
            let slot = self.slot_of_position(position);
            self.vacate(slot);
            if position != last {
                let slot = self.slot_of_position(last);
                self.slots[slot].position = position as u32;
            }
        }
        let entry = self.entries.swap_remove(position);
        self.forget(&entry);
        entry
    }

    /// Removes the entry at `position`; all behind it move down. For small tables only: it costs
    /// as much as the table is long.
    ///
    /// # Panics
    /// When there is no such position.
    pub(crate) fn remove_ordered(&mut self, position: usize) -> (CompactBytes, V) {
        if !self.slots.is_empty() {
            let slot = self.slot_of_position(position);
            self.vacate(slot);
            for slot in &mut self.slots {
                if slot.position != VACANT && slot.position as usize > position {
                    slot.position -= 1;
                }
            }
        }
        let entry = self.entries.remove(position);
        self.forget(&entry);
        entry
    }

    fn append(&mut self, key: &[u8], value: V) {
        self.push(key, value);
        if self.entries.len() > LINEAR_LEN_MAX {
            self.rebuild();
        }
    }

    fn push(&mut self, key: &[u8], value: V) {
        let key = CompactBytes::from(key);
        self.heap_bytes += key.heap_bytes() + value.heap_bytes();
        self.entries.push((key, value));
    }

    /// Accounts for an entry that was removed and gives back room that is no longer needed.
    fn forget(&mut self, (key, value): &(CompactBytes, V)) {
        self.heap_bytes -= key.heap_bytes() + value.heap_bytes();
        let len = self.entries.len();
        if self.entries.capacity() > SHRINK_CAPACITY_MIN && len * 8 < self.entries.capacity() {
            self.entries.shrink_to(len * 2);
            self.rebuild();
        }
    }

    fn hash(&self, key: &[u8]) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// The slot that points to `key`.
    #[inline]
    fn find_slot(&self, hash: u32, key: &[u8]) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.position == VACANT {
                return None;
            }
            if slot.hash == hash && self.entries[slot.position as usize].0[..] == *key {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    /// The slot that points to `position`.
    fn slot_of_position(&self, position: usize) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = self.hash(&self.entries[position].0) as usize & mask;
        while self.slots[at].position != position as u32 {
            debug_assert!(self.slots[at].position != VACANT, "every entry has a slot");
            at = (at + 1) & mask;
        }
        at
    }

    /// Puts a slot into the first vacant place from its home on.
    fn occupy(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].position != VACANT {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    /// Empties a slot and moves those behind it up, so that no search stops too early.
    fn vacate(&mut self, mut gap: usize) {
        let mask = self.slots.len() - 1;
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.position == VACANT {
                break;
            }
            let home = slot.hash as usize & mask;
            let from_home = at.wrapping_sub(home) & mask;
            let from_gap = at.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.slots[gap] = slot;
                gap = at;
            }
        }
        self.slots[gap] = VACANT_SLOT;
    }

    /// Keeps at least a third of the slots vacant.
    fn grow(&mut self) {
        if self.entries.len() * 3 <= self.slots.len() * 2 {
            return;
        }
        let len = self.slots.len() * 2;
        let old = std::mem::replace(&mut self.slots, vec![VACANT_SLOT; len]);
        for slot in old {
            if slot.position != VACANT {
                self.occupy(slot);
            }
        }
    }

    /// Makes the index anew, as large as the number of entries asks for.
    fn rebuild(&mut self) {
        if self.entries.len() <= LINEAR_LEN_MAX {
            self.slots = Vec::new();
            return;
        }
        let len = (self.entries.len() * 2).next_power_of_two();
        self.slots = vec![VACANT_SLOT; len];
        for position in 0..self.entries.len() {
            let hash = self.hash(&self.entries[position].0);
            let position = position as u32;
            self.occupy(Slot { hash, position });
        }
    }
}

/// Smaller vectors are not worth being shrunk.
const SHRINK_CAPACITY_MIN: usize = 64;

/// The positions that a scan visits next, from the highest down, and the cursor after them.
///
/// An entry only ever moves to a lower position, so one that stays in a table for a whole scan is
/// visited at least once. Cursor 0 starts a scan, and ends it.
pub(crate) fn scan_positions(
    len: usize,
    cursor: u64,
    count: usize,
) -> (core::ops::Range<usize>, u64) {
    let end = match usize::try_from(cursor) {
        Ok(cursor) if cursor != 0 => cursor.min(len),
        _ => len,
    };
    let start = end.saturating_sub(count.max(1));
    (start..end, start as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    fn compact(bytes: &[u8]) -> CompactBytes {
        CompactBytes::from(bytes)
    }

    /// A small generator, so that a failing run can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (self.0 >> 33) % bound
        }
    }

    fn check(table: &Table<CompactBytes>, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
        assert_eq!(table.len(), model.len());
        for (key, value) in model {
            assert_eq!(table.get(key).map(|v| v.to_vec()), Some(value.clone()));
        }
        let heap = |bytes: &[u8]| compact(bytes).heap_bytes();
        let heap_bytes: usize = model.iter().map(|(k, v)| heap(k) + heap(v)).sum();
        assert_eq!(table.heap_bytes, heap_bytes);
        if !table.slots.is_empty() {
            let used = table.slots.iter().filter(|s| s.position != VACANT).count();
            assert_eq!(used, table.len());
        }
    }

    #[test]
    fn agrees_with_a_model() {
        for (seed, keys) in [(1, 10), (2, 14), (3, 100), (4, 3000)] {
            let mut random = Random(seed);
            let mut table = Table::default();
            let mut model = BTreeMap::new();
            for step in 0..6000 {
                let key = format!("key-{}", random.below(keys))
                    .repeat(1 + step % 3)
                    .into_bytes();
                // Phases that mostly add and phases that mostly remove.
                if random.below(10) < if step / 1500 % 2 == 0 { 7 } else { 2 } {
                    let value = vec![b'x'; random.below(40) as usize];
                    let old = table.insert(&key, compact(&value)).map(|v| v.to_vec());
                    assert_eq!(old, model.insert(key, value));
                } else {
                    let position = table.position(&key);
                    let old = position.map(|p| match step % 2 {
                        0 => table.remove(p).1.to_vec(),
                        _ => table.remove_ordered(p).1.to_vec(),
                    });
                    assert_eq!(old, model.remove(&key));
                }
                if step % 50 == 0 {
                    check(&table, &model);
                }
            }
            check(&table, &model);
        }
    }

    #[test]
    fn ordered_removal_keeps_the_order() {
        let mut table = Table::default();
        for i in 0..100 {
            table.insert(format!("{i}").as_bytes(), ());
        }
        let position = table.position(b"40").unwrap();
        table.remove_ordered(position);
        let keys: Vec<String> = table
            .entries()
            .iter()
            .map(|(k, ())| String::from_utf8(k.to_vec()).unwrap())
            .collect();
        let expected: Vec<String> = (0..100)
            .filter(|i| *i != 40)
            .map(|i| i.to_string())
            .collect();
        assert_eq!(keys, expected);
        assert_eq!(table.position(b"99"), Some(98));
    }

    #[test]
    fn gives_memory_back() {
        let mut table = Table::default();
        for i in 0..10_000 {
            table.insert(format!("{i}").as_bytes(), ());
        }
        let full = table.memory();
        while table.len() > 10 {
            table.remove(0);
        }
        assert!(table.memory() < full / 50, "{} of {full}", table.memory());
    }

    #[test]
    fn a_scan_meets_all_that_stays() {
        for seed in 0..50 {
            let mut random = Random(seed);
            let mut table = Table::default();
            for i in 0..500 {
                table.insert(format!("{i}").as_bytes(), ());
            }
            let mut seen = HashSet::new();
            let mut cursor = 0;
            loop {
                let (positions, next) = scan_positions(table.len(), cursor, 7);
                seen.extend(table.entries()[positions].iter().map(|(k, ())| k.to_vec()));
                cursor = next;
                if cursor == 0 {
                    break;
                }
                for _ in 0..random.below(8) {
                    // Only odd ones come and go.
                    let key = format!("{}", random.below(500) * 2 + 1);
                    match table.position(key.as_bytes()) {
                        Some(position) => drop(table.remove(position)),
                        None => drop(table.insert(key.as_bytes(), ())),
                    }
                }
            }
            for i in (0..500).step_by(2) {
                assert!(
                    seen.contains(format!("{i}").as_bytes()),
                    "{i} with seed {seed}"
                );
            }
        }
    }
}
