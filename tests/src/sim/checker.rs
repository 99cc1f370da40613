//! Decides whether what clients saw is what they may see. Every value tells its key, its session
//! and its number, so that a reply in the wrong place gives itself away.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::blocks::Pushes;
use super::operation::Operation;
use super::oracle::{Counter, List, Private, Shared};
use super::resp::Value;
use super::swaps::Swaps;

/// A checker that all clients of a run share.
pub type SharedChecker = Rc<RefCell<Checker>>;

/// A request without a reply yet.
#[derive(Debug, Clone)]
pub struct Pending {
    pub session: u64,
    pub number: u64,
    pub operation: Operation,
    /// The protocol in which the reply comes.
    pub resp3: bool,
    pub invoked: u64,
    /// The time at which it was sent, in micros.
    pub sent_at: u64,
    /// What the keys' oracles say about the time of the request.
    floors: Vec<u64>,
    /// What a transaction consists of.
    pub(super) parts: Vec<Self>,
    /// Keys that have to be found.
    pub(super) certain: BTreeSet<String>,
}

/// What may be demanded.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Whether a request may end with an error although it is right.
    pub may_fail: bool,
    /// Whether a session's requests for one key are executed in the order sent.
    pub is_ordered: bool,
    /// Nothing goes wrong and nothing moves.
    pub is_calm: bool,
    /// How long a request that is not executed is tried again at least.
    pub patience_micros: u64,
}

/// The state of all oracles.
#[derive(Debug, Default)]
pub struct Checker {
    /// The first thing that was wrong.
    pub violation: Option<String>,
    pub(super) terms: Terms,
    /// The time now.
    pub micros: u64,
    /// Nothing changes any more: what is read now is final.
    pub is_final: bool,
    pub answered: u64,
    /// The longest time that a client waited which has nothing to do with what is sick.
    pub slowest: u64,
    pub failed: u64,
    /// Walks over all keys that came to their end.
    pub walked: u64,
    /// Transactions that were executed, and those that found a watched key changed.
    pub executed: u64,
    pub lost: u64,
    pub(super) lists: BTreeMap<String, List>,
    pub(super) counters: BTreeMap<String, Counter>,
    pub(super) shared: BTreeMap<String, Shared>,
    pub(super) private: BTreeMap<String, Private>,
    pub(super) swaps: BTreeMap<String, Swaps>,
    /// Transactions of which nobody knows whether they happened.
    pub(super) open_blocks: Vec<Pushes>,
    /// How many requests with each key were lost with a connection and must not be sent again, less
    /// those whose client was told.
    pub(super) lost_requests: BTreeMap<String, u64>,
    /// For each session the keys that its walk has to find yet.
    pub(super) walks: BTreeMap<u64, BTreeSet<String>>,
    /// Time as the oracles see it: no two events have the same.
    ticks: u64,
}

