//! Node engines in one thread: what one writes another reads a moment later, on a virtual clock.

mod clients;
pub(crate) mod clock;
mod driver;
mod faults;
mod host;
pub(crate) mod tap;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slotway_node::{BUS_LISTENER, ClusterConfig, ClusterView, Config, Event, Node, NodeConfig};
use slotway_node::{NodeInfo, SavedCluster};
use slotway_protocol::engine::{ConnectError, ConnectToken, Engine, Now, Origin};

use host::{Attached, End, Host};
use tap::Tap;
use wires::Wires;

/// Nodes at 10.0.0.1, 10.0.0.2 and so on, each with port 7000 and bus port 17000.
pub(crate) struct Network {
    hosts: Vec<Host>,
    micros: u64,
    wires: Wires,
    /// What is on its way, by the time at which it arrives and the order in which it was sent.
    flying: BTreeMap<(u64, u64), Arrival>,
    /// When which node wants to be called.
    timers: BTreeSet<(u64, usize)>,
    sent: u64,
    /// How long a message is on its way, in microseconds.
    pub(crate) latency: u64,
    /// How long a version of the cluster file takes to be written, in microseconds.
    pub(crate) saving: u64,
    pub(crate) config: Config,
    pub(crate) tap: Tap,
    seed: u64,
}

enum Arrival {
    Connect {
        from: usize,
        boot: u32,
        token: ConnectToken,
        to: Option<usize>,
        is_bus: bool,
    },
    /// Somebody has connected.
    Accepted {
        end: End,
        remote: usize,
        is_bus: bool,
    },
    Failed(usize, u32, ConnectToken, ConnectError),
    Bytes {
        from: End,
        to: End,
        bytes: Vec<u8>,
    },
    Closed(End),
    /// A version is written, unless the process has ended before.
    Saved(usize, u32, SavedCluster),
    /// A process goes on.
    Continued(usize),
}

impl Arrival {
    /// Where it is noticed.
    fn host(&self) -> usize {
        match self {
            Self::Accepted { end, .. } | Self::Closed(end) => end.host,
            Self::Bytes { to, .. } => to.host,
            Self::Connect { from: index, .. }
            | Self::Continued(index)
            | Self::Failed(index, ..)
            | Self::Saved(index, ..) => *index,
        }
    }
}

impl Network {
    pub(crate) fn new(config: Config) -> Self {
        Self::seeded(config, 0)
    }

    pub(crate) fn seeded(config: Config, seed: u64) -> Self {
        let mut wires = Wires::default();
        wires.seed(seed.wrapping_add(1));
        Self {
            hosts: Vec::new(),
            micros: 0,
            wires,
            flying: BTreeMap::new(),
            timers: BTreeSet::new(),
            sent: 0,
            latency: 500,
            saving: 3_000,
            config,
            tap: Tap::default(),
            seed,
        }
    }

    fn now(&self, index: usize) -> Now {
        self.hosts[index].clock.now(self.micros)
    }

    pub(crate) fn micros(&self) -> u64 {
        self.micros
    }

    pub(crate) fn count(&self) -> usize {
        self.hosts.len()
    }

    /// Adds a host, and starts a node there.
    pub(crate) fn add(&mut self) -> usize {
        let index = self.add_host(None);
        self.start(index);
        index
    }

