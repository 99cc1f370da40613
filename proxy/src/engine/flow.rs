//! When a client is read from and when not: what it waits for, and what ends that.

use bytes::BytesMut;
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Instant};

use super::Proxy;
use super::shedding::LARGE_UNREAD;

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
        if input.len() >= LARGE_UNREAD {
            self.limit_large(connection);
        } else if unread >= LARGE_UNREAD {
            self.end_large(connection);
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
        let half = self.options.client_in_flight_max / 2;
        let bytes_max = self.bounds.output / 2;
        let held = self.holds.bytes_of(connection);
        if self.queue.makes_wait(connection) || held > self.options.client_hold_bytes_max / 2 {
            return;
        }
        let Some(session) = self.session(connection) else {
            return;
        };
        let all = session.waits_for_all || session.solo;
        let owed_max = if all { 0 } else { half };
        let waits = session.paused || session.solo;
        if waits && session.owed() <= owed_max && session.held_bytes() <= bytes_max {
            session.paused = false;
            session.waits_for_all = false;
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

/// What is kept for a request, its reply not counted, is up to that many times its length.
const REQUEST_WEIGHT: usize = 4;

/// What a client may send ahead while a request has it for itself.
pub(super) const SOLO_BYTES_MAX: usize = 64 * 1024;
