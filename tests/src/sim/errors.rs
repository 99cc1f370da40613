//! Which errors a client may be told, and when. A request that nobody executed is tried again
//! until the proxy's patience is at its end; that its result is unknown is said only of what was
//! under way on a connection that was lost, and must not be sent again.

use super::checker::{Checker, Pending, require, same};
use super::operation::Operation;

impl Checker {
    /// A proxy has lost a connection on which requests with these keys were under way that must not
    /// be sent again.
    pub(super) fn note_lost(&mut self, keys: Vec<String>) {
        for key in keys {
            *self.lost_requests.entry(key).or_default() += 1;
        }
    }

    pub(super) fn judge_error(&mut self, pending: &Pending, text: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(text);
        let mut operation = &pending.operation;
        if let Operation::Queue(queued) = operation {
            operation = queued;
        }
        match operation {
            Operation::Execute { spoiled: true, .. } => {
                let expected = "EXECABORT Transaction discarded because of previous errors.";
                return same(&text, expected);
            }
            Operation::TooFew => {
                let expected = "ERR wrong number of arguments for 'get' command";
                return same(&text, expected);
            }
            Operation::Unknown { name } => {
                let expected = format!("ERR unknown command '{name}'");
                return require(
                    text.starts_with(&expected),
                    "not the error for this command",
                );
            }
            _ => {}
        }
        require(
            self.terms.may_fail && !self.is_final,
            "an error although nothing is wrong",
        )?;
        if text.contains("result unknown") {
            self.abandon(pending);
            self.judge_unknown(pending)
        } else {
            self.refuse(pending);
            self.judge_refusal(pending, &text)
        }
    }

    /// For each key there may be as many unknown results as requests were lost.
    fn judge_unknown(&mut self, pending: &Pending) -> Result<(), String> {
        let keys = pending.operation.keys();
        let is_lost = |key: &&str| self.lost_requests.contains_key(*key);
        // A request to all nodes takes the place of one for some slot.
        let lost = keys.iter().any(is_lost) || keys.is_empty() && !self.lost_requests.is_empty();
        require(lost, "unknown although nothing was lost")?;
        if let [key] = keys[..] {
            let count = self.lost_requests.entry(key.to_owned()).or_default();
            let others = count.checked_sub(1);
            *count = others.ok_or("unknown more often than requests were lost")?;
        }
        Ok(())
    }

    fn judge_refusal(&self, pending: &Pending, text: &str) -> Result<(), String> {
        let word = text.split(' ').next().unwrap_or_default();
        let passing = [
            "CLUSTERDOWN",
            "TRYAGAIN",
            "LOADING",
            "MASTERDOWN",
            "READONLY",
        ];
        require(passing.contains(&word), "not an error that passes")?;
        let waited = self.micros.saturating_sub(pending.sent_at);
        require(
            waited >= self.terms.patience_micros,
            &format!("given up after {waited}us"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::checker::Terms;
    use super::super::resp::Value;
    use super::*;

    const UNKNOWN: &str = "ERR proxy: connection lost after sending, result unknown";

    fn checker() -> Checker {
        Checker::new(Terms {
            may_fail: true,
            patience_micros: 1000,
            ..Terms::default()
        })
    }

    /// What is wrong with an error in reply to the operation, told after so many micros.
    fn told(checker: &mut Checker, operation: &Operation, text: &str, after: u64) -> bool {
        let pending = checker.invoke((1, 1), operation.clone(), false);
        checker.micros += after;
        checker.reply(&pending, &Value::Error(text.into()));
        checker.violation.take().is_some()
    }

    #[test]
    fn only_what_is_lost_has_an_unknown_result() {
        let key = "n:{t0}".to_owned();
        let write = Operation::Increment { key: key.clone() };
        let read = Operation::Get { key: key.clone() };
        let mut checker = checker();
        assert!(told(&mut checker, &write, UNKNOWN, 0));
        checker.note_lost(vec![key.clone(), key, "other".to_owned()]);
        assert!(!told(&mut checker, &write, UNKNOWN, 0));
        assert!(!told(&mut checker, &read, UNKNOWN, 0));
        assert!(told(&mut checker, &write, UNKNOWN, 0));
    }

    #[test]
    fn what_was_not_executed_is_tried_for_long() {
        let read = Operation::Get {
            key: "n:{t0}".to_owned(),
        };
        let mut checker = checker();
        for (text, after, wrong) in [
            ("CLUSTERDOWN no", 999, true),
            ("CLUSTERDOWN no", 1000, false),
            ("LOADING", 1000, false),
            ("MOVED 1 a:1", 1000, true),
            ("ERR no", 1000, true),
        ] {
            assert_eq!(told(&mut checker, &read, text, after), wrong, "{text}");
        }
    }
}
