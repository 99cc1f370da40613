//! The keys of one slot: a hash table that grows segment by segment, so that no insertion ever
//! pays for moving all keys, and that can be walked in an order which growing does not change.

use hashbrown::HashTable;

use crate::value::Value;

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Value,
    /// Unix time in milliseconds; 0 for never.
    pub(super) expires_at: u64,
}

impl Entry {
    #[inline]
    pub(super) fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at != 0 && self.expires_at <= now_ms
    }
}

/// A key, in place when it is short.
#[derive(Debug, Clone)]
pub(super) enum Key {
    Inline { len: u8, bytes: [u8; INLINE_MAX] },
    Heap(Box<[u8]>),
}

impl Key {
    #[inline]
    pub(super) fn new(key: &[u8]) -> Self {
        if key.len() > INLINE_MAX {
            return Self::Heap(key.into());
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..key.len()].copy_from_slice(key);
        Self::Inline {
            len: key.len() as u8,
            bytes,
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Heap(bytes) => bytes.len(),
        }
    }
}

/// Where an entry is; valid until the table changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    segment: usize,
    bucket: usize,
}

/// A table of entries. Every method that takes a hash expects that of the key.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// All entries, until there are too many for one segment.
    only: HashTable<Entry>,
    split: Option<Box<Split>>,
    len: usize,
    /// How many entries have an expiry.
    pub(super) expiring: usize,
}

/// The segments of a large table: entries are told apart by the first bits of their order.
#[derive(Debug, Default)]
struct Split {
    /// Indexed by the first `depth` bits of the order; holds the index of a segment.
    directory: Vec<u32>,
    depth: u32,
    segments: Vec<Segment>,
}

#[derive(Debug, Default)]
struct Segment {
    entries: HashTable<Entry>,
    /// How many bits of the order its entries share.
    depth: u32,
}

