//! The value of a set key.

/// A set of byte strings.
#[derive(Debug, Clone, Default)]
pub struct Set {}
