//! A model of a cluster that answers what SCAN asks its nodes: keys by node, slots that move key
//! by key, restarts and failovers. And random numbers to choose what happens.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Numbers by chance, the same for the same seed (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % bound as u64) as usize
    }
}

fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) port: u16,
    /// Tells one run from another, and one order of the keys.
    pub(super) run: u64,
    pub(super) epoch: u64,
    pub(super) by_slot: bool,
    pub(super) keys: BTreeSet<String>,
    pub(super) owned: BTreeSet<u16>,
    /// To the port of another server.
    pub(super) migrating: BTreeMap<u16, u16>,
    pub(super) asking: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Servers {
    pub(super) servers: Vec<Server>,
    /// What was asked, by the first words.
    pub(super) asked: BTreeMap<String, usize>,
    runs: u64,
}

impl Servers {
    /// One server for each port and its ranges of slots.
    pub(super) fn new(by_slot: bool, ranges: &[(u16, u16, u16)]) -> Self {
        let mut servers = Self::default();
        for (first, last, port) in ranges {
            servers.runs += 1;
            let (run, at) = (servers.runs, servers.servers.len());
            let known = servers
                .servers
                .iter()
                .position(|server| server.port == *port);
            if known.is_none() {
                servers.servers.push(Server {
                    port: *port,
                    run,
                    epoch: run,
                    by_slot,
                    keys: BTreeSet::new(),
                    owned: BTreeSet::new(),
                    migrating: BTreeMap::new(),
                    asking: false,
                });
            }
            servers.servers[known.unwrap_or(at)]
                .owned
                .extend(*first..=*last);
        }
        servers
    }

    pub(super) fn at(&mut self, port: u16) -> &mut Server {
        let mut servers = self.servers.iter_mut();
        servers.find(|server| server.port == port).unwrap()
    }

    /// Who has the slot: of two the one that has taken it over.
    pub(super) fn owner(&self, slot: u16) -> u16 {
        let mut claims = self.claims(slot);
        let taken = claims.find(|server| !server.migrating.contains_key(&slot));
        taken.or_else(|| self.claims(slot).next()).unwrap().port
    }

    fn claims(&self, slot: u16) -> impl Iterator<Item = &Server> {
        let servers = self.servers.iter();
        servers.filter(move |server| server.owned.contains(&slot))
    }

    pub(super) fn put(&mut self, key: &str) {
        let owner = self.owner(slot_of(key));
        self.at(owner).keys.insert(key.to_owned());
    }

    /// What a proxy would learn now.
    pub(super) fn ranges(&self) -> Vec<(u64, u64, u16)> {
        let mut ranges: Vec<(u64, u64, u16)> = Vec::new();
        for slot in Slot::all() {
            let (number, port) = (u64::from(slot.number()), self.owner(slot.number()));
            match ranges.last_mut() {
                Some((_, last, owner)) if *owner == port => *last = number,
                _ => ranges.push((number, number, port)),
            }
        }
        ranges
    }

    pub(super) fn begin_move(&mut self, slot: u16, to: u16) {
        let from = self.owner(slot);
        let moving = self.at(from).migrating.contains_key(&slot);
        if from != to && !moving && self.claims(slot).count() == 1 {
            self.at(from).migrating.insert(slot, to);
        }
    }

    /// Carries one more key of the slot; the target takes the slot over when none is left, and the
    /// source is told the next time. Says whether it is done.
    pub(super) fn carry(&mut self, from: u16, slot: u16) -> bool {
        let to = self.at(from).migrating[&slot];
        let next = self
            .at(from)
            .keys
            .iter()
            .find(|key| slot_of(key) == slot)
            .cloned();
        if let Some(key) = next {
            self.at(from).keys.remove(&key);
            self.at(to).keys.insert(key);
            return false;
        }
        if self.at(to).owned.insert(slot) {
            let highest = self
                .servers
                .iter()
                .map(|server| server.epoch)
                .max()
                .unwrap();
            if self.at(to).epoch != highest {
                self.at(to).epoch = highest + 1;
            }
            return false;
        }
        let source = self.at(from);
        source.owned.remove(&slot);
        source.migrating.remove(&slot);
        true
    }

    pub(super) fn restart(&mut self, port: u16) {
        self.runs += 1;
        let run = 100 + self.runs;
        self.at(port).run = run;
    }

    /// Another server with the same keys takes the place of the one at that port.
    pub(super) fn fail_over(&mut self, port: u16, new_port: u16) {
        self.restart(port);
        let highest = self
            .servers
            .iter()
            .map(|server| server.epoch)
            .max()
            .unwrap();
        let server = self.at(port);
        server.port = new_port;
        server.epoch = highest + 1;
        for server in &mut self.servers {
            for target in server
                .migrating
                .values_mut()
                .filter(|target| **target == port)
            {
                *target = new_port;
            }
        }
    }

    /// The replies of one server to what it was sent.
    pub(super) fn answer(&mut self, port: u16, requests: &str) -> String {
        let mut replies = String::new();
        for words in requests_of(requests) {
            let name = words[..words.len().min(2)].join(" ").to_uppercase();
            let first = name.split(' ').next().unwrap().to_owned();
            let counted = if first == "CLUSTER" { name } else { first };
            *self.asked.entry(counted.clone()).or_default() += 1;
            replies += &self.answer_one(port, &counted, &words);
        }
        replies
    }

