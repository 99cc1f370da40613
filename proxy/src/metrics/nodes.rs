//! What the workers count of each node, summed over them: one sample for each node of the topology,
//! whether anything was ever sent to it or not, and for nodes that have left not long ago.

use std::collections::HashMap;
use std::sync::Arc;

use slotway_protocol::cluster::{Slot, Topology};
use slotway_protocol::engine::Address;
use slotway_runtime::metrics::Family;

use crate::engine::{NodeError, NodeStats, Stats};
use crate::lag::{Look, Seen};

/// The families that have the label `node`. `left` are nodes that the topology does not name any
/// more.
pub fn node_families(
    topology: Option<&Topology>,
    left: &[Address],
    workers: &[Arc<Stats>],
    seen: &Seen,
) -> Vec<Family> {
    let nodes = topology.map(|topology| sums(topology, left, workers, seen));
    let nodes = nodes.unwrap_or_default();
    let mut families: Vec<Family> = GAUGES
        .iter()
        .map(|(name, help, value)| one_each(Family::gauge(name, help), &nodes, *value))
        .collect();
    families.extend(
        COUNTERS
            .iter()
            .map(|(name, help, value)| one_each(Family::counter(name, help), &nodes, *value)),
    );
    families.push(errors(&nodes));
    families
}

/// One node as all workers see it.
#[derive(Debug, Default)]
struct Sums {
    address: String,
    /// The topology does not name it any more.
    has_left: bool,
    is_primary: bool,
    slots: usize,
    connections: i64,
    down: i64,
    circuit_open: i64,
    in_flight: i64,
    queue_bytes: i64,
    /// Negative when no worker knows: only those do that send reads to replicas.
    lag_micros: i64,
    /// What is known without them.
    seen: Look,
    requests: u64,
    replies: u64,
    micros: u64,
    connects: u64,
    errors: [u64; NodeError::NAMES.len()],
}

impl Sums {
    /// Whoever has a connection knows better.
    fn is_out_of_reach(&self) -> bool {
        self.seen.is_down && self.connections == 0
    }

    fn add(&mut self, worker: &NodeStats) {
        self.connections += worker.connections.value();
        self.down += worker.down.value();
        self.circuit_open += worker.circuit_open.value();
        self.in_flight += worker.in_flight.value();
        self.queue_bytes += worker.queue_bytes.value();
        self.lag_micros = self.lag_micros.max(worker.lag_micros.value());
        self.requests += worker.requests.value();
        self.replies += worker.replies.value();
        self.micros += worker.micros.value();
        self.connects += worker.connects.value();
        for (sum, counter) in self.errors.iter_mut().zip(&worker.errors) {
            *sum += counter.value();
        }
    }
}

fn sums(topology: &Topology, left: &[Address], workers: &[Arc<Stats>], seen: &Seen) -> Vec<Sums> {
    let mut nodes: Vec<Sums> = Vec::new();
    let mut places: HashMap<&Address, usize> = HashMap::new();
    let mut members: Vec<(&Address, bool, usize)> = Vec::new();
    // All slots once, not once for each of hundreds of shards.
    let mut slots = vec![0; topology.shards().len()];
    for shard in Slot::all().filter_map(|slot| topology.owner(slot)) {
        slots[shard] += 1;
    }
    for (shard, slots) in topology.shards().iter().zip(slots) {
        members.push((&shard.primary, true, slots));
        members.extend(shard.replicas.iter().map(|replica| (replica, false, 0)));
    }
    let here = members.len();
    members.extend(left.iter().map(|address| (address, false, 0)));
    for (index, (address, is_primary, slots)) in members.into_iter().enumerate() {
        let place = *places.entry(address).or_insert_with(|| {
            nodes.push(Sums {
                address: address.to_string(),
                has_left: index >= here,
                lag_micros: -1,
                seen: seen.look(address),
                ..Sums::default()
            });
            nodes.len() - 1
        });
        nodes[place].is_primary |= is_primary;
        nodes[place].slots += slots;
    }
    for stats in workers {
        for node in stats.nodes.load().iter() {
            if let Some(place) = places.get(&node.address) {
                nodes[*place].add(node);
            }
        }
    }
    nodes
}