impl Checker {
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            ..Self::default()
        }
    }

    pub fn violate(&mut self, what: impl Into<String>) {
        if self.violation.is_none() {
            self.violation = Some(what.into());
        }
    }

    /// A client is about to send a request.
    pub fn invoke(
        &mut self,
        (session, number): (u64, u64),
        operation: Operation,
        resp3: bool,
    ) -> Pending {
        self.ticks += 1;
        let invoked = self.ticks;
        let floors = match &operation {
            Operation::Push { key, items } => {
                let list = self.lists.entry(key.clone()).or_default();
                items.iter().for_each(|item| list.invoke(item, session));
                list.join(items);
                vec![list.floor()]
            }
            Operation::Range { key } => vec![self.lists.entry(key.clone()).or_default().floor()],
            Operation::Increment { key } => {
                let counter = self.counters.entry(key.clone()).or_default();
                counter.invoked += 1;
                vec![counter.highest]
            }
            Operation::Get { key } => vec![self.read_floor(key)],
            Operation::MultiGet { keys } => keys.iter().map(|key| self.read_floor(key)).collect(),
            Operation::Set { key, value } => {
                self.invoke_write(key, value, invoked);
                Vec::new()
            }
            Operation::MultiSet { pairs } => {
                pairs
                    .iter()
                    .for_each(|(key, value)| self.invoke_write(key, value, invoked));
                Vec::new()
            }
            Operation::Swap { key, base } => {
                let swaps = self.swaps.entry(key.clone()).or_default();
                swaps.attempt(session, *base);
                vec![swaps.highest]
            }
            _ => Vec::new(),
        };
        let parts = match &operation {
            Operation::Execute {
                queued,
                spoiled: false,
                ..
            } => self.invoke_block((session, number), queued, resp3),
            _ => Vec::new(),
        };
        Pending {
            session,
            number,
            resp3,
            invoked,
            sent_at: self.micros,
            floors,
            parts,
            certain: self.invoke_walk(session, &operation),
            operation,
        }
    }

    /// The reply to a request, or what a client takes for it.
    pub fn reply(&mut self, pending: &Pending, reply: &Value) {
        self.ticks += 1;
        self.answered += 1;
        let result = match reply {
            Value::Error(text) => self.judge_error(pending, text),
            reply => self.judge(pending, reply),
        };
        if let Err(why) = result {
            let Pending {
                session,
                number,
                operation,
                ..
            } = pending;
            let (asked, got) = (short(operation), short(reply));
            self.violate(format!(
                "session {session} number {number}: {why}: got {got} for {asked}"
            ));
        }
    }

    /// The client will never know what became of the request.
    pub fn abandon(&mut self, pending: &Pending) {
        self.failed += 1;
        match &pending.operation {
            Operation::Set { key, value } => self.ghost(key, Some(value)),
            Operation::MultiSet { pairs } => {
                pairs
                    .iter()
                    .for_each(|(key, value)| self.ghost(key, Some(value)));
            }
            Operation::Delete { keys } => keys.iter().for_each(|key| self.ghost(key, None)),
            Operation::Swap { key, base } => {
                self.swaps.entry(key.clone()).or_default().unknown(*base);
            }
            Operation::Execute { .. } => self.abandon_block(pending),
            _ => {}
        }
    }

    /// Everything that was sent has to be accounted for in what was read last.
    pub fn finish(&mut self) {
        let lists = self
            .lists
            .iter()
            .map(|(key, list)| (key, list.finish(self.terms.is_ordered)));
        let counters = self
            .counters
            .iter()
            .map(|(key, counter)| (key, counter.finish()));
        let swaps = self.swaps.iter().map(|(key, swaps)| (key, swaps.finish()));
        let wrong = lists
            .chain(counters)
            .chain(swaps)
            .find_map(|(key, result)| Some((key, result.err()?)));
        if let Err(why) = self.finish_blocks() {
            self.violate(format!("at the end: {why}"));
        } else if let Some((key, why)) = wrong {
            let text = format!("at the end, {key}: {why}");
            self.violate(text);
        }
    }

    /// All keys that were ever used, for the last look at them.
    pub fn last_look(&self) -> Vec<Operation> {
        let lists = self
            .lists
            .keys()
            .map(|key| Operation::Range { key: key.clone() });
        let texts = self
            .counters
            .keys()
            .chain(self.shared.keys())
            .chain(self.swaps.keys())
            .chain(self.private.keys());
        lists
            .chain(texts.map(|key| Operation::Get { key: key.clone() }))
            .collect()
    }

    /// All keys that may have been written.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let keys = self.lists.keys().chain(self.counters.keys());
        let keys = keys.chain(self.shared.keys()).chain(self.private.keys());
        let keys = keys.chain(self.swaps.keys());
        keys.map(|key| key.clone().into_bytes()).collect()
    }

    fn read_floor(&mut self, key: &str) -> u64 {
        match key.as_bytes()[0] {
            b's' => self.shared.entry(key.to_owned()).or_default().floor(),
            b'n' => self.counters.entry(key.to_owned()).or_default().highest,
            b'c' => self.swaps.entry(key.to_owned()).or_default().highest,
            _ => 0,
        }
    }

    fn invoke_write(&mut self, key: &str, value: &str, invoked: u64) {
        if is_shared(key) {
            self.shared
                .entry(key.to_owned())
                .or_default()
                .invoke(value, invoked);
        } else {
            self.private.entry(key.to_owned()).or_default();
        }
    }

    fn acknowledge_write(&mut self, key: &str, value: &str) {
        let now = self.ticks;
        if let Some(shared) = self.shared.get_mut(key) {
            shared.acknowledge(value, now);
        } else if let Some(private) = self.private.get_mut(key) {
            private.set(Some(value));
        }
    }

    fn ghost(&mut self, key: &str, value: Option<&str>) {
        if !is_shared(key) {
            self.private.entry(key.to_owned()).or_default().ghost(value);
        }
    }

    pub(super) fn judge(&mut self, pending: &Pending, reply: &Value) -> Result<(), String> {
        let floor = |index: usize| pending.floors[index];
        match &pending.operation {
            Operation::Push { key, items } => {
                let len = number(reply)?;
                let list = self.lists.get_mut(key).ok_or("no such list")?;
                list.acknowledge(items, len, floor(0))
            }
            Operation::Range { key } => {
                let items = texts(reply)?;
                let list = self.lists.get_mut(key).ok_or("no such list")?;
                list.read(items, floor(0), self.is_final)
            }
            Operation::Increment { key } => {
                let count = number(reply)?;
                let counter = self.counters.get_mut(key).ok_or("no such counter")?;
                let session = self.terms.is_ordered.then_some(pending.session);
                counter.acknowledge(session, count, floor(0))
            }
            Operation::Get { key } => self.judge_read(pending, key, reply, floor(0)),
            Operation::MultiGet { keys } => {
                let Value::Array(items) = reply else {
                    return Err("no array".into());
                };
                require(items.len() == keys.len(), "not one element for each key")?;
                let mut all = keys.iter().zip(items).enumerate();
                all.try_for_each(|(index, (key, item))| {
                    self.judge_read(pending, key, item, floor(index))
                })
            }
            Operation::Set { key, value } => {
                self.acknowledge_write(key, value);
                require_ok(reply)
            }
            Operation::MultiSet { pairs } => {
                pairs
                    .iter()
                    .for_each(|(key, value)| self.acknowledge_write(key, value));
                require_ok(reply)
            }
            Operation::Delete { keys } => self.judge_count(keys, number(reply)?, true),
            Operation::Exists { keys } => self.judge_count(keys, number(reply)?, false),
            Operation::Ping => require(*reply == Value::Simple(b"PONG".to_vec()), "no pong"),
            Operation::Echo { text } => same(&String::from_utf8_lossy(bulk(reply)?), text),
            Operation::TooFew | Operation::Unknown { .. } => Err("no error".into()),
            Operation::Hello { version } => {
                let is_map = matches!(reply, Value::Map(_));
                require(is_map == (*version == 3), "not in the protocol asked for")
            }
            Operation::Queue(_) => {
                require(*reply == Value::Simple(b"QUEUED".to_vec()), "not queued")
            }
            Operation::Execute { .. } => self.judge_block(pending, reply),
            Operation::Swap { key, base } => {
                let swaps = self.swaps.get_mut(key).ok_or("no such key")?;
                swaps.win(*base, floor(0))?;
                require_ok(reply)
            }
            Operation::Begin | Operation::Discard | Operation::Watch { .. } => require_ok(reply),
            Operation::Unwatch => require_ok(reply),
            Operation::Size
            | Operation::Keys { .. }
            | Operation::RandomKey
            | Operation::Scan { .. } => self.judge_walk(pending, reply),
        }
    }

    fn judge_read(
        &mut self,
        pending: &Pending,
        key: &str,
        reply: &Value,
        floor: u64,
    ) -> Result<(), String> {
        let nothing = if pending.resp3 {
            Value::Null
        } else {
            Value::Nil
        };
        let text = match reply {
            reply if *reply == nothing => None,
            reply => Some(String::from_utf8_lossy(bulk(reply)?).into_owned()),
        };
        if let Some(counter) = self.counters.get_mut(key) {
            let count = text.map_or(Ok(0), |text| text.parse().map_err(|_| "no number"))?;
            return counter.read(count, floor, self.is_final);
        }
        if let Some(swaps) = self.swaps.get_mut(key) {
            let value = text.map_or(Ok(0), |text| text.parse().map_err(|_| "no number"))?;
            return swaps.read(value, floor, self.is_final);
        }
        if let Some(text) = &text {
            require(
                text.starts_with(&format!("{key}|")),
                "the value of another key",
            )?;
        }
        if is_shared(key) {
            let shared = self.shared.get(key).ok_or("no such key")?;
            return shared.read(text.as_deref(), floor);
        }
        let private = self.private.entry(key.to_owned()).or_default();
        if self.terms.is_ordered {
            private.read(text.as_deref())
        } else {
            Ok(())
        }
    }

    fn judge_count(&mut self, keys: &[String], count: u64, delete: bool) -> Result<(), String> {
        let (mut least, mut most) = (0, 0);
        for key in keys {
            let private = self.private.entry(key.clone()).or_default();
            let (may_be, may_not_be) = private.presence();
            least += u64::from(!may_not_be);
            most += u64::from(may_be);
            if delete {
                private.set(None);
            }
        }
        if !self.terms.is_ordered {
            (least, most) = (0, keys.len() as u64);
        }
        require(
            (least..=most).contains(&count),
            &format!("not from {least} to {most}"),
        )
    }
}

