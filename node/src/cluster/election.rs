//! Elections: a replica whose primary is down asks the other primaries for their votes, and with
//! most of them takes its place.

use std::collections::BTreeSet;
use std::time::Duration;

use slotway_protocol::cluster::{Role, SLOTS};
use slotway_protocol::engine::{Instant, Now};

use super::Cluster;
use super::bus::{Body, Header};
use super::effects::Effect;

/// An election that this node stands in, or has stood in last.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When votes are asked for.
    planned_for: Option<Instant>,
    /// When they were last asked for.
    asked_at: Option<Instant>,
    epoch: u64,
    votes: BTreeSet<String>,
    /// How many replicas of the same primary are ahead.
    rank: usize,
    /// How often others have stood in a later election before this one was over.
    repeated: u32,
}

impl Election {
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Has votes asked for at that time, whatever came of the last election.
    pub(super) fn plan(&mut self, at: Instant) {
        self.forget();
        self.planned_for = Some(at);
    }
}

impl Cluster {
    /// Does the next step of an election, if there is a reason for one.
    pub(super) fn go_on_with_election(&mut self, now: Now) {
        self.start_manual_if_caught_up(now);
        let is_manual = self.manual.can_start();
        let may_stand = self.has_reason_to_stand(is_manual)
            && (is_manual || !self.is_data_too_old(now.instant));
        if !may_stand {
            return;
        }
        let timeout = (self.settings.node_timeout * 2).max(ELECTION_MIN);
        let planned = match self.election.planned_for {
            Some(planned) if now.instant.since(planned) <= timeout * 2 => planned,
            _ => return self.plan_election(is_manual, now),
        };
        if self.election.asked_at.is_none() && !self.manual.is_running() {
            self.give_way(planned);
        }
        let planned = self.election.planned_for.unwrap_or(planned);
        if now.instant < planned || now.instant.since(planned) > timeout {
            return;
        }
        match self.election.asked_at {
            None => self.ask_for_votes(true, now),
            Some(_) if self.election.votes.len() >= self.votes_needed() => {
                tracing::info!(epoch = self.election.epoch, "Failover election won");
                let epoch = self.election.epoch.max(self.my_info().epoch);
                self.my_info_mut().epoch = epoch;
                self.replace_primary(now);
            }
            Some(asked) if now.instant.since(asked) < ASK_AGAIN => {}
            Some(_) if self.is_overtaken() => self.stand_again(now),
            // Who has not heard yet that the primary is down has refused, and may not any more.
            Some(_) => self.ask_for_votes(false, now),
        }
    }

    /// Whether nobody votes in this election any more, since another node was elected in it or
    /// stands in a later one; and that has not happened too often.
    fn is_overtaken(&self) -> bool {
        let epoch = self.election.epoch;
        let mut nodes = self.view.nodes().iter();
        let is_over = self.view.current_epoch > epoch || nodes.any(|node| node.epoch >= epoch);
        is_over && self.election.repeated < REPEATED_MAX
    }

    fn stand_again(&mut self, now: Now) {
        let repeated = self.election.repeated + 1;
        let chance = self.random.below(STAND_AGAIN.as_micros() as usize) as u64;
        let at = now.instant + Duration::from_micros(chance);
        self.election.plan(at);
        self.election.repeated = repeated;
    }

    /// How many votes win. When nobody is known to own some slots, although all have to be owned,
    /// there are other primaries, and they count: two nodes must not be elected by votes of which
    /// neither's are most.
    fn votes_needed(&self) -> usize {
        let lacks_some = self.settings.require_full_coverage && self.owned() < SLOTS;
        let unknown = if lacks_some {
            self.unknown_owners().max(1)
        } else {
            0
        };
        (self.size() + unknown) / 2 + 1
    }

