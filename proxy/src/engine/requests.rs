//! From a client's bytes to a node's: find the request, find its slot, send it there.

use bytes::{Buf, Bytes, BytesMut};
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{self, Command, CommandId, Group};
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::output::LARGE_BYTES;
use slotway_protocol::resp::{Protocol, Request, RequestBuffers, RequestError, Scan};

use super::fail_point;
use super::hold::{Held, Target};
use super::local::Local;
use super::newcomers::Suspicion;
use super::pipeline::{InFlight, Link};
use super::plan::{Plan, Refusal, SlotError, common_slot};
use super::proxy_command::is_proxy_command;
use super::session::Ticket;
use super::stats::Cut;
use super::wait_time::may_wait;
use super::waiting::note_held;
use super::{Connection, NO_OWNER, Proxy, Session};

/// A request with the client it came from.
pub(super) struct Incoming<'a> {
    pub(super) connection: ConnectionId,
    pub(super) request: Request<'a>,
    /// The request's bytes, when they are so many that a reference is better than a copy.
    pub(super) shared: Option<&'a Bytes>,
    /// The slot of one that is large, or whose reply will be.
    pub(super) large: Option<Slot>,
    pub(super) now: Instant,
}

impl Proxy {
    /// Takes all whole requests from the input, as far as the client's limits allow.
    pub(super) fn handle_client_input(
        &mut self,
        connection: ConnectionId,
        input: &mut BytesMut,
        now: Instant,
    ) {
        let before = input.len();
        let mut buffers = std::mem::take(&mut self.scratch.buffers);
        let mut consumed = 0;
        while let Some(scan) = self.next_request(connection, &input[consumed..], &mut buffers, now)
        {
            match scan {
                Ok(Scan::Incomplete) => break,
                Ok(Scan::Empty { consumed: skipped }) => consumed += skipped,
                Ok(Scan::Request { consumed: len }) => {
                    let request = buffers.request(&input[consumed..consumed + len]);
                    if self.forward_plain(connection, &request, now) {
                        consumed += len;
                        continue;
                    }
                    let command = command::resolve_with(&request, self.learned.as_deref());
                    let large = self.large_slot(connection, &request, &command);
                    if self.must_wait(connection, &request, &command, large, now) {
                        self.limit_waiting(connection, input.len() - consumed);
                        break;
                    }
                    let frame = (len >= LARGE_BYTES).then(|| {
                        input.advance(consumed);
                        consumed = 0;
                        input.split_to(len).freeze()
                    });
                    let bytes = match &frame {
                        Some(frame) => &frame[..],
                        None => &input[consumed..consumed + len],
                    };
                    let request = buffers.request(bytes);
                    if let (Some(_), Ok(command)) = (&frame, &command) {
                        self.note_large_request(&request, command);
                    }
                    let is_whole = |frame: &&Bytes| request.frame().len() == frame.len();
                    let shared = frame.as_ref().filter(is_whole);
                    let incoming = Incoming {
                        connection,
                        request,
                        shared,
                        large,
                        now,
                    };
                    self.handle_request(incoming, command);
                    match frame {
                        Some(_) => buffers.shrink(),
                        None => consumed += len,
                    }
                }
                Err(error) => {
                    consumed = input.len();
                    self.refuse_client(connection, &error, now);
                }
            }
        }
        fail_point::pass();
        input.advance(consumed);
        self.scratch.buffers = buffers;
        if self.monitors.active {
            self.show_lines(now);
        }
        self.stats
            .client_bytes_in
            .add((before - input.len()) as u64);
        self.note_unread(connection, before, input, now);
        self.close_if_finished(connection);
    }

    /// Looks for the next request, unless the client must not send any now.
    #[inline]
    fn next_request(
        &mut self,
        connection: ConnectionId,
        input: &[u8],
        buffers: &mut RequestBuffers,
        now: Instant,
    ) -> Option<Result<Scan, RequestError>> {
        let Connection::Client(session) = &mut self.connections[connection.index as usize] else {
            return None;
        };
        if input.is_empty() || session.closing || session.paused {
            return None;
        }
        if session.solo {
            return self.wait_for_solo(connection, input.len());
        }
        if session.owed() >= usize::from(session.window)
            || session.held_bytes() >= self.bounds.output
        {
            if session.is_newcomer {
                return self.hear_newcomer(connection, input, buffers, now);
            }
            return self.wait_for_room(connection);
        }
        Some(session.scanner.scan(input, &self.options.request, buffers))
    }

