//! What goes wrong in the world: when, where, and what it does.

use super::machine::Keeper;
use super::network::End;
use super::random::Random;
use super::scenario::{LONG_STALL_MICROS, Scenario};
use super::world::{Event, Role, World};

/// Something that goes wrong, somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    ResetBackend,
    ResetClient,
    Stall {
        micros: u64,
    },
    Crash {
        micros: u64,
    },
    Mood {
        micros: u64,
    },
    /// A node is as usual again.
    Recover {
        machine: usize,
    },
}

impl Fault {
    /// All faults of a run and their times. They have ended when the calm begins.
    pub(super) fn plan(scenario: &Scenario, random: &mut Random) -> Vec<(u64, Self)> {
        let faults = scenario.faults;
        let mut plan = Vec::new();
        let mut add = |count: usize, random: &mut Random, fault: &dyn Fn(&mut Random) -> Self| {
            for _ in 0..count {
                let fault = fault(random);
                plan.push((random.below(scenario.calm_at), fault));
            }
        };
        add(faults.backend_resets, random, &|_| Self::ResetBackend);
        add(faults.client_resets, random, &|_| Self::ResetClient);
        add(faults.short_stalls, random, &|random| Self::Stall {
            micros: random.between(1_000, 150_000),
        });
        add(faults.long_stalls, random, &|random| Self::Stall {
            micros: random.between(LONG_STALL_MICROS.0, LONG_STALL_MICROS.1),
        });
        add(faults.crashes, random, &|random| Self::Crash {
            micros: random.between(1_000, 300_000),
        });
        add(faults.moods, random, &|random| Self::Mood {
            micros: random.between(500, 100_000),
        });
        plan
    }
}

impl World {
    pub(super) fn suffer(&mut self, fault: Fault) {
        match fault {
            Fault::ResetBackend => {
                if let Some(link) = self.some_link(Role::Node) {
                    self.break_link(link);
                }
            }
            Fault::ResetClient => {
                if let Some(link) = self.some_link(Role::Proxy) {
                    self.break_link(link);
                }
            }
            Fault::Stall { micros } => self.stall(micros),
            Fault::Crash { micros } => {
                let node = self.some_node();
                self.crash(node, micros);
            }
            Fault::Mood { micros } => self.set_mood(micros),
            Fault::Recover { machine } => {
                self.keeper(machine).set_mood(None);
            }
        }
    }

    /// A node is gone for a while; its data stays.
    pub(super) fn crash(&mut self, node: usize, micros: u64) {
        self.away_until[node] = self.clock.micros() + micros;
        for link in self.network.open_links() {
            let is_its = |side| self.network.machine(End { link, side }) == node;
            if is_its(0) || is_its(1) {
                self.break_link(link);
            }
        }
    }

    fn stall(&mut self, micros: u64) {
        let links = self.network.open_links();
        if links.is_empty() {
            return;
        }
        let link = *self.random.pick(&links);
        let end = End {
            link,
            side: self.random.index(2),
        };
        let until = self.clock.micros() + micros;
        self.network.stall(end, self.clock.micros(), until);
        self.clock.at(until, Event::Arrive(end));
    }

    fn set_mood(&mut self, micros: u64) {
        let machine = self.some_node();
        let error = *self.random.pick(&MOODS);
        if self.keeper(machine).set_mood(Some(error)) {
            self.clock
                .after(micros, Event::Fault(Fault::Recover { machine }));
        }
    }

    /// A link whose accepting end has that role.
    fn some_link(&mut self, role: Role) -> Option<usize> {
        let mut links = self.network.open_links();
        links.retain(|link| {
            self.roles[self.network.machine(End {
                link: *link,
                side: 1,
            })] == role
        });
        if links.is_empty() {
            None
        } else {
            Some(*self.random.pick(&links))
        }
    }

    fn some_node(&mut self) -> usize {
        let nodes: Vec<usize> = self.of_role(Role::Node).collect();
        *self.random.pick(&nodes)
    }

    fn keeper(&mut self, machine: usize) -> &mut dyn Keeper {
        self.machines[machine].keeper().expect("a node has data")
    }
}

/// Errors that say that nothing was done and that later all may be well.
const MOODS: [&str; 3] = [
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "CLUSTERDOWN The cluster is down",
];
