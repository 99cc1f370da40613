//! The value of a hash key: fields and their values.

pub(crate) mod compact;
pub(crate) mod table;

use core::ops::Range;

use compact::CompactBytes;
use table::{Table, scan_positions};

/// Fields and their values. While it is small, the fields keep the order they came in, as
/// redis-server's listpack does; it never becomes small again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hash {
    table: Table<CompactBytes>,
    large: bool,
}

/// `hash-max-listpack-entries` of redis-server 7.0.
const SMALL_LEN_MAX: usize = 512;
/// `hash-max-listpack-value` of redis-server 7.0.
const SMALL_BYTES_MAX: usize = 64;

impl Hash {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The answer of OBJECT ENCODING.
    pub(crate) fn encoding(&self) -> &'static str {
        if self.large { "hashtable" } else { "listpack" }
    }

    /// Whether the fields are kept in the order they came in.
    pub(crate) fn is_small(&self) -> bool {
        !self.large
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.table.memory()
    }

    #[inline]
    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.table.get(field).map(|value| &value[..])
    }

    /// Sets a field; whether it is new.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let is_new = self
            .table
            .insert(field, CompactBytes::from(value))
            .is_none();
        if self.table.len() > SMALL_LEN_MAX
            || field.len() > SMALL_BYTES_MAX
            || value.len() > SMALL_BYTES_MAX
        {
            self.large = true;
        }
        is_new
    }

    /// Removes a field; whether it was there.
    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        let Some(position) = self.table.position(field) else {
            return false;
        };
        if self.large {
            self.table.remove(position);
        } else {
            self.table.remove_ordered(position);
        }
        true
    }

    /// All fields and values.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.table
            .entries()
            .iter()
            .map(|(field, value)| (&field[..], &value[..]))
    }

    /// The field and value at a position below [`Hash::len`].
    ///
    /// # Panics
    /// When there is no such position.
    pub(crate) fn at(&self, position: usize) -> (&[u8], &[u8]) {
        let (field, value) = &self.table.entries()[position];
        (field, value)
    }

    /// The positions of the next about `count` fields of a scan, and the cursor after them; all
    /// at once while the hash is small.
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> (Range<usize>, u64) {
        if self.large {
            scan_positions(self.len(), cursor, count)
        } else {
            (0..self.len(), 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(hash: &Hash) -> Vec<String> {
        hash.iter()
            .map(|(f, _)| String::from_utf8_lossy(f).into_owned())
            .collect()
    }

    #[test]
    fn small_ones_keep_their_order() {
        let mut hash = Hash::default();
        for i in 0..40 {
            assert!(hash.set(format!("f{i}").as_bytes(), b"v"));
        }
        assert!(!hash.set(b"f7", b"w"));
        assert!(hash.remove(b"f3"));
        assert!(!hash.remove(b"f3"));
        let expected: Vec<String> = (0..40)
            .filter(|i| *i != 3)
            .map(|i| format!("f{i}"))
            .collect();
        assert_eq!(fields(&hash), expected);
        assert_eq!(hash.get(b"f7"), Some(&b"w"[..]));
        assert_eq!(hash.get(b"f3"), None);
        assert_eq!(hash.at(3), (&b"f4"[..], &b"v"[..]));
    }

    #[test]
    fn becomes_large_by_length_or_by_size() {
        let long = [b'x'; 65];
        let table: [(&[u8], &[u8], bool); 4] = [
            (&long[..64], &long[..64], false),
            (&long, b"v", true),
            (b"f", &long, true),
            (b"f", b"v", false),
        ];
        for (field, value, large) in table {
            let mut hash = Hash::default();
            hash.set(field, value);
            assert_eq!(hash.encoding() == "hashtable", large);
        }
        let mut hash = Hash::default();
        for i in 0..513 {
            assert_eq!(hash.encoding(), "listpack");
            hash.set(format!("f{i}").as_bytes(), b"v");
        }
        assert_eq!(hash.encoding(), "hashtable");
        hash.remove(b"f0");
        assert_eq!(hash.encoding(), "hashtable");
        assert_eq!(hash.len(), 512);
    }

    #[test]
    fn scans_small_ones_at_once() {
        let mut hash = Hash::default();
        for i in 0..512 {
            hash.set(format!("f{i}").as_bytes(), b"v");
        }
        assert_eq!(hash.scan(0, 10), (0..512, 0));
        hash.set(b"one more", b"v");
        assert_eq!(hash.scan(0, 10), (503..513, 503));
        assert_eq!(hash.scan(503, 10), (493..503, 493));
        assert_eq!(hash.scan(5, 10), (0..5, 0));
    }
}