    fn answer_one(&mut self, port: u16, name: &str, words: &[String]) -> String {
        let lines = self.nodes(port);
        let server = self.at(port);
        let asking = std::mem::replace(&mut server.asking, name == "ASKING");
        match name {
            "INFO" => {
                let version = if server.by_slot { "7.4.1" } else { "7.0.15" };
                let run = format!("{:040x}", server.run);
                bulk(&format!(
                    "# Server\r\nredis_version:{version}\r\nrun_id:{run}\r\n"
                ))
            }
            "CLUSTER NODES" => bulk(&lines),
            "CLUSTER GETKEYSINSLOT" => {
                let slot: u16 = words[2].parse().unwrap();
                let count: usize = words[3].parse().unwrap();
                let keys = server.keys.iter().filter(|key| slot_of(key) == slot);
                array(&keys.take(count).cloned().collect::<Vec<_>>())
            }
            "ASKING" => "+OK\r\n".to_owned(),
            "PING" => "+PONG\r\n".to_owned(),
            "TYPE" if asking || server.owned.contains(&slot_of(&words[1])) => {
                let there = server.keys.contains(&words[1]);
                let kind = if words[1].contains("list") {
                    "list"
                } else {
                    "string"
                };
                format!("+{}\r\n", if there { kind } else { "none" })
            }
            "TYPE" => format!("-MOVED {} h:1\r\n", slot_of(&words[1])),
            "SCAN" if words[1..].contains(&"bad".to_owned()) => "-ERR syntax error\r\n".to_owned(),
            "SCAN" => server.scan(words[1].parse().unwrap()),
            other => panic!("nobody answers {other}"),
        }
    }

    fn nodes(&self, port: u16) -> String {
        let id = |port: u16| format!("{port:040x}");
        let mut lines = String::new();
        for server in &self.servers {
            let myself = if server.port == port { "myself," } else { "" };
            lines += &format!(
                "{} node:{}@1 {myself}master - 0 0 ",
                id(server.port),
                server.port
            );
            lines += &format!("{} connected", server.epoch);
            let mut owned = server.owned.iter().copied().peekable();
            while let Some(first) = owned.next() {
                let mut last = first;
                while owned.next_if_eq(&(last + 1)).is_some() {
                    last += 1;
                }
                lines += &format!(" {first}-{last}");
            }
            for (slot, to) in server.migrating.iter().filter(|_| server.port == port) {
                lines += &format!(" [{slot}->-{}]", id(*to));
            }
            lines += "\n";
        }
        lines
    }
}

impl Server {
    /// A page in the order of this run: two places of the table.
    fn scan(&self, cursor: u64) -> String {
        let (slot, mut bucket) = match self.by_slot {
            true => ((cursor & 16_383) as u16, cursor >> 14),
            false => (0, cursor),
        };
        let places = if self.by_slot { 4 } else { 32 };
        let in_table = |key: &&String| !self.by_slot || slot_of(key) == slot;
        let end = bucket + 2;
        let keys = self.keys.iter().filter(in_table);
        let keys = keys.filter(|key| (bucket..end).contains(&(self.place(key) % places)));
        let page: Vec<String> = keys.cloned().collect();
        bucket = if end < places { end } else { 0 };
        let next = if !self.by_slot || bucket > 0 {
            bucket << (14 * u32::from(self.by_slot)) | u64::from(slot)
        } else {
            let later = self
                .keys
                .iter()
                .map(|key| slot_of(key))
                .filter(|other| *other > slot);
            later.min().map_or(0, u64::from)
        };
        format!("*2\r\n{}{}", bulk(&next.to_string()), array(&page))
    }

    fn place(&self, key: &str) -> u64 {
        let number = key
            .bytes()
            .fold(self.run, |hash, byte| mix(hash ^ u64::from(byte)));
        mix(number)
    }
}

pub(super) fn slot_of(key: &str) -> u16 {
    Slot::of(key.as_bytes()).number()
}

pub(super) fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

pub(super) fn array(words: &[String]) -> String {
    let bulks: String = words.iter().map(|word| bulk(word)).collect();
    format!("*{}\r\n{bulks}", words.len())
}

/// The arguments of each request.
fn requests_of(text: &str) -> Vec<Vec<String>> {
    let mut requests = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (count, after) = rest[1..].split_once("\r\n").unwrap();
        rest = after;
        let mut words = Vec::new();
        for _ in 0..count.parse::<usize>().unwrap() {
            let (len, after) = rest[1..].split_once("\r\n").unwrap();
            let (word, after) = after.split_at(len.parse().unwrap());
            words.push(word.to_owned());
            rest = &after[2..];
        }
        requests.push(words);
    }
    requests
}

/// The cursor and keys of a page.
pub(super) fn read_page(reply: &str) -> (String, Vec<String>) {
    let rest = reply
        .strip_prefix("*2\r\n")
        .unwrap_or_else(|| panic!("no page: {reply}"));
    let end = rest.find("*").unwrap();
    let cursor = rest[..end].split("\r\n").nth(1).unwrap().to_owned();
    (cursor, requests_of(&rest[end..]).remove(0))
}
