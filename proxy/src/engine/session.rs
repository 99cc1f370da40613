//! One client connection: where its input stands, which replies it waits for and in which order,
//! and what is on its way out. Knows nothing of nodes.

use std::collections::VecDeque;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::engine::{ConnectionId, Instant};
use slotway_protocol::output::{LARGE_BYTES, Output};
use slotway_protocol::resp::{Protocol, RequestScanner};

use super::listing::Ends;
use super::merge::MergeId;
use super::private::PrivateId;
use super::pubsub::Family;
use super::task::TaskId;
use super::transaction::Transaction;

/// The state of one client connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: ConnectionId,
    /// The number that CLIENT ID tells.
    pub(crate) client_id: u64,
    pub(crate) protocol: Protocol,
    pub(crate) scanner: RequestScanner,
    pub(crate) output: Output,
    /// What was queued since MULTI.
    pub(crate) transaction: Option<Box<Transaction>>,
    /// Where keys are watched for the client.
    pub(crate) watch: Option<Watch>,
    /// What CLIENT SETNAME and SETINFO said.
    pub(crate) about: Option<Box<About>>,
    /// Replies owed, in the order of their requests.
    places: VecDeque<Place>,
    /// The sequence number of the first of `places`.
    first: u32,
    /// The number of the first of `places` among all there ever were; it begins with 1.
    passed: u64,
    /// How many channels, patterns and shard channels the client is subscribed to.
    pub(crate) subscriptions: [u32; Family::COUNT],
    /// Replies that came before their turn. A place says where its own begins.
    parked: Vec<u8>,
    /// How many places refer to `parked`.
    parked_count: u32,
    /// How many bytes of `parked` are still referred to.
    parked_live: usize,
    /// Large replies that came before their turn.
    parked_shared: Vec<(u32, Bytes)>,
    /// Reading is paused until fewer replies are owed or the output is shorter.
    pub(crate) paused: bool,
    /// It is paused until no reply is owed at all.
    pub(crate) waits_for_all: bool,
    /// It is blocked: no request is taken until no reply is owed at all, but reading goes on.
    pub(crate) solo: bool,
    /// No more requests are read; the connection closes once all replies are out.
    pub(crate) closing: bool,
    /// The client has ended its side; it closes once nothing is owed and nothing is left to read.
    pub(crate) ended: bool,
    /// The engine has asked for the connection to be closed.
    pub(crate) leaving: bool,
    /// When that was noticed.
    pub(crate) leaving_since: Option<Instant>,
    /// When the last request arrived.
    pub(crate) active: Instant,
    pub(crate) opened: Instant,
    /// What the last request was, if it was any command.
    pub(crate) last_command: Option<CommandId>,
    pub(crate) ends: Ends,
    /// CLIENT NO-EVICT was called. It changes nothing but what CLIENT LIST shows.
    pub(crate) no_evict: bool,
    /// What CLIENT REPLY said.
    pub(crate) replies: Replies,
    /// A request waits for the end of CLIENT PAUSE.
    pub(crate) postponed: bool,
    pub(crate) watching: Watching,
}

/// Whether a client is shown what others ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watching {
    No,
    /// Once it has the reply to MONITOR.
    Soon,
    Yes,
}

/// Which replies a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replies {
    #[default]
    All,
    Off,
    /// Neither to the request being handled nor to the next one.
    SkipTwo,
    /// Not to the next request.
    SkipOne,
}

/// Keys that the client watches: where, and what slot all of them have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    pub(crate) private: PrivateId,
    pub(crate) slot: Slot,
}

/// What a client has said of itself.
#[derive(Debug, Default)]
pub(crate) struct About {
    pub(crate) name: Vec<u8>,
    pub(crate) library: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
}

/// A reply owed to a client.
#[derive(Debug)]
struct Place {
    state: State,
    command: CommandId,
    /// The client does not want the reply.
    silent: bool,
    arrived: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// The parts are being put together.
    Merging(MergeId),
    /// A task will say what to reply.
    Task(TaskId),
    /// Here, in `parked`.
    Parked {
        start: u32,
        len: u32,
    },
    /// Here, in `parked_shared`.
    ParkedShared,
}

impl State {
    fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Merging(_) | Self::Task(_))
    }
}

/// Names one reply owed to one client, or one part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) connection: ConnectionId,
    pub(crate) sequence: u32,
    /// Which part of a split request; 0 in all others.
    pub(crate) part: u32,
}

