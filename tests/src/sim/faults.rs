//! What goes wrong in the world: when, and what kind of thing it is.

use super::lies::Lie;
use super::link_faults::LinkFault;
use super::mutant::Mutant;
use super::network::End;
use super::node_faults::NodeFault;
use super::random::Random;
use super::scenario::{LONG_STALL_MICROS, Scenario};
use super::world::{Event, Role, World};

/// Something that goes wrong, somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Client,
    Link(LinkFault),
    Node(NodeFault),
    Lie(Lie),
}

/// What an operator does, when nothing else is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Failover,
    Restarts,
    Replacement,
}

impl Fault {
    /// All faults of a run and their times. They have ended when the calm begins.
    pub(super) fn plan(scenario: &Scenario, random: &mut Random) -> Vec<(u64, Self)> {
        let mut plan = Vec::new();
        let mut add = |count: usize, random: &mut Random, fault: &dyn Fn(&mut Random) -> Self| {
            for _ in 0..count {
                let fault = fault(random);
                plan.push((random.below(scenario.calm_at), fault));
            }
        };
        let faults = scenario.faults;
        let of_link = |fault| move |_: &mut Random| Self::Link(fault);
        add(faults.client_resets, random, &|_| Self::Client);
        add(faults.backend_resets, random, &of_link(LinkFault::Reset));
        add(faults.half_closes, random, &of_link(LinkFault::HalfClose));
        add(faults.fuses, random, &|random| {
            let bytes = random.between(1, 400) as usize;
            Self::Link(LinkFault::Fuse { bytes })
        });
        add(faults.half_opens, random, &|random| {
            let sides = *random.pick(&[[true, false], [false, true], [true, true]]);
            Self::Link(LinkFault::HalfOpen { sides })
        });
        add(faults.trickles, random, &|random| {
            let micros = random.between(2_000, 60_000);
            Self::Link(LinkFault::Trickle { micros })
        });
        let stall = |(low, high)| {
            move |random: &mut Random| {
                let micros = random.between(low, high);
                Self::Link(LinkFault::Stall { micros })
            }
        };
        add(faults.short_stalls, random, &stall((1_000, 150_000)));
        add(faults.long_stalls, random, &stall(LONG_STALL_MICROS));
        add(faults.crashes, random, &|random| {
            let micros = random.between(1_000, 300_000);
            Self::Node(NodeFault::Crash { micros })
        });
        add(faults.moods, random, &|random| {
            let micros = random.between(500, 100_000);
            Self::Node(NodeFault::Mood { micros })
        });
        add(faults.lags, random, &|random| {
            let micros = random.between(10_000, 300_000);
            Self::Node(NodeFault::Lag { micros })
        });
        let (shortest, longest) = faults.outage_micros;
        type Outage = fn(u64) -> NodeFault;
        let outages: [(usize, Outage); 4] = [
            (faults.losses, |micros| NodeFault::Lose { micros }),
            (faults.blackouts, |micros| NodeFault::Blackout { micros }),
            (faults.hidings, |micros| NodeFault::Hide { micros }),
            (faults.proxy_stops, |micros| NodeFault::StopProxy { micros }),
        ];
        for (count, outage) in outages {
            add(count, random, &|random| {
                Self::Node(outage(random.between(shortest, longest)))
            });
        }
        let of_lie = |lie| move |_: &mut Random| Self::Lie(lie);
        add(faults.strays, random, &of_lie(Lie::Stray));
        add(faults.garbles, random, &of_lie(Lie::Garble));
        let micros = |random: &mut Random| random.between(500, 200_000);
        add(faults.lures, random, &|random| {
            let micros = micros(random);
            Self::Lie(Lie::Lure { micros })
        });
        add(faults.loops, random, &|random| {
            let micros = micros(random);
            Self::Lie(Lie::Loop { micros })
        });
        plan
    }
}

impl World {
    pub(super) fn suffer(&mut self, fault: Fault) {
        self.hold_all_up();
        match fault {
            Fault::Client => {
                if let Some(link) = self.some_link(Role::Proxy) {
                    self.break_link(link);
                }
            }
            Fault::Link(fault) => self.suffer_link(fault),
            Fault::Node(fault) => self.suffer_node(fault),
            Fault::Lie(lie) => self.hear_lie(lie),
        }
    }

    /// A broken proxy waits for all nodes when one is in trouble.
    fn hold_all_up(&mut self) {
        let tamper = self.tamper.as_mut();
        if !tamper.is_some_and(|it| it.strikes_now(Mutant::HoldHealthy)) {
            return;
        }
        let until = self.clock.micros() + HELD_UP_MICROS;
        for link in self.network.open_links() {
            let end = End { link, side: 1 };
            if self.roles[self.network.machine(end)] == Role::Node {
                self.block(end, until);
            }
        }
    }

    /// Begins a work, now or when everything else is done.
    pub(super) fn work(&mut self, work: Work) {
        let now = self.clock.now();
        let job = match work {
            Work::Failover => self.cluster.begin_failover(now),
            Work::Restarts => self.cluster.begin_restarts(now),
            Work::Replacement => self.cluster.begin_replacement(self.scenario.ranks),
        };
        if let Some(job) = job {
            self.clock.after(0, Event::Job(job));
            self.cluster.must_rest = false;
        } else if self.may_wait() {
            self.clock.after(RETRY_MICROS, Event::Work(work));
        }
    }

    /// Whether what has to wait until nothing moves can: no move begins any more.
    pub(super) fn may_wait(&mut self) -> bool {
        let can = self.clock.micros() < self.scenario.calm_at;
        self.cluster.must_rest = can;
        can
    }

    /// A node that may fare badly.
    pub(super) fn some_node(&mut self) -> usize {
        let nodes: Vec<usize> = self.victims().collect();
        *self.random.pick(&nodes)
    }

    /// The nodes that may fare badly: all, or those of one shard.
    pub(super) fn victims(&self) -> impl Iterator<Item = usize> + '_ {
        let is_one = |node: &usize| self.victims.is_empty() || self.victims.contains(node);
        self.of_role(Role::Node).filter(is_one)
    }
}

/// How soon to look again whether nothing moves.
pub(super) const RETRY_MICROS: u64 = 5_000;

/// How long a broken proxy waits for all.
const HELD_UP_MICROS: u64 = 300_000;
