//! One connection to a node: requests of many clients go out in one stream, replies come back in
//! the same order. Keeps each request's bytes until its reply is there.

use core::time::Duration;
use std::collections::VecDeque;

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::engine::{Address, ConnectionId, Instant};
use slotway_protocol::output::Output;
use slotway_protocol::resp::{Protocol, ReplyScanner};

use super::session::Ticket;

/// A connection to a node, or the intention to have one.
#[derive(Debug)]
pub(crate) struct Pipeline {
    /// Which of the engine's backends it leads to.
    pub(crate) backend: usize,
    pub(crate) address: Address,
    pub(crate) protocol: Protocol,
    pub(crate) link: Link,
    pub(crate) scanner: ReplyScanner,
    /// Requests on their way, and those that wait for their reply.
    pub(crate) output: Output,
    /// What is owed by the node, in the order sent.
    in_flight: VecDeque<InFlight>,
    /// When the node was last heard of.
    pub(crate) heard: Instant,
    /// Attempts to connect since the last that worked.
    pub(crate) failures: u32,
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
    /// The bytes it takes in the output.
    pub(crate) len: u32,
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
    /// HELLO or AUTH; an error closes the connection.
    Login,
}

impl Pipeline {
    pub(crate) fn new(backend: usize, address: Address, protocol: Protocol) -> Self {
        Self {
            backend,
            address,
            protocol,
            link: Link::Idle,
            scanner: ReplyScanner::default(),
            output: Output::retaining(),
            in_flight: VecDeque::new(),
            heard: Instant::default(),
            failures: 0,
        }
    }

    /// Appends a request. Says whether the output was empty before.
    #[inline]
    pub(crate) fn push(&mut self, frame: &[u8], entry: InFlight) -> bool {
        debug_assert_eq!(frame.len(), entry.len as usize);
        let was_empty = self.output.is_empty();
        self.output.push(frame);
        self.in_flight.push_back(entry);
        was_empty
    }

    /// Appends a large request by reference.
    pub(crate) fn push_shared(&mut self, frame: bytes::Bytes, entry: InFlight) -> bool {
        let was_empty = self.output.is_empty();
        self.output.push_shared(frame);
        self.in_flight.push_back(entry);
        was_empty
    }

    /// The oldest request without a reply; its bytes are the first of the output.
    #[inline]
    pub(crate) fn front(&self) -> Option<&InFlight> {
        self.in_flight.front()
    }

    /// The oldest request is answered: forgets it and its bytes.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<InFlight> {
        let entry = self.in_flight.pop_front()?;
        self.output.release(entry.len as usize);
        Some(entry)
    }

    pub(crate) fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.in_flight.iter()
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

    /// Puts the requests that log in before everything else; only on a fresh connection.
    pub(crate) fn log_in(&mut self, requests: &[Vec<u8>], now: Instant) {
        let mut waiting = Vec::new();
        self.output
            .copy_retained(0, self.output.len(), &mut waiting);
        self.output.clear();
        for request in requests.iter().rev() {
            self.in_flight
                .push_front(InFlight::login(request.len(), now));
        }
        for request in requests {
            self.output.push(request);
        }
        self.output.push(&waiting);
        for entry in &mut self.in_flight {
            entry.sent = now;
        }
    }

    /// Empties the pipeline. Each request comes with its bytes and whether the kernel took all of
    /// them: only then may the node have executed it.
    pub(crate) fn take_all(&mut self) -> Vec<(InFlight, Vec<u8>, bool)> {
        let written = self.output.retained_len();
        let mut offset = 0;
        let mut taken = Vec::with_capacity(self.in_flight.len());
        for entry in self.in_flight.drain(..) {
            let len = entry.len as usize;
            let mut bytes = Vec::with_capacity(len);
            self.output.copy_retained(offset, len, &mut bytes);
            offset += len;
            taken.push((entry, bytes, offset <= written));
        }
        self.output.clear();
        self.scanner = ReplyScanner::default();
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
        if let Some(front) = self.in_flight.front()
            && written <= front.len as usize
        {
            self.heard = now;
        }
    }

    /// How long the node has been silent while it owed a reply, in one piece.
    pub(crate) fn silence(&self, now: Instant) -> Option<Duration> {
        let front = self.in_flight.front()?;
        Some(now.since(front.sent.max(self.heard)))
    }

    /// Gives back memory when there is nothing to do.
    pub(crate) fn shrink(&mut self) {
        if self.in_flight.is_empty() {
            self.output.shrink();
            self.in_flight.shrink_to(64);
        }
    }

    /// Checks what must hold between calls.
    pub(crate) fn check_invariants(&self) {
        let len: usize = self.in_flight.iter().map(|entry| entry.len as usize).sum();
        assert_eq!(
            len,
            self.output.len() + self.output.retained_len(),
            "all bytes in the output belong to a request that waits for its reply"
        );
    }
}

impl InFlight {
    fn login(len: usize, now: Instant) -> Self {
        Self::unowned(Kind::Login, len, now)
    }

    /// An ASKING, which no client waits for.
    pub(crate) fn asking(now: Instant) -> Self {
        Self::unowned(Kind::Asking, ASKING.len(), now)
    }

    fn unowned(kind: Kind, len: usize, now: Instant) -> Self {
        let connection = ConnectionId {
            index: u32::MAX,
            generation: u32::MAX,
        };
        Self {
            kind,
            ticket: Ticket {
                connection,
                sequence: 0,
                part: 0,
            },
            command: CommandId(0),
            slot: Slot::of(b""),
            redirects: 0,
            len: len as u32,
            arrived: now,
            sent: now,
        }
    }

    /// Whether a client, or a merge, waits for the reply.
    pub(crate) fn has_owner(&self) -> bool {
        matches!(self.kind, Kind::Request | Kind::Asked)
    }
}

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
        pipeline.output.advance(b"first".len() + 3);
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
    fn logs_in_before_what_waits() {
        let mut pipeline = Pipeline::new(0, Address::new("h", 1), Protocol::Resp3);
        pipeline.push(b"request", entry(7));
        pipeline.log_in(&[b"hello".to_vec()], Instant::default());
        assert_eq!(pipeline.front_bytes(), b"hello");
        assert_eq!(pipeline.pop().map(|entry| entry.kind), Some(Kind::Login));
        assert_eq!(pipeline.front_bytes(), b"request");
        pipeline.check_invariants();
    }
}
