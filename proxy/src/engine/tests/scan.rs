//! SCAN over several nodes: whole walks, and what changes while they last.

use std::collections::BTreeSet;

use super::scan_model::*;
use super::*;

/// Some proxies before one cluster, with a client of each.
struct World {
    servers: Servers,
    proxies: Vec<(Bench, ConnectionId)>,
    random: Random,
    /// Ports where nobody is any more.
    gone: BTreeSet<u16>,
    /// How many of a hundred times something happens while nodes are asked.
    changes: usize,
    next_port: u16,
}

impl World {
    fn new(servers: Servers, proxies: usize, seed: u64) -> Self {
        let ranges = servers.ranges();
        let proxies = (0..proxies).map(|_| {
            let mut bench = Bench::new(Options::default());
            bench.topology(&ranges);
            let client = bench.client();
            (bench, client)
        });
        Self {
            proxies: proxies.collect(),
            servers,
            random: Random(seed),
            gone: BTreeSet::new(),
            changes: 0,
            next_port: 10,
        }
    }

    fn learn(&mut self, proxy: usize) {
        let ranges = self.servers.ranges();
        self.proxies[proxy].0.topology(&ranges);
    }

    /// One request of a client, with whatever happens until the reply.
    fn ask(&mut self, proxy: usize, words: &[&str]) -> String {
        let (bench, client) = &mut self.proxies[proxy];
        let client = *client;
        bench.input(client, &request(words));
        for _ in 0..10_000 {
            let bench = &mut self.proxies[proxy].0;
            let reply = bench.written(client);
            if !reply.is_empty() {
                return reply;
            }
            for (token, address) in std::mem::take(&mut bench.wanted) {
                if self.gone.contains(&address.port) {
                    let error = ConnectError::Refused;
                    bench.call(|engine, now| engine.handle_connect_failed(token, error, now));
                } else {
                    let connection = bench.open(Origin::Connected(token));
                    bench.nodes.insert(address.port, connection);
                }
            }
            if self.random.below(100) < self.changes {
                self.change();
            }
            self.serve(proxy);
        }
        panic!("no reply to {words:?}");
    }

    /// Lets the nodes answer one proxy; where there is nothing to answer time passes.
    fn serve(&mut self, proxy: usize) {
        let ports: Vec<u16> = self
            .servers
            .servers
            .iter()
            .map(|server| server.port)
            .collect();
        let mut idle = true;
        for port in ports {
            let bench = &mut self.proxies[proxy].0;
            let Some(connection) = bench.nodes.get(&port).copied() else {
                continue;
            };
            let requests = bench.written(connection);
            if !requests.is_empty() {
                idle = false;
                let replies = self.servers.answer(port, &requests);
                self.proxies[proxy].0.reply(port, &replies);
            }
        }
        if idle {
            self.proxies[proxy].0.pass(Duration::from_millis(20));
        }
    }

    /// Something happens to the cluster, or a proxy learns of it.
    fn change(&mut self) {
        let ports: Vec<u16> = self
            .servers
            .servers
            .iter()
            .map(|server| server.port)
            .collect();
        let one = ports[self.random.below(ports.len())];
        let (proxies, choice) = (self.proxies.len(), self.random.below(100));
        match choice {
            0..30 => {
                let proxy = self.random.below(proxies);
                self.learn(proxy);
            }
            30..45 => {
                let slot = SLOTS_MOVED[self.random.below(SLOTS_MOVED.len())];
                self.servers.begin_move(slot, one);
            }
            45..94 => {
                let moving = self.servers.servers.iter().flat_map(|server| {
                    let slots = server.migrating.keys();
                    slots.map(|slot| (server.port, *slot))
                });
                let moving: Vec<_> = moving.collect();
                if !moving.is_empty() {
                    let (from, slot) = moving[self.random.below(moving.len())];
                    self.servers.carry(from, slot);
                }
            }
            94..97 => {
                self.servers.restart(one);
                self.lose(one);
            }
            97 => {
                self.next_port += 1;
                self.servers.fail_over(one, self.next_port);
                self.gone.insert(one);
                self.lose(one);
            }
            _ => {
                let other = mark(self.random.below(500));
                let owner = self.servers.owner(slot_of(&other));
                let server = self.servers.at(owner);
                if !server.migrating.contains_key(&slot_of(&other)) && !server.keys.remove(&other) {
                    server.keys.insert(other);
                }
            }
        }
    }

    fn lose(&mut self, port: u16) {
        for (bench, _) in &mut self.proxies {
            if bench.nodes.contains_key(&port) {
                bench.lose(port);
            }
        }
    }

    /// A whole walk, each page from a proxy by chance; what it found and its cursors.
    fn walk(&mut self, options: &[&str]) -> (Vec<String>, Vec<String>) {
        let (mut found, mut cursors) = (Vec::new(), vec!["0".to_owned()]);
        for page in 0..2_000 {
            if page == 300 {
                self.settle();
            }
            let proxy = self.random.below(self.proxies.len());
            let cursor = cursors[page].clone();
            let reply = self.ask(proxy, &[&["scan", &cursor], options].concat());
            if reply.starts_with("-CLUSTERDOWN") && self.changes > 0 {
                cursors.push(cursor);
                continue;
            }
            let (cursor, keys) = read_page(&reply);
            found.extend(keys);
            cursors.push(cursor.clone());
            if cursor == "0" {
                return (found, cursors);
            }
        }
        panic!("the walk does not end: {cursors:?}");
    }

