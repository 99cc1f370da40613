//! CLUSTER FAILOVER: a replica takes its primary's place because somebody wants it to. Unless it is
//! forced, the primary first holds its clients' writes back until the replica has all there are.

use std::time::Duration;

use slotway_protocol::engine::{Address, Instant, Now};

use super::bus::{Body, Heartbeat};
use super::effects::Effect;
use super::links::LinkId;
use super::{Cluster, ClusterState};

/// A failover that somebody wants: one that this replica makes, or that this primary helps with.
#[derive(Debug, Default)]
pub(super) struct ManualFailover {
    /// When it is given up; `None` while there is none.
    until: Option<Instant>,
    /// A primary: who takes over.
    replica: Option<String>,
    /// A replica: how far its primary had come when it stopped taking writes.
    primary_offset: Option<u64>,
    /// A replica: it may ask for votes.
    can_start: bool,
}

/// How CLUSTER FAILOVER is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailoverForm {
    /// With the help of the primary.
    Agreed,
    /// Without it, but with votes.
    Force,
    /// Without any votes.
    Takeover,
}

/// Why there is no failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailoverError {
    IsPrimary,
    PrimaryUnknown,
    PrimaryDown,
}

impl ManualFailover {
    pub(super) fn is_running(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn can_start(&self) -> bool {
        self.is_running() && self.can_start
    }

    /// The primary has said how far it had come when it stopped taking writes.
    pub(super) fn primary_is_paused(&mut self, offset: u64) {
        if self.is_running() && self.replica.is_none() {
            self.primary_offset.get_or_insert(offset);
        }
    }

    /// Whether only the rest of the primary's writes is missing.
    pub(super) fn is_catching_up(&self) -> bool {
        self.is_running() && !self.can_start && self.primary_offset.is_some()
    }

    /// A node is not a member any more.
    pub(super) fn forget(&mut self, id: &str) {
        if self.replica.as_deref() == Some(id) {
            self.until = Some(Instant::default());
        }
    }
}

impl Cluster {
    /// CLUSTER FAILOVER.
    pub(crate) fn fail_over(&mut self, form: FailoverForm, now: Now) -> Result<(), FailoverError> {
        if self.is_primary() {
            return Err(FailoverError::IsPrimary);
        }
        let Some(primary) = self.my_primary_index() else {
            return Err(FailoverError::PrimaryUnknown);
        };
        let node = &self.view.nodes()[primary];
        let link = node.contact.link.filter(|_| node.contact.is_linked);
        if form == FailoverForm::Agreed && (node.failed || link.is_none()) {
            return Err(FailoverError::PrimaryDown);
        }
        self.end_manual_failover();
        self.election.forget();
        self.manual.until = Some(now.instant + TIMEOUT);
        match (form, link) {
            (FailoverForm::Takeover, _) => {
                self.bump_epoch();
                self.replace_primary(now);
            }
            (FailoverForm::Agreed, Some(link)) => {
                let packet = self.packet(Body::ManualFailoverStart);
                self.send(link, &packet);
            }
            (FailoverForm::Force | FailoverForm::Agreed, _) => {
                self.manual.can_start = true;
                self.election_due = true;
            }
        }
        Ok(())
    }

    /// Asks for votes without the primary's help and although nobody holds it to be down, at that
    /// time.
    pub(super) fn force_election(&mut self, at: Instant) {
        self.end_manual_failover();
        self.manual.until = Some(at + TIMEOUT);
        self.manual.can_start = true;
        self.election.plan(at);
        self.election_due = true;
    }

    /// Whether a replica could take this node's place with its help.
    pub(crate) fn can_hand_over(&self) -> bool {
        self.has_bus && self.is_primary() && self.owns_any_slot() && self.state == ClusterState::Ok
    }

    pub(crate) fn owns_any_slot(&self) -> bool {
        self.owns_slots(self.my_index)
    }

    /// Whether the node that listens there is known as a replica of this one, and as well.
    pub(crate) fn is_fit_to_take_over(&self, address: &Address) -> bool {
        let mut replicas = self.view.replicas(&self.me);
        replicas.any(|node| node.address == *address && !node.failed && !node.suspected)
    }

    /// Whether the node that listens there has said that it takes over only when an operator tells
    /// it to.
    pub(crate) fn is_barred(&self, address: &Address) -> bool {
        let mut nodes = self.view.nodes().iter();
        nodes.any(|node| node.address == *address && node.no_failover)
    }

    /// A replica of this primary wants to take over.
    pub(super) fn begin_handing_over(&mut self, link: LinkId, sender: usize, now: Now) {
        let node = &self.view.nodes()[sender];
        if !self.is_primary() || node.primary.as_ref() != Some(&self.me) {
            return;
        }
        let replica = node.id.clone();
        tracing::info!(replica, "Manual failover requested by replica");
        self.end_manual_failover();
        self.manual.until = Some(now.instant + TIMEOUT);
        self.manual.replica = Some(replica);
        // Longer than the failover, since clients are to be redirected rather than served here.
        let until = now.instant + TIMEOUT * PAUSE_FACTOR;
        self.effects.push_back(Effect::PauseWrites(Some(until)));
        // The replica learns from it how far this node has come.
        self.send_heartbeat(link, Heartbeat::Ping, now);
    }

    /// Whether a node gets a ping at every tick because it takes over and has to know how far this
    /// node has come.
    pub(super) fn is_taking_over(&self, index: usize) -> bool {
        self.manual.is_running()
            && self.manual.replica.as_ref() == Some(&self.view.nodes()[index].id)
    }

    /// A replica that has all of its primary's writes may ask for votes.
    pub(super) fn start_manual_if_caught_up(&mut self, now: Now) {
        let wanted = self.manual.primary_offset;
        let is_there = wanted.is_some_and(|wanted| self.standing.offset >= wanted);
        if self.manual.is_catching_up() && is_there {
            tracing::info!("All primary replication stream processed, manual failover can start");
            self.manual.can_start = true;
            self.election.plan(now.instant);
        }
    }

    pub(super) fn end_overdue_failover(&mut self, now: Now) {
        if self.manual.until.is_some_and(|until| until < now.instant) {
            tracing::warn!("Manual failover timed out");
            self.end_manual_failover();
        }
    }

    pub(super) fn end_manual_failover(&mut self) {
        if self.manual.replica.is_some() {
            self.effects.push_back(Effect::PauseWrites(None));
        }
        self.manual = ManualFailover::default();
    }
}

/// How long a failover that somebody wants may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many times as long clients' writes are held back at most.
const PAUSE_FACTOR: u32 = 2;
