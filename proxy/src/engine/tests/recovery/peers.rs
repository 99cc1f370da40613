//! Clients that know what they are to get, and nodes that answer.

use std::collections::{BTreeSet, VecDeque};

use bytes::Buf;
use slotway_protocol::resp::ReplyScanner;

use super::*;

#[derive(Default)]
pub(super) struct Client {
    pub(super) number: usize,
    pub(super) asked: usize,
    pub(super) expected: VecDeque<String>,
    pub(super) received: BytesMut,
    /// Requests on their way.
    pub(super) requests: BytesMut,
}

pub(super) struct Node {
    pub(super) port: u16,
    pub(super) is_feed: bool,
    pub(super) received: BytesMut,
    /// What will be answered to EXEC.
    pub(super) queued: Option<Vec<String>>,
    /// Replies on their way.
    pub(super) replies: BytesMut,
}

impl Client {
    /// Looks at what has come; how many of it were errors.
    pub(super) fn check(&mut self, may_fail: bool) -> usize {
        let mut errors = 0;
        while let Ok(Some(len)) = ReplyScanner::default().scan(&self.received) {
            let reply = String::from_utf8(self.received.split_to(len).to_vec()).unwrap();
            let expected = self.expected.pop_front().expect("a reply to a request");
            let is_error = reply.starts_with('-');
            errors += usize::from(is_error);
            // Where a node was lost, or a call interrupted, there may be an error instead.
            let is_allowed = is_error && (may_fail || is_of_lost_node(&reply));
            assert!(
                reply == expected || is_allowed,
                "{reply:?}, not {expected:?}"
            );
        }
        errors
    }

    pub(super) fn ask(&mut self, kind: usize) -> String {
        self.asked += 1;
        let name = format!("c{}n{}", self.number, self.asked);
        let tag = if self.asked.is_multiple_of(2) {
            LOWER
        } else {
            UPPER
        };
        let (low, high) = (format!("{{{LOWER}}}{name}"), format!("{{{UPPER}}}{name}"));
        let key = format!("{{{tag}}}{name}");
        let mut expect = |reply: String| self.expected.push_back(reply);
        match kind {
            0 => {
                expect("+OK\r\n".to_owned());
                request(&["SET", &key, "x"])
            }
            1 => {
                expect(format!("*2\r\n{}{}", value(&low), value(&high)));
                request(&["MGET", &low, &high])
            }
            2 => {
                expect(":2\r\n".to_owned());
                request(&["DEL", &low, &high])
            }
            3 => {
                expect("+OK\r\n".to_owned());
                expect("+QUEUED\r\n".to_owned());
                expect(format!("*1\r\n{}", value(&key)));
                request(&["MULTI"]) + &request(&["GET", &key]) + &request(&["EXEC"])
            }
            4 => {
                expect(format!("*2\r\n${}\r\n{key}\r\n$1\r\ne\r\n", key.len()));
                request(&["BLPOP", &key, "0"])
            }
            5 => {
                let len = name.len();
                expect(format!(
                    "*3\r\n$9\r\nsubscribe\r\n${len}\r\n{name}\r\n:1\r\n"
                ));
                expect(format!(
                    "*3\r\n$11\r\nunsubscribe\r\n${len}\r\n{name}\r\n:0\r\n"
                ));
                request(&["SUBSCRIBE", &name]) + &request(&["UNSUBSCRIBE", &name])
            }
            6 => {
                expect(":20\r\n".to_owned());
                request(&["DBSIZE"])
            }
            7 => {
                expect("+PONG\r\n".to_owned());
                request(&["PING"])
            }
            8 => {
                let key = format!("{{{LOWER}}}moved{name}");
                expect(value(&key));
                request(&["GET", &key])
            }
            9 => {
                let (one, two) = (format!("{key}again1"), format!("{key}again2"));
                expect(format!("*2\r\n{}{}", value(&one), value(&two)));
                request(&["MGET", &one, &two])
            }
            _ => {
                let (request, reply) = large(kind, &key);
                expect(reply);
                request
            }
        }
    }
}