    /// Nothing changes any more, and everyone knows everything.
    fn settle(&mut self) {
        self.changes = 0;
        (0..self.proxies.len()).for_each(|proxy| self.learn(proxy));
    }
}

/// A key that comes and goes.
fn mark(number: usize) -> String {
    format!("other:{number}")
}

fn three_nodes(by_slot: bool) -> Servers {
    let ranges = [(0, 5460, 1), (5461, 10922, 2), (10923, 16383, 3)];
    let mut servers = Servers::new(by_slot, &ranges);
    keys().iter().for_each(|key| servers.put(key));
    servers
}

fn keys() -> Vec<String> {
    let spread = (0..120).map(|number| format!("key:{number}"));
    let tagged = TAGS
        .iter()
        .flat_map(|tag| (0..12).map(move |n| format!("{{{tag}}}:{n}")));
    spread.chain(tagged).collect()
}

/// Their slots are 3300, 7365 and 15495 and move; so do the first and last one of all.
const TAGS: [&str; 3] = ["b", "c", "a"];
/// More of them find rarer things.
const SEEDS: u64 = 12;
const SLOTS_MOVED: [u16; 8] = [3300, 3301, 7365, 15495, 0, 5461, 5460, 16383];

#[test]
fn a_walk_finds_every_key_once() {
    for by_slot in [false, true] {
        let mut world = World::new(three_nodes(by_slot), 2, 1);
        let (mut found, cursors) = world.walk(&[]);
        found.sort();
        let mut expected = keys();
        expected.sort();
        assert_eq!(found, expected);
        for cursor in &cursors[1..cursors.len() - 1] {
            let number: u64 = cursor.parse().unwrap();
            assert!((1..1 << 53).contains(&number), "{cursor}");
        }
        let info = world.servers.asked["INFO"];
        assert_eq!(info, 6, "once for each proxy and node");
    }
}

#[test]
fn walks_are_complete_whatever_happens() {
    for seed in 0..SEEDS {
        for by_slot in [false, true] {
            let mut world = World::new(three_nodes(by_slot), 2, seed);
            world.changes = [2, 10, 40][seed as usize % 3];
            let (found, _) = world.walk(&[]);
            let found: BTreeSet<String> = found.into_iter().collect();
            let missing: Vec<_> = keys()
                .into_iter()
                .filter(|key| !found.contains(key))
                .collect();
            assert!(
                missing.is_empty(),
                "seed {seed}, by slot {by_slot}: {missing:?}"
            );
        }
    }
}

/// A proxy before servers that are asked one by one, in the test's own order.
fn scripted(by_slot: bool) -> World {
    let mut world = World::new(three_nodes(by_slot), 1, 1);
    world.ask(0, &["scan", "0"]);
    world
}

#[test]
fn mistakes_are_answered_as_by_a_server() {
    let mut world = World::new(three_nodes(false), 1, 1);
    assert_eq!(world.ask(0, &["scan", "x"]), "-ERR invalid cursor\r\n");
    assert_eq!(
        world.ask(0, &["scan", "0", "bad", "1"]),
        "-ERR syntax error\r\n"
    );
    let (_, cursors) = world.walk(&[]);
    let reply = world.ask(0, &["scan", &cursors[1], "bad", "1"]);
    assert_eq!(reply, "-ERR syntax error\r\n");
}

#[test]
fn a_cursor_of_nobody_begins_its_slot_again() {
    for by_slot in [false, true] {
        let mut world = World::new(three_nodes(by_slot), 1, 1);
        for cursor in ["5461", "9007199254746453", "123456789012345678"] {
            let (next, _) = read_page(&world.ask(0, &["scan", cursor]));
            assert_ne!(next, "0", "{cursor}");
            assert_ne!(next, cursor);
        }
    }
}

#[test]
fn what_has_changed_is_walked_again() {
    for change in [
        (|servers: &mut Servers| servers.restart(1)) as fn(&mut Servers),
        |servers| servers.at(1).epoch = 77,
        |servers| {
            servers.at(1).owned.remove(&5460);
            servers.at(2).owned.insert(5460);
        },
        |servers| {
            servers.at(2).owned.remove(&5461);
            servers.at(1).owned.insert(5461);
        },
    ] {
        let mut world = World::new(three_nodes(false), 2, 1);
        let (first, _) = read_page(&world.ask(0, &["scan", "0"]));
        change(&mut world.servers);
        world.lose(1);
        (0..2).for_each(|proxy| world.learn(proxy));
        let asked = world.servers.asked.clone();
        let (second, keys) = read_page(&world.ask(1, &["scan", &first]));
        assert_eq!(world.servers.asked["SCAN"], asked["SCAN"] + 1);
        let begin = world.ask(1, &["scan", "0"]);
        assert_eq!(read_page(&begin), (second, keys), "the unit begins again");
    }
}

