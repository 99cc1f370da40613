//! A primary and replicas that follow it as slowly as they like, clients with pipelines, and faults
//! by chance. A client must not miss what it has written, nor read what it writes only later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

use super::scan_model::Random;
use super::*;
use crate::engine::{ReadFrom, ReadOptions};

const PORTS: [u16; 3] = [1, 3, 5];
/// The first and the last share a slot.
const KEYS: [&str; 3] = ["{a}1", "b", "{a}2"];
const STEPS: usize = 1500;

/// What a client waits for.
#[derive(Debug, Clone)]
enum Asked {
    Get(&'static str),
    Increment(&'static str),
    GetAll,
}

#[derive(Debug, Default)]
struct Client {
    asked: VecDeque<Asked>,
    /// What the proxy has not taken yet.
    unread: String,
    /// By key the last value that it has written, and the largest that it has read since.
    written: BTreeMap<&'static str, i64>,
    read: BTreeMap<&'static str, i64>,
}

#[derive(Debug, Default)]
struct Server {
    /// How much of the primary's history it has.
    applied: usize,
    frozen: bool,
    loading: bool,
    link_is_down: bool,
}

struct Model {
    bench: Bench,
    random: Random,
    servers: BTreeMap<u16, Server>,
    primary: u16,
    /// The keys that were incremented, in order.
    history: Vec<String>,
    /// What nodes were sent and have not answered, by connection: the port, and whether it is for
    /// reads at a replica.
    queues: BTreeMap<(u16, bool), VecDeque<Vec<String>>>,
    clients: BTreeMap<ConnectionId, Client>,
    paused: BTreeSet<ConnectionId>,
    read_from: ReadFrom,
    answered: usize,
    expired: usize,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let modes = [ReadFrom::PreferReplica, ReadFrom::Any, ReadFrom::Replica];
        let read_from = modes[random.below(3)];
        let mut bench = Bench::new(Options {
            reads: ReadOptions {
                read_from,
                your_writes: Duration::from_millis([20, 200][random.below(2)]),
                check_interval: Duration::from_millis(100),
                ..ReadOptions::default()
            },
            hold_timeout: Duration::from_secs(20),
            ..Options::default()
        });
        let clients = (0..4).map(|_| (bench.client(), Client::default()));
        let clients = clients.collect();
        let mut model = Self {
            bench,
            random,
            servers: PORTS.map(|port| (port, Server::default())).into(),
            primary: PORTS[0],
            history: Vec::new(),
            queues: BTreeMap::new(),
            clients,
            paused: BTreeSet::new(),
            read_from,
            answered: 0,
            expired: 0,
        };
        model.tell_topology();
        model
    }

    fn tell_topology(&mut self) {
        let replicas = PORTS.iter().filter(|port| **port != self.primary);
        let pairs: Vec<_> = replicas.map(|replica| (self.primary, *replica)).collect();
        self.bench
            .topology_with_replicas(&[(0, 16383, self.primary)], &pairs);
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=5 => self.ask(),
            6..=13 => self.serve(),
            14..=15 => self.replicate(),
            16..=17 => {
                let millis = [1, 5, 20, 100, 300][self.random.below(5)];
                self.bench.pass(Duration::from_millis(millis));
            }
            _ => self.break_something(),
        }
        self.exchange();
    }

    fn ask(&mut self) {
        let at = self.random.below(self.clients.len());
        let (_, client) = self.clients.iter_mut().nth(at).unwrap();
        if client.asked.len() > 8 {
            return;
        }
        for _ in 0..=self.random.below(3) {
            let key = KEYS[self.random.below(3)];
            let (asked, words) = match self.random.below(12) {
                0 => (Asked::Increment(key), vec!["incr", key]),
                1 => (Asked::GetAll, vec!["mget", KEYS[0], KEYS[1], KEYS[2]]),
                _ => (Asked::Get(key), vec!["get", key]),
            };
            client.unread += &request(&words);
            client.asked.push_back(asked);
        }
    }

