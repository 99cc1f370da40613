//! Holds replies back until what clients have seen of writes is safe, as an answer is a promise: it
//! is on the disk with `appendfsync always`, or else with the kernel, so that only a crash of the
//! machine can lose it.

use std::collections::VecDeque;
use std::io::IoSlice;

use slotway_protocol::engine::{CloseWhen, ConnectionId};
use slotway_protocol::output::Output;

use super::Node;
use super::roles::Role;
use super::session::Kind;
use crate::persistence::aof::LogState;

/// The replies of a connection that may be written, and which of those behind them, in the
/// channel's own output, wait for what.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    pub(super) ready: Output,
    /// So many bytes of the output each wait until writes are safe up to a position, which never
    /// decreases.
    waiting: VecDeque<(u64, usize)>,
    waiting_len: usize,
    /// The connection is to be closed when nothing waits any more.
    closes: bool,
}

impl Withheld {
    /// Takes what is new in the output; it may go once writes are safe up to `position`.
    fn take_in(&mut self, output: &mut Output, position: u64, safe: u64) {
        let len = output.len() - self.waiting_len;
        if len == 0 {
            return;
        }
        if self.waiting.is_empty() && position <= safe {
            return self.move_ready(output, len);
        }
        let last = self.waiting.back().map_or(0, |(position, _)| *position);
        self.waiting.push_back((position.max(last), len));
        self.waiting_len += len;
    }

    /// Lets those go that may; whether nothing waits any more.
    fn release(&mut self, output: &mut Output, safe: u64) -> bool {
        let mut released = 0;
        while let Some((position, len)) = self.waiting.front()
            && *position <= safe
        {
            released += len;
            self.waiting.pop_front();
        }
        self.waiting_len -= released;
        self.move_ready(output, released);
        self.waiting.is_empty()
    }

    fn move_ready(&mut self, output: &mut Output, len: usize) {
        if len == output.len() && self.ready.is_empty() {
            return std::mem::swap(output, &mut self.ready);
        }
        let mut left = len;
        while left > 0 {
            let mut slices = [IoSlice::new(&[]); 16];
            let used = output.slices(&mut slices);
            let mut moved = 0;
            for slice in &slices[..used] {
                let part = &slice[..slice.len().min(left - moved)];
                self.ready.push(part);
                moved += part.len();
            }
            output.advance(moved);
            left -= moved;
        }
    }

    /// How many bytes may be written and are not, yet.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }
}

impl Node {
    /// Sorts the replies of a client into those that may go and those that wait. Without an
    /// append-only file there is nothing to sort.
    #[inline]
    pub(super) fn sort_replies(&mut self, connection: ConnectionId) {
        let session = self.state.sessions.find(connection);
        let withholds = self.state.server.log.state == LogState::On
            && session.is_some_and(|session| session.kind == Kind::Client)
            && self.roles.of(connection) == Role::Client;
        if withholds || self.channels[connection.index as usize].withheld.is_some() {
            self.sort_withheld(connection, withholds);
        }
    }

    #[cold]
    fn sort_withheld(&mut self, connection: ConnectionId, withholds: bool) {
        let server = &self.state.server;
        let channel = &mut self.channels[connection.index as usize];
        // Where nothing can be written, writes are refused, and others are not held up.
        let position = if withholds && !server.log.has_failed() {
            server.log.produced() + server.propagation.len() as u64
        } else {
            0
        };
        let safe = server.safe_position();
        let withheld = channel.withheld.get_or_insert_default();
        let waited = !withheld.waiting.is_empty();
        withheld.take_in(&mut channel.output, position, safe);
        let waits = !withheld.waiting.is_empty();
        if !withholds && !waits && withheld.ready.is_empty() {
            channel.withheld = None;
        }
        if waits && !waited {
            self.withholding.push(connection);
        }
    }

    /// Whether a connection has to stay open for replies that wait.
    pub(super) fn must_wait_to_close(&mut self, connection: ConnectionId) -> bool {
        let channel = &mut self.channels[connection.index as usize];
        let withheld = channel.withheld.as_mut();
        let waiting = withheld.filter(|withheld| !withheld.waiting.is_empty());
        waiting.is_some_and(|withheld| {
            withheld.closes = true;
            true
        })
    }

    /// Lets replies go whose writes are safe.
    pub(super) fn release_replies(&mut self) {
        let safe = self.state.server.safe_position();
        for connection in std::mem::take(&mut self.withholding) {
            if self.state.sessions.find(connection).is_none() {
                continue;
            }
            let channel = &mut self.channels[connection.index as usize];
            let Some(withheld) = &mut channel.withheld else {
                continue;
            };
            let is_empty = withheld.release(&mut channel.output, safe);
            let closes = is_empty && withheld.closes;
            if !is_empty {
                self.withholding.push(connection);
            }
            self.wake(connection);
            if closes {
                self.close(connection, CloseWhen::Flushed);
            }
        }
    }
}
