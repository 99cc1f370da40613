//! What the control thread itself counts: topologies and refused clients. The workers' counters
//! are in `slotway::metrics`.

use std::sync::Arc;

use prometheus::Registry;
use slotway_protocol::cluster::Topology;
use slotway_runtime::listener::AcceptMetrics;
use slotway_runtime::metrics::{Counter, Family, Gauge, collector};

/// Written by the control thread, read at a scrape.
#[derive(Debug, Default)]
pub(super) struct ControlMetrics {
    pub(super) accept: Arc<AcceptMetrics>,
    /// Topologies that differed from the one before.
    pub(super) topologies: Counter,
    /// Rounds of questions that no node answered.
    pub(super) refreshes_failed: Counter,
    shards: Gauge,
    slots_covered: Gauge,
}

impl ControlMetrics {
    pub(super) fn register(self: &Arc<Self>, registry: &Registry) -> prometheus::Result<()> {
        let metrics = Arc::clone(self);
        registry.register(collector("control", move || metrics.families())?)
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
            refreshes_failed,
            shards,
            slots_covered,
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
            counter(
                "slotway_clients_refused_total",
                "Clients turned away because max_clients were connected.",
                &accept.refused,
            ),
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
            counter(
                "slotway_topology_refreshes_failed_total",
                "Rounds in which no node told the topology.",
                refreshes_failed,
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
