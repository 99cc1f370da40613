//! One client connection: where its input stands, which replies it waits for and in which order,
//! and what is on its way out. Knows nothing of nodes.

use core::time::Duration;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::engine::{ConnectionId, Instant};
use slotway_protocol::output::Output;
use slotway_protocol::resp::{Protocol, RequestScanner};

use super::audit::Filler;
use super::listing::Ends;
use super::merge::MergeId;
use super::places::Places;
use super::private::PrivateId;
use super::pubsub::Family;
use super::reads::Footprint;
use super::running::TaskId;
use super::transaction::Transaction;

/// The state of one client connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: ConnectionId,
    /// The number that CLIENT ID tells.
    pub(crate) client_id: u64,
    pub(crate) protocol: Protocol,
    /// The number of the database that SELECT chose.
    pub(crate) database: u16,
    pub(crate) scanner: RequestScanner,
    pub(crate) output: Output,
    /// What was queued since MULTI.
    pub(crate) transaction: Option<Box<Transaction>>,
    /// Where keys are watched for the client.
    pub(crate) watch: Option<Watch>,
    /// What CLIENT SETNAME and SETINFO said.
    pub(crate) about: Option<Box<About>>,
    /// How many channels, patterns and shard channels the client is subscribed to.
    pub(crate) subscriptions: [u32; Family::COUNT],
    /// What it has written, and read at replicas; only where replicas serve reads.
    pub(crate) footprint: Option<Box<Footprint>>,
    places: Places,
    /// How many replies may be owed. It grows while they are small, since of a reply that is not
    /// here yet nobody knows how large it is.
    pub(crate) window: u16,
    /// It was too large lately: what was owed came to more than may wait.
    pub(crate) overfull: bool,
    /// It has not said the password, though there is one.
    pub(crate) is_newcomer: bool,
    /// What it has begun with is no request of a Redis client.
    pub(crate) is_odd: bool,
    /// A large reply is being handed on in pieces.
    pub(crate) is_passed: bool,
    /// A reply is being put in its place. When that is interrupted, nobody knows whether it is out.
    is_filling: bool,
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
    /// That was noticed, at the time that `active` says from then on.
    pub(crate) leaving_noticed: bool,
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
    /// Bytes that have arrived and wait to be looked at again: the front of a request, or requests
    /// for which it is too early.
    pub(crate) unread: u32,
}

