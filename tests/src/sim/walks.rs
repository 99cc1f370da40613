//! What commands to all nodes may answer: DBSIZE, KEYS, RANDOMKEY and walks by SCAN.

use std::collections::BTreeSet;

use super::checker::{Checker, Pending, number, require, texts};
use super::operation::Operation;
use super::resp::Value;

impl Checker {
    /// Keys that are there for certain and that nobody deletes.
    pub(super) fn certain_keys(&self) -> BTreeSet<String> {
        let lists = self.lists.iter().filter(|(_, list)| list.floor() > 0);
        let counters = self.counters.iter().filter(|(_, it)| it.highest > 0);
        let shared = self.shared.iter().filter(|(_, it)| it.floor() > 0);
        let swaps = self.swaps.iter().filter(|(_, it)| it.highest > 0);
        let keys = lists
            .map(|(key, _)| key)
            .chain(counters.map(|(key, _)| key));
        let keys = keys.chain(shared.map(|(key, _)| key));
        keys.chain(swaps.map(|(key, _)| key)).cloned().collect()
    }

    /// A command that asks for keys is about to be sent: those that it must find.
    pub(super) fn invoke_walk(&mut self, session: u64, operation: &Operation) -> BTreeSet<String> {
        match operation {
            Operation::Scan { cursor: 0, .. } => {
                let keys = self.certain_keys();
                self.walks.insert(session, keys);
                BTreeSet::new()
            }
            Operation::Size | Operation::RandomKey if self.terms.is_calm => self.certain_keys(),
            Operation::Keys { prefix } if self.terms.is_calm => {
                let mut keys = self.certain_keys();
                keys.retain(|key| key.starts_with(prefix));
                keys
            }
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn judge_walk(&mut self, pending: &Pending, reply: &Value) -> Result<(), String> {
        match &pending.operation {
            Operation::Size => {
                let count = number(reply)?;
                let enough = count >= pending.certain.len() as u64;
                require(enough, "fewer keys than there are")?;
                let known = self.keys().len() as u64;
                require(
                    !self.terms.is_calm || count <= known,
                    "more keys than there are",
                )
            }
            Operation::RandomKey => match reply {
                Value::Bulk(key) => {
                    let key = String::from_utf8_lossy(key).into_owned();
                    self.are_known(&[key])
                }
                Value::Nil if !pending.resp3 => self.is_empty(pending),
                Value::Null if pending.resp3 => self.is_empty(pending),
                _ => Err("no key".into()),
            },
            Operation::Keys { prefix } => {
                let keys = texts(reply)?;
                self.are_known(&keys)?;
                let fit = keys.iter().all(|key| key.starts_with(prefix));
                require(fit, "a key that was not asked for")?;
                let found: BTreeSet<String> = keys.iter().cloned().collect();
                let twice = self.terms.is_calm && found.len() < keys.len();
                require(!twice, "a key is there twice")?;
                is_complete(pending.certain.difference(&found).next())
            }
            Operation::Scan { .. } => self.judge_page(pending, reply),
            _ => Err("no walk".into()),
        }
    }

    fn judge_page(&mut self, pending: &Pending, reply: &Value) -> Result<(), String> {
        let Value::Array(page) = reply else {
            return Err("no page".into());
        };
        let [Value::Bulk(cursor), keys] = &page[..] else {
            return Err("not a cursor and keys".into());
        };
        let cursor = String::from_utf8_lossy(cursor).parse::<u64>();
        let cursor = cursor.map_err(|_| "the cursor is no number")?;
        require(cursor < 1 << 53, "a cursor that is no exact double")?;
        let keys = texts(keys)?;
        self.are_known(&keys)?;
        let walk = self.walks.get_mut(&pending.session).ok_or("no such walk")?;
        for key in &keys {
            walk.remove(key);
        }
        if cursor == 0 {
            self.walked += 1;
            return is_complete(walk.first());
        }
        Ok(())
    }

    fn are_known(&self, keys: &[String]) -> Result<(), String> {
        let known = |key: &String| {
            self.lists.contains_key(key)
                || self.counters.contains_key(key)
                || self.shared.contains_key(key)
                || self.swaps.contains_key(key)
                || self.private.contains_key(key)
        };
        match keys.iter().find(|key| !known(key)) {
            Some(key) => Err(format!("{key} was never used")),
            None => Ok(()),
        }
    }

    fn is_empty(&self, pending: &Pending) -> Result<(), String> {
        require(pending.certain.is_empty(), "there are keys")
    }
}

fn is_complete(missing: Option<&String>) -> Result<(), String> {
    missing.map_or(Ok(()), |key| {
        Err(format!("{key} was there all the time and is missing"))
    })
}
