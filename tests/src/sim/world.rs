//! One run: puts machines, network, cluster and faults together and lets time pass until all
//! clients are served, or something is wrong.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Address, ConnectToken, ConnectionId, Instant};

use super::cast::{Cast, Report};
use super::checker::{Checker, SharedChecker};
use super::client::{Client, Habits, Shared};
use super::clock::Clock;
use super::cluster::Cluster;
use super::faults::Fault;
use super::host::Host;
use super::machine::{Effect, Limits, Machine, Signal, Stimulus};
use super::mutant::{Mutant, Tamper};
use super::network::{End, Network};
use super::random::{Random, Trace};
use super::scenario::Scenario;
use super::tap::Tap;
use super::workload::{self, Style};

/// What happens at a time.
#[derive(Debug)]
pub(super) enum Event {
    Arrive(End),
    Reset(End),
    Flush(End),
    Timer {
        machine: usize,
        at: u64,
    },
    Connect {
        machine: usize,
        token: ConnectToken,
        address: Address,
    },
    Stimulate(usize, Stimulus),
    Move,
    Failover,
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
    cluster: Cluster,
    pub(super) addresses: BTreeMap<Address, usize>,
    pub(super) places: Vec<Address>,
    pub(super) ends: BTreeMap<(usize, ConnectionId), End>,
    /// Ends whose flush is on the queue.
    pub(super) flushing: BTreeSet<End>,
    /// For each machine the time it named and the time at which it is called.
    timers: Vec<Option<(u64, u64)>>,
    /// Machines that take no connections before that time.
    pub(super) away_until: Vec<u64>,
    shared: Shared,
    checker: SharedChecker,
    pub(super) tap: Tap,
    pub(super) tamper: Option<Tamper>,
    pub(super) trace: Trace,
    pub(super) is_traced: bool,
    events: u64,
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
    }
}

impl World {
    fn new(scenario: Scenario, cast: &Cast<'_>, mutant: Option<Mutant>) -> Self {
        let mut random = Random::new(scenario.seed ^ 0x51_07_3a);
        let count = scenario.nodes + scenario.spare_nodes;
        let address = |n: usize| Address::new(format!("10.0.0.{}", n + 1), 7000);
        let nodes: Vec<Address> = (0..count).map(address).collect();
        let cluster = Cluster::new(&nodes, scenario.spare_nodes, 0, random.fork());
        let (may_fail, is_ordered) = (scenario.may_fail(), scenario.is_ordered());
        let checker = Rc::new(RefCell::new(Checker::new(
            may_fail,
            is_ordered,
            scenario.is_calm(),
        )));
        let shared = Shared {
            checker: checker.clone(),
            sessions: Rc::new(Cell::new(0)),
            done: Rc::new(Cell::new(0)),
            may_break: scenario.faults.client_resets > 0,
        };
        let mut world = Self {
            network: Network::new(scenario.window_bytes, scenario.latency_micros),
            clock: Clock::new(),
            machines: Vec::new(),
            roles: Vec::new(),
            addresses: BTreeMap::new(),
            places: Vec::new(),
            ends: BTreeMap::new(),
            flushing: BTreeSet::new(),
            timers: Vec::new(),
            away_until: Vec::new(),
            tap: Tap::new(is_ordered, !scenario.is_tapped),
            tamper: mutant.map(|mutant| Tamper::new(mutant, random.fork())),
            trace: Trace::new(),
            is_traced: std::env::var_os("SLOTWAY_SIM_TRACE").is_some(),
            events: 0,
            cluster,
            shared,
            checker,
            random,
            scenario,
        };
        world.populate(cast, &nodes);
        world.plan();
        world
    }

    /// Puts up nodes first, then proxies, each with its discovery, then clients.
    fn populate(&mut self, cast: &Cast<'_>, nodes: &[Address]) {
        let scenario = self.scenario.clone();
        for (number, address) in nodes.iter().enumerate() {
            let view = self.cluster.views[number].clone();
            let machine = (cast.node)(&scenario, view, self.random.fork());
            self.add(machine, Role::Node, address.clone());
        }
        let mut proxies = Vec::new();
        for number in 0..scenario.proxies {
            let machine = (cast.proxy)(&scenario, self.random.fork());
            let address = Address::new(format!("10.0.1.{number}"), 6379);
            self.add(machine, Role::Proxy, address.clone());
            proxies.push(address);
            let proxy = self.machines.len() - 1;
            if let Some(discovery) = cast.discovery {
                let machine = discovery(&scenario, nodes.to_vec(), self.random.fork());
                let address = Address::new(format!("10.0.2.{number}"), 6379);
                self.add(machine, Role::Discovery, address);
                self.clock
                    .after(0, Event::Stimulate(proxy + 1, Stimulus::Refresh));
            } else {
                let stimulus = Stimulus::Topology(Arc::new(self.cluster.views[0].topology()));
                self.clock.after(0, Event::Stimulate(proxy, stimulus));
            }
        }
        for number in 0..scenario.clients {
            let habits = self.habits(proxies.clone());
            let client = Client::new(self.shared.clone(), habits, self.random.fork());
            self.add_client(client, number);
        }
    }

