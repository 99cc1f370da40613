//! The value of a sorted set key: members ordered by score, and by their bytes where scores are
//! equal.

mod sequence;

use core::cmp::Ordering;
use core::ops::Range;

use super::hash::compact::CompactBytes;
use super::hash::table::{Table, scan_positions};
use sequence::Sequence;

/// Members ordered by score. No score is ever NaN.
#[derive(Debug, Clone)]
pub(crate) struct SortedSet(Repr);

#[derive(Debug, Clone)]
enum Repr {
    /// In order.
    Small(Vec<(CompactBytes, f64)>),
    Large(Large),
}

#[derive(Debug, Clone, Default)]
struct Large {
    members: Table<f64>,
    order: Sequence<Ranked>,
}

/// A member in its place in the order.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    score: f64,
    /// Where it is in the table.
    position: u32,
}

/// `zset-max-listpack-entries` of redis-server 7.0.
const SMALL_LEN_MAX: usize = 128;
/// `zset-max-listpack-value` of redis-server 7.0.
const SMALL_BYTES_MAX: usize = 64;

impl Default for SortedSet {
    fn default() -> Self {
        Self(Repr::Small(Vec::new()))
    }
}

impl SortedSet {
    /// An empty set that is not small. The server combines sets in such ones, which shows in the
    /// sign of zeros; [`SortedSet::compact`] makes a small one of it where it can.
    pub(crate) fn large() -> Self {
        Self(Repr::Large(Large::default()))
    }

    /// An empty set that is to get so many members.
    pub(crate) fn with_len(len: usize) -> Self {
        if len > SMALL_LEN_MAX {
            Self::large()
        } else {
            Self::default()
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::Small(entries) => entries.len(),
            Repr::Large(large) => large.members.len(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The answer of OBJECT ENCODING.
    pub(crate) fn encoding(&self) -> &'static str {
        if self.is_small() {
            "listpack"
        } else {
            "skiplist"
        }
    }

    pub(crate) fn is_small(&self) -> bool {
        matches!(self.0, Repr::Small(_))
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Repr::Small(entries) => {
                    let heap_bytes: usize = entries.iter().map(|(m, _)| m.heap_bytes()).sum();
                    entries.capacity() * size_of::<(CompactBytes, f64)>() + heap_bytes
                }
                Repr::Large(large) => large.members.memory() + large.order.memory(),
            }
    }

    pub(crate) fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.0 {
            Repr::Small(entries) => entries
                .iter()
                .find(|(m, _)| m[..] == *member)
                .map(|(_, s)| *s),
            Repr::Large(large) => large.members.get(member).copied(),
        }
    }

    /// How many members come before this one.
    pub(crate) fn rank(&self, member: &[u8]) -> Option<usize> {
        match &self.0 {
            Repr::Small(entries) => entries.iter().position(|(m, _)| m[..] == *member),
            Repr::Large(large) => {
                let score = *large.members.get(member)?;
                Some(large.rank(score, member))
            }
        }
    }

