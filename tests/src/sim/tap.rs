//! Listens at the nodes: which request was executed when. Each part of a request is executed at
//! most once, and those of one session on one key in the order sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::network::End;
use super::resp::{self, Read};
use super::workload;

/// What the nodes have executed.
#[derive(Debug, Default)]
pub struct Tap {
    lines: BTreeMap<End, Line>,
    executed: BTreeSet<(u64, u64, u64, String)>,
    /// For each session and key the number of the last request.
    last: BTreeMap<(u64, String), u64>,
    /// Whether the order counts.
    is_ordered: bool,
    /// Whether it keeps to itself what it hears.
    is_mute: bool,
    /// How often nodes sent a request elsewhere or away.
    pub refusals: Refusals,
    pub violation: Option<String>,
}
/// How often nodes did not serve a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refusals {
    pub moved: u64,
    pub ask: u64,
    pub later: u64,
}

impl Refusals {
    fn count(&mut self, reply: &[u8]) {
        let is = |word: &[u8]| reply.starts_with(word);
        self.moved += u64::from(is(b"-MOVED"));
        self.ask += u64::from(is(b"-ASK"));
        self.later += u64::from(is(b"-TRYAGAIN") || is(b"-LOADING") || is(b"-CLUSTERDOWN"));
    }

    pub fn add(&mut self, other: Self) {
        self.moved += other.moved;
        self.ask += other.ask;
        self.later += other.later;
    }
}

/// One connection to a node, by the node's end.
#[derive(Debug, Default)]
struct Line {
    requests: Vec<u8>,
    replies: Vec<u8>,
    waiting: VecDeque<Vec<Write>>,
    /// What was queued since MULTI.
    block: Option<Vec<Write>>,
}

/// One value in a request.
#[derive(Debug)]
struct Write {
    session: u64,
    number: u64,
    part: u64,
    key: String,
}

impl Tap {
    pub fn new(is_ordered: bool, is_mute: bool) -> Self {
        Self {
            is_ordered,
            is_mute,
            ..Self::default()
        }
    }

    /// Bytes that a node reads.
    pub fn request(&mut self, node: End, bytes: &[u8]) {
        let line = self.lines.entry(node).or_default();
        line.requests.extend_from_slice(bytes);
        while let Read::Whole(value, len) = resp::read(&line.requests) {
            line.requests.drain(..len);
            let args = resp::arguments(value).unwrap_or_default();
            line.wait_for(&args);
        }
    }

    /// Bytes that a node writes. What is executed on a connection that the proxy has given up is
    /// not in order any more.
    pub fn reply(&mut self, node: End, bytes: &[u8], abandoned: bool) {
        let line = self.lines.entry(node).or_default();
        line.replies.extend_from_slice(bytes);
        let mut executed = Vec::new();
        while let Some(len) = resp::frame_len(&line.replies) {
            // Nothing instead of an array: a watched key was changed.
            let nothing = line.replies.starts_with(b"*-1") || line.replies[0] == b'_';
            let failed = line.replies[0] == b'-' || nothing;
            self.refusals.count(&line.replies);
            line.replies.drain(..len);
            let writes = line.waiting.pop_front().unwrap_or_default();
            if !failed {
                executed.extend(writes);
            }
        }
        for write in executed {
            self.execute(&write, abandoned);
        }
    }

    /// Whether the node has written whole replies only.
    pub fn is_between_replies(&self, node: End) -> bool {
        let line = self.lines.get(&node);
        line.is_none_or(|line| line.replies.is_empty())
    }

    fn execute(&mut self, write: &Write, abandoned: bool) {
        let Write {
            session,
            number,
            part,
            ..
        } = *write;
        if !self
            .executed
            .insert((session, number, part, write.key.clone()))
        {
            self.violate(format!("{write:?} was executed twice"));
        }
        if abandoned || !self.is_ordered {
            return;
        }
        let last = self
            .last
            .insert((session, write.key.clone()), number)
            .unwrap_or(0);
        if last > number {
            self.violate(format!("{write:?} was executed after number {last}"));
        }
    }

    fn violate(&mut self, what: String) {
        if !self.is_mute {
            self.violation.get_or_insert(what);
        }
    }
}

impl Line {
    /// A request is executed when it is answered, but between MULTI and EXEC with the EXEC.
    fn wait_for(&mut self, args: &[Vec<u8>]) {
        let name = args.first().map(|name| name.to_ascii_uppercase());
        let mut executed = Vec::new();
        match (name.as_deref(), &mut self.block) {
            (Some(b"MULTI"), _) => self.block = Some(Vec::new()),
            (Some(b"EXEC"), block) => executed = block.take().unwrap_or_default(),
            (Some(b"DISCARD"), block) => *block = None,
            (_, Some(block)) => block.extend(writes(args)),
            (_, None) => executed = writes(args),
        }
        self.waiting.push_back(executed);
    }
}

fn writes(args: &[Vec<u8>]) -> Vec<Write> {
    let name = args
        .first()
        .map(|name| name.to_ascii_uppercase())
        .unwrap_or_default();
    if !matches!(&name[..], b"RPUSH" | b"SET" | b"MSET") {
        return Vec::new();
    }
    let values = args[1..]
        .iter()
        .filter_map(|value| workload::identify(value));
    values
        .map(|(key, session, number, part)| Write {
            session,
            number,
            part,
            key: key.to_owned(),
        })
        .collect()
}
