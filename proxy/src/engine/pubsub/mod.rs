//! Who is subscribed to what, and where at the nodes each subscription is kept: one of ours for
//! all clients of this worker. Sends nothing; what is to be sent is returned, or asked for.

mod command;
mod topic;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use slotway_protocol::engine::{ConnectionId, Instant};
use slotway_protocol::glob::matches;

use crate::engine::fail_point;

pub(crate) use self::command::{Command, CommandNumber};
pub(crate) use self::topic::{Asked, Family, Subscriber, Topic, TopicId};

/// All subscriptions of one worker.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// By [`TopicId`]; the places of those nobody wants any more are taken again.
    topics: Vec<Option<Topic>>,
    free: Vec<u32>,
    names: [HashMap<Bytes, TopicId>; Family::COUNT],
    /// By the index of their connection.
    clients: HashMap<u32, Client>,
    /// Topics that are to be asked for at some node, or at another one than now.
    wanted: BTreeSet<TopicId>,
    patterns: BTreeSet<TopicId>,
    /// What is to be asked for on each backend's feed once that is ready.
    unsent: BTreeMap<usize, Vec<TopicId>>,
    /// Commands that wait for nodes, oldest first.
    commands: BTreeMap<CommandNumber, Command>,
    next_command: u64,
    next_batch: u64,
    subscribers: usize,
}

/// What one client is subscribed to.
#[derive(Debug)]
struct Client {
    connection: ConnectionId,
    /// With the client's place among the topic's subscribers.
    topics: BTreeMap<TopicId, u32>,
    counts: [usize; Family::COUNT],
    /// The memory that its subscriptions may take.
    bytes: usize,
}

/// A topic that nobody wants any more.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) topic: Topic,
}

impl Subscriptions {
    /// Whether no client is subscribed to anything.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// How many topics there are of a kind.
    pub(crate) fn topics_of(&self, family: Family) -> usize {
        self.names[family.index()].len()
    }

    /// About how many bytes of memory the subscriptions of all clients take.
    pub(crate) fn memory(&self) -> usize {
        self.clients.values().map(|client| client.bytes).sum()
    }

