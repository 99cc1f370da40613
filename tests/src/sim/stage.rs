//! The beginning of a run: who takes part, and what is going to happen.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::Address;

use super::cast::Cast;
use super::checker::{Checker, Terms};
use super::client::{Client, Habits, Shared};
use super::clock::Clock;
use super::cluster::Cluster;
use super::faults::{Fault, Work};
use super::host::Host;
use super::ledger::Ledger;
use super::machine::{Limits, Machine, Stimulus};
use super::mutant::{Mutant, Tamper};
use super::network::Network;
use super::random::{Random, Trace};
use super::real::HOLD_MICROS;
use super::scenario::{Plan, Scenario};
use super::tap::Tap;
use super::workload::{self, Style};
use super::world::{Event, Role, World};

impl World {
    pub(super) fn new(scenario: Scenario, cast: &Cast<'_>, mutant: Option<Mutant>) -> Self {
        let mut random = Random::new(scenario.seed ^ 0x51_07_3a);
        let address = |n: usize| Address::new(format!("10.0.0.{}", n + 1), 7000);
        let nodes: Vec<Address> = (0..scenario.ranks.total()).map(address).collect();
        let full_coverage = scenario.full_coverage;
        let cluster = Cluster::new(&nodes, scenario.ranks, full_coverage, random.fork());
        let terms = Terms {
            may_fail: scenario.may_fail(),
            is_ordered: scenario.is_ordered(),
            is_calm: scenario.is_calm(),
            patience_micros: HOLD_MICROS,
        };
        let checker = Rc::new(RefCell::new(Checker::new(terms)));
        let shared = Shared {
            checker: checker.clone(),
            sessions: Rc::new(Cell::new(0)),
            done: Rc::new(Cell::new(0)),
            may_break: scenario.faults.client_resets > 0,
        };
        // A run with a mutant is the same as without but for what the mutant does.
        let mischief = random.fork();
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
            frozen_until: Vec::new(),
            barriers: Vec::new(),
            slow: BTreeMap::new(),
            victims: scenario.victims(),
            garbled: BTreeSet::new(),
            tap: Tap::new(terms.is_ordered, !scenario.is_tapped),
            ledger: Ledger::default(),
            tamper: mutant.map(|mutant| Tamper::new(mutant, mischief)),
            trace: Trace::new(),
            is_traced: std::env::var_os("SLOTWAY_SIM_TRACE").is_some(),
            events: 0,
            told_at: BTreeMap::new(),
            first_topology: None,
            served_at: 0,
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
                let seeds = nodes[..scenario.ranks.at_start()].to_vec();
                let machine = discovery(&scenario, seeds, self.random.fork());
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
            let mut habits = self.habits(proxies.clone());
            if number < scenario.clients / 2 {
                self.keep_apart(&mut habits);
            }
            let client = Client::new(self.shared.clone(), habits, self.random.fork());
            self.add_client(client, number);
        }
    }

    /// A client that has nothing to do with the nodes that fare badly, if only some do, has every
    /// reply soon.
    fn keep_apart(&self, habits: &mut Habits) {
        let view = &self.cluster.truth;
        let is_well = |tag: &usize| {
            let owner = view.owner(Slot::of(workload::tag(*tag).as_bytes()));
            owner.is_some_and(|owner| !self.victims.contains(&owner))
        };
        let well = (0..self.scenario.tags).filter(is_well);
        let tags = well.fold(0, |tags, tag| tags | 1 << tag);
        if !self.victims.is_empty() && tags != 0 {
            habits.style.tags = tags;
            habits.style.asks_all_nodes = false;
            habits.bound_micros = Some(self.scenario.bound_micros);
        }
    }

    pub(super) fn habits(&self, proxies: Vec<Address>) -> Habits {
        let scenario = &self.scenario;
        Habits {
            proxies,
            operations: scenario.operations_per_client,
            pipeline: scenario.pipeline,
            style: Style {
                tags: ((1_u16 << scenario.tags) - 1) as u8,
                large_values: scenario.large_values,
                crowded_slots: scenario.crowded_slots,
                has_errands: scenario.has_errands,
                asks_all_nodes: true,
                wide_transactions: scenario.has_wide_transactions(),
            },
            departures: scenario.faults.departures,
            naps: scenario.faults.naps,
            nap_micros: scenario.faults.nap_micros,
            halves: scenario.faults.halves,
            bound_micros: None,
            pace: scenario.pace,
            calm_at: scenario.calm_at,
        }
    }

    pub(super) fn add_client(&mut self, client: Client, number: usize) {
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
        self.frozen_until.push(0);
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
        let Plan {
            failovers,
            restarts,
            replaces,
        } = self.scenario.plan;
        for _ in 0..failovers {
            let at = self.random.below(calm_at);
            self.clock.at(at, Event::Work(Work::Failover));
        }
        let early = self.random.below(calm_at / 8);
        if restarts {
            self.clock.at(early, Event::Work(Work::Restarts));
        }
        if replaces {
            self.clock.at(early, Event::Work(Work::Replacement));
        }
        for (at, fault) in Fault::plan(&self.scenario, &mut self.random) {
            self.clock.at(at, Event::Fault(fault));
        }
    }
}
