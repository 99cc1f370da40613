//! What the command tips say of a command that concerns several shards.

use super::words::same;

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

impl RequestPolicy {
    /// What the `request_policy` tip says.
    pub const fn of(tips: &[&str]) -> Self {
        match value_of(b"request_policy:", tips) {
            None => Self::Default,
            Some(b"all_nodes") => Self::AllNodes,
            Some(b"all_shards") => Self::AllShards,
            Some(b"multi_shard") => Self::MultiShard,
            // A policy made after this was written needs logic that is not here either.
            Some(_) => Self::Special,
        }
    }
}

impl ResponsePolicy {
    /// What the `response_policy` tip says.
    pub const fn of(tips: &[&str]) -> Self {
        match value_of(b"response_policy:", tips) {
            None => Self::Default,
            Some(b"one_succeeded") => Self::OneSucceeded,
            Some(b"all_succeeded") => Self::AllSucceeded,
            Some(b"agg_logical_and") => Self::AggLogicalAnd,
            Some(b"agg_logical_or") => Self::AggLogicalOr,
            Some(b"agg_min") => Self::AggMin,
            Some(b"agg_max") => Self::AggMax,
            Some(b"agg_sum") => Self::AggSum,
            Some(_) => Self::Special,
        }
    }
}

/// What comes after `prefix` in the first tip that begins with it.
const fn value_of<'a>(prefix: &[u8], tips: &[&'a str]) -> Option<&'a [u8]> {
    let mut at = 0;
    while at < tips.len() {
        if let Some((start, value)) = tips[at].as_bytes().split_at_checked(prefix.len())
            && same(start, prefix)
        {
            return Some(value);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_from_tips() {
        let tips = [
            "nondeterministic_output",
            "request_policy:all_shards",
            "response_policy:agg_min",
        ];
        assert_eq!(RequestPolicy::of(&tips), RequestPolicy::AllShards);
        assert_eq!(ResponsePolicy::of(&tips), ResponsePolicy::AggMin);
        assert_eq!(RequestPolicy::of(&tips[..1]), RequestPolicy::Default);
        assert_eq!(ResponsePolicy::of(&tips[..2]), ResponsePolicy::Default);
        assert_eq!(
            RequestPolicy::of(&["request_policy:"]),
            RequestPolicy::Special
        );
        assert_eq!(
            ResponsePolicy::of(&["response_policy:agg_new"]),
            ResponsePolicy::Special
        );
    }
}