fn one_each(mut family: Family, nodes: &[Sums], value: fn(&Sums) -> f64) -> Family {
    for node in nodes {
        family.sample(&[("node", &node.address)], value(node));
    }
    family
}

fn errors(nodes: &[Sums]) -> Family {
    let help = "What went wrong with a node, by kind.";
    let mut family = Family::counter("slotway_node_errors_total", help);
    for node in nodes {
        for (kind, count) in NodeError::NAMES.iter().zip(node.errors) {
            family.sample(&[("node", &node.address), ("kind", kind)], count as f64);
        }
    }
    family
}

type Value = fn(&Sums) -> f64;

const GAUGES: [(&str, &str, Value); 9] = [
    (
        "slotway_node_in_topology",
        "1 for a node that the topology names; 0 for one that has left it lately, failed or not.",
        |node| f64::from(u8::from(!node.has_left)),
    ),
    (
        "slotway_node_up",
        "0 when a worker could not reach the node within the last 10 s, or nobody can now, else 1.",
        |node| f64::from(u8::from(node.down == 0 && !node.is_out_of_reach())),
    ),
    (
        "slotway_node_primary",
        "1 for a node that owns slots, 0 for a replica.",
        |node| f64::from(u8::from(node.is_primary)),
    ),
    ("slotway_node_slots", "Slots that the node owns.", |node| {
        node.slots as f64
    }),
    (
        "slotway_node_connections",
        "Open connections to the node that clients share.",
        |node| node.connections as f64,
    ),
    (
        "slotway_node_circuit_open",
        "Workers that send the node one request at a time, since it serves nobody just now.",
        |node| node.circuit_open as f64,
    ),
    (
        "slotway_node_in_flight_requests",
        "Requests that the node has not answered.",
        |node| node.in_flight as f64,
    ),
    (
        "slotway_node_queue_bytes",
        "What is kept for these requests.",
        |node| node.queue_bytes as f64,
    ),
    (
        "slotway_node_lag_seconds",
        "For how long a replica has lacked what its primary has; NaN where that is not known.",
        |node| match node.lag_micros {
            micros @ 0.. => micros as f64 / 1e6,
            _ => node.seen.lag.map_or(f64::NAN, |lag| lag.as_secs_f64()),
        },
    ),
];