    /// Adds a member or gives it another score; the old score is returned.
    pub(crate) fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        assert!(!score.is_nan(), "scores can be ordered");
        let entries = match &mut self.0 {
            Repr::Large(large) => return large.insert(member, score),
            Repr::Small(entries) => entries,
        };
        let old = entries.iter().position(|(m, _)| m[..] == *member);
        if old.is_none() && (entries.len() >= SMALL_LEN_MAX || member.len() > SMALL_BYTES_MAX) {
            return self.enlarge().insert(member, score);
        }
        let (entry, old) = match old {
            Some(rank) => {
                let (member, old) = entries.remove(rank);
                (member, Some(old))
            }
            None => (CompactBytes::from(member), None),
        };
        // A listpack has just one zero, so the server forgets the sign of this one.
        let score = score + 0.0;
        let rank = entries.partition_point(|(m, s)| compare(*s, m, score, &entry).is_lt());
        entries.insert(rank, (entry, score));
        old
    }

    /// Removes a member; its score is returned.
    pub(crate) fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let rank = self.rank(member)?;
        let (_, score) = self.remove_at(rank);
        Some(score)
    }

    /// Removes the member at a rank below [`SortedSet::len`].
    ///
    /// # Panics
    /// When there is no such rank.
    pub(crate) fn remove_at(&mut self, rank: usize) -> (CompactBytes, f64) {
        match &mut self.0 {
            Repr::Small(entries) => entries.remove(rank),
            Repr::Large(large) => large.remove_at(rank),
        }
    }

    /// The number of members at the front for which `is_before` holds; it must not hold for any
    /// member behind one for which it does not.
    pub(crate) fn partition_point(&self, mut is_before: impl FnMut(&[u8], f64) -> bool) -> usize {
        match &self.0 {
            Repr::Small(entries) => entries.partition_point(|(m, s)| is_before(m, *s)),
            Repr::Large(large) => large.order.partition_point(|ranked| {
                let (member, score) = large.member(*ranked);
                is_before(member, score)
            }),
        }
    }

    /// The number of members at the front whose score lets `is_before` hold. Looks at no member's
    /// bytes, so it is faster than [`SortedSet::partition_point`].
    pub(crate) fn partition_point_by_score(&self, mut is_before: impl FnMut(f64) -> bool) -> usize {
        match &self.0 {
            Repr::Small(entries) => entries.partition_point(|(_, s)| is_before(*s)),
            Repr::Large(large) => large
                .order
                .partition_point(|ranked| is_before(ranked.score)),
        }
    }

    /// The members of a range of ranks that lies within the length, in order.
    pub(crate) fn range(&self, range: Range<usize>) -> Members<'_> {
        Members {
            set: self,
            range,
            is_reversed: false,
            chunk: Chunk::default(),
        }
    }

    /// The members of a range of ranks that lies within the length, the last first.
    pub(crate) fn range_reversed(&self, range: Range<usize>) -> Members<'_> {
        Members {
            is_reversed: true,
            ..self.range(range)
        }
    }

    /// The positions of the next about `count` members of a scan, and the cursor after them; all
    /// at once while the set is small. They are for [`SortedSet::at_position`].
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> (Range<usize>, u64) {
        match &self.0 {
            Repr::Small(entries) => (0..entries.len(), 0),
            Repr::Large(large) => scan_positions(large.members.len(), cursor, count),
        }
    }

    /// The member at a position below [`SortedSet::len`], in no order.
    ///
    /// # Panics
    /// When there is no such position.
    pub(crate) fn at_position(&self, position: usize) -> (&[u8], f64) {
        let entries = match &self.0 {
            Repr::Small(entries) => entries,
            Repr::Large(large) => large.members.entries(),
        };
        (&entries[position].0, entries[position].1)
    }

    /// Makes a set small if it may be.
    pub(crate) fn compact(&mut self) {
        let Repr::Large(large) = &self.0 else {
            return;
        };
        let is_short = |(member, _): &(CompactBytes, f64)| member.len() <= SMALL_BYTES_MAX;
        if large.members.len() > SMALL_LEN_MAX || !large.members.entries().iter().all(is_short) {
            return;
        }
        let mut small = Self::default();
        for (member, score) in self.range(0..self.len()) {
            small.insert(member, score);
        }
        *self = small;
    }

    fn enlarge(&mut self) -> &mut Large {
        if let Repr::Small(entries) = &self.0 {
            let mut large = Large::default();
            large.members.reserve(entries.len() + 1);
            for (member, score) in entries {
                large.insert(member, *score);
            }
            self.0 = Repr::Large(large);
        }
        match &mut self.0 {
            Repr::Large(large) => large,
            Repr::Small(_) => unreachable!("it was enlarged above"),
        }
    }
}

impl Large {
    fn member(&self, ranked: Ranked) -> (&[u8], f64) {
        let (member, _) = &self.members.entries()[ranked.position as usize];
        (member, ranked.score)
    }

    /// How many members come before one of that score.
    fn rank(&self, score: f64, member: &[u8]) -> usize {
        let entries = self.members.entries();
        self.order.partition_point(|ranked| {
            // Only where scores are equal is it worth to look for the member's bytes.
            match compare_scores(ranked.score, score) {
                Ordering::Equal => entries[ranked.position as usize].0[..] < *member,
                order => order.is_lt(),
            }
        })
    }

    fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let position = self.members.position(member);
        let old = position.map(|position| self.members.entries()[position].1);
        match (position, old) {
            (Some(position), Some(old)) => {
                self.order.remove(self.rank(old, member));
                self.members.replace(position, score);
            }
            _ => {
                self.members.insert(member, score);
            }
        }
        let position = position.unwrap_or(self.members.len() - 1) as u32;
        self.order
            .insert(self.rank(score, member), Ranked { score, position });
        old
    }

    fn remove_at(&mut self, rank: usize) -> (CompactBytes, f64) {
        let removed = self.order.remove(rank);
        let position = removed.position as usize;
        let last = self.members.len() - 1;
        if position != last {
            // The table is about to move its last entry into the gap.
            let (member, score) = &self.members.entries()[last];
            let moved = Ranked {
                score: *score,
                position: removed.position,
            };
            let rank = self.rank(*score, member);
            self.order.replace(rank, moved);
        }
        self.members.remove(position)
    }
}

/// The order of members.
fn compare(score: f64, member: &[u8], other_score: f64, other_member: &[u8]) -> Ordering {
    compare_scores(score, other_score).then_with(|| member.cmp(other_member))
}

/// The two zeros are equal.
fn compare_scores(score: f64, other: f64) -> Ordering {
    score.partial_cmp(&other).unwrap_or(Ordering::Equal)
}

/// The members of a range of ranks, from either end.
#[derive(Debug, Clone)]
pub(crate) struct Members<'a> {
    set: &'a SortedSet,
    /// What is left.
    range: Range<usize>,
    is_reversed: bool,
    /// The part of a large set's order that was reached last.
    chunk: Chunk<'a>,
}

