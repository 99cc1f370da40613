//! The entries of a stream, in nodes of some each, and what is known of those that are gone.

use std::collections::BTreeMap;

use super::{Entry, Node, StreamId, radix};

/// Entries in the order of their IDs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    /// By the ID that the first entry had when the node was begun.
    nodes: BTreeMap<StreamId, Node>,
    /// How many entries there are.
    pub(super) len: u64,
    /// The greatest ID there ever was, which the next one has to exceed.
    pub(crate) last_id: StreamId,
    /// That of the first entry, 0-0 if there is none.
    pub(crate) first_id: StreamId,
    /// The greatest one that was deleted by its ID.
    pub(crate) max_deleted_id: StreamId,
    /// How many entries were ever added.
    pub(crate) entries_added: u64,
}

/// Which ID an entry is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdWish {
    /// By the clock.
    Auto,
    /// Any in that millisecond.
    In(u64),
    Exact(StreamId),
}

/// How large a node may get; 0 for as large as it likes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeLimits {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

/// Why an entry was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// The ID is not greater than the last one.
    NotGreater,
    TooLarge,
}

impl Log {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn nodes(&self) -> impl ExactSizeIterator<Item = (StreamId, &Node)> {
        self.nodes.iter().map(|(base, node)| (*base, node))
    }

    /// Puts in a node from elsewhere; whether its place was free and behind all others.
    pub(crate) fn push_node(&mut self, base: StreamId, node: Node) -> bool {
        let is_last = (self.nodes.last_key_value()).is_none_or(|(last, _)| *last < base);
        if is_last {
            self.len += node.alive();
            self.nodes.insert(base, node);
        }
        is_last
    }

    /// Whether entries are in the order of their IDs, also from one node to the next.
    pub(crate) fn is_in_order(&self) -> bool {
        let entries = self.nodes().flat_map(|(base, node)| node.entries(base));
        let alive = entries.filter(|entry| !entry.is_deleted);
        alive
            .map(|entry| entry.id)
            .is_sorted_by(|one, next| one < next)
    }

    /// The bytes it has on the heap, about.
    pub(super) fn memory(&self) -> usize {
        let nodes = self.nodes.values().map(Node::memory).sum::<usize>();
        nodes + self.nodes.len() * size_of::<(StreamId, Node)>()
    }

    /// How many nodes a radix tree of the nodes' IDs has.
    pub(crate) fn radix_nodes_len(&self) -> usize {
        let keys: Vec<_> = self.nodes.keys().map(|id| id.to_bytes()).collect();
        radix::nodes_len(&keys)
    }

    /// Adds an entry of fields and values, which take turns; its ID.
    pub(crate) fn append(
        &mut self,
        wish: IdWish,
        pairs: &[&[u8]],
        limits: NodeLimits,
        now_ms: u64,
    ) -> Result<StreamId, AppendError> {
        let id = self.next_id(wish, now_ms).ok_or(AppendError::NotGreater)?;
        let bytes = pairs
            .iter()
            .map(|element| element.len() as u64)
            .sum::<u64>();
        if bytes > NODE_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        match self.nodes.last_entry() {
            Some(mut last) if last.get().has_room(bytes, limits) => {
                let base = *last.key();
                last.get_mut().append(base, id, pairs);
            }
            last => {
                if let Some(mut last) = last {
                    last.get_mut().shrink();
                }
                self.nodes.insert(id, Node::new(id, pairs));
            }
        }
        self.len += 1;
        self.entries_added += 1;
        self.last_id = id;
        if self.len == 1 {
            self.first_id = id;
        }
        Ok(id)
    }

    fn next_id(&self, wish: IdWish, now_ms: u64) -> Option<StreamId> {
        let id = match wish {
            IdWish::Exact(id) => id,
            IdWish::In(ms) if ms == self.last_id.ms => {
                StreamId::new(ms, self.last_id.sequence.checked_add(1)?)
            }
            IdWish::In(ms) => StreamId::new(ms, 0),
            IdWish::Auto if now_ms > self.last_id.ms => StreamId::new(now_ms, 0),
            IdWish::Auto => self.last_id.next()?,
        };
        (id > self.last_id).then_some(id)
    }