    fn habits(&mut self, proxies: Vec<Address>) -> Habits {
        let scenario = &self.scenario;
        Habits {
            proxies,
            operations: scenario.operations_per_client,
            pipeline: scenario.pipeline,
            style: Style {
                tags: scenario.tags,
                large_values: scenario.large_values,
                crowded_slots: scenario.crowded_slots,
                has_errands: scenario.has_errands,
                wide_transactions: scenario.has_wide_transactions(),
            },
            departures: scenario.faults.departures,
            naps: scenario.faults.naps,
            pace: *self.random.pick(&[500, 5_000, 20_000]),
            calm_at: scenario.calm_at,
        }
    }

    fn add_client(&mut self, client: Client, number: usize) {
        let host = Host::new(client, Limits::NONE, self.random.fork());
        self.add(
            Box::new(host),
            Role::Client,
            Address::new(format!("10.0.3.{number}"), 1),
        );
    }

    fn add(&mut self, machine: Box<dyn Machine>, role: Role, address: Address) {
        let index = self.machines.len();
        self.machines.push(machine);
        self.roles.push(role);
        self.timers.push(None);
        self.away_until.push(0);
        self.addresses.insert(address.clone(), index);
        self.places.push(address);
        self.after(index);
    }

    fn plan(&mut self) {
        let calm_at = self.scenario.calm_at;
        self.clock.at(self.scenario.settled_at(), Event::Calm);
        for _ in 0..self.scenario.moves {
            let at = self.random.below(calm_at);
            self.clock.at(at, Event::Move);
        }
        for _ in 0..self.scenario.failovers {
            let at = self.random.below(calm_at);
            self.clock.at(at, Event::Failover);
        }
        for (at, fault) in Fault::plan(&self.scenario, &mut self.random) {
            self.clock.at(at, Event::Fault(fault));
        }
    }

    fn run(&mut self) {
        let clients = self.scenario.clients;
        let bound = self.scenario.calm_at + ANSWER_MICROS_MAX;
        self.run_until(bound, |world| {
            world.shared.done.get() == clients && world.is_calm()
        });
        if self.is_wrong() {
            return;
        }
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
        let waiting: Vec<String> = self
            .machines
            .iter()
            .filter_map(|machine| machine.waits_for())
            .collect();
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
        if self.is_traced {
            let text: String = format!("{event:?}").chars().take(200).collect();
            eprintln!("{:>9} {text}", self.clock.micros());
        }
        match event {
            Event::Arrive(end) => self.arrive(end),
            Event::Reset(end) => self.reset(end),
            Event::Flush(end) => self.flush(end),
            Event::Timer { machine, at } => self.timer(machine, at),
            Event::Connect {
                machine,
                token,
                address,
            } => self.connect(machine, token, &address),
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
            Event::Failover => {
                let job = self.cluster.begin_failover();
                job.into_iter()
                    .for_each(|job| self.clock.after(0, Event::Job(job)));
            }
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
        if let Some((node, micros)) = outcome.crash {
            self.crash(node, micros);
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
                    let view = self.random.index(self.cluster.views.len());
                    let topology = Arc::new(self.cluster.views[view].topology());
                    let stimulus = Stimulus::Topology(topology);
                    self.clock.after(delay, Event::Stimulate(machine, stimulus));
                }
            }
            (Role::Discovery, Signal::Topology(topology)) => {
                let stimulus = Stimulus::Topology(topology);
                self.clock
                    .after(delay, Event::Stimulate(machine - 1, stimulus));
            }
            _ => {}
        }
    }

    fn timer(&mut self, machine: usize, at: u64) {
        if self.timers[machine].is_none_or(|(_, armed)| armed != at) {
            return;
        }
        self.timers[machine] = None;
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
