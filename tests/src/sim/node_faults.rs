//! What befalls whole nodes and proxies: they die and come back, stand still, are slow, out of
//! sorts or out of reach.

use super::faults::{Fault, RETRY_MICROS};
use super::machine::{Keeper, Mood};
use super::network::{End, Lag, NEVER};
use super::script::{Act, Loss};
use super::world::{Event, Role, World};

/// What befalls a node or a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeFault {
    /// It is gone for a while that is too short for the others to notice.
    Crash {
        micros: u64,
    },
    /// It answers with an error that passes.
    Mood {
        micros: u64,
    },
    /// Everything takes longer to it and from it.
    Lag {
        micros: u64,
    },
    /// It dies, stops or is cut off; the others do something about it if that takes long.
    Lose {
        micros: u64,
    },
    /// All nodes die or stop.
    Blackout {
        micros: u64,
    },
    /// Proxies do not reach it, the other nodes do.
    Hide {
        micros: u64,
    },
    StopProxy {
        micros: u64,
    },
    /// A node is itself again.
    Recover {
        node: usize,
    },
    /// A node that was gone begins to load.
    Load {
        node: usize,
    },
    /// A node that was lost is back.
    Return {
        node: usize,
    },
    /// As soon as a node owes nothing it ends and comes back, or does not.
    End {
        node: usize,
        is_final: bool,
    },
}

/// Machines that do not reach each other for a while.
#[derive(Debug, Clone)]
pub(super) struct Barrier {
    pub(super) sides: [Vec<usize>; 2],
    pub(super) until: u64,
}

impl Barrier {
    pub(super) fn is_between(&self, one: usize, other: usize) -> bool {
        let [left, right] = &self.sides;
        let is = |one, other| left.contains(one) && right.contains(other);
        is(&one, &other) || is(&other, &one)
    }
}

impl World {
    pub(super) fn suffer_node(&mut self, fault: NodeFault) {
        match fault {
            NodeFault::Crash { micros } => {
                let node = self.some_node();
                if !self.cluster.is_deaf(node) {
                    self.crash(node, micros);
                }
            }
            NodeFault::Mood { micros } => self.set_mood(micros),
            NodeFault::Lag { micros } => self.lag(micros),
            NodeFault::Lose { micros } => self.lose(micros),
            NodeFault::Blackout { micros } => self.black_out(micros),
            NodeFault::Hide { micros } => self.hide(micros),
            NodeFault::StopProxy { micros } => {
                let proxies: Vec<usize> = self.of_role(Role::Proxy).collect();
                let proxy = *self.random.pick(&proxies);
                for machine in self.with_discovery(proxy) {
                    self.freeze(machine, micros);
                }
            }
            NodeFault::Recover { node } => {
                if !self.cluster.is_deaf(node) {
                    self.keeper(node).set_mood(None);
                }
            }
            NodeFault::Load { node } => {
                let loads = self.keeper(node).set_mood(Some(Mood::Loads));
                let micros = if loads { self.random.below(60_000) } else { 0 };
                self.later(micros, NodeFault::Return { node });
            }
            NodeFault::Return { node } => {
                self.keeper(node).set_mood(None);
                let now = self.clock.now();
                let job = self.cluster.regain(node, &mut self.machines, now);
                self.clock.after(0, Event::Job(job));
                self.after(node);
            }
            NodeFault::End { node, is_final } => self.end_when_idle(node, is_final),
        }
    }

    /// Does what a step in the life of the cluster asks for.
    pub(super) fn act(&mut self, act: Act) {
        match act {
            Act::Freeze(node, micros) => self.freeze(node, micros),
            Act::Restart(node) => self.end_when_idle(node, false),
            Act::Retire(node) => self.end_when_idle(node, true),
        }
    }

    fn later(&mut self, micros: u64, fault: NodeFault) {
        self.clock.after(micros, Event::Fault(Fault::Node(fault)));
    }

    /// A node is gone for a while; its data stays.
    fn crash(&mut self, node: usize, micros: u64) {
        self.away_until[node] = self.clock.micros() + micros + 1;
        for link in self.links_of(node) {
            self.break_link(link);
        }
    }

