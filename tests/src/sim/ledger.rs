//! What the proxies have sent to the nodes, and which replies they have seen. When a connection is
//! lost, it tells of which writes nobody can know whether they were executed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use slotway_protocol::cluster::Slot;

use super::model;
use super::resp::{self, Read};

/// All connections between proxies and nodes, by link.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: BTreeMap<usize, Line>,
}

/// One connection.
#[derive(Debug, Default)]
struct Line {
    requests: Vec<u8>,
    replies: Vec<u8>,
    /// Requests without a reply.
    waiting: VecDeque<Sent>,
    /// The keys of what was queued since MULTI.
    block: Option<Vec<String>>,
}

#[derive(Debug, Default)]
struct Sent {
    keys: Vec<String>,
    is_write: bool,
}

impl Ledger {
    /// A proxy has given bytes to the kernel.
    pub(super) fn sent(&mut self, link: usize, bytes: &[u8]) {
        let line = self.lines.entry(link).or_default();
        line.requests.extend_from_slice(bytes);
        while let Read::Whole(value, len) = resp::read(&line.requests) {
            line.requests.drain(..len);
            let args = resp::arguments(value).unwrap_or_default();
            line.note(&args);
        }
    }

    /// A proxy has read bytes.
    pub(super) fn answered(&mut self, link: usize, bytes: &[u8]) {
        let line = self.lines.entry(link).or_default();
        line.replies.extend_from_slice(bytes);
        while let Some(len) = resp::frame_len(&line.replies) {
            if line.replies[0] != b'>' {
                line.waiting.pop_front();
            }
            line.replies.drain(..len);
        }
    }

    /// Whether the node owes nothing on that link.
    pub(super) fn is_idle(&self, link: usize) -> bool {
        self.lines.get(&link).is_none_or(|line| {
            line.waiting.is_empty() && line.requests.is_empty() && line.replies.is_empty()
        })
    }

    /// The link is lost to the proxy: the keys of what was sent whole, is not answered, and must
    /// not be sent again. That is each write, and each read with a write to the same slot behind
    /// it, for it might see what came later.
    pub(super) fn close(&mut self, link: usize) -> Vec<String> {
        let line = self.lines.remove(&link).unwrap_or_default();
        let mut written = BTreeSet::new();
        let mut lost = Vec::new();
        for Sent { keys, is_write } in line.waiting.into_iter().rev() {
            for key in keys {
                let slot = Slot::of(key.as_bytes());
                if is_write {
                    written.insert(slot);
                }
                lost.extend(written.contains(&slot).then_some(key));
            }
        }
        lost
    }
}

impl Line {
    fn note(&mut self, args: &[Vec<u8>]) {
        let name = args.first().map(|name| name.to_ascii_uppercase());
        let name = name.unwrap_or_default();
        let sent = match (&name[..], &mut self.block) {
            (b"MULTI", _) => {
                self.block = Some(Vec::new());
                Sent::default()
            }
            (b"EXEC", block) => Sent {
                keys: block.take().unwrap_or_default(),
                is_write: true,
            },
            (b"DISCARD", block) => {
                *block = None;
                Sent::default()
            }
            (_, Some(block)) => {
                block.extend(keys(&name, args));
                Sent::default()
            }
            (name, None) => Sent {
                keys: keys(name, args),
                is_write: WRITES.contains(&name),
            },
        };
        self.waiting.push_back(sent);
    }
}

fn keys(name: &[u8], args: &[Vec<u8>]) -> Vec<String> {
    let keys = model::keys(name, args).unwrap_or_default();
    let keys = keys.into_iter();
    keys.map(|key| String::from_utf8_lossy(key).into_owned())
        .collect()
}

/// Commands that change something.
const WRITES: [&[u8]; 6] = [b"RPUSH", b"SET", b"MSET", b"INCR", b"DEL", b"UNLINK"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_link_leaves_the_writes_that_were_sent_whole() {
        let mut ledger = Ledger::default();
        let mut bytes = Vec::new();
        for request in [
            &["SET", "a", "1"][..],
            &["GET", "{b}1"],
            &["SET", "{b}2", "1"],
            &["GET", "c"],
            &["MULTI"],
            &["INCR", "d"],
            &["EXEC"],
            &["MULTI"],
            &["INCR", "e"],
            &["DEL", "f", "g"],
        ] {
            resp::write_request(&mut bytes, request);
        }
        ledger.sent(0, &bytes[..bytes.len() - 1]);
        ledger.answered(0, b"+OK\r\n+O");
        assert!(!ledger.is_idle(0));
        assert_eq!(ledger.close(0), ["d", "{b}2", "{b}1"]);
        assert_eq!(ledger.close(0), [] as [&str; 0]);
    }

    #[test]
    fn a_link_is_idle_when_all_is_answered() {
        let mut ledger = Ledger::default();
        assert!(ledger.is_idle(0));
        ledger.sent(0, b"*1\r\n$4\r\nPING\r\n");
        ledger.answered(0, b">1\r\n+a\r\n+PONG\r");
        assert!(!ledger.is_idle(0));
        ledger.answered(0, b"\n");
        assert!(ledger.is_idle(0));
    }
}
