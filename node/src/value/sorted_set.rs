//! The value of a sorted set key.

/// Members ordered by score.
#[derive(Debug, Clone, Default)]
pub struct SortedSet {}
