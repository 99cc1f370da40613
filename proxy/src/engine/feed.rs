//! One more connection to a node, on which the node may speak unasked: it carries subscriptions
//! and their messages. Requests on it are answered in order; what each of them is for is kept
//! here, what to do with the answers is not decided here.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use slotway_protocol::engine::{Address, ConnectionId, Instant};
use slotway_protocol::output::Output;
use slotway_protocol::resp::ReplyScanner;

use super::pipeline::Link;
use super::pubsub::TopicId;

/// A connection for pushes, always in RESP3, or the intention to have one.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) address: Address,
    pub(crate) link: Link,
    pub(crate) scanner: ReplyScanner,
    /// Requests on their way. They wait while the connection logs in.
    output: Output,
    login: Option<Login>,
    /// What the node owes an answer to, in the order sent.
    owed: VecDeque<Owed>,
    /// When the node was last heard of.
    heard: Instant,
    /// Attempts to connect since the last that worked.
    pub(crate) failures: u32,
    /// The node was told on this connection to say when keys change.
    pub(crate) tracks: bool,
}

/// What begins a connection.
#[derive(Debug)]
struct Login {
    output: Output,
    /// Replies that have not come.
    pending: usize,
}

/// A request that the node has not answered yet.
#[derive(Debug)]
struct Owed {
    owner: Owner,
    sent: Instant,
}

/// Whom an answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody: the connection was asked whether it still lives.
    Health,
    /// Nobody: the node was told to say when keys change.
    Tracking,
    /// Who waits for the key: it was asked whether it exists.
    Key(Bytes),
    Subscribe(Batch),
    /// That many confirmations are still to come.
    Unsubscribe {
        left: usize,
    },
    /// The reply to an ECHO says that there will be no more answers to the SUNSUBSCRIBE before it.
    UnsubscribeShard,
}

/// What one SUBSCRIBE, PSUBSCRIBE or SSUBSCRIBE asks for. Its answer is one push for each name, or
/// one error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) topics: Vec<TopicId>,
    confirmed: usize,
}

impl Feed {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            link: Link::Idle,
            scanner: ReplyScanner::default(),
            output: Output::default(),
            login: None,
            owed: VecDeque::new(),
            heard: Instant::default(),
            failures: 0,
            tracks: false,
        }
    }

    /// What is to be written now.
    pub(crate) fn output(&mut self) -> &mut Output {
        match &mut self.login {
            Some(login) => &mut login.output,
            None => &mut self.output,
        }
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.output.memory() + self.owed.capacity() * size_of::<Owed>()
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Open(connection) => Some(connection),
            _ => None,
        }
    }

    /// Whether requests are written as soon as they are pushed.
    pub(crate) fn is_ready(&self) -> bool {
        self.connection().is_some() && self.login.is_none()
    }

    pub(crate) fn is_logging_in(&self) -> bool {
        self.login.is_some()
    }

    /// Begins a fresh connection with these requests.
    pub(crate) fn log_in(&mut self, requests: &[Vec<u8>], now: Instant) {
        self.heard = now;
        let mut output = Output::default();
        requests.iter().for_each(|request| output.push(request));
        let pending = requests.len();
        self.login = (pending > 0).then_some(Login { output, pending });
    }

    /// A reply to the login came. Says whether it was the last, which lets the requests go.
    pub(crate) fn note_login_reply(&mut self, now: Instant) -> bool {
        let Some(login) = &mut self.login else {
            return false;
        };
        login.pending -= 1;
        if login.pending > 0 {
            return false;
        }
        self.login = None;
        self.failures = 0;
        self.owed.iter_mut().for_each(|owed| owed.sent = now);
        true
    }

    /// Appends a request. Says whether the output was empty before.
    pub(crate) fn push(&mut self, frame: &[u8], owner: Owner, now: Instant) -> bool {
        let was_empty = self.output.is_empty();
        self.output.push(frame);
        self.owed.push_back(Owed { owner, sent: now });
        was_empty
    }

    /// Whom the next answer is for.
    pub(crate) fn front(&mut self) -> Option<&mut Owner> {
        self.owed.front_mut().map(|owed| &mut owed.owner)
    }

    /// The oldest request is answered.
    pub(crate) fn pop(&mut self) -> Option<Owner> {
        self.owed.pop_front().map(|owed| owed.owner)
    }

    /// A subscription is confirmed: which request has asked for it. None has when the node says
    /// it out of turn.
    pub(crate) fn note_subscribed(&mut self) -> Option<u64> {
        let Some(Owner::Subscribe(batch)) = self.front() else {
            return None;
        };
        batch.confirmed += 1;
        let number = batch.number;
        if batch.confirmed == batch.topics.len() {
            self.pop();
        }
        Some(number)
    }

    /// The end of a subscription is confirmed. Says whether that was asked for.
    pub(crate) fn note_unsubscribed(&mut self) -> bool {
        let Some(Owner::Unsubscribe { left }) = self.front() else {
            return false;
        };
        *left -= 1;
        if *left == 0 {
            self.pop();
        }
        true
    }

    /// The connection is gone, and with it all that was asked.
    pub(crate) fn clear(&mut self) {
        self.output.clear();
        self.login = None;
        self.tracks = false;
        self.scanner = ReplyScanner::default();
        self.owed.clear();
    }

    /// The node said something.
    pub(crate) fn note_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether the node owes an answer.
    pub(crate) fn is_busy(&self) -> bool {
        !self.owed.is_empty()
    }

    /// How long the node has been silent while it owed an answer.
    pub(crate) fn silence(&self, now: Instant) -> Option<Duration> {
        match self.owed.front() {
            Some(front) => Some(now.since(front.sent.max(self.heard))),
            None => self.login.is_some().then(|| now.since(self.heard)),
        }
    }

    /// Whether to ask if the node still lives: nothing was heard for that time, and nothing asked.
    pub(crate) fn needs_health_check(&self, interval: Duration, now: Instant) -> bool {
        self.is_ready() && self.owed.is_empty() && now.since(self.heard) >= interval
    }
}

impl Batch {
    pub(crate) fn new(number: u64, topics: Vec<TopicId>) -> Self {
        Self {
            number,
            topics,
            confirmed: 0,
        }
    }
}

/// Asks whether the node still lives.
pub(crate) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
