//! Groups of consumers: what was delivered to each of them and is not acknowledged yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::StreamId;

/// A group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The last entry that was delivered.
    pub(crate) last_id: StreamId,
    /// How many entries of the stream come up to that one; [`UNKNOWN_COUNT`] if it can't be told.
    pub(crate) entries_read: i64,
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
    pending: BTreeMap<StreamId, Pending>,
}

/// Someone who reads in the name of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Consumer {
    /// When it was heard of last, Unix time in milliseconds.
    pub(crate) seen_ms: i64,
    /// What it has not acknowledged.
    pub(crate) ids: BTreeSet<StreamId>,
}

/// An entry that was delivered and is not acknowledged. It may be deleted meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) consumer: Arc<[u8]>,
    /// When it was delivered last, Unix time in milliseconds.
    pub(crate) delivered_ms: i64,
    /// How often it was delivered.
    pub(crate) deliveries: u64,
}

impl Group {
    pub(crate) fn new(last_id: StreamId, entries_read: i64) -> Self {
        Self {
            last_id,
            entries_read,
            consumers: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// The consumers in the order of their names.
    pub(crate) fn consumers(&self) -> impl ExactSizeIterator<Item = (&[u8], &Consumer)> {
        self.consumers
            .iter()
            .map(|(name, consumer)| (&**name, consumer))
    }

    pub(crate) fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    /// Notes that a consumer was heard of; whether there is one of that name.
    pub(crate) fn see(&mut self, name: &[u8], now_ms: i64) -> bool {
        match self.consumers.get_mut(name) {
            Some(consumer) => {
                consumer.seen_ms = now_ms;
                true
            }
            None => false,
        }
    }

    /// Adds a consumer; whether there was none of that name.
    pub(crate) fn create_consumer(&mut self, name: &[u8], now_ms: i64) -> bool {
        if self.consumers.contains_key(name) {
            return false;
        }
        let consumer = Consumer {
            seen_ms: now_ms,
            ids: BTreeSet::new(),
        };
        self.consumers.insert(name.into(), consumer);
        true
    }

    /// Removes a consumer and what it has not acknowledged; how much that was.
    pub(crate) fn delete_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for id in &consumer.ids {
            self.pending.remove(id);
        }
        Some(consumer.ids.len())
    }

    /// What is not acknowledged, in the order of IDs.
    pub(crate) fn pending(&self) -> impl ExactSizeIterator<Item = (StreamId, &Pending)> {
        self.pending.iter().map(|(id, pending)| (*id, pending))
    }

    pub(crate) fn first_and_last_pending(&self) -> Option<(StreamId, StreamId)> {
        let (first, _) = self.pending.first_key_value()?;
        let (last, _) = self.pending.last_key_value()?;
        Some((*first, *last))
    }

    /// The same from an ID on.
    pub(crate) fn pending_from(
        &self,
        start: StreamId,
    ) -> impl Iterator<Item = (StreamId, &Pending)> {
        self.pending
            .range(start..)
            .map(|(id, pending)| (*id, pending))
    }

    pub(crate) fn pending_entry(&self, id: StreamId) -> Option<&Pending> {
        self.pending.get(&id)
    }

    /// Notes that an entry was delivered again to the consumer that has it.
    pub(crate) fn deliver_again(&mut self, id: StreamId, now_ms: i64) {
        if let Some(pending) = self.pending.get_mut(&id) {
            pending.delivered_ms = now_ms;
            pending.deliveries = pending.deliveries.wrapping_add(1);
        }
    }

    /// Gives an entry to a consumer, which has to be there, whoever had it before.
    pub(crate) fn assign(
        &mut self,
        id: StreamId,
        consumer: &[u8],
        delivered_ms: i64,
        deliveries: u64,
    ) {
        self.acknowledge(id);
        let Some((name, _)) = self.consumers.get_key_value(consumer) else {
            unreachable!("a consumer is created before it gets anything");
        };
        let pending = Pending {
            consumer: Arc::clone(name),
            delivered_ms,
            deliveries,
        };
        self.pending.insert(id, pending);
        if let Some(consumer) = self.consumers.get_mut(consumer) {
            consumer.ids.insert(id);
        }
    }

    /// Takes an entry from the consumer that has it; whether one had.
    pub(crate) fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else {
            return false;
        };
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.ids.remove(&id);
        }
        true
    }

    /// The bytes it has on the heap, about.
    pub(super) fn memory(&self) -> usize {
        let pending = self.pending.len() * size_of::<(StreamId, Pending)>();
        let consumers = self.consumers.iter().map(|(name, consumer)| {
            let ids = consumer.ids.len() * size_of::<StreamId>();
            name.len() + size_of::<(Arc<[u8]>, Consumer)>() + ids
        });
        size_of::<Self>() + pending + consumers.sum::<usize>()
    }

    /// Panics when those who have entries and the entries contradict each other.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        for (id, pending) in &self.pending {
            let owner = self.consumer(&pending.consumer);
            assert!(
                owner.is_some_and(|owner| owner.ids.contains(id)),
                "an owner knows"
            );
        }
        let owned = self.consumers.values().map(|consumer| consumer.ids.len());
        assert_eq!(
            owned.sum::<usize>(),
            self.pending.len(),
            "each entry has one owner"
        );
    }
}

/// Stands in the place of a count that can't be told.
pub(crate) const UNKNOWN_COUNT: i64 = -1;
