//! What must never happen, whatever goes wrong, and what must hold once nothing does any more.

use std::collections::{BTreeMap, BTreeSet};

use slotway_protocol::cluster::{Role, Slot};

use super::scenario::Scenario;
use crate::network::tap::{Reply, Vote};
use crate::network::{Network, first_id};

/// Remembers all that was seen of a cluster.
#[derive(Default)]
pub(super) struct Judge {
    /// Who has acknowledged a write, by the key and the epoch of who did.
    acknowledged: BTreeMap<(usize, u64), usize>,
    /// Who has got a node's vote of an epoch.
    votes: BTreeMap<(usize, u64), usize>,
    /// Who was a primary when it was looked at last.
    primaries: BTreeSet<usize>,
    /// Elections that are known of: who was elected, and in which epoch.
    elected: BTreeSet<(usize, u64)>,
    /// A primary that works may have been replaced, and not all know yet: it goes on to vote, its
    /// successor too, and so two may be elected in the same epoch, each by most of those it knows.
    /// One that has taken slots without votes may have done so in an epoch that another was elected
    /// in. Then two may acknowledge writes for a slot with the same epoch, and at no other time.
    pub(super) is_forced: bool,
    /// Nodes that were told to take a slot over, and the epochs that they took for it without
    /// asking anybody: another may be elected in the same one.
    bumped: BTreeSet<(usize, u64)>,
    /// How often that began, and when a replica was last told so, in microseconds.
    pub(super) forced: u64,
    forced_at: u64,
    /// All slots have to have an owner.
    covers_all: bool,
    /// How many votes decide.
    quorum: usize,
    /// The last write that was refused.
    pub(super) refused: Option<Reply>,
    pub(super) writes: u64,
    /// How many of them another node would have acknowledged with the same epoch.
    pub(super) conflicts: u64,
    pub(super) elections: u64,
}

impl Judge {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            quorum: scenario.primaries / 2 + 1,
            covers_all: scenario.config.cluster_require_full_coverage,
            ..Self::default()
        }
    }

    pub(super) fn take_reply(&mut self, reply: &Reply) {
        if !reply.is_ok() {
            self.refused = Some(reply.clone());
            return;
        }
        self.writes += 1;
        let place = (reply.key, reply.epoch);
        let who = *self.acknowledged.entry(place).or_insert(reply.node);
        self.conflicts += u64::from(who != reply.node);
        let is_bumped = |node| self.bumped.contains(&(node, reply.epoch));
        assert!(
            who == reply.node || self.is_forced || is_bumped(who) || is_bumped(reply.node),
            "{who} and {} both acknowledge writes for a slot in the same epoch: {reply:?}",
            reply.node
        );
    }

    /// A replica has been told to take over from a primary that may work, perhaps without votes.
    pub(super) fn force(&mut self, index: usize, needs_votes: bool, at: u64) {
        self.forced_at = at;
        self.forced += u64::from(!std::mem::replace(&mut self.is_forced, true));
        if !needs_votes {
            self.primaries.insert(index);
        }
    }

    /// A node has taken over a slot as it was told to.
    pub(super) fn bump(&mut self, index: usize, epoch: u64) {
        self.bumped.insert((index, epoch));
    }

    /// Whether all may know by now who has taken over. A replica that was told to do so goes on
    /// trying for five seconds, and may be stopped for four.
    pub(super) fn may_be_over(&self, now: u64) -> bool {
        self.is_forced && now > self.forced_at + 10_000_000
    }

    pub(super) fn take_vote(&mut self, vote: Vote) {
        tracing::info!(?vote, "seen");
        let place = (vote.voter, vote.epoch);
        let who = *self.votes.entry(place).or_insert(vote.candidate);
        assert_eq!(who, vote.candidate, "a second vote in an epoch: {vote:?}");
    }

    /// Sees who has become a primary; most others have to have voted for it.
    pub(super) fn look_at_primaries(&mut self, network: &Network) {
        for index in 0..network.count() {
            if !network.is_up(index) {
                self.primaries.remove(&index);
                continue;
            }
            let view = network.view(index);
            let id = first_id(index);
            let node = view.node(&id).unwrap();
            if node.role != Role::Primary {
                self.primaries.remove(&index);
            } else if self.primaries.insert(index) {
                self.elections += 1;
                // Who has slots may not be known for a moment. Then fewer decide, unless it is
                // certain that somebody is missing, and just one is.
                let nodes = view.nodes().iter();
                let voters = nodes.filter(|node| !view.ranges(&node.id).is_empty());
                let fewer = if self.covers_all && !self.is_forced {
                    usize::MAX
                } else {
                    voters.count() / 2 + 1
                };
                let quorum = self.quorum.min(fewer);
                assert!(
                    self.was_elected(index, node.epoch, quorum),
                    "{index} is a primary with epoch {} that most have not voted for",
                    node.epoch
                );
            }
        }
    }

    /// Whether most have voted for a node in an epoch of which that is not known yet. It may have
    /// taken a higher one since.
    fn was_elected(&mut self, index: usize, most: u64, quorum: usize) -> bool {
        let mut counts = BTreeMap::<u64, usize>::new();
        for ((_, epoch), candidate) in &self.votes {
            if *candidate == index && *epoch <= most {
                *counts.entry(*epoch).or_default() += 1;
            }
        }
        let mut decisive = counts.iter().filter(|(_, count)| **count >= quorum);
        decisive.any(|(epoch, _)| self.elected.insert((index, *epoch)))
    }

    /// A node starts as what its file says that it is.
    pub(super) fn started(&mut self, index: usize, network: &Network) {
        let node = network.view(index).node(&first_id(index));
        if node.is_some_and(|node| node.role == Role::Primary) {
            self.primaries.insert(index);
        }
    }
}