    /// Adds a host with that cluster file, and starts nothing there.
    pub(crate) fn add_host(&mut self, file: Option<String>) -> usize {
        let mut host = Host::default();
        host.file.written.clone_from(&file);
        host.file.synced = file;
        self.hosts.push(host);
        self.hosts.len() - 1
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
        let now = self.now(index);
        let host = &mut self.hosts[index];
        let seed = self.seed.wrapping_mul(31) + index as u64 * 7919 + u64::from(host.boot);
        let mut node = Node::new(
            NodeConfig {
                config,
                cluster: Some(ClusterConfig {
                    me: id,
                    view: ClusterView::new(vec![info]),
                }),
                seed,
            },
            now,
        );
        node.set_has_cluster_file();
        host.is_off = false;
        node.start_bus(host.file.written.as_deref(), now).unwrap();
        host.node = Some(node);
        self.settle(index);
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

    /// The epoch that a node has.
    pub(crate) fn epoch(&self, index: usize) -> u64 {
        let node = self.view(index).node(&first_id(index));
        node.map_or(0, |node| node.epoch)
    }

    pub(crate) fn file(&self, index: usize) -> Option<&str> {
        self.hosts[index].file.written.as_deref()
    }

    /// Lets time go by.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.micros + duration.as_micros() as u64;
        while self.step(end) {}
        self.micros = end;
    }