impl Table {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let segment = self.segment_index(hash);
        let bucket = self
            .entries(segment)
            .find_bucket_index(hash, |entry| entry.key.as_bytes() == key)?;
        Some(Place { segment, bucket })
    }

    #[inline]
    pub(super) fn at(&self, place: Place) -> &Entry {
        match self.entries(place.segment).get_bucket(place.bucket) {
            Some(entry) => entry,
            None => unreachable!("a place is used only while its entry is there"),
        }
    }

    #[inline]
    pub(super) fn at_mut(&mut self, place: Place) -> &mut Entry {
        match self.entries_mut(place.segment).get_bucket_mut(place.bucket) {
            Some(entry) => entry,
            None => unreachable!("a place is used only while its entry is there"),
        }
    }

    /// Adds an entry whose key is not there yet.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry, hash_of: impl Fn(&Entry) -> u64) {
        if self.entries(self.segment_index(hash)).len() >= SEGMENT_MAX {
            self.grow(hash, &hash_of);
        }
        self.len += 1;
        self.expiring += usize::from(entry.expires_at != 0);
        let segment = self.segment_index(hash);
        self.entries_mut(segment)
            .insert_unique(hash, entry, hash_of);
    }

    pub(super) fn remove(&mut self, place: Place) -> Entry {
        let entries = self.entries_mut(place.segment);
        let entry = match entries.get_bucket_entry(place.bucket) {
            Ok(occupied) => occupied.remove().0,
            Err(_) => unreachable!("a place is used only while its entry is there"),
        };
        if entries.is_empty() && entries.capacity() > KEPT_CAPACITY {
            *entries = HashTable::new();
        }
        self.len -= 1;
        self.expiring -= usize::from(entry.expires_at != 0);
        if self.len == 0 {
            self.split = None;
        }
        entry
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        let segments = self.split.iter().flat_map(|split| &split.segments);
        self.only
            .iter()
            .chain(segments.flat_map(|segment| segment.entries.iter()))
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry> {
        let segments = self.split.map(|split| split.segments).unwrap_or_default();
        let segments = segments.into_iter().map(|segment| segment.entries);
        self.only.into_iter().chain(segments.flatten())
    }

    /// Visits about `count` entries, those that come next in order from `from` on, and returns
    /// where to go on. An entry that stays is visited in each walk from 0 to the end, exactly
    /// once, whatever happens to the others.
    pub(super) fn walk<'a>(
        &'a self,
        from: u64,
        count: usize,
        hash_of: impl Fn(&Entry) -> u64,
        visit: &mut dyn FnMut(&'a Entry),
    ) -> Option<u64> {
        let (mut from, mut left) = (from, count.max(1));
        loop {
            let (mut found, end) = self.segment_from(from, &hash_of);
            if found.len() > left {
                found.sort_unstable_by_key(|(order, _)| *order);
                let last = found[left - 1].0;
                for (_, entry) in found.iter().take_while(|(order, _)| *order <= last) {
                    visit(entry);
                }
                return (last < ORDER_MAX).then_some(last + 1);
            }
            left -= found.len();
            for (_, entry) in found {
                visit(entry);
            }
            match end {
                Some(end) if left == 0 => return Some(end),
                Some(end) => from = end,
                None => return None,
            }
        }
    }

    /// The entries of the segment in which `from` is, those from there on, with their order, and
    /// where the next segment begins, if there is one.
    pub(super) fn segment_from(
        &self,
        from: u64,
        hash_of: impl Fn(&Entry) -> u64,
    ) -> (Vec<(u64, &Entry)>, Option<u64>) {
        let (entries, end) = self.segment_at(from);
        let ordered = entries.iter().map(|entry| (order(hash_of(entry)), entry));
        let found = ordered.filter(|(order, _)| *order >= from).collect();
        (found, end)
    }

    /// An entry by chance, if there is one. `random` returns a number below its argument.
    pub(super) fn choose(&self, mut random: impl FnMut(usize) -> usize) -> Option<&Entry> {
        if self.len == 0 {
            return None;
        }
        loop {
            let segments = self.split.as_ref().map_or(1, |split| split.segments.len());
            let entries = self.entries(random(segments));
            if entries.is_empty() {
                continue;
            }
            for _ in 0..CHOOSE_TRIES {
                if let Some(entry) = entries.get_bucket(random(entries.num_buckets())) {
                    return Some(entry);
                }
            }
            return entries.iter().nth(random(entries.len()));
        }
    }

    /// The bytes of memory that the table itself takes, without what values have on the heap.
    pub(super) fn memory(&self) -> usize {
        let segments = self.split.iter().flat_map(|split| &split.segments);
        self.only.allocation_size()
            + segments
                .map(|segment| size_of::<Segment>() + segment.entries.allocation_size())
                .sum::<usize>()
    }

    #[inline]
    fn segment_index(&self, hash: u64) -> usize {
        match &self.split {
            None => 0,
            Some(split) => split.directory[prefix(order(hash), split.depth)] as usize,
        }
    }

    #[inline]
    fn entries(&self, segment: usize) -> &HashTable<Entry> {
        match &self.split {
            None => &self.only,
            Some(split) => &split.segments[segment].entries,
        }
    }

    #[inline]
    fn entries_mut(&mut self, segment: usize) -> &mut HashTable<Entry> {
        match &mut self.split {
            None => &mut self.only,
            Some(split) => &mut split.segments[segment].entries,
        }
    }

    /// The segment in which `from` is, and the order at which the next one begins, if any.
    fn segment_at(&self, from: u64) -> (&HashTable<Entry>, Option<u64>) {
        let Some(split) = &self.split else {
            return (&self.only, None);
        };
        let segment = &split.segments[split.directory[prefix(from, split.depth)] as usize];
        let next = (prefix(from, segment.depth) as u64 + 1) << (ORDER_BITS - segment.depth);
        (&segment.entries, (next <= ORDER_MAX).then_some(next))
    }

    /// Makes room in the segment of that hash.
    #[cold]
    fn grow(&mut self, hash: u64, hash_of: &impl Fn(&Entry) -> u64) {
        let split = self.split.get_or_insert_with(|| {
            Box::new(Split {
                directory: vec![0],
                depth: 0,
                segments: vec![Segment {
                    entries: std::mem::take(&mut self.only),
                    depth: 0,
                }],
            })
        });
        split.divide(order(hash), hash_of);
    }
}

impl Split {
    /// Divides the segment in which `at` is into two, by the next bit of their order.
    fn divide(&mut self, at: u64, hash_of: &impl Fn(&Entry) -> u64) {
        let index = self.directory[prefix(at, self.depth)] as usize;
        let depth = self.segments[index].depth;
        if depth == DEPTH_MAX {
            return;
        }
        if depth == self.depth {
            self.directory = self
                .directory
                .iter()
                .flat_map(|segment| [*segment, *segment])
                .collect();
            self.depth += 1;
        }
        let mut halves = [HashTable::new(), HashTable::new()];
        for entry in std::mem::take(&mut self.segments[index].entries) {
            let hash = hash_of(&entry);
            let half = prefix(order(hash), depth + 1) & 1;
            halves[half].insert_unique(hash, entry, hash_of);
        }
        let [lower, upper] = halves;
        self.segments[index] = Segment {
            entries: lower,
            depth: depth + 1,
        };
        let new = self.segments.len() as u32;
        self.segments.push(Segment {
            entries: upper,
            depth: depth + 1,
        });
        let width = 1usize << (self.depth - depth - 1);
        let first = (prefix(at, depth + 1) | 1) * width;
        self.directory[first..first + width].fill(new);
    }
}

