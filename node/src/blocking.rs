//! Clients that wait until a key has something for them. Who has come first is served first.
//!
//! Which keys they wait for is known to the keyspace, by the ticket of each client; it tells which
//! of those keys have changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use slotway_protocol::engine::{ConnectionId, Instant};

use slotway_protocol::resp::encode;

use crate::command::Wish;
use crate::engine::session::Sessions;
use crate::keyspace::Keyspace;

/// All that wait: as many as there are clients, at most.
#[derive(Debug, Default)]
pub(crate) struct Blocking {
    waiters: BTreeMap<Ticket, Waiter>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    last_ticket: u64,
    /// What waiters are to be told, by the node.
    pub(crate) answers: VecDeque<Answer>,
}

/// A client's place in the order of those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// A client that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) client: ConnectionId,
    /// It wants a reply.
    pub(crate) is_answered: bool,
    pub(crate) database: u32,
    pub(crate) keys: Vec<Box<[u8]>>,
    pub(crate) wish: Wish,
    /// `None` for never.
    pub(crate) deadline: Option<Instant>,
    /// The node was a primary when it began to wait.
    pub(crate) on_primary: bool,
}

/// Why a client waits no longer.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It has waited for as long as it wanted.
    Late,
    Reply(Vec<u8>),
    /// The connection ends with that reply.
    Last(Vec<u8>),
}

/// The reply to a client that has waited.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) client: ConnectionId,
    pub(crate) is_answered: bool,
    pub(crate) reply: Vec<u8>,
    /// The connection ends with it.
    pub(crate) closes: bool,
}

impl Waiter {
    pub(crate) fn distinct_keys(&self) -> usize {
        self.keys.iter().collect::<BTreeSet<_>>().len()
    }
}

impl Blocking {
    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn timed_len(&self) -> usize {
        self.deadlines.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(crate) fn add(&mut self, waiter: Waiter) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        if let Some(deadline) = waiter.deadline {
            self.deadlines.insert((deadline, ticket));
        }
        self.waiters.insert(ticket, waiter);
        ticket
    }

    pub(crate) fn get(&self, ticket: Ticket) -> Option<&Waiter> {
        self.waiters.get(&ticket)
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        if let Some(deadline) = waiter.deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
        Some(waiter)
    }

    /// Ends the wait of a client without a word.
    pub(crate) fn forget(
        &mut self,
        keyspace: &mut Keyspace,
        sessions: &mut Sessions,
        ticket: Ticket,
    ) -> Option<Waiter> {
        let waiter = self.remove(ticket)?;
        for key in &waiter.keys {
            keyspace.forget_awaited(waiter.database, key, ticket);
        }
        if let Some(session) = sessions.find(waiter.client) {
            session.blocked = None;
        }
        Some(waiter)
    }

    /// Ends the wait of a client; the node tells it.
    pub(crate) fn end(
        &mut self,
        keyspace: &mut Keyspace,
        sessions: &mut Sessions,
        ticket: Ticket,
        ending: Ending,
    ) {
        let Some(waiter) = self.forget(keyspace, sessions, ticket) else {
            return;
        };
        let closes = matches!(ending, Ending::Last(_));
        let reply = match ending {
            Ending::Reply(reply) | Ending::Last(reply) => reply,
            Ending::Late => {
                let mut reply = Vec::new();
                if let Some(session) = sessions.find(waiter.client) {
                    encode::null_array(&mut reply, session.protocol);
                }
                reply
            }
        };
        self.answers.push_back(Answer {
            client: waiter.client,
            is_answered: waiter.is_answered,
            reply,
            closes,
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ticket, &Waiter)> {
        self.waiters
            .iter()
            .map(|(ticket, waiter)| (*ticket, waiter))
    }

    /// When the next one has waited long enough.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// One that has waited long enough.
    pub(crate) fn late(&self, now: Instant) -> Option<Ticket> {
        let (deadline, ticket) = self.deadlines.first()?;
        (*deadline <= now).then_some(*ticket)
    }
}
