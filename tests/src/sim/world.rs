//! One run: puts machines, network, cluster and faults together and lets time pass until all
//! clients are served, or something is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slotway_protocol::cluster::{Slot, Topology};
use slotway_protocol::engine::{Address, ConnectError, ConnectToken, ConnectionId, Instant};

use super::cast::{Cast, Report};
use super::checker::SharedChecker;
use super::client::{Client, Shared};
use super::clock::Clock;
use super::cluster::Cluster;
use super::faults::{Fault, Work};
use super::ledger::Ledger;
use super::machine::{Effect, Machine, Signal, Stimulus};
use super::mutant::{Mutant, Tamper};
use super::network::{End, Lag, Network};
use super::node_faults::Barrier;
use super::random::{Random, Trace};
use super::scenario::Scenario;
use super::tap::Tap;
use super::workload;

/// What happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    Arrive(End),
    Reset(End),
    Flush(End),
    /// A link breaks.
    Break(usize),
    Timer {
        machine: usize,
        at: u64,
    },
    Connect {
        machine: usize,
        token: ConnectToken,
        address: Address,
    },
    /// Nobody answers a connection attempt.
    TimeOut {
        machine: usize,
        token: ConnectToken,
    },
    Stimulate(usize, Stimulus),
    /// A machine that stood still goes on.
    Wake(usize),
    Move,
    Work(Work),
    Job(usize),
    Fault(Fault),
    /// No more faults from now on.
    Calm,
}

/// The state of a run.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) clock: Clock<Event>,
    pub(super) network: Network,
    pub(super) machines: Vec<Box<dyn Machine>>,
    pub(super) random: Random,
    pub(super) roles: Vec<Role>,
    pub(super) cluster: Cluster,
    pub(super) addresses: BTreeMap<Address, usize>,
    pub(super) places: Vec<Address>,
    pub(super) ends: BTreeMap<(usize, ConnectionId), End>,
    /// Ends whose flush is on the queue.
    pub(super) flushing: BTreeSet<End>,
    /// For each machine the time it named and the time at which it is called.
    pub(super) timers: Vec<Option<(u64, u64)>>,
    /// Machines that take no connections before that time, and those that do nothing.
    pub(super) away_until: Vec<u64>,
    pub(super) frozen_until: Vec<u64>,
    pub(super) barriers: Vec<Barrier>,
    pub(super) slow: BTreeMap<usize, Lag>,
    /// The only nodes that fare badly; none for all.
    pub(super) victims: BTreeSet<usize>,
    /// Ends whose next reply is to become unreadable.
    pub(super) garbled: BTreeSet<End>,
    pub(super) shared: Shared,
    pub(super) checker: SharedChecker,
    pub(super) tap: Tap,
    pub(super) ledger: Ledger,
    pub(super) tamper: Option<Tamper>,
    pub(super) trace: Trace,
    pub(super) is_traced: bool,
    pub(super) events: u64,
    /// When a proxy is told of a topology last, as far as is known.
    pub(super) told_at: BTreeMap<usize, u64>,
    /// What a discovery found out first.
    pub(super) first_topology: Option<Arc<Topology>>,
    /// When everybody was served.
    pub(super) served_at: u64,
}

/// What a machine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Node,
    Proxy,
    Discovery,
    Client,
}

/// Runs a scenario to its end.
pub fn run(scenario: Scenario, cast: &Cast<'_>, mutant: Option<Mutant>) -> Report {
    let mut world = World::new(scenario, cast, mutant);
    world.run();
    let checker = world.checker.borrow();
    Report {
        violation: checker.violation.clone(),
        trace: world.trace.digest(),
        answered: checker.answered,
        failed: checker.failed,
        executed: checker.executed,
        lost: checker.lost,
        walked: checker.walked,
        strikes: world.tamper.as_ref().map_or(0, |tamper| tamper.strikes),
        virtual_micros: world.clock.micros(),
        events: world.events,
        refusals: world.tap.refusals,
        slowest_micros: checker.slowest,
        wait_micros: world.served_at.saturating_sub(world.scenario.settled_at()),
    }
}

impl World {
    fn run(&mut self) {
        let clients = self.scenario.clients;
        let bound = self.scenario.calm_at + ANSWER_MICROS_MAX;
        self.run_until(bound, |world| {
            world.shared.done.get() == clients && world.is_calm()
        });
        if self.is_wrong() {
            return;
        }
        self.served_at = self.clock.micros();
        self.checker.borrow_mut().is_final = true;
        let script = self.checker.borrow().last_look();
        let proxies = self
            .of_role(Role::Proxy)
            .map(|index| self.places[index].clone())
            .collect();
        let mut habits = self.habits(proxies);
        (habits.departures, habits.naps) = (0, 0);
        let shared = Shared {
            may_break: false,
            ..self.shared.clone()
        };
        let client = Client::scripted(shared, habits, script);
        self.add_client(client, clients);
        let bound = self.clock.micros() + ANSWER_MICROS_MAX;
        self.run_until(bound, |world| world.shared.done.get() == clients + 1);
        // Nobody is left to do anything for.
        let bound = self.clock.micros() + ANSWER_MICROS_MAX;
        self.run_until(bound, Self::is_tidy);
        self.run_until(bound, |world| world.cluster.outdated().is_none());
        if !self.is_wrong() {
            self.checker.borrow_mut().finish();
        }
    }

