//! The engine between a scripted client and scripted nodes: what drives it by hand.

mod blocking;
mod client;
mod databases;
mod failures;
mod flow;
mod guide;
mod lateness;
mod learned;
mod many_keys;
mod own;
mod passing;
mod pubsub;
mod reads;
mod reads_model;
mod recovery;
mod redirects;
mod requests;
mod review;
mod scan;
mod scan_model;
mod scripts;
mod shedding;
mod sizes;
mod trails;
mod transactions;
mod waiting_keys;
mod watching;

use core::time::Duration;
use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::cluster::{Shard, Slot, Topology};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};

use super::Suspicion;
use super::feeds::feed_of;
use super::{Agreed, Credentials, Event, HoldStory, Message, Notice, Options, Proxy, Stats, Trail};

/// Drives one engine by hand.
struct Bench {
    proxy: Proxy,
    stats: Arc<Stats>,
    now: Instant,
    connections: u32,
    /// Open connections to nodes, by port and whether they speak RESP3.
    nodes: HashMap<u16, ConnectionId>,
    /// Open connections for reads at replicas, by port.
    readers: HashMap<u16, ConnectionId>,
    /// Open connections for what is large, by port.
    large: HashMap<u16, ConnectionId>,
    /// Open feeds, by port.
    feeds: HashMap<u16, ConnectionId>,
    /// Connections asked for and not answered.
    wanted: Vec<(ConnectToken, Address)>,
    closed: Vec<(ConnectionId, CloseWhen)>,
    resumed: Vec<ConnectionId>,
    paused: Vec<ConnectionId>,
    stale: usize,
    /// Nodes that were told to be lost, by port.
    lost: Vec<u16>,
    refusals: Vec<String>,
    /// What was said to other workers.
    messages: Vec<Message>,
    agreed: Vec<Agreed>,
    /// What was told of requests that had to wait.
    held: Vec<HoldStory>,
    /// What was told of requests that were chosen for it.
    trails: Vec<Trail>,
    suspicions: Vec<Suspicion>,
    /// Nodes of the cluster without slots, by port.
    slotless: Vec<u16>,
    /// Other names of nodes, by port.
    aliases: Vec<(&'static str, u16)>,
}

impl Bench {
    fn new(options: Options) -> Self {
        let stats = Arc::new(Stats::new());
        let mut bench = Self {
            proxy: Proxy::new(options, stats.clone()),
            stats,
            now: Instant::from_micros(1_000_000),
            connections: 0,
            nodes: HashMap::new(),
            readers: HashMap::new(),
            large: HashMap::new(),
            feeds: HashMap::new(),
            wanted: Vec::new(),
            closed: Vec::new(),
            resumed: Vec::new(),
            paused: Vec::new(),
            stale: 0,
            lost: Vec::new(),
            refusals: Vec::new(),
            messages: Vec::new(),
            agreed: Vec::new(),
            held: Vec::new(),
            trails: Vec::new(),
            suspicions: Vec::new(),
            slotless: Vec::new(),
            aliases: Vec::new(),
        };
        bench.call(|proxy, now| proxy.handle_event(Event::Databases(1), now));
        bench
    }

    /// Two nodes: port 1 has the lower half of the slots, port 2 the upper one.
    fn with_two_nodes() -> Self {
        let mut bench = Self::new(Options::default());
        bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
        bench
    }

    fn now(&self) -> Now {
        Now {
            instant: self.now,
            unix_ms: 0,
        }
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut Proxy, Now) -> R) -> R {
        let now = self.now();
        let result = call(&mut self.proxy, now);
        while let Some(action) = self.proxy.poll_action() {
            match action {
                Action::Connect { token, address } => self.wanted.push((token, address)),
                Action::Close { connection, when } => self.closed.push((connection, when)),
                Action::Resume(connection) => self.resumed.push(connection),
                Action::Pause(connection) => self.paused.push(connection),
                Action::Notify(Notice::TopologyStale) => self.stale += 1,
                Action::Notify(Notice::NodeLost { address }) => self.lost.push(address.port),
                Action::Notify(Notice::LoginRefused { text, .. }) => self.refusals.push(text),
                Action::Notify(Notice::Peers(message)) => self.messages.push(message),
                Action::Notify(Notice::Agreed(agreed)) => self.agreed.push(agreed),
                Action::Notify(Notice::Held(story)) => self.held.push(*story),
                Action::Notify(Notice::Followed(trail)) => self.trails.push(*trail),
                Action::Notify(Notice::Suspicious { suspicion, .. }) => {
                    self.suspicions.push(suspicion);
                }
                Action::Notify(Notice::Drained) | Action::Wake(_) => {}
            }
        }
        self.proxy.check_invariants();
        result
    }

    fn topology(&mut self, ranges: &[(u64, u64, u16)]) {
        self.topology_with_replicas(ranges, &[]);
    }