    /// The entries from one ID to another, both included.
    pub(crate) fn range(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = Entry<'_>> + use<'_> {
        let nodes = self.nodes_from(start);
        let entries = nodes.flat_map(|(base, node)| node.entries(base));
        entries
            .filter(|entry| !entry.is_deleted)
            .skip_while(move |entry| entry.id < start)
            .take_while(move |entry| entry.id <= end)
    }

    /// The nodes from the one on where that ID would be.
    fn nodes_from(&self, start: StreamId) -> impl Iterator<Item = (StreamId, &Node)> {
        let before = self.nodes.range(..=start).next_back();
        let first = before.map_or(StreamId::MIN, |(base, _)| *base);
        self.nodes.range(first..).map(|(base, node)| (*base, node))
    }

    /// The same from the greatest ID to the smallest.
    pub(crate) fn range_reversed(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = Entry<'_>> + use<'_> {
        // The end may lie before all nodes, and a deleted entry's ID be greater than the next one.
        let nodes = self.nodes.range(..=end).rev();
        let entries = nodes.flat_map(|(base, node)| {
            let entries: Vec<_> = node.entries(*base).collect();
            entries.into_iter().rev()
        });
        entries
            .filter(|entry| !entry.is_deleted)
            .skip_while(move |entry| entry.id > end)
            .take_while(move |entry| entry.id >= start)
    }

    /// The entry with that ID.
    pub(crate) fn entry(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The ID of the last entry.
    pub(crate) fn last_entry_id(&self) -> Option<StreamId> {
        let mut entries = self.range_reversed(StreamId::MIN, StreamId::MAX);
        entries.next().map(|entry| entry.id)
    }

    /// The ID of the first entry that is still in a node, even if it is deleted.
    pub(crate) fn first_id_of_nodes(&self) -> Option<StreamId> {
        let mut entries = self.nodes().flat_map(|(base, node)| node.entries(base));
        entries.next().map(|entry| entry.id)
    }

    /// Deletes an entry; whether it was there. [`Log::end_deletion`] has to follow.
    pub(crate) fn delete(&mut self, id: StreamId) -> bool {
        let nodes = self.nodes_from(id);
        let entries = nodes.flat_map(|(base, node)| {
            let entries = node.entries(base);
            entries.map(move |entry| (base, node.alive(), entry))
        });
        let found = entries
            .filter(|(_, _, entry)| !entry.is_deleted)
            .find(|(_, _, entry)| entry.id >= id)
            .filter(|(_, _, entry)| entry.id == id)
            .map(|(base, alive, entry)| (base, entry.mark(), alive));
        let Some((base, mark, alive)) = found else {
            return false;
        };
        if alive == 1 {
            self.nodes.remove(&base);
        } else if let Some(node) = self.nodes.get_mut(&base) {
            node.delete(&[mark]);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        true
    }

    /// Finds out which entry is the first one now.
    pub(crate) fn end_deletion(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next();
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// The first node.
    pub(super) fn first_node(&self) -> Option<(StreamId, &Node)> {
        self.nodes().next()
    }

    /// Takes the first node away.
    pub(super) fn remove_first_node(&mut self) {
        if let Some((_, node)) = self.nodes.pop_first() {
            self.len -= node.alive();
        }
    }

    /// Marks entries of the first node as deleted.
    pub(super) fn delete_in_first_node(&mut self, marks: &[usize]) {
        if let Some(mut first) = self.nodes.first_entry() {
            first.get_mut().delete(marks);
            self.len -= marks.len() as u64;
        }
    }

    /// Whether an entry was deleted by its ID from there on.
    pub(crate) fn has_tombstones_from(&self, start: StreamId) -> bool {
        self.len > 0
            && self.max_deleted_id != StreamId::MIN
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries were added up to that ID, if that can be told.
    pub(crate) fn count_up_to(&self, id: StreamId) -> Option<i64> {
        let added = self.entries_added as i64;
        if added == 0 || (self.len == 0 && id <= self.last_id) || id == self.last_id {
            return Some(added);
        }
        let is_whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if id > self.last_id || !is_whole || id > self.first_id {
            return None;
        }
        let before = added.wrapping_sub(self.len as i64);
        Some(before + i64::from(id == self.first_id))
    }

    /// Panics when it contradicts itself.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        let alive = self.nodes().map(|(_, node)| node.alive()).sum::<u64>();
        assert_eq!(alive, self.len, "entries are counted");
        for (base, node) in self.nodes() {
            assert!(
                Node::from_bytes(node.as_bytes(), base).is_ok(),
                "nodes are right"
            );
        }
    }
}

impl Node {
    /// Whether another entry of so many bytes has a place here.
    fn has_room(&self, bytes: u64, limits: NodeLimits) -> bool {
        let bytes_max = match limits.bytes {
            1..=NODE_BYTES_MAX => limits.bytes,
            _ => NODE_BYTES_MAX,
        };
        self.as_bytes().len() as u64 + bytes < bytes_max
            && (limits.entries == 0 || self.len() < limits.entries)
    }
}

/// So much an entry, and a node, has at most.
const NODE_BYTES_MAX: u64 = 1 << 30;
