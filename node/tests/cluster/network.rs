//! Node engines in one thread: what one writes another reads a moment later, on a virtual clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use bytes::BytesMut;
use slotway_node::{BUS_LISTENER, ClusterConfig, ClusterView, Config, Event, Node, NodeConfig};
use slotway_node::{NodeInfo, Notice, SavedCluster};
use slotway_protocol::engine::{
    Action, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now, Origin, Peer,
};

/// Nodes at 10.0.0.1, 10.0.0.2 and so on, each with port 7000 and bus port 17000.
pub(crate) struct Network {
    hosts: Vec<Host>,
    micros: u64,
    /// Pairs of nodes, the smaller first, that hear nothing of each other.
    cut: BTreeSet<(usize, usize)>,
    /// What is on its way, by the time at which it arrives and the order in which it was sent.
    flying: BTreeMap<(u64, u64), Arrival>,
    sent: u64,
    /// How long a message is on its way, in microseconds.
    pub(crate) latency: u64,
    /// How long a version of the cluster file takes to be written, in microseconds.
    pub(crate) saving: u64,
    pub(crate) config: Config,
    /// What clients had to read when their node closed their connection.
    left: BTreeMap<(usize, u32), String>,
}

struct Host {
    node: Option<Node>,
    /// The process is gone, and the host says so to whoever connects.
    generation: u32,
    sockets: BTreeMap<u32, Socket>,
    next_index: u32,
    next_timeout: Option<u64>,
    /// The last version of the cluster file.
    file: Option<String>,
    next_port: u16,
}

struct Socket {
    id: ConnectionId,
    /// The node at the other end, and the socket there; `None` for a client of the test.
    peer: Option<(usize, u32)>,
    input: BytesMut,
    /// What a client of the test has to read.
    received: VecDeque<u8>,
}

enum Arrival {
    Connect {
        from: usize,
        token: ConnectToken,
        to: Option<usize>,
        bus: bool,
    },
    Failed(usize, ConnectToken, ConnectError),
    Bytes(usize, u32, Vec<u8>),
    Closed(usize, u32),
    /// A version is written, unless the process has ended before.
    Saved(usize, u32, SavedCluster),
}

