//! Whom the node follows, who follows it, and how far each has come.

use std::time::Duration;

use slotway_protocol::engine::Now;

use super::{Figures, Label, gauge};
use crate::engine::State;
use crate::replication::LinkState;

pub(super) fn figures(state: &State, now: Now) -> Vec<Figures> {
    let replication = &state.server.replication;
    let backlog = replication.backlog.as_ref();
    let mut figures = vec![
        gauge(
            "slotway_node_replication_offset_bytes",
            "How much a primary has produced for replicas, or a replica has processed of that.",
            replication.offset(),
        ),
        gauge(
            "slotway_node_replication_backlog_bytes",
            "What is kept of it for replicas that come back.",
            backlog.map_or(0, |backlog| backlog.len()),
        ),
        gauge(
            "slotway_node_replication_backlog_max_bytes",
            "How much of it may be kept, repl-backlog-size.",
            replication.settings.backlog_bytes,
        ),
        syncs(state),
    ];
    figures.extend(upstream(state, now));
    figures.extend(replicas(state, now));
    figures
}

fn syncs(state: &State) -> Figures {
    let counts = &state.server.replication.counts;
    let help = "Replicas that were given all keys, that could go on where they were, and that had \
        asked for that in vain.";
    Figures::counters("slotway_node_syncs_total", help)
        .with("kind", "full", counts.full)
        .with("kind", "partial", counts.partial)
        .with("kind", "partial_refused", counts.partial_refused)
}

/// The connection to the primary. A primary has none, which is nothing to worry about.
fn upstream(state: &State, now: Now) -> Vec<Figures> {
    let replication = &state.server.replication;
    let is_replica = !state.server.is_primary();
    let link = replication.link();
    let is_up = is_replica && link == LinkState::Up;
    let since = |instant| now.instant.since(instant);
    let silence = if is_up {
        since(replication.last_io())
    } else {
        Duration::ZERO
    };
    let down = if is_replica && !is_up {
        since(replication.down_since)
    } else {
        Duration::ZERO
    };
    vec![
        gauge(
            "slotway_node_primary_link_up",
            "1 while a replica gets what its primary does; 0 on a primary.",
            is_up,
        ),
        gauge(
            "slotway_node_primary_link_down_seconds",
            "How long a replica has not got it; 0 on a primary.",
            down,
        ),
        gauge(
            "slotway_node_primary_silence_seconds",
            "Time since anything came from the primary, while the link is up.",
            silence,
        ),
        gauge(
            "slotway_node_primary_sync_in_progress",
            "1 while all keys come from the primary.",
            is_replica && link == LinkState::Syncing,
        ),
    ]
}

fn replicas(state: &State, now: Now) -> Vec<Figures> {
    let replication = &state.server.replication;
    let help = "Replicas that are connected, by whether they have the keys or are getting them.";
    let online = replication.replicas().filter(|replica| replica.online);
    let (online, all) = (online.count(), replication.replicas().count());
    let counts = Figures::gauges("slotway_node_replicas", help)
        .with("state", "online", online)
        .with("state", "syncing", all - online);
    let help = "How much of what was produced each replica has not acknowledged.";
    let mut behind = Figures::gauges("slotway_node_replica_lag_bytes", help);
    let help = "Time since each replica has acknowledged anything, as lag of INFO.";
    let mut silence = Figures::gauges("slotway_node_replica_silence_seconds", help);
    let replicas = replication.replicas.iter();
    for replica in replicas.filter(|replica| replica.is_replica()) {
        let address = format!("{}:{}", replica.host(), replica.port);
        let labels = vec![("replica", Label::Address(address))];
        let missing = replication.offset().saturating_sub(replica.acked);
        behind.add(labels.clone(), missing);
        silence.add(labels, now.instant.since(replica.acked_at));
    }
    vec![counts, behind, silence]
}
