//! Transactions as the checker sees them: all of one happened, at once, or nothing.

use std::collections::BTreeMap;

use super::checker::{Checker, Pending, bulk, number, require};
use super::operation::Operation;
use super::resp::Value;

/// What a transaction appends to which list.
pub(super) type Pushes = BTreeMap<String, Vec<String>>;

impl Checker {
    /// An EXEC is about to be sent: its parts, as if each was sent now.
    pub(super) fn invoke_block(
        &mut self,
        (session, number): (u64, u64),
        queued: &[Operation],
        resp3: bool,
    ) -> Vec<Pending> {
        for (key, items) in pushes(queued) {
            self.lists.entry(key).or_default().join(&items);
        }
        queued
            .iter()
            .map(|operation| self.invoke((session, number), operation.clone(), resp3))
            .collect()
    }

    /// The reply to an EXEC that is no error.
    pub(super) fn judge_block(&mut self, pending: &Pending, reply: &Value) -> Result<(), String> {
        let Operation::Execute {
            queued,
            watched,
            spoiled,
        } = &pending.operation
        else {
            return Err("no transaction".into());
        };
        require(!spoiled, "executed although a command was refused")?;
        let Value::Array(items) = reply else {
            let nothing = if pending.resp3 {
                Value::Null
            } else {
                Value::Nil
            };
            require(*reply == nothing && *watched, "neither done nor undone")?;
            self.refuse(pending);
            self.lost += 1;
            return self.judge_loss(pending);
        };
        require(items.len() == queued.len(), "not one reply for each part")?;
        self.executed += 1;
        let mut seen = BTreeMap::new();
        for (part, item) in pending.parts.iter().zip(items) {
            if let Value::Error(_) = item {
                return Err("an error for a part".into());
            }
            self.judge(part, item)?;
            is_undisturbed(&part.operation, item, &mut seen)?;
        }
        Ok(())
    }

    /// Whether there was a reason to do nothing.
    fn judge_loss(&self, pending: &Pending) -> Result<(), String> {
        let swaps = pending
            .parts
            .iter()
            .filter_map(|part| match &part.operation {
                Operation::Swap { key, base } => Some((self.swaps.get(key)?, *base)),
                _ => None,
            });
        for (swaps, base) in swaps.filter(|_| self.terms.is_calm) {
            swaps.lose(pending.session, base)?;
        }
        Ok(())
    }

    /// The error says that nothing was done.
    pub(super) fn refuse(&mut self, pending: &Pending) {
        match &pending.operation {
            Operation::Push { key, items } => {
                let list = self.lists.entry(key.clone()).or_default();
                list.refuse(items);
            }
            Operation::Increment { key } => {
                let counter = self.counters.entry(key.clone()).or_default();
                counter.invoked -= 1;
            }
            Operation::Execute { .. } => pending.parts.iter().for_each(|part| self.refuse(part)),
            _ => self.abandon(pending),
        }
    }

    /// Nobody knows whether it was executed: then all of it was, or nothing.
    pub(super) fn abandon_block(&mut self, pending: &Pending) {
        let Operation::Execute {
            queued, spoiled, ..
        } = &pending.operation
        else {
            return;
        };
        if !spoiled {
            self.open_blocks.push(pushes(queued));
        }
        pending.parts.iter().for_each(|part| self.abandon(part));
    }

    /// What the lists as read last say about the transactions that nobody knows about.
    pub(super) fn finish_blocks(&self) -> Result<(), String> {
        for block in &self.open_blocks {
            let there = |(key, item): &(&String, &String)| {
                self.lists.get(*key).is_some_and(|list| list.has(item))
            };
            let all = || {
                block
                    .iter()
                    .flat_map(|(key, items)| items.iter().map(move |it| (key, it)))
            };
            let count = all().filter(there).count();
            let whole = count == 0 || count == all().count();
            require(whole, &format!("a part of {block:?} was executed"))?;
        }
        Ok(())
    }
}