    fn run_until(&mut self, bound: u64, done: impl Fn(&Self) -> bool) {
        while !done(self) && !self.is_wrong() {
            let Some(event) = self.clock.advance() else {
                let what = "nothing happens any more and somebody still waits";
                return self.violate(&format!("{what}: {}", self.waits_for()));
            };
            self.events += 1;
            if self.clock.micros() > bound || self.events > EVENTS_MAX {
                let what = "somebody still waits long after all faults have ended";
                return self.violate(&format!("{what}: {}", self.waits_for()));
            }
            self.happen(event);
        }
    }

    fn waits_for(&self) -> String {
        let waiting = self
            .machines
            .iter()
            .filter_map(|machine| machine.waits_for());
        let waiting: Vec<String> = waiting.chain(self.cluster.outdated()).collect();
        waiting.join("; ")
    }

    fn is_calm(&self) -> bool {
        self.clock.micros() >= self.scenario.settled_at() && self.cluster.is_quiet()
    }

    /// No proxy has begun anything that is not done.
    fn is_tidy(&self) -> bool {
        let mut proxies = self.of_role(Role::Proxy);
        proxies.all(|proxy| self.machines[proxy].waits_for().is_none())
    }

    fn is_wrong(&mut self) -> bool {
        if let Some(what) = self.tap.violation.take() {
            self.violate(&what);
        }
        self.checker.borrow().violation.is_some()
    }

    pub(super) fn violate(&self, what: &str) {
        let at = self.clock.micros();
        self.checker
            .borrow_mut()
            .violate(format!("at {at}us: {what}"));
    }

