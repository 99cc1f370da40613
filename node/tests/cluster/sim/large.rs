//! Large clusters: a hundred nodes find each other and lose a tenth of them; what a bus costs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use slotway_node::Config;
use slotway_protocol::cluster::Slot;

use super::judge::complaint;
use super::random::Random;
use super::scenario::Scenario;
use crate::network::{Network, first_id, host_name};

#[test]
fn a_hundred_nodes_form_a_cluster_and_go_on_without_a_tenth() {
    if std::env::var_os("SLOTWAY_CLUSTER_SEED").is_some() {
        super::logged(lose_a_tenth);
    } else {
        lose_a_tenth();
    }
}

fn lose_a_tenth() {
    let started = Instant::now();
    let primaries = 50;
    let mut network = Network::seeded(config(), 1);
    for index in 0..100 {
        network.add();
        let epoch = format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1);
        assert_eq!(network.ask(index, &epoch), "+OK\r\n");
        if index < primaries {
            let (first, last) = (
                index * 16_384 / primaries,
                (index + 1) * 16_384 / primaries - 1,
            );
            let slots = format!("CLUSTER ADDSLOTSRANGE {first} {last}");
            assert_eq!(network.ask(index, &slots), "+OK\r\n");
        }
    }
    let first = format!("CLUSTER MEET {} 7000", host_name(0));
    for index in 1..100 {
        assert_eq!(network.ask(index, &first), "+OK\r\n");
    }
    let met = wait(&mut network, |network| {
        let stranger = (0..100).find(|index| {
            let nodes = network.view(*index).nodes();
            nodes.len() < 100 || nodes.iter().any(|node| node.handshake)
        });
        stranger.map(|index| format!("{index} does not know all"))
    });
    for index in primaries..100 {
        let line = format!("CLUSTER REPLICATE {}", first_id(index - primaries));
        assert_eq!(network.ask(index, &line), "+OK\r\n");
    }
    let slots: Vec<Slot> = Slot::all().collect();
    let formed = wait_until_well(&mut network, &slots, &BTreeSet::new());
    // Seven primaries, and three replicas of others.
    let killed: BTreeSet<usize> = (0..7).chain(60..63).collect();
    tracing::info!(?killed, "are killed");
    for index in &killed {
        network.kill(*index);
    }
    let converged = wait_until_well(&mut network, &slots, &killed);
    eprintln!(
        "100 nodes: know each other after {met:?}, agree after {formed:?}, and without ten of \
         them after {converged:?}; in {:?}",
        started.elapsed()
    );
}

/// How much nodes send each other when nothing happens, as `docs/cluster.md` has it.
#[test]
#[ignore = "a measurement; 500 nodes take half an hour and 12 GB"]
fn how_much_a_bus_costs() {
    for nodes in [10, 100, 500] {
        let started = Instant::now();
        let scenario = Scenario {
            primaries: nodes / 2,
            nodes,
            has_equal_epochs: false,
            config: config(),
            ..Scenario::of(0)
        };
        let mut network = scenario.network(0, &mut Random::new(0));
        let (warm_up, measured) = (Duration::from_secs(30), Duration::from_secs(60));
        network.run(warm_up);
        network.tap = Default::default();
        network.run(measured);
        let share = |total: u64| total as f64 / nodes as f64 / measured.as_secs_f64();
        let message = 2256 + 104 * (nodes / 10).max(3).min(nodes - 2);
        let most = 2.0 * (1.0 + (nodes - 1) as f64 / 7.5) * message as f64;
        eprintln!(
            "{nodes} nodes: {:.0} bytes and {:.1} messages sent by each in a second; \
             at most {most:.0} bytes by the formula; {:?}, {}",
            share(network.tap.bus_bytes),
            share(network.tap.bus_messages),
            started.elapsed(),
            memory(),
        );
    }
}

/// As most have it, and with all that is faster here.
fn config() -> Config {
    Config {
        cluster_node_timeout: 15_000,
        protected_mode: false,
        ..Config::default()
    }
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.unwrap_or("").to_owned()
}

fn wait_until_well(network: &mut Network, slots: &[Slot], down: &BTreeSet<usize>) -> Duration {
    wait(network, |network| complaint(network, slots, down))
}

/// How long it takes in virtual time until nothing is wrong any more.
fn wait(network: &mut Network, complaint: impl Fn(&mut Network) -> Option<String>) -> Duration {
    let start = network.micros();
    while let Some(complaint) = complaint(network) {
        let passed = Duration::from_micros(network.micros() - start);
        assert!(passed < WITHIN, "not after {passed:?}: {complaint}");
        network.run(Duration::from_millis(500));
    }
    Duration::from_micros(network.micros() - start)
}

/// How long anything may take, in virtual time.
const WITHIN: Duration = Duration::from_secs(120);
