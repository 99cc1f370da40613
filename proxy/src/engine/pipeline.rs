//! One connection to a node: requests of many clients go out in one stream, replies come back in
//! the same order. Keeps each request's bytes until its reply is there.

use core::time::Duration;
use std::collections::VecDeque;

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::engine::{Address, ConnectionId, Instant};
use slotway_protocol::output::Output;
use slotway_protocol::resp::{Protocol, ReplyScanner};

use super::fail_point;
use super::passing::Passing;
use super::session::Ticket;

/// A connection to a node, or the intention to have one.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Which of the engine's backends it leads to.
    pub(crate) backend: usize,
    pub(crate) address: Address,
    pub(crate) protocol: Protocol,
    /// The database that requests on it are for.
    pub(crate) database: u16,
    pub(crate) link: Link,
    pub(crate) scanner: ReplyScanner,
    /// Requests on their way, and those that wait for their reply.
    output: Output,
    /// While the connection logs in. Requests wait: on a connection that is refused none has run.
    login: Option<Box<Login>>,
    /// What is owed by the node, in the order sent.
    in_flight: VecDeque<InFlight>,
    /// How many requests there ever were.
    pushed: u64,
    /// Those that were answered, and how long that took, added up.
    pub(crate) replies: u64,
    pub(crate) micros: u64,
    /// When the node was last heard of.
    pub(crate) heard: Instant,
    /// Attempts to connect since the last that worked.
    pub(crate) failures: u32,
    /// When it could not be reached last, or a connection ended.
    pub(crate) failed: Option<Instant>,
    /// It is we who end the connection.
    pub(crate) cut: bool,
    /// The node did not answer on the last connection: the next one has to show that it lives
    /// before requests go out on it.
    pub(crate) suspect: bool,
    /// How far the replies to the oldest request have come, when it has several.
    block: Block,
    /// Bytes of the front of a reply that have arrived.
    pub(crate) unread: usize,
    /// The client has the beginning of the reply that is coming.
    pub(crate) passing: Option<Passing>,
}

/// The replies to a request of several commands, of which the last one counts.
#[derive(Debug, Default)]
struct Block {
    /// Replies that have come.
    seen: u32,
    /// The first error among them.
    error: Option<Box<[u8]>>,
}

/// What begins a connection.
#[derive(Debug)]
struct Login {
    output: Output,
    /// Replies that have not come.
    pending: usize,
}

/// The state of a pipeline's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Not connected; the next request connects.
    Idle,
    Connecting,
    /// Connected, logging in or ready: requests may be written.
    Open(ConnectionId),
    /// The last attempt failed; requests wait until then.
    Down {
        until: Instant,
    },
}

/// A request that a node has not answered yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InFlight {
    pub(crate) kind: Kind,
    pub(crate) ticket: Ticket,
    pub(crate) command: CommandId,
    pub(crate) slot: Slot,
    /// How many redirects it has followed.
    pub(crate) redirects: u8,
    /// When it first had to wait for its slot; zero for never.
    pub(crate) held_since: Instant,
    /// The bytes it takes in the output.
    pub(crate) len: u32,
    /// Replies that come before the one that counts: those to the commands in front of an EXEC.
    pub(crate) preceding: u32,
    /// When the proxy got it from the client.
    pub(crate) arrived: Instant,
    /// When it was put into this pipeline.
    pub(crate) sent: Instant,
}

/// What is to be done with the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A client, or a merge, waits for it.
    Request,
    /// As `Request`; sent behind an ASKING.
    Asked,
    /// The ASKING itself; its reply is dropped.
    Asking,
    /// A task waits for it and wants it from this node and no other.
    Direct,
    /// As `Request`; a read at a replica. Any other node may serve it, in any order with others.
    Read,
}

impl Pipeline {
    /// To database 0; set another before it is connected.
    pub(crate) fn new(backend: usize, address: Address, protocol: Protocol) -> Self {
        Self {
            database: 0,
            backend,
            address,
            protocol,
            link: Link::Idle,
            scanner: ReplyScanner::default(),
            output: Output::retaining(),
            login: None,
            in_flight: VecDeque::new(),
            pushed: 0,
            replies: 0,
            micros: 0,
            heard: Instant::default(),
            failures: 0,
            failed: None,
            cut: false,
            suspect: false,
            block: Block::default(),
            unread: 0,
            passing: None,
        }
    }

