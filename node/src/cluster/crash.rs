//! A primary whose process has ended, seen by its replica: the host has reset the connection for
//! replication and nobody listens on either port any more. Then the replica asks for votes without
//! waiting for the node timeout. Silence is never a sign, since it may be a partition.

use std::time::Duration;

use slotway_protocol::engine::{Address, Instant, Now};

use super::Cluster;
use super::effects::Effect;

/// What is being found out about a primary that has reset the link.
#[derive(Debug, Default)]
pub(super) struct CrashWatch {
    watched: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    primary: String,
    /// What was asked and has not answered yet.
    asked: Vec<Address>,
    /// Whether one of them took a connection in this round.
    is_open: bool,
    /// How often in a row both ports were found closed.
    rounds: u32,
    next_at: Instant,
    /// As long as a port may still be open.
    open_until: Instant,
    until: Instant,
}

impl Cluster {
    /// The host of the primary has closed this node's link for replication.
    pub(crate) fn primary_has_reset_link(&mut self, now: Now) {
        let may = self.has_bus && self.settings.crash_failover && !self.settings.no_failover;
        let Some(primary) = self.my_info().primary.clone() else {
            return;
        };
        // Keys that were not complete are no better than none.
        let is_stale = self.synced_at.is_none() || self.is_data_too_old(now.instant);
        if !may || is_stale || self.manual.is_running() {
            return;
        }
        self.crash.watched = Some(Watched {
            primary,
            asked: Vec::new(),
            is_open: false,
            rounds: 0,
            next_at: now.instant,
            open_until: now.instant + OPEN_FOR,
            until: now.instant + WATCH_FOR,
        });
        self.watch_primary(now);
    }

    /// Asks both ports once more, when it is time.
    pub(super) fn watch_primary(&mut self, now: Now) {
        let Some(watched) = &mut self.crash.watched else {
            return;
        };
        let Some(node) = self.view.node(&watched.primary) else {
            self.crash.watched = None;
            return;
        };
        let is_over = now.instant > watched.until || node.failed;
        let mine = &self.view.nodes()[self.my_index];
        if is_over || mine.primary.as_ref() != Some(&watched.primary) {
            self.crash.watched = None;
            return;
        }
        if !watched.asked.is_empty() || now.instant < watched.next_at {
            return;
        }
        let host = &node.address.host;
        for port in [node.address.port, node.bus_port] {
            let address = Address::new(host.clone(), port);
            watched.asked.push(address.clone());
            self.effects.push_back(Effect::Probe(address));
        }
    }

    /// What came of asking a port. Only one that the host says is closed counts as such.
    pub(crate) fn probed(&mut self, address: &Address, is_refused: bool, now: Now) {
        let Some(watched) = &mut self.crash.watched else {
            return;
        };
        if !watched.asked.contains(address) {
            return;
        }
        if !is_refused && now.instant > watched.open_until {
            self.crash.watched = None;
            return;
        }
        watched.is_open |= !is_refused;
        watched.asked.retain(|asked| asked != address);
        if !watched.asked.is_empty() {
            return;
        }
        let is_closed = !std::mem::take(&mut watched.is_open);
        watched.rounds = if is_closed { watched.rounds + 1 } else { 0 };
        watched.next_at = now.instant + PAUSE;
        if watched.rounds >= ROUNDS {
            self.crash.watched = None;
            let Some(head_start) = self.head_start() else {
                tracing::warn!("the primary's process has ended, and others have more of its keys");
                return;
            };
            tracing::warn!("the primary's process has ended, asking for votes");
            self.force_election(now.instant + head_start);
        }
    }

    /// How long rivals that are as far get to be elected first, those with smaller ids. `None` when
    /// a rival is ahead: it may be of a kind that waits for the node timeout, and must not lose to
    /// older keys.
    fn head_start(&self) -> Option<Duration> {
        let mine = self.standing.offset;
        let rivals = || self.rivals().filter(|node| !node.failed);
        if rivals().any(|node| node.contact.offset > mine) {
            return None;
        }
        let first = rivals().filter(|node| node.contact.offset == mine && node.id < self.me);
        Some(HEAD_START * u32::try_from(first.count()).unwrap_or(u32::MAX))
    }
}

/// How often both ports have to be found closed, and the time between.
const ROUNDS: u32 = 2;
const PAUSE: Duration = Duration::from_millis(40);

/// The system closes the sockets of a process that has ended one after the other: for a moment its
/// ports still take connections when the link for replication is gone already.
const OPEN_FOR: Duration = Duration::from_millis(300);

/// After that time it is no crash any more that was noticed at once.
const WATCH_FOR: Duration = Duration::from_secs(2);

const HEAD_START: Duration = Duration::from_millis(400);
