//! From bytes to commands: finds the requests of a client and runs them, as long as it takes the
//! replies.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Now};
use slotway_protocol::resp::{RequestError, RequestLimits, Scan};

use super::Node;
use super::session::{Kind, Replies};
use crate::config::Config;

impl Node {
    pub(super) fn take_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        let index = connection.index as usize;
        match self.state.sessions.find(connection) {
            Some(session) if session.closing.is_none() => session.active_at = now.instant,
            _ => return input.clear(),
        }
        self.state.server.stats.input_bytes += input.len() as u64;
        let channel = &mut self.channels[index];
        if !channel.held.is_empty() || channel.paused {
            channel.held.unsplit(input.split());
            std::mem::swap(&mut channel.held, input);
        }
        if channel.paused {
            std::mem::swap(&mut channel.held, input);
            if channel.held.len() > HELD_PAUSE {
                self.actions.push_back(Action::Pause(connection));
            }
            return;
        }
        self.run_requests(connection, input, now);
        self.wake(connection);
        self.end_turn(now);
    }

    /// What is done after each call that may have run commands.
    #[inline]
    pub(super) fn end_turn(&mut self, now: Now) {
        if self.state.server.config_changed {
            self.apply_settings();
        }
        self.close_killed();
        if self.state.server.scripts.is_suspended() {
            return self.end_turn_while_busy(now);
        }
        self.announce_save(now);
        self.begin_migrations(now);
        self.answer_blocked(now);
        self.deliver(now);
        if let Some(time) = self.state.server.sleep_wished.take() {
            self.actions
                .push_back(Action::Notify(super::Notice::Sleep(time)));
        }
        self.serve_cluster(now);
        self.begin_configuring();
        if !self.state.server.propagation.is_empty() {
            self.hand_over(now);
        }
        if self.state.server.log.rewriting.wanted {
            self.begin_wanted_rewrite(now);
        }
        if self.state.server.replication.is_unsettled() {
            self.settle_replication(now);
        }
        if self.state.server.ending.is_begun() {
            self.go_on_with_end(now);
        }
    }

    /// Does what the commands of a turn wish of replication.
    #[cold]
    pub(super) fn settle_replication(&mut self, now: Now) {
        if self.state.server.replication.turned {
            self.turn(now);
        }
        if self.state.server.replication.is_asked {
            self.answer_replicas(now);
        }
    }

    /// Hands what writes have done to all who listen.
    #[cold]
    pub(super) fn hand_over(&mut self, now: Now) {
        let bytes = Bytes::from(self.state.server.propagation.take());
        if self.state.server.replication.primary().is_none() {
            self.feed(&bytes);
        }
        self.append(&bytes, now);
    }

    /// Closes clients that have said nothing for too long.
    pub(super) fn close_idle(&mut self, now: Now) {
        let timeout = Duration::from_secs(self.state.server.config.timeout);
        if !timeout.is_zero() {
            let sessions = self.state.sessions.iter();
            let idle: Vec<ConnectionId> = sessions
                .filter(|session| !session.waiting && session.subscriptions.is_none())
                .filter(|session| session.kind == Kind::Client)
                .filter(|session| now.instant.since(session.active_at) > timeout)
                .map(|session| session.connection)
                .collect();
            for connection in idle {
                self.close(connection, CloseWhen::Now);
            }
        }
    }

    /// Answers a client whose command was answered later than others, and goes on with what it has
    /// sent meanwhile. [`Self::end_turn`] is to follow.
    pub(super) fn answer_later(
        &mut self,
        connection: ConnectionId,
        is_answered: bool,
        reply: &[u8],
        now: Now,
    ) {
        let Some(session) = self.state.sessions.find(connection) else {
            return;
        };
        session.waiting = false;
        if is_answered {
            let channel = &mut self.channels[connection.index as usize];
            channel.output.push(reply);
        }
        self.resume(connection, now);
        self.wake(connection);
    }

    /// Goes on where a client stopped taking replies, or had to wait. [`Self::end_turn`] is to
    /// follow.
    pub(super) fn resume(&mut self, connection: ConnectionId, now: Now) {
        let session = self.state.sessions.find(connection);
        if session.is_none_or(|session| session.closing.is_some()) {
            return;
        }
        let index = connection.index as usize;
        let channel = &mut self.channels[index];
        channel.paused = false;
        let mut held = std::mem::take(&mut channel.held);
        self.run_requests(connection, &mut held, now);
        let channel = &mut self.channels[index];
        if channel.paused {
            return;
        }
        channel.held = held;
        self.actions.push_back(Action::Resume(connection));
        let session = self.state.sessions.find(connection);
        if session.is_some_and(|session| session.ended) {
            self.close(connection, CloseWhen::Flushed);
        }
    }

    /// Runs the requests at the front of `input` and takes them off.
    fn run_requests(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        let index = connection.index as usize;
        self.state.begin_turn(now);
        let mut consumed = 0;
        while consumed < input.len() {
            let session = &mut self.state.sessions[index];
            self.limits.unauthenticated = !session.authenticated;
            let rest = &input[consumed..];
            match session.scanner.scan(rest, &self.limits, &mut self.buffers) {
                Ok(Scan::Incomplete) => break,
                Ok(Scan::Empty { consumed: empty }) => consumed += empty,
                Ok(Scan::Request { consumed: length }) => {
                    let request = self.buffers.request(&rest[..length]);
                    let output = &mut self.channels[index].output;
                    self.state.execute(index, request, output.buffer(), now);
                    consumed += length;
                    self.deliver(now);
                    if self.state.sessions[index].closing.is_some() {
                        input.clear();
                        return self.close_as_wished(connection);
                    }
                    let must_wait = self.state.sessions[index].waiting;
                    if must_wait && std::mem::take(&mut self.state.sessions[index].held) {
                        consumed -= length;
                    }
                    if must_wait || self.owes_too_much(index) {
                        input.advance(consumed);
                        return self.pause(connection, input);
                    }
                }
                Err(error) => {
                    input.clear();
                    return self.refuse_protocol(connection, &error);
                }
            }
        }
        input.advance(consumed);
    }

    /// Has settings count that have changed.
    #[cold]
    fn apply_settings(&mut self) {
        let server = &mut self.state.server;
        server.config_changed = false;
        server.replication.set_settings(&server.config);
        self.limits = limits(&self.state.server.config);
        self.apply_cluster_settings();
    }

    /// Runs requests without all that follows a call of the driver.
    #[cfg(test)]
    pub(crate) fn run_for_test(
        &mut self,
        connection: ConnectionId,
        input: &mut BytesMut,
        now: Now,
    ) {
        self.run_requests(connection, input, now);
    }

    /// Whether a client has to take replies first. A replica takes what it is sent at its own pace.
    #[inline]
    fn owes_too_much(&self, index: usize) -> bool {
        self.channels[index].output_len() > OUTPUT_PAUSE
            && self.state.sessions[index].kind == Kind::Client
    }

    fn pause(&mut self, connection: ConnectionId, rest: &mut BytesMut) {
        let channel = &mut self.channels[connection.index as usize];
        channel.held = rest.split();
        channel.paused = true;
        // Who waits for a key may do so for long, and its end has to be seen.
        if self.state.sessions[connection.index as usize]
            .blocked
            .is_none()
        {
            self.actions.push_back(Action::Pause(connection));
        }
    }

    fn close_as_wished(&mut self, connection: ConnectionId) {
        let session = &self.state.sessions[connection.index as usize];
        let when = session.closing.unwrap_or(CloseWhen::Flushed);
        self.close(connection, when);
    }

    /// What looks like an attack is told nothing; the replies before it are not written either.
    fn refuse_protocol(&mut self, connection: ConnectionId, error: &RequestError) {
        self.state.server.stats.errors.note(b"-ERR");
        if !error.is_replied() {
            return self.close(connection, CloseWhen::Now);
        }
        let index = connection.index as usize;
        if self.state.sessions[index].replies == Replies::On {
            error.reply(self.channels[index].output.buffer());
        }
        self.close(connection, CloseWhen::Flushed);
    }
}

pub(super) fn limits(config: &Config) -> RequestLimits {
    RequestLimits {
        bulk_bytes_max: config.proto_max_bulk_len,
        ..RequestLimits::default()
    }
}

/// A client that lets so much wait is not read from.
const OUTPUT_PAUSE: usize = 1024 * 1024;

/// A paused client is read from again when no more than this waits.
pub(super) const OUTPUT_RESUME: usize = 256 * 1024;

/// A client that waits for a key is not read from any more when it has sent so much meanwhile.
const HELD_PAUSE: usize = 1024 * 1024;