/// A reply on its way to a client.
pub(crate) enum Reply<'a> {
    Copied(&'a [u8]),
    Shared(Bytes),
}

/// What is known of a reply that has been delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    pub(crate) command: CommandId,
    pub(crate) arrived: Instant,
}

impl Session {
    pub(crate) fn new(connection: ConnectionId, client_id: u64, ends: Ends, now: Instant) -> Self {
        Self {
            connection,
            client_id,
            protocol: Protocol::Resp2,
            scanner: RequestScanner::default(),
            output: Output::default(),
            transaction: None,
            watch: None,
            about: None,
            places: VecDeque::new(),
            first: 0,
            passed: 1,
            subscriptions: [0; Family::COUNT],
            parked: Vec::new(),
            parked_count: 0,
            parked_live: 0,
            parked_shared: Vec::new(),
            paused: false,
            waits_for_all: false,
            solo: false,
            closing: false,
            ended: false,
            leaving: false,
            leaving_since: None,
            active: now,
            opened: now,
            last_command: None,
            ends,
            no_evict: false,
            replies: Replies::All,
            postponed: false,
            watching: Watching::No,
        }
    }

    /// Makes the client what it was when it connected, as RESET does. What library it uses stays
    /// true.
    pub(crate) fn reset(&mut self) {
        self.protocol = Protocol::Resp2;
        self.replies = Replies::All;
        if let Some(about) = &mut self.about {
            about.name.clear();
        }
    }

    /// How many replies are owed.
    #[inline]
    pub(crate) fn owed(&self) -> usize {
        self.places.len()
    }

    /// The bytes of replies held for the client, written ones not counted.
    #[inline]
    pub(crate) fn held_bytes(&self) -> usize {
        self.output.len() + self.parked_live
    }

    /// Keeps the place of a reply that will come from elsewhere.
    #[inline]
    pub(crate) fn reserve(&mut self, command: CommandId, arrived: Instant) -> Ticket {
        let sequence = self.first.wrapping_add(self.places.len() as u32);
        self.last_command = Some(command);
        let silent = self.is_next_silent();
        self.places.push_back(Place {
            state: State::Waiting,
            command,
            silent,
            arrived,
        });
        Ticket {
            connection: self.connection,
            sequence,
            part: 0,
        }
    }

    /// Whether the reply to the request that is being handled is not wanted. To be asked once for
    /// each request.
    #[inline]
    fn is_next_silent(&mut self) -> bool {
        if self.replies == Replies::All {
            return false;
        }
        self.replies = match self.replies {
            Replies::SkipTwo => Replies::SkipOne,
            Replies::SkipOne | Replies::All => Replies::All,
            Replies::Off => Replies::Off,
        };
        true
    }

    /// The next reply is a confirmation, which CLIENT REPLY does not suppress. What it said counts
    /// as if the reply had been asked about.
    pub(crate) fn speak(&mut self) -> Replies {
        self.is_next_silent();
        std::mem::replace(&mut self.replies, Replies::All)
    }

    /// The number of the place that the next reply gets. One that is known at once and in turn gets
    /// none: then it is that of the last one that has left.
    pub(crate) fn next_place(&self, waits: bool) -> u64 {
        if waits || !self.places.is_empty() {
            self.passed + self.places.len() as u64
        } else {
            self.passed - 1
        }
    }

    /// Whether this is that connection, and the reply at the place has left.
    #[inline]
    pub(crate) fn hears(&self, connection: ConnectionId, after: u64) -> bool {
        self.connection == connection && self.passed > after && !self.closing
    }

