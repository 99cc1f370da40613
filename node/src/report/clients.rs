//! Who is connected, what goes to and fro, and who is subscribed to what.

use super::{Figures, counter, gauge};
use crate::engine::State;

pub(super) fn figures(state: &State) -> Vec<Figures> {
    let server = &state.server;
    let stats = &server.stats;
    let waiting = &server.replication.waiting;
    let blocked = server.blocking.len() + waiting.acknowledged.len() + waiting.postponed.len();
    vec![
        gauge(
            "slotway_node_clients",
            "Connected clients, the connections of replicas among them.",
            state.sessions.len(),
        ),
        gauge(
            "slotway_node_clients_max",
            "How many clients may be connected, maxclients.",
            server.config.maxclients,
        ),
        gauge(
            "slotway_node_clients_blocked",
            "Clients that wait for elements, replicas or the end of a pause.",
            blocked,
        ),
        counter(
            "slotway_node_connections_accepted_total",
            "Connections of clients that were accepted.",
            stats.connections,
        ),
        counter(
            "slotway_node_connections_rejected_total",
            "Those of them that were turned away because of maxclients or protected mode.",
            stats.rejected,
        ),
        counter(
            "slotway_node_clients_cut_total",
            "Subscribers cut off because more waited for them than client-output-buffer-limit.",
            server.pubsub.cut_off,
        ),
        counter(
            "slotway_node_received_bytes_total",
            "Bytes read from clients.",
            stats.input_bytes,
        ),
        counter(
            "slotway_node_sent_bytes_total",
            "Bytes given to clients, replicas, and nodes that take over keys.",
            stats.output_bytes,
        ),
        subscriptions(state),
        gauge(
            "slotway_node_migrate_connections",
            "Connections to other nodes that MIGRATE keeps open.",
            server.migrations.targets.len(),
        ),
    ]
}

fn subscriptions(state: &State) -> Figures {
    let pubsub = &state.server.pubsub;
    let help = "Channels and patterns that have subscribers, by kind.";
    Figures::gauges("slotway_node_subscriptions", help)
        .with("kind", "channel", pubsub.channels_len())
        .with("kind", "pattern", pubsub.patterns_len())
        .with("kind", "shard", pubsub.shard_channels_len())
}
