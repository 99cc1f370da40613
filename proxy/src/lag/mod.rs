//! How far replicas are behind their primaries, and which nodes are not there, whoever asks them
//! for anything else: each node is asked now and then, on a connection of its own. An engine, on
//! the control thread.

mod seen;
mod talk;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::cluster::Topology;
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};
use slotway_protocol::output::Output;

pub use self::seen::{Look, Seen};
use self::talk::{Said, Talk};
use crate::engine::{Credentials, NodeHealth, Report};

/// How it is done.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often each node is asked.
    pub interval: Duration,
    /// A node that owes an answer for so long is asked on another connection.
    pub answer_timeout: Duration,
    pub credentials: Option<Credentials>,
}

/// What the outside tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Topology(Arc<Topology>),
}

/// It tells nothing but by [`Seen`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {}

/// The engine.
#[derive(Debug)]
pub struct LagWatch {
    options: Options,
    nodes: BTreeMap<Address, Node>,
    /// Primaries, in the order in which they are asked next.
    primaries: VecDeque<Address>,
    connections: HashMap<ConnectionId, Talk>,
    connecting: HashMap<ConnectToken, Address>,
    tokens: u32,
    next_round: Instant,
    seen: Arc<Seen>,
    actions: VecDeque<Action<Notice>>,
}

/// A node of the topology.
#[derive(Debug, Default)]
struct Node {
    /// Whom it follows; nobody if it is a primary.
    primary: Option<Address>,
    replicas: Vec<Address>,
    link: Link,
    /// When it was asked what it has not answered.
    asked: Option<Instant>,
    /// It does not let us know: there is no use in asking it again before then.
    refuses_until: Option<Instant>,
    look: Look,
    health: NodeHealth,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Link {
    #[default]
    Idle,
    Connecting(ConnectToken),
    Open(ConnectionId),
}

impl LagWatch {
    /// What is seen comes to stand in `seen`.
    pub fn new(options: Options, seen: Arc<Seen>) -> Self {
        Self {
            options,
            nodes: BTreeMap::new(),
            primaries: VecDeque::new(),
            connections: HashMap::new(),
            connecting: HashMap::new(),
            tokens: 0,
            next_round: Instant::default(),
            seen,
            actions: VecDeque::new(),
        }
    }

    fn take_topology(&mut self, topology: &Topology) {
        let mut before = std::mem::take(&mut self.nodes);
        let mut add = |address: &Address, primary: Option<&Address>, replicas: &[Address]| {
            // While it is not agreed who follows whom, a node may be named twice: the first counts.
            if self.nodes.contains_key(address) {
                return;
            }
            let mut node = before.remove(address).unwrap_or_default();
            if node.primary.as_ref() != primary {
                node.health = NodeHealth::default();
                node.look.lag = None;
            }
            node.refuses_until = None;
            node.primary = primary.cloned();
            node.replicas = replicas.to_vec();
            self.nodes.insert(address.clone(), node);
        };
        for shard in topology.shards() {
            add(&shard.primary, None, &shard.replicas);
        }
        for shard in topology.shards() {
            for replica in &shard.replicas {
                add(replica, Some(&shard.primary), &[]);
            }
        }
        self.order_primaries();
        let open = before.values().filter_map(|node| match node.link {
            Link::Open(connection) => Some(connection),
            _ => None,
        });
        for connection in open.collect::<Vec<_>>() {
            self.close(connection);
        }
        self.show();
    }

    /// Whoever's turn was next stays so, however often the topology changes.
    fn order_primaries(&mut self) {
        let is_primary = |node: Option<&Node>| node.is_some_and(|node| node.primary.is_none());
        self.primaries
            .retain(|address| is_primary(self.nodes.get(address)));
        let known: BTreeSet<Address> = self.primaries.iter().cloned().collect();
        let all = self.nodes.iter().filter(|(_, node)| node.primary.is_none());
        let new = all.filter(|(address, _)| !known.contains(*address));
        self.primaries
            .extend(new.map(|(address, _)| address.clone()));
    }