    /// Whether the client is one that only hears messages, since it could not tell them from
    /// replies.
    pub(crate) fn is_subscribing(&self) -> bool {
        self.is_subscribed() && self.protocol == Protocol::Resp2
    }

    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscriptions != [0; Family::COUNT]
    }

    /// Appends a message, given as a push of RESP3; in RESP2 it is an array.
    #[inline]
    pub(crate) fn push_message(&mut self, push: &Reply<'_>) {
        match (self.protocol, push) {
            (Protocol::Resp3, Reply::Copied(bytes)) => self.output.push(bytes),
            (Protocol::Resp3, Reply::Shared(bytes)) => self.output.push_shared(bytes.clone()),
            (Protocol::Resp2, Reply::Copied(bytes)) => {
                self.output.push(b"*");
                self.output.push(&bytes[1..]);
            }
            (Protocol::Resp2, Reply::Shared(bytes)) => {
                self.output.push(b"*");
                self.output.push_shared(bytes.slice(1..));
            }
        }
    }

    /// Marks the place as one that a merge fills.
    pub(crate) fn set_merging(&mut self, ticket: Ticket, merge: MergeId) {
        let index = ticket.sequence.wrapping_sub(self.first) as usize;
        self.places[index].state = State::Merging(merge);
    }

    /// The merge that fills the place.
    #[inline]
    pub(crate) fn merge_of(&self, ticket: Ticket) -> Option<MergeId> {
        let index = ticket.sequence.wrapping_sub(self.first) as usize;
        match self.places.get(index)?.state {
            State::Merging(merge) => Some(merge),
            _ => None,
        }
    }

    /// Marks the place as one that a task fills.
    pub(crate) fn set_task(&mut self, ticket: Ticket, task: TaskId) {
        let index = ticket.sequence.wrapping_sub(self.first) as usize;
        self.places[index].state = State::Task(task);
    }

    /// The tasks that are under way.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.places.iter().filter_map(|place| match place.state {
            State::Task(task) => Some(task),
            _ => None,
        })
    }

    /// The merges that were under way when the client left.
    pub(crate) fn merges(&self) -> impl Iterator<Item = MergeId> + '_ {
        self.places.iter().filter_map(|place| match place.state {
            State::Merging(merge) => Some(merge),
            _ => None,
        })
    }

    /// Writes a reply that is known at once, in its turn.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        command: CommandId,
        now: Instant,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.last_command = Some(command);
        let silent = self.is_next_silent();
        if self.places.is_empty() {
            if !silent {
                write(self.output.buffer());
            }
            return;
        }
        let start = self.parked.len();
        if !silent {
            write(&mut self.parked);
        }
        let state = self.park(start);
        self.places.push_back(Place {
            state,
            command,
            silent,
            arrived: now,
        });
    }

    /// Puts the reply in its place; all that is in turn goes to the output.
    #[inline]
    pub(crate) fn fill(&mut self, ticket: Ticket, reply: Reply<'_>) -> Delivered {
        let index = ticket.sequence.wrapping_sub(self.first) as usize;
        let place = &self.places[index];
        let delivered = Delivered {
            command: place.command,
            arrived: place.arrived,
        };
        debug_assert!(place.state.is_open(), "a place is filled once");
        if index > 0 {
            self.fill_early(index, ticket.sequence, reply);
            return delivered;
        }
        match reply {
            _ if place.silent => {}
            Reply::Copied(bytes) => self.output.push(bytes),
            Reply::Shared(bytes) => self.output.push_shared(bytes),
        }
        self.places.pop_front();
        self.first = self.first.wrapping_add(1);
        self.passed += 1;
        if self.parked_count > 0 || !self.parked_shared.is_empty() {
            self.release_parked();
        }
        delivered
    }

    /// Whether the client owes nothing more to wait for and asked, or must be made, to leave.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        (self.closing || self.ended && !self.paused) && self.places.is_empty()
    }

    /// Gives back memory that an idle client does not need.
    pub(crate) fn shrink(&mut self) {
        self.output.shrink();
        if self.places.is_empty() {
            self.places = VecDeque::new();
            self.parked = Vec::new();
            self.parked_shared = Vec::new();
        }
    }

    /// Checks what must hold between calls.
    pub(crate) fn check_invariants(&self) {
        let waits = |place: &Place| place.state.is_open();
        assert!(
            self.places.front().is_none_or(waits),
            "what is in turn has been sent"
        );
        let parked = |place: &&Place| matches!(place.state, State::Parked { .. });
        assert_eq!(
            self.places.iter().filter(parked).count(),
            self.parked_count as usize
        );
    }

    fn fill_early(&mut self, index: usize, sequence: u32, reply: Reply<'_>) {
        let place = &self.places[index];
        self.places[index].state = match reply {
            _ if place.silent => self.park_copy(b""),
            Reply::Shared(bytes) if bytes.len() >= LARGE_BYTES => {
                self.parked_live += bytes.len();
                self.parked_shared.push((sequence, bytes));
                State::ParkedShared
            }
            Reply::Shared(bytes) => self.park_copy(&bytes),
            Reply::Copied(bytes) => self.park_copy(bytes),
        };
    }

    fn park_copy(&mut self, bytes: &[u8]) -> State {
        let start = self.parked.len();
        self.parked.extend_from_slice(bytes);
        self.park(start)
    }

    /// Accounts for what was appended to `parked` from `start` on.
    fn park(&mut self, start: usize) -> State {
        let len = self.parked.len() - start;
        self.parked_count += 1;
        self.parked_live += len;
        State::Parked {
            start: start as u32,
            len: len as u32,
        }
    }

    /// Sends on all replies whose turn has come.
    fn release_parked(&mut self) {
        while let Some(place) = self.places.front() {
            match place.state {
                State::Waiting | State::Merging(_) | State::Task(_) => break,
                State::Parked { start, len } => {
                    let (start, len) = (start as usize, len as usize);
                    self.output.push(&self.parked[start..start + len]);
                    self.parked_count -= 1;
                    self.parked_live -= len;
                }
                State::ParkedShared => self.release_shared(),
            }
            self.places.pop_front();
            self.first = self.first.wrapping_add(1);
            self.passed += 1;
        }
        if self.parked_count == 0 {
            self.parked.clear();
        } else if self.parked.len() > PARKED_COMPACT_BYTES
            && self.parked_live * 2 < self.parked.len()
        {
            self.compact_parked();
        }
    }

    fn release_shared(&mut self) {
        let first = self.first;
        let found = self
            .parked_shared
            .iter()
            .position(|(sequence, _)| *sequence == first);
        let index = found.expect("a large reply is kept until its turn");
        let (_, bytes) = self.parked_shared.swap_remove(index);
        self.parked_live -= bytes.len();
        self.output.push_shared(bytes);
    }

    /// Drops the bytes of `parked` that nobody refers to.
    fn compact_parked(&mut self) {
        let mut kept = Vec::with_capacity(self.parked_live);
        for place in &mut self.places {
            if let State::Parked { start, len } = &mut place.state {
                let from = *start as usize;
                *start = kept.len() as u32;
                kept.extend_from_slice(&self.parked[from..from + *len as usize]);
            }
        }
        self.parked = kept;
    }
}

