//! When a client is read from and when not: what it waits for, and what ends that.

use core::time::Duration;

use bytes::BytesMut;
use slotway_protocol::command::{Command, Flags, Group, lookup};
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Instant};
use slotway_protocol::resp::{Request, RequestBuffers, RequestLimits, RequestScanner, Scan};

use super::plan::Plan;
use super::shedding::LARGE_UNREAD;
use super::{Connection, Proxy};

impl Proxy {
    /// Whether the client must first have all replies it is owed; it is paused until then.
    pub(super) fn wait_for_replies(&mut self, connection: ConnectionId) -> bool {
        let Some(session) = self.session(connection) else {
            return false;
        };
        let waits = session.owed() > 0;
        if waits {
            session.waits_for_all = true;
            self.pause(connection);
        }
        waits
    }

    /// The client is owed as many replies as may be, or does not take those that are here.
    #[cold]
    pub(super) fn wait_for_room<T>(&mut self, connection: ConnectionId) -> Option<T> {
        let bytes_max = self.bounds.output;
        if let Some(session) = self.session(connection)
            && session.held_bytes() >= bytes_max
        {
            session.overfull = true;
            session.window = (session.window / 2).max(1);
        }
        self.pause(connection);
        None
    }

    /// The most replies that may be owed to one client.
    fn window_max(&self) -> u16 {
        u16::try_from(self.options.client_in_flight_max).unwrap_or(u16::MAX)
    }

    /// How many replies may be owed to a client of which nothing is known.
    pub(super) fn first_window(&self) -> u16 {
        self.window_max().min(FIRST_WINDOW)
    }

    /// Fewer replies may be owed to a client from now on.
    pub(super) fn shut_windows(&mut self) {
        let window_max = self.window_max();
        for connection in &mut self.connections {
            if let Connection::Client(session) = connection {
                session.window = session.window.min(window_max);
            }
        }
    }

    /// A large reply for the client has come: about as much of them as may wait should be owed.
    #[cold]
    pub(super) fn narrow_window(&mut self, connection: ConnectionId, len: usize) {
        let enough = (2 * self.bounds.output / len).clamp(1, usize::from(u16::MAX));
        if let Some(session) = self.session(connection) {
            session.window = session.window.min(enough as u16);
            session.overfull = true;
        }
    }

    /// The oldest request of a pipeline has such a large reply that it is worth remembering.
    #[cold]
    pub(super) fn note_large_reply(&mut self, index: usize, len: usize) {
        let Some(front) = self.pipelines[index].front().copied() else {
            return;
        };
        self.narrow_window(front.ticket.connection, len);
        let command = Command::by_id(front.command);
        let Plan::Key(position) = self.plans.of(command) else {
            return;
        };
        let is_limited = len >= self.options.large_reply;
        if front.preceding > 0 || !is_limited && len < self.options.large_value_bytes {
            return;
        }
        let frame = self.pipelines[index].front_bytes();
        let mut buffers = RequestBuffers::default();
        let scanned =
            RequestScanner::default().scan(&frame, &RequestLimits::default(), &mut buffers);
        if let Ok(Scan::Request { .. }) = scanned
            && position < buffers.request(&frame).len()
        {
            let request = buffers.request(&frame);
            let key = request.arg(position);
            self.note_large_value(key, len, command, true);
            if is_limited {
                self.options.large_keys.add(front.command, key);
                self.knows_large_keys = true;
            }
        }
    }

    /// Learns what other workers have noted, and forgets what is old.
    pub(super) fn sweep_large_keys(&mut self, now: Instant) {
        let keys = &self.options.large_keys;
        if self.options.worker == 0 && now.since(self.aged) >= LARGE_KEPT {
            self.aged = now;
            keys.grow_old();
        }
        self.knows_large_keys = keys.has_any();
    }

    /// A client stores a large value: it will be large when somebody gets it.
    #[cold]
    pub(super) fn note_large_request(&mut self, request: &Request<'_>, command: &Command) {
        if let Plan::Key(position) = self.plans.of(command)
            && position < request.len()
        {
            self.note_large_value(request.arg(position), request.frame().len(), command, false);
        }
        if let Plan::Key(position) = self.plans.of(command)
            && command.flags.contains(Flags::WRITE)
            && command.group == Group::String
            && request.frame().len() >= self.options.large_reply
            && let Some(get) = lookup(b"get")
        {
            self.options.large_keys.add(get.id, request.arg(position));
            self.knows_large_keys = true;
        }
    }

    /// The client is blocked. Reading goes on all the same, up to a limit, so that it is noticed
    /// when the client leaves.
    #[cold]
    pub(super) fn wait_for_solo<T>(
        &mut self,
        connection: ConnectionId,
        waiting: usize,
    ) -> Option<T> {
        if waiting > SOLO_BYTES_MAX {
            self.pause(connection);
        }
        None
    }

