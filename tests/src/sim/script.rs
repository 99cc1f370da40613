//! What becomes of whole nodes: planned failovers, nodes that are lost and replaced by their
//! replicas, restarts one after the other, new nodes in place of old ones. Each is a list of steps.
//!
//! A replica has all that its primary had, up to the last write: what is lost in these runs the
//! proxy has lost, not the cluster.

use std::collections::VecDeque;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::Now;

use super::cluster::{Cluster, Job, Outcome, Ranks, is_long_ago};
use super::machine::Machine;

/// Steps that are taken one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Script(VecDeque<Step>);

/// One step.
#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    /// The node stands still for a moment, as it does before it hands over what it has.
    Freeze(usize, u64),
    /// `to` has all that `from` had. Both know, unless `from` is deaf; if it has to be and is not
    /// any more, nothing happens.
    TakeOver {
        from: usize,
        to: usize,
        only_if_deaf: bool,
    },
    /// A node that is still deaf notices that it does not reach the others.
    Isolate(usize),
    /// The others notice that a node is deaf.
    Suspect(usize),
    /// They agree that it is down.
    Fail(usize),
    /// A node learns all that there is to know.
    Learn(usize),
    /// A node learns which others are down.
    Hear(usize),
    Join {
        node: usize,
        primary: usize,
    },
    Forget(usize),
    Restart(usize),
    AwaitBack(usize),
    Retire(usize),
}

/// What the world has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Freeze(usize, u64),
    /// The process ends once it owes nothing to anybody, and comes back.
    Restart(usize),
    /// It ends for good.
    Retire(usize),
}

/// How a node is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) node: usize,
    /// Its process runs on and notices that it is alone.
    pub(super) is_running: bool,
    /// How long the others wait for it.
    pub(super) timeout_micros: u64,
}

impl Script {
    fn add(&mut self, steps: impl IntoIterator<Item = Step>) {
        self.0.extend(steps);
    }
}

impl Cluster {
    /// Hands over a primary's slots to its replica, if nothing else is under way.
    pub(super) fn begin_failover(&mut self, now: Now) -> Option<usize> {
        let candidates: Vec<_> = self.pairs(now).collect();
        if !self.is_quiet() || candidates.is_empty() {
            return None;
        }
        let (from, to) = *self.random.pick(&candidates);
        let mut script = Script::default();
        self.add_failover(&mut script, from, to);
        Some(self.begin(Job::Script(script)))
    }

    /// Restarts every member, primaries after their replica has taken over.
    pub(super) fn begin_restarts(&mut self, now: Now) -> Option<usize> {
        if !self.is_quiet() || !self.deaf.is_empty() {
            return None;
        }
        let pairs: Vec<_> = self.pairs(now).collect();
        let mut script = Script::default();
        for (primary, replica) in pairs {
            self.add_restart(&mut script, replica);
            self.add_failover(&mut script, primary, replica);
            script.add([Step::Wait(NOTICE_MICROS)]);
            self.add_restart(&mut script, primary);
        }
        Some(self.begin(Job::Script(script)))
    }

    /// Puts another node in the place of every one there is.
    pub(super) fn begin_replacement(&mut self, ranks: Ranks) -> Option<usize> {
        if !self.is_quiet() || !self.deaf.is_empty() {
            return None;
        }
        let mut script = Script::default();
        for primary in 0..ranks.primaries {
            let node = ranks.successor(primary);
            script.add([Step::Join { node, primary }, Step::Learn(node)]);
            self.add_for_all(&mut script, Step::Learn);
            self.add_failover(&mut script, primary, node);
            script.add([Step::Forget(primary)]);
            self.add_for_all(&mut script, Step::Learn);
            script.add([Step::Wait(NOTICE_MICROS), Step::Retire(primary)]);
        }
        Some(self.begin(Job::Script(script)))
    }

    /// A node hears of the others no more, nor they of it. What they do about it is a job, if they
    /// do anything.
    pub(super) fn lose(&mut self, loss: Loss) -> usize {
        let Loss {
            node,
            is_running,
            timeout_micros,
        } = loss;
        self.deaf.insert(node);
        let mut script = Script::default();
        script.add([Step::Wait(timeout_micros)]);
        script.add(is_running.then_some(Step::Isolate(node)));
        script.add([Step::Suspect(node)]);
        self.add_for_all(&mut script, Step::Hear);
        script.add([Step::Wait(timeout_micros / 2), Step::Fail(node)]);
        self.add_for_all(&mut script, Step::Hear);
        let replica = self.truth.replicas(node).find(|it| !self.is_deaf(*it));
        if let Some(to) = replica.filter(|_| self.truth.owns_any(node)) {
            let election = self.random.between(20_000, 300_000);
            let take_over = Step::TakeOver {
                from: node,
                to,
                only_if_deaf: true,
            };
            script.add([Step::Wait(election), take_over]);
            self.add_for_all(&mut script, Step::Learn);
        }
        self.begin(Job::Script(script))
    }

