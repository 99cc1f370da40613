//! The value of a list key.

/// A sequence of byte strings.
#[derive(Debug, Clone, Default)]
pub struct List {}
