//! The discovery between scripted nodes.

mod assisting;
mod beliefs;
mod lessons;
mod rounds;

use core::time::Duration;
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::cluster::{SLOTS, Slot, Topology};
use slotway_protocol::engine::{
    Action, Address, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now, Origin, Peer,
};

use super::addresses::Addresses;
use super::question::Subject;
use super::{Discovery, Event, Notice, Options};

const REFRESH: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(1);

/// Drives one discovery by hand.
struct Bench {
    discovery: Discovery,
    now: Instant,
    connections: u32,
    /// Connections asked for and not answered.
    wanted: Vec<(ConnectToken, Address)>,
    topologies: Vec<Arc<Topology>>,
    /// For each round that has ended, whether anybody answered.
    refreshed: Vec<bool>,
    unreachable: Vec<String>,
    /// What was learned, by the commands' names, and why nothing was.
    learned: Vec<String>,
    /// What nodes answer when they are asked how many databases they have.
    databases_reply: &'static str,
    databases: Vec<u32>,
    unknown: Vec<String>,
    /// How often a replica was told to take over, and what came of it.
    assisting: usize,
    stories: Vec<String>,
}

impl Bench {
    fn new(seeds: &[u16]) -> Self {
        Self::that_learns_every(Duration::ZERO, seeds)
    }

    fn that_learns_every(commands_interval: Duration, seeds: &[u16]) -> Self {
        let options = Options {
            seeds: seeds.iter().map(|&port| node(port)).collect(),
            credentials: None,
            refresh_interval: REFRESH,
            answer_timeout: ANSWER,
            commands_interval,
            addresses: Addresses::default(),
            assist_failover: false,
            random_seed: 7,
        };
        Self {
            discovery: Discovery::new(options),
            now: Instant::from_micros(1_000_000),
            connections: 0,
            wanted: Vec::new(),
            topologies: Vec::new(),
            refreshed: Vec::new(),
            unreachable: Vec::new(),
            learned: Vec::new(),
            databases_reply: "*0\r\n",
            databases: Vec::new(),
            unknown: Vec::new(),
            assisting: 0,
            stories: Vec::new(),
        }
    }

    /// Has asked node 1 and knows the nodes 1 to 3, each with a third of the slots.
    fn with_three_nodes() -> Self {
        let mut bench = Self::new(&[1]);
        bench.begin();
        bench.answer(1, &thirds(1));
        assert_eq!(bench.owners(), [1, 2, 3]);
        bench
    }