    /// The node is back, and knows what has happened since.
    pub(super) fn regain(
        &mut self,
        node: usize,
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) -> usize {
        self.deaf.remove(&node);
        self.restarting.remove(&node);
        self.truth.suspected.remove(&node);
        self.truth.failed.remove(&node);
        let truth = self.truth.clone();
        self.views[node].learn(&truth);
        self.publish(node, machines, now);
        let mut script = Script::default();
        self.add_for_all(&mut script, Step::Hear);
        self.begin(Job::Script(script))
    }

    /// Primaries with slots, each with a replica that can take over.
    fn pairs(&self, now: Now) -> impl Iterator<Item = (usize, usize)> {
        let truth = &self.truth;
        let pairs = truth.members.iter().filter_map(move |primary| {
            let mut replicas = truth.replicas(*primary);
            let can = |it: &usize| !self.is_deaf(*it) && is_long_ago(self.retired.get(it), now);
            Some((*primary, replicas.find(can)?))
        });
        pairs.filter(|(primary, _)| truth.owns_any(*primary) && !self.is_deaf(*primary))
    }

    fn add_failover(&mut self, script: &mut Script, from: usize, to: usize) {
        let pause = self.random.between(200, 20_000);
        let take_over = Step::TakeOver {
            from,
            to,
            only_if_deaf: false,
        };
        script.add([Step::Freeze(from, pause), Step::Wait(pause / 2), take_over]);
        self.add_for_all(script, Step::Learn);
    }

    fn add_restart(&mut self, script: &mut Script, node: usize) {
        let pause = self.random.between(1_000, 100_000);
        script.add([
            Step::Wait(pause),
            Step::Restart(node),
            Step::AwaitBack(node),
        ]);
    }

    fn add_for_all(&mut self, script: &mut Script, step: impl Fn(usize) -> Step) {
        let mut nodes: Vec<usize> = (0..self.views.len()).collect();
        for place in (1..nodes.len()).rev() {
            nodes.swap(place, self.random.index(place + 1));
        }
        script.add(nodes.into_iter().map(step));
    }

    /// Takes the next step, and says when to take the one after it.
    pub(super) fn step_script(
        &mut self,
        script: &mut Script,
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(step) = script.0.pop_front() else {
            return outcome;
        };
        outcome.next = Some(0);
        match step {
            Step::Wait(micros) => outcome.next = Some(micros),
            Step::Freeze(node, micros) => outcome.act = Some(Act::Freeze(node, micros)),
            Step::TakeOver {
                from,
                to,
                only_if_deaf,
            } => {
                let can = self.is_deaf(from) == only_if_deaf && !self.is_deaf(to);
                if can {
                    self.take_over((from, to), machines, now);
                }
            }
            Step::Isolate(node) if self.is_deaf(node) => {
                let view = &mut self.views[node];
                view.is_isolated = true;
                view.failed = view.members.clone();
                view.failed.remove(&node);
                self.publish(node, machines, now);
            }
            Step::Suspect(node) if self.is_deaf(node) => {
                self.truth.suspected.insert(node);
            }
            Step::Fail(node) if self.is_deaf(node) => {
                self.truth.failed.insert(node);
            }
            Step::Learn(node) | Step::Hear(node) if !self.is_deaf(node) => {
                let truth = self.truth.clone();
                let view = &mut self.views[node];
                if matches!(step, Step::Learn(_)) {
                    view.learn(&truth);
                } else {
                    (view.suspected, view.failed) = (truth.suspected, truth.failed);
                }
                self.publish(node, machines, now);
                outcome.next = Some(self.some_time());
            }
            Step::Join { node, primary } => {
                self.truth.members.insert(node);
                self.truth.primaries[node] = Some(primary);
            }
            Step::Forget(node) => {
                self.truth.members.remove(&node);
            }
            Step::Restart(node) if !self.is_deaf(node) => {
                self.restarting.insert(node);
                outcome.act = Some(Act::Restart(node));
            }
            Step::AwaitBack(node) if self.restarting.contains(&node) => {
                script.0.push_front(step);
                outcome.next = Some(5_000);
            }
            Step::Retire(node) => outcome.act = Some(Act::Retire(node)),
            _ => {}
        }
        outcome
    }

    fn take_over(
        &mut self,
        (from, to): (usize, usize),
        machines: &mut [Box<dyn Machine>],
        now: Now,
    ) {
        let owners = self.truth.owners.clone();
        let wanted = |slot: Slot| usize::from(owners[slot.index()]) == from;
        self.move_keys((from, to), usize::MAX, wanted, machines, now);
        for slot in Slot::all().filter(|slot| wanted(*slot)) {
            self.truth.owners[slot.index()] = to as u8;
            self.history.note(slot, to);
        }
        self.retired.insert(from, now.instant.as_micros());
        self.truth.primaries[to] = None;
        for primary in self.truth.primaries.iter_mut() {
            if *primary == Some(from) {
                *primary = Some(to);
            }
        }
        self.truth.primaries[from] = Some(to);
        self.raise_epoch(to);
        let truth = self.truth.clone();
        for node in [to, from] {
            if !self.is_deaf(node) {
                self.views[node].learn(&truth);
                self.publish(node, machines, now);
            }
        }
    }
}

/// How long an operator waits after a failover: all proxies have looked for the topology since.
pub(super) const NOTICE_MICROS: u64 = 1_500_000;