#[test]
fn keys_that_have_left_are_listed_where_they_went() {
    for by_slot in [false, true] {
        for options in [&[][..], &["match", "{b}:1*"], &["type", "list"]] {
            let mut servers = three_nodes(by_slot);
            servers.put("{b}:list");
            let mut world = World::new(servers, 2, 1);
            // Of a server without slots a proxy knows that it is a member.
            for (bench, _) in &mut world.proxies {
                bench.slotless.push(4);
                bench.topology(&world.servers.ranges());
            }
            world.servers.servers.push(Server {
                port: 4,
                owned: BTreeSet::new(),
                keys: BTreeSet::new(),
                ..world.servers.servers[0].clone()
            });
            world.servers.begin_move(3300, 4);
            while world
                .servers
                .at(1)
                .keys
                .iter()
                .any(|key| slot_of(key) == 3300)
            {
                world.servers.carry(1, 3300);
            }
            let (found, _) = world.walk(options);
            let wanted = |key: &&String| match options {
                [] => slot_of(key) == 3300,
                ["type", _] => key.contains("list"),
                _ => key.starts_with("{b}:1"),
            };
            let there: BTreeSet<_> = world.servers.at(4).keys.iter().filter(wanted).collect();
            let found: BTreeSet<_> = found.iter().filter(|key| slot_of(key) == 3300).collect();
            assert_eq!(found, there, "{options:?}");
            assert!(!there.is_empty());
        }
    }
}

#[test]
fn a_pattern_with_a_tag_asks_one_node() {
    for by_slot in [false, true] {
        let mut world = World::new(three_nodes(by_slot), 1, 1);
        let (found, _) = world.walk(&["match", "{c}:*"]);
        assert_eq!(found.len(), 12);
        let asked: Vec<u16> = world.proxies[0].0.nodes.keys().copied().collect();
        assert_eq!(asked, [2]);
    }
}

#[test]
fn a_node_that_is_down_is_waited_for_and_then_told_of() {
    let mut world = scripted(false);
    world.lose(1);
    world.gone.insert(1);
    let began = world.proxies[0].0.now;
    let reply = world.ask(0, &["scan", "0"]);
    assert!(
        reply.starts_with("-CLUSTERDOWN proxy cannot reach node:1"),
        "{reply}"
    );
    let waited = world.proxies[0].0.now.since(began);
    assert!(waited >= Options::default().hold_timeout, "{waited:?}");
    assert!(world.proxies[0].0.stale > 0);
    world.gone.clear();
    let (found, _) = world.walk(&[]);
    assert!(keys().iter().all(|key| found.contains(key)));
}

#[test]
fn a_proxy_with_an_old_map_waits_for_a_new_one() {
    let mut world = scripted(false);
    let (first, second) = (world.servers.at(1).clone(), world.servers.at(2).clone());
    world.servers.at(1).owned = second.owned;
    world.servers.at(1).keys = second.keys;
    world.servers.at(2).owned = first.owned;
    world.servers.at(2).keys = first.keys;
    world.servers.at(1).epoch = 50;
    world.servers.at(2).epoch = 51;
    let reply = world.ask(0, &["scan", "0"]);
    assert_eq!(reply, "-CLUSTERDOWN Hash slot not served\r\n");
    world.learn(0);
    let (found, _) = world.walk(&[]);
    assert!(keys().iter().all(|key| found.contains(key)));
}

#[test]
fn a_page_that_is_too_large_is_an_error() {
    let mut world = World::new(three_nodes(true), 1, 1);
    let options = Options {
        merge_bytes_max: 5,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&world.servers.ranges());
    let client = bench.client();
    world.proxies[0] = (bench, client);
    let reply = world.ask(0, &["scan", "0"]);
    assert!(reply.contains("merge_bytes_max"), "{reply}");
}

#[test]
fn a_slot_that_was_away_and_came_back_is_walked_again() {
    let mut world = World::new(three_nodes(false), 1, 1);
    let (mut cursor, mut found) = read_page(&world.ask(0, &["scan", "0"]));
    carry_all(&mut world.servers, 3300, 2);
    // The proxy learns nothing of it; the last bucket of the first unit is still to come.
    while cursor.parse::<u64>().unwrap() >> 24 < 30 {
        let (next, keys) = read_page(&world.ask(0, &["scan", &cursor]));
        assert_eq!(
            next.parse::<u64>().unwrap() & 16_383,
            0,
            "the first unit goes on"
        );
        (cursor, found) = (next, [found, keys].concat());
    }
    carry_all(&mut world.servers, 3300, 1);
    while cursor != "0" {
        let (next, keys) = read_page(&world.ask(0, &["scan", &cursor]));
        (cursor, found) = (next, [found, keys].concat());
    }
    assert!(keys().iter().all(|key| found.contains(key)));
}

fn carry_all(servers: &mut Servers, slot: u16, to: u16) {
    let from = servers.owner(slot);
    servers.begin_move(slot, to);
    while !servers.carry(from, slot) {}
}