    fn call(&mut self, call: impl FnOnce(&mut Discovery, Now)) {
        let now = Now {
            instant: self.now,
            unix_ms: 0,
        };
        call(&mut self.discovery, now);
        while let Some(action) = self.discovery.poll_action() {
            match action {
                Action::Connect { token, address } => self.wanted.push((token, address)),
                Action::Notify(Notice::Topology(topology)) => self.topologies.push(topology),
                Action::Notify(Notice::Refreshed { answered, .. }) => self.refreshed.push(answered),
                Action::Notify(Notice::Unreachable { reason, .. }) => self.unreachable.push(reason),
                Action::Notify(Notice::Commands(learned)) => {
                    let names: Vec<&str> = learned.all().map(|command| command.name).collect();
                    self.learned.push(names.join(" "));
                }
                Action::Notify(Notice::Assisting) => self.assisting += 1,
                Action::Notify(Notice::Assisted(story)) => self.stories.push(story.to_string()),
                Action::Notify(Notice::Databases(number)) => self.databases.push(number),
                Action::Notify(Notice::CommandsUnknown { reason, .. }) => self.unknown.push(reason),
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.call(Discovery::handle_timeout);
    }

    /// Waits for what the discovery waits for, and says how long that was.
    fn wait(&mut self) -> Duration {
        let due = self.discovery.poll_timeout().unwrap();
        let time = due.since(self.now);
        self.pass(time);
        time
    }

    /// Waits for the next round; whoever the last one asked has not answered.
    fn begin(&mut self) {
        let ended = self.refreshed.len();
        while self.discovery.round.is_some() {
            self.wait();
        }
        assert!(self.refreshed.len() <= ended + 1);
        self.wanted.clear();
        self.wait();
        assert!(!self.wanted.is_empty(), "nobody is asked");
    }

    fn asked(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.wanted.iter().map(|(_, node)| node.port).collect();
        ports.sort_unstable();
        ports
    }

    /// Takes the connection to the node of that port.
    fn connect(&mut self, port: u16) -> ConnectionId {
        let found = self.wanted.iter().position(|(_, node)| node.port == port);
        let (token, _) = self.wanted.remove(found.unwrap());
        let connection = ConnectionId {
            index: self.connections,
            generation: 0,
        };
        self.connections += 1;
        let peer = Peer {
            remote: ([127, 0, 0, 1], port).into(),
            local: ([127, 0, 0, 1], 9).into(),
            origin: Origin::Connected(token),
        };
        self.call(|it, now| it.handle_open(connection, peer, now));
        connection
    }

    fn answer(&mut self, port: u16, lines: &str) {
        let reply = format!("${}\r\n{lines}\r\n", lines.len());
        self.reply(port, &reply);
    }

    /// Takes the connection to the node of that port, and gives its reply to whatever was asked.
    fn reply(&mut self, port: u16, reply: &str) {
        let connection = self.connect(port);
        let mut input = BytesMut::from(reply.as_bytes());
        let question = self.discovery.connections.get(&connection);
        if question.is_some_and(|question| question.subject == Subject::Commands) {
            input = BytesMut::from(format!("{}{reply}", self.databases_reply).as_bytes());
        }
        self.call(|it, now| it.handle_input(connection, &mut input, now));
        self.call(|it, now| it.handle_close(connection, now));
    }

    /// Waits until that node is asked for its commands; all rounds meanwhile find what is known.
    fn begin_lesson(&mut self, port: u16) {
        for _ in 0..100 {
            let due = self.discovery.lessons.due();
            let is_lesson = due == self.discovery.poll_timeout();
            self.wait();
            if is_lesson && self.asked() == [port] {
                return;
            }
            for port in self.asked() {
                self.answer(port, &thirds(port));
            }
        }
        panic!("node {port} is not asked");
    }

    fn refuse(&mut self, port: u16) {
        let found = self.wanted.iter().position(|(_, node)| node.port == port);
        let (token, _) = self.wanted.remove(found.unwrap());
        self.call(|it, now| it.handle_connect_failed(token, ConnectError::Refused, now));
    }

    /// Who owns the first slot of each third, by port; 0 where nobody does.
    fn owners(&self) -> [u16; 3] {
        let topology = self.topologies.last().unwrap();
        THIRDS.map(|(first, _)| {
            let owner = topology.owner(Slot::new(first).unwrap());
            owner.map_or(0, |shard| topology.shards()[shard].primary.port)
        })
    }
}

const NOBODY: [u16; 0] = [];

const THIRDS: [(u64, u64); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

fn node(port: u16) -> Address {
    Address::new("127.0.0.1", port)
}

/// A primary on `port` whose id is made of `id`.
fn primary(id: u16, port: u16, epoch: u64, thirds: &[usize], myself: bool) -> String {
    let flags = if myself { "myself,master" } else { "master" };
    let mut line = format!("{id:040x} 127.0.0.1:{port}@1{port} {flags} - 0 0 {epoch} connected");
    for &third in thirds {
        let (first, last) = THIRDS[third];
        line.push_str(&format!(" {first}-{last}"));
    }
    line + "\n"
}

/// Nodes 1 to 3 have a third each, at epochs 1 to 3, says the node `me`.
fn thirds(me: u16) -> String {
    let line = |port: u16| primary(port, port, port.into(), &[port as usize - 1], port == me);
    (1..=3).map(line).collect()
}

/// What `me` says when node 4 has taken the last third over from node 3.
fn after_failover(me: u16) -> String {
    [
        primary(1, 1, 1, &[0], me == 1),
        primary(2, 2, 2, &[1], me == 2),
        primary(3, 3, 3, &[], me == 3),
        primary(4, 4, 4, &[2], me == 4),
    ]
    .concat()
}