    /// How many nodes others say that they follow, and of which it is not known yet what they own:
    /// who was replaced may be heard of before who has replaced it.
    fn unknown_owners(&self) -> usize {
        let nodes = self.view.nodes().iter();
        let followed: BTreeSet<&str> = nodes.filter_map(|node| node.primary.as_deref()).collect();
        let owns_none = |id: &&&str| self.view.ranges(id).is_empty();
        followed.iter().filter(owns_none).count()
    }

    fn has_reason_to_stand(&self, is_manual: bool) -> bool {
        if self.is_primary()
            || self.standing.is_loading
            || (self.settings.no_failover && !is_manual)
        {
            return false;
        }
        let Some(primary) = self.my_primary_index() else {
            return false;
        };
        let is_down = self.view.nodes()[primary].failed || is_manual;
        is_down && self.view.slot_count(primary) > 0
    }

    /// Whether the keys here are too old to go on with, or not complete.
    pub(super) fn is_data_too_old(&self, now: Instant) -> bool {
        let factor = self.settings.validity_factor;
        let Some(synced_at) = self.synced_at else {
            return factor > 0;
        };
        let timeout = self.settings.node_timeout;
        let age = now.since(synced_at);
        let age = if age > timeout { age - timeout } else { age };
        factor > 0 && age > self.settings.replica_ping_period + timeout * factor
    }

    fn plan_election(&mut self, is_manual: bool, now: Now) {
        self.election.forget();
        self.election.rank = self.rank();
        let delay = if is_manual {
            Duration::ZERO
        } else {
            // The news that the primary is down has to spread first. Who has no rivals need not
            // wait for their offsets as well.
            let (least, spread) = if self.has_rivals() {
                (DELAY, DELAY)
            } else {
                (SHORT_DELAY, SHORT_SPREAD)
            };
            let chance = self.random.below(spread.as_micros() as usize) as u64;
            let rank = u32::try_from(self.election.rank).unwrap_or(u32::MAX);
            least + Duration::from_micros(chance) + RANK_DELAY.saturating_mul(rank)
        };
        self.election.planned_for = Some(now.instant + delay);
        tracing::info!(
            delay_ms = delay.as_millis() as u64,
            rank = self.election.rank,
            "Start of election planned"
        );
        // Rivals learn in time how far this node has come.
        let primary = self.my_info().primary.clone();
        self.broadcast_pong(now, |node| node.primary == primary);
        self.election_due |= is_manual;
    }

    /// Waits longer when rivals turn out to be ahead.
    fn give_way(&mut self, planned: Instant) {
        let rank = self.rank();
        let added = rank.saturating_sub(self.election.rank);
        if added > 0 {
            let added = u32::try_from(added).unwrap_or(u32::MAX);
            self.election.planned_for = Some(planned + RANK_DELAY.saturating_mul(added));
            self.election.rank = rank;
        }
    }

    /// How many replicas of the same primary have come farther.
    pub(super) fn rank(&self) -> usize {
        let mine = self.standing.offset;
        let ahead = |node: &&super::NodeInfo| node.contact.offset > mine;
        self.rivals().filter(ahead).count()
    }

    fn has_rivals(&self) -> bool {
        self.rivals().any(|node| !node.failed)
    }

    pub(super) fn rivals(&self) -> impl Iterator<Item = &super::NodeInfo> {
        let primary = self.my_info().primary.as_deref().unwrap_or_default();
        let replicas = self.view.replicas(primary);
        replicas.filter(|node| node.id != self.me && !node.no_failover)
    }

    fn ask_for_votes(&mut self, is_first: bool, now: Now) {
        if is_first {
            self.view.current_epoch += 1;
            self.election.epoch = self.view.current_epoch;
            self.save_now();
            tracing::info!(epoch = self.election.epoch, "Starting a failover election");
        }
        self.election.asked_at = Some(now.instant);
        let mut packet = self.packet(Body::AuthRequest);
        packet.header.forces_vote = self.manual.is_running();
        // An election that is asked about again is still the same one.
        packet.header.current_epoch = self.election.epoch.max(self.view.current_epoch);
        if packet.header.current_epoch == self.election.epoch || is_first {
            self.broadcast(&packet, |_| true);
        }
    }