/// Keys that all sessions write, against those that one session has for itself.
fn is_shared(key: &str) -> bool {
    key.starts_with('s')
}

pub(super) fn require(condition: bool, why: &str) -> Result<(), String> {
    if condition {
        Ok(())
    } else {
        Err(why.to_owned())
    }
}

fn require_ok(reply: &Value) -> Result<(), String> {
    require(*reply == Value::Simple(b"OK".to_vec()), "not OK")
}

pub(super) fn same(got: &str, expected: &str) -> Result<(), String> {
    require(got == expected, "not what was sent or asked for")
}

pub(super) fn number(reply: &Value) -> Result<u64, String> {
    match reply {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| "negative".to_owned()),
        _ => Err("no number".to_owned()),
    }
}

pub(super) fn bulk(reply: &Value) -> Result<&[u8], String> {
    match reply {
        Value::Bulk(bytes) => Ok(bytes),
        _ => Err("no string, or nothing in the wrong protocol".to_owned()),
    }
}

pub(super) fn texts(reply: &Value) -> Result<Vec<String>, String> {
    let Value::Array(items) = reply else {
        return Err("no array".to_owned());
    };
    items
        .iter()
        .map(|item| Ok(String::from_utf8_lossy(bulk(item)?).into_owned()))
        .collect()
}

/// Long values are shown by their beginning.
fn short(what: &impl core::fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    if text.len() > 400 {
        text = text.chars().take(400).chain("...".chars()).collect();
    }
    text
}