const COUNTERS: [(&str, &str, Value); 4] = [
    (
        "slotway_node_requests_total",
        "Requests queued for the node.",
        |node| node.requests as f64,
    ),
    (
        "slotway_node_replies_total",
        "Requests that the node has answered.",
        |node| node.replies as f64,
    ),
    (
        "slotway_node_request_seconds_total",
        "How long those took, added up.",
        |node| node.micros as f64 / 1e6,
    ),
    (
        "slotway_node_connects_total",
        "Connections opened to the node that clients share.",
        |node| node.connects as f64,
    ),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use slotway_protocol::cluster::Shard;

    use super::*;

    fn topology(primaries: u16) -> Topology {
        let mut topology = Topology::empty();
        for number in 0..primaries {
            let shard = Shard {
                primary: Address::new("10.0.0.1", number + 1),
                replicas: vec![Address::new("10.0.0.2", number + 1)],
            };
            let slot = Slot::new(number.into()).unwrap();
            topology.assign(slot, slot, shard);
        }
        topology
    }

    fn worker(nodes: impl Iterator<Item = Address>) -> Arc<Stats> {
        let stats = Stats::new();
        let nodes = nodes.map(|address| {
            let node = NodeStats::new(address);
            node.requests.add(2);
            node.lag_micros.set(250_000);
            node.count(NodeError::Lost);
            Arc::new(node)
        });
        stats.nodes.store(Arc::new(nodes.collect()));
        Arc::new(stats)
    }

    fn text(topology: Option<Topology>, left: Vec<Address>, workers: Vec<Arc<Stats>>) -> String {
        let registry = prometheus::Registry::new();
        let seen = Seen::default();
        let look = Look {
            lag: Some(Duration::from_millis(1_500)),
            is_down: true,
        };
        let replica = Address::new("10.0.0.2", 2);
        seen.store([(replica, look)].into_iter());
        let collect = move || node_families(topology.as_ref(), &left, &workers, &seen);
        let collector = slotway_runtime::metrics::collector("nodes", collect).unwrap();
        registry.register(collector).unwrap();
        String::from_utf8(slotway_runtime::metrics::encode(&registry).unwrap()).unwrap()
    }

    #[test]
    fn nodes_of_the_topology_are_shown_and_no_others() {
        let here = Address::new("10.0.0.1", 1);
        let gone = Address::new("10.0.0.9", 9);
        let workers = || (0..2).map(|_| worker([here.clone(), gone.clone()].into_iter()));
        let text_of = |topology| text(topology, Vec::new(), workers().collect());
        let shown = text_of(Some(topology(1)));
        for line in [
            "slotway_node_requests_total{node=\"10.0.0.1:1\"} 4\n",
            "slotway_node_requests_total{node=\"10.0.0.2:1\"} 0\n",
            "slotway_node_errors_total{node=\"10.0.0.1:1\",kind=\"lost\"} 2\n",
            "slotway_node_slots{node=\"10.0.0.1:1\"} 1\n",
            "slotway_node_primary{node=\"10.0.0.2:1\"} 0\n",
            "slotway_node_up{node=\"10.0.0.2:1\"} 1\n",
            "slotway_node_lag_seconds{node=\"10.0.0.1:1\"} 0.25\n",
            "slotway_node_lag_seconds{node=\"10.0.0.2:1\"} NaN\n",
        ] {
            assert!(shown.contains(line), "{line} in {shown}");
        }
        assert!(!shown.contains("10.0.0.9"), "{shown}");
        let shown = text_of(Some(topology(2)));
        for line in [
            "slotway_node_up{node=\"10.0.0.2:2\"} 0\n",
            "slotway_node_lag_seconds{node=\"10.0.0.2:2\"} 1.5\n",
        ] {
            assert!(shown.contains(line), "{line} in {shown}");
        }
        assert!(!text_of(None).contains("node="));
        let with_gone = text(Some(topology(1)), vec![gone.clone()], workers().collect());
        for line in [
            "slotway_node_errors_total{node=\"10.0.0.9:9\",kind=\"lost\"} 2\n",
            "slotway_node_in_topology{node=\"10.0.0.9:9\"} 0\n",
            "slotway_node_in_topology{node=\"10.0.0.1:1\"} 1\n",
        ] {
            assert!(with_gone.contains(line), "{line} in {with_gone}");
        }
    }

    /// A scrape of everything that grows with workers and nodes, where there are very many. Other
    /// programs on the machine make some of the repetitions longer, never shorter.
    #[test]
    fn five_hundred_nodes_are_no_trouble() {
        let primaries = (1..=250).map(|port| Address::new("10.0.0.1", port));
        let replicas = (1..=250).map(|port| Address::new("10.0.0.2", port));
        let nodes: Vec<Address> = primaries.chain(replicas).collect();
        let workers: Vec<_> = (0..16).map(|_| worker(nodes.iter().cloned())).collect();
        let registry = prometheus::Registry::new();
        let (topology, stats) = (topology(250), workers.clone());
        let of_nodes = move || node_families(Some(&topology), &[], &stats, &Seen::default());
        let of_workers = move || crate::metrics::families(&workers);
        for collector in [
            slotway_runtime::metrics::collector("nodes", of_nodes),
            slotway_runtime::metrics::collector("workers", of_workers),
        ] {
            registry.register(collector.unwrap()).unwrap();
        }
        let scrape = || {
            let started = std::time::Instant::now();
            let text = slotway_runtime::metrics::encode(&registry).unwrap();
            (started.elapsed(), text)
        };
        let times = (0..20).map(|_| scrape().0);
        let best = times.min().unwrap();
        let shown = String::from_utf8(scrape().1).unwrap();
        eprintln!("{best:?} for {} bytes", shown.len());
        let samples = shown.lines().filter(|line| line.contains("node="));
        let each = GAUGES.len() + COUNTERS.len() + NodeError::NAMES.len();
        assert_eq!(samples.count(), 500 * each);
        let most = if cfg!(debug_assertions) { 100 } else { 20 };
        assert!(best.as_millis() < most, "{best:?}");
    }
}