    /// Asks the next primaries, and each one's replicas when it has answered.
    fn begin_round(&mut self, now: Instant) {
        self.next_round = now + self.options.interval;
        self.give_up_late(now);
        self.show();
        for _ in 0..self.primaries.len().min(SHARDS_A_ROUND) {
            self.primaries.rotate_left(1);
            let Some(primary) = self.primaries.back().cloned() else {
                return;
            };
            self.ask(&primary, now);
            if (self.nodes.get(&primary)).is_some_and(|node| node.refuses_until.is_some()) {
                // Whether its replicas are there can be seen all the same.
                self.ask_replicas(&primary, now);
            }
        }
    }

    fn give_up_late(&mut self, now: Instant) {
        let timeout = self.options.answer_timeout;
        let mut late = Vec::new();
        for node in self.nodes.values_mut() {
            if let Link::Open(connection) = node.link
                && node.asked.is_some_and(|at| now.since(at) >= timeout)
            {
                // The system accepts connections for a process that hangs.
                node.look.is_down = true;
                late.push(connection);
            }
        }
        for connection in late {
            self.close(connection);
        }
    }

    fn ask(&mut self, address: &Address, now: Instant) {
        let Some(node) = self.nodes.get_mut(address) else {
            return;
        };
        node.refuses_until.take_if(|until| *until <= now);
        match node.link {
            Link::Idle if node.refuses_until.is_none() => {
                let token = ConnectToken(self.tokens);
                self.tokens = self.tokens.wrapping_add(1);
                node.link = Link::Connecting(token);
                self.connecting.insert(token, address.clone());
                let address = address.clone();
                self.actions.push_back(Action::Connect { token, address });
            }
            Link::Open(connection) if node.asked.is_none() => {
                if let Some(talk) = self.connections.get_mut(&connection) {
                    node.asked = Some(now);
                    talk.ask();
                    self.actions.push_back(Action::Wake(connection));
                }
            }
            _ => {}
        }
    }

    fn ask_replicas(&mut self, primary: &Address, now: Instant) {
        let node = self.nodes.get(primary);
        for replica in node.map_or_else(Vec::new, |node| node.replicas.clone()) {
            self.ask(&replica, now);
        }
    }

    /// Whether the connection is of further use.
    fn hear(&mut self, address: &Address, said: Said, now: Instant) -> bool {
        let node = self.nodes.get_mut(address);
        let Some(node) = node.filter(|node| node.asked.is_some()) else {
            return false;
        };
        let was_down = core::mem::take(&mut node.look.is_down);
        match said {
            Said::Report(report) => self.take_report(address, report, now),
            Said::No => node.refuses_until = Some(now + REFUSED_RETRY),
            Said::Nonsense => {}
        }
        if was_down {
            self.show();
        }
        matches!(said, Said::Report(_))
    }

    /// A node has said how it is.
    fn take_report(&mut self, address: &Address, report: Report, now: Instant) {
        let Some(mut node) = self.nodes.remove(address) else {
            return;
        };
        let asked = node.asked.take().unwrap_or(now);
        let is_primary = node.primary.is_none();
        match &node.primary {
            None if report.is_primary() => {
                node.health.take_sample(report, asked, LAG_TOLD);
            }
            // It has been replaced: what it has says nothing of its successor.
            None => node.health = NodeHealth::default(),
            Some(primary) => {
                let primary = self.nodes.get(primary).map(|primary| &primary.health);
                node.look.lag = primary.filter(|it| it.has_samples()).and_then(|primary| {
                    node.health.take_report(report, primary);
                    node.health.lag(primary)
                });
            }
        }
        self.nodes.insert(address.clone(), node);
        if is_primary {
            self.ask_replicas(address, now);
        }
    }

