//! What the command tips say of a command that concerns several shards.

/// Which nodes a command goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPolicy {
    /// No tip: the shard of its keys, or any shard when it has none.
    Default,
    /// Every node, primaries and replicas.
    AllNodes,
    /// Every primary.
    AllShards,
    /// Split by slot.
    MultiShard,
    Special,
}

/// How several replies become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponsePolicy {
    /// No tip: concatenate; with keys, in the order of the keys.
    Default,
    OneSucceeded,
    AllSucceeded,
    AggLogicalAnd,
    AggLogicalOr,
    AggMin,
    AggMax,
    AggSum,
    Special,
}