    pub(super) fn links_of(&self, machine: usize) -> Vec<usize> {
        let mut links = self.network.open_links();
        let is_its = |link, side| self.network.machine(End { link, side }) == machine;
        links.retain(|link| is_its(*link, 0) || is_its(*link, 1));
        links
    }

    /// The machine does nothing for a while. Connections to it open, and what is sent to it is
    /// kept.
    fn freeze(&mut self, machine: usize, micros: u64) {
        let until = self.clock.micros() + micros;
        self.frozen_until[machine] = self.frozen_until[machine].max(until);
        self.clock.at(until, Event::Wake(machine));
    }

    pub(super) fn is_frozen(&self, machine: usize) -> bool {
        self.clock.micros() < self.frozen_until[machine]
    }

    pub(super) fn wake(&mut self, machine: usize) {
        if self.is_frozen(machine) {
            return;
        }
        let ends: Vec<End> = self.ends_of(machine).collect();
        for end in ends {
            self.clock.after(0, Event::Arrive(end));
            self.flush_soon(end);
        }
        self.after(machine);
    }

    fn ends_of(&self, machine: usize) -> impl Iterator<Item = End> + '_ {
        let all = self.ends.iter();
        all.filter(move |((owner, _), _)| *owner == machine)
            .map(|(_, end)| *end)
    }

    /// How a node is lost is chance.
    fn lose(&mut self, micros: u64) {
        let mut candidates: Vec<usize> = self.victims().collect();
        let is_member = |node: &usize| self.cluster.truth.members.contains(node);
        candidates.retain(|node| is_member(node) && !self.is_frozen(*node));
        let is_alone = self.cluster.deaf.is_empty();
        if !self.cluster.is_quiet() || !is_alone || candidates.is_empty() {
            if self.may_wait() {
                self.later(RETRY_MICROS, NodeFault::Lose { micros });
            }
            return;
        }
        self.cluster.must_rest = false;
        let mut node = *self.random.pick(&candidates);
        if self.random.chance(700) {
            // That of a primary is told more about.
            let truth = &self.cluster.truth;
            let primary = candidates.iter().find(|node| truth.owns_any(**node));
            node = *primary.unwrap_or(&node);
        }
        let way = self.random.below(3);
        let loss = Loss {
            node,
            is_running: way == 0,
            timeout_micros: self.scenario.node_timeout_micros,
        };
        let job = self.cluster.lose(loss);
        self.clock.after(0, Event::Job(job));
        match way {
            0 => {
                self.cut_off(node, micros);
                let late = self.random.below(50_000);
                self.later(micros + late, NodeFault::Return { node });
            }
            1 => {
                self.crash(node, micros);
                self.later(micros, NodeFault::Load { node });
            }
            _ => {
                self.later(micros, NodeFault::Return { node });
                self.freeze(node, micros + 1);
            }
        }
    }

    /// A node is on the smaller side of a partition: alone, with a proxy, or with all proxies,
    /// which then reach both sides.
    fn cut_off(&mut self, node: usize, micros: u64) {
        let proxies: Vec<usize> = self.of_role(Role::Proxy).collect();
        let others: Vec<usize> = self.of_role(Role::Node).filter(|it| *it != node).collect();
        let (near, far): (Vec<usize>, Vec<usize>) = match self.random.below(3) {
            0 => return,
            1 if proxies.len() > 1 && self.victims.is_empty() => {
                (vec![proxies[0]], proxies[1..].to_vec())
            }
            _ => (Vec::new(), proxies),
        };
        let all = |proxies: Vec<usize>| -> Vec<usize> {
            let all = proxies.into_iter().map(|proxy| self.with_discovery(proxy));
            all.flatten().collect()
        };
        let (near, far) = (all(near), all(far));
        self.separate([vec![node], far], micros);
        self.separate([others, near], micros);
    }

    fn hide(&mut self, micros: u64) {
        let mut proxies: Vec<usize> = self.of_role(Role::Proxy).collect();
        if self.random.chance(500) {
            proxies.truncate(1);
        }
        let proxies = proxies.into_iter().map(|proxy| self.with_discovery(proxy));
        let proxies: Vec<usize> = proxies.flatten().collect();
        let mut nodes: Vec<usize> = self.victims().collect();
        match self.random.below(4) {
            0 if self.victims.is_empty() => drop(nodes.remove(self.random.index(nodes.len()))),
            1 => {}
            _ => nodes = vec![*self.random.pick(&nodes)],
        }
        self.separate([nodes, proxies], micros);
    }

    /// Nothing gets from one side to the other for a while.
    fn separate(&mut self, sides: [Vec<usize>; 2], micros: u64) {
        let until = self.clock.micros() + micros;
        let barrier = Barrier { sides, until };
        for link in self.network.open_links() {
            let [one, other] = [0, 1].map(|side| self.network.machine(End { link, side }));
            if barrier.is_between(one, other) {
                self.block(End { link, side: 0 }, until);
                self.block(End { link, side: 1 }, until);
            }
        }
        self.barriers.push(barrier);
    }

    /// Until when two machines do not reach each other.
    pub(super) fn separated_until(&self, one: usize, other: usize) -> Option<u64> {
        let now = self.clock.micros();
        let barriers = self.barriers.iter();
        let between = barriers.filter(|it| it.until > now && it.is_between(one, other));
        between.map(|barrier| barrier.until).max()
    }

    fn black_out(&mut self, micros: u64) {
        if !self.cluster.is_quiet() || !self.cluster.deaf.is_empty() {
            if self.may_wait() {
                self.later(RETRY_MICROS, NodeFault::Blackout { micros });
            }
            return;
        }
        self.cluster.must_rest = false;
        let stops = self.random.chance(500);
        let nodes: Vec<usize> = self.of_role(Role::Node).collect();
        for node in nodes {
            self.cluster.deaf.insert(node);
            if stops {
                self.later(micros, NodeFault::Return { node });
                self.freeze(node, micros + 1);
            } else {
                self.crash(node, micros);
                self.later(micros, NodeFault::Load { node });
            }
        }
    }

    fn lag(&mut self, micros: u64) {
        let node = self.some_node();
        let lag = Lag {
            until: self.clock.micros() + micros,
            micros: self.random.between(1_000, 60_000),
            bytes_per_milli: self.random.between(200, 2_000),
        };
        self.slow.insert(node, lag);
        for link in self.links_of(node) {
            self.slow_down(link, lag);
        }
    }

    pub(super) fn slow_down(&mut self, link: usize, lag: Lag) {
        for side in 0..2 {
            self.network.slow_down(End { link, side }, lag);
        }
    }

    fn set_mood(&mut self, micros: u64) {
        let node = self.some_node();
        let error = *self.random.pick(&MOODS);
        if !self.cluster.is_deaf(node) && self.keeper(node).set_mood(Some(Mood::Refuses(error))) {
            self.later(micros, NodeFault::Recover { node });
        }
    }

    /// The node's process ends once it owes nothing to any proxy.
    fn end_when_idle(&mut self, node: usize, is_final: bool) {
        let links = self.links_of(node);
        if !links.iter().all(|link| self.ledger.is_idle(*link)) {
            return self.later(RETRY_MICROS, NodeFault::End { node, is_final });
        }
        self.cluster.deaf.insert(node);
        if is_final {
            return self.crash(node, NEVER);
        }
        let micros = self.random.between(1_000, 200_000);
        self.crash(node, micros);
        self.later(micros, NodeFault::Load { node });
    }

    pub(super) fn keeper(&mut self, node: usize) -> &mut dyn Keeper {
        self.machines[node].keeper().expect("a node has data")
    }

    /// A proxy and its discovery, which share their fate.
    fn with_discovery(&self, proxy: usize) -> Vec<usize> {
        let next = self.roles.get(proxy + 1);
        let discovery = next.filter(|role| **role == Role::Discovery);
        let discovery = discovery.map(|_| proxy + 1);
        [proxy].into_iter().chain(discovery).collect()
    }
}

/// Errors that say that nothing was done and that later all may be well.
const MOODS: [&str; 5] = [
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "READONLY You can't write against a read only replica.",
];
