//! What nearly all requests and replies are, done in the fewest steps: a command with one key of a
//! client of which nothing else is to be known, and the reply to one. Whatever is not plain is left
//! to `requests.rs` and `replies.rs`, which do the same for these, only slower.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command;
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::output::LARGE_BYTES;
use slotway_protocol::resp::Request;

use super::fail_point;
use super::pipeline::InFlight;
use super::plan::Plan;
use super::requests::lane;
use super::session::Reply;
use super::{Connection, Proxy};

impl Proxy {
    /// Sends a plain request on; says whether it was one.
    #[inline(always)]
    pub(super) fn forward_plain(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
        now: Instant,
    ) -> bool {
        let Some(command) = command::lookup(request.arg(0)) else {
            return false;
        };
        let Plan::Key(position) = self.plans.of(command) else {
            return false;
        };
        let frame = request.frame();
        let is_watched = self.monitors.active || self.careful;
        if is_watched || !command.accepts(request.len()) || frame.len() >= LARGE_BYTES {
            return false;
        }
        let key = request.arg(position);
        if self.knows_large_keys && self.options.large_keys.has(command.id, key) {
            return false;
        }
        let Some(Connection::Client(session)) = self.connections.get_mut(connection.index as usize)
        else {
            return false;
        };
        if session.transaction.is_some() || session.is_subscribed() {
            return false;
        }
        let slot = Slot::of(key);
        let ticket = session.reserve(command.id, now);
        fail_point::pass();
        let lane = lane(session, self.options.connections_per_node);
        let entry = InFlight::request(ticket, command.id, slot, frame.len(), now);
        self.dispatch_at_once(entry, lane, frame, None);
        if self.watched.hot.is_due() {
            self.note_key(key, command);
        }
        true
    }

    /// Delivers a plain reply to the oldest request; says whether it was one.
    #[inline(always)]
    pub(super) fn deliver_plain(&mut self, index: usize, reply: &[u8], now: Instant) -> bool {
        if matches!(reply.first(), Some(b'-' | b'>')) || reply.len() >= LARGE_BYTES {
            return false;
        }
        let pipeline = &mut self.pipelines[index];
        let Some(front) = pipeline.plain_front() else {
            return false;
        };
        let (ticket, slot, sent) = (front.ticket, front.slot, front.sent);
        if now.micros_since(front.arrived) >= self.options.slowlog_slower_than_us
            || self.watched.trails.follows(ticket)
        {
            return false;
        }
        let place = ticket.connection.index as usize;
        let Some(Connection::Client(session)) = self.connections.get_mut(place) else {
            return false;
        };
        let is_plain = session.is_plain(ticket)
            && session.held_bytes() <= self.options.client_output_bytes_cut
            && self.holds.is_empty();
        if !is_plain {
            return false;
        }
        pipeline.pop();
        fail_point::pass();
        let micros = now.micros_since(sent);
        pipeline.note_answered(micros);
        self.in_flight_by_slot[slot.index()] -= 1;
        self.stats.backend_latency.observe(micros);
        let was_empty = session.output.is_empty();
        let delivered = session.fill(ticket, Reply::Copied(reply));
        fail_point::pass();
        if was_empty && !session.output.is_empty() && ticket.connection.index != self.current {
            self.actions.push_back(Action::Wake(ticket.connection));
        }
        self.count_delivery(delivered, false, reply.len(), now);
        true
    }
}
