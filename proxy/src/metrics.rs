//! The workers' counters as Prometheus metrics: summed over the workers, in base units, with
//! labels from closed sets only.

mod counters;
mod gauges;
mod nodes;

use std::sync::Arc;

use slotway_protocol::command::{Command, CommandId, Group};
use slotway_protocol::metrics::{Counter, Gauge, Histogram};
use slotway_runtime::metrics::{Distribution, Family};

use self::counters::COUNTERS;
use self::gauges::GAUGES;
pub use self::nodes::node_families;
use crate::engine::{Cut, CutBackend, ERROR_CODES, Later, Stats};

/// All families of the workers, in a fixed order.
pub fn families(workers: &[Arc<Stats>]) -> Vec<Family> {
    let mut families = vec![
        requests(workers),
        error_replies(workers),
        retries(workers),
        large_values(workers),
        access_lines(workers),
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

/// By family and outcome. What was learned from the nodes is of a family of its own, because names
/// of labels must not be a node's to choose.
fn requests(workers: &[Arc<Stats>]) -> Family {
    let help = "Requests answered, by the family of the command and by outcome.";
    let mut family = Family::counter("slotway_requests_total", help);
    let mut sums = [(0, 0); FAMILIES.len()];
    for id in (0..=Command::count()).map(|id| CommandId(id as u16)) {
        let group = match usize::from(id.0) < Command::count() {
            true => Command::by_id(id).group,
            false => Group::Module,
        };
        let Some(place) = FAMILIES.iter().position(|(known, _)| *known == group) else {
            continue;
        };
        for (ok, failed) in workers.iter().map(|stats| stats.requests(id)) {
            sums[place].0 += ok;
            sums[place].1 += failed;
        }
    }
    for ((_, name), (ok, failed)) in FAMILIES.iter().zip(sums) {
        family.sample(&[("family", name), ("outcome", "ok")], ok as f64);
        family.sample(&[("family", name), ("outcome", "error")], failed as f64);
    }
    family
}

fn error_replies(workers: &[Arc<Stats>]) -> Family {
    let help = "Error replies given to clients, by the word that they begin with.";
    let mut family = Family::counter("slotway_error_replies_total", help);
    for (index, code) in ERROR_CODES.iter().enumerate() {
        let counts = workers.iter().map(|stats| stats.errors()[index].value());
        family.sample(&[("code", code)], counts.sum::<u64>() as f64);
    }
    family
}

/// Why requests are sent again: for what a node said, or because nothing came from it.
fn retries(workers: &[Arc<Stats>]) -> Family {
    let help = "Requests sent again, by the reason.";
    let mut family = Family::counter("slotway_retries_total", help);
    let reasons: [(&str, CounterOf); 6] = [
        ("moved", |stats| &stats.redirects_moved),
        ("ask", |stats| &stats.redirects_ask),
        ("connection", |stats| &stats.retries_lost),
        ("read_refused", |stats| &stats.reads_refused),
        ("read_lost", |stats| &stats.reads_lost),
        ("script", |stats| &stats.scripts_healed),
    ];
    for (reason, counter) in reasons {
        family.sample(&[("reason", reason)], sum(workers, &counter));
    }
    for (index, reason) in Later::NAMES.iter().enumerate() {
        let counts = workers.iter().map(|stats| stats.later[index].value());
        family.sample(&[("reason", reason)], counts.sum::<u64>() as f64);
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

fn large_values(workers: &[Arc<Stats>]) -> Family {
    let help = "Requests and replies of large_value_bytes_min or more.";
    let mut family = Family::counter("slotway_large_values_total", help);
    for (index, direction) in ["request", "reply"].into_iter().enumerate() {
        let counts = workers
            .iter()
            .map(|stats| stats.large_values[index].value());
        family.sample(&[("direction", direction)], counts.sum::<u64>() as f64);
    }
    family
}

fn access_lines(workers: &[Arc<Stats>]) -> Family {
    let help = "Requests chosen for the access log: written, or left out because of its bounds.";
    let mut family = Family::counter("slotway_access_log_lines_total", help);
    let results: [(&str, CounterOf); 2] = [
        ("written", |stats| &stats.access_lines),
        ("dropped", |stats| &stats.access_lines_dropped),
    ];
    for (result, counter) in results {
        family.sample(&[("result", result)], sum(workers, &counter));
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

/// The families of commands, as their groups are called in the label.
const FAMILIES: [(Group, &str); 17] = [
    (Group::Bitmap, "bitmap"),
    (Group::Cluster, "cluster"),
    (Group::Connection, "connection"),
    (Group::Generic, "generic"),
    (Group::Geo, "geo"),
    (Group::Hash, "hash"),
    (Group::Hyperloglog, "hyperloglog"),
    (Group::List, "list"),
    (Group::Module, "module"),
    (Group::Pubsub, "pubsub"),
    (Group::Scripting, "scripting"),
    (Group::Server, "server"),
    (Group::Set, "set"),
    (Group::SortedSet, "sorted_set"),
    (Group::Stream, "stream"),
    (Group::String, "string"),
    (Group::Transactions, "transactions"),
];

const HISTOGRAMS: [(&str, &str, HistogramOf); 3] = [
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
    (
        "slotway_hold_duration_seconds",
        "How long requests had waited for their slot when they were sent, or given up.",
        |stats| &stats.hold_time,
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
            "slotway_requests_total{family=\"string\",outcome=\"ok\"} 2",
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
