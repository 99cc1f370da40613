//! The cluster's manager: moves slots key by key as `redis-cli --cluster reshard` does, while every
//! node has its own view of who owns what. What becomes of whole nodes is `script.rs`' part.

use std::collections::{BTreeMap, BTreeSet};

use slotway_protocol::cluster::{Slot, Topology};
use slotway_protocol::engine::{Address, Now};

use super::history::History;
use super::machine::Machine;
use super::random::Random;
use super::script::{Act, Script};
use super::view::View;
use super::workload;

/// All views, and the changes under way.
pub struct Cluster {
    pub views: Vec<View>,
    /// What the nodes have agreed on, whether all know it or not.
    pub(super) truth: View,
    /// All keys that may exist somewhere.
    pub keys: Vec<Vec<u8>>,
    pub(super) jobs: Vec<Option<Job>>,
    /// When a slot left a node, and when a node handed over all that it had.
    left: BTreeMap<(Slot, usize), u64>,
    pub(super) retired: BTreeMap<usize, u64>,
    /// Nodes that hear nothing of the others: they are gone, stopped or cut off.
    pub(super) deaf: BTreeSet<usize>,
    pub(super) restarting: BTreeSet<usize>,
    /// Somebody waits until nothing moves: no move may begin.
    pub(super) must_rest: bool,
    pub(super) history: History,
    pub(super) random: Random,
}

/// A change under way.
#[derive(Debug, Clone)]
pub(super) enum Job {
    Move {
        slot: Slot,
        from: usize,
        to: usize,
        stage: Stage,
    },
    Script(Script),
}

/// What a move does next.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    Import,
    Migrate,
    Keys,
    OwnerAtTarget,
    OwnerAtSource,
    OwnerElsewhere(Vec<usize>),
}

/// What a step of a job asks of the world.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Micros until the job's next step; `None` when it is done.
    pub next: Option<u64>,
    pub(super) act: Option<Act>,
}

/// How many nodes there are of what kind, in this order.
#[derive(Debug, Clone, Copy)]
pub struct Ranks {
    /// Those with slots.
    pub primaries: usize,
    /// Primaries without slots.
    pub spare: usize,
    /// Each primary with slots has so many.
    pub replicas: usize,
    /// One for each primary, which is not a member yet.
    pub has_successors: bool,
}

impl Ranks {
    pub fn total(self) -> usize {
        let successors = if self.has_successors {
            self.primaries
        } else {
            0
        };
        self.at_start() + successors
    }

    /// Those that are members at the start.
    pub(super) fn at_start(self) -> usize {
        self.primaries + self.spare + self.primaries * self.replicas
    }

    /// A primary's first replica.
    pub(super) fn replica(self, primary: usize) -> usize {
        self.primaries + self.spare + primary
    }

    /// The node that is to come in the place of a primary.
    pub(super) fn successor(self, primary: usize) -> usize {
        self.at_start() + primary
    }
}

