//! What the control thread itself counts: topologies and refused clients. The workers' counters
//! are in `slotway::metrics`.

use std::sync::Arc;

use prometheus::Registry;
use slotway::discovery::Trigger;
use slotway_protocol::cluster::Topology;
use slotway_runtime::listener::AcceptMetrics;
use slotway_runtime::logging::LogCounts;
use slotway_runtime::metrics::{Counter, Family, Gauge, collector};

use crate::admin::View;

/// Written by the control thread, read at a scrape.
#[derive(Debug, Default)]
pub(super) struct ControlMetrics {
    pub(super) accept: Arc<AcceptMetrics>,
    /// Topologies that differed from the one before.
    pub(super) topologies: Counter,
    /// Rounds of questions that some node answered, and that none did, by what began them.
    pub(super) refreshes: [[Counter; 2]; Trigger::NAMES.len()],
    /// The highest config epoch of those who own slots.
    pub(super) epoch: Gauge,
    /// Commands that the nodes have and the table lacks; and those that are not served, because
    /// they make no sense or are too many.
    pub(super) commands_learned: Gauge,
    pub(super) commands_left_out: Gauge,
    /// How many the nodes say that they have.
    pub(super) databases: Gauge,
    /// Times the configuration file was read again, and those at which it had mistakes.
    pub(super) reloads: Counter,
    pub(super) reloads_failed: Counter,
    pub(super) reload_successful: Gauge,
    /// When it was read last and taken over, in milliseconds since 1970.
    pub(super) reload_unix_ms: Gauge,
    /// Replicas that were told to take over; and what came of primaries that were gone.
    pub(super) assist_attempts: Counter,
    pub(super) assist_succeeded: Counter,
    pub(super) assist_refused: Counter,
    pub(super) assist_suppressed: Counter,
    shards: Gauge,
    slots_covered: Gauge,
    primaries: Gauge,
    replicas: Gauge,
}

impl ControlMetrics {
    pub(super) fn register(
        self: &Arc<Self>,
        registry: &Registry,
        view: &Arc<View>,
    ) -> prometheus::Result<()> {
        let (metrics, view) = (Arc::clone(self), Arc::clone(view));
        let collect = move || {
            let mut families = metrics.families();
            families.extend(metrics.reloads());
            families.extend(metrics.assisted());
            families.extend(health(&view));
            families.push(build());
            families
        };
        registry.register(collector("control", collect)?)
    }

    pub(super) fn count_topology(&self, topology: &Topology) {
        self.topologies.inc();
        self.shards.set(topology.shards().len() as i64);
        self.slots_covered.set(topology.covered() as i64);
        let replicas = topology.shards().iter().map(|shard| shard.replicas.len());
        self.primaries.set(topology.shards().len() as i64);
        self.replicas.set(replicas.sum::<usize>() as i64);
    }

    fn families(&self) -> Vec<Family> {
        let Self {
            accept,
            topologies,
            commands_learned,
            commands_left_out,
            databases,
            shards,
            slots_covered,
            epoch,
            ..
        } = self;
        let counter = |name, help, counter: &Counter| {
            let mut family = Family::counter(name, help);
            family.sample(&[], counter.value() as f64);
            family
        };
        let gauge = |name, help, gauge: &Gauge| {
            let mut family = Family::gauge(name, help);
            family.sample(&[], gauge.value() as f64);
            family
        };
        vec![
            refused(accept),
            counter(
                "slotway_accept_failures_total",
                "Failed attempts to accept a client, as for want of open files.",
                &accept.failed,
            ),
            counter(
                "slotway_topology_changes_total",
                "Topologies that differed from the one before.",
                topologies,
            ),
            self.refreshed(),
            gauge(
                "slotway_commands_learned",
                "Commands of the nodes that are not in the proxy's own table.",
                commands_learned,
            ),
            gauge(
                "slotway_commands_left_out",
                "Commands of the nodes that the proxy could not learn and does not serve.",
                commands_left_out,
            ),
            gauge(
                "slotway_databases",
                "Numbered databases that the nodes say they have, 0 while that is not known.",
                databases,
            ),
            gauge(
                "slotway_topology_epoch",
                "The highest config epoch of those who own slots.",
                epoch,
            ),
            self.nodes(),
            gauge("slotway_topology_shards", "Shards of the cluster.", shards),
            gauge(
                "slotway_topology_slots_covered",
                "Slots that a node serves, 16384 when all is well.",
                slots_covered,
            ),
        ]
    }
}

