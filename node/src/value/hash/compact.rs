//! A byte string in 24 bytes: short ones are kept in place, longer ones on the heap.

use core::cmp::Ordering;
use core::fmt;
use core::ops::Deref;

/// An immutable byte string that needs no allocation up to [`INLINE_BYTES_MAX`] bytes.
#[derive(Clone)]
pub(crate) struct CompactBytes(Repr);

#[derive(Clone)]
enum Repr {
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Heap(Box<[u8]>),
}

/// What fits beside a length and a tag into the space of a `Vec`.
pub(crate) const INLINE_BYTES_MAX: usize = 22;

impl CompactBytes {
    /// The bytes held outside of the value itself.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Inline { .. } => 0,
            Repr::Heap(bytes) => bytes.len() + ALLOCATION_BYTES,
        }
    }
}

/// What an allocator rounds up and notes for itself, about.
const ALLOCATION_BYTES: usize = 8;

impl From<&[u8]> for CompactBytes {
    #[inline]
    fn from(source: &[u8]) -> Self {
        if source.len() > INLINE_BYTES_MAX {
            return Self(Repr::Heap(source.into()));
        }
        let mut bytes = [0; INLINE_BYTES_MAX];
        bytes[..source.len()].copy_from_slice(source);
        Self(Repr::Inline {
            len: source.len() as u8,
            bytes,
        })
    }
}

impl Deref for CompactBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for CompactBytes {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for CompactBytes {}

impl PartialOrd for CompactBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for CompactBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self[..].cmp(&other[..])
    }
}

impl fmt::Debug for CompactBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_any_length_and_stays_small() {
        assert_eq!(size_of::<CompactBytes>(), 24);
        for len in [0, 1, 21, 22, 23, 64, 5000] {
            let source: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let compact = CompactBytes::from(&source[..]);
            assert_eq!(&compact[..], &source[..]);
            assert_eq!(compact.clone(), compact);
            assert_eq!(compact.heap_bytes() == 0, len <= 22);
        }
    }

    #[test]
    fn orders_as_bytes() {
        let long = [b'a'; 40];
        assert!(CompactBytes::from(&b"a"[..]) < CompactBytes::from(&long[..]));
        assert!(CompactBytes::from(&long[..]) < CompactBytes::from(&b"b"[..]));
        assert!(CompactBytes::from(&b"\xff"[..]) > CompactBytes::from(&b"a"[..]));
    }
}