/// Early replies are compacted once they take this much and less than half of it is needed.
const PARKED_COMPACT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let connection = ConnectionId {
            index: 0,
            generation: 0,
        };
        Session::new(connection, 1, Ends::NONE, Instant::default())
    }

    fn taken(session: &mut Session) -> Vec<u8> {
        let mut bytes = Vec::new();
        session
            .output
            .copy_retained(0, session.output.len(), &mut bytes);
        session.output.advance(bytes.len());
        bytes
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let mut session = session();
        let now = Instant::default();
        let tickets: Vec<_> = (0..3).map(|_| session.reserve(CommandId(0), now)).collect();
        session.answer(CommandId(0), now, |out| out.extend_from_slice(b"4"));
        session.fill(tickets[2], Reply::Copied(b"3"));
        session.fill(tickets[1], Reply::Shared(Bytes::from_static(b"2")));
        assert_eq!(taken(&mut session), b"");
        session.fill(tickets[0], Reply::Copied(b"1"));
        assert_eq!(taken(&mut session), b"1234");
        assert_eq!(session.owed(), 0);
        session.check_invariants();
    }

    #[test]
    fn large_early_replies_keep_their_turn() {
        let mut session = session();
        let now = Instant::default();
        let tickets: Vec<_> = (0..3).map(|_| session.reserve(CommandId(0), now)).collect();
        let large = |byte| Bytes::from(vec![byte; LARGE_BYTES]);
        session.fill(tickets[2], Reply::Shared(large(b'3')));
        session.fill(tickets[1], Reply::Shared(large(b'2')));
        session.fill(tickets[0], Reply::Copied(b"1"));
        let bytes = taken(&mut session);
        assert_eq!(bytes.len(), 1 + 2 * LARGE_BYTES);
        assert_eq!(
            (bytes[0], bytes[1], bytes[LARGE_BYTES + 1]),
            (b'1', b'2', b'3')
        );
    }

    #[test]
    fn early_replies_do_not_pile_up_behind_a_busy_client() {
        let mut session = session();
        let now = Instant::default();
        let mut waiting = session.reserve(CommandId(0), now);
        for _ in 0..10_000 {
            let next = session.reserve(CommandId(0), now);
            let last = session.reserve(CommandId(0), now);
            session.fill(last, Reply::Copied(&[b'x'; 100]));
            session.fill(waiting, Reply::Copied(b"y"));
            waiting = next;
            taken(&mut session);
            session.check_invariants();
        }
        assert!(
            session.parked.len() <= 2 * PARKED_COMPACT_BYTES,
            "{}",
            session.parked.len()
        );
    }
}
