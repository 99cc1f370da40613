//! The value of a hash key.

/// Fields and their values.
#[derive(Debug, Clone, Default)]
pub struct Hash {}