/// About what a connection takes outside of the engine.
const DRIVER_BYTES: usize = 1024;

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
            database: 0,
            scanner: RequestScanner::default(),
            output: Output::default(),
            transaction: None,
            watch: None,
            about: None,
            subscriptions: [0; Family::COUNT],
            footprint: None,
            places: Places::default(),
            window: 0,
            overfull: false,
            is_passed: false,
            is_filling: false,
            is_newcomer: false,
            is_odd: false,
            paused: false,
            waits_for_all: false,
            solo: false,
            closing: false,
            ended: false,
            leaving: false,
            leaving_noticed: false,
            active: now,
            opened: now,
            last_command: None,
            ends,
            no_evict: false,
            replies: Replies::All,
            postponed: false,
            watching: Watching::No,
            unread: 0,
        }
    }

    /// Makes the client what it was when it connected, as RESET does. What library it uses stays
    /// true.
    pub(crate) fn reset(&mut self) {
        self.protocol = Protocol::Resp2;
        self.database = 0;
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
        self.output.len() + self.places.parked_bytes()
    }

    /// Keeps the place of a reply that will come from elsewhere.
    #[inline]
    pub(crate) fn reserve(&mut self, command: CommandId, arrived: Instant) -> Ticket {
        self.last_command = Some(command);
        let silent = self.is_next_silent();
        let sequence = self.places.reserve(command, silent, arrived);
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
            self.places.passed() + self.places.len() as u64
        } else {
            self.places.passed() - 1
        }
    }

    /// Which turn the client has where clients take turns.
    pub(crate) fn turn(&self) -> usize {
        let (number, worker) = (self.client_id >> 8, self.client_id & 0xff);
        (number + worker) as usize
    }

    /// Takes note of the replies that have passed since.
    pub(crate) fn settle_footprint(&mut self, kept: Duration, now: Instant) {
        let passed = self.places.passed();
        if let Some(footprint) = &mut self.footprint {
            footprint.settle(passed, kept, now);
        }
    }

    /// Whether this is that connection, and the reply at the place has left.
    #[inline]
    pub(crate) fn hears(&self, connection: ConnectionId, after: u64) -> bool {
        self.connection == connection && self.places.passed() > after && !self.closing
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
        self.places.park_next(command, silent, now, write);
    }

    /// Whether the reply with that ticket is the next one, and comes as it is from a node.
    pub(crate) fn is_in_turn(&self, ticket: Ticket) -> bool {
        self.places.is_in_turn(ticket.sequence)
    }

    /// Hands on a piece of the reply that is in turn.
    pub(crate) fn pass(&mut self, piece: Bytes) {
        if !self.places.is_first_silent() {
            self.output.push_shared(piece);
        }
    }

    /// Puts the reply in its place; all that is in turn goes to the output.
    #[inline]
    pub(crate) fn fill(&mut self, ticket: Ticket, reply: Reply<'_>) -> Delivered {
        self.is_filling = true;
        let delivered = self.places.fill(ticket.sequence, reply, &mut self.output);
        self.is_filling = false;
        delivered
    }

    /// Whether the reply that the ticket names only has to be put in its place: it is all that is
    /// to come there, and nobody waits for the client to catch up or to leave.
    #[inline]
    pub(crate) fn is_plain(&self, ticket: Ticket) -> bool {
        let is_special = self.leaving | self.paused | self.solo | self.closing | self.ended;
        self.connection == ticket.connection
            && !is_special
            && self.places.is_waiting(ticket.sequence)
    }

    /// Marks the place as one that a merge fills.
    pub(crate) fn set_merging(&mut self, ticket: Ticket, merge: MergeId) {
        self.places.set_merging(ticket.sequence, merge);
    }

    /// The merge that fills the place.
    #[inline]
    pub(crate) fn merge_of(&self, ticket: Ticket) -> Option<MergeId> {
        self.places.merge_of(ticket.sequence)
    }

    /// Marks the place as one that is filled little by little, or as one that a node fills.
    pub(crate) fn set_gradual(&mut self, ticket: Ticket, gradual: bool) {
        self.places.set_gradual(ticket.sequence, gradual);
    }

    /// Whether the place is filled little by little.
    #[inline]
    pub(crate) fn is_gradual(&self, ticket: Ticket) -> bool {
        self.places.is_gradual(ticket.sequence)
    }

    /// Whether there comes what it has not asked for, maybe between the pieces of a reply.
    pub(crate) fn hears_others(&self) -> bool {
        self.is_subscribed() || self.watching != Watching::No
    }

    /// Whether the client does not want the reply that is in turn.
    pub(crate) fn is_first_silent(&self) -> bool {
        self.places.is_first_silent()
    }

    /// Marks the place as one that a task fills.
    pub(crate) fn set_task(&mut self, ticket: Ticket, task: TaskId) {
        self.places.set_task(ticket.sequence, task);
    }

    /// The tasks that are under way.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.places.tasks()
    }

    /// The merges that were under way when the client left.
    pub(crate) fn merges(&self) -> impl Iterator<Item = MergeId> + '_ {
        self.places.merges()
    }

    /// The replies that are not here yet, and what each of them comes from.
    pub(crate) fn open_places(&self) -> impl Iterator<Item = (Ticket, Filler)> + '_ {
        self.places.open().map(|(sequence, filler)| {
            let ticket = Ticket {
                connection: self.connection,
                sequence,
                part: 0,
            };
            (ticket, filler)
        })
    }

    /// Whether it waits for nothing, and nothing that anybody else does concerns it.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.places.is_empty()
            && !self.is_subscribed()
            && self.watch.is_none()
            && self.watching == Watching::No
            && !(self.paused | self.solo | self.postponed | self.is_passed)
            && !(self.closing | self.ended | self.leaving)
    }

    /// Whether it has not made a request yet.
    pub(crate) fn is_new(&self) -> bool {
        self.last_command.is_none() && self.places.is_empty() && self.places.passed() == 1
    }

    /// Whether the client owes nothing more to wait for and asked, or must be made, to leave.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        (self.closing || self.ended && !self.paused) && self.places.is_empty()
    }

    /// The bytes of memory held for the client, here and in the driver.
    pub(crate) fn memory(&self) -> usize {
        let queued = self.transaction.as_ref().map_or(0, |it| it.bytes());
        let footprint = self.footprint.as_ref().map_or(0, |it| it.memory());
        size_of::<Self>()
            + DRIVER_BYTES
            + self.unread as usize
            + self.scanner.memory()
            + self.output.memory()
            + self.places.memory()
            + queued
            + footprint
    }

    /// Gives back memory that an idle client does not need.
    pub(crate) fn shrink(&mut self) {
        self.output.shrink();
        self.places.shrink();
    }

    /// Whether the order of its replies is lost.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_filling
    }

    /// Checks what must hold between calls, while it is to get anything.
    pub(crate) fn check_invariants(&self) {
        if !self.leaving {
            assert!(!self.is_broken());
            self.places.check_invariants();
        }
    }
}
