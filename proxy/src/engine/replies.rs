//! From a node's bytes to a client's: match each reply with its request, see whether it is for
//! the client, put it in its place.

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{Command, Group};
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Instant};
use slotway_protocol::output::LARGE_BYTES;

use super::fail_point;
use super::node_stats::NodeError;
use super::pipeline::Kind;
use super::redirect::{Verdict, judge};
use super::session::{Delivered, Reply, Ticket};
use super::stats::{Cut, CutBackend};
use super::{Connection, Notice, Proxy, answer};

impl Proxy {
    /// Takes all whole replies from the input.
    pub(super) fn handle_backend_input(
        &mut self,
        index: usize,
        input: &mut BytesMut,
        now: Instant,
    ) {
        let mut before = input.len();
        let mut consumed = 0;
        self.pipelines[index].heard = now;
        if self.pipelines[index].passing.is_some() && !self.go_on_passing(index, input, now) {
            return;
        }
        before = before.min(input.len());
        loop {
            let rest = &input[consumed..];
            let pipeline = &mut self.pipelines[index];
            let len = match pipeline.scanner.scan(rest) {
                Ok(Some(len)) => len,
                Ok(None) => {
                    if rest.len() >= LARGE_BYTES {
                        consumed = self.expect_large(index, input, consumed, now);
                    }
                    break;
                }
                Err(_) => return self.cut_backend(index, input, CutBackend::Unreadable),
            };
            if self.deliver_plain(index, &rest[..len], now) {
                consumed += len;
                continue;
            }
            let pipeline = &mut self.pipelines[index];
            let kind = pipeline.front().map(|entry| entry.kind);
            if rest[0] == b'>' {
                consumed += len;
            } else if pipeline.is_logging_in() {
                if rest[0] == b'-' && !pipeline.is_life_sign() {
                    return self.refused_by_backend(index, input);
                }
                self.login_accepted(index);
                consumed += len;
            } else if pipeline.is_front_unsent() || kind.is_none() {
                // The node speaks before it was asked. A reply to a request that it has only seen
                // the beginning of is for that request, but the connection is of no use any more.
                if kind.is_some() {
                    self.handle_reply(index, Reply::Copied(&rest[..len]), now);
                }
                return self.cut_backend(index, input, CutBackend::Unasked);
            } else if pipeline.note_preceding(&rest[..len]) {
                consumed += len;
            } else if kind == Some(Kind::Asking) {
                pipeline.pop();
                consumed += len;
            } else if len >= LARGE_BYTES {
                self.note_large_reply(index, len);
                input.advance(consumed);
                consumed = 0;
                let reply = input.split_to(len).freeze();
                self.handle_reply(index, Reply::Shared(reply), now);
            } else {
                self.handle_reply(index, Reply::Copied(&rest[..len]), now);
                consumed += len;
            }
        }
        input.advance(consumed);
        self.stats
            .backend_bytes_in
            .add((before - input.len()) as u64);
        let unread = std::mem::replace(&mut self.pipelines[index].unread, input.len());
        if self.meter.note(before.saturating_sub(unread)) {
            self.count_memory(now);
        }
    }

    fn login_accepted(&mut self, index: usize) {
        let pipeline = &mut self.pipelines[index];
        pipeline.note_login_reply();
        if let Some(connection) = pipeline.connection()
            && !pipeline.output().is_empty()
        {
            self.actions.push_back(Action::Wake(connection));
        }
    }

    /// The node does not want our login.
    fn refused_by_backend(&mut self, index: usize, input: &mut BytesMut) {
        let text = String::from_utf8_lossy(input[1..].trim_ascii_end()).into_owned();
        let address = self.pipelines[index].address.clone();
        let notice = Notice::LoginRefused { address, text };
        self.actions.push_back(Action::Notify(notice));
        self.cut_backend(index, input, CutBackend::Login);
    }

    /// The node said something that nobody asked for, or that can't be read: nothing that follows
    /// can be trusted to belong to its request.
    pub(super) fn cut_backend(&mut self, index: usize, input: &mut BytesMut, reason: CutBackend) {
        self.stats.backends_cut[reason as usize].inc();
        self.count_node_error(index, NodeError::of_cut(reason));
        self.pipelines[index].cut = true;
        input.clear();
        if let Some(connection) = self.pipelines[index].connection() {
            self.close(connection, CloseWhen::Now);
        }
    }

    fn handle_reply(&mut self, index: usize, reply: Reply<'_>, now: Instant) {
        self.note_answer(index, reply.bytes(), now);
        if reply.bytes().first() == Some(&b'-') && self.is_for_us(index, reply.bytes(), now) {
            return;
        }
        self.note_if_slow(index, now);
        let pipeline = &mut self.pipelines[index];
        let Some(entry) = pipeline.pop() else { return };
        fail_point::pass();
        let micros = now.micros_since(entry.sent);
        pipeline.note_answered(micros);
        if entry.has_slot() {
            self.in_flight_by_slot[entry.slot.index()] -= 1;
        }
        self.stats.backend_latency.observe(micros);
        // What the reply leads to may begin a hold of its own, which does not wait for this one.
        let held = !self.holds.is_empty() && entry.has_slot();
        let goes_on = held && self.holds.settle(entry.slot);
        fail_point::pass();
        self.deliver(entry.ticket, reply, now);
        fail_point::pass();
        if held && !self.gates.is_empty() {
            self.open_gate(self.pipelines[index].backend, now);
        }
        if goes_on {
            self.advance_hold(entry.slot, now);
        }
    }