/// The place of a hash in the order of a walk. Uses bits that a segment's own table does not
/// place by, so that the entries of a segment are still well spread.
#[inline]
pub(super) fn order(hash: u64) -> u64 {
    (hash << 7) >> (64 - ORDER_BITS)
}

#[inline]
fn prefix(order: u64, bits: u32) -> usize {
    (order >> (ORDER_BITS - bits)) as usize
}

/// The heap memory of an entry's key, for MEMORY USAGE.
pub(super) fn key_heap_bytes(entry: &Entry) -> usize {
    entry.key.heap_bytes()
}

/// How many bits an order has: with those of a slot and what a proxy adds to a cursor few enough
/// for clients that keep cursors in a double. Keys of the same order are visited together.
pub(super) const ORDER_BITS: u32 = 29;

const ORDER_MAX: u64 = (1 << ORDER_BITS) - 1;

/// The longest key kept in place; with the tag and the length this makes 24 bytes.
const INLINE_MAX: usize = 22;

/// What a hash table of 256 buckets takes before it would grow.
const SEGMENT_MAX: usize = 224;

/// Entries that share so many bits of their hash are left in one segment, however many they are.
const DEPTH_MAX: u32 = 24;

/// An empty segment keeps a table of that capacity for the next entries.
const KEPT_CAPACITY: usize = 28;

const CHOOSE_TRIES: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;

    use super::*;
    use crate::value::text::Text;

    fn hash_of(key: &[u8]) -> u64 {
        FixedState::with_seed(7).hash_one(key)
    }

    fn entry(key: &str) -> Entry {
        Entry {
            key: Key::new(key.as_bytes()),
            value: Value::String(Text::new(key.as_bytes())),
            expires_at: 0,
        }
    }

    fn insert(table: &mut Table, key: &str) {
        table.insert(hash_of(key.as_bytes()), entry(key), |entry| {
            hash_of(entry.key.as_bytes())
        });
    }

    fn remove(table: &mut Table, key: &str) {
        let place = table.find(hash_of(key.as_bytes()), key.as_bytes()).unwrap();
        table.remove(place);
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 56);
    }

    #[test]
    fn finds_what_was_inserted() {
        let mut table = Table::default();
        for index in 0..20_000 {
            insert(&mut table, &format!("key:{index}"));
        }
        assert_eq!(table.len(), 20_000);
        assert_eq!(table.iter().count(), 20_000);
        for index in (0..20_000).step_by(2) {
            remove(&mut table, &format!("key:{index}"));
        }
        for index in 0..20_000 {
            let key = format!("key:{index}");
            let place = table.find(hash_of(key.as_bytes()), key.as_bytes());
            assert_eq!(place.is_some(), index % 2 == 1, "{key}");
        }
        assert_eq!(table.len(), 10_000);
    }

    #[test]
    fn a_walk_misses_nothing_while_the_table_grows_and_shrinks() {
        let mut table = Table::default();
        let stays: Vec<String> = (0..3_000).map(|index| format!("stays:{index}")).collect();
        for key in &stays {
            insert(&mut table, key);
        }
        let mut seen = Vec::new();
        let (mut from, mut step) = (Some(0), 0);
        while let Some(position) = from {
            let hash = |entry: &Entry| hash_of(entry.key.as_bytes());
            let mut visit = |entry: &Entry| seen.push(entry.key.as_bytes().to_vec());
            from = table.walk(position, 10, hash, &mut visit);
            step += 1;
            for index in 0..60 {
                insert(&mut table, &format!("new:{step}:{index}"));
            }
            if step % 2 == 0 {
                for index in 0..60 {
                    remove(&mut table, &format!("new:{step}:{index}"));
                }
            }
        }
        assert!(step > 300, "the walk is in small steps: {step}");
        let unique: HashSet<_> = seen.iter().cloned().collect();
        assert_eq!(unique.len(), seen.len(), "nothing is visited twice");
        for key in &stays {
            assert!(unique.contains(key.as_bytes()), "{key} was missed");
        }
    }

    #[test]
    fn chooses_every_entry_some_time() {
        let mut table = Table::default();
        for index in 0..500 {
            insert(&mut table, &format!("{index}"));
        }
        let mut random = crate::command::Random::new(3);
        let chosen: HashSet<Vec<u8>> = (0..20_000)
            .filter_map(|_| table.choose(|bound| random.below(bound)))
            .map(|entry| entry.key.as_bytes().to_vec())
            .collect();
        assert_eq!(chosen.len(), 500);
    }
}
