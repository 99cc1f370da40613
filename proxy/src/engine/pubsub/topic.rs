//! One thing to be subscribed to: a channel, a pattern or a shard channel.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{ConnectionId, Instant};

use super::CommandNumber;

/// The three kinds of subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Channel,
    Pattern,
    Shard,
}

/// Names a topic as long as it has subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicId(pub(super) u32);

/// A channel, a pattern or a shard channel that some client wants.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) family: Family,
    pub(crate) name: Bytes,
    /// Decides which node is asked first.
    pub(crate) slot: Slot,
    pub(crate) subscribers: Vec<Subscriber>,
    /// The backend that has confirmed the subscription; only its messages count.
    pub(crate) source: Option<usize>,
    /// The backend that is asked for it, because no other has it or because it moves there.
    pub(crate) asked: Option<Asked>,
    /// How often in a row a node has refused it.
    pub(crate) attempts: u32,
    /// No node is asked before that time.
    pub(crate) not_before: Instant,
    /// It was refused together with others, and is asked for alone.
    pub(crate) alone: bool,
    /// The commands that wait for it.
    pub(super) waiting: Vec<CommandNumber>,
}

/// One client of a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) connection: ConnectionId,
    /// It hears nothing before the reply with that place has left.
    pub(crate) after: u64,
}

/// A request for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) backend: usize,
    /// The request's number; none as long as it is not sent.
    pub(crate) batch: Option<u64>,
}

impl Topic {
    pub(super) fn new(family: Family, name: &[u8]) -> Self {
        Self {
            family,
            name: Bytes::copy_from_slice(name),
            slot: Slot::of(name),
            subscribers: Vec::new(),
            source: None,
            asked: None,
            attempts: 0,
            not_before: Instant::default(),
            alone: false,
            waiting: Vec::new(),
        }
    }

    /// The commands that wait for it; they are no longer kept here.
    pub(crate) fn take_waiting(&mut self) -> Vec<CommandNumber> {
        std::mem::take(&mut self.waiting)
    }

    /// The commands that wait for it.
    pub(crate) fn waiting(&self) -> &[CommandNumber] {
        &self.waiting
    }

    /// A backend has confirmed the request of that number. Says which one had it before, or
    /// nothing if it was not asked that any more.
    pub(crate) fn confirm(&mut self, backend: usize, batch: u64) -> Option<Option<usize>> {
        let batch = Some(batch);
        if self.asked != Some(Asked { backend, batch }) {
            return None;
        }
        self.asked = None;
        self.attempts = 0;
        self.alone = false;
        let before = self.source.replace(backend);
        Some(before.filter(|before| *before != backend))
    }

    /// Where a node has it, or will have it once it has read what was sent.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> {
        let asked = self.asked.filter(|asked| asked.batch.is_some());
        let asked = asked.map(|asked| asked.backend);
        let again = asked.filter(|asked| self.source != Some(*asked));
        self.source.into_iter().chain(again)
    }
}

impl Family {
    pub(crate) const COUNT: usize = 3;

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn subscribe(self) -> &'static str {
        ["subscribe", "psubscribe", "ssubscribe"][self.index()]
    }

    pub(crate) fn unsubscribe(self) -> &'static str {
        ["unsubscribe", "punsubscribe", "sunsubscribe"][self.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_last_request_counts() {
        let mut topic = Topic::new(Family::Channel, b"a");
        let (backend, batch) = (1, Some(7));
        topic.asked = Some(Asked { backend, batch });
        assert_eq!(topic.places().collect::<Vec<_>>(), [1]);
        assert_eq!(topic.confirm(1, 6), None);
        assert_eq!(topic.confirm(2, 7), None);
        assert_eq!(topic.confirm(1, 7), Some(None));
        let (backend, batch) = (2, Some(8));
        topic.asked = Some(Asked { backend, batch });
        assert_eq!(topic.places().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(
            topic.confirm(2, 8),
            Some(Some(1)),
            "it leaves the first one"
        );
        assert_eq!(topic.places().collect::<Vec<_>>(), [2]);
    }
}
