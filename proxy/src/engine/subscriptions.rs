//! The nodes' side of publish and subscribe: which node has which subscription of ours, and what
//! it says about them. Every channel is with one node; when that is lost, or its slot moves,
//! another one is asked, and clients notice nothing.

use core::time::Duration;

use slotway_protocol::engine::Instant;
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::fail_point;
use super::feed::{Batch, Owner};
use super::pipeline::Link;
use super::pubsub::{Dropped, Family, Topic, TopicId};
use super::redirect::{Verdict, judge};
use super::session::Reply;
use super::waiting::back_off;
use super::{NO_OWNER, Proxy};

impl Proxy {
    /// Chooses a node for each topic that is wanted, and asks it.
    pub(super) fn place_topics(&mut self, now: Instant) {
        if !self.subscriptions.has_wanted() {
            return;
        }
        let mut backends = Vec::new();
        for id in self.subscriptions.take_wanted() {
            let Some(topic) = self.subscriptions.topic(id) else {
                continue;
            };
            let not_before = topic.not_before;
            let backend = self.choose(topic).filter(|_| not_before <= now);
            match backend {
                Some(backend) if topic.source == Some(backend) => {}
                Some(backend) => {
                    fail_point::pass();
                    self.subscriptions.assign(id, backend);
                    backends.push(backend);
                }
                None => self.subscriptions.want(id),
            }
            if not_before > now {
                self.wake_at(not_before);
            }
        }
        backends.sort_unstable();
        backends.dedup();
        for backend in backends {
            self.send_subscriptions(backend, now);
        }
    }

    /// The backend that is to have the topic. A shard channel is with its slot's owner; any node
    /// hears the messages of all others, so what can be reached will do.
    fn choose(&self, topic: &Topic) -> Option<usize> {
        let reachable = |index: usize| !matches!(self.feeds[index].link, Link::Down { .. });
        let owner = self.owners[topic.slot.index()];
        let owner = (owner != NO_OWNER).then_some(owner as usize);
        let owner = owner.filter(|owner| reachable(*owner));
        if owner.is_some() || topic.family == Family::Shard {
            return owner;
        }
        let others = || (0..self.feeds.len()).filter(|index| self.is_used(*index));
        let ready = others().find(|index| self.feeds[*index].is_ready());
        ready.or_else(|| others().find(|index| reachable(*index)))
    }

    /// Asks for what is to be asked for on a feed; opens the feed first if need be.
    pub(super) fn send_subscriptions(&mut self, backend: usize, now: Instant) {
        if !self.feeds[backend].is_ready() {
            return self.connect_feed(backend);
        }
        let ids = self.subscriptions.take_unsent(backend);
        for group in self.groups(ids) {
            let topics = group.iter().filter_map(|id| self.subscriptions.topic(*id));
            let names = topics.map(|topic| &topic.name[..]);
            let family = group.first().and_then(|id| self.subscriptions.topic(*id));
            let Some(family) = family.map(|topic| topic.family) else {
                continue;
            };
            let words: Vec<_> = core::iter::once(family.subscribe().as_bytes())
                .chain(names)
                .collect();
            let mut frame = Vec::new();
            encode::request(&mut frame, &words);
            let batch = self.subscriptions.begin_batch(backend, &group);
            fail_point::pass();
            let owner = Owner::Subscribe(Batch::new(batch, group));
            self.ask_feed(backend, &frame, owner, now);
        }
    }

    /// Puts together what can be asked for in one request.
    fn groups(&self, mut ids: Vec<TopicId>) -> Vec<Vec<TopicId>> {
        let kind = |id: &TopicId| {
            let topic = self.subscriptions.topic(*id)?;
            let slot = (topic.family == Family::Shard).then_some(topic.slot);
            let alone = topic.alone.then_some(*id);
            Some((topic.family, slot, alone))
        };
        ids.sort_by_key(|id| (kind(id), *id));
        ids.dedup();
        let same = ids.chunk_by(|a, b| kind(a) == kind(b));
        let batches = same.flat_map(|same| same.chunks(BATCH));
        batches.map(<[TopicId]>::to_vec).collect()
    }