impl Cluster {
    /// The numbers of nodes are those of their machines.
    pub fn new(addresses: &[Address], ranks: Ranks, full_coverage: bool, random: Random) -> Self {
        let mut truth = View::new(addresses, ranks.primaries);
        truth.full_coverage = full_coverage;
        for node in ranks.replica(0)..ranks.at_start() {
            truth.primaries[node] = Some((node - ranks.replica(0)) % ranks.primaries);
        }
        truth.members = (0..ranks.at_start()).collect();
        let view = |me| View {
            me,
            ..truth.clone()
        };
        let tags = (0..workload::TAGS_MAX).map(workload::tag);
        let slots = tags.map(|tag| Slot::of(tag.as_bytes()));
        Self {
            views: (0..addresses.len()).map(view).collect(),
            history: History::new(slots, &truth),
            truth,
            keys: Vec::new(),
            jobs: Vec::new(),
            left: BTreeMap::new(),
            retired: BTreeMap::new(),
            deaf: BTreeSet::new(),
            restarting: BTreeSet::new(),
            must_rest: false,
            random,
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.jobs.iter().all(Option::is_none)
    }

    /// Whether the node is stopped, gone or cut off from the others.
    pub(super) fn is_deaf(&self, node: usize) -> bool {
        self.deaf.contains(&node)
    }

    /// Somebody believes in a topology from now on.
    pub(super) fn believe(&mut self, who: usize, topology: &Topology) -> Result<(), String> {
        let deaf = &self.deaf;
        let is_lost = |node| deaf.contains(&node);
        self.history.believe(who, topology, &self.truth, is_lost)
    }

    /// What somebody believes of the owners of slots that is not so any more.
    pub(super) fn outdated(&self) -> Option<String> {
        self.history.outdated()
    }

    /// Begins to move a slot, unless it is on its way already; the job's number.
    ///
    /// It does not come back soon to where it was: a node that refuses a request and then serves
    /// the next one of the same batch, because the slot has come back in between, breaks the order
    /// of any client that pipelines.
    pub fn begin_move(&mut self, slot: Slot, now: Now) -> Option<usize> {
        let busy = self.jobs.iter().flatten().any(|job| match job {
            Job::Move { slot: other, .. } => *other == slot,
            Job::Script(_) => true,
        });
        let from = self.owner(slot);
        let truth = &self.truth;
        let is_free = |node: &usize| {
            let left = self.left.get(&(slot, *node));
            let is_primary = truth.members.contains(node) && truth.primaries[*node].is_none();
            *node != from && is_primary && !self.is_deaf(*node) && is_long_ago(left, now)
        };
        let others: Vec<usize> = (0..self.views.len()).filter(is_free).collect();
        if busy || self.must_rest || self.is_deaf(from) || others.is_empty() {
            return None;
        }
        let to = *self.random.pick(&others);
        Some(self.begin(Job::Move {
            slot,
            from,
            to,
            stage: Stage::Import,
        }))
    }

    pub(super) fn begin(&mut self, job: Job) -> usize {
        self.jobs.push(Some(job));
        self.jobs.len() - 1
    }

    /// Does a job's next step.
    pub fn step(&mut self, job: usize, machines: &mut [Box<dyn Machine>], now: Now) -> Outcome {
        let Some(state) = self.jobs[job].take() else {
            return Outcome::default();
        };
        match state {
            Job::Move {
                slot,
                from,
                to,
                stage,
            } => {
                let stage = self.step_move((slot, from, to), stage, machines, now);
                self.jobs[job] = stage.map(|stage| Job::Move {
                    slot,
                    from,
                    to,
                    stage,
                });
                Outcome {
                    next: self.jobs[job].is_some().then(|| self.some_time()),
                    act: None,
                }
            }
            Job::Script(mut script) => {
                let outcome = self.step_script(&mut script, machines, now);
                self.jobs[job] = outcome.next.map(|_| Job::Script(script));
                outcome
            }
        }
    }

    /// The time between two steps that depend on nobody.
    pub(super) fn some_time(&mut self) -> u64 {
        if self.random.chance(300) {
            self.random.between(2_000, 60_000)
        } else {
            self.random.between(50, 2_000)
        }
    }

    fn owner(&self, slot: Slot) -> usize {
        self.truth.owner(slot).expect("every slot has an owner")
    }

    fn step_move(
        &mut self,
        (slot, from, to): (Slot, usize, usize),
        stage: Stage,
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) -> Option<Stage> {
        if self.is_deaf(from) || self.is_deaf(to) {
            // Whoever moves the slot gets no answer, and tries again.
            return Some(stage);
        }
        Some(match stage {
            Stage::Import => {
                self.views[to].importing.insert(slot, from);
                self.publish(to, machines, now);
                Stage::Migrate
            }
            Stage::Migrate => {
                self.views[from].migrating.insert(slot, to);
                self.publish(from, machines, now);
                Stage::Keys
            }
            Stage::Keys => {
                let few = self.random.between(1, 2) as usize;
                let moved = self.move_keys((from, to), few, |key| key == slot, machines, now);
                if moved == 0 {
                    Stage::OwnerAtTarget
                } else {
                    Stage::Keys
                }
            }
            Stage::OwnerAtTarget => {
                self.views[to].importing.remove(&slot);
                self.left.insert((slot, from), now.instant.as_micros());
                self.truth.owners[slot.index()] = to as u8;
                self.raise_epoch(to);
                self.history.note(slot, to);
                self.tell_owner(to, slot, machines, now);
                Stage::OwnerAtSource
            }
            Stage::OwnerAtSource => {
                self.views[from].migrating.remove(&slot);
                self.tell_owner(from, slot, machines, now);
                let others = (0..self.views.len()).filter(|node| *node != from && *node != to);
                Stage::OwnerElsewhere(others.collect())
            }
            Stage::OwnerElsewhere(mut others) => {
                let node = others.pop()?;
                if !self.is_deaf(node) {
                    self.tell_owner(node, slot, machines, now);
                }
                Stage::OwnerElsewhere(others)
            }
        })
    }

    /// A node learns who owns a slot.
    fn tell_owner(&mut self, node: usize, slot: Slot, machines: &mut [Box<dyn Machine>], now: Now) {
        let owner = self.owner(slot);
        self.views[node].owners[slot.index()] = owner as u8;
        self.views[node].epochs[owner] = self.truth.epochs[owner];
        self.publish(node, machines, now);
    }

    /// A node that takes slots over gets an epoch above all others.
    pub(super) fn raise_epoch(&mut self, node: usize) {
        let highest = self.truth.epochs.iter().max();
        self.truth.epochs[node] = highest.map_or(1, |highest| highest + 1);
    }

    /// Takes keys of certain slots from one node to another, so many at most.
    pub(super) fn move_keys(
        &self,
        (from, to): (usize, usize),
        max: usize,
        wanted: impl Fn(Slot) -> bool,
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) -> usize {
        let mut moved = 0;
        for key in self.keys.iter().filter(|key| wanted(Slot::of(key))) {
            let source = machines[from].keeper().expect("a node keeps keys");
            let Some(payload) = source.export(key) else {
                continue;
            };
            let target = machines[to].keeper().expect("a node keeps keys");
            target.import(key, payload);
            moved += 1;
            if moved == max {
                break;
            }
        }
        machines[from].settle(now);
        machines[to].settle(now);
        moved
    }

    pub(super) fn publish(&mut self, node: usize, machines: &mut [Box<dyn Machine>], now: Now) {
        self.views[node].settle();
        let machine = &mut machines[node];
        let keeper = machine.keeper().expect("a node has a view");
        keeper.set_view(&self.views[node], now);
        machine.settle(now);
    }
}

/// Whether what left at that time may come back.
pub(super) fn is_long_ago(left: Option<&u64>, now: Now) -> bool {
    left.is_none_or(|left| left + RETURN_MICROS_MIN < now.instant.as_micros())
}

/// How long a slot stays away from a node that it has left.
const RETURN_MICROS_MIN: u64 = 500_000;