    /// Carries all bytes that can be carried.
    fn exchange(&mut self) {
        loop {
            for client in std::mem::take(&mut self.bench.paused) {
                self.paused.insert(client);
            }
            for client in std::mem::take(&mut self.bench.resumed) {
                self.paused.remove(&client);
            }
            let ready = |(id, client): &(&ConnectionId, &mut Client)| {
                !client.unread.is_empty() && !self.paused.contains(*id)
            };
            let Some((id, client)) = self.clients.iter_mut().find(ready) else {
                break;
            };
            let unread = std::mem::take(&mut client.unread);
            let rest = self.bench.input(*id, &unread);
            client.unread = String::from_utf8(rest.to_vec()).unwrap();
        }
        self.bench.connect();
        let nodes = self
            .bench
            .nodes
            .iter()
            .map(|(port, it)| ((*port, false), *it));
        let readers = self
            .bench
            .readers
            .iter()
            .map(|(port, it)| ((*port, true), *it));
        let connections: BTreeMap<_, _> = nodes.chain(readers).collect();
        for (from, connection) in connections {
            if self.bench.proxy.output(connection).is_empty() {
                continue;
            }
            let sent = self.bench.written(connection);
            self.queues.entry(from).or_default().extend(requests(&sent));
        }
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            if self.bench.proxy.output(id).is_empty() {
                continue;
            }
            let replies = self.bench.written(id);
            let client = self.clients.get_mut(&id).unwrap();
            let expired = client.check(&replies);
            assert!(
                expired == 0 || self.read_from == ReadFrom::Replica,
                "{replies}"
            );
            self.expired += expired;
            self.answered += 1;
        }
    }

    /// Some node answers one request.
    fn serve(&mut self) {
        let filled = self.queues.iter().filter(|(_, queue)| !queue.is_empty());
        let filled: Vec<_> = filled.map(|(connection, _)| *connection).collect();
        if filled.is_empty() {
            return;
        }
        let (port, reads) = filled[self.random.below(filled.len())];
        let words = self
            .queues
            .get_mut(&(port, reads))
            .unwrap()
            .pop_front()
            .unwrap();
        let reply = self.reply(port, reads, &words);
        let connections = if reads {
            &self.bench.readers
        } else {
            &self.bench.nodes
        };
        let connection = connections[&port];
        assert!(self.bench.input(connection, &reply).is_empty());
    }

    fn reply(&mut self, port: u16, reads: bool, words: &[String]) -> String {
        let is_primary = port == self.primary;
        let server = &self.servers[&port];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let offset = 1000
            + 10 * if is_primary {
                self.history.len()
            } else {
                server.applied
            };
        if words[0] == "INFO" {
            let link = if server.link_is_down { "down" } else { "up" };
            let text = match is_primary {
                true => format!("role:master\r\nmaster_repl_offset:{offset}\r\n"),
                false => format!(
                    "role:slave\r\nmaster_link_status:{link}\r\nslave_repl_offset:{offset}\r\n"
                ),
            };
            return format!("${}\r\n{text}\r\n", text.len());
        }
        if words[0] == "READONLY" {
            return "+OK\r\n".to_owned();
        }
        if server.loading && !is_primary {
            return "-LOADING Redis is loading the dataset in memory\r\n".to_owned();
        }
        match words[..] {
            ["PING"] => "+PONG\r\n".to_owned(),
            [_, key, ..] if !is_primary && !reads => {
                format!(
                    "-MOVED {} node:{}\r\n",
                    Slot::of(key.as_bytes()),
                    self.primary
                )
            }
            ["incr", key] => {
                assert!(!reads, "no write goes where only reads should");
                self.history.push(key.to_owned());
                format!(":{}\r\n", self.value(self.primary, key))
            }
            ["get", key] => bulk(self.value(port, key)),
            ["mget", ref keys @ ..] => {
                let values = keys.iter().map(|key| bulk(self.value(port, key)));
                format!("*{}\r\n{}", keys.len(), values.collect::<String>())
            }
            _ => panic!("nobody has asked for {words:?}"),
        }
    }

    fn value(&self, port: u16, key: &str) -> i64 {
        let known = match port == self.primary {
            true => self.history.len(),
            false => self.servers[&port].applied,
        };
        let made = self.history[..known].iter();
        made.filter(|other| *other == key).count() as i64
    }

    fn replicate(&mut self) {
        let most = self.history.len();
        for server in self.servers.values_mut() {
            if !server.frozen && !server.loading && !server.link_is_down {
                server.applied = (server.applied + self.random.below(4)).min(most);
            }
        }
    }

    fn break_something(&mut self) {
        let port = PORTS[self.random.below(3)];
        let server = self.servers.get_mut(&port).unwrap();
        match self.random.below(8) {
            0 => server.frozen = self.random.below(3) == 0,
            1 => server.loading = self.random.below(3) == 0,
            2 => server.link_is_down = self.random.below(3) == 0,
            3..=5 if self.random.below(4) == 0 => self.lose_reader(port),
            6 if self.random.below(4) == 0 => self.fail_over(port),
            _ => {}
        }
    }

    fn lose_reader(&mut self, port: u16) {
        if self.bench.readers.contains_key(&port) {
            self.queues.remove(&(port, true));
            self.bench.lose_reader(port);
        }
    }

    /// Hands over in order: the new primary has all that there is. It does not serve what was sent
    /// to it before it handed over itself, behind what it has refused since.
    fn fail_over(&mut self, to: u16) {
        let all = self.history.len();
        let owes = self
            .queues
            .get(&(to, false))
            .is_some_and(|queue| !queue.is_empty());
        if to == self.primary || self.servers[&to].loading || owes {
            return;
        }
        self.servers.get_mut(&to).unwrap().applied = all;
        self.servers.get_mut(&self.primary).unwrap().applied = all;
        self.primary = to;
        if self.random.below(2) == 0 {
            self.tell_topology();
        }
    }

    /// All is well from now on: whatever is owed comes.
    fn recover(&mut self) {
        for server in self.servers.values_mut() {
            *server = Server {
                applied: server.applied,
                ..Server::default()
            };
        }
        self.tell_topology();
        for _ in 0..3000 {
            if self.clients.values().all(|client| client.asked.is_empty()) {
                return assert_eq!(self.bench.proxy.work_left(), [0; 4]);
            }
            self.replicate();
            self.serve();
            self.exchange();
            if self.random.below(8) == 0 {
                self.bench.pass(Duration::from_millis(20));
            }
        }
        panic!("somebody still waits: {:?} {:?}", self.clients, self.queues);
    }
}

