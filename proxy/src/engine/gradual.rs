//! Sends a request of very many keys little by little, for a worker serves others meanwhile: first
//! it is found out in some steps which keys go where, then each part is sent when one before it is
//! answered, and at last the reply is written as the client takes it. The client is not read from
//! until then, so that nothing overtakes the parts.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::Command;
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::resp::Request;

use super::fail_point;
use super::many_keys::{ManyKeys, PIECE_BYTES, Prepared, Progress, Table, keys_of};
use super::merge::MergeKind;
use super::pipeline::InFlight;
use super::requests::Incoming;
use super::session::{Reply, Ticket};
use super::{Connection, Proxy, answer};

/// All such requests of a worker.
#[derive(Debug, Default)]
pub(super) struct Gradual {
    requests: HashMap<ConnectionId, ManyKeys>,
    /// Whose keys are being looked at: one after the other, a step at a time.
    preparing: VecDeque<ConnectionId>,
    /// Of the first of them.
    table: Table,
}

impl Gradual {
    pub(super) fn has(&self, client: ConnectionId) -> bool {
        self.requests.contains_key(&client)
    }

    pub(super) fn is_writing(&self, client: ConnectionId) -> bool {
        let request = self.requests.get(&client);
        request.and_then(ManyKeys::progress) == Some(Progress::Writing)
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = (&ConnectionId, &ManyKeys)> {
        self.requests.iter()
    }

    /// Forgets the request of a client that has left. Replies to it are for nobody.
    pub(super) fn give_up(&mut self, client: ConnectionId) {
        self.requests.remove(&client);
    }

    /// How many replies to parts of the request with that ticket are to come; `None` when it is
    /// lost or nothing goes on with it.
    pub(super) fn to_come(&self, ticket: Ticket) -> Option<usize> {
        let request = self.requests.get(&ticket.connection)?;
        let is_it = request.ticket.sequence == ticket.sequence;
        let goes_on = match request.progress()? {
            Progress::Preparing => self.preparing.contains(&ticket.connection),
            Progress::Sending => request.under_way() > 0,
            Progress::Writing => request.under_way() == 0,
        };
        (is_it && goes_on).then(|| request.under_way())
    }

    /// Forgets the requests of which that is not so.
    pub(super) fn retain(&mut self, is_owed: impl Fn(Ticket) -> bool) {
        self.requests.retain(|_, request| is_owed(request.ticket));
    }

    /// The clients whose reply is being written.
    pub(super) fn writing(&self) -> Vec<ConnectionId> {
        let clients = self.requests.keys().copied();
        clients.filter(|client| self.is_writing(*client)).collect()
    }

    /// The bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.requests.values().map(ManyKeys::memory).sum()
    }

    /// Those of one client.
    pub(super) fn memory_of(&self, client: ConnectionId) -> usize {
        self.requests.get(&client).map_or(0, ManyKeys::memory)
    }
}

impl Proxy {
    /// Whether a request that is split by its keys has so many that it is not sent at once.
    pub(super) fn has_many_keys(&self, request: &Request<'_>, step: usize) -> bool {
        request.len() > self.options.many_keys_min.saturating_mul(step)
    }

    /// Begins to send each slot's keys to the slot's owner; the replies become one. The client is
    /// owed nothing else.
    pub(super) fn split_gradually(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        merge: MergeKind,
        step: usize,
    ) {
        let Some((ticket, lane)) = self.reserve(incoming, command.id) else {
            return;
        };
        let connection = incoming.connection;
        let frame = match incoming.shared {
            Some(shared) => shared.clone(),
            None => Bytes::copy_from_slice(incoming.request.frame()),
        };
        self.stats.gradual.inc();
        self.pause(connection);
        let request = ManyKeys::new(frame, ticket, command.id, lane, (merge, step));
        if let Some(session) = self.session(connection) {
            session.waits_for_all = true;
            session.set_gradual(ticket, true);
        }
        self.gradual.requests.insert(connection, request);
        fail_point::pass();
        self.gradual.preparing.push_back(connection);
        self.wake_at(incoming.now);
    }

    /// Looks at some more keys of such a request. Others have their turn before it is called again.
    pub(super) fn prepare_gradual(&mut self, now: Instant) {
        let Some(connection) = self.gradual.preparing.front().copied() else {
            return;
        };
        let Gradual {
            requests, table, ..
        } = &mut self.gradual;
        let request = requests.get_mut(&connection);
        let prepared = request.map(|request| request.prepare(table));
        if prepared != Some(Prepared::NotYet) {
            self.gradual.preparing.pop_front();
        }
        fail_point::pass();
        match prepared {
            Some(Prepared::OneSlot(slot)) => self.send_whole(connection, slot, now),
            Some(Prepared::Parts) => self.send_more_parts(connection, now),
            Some(Prepared::NotYet) | None => {}
        }
        if self.gradual.preparing.is_empty() {
            self.gradual.table = Table::new();
        } else {
            self.wake_at(now);
        }
    }