    /// Lets time go by, but no longer than until somebody asks for votes or gives one.
    pub(crate) fn run_until_news(&mut self, duration: Duration) {
        let end = self.micros + duration.as_micros() as u64;
        while self.step(end) {
            if self.tap.has_news() {
                return;
            }
        }
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

    /// The next thing that happens before `end`.
    fn step(&mut self, end: u64) -> bool {
        let arrival = self.flying.keys().next().map_or(u64::MAX, |(at, _)| *at);
        let timer = self.timers.first().copied();
        let next = arrival.min(timer.map_or(u64::MAX, |(at, _)| at));
        if next > end {
            return false;
        }
        self.micros = self.micros.max(next);
        if arrival == next {
            if let Some((_, arrival)) = self.flying.pop_first() {
                self.take(arrival);
            }
        } else if let Some((_, index)) = timer {
            let until = self.hosts[index].stopped_until;
            if until > self.micros {
                self.set_timer(index, Some(until));
                return true;
            }
            let _span = self.span(index);
            let now = self.now(index);
            if let Some(node) = &mut self.hosts[index].node {
                node.handle_timeout(now);
            }
            self.settle(index);
        }
        true
    }

    /// Tells in the log when it is and where.
    fn span(&self, index: usize) -> tracing::span::EnteredSpan {
        tracing::info_span!("", ms = self.micros / 1000, node = index).entered()
    }

    fn set_timer(&mut self, index: usize, timer: Option<u64>) {
        let before = std::mem::replace(&mut self.hosts[index].timer, timer);
        if before != timer {
            self.timers.extend(timer.map(|at| (at, index)));
            if let Some(before) = before {
                self.timers.remove(&(before, index));
            }
        }
    }

    /// Something arrives, or waits for a process that is stopped.
    fn take(&mut self, arrival: Arrival) {
        let host = &mut self.hosts[arrival.host()];
        let is_for_process = !matches!(arrival, Arrival::Connect { .. } | Arrival::Continued(_));
        if is_for_process && (host.stopped_until > self.micros || !host.backlog.is_empty()) {
            return host.backlog.push_back(arrival);
        }
        self.arrive(arrival);
    }

    fn arrive(&mut self, arrival: Arrival) {
        let _span = self.span(arrival.host());
        match arrival {
            Arrival::Connect {
                from,
                boot,
                token,
                to,
                is_bus,
            } => self.connect(from, boot, token, to, is_bus),
            Arrival::Accepted {
                end,
                remote,
                is_bus,
            } => {
                if self.hosts[end.host].socket(end.id).is_some() {
                    let listener = if is_bus { BUS_LISTENER } else { 0 };
                    self.open(end, &host_name(remote), Origin::Accepted(listener));
                    self.settle(end.host);
                }
            }
            Arrival::Failed(index, boot, token, error) => {
                let now = self.now(index);
                let host = &mut self.hosts[index];
                if let Some(node) = host.node.as_mut().filter(|_| host.boot == boot) {
                    node.handle_connect_failed(token, error, now);
                    self.settle(index);
                }
            }
            Arrival::Bytes { from, to, bytes } => {
                let host = &mut self.hosts[to.host];
                if host.socket(to.id).is_some() {
                    self.read(to.host, to.id, &bytes);
                    self.settle(to.host);
                } else if host.is_off {
                    // It is sent again until somebody answers.
                    self.fly(SENT_AGAIN, Arrival::Bytes { from, to, bytes });
                } else {
                    // The system knows no such connection.
                    self.send(to.host, 0, Arrival::Closed(from));
                }
            }
            Arrival::Closed(end) => {
                let now = self.now(end.host);
                let host = &mut self.hosts[end.host];
                if host.close(end.id).is_some()
                    && let Some(node) = &mut host.node
                {
                    node.handle_close(end.id, now);
                    self.settle(end.host);
                }
            }
            Arrival::Saved(index, boot, saved) => self.saved(index, boot, saved),
            Arrival::Continued(index) => self.go_on(index),
        }
    }

    fn saved(&mut self, index: usize, boot: u32, saved: SavedCluster) {
        let now = self.now(index);
        let host = &mut self.hosts[index];
        if let Some(node) = host.node.as_mut().filter(|_| host.boot == boot) {
            if saved.sync {
                host.file.synced = Some(saved.text.clone());
            }
            host.file.written = Some(saved.text);
            node.handle_event(Event::NodesConfSaved(saved.number), now);
            self.settle(index);
        }
    }

    fn connect(
        &mut self,
        from: usize,
        boot: u32,
        token: ConnectToken,
        to: Option<usize>,
        is_bus: bool,
    ) {
        if self.hosts[from].node.is_none() || self.hosts[from].boot != boot {
            return;
        }
        let failed = |error| Arrival::Failed(from, boot, token, error);
        let reachable = |to: &usize| {
            let is_cut = self.wires.is_cut(from, *to) || self.wires.is_cut(*to, from);
            !is_cut && !self.hosts[*to].is_off
        };
        let Some(to) = to.filter(reachable) else {
            return self.fly(1_000_000, failed(ConnectError::TimedOut));
        };
        if self.hosts[to].node.is_none() {
            return self.fly(self.latency, failed(ConnectError::Refused));
        }
        let here = self.hosts[from].open(Attached::Writer, is_bus);
        let here = End {
            host: from,
            id: here,
        };
        let there = self.hosts[to].open(Attached::Peer(here), is_bus);
        let there = End {
            host: to,
            id: there,
        };
        if let Some(socket) = self.hosts[from].socket(here.id) {
            socket.at = Attached::Peer(there);
        }
        self.take(Arrival::Accepted {
            end: there,
            remote: from,
            is_bus,
        });
        self.open(here, &host_name(to), Origin::Connected(token));
        self.settle(from);
    }

    /// Lets something arrive at another host, after what was sent there before; when that is.
    fn send(&mut self, from: usize, until: u64, arrival: Arrival) -> u64 {
        let (Arrival::Bytes { to, .. } | Arrival::Closed(to)) = &arrival else {
            return until;
        };
        let to = to.host;
        if self.wires.is_cut(from, to) {
            self.wires.stall(from, to, until, arrival);
            return until;
        }
        let at = self.micros + self.latency + self.hosts[from].slow_by;
        let at = self.wires.arrival(from, to, at).max(until);
        self.fly(at - self.micros, arrival);
        at
    }

    fn fly(&mut self, micros: u64, arrival: Arrival) {
        self.sent += 1;
        self.flying
            .insert((self.micros + micros, self.sent), arrival);
    }
}

/// When bytes are sent again that a host without power has not taken, in microseconds.
const SENT_AGAIN: u64 = 300_000;

/// The id that a node starts with.
pub(crate) fn first_id(index: usize) -> String {
    format!("{:040x}", (index as u64 + 1) * 0x1111_1111)
}

pub(crate) fn host_name(index: usize) -> String {
    let number = index + 1;
    format!("10.0.{}.{}", number / 250, number % 250)
}
