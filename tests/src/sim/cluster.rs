//! The cluster's manager: moves slots key by key as `redis-cli --cluster reshard` does and moves
//! whole nodes as a failover does, while every node has its own view of who owns what.

use std::collections::BTreeMap;

use slotway_protocol::cluster::{SLOTS, Shard, Slot, Topology};
use slotway_protocol::engine::{Address, Now};

use super::machine::Machine;
use super::random::Random;

/// One node's idea of the cluster.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The number of the node whose view this is.
    pub me: usize,
    pub addresses: Vec<Address>,
    owners: Vec<u8>,
    /// The config epoch of each node, as far as this one knows.
    pub epochs: Vec<u64>,
    pub migrating: BTreeMap<Slot, usize>,
    pub importing: BTreeMap<Slot, usize>,
}

impl View {
    pub fn owner(&self, slot: Slot) -> Option<usize> {
        self.owners
            .get(slot.index())
            .map(|owner| usize::from(*owner))
    }

    pub fn address(&self, node: usize) -> &Address {
        &self.addresses[node]
    }

    /// First slot, last slot and owner of every range.
    pub fn ranges(&self) -> Vec<(u16, u16, usize)> {
        let mut next = 0;
        let runs = self.owners.chunk_by(|one, other| one == other);
        runs.map(|run| {
            let first = next;
            next += run.len();
            (first as u16, next as u16 - 1, usize::from(run[0]))
        })
        .collect()
    }

    /// The reply to CLUSTER NODES.
    pub fn nodes_text(&self) -> String {
        let mut text = String::new();
        let ranges = self.ranges();
        for (node, address) in self.addresses.iter().enumerate() {
            let flags = if node == self.me {
                "myself,master"
            } else {
                "master"
            };
            let epoch = self.epochs[node];
            text += &format!(
                "{node:040x} {address}@{} {flags} - 0 0 {epoch} connected",
                address.port + 10_000,
            );
            for (first, last, _) in ranges.iter().filter(|range| range.2 == node) {
                text += &format!(" {first}-{last}");
            }
            for (slot, to) in self.migrating.iter().filter(|_| node == self.me) {
                text += &format!(" [{slot}->-{to:040x}]");
            }
            text.push('\n');
        }
        text
    }

    pub fn topology(&self) -> Topology {
        let mut topology = Topology::empty();
        for (first, last, node) in self.ranges() {
            let shard = Shard {
                primary: self.address(node).clone(),
                replicas: Vec::new(),
            };
            let slot = |number: u16| Slot::new(u64::from(number)).expect("a view has only slots");
            topology.assign(slot(first), slot(last), shard);
        }
        topology
    }
}

/// All views, and the changes under way.
pub struct Cluster {
    pub views: Vec<View>,
    /// All keys that may exist somewhere.
    pub keys: Vec<Vec<u8>>,
    /// The number of machines before the first node.
    first_machine: usize,
    jobs: Vec<Option<Job>>,
    /// When a slot left a node.
    left: BTreeMap<(Slot, usize), u64>,
    random: Random,
}

/// A change under way.
#[derive(Debug, Clone)]
enum Job {
    Move {
        slot: Slot,
        from: usize,
        to: usize,
        stage: Stage,
    },
    Failover {
        from: usize,
        to: usize,
        late: Vec<usize>,
    },
}

/// What a move does next.
#[derive(Debug, Clone)]
enum Stage {
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
    /// A node that loses its connections and is away for that many micros.
    pub crash: Option<(usize, u64)>,
}