impl Network {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            hosts: Vec::new(),
            micros: 0,
            cut: BTreeSet::new(),
            flying: BTreeMap::new(),
            sent: 0,
            latency: 500,
            saving: 3_000,
            config,
            left: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant::from_micros(self.micros),
            unix_ms: 1_700_000_000_000 + self.micros / 1000,
        }
    }

    pub(crate) fn add(&mut self) -> usize {
        let index = self.hosts.len();
        self.hosts.push(Host {
            node: None,
            generation: 0,
            sockets: BTreeMap::new(),
            next_index: 0,
            next_timeout: None,
            file: None,
            next_port: 40_000,
        });
        self.start(index);
        index
    }

    /// Starts a node, with the cluster file that it has left.
    pub(crate) fn start(&mut self, index: usize) {
        let config = Config {
            port: 7000,
            cluster_enabled: true,
            ..self.config.clone()
        };
        let id = first_id(index);
        let info = NodeInfo::primary(id.clone(), "", 7000);
        let now = self.now();
        let mut node = Node::new(
            NodeConfig {
                config,
                cluster: Some(ClusterConfig {
                    me: id,
                    view: ClusterView::new(vec![info]),
                }),
                seed: index as u64 * 7919 + u64::from(self.hosts[index].generation),
            },
            now,
        );
        node.set_has_cluster_file();
        let file = self.hosts[index].file.clone();
        node.start_bus(file.as_deref(), now).unwrap();
        self.hosts[index].node = Some(node);
        self.settle(index);
    }

    /// The process is killed: its connections end, and its ports refuse.
    pub(crate) fn kill(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.node = None;
        host.generation += 1;
        host.next_timeout = None;
        let sockets = std::mem::take(&mut host.sockets);
        for socket in sockets.into_values() {
            if let Some((peer, number)) = socket.peer {
                self.send(index, peer, Arrival::Closed(peer, number));
            }
        }
    }

    /// The node is told something by its process.
    pub(crate) fn tell(&mut self, index: usize, event: Event) {
        let now = self.now();
        let node = self.hosts[index].node.as_mut().unwrap();
        node.handle_event(event, now);
        self.settle(index);
    }

    /// A connection of a client.
    pub(crate) fn client(&mut self, index: usize) -> u32 {
        let now = self.now();
        self.open(index, None, Origin::Accepted(0), "127.0.0.1", now)
            .index
    }

    /// Sends a command on it; whether the connection is still open.
    pub(crate) fn request(&mut self, index: usize, client: u32, line: &str) -> bool {
        let now = self.now();
        let host = &mut self.hosts[index];
        let (Some(node), Some(socket)) = (&mut host.node, host.sockets.get_mut(&client)) else {
            return false;
        };
        socket.input.extend_from_slice(line.as_bytes());
        socket.input.extend_from_slice(b"\r\n");
        let mut input = std::mem::take(&mut socket.input);
        node.handle_input(socket.id, &mut input, now);
        self.settle(index);
        true
    }

    /// What it has to read, and whether the connection is still open.
    pub(crate) fn replies(&mut self, index: usize, client: u32) -> (String, bool) {
        if let Some(left) = self.left.remove(&(index, client)) {
            return (left, false);
        }
        let socket = self.hosts[index].sockets.get_mut(&client);
        let is_open = socket.is_some();
        let received = socket.map(|socket| std::mem::take(&mut socket.received));
        let received = String::from_utf8(received.unwrap_or_default().into()).unwrap();
        (received, is_open)
    }

    /// From now on two nodes hear nothing of each other.
    pub(crate) fn cut(&mut self, one: usize, other: usize) {
        self.cut.insert((one.min(other), one.max(other)));
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    pub(crate) fn is_up(&self, index: usize) -> bool {
        self.hosts[index].node.is_some()
    }

    pub(crate) fn exists(&self, index: usize) -> bool {
        index < self.hosts.len()
    }

    /// Whether a replica has its primary's keys and follows it.
    pub(crate) fn is_replicating(&mut self, index: usize) -> bool {
        self.ask(index, "INFO replication")
            .contains("master_link_status:up")
    }

    pub(crate) fn view(&self, index: usize) -> &ClusterView {
        self.hosts[index].node.as_ref().unwrap().view().unwrap()
    }

    pub(crate) fn file(&self, index: usize) -> Option<&str> {
        self.hosts[index].file.as_deref()
    }

    /// Lets time go by.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.micros + duration.as_micros() as u64;
        while self.step(end) {}
        self.micros = end;
    }

    /// Lets time go by until something holds; panics when that takes longer. How long it took.
    pub(crate) fn run_until(
        &mut self,
        most: Duration,
        what: &str,
        holds: impl Fn(&mut Self) -> bool,
    ) -> Duration {
        let start = self.micros;
        while !holds(self) {
            let passed = Duration::from_micros(self.micros - start);
            assert!(passed < most, "{what}: not after {passed:?}");
            self.run(Duration::from_millis(10));
        }
        Duration::from_micros(self.micros - start)
    }

    /// Sends a command to a node as a client, and returns the reply.
    pub(crate) fn ask(&mut self, index: usize, line: &str) -> String {
        let now = self.now();
        let id = self.open(index, None, Origin::Accepted(0), "127.0.0.1", now);
        let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
        let node = self.hosts[index].node.as_mut().unwrap();
        node.handle_input(id, &mut input, now);
        self.settle(index);
        let socket = self.hosts[index].sockets.remove(&id.index).unwrap();
        let node = self.hosts[index].node.as_mut().unwrap();
        node.handle_close(id, now);
        self.settle(index);
        String::from_utf8(socket.received.into()).unwrap()
    }

    /// The next thing that happens before `end`.
    fn step(&mut self, end: u64) -> bool {
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let hosts = self.hosts.iter().enumerate();
        let timeout = hosts
            .filter_map(|(index, host)| Some((host.next_timeout?, index)))
            .min();
        let first_timeout = timeout.map_or(u64::MAX, |(at, _)| at);
        let next = arrival.unwrap_or(u64::MAX).min(first_timeout);
        if next > end {
            return false;
        }
        self.micros = self.micros.max(next);
        let now = self.now();
        if arrival == Some(next) {
            let (_, arrival) = self.flying.pop_first().unwrap();
            self.arrive(arrival, now);
        } else if let Some((_, index)) = timeout {
            let node = self.hosts[index].node.as_mut().unwrap();
            node.handle_timeout(now);
            self.settle(index);
        }
        true
    }

    fn arrive(&mut self, arrival: Arrival, now: Now) {
        match arrival {
            Arrival::Connect {
                from,
                token,
                to,
                bus,
            } => self.connect(from, token, to, bus, now),
            Arrival::Failed(index, token, error) => {
                if let Some(node) = &mut self.hosts[index].node {
                    node.handle_connect_failed(token, error, now);
                    self.settle(index);
                }
            }
            Arrival::Bytes(index, number, bytes) => {
                let host = &mut self.hosts[index];
                let (Some(node), Some(socket)) = (&mut host.node, host.sockets.get_mut(&number))
                else {
                    return;
                };
                socket.input.extend_from_slice(&bytes);
                let mut input = std::mem::take(&mut socket.input);
                let id = socket.id;
                node.handle_input(id, &mut input, now);
                if let Some(socket) = self.hosts[index].sockets.get_mut(&number) {
                    socket.input = input;
                }
                self.settle(index);
            }
            Arrival::Closed(index, number) => {
                let host = &mut self.hosts[index];
                if let (Some(node), Some(socket)) = (&mut host.node, host.sockets.remove(&number)) {
                    node.handle_close(socket.id, now);
                    self.settle(index);
                }
            }
            Arrival::Saved(index, generation, saved) => {
                let host = &mut self.hosts[index];
                if let Some(node) = host.node.as_mut().filter(|_| host.generation == generation) {
                    host.file = Some(saved.text);
                    node.handle_event(Event::NodesConfSaved(saved.number), now);
                    self.settle(index);
                }
            }
        }
    }

    fn connect(
        &mut self,
        from: usize,
        token: ConnectToken,
        to: Option<usize>,
        bus: bool,
        now: Now,
    ) {
        if self.hosts[from].node.is_none() {
            return;
        }
        let cut = to.is_none_or(|to| self.cut.contains(&(from.min(to), from.max(to))));
        let Some(to) = to.filter(|_| !cut) else {
            let failed = Arrival::Failed(from, token, ConnectError::TimedOut);
            return self.fly(1_000_000, failed);
        };
        if self.hosts[to].node.is_none() {
            let failed = Arrival::Failed(from, token, ConnectError::Refused);
            return self.fly(self.latency, failed);
        }
        let listener = if bus { BUS_LISTENER } else { 0 };
        let there = self.open(to, None, Origin::Accepted(listener), &host_name(from), now);
        let here = self.open(
            from,
            Some((to, there.index)),
            Origin::Connected(token),
            &host_name(to),
            now,
        );
        if let Some(socket) = self.hosts[to].sockets.get_mut(&there.index) {
            socket.peer = Some((from, here.index));
        }
        self.settle(to);
        self.settle(from);
    }

    fn open(
        &mut self,
        index: usize,
        peer: Option<(usize, u32)>,
        origin: Origin,
        remote: &str,
        now: Now,
    ) -> ConnectionId {
        let host = &mut self.hosts[index];
        let number = host.next_index;
        host.next_index += 1;
        host.next_port = host.next_port.checked_add(1).unwrap_or(40_000);
        let id = ConnectionId {
            index: number,
            generation: 1,
        };
        host.sockets.insert(
            number,
            Socket {
                id,
                peer,
                input: BytesMut::new(),
                received: VecDeque::new(),
            },
        );
        let peer = Peer {
            remote: format!("{remote}:{}", host.next_port).parse().unwrap(),
            local: format!("{}:7000", host_name(index)).parse().unwrap(),
            origin,
        };
        let node = host.node.as_mut().unwrap();
        node.handle_open(id, peer, now);
        id
    }

    /// Does what a driver does after each call.
    fn settle(&mut self, index: usize) {
        let now = self.now();
        loop {
            let generation = self.hosts[index].generation;
            let Some(node) = &mut self.hosts[index].node else {
                return;
            };
            let Some(action) = node.poll_action() else {
                break;
            };
            match action {
                Action::Connect { token, address } => {
                    let to = address.host.strip_prefix("10.0.0.");
                    let to = to.and_then(|number| number.parse::<usize>().ok());
                    let to = to
                        .map(|number| number - 1)
                        .filter(|to| *to < self.hosts.len());
                    let connect = Arrival::Connect {
                        from: index,
                        token,
                        to,
                        bus: address.port >= 10_000,
                    };
                    self.fly(self.latency, connect);
                }
                Action::Close { connection, .. } => {
                    self.flush(index);
                    let host = &mut self.hosts[index];
                    if let Some(socket) = host.sockets.remove(&connection.index) {
                        if socket.peer.is_none() {
                            let received = String::from_utf8(socket.received.into()).unwrap();
                            self.left.insert((index, connection.index), received);
                        }
                        if let Some(node) = &mut host.node {
                            node.handle_close(connection, now);
                        }
                        if let Some((peer, number)) = socket.peer {
                            self.send(index, peer, Arrival::Closed(peer, number));
                        }
                    }
                }
                Action::Notify(Notice::NodesConf(saved)) => {
                    self.fly(self.saving, Arrival::Saved(index, generation, saved));
                }
                Action::Notify(Notice::Shutdown) => self.kill(index),
                Action::Wake(_) | Action::Pause(_) | Action::Resume(_) | Action::Notify(_) => {}
            }
        }
        self.flush(index);
        let host = &mut self.hosts[index];
        let timeout = host.node.as_ref().and_then(Node::poll_timeout);
        host.next_timeout = timeout.map(Instant::as_micros);
    }

    /// Sends off all that waits to be written.
    fn flush(&mut self, index: usize) {
        let now = self.now();
        let numbers: Vec<u32> = self.hosts[index].sockets.keys().copied().collect();
        for number in numbers {
            let host = &mut self.hosts[index];
            let (Some(node), Some(socket)) = (&mut host.node, host.sockets.get_mut(&number)) else {
                continue;
            };
            let output = node.output(socket.id);
            if output.is_empty() {
                continue;
            }
            let bytes = take(output);
            let id = socket.id;
            match socket.peer {
                None => socket.received.extend(bytes),
                Some((peer, there)) => {
                    self.send(index, peer, Arrival::Bytes(peer, there, bytes));
                }
            }
            if let Some(node) = &mut self.hosts[index].node {
                node.handle_written(id, now);
            }
        }
    }

    /// Lets something arrive at another node, unless the two are cut off from each other.
    fn send(&mut self, from: usize, to: usize, arrival: Arrival) {
        if !self.cut.contains(&(from.min(to), from.max(to))) {
            self.fly(self.latency, arrival);
        }
    }

    fn fly(&mut self, micros: u64, arrival: Arrival) {
        self.sent += 1;
        self.flying
            .insert((self.micros + micros, self.sent), arrival);
    }
}

fn take(output: &mut slotway_protocol::output::Output) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = output.slices(&mut slices);
        let before = bytes.len();
        for slice in &slices[..used] {
            bytes.extend_from_slice(slice);
        }
        output.advance(bytes.len() - before);
    }
    bytes
}

/// The id that a node starts with.
pub(crate) fn first_id(index: usize) -> String {
    format!("{:040x}", (index as u64 + 1) * 0x1111_1111)
}

fn host_name(index: usize) -> String {
    format!("10.0.0.{}", index + 1)
}
