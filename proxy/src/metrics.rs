//! The workers' counters as Prometheus metrics: summed over the workers, in base units, with
//! labels from closed sets only.

mod counters;

use std::sync::Arc;

use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::metrics::{Counter, Gauge, Histogram};
use slotway_runtime::metrics::{Distribution, Family};

use self::counters::COUNTERS;
use crate::engine::{Cut, CutBackend, Stats};

/// All families of the workers, in a fixed order.
pub fn families(workers: &[Arc<Stats>]) -> Vec<Family> {
    let mut families = vec![
        requests(workers),
        redirects(workers),
        subscriptions(workers),
        cuts(workers),
        backend_cuts(workers),
        reads(workers),
        read_fallbacks(workers),
    ];
    families.extend(replicas(workers));
    families.extend(COUNTERS.iter().map(|(name, help, counter)| {
        let mut family = Family::counter(name, help);
        family.sample(&[], sum(workers, counter));
        family
    }));
    families.extend(GAUGES.iter().map(|(name, help, gauge)| {
        let total: i64 = workers.iter().map(|stats| gauge(stats).value()).sum();
        let mut family = Family::gauge(name, help);
        family.sample(&[], total as f64);
        family
    }));
    families.extend(HISTOGRAMS.iter().map(|(name, help, histogram)| {
        let mut family = Family::histogram(name, help);
        family.distribution(
            &[],
            &Distribution::of(workers.iter().map(|stats| histogram(stats))),
        );
        family
    }));
    families
}

/// By command and outcome. A command appears with its first request; what was learned from the
/// nodes is one, `other`, because the names of labels must not be a node's to choose.
fn requests(workers: &[Arc<Stats>]) -> Family {
    let help = "Requests answered, by command and outcome.";
    let mut family = Family::counter("slotway_requests_total", help);
    for id in (0..=Command::count()).map(|id| CommandId(id as u16)) {
        let command = Command::by_id(id);
        let counts = workers.iter().map(|stats| stats.requests(id));
        let (ok, failed) = counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        if ok + failed == 0 {
            continue;
        }
        let name = command.name.replace('|', " ");
        family.sample(&[("command", &name), ("outcome", "ok")], ok as f64);
        family.sample(&[("command", &name), ("outcome", "error")], failed as f64);
    }
    family
}

fn redirects(workers: &[Arc<Stats>]) -> Family {
    let help = "Replies of nodes that sent a request elsewhere or asked to try again later.";
    let mut family = Family::counter("slotway_redirects_total", help);
    let kinds: [(&str, CounterOf); 4] = [
        ("moved", |stats| &stats.redirects_moved),
        ("ask", |stats| &stats.redirects_ask),
        ("later", |stats| &stats.redirects_later),
        ("refused", |stats| &stats.redirects_refused),
    ];
    for (kind, counter) in kinds {
        family.sample(&[("kind", kind)], sum(workers, &counter));
    }
    family
}

fn reads(workers: &[Arc<Stats>]) -> Family {
    let help = "Reads that replicas may serve, with read_from, by the role of the node asked.";
    let mut family = Family::counter("slotway_reads_total", help);
    let targets: [(&str, CounterOf); 2] = [
        ("primary", |stats| &stats.reads_primary),
        ("replica", |stats| &stats.reads_replica),
    ];
    for (target, counter) in targets {
        family.sample(&[("target", target)], sum(workers, &counter));
    }
    family
}

fn read_fallbacks(workers: &[Arc<Stats>]) -> Family {
    let help = "Reads that another node served than was wanted at first, by the reason.";
    let mut family = Family::counter("slotway_read_fallbacks_total", help);
    let reasons: [(&str, CounterOf); 5] = [
        ("own_write", |stats| &stats.reads_own),
        ("no_replica", |stats| &stats.reads_unfit),
        ("slots_moving", |stats| &stats.reads_moving),
        ("refused", |stats| &stats.reads_refused),
        ("lost", |stats| &stats.reads_lost),
    ];
    for (reason, counter) in reasons {
        family.sample(&[("reason", reason)], sum(workers, &counter));
    }
    family
}

/// How replicas are in the eyes of the workers, each of which asks them itself.
fn replicas(workers: &[Arc<Stats>]) -> [Family; 2] {
    let help = "Replicas as each worker sees them, added up, by state; only fit ones serve reads.";
    let mut now = Family::gauge("slotway_replicas", help);
    let help = "Times a worker ceased to read from a replica, by the state that it was in then.";
    let mut ever = Family::counter("slotway_replicas_left_out_total", help);
    let mut states: Vec<(&str, i64, u64)> = Vec::new();
    for stats in workers {
        for (place, (state, count, left_out)) in stats.replica_states().enumerate() {
            match states.get_mut(place) {
                Some(known) => *known = (state, known.1 + count, known.2 + left_out),
                None => states.push((state, count, left_out)),
            }
        }
    }
    for (state, count, left_out) in states {
        now.sample(&[("state", state)], count as f64);
        if state != "fit" {
            ever.sample(&[("state", state)], left_out as f64);
        }
    }
    [now, ever]
}

/// What the workers are subscribed to at nodes.
fn subscriptions(workers: &[Arc<Stats>]) -> Family {
    let help = "Channels and patterns that workers are subscribed to at nodes, by kind.";
    let mut family = Family::gauge("slotway_subscriptions", help);
    let kinds: [(&str, GaugeOf); 3] = [
        ("channel", |stats| &stats.channels),
        ("pattern", |stats| &stats.patterns),
        ("shard", |stats| &stats.shard_channels),
    ];
    for (kind, gauge) in kinds {
        let total: i64 = workers.iter().map(|stats| gauge(stats).value()).sum();
        family.sample(&[("kind", kind)], total as f64);
    }
    family
}

