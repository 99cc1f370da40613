//! Clients that wait: for replicas to have what they wrote (WAIT), or for writes to go on.

use slotway_protocol::engine::{ConnectionId, Instant};

use super::Replication;

/// All clients that wait; each connection waits once at most.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) acknowledged: Vec<Waiter>,
    /// Their request is still to be executed.
    pub(crate) postponed: Vec<ConnectionId>,
    /// A pause is over, so those may be tried again.
    pub(crate) released: bool,
    /// Replicas are to be asked how far they are.
    pub(crate) asks: bool,
}

/// A client in WAIT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) connection: ConnectionId,
    /// What replicas have to have.
    pub(crate) offset: u64,
    pub(crate) count: i64,
    /// For ever without.
    pub(crate) until: Option<Instant>,
}

impl Replication {
    /// How many replicas have acknowledged the stream up to there.
    pub(crate) fn acknowledged(&self, offset: u64) -> i64 {
        let replicas = self.replicas.iter();
        replicas
            .filter(|replica| replica.is_online() && replica.acked >= offset)
            .count() as i64
    }

    /// Those who wait no more, and with how many replicas.
    pub(crate) fn take_answered(&mut self, now: Instant) -> Vec<(ConnectionId, i64)> {
        let mut answered = Vec::new();
        for waiter in std::mem::take(&mut self.waiting.acknowledged) {
            let have = self.acknowledged(waiter.offset);
            if have >= waiter.count || waiter.until.is_some_and(|until| now >= until) {
                answered.push((waiter.connection, have));
            } else {
                self.waiting.acknowledged.push(waiter);
            }
        }
        answered
    }
}