#[derive(Debug, Clone, Default)]
struct Chunk<'a> {
    ranked: &'a [Ranked],
    first: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rank = if self.is_reversed {
            self.range.next_back()?
        } else {
            self.range.next()?
        };
        let large = match &self.set.0 {
            Repr::Small(entries) => return Some((&entries[rank].0, entries[rank].1)),
            Repr::Large(large) => large,
        };
        let offset = rank.wrapping_sub(self.chunk.first);
        let ranked = match self.chunk.ranked.get(offset) {
            Some(ranked) => *ranked,
            None => {
                let (ranked, first) = large.order.chunk(rank);
                self.chunk = Chunk { ranked, first };
                ranked[rank - first]
            }
        };
        Some(large.member(ranked))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl ExactSizeIterator for Members<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Random;

    /// A model: all members in a sorted vector.
    fn check(set: &SortedSet, model: &[(f64, Vec<u8>)]) {
        assert_eq!(set.len(), model.len());
        let all: Vec<_> = set
            .range(0..set.len())
            .map(|(m, s)| (s, m.to_vec()))
            .collect();
        assert_eq!(all, model);
        let mut reversed: Vec<_> = set
            .range_reversed(0..set.len())
            .map(|(m, s)| (s, m.to_vec()))
            .collect();
        reversed.reverse();
        assert_eq!(reversed, model);
        for (rank, (score, member)) in model.iter().enumerate() {
            assert_eq!(set.rank(member), Some(rank));
            assert_eq!(set.score(member), Some(*score));
        }
        let mut unordered: Vec<_> = (0..set.len()).map(|p| set.at_position(p)).collect();
        unordered.sort_by(|a, b| compare(a.1, a.0, b.1, b.0));
        let ordered: Vec<_> = set.range(0..set.len()).collect();
        assert_eq!(unordered, ordered);
    }

    #[test]
    fn agrees_with_a_model() {
        for (seed, members, scores) in [(1, 60, 5), (2, 400, 3), (3, 2000, 100_000), (4, 3000, 1)] {
            let mut random = Random::new(seed);
            let mut set = SortedSet::default();
            let mut model: Vec<(f64, Vec<u8>)> = Vec::new();
            for step in 0..8000 {
                let member = format!("m{}", random.below(members)).into_bytes();
                let old = model.iter().position(|(_, m)| *m == member);
                let old_score = old.map(|at| model.remove(at).0);
                if random.below(10) < if step / 2000 % 2 == 0 { 8 } else { 3 } {
                    let score = random.below(scores) as f64 - 2.0;
                    let at = model.partition_point(|(s, m)| compare(*s, m, score, &member).is_lt());
                    model.insert(at, (score, member.clone()));
                    assert_eq!(set.insert(&member, score), old_score);
                } else {
                    assert_eq!(set.remove(&member), old_score);
                }
                if step % 400 == 0 {
                    check(&set, &model);
                }
            }
            check(&set, &model);
            for bound in [-3.0, -2.0, -1.5, 0.0, 40.0, 1e9] {
                let rank = model.partition_point(|(s, _)| *s < bound);
                assert_eq!(set.partition_point_by_score(|s| s < bound), rank);
                assert_eq!(set.partition_point(|_, s| s < bound), rank);
            }
        }
    }

    #[test]
    fn becomes_large_by_length_or_by_size() {
        let mut set = SortedSet::default();
        for i in 0..128 {
            set.insert(format!("{i}").as_bytes(), 1.0);
        }
        set.insert(b"0", 2.0);
        assert_eq!(set.encoding(), "listpack");
        set.insert(b"x", 1.0);
        assert_eq!(set.encoding(), "skiplist");
        set.remove(b"x");
        assert_eq!(set.encoding(), "skiplist");
        let mut set = SortedSet::default();
        set.insert(&[b'x'; 64], 1.0);
        assert_eq!(set.encoding(), "listpack");
        set.insert(&[b'x'; 65], 1.0);
        assert_eq!(set.encoding(), "skiplist");
    }

    #[test]
    fn becomes_small_only_where_it_can() {
        for (len, extra, small) in [
            (128, 0, true),
            (129, 0, false),
            (2, 64, true),
            (2, 65, false),
        ] {
            let mut set = SortedSet::large();
            for i in 0..len {
                set.insert(format!("{i}").as_bytes(), -f64::from(i));
            }
            if extra > 0 {
                set.insert(&vec![b'x'; extra], 0.5);
            }
            let before: Vec<_> = set
                .range(0..set.len())
                .map(|(m, s)| (m.to_vec(), s))
                .collect();
            assert_eq!(set.encoding(), "skiplist");
            set.compact();
            assert_eq!(set.is_small(), small, "{len} {extra}");
            let after: Vec<_> = set
                .range(0..set.len())
                .map(|(m, s)| (m.to_vec(), s))
                .collect();
            assert_eq!(before, after);
        }
    }

    #[test]
    fn both_zeros_are_equal() {
        let mut set = SortedSet::default();
        set.insert(b"b", 0.0);
        set.insert(b"a", -0.0);
        set.insert(b"c", -0.0);
        let members: Vec<_> = set.range(0..3).map(|(m, _)| m.to_vec()).collect();
        assert_eq!(members, [b"a", b"b", b"c"]);
    }
}