    /// How many subscriptions clients have.
    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers
    }

    pub(crate) fn find(&self, family: Family, name: &[u8]) -> Option<TopicId> {
        self.names[family.index()].get(name).copied()
    }

    pub(crate) fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(id.0 as usize)?.as_ref()
    }

    pub(crate) fn topic_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.topics.get_mut(id.0 as usize)?.as_mut()
    }

    /// All topics, in the order of their ids.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (TopicId, &Topic)> {
        let numbered = self.topics.iter().zip(0..);
        numbered.filter_map(|(topic, id)| Some((TopicId(id), topic.as_ref()?)))
    }

    /// Whether a node has confirmed that we are subscribed.
    pub(crate) fn is_confirmed(&self, family: Family, name: &[u8]) -> bool {
        let topic = self.find(family, name).and_then(|id| self.topic(id));
        topic.is_some_and(|topic| topic.source.is_some())
    }

    /// How many subscriptions of a kind the client has.
    pub(crate) fn count(&self, connection: ConnectionId, family: Family) -> usize {
        let client = self.client(connection);
        client.map_or(0, |client| client.counts[family.index()])
    }

    /// The number that confirmations to the client tell: patterns are counted with channels.
    pub(crate) fn told_count(&self, connection: ConnectionId, family: Family) -> usize {
        match family {
            Family::Shard => self.count(connection, Family::Shard),
            Family::Channel | Family::Pattern => {
                self.count(connection, Family::Channel) + self.count(connection, Family::Pattern)
            }
        }
    }

    /// The memory that the client's subscriptions may take.
    pub(crate) fn bytes(&self, connection: ConnectionId) -> usize {
        self.client(connection).map_or(0, |client| client.bytes)
    }

    /// What the client is subscribed to, of one kind.
    pub(crate) fn names_of(&self, connection: ConnectionId, family: Family) -> Vec<Bytes> {
        let client = self.client(connection);
        let ids = client.into_iter().flat_map(|client| client.topics.keys());
        let topics = ids.filter_map(|id| self.topic(*id));
        let topics = topics.filter(|topic| topic.family == family);
        topics.map(|topic| topic.name.clone()).collect()
    }

    /// Subscribes a client, which hears nothing of it before the reply at the place `after` has
    /// left.
    pub(crate) fn add(
        &mut self,
        connection: ConnectionId,
        family: Family,
        name: &[u8],
        after: u64,
    ) -> TopicId {
        let id = self.find_or_create(family, name);
        let client = self.clients.entry(connection.index).or_insert(Client {
            connection,
            topics: BTreeMap::new(),
            counts: [0; Family::COUNT],
            bytes: 0,
        });
        let Some(Some(topic)) = self.topics.get_mut(id.0 as usize) else {
            return id;
        };
        let position = topic.subscribers.len() as u32;
        if let std::collections::btree_map::Entry::Vacant(place) = client.topics.entry(id) {
            place.insert(position);
            topic.subscribers.push(Subscriber { connection, after });
            fail_point::pass();
            client.counts[family.index()] += 1;
            client.bytes += subscription_bytes(name);
            self.subscribers += 1;
        }
        id
    }

    /// Ends a client's subscription. When it was the last one the topic itself ends.
    pub(crate) fn remove(&mut self, connection: ConnectionId, id: TopicId) -> Option<Dropped> {
        let client = self.clients.get_mut(&connection.index)?;
        if client.connection != connection {
            return None;
        }
        let position = client.topics.remove(&id)?;
        let topic = self.topics.get_mut(id.0 as usize)?.as_mut()?;
        client.counts[topic.family.index()] -= 1;
        client.bytes -= subscription_bytes(&topic.name);
        if client.topics.is_empty() {
            self.clients.remove(&connection.index);
        }
        self.subscribers -= 1;
        fail_point::pass();
        topic.subscribers.swap_remove(position as usize);
        if let Some(moved) = topic.subscribers.get(position as usize)
            && let Some(client) = self.clients.get_mut(&moved.connection.index)
        {
            client.topics.insert(id, position);
        }
        topic.subscribers.is_empty().then(|| self.drop_topic(id))?
    }

    /// Ends all subscriptions of a client.
    pub(crate) fn remove_client(&mut self, connection: ConnectionId) -> Vec<Dropped> {
        let ids: Vec<_> = match self.client(connection) {
            Some(client) => client.topics.keys().copied().collect(),
            None => return Vec::new(),
        };
        let dropped = ids.into_iter().map(|id| self.remove(connection, id));
        dropped.flatten().collect()
    }

    /// Ends those subscriptions of a client that began with the place `after`.
    pub(crate) fn roll_back(&mut self, connection: ConnectionId, after: u64) -> Vec<Dropped> {
        let Some(client) = self.client(connection) else {
            return Vec::new();
        };
        let began_there = |(id, position): &(&TopicId, &u32)| {
            let topic = self.topic(**id);
            let subscriber = topic.map(|topic| topic.subscribers[**position as usize]);
            subscriber.is_some_and(|subscriber| subscriber.after == after)
        };
        let ids: Vec<_> = client.topics.iter().filter(began_there).collect();
        let ids: Vec<_> = ids.into_iter().map(|(id, _)| *id).collect();
        let dropped = ids.into_iter().map(|id| self.remove(connection, id));
        dropped.flatten().collect()
    }

    /// The topic is to be asked for, or to be moved.
    pub(crate) fn want(&mut self, id: TopicId) {
        self.wanted.insert(id);
    }

    pub(crate) fn has_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(crate) fn take_wanted(&mut self) -> BTreeSet<TopicId> {
        std::mem::take(&mut self.wanted)
    }

    /// The topic will be asked for on that backend's feed.
    pub(crate) fn assign(&mut self, id: TopicId, backend: usize) {
        if let Some(topic) = self.topic_mut(id) {
            let batch = None;
            topic.asked = Some(Asked { backend, batch });
            self.unsent.entry(backend).or_default().push(id);
        }
    }

    /// What is to be asked for on a feed that is ready.
    pub(crate) fn take_unsent(&mut self, backend: usize) -> Vec<TopicId> {
        let ids = self.unsent.remove(&backend).unwrap_or_default();
        let batch = None;
        let still = |id: &TopicId| {
            let topic = self.topic(*id);
            topic.is_some_and(|topic| topic.asked == Some(Asked { backend, batch }))
        };
        ids.into_iter().filter(still).collect()
    }

    /// Marks the topics as asked for in one request; the request's number.
    pub(crate) fn begin_batch(&mut self, backend: usize, ids: &[TopicId]) -> u64 {
        self.next_batch += 1;
        let batch = self.next_batch;
        for id in ids {
            if let Some(topic) = self.topic_mut(*id) {
                let batch = Some(batch);
                topic.asked = Some(Asked { backend, batch });
            }
        }
        batch
    }

    /// The feed of a backend is gone: its subscriptions are wanted elsewhere.
    pub(crate) fn lose(&mut self, backend: usize) {
        self.unsent.remove(&backend);
        let ids: Vec<_> = self.topics().map(|(id, _)| id).collect();
        for id in ids {
            let Some(topic) = self.topic_mut(id) else {
                continue;
            };
            topic.source = topic.source.filter(|source| *source != backend);
            topic.asked = topic.asked.filter(|asked| asked.backend != backend);
            if topic.source.is_none() && topic.asked.is_none() {
                topic.not_before = Instant::default();
                self.wanted.insert(id);
            }
        }
    }

    /// Whether anything is, or is about to be, subscribed at the backend.
    pub(crate) fn uses(&self, backend: usize) -> bool {
        self.topics().any(|(_, topic)| {
            let asked = topic.asked.map(|asked| asked.backend);
            topic.source == Some(backend) || asked == Some(backend)
        })
    }

    /// Keeps a command that waits until its topics are confirmed.
    pub(crate) fn wait(&mut self, mut command: Command, ids: &[TopicId]) {
        self.next_command += 1;
        let number = CommandNumber(self.next_command);
        for id in ids {
            if let Some(topic) = self.topic_mut(*id)
                && topic.source.is_none()
                && topic.waiting.last() != Some(&number)
            {
                topic.waiting.push(number);
                command.waits_for += 1;
            }
        }
        self.commands.insert(number, command);
    }

    /// One thing less to wait for, for each of these; those that wait for nothing more.
    pub(crate) fn settle(&mut self, waiting: Vec<CommandNumber>) -> Vec<Command> {
        let mut done = Vec::new();
        for number in waiting {
            if let Some(command) = self.commands.get_mut(&number) {
                command.waits_for -= 1;
                if command.waits_for == 0 {
                    done.extend(self.commands.remove(&number));
                }
            }
        }
        done
    }

    /// Takes out a command that will not be served.
    pub(crate) fn give_up(&mut self, number: CommandNumber) -> Option<Command> {
        let command = self.commands.remove(&number)?;
        for topic in self.topics.iter_mut().flatten() {
            topic.waiting.retain(|waiting| *waiting != number);
        }
        Some(command)
    }

    /// The commands that wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Command> {
        self.commands.values()
    }

    /// The oldest command, if its time is over.
    pub(crate) fn expired(&self, now: Instant) -> Option<CommandNumber> {
        let (number, command) = self.commands.first_key_value()?;
        (command.deadline <= now).then_some(*number)
    }

    /// How many of a node's receivers of a message are ours, and how many clients those stand for.
    pub(crate) fn receivers(&self, family: Family, name: &[u8], backend: usize) -> (usize, usize) {
        let exact = self.find(family, name).and_then(|id| self.topic(id));
        let mut topics: Vec<_> = exact.into_iter().collect();
        if family == Family::Channel {
            let patterns = self.patterns.iter().filter_map(|id| self.topic(*id));
            topics.extend(patterns.filter(|topic| matches(&topic.name, name)));
        }
        let there = topics.iter().filter(|topic| topic.source == Some(backend));
        let confirmed = topics.iter().filter(|topic| topic.source.is_some());
        let clients = confirmed.map(|topic| topic.subscribers.len());
        (there.count(), clients.sum())
    }

    /// How many more clients are subscribed than the nodes can tell.
    pub(crate) fn more(&self, family: Family, name: &[u8]) -> i64 {
        let topic = self.find(family, name).and_then(|id| self.topic(id));
        topic.map_or(0, |topic| {
            topic.subscribers.len() as i64 - i64::from(topic.source.is_some())
        })
    }

    fn client(&self, connection: ConnectionId) -> Option<&Client> {
        let client = self.clients.get(&connection.index);
        client.filter(|client| client.connection == connection)
    }

    fn find_or_create(&mut self, family: Family, name: &[u8]) -> TopicId {
        if let Some(id) = self.find(family, name) {
            return id;
        }
        let topic = Topic::new(family, name);
        let name = topic.name.clone();
        let id = match self.free.pop() {
            Some(index) => {
                self.topics[index as usize] = Some(topic);
                TopicId(index)
            }
            None => {
                self.topics.push(Some(topic));
                TopicId(self.topics.len() as u32 - 1)
            }
        };
        self.names[family.index()].insert(name, id);
        if family == Family::Pattern {
            self.patterns.insert(id);
        }
        self.wanted.insert(id);
        id
    }

    fn drop_topic(&mut self, id: TopicId) -> Option<Dropped> {
        let topic = self.topics.get_mut(id.0 as usize)?.take()?;
        self.names[topic.family.index()].remove(&topic.name);
        self.patterns.remove(&id);
        self.wanted.remove(&id);
        self.free.push(id.0);
        Some(Dropped { topic })
    }

    /// The clients that are subscribed to anything, each with how many subscriptions it has.
    pub(crate) fn clients(&self) -> impl Iterator<Item = (ConnectionId, usize)> {
        let clients = self.clients.values();
        clients.map(|client| (client.connection, client.topics.len()))
    }

    /// Checks what must hold between calls.
    pub(crate) fn check_invariants(&self) {
        let mut subscribers = 0;
        let mut waiting = BTreeMap::<CommandNumber, usize>::new();
        for (id, topic) in self.topics() {
            assert_eq!(self.find(topic.family, &topic.name), Some(id));
            assert!(
                !topic.subscribers.is_empty(),
                "a topic is dropped with its last client"
            );
            let placed = topic.source.is_some() || topic.asked.is_some();
            assert!(
                placed || self.wanted.contains(&id),
                "a topic is somewhere or wanted"
            );
            for (subscriber, position) in topic.subscribers.iter().zip(0..) {
                let client = self.client(subscriber.connection).expect("a client");
                assert_eq!(client.topics.get(&id), Some(&position));
            }
            subscribers += topic.subscribers.len();
            for number in &topic.waiting {
                *waiting.entry(*number).or_default() += 1;
            }
        }
        assert_eq!(
            subscribers, self.subscribers,
            "every subscription is counted"
        );
        for client in self.clients.values() {
            assert_eq!(client.topics.len(), client.counts.iter().sum::<usize>());
        }
        for (number, command) in &self.commands {
            assert_eq!(waiting.remove(number), Some(command.waits_for));
        }
        assert!(waiting.is_empty(), "only commands wait");
    }
}

/// The memory that one subscription may take, its name and its places.
pub(crate) fn subscription_bytes(name: &[u8]) -> usize {
    name.len() + SUBSCRIPTION_BYTES
}

/// What a subscription takes besides the name: its topic, and its places in the tables.
const SUBSCRIPTION_BYTES: usize = 256;