    /// Whether an error reply tells the proxy to send the oldest request again, which it then does.
    fn is_for_us(&mut self, index: usize, reply: &[u8], now: Instant) -> bool {
        let pipeline = &mut self.pipelines[index];
        let Some(front) = pipeline.front() else {
            return false;
        };
        if front.kind == Kind::Read {
            return self.is_read_refused(index, reply, now);
        }
        if !front.has_slot() {
            return false;
        }
        let (slot, command) = (front.slot, Command::by_id(front.command));
        let is_script = command.group == Group::Scripting;
        // Of a block that was refused as a whole the reason is in what came before.
        let cause = pipeline.preceding_error();
        let cause = cause.as_deref().unwrap_or(reply);
        let verdict = judge(cause, &pipeline.address, slot, is_script);
        if verdict != Verdict::Deliver {
            let verdict = self.screen(verdict);
            self.send_elsewhere(index, verdict, is_script, cause, now);
            return true;
        }
        is_script && self.heal_script(index, reply, now)
    }

    /// Puts a reply, or a part of one, in its place and sends on what is in turn.
    pub(super) fn deliver(&mut self, ticket: Ticket, reply: Reply<'_>, now: Instant) {
        let index = ticket.connection.index as usize;
        let Some(Connection::Client(session)) = self.connections.get_mut(index) else {
            return self.deliver_to_task(ticket, reply, now);
        };
        if session.connection != ticket.connection {
            return;
        }
        if session.leaving {
            return;
        }
        if session.is_gradual(ticket) {
            return self.take_part(ticket, reply.bytes(), now);
        }
        let was_empty = session.output.is_empty();
        let too_much = session.held_bytes() > self.options.client_output_bytes_cut;
        let (delivered, error, len) = match session.merge_of(ticket) {
            None => {
                let failed = reply.bytes().first() == Some(&b'-');
                let len = reply.bytes().len();
                let error = failed.then(|| self.stats.count_error(reply.bytes()));
                (session.fill(ticket, reply), error, len)
            }
            Some(merge) => {
                let len = reply.bytes().len();
                let full = self
                    .merges
                    .is_full(merge, len, self.options.merge_bytes_max);
                let last = if full {
                    self.stats.merges_full.inc();
                    let error = answer::error(answer::MERGE_FULL);
                    self.merges.add(merge, ticket.part, &error)
                } else {
                    self.merges.add(merge, ticket.part, reply.bytes())
                };
                fail_point::pass();
                if !last {
                    return;
                }
                let mut merged = std::mem::take(&mut self.scratch.reply);
                merged.clear();
                self.merges.finish(merge, &mut merged);
                let (failed, len) = (merged.first() == Some(&b'-'), merged.len());
                let error = failed.then(|| self.stats.count_error(&merged));
                let delivered = if len >= LARGE_BYTES {
                    session.fill(ticket, Reply::Shared(merged.into()))
                } else {
                    let delivered = session.fill(ticket, Reply::Copied(&merged));
                    self.scratch.reply = merged;
                    delivered
                };
                (delivered, error, len)
            }
        };
        let wake =
            was_empty && !session.output.is_empty() && ticket.connection.index != self.current;
        let attention = session.paused || session.solo || session.closing || session.ended;
        fail_point::pass();
        self.count_delivery(delivered, error.is_some(), len, now);
        self.end_trail(ticket, delivered, error, len, now);
        if wake {
            self.actions.push_back(Action::Wake(ticket.connection));
        }
        if too_much {
            self.cut_client(ticket.connection, Cut::Output);
        } else if attention {
            self.attend(ticket.connection);
        }
    }

    #[inline]
    pub(super) fn count_delivery(
        &self,
        delivered: Delivered,
        failed: bool,
        len: usize,
        now: Instant,
    ) {
        let micros = now.micros_since(delivered.arrived);
        self.stats.count_request(delivered.command, failed, micros);
        self.stats.client_latency.observe(micros);
        self.stats.client_bytes_out.add(len as u64);
    }

    pub(super) fn deliver_error(&mut self, ticket: Ticket, text: &[u8], now: Instant) {
        self.deliver(ticket, Reply::Copied(&answer::error(text)), now);
    }

    #[cold]
    pub(super) fn attend(&mut self, connection: ConnectionId) {
        self.resume_if_ready(connection);
        self.close_if_finished(connection);
    }

    /// How many requests for the slot nodes have not answered.
    #[inline]
    pub(super) fn outstanding(&self, slot: Slot) -> usize {
        self.in_flight_by_slot[slot.index()] as usize
    }
}

impl Reply<'_> {
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Reply::Copied(bytes) => bytes,
            Reply::Shared(bytes) => bytes,
        }
    }
}
