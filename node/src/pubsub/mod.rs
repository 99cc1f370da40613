//! Publish and subscribe: who is subscribed to what, and messages on their way to them.
//!
//! A message is encoded once for each protocol, and every subscriber's output gets the same bytes.

mod topics;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{ConnectionId, Instant};
use slotway_protocol::glob::matches;
use slotway_protocol::resp::{Protocol, encode};

use topics::Topics;

/// All subscriptions of a node's clients.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    channels: Topics,
    patterns: Topics,
    /// Channels of SSUBSCRIBE, by their slot.
    shard_channels: BTreeMap<Slot, Topics>,
    /// Messages that the node has not handed to their subscribers yet.
    pub(crate) deliveries: Vec<Delivery>,
    /// Messages that other nodes are to get; only when there is a bus.
    pub(crate) outgoing: Vec<Published>,
    pub(crate) has_bus: bool,
    /// How many subscribers were cut off as too much waited for them.
    pub(crate) cut_off: u64,
}

/// What can be subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Channel,
    Pattern,
    ShardChannel,
}

/// What one client is subscribed to; only kept when that is anything.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    channels: BTreeSet<Box<[u8]>>,
    patterns: BTreeSet<Box<[u8]>>,
    shard_channels: BTreeSet<Box<[u8]>>,
    /// Since when more than the lower limit waits for it.
    pub(crate) slow_since: Option<Instant>,
}

/// A message that clients are to be told, in both protocols.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) resp2: Bytes,
    pub(crate) resp3: Bytes,
    pub(crate) to: Vec<ConnectionId>,
}

/// A message for other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) channel: Box<[u8]>,
    pub(crate) message: Bytes,
    pub(crate) sharded: bool,
}

impl Topic {
    /// The words of the replies to subscribing and unsubscribing.
    pub(crate) fn words(self) -> [&'static str; 2] {
        match self {
            Self::Channel => ["subscribe", "unsubscribe"],
            Self::Pattern => ["psubscribe", "punsubscribe"],
            Self::ShardChannel => ["ssubscribe", "sunsubscribe"],
        }
    }
}

impl Subscriptions {
    pub(crate) fn of(&self, topic: Topic) -> &BTreeSet<Box<[u8]>> {
        match topic {
            Topic::Channel => &self.channels,
            Topic::Pattern => &self.patterns,
            Topic::ShardChannel => &self.shard_channels,
        }
    }

    fn of_mut(&mut self, topic: Topic) -> &mut BTreeSet<Box<[u8]>> {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::ShardChannel => &mut self.shard_channels,
        }
    }

    /// Removes a name; how many of that kind are left.
    pub(crate) fn lose(&mut self, topic: Topic, name: &[u8]) -> usize {
        self.of_mut(topic).remove(name);
        self.count(topic)
    }

    /// The number that replies to subscribing and unsubscribing have: channels and patterns are
    /// counted together.
    pub(crate) fn count(&self, topic: Topic) -> usize {
        match topic {
            Topic::Channel | Topic::Pattern => self.channels.len() + self.patterns.len(),
            Topic::ShardChannel => self.shard_channels.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }
}

impl PubSub {
    /// Subscribes a client, unless it is already.
    pub(crate) fn subscribe(
        &mut self,
        client: ConnectionId,
        own: &mut Subscriptions,
        topic: Topic,
        name: &[u8],
    ) {
        if own.of_mut(topic).insert(name.into()) {
            self.topics(topic, name).add(name, client);
        }
    }

    /// Ends a subscription, if there is one.
    pub(crate) fn unsubscribe(
        &mut self,
        client: ConnectionId,
        own: &mut Subscriptions,
        topic: Topic,
        name: &[u8],
    ) {
        if own.of_mut(topic).remove(name) {
            self.forget(client, topic, name);
        }
    }

    /// Ends all subscriptions of a client.
    pub(crate) fn unsubscribe_all(&mut self, client: ConnectionId, own: &Subscriptions) {
        for topic in [Topic::Channel, Topic::Pattern, Topic::ShardChannel] {
            for name in own.of(topic) {
                self.forget(client, topic, name);
            }
        }
    }

    fn forget(&mut self, client: ConnectionId, topic: Topic, name: &[u8]) {
        self.topics(topic, name).remove(name, client);
        let slot = Slot::of(name);
        if topic == Topic::ShardChannel
            && self.shard_channels.get(&slot).is_some_and(Topics::is_empty)
        {
            self.shard_channels.remove(&slot);
        }
    }

