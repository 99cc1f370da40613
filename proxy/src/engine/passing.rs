//! Hands a large reply on to its client in pieces, as it comes, so that it is never held whole.
//! Only what the client does not take waits here; when that becomes much, the node waits for the
//! client, and when that takes long, the client is cut off.

use core::time::Duration;

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Action, ConnectionId, Instant};

use super::Proxy;
use super::fail_point;
use super::pipeline::{InFlight, Pipeline};
use super::running::TaskId;
use super::scatter::is_scattered;
use super::session::{Reply, Session};
use super::stats::{Cut, CutBackend};

/// The reply to the oldest request of a pipeline, of which the client has the beginning.
#[derive(Debug)]
pub(crate) struct Passing {
    /// What has been handed on.
    bytes: usize,
    /// Since when nothing is read from the node.
    waits_since: Option<Instant>,
    /// How long that was so before.
    waited: Duration,
}

impl Proxy {
    /// The beginning of a large reply is here: makes room for the rest in one piece, or hands on
    /// what there is. Says how much of the input is to be skipped.
    #[cold]
    pub(super) fn expect_large(
        &mut self,
        index: usize,
        input: &mut BytesMut,
        consumed: usize,
        now: Instant,
    ) -> usize {
        let len = input.len() - consumed;
        if len >= self.bounds.passed {
            return self.begin_passing(index, input, consumed, now);
        }
        input.advance(consumed);
        // A node is believed as to the length, but not without end.
        let missing = self.pipelines[index].scanner.missing(len);
        input.reserve(missing.min(self.bounds.passed));
        0
    }

    /// So much of a reply is here that the beginning may go. Says how much of the input is left to
    /// be skipped.
    fn begin_passing(
        &mut self,
        index: usize,
        input: &mut BytesMut,
        consumed: usize,
        now: Instant,
    ) -> usize {
        let kind = input[consumed];
        let pipeline = &self.pipelines[index];
        let can_pass = matches!(kind, b'$' | b'*' | b'%' | b'~' | b'=')
            && pipeline.is_in_last_reply()
            && !pipeline.is_logging_in()
            && !pipeline.is_front_unsent()
            && pipeline.front().is_some_and(InFlight::has_slot);
        let Some(front) = pipeline.front().copied().filter(|_| can_pass) else {
            return consumed;
        };
        let client = front.ticket.connection;
        match self.session(client) {
            Some(session) if !session.is_in_turn(front.ticket) => return consumed,
            // Between the pieces something else might come.
            Some(session) if session.hears_others() => return consumed,
            Some(_) => {}
            // A task wants it whole. If the client has gone, nobody wants it.
            None if TaskId::of(front.ticket).is_some() => return consumed,
            None if is_scattered(front.ticket) => return consumed,
            None => {}
        }
        self.note_large_reply(index, input.len() - consumed);
        input.advance(consumed);
        self.stats.replies_passed.inc();
        self.pipelines[index].passing = Some(Passing {
            bytes: 0,
            waits_since: None,
            waited: Duration::ZERO,
        });
        self.pass_pieces(index, input, now);
        0
    }

    /// More of a reply that is handed on in pieces. Says whether it is over and the input goes on
    /// with the next one.
    #[cold]
    pub(super) fn go_on_passing(
        &mut self,
        index: usize,
        input: &mut BytesMut,
        now: Instant,
    ) -> bool {
        let before = input.len();
        let is_over = match self.pipelines[index].scanner.scan(input) {
            Ok(Some(len)) => {
                self.end_passing(index, input, len, now);
                true
            }
            Ok(None) => {
                self.pass_pieces(index, input, now);
                false
            }
            Err(_) => {
                self.cut_backend(index, input, CutBackend::Unreadable);
                false
            }
        };
        self.stats
            .backend_bytes_in
            .add((before - input.len()) as u64);
        let unread = std::mem::replace(&mut self.pipelines[index].unread, input.len());
        if self.meter.note(before.saturating_sub(unread)) {
            self.count_memory(now);
        }
        is_over
    }

    /// Whether a reply is handed on to that client in pieces.
    pub(super) fn passes_to(&self, client: ConnectionId) -> bool {
        let mut pipelines = self.pipelines.iter();
        self.gradual.is_writing(client)
            || pipelines.any(|pipeline| {
                let front = pipeline.front().filter(|_| pipeline.passing.is_some());
                front.map(|front| front.ticket.connection) == Some(client)
            })
    }

    /// How much of a reply may wait for its client, beside the others that are handed on.
    fn passing_max(&self) -> usize {
        let is_passing = |pipeline: &&Pipeline| pipeline.passing.is_some();
        let count = self.pipelines.iter().filter(is_passing).count();
        (self.bounds.passing / count.max(1)).max(LEAST_PASSING)
    }

    /// Hands on all that is here, but for a line that is not whole.
    fn pass_pieces(&mut self, index: usize, input: &mut BytesMut, now: Instant) {
        let pipeline = &mut self.pipelines[index];
        let (Some(front), Some(passing)) = (pipeline.front().copied(), &mut pipeline.passing)
        else {
            return;
        };
        let count = pipeline.scanner.hand_over(input.len());
        if count == 0 {
            return;
        }
        passing.bytes += count;
        let piece = input.split_to(count).freeze();
        fail_point::pass();
        self.stats.client_bytes_out.add(count as u64);
        let client = front.ticket.connection;
        let limit = self.passing_max();
        let current = self.current;
        let Some(session) = self.session(client).filter(|it| !it.leaving) else {
            return;
        };
        session.is_passed = true;
        let was_empty = session.output.is_empty();
        session.pass(piece);
        fail_point::pass();
        let waits = session.output.len() >= limit;
        if was_empty && client.index != current {
            self.actions.push_back(Action::Wake(client));
        }
        if waits {
            self.let_node_wait(index, now);
        }
    }

