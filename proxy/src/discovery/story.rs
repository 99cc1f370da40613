//! What became of a primary whose process was gone, in words.

use core::fmt;
use core::time::Duration;

use slotway_protocol::engine::Address;

/// What became of a primary that was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub primary: Address,
    /// Who was told to take over, and how much of the primary's history it has.
    pub replica: Option<(Address, u64)>,
    pub outcome: Outcome,
    /// How many connections the host has refused or broken off.
    pub refusals: u32,
    /// From the first sign to the end.
    pub took: Duration,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The shard has a new primary.
    Succeeded,
    /// The replica did not take over, for this reason.
    Refused(String),
    /// No replica was told to, for this reason.
    Suppressed(String),
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "primary {} is gone", self.primary)?;
        if self.refusals > 0 {
            write!(f, ", {} connections refused", self.refusals)?;
        }
        if let Some((replica, offset)) = &self.replica {
            write!(
                f,
                "; told replica {replica} at offset {offset} to take over"
            )?;
        }
        match &self.outcome {
            Outcome::Succeeded => f.write_str("; it is primary")?,
            Outcome::Refused(reason) => write!(f, "; it is not: {reason}")?,
            Outcome::Suppressed(reason) => write!(f, "; left to the nodes: {reason}")?,
        }
        write!(f, "; {} ms", self.took.as_millis())
    }
}
