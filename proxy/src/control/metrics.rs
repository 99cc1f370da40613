//! What the control thread itself counts: topologies and refused clients. The workers' counters
//! are in `slotway::metrics`.

use std::sync::Arc;

use prometheus::Registry;
use slotway_protocol::cluster::Topology;
use slotway_runtime::listener::AcceptMetrics;
use slotway_runtime::metrics::{Counter, Family, Gauge, collector};

use crate::admin::View;

/// Written by the control thread, read at a scrape.
#[derive(Debug, Default)]
pub(super) struct ControlMetrics {
    pub(super) accept: Arc<AcceptMetrics>,
    /// Topologies that differed from the one before.
    pub(super) topologies: Counter,
    /// Rounds of questions that some node answered.
    pub(super) refreshes: Counter,
    /// Rounds of questions that no node answered.
    pub(super) refreshes_failed: Counter,
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
    /// Replicas that were told to take over; and what came of primaries that were gone.
    pub(super) assist_attempts: Counter,
    pub(super) assist_succeeded: Counter,
    pub(super) assist_refused: Counter,
    pub(super) assist_suppressed: Counter,
    shards: Gauge,
    slots_covered: Gauge,
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
            families.extend(age(&view));
            families
        };
        registry.register(collector("control", collect)?)
    }

    pub(super) fn count_topology(&self, topology: &Topology) {
        self.topologies.inc();
        self.shards.set(topology.shards().len() as i64);
        self.slots_covered.set(topology.covered() as i64);
    }

    fn families(&self) -> Vec<Family> {
        let Self {
            accept,
            topologies,
            refreshes,
            refreshes_failed,
            commands_learned,
            commands_left_out,
            databases,
            shards,
            slots_covered,
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
        let mut refreshed = Family::counter(
            "slotway_topology_refreshes_total",
            "Rounds of asking nodes for the topology: some answered, or none did.",
        );
        refreshed.sample(&[("result", "ok")], refreshes.value() as f64);
        refreshed.sample(&[("result", "failed")], refreshes_failed.value() as f64);
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
            refreshed,
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
    fn reloads(&self) -> [Family; 2] {
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
        [reloaded, successful]
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

/// Absent until a node has told the topology for the first time.
fn age(view: &View) -> Option<Family> {
    let mut family = Family::gauge(
        "slotway_topology_age_seconds",
        "Time since a node last confirmed the topology.",
    );
    family.sample(&[], view.topology_age()?.as_secs_f64());
    Some(family)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use slotway::engine::Stats;
    use slotway_runtime::metrics::encode;

    use super::*;

    /// Every metric that the proxy shows, by the name in its help line.
    fn shown() -> BTreeSet<String> {
        let registry = Registry::new();
        let view = Arc::new(View::default());
        view.confirm();
        Arc::new(ControlMetrics::default())
            .register(&registry, &view)
            .unwrap();
        let stats = vec![Arc::new(Stats::new())];
        let workers = move || slotway::metrics::families(&stats);
        registry
            .register(collector("workers", workers).unwrap())
            .unwrap();
        let text = String::from_utf8(encode(&registry).unwrap()).unwrap();
        let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP "));
        let names = helps.filter_map(|line| line.split(' ').next());
        // A family without a sample has no help line, and this one has none before a request.
        names
            .map(str::to_owned)
            .chain(["slotway_requests_total".to_owned()])
            .collect()
    }

    #[test]
    fn dashboards_ask_for_metrics_that_exist() {
        let dashboard = include_str!("../../../dashboards/proxy.json");
        let words = dashboard.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        let asked: BTreeSet<_> = words.filter(|word| word.starts_with("slotway_")).collect();
        assert!(asked.len() > 10, "{asked:?}");
        let shown = shown();
        for name in asked {
            let name = name.trim_end_matches("_bucket");
            assert!(shown.contains(name), "{name} is not in {shown:?}");
        }
    }
}