    /// What is to be written now.
    #[inline]
    pub(crate) fn output(&mut self) -> &mut Output {
        match &mut self.login {
            Some(login) => &mut login.output,
            None => &mut self.output,
        }
    }

    /// The bytes kept for requests without a reply, but for the oldest: it is being served, however
    /// large it is.
    #[inline]
    pub(crate) fn queued_bytes(&self) -> usize {
        let front = self.in_flight.front().map_or(0, |front| front.len as usize);
        self.output.len() + self.output.retained_len() - front
    }

    /// Whether the node has not been sent all of the oldest request, and so can't have answered it.
    #[inline]
    pub(crate) fn is_front_unsent(&self) -> bool {
        let written = self.output.retained_len();
        let unsent = |front: &InFlight| {
            // The first commands of a block may be answered while the rest is on its way.
            let all_seen = self.block.seen >= front.preceding;
            written < front.len as usize && (all_seen || written == 0)
        };
        self.in_flight.front().is_some_and(unsent)
    }

    /// The oldest request, if it is one for a slot, of one command, which the node has been sent
    /// whole, and the connection is logged in.
    #[inline]
    pub(crate) fn plain_front(&self) -> Option<&InFlight> {
        let written = self.output.retained_len();
        let plain = |front: &&InFlight| {
            front.has_slot() && front.preceding == 0 && front.len as usize <= written
        };
        let is_ready = self.login.is_none();
        self.in_flight.front().filter(plain).filter(|_| is_ready)
    }

    /// Whether some of what was asked has not been written.
    pub(crate) fn has_unsent(&self) -> bool {
        self.login.is_some() || !self.output.is_empty()
    }

    /// Whether the oldest request is followed by one of the same client for the same slot.
    pub(crate) fn is_front_followed(&self) -> bool {
        let mut entries = self.in_flight.iter();
        entries.next().is_some_and(|front| {
            entries.any(|next| {
                next.slot == front.slot && next.ticket.connection == front.ticket.connection
            })
        })
    }

    /// Appends a request. Says whether the output was empty before.
    #[inline(always)]
    pub(crate) fn push(&mut self, frame: &[u8], entry: InFlight) -> bool {
        debug_assert_eq!(frame.len(), entry.len as usize);
        let was_empty = self.output.is_empty();
        self.output.push(frame);
        self.pushed += 1;
        fail_point::pass();
        self.in_flight.push_back(entry);
        was_empty
    }

    /// Appends a large request by reference.
    pub(crate) fn push_shared(&mut self, frame: bytes::Bytes, entry: InFlight) -> bool {
        let was_empty = self.output.is_empty();
        self.output.push_shared(frame);
        self.pushed += 1;
        fail_point::pass();
        self.in_flight.push_back(entry);
        was_empty
    }

    /// The oldest request without a reply; its bytes are the first of the output.
    #[inline]
    pub(crate) fn front(&self) -> Option<&InFlight> {
        self.in_flight.front()
    }