    /// All keys have one slot.
    fn send_whole(&mut self, connection: ConnectionId, slot: Slot, now: Instant) {
        let Some(request) = self.gradual.requests.remove(&connection) else {
            return;
        };
        let (ticket, frame) = (request.ticket, request.frame());
        fail_point::pass();
        if let Some(session) = self.session(connection) {
            session.set_gradual(ticket, false);
        }
        fail_point::pass();
        let entry = InFlight::request(ticket, request.command, slot, frame.len(), now);
        self.dispatch(entry, request.lane, frame, Some(frame));
    }

    /// Sends as many parts as may be under way.
    fn send_more_parts(&mut self, connection: ConnectionId, now: Instant) {
        loop {
            let mut frame = std::mem::take(&mut self.scratch.frame);
            let request = self.gradual.requests.get_mut(&connection);
            let part = request.and_then(|request| {
                let (ticket, slot) = request.next_part(&mut frame)?;
                let (command, lane, step) = (request.command, request.lane, request.step);
                let entry = InFlight::request(ticket, command, slot, frame.len(), now);
                Some((entry, lane, step))
            });
            if let Some((entry, lane, step)) = part {
                fail_point::pass();
                // This may lead to a reply at once, for want of room.
                self.dispatch_part(entry, lane, &frame, keys_of(&frame, step));
            }
            self.keep_frame(frame);
            if part.is_none() {
                return;
            }
        }
    }

    /// Takes the reply to a part, and goes on.
    #[cold]
    pub(super) fn take_part(&mut self, ticket: Ticket, reply: &[u8], now: Instant) {
        let bytes_max = self.options.merge_bytes_max;
        let connection = ticket.connection;
        let Some(request) = self.gradual.requests.get_mut(&connection) else {
            return;
        };
        let is_full = request.is_full(reply.len(), bytes_max);
        let is_last = if is_full {
            let error = answer::error(answer::MERGE_FULL);
            request.take(ticket, &error)
        } else {
            request.take(ticket, reply)
        };
        fail_point::pass();
        let wants_more = request.wants_more();
        if is_full {
            self.stats.merges_full.inc();
        }
        if is_last {
            self.reply_gradually(connection, now);
        } else if wants_more {
            self.send_more_parts(connection, now);
        }
    }

    /// All replies are here.
    fn reply_gradually(&mut self, connection: ConnectionId, now: Instant) {
        let Some(request) = self.gradual.requests.get_mut(&connection) else {
            return;
        };
        let (ticket, short) = (request.ticket, request.short_reply());
        if short.is_none() {
            request.begin_writing();
        } else {
            self.gradual.requests.remove(&connection);
        }
        fail_point::pass();
        if let Some(session) = self.session(connection) {
            session.is_passed = short.is_none();
            session.set_gradual(ticket, short.is_none());
        }
        fail_point::pass();
        match short {
            Some(reply) => self.deliver(ticket, Reply::Copied(&reply), now),
            None => self.write_gradual(connection, now),
        }
    }

    /// Writes more of a reply if the client has taken most of what was there.
    pub(super) fn write_gradual(&mut self, connection: ConnectionId, now: Instant) {
        let place = self.connections.get_mut(connection.index as usize);
        let (Some(Connection::Client(session)), Some(request)) =
            (place, self.gradual.requests.get_mut(&connection))
        else {
            return;
        };
        if session.leaving || !request.is_writing() || session.output.len() > PIECE_BYTES / 2 {
            return;
        }
        let was_empty = session.output.is_empty();
        let written = if session.is_first_silent() {
            Some(0)
        } else {
            // Between the pieces something else might come.
            let in_pieces = !session.hears_others();
            request.write(&mut session.output, in_pieces, &mut self.scratch.table)
        };
        if was_empty && !session.output.is_empty() && connection.index != self.current {
            self.actions.push_back(Action::Wake(connection));
        }
        if let Some(len) = written {
            let ticket = request.ticket;
            fail_point::pass();
            let delivered = session.fill(ticket, Reply::Copied(b""));
            session.is_passed = false;
            fail_point::pass();
            self.gradual.requests.remove(&connection);
            self.count_delivery(delivered, false, len, now);
            self.end_trail(ticket, delivered, None, len, now);
            self.attend(connection);
        }
    }
}