    /// The client is blocked: no request of it is taken until it has all replies it is owed.
    pub(super) fn block(&mut self, connection: ConnectionId) {
        if let Some(session) = self.session(connection) {
            session.solo = session.owed() > 0;
            let blocked = i64::from(session.solo);
            self.stats.clients_blocked.add(blocked);
        }
    }

    pub(super) fn pause(&mut self, connection: ConnectionId) {
        if let Some(session) = self.session(connection)
            && !session.paused
        {
            session.paused = true;
            self.stats.clients_paused.inc();
            self.actions.push_back(Action::Pause(connection));
        }
    }

    /// Of `before` bytes those in the input are left for the next time.
    #[inline]
    pub(super) fn note_unread(
        &mut self,
        connection: ConnectionId,
        before: usize,
        input: &mut BytesMut,
        now: Instant,
    ) {
        let Some(session) = self.session(connection) else {
            return;
        };
        session.active = now;
        if session.closing {
            input.clear();
        }
        let unread = std::mem::replace(&mut session.unread, input.len() as u32) as usize;
        if unread >= LARGE_UNREAD && input.len() < before {
            self.end_large(connection, now);
        }
        if input.len() >= LARGE_UNREAD {
            let (_, missing) = self.arriving(connection);
            make_room(input, missing);
            self.limit_large(connection, missing);
        }
        if !matches!(input.first(), None | Some(b'*')) {
            self.look_at_line(connection, input, now);
        }
        if self
            .meter
            .note(before.saturating_sub(unread) * REQUEST_WEIGHT)
        {
            self.count_memory(now);
        }
    }

    /// Reads on from a client that was paused, once it has caught up by half.
    pub(super) fn resume_if_ready(&mut self, connection: ConnectionId) {
        let window_max = self.window_max();
        let bytes_max = self.bounds.output / 2;
        let held = self.holds.bytes_of(connection);
        if self.awaits_turn(connection) {
            return;
        }
        if self.queue.makes_wait(connection) || held > self.options.client_hold_bytes_max / 2 {
            return;
        }
        let Some(session) = self.session(connection) else {
            return;
        };
        let all = session.waits_for_all || session.solo;
        let owed_max = if all { 0 } else { session.window / 2 };
        let waits = session.paused || session.solo;
        if waits && session.owed() <= usize::from(owed_max) && session.held_bytes() <= bytes_max {
            session.paused = false;
            session.waits_for_all = false;
            if !std::mem::take(&mut session.overfull) && !all {
                session.window = session.window.saturating_mul(2).min(window_max);
            }
            let blocked = i64::from(std::mem::take(&mut session.solo));
            self.stats.clients_blocked.add(-blocked);
            self.actions.push_back(Action::Resume(connection));
        }
    }

    /// Closes a client that is owed nothing more and has left, or must leave.
    pub(super) fn close_if_finished(&mut self, connection: ConnectionId) {
        let Some(session) = self.session(connection) else {
            return;
        };
        if session.is_finished() && !session.leaving {
            session.leaving = true;
            self.close(connection, CloseWhen::Flushed);
        }
    }
}

/// Makes room for more of a request of which so much is missing. What a client announces is
/// believed only as far as it has sent as much. Room is made only once there is none: growing
/// copies all that was there, and so takes the memory of what nothing has been read into yet.
#[cold]
fn make_room(input: &mut BytesMut, missing: usize) {
    let room = input.capacity() - input.len();
    if room < missing.min(LEAST_ROOM) {
        input.reserve(missing.min(input.len().max(FIRST_ROOM)));
    }
}

/// Less than this is not worth a read.
const LEAST_ROOM: usize = 16 * 1024;

/// A large request has this much room at first.
const FIRST_ROOM: usize = 256 * 1024;

/// What is kept for a request, its reply not counted, is up to that many times its length.
const REQUEST_WEIGHT: usize = 4;

/// How many replies may be owed to a client at first.
const FIRST_WINDOW: u16 = 16;

/// How long it is remembered at least.
const LARGE_KEPT: Duration = Duration::from_secs(60);

/// What a client may send ahead while a request has it for itself.
pub(super) const SOLO_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_with_what_has_come() {
        let mut input = BytesMut::new();
        input.resize(LARGE_UNREAD, 0);
        let mut announced = 100 * 1024 * 1024;
        while announced > 0 {
            make_room(&mut input, announced);
            let room = input.capacity() - input.len();
            assert!(room >= LEAST_ROOM.min(announced));
            assert!(
                input.capacity() <= 2 * (input.len() + LEAST_ROOM).max(FIRST_ROOM),
                "{} for {}",
                input.capacity(),
                input.len()
            );
            // A little at a time: the room is not to grow before it is taken.
            let come = room.min(10_000).min(announced);
            input.resize(input.len() + come, 0);
            announced -= come;
        }
    }
}