    /// Whether the client must first have all replies that it is owed, because the request goes
    /// through another connection to the node and could overtake those under way: HELLO, RESET and
    /// SELECT choose among connections, and blocking and watching take one of the client's own.
    #[inline]
    fn must_wait(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
        command: &Result<&'static Command, command::Refusal>,
        large: Option<Slot>,
        now: Instant,
    ) -> bool {
        let Ok(command) = command else { return false };
        if self.careful && self.must_wait_for_others(connection, request, command, now) {
            return true;
        }
        match self.plans.of(command) {
            Plan::Key(_) | Plan::Keys => {
                large.is_some_and(|slot| self.must_wait_for_turn(connection, slot))
            }
            Plan::Split { step, .. } => {
                self.has_many_keys(request, step)
                    && !self.is_queuing(connection)
                    && self.wait_for_replies(connection)
            }
            Plan::Local(Local::Hello | Local::Reset) => self.wait_for_replies(connection),
            Plan::Local(Local::Select) => self.must_wait_to_select(connection, request),
            Plan::Block => {
                may_wait(command, request)
                    && !self.is_queuing(connection)
                    && self.wait_for_replies(connection)
            }
            Plan::Transaction(which) => {
                self.needs_own_connection(connection, which) && self.wait_for_replies(connection)
            }
            Plan::Shards(_) => self.must_wait_for_shards(connection, now),
            Plan::Task(special) => {
                special.asks_all_shards() && self.must_wait_for_shards(connection, now)
            }
            _ => false,
        }
    }

    /// Whether the request must wait for the end of a pause, or for reads that replicas owe.
    #[cold]
    fn must_wait_for_others(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
        command: &'static Command,
        now: Instant,
    ) -> bool {
        self.pause.is_some() && self.postpone(connection, command)
            || self.reads.is_on() && self.must_wait_for_reads(connection, request, command, now)
    }

    pub(super) fn handle_request(
        &mut self,
        incoming: Incoming<'_>,
        command: Result<&'static Command, command::Refusal>,
    ) {
        let request = &incoming.request;
        let command = match command {
            Ok(command) => command,
            Err(_) if is_client_set_info(request) => {
                // Redis has it from 7.2 on; it is counted as CLIENT, since the table lacks it.
                let client = command::lookup(b"client").map_or(CommandId(0), |known| known.id);
                return self.run_local(&incoming, client, Local::ClientSetInfo);
            }
            Err(_) if is_proxy_command(request) && !self.hears_only(incoming.connection) => {
                return self.run_proxy_command(&incoming);
            }
            Err(unknown) => {
                self.stats.requests_invalid.inc();
                self.spoil_transaction(&incoming);
                let before = self.session(incoming.connection).map(|it| it.last_command);
                let write = |out: &mut Vec<u8>| unknown.write(request, out);
                self.answer(&incoming, CommandId(0), write);
                // It was no command.
                if let (Some(session), Some(last)) = (self.session(incoming.connection), before) {
                    session.last_command = last;
                }
                return;
            }
        };
        if self.monitors.active && self.watch_request(&incoming, command) {
            return;
        }
        let plan = self.plans.of(command);
        if !self.subscriptions.is_empty() && self.is_barred(&incoming, command) {
            return self.bar(&incoming, command);
        }
        if self.watched.hot.is_due() {
            self.note_keys(request, command);
        }
        if self.is_queuing(incoming.connection) && !passes_transaction(plan) {
            return self.queue(&incoming, command);
        }
        if self.reads.is_on() && self.read_at_replica(&incoming, command, plan) {
            return;
        }
        match plan {
            Plan::Key(position) => {
                let slot = Slot::of(request.arg(position));
                self.forward(&incoming, command, slot);
            }
            Plan::KeyBehind(behind) => match behind.slot(request) {
                Some(slot) => self.forward(&incoming, command, slot),
                None => self.refuse(&incoming, command, behind.or),
            },
            Plan::Keys => self.forward_keys(&incoming, command),
            Plan::Split { merge, step } => self.split(&incoming, command, merge, step),
            Plan::Slot(position) => self.forward_to_slot(&incoming, command, position),
            Plan::Local(local) => self.run_local(&incoming, command.id, local),
            Plan::Publish(family) => self.send_message(&incoming, command, family),
            Plan::Subscribe(family) => self.subscribe(&incoming, command, family),
            Plan::Unsubscribe(family) => self.unsubscribe(&incoming, command, family),
            Plan::Any => self.forward(&incoming, command, Slot::of(b"")),
            Plan::Shards(merge) => self.fan_out(&incoming, command, merge),
            Plan::Transaction(which) => self.run_transaction_command(&incoming, command, which),
            Plan::Block => self.run_blocking(&incoming, command),
            Plan::Monitor => self.run_monitor(&incoming, command),
            Plan::Task(special) => self.run_special(&incoming, command, special),
            Plan::Refused(refusal) => self.refuse(&incoming, command, refusal),
        }
    }