    fn topics(&mut self, topic: Topic, name: &[u8]) -> &mut Topics {
        match topic {
            Topic::Channel => &mut self.channels,
            Topic::Pattern => &mut self.patterns,
            Topic::ShardChannel => self.shard_channels.entry(Slot::of(name)).or_default(),
        }
    }

    /// Hands a message to all who are subscribed; how many that are. One who is subscribed in
    /// several ways gets it as often.
    pub(crate) fn publish(&mut self, channel: &[u8], message: &[u8], sharded: bool) -> usize {
        if sharded {
            let topics = self.shard_channels.get(&Slot::of(channel));
            let to = topics.map_or(&[][..], |topics| topics.clients(channel));
            if to.is_empty() {
                return 0;
            }
            let parts = [&b"smessage"[..], channel, message];
            self.deliveries.push(Delivery::new(&parts, to.to_vec()));
            return to.len();
        }
        let to = self.channels.clients(channel);
        let mut count = to.len();
        if !to.is_empty() {
            let parts = [&b"message"[..], channel, message];
            self.deliveries.push(Delivery::new(&parts, to.to_vec()));
        }
        for (pattern, to) in self.patterns.iter() {
            if matches(pattern, channel) {
                count += to.len();
                let parts = [&b"pmessage"[..], pattern, channel, message];
                self.deliveries.push(Delivery::new(&parts, to.to_vec()));
            }
        }
        count
    }

    /// Channels that anyone is subscribed to, and how many each has.
    pub(crate) fn active(&self, sharded: bool) -> impl Iterator<Item = &[u8]> {
        let shard = self.shard_channels.values().filter(move |_| sharded);
        let plain = (!sharded).then_some(&self.channels).into_iter();
        plain.chain(shard).flat_map(Topics::names)
    }

    pub(crate) fn subscribers(&self, channel: &[u8], sharded: bool) -> usize {
        if !sharded {
            return self.channels.clients(channel).len();
        }
        let topics = self.shard_channels.get(&Slot::of(channel));
        topics.map_or(0, |topics| topics.clients(channel).len())
    }

    pub(crate) fn patterns_len(&self) -> usize {
        self.patterns.len()
    }

    pub(crate) fn channels_len(&self) -> usize {
        self.channels.len()
    }

    pub(crate) fn shard_channels_len(&self) -> usize {
        self.shard_channels.values().map(Topics::len).sum()
    }

    /// The slots of channels of SSUBSCRIBE.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.shard_channels.keys().copied()
    }

    /// Takes out all channels of a slot, with who is subscribed to them.
    pub(crate) fn take_slot(&mut self, slot: Slot) -> Topics {
        self.shard_channels.remove(&slot).unwrap_or_default()
    }

    /// Panics when a client's subscriptions are not those that are known of it.
    pub(crate) fn check_invariants<'a>(
        &self,
        clients: impl Iterator<Item = (ConnectionId, &'a Subscriptions)>,
    ) {
        let mut count = 0;
        for (client, own) in clients {
            assert!(!own.is_empty(), "only what is not empty is kept");
            for topic in [Topic::Channel, Topic::Pattern, Topic::ShardChannel] {
                for name in own.of(topic) {
                    let known = match topic {
                        Topic::Channel => self.channels.clients(name),
                        Topic::Pattern => self.patterns.clients(name),
                        Topic::ShardChannel => {
                            let topics = self.shard_channels.get(&Slot::of(name));
                            topics.map_or(&[][..], |topics| topics.clients(name))
                        }
                    };
                    assert!(known.contains(&client), "a subscription is known");
                    count += 1;
                }
            }
        }
        let shard = self.shard_channels.values();
        let all = shard.chain([&self.channels, &self.patterns]);
        let known: usize = all.map(Topics::subscriptions).sum();
        assert_eq!(known, count, "nobody is subscribed who does not know");
    }
}

impl Delivery {
    fn new(parts: &[&[u8]], to: Vec<ConnectionId>) -> Self {
        let [resp2, resp3] = [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
            let mut bytes = Vec::new();
            encode::push(&mut bytes, protocol, parts.len());
            parts.iter().for_each(|part| encode::bulk(&mut bytes, part));
            Bytes::from(bytes)
        });
        Self { resp2, resp3, to }
    }

    pub(crate) fn bytes(&self, protocol: Protocol) -> &Bytes {
        match protocol {
            Protocol::Resp2 => &self.resp2,
            Protocol::Resp3 => &self.resp3,
        }
    }
}
