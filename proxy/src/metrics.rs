//! The workers' counters as Prometheus metrics: summed over the workers, in base units, with
//! labels from closed sets only.

use std::sync::Arc;

use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::metrics::{Counter, Gauge, Histogram};
use slotway_runtime::metrics::{Distribution, Family};

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

const COUNTERS: &[(&str, &str, CounterOf)] = &[
    (
        "slotway_peer_messages_lost_total",
        "Messages between workers that found the other's queue full.",
        |stats| &stats.peer_messages_lost,
    ),
    (
        "slotway_peer_answers_late_total",
        "Commands for all workers answered without some of them, which took over a second.",
        |stats| &stats.peer_answers_late,
    ),
    (
        "slotway_backend_checks_total",
        "Idle connections to nodes that were asked whether they still live.",
        |stats| &stats.backend_checks,
    ),
    (
        "slotway_gates_total",
        "Replies of nodes that serve nobody just now: loading, or missing their cluster.",
        |stats| &stats.gates,
    ),
    (
        "slotway_requests_scattered_total",
        "Requests for several keys of a moving slot that were sent key by key.",
        |stats| &stats.scattered,
    ),
    (
        "slotway_requests_gradual_total",
        "Requests of so many keys that they were sent little by little.",
        |stats| &stats.gradual,
    ),
    (
        "slotway_retries_deferred_total",
        "Times a slot's requests waited because retry_percent was used up.",
        |stats| &stats.retries_deferred,
    ),
    (
        "slotway_requests_invalid_total",
        "Requests that are no command or break the protocol.",
        |stats| &stats.requests_invalid,
    ),
    (
        "slotway_clients_accepted_total",
        "Clients that have connected.",
        |stats| &stats.clients_accepted,
    ),
    (
        "slotway_clients_paused_total",
        "Times a client was not read from: owed too many replies, or not taking them.",
        |stats| &stats.clients_paused,
    ),
    (
        "slotway_logins_failed_total",
        "Wrong user names and passwords that clients have said.",
        |stats| &stats.logins_failed,
    ),
    (
        "slotway_logins_refused_total",
        "Logins refused unseen because too many from the client's address had failed.",
        |stats| &stats.logins_refused,
    ),
    (
        "slotway_login_addresses_forgotten_total",
        "Addresses with failed logins that were forgotten to make room for others.",
        |stats| &stats.login_addresses_forgotten,
    ),
    (
        "slotway_replies_passed_total",
        "Large replies handed on to their client in pieces.",
        |stats| &stats.replies_passed,
    ),
    (
        "slotway_requests_delayed_total",
        "Large requests that were not read on for a while because memory was scarce.",
        |stats| &stats.requests_delayed,
    ),
    (
        "slotway_large_requests_waited_total",
        "Requests, large or with a large reply, that others of the kind went before.",
        |stats| &stats.large_waits,
    ),
    (
        "slotway_client_received_bytes_total",
        "Request bytes read from clients.",
        |stats| &stats.client_bytes_in,
    ),
    (
        "slotway_client_sent_bytes_total",
        "Reply bytes given to clients.",
        |stats| &stats.client_bytes_out,
    ),
    (
        "slotway_backend_received_bytes_total",
        "Reply bytes read from nodes.",
        |stats| &stats.backend_bytes_in,
    ),
    (
        "slotway_backend_sent_bytes_total",
        "Request bytes given to nodes.",
        |stats| &stats.backend_bytes_out,
    ),
    (
        "slotway_backend_connects_total",
        "Connections opened to nodes.",
        |stats| &stats.backend_connects,
    ),
    (
        "slotway_backend_connects_failed_total",
        "Connections to nodes that could not be opened.",
        |stats| &stats.backend_connects_failed,
    ),
    (
        "slotway_backend_timeouts_total",
        "Connections cut because a node did not answer within command_timeout_ms.",
        |stats| &stats.backend_timeouts,
    ),
    (
        "slotway_feed_connects_total",
        "Connections opened to nodes for subscriptions.",
        |stats| &stats.feed_connects,
    ),
    (
        "slotway_feeds_lost_total",
        "Connections to nodes for subscriptions that ended.",
        |stats| &stats.feeds_lost,
    ),
    (
        "slotway_messages_total",
        "Messages given to subscribed clients.",
        |stats| &stats.messages,
    ),
    (
        "slotway_subscribers_cut_total",
        "Clients cut off because subscriber_output_bytes_max were waiting for them.",
        |stats| &stats.subscribers_cut,
    ),
    (
        "slotway_subscriptions_refused_total",
        "Subscriptions refused because of client_subscription_bytes_max.",
        |stats| &stats.subscriptions_refused,
    ),
    (
        "slotway_subscriptions_expired_total",
        "Subscriptions that no node confirmed within hold_timeout_ms.",
        |stats| &stats.subscriptions_expired,
    ),
    (
        "slotway_subscriptions_moved_total",
        "Subscriptions of shard channels that a node ended because their slot has moved.",
        |stats| &stats.subscriptions_moved,
    ),
    (
        "slotway_held_requests_total",
        "Times a request had to wait for its slot to be served.",
        |stats| &stats.held,
    ),
    (
        "slotway_held_requests_expired_total",
        "Requests answered with an error after waiting hold_timeout_ms.",
        |stats| &stats.holds_expired,
    ),
    (
        "slotway_held_requests_refused_total",
        "Requests answered with an error because hold_bytes_max were waiting.",
        |stats| &stats.holds_refused,
    ),
    (
        "slotway_merges_refused_total",
        "Requests answered with an error because the reply was larger than merge_bytes_max.",
        |stats| &stats.merges_full,
    ),
    (
        "slotway_results_unknown_total",
        "Writes whose reply was lost with a connection: the node may have executed them.",
        |stats| &stats.results_unknown,
    ),
    (
        "slotway_backend_queue_full_total",
        "Requests answered with an error because backend_queue_bytes_max were waiting.",
        |stats| &stats.queue_full,
    ),
    (
        "slotway_transactions_total",
        "Transactions sent to a node.",
        |stats| &stats.transactions,
    ),
    (
        "slotway_transactions_refused_total",
        "Commands refused because their client had queued transaction_bytes_max.",
        |stats| &stats.transactions_refused,
    ),
    (
        "slotway_private_connects_total",
        "Connections opened for one client alone, which blocks or watches keys.",
        |stats| &stats.private_connects,
    ),
    (
        "slotway_private_connections_refused_total",
        "Times that private_connections_max were in use when one more was wanted.",
        |stats| &stats.privates_refused,
    ),
    (
        "slotway_cross_slot_reads_total",
        "Reads over keys of several slots, put together in the proxy.",
        |stats| &stats.cross_slot_reads,
    ),
    (
        "slotway_cross_slot_reads_refused_total",
        "Such reads refused because there was more than cross_slot_bytes_max to put together.",
        |stats| &stats.cross_slot_refused,
    ),
    (
        "slotway_scripts_healed_total",
        "Requests sent again with the script because the node did not know it.",
        |stats| &stats.scripts_healed,
    ),
    (
        "slotway_scripts_evicted_total",
        "Scripts forgotten because there were script_cache_bytes_max of them.",
        |stats| &stats.scripts_evicted,
    ),
    (
        "slotway_restored_elements_total",
        "Elements put back because the client they were taken for had left.",
        |stats| &stats.restored,
    ),
];

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