/// Requests and replies that are large, or split in an order that is not that of the nodes.
fn large(kind: usize, key: &str) -> (String, String) {
    match kind {
        10 => {
            let set = request(&["SET", key, &"x".repeat(LARGE_REQUEST)]);
            (set, "+OK\r\n".to_owned())
        }
        11 | 12 => {
            let size = if kind == 11 { "large" } else { "huge" };
            let key = format!("{{{LOWER}}}{size}");
            (request(&["GET", &key]), value(&key))
        }
        13 => {
            let keys = [
                key.to_owned(),
                format!("{{{UPPER}}}{key}"),
                format!("{key}third"),
            ];
            let values = keys.each_ref().map(|key| value(key)).concat();
            let mget = request(&["MGET", &keys[0], &keys[1], &keys[2]]);
            (mget, format!("*3\r\n{values}"))
        }
        _ => (request(&["GET", key]), value(key)),
    }
}

impl Node {
    pub(super) fn answer_all(&mut self, refused: &mut BTreeSet<String>) {
        let limits = RequestLimits::default();
        let mut buffers = RequestBuffers::default();
        while let Ok(Scan::Request { consumed }) =
            RequestScanner::default().scan(&self.received, &limits, &mut buffers)
        {
            let words = buffers.request(&self.received[..consumed]);
            let words = words
                .args(0)
                .map(|word| String::from_utf8(word.to_vec()).unwrap());
            let mut words: Vec<String> = words.collect();
            words[0].make_ascii_lowercase();
            self.received.advance(consumed);
            let reply = self.answer(&words, refused);
            self.replies.extend_from_slice(reply.as_bytes());
        }
    }

    fn answer(&mut self, words: &[String], refused: &mut BTreeSet<String>) -> String {
        let name = words[0].as_str();
        let key = words.get(1).map_or("", String::as_str);
        if self.queued.is_some() && name != "exec" {
            let reply = self.serve(words);
            self.queued.get_or_insert_default().push(reply);
            return "+QUEUED\r\n".to_owned();
        }
        let slot = Slot::of(key.as_bytes()).number();
        if key.contains("moved") && self.port == 1 {
            return format!("-MOVED {slot} node:2\r\n");
        }
        let is_whole = name == "mget" && words.len() > 2;
        if key.contains("again") && is_whole && refused.insert(key.to_owned()) {
            return "-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_owned();
        }
        self.serve(words)
    }

    fn serve(&mut self, words: &[String]) -> String {
        let key = words.get(1).map_or("", String::as_str);
        match words[0].as_str() {
            "get" => value(key),
            "mget" => {
                let values: String = words[1..].iter().map(|key| value(key)).collect();
                format!("*{}\r\n{values}", words.len() - 1)
            }
            "del" => format!(":{}\r\n", words.len() - 1),
            "multi" => {
                self.queued = Some(Vec::new());
                "+OK\r\n".to_owned()
            }
            "exec" => {
                let replies = self.queued.take().unwrap_or_default();
                format!("*{}\r\n{}", replies.len(), replies.concat())
            }
            "blpop" => format!("*2\r\n${}\r\n{key}\r\n$1\r\ne\r\n", key.len()),
            "dbsize" => ":10\r\n".to_owned(),
            "ping" => "+PONG\r\n".to_owned(),
            "client" => ":77\r\n".to_owned(),
            "echo" => "$0\r\n\r\n".to_owned(),
            "hello" => "%1\r\n$5\r\nproto\r\n:3\r\n".to_owned(),
            kind @ ("subscribe" | "unsubscribe") if self.is_feed => {
                let push = |name: &String| {
                    let (kind_len, len) = (kind.len(), name.len());
                    format!(">3\r\n${kind_len}\r\n{kind}\r\n${len}\r\n{name}\r\n:1\r\n")
                };
                words[1..].iter().map(push).collect()
            }
            _ => "+OK\r\n".to_owned(),
        }
    }
}

fn value(key: &str) -> String {
    let rest = if key.ends_with("large") {
        LARGE_REQUEST
    } else if key.ends_with("huge") {
        HUGE_REPLY
    } else {
        0
    };
    format!(
        "${}\r\nv:{key}{}\r\n",
        key.len() + 2 + rest,
        "x".repeat(rest)
    )
}

fn is_of_lost_node(reply: &str) -> bool {
    reply.contains("node") || reply.contains("connection")
}

pub(super) const REQUESTS: usize = 6;
pub(super) const KINDS: usize = 18;
pub(super) const LARGE_REQUEST: usize = 33_000;
pub(super) const HUGE_REPLY: usize = 80_000;
