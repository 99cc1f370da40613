//! What takes a session several requests: transactions, values that are read and set if they are
//! still the same, walks over all keys. What comes next may depend on the replies.

use std::collections::VecDeque;

use super::operation::Operation;
use super::resp::Value;
use super::workload::Workload;

/// What a session is about to do.
#[derive(Debug, Default)]
pub(super) struct Errands {
    /// Requests that are sent one behind the other.
    ahead: VecDeque<Operation>,
    swap: Swap,
    walk: Walk,
}

/// A value that is to be read and set.
#[derive(Debug, Default)]
enum Swap {
    #[default]
    Idle,
    /// WATCH and GET are under way; whether WATCH was answered.
    Reading { key: String, watches: bool },
    /// It is known what the value was.
    Read { key: String, base: u64 },
}

/// A walk over all keys.
#[derive(Debug, Default)]
enum Walk {
    #[default]
    Idle,
    Waiting,
    /// The cursor of the next page.
    Next(u64),
}

impl Errands {
    /// What is to be learned from a reply.
    pub(super) fn learn(&mut self, operation: &Operation, reply: &Value) {
        match (operation, &mut self.swap) {
            (Operation::Watch { .. }, Swap::Reading { watches, .. }) => {
                *watches = matches!(reply, Value::Simple(_));
            }
            (Operation::Get { key: got }, Swap::Reading { key, watches }) if got == key => {
                match (number(reply), *watches) {
                    (Some(base), true) => {
                        let key = std::mem::take(key);
                        self.swap = Swap::Read { key, base };
                    }
                    (_, watches) => {
                        self.swap = Swap::Idle;
                        self.ahead.extend(watches.then_some(Operation::Unwatch));
                    }
                }
            }
            (Operation::Scan { .. }, _) => {
                let Value::Array(page) = reply else {
                    self.walk = Walk::Idle;
                    return;
                };
                self.walk = match page.first().and_then(number) {
                    None | Some(0) => Walk::Idle,
                    Some(cursor) => Walk::Next(cursor),
                };
            }
            _ => {}
        }
    }
}

impl Workload {
    /// The next request of what was begun, or of what begins now.
    pub(super) fn errand(&mut self) -> Option<Operation> {
        if !self.style.has_errands {
            return None;
        }
        if let Some(operation) = self.errands.ahead.pop_front() {
            return Some(operation);
        }
        if let Swap::Read { key, base } = &mut self.errands.swap {
            let (key, base) = (std::mem::take(key), *base);
            self.errands.swap = Swap::Idle;
            self.plan_swap(key, base);
            return self.errands.ahead.pop_front();
        }
        if let Walk::Next(cursor) = self.errands.walk
            && self.random.chance(500)
        {
            return Some(self.page(cursor));
        }
        let is_free = matches!(self.errands.swap, Swap::Idle);
        let most = if self.style.asks_all_nodes { 1000 } else { 130 };
        match self.random.below(1000) {
            choice if choice >= most => {}
            0..60 if is_free => self.plan_transaction(),
            60..130 if is_free => self.plan_read(),
            130..136 => return Some(Operation::Size),
            136..142 => {
                let prefix = (*self.random.pick(&["l:", "n:", "p"])).to_owned();
                return Some(Operation::Keys { prefix });
            }
            142..148 => return Some(Operation::RandomKey),
            148..168 if matches!(self.errands.walk, Walk::Idle) => return Some(self.page(0)),
            _ => {}
        }
        self.errands.ahead.pop_front()
    }

    fn page(&mut self, cursor: u64) -> Operation {
        self.errands.walk = Walk::Waiting;
        let count = *self.random.pick(&[1, 10, 100]);
        Operation::Scan { cursor, count }
    }

    fn plan_transaction(&mut self) {
        let tag = self.tag();
        let mut family = *self.random.pick(&FAMILIES);
        let mut queued = Vec::new();
        for part in 0..self.random.between(2, 5) {
            if self.style.wide_transactions {
                family = *self.random.pick(&FAMILIES);
            }
            queued.push(self.part(format!("{family}:{tag}"), part));
        }
        let spoiled = self.random.chance(50);
        if spoiled {
            let at = self.random.index(queued.len() + 1);
            queued.insert(at, Operation::TooFew);
        }
        self.plan_block(queued, false, spoiled);
    }

    /// One command of a transaction.
    fn part(&mut self, key: String, part: u64) -> Operation {
        if self.random.chance(120) {
            return match self.random.chance(500) {
                true => Operation::Ping,
                false => Operation::Echo {
                    text: self.value("echo", part),
                },
            };
        }
        match key.as_bytes()[0] {
            b'l' | b'm' => {
                let first = 10 * part;
                let items = (first..first + self.random.between(1, 2))
                    .map(|part| self.value(&key, part))
                    .collect();
                Operation::Push { key, items }
            }
            _ if self.random.chance(300) => Operation::Get { key },
            b's' => Operation::Set {
                value: self.value(&key, part),
                key,
            },
            _ => Operation::Increment { key },
        }
    }

    fn plan_block(&mut self, queued: Vec<Operation>, watched: bool, spoiled: bool) {
        let ahead = &mut self.errands.ahead;
        ahead.push_back(Operation::Begin);
        let each = queued.iter().cloned();
        ahead.extend(each.map(|operation| Operation::Queue(Box::new(operation))));
        ahead.push_back(if self.random.chance(50) {
            Operation::Discard
        } else {
            Operation::Execute {
                queued,
                watched,
                spoiled,
            }
        });
    }

    /// Few keys, so that sessions get into each other's way.
    fn plan_read(&mut self) {
        let tag = self.tag_of(2);
        let key = format!("c:{tag}");
        self.errands.swap = Swap::Reading {
            key: key.clone(),
            watches: false,
        };
        let read = Operation::Get { key: key.clone() };
        let watch = Operation::Watch { key };
        let again = self.random.chance(200).then(|| watch.clone());
        self.errands.ahead.extend([watch, read]);
        // What is watched already is not read again, so that it does not matter how this ends.
        self.errands.ahead.extend(again);
    }

    fn plan_swap(&mut self, key: String, base: u64) {
        if self.random.chance(50) {
            return self.errands.ahead.push_back(Operation::Unwatch);
        }
        let mut queued = Vec::new();
        if self.style.wide_transactions {
            queued.push(self.part(key.replace("c:", "m:"), 0));
        }
        queued.push(Operation::Swap { key, base });
        let spoiled = self.random.chance(100);
        queued.extend(spoiled.then_some(Operation::TooFew));
        self.plan_block(queued, true, spoiled);
    }
}

/// What a value is that counts; nothing counts as zero.
fn number(reply: &Value) -> Option<u64> {
    match reply {
        Value::Nil | Value::Null => Some(0),
        Value::Bulk(text) => String::from_utf8_lossy(text).parse().ok(),
        _ => None,
    }
}

/// The keys of transactions: two kinds of lists, a counter, a text.
const FAMILIES: [&str; 4] = ["l", "m", "n", "s"];