    /// With pairs of a primary and one of its replicas.
    fn topology_with_replicas(&mut self, ranges: &[(u64, u64, u16)], pairs: &[(u16, u16)]) {
        let mut topology = Topology::empty();
        for (first, last, port) in ranges {
            let primary = Address::new("node", *port);
            let replicas = pairs.iter().filter(|(primary, _)| primary == port);
            let replicas = replicas.map(|(_, replica)| Address::new("node", *replica));
            let replicas = replicas.collect();
            let shard = Shard { primary, replicas };
            topology.assign(Slot::new(*first).unwrap(), Slot::new(*last).unwrap(), shard);
        }
        for port in &self.slotless {
            topology.add_node(&Address::new("node", *port));
        }
        for (name, port) in &self.aliases {
            topology.add_alias(&Address::new(*name, *port), &Address::new("node", *port));
        }
        self.call(|proxy, now| proxy.handle_event(Event::Topology(Arc::new(topology)), now));
    }

    fn open(&mut self, origin: Origin) -> ConnectionId {
        let connection = ConnectionId {
            index: self.connections,
            generation: 0,
        };
        self.connections += 1;
        let any = "127.0.0.1:1".parse().unwrap();
        let peer = Peer {
            remote: any,
            local: any,
            origin,
        };
        self.call(|proxy, now| proxy.handle_open(connection, peer, now));
        connection
    }

    fn client(&mut self) -> ConnectionId {
        self.open(Origin::Accepted(0))
    }

    /// Answers all wishes for connections.
    fn connect(&mut self) {
        for (token, address) in std::mem::take(&mut self.wanted) {
            let connection = self.open(Origin::Connected(token));
            let of = match feed_of(token) {
                Some(_) => &mut self.feeds,
                None if self.proxy.is_read_lane(token.0 as usize) => &mut self.readers,
                None if self.proxy.is_large_lane(token.0 as usize) => &mut self.large,
                None => &mut self.nodes,
            };
            of.insert(address.port, connection);
        }
    }

    /// Opens the one connection that is asked for, to that node, and logs in on it.
    fn log_in_private(&mut self, port: u16) -> ConnectionId {
        let wanted = std::mem::take(&mut self.wanted);
        let [(token, address)] = &wanted[..] else {
            panic!("one connection is asked for: {wanted:?}");
        };
        assert_eq!(address.port, port);
        let connection = self.open(Origin::Connected(*token));
        assert_eq!(self.written(connection), request(&["CLIENT", "ID"]));
        self.input(connection, ":77\r\n");
        connection
    }

    fn refuse(&mut self) {
        for (token, _) in std::mem::take(&mut self.wanted) {
            self.call(|proxy, now| {
                proxy.handle_connect_failed(token, ConnectError::Refused, now);
            });
        }
    }

    /// Bytes from a client or a node.
    fn input(&mut self, connection: ConnectionId, bytes: &str) -> BytesMut {
        let mut input = BytesMut::from(bytes);
        self.call(|proxy, now| proxy.handle_input(connection, &mut input, now));
        input
    }

    fn reply(&mut self, port: u16, bytes: &str) {
        let connection = self.nodes[&port];
        let rest = self.input(connection, bytes);
        assert!(rest.is_empty(), "nodes send whole replies here");
    }

    /// Takes all that is to be written to a connection.
    fn written(&mut self, connection: ConnectionId) -> String {
        let output = self.proxy.output(connection);
        let mut slices = [IoSlice::new(&[]); 64];
        let used = output.slices(&mut slices);
        let bytes: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        output.advance(bytes.len());
        self.call(|proxy, now| proxy.handle_written(connection, now));
        String::from_utf8(bytes).unwrap()
    }

    /// What a node has been sent since it was last asked. It is there when it is asked for that
    /// after a lost connection.
    fn sent(&mut self, port: u16) -> String {
        let sent = self.sent_first(port);
        if sent != request(&["PING"]) {
            return sent;
        }
        self.reply(port, "+PONG\r\n");
        self.sent_first(port)
    }

    /// The same, a question whether it is there not answered.
    fn sent_first(&mut self, port: u16) -> String {
        self.connect();
        match self.nodes.get(&port).copied() {
            Some(connection) => self.written(connection),
            None => String::new(),
        }
    }

    fn lose(&mut self, port: u16) {
        let connection = self.nodes.remove(&port).unwrap();
        self.call(|proxy, now| proxy.handle_close(connection, now));
    }

    /// Lets time pass as a driver does, which calls at each timeout.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pass(Duration::from_millis(20));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.call(|proxy, now| proxy.handle_timeout(now));
    }
}

/// A request as clients send it.
fn request(words: &[&str]) -> String {
    let bulks = words
        .iter()
        .map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
}

/// One key for each node of [`Bench::with_two_nodes`].
const LOWER: &str = "bar4";
const UPPER: &str = "foo";
