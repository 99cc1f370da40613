//! The node's cluster as it sees it. A node that is part of none has all figures too, as if alone
//! in a cluster that serves no slot.

use slotway_protocol::cluster::{SLOTS, Slot};

use super::{Figures, Label, Number, counter, gauge};
use crate::cluster::bus::{KINDS, Kind};
use crate::cluster::{Cluster, ClusterState, ClusterView, epoch};
use crate::engine::State;

pub(super) fn figures(state: &State) -> Vec<Figures> {
    let cluster = state.server.cluster.as_ref();
    let view = cluster.map(Cluster::view);
    let count = |of: fn(&Cluster) -> usize| cluster.map_or(0, of);
    let mut figures = vec![
        gauge(
            "slotway_node_cluster_enabled",
            "1 when the node is part of a cluster.",
            cluster.is_some(),
        ),
        gauge(
            "slotway_node_cluster_ok",
            "1 when the node finds its cluster able to serve.",
            cluster.is_some_and(|cluster| cluster.state() == ClusterState::Ok),
        ),
        slots(view),
        gauge(
            "slotway_node_slots_owned",
            "Slots that are this node's own.",
            count(|cluster| cluster.view().slot_count(cluster.my_index())),
        ),
        moving(view),
        gauge(
            "slotway_node_cluster_nodes",
            "Nodes that this one knows of, itself included.",
            count(|cluster| cluster.view().nodes().len()),
        ),
        gauge(
            "slotway_node_cluster_nodes_failing",
            "Those of them that the cluster agrees do not work.",
            count(|cluster| {
                let nodes = cluster.view().nodes().iter();
                nodes.filter(|node| node.failed).count()
            }),
        ),
        gauge(
            "slotway_node_cluster_size",
            "Primaries that own slots.",
            count(Cluster::last_size),
        ),
        gauge(
            "slotway_node_cluster_epoch",
            "The highest epoch that the node knows of.",
            view.map_or(0, |view| view.current_epoch),
        ),
        gauge(
            "slotway_node_config_epoch",
            "The epoch of this node's slots, or of its primary's.",
            cluster.map_or(0, |cluster| epoch(cluster.view(), cluster.my_info())),
        ),
        messages(cluster),
    ];
    figures.extend(links(cluster));
    figures
}

/// All slots, by what the node thinks of their owner.
fn slots(view: Option<&ClusterView>) -> Figures {
    let (mut assigned, mut suspected, mut failed) = (0, 0, 0);
    for (index, node) in view.map_or(&[][..], ClusterView::nodes).iter().enumerate() {
        let owned = view.map_or(0, |view| view.slot_count(index));
        assigned += owned;
        suspected += if node.suspected { owned } else { 0 };
        failed += if node.failed { owned } else { 0 };
    }
    let help = "Slots, by what the node thinks of their owner; they are 16384 in all.";
    Figures::gauges("slotway_node_cluster_slots", help)
        .with("state", "ok", assigned.saturating_sub(suspected + failed))
        .with("state", "pfail", suspected)
        .with("state", "fail", failed)
        .with("state", "unassigned", SLOTS - assigned)
}

fn moving(view: Option<&ClusterView>) -> Figures {
    let count = |slots: Vec<(Slot, &str)>| slots.len();
    let migrating = view.map_or(0, |view| count(view.migrating_slots().collect()));
    let importing = view.map_or(0, |view| count(view.importing_slots().collect()));
    let help = "Slots that this node is giving away or taking over.";
    Figures::gauges("slotway_node_slots_moving", help)
        .with("direction", "migrating", migrating)
        .with("direction", "importing", importing)
}

fn messages(cluster: Option<&Cluster>) -> Figures {
    let help = "Messages between this node and others of the cluster, by kind.";
    let mut figures = Figures::counters("slotway_node_cluster_messages_total", help);
    let none = [0; KINDS];
    let (sent, received) = match cluster.map(Cluster::stats) {
        Some(stats) => (&stats.sent, &stats.received),
        None => (&none, &none),
    };
    for (direction, counts) in [("sent", sent), ("received", received)] {
        for (number, count) in (0..).zip(counts) {
            let Some(kind) = Kind::from_number(number) else {
                continue;
            };
            let labels = vec![
                ("direction", Label::Word(direction)),
                ("kind", Label::Word(kind.name())),
            ];
            figures.add(labels, Number::Count(*count));
        }
    }
    figures
}

fn links(cluster: Option<&Cluster>) -> [Figures; 3] {
    let (mut inbound, mut outbound, mut waiting) = (0_u64, 0_u64, 0);
    for (_, link) in cluster.into_iter().flat_map(Cluster::links) {
        if link.is_inbound {
            inbound += 1;
        } else {
            outbound += 1;
        }
        waiting += link.waiting;
    }
    let help = "Connections of the cluster bus, by who has opened them.";
    [
        Figures::gauges("slotway_node_cluster_links", help)
            .with("direction", "from", inbound)
            .with("direction", "to", outbound),
        gauge(
            "slotway_node_cluster_link_waiting_bytes",
            "What waits to be written on them.",
            waiting,
        ),
        counter(
            "slotway_node_cluster_links_cut_total",
            "Those cut because more waited than cluster-link-sendbuf-limit.",
            cluster.map_or(0, Cluster::limit_exceeded),
        ),
    ]
}