    /// Votes for a replica, if nothing speaks against it.
    pub(super) fn judge_candidate(&mut self, sender: usize, header: &Header, now: Now) {
        let Some(primary) = self.view.nodes()[sender].primary.clone() else {
            return;
        };
        if !self.may_vote_for(sender, &primary, header, now.instant) {
            return;
        }
        let candidate = header.sender.clone();
        if let Some(primary) = self.view.node_mut(&primary) {
            primary.contact.voted = Some((candidate.clone(), now.instant));
        }
        let epoch = self.view.current_epoch;
        self.last_vote_epoch = epoch;
        tracing::info!(candidate, epoch, "Failover auth granted");
        self.vote_when_saved(candidate, epoch);
    }

    fn may_vote_for(&self, sender: usize, primary: &str, header: &Header, now: Instant) -> bool {
        let epoch = self.view.current_epoch;
        let can_vote = self.owns_slots(self.my_index)
            && header.current_epoch >= epoch
            && self.last_vote_epoch < epoch;
        let Some(primary) = self.view.node(primary) else {
            return false;
        };
        let is_replica = self.view.nodes()[sender].role == Role::Replica;
        let is_due = primary.failed || header.forces_vote;
        let wait = self.settings.node_timeout * 2;
        // Whoever is to take the place gets the time for it, and may ask again in a later epoch.
        let voted = primary.contact.voted.as_ref();
        let has_voted = voted
            .is_some_and(|(candidate, at)| now.since(*at) < wait && *candidate != header.sender);
        let is_current = header.slots.iter().all(|slot| {
            let owner = self.view.owner(slot);
            owner.is_none_or(|owner| owner.epoch <= header.config_epoch)
        });
        can_vote && is_replica && is_due && !has_voted && is_current
    }

    /// Sends the vote of an epoch. The epoch may have gone on while that was saved, and the vote
    /// must not count for a later one.
    pub(super) fn send_vote(&mut self, candidate: &str, epoch: u64) {
        let Some(node) = self.view.node(candidate) else {
            return;
        };
        let link = node.contact.link.filter(|_| node.contact.is_linked);
        if let Some(link) = link {
            let mut packet = self.packet(Body::AuthAck);
            packet.header.current_epoch = epoch;
            self.send(link, &packet);
        }
    }

    pub(super) fn count_vote(&mut self, sender: usize, header: &Header) {
        let counts = self.owns_slots(sender)
            && self.election.asked_at.is_some()
            && header.current_epoch >= self.election.epoch;
        if counts {
            self.election.votes.insert(header.sender.clone());
            self.election_due = true;
        }
    }

    /// Takes the place of this node's primary, with the epoch that it has by now.
    pub(super) fn replace_primary(&mut self, now: Now) {
        let Some(old) = self.my_info().primary.clone() else {
            return;
        };
        self.set_as_primary(self.my_index);
        self.effects.push_back(Effect::Follow(None));
        let me = self.me.clone();
        for (first, last) in self.view.ranges(&old) {
            self.view.assign(first, last, Some(&me));
        }
        self.election.forget();
        self.update_state(now);
        self.changed();
        self.save_before_telling();
        self.announce(now);
        self.end_manual_failover();
    }
}

/// How long an election lasts at least.
const ELECTION_MIN: Duration = Duration::from_secs(2);

/// How long the first replica waits at least, and by how much longer by chance at most.
const DELAY: Duration = Duration::from_millis(500);

/// The same for a replica that has no rivals.
const SHORT_DELAY: Duration = Duration::from_millis(150);
const SHORT_SPREAD: Duration = Duration::from_millis(100);

/// How much longer each next one waits.
const RANK_DELAY: Duration = Duration::from_secs(1);

/// When those that have not voted are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How much later at most, by chance, a new election is begun when another one came between, and
/// how often in a row.
const STAND_AGAIN: Duration = Duration::from_secs(1);
const REPEATED_MAX: u32 = 10;