    fn let_node_wait(&mut self, index: usize, now: Instant) {
        let pipeline = &mut self.pipelines[index];
        if let (Some(connection), Some(passing)) = (pipeline.connection(), &mut pipeline.passing)
            && passing.waits_since.is_none()
        {
            passing.waits_since = Some(now);
            self.actions.push_back(Action::Pause(connection));
        }
    }

    /// The client has taken some of its reply: the node may go on.
    #[cold]
    pub(super) fn go_on_if_taken(&mut self, client: ConnectionId, now: Instant) {
        if self.gradual.has(client) {
            return self.write_gradual(client, now);
        }
        let limit = self.passing_max() / 2;
        let is_ready = |session: &mut Session| session.output.len() <= limit;
        if !self.session(client).is_some_and(is_ready) {
            return;
        }
        for index in 0..self.pipelines.len() {
            let pipeline = &self.pipelines[index];
            let is_for = pipeline.passing.is_some()
                && pipeline.front().map(|front| front.ticket.connection) == Some(client);
            if is_for {
                self.let_node_go_on(index, now);
            }
        }
    }

    fn let_node_go_on(&mut self, index: usize, now: Instant) {
        let pipeline = &mut self.pipelines[index];
        pipeline.heard = now;
        if let (Some(connection), Some(passing)) = (pipeline.connection(), &mut pipeline.passing)
            && let Some(since) = passing.waits_since.take()
        {
            passing.waited += now.since(since);
            self.actions.push_back(Action::Resume(connection));
        }
    }

    /// Cuts off clients for which a node has waited too long; others wait behind them.
    pub(super) fn sweep_passing(&mut self, now: Instant) {
        for index in 0..self.pipelines.len() {
            let pipeline = &mut self.pipelines[index];
            let Some(passing) = &pipeline.passing else {
                continue;
            };
            let Some(since) = passing.waits_since else {
                continue;
            };
            // It is silent because we do not listen.
            pipeline.heard = now;
            let is_late = passing.waited + now.since(since) >= WAIT_MAX;
            let Some(client) = pipeline.front().map(|front| front.ticket.connection) else {
                continue;
            };
            let is_gone = self.session(client).is_none_or(|session| session.leaving);
            if is_late && !is_gone {
                self.cut_client(client, Cut::Output);
            }
            if is_late || is_gone {
                self.let_node_go_on(index, now);
            }
        }
    }

    /// The rest of the reply is here.
    fn end_passing(&mut self, index: usize, input: &mut BytesMut, len: usize, now: Instant) {
        let last = input.split_to(len).freeze();
        self.note_answer(index, b"", now);
        let pipeline = &mut self.pipelines[index];
        let bytes = pipeline.passing.take().map_or(0, |passing| passing.bytes) + len;
        fail_point::pass();
        let Some(entry) = pipeline.pop() else { return };
        fail_point::pass();
        pipeline.failures = 0;
        self.in_flight_by_slot[entry.slot.index()] -= 1;
        self.stats
            .backend_latency
            .observe(now.micros_since(entry.sent));
        self.stats.client_bytes_out.add(len as u64);
        let client = entry.ticket.connection;
        let current = self.current;
        if let Some(session) = self.session(client).filter(|it| !it.leaving) {
            let was_empty = session.output.is_empty();
            fail_point::pass();
            let delivered = session.fill(entry.ticket, Reply::Shared(last));
            session.is_passed = false;
            let micros = now.micros_since(delivered.arrived);
            self.stats.count_request(delivered.command, false, micros);
            self.stats.client_latency.observe(micros);
            self.end_trail(entry.ticket, delivered, None, bytes, now);
            if was_empty && client.index != current {
                self.actions.push_back(Action::Wake(client));
            }
            self.narrow_window(client, bytes);
            self.attend(client);
        }
        self.settle_slot(entry.slot, now);
    }

    /// The connection is lost in the middle of such a reply: nobody can tell the client but by
    /// ending its connection, too.
    pub(super) fn abandon_passing(&mut self, index: usize, now: Instant) {
        let pipeline = &mut self.pipelines[index];
        if pipeline.passing.take().is_none() {
            return;
        }
        fail_point::pass();
        let Some(entry) = pipeline.pop() else { return };
        self.in_flight_by_slot[entry.slot.index()] -= 1;
        fail_point::pass();
        let client = entry.ticket.connection;
        if self.session(client).is_some_and(|session| !session.leaving) {
            self.cut_client(client, Cut::ReplyLost);
        }
        self.settle_slot(entry.slot, now);
    }

    fn settle_slot(&mut self, slot: Slot, now: Instant) {
        if !self.holds.is_empty() && self.holds.settle(slot) {
            self.advance_hold(slot, now);
        }
    }
}

/// How long a node waits for one client in all.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// So many bytes may always wait for a client: fewer would make its node wait all the time.
const LEAST_PASSING: usize = 1024 * 1024;