    /// A node can't be asked, or does not answer.
    fn lose(&mut self, address: &Address, is_down: bool, now: Instant) {
        let Some(node) = self.nodes.get_mut(address) else {
            return;
        };
        node.link = Link::Idle;
        node.asked = None;
        node.look.lag = None;
        let is_new = is_down && !node.look.is_down;
        node.look.is_down |= is_down;
        // How far it was then says nothing of what it has when it is back.
        node.health = NodeHealth::default();
        for replica in node.replicas.clone() {
            if let Some(replica) = self.nodes.get_mut(&replica) {
                replica.look.lag = None;
            }
        }
        if is_new {
            self.show();
        }
        self.ask_replicas(address, now);
    }

    /// The node that such a connection is for.
    fn connecting_to(&mut self, token: ConnectToken) -> Option<(Address, &mut Node)> {
        let address = self.connecting.remove(&token)?;
        let node = self.nodes.get_mut(&address)?;
        (node.link == Link::Connecting(token)).then_some((address, node))
    }

    fn close(&mut self, connection: ConnectionId) {
        self.actions.push_back(Action::Close {
            connection,
            when: CloseWhen::Now,
        });
    }

    fn show(&self) {
        let looks = self.nodes.iter();
        self.seen
            .store(looks.map(|(address, node)| (address.clone(), node.look)));
    }
}

impl Engine for LagWatch {
    type Event = Event;
    type Notice = Notice;

    fn handle_open(&mut self, connection: ConnectionId, peer: Peer, now: Now) {
        let Origin::Connected(token) = peer.origin else {
            return self.close(connection);
        };
        // The node may have left the cluster meanwhile, and may even be back.
        let Some((address, node)) = self.connecting_to(token) else {
            return self.close(connection);
        };
        node.link = Link::Open(connection);
        let talk = Talk::new(address.clone(), self.options.credentials.as_ref());
        self.connections.insert(connection, talk);
        self.ask(&address, now.instant);
    }

    fn handle_connect_failed(&mut self, token: ConnectToken, _error: ConnectError, now: Now) {
        if let Some((address, _)) = self.connecting_to(token) {
            self.lose(&address, true, now.instant);
        }
    }

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        while let Some(talk) = self.connections.get_mut(&connection) {
            let Some(said) = talk.take(input) else {
                return;
            };
            let address = talk.address.clone();
            if !self.hear(&address, said, now.instant) {
                input.clear();
                return self.close(connection);
            }
        }
        input.clear();
    }

    fn handle_end(&mut self, connection: ConnectionId, _now: Now) {
        self.close(connection);
    }

    fn handle_close(&mut self, connection: ConnectionId, now: Now) {
        let Some(talk) = self.connections.remove(&connection) else {
            return;
        };
        let node = self.nodes.get(&talk.address);
        if node.is_some_and(|node| node.link == Link::Open(connection)) {
            self.lose(&talk.address, false, now.instant);
        }
    }

    fn handle_written(&mut self, _connection: ConnectionId, _now: Now) {}

    fn handle_timeout(&mut self, now: Now) {
        if now.instant >= self.next_round {
            self.begin_round(now.instant);
        }
    }

    fn handle_event(&mut self, event: Event, _now: Now) {
        let Event::Topology(topology) = event;
        self.take_topology(&topology);
    }

    fn output(&mut self, connection: ConnectionId) -> &mut Output {
        let talk = self.connections.get_mut(&connection);
        &mut talk
            .expect("the driver asks for open connections only")
            .output
    }

    fn poll_action(&mut self) -> Option<Action<Notice>> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (!self.nodes.is_empty()).then_some(self.next_round)
    }
}

/// What a primary had is known for twice as long: a lag that is longer is told as that.
const LAG_TOLD: Duration = Duration::from_secs(60);

/// A node that does not let us know, for want of a right or a password, is asked again so much
/// later.
const REFUSED_RETRY: Duration = Duration::from_secs(60);

/// So many primaries, and their replicas, are asked at a time; in larger clusters each one's turn
/// comes less often.
const SHARDS_A_ROUND: usize = 64;
