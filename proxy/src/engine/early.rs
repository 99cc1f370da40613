//! Requests for all shards that come before the first topology. Nobody can say yet which shards
//! there are, and one for fewer than all would do or tell too little.

use slotway_protocol::engine::{ConnectionId, Instant};

use super::Proxy;
use super::special::Special;

impl Proxy {
    /// Whether a request for all shards must wait: until it is known which there are, but not
    /// longer than any request may. After that it gets an error.
    pub(super) fn must_wait_for_shards(&mut self, connection: ConnectionId, now: Instant) -> bool {
        if self.knows_shards() || self.is_late(now) {
            return false;
        }
        let Some(session) = self.session(connection) else {
            return false;
        };
        if !core::mem::replace(&mut session.postponed, true) {
            self.postponed.push(connection);
        }
        self.pause(connection);
        true
    }

    #[inline]
    pub(super) fn knows_shards(&self) -> bool {
        !self.members.is_empty()
    }

    /// Lets those go on who have waited for a topology for so long.
    pub(super) fn settle_early(&mut self, now: Instant) {
        if !self.knows_shards() && self.is_late(now) {
            self.resume_postponed();
        }
    }

    fn is_late(&self, now: Instant) -> bool {
        let started = self.started.unwrap_or(now);
        now.since(started) >= self.options.hold_timeout
    }
}

impl Special {
    /// Whether the answer takes every shard there is.
    pub(super) fn asks_all_shards(self) -> bool {
        matches!(
            self,
            Self::FunctionStats
                | Self::KillScript
                | Self::PubSub(_)
                | Self::RandomKey
                | Self::ScriptFlush
                | Self::ScriptLoad
        )
    }
}