    /// Sends the request to the owner of the slot and keeps the reply's place.
    #[inline]
    pub(super) fn forward(&mut self, incoming: &Incoming<'_>, command: &Command, slot: Slot) {
        let Some((ticket, lane)) = self.reserve(incoming, command.id) else {
            return;
        };
        let frame = incoming.request.frame();
        let entry = InFlight::request(ticket, command.id, slot, frame.len(), incoming.now);
        self.dispatch(entry, lane, frame, incoming.shared);
    }

    #[inline]
    pub(super) fn reserve(
        &mut self,
        incoming: &Incoming<'_>,
        command: CommandId,
    ) -> Option<(Ticket, usize)> {
        let per_node = self.options.connections_per_node;
        let session = self.session(incoming.connection)?;
        let ticket = session.reserve(command, incoming.now);
        let Some(slot) = incoming.large else {
            return Some((ticket, lane(session, per_node)));
        };
        let lane = large_lane(session, per_node);
        self.take_turn(incoming.connection, slot);
        Some((ticket, lane))
    }

    /// Puts a request into the pipeline to its slot's owner, or into the slot's hold.
    pub(super) fn dispatch(
        &mut self,
        entry: InFlight,
        lane: usize,
        frame: &[u8],
        shared: Option<&Bytes>,
    ) {
        self.dispatch_at_once(entry, lane, frame, shared);
    }

    /// The same, for the one place where a call would cost too much.
    #[inline(always)]
    pub(super) fn dispatch_at_once(
        &mut self,
        entry: InFlight,
        lane: usize,
        frame: &[u8],
        shared: Option<&Bytes>,
    ) {
        let owner = self.owners[entry.slot.index()];
        if owner == NO_OWNER || !self.holds.is_empty() && self.holds.contains(entry.slot) {
            return self.hold_new(entry, lane, frame);
        }
        let index = owner as usize * self.lanes() + lane;
        let pipeline = &mut self.pipelines[index];
        if matches!(pipeline.link, Link::Down { .. }) {
            return self.hold_new(entry, lane, frame);
        }
        if pipeline.queued_bytes() > self.bounds.queue
            || pipeline.in_flight_len() >= self.options.backend_queue_requests_max
        {
            return self.refuse_full(&entry);
        }
        self.stats.backend_bytes_out.add(frame.len() as u64);
        self.in_flight_by_slot[entry.slot.index()] += 1;
        self.stats.slots.count(entry.slot);
        fail_point::pass();
        let was_empty = match shared {
            Some(shared) => pipeline.push_shared(shared.clone(), entry),
            None => pipeline.push(frame, entry),
        };
        fail_point::pass();
        match pipeline.link {
            Link::Open(connection) if was_empty => {
                self.actions.push_back(Action::Wake(connection));
            }
            Link::Idle => self.connect(index),
            _ => {}
        }
    }

    /// The slot can't be served at once: the request waits.
    #[cold]
    fn hold_new(&mut self, entry: InFlight, lane: usize, frame: &[u8]) {
        let now = entry.arrived;
        let slot = entry.slot;
        let mut held = Held {
            entry,
            frame: frame.to_vec(),
            lane,
            target: Target::Owner,
            error: None,
        };
        note_held(&mut held, now);
        if !self.holds.contains(slot) {
            self.begin_hold(slot, now);
            self.wake_at(now);
        }
        if self.hold_is_full(&held) {
            return;
        }
        self.stats.held.inc();
        fail_point::pass();
        let client = held.entry.ticket.connection;
        self.holds.append(held);
        self.limit_held(client);
    }