    /// Tells the nodes that we do not want these any more.
    pub(super) fn unsubscribe_at_nodes(&mut self, dropped: &[Dropped], now: Instant) {
        let mut places: Vec<_> = dropped
            .iter()
            .flat_map(|Dropped { topic }| topic.places().map(move |place| (place, topic)))
            .map(|(backend, topic)| {
                let slot = (topic.family == Family::Shard).then_some(topic.slot);
                ((backend, topic.family, slot), &topic.name)
            })
            .collect();
        places.sort_by_key(|(kind, _)| *kind);
        let same = places.chunk_by(|a, b| a.0 == b.0);
        for chunk in same.flat_map(|same| same.chunks(BATCH)) {
            let (backend, family, _) = chunk[0].0;
            let names: Vec<_> = chunk.iter().map(|(_, name)| &name[..]).collect();
            self.unsubscribe_at(backend, family, &names, now);
        }
    }

    fn unsubscribe_at(&mut self, backend: usize, family: Family, names: &[&[u8]], now: Instant) {
        if !self.feeds[backend].is_ready() {
            return;
        }
        let mut words = vec![family.unsubscribe().as_bytes()];
        words.extend(names);
        let mut frame = Vec::new();
        encode::request(&mut frame, &words);
        if family == Family::Shard {
            // A node may end it by itself at the same moment and then answer with MOVED; what comes
            // behind says that all is said.
            encode::request(&mut frame, &["ECHO", ""]);
            self.ask_feed(backend, &frame, Owner::UnsubscribeShard, now);
        } else {
            let left = names.len();
            self.ask_feed(backend, &frame, Owner::Unsubscribe { left }, now);
        }
    }

    /// The feed of a backend is gone, and all subscriptions that it had.
    pub(super) fn lose_subscriptions(&mut self, backend: usize, now: Instant) {
        if self.subscriptions.is_empty() {
            return;
        }
        self.subscriptions.lose(backend);
        self.place_topics(now);
    }

    /// Slots have moved, or nodes have left.
    pub(super) fn move_subscriptions(&mut self, now: Instant) {
        if self.subscriptions.is_empty() {
            return;
        }
        let displaced = |topic: &Topic, backend: usize| match topic.family {
            Family::Shard => self.owners[topic.slot.index()] != backend as u32,
            Family::Channel | Family::Pattern => !self.is_in_cluster(backend),
        };
        let mut moving = Vec::new();
        for (id, topic) in self.subscriptions.topics() {
            let asked = topic.asked.map(|asked| asked.backend);
            if let Some(backend) = asked.or(topic.source)
                && displaced(topic, backend)
            {
                moving.push(id);
            }
        }
        for id in moving {
            self.withdraw(id, now);
            self.subscriptions.want(id);
        }
        self.place_topics(now);
    }

    /// Takes back what was asked for and is not confirmed.
    fn withdraw(&mut self, id: TopicId, now: Instant) {
        let Some(topic) = self.subscriptions.topic_mut(id) else {
            return;
        };
        topic.not_before = now;
        if let Some(asked) = topic.asked.take()
            && asked.batch.is_some()
            && topic.source != Some(asked.backend)
        {
            let (family, name) = (topic.family, topic.name.clone());
            self.unsubscribe_at(asked.backend, family, &[&name], now);
        }
    }

    /// What a node says unasked, or as confirmation. Says whether it may be said.
    pub(super) fn handle_push(&mut self, backend: usize, push: &Reply<'_>, now: Instant) -> bool {
        let mut reader = TokenReader::new(push.bytes());
        let Ok(Some(Token::Push(_))) = reader.next_token() else {
            return false;
        };
        let Ok(Some(Token::Bulk(word))) = reader.next_token() else {
            return false;
        };
        if word == b"invalidate" {
            self.keys_changed(backend, push.bytes(), now);
            return true;
        }
        let Ok(Some(Token::Bulk(name))) = reader.next_token() else {
            // Nothing that is about a topic.
            return true;
        };
        let (family, kind) = match word {
            b"message" => (Family::Channel, Said::Message),
            b"pmessage" => (Family::Pattern, Said::Message),
            b"smessage" => (Family::Shard, Said::Message),
            b"subscribe" => (Family::Channel, Said::Subscribed),
            b"psubscribe" => (Family::Pattern, Said::Subscribed),
            b"ssubscribe" => (Family::Shard, Said::Subscribed),
            b"unsubscribe" => (Family::Channel, Said::Unsubscribed),
            b"punsubscribe" => (Family::Pattern, Said::Unsubscribed),
            b"sunsubscribe" => (Family::Shard, Said::Unsubscribed),
            _ => return true,
        };
        let id = self.subscriptions.find(family, name);
        match kind {
            Said::Message => {
                let known = id.and_then(|id| self.subscriptions.topic(id));
                // Another source is about to end, or has not been confirmed yet.
                if known.is_some_and(|topic| topic.source == Some(backend))
                    && let Some(id) = id
                {
                    self.publish(id, push);
                }
                true
            }
            Said::Subscribed => self.handle_subscribed(backend, id, now),
            Said::Unsubscribed if family == Family::Shard => {
                self.handle_shard_unsubscribed(backend, id, now);
                true
            }
            Said::Unsubscribed => self.feeds[backend].note_unsubscribed(),
        }
    }