impl ControlMetrics {
    /// What came of reading the configuration again.
    fn reloads(&self) -> [Family; 3] {
        let mut reloaded = Family::counter(
            "slotway_config_reloads_total",
            "Times the configuration file was read again: taken over, or refused for a mistake.",
        );
        reloaded.sample(&[("result", "ok")], self.reloads.value() as f64);
        let failed = self.reloads_failed.value() as f64;
        reloaded.sample(&[("result", "failed")], failed);
        let mut successful = Family::gauge(
            "slotway_config_last_reload_successful",
            "1 when the configuration is what the file said when it was last read, else 0.",
        );
        successful.sample(&[], self.reload_successful.value() as f64);
        let mut when = Family::gauge(
            "slotway_config_last_reload_timestamp_seconds",
            "When the configuration was last taken over, since the Unix epoch.",
        );
        when.sample(&[], self.reload_unix_ms.value() as f64 / 1e3);
        [reloaded, successful, when]
    }

    fn refreshed(&self) -> Family {
        let mut refreshed = Family::counter(
            "slotway_topology_refreshes_total",
            "Rounds of asking nodes for the topology, by what began them: some answered, or none.",
        );
        for (trigger, [ok, failed]) in Trigger::NAMES.iter().zip(&self.refreshes) {
            for (result, count) in [("ok", ok), ("failed", failed)] {
                let labels = [("trigger", *trigger), ("result", result)];
                refreshed.sample(&labels, count.value() as f64);
            }
        }
        refreshed
    }

    fn nodes(&self) -> Family {
        let mut family = Family::gauge("slotway_topology_nodes", "Nodes, by their role.");
        family.sample(&[("role", "primary")], self.primaries.value() as f64);
        family.sample(&[("role", "replica")], self.replicas.value() as f64);
        family
    }

    fn assisted(&self) -> [Family; 2] {
        let mut attempts = Family::counter(
            "slotway_assisted_failover_attempts_total",
            "Times that a replica was told to take over from a primary whose process was gone.",
        );
        attempts.sample(&[], self.assist_attempts.value() as f64);
        let mut family = Family::counter(
            "slotway_assisted_failovers_total",
            "Primaries whose process was gone: a replica told to take over did, or did not, or \
             none was told.",
        );
        for (result, counter) in [
            ("succeeded", &self.assist_succeeded),
            ("refused", &self.assist_refused),
            ("suppressed", &self.assist_suppressed),
        ] {
            family.sample(&[("result", result)], counter.value() as f64);
        }
        [attempts, family]
    }
}

fn refused(accept: &AcceptMetrics) -> Family {
    let mut family = Family::counter(
        "slotway_clients_refused_total",
        "Clients turned away because max_clients were connected, or memory was short.",
    );
    family.sample(&[("reason", "max_clients")], accept.refused.value() as f64);
    family.sample(&[("reason", "memory")], accept.overloaded.value() as f64);
    family.sample(&[("reason", "files")], accept.short_of_files.value() as f64);
    family
}

/// Whether requests can be served, and how old what is known of the cluster is.
fn health(view: &View) -> [Family; 3] {
    let mut age = Family::gauge(
        "slotway_topology_age_seconds",
        "Time since a node last confirmed the topology, or since the start before the first time.",
    );
    age.sample(&[], view.silence().as_secs_f64());
    let mut ready = Family::gauge(
        "slotway_ready",
        "1 when requests can be served, as /ready says.",
    );
    ready.sample(&[], f64::from(u8::from(view.readiness().is_ok())));
    let help = "1 while the process finishes what it has begun and takes no new clients.";
    let mut draining = Family::gauge("slotway_draining", help);
    draining.sample(&[], f64::from(u8::from(view.is_draining())));
    [age, ready, draining]
}

pub(super) fn log_families(counts: &LogCounts) -> Vec<Family> {
    let mut lines = Family::counter("slotway_log_lines_total", "Lines of the log, by level.");
    for (level, count) in counts.lines() {
        lines.sample(&[("level", level)], count as f64);
    }
    let mut suppressed = Family::counter(
        "slotway_log_lines_suppressed_total",
        "Lines that were left out since there were too many of the kind.",
    );
    suppressed.sample(&[], counts.suppressed() as f64);
    vec![lines, suppressed]
}

fn build() -> Family {
    let mut family = Family::gauge("slotway_build_info", "Always 1; which version this is.");
    family.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    family
}