/// Why not all is well, if it isn't, with those nodes down.
pub(super) fn complaint(
    network: &mut Network,
    slots: &[Slot],
    down: &BTreeSet<usize>,
) -> Option<String> {
    let count = network.count();
    let up: Vec<usize> = (0..count).filter(|index| !down.contains(index)).collect();
    let down: BTreeSet<String> = down.iter().map(|index| first_id(*index)).collect();
    let first = idea(network, up[0], slots, &down);
    for index in &up {
        let view = network.view(*index);
        if view.nodes().len() != count {
            return Some(format!("{index} knows {} nodes", view.nodes().len()));
        }
        for node in view.nodes() {
            if node.failed != down.contains(&node.id) || node.suspected || node.handshake {
                return Some(format!("{index} is wrong on whether {} works", node.id));
            }
        }
        let other = idea(network, *index, slots, &down);
        if other != first {
            let mut pairs = first.iter().zip(&other);
            let differing = pairs.find(|(one, other)| one != other);
            return Some(format!("{} and {index} differ: {differing:?}", up[0]));
        }
    }
    let view = network.view(up[0]);
    let mut epochs = BTreeSet::new();
    for node in view.nodes().iter().filter(|node| !node.failed) {
        if node.role == Role::Primary && !epochs.insert(node.epoch) {
            return Some(format!("two have the epoch {}", node.epoch));
        }
    }
    let owner = |slot: &Slot| view.owner(*slot).filter(|owner| !owner.failed);
    if let Some(slot) = slots.iter().find(|slot| owner(slot).is_none()) {
        return Some(format!("{slot:?} is not served"));
    }
    up.into_iter().find_map(|index| unwell(network, index))
}

/// Why a node is not well, if it isn't.
fn unwell(network: &mut Network, index: usize) -> Option<String> {
    let info = network.ask(index, "CLUSTER INFO");
    if !info.contains("cluster_state:ok") || !info.contains("cluster_slots_ok:16384") {
        return Some(format!("{index}: {info}"));
    }
    let view = network.view(index);
    let node = view.node(&first_id(index)).unwrap();
    if node.role == Role::Replica {
        let follows = network.is_replicating(index);
        return (!follows).then(|| format!("{index} does not follow its primary"));
    }
    let is_bare =
        view.ranges(&node.id).is_empty() && network.config.cluster_allow_replica_migration;
    is_bare.then(|| format!("{index} is a primary without slots"))
}

/// What all have to agree on: who is what, with which epoch, and whose those slots are.
fn idea(network: &Network, index: usize, slots: &[Slot], down: &BTreeSet<String>) -> Vec<String> {
    let view = network.view(index);
    let mut nodes: Vec<String> = view
        .nodes()
        .iter()
        .filter(|node| !down.contains(&node.id))
        .map(|node| {
            let epoch = (node.role == Role::Primary).then_some(node.epoch);
            format!("{} {:?} {epoch:?}", node.id, node.primary)
        })
        .collect();
    nodes.sort();
    let owners = slots.iter().map(|slot| view.owner(*slot));
    let mut owners: Vec<&str> = owners
        .map(|owner| owner.map_or("-", |node| &node.id))
        .collect();
    owners.dedup();
    nodes.extend(owners.into_iter().map(str::to_owned));
    nodes
}