    fn handle_subscribed(&mut self, backend: usize, id: Option<TopicId>, now: Instant) -> bool {
        let Some(batch) = self.feeds[backend].note_subscribed() else {
            return false;
        };
        let Some(topic) = id.and_then(|id| self.subscriptions.topic_mut(id)) else {
            return true;
        };
        let Some(before) = topic.confirm(backend, batch) else {
            return true;
        };
        let (family, name) = (topic.family, topic.name.clone());
        let waiting = topic.take_waiting();
        if let Some(before) = before {
            self.unsubscribe_at(before, family, &[&name], now);
        }
        self.settle_subscribing(waiting, now);
        true
    }

    /// The answer to our own request, or the node does not have the slot any more.
    fn handle_shard_unsubscribed(&mut self, backend: usize, id: Option<TopicId>, now: Instant) {
        let Some(id) = id else { return };
        let Some(topic) = self.subscriptions.topic_mut(id) else {
            return;
        };
        if topic.source != Some(backend) {
            return;
        }
        topic.source = None;
        if topic.asked.is_none() {
            self.stats.subscriptions_moved.inc();
            topic.not_before = now;
            self.subscriptions.want(id);
            self.topology_is_stale();
            self.place_topics(now);
        }
    }

    /// A node did not want a request for subscriptions.
    pub(super) fn subscriptions_refused(
        &mut self,
        backend: usize,
        batch: &Batch,
        error: &[u8],
        now: Instant,
    ) {
        let asked = |id: &&TopicId| {
            let topic = self.subscriptions.topic(**id);
            let asked = topic.and_then(|topic| topic.asked);
            asked.is_some_and(|it| it.backend == backend && it.batch == Some(batch.number))
        };
        let ids: Vec<_> = batch.topics.iter().filter(asked).copied().collect();
        let Some(first) = ids.first().and_then(|id| self.subscriptions.topic(*id)) else {
            return;
        };
        let verdict = judge(error, &self.feeds[backend].address, first.slot, false);
        let (slot, is_shard) = (first.slot, first.family == Family::Shard);
        let refused = verdict == Verdict::Deliver;
        match self.screen(verdict) {
            Verdict::Moved(address) if is_shard => {
                self.stats.redirects_moved.inc();
                self.owners[slot.index()] = self.backend(&address) as u32;
                self.topology_is_stale();
            }
            Verdict::Deliver => {}
            _ => self.topology_is_stale(),
        }
        let is_alone = batch.topics.len() == 1;
        for id in ids {
            let Some(topic) = self.subscriptions.topic_mut(id) else {
                continue;
            };
            topic.asked = None;
            topic.alone = refused;
            topic.not_before = match (refused, is_alone) {
                (false, _) if topic.attempts == 0 => now,
                (false, _) => now + back_off(topic.attempts),
                (true, false) => now,
                (true, true) => now + REFUSED_RETRY,
            };
            topic.attempts = topic.attempts.saturating_add(1);
            let waiting = if refused && is_alone {
                topic.waiting().to_vec()
            } else {
                Vec::new()
            };
            self.subscriptions.want(id);
            for number in waiting {
                self.fail_subscribing(number, error, now);
            }
        }
        self.place_topics(now);
    }

    /// The gauges that tell of subscriptions.
    pub(super) fn show_subscriptions(&self) {
        let count = |family| self.subscriptions.topics_of(family) as i64;
        self.stats.channels.set(count(Family::Channel));
        self.stats.patterns.set(count(Family::Pattern));
        self.stats.shard_channels.set(count(Family::Shard));
        self.stats
            .subscribers
            .set(self.subscriptions.subscribers() as i64);
    }
}

/// What a push about a topic says.
#[derive(Debug, Clone, Copy)]
enum Said {
    Message,
    Subscribed,
    Unsubscribed,
}

/// How many topics one request names.
const BATCH: usize = 256;

/// How long to wait before a node is asked again for what it does not let us have.
const REFUSED_RETRY: Duration = Duration::from_secs(1);
