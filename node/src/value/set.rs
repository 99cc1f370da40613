//! The value of a set key: distinct byte strings, or integers while there are only those.

use crate::number::parse_i64;

use super::hash::table::{Table, scan_positions};

/// Distinct byte strings.
#[derive(Debug, Clone)]
pub(crate) struct Set(Repr);

#[derive(Debug, Clone)]
enum Repr {
    /// Ascending.
    Integers(Vec<i64>),
    Members(Table<()>),
}

/// `set-max-intset-entries` of redis-server 7.0.
const INTEGERS_LEN_MAX: usize = 512;

impl Default for Set {
    fn default() -> Self {
        Self(Repr::Integers(Vec::new()))
    }
}

impl Set {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Repr::Integers(integers) => integers.len(),
            Repr::Members(table) => table.len(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The answer of OBJECT ENCODING.
    pub(crate) fn encoding(&self) -> &'static str {
        match &self.0 {
            Repr::Integers(_) => "intset",
            Repr::Members(_) => "hashtable",
        }
    }

    /// The members in ascending order while all are integers.
    pub(crate) fn integers(&self) -> Option<&[i64]> {
        match &self.0 {
            Repr::Integers(integers) => Some(integers),
            Repr::Members(_) => None,
        }
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Repr::Integers(integers) => integers.capacity() * size_of::<i64>(),
                Repr::Members(table) => table.memory(),
            }
    }

    pub(crate) fn contains(&self, member: &[u8]) -> bool {
        match &self.0 {
            Repr::Integers(integers) => {
                parse_i64(member).is_some_and(|integer| integers.binary_search(&integer).is_ok())
            }
            Repr::Members(table) => table.position(member).is_some(),
        }
    }

    /// Adds a member; whether it is new.
    pub(crate) fn add(&mut self, member: &[u8]) -> bool {
        match &mut self.0 {
            Repr::Members(table) => table.insert(member, ()).is_none(),
            Repr::Integers(integers) => {
                let Some(integer) = parse_i64(member) else {
                    return self.members_mut().insert(member, ()).is_none();
                };
                let Err(position) = integers.binary_search(&integer) else {
                    return false;
                };
                integers.insert(position, integer);
                if integers.len() > INTEGERS_LEN_MAX {
                    self.members_mut();
                }
                true
            }
        }
    }

    /// Removes a member; whether it was there.
    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        let position = match &self.0 {
            Repr::Integers(integers) => {
                parse_i64(member).and_then(|integer| integers.binary_search(&integer).ok())
            }
            Repr::Members(table) => table.position(member),
        };
        if let Some(position) = position {
            self.remove_at(position);
        }
        position.is_some()
    }

    /// Removes the member at a position below [`Set::len`]; another may take its place.
    ///
    /// # Panics
    /// When there is no such position.
    pub(crate) fn remove_at(&mut self, position: usize) {
        match &mut self.0 {
            Repr::Integers(integers) => {
                integers.remove(position);
            }
            Repr::Members(table) => {
                table.remove(position);
            }
        }
    }

    /// The member at a position below [`Set::len`].
    ///
    /// # Panics
    /// When there is no such position.
    pub(crate) fn at(&self, position: usize) -> Member<'_> {
        match &self.0 {
            Repr::Integers(integers) => Member::integer(integers[position]),
            Repr::Members(table) => Member(MemberRepr::Bytes(&table.entries()[position].0)),
        }
    }

    /// All members.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Member<'_>> {
        (0..self.len()).map(|position| self.at(position))
    }

    /// The positions of the next about `count` members of a scan, and the cursor after them; all
    /// at once while there are only integers.
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> (core::ops::Range<usize>, u64) {
        match &self.0 {
            Repr::Integers(integers) => (0..integers.len(), 0),
            Repr::Members(table) => scan_positions(table.len(), cursor, count),
        }
    }

    /// The members as byte strings, converted if need be.
    fn members_mut(&mut self) -> &mut Table<()> {
        if let Repr::Integers(integers) = &self.0 {
            let mut table = Table::default();
            table.reserve(integers.len() + 1);
            for integer in integers {
                table.insert(&Member::integer(*integer), ());
            }
            self.0 = Repr::Members(table);
        }
        match &mut self.0 {
            Repr::Members(table) => table,
            Repr::Integers(_) => unreachable!("integers were converted above"),
        }
    }
}

/// One member of a set, to be read as bytes.
#[derive(Debug, Clone)]
pub(crate) struct Member<'a>(MemberRepr<'a>);

#[derive(Debug, Clone)]
enum MemberRepr<'a> {
    Bytes(&'a [u8]),
    /// Digits at the end of the buffer, from `start` on.
    Digits {
        buffer: [u8; INTEGER_BYTES_MAX],
        start: u8,
    },
}

/// The length of `i64::MIN` in decimal.
const INTEGER_BYTES_MAX: usize = 20;

impl Member<'_> {
    fn integer(integer: i64) -> Self {
        let mut buffer = [0; INTEGER_BYTES_MAX];
        let mut start = INTEGER_BYTES_MAX;
        let mut rest = integer.unsigned_abs();
        loop {
            start -= 1;
            buffer[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if integer < 0 {
            start -= 1;
            buffer[start] = b'-';
        }
        Self(MemberRepr::Digits {
            buffer,
            start: start as u8,
        })
    }
}

impl core::ops::Deref for Member<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            MemberRepr::Bytes(bytes) => bytes,
            MemberRepr::Digits { buffer, start } => &buffer[usize::from(*start)..],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(set: &Set) -> Vec<String> {
        set.iter()
            .map(|m| String::from_utf8_lossy(&m).into_owned())
            .collect()
    }

    #[test]
    fn integers_are_sorted_until_something_else_comes() {
        let mut set = Set::default();
        for member in [
            "5",
            "-3",
            "9223372036854775807",
            "-9223372036854775808",
            "0",
            "100",
        ] {
            assert!(set.add(member.as_bytes()));
            assert!(!set.add(member.as_bytes()));
        }
        let sorted = [
            "-9223372036854775808",
            "-3",
            "0",
            "5",
            "100",
            "9223372036854775807",
        ];
        assert_eq!(members(&set), sorted);
        assert_eq!(set.encoding(), "intset");
        assert!(!set.remove(b"abc"));
        assert!(!set.contains(b"05"));
        assert!(set.add(b"05"));
        assert_eq!(set.encoding(), "hashtable");
        assert!(set.contains(b"5") && set.contains(b"05") && set.contains(b"-3"));
        assert!(set.remove(b"05"));
        assert!(!set.remove(b"05"));
        assert_eq!(set.encoding(), "hashtable");
        assert_eq!(set.len(), 6);
    }

    #[test]
    fn many_integers_become_members() {
        let mut set = Set::default();
        for i in 0..513 {
            assert_eq!(set.encoding(), "intset");
            assert!(set.add(format!("{}", i * 7 % 513).as_bytes()));
        }
        assert_eq!(set.encoding(), "hashtable");
        assert_eq!(set.len(), 513);
        for i in 0..513 {
            assert!(set.remove(format!("{i}").as_bytes()));
        }
        assert!(set.is_empty());
    }

    #[test]
    fn removes_by_position() {
        for extra in [&b"7"[..], b"x"] {
            let mut set = Set::default();
            for member in [&b"1"[..], b"2", b"3", extra] {
                set.add(member);
            }
            let second = set.at(1).to_vec();
            set.remove_at(1);
            assert!(!set.contains(&second));
            assert_eq!(set.len(), 3);
        }
    }
}