    /// The oldest request is answered: forgets it and its bytes.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<InFlight> {
        let entry = self.in_flight.pop_front()?;
        fail_point::pass();
        self.output.release(entry.len as usize);
        if entry.preceding > 0 {
            self.block = Block::default();
        }
        Some(entry)
    }

    /// Takes note of a reply to the oldest request if others are to follow it; says whether so.
    #[inline]
    pub(crate) fn note_preceding(&mut self, reply: &[u8]) -> bool {
        let preceding = self.in_flight.front().map_or(0, |front| front.preceding);
        if self.block.seen >= preceding {
            return false;
        }
        self.block.seen += 1;
        if reply.first() == Some(&b'-') && self.block.error.is_none() {
            self.block.error = Some(reply.into());
        }
        true
    }

    /// The first error among the replies that came before the one that counts.
    pub(crate) fn preceding_error(&mut self) -> Option<Box<[u8]>> {
        self.block.error.take()
    }

    /// Whether no reply to the oldest request comes before the one that counts.
    pub(crate) fn is_in_last_reply(&self) -> bool {
        let preceding = self.in_flight.front().map_or(0, |front| front.preceding);
        self.block.seen >= preceding
    }

    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter()
    }

    /// How many requests there ever were.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The node has answered a request, after so long.
    #[inline]
    pub(crate) fn note_answered(&mut self, micros: u64) {
        self.failures = 0;
        self.replies += 1;
        self.micros += micros;
    }

    /// The bytes of requests without a reply.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.output.len() + self.output.retained_len()
    }

    pub(crate) fn in_flight_len(&self) -> usize {
        self.in_flight.len()
    }

    /// The bytes of the oldest request.
    pub(crate) fn front_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(front) = self.in_flight.front() {
            self.output.copy_retained(0, front.len as usize, &mut bytes);
        }
        bytes
    }

    /// Begins a fresh connection with these requests; without any it is ready at once.
    pub(crate) fn log_in(&mut self, requests: &[Vec<u8>], now: Instant) {
        self.heard = now;
        for entry in &mut self.in_flight {
            entry.sent = now;
        }
        if requests.is_empty() {
            return;
        }
        let mut output = Output::default();
        requests.iter().for_each(|request| output.push(request));
        let pending = requests.len();
        self.login = Some(Box::new(Login { output, pending }));
    }

    pub(crate) fn is_logging_in(&self) -> bool {
        self.login.is_some()
    }

    /// Whether the login ends with the next reply.
    pub(crate) fn is_last_login_reply(&self) -> bool {
        self.login.as_ref().is_some_and(|login| login.pending == 1)
    }

    /// Whether the next reply is to the PING that a suspect node is asked with. Any will do.
    pub(crate) fn is_life_sign(&self) -> bool {
        self.suspect && self.is_last_login_reply()
    }

    /// A reply to the login came; the last one lets the requests go.
    pub(crate) fn note_login_reply(&mut self) {
        if let Some(login) = &mut self.login {
            login.pending -= 1;
            if login.pending == 0 {
                self.login = None;
                self.suspect = false;
            }
        }
    }

    /// Empties the pipeline. Each request comes with its bytes and whether the kernel took all of
    /// them: only then may the node have executed it.
    pub(crate) fn take_all(&mut self) -> Vec<(InFlight, Vec<u8>, bool)> {
        let mut written = self.output.retained_len();
        let mut taken = Vec::with_capacity(self.in_flight.len());
        for entry in self.in_flight.drain(..) {
            let len = entry.len as usize;
            let mut bytes = Vec::with_capacity(len);
            self.output.copy_retained(0, len, &mut bytes);
            self.output.release(len);
            fail_point::pass();
            taken.push((entry, bytes, len <= written));
            written = written.saturating_sub(len);
        }
        self.output.clear();
        self.login = None;
        self.block = Block::default();
        self.scanner = ReplyScanner::default();
        self.unread = 0;
        taken
    }

    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self.link {
            Link::Open(connection) => Some(connection),
            _ => None,
        }
    }

    /// The kernel took bytes. As long as they belong to the oldest request, the node can't answer.
    #[inline]
    pub(crate) fn note_written(&mut self, now: Instant) {
        let written = self.output.retained_len();
        let front = self.in_flight.front().map_or(0, |front| front.len as usize);
        if written <= front {
            self.heard = now;
        }
    }

    /// Whether nothing has been heard on an idle connection for that long.
    pub(crate) fn is_quiet(&self, now: Instant, interval: Duration) -> bool {
        self.in_flight.is_empty() && self.login.is_none() && now.since(self.heard) >= interval
    }

    /// How long the node has been silent while it owed a reply, in one piece.
    pub(crate) fn silence(&self, now: Instant) -> Option<Duration> {
        match self.in_flight.front() {
            Some(front) => Some(now.since(front.sent.max(self.heard))),
            None => self.login.is_some().then(|| now.since(self.heard)),
        }
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.output.memory() + self.unread + self.in_flight.capacity() * size_of::<InFlight>()
    }

    /// Gives back memory when there is nothing to do.
    pub(crate) fn shrink(&mut self) {
        if self.in_flight.is_empty() {
            self.output.shrink();
            self.in_flight.shrink_to(64);
        }
    }

    /// Whether all bytes in the output belong to a request that waits for its reply.
    pub(crate) fn is_whole(&self) -> bool {
        let lens = self.in_flight.iter().map(|entry| entry.len as usize);
        lens.sum::<usize>() == self.kept_bytes()
    }

    /// Forgets all that is under way. A connection that there is can't be used any more.
    pub(crate) fn start_over(&mut self) {
        let mut fresh = Self::new(self.backend, self.address.clone(), self.protocol);
        fresh.database = self.database;
        fresh.link = self.link;
        fresh.pushed = self.pushed;
        (fresh.replies, fresh.micros) = (self.replies, self.micros);
        fresh.heard = self.heard;
        (fresh.failures, fresh.failed) = (self.failures, self.failed);
        fresh.cut = true;
        fresh.suspect = true;
        *self = fresh;
    }

    /// Checks what must hold between calls.
    pub(crate) fn check_invariants(&self) {
        assert!(
            self.is_whole(),
            "all bytes in the output belong to a request that waits for its reply"
        );
    }
}

