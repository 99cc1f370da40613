//! What `redis-cli --cluster` tells nodes, in its order, while they hear of each other late: all of
//! them have to agree in the end on who owns which slot.

use std::time::Duration;

use slotway_node::Config;
use slotway_protocol::cluster::{Role, Slot};

use super::random::Random;
use super::scenario::Scenario;
use crate::network::{Network, first_id};

/// A cluster, and who moves its slots.
struct Operator {
    network: Network,
    random: Random,
}

#[test]
fn slots_that_redis_cli_moves_are_in_dispute_with_nobody() {
    if let Some(seed) = super::variable("SLOTWAY_CLUSTER_SEED") {
        return super::logged(|| run(seed));
    }
    let first = super::variable("SLOTWAY_CLUSTER_FIRST").unwrap_or(0);
    let seeds = super::variable("SLOTWAY_CLUSTER_SEEDS").unwrap_or(SEEDS);
    let failed = super::run_all(first, first + seeds, run).1;
    assert!(failed.is_empty(), "failed, seeds and why: {failed:#?}");
}

fn run(seed: u64) {
    let mut random = Random::new(seed ^ 0x0be7);
    let scenario = Scenario {
        primaries: 3,
        nodes: 6,
        has_equal_epochs: random.percent(10),
        config: Config {
            cluster_node_timeout: 2_000,
            protected_mode: false,
            ..Config::default()
        },
        ..Scenario::of(seed)
    };
    let mut network = scenario.network(seed, &mut random);
    network.latency = 200;
    network.set_jitter(random.millis(0, 60));
    let mut operator = Operator { network, random };
    operator.settle("the cluster forms");
    for _ in 0..6 {
        operator.slow_some_down();
        let what = match operator.random.below(8) {
            0 | 1 => operator.uncover_and_fix(),
            2 => operator.fail_over(),
            _ => operator.reshard(),
        };
        operator.settle(&what);
    }
}

impl Operator {
    /// As on a machine that has more to do than it can.
    fn slow_some_down(&mut self) {
        for index in 0..6 {
            let slow_by = [0, 0, 5, 50, 400][self.random.below(5)];
            let network = self.random.millis(0, slow_by);
            let disk = self.random.millis(0, slow_by);
            self.network.slow_down(index, network, disk);
        }
    }

    /// Tells a node something; whether it agrees.
    fn tell(&mut self, index: usize, line: &str) -> bool {
        let reply = self.network.ask(index, line);
        tracing::info!(index, line, reply, "is told");
        let pause = self.random.millis(0, 3);
        self.network.run(pause);
        reply.starts_with('+')
    }

    /// The primaries with slots, in any order.
    fn primaries(&mut self) -> Vec<usize> {
        let view = self.network.view(0);
        let owners = (0..6).filter(|index| !view.ranges(&first_id(*index)).is_empty());
        let mut owners: Vec<usize> = owners.collect();
        for place in (1..owners.len()).rev() {
            owners.swap(place, self.random.below(place + 1));
        }
        owners
    }

    fn first_slots(&self, index: usize, count: usize) -> Vec<Slot> {
        let ranges = self.network.view(0).ranges(&first_id(index));
        let slots = ranges.into_iter().flat_map(|(first, last)| {
            Slot::all().filter(move |slot| (first..=last).contains(slot))
        });
        slots.take(count).collect()
    }

    /// `--cluster reshard`, without keys.
    fn reshard(&mut self) -> String {
        let primaries = self.primaries();
        let (source, target) = (primaries[0], primaries[1]);
        let (from, to) = (first_id(source), first_id(target));
        let count = 1 + self.random.below(30);
        let what = format!("{count} slots move from {source} to {target}");
        for slot in self.first_slots(source, count) {
            let mut steps = vec![
                (target, format!("CLUSTER SETSLOT {slot} IMPORTING {from}")),
                (source, format!("CLUSTER SETSLOT {slot} MIGRATING {to}")),
            ];
            for index in [target, source].iter().chain(&primaries[2..]) {
                steps.push((*index, format!("CLUSTER SETSLOT {slot} NODE {to}")));
            }
            for (index, line) in steps {
                assert!(self.tell(index, &line), "{index}: {line}");
            }
        }
        what
    }

    /// All primaries lose a slot, and `--cluster fix` gives it to one of them.
    fn uncover_and_fix(&mut self) -> String {
        let primaries = self.primaries();
        let slot = self.first_slots(primaries[0], 1)[0];
        let given = primaries[self.random.below(primaries.len())];
        for index in primaries {
            self.tell(index, &format!("CLUSTER DELSLOTS {slot}"));
        }
        for line in ["DELSLOTS", "ADDSLOTS"] {
            let line = format!("CLUSTER {line} {slot}");
            let reply = self.network.ask(given, &line);
            tracing::info!(given, line, reply, "is told");
        }
        self.tell(given, "CLUSTER BUMPEPOCH");
        format!("slot {slot} is given to {given}")
    }

    fn fail_over(&mut self) -> String {
        let view = self.network.view(0);
        let is_replica =
            |index: &usize| view.node(&first_id(*index)).unwrap().role == Role::Replica;
        let replicas: Vec<usize> = (0..6).filter(is_replica).collect();
        let replica = self.random.pick(&replicas).unwrap();
        if self.tell(replica, "CLUSTER FAILOVER") {
            let deadline = self.network.micros() + 12_000_000;
            let is_primary = |network: &Network| {
                (0..6).all(|index| {
                    let node = network.view(index).node(&first_id(replica)).unwrap();
                    node.role == Role::Primary
                })
            };
            while !is_primary(&self.network) && self.network.micros() < deadline {
                self.network.run(Duration::from_millis(20));
            }
        }
        format!("{replica} takes over")
    }

    /// Until all agree on who owns what, as redis-cli sees it, which does not look at epochs.
    fn settle(&mut self, what: &str) {
        let start = self.network.micros();
        while let Some(complaint) = self.complaint() {
            let passed = self.network.micros() - start;
            assert!(passed < WITHIN, "{what}: not yet: {complaint}");
            self.network.run(Duration::from_millis(20));
        }
    }

    fn complaint(&mut self) -> Option<String> {
        let slots = |network: &Network, index: usize, of: usize| {
            let view = network.view(index);
            view.ranges(&first_id(of))
        };
        for of in 0..6 {
            let first = slots(&self.network, 0, of);
            for index in 1..6 {
                let other = slots(&self.network, index, of);
                if other != first {
                    return Some(format!(
                        "for 0, {of} owns {first:?}, and for {index}, {other:?}"
                    ));
                }
            }
        }
        (0..6).find_map(|index| {
            let info = self.network.ask(index, "CLUSTER INFO");
            let is_ok = info.contains("cluster_state:ok");
            (!is_ok).then(|| format!("{index}: {info}"))
        })
    }
}

/// How many clusters are run when nobody says.
const SEEDS: u64 = 10;

/// How long agreement may take, in virtual microseconds.
const WITHIN: u64 = 30_000_000;