    pub(super) fn forward_keys(&mut self, incoming: &Incoming<'_>, command: &'static Command) {
        if command.group == Group::Scripting {
            self.note_script(command, &incoming.request);
        }
        match common_slot(command, &incoming.request) {
            Ok(Some(slot)) => self.forward(incoming, command, slot),
            Err(SlotError::Crossed) => self.read_across_slots(incoming, command),
            // Every node can run a script without keys, or say what is wrong with a request whose
            // keys can't be told. Always the same one, so that a script that was loaded is there.
            Ok(None) | Err(SlotError::Keys(_)) => {
                self.forward(incoming, command, Slot::of(b""));
            }
        }
    }

    fn refuse(&mut self, incoming: &Incoming<'_>, command: &Command, refusal: Refusal) {
        self.answer_at_once(incoming, command.id, &refusal.reply(command));
    }

    /// Gives a reply that is known at once, and counts it.
    pub(super) fn answer_at_once(
        &mut self,
        incoming: &Incoming<'_>,
        command: CommandId,
        reply: &[u8],
    ) {
        let failed = reply.first() == Some(&b'-');
        self.stats.count_request(command, failed, 0);
        let error = failed.then(|| self.stats.count_error(reply));
        self.stats.client_latency.observe(0);
        self.stats.client_bytes_out.add(reply.len() as u64);
        self.answer(incoming, command, |out| out.extend_from_slice(reply));
        self.tell_local(incoming, command, error, reply.len());
    }

    fn answer(
        &mut self,
        incoming: &Incoming<'_>,
        command: CommandId,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(session) = self.session(incoming.connection) else {
            return;
        };
        session.answer(command, incoming.now, write);
    }

    /// The client broke the protocol: tell it, after all replies it is owed, and close. What looks
    /// like an attack is told nothing and closed at once, as redis-server does.
    fn refuse_client(&mut self, connection: ConnectionId, error: &RequestError, now: Instant) {
        self.stats.requests_invalid.inc();
        let Some(session) = self.session(connection) else {
            return;
        };
        session.closing = true;
        if error.is_replied() {
            return session.answer(CommandId(0), now, |out| error.reply(out));
        }
        if session.leaving {
            return;
        }
        let reason = match error {
            RequestError::CrossProtocol => {
                self.tell_suspicion(connection, Suspicion::Http, now);
                Cut::Http
            }
            _ => Cut::RequestSize,
        };
        self.cut_client(connection, reason);
    }
}

/// Which of a backend's pipelines a client uses: always the same one, which keeps its order.
#[inline]
pub(super) fn lane(session: &Session, per_node: usize) -> usize {
    let first = first_lane(session, per_node);
    if per_node == 1 {
        first
    } else {
        first + session.connection.index as usize % per_node
    }
}

/// The one through which what is large goes.
fn large_lane(session: &Session, per_node: usize) -> usize {
    first_lane(session, per_node) + per_node
}

/// How many there are for one protocol version and database.
#[inline]
pub(super) fn lanes_of_protocol(per_node: usize) -> usize {
    per_node + 1
}

#[inline]
fn first_lane(session: &Session, per_node: usize) -> usize {
    let of_protocol = lanes_of_protocol(per_node);
    let mut first = if session.protocol == Protocol::Resp3 {
        of_protocol
    } else {
        0
    };
    if session.database > 0 {
        first += usize::from(session.database) * 2 * of_protocol;
    }
    first
}

/// What is not queued between MULTI and EXEC.
#[inline]
fn passes_transaction(plan: Plan) -> bool {
    matches!(
        plan,
        Plan::Transaction(_) | Plan::Local(Local::Quit | Local::Reset)
    )
}

/// Redis 7.0 does not have the command, but clients send it.
pub(super) fn is_client_set_info(request: &Request<'_>) -> bool {
    request.len() > 1
        && request.arg(0).eq_ignore_ascii_case(b"client")
        && request.arg(1).eq_ignore_ascii_case(b"setinfo")
}