impl Cluster {
    /// Slots are spread in equal ranges over all nodes but the last `spare`.
    pub fn new(addresses: &[Address], spare: usize, first_machine: usize, random: Random) -> Self {
        let busy = addresses.len() - spare;
        let owners: Vec<u8> = (0..SLOTS).map(|slot| (slot * busy / SLOTS) as u8).collect();
        let view = |me| View {
            me,
            addresses: addresses.to_vec(),
            owners: owners.clone(),
            epochs: (1..=addresses.len() as u64).collect(),
            ..View::default()
        };
        let views = (0..addresses.len()).map(view).collect();
        Self {
            views,
            keys: Vec::new(),
            first_machine,
            jobs: Vec::new(),
            left: BTreeMap::new(),
            random,
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.jobs.iter().all(Option::is_none)
    }

    /// Begins to move a slot, unless it is on its way already; the job's number.
    ///
    /// It does not come back soon to where it was: a node that refuses a request and then serves
    /// the next one of the same batch, because the slot has come back in between, breaks the order
    /// of any client that pipelines.
    pub fn begin_move(&mut self, slot: Slot, now: Now) -> Option<usize> {
        let busy = self.jobs.iter().flatten().any(|job| match job {
            Job::Move { slot: other, .. } => *other == slot,
            Job::Failover { .. } => true,
        });
        let from = self.owner(slot);
        let micros = now.instant.as_micros();
        let is_free = |node: &usize| {
            let left = self.left.get(&(slot, *node));
            *node != from && left.is_none_or(|left| left + RETURN_MICROS_MIN < micros)
        };
        let others: Vec<usize> = (0..self.views.len()).filter(is_free).collect();
        if busy || others.is_empty() {
            return None;
        }
        let to = *self.random.pick(&others);
        self.jobs.push(Some(Job::Move {
            slot,
            from,
            to,
            stage: Stage::Import,
        }));
        Some(self.jobs.len() - 1)
    }

    /// Begins to move all that a node has to one that has nothing, if nothing else is under way.
    pub fn begin_failover(&mut self) -> Option<usize> {
        let was_left = |node: &usize| self.left.keys().any(|(_, left)| left == node);
        let idle = |node: &usize| {
            let owns = |view: &View| view.owners.contains(&(*node as u8));
            !self.views.iter().any(owns) && !was_left(node)
        };
        let nodes = 0..self.views.len();
        let (idle, busy): (Vec<_>, Vec<_>) = nodes.partition(idle);
        if !self.is_quiet() || idle.is_empty() || busy.is_empty() {
            return None;
        }
        let (from, to) = (*self.random.pick(&busy), *self.random.pick(&idle));
        self.jobs.push(Some(Job::Failover {
            from,
            to,
            late: Vec::new(),
        }));
        Some(self.jobs.len() - 1)
    }

    /// Does a job's next step.
    pub fn step(&mut self, job: usize, machines: &mut [Box<dyn Machine>], now: Now) -> Outcome {
        let Some(state) = self.jobs[job].take() else {
            return Outcome::default();
        };
        let (next, mut outcome) = match state {
            Job::Move {
                slot,
                from,
                to,
                stage,
            } => {
                let stage = self.step_move((slot, from, to), stage, machines, now);
                (
                    stage.map(|stage| Job::Move {
                        slot,
                        from,
                        to,
                        stage,
                    }),
                    Outcome::default(),
                )
            }
            Job::Failover { from, to, late } => self.step_failover((from, to), late, machines, now),
        };
        if next.is_some() {
            outcome.next = Some(if self.random.chance(300) {
                self.random.between(2_000, 60_000)
            } else {
                self.random.between(50, 2_000)
            });
        }
        self.jobs[job] = next;
        outcome
    }

    fn owner(&self, slot: Slot) -> usize {
        // Without a job under way all views agree, and with one the slot is not asked for.
        self.views[0].owner(slot).expect("every slot has an owner")
    }

    fn step_move(
        &mut self,
        (slot, from, to): (Slot, usize, usize),
        stage: Stage,
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) -> Option<Stage> {
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
                let moved = self.move_keys(slot, (from, to), few, machines, now);
                if moved == 0 {
                    Stage::OwnerAtTarget
                } else {
                    Stage::Keys
                }
            }
            Stage::OwnerAtTarget => {
                self.views[to].importing.remove(&slot);
                self.views[to].owners[slot.index()] = to as u8;
                self.left.insert((slot, from), now.instant.as_micros());
                self.raise_epoch(to);
                self.publish(to, machines, now);
                Stage::OwnerAtSource
            }
            Stage::OwnerAtSource => {
                self.views[from].migrating.remove(&slot);
                self.views[from].owners[slot.index()] = to as u8;
                self.tell_epoch(from, to);
                self.publish(from, machines, now);
                let others = (0..self.views.len()).filter(|node| *node != from && *node != to);
                Stage::OwnerElsewhere(others.collect())
            }
            Stage::OwnerElsewhere(mut others) => {
                let node = others.pop()?;
                self.views[node].owners[slot.index()] = to as u8;
                self.tell_epoch(node, to);
                self.publish(node, machines, now);
                Stage::OwnerElsewhere(others)
            }
        })
    }

    /// A failover is sudden for the two nodes; the others learn of it later.
    fn step_failover(
        &mut self,
        (from, to): (usize, usize),
        mut late: Vec<usize>,
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) -> (Option<Job>, Outcome) {
        let mut outcome = Outcome::default();
        if self.views[to].owners.contains(&(from as u8)) {
            let mine = |slot: &Slot| self.views[from].owner(*slot) == Some(from);
            let slots: Vec<Slot> = Slot::all().filter(mine).collect();
            for slot in slots {
                self.move_keys(slot, (from, to), usize::MAX, machines, now);
            }
            self.left
                .insert((Slot::of(b""), from), now.instant.as_micros());
            self.raise_epoch(to);
            self.take_over(to, (from, to), machines, now);
            self.take_over(from, (from, to), machines, now);
            if self.random.chance(500) {
                outcome.crash = Some((from, self.random.between(1_000, 200_000)));
            }
            late = (0..self.views.len())
                .filter(|node| *node != from && *node != to)
                .collect();
        } else if let Some(node) = late.pop() {
            self.take_over(node, (from, to), machines, now);
        } else {
            return (None, outcome);
        }
        (Some(Job::Failover { from, to, late }), outcome)
    }

    fn take_over(
        &mut self,
        node: usize,
        (from, to): (usize, usize),
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) {
        for owner in self.views[node]
            .owners
            .iter_mut()
            .filter(|owner| **owner == from as u8)
        {
            *owner = to as u8;
        }
        self.tell_epoch(node, to);
        self.publish(node, machines, now);
    }

    /// A node that takes slots over gets an epoch above all others.
    fn raise_epoch(&mut self, node: usize) {
        let highest = self
            .views
            .iter()
            .flat_map(|view| view.epochs.iter().copied())
            .max();
        self.views[node].epochs[node] = highest.unwrap_or(0) + 1;
    }

    /// `node` learns the epoch of `about`.
    fn tell_epoch(&mut self, node: usize, about: usize) {
        self.views[node].epochs[about] = self.views[about].epochs[about];
    }

    fn move_keys(
        &self,
        slot: Slot,
        (from, to): (usize, usize),
        max: usize,
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) -> usize {
        let mut moved = 0;
        for key in self.keys.iter().filter(|key| Slot::of(key) == slot) {
            let source = machines[self.first_machine + from]
                .keeper()
                .expect("a node keeps keys");
            let Some(payload) = source.export(key) else {
                continue;
            };
            let target = machines[self.first_machine + to]
                .keeper()
                .expect("a node keeps keys");
            target.import(key, payload);
            moved += 1;
            if moved == max {
                break;
            }
        }
        machines[self.first_machine + from].settle(now);
        machines[self.first_machine + to].settle(now);
        moved
    }

    fn publish(&self, node: usize, machines: &mut [Box<dyn Machine>], now: Now) {
        let machine = &mut machines[self.first_machine + node];
        let keeper = machine.keeper().expect("a node has a view");
        keeper.set_view(&self.views[node], now);
        machine.settle(now);
    }
}

/// How long a slot stays away from a node that it has left.
const RETURN_MICROS_MIN: u64 = 500_000;
