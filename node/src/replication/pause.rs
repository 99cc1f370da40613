//! Requests that wait: writes while another node takes over, and what CLIENT PAUSE names.

use slotway_protocol::engine::Instant;

use super::{Hold, Replication};

/// Which requests wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Paused {
    /// Those that may write.
    Writes,
    /// All but those of replicas.
    All,
}

/// Until when requests wait; each for its own reason.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// Writes wait for a failover.
    failover: Option<Instant>,
    /// CLIENT PAUSE.
    clients: Option<(Paused, Instant)>,
}

impl Pauses {
    pub(super) fn is_any(&self) -> bool {
        self.failover.is_some() || self.clients.is_some()
    }

    fn at(&self, now: Instant) -> Option<Paused> {
        let clients = self.clients.filter(|(_, until)| now < *until);
        let failover = self.failover.filter(|until| now < *until);
        let failover = failover.map(|_| Paused::Writes);
        clients.map(|(paused, _)| paused).max(failover)
    }
}

impl Replication {
    /// Lets writes of clients wait until then, so that nothing more is produced; `None` ends that.
    pub(crate) fn pause_writes(&mut self, until: Option<Instant>) {
        self.pauses.failover = until;
        if until.is_none() {
            self.release();
        }
        self.update_guard();
    }

    /// Lets clients wait as CLIENT PAUSE does: another pause that is under way only becomes longer
    /// and stricter.
    pub(crate) fn pause_clients(&mut self, paused: Paused, until: Instant, now: Instant) {
        let under_way = self.pauses.clients.filter(|(_, until)| now < *until);
        let pause = match under_way {
            None => (paused, until),
            Some((other, end)) => (paused.max(other), until.max(end)),
        };
        self.pauses.clients = Some(pause);
        self.update_guard();
    }

    pub(crate) fn unpause_clients(&mut self) {
        if self.pauses.clients.take().is_some() {
            self.release();
            self.update_guard();
        }
    }

    /// Has those who wait tried again, at the end of the turn. Some may still have to wait.
    pub(super) fn release(&mut self) {
        self.waiting.released = true;
        self.is_asked = true;
    }

    /// What waits now.
    pub(crate) fn paused(&self, now: Instant) -> Option<Paused> {
        let ending = (self.hold == Hold::Writes).then_some(Paused::Writes);
        self.pauses.at(now).max(ending)
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused(now).is_some()
    }

    /// Ends pauses whose time has come.
    pub(crate) fn end_pauses(&mut self, now: Instant) {
        if self.pauses.failover.is_some_and(|until| now >= until) {
            self.pause_writes(None);
        }
        if self.pauses.clients.is_some_and(|(_, until)| now >= until) {
            self.unpause_clients();
        }
    }
}
