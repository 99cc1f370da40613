//! The section of INFO on what is kept beyond the node's life, field by field as redis-server.

use super::line;
use crate::command::Call;
use crate::persistence::saving::SaveTarget;

pub(super) fn persistence(call: &Call<'_>, text: &mut String) {
    loading(call, text);
    saving(call, text);
    appending(call, text);
    progress(call, text);
}

fn loading(call: &Call<'_>, text: &mut String) {
    let server = &call.server;
    let is_loading = u8::from(server.loading.is_some() || server.replication.is_loading());
    line(text, format_args!("loading:{is_loading}"));
    let is_beside = u8::from(server.replication.is_loading_beside());
    line(text, format_args!("async_loading:{is_beside}"));
    for name in [
        "current_cow_peak",
        "current_cow_size",
        "current_cow_size_age",
    ] {
        line(text, format_args!("{name}:0"));
    }
    line(text, format_args!("current_fork_perc:0.00"));
    line(text, format_args!("current_save_keys_processed:0"));
    line(text, format_args!("current_save_keys_total:0"));
}

fn saving(call: &Call<'_>, text: &mut String) {
    let saving = &call.server.saving;
    let running = saving.running_for(SaveTarget::File);
    let seconds = running.map(|running| call.now.instant.since(running.began).as_secs());
    let status = status(saving.last_failed);
    let changes = call.keyspace.changes - saving.saved_changes;
    line(text, format_args!("rdb_changes_since_last_save:{changes}"));
    let in_progress = u8::from(running.is_some());
    line(text, format_args!("rdb_bgsave_in_progress:{in_progress}"));
    line(text, format_args!("rdb_last_save_time:{}", saving.last_at));
    line(text, format_args!("rdb_last_bgsave_status:{status}"));
    let last = or_none(saving.last_seconds);
    line(text, format_args!("rdb_last_bgsave_time_sec:{last}"));
    let current = or_none(seconds);
    line(text, format_args!("rdb_current_bgsave_time_sec:{current}"));
    line(text, format_args!("rdb_saves:{}", saving.count));
    line(text, format_args!("rdb_last_cow_size:0"));
    line(text, format_args!("rdb_last_load_keys_expired:0"));
    line(text, format_args!("rdb_last_load_keys_loaded:0"));
}

fn appending(call: &Call<'_>, text: &mut String) {
    let log = &call.server.log;
    let rewriting = &log.rewriting;
    let running = call.server.saving.running_for(SaveTarget::AofBase);
    let seconds = running.map(|running| call.now.instant.since(running.began).as_secs());
    let in_progress = running.is_some() || rewriting.wanted;
    for (name, is) in [
        ("aof_enabled", log.is_open()),
        ("aof_rewrite_in_progress", in_progress),
        ("aof_rewrite_scheduled", rewriting.scheduled),
    ] {
        line(text, format_args!("{name}:{}", u8::from(is)));
    }
    let failures = rewriting.consecutive_failures;
    for (name, value) in [
        (
            "aof_last_rewrite_time_sec",
            or_none(rewriting.last_seconds).to_string(),
        ),
        ("aof_current_rewrite_time_sec", or_none(seconds).to_string()),
        (
            "aof_last_bgrewrite_status",
            status(rewriting.last_failed).to_owned(),
        ),
        ("aof_rewrites", rewriting.count.to_string()),
        ("aof_rewrites_consecutive_failures", failures.to_string()),
        ("aof_last_write_status", status(log.has_failed()).to_owned()),
        ("aof_last_cow_size", "0".to_owned()),
        ("module_fork_in_progress", "0".to_owned()),
        ("module_fork_last_cow_size", "0".to_owned()),
    ] {
        line(text, format_args!("{name}:{value}"));
    }
    if log.is_open() {
        for (name, value) in [
            ("aof_current_size", log.current_bytes),
            ("aof_base_size", log.base_bytes),
            ("aof_pending_rewrite", u64::from(rewriting.scheduled)),
            ("aof_buffer_length", log.buffer_len()),
            ("aof_pending_bio_fsync", u64::from(log.is_syncing())),
            ("aof_delayed_fsync", log.delayed_syncs),
            ("aof_buffer_limit_hits", log.buffer_limit_hits),
        ] {
            line(text, format_args!("{name}:{value}"));
        }
    }
}

/// What is only there while files are loaded.
fn progress(call: &Call<'_>, text: &mut String) {
    let Some(progress) = &call.server.loading else {
        return;
    };
    let (loaded, total) = (progress.loaded_bytes, progress.total_bytes);
    let seconds = call.now.instant.since(progress.began.instant).as_secs();
    let percent = loaded as f64 * 100.0 / total.max(1) as f64;
    let rest = total.saturating_sub(loaded);
    let left = seconds.saturating_mul(rest).checked_div(loaded);
    let left = left.unwrap_or(1);
    let began = progress.began.unix_ms / 1_000;
    line(text, format_args!("loading_start_time:{began}"));
    line(text, format_args!("loading_total_bytes:{total}"));
    line(text, format_args!("loading_rdb_used_mem:0"));
    line(text, format_args!("loading_loaded_bytes:{loaded}"));
    line(text, format_args!("loading_loaded_perc:{percent:.2}"));
    line(text, format_args!("loading_eta_seconds:{left}"));
}

fn status(failed: bool) -> &'static str {
    if failed { "err" } else { "ok" }
}

fn or_none(seconds: Option<u64>) -> i64 {
    seconds.map_or(-1, |seconds| seconds as i64)
}
