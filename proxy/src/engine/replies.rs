//! From a node's bytes to a client's: match each reply with its request, see whether it is for
//! the client, put it in its place.

use bytes::{Buf, BytesMut};
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Instant};
use slotway_protocol::output::LARGE_BYTES;

use super::hold::{Held, Target};
use super::pipeline::{InFlight, Kind};
use super::redirect::{Later, Verdict, judge};
use super::session::{Reply, Ticket};
use super::{Connection, Notice, Proxy, answer};

impl Proxy {
    /// Takes all whole replies from the input.
    pub(super) fn handle_backend_input(
        &mut self,
        index: usize,
        input: &mut BytesMut,
        now: Instant,
    ) {
        let before = input.len();
        let mut consumed = 0;
        self.pipelines[index].heard = now;
        loop {
            let rest = &input[consumed..];
            let len = match self.pipelines[index].scanner.scan(rest) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(_) => return self.cut_backend(index, input),
            };
            let kind = self.pipelines[index].front().map(|entry| entry.kind);
            let understood = match kind {
                _ if rest[0] == b'>' => true,
                Some(Kind::Request | Kind::Asked) if len >= LARGE_BYTES => {
                    input.advance(consumed);
                    consumed = 0;
                    let reply = input.split_to(len).freeze();
                    self.handle_reply(index, Reply::Shared(reply), now);
                    continue;
                }
                Some(Kind::Request | Kind::Asked) => {
                    self.handle_reply(index, Reply::Copied(&rest[..len]), now);
                    true
                }
                Some(Kind::Asking) => self.pipelines[index].pop().is_some(),
                Some(Kind::Login) => {
                    let worked = rest[0] != b'-';
                    worked && self.pipelines[index].pop().is_some()
                }
                None => false,
            };
            if !understood {
                return self.cut_backend(index, input);
            }
            consumed += len;
        }
        input.advance(consumed);
        self.stats
            .backend_bytes_in
            .add((before - input.len()) as u64);
    }

    /// The node said something that nobody asked for, or that can't be read: nothing that follows
    /// can be trusted to belong to its request.
    fn cut_backend(&mut self, index: usize, input: &mut BytesMut) {
        input.clear();
        if let Some(connection) = self.pipelines[index].connection() {
            self.close(connection, CloseWhen::Now);
        }
    }

    #[inline]
    fn handle_reply(&mut self, index: usize, reply: Reply<'_>, now: Instant) {
        if reply.bytes().first() == Some(&b'-') {
            let verdict = judge(reply.bytes(), &self.pipelines[index].address);
            if verdict != Verdict::Deliver {
                return self.send_elsewhere(index, verdict, reply.bytes(), now);
            }
        }
        let Some(entry) = self.pipelines[index].pop() else {
            return;
        };
        self.stats
            .backend_latency
            .observe(now.micros_since(entry.sent));
        self.deliver(entry.ticket, reply, now);
        if !self.holds.is_empty() && self.holds.settle(entry.slot) {
            self.advance_hold(entry.slot, now);
        }
    }

    /// The node did not serve the oldest request: it goes back to its slot's hold.
    #[cold]
    fn send_elsewhere(&mut self, index: usize, verdict: Verdict, reply: &[u8], now: Instant) {
        let lane = index % self.lanes();
        let frame = self.pipelines[index].front_bytes();
        let Some(mut entry) = self.pipelines[index].pop() else {
            return;
        };
        let slot = entry.slot;
        let attempts = self.holds.attempts(slot);
        let mut target = Target::Owner;
        let mut not_before = now;
        match verdict {
            Verdict::Moved(address) => {
                self.stats.redirects_moved.inc();
                entry.redirects += 1;
                self.owners[slot.index()] = self.backend(&address) as u32;
                self.actions
                    .push_back(Action::Notify(Notice::TopologyStale));
                if attempts > 1 {
                    not_before = now + back_off(attempts);
                }
            }
            Verdict::Ask(address) => {
                self.stats.redirects_ask.inc();
                entry.redirects += 1;
                target = Target::Ask(address);
            }
            Verdict::Later(reason) => {
                self.stats.redirects_later.inc();
                // Waiting, not going round in a circle: its own time limit bounds it.
                entry.redirects = 0;
                if reason != Later::TryAgain {
                    self.actions
                        .push_back(Action::Notify(Notice::TopologyStale));
                }
                not_before = now + back_off(attempts);
            }
            Verdict::Deliver => {}
        }
        self.begin_hold(slot, now);
        let late = now.since(entry.arrived) >= self.options.hold_timeout;
        if entry.redirects > self.options.redirects_max {
            self.deliver_error(entry.ticket, answer::REDIRECTS, now);
        } else if late {
            self.stats.holds_expired.inc();
            self.deliver(entry.ticket, Reply::Copied(reply), now);
        } else {
            let error = reply.to_vec();
            self.put_back(
                Held {
                    entry,
                    frame,
                    lane,
                    target,
                    error,
                },
                not_before,
                now,
            );
        }
        if self.holds.settle(slot) {
            self.advance_hold(slot, now);
        }
    }

    /// A slot's requests wait from now on, if they do not yet. The one that was just taken out of
    /// its pipeline counts as outstanding.
    fn begin_hold(&mut self, slot: slotway_protocol::cluster::Slot, now: Instant) {
        if !self.holds.contains(slot) {
            let outstanding = self.outstanding(slot) + 1;
            self.holds.begin(slot, outstanding, now);
        }
    }

    /// Puts a reply, or a part of one, in its place and sends on what is in turn.
    #[inline]
    pub(super) fn deliver(&mut self, ticket: Ticket, reply: Reply<'_>, now: Instant) {
        let index = ticket.connection.index as usize;
        let Some(Connection::Client(session)) = self.connections.get_mut(index) else {
            return;
        };
        if session.connection != ticket.connection {
            return;
        }
        let was_empty = session.output.is_empty();
        let (delivered, failed, len) = match session.merge_of(ticket) {
            None => {
                let failed = reply.bytes().first() == Some(&b'-');
                let len = reply.bytes().len();
                (session.fill(ticket, reply), failed, len)
            }
            Some(merge) => {
                if !self.merges.add(merge, ticket, reply.bytes()) {
                    return;
                }
                self.scratch.reply.clear();
                self.merges.finish(merge, &mut self.scratch.reply);
                let merged = &self.scratch.reply;
                let failed = merged.first() == Some(&b'-');
                (
                    session.fill(ticket, Reply::Copied(merged)),
                    failed,
                    merged.len(),
                )
            }
        };
        let wake =
            was_empty && !session.output.is_empty() && ticket.connection.index != self.current;
        let attention = session.paused || session.closing || session.ended;
        self.stats.count_request(delivered.command, failed);
        self.stats
            .client_latency
            .observe(now.micros_since(delivered.arrived));
        self.stats.client_bytes_out.add(len as u64);
        if wake {
            self.actions.push_back(Action::Wake(ticket.connection));
        }
        if attention {
            self.attend(ticket.connection);
        }
    }

    pub(super) fn deliver_error(&mut self, ticket: Ticket, text: &[u8], now: Instant) {
        self.deliver(ticket, Reply::Copied(&answer::error(text)), now);
    }

    #[cold]
    fn attend(&mut self, connection: ConnectionId) {
        self.resume_if_ready(connection);
        self.close_if_finished(connection);
    }

    /// How many requests for the slot nodes have not answered.
    pub(super) fn outstanding(&self, slot: slotway_protocol::cluster::Slot) -> usize {
        let of_slot = |entry: &&InFlight| entry.slot == slot && entry.has_owner();
        self.pipelines
            .iter()
            .map(|pipeline| pipeline.in_flight().filter(of_slot).count())
            .sum()
    }
}

impl Reply<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Reply::Copied(bytes) => bytes,
            Reply::Shared(bytes) => bytes,
        }
    }
}

/// How long to wait before a node is asked again: 1 ms, then twice as long each time, up to 50 ms.
pub(super) fn back_off(attempts: u32) -> core::time::Duration {
    core::time::Duration::from_millis((1 << attempts.min(6)).min(50))
}
