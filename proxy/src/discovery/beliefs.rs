//! What each node said last of the cluster, and all of that as one topology. Nobody is asked here.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use slotway_protocol::cluster::nodes::{NodeId, NodeLine};
use slotway_protocol::cluster::{Shard, Slot, Topology};
use slotway_protocol::engine::{Address, Instant};

use super::standing::Stricken;

/// The latest answer of each node. A few nodes are asked at a time, and those few may all lag
/// behind: what others said a little earlier still counts.
#[derive(Debug, Default)]
pub(super) struct Beliefs {
    /// The oldest first.
    answers: Vec<Answer>,
    /// Who owned slots when all that was made one topology last.
    primaries: Vec<Primary>,
}

/// An owner of slots.
#[derive(Debug)]
struct Primary {
    id: NodeId,
    address: Address,
    /// The first of its slots.
    slot: Slot,
    config_epoch: u64,
}

/// What one node believes.
#[derive(Debug)]
pub(super) struct Answer {
    /// The address at which it was asked.
    pub(super) from: Address,
    /// The round in which it was asked.
    pub(super) round: u64,
    pub(super) at: Instant,
    pub(super) lines: Vec<NodeLine>,
}

impl Answer {
    /// Whether it names an owner of any slot.
    pub(super) fn has_slots(&self) -> bool {
        self.claims().any(|line| !line.slots.is_empty())
    }

    /// The primaries, each with the slots it is said to own.
    fn claims(&self) -> impl Iterator<Item = &NodeLine> {
        self.reachable().filter(|line| line.is_primary)
    }

    fn reachable(&self) -> impl Iterator<Item = &NodeLine> {
        self.lines.iter().filter(|line| !line.is_unreachable)
    }

    fn myself(&self) -> Option<&NodeLine> {
        self.lines.iter().find(|line| line.is_myself)
    }
}

impl Beliefs {
    /// Takes an answer in place of what the same node said before.
    pub(super) fn add(&mut self, answer: Answer) {
        let id = answer.myself().map(|line| line.id);
        self.answers.retain(|old| {
            let same_id = id.is_some() && old.myself().map(|line| line.id) == id;
            !same_id && old.from != answer.from
        });
        self.answers.push(answer);
    }

    /// Forgets what is older than `age_max`: a node that has left, or an owner that lost its slots
    /// without a new epoch, must not be believed for ever. While most primaries are silent their
    /// last words count much longer, lest the few that are left lead back to what was before.
    pub(super) fn expire(&mut self, now: Instant, age_max: Duration) {
        let spoke = self.answers.iter().filter_map(|answer| {
            let line = answer.myself()?;
            let is_owner = line.is_primary && !line.slots.is_empty();
            is_owner.then_some(answer.at)
        });
        let spoke: Vec<Instant> = spoke.collect();
        let count = self.primaries.len();
        self.answers.retain(|answer| {
            let age = now.since(answer.at);
            let later = spoke.iter().filter(|at| **at > answer.at).count();
            age <= age_max || later * 2 <= count && age <= age_max * MINORITY_AGES
        });
    }

    /// Whether a node that answered in this round holds an owner of slots to be down, or suspects
    /// it.
    pub(super) fn is_in_trouble(&self, round: u64) -> bool {
        let answers = self.answers.iter();
        let mut lines = answers
            .filter(|answer| answer.round == round)
            .flat_map(|answer| answer.lines.iter());
        lines.any(|line| {
            let is_down = line.is_failed || line.is_suspected;
            is_down && self.primaries.iter().any(|primary| primary.id == line.id)
        })
    }

    /// The highest config epoch of those who own slots.
    pub(super) fn epoch(&self) -> u64 {
        let epochs = self.primaries.iter().map(|primary| primary.config_epoch);
        epochs.max().unwrap_or_default()
    }

