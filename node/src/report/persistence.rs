//! What is kept beyond the node's life, and whether it could be.

use std::time::Duration;

use slotway_protocol::engine::Now;

use super::{Figures, counter, gauge};
use crate::engine::State;
use crate::persistence::saving::SaveTarget;
use crate::server_state::DiskError;

pub(super) fn figures(state: &State, now: Now) -> Vec<Figures> {
    let mut figures = Vec::from(loading(state));
    figures.extend(saving(state, now));
    figures.extend(appending(state));
    figures.extend(rewriting(state));
    let error = state.server.disk_error;
    let help = "1 while writes are refused because that file could not be written.";
    figures.push(
        Figures::gauges("slotway_node_writes_refused", help)
            .with("file", "rdb", error == DiskError::Rdb)
            .with("file", "aof", error == DiskError::Aof),
    );
    figures
}

fn loading(state: &State) -> [Figures; 3] {
    let server = &state.server;
    let is_loading = server.loading.is_some() || server.replication.is_loading();
    let (loaded, total) = match &server.loading {
        Some(progress) => (progress.loaded_bytes, progress.total_bytes),
        None => (0, 0),
    };
    [
        gauge(
            "slotway_node_loading",
            "1 while keys are loaded, from files or from the primary.",
            is_loading,
        ),
        gauge(
            "slotway_node_loading_file_bytes",
            "Length of the files that are being loaded, 0 when none are.",
            total,
        ),
        gauge(
            "slotway_node_loading_loaded_bytes",
            "How much of them is loaded.",
            loaded,
        ),
    ]
}

fn saving(state: &State, now: Now) -> Vec<Figures> {
    let saving = &state.server.saving;
    let running = saving.running_for(SaveTarget::File);
    let current = running.map(|running| now.instant.since(running.began));
    vec![
        gauge(
            "slotway_node_rdb_changes_since_save",
            "Changes that the RDB file does not have.",
            state.keyspace.changes.saturating_sub(saving.saved_changes),
        ),
        gauge(
            "slotway_node_rdb_last_save_timestamp_seconds",
            "When the RDB file was last saved, since the Unix epoch; the start before the first.",
            saving.last_at,
        ),
        gauge(
            "slotway_node_rdb_last_save_successful",
            "1 unless the last attempt to save all keys has failed.",
            !saving.last_failed,
        ),
        gauge(
            "slotway_node_rdb_last_save_duration_seconds",
            "How long the last attempt took, 0 before the first.",
            seconds(saving.last_seconds),
        ),
        gauge(
            "slotway_node_rdb_save_in_progress",
            "1 while the RDB file is being saved.",
            running.is_some(),
        ),
        gauge(
            "slotway_node_rdb_current_save_duration_seconds",
            "How long that has been so, 0 when it is not.",
            current.unwrap_or_default(),
        ),
        counter(
            "slotway_node_rdb_saves_total",
            "Times that all keys were saved.",
            saving.count,
        ),
    ]
}

fn appending(state: &State) -> Vec<Figures> {
    let log = &state.server.log;
    vec![
        gauge(
            "slotway_node_aof_enabled",
            "1 when writes go to an append-only file.",
            log.is_open(),
        ),
        gauge(
            "slotway_node_aof_size_bytes",
            "Length of all parts of the append-only file.",
            log.current_bytes,
        ),
        gauge(
            "slotway_node_aof_base_size_bytes",
            "What that was after the last rewrite, or at the start.",
            log.base_bytes,
        ),
        gauge(
            "slotway_node_aof_last_write_successful",
            "1 unless the append-only file can't be written or brought to the disk.",
            !log.has_failed(),
        ),
        gauge(
            "slotway_node_aof_buffer_bytes",
            "What waits to be written to it.",
            log.buffer_len(),
        ),
        gauge(
            "slotway_node_aof_fsync_in_progress",
            "1 while it is being brought to the disk.",
            log.is_syncing(),
        ),
        counter(
            "slotway_node_aof_fsyncs_delayed_total",
            "Times that bringing it to the disk had to wait for the time before.",
            log.delayed_syncs,
        ),
        counter(
            "slotway_node_aof_buffer_limit_hits_total",
            "Times that more was to wait than aof-buffer-max, so that writes were refused.",
            log.buffer_limit_hits,
        ),
    ]
}

fn rewriting(state: &State) -> Vec<Figures> {
    let server = &state.server;
    let rewriting = &server.log.rewriting;
    let running = server.saving.running_for(SaveTarget::AofBase).is_some();
    vec![
        gauge(
            "slotway_node_aof_rewrite_in_progress",
            "1 while the append-only file is being rewritten.",
            running || rewriting.wanted,
        ),
        gauge(
            "slotway_node_aof_rewrite_scheduled",
            "1 while a rewrite waits for the end of a save.",
            rewriting.scheduled,
        ),
        gauge(
            "slotway_node_aof_last_rewrite_successful",
            "1 unless the last rewrite has failed.",
            !rewriting.last_failed,
        ),
        gauge(
            "slotway_node_aof_last_rewrite_duration_seconds",
            "How long the last rewrite took, 0 before the first.",
            seconds(rewriting.last_seconds),
        ),
        counter(
            "slotway_node_aof_rewrites_total",
            "Rewrites that have succeeded.",
            rewriting.count,
        ),
        gauge(
            "slotway_node_aof_rewrite_failures",
            "How many rewrites in a row have failed.",
            rewriting.consecutive_failures,
        ),
    ]
}

fn seconds(seconds: Option<u64>) -> Duration {
    Duration::from_secs(seconds.unwrap_or_default())
}