    pub(super) fn of_role(&self, role: Role) -> impl Iterator<Item = usize> + '_ {
        (0..self.roles.len()).filter(move |index| self.roles[*index] == role)
    }

    fn happen(&mut self, event: Event) {
        self.trace.mix(self.clock.micros());
        self.checker.borrow_mut().micros = self.clock.micros();
        if self.is_traced {
            let text: String = format!("{event:?}").chars().take(200).collect();
            eprintln!("{:>9} {text}", self.clock.micros());
        }
        match event {
            Event::Arrive(end) => self.arrive(end),
            Event::Reset(end) => self.reset(end),
            Event::Flush(end) => self.flush(end),
            Event::Break(link) => self.break_link(link),
            Event::Timer { machine, at } => self.timer(machine, at),
            Event::Connect {
                machine,
                token,
                address,
            } => self.connect(machine, token, &address),
            Event::TimeOut { machine, token } => {
                let now = self.clock.now();
                self.machines[machine].connect_failed(token, ConnectError::TimedOut, now);
                self.after(machine);
            }
            Event::Stimulate(machine, _) if self.is_frozen(machine) => {
                self.clock.at(self.frozen_until[machine], event);
            }
            Event::Stimulate(machine, stimulus) => {
                self.machines[machine].stimulate(stimulus, self.clock.now());
                self.after(machine);
            }
            Event::Move => {
                let tag = workload::tag(self.random.index(self.scenario.tags));
                let job = self
                    .cluster
                    .begin_move(Slot::of(tag.as_bytes()), self.clock.now());
                job.into_iter()
                    .for_each(|job| self.clock.after(0, Event::Job(job)));
            }
            Event::Wake(machine) => self.wake(machine),
            Event::Work(work) => self.work(work),
            Event::Job(job) => self.job(job),
            Event::Fault(fault) => self.suffer(fault),
            Event::Calm => {}
        }
    }

    fn job(&mut self, job: usize) {
        self.cluster.keys = self.checker.borrow().keys();
        let outcome = self.cluster.step(job, &mut self.machines, self.clock.now());
        for node in 0..self.cluster.views.len() {
            self.after(node);
        }
        if let Some(act) = outcome.act {
            self.act(act);
        }
        if let Some(delay) = outcome.next {
            self.clock.after(delay, Event::Job(job));
        }
    }

    /// Sees to what a machine wants after it was called.
    pub(super) fn after(&mut self, machine: usize) {
        for effect in self.machines[machine].effects() {
            self.effect(machine, effect);
        }
        let Some(timeout) = self.machines[machine]
            .next_timeout()
            .map(Instant::as_micros)
        else {
            return;
        };
        if self.timers[machine].is_none_or(|(armed, _)| timeout < armed) {
            // Timers are never early, and a little late.
            let late = 1 + self.random.below(1_000);
            let at = timeout.max(self.clock.micros()) + late;
            self.timers[machine] = Some((timeout, at));
            self.clock.at(at, Event::Timer { machine, at });
        }
    }

    fn effect(&mut self, machine: usize, effect: Effect) {
        let end = |world: &Self, id| world.ends.get(&(machine, id)).copied();
        match effect {
            // The link is not known yet; whoever opens it flushes both ends.
            Effect::Opened(_) => {}
            Effect::Connect { token, address } => {
                let delay = 2 * self.network.latency(&mut self.random);
                self.clock.after(
                    delay,
                    Event::Connect {
                        machine,
                        token,
                        address,
                    },
                );
            }
            Effect::Signal(signal) => self.signal(machine, signal),
            Effect::Dirty(id) => {
                if let Some(end) = end(self, id) {
                    self.flush_soon(end);
                }
            }
            Effect::Resumed(id) => {
                if let Some(end) = end(self, id) {
                    self.clock.after(0, Event::Arrive(end));
                }
            }
            Effect::Shutdown(id) => {
                if let Some(end) = end(self, id) {
                    self.send_end(end);
                }
            }
            Effect::Closed(id) => {
                if let Some(end) = self.ends.remove(&(machine, id)) {
                    self.close(end);
                }
            }
            Effect::Fault(what) => {
                self.violate(&format!("{:?} {machine}: {what}", self.roles[machine]));
            }
        }
    }

    /// Carries news between a proxy and its discovery, or does the discovery's work.
    fn signal(&mut self, machine: usize, signal: Signal) {
        let delay = self.random.below(self.scenario.topology_delay_micros) + 1;
        match (self.roles[machine], signal) {
            (Role::Proxy, Signal::TopologyStale) => {
                if self.roles.get(machine + 1) == Some(&Role::Discovery) {
                    self.clock
                        .after(100, Event::Stimulate(machine + 1, Stimulus::Refresh));
                } else {
                    self.tell_soon(machine, delay);
                }
            }
            (Role::Discovery, Signal::Topology(topology)) => {
                let old = self.outdated(&topology);
                for topology in [topology].into_iter().chain(old) {
                    if let Err(why) = self.cluster.believe(machine, &topology) {
                        self.violate(&why);
                    }
                    self.tell(machine - 1, topology, delay);
                }
            }
            _ => {}
        }
    }

    /// A proxy is told of a topology later, but not before those of which it was told earlier.
    fn tell(&mut self, proxy: usize, topology: Arc<Topology>, delay: u64) {
        let told_at = self.told_at.entry(proxy).or_default();
        *told_at = (self.clock.micros() + delay).max(*told_at);
        let event = Event::Stimulate(proxy, Stimulus::Topology(topology));
        self.clock.at(*told_at, event);
    }

    /// A proxy without a discovery is told what some node believes, unless that is on its way.
    fn tell_soon(&mut self, proxy: usize, delay: u64) {
        let now = self.clock.micros();
        let told_at = self.told_at.get(&proxy).copied().unwrap_or(0);
        if told_at > now {
            return;
        }
        let Some(node) = self.some_informant(proxy) else {
            return;
        };
        let at = (now + delay).max(told_at + TOLD_APART_MICROS);
        self.told_at.insert(proxy, at);
        let topology = Arc::new(self.cluster.views[node].topology());
        let stimulus = Stimulus::Topology(topology);
        self.clock.at(at, Event::Stimulate(proxy, stimulus));
    }

    /// A node that a proxy reaches and that knows what has happened.
    fn some_informant(&mut self, proxy: usize) -> Option<usize> {
        let mut nodes: Vec<usize> = self.of_role(Role::Node).collect();
        nodes.retain(|node| {
            let is_member = self.cluster.truth.members.contains(node);
            is_member
                && !self.cluster.is_deaf(*node)
                && self.separated_until(proxy, *node).is_none()
        });
        (!nodes.is_empty()).then(|| *self.random.pick(&nodes))
    }

    /// What a proxy is told next if it does not know any more what it has found out.
    fn outdated(&mut self, topology: &Arc<Topology>) -> Option<Arc<Topology>> {
        let first = self.first_topology.get_or_insert_with(|| topology.clone());
        let tamper = self.tamper.as_mut().filter(|_| first != topology);
        let strikes = tamper.is_some_and(|it| it.strikes_if(Mutant::FlipMap));
        strikes.then(|| first.clone())
    }

    fn timer(&mut self, machine: usize, at: u64) {
        if self.timers[machine].is_none_or(|(_, armed)| armed != at) {
            return;
        }
        self.timers[machine] = None;
        if self.is_frozen(machine) {
            return;
        }
        let timeout = self.machines[machine]
            .next_timeout()
            .map(Instant::as_micros);
        if timeout.is_some_and(|timeout| timeout <= at) {
            self.machines[machine].timeout(self.clock.now());
        }
        self.after(machine);
    }
}

/// How long clients may wait after the last fault: a timeout, a hold and a few attempts.
const ANSWER_MICROS_MAX: u64 = 20_000_000;

/// A run that takes more steps is going in circles.
const EVENTS_MAX: u64 = 3_000_000;

/// Nobody is told of topologies more often than a discovery would find them out.
const TOLD_APART_MICROS: u64 = 50_000;
