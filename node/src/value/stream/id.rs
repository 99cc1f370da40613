//! The IDs of entries: a time and a number in it.

use core::fmt;

/// An ID of a stream. Any pair of numbers is one; no entry has 0-0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId {
    /// Unix time in milliseconds, as a rule.
    pub(crate) ms: u64,
    pub(crate) sequence: u64,
}

impl StreamId {
    pub(crate) const MIN: Self = Self::new(0, 0);

    pub(crate) const MAX: Self = Self::new(u64::MAX, u64::MAX);

    pub(crate) const fn new(ms: u64, sequence: u64) -> Self {
        Self { ms, sequence }
    }

    /// The ID that comes next, if there is one.
    pub(crate) fn next(self) -> Option<Self> {
        match self.sequence.checked_add(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self::new(self.ms.checked_add(1)?, 0)),
        }
    }

    /// The ID before it, if there is one.
    pub(crate) fn previous(self) -> Option<Self> {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Some(Self { sequence, ..self }),
            None => Some(Self::new(self.ms.checked_sub(1)?, u64::MAX)),
        }
    }

    /// The bytes that sort as IDs do.
    pub(crate) fn to_bytes(self) -> [u8; ID_LEN] {
        (u128::from(self.ms) << 64 | u128::from(self.sequence)).to_be_bytes()
    }

    pub(crate) fn from_bytes(bytes: [u8; ID_LEN]) -> Self {
        let whole = u128::from_be_bytes(bytes);
        Self::new((whole >> 64) as u64, whole as u64)
    }

    /// The ID that is so far behind another one, which may be a negative distance.
    pub(crate) fn offset(self, ms: i64, sequence: i64) -> Self {
        Self {
            ms: self.ms.wrapping_add_signed(ms),
            sequence: self.sequence.wrapping_add_signed(sequence),
        }
    }

    /// How far another ID is behind this one.
    pub(crate) fn distance_to(self, other: Self) -> (i64, i64) {
        (
            other.ms.wrapping_sub(self.ms) as i64,
            other.sequence.wrapping_sub(self.sequence) as i64,
        )
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.ms, self.sequence)
    }
}

/// The bytes of an ID.
pub(crate) const ID_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_over_both_numbers() {
        let last = StreamId::new(5, u64::MAX);
        assert_eq!(last.next(), Some(StreamId::new(6, 0)));
        assert_eq!(StreamId::new(6, 0).previous(), Some(last));
        assert_eq!(StreamId::MAX.next(), None);
        assert_eq!(StreamId::MIN.previous(), None);
    }

    #[test]
    fn distances_lead_back() {
        for (from, to) in [((1, 100), (2, 0)), ((u64::MAX, 3), (1, u64::MAX))] {
            let (from, to) = (StreamId::new(from.0, from.1), StreamId::new(to.0, to.1));
            let (ms, sequence) = from.distance_to(to);
            assert_eq!(from.offset(ms, sequence), to);
            assert_eq!(StreamId::from_bytes(to.to_bytes()), to);
        }
    }
}