impl InFlight {
    /// A request for the owner of a slot, that came in now.
    #[inline]
    pub(crate) fn request(
        ticket: Ticket,
        command: CommandId,
        slot: Slot,
        len: usize,
        now: Instant,
    ) -> Self {
        Self {
            kind: Kind::Request,
            ticket,
            command,
            slot,
            redirects: 0,
            held_since: Instant::default(),
            len: len as u32,
            preceding: 0,
            arrived: now,
            sent: now,
        }
    }

    /// An ASKING, which no client waits for.
    pub(crate) fn asking(now: Instant) -> Self {
        Self::unowned(Kind::Asking, ASKING.len(), now)
    }

    /// A request for whose reply nobody waits.
    pub(crate) fn unowned(kind: Kind, len: usize, now: Instant) -> Self {
        let connection = ConnectionId {
            index: u32::MAX,
            generation: u32::MAX,
        };
        let ticket = Ticket {
            connection,
            sequence: 0,
            part: 0,
        };
        Self {
            kind,
            ..Self::request(ticket, CommandId(0), Slot::of(b""), len, now)
        }
    }

    /// Whether it goes wherever its slot is, in the order of that slot's requests.
    #[inline]
    pub(crate) fn has_slot(&self) -> bool {
        matches!(self.kind, Kind::Request | Kind::Asked)
    }
}

/// Asks whether the node lives.
pub(crate) const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// Lets the next request into a slot that is being imported.
pub(crate) const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(len: usize) -> InFlight {
        InFlight {
            kind: Kind::Request,
            ..InFlight::unowned(Kind::Request, len, Instant::default())
        }
    }

    #[test]
    fn a_lost_connection_tells_what_may_have_run() {
        let mut pipeline = Pipeline::new(0, Address::new("h", 1), Protocol::Resp2);
        for frame in [&b"first"[..], b"second", b"third"] {
            pipeline.push(frame, entry(frame.len()));
        }
        pipeline.output().advance(b"first".len() + 3);
        let taken = pipeline.take_all();
        let seen: Vec<_> = taken
            .iter()
            .map(|(_, bytes, sent)| (&bytes[..], *sent))
            .collect();
        assert_eq!(
            seen,
            [(&b"first"[..], true), (b"second", false), (b"third", false)]
        );
        assert!(pipeline.output.is_empty());
    }

    #[test]
    fn requests_wait_for_the_login() {
        let mut pipeline = Pipeline::new(0, Address::new("h", 1), Protocol::Resp3);
        pipeline.push(b"request", entry(7));
        pipeline.log_in(&[b"hello".to_vec()], Instant::default());
        assert_eq!(pipeline.output().len(), 5);
        pipeline.output().advance(5);
        pipeline.push(b"another", entry(7));
        pipeline.note_login_reply();
        assert_eq!(pipeline.output().len(), 14);
        pipeline.check_invariants();
    }

    #[test]
    fn the_oldest_request_does_not_fill_the_queue() {
        let mut pipeline = Pipeline::new(0, Address::new("h", 1), Protocol::Resp2);
        pipeline.push(&[b'x'; 1000], entry(1000));
        assert_eq!(pipeline.queued_bytes(), 0);
        pipeline.push(b"small", entry(5));
        pipeline.output().advance(1005);
        assert_eq!(pipeline.queued_bytes(), 5);
    }
}
