//! Streams: entries in the order of their IDs, and groups of consumers that share them.

mod group;
mod id;
mod log;
mod node;
mod radix;
mod trim;

use std::collections::BTreeMap;

pub(crate) use group::{Consumer, Group, Pending, UNKNOWN_COUNT};
pub(crate) use id::{ID_LEN, StreamId};
pub(crate) use log::{AppendError, IdWish, Log, NodeLimits};
pub(crate) use node::{Entry, Node};
pub(crate) use trim::{Trim, TrimBy};

/// A stream. Log and groups are apart, so that entries can be read while a group is changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) log: Log,
    pub(crate) groups: BTreeMap<Box<[u8]>, Group>,
}

impl Stream {
    /// The bytes it has on the heap, about.
    pub(crate) fn memory(&self) -> usize {
        let groups = self.groups.iter();
        let groups = groups.map(|(name, group)| name.len() + group.memory());
        size_of::<Self>() + self.log.memory() + groups.sum::<usize>()
    }

    /// How many entries a group has still to read; `None` when that can't be told.
    pub(crate) fn lag(&self, group: &Group) -> Option<i64> {
        let log = &self.log;
        if log.entries_added == 0 {
            return Some(0);
        }
        let is_counted =
            group.entries_read != UNKNOWN_COUNT && !log.has_tombstones_from(group.last_id);
        let read = if is_counted {
            Some(group.entries_read)
        } else {
            log.count_up_to(group.last_id)
        };
        read.map(|read| (log.entries_added as i64).wrapping_sub(read))
    }

    /// Panics when it contradicts itself.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        self.log.check_invariants();
        self.groups.values().for_each(Group::check_invariants);
    }
}
