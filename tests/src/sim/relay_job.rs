//! A request that the relay serves part by part.

use std::collections::VecDeque;

use super::resp::Value;

/// A request under way, key by key.
pub(super) struct Job {
    pub(super) name: Vec<u8>,
    pub(super) parts: VecDeque<Vec<Vec<u8>>>,
    pub(super) replies: Vec<Value>,
}

impl Job {
    pub(super) fn new(args: Vec<Vec<u8>>) -> Self {
        let name = args[0].to_ascii_uppercase();
        let step = match &name[..] {
            b"MGET" | b"DEL" | b"EXISTS" => 1,
            b"MSET" => 2,
            _ => args.len(),
        };
        let part = |rest: &[Vec<u8>]| [&args[..1], rest].concat();
        let parts = args[1..].chunks(step).map(part).collect();
        Self {
            name,
            parts,
            replies: Vec::new(),
        }
    }

    pub(super) fn merge(self) -> Value {
        if let Some(error) = self
            .replies
            .iter()
            .find(|reply| matches!(reply, Value::Error(_)))
        {
            return error.clone();
        }
        let mut replies = self.replies.into_iter();
        match &self.name[..] {
            b"MGET" => Value::Array(
                replies
                    .flat_map(|reply| match reply {
                        Value::Array(items) => items,
                        other => vec![other],
                    })
                    .collect(),
            ),
            b"DEL" | b"EXISTS" => Value::Integer(
                replies
                    .map(|reply| {
                        if let Value::Integer(count) = reply {
                            count
                        } else {
                            0
                        }
                    })
                    .sum(),
            ),
            _ => replies.next().expect("a request has a part"),
        }
    }
}
