//! What a client asks for: a random mix of commands on the keys of a few slots.

use std::collections::BTreeSet;

use slotway_protocol::cluster::Slot;

use super::errands::Errands;
use super::operation::Operation;
use super::random::Random;
use super::resp::Value;

/// Makes one session's requests.
#[derive(Debug)]
pub struct Workload {
    session: u64,
    /// The number of the next request.
    number: u64,
    pub(super) style: Style,
    pub(super) random: Random,
    pub(super) errands: Errands,
}

/// What all sessions' requests have in common.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Which hash tags there are: a bit for each.
    pub tags: u8,
    pub large_values: bool,
    /// Several keys of one request may be of one slot.
    pub crowded_slots: bool,
    /// There are transactions, watched keys and walks over all keys.
    pub has_errands: bool,
    /// Some of these are to all nodes.
    pub asks_all_nodes: bool,
    /// A transaction may have several keys.
    pub wide_transactions: bool,
}

impl Workload {
    pub fn new(session: u64, style: Style, random: Random) -> Self {
        Self {
            session,
            number: 0,
            style,
            random,
            errands: Errands::default(),
        }
    }

    /// The next request, with its number in the session.
    pub fn next_operation(&mut self) -> (u64, Operation) {
        self.number += 1;
        let operation = self.errand();
        (self.number, operation.unwrap_or_else(|| self.operation()))
    }

    /// A request was answered.
    pub fn learn(&mut self, operation: &Operation, reply: &Value) {
        self.errands.learn(operation, reply);
    }

    fn operation(&mut self) -> Operation {
        match self.random.below(100) {
            0..25 => {
                let key = self.key("l");
                let items = (0..self.random.between(1, 3))
                    .map(|i| self.value(&key, i))
                    .collect();
                Operation::Push { key, items }
            }
            25..40 => Operation::Increment { key: self.key("n") },
            40..50 => {
                let key = if self.random.chance(500) {
                    self.private()
                } else {
                    self.key("s")
                };
                Operation::Set {
                    value: self.value(&key, 0),
                    key,
                }
            }
            50..62 => Operation::Get {
                key: if self.random.chance(600) {
                    self.private()
                } else {
                    self.key("s")
                },
            },
            62..72 => Operation::MultiSet {
                pairs: self.pairs(),
            },
            72..82 => Operation::MultiGet {
                keys: self.many_keys(),
            },
            82..86 => Operation::Delete {
                keys: self.private_keys(),
            },
            86..89 => Operation::Exists {
                keys: self.private_keys(),
            },
            89..91 => {
                let family = if self.random.chance(500) { "l" } else { "m" };
                Operation::Range {
                    key: self.key(family),
                }
            }
            91..94 => Operation::Ping,
            94..97 => Operation::Echo {
                text: self.value("echo", 0),
            },
            97 => Operation::TooFew,
            98 => Operation::Unknown {
                name: format!("nosuch{}x{}", self.session, self.number),
            },
            _ => Operation::Get { key: self.key("n") },
        }
    }

    /// A key that all sessions use.
    fn key(&mut self, family: &str) -> String {
        format!("{family}:{}", self.tag())
    }

    /// A key that only this session uses.
    fn private(&mut self) -> String {
        let which = self.random.below(2);
        let tag = self.tag();
        format!("p{}.{which}:{tag}", self.session)
    }

    pub(super) fn tag(&mut self) -> String {
        self.tag_of(TAGS_MAX)
    }

    /// One of the first so many tags.
    pub(super) fn tag_of(&mut self, count: usize) -> String {
        let is_there = |tag: &usize| self.style.tags & (1 << *tag) != 0;
        let tags: Vec<usize> = (0..TAGS_MAX).filter(is_there).take(count).collect();
        tag(*self.random.pick(&tags))
    }

    fn private_keys(&mut self) -> Vec<String> {
        let count = self.random.between(1, 6);
        let keys: Vec<String> = (0..count).map(|_| self.private()).collect();
        self.spread(distinct(keys))
    }

    fn many_keys(&mut self) -> Vec<String> {
        let count = self.random.between(1, 8);
        let mut key = |_| {
            if self.random.chance(600) {
                self.private()
            } else {
                self.key("s")
            }
        };
        let keys: Vec<String> = (0..count).map(&mut key).collect();
        self.spread(keys)
    }

    /// Leaves one key for each slot, unless slots may be crowded.
    fn spread(&self, mut keys: Vec<String>) -> Vec<String> {
        if !self.style.crowded_slots {
            let mut slots = BTreeSet::new();
            keys.retain(|key| slots.insert(Slot::of(key.as_bytes())));
        }
        keys
    }

    fn pairs(&mut self) -> Vec<(String, String)> {
        let keys = distinct(self.many_keys());
        (0..)
            .zip(keys)
            .map(|(i, key)| (key.clone(), self.value(&key, i)))
            .collect()
    }

    /// A value that tells where it belongs: `key|session.number.part|padding`.
    pub(super) fn value(&mut self, key: &str, part: u64) -> String {
        let padding = match self.random.below(100) {
            0..80 => 0,
            90.. if self.style.large_values => 33_000 + self.random.below(1000),
            80..99 => self.random.below(200),
            _ => 2_000,
        };
        let filler = "~".repeat(padding as usize);
        format!("{key}|{}.{}.{part}|{filler}", self.session, self.number)
    }
}

/// There are at most so many hash tags.
pub const TAGS_MAX: usize = 8;

/// The hash tag of that number.
pub fn tag(number: usize) -> String {
    format!("{{t{number}}}")
}

/// A value's key, session, number and part, if it is one of ours.
pub fn identify(value: &[u8]) -> Option<(&str, u64, u64, u64)> {
    let text = core::str::from_utf8(value).ok()?;
    let mut fields = text.split('|');
    let (key, identity) = (fields.next()?, fields.next()?);
    let mut numbers = identity.split('.').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some((key, next()?, next()?, next()?))
}

/// The keys without those that came before.
fn distinct(keys: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for key in keys {
        if !kept.contains(&key) {
            kept.push(key);
        }
    }
    kept
}