fn cuts(workers: &[Arc<Stats>]) -> Family {
    let help = "Clients cut off, by the reason.";
    let mut family = Family::counter("slotway_clients_cut_total", help);
    for (reason, name) in Cut::NAMES.iter().enumerate() {
        let cut = workers.iter().map(|it| it.clients_cut[reason].value());
        family.sample(&[("reason", name)], cut.sum::<u64>() as f64);
    }
    family
}

fn backend_cuts(workers: &[Arc<Stats>]) -> Family {
    let help = "Connections to nodes cut because of what the node said, by the reason.";
    let mut family = Family::counter("slotway_backend_cut_total", help);
    for (reason, name) in CutBackend::NAMES.iter().enumerate() {
        let cut = workers.iter().map(|it| it.backends_cut[reason].value());
        family.sample(&[("reason", name)], cut.sum::<u64>() as f64);
    }
    family
}

fn sum(workers: &[Arc<Stats>], counter: &CounterOf) -> f64 {
    let values = workers.iter().map(|stats| counter(stats).value());
    values.sum::<u64>() as f64
}

type CounterOf = fn(&Stats) -> &Counter;
type GaugeOf = fn(&Stats) -> &Gauge;
type HistogramOf = fn(&Stats) -> &Histogram;

const GAUGES: &[(&str, &str, GaugeOf)] = &[
    ("slotway_scripts", "Scripts remembered.", |stats| {
        &stats.scripts
    }),
    (
        "slotway_script_bytes",
        "What the remembered scripts take.",
        |stats| &stats.script_bytes,
    ),
    ("slotway_clients", "Connected clients.", |stats| {
        &stats.clients
    }),
    (
        "slotway_memory_kept_bytes",
        "What workers keep for clients and nodes, as it was counted last.",
        |stats| &stats.memory_kept,
    ),
    (
        "slotway_memory_max_bytes",
        "What the process may take (memory_bytes_max), 0 for no bound.",
        |stats| &stats.memory_max,
    ),
    (
        "slotway_memory_strain",
        "How scarce memory is: 0 not, 1 tight, 2 short, 3 over.",
        |stats| &stats.memory_strain,
    ),
    (
        "slotway_backend_connections",
        "Open connections to nodes.",
        |stats| &stats.backends,
    ),
    (
        "slotway_subscribers",
        "Subscriptions of clients.",
        |stats| &stats.subscribers,
    ),
    (
        "slotway_in_flight_requests",
        "Requests that nodes have not answered.",
        |stats| &stats.in_flight,
    ),
    (
        "slotway_reads_waiting",
        "Reads that wait for a replica, which alone may serve them.",
        |stats| &stats.reads_waiting,
    ),
    (
        "slotway_gates",
        "Nodes that serve nobody just now.",
        |stats| &stats.gates_shut,
    ),
    ("slotway_holds", "Slots whose requests wait.", |stats| {
        &stats.holds
    }),
    (
        "slotway_hold_bytes",
        "Bytes of the requests that wait for their slot.",
        |stats| &stats.hold_bytes,
    ),
    (
        "slotway_private_connections",
        "Connections to nodes that serve one client at a time.",
        |stats| &stats.privates,
    ),
    (
        "slotway_private_connections_idle",
        "Those of them that nobody uses.",
        |stats| &stats.privates_idle,
    ),
    (
        "slotway_clients_blocked",
        "Clients that wait for elements or replicas.",
        |stats| &stats.clients_blocked,
    ),
    (
        "slotway_waiting_keys",
        "Keys that clients wait for without a connection of their own.",
        |stats| &stats.waiting_keys,
    ),
];

const HISTOGRAMS: [(&str, &str, HistogramOf); 2] = [
    (
        "slotway_client_request_duration_seconds",
        "Time from a request's arrival to the reply to all of it being here.",
        |stats| &stats.client_latency,
    ),
    (
        "slotway_backend_request_duration_seconds",
        "The part of it from queueing a request for a node to reading that node's reply.",
        |stats| &stats.backend_latency,
    ),
];

#[cfg(test)]
mod tests {
    use slotway_protocol::command::lookup;

    use super::*;

    #[test]
    fn workers_are_summed_up() {
        let workers = [Arc::new(Stats::new()), Arc::new(Stats::new())];
        let get = lookup(b"get").unwrap().id;
        for stats in &workers {
            stats.count_request(get, false, 0);
            stats.redirects_ask.inc();
            stats.clients.add(2);
        }
        let text = text(&workers);
        for line in [
            "slotway_requests_total{command=\"get\",outcome=\"ok\"} 2",
            "slotway_redirects_total{kind=\"ask\"} 2",
            "slotway_clients 4",
            "slotway_client_request_duration_seconds_bucket{le=\"0.00005\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    fn text(workers: &[Arc<Stats>]) -> String {
        let registry = prometheus::Registry::new();
        let workers = workers.to_vec();
        let collect = move || families(&workers);
        let collector = slotway_runtime::metrics::collector("workers", collect).unwrap();
        registry.register(collector).unwrap();
        String::from_utf8(slotway_runtime::metrics::encode(&registry).unwrap()).unwrap()
    }
}
