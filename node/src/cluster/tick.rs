//! What is done every 100 milliseconds: pings, connections, and looking for who is silent.

use slotway_protocol::cluster::Role;
use slotway_protocol::engine::Now;
use std::time::Duration;

use super::bus::Heartbeat;
use super::{Cluster, ClusterState};

impl Cluster {
    /// To be called every 100 milliseconds.
    pub(crate) fn tick(&mut self, now: Now) {
        if !self.has_bus {
            return;
        }
        self.ticks += 1;
        self.end_old_handshakes(now);
        for index in 0..self.view.nodes().len() {
            if self.may_connect(index) {
                self.connect(index, now);
            }
        }
        if self.ticks.is_multiple_of(TICKS_PER_PING) {
            self.ping_someone(now);
        }
        let mut is_news = false;
        for index in 0..self.view.nodes().len() {
            if index != self.my_index {
                is_news |= self.look_after(index, now);
            }
        }
        if is_news {
            self.spread_suspicion(now);
        }
        self.follow_if_not_yet();
        self.end_overdue_failover(now);
        self.watch_primary(now);
        if !self.is_primary() {
            self.election_due = true;
            self.help_orphans(now);
        }
        self.state_outdated |= self.state == ClusterState::Fail;
    }

    /// Pings the one of some nodes that was heard of the longest ago.
    fn ping_someone(&mut self, now: Now) {
        let count = self.view.nodes().len();
        let chosen = (0..PING_CHOICES)
            .map(|_| self.random.below(count))
            .collect::<Vec<_>>();
        let oldest = chosen
            .into_iter()
            .filter(|index| {
                let node = &self.view.nodes()[*index];
                *index != self.my_index
                    && !node.handshake
                    && node.contact.is_linked
                    && node.contact.ping_sent.is_none()
            })
            .min_by_key(|index| self.view.nodes()[*index].contact.pong_received);
        if let Some(link) = oldest.and_then(|index| self.view.nodes()[index].contact.link) {
            self.send_heartbeat(link, Heartbeat::Ping, now);
        }
    }

    /// Pings a node whose turn it is, tries another connection to one that does not answer, and
    /// suspects it when that has gone on for too long; whether that is news.
    fn look_after(&mut self, index: usize, now: Now) -> bool {
        let timeout = self.settings.node_timeout;
        let node = &self.view.nodes()[index];
        if node.no_address || node.handshake {
            return false;
        }
        let contact = &node.contact;
        let long_ago =
            |time: Option<_>| time.is_none_or(|time| now.instant.since(time) > timeout / 2);
        let link = contact.link.filter(|_| contact.is_linked);
        if let Some(link) = link
            && let Some(known) = self.links.get(link)
        {
            let is_stuck = now.instant.since(known.created) > timeout
                && contact.ping_sent.is_some()
                && long_ago(contact.ping_sent)
                && long_ago(contact.data_received);
            if is_stuck {
                self.close_link(link);
                self.connect(index, now);
            } else if (contact.ping_sent.is_none() && long_ago(contact.pong_received))
                || self.is_taking_over(index)
            {
                self.send_heartbeat(link, Heartbeat::Ping, now);
                return false;
            }
        }
        let is_news = self.suspect_if_silent(index, now);
        if self.view.nodes()[index].suspected {
            self.fail_if_agreed(index, now);
        }
        is_news
    }

    /// Tells everybody at once who has become silent: the more know it soon, the sooner it is
    /// agreed on.
    fn spread_suspicion(&mut self, now: Now) {
        if self.is_primary() {
            self.broadcast_pong(now, |_| true);
        }
    }

    /// Begins to follow a primary whose address has only become known now.
    fn follow_if_not_yet(&mut self) {
        if self.is_primary() || self.standing.follows {
            return;
        }
        let address = self.my_primary_index().map(|primary| {
            let node = &self.view.nodes()[primary];
            node.address.clone()
        });
        if let Some(address) = address.filter(|address| !address.host.is_empty()) {
            self.effects.push_back(super::Effect::Follow(Some(address)));
        }
    }

    /// Becomes the replica of a primary that has none left, when this node's own has most.
    fn help_orphans(&mut self, now: Now) {
        if self.state != ClusterState::Ok || !self.settings.allow_replica_migration {
            return;
        }
        let (mut target, mut most, mut candidate) = (None, 0, self.me.clone());
        let counts = self.count_working_replicas();
        for (index, working) in counts.iter().copied().enumerate() {
            let node = &self.view.nodes()[index];
            if node.role != Role::Primary || node.handshake {
                continue;
            }
            let is_orphan =
                working == 0 && !node.failed && node.migrate_to && self.view.slot_count(index) > 0;
            let contact = &mut self.view.nodes_mut()[index].contact;
            if is_orphan {
                let since = *contact.orphaned_at.get_or_insert(now.instant);
                if target.is_none() {
                    target = Some((index, since));
                }
            } else {
                contact.orphaned_at = None;
            }
            most = most.max(working);
        }
        let here = self.my_primary_index().map_or(0, |primary| counts[primary]);
        let Some((target, since)) = target else {
            return;
        };
        if most < 2 || here != most || here <= self.settings.migration_barrier {
            return;
        }
        for (index, node) in self.view.nodes().iter().enumerate() {
            if node.role == Role::Primary && counts[index] == most {
                let smallest = self
                    .view
                    .replicas(&node.id)
                    .map(|replica| &replica.id)
                    .min();
                candidate = candidate.min(smallest.cloned().unwrap_or_default());
            }
        }
        if candidate == self.me && now.instant.since(since) > ORPHAN_DELAY {
            let target = self.view.nodes()[target].id.clone();
            tracing::info!(primary = target, "Migrating to orphaned primary");
            self.become_replica_of(&target);
        }
    }
}

/// A ping by chance every second.
const TICKS_PER_PING: u64 = 10;

/// Of how many nodes one is pinged.
const PING_CHOICES: usize = 5;

/// How long a primary is without replicas before it is given one.
const ORPHAN_DELAY: Duration = Duration::from_secs(5);
