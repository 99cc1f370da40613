//! Which nodes work, and whether the cluster does.

use std::time::Duration;

use slotway_protocol::cluster::SLOTS;
use slotway_protocol::engine::Now;

use super::Cluster;
use super::bus::Body;

/// Whether the cluster as a whole can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterState {
    Ok,
    /// Some slot has no working owner, or this node is cut off from most of the others.
    Fail,
}

impl Cluster {
    /// Suspects a node whose answer is overdue; whether that is news.
    pub(super) fn suspect_if_silent(&mut self, index: usize, now: Now) -> bool {
        let timeout = self.settings.node_timeout;
        let node = &mut self.view.nodes_mut()[index];
        let Some(ping_sent) = node.contact.ping_sent else {
            return false;
        };
        let heard = node.contact.data_received.unwrap_or_default();
        let silent_for = now.instant.since(ping_sent.max(heard));
        if silent_for <= timeout || node.suspected || node.failed {
            return false;
        }
        node.suspected = true;
        self.state_outdated = true;
        true
    }

    /// Holds a node to be down, and tells everybody, when most primaries do.
    pub(super) fn fail_if_agreed(&mut self, index: usize, now: Now) {
        let age_max = self.settings.node_timeout * 2;
        let node = &self.view.nodes()[index];
        if !node.suspected || node.failed {
            return;
        }
        let mut agreed = node.contact.reports(now.instant, age_max);
        if self.is_primary() {
            agreed += 1;
        }
        if agreed < self.quorum() {
            return;
        }
        tracing::info!(node = node.id, "marked as failing (quorum reached)");
        let id = node.id.clone();
        self.mark_failed(index, now);
        let packet = self.packet(Body::Fail(id));
        self.broadcast(&packet, |_| true);
    }

    /// Another node says that most primaries hold that one to be down.
    pub(super) fn take_failure(&mut self, id: &str, now: Now) {
        let Some(index) = self.view.index_of(id) else {
            return;
        };
        if index != self.my_index && !self.view.nodes()[index].failed {
            self.mark_failed(index, now);
        }
    }

    fn mark_failed(&mut self, index: usize, now: Now) {
        let node = &mut self.view.nodes_mut()[index];
        node.failed = true;
        node.suspected = false;
        node.contact.failed_at = Some(now.instant);
        self.changed();
        self.election_due = true;
    }

    /// Takes a node back that answers again. A primary has to wait, so that a replica that was
    /// about to take its place does not find itself opposed.
    pub(super) fn clear_failure_if_possible(&mut self, index: usize, now: Now) {
        let has_slots = self.owns_slots(index);
        let wait = self.settings.node_timeout * 2;
        let node = &mut self.view.nodes_mut()[index];
        let failed_at = node.contact.failed_at.unwrap_or_default();
        if !has_slots || now.instant.since(failed_at) > wait {
            node.failed = false;
            self.changed();
        }
    }

    /// Works the state out anew, with the delays that keep a node from taking writes which the
    /// others have given to somebody else.
    pub(super) fn update_state(&mut self, now: Now) {
        let is_primary = self.is_primary();
        // Who had no part in any cluster before can't have missed that another has its slots now.
        let is_back = self.had_past && now.instant.since(self.started) < WRITABLE_DELAY;
        if is_primary && self.state == ClusterState::Fail && is_back {
            return;
        }
        self.last_size = self.size();
        let mut state = if self.covers_enough() {
            ClusterState::Ok
        } else {
            ClusterState::Fail
        };
        let works = |node: &&super::NodeInfo| !node.failed && !node.suspected;
        if self.voters().filter(works).count() < self.quorum() {
            state = ClusterState::Fail;
            // Where nobody owns slots yet, nobody was cut off either.
            if self.last_size > 0 {
                self.minority_at = Some(now.instant);
            }
        }
        if state == self.state {
            return;
        }
        let delay = self.settings.node_timeout;
        let delay = delay.clamp(REJOIN_DELAY_MIN, REJOIN_DELAY_MAX);
        let was_cut_off = self
            .minority_at
            .is_some_and(|at| now.instant.since(at) < delay);
        if state == ClusterState::Ok && is_primary && was_cut_off {
            return;
        }
        tracing::info!(?state, "Cluster state changed");
        self.state = state;
    }

    fn covers_enough(&self) -> bool {
        let required = self.settings.require_full_coverage && self.view.require_full_coverage;
        !required || self.served() == SLOTS
    }

    /// How many slots have an owner that works.
    fn served(&self) -> usize {
        let nodes = self.view.nodes().iter().enumerate();
        let working = nodes.filter(|(_, node)| !node.failed);
        working.map(|(index, _)| self.view.slot_count(index)).sum()
    }

    /// The state of a node that has no links, and so believes what its view says.
    pub(super) fn judge_view(&mut self) {
        self.last_size = self.size();
        let served = self.served();
        let enough = served == SLOTS || (!self.view.require_full_coverage && served > 0);
        self.state = if enough {
            ClusterState::Ok
        } else {
            ClusterState::Fail
        };
    }
}

/// How long a primary that has just started again takes no requests.
const WRITABLE_DELAY: Duration = Duration::from_secs(2);

/// How long a primary that was cut off from most others takes no requests after that.
const REJOIN_DELAY_MIN: Duration = Duration::from_millis(500);
const REJOIN_DELAY_MAX: Duration = Duration::from_secs(5);