    /// Forgets what nodes said that nobody would ask again.
    pub(super) fn keep_only(&mut self, is_asked: impl Fn(&Address) -> bool) {
        self.answers.retain(|answer| is_asked(&answer.from));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    /// For each slot the claim with the highest config epoch, and of equal ones the newest.
    pub(super) fn merge(&mut self) -> Topology {
        let spoken = Spoken::of(&self.answers);
        let nodes = self.nodes(&spoken);
        let replicas = replicas(&nodes);
        let mut topology = Topology::empty();
        let mut primaries: Vec<Primary> = Vec::new();
        let owners = self.owners(&spoken);
        for run in owners.chunk_by(|(_, one), (_, other)| is_same(*one, *other)) {
            if let [(first, Some(owner)), ..] = run
                && let Some((last, _)) = run.last()
            {
                let primary = owner.address.clone();
                let replicas = replicas.get(&owner.id).cloned().unwrap_or_default();
                if primaries.iter().all(|known| known.id != owner.id) {
                    primaries.push(Primary {
                        id: owner.id,
                        address: primary.clone(),
                        slot: *first,
                        config_epoch: owner.config_epoch,
                    });
                }
                topology.assign(*first, *last, Shard { primary, replicas });
            }
        }
        // A slot on its way to a node that has none yet is asked for there.
        for line in nodes.values() {
            topology.add_node(&line.address);
            for alias in &line.aliases {
                topology.add_alias(alias, &line.address);
            }
        }
        self.primaries = primaries;
        topology
    }

    /// The primary at that address, for when it is lost, and those who could help.
    pub(super) fn stricken(&self, address: &Address) -> Option<Stricken> {
        let mut primaries = self.primaries.iter();
        let lost = primaries.find(|primary| primary.address == *address)?;
        let others = self.primaries.iter();
        let others = others.filter(|primary| primary.address != *address);
        let replicas = replicas(&self.nodes(&Spoken::of(&self.answers)));
        Some(Stricken {
            id: lost.id,
            address: lost.address.clone(),
            slot: lost.slot,
            replicas: replicas.get(&lost.id).cloned().unwrap_or_default(),
            others: others.map(|primary| primary.address.clone()).collect(),
        })
    }

    fn owners(&self, spoken: &Spoken<'_>) -> Vec<(Slot, Option<&NodeLine>)> {
        let mut owners: Vec<_> = Slot::all().map(|slot| (slot, None::<&NodeLine>)).collect();
        let answers = self.answers.iter();
        let claims = answers.flat_map(|answer| {
            let claims = answer.claims();
            claims.filter(|line| spoken.allows(line, answer))
        });
        for line in claims {
            for (first, last) in &line.slots {
                for (_, owner) in &mut owners[first.index()..=last.index()] {
                    if owner.is_none_or(|known| line.config_epoch >= known.config_epoch) {
                        *owner = Some(line);
                    }
                }
            }
        }
        owners
    }

    /// All nodes, each as the newest answer that knows it has it.
    fn nodes(&self, spoken: &Spoken<'_>) -> BTreeMap<NodeId, &NodeLine> {
        let mut newest: BTreeMap<NodeId, &NodeLine> = BTreeMap::new();
        for answer in &self.answers {
            let lines = answer.reachable();
            let allowed = lines.filter(|line| spoken.allows(line, answer));
            newest.extend(allowed.map(|line| (line.id, line)));
        }
        newest
    }
}

/// So many times longer an answer counts when no majority of the primaries has spoken since.
const MINORITY_AGES: u32 = 30;

/// The replicas of each primary.
fn replicas(nodes: &BTreeMap<NodeId, &NodeLine>) -> HashMap<NodeId, Vec<Address>> {
    let mut replicas: HashMap<NodeId, Vec<Address>> = HashMap::new();
    for line in nodes.values() {
        if let Some(primary) = line.primary
            && !line.is_primary
            && !line.is_failed
        {
            let addresses = replicas.entry(primary).or_default();
            if !addresses.contains(&line.address) {
                addresses.push(line.address.clone());
            }
        }
    }
    replicas
        .values_mut()
        .for_each(|addresses| addresses.sort_unstable());
    replicas
}

/// When each node last spoke for itself. What others said of it in earlier rounds, or of an earlier
/// epoch of it, is void: it may since have lost its slots, or another node may have come to its
/// address. Of what is said in one round a node's own word counts most.
struct Spoken<'a> {
    ids: HashMap<NodeId, Word>,
    addresses: HashMap<&'a Address, Word>,
}

/// That a node has spoken for itself.
#[derive(Clone, Copy)]
struct Word {
    round: u64,
    config_epoch: u64,
}

impl Word {
    fn is_newer(self, line: &NodeLine, answer: &Answer) -> bool {
        self.round > answer.round || self.round == answer.round && !line.is_myself
    }
}

impl<'a> Spoken<'a> {
    fn of(answers: &'a [Answer]) -> Self {
        let mut spoken = Self {
            ids: HashMap::new(),
            addresses: HashMap::new(),
        };
        for answer in answers {
            if let Some(line) = answer.myself() {
                let word = Word {
                    round: answer.round,
                    config_epoch: line.config_epoch,
                };
                spoken.ids.insert(line.id, word);
                spoken.addresses.insert(&line.address, word);
            }
        }
        spoken
    }

    /// Whether the node has not said since what is so.
    fn allows(&self, line: &NodeLine, answer: &Answer) -> bool {
        let (id, address) = (self.ids.get(&line.id), self.addresses.get(&line.address));
        let is_void =
            |word: &Word| word.is_newer(line, answer) || word.config_epoch > line.config_epoch;
        !id.is_some_and(is_void) && !address.is_some_and(|word| word.is_newer(line, answer))
    }
}

fn is_same(one: Option<&NodeLine>, other: Option<&NodeLine>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.id == other.id && one.address == other.address,
        _ => false,
    }
}