fn pushes(queued: &[Operation]) -> Pushes {
    let mut pushes = Pushes::new();
    for operation in queued {
        if let Operation::Push { key, items } = operation {
            pushes
                .entry(key.clone())
                .or_default()
                .extend_from_slice(items);
        }
    }
    pushes
}

/// Nobody else comes in between: what was seen of a key is what it was made or seen before.
fn is_undisturbed<'a>(
    operation: &'a Operation,
    reply: &Value,
    seen: &mut BTreeMap<&'a str, Vec<u8>>,
) -> Result<(), String> {
    let (key, before, after) = match operation {
        Operation::Push { key, items } => {
            let len = number(reply)?;
            (
                key,
                len.checked_sub(items.len() as u64).map(text),
                text(len),
            )
        }
        Operation::Increment { key } => {
            let count = number(reply)?;
            (key, count.checked_sub(1).map(text), text(count))
        }
        Operation::Get { key } => {
            let found = bulk(reply).map_or_else(|_| Vec::new(), <[u8]>::to_vec);
            (key, Some(found.clone()), found)
        }
        Operation::Set { key, value } => (key, None, value.clone().into_bytes()),
        _ => return Ok(()),
    };
    let expected = seen.insert(key, after);
    let same = |before: &Vec<u8>| {
        let expected = expected.as_ref();
        // What is not there counts as nothing.
        expected
            .is_none_or(|expected| expected == before || expected.is_empty() && *before == text(0))
    };
    require(
        before.as_ref().is_none_or(same),
        "another session came in between",
    )
}

fn text(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::checker::Terms;
    use super::*;

    const KEY: &str = "l:{t0}";

    fn push(items: &[&str]) -> Operation {
        Operation::Push {
            key: KEY.to_owned(),
            items: items.iter().map(|item| (*item).to_owned()).collect(),
        }
    }

    fn execute(queued: Vec<Operation>) -> Operation {
        Operation::Execute {
            queued,
            watched: false,
            spoiled: false,
        }
    }

    fn checker() -> (Checker, Pending) {
        let mut checker = Checker::new(Terms {
            may_fail: true,
            is_ordered: true,
            ..Terms::default()
        });
        let block = execute(vec![push(&["a"]), push(&["b", "c"])]);
        let pending = checker.invoke((1, 1), block, false);
        (checker, pending)
    }

    fn last_look(checker: &mut Checker, items: &[&str]) -> Option<String> {
        checker.is_final = true;
        let key = KEY.to_owned();
        let pending = checker.invoke((9, 0), Operation::Range { key }, false);
        let items = items
            .iter()
            .map(|item| Value::Bulk(item.as_bytes().to_vec()));
        checker.reply(&pending, &Value::Array(items.collect()));
        checker.finish();
        checker.violation.clone()
    }

    #[test]
    fn a_transaction_has_its_places_to_itself() {
        for (lens, right) in [([1, 3], true), ([1, 4], false), ([3, 1], false)] {
            let (mut checker, pending) = checker();
            let reply = lens.map(Value::Integer);
            checker.reply(&pending, &Value::Array(reply.to_vec()));
            assert_eq!(checker.violation.is_none(), right, "{lens:?}");
        }
    }

    #[test]
    fn of_a_transaction_without_an_answer_there_is_all_or_nothing() {
        for (items, right) in [
            (&["a", "b", "c"][..], true),
            (&[], true),
            (&["a"], false),
            (&["b", "c"], false),
        ] {
            let (mut checker, pending) = checker();
            checker.abandon(&pending);
            assert_eq!(last_look(&mut checker, items).is_none(), right, "{items:?}");
        }
    }

    #[test]
    fn what_was_refused_has_not_happened() {
        for (text, right) in [("ERR result unknown", true), ("CLUSTERDOWN", false)] {
            let (mut checker, pending) = checker();
            checker.note_lost(vec![KEY.to_owned()]);
            checker.reply(&pending, &Value::Error(text.into()));
            let violation = last_look(&mut checker, &["a", "b", "c"]);
            assert_eq!(violation.is_none(), right, "{text}: {violation:?}");
        }
    }
}