impl Client {
    /// Takes whole replies; the number of those which say that no replica was there in time.
    fn check(&mut self, replies: &str) -> usize {
        let mut expired = 0;
        let mut lines = replies.split_terminator("\r\n");
        while let Some(line) = lines.next() {
            let asked = self
                .asked
                .pop_front()
                .expect("nobody gets what he has not asked for");
            if line.starts_with("-CLUSTERDOWN proxy: no replica") {
                expired += 1;
                continue;
            }
            match asked {
                Asked::Increment(key) => {
                    let value: i64 = line[1..].parse().unwrap();
                    let seen = self.read.remove(key).unwrap_or(0);
                    assert!(
                        seen < value,
                        "{key} was read as {seen} before it became {value}"
                    );
                    self.written.insert(key, value);
                }
                Asked::Get(key) => self.see(key, line, lines.next()),
                Asked::GetAll => {
                    assert_eq!(line, "*3");
                    for key in KEYS {
                        let head = lines.next().unwrap();
                        self.see(key, head, lines.next());
                    }
                }
            }
        }
        expired
    }

    fn see(&mut self, key: &'static str, head: &str, value: Option<&str>) {
        assert!(head.starts_with('$'), "{key}: {head}");
        let value: i64 = value.unwrap().parse().unwrap();
        let written = self.written.get(key).copied().unwrap_or(0);
        assert!(
            value >= written,
            "{key} is {value} to who has made it {written}"
        );
        let seen = self.read.entry(key).or_default();
        *seen = value.max(*seen);
    }
}

fn bulk(value: i64) -> String {
    let text = value.to_string();
    format!("${}\r\n{text}\r\n", text.len())
}

fn requests(sent: &str) -> Vec<Vec<String>> {
    let (mut scanner, mut buffers) = (RequestScanner::default(), RequestBuffers::default());
    let (mut rest, mut requests) = (sent.as_bytes(), Vec::new());
    let limits = RequestLimits::default();
    while let Ok(Scan::Request { consumed }) = scanner.scan(rest, &limits, &mut buffers) {
        let request = buffers.request(&rest[..consumed]);
        let words = request
            .args(0)
            .map(|word| String::from_utf8(word.to_vec()).unwrap());
        requests.push(words.collect());
        rest = &rest[consumed..];
    }
    requests
}

#[test]
fn clients_see_their_writes_whatever_happens() {
    let mut totals = [0; 4];
    for seed in 0..100 {
        let mut model = Model::new(seed);
        (0..STEPS).for_each(|_| model.step());
        model.recover();
        let stats = &model.bench.stats;
        let counts = [
            model.answered as u64,
            stats.reads_replica.value(),
            stats.reads_own.value(),
            stats.reads_refused.value() + stats.reads_lost.value(),
        ];
        totals
            .iter_mut()
            .zip(counts)
            .for_each(|(total, count)| *total += count);
    }
    // It has to be about something.
    assert!(totals.iter().all(|total| *total > 1000), "{totals:?}");
}
