//! The text of INFO, section by section, with the names that monitoring expects.

mod calls;
mod persistence;

use core::fmt::Write;

use slotway_protocol::cluster::Role;
use slotway_protocol::engine::Address;

use super::{Call, replication_info};
use crate::ending::Stage;
use calls::{command_stats, error_stats, latency_stats};
use persistence::persistence;

/// A section's name and what appends its lines.
type Section = (&'static str, fn(&Call<'_>, &mut String));

/// The text of some sections; of the usual ones when none is named.
pub(super) fn text(call: &Call<'_>, wanted: &[&[u8]]) -> String {
    let is = |name: &[u8], word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    let usual = wanted.is_empty() || wanted.iter().any(|name| is(name, "default"));
    let all = |name: &&[u8]| is(name, "all") || is(name, "everything");
    let everything = wanted.iter().any(all);
    let mut text = String::new();
    for (name, write) in SECTIONS {
        let named = wanted.iter().any(|wanted| is(wanted, name));
        if everything || named || (usual && !UNUSUAL.contains(name)) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            line(&mut text, format_args!("# {name}"));
            write(call, &mut text);
        }
    }
    text
}

const SECTIONS: &[Section] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Modules", |_, _| {}),
    ("Commandstats", command_stats),
    ("Errorstats", error_stats),
    ("Latencystats", latency_stats),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
];

/// Those that have to be asked for.
const UNUSUAL: [&str; 2] = ["Commandstats", "Latencystats"];

fn line(text: &mut String, content: core::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(content);
    text.push_str("\r\n");
}

fn server(call: &Call<'_>, text: &mut String) {
    let server = &call.server;
    let mode = if server.cluster.is_some() {
        "cluster"
    } else {
        "standalone"
    };
    let uptime = call.now.instant.since(server.started.instant).as_secs();
    line(text, format_args!("redis_version:{}", super::REDIS_VERSION));
    line(
        text,
        format_args!("slotway_version:{}", env!("CARGO_PKG_VERSION")),
    );
    line(text, format_args!("redis_mode:{mode}"));
    line(text, format_args!("arch_bits:{}", usize::BITS));
    line(text, format_args!("process_supervised:no"));
    let process = (server.probe.process)();
    line(text, format_args!("process_id:{}", process.pid));
    line(text, format_args!("run_id:{}", server.run_id));
    line(text, format_args!("tcp_port:{}", server.config.port));
    line(
        text,
        format_args!("server_time_usec:{}", call.now.unix_ms * 1_000),
    );
    line(text, format_args!("uptime_in_seconds:{uptime}"));
    line(text, format_args!("uptime_in_days:{}", uptime / 86_400));
    line(text, format_args!("hz:10"));
    line(text, format_args!("configured_hz:10"));
    line(text, format_args!("io_threads_active:0"));
    if let Stage::Waiting { until } = server.ending.stage {
        let left = until.since(call.now.instant).as_millis();
        line(text, format_args!("shutdown_in_milliseconds:{left}"));
    }
}

fn clients(call: &Call<'_>, text: &mut String) {
    line(
        text,
        format_args!("connected_clients:{}", call.sessions.len()),
    );
    let cluster = call.server.cluster.as_ref();
    let links = cluster.map_or(0, |cluster| cluster.links().count());
    line(text, format_args!("cluster_connections:{links}"));
    line(
        text,
        format_args!("maxclients:{}", call.server.config.maxclients),
    );
    let blocking = &call.server.blocking;
    let waiting = &call.server.replication.waiting;
    let blocked = blocking.len() + waiting.acknowledged.len() + waiting.postponed.len();
    line(text, format_args!("blocked_clients:{blocked}"));
    line(text, format_args!("tracking_clients:0"));
    line(
        text,
        format_args!("clients_in_timeout_table:{}", blocking.timed_len()),
    );
}

fn memory(call: &Call<'_>, text: &mut String) {
    let used = call.keyspace.memory();
    line(text, format_args!("used_memory:{used}"));
    line(text, format_args!("used_memory_human:{}", human(used)));
    let resident = (call.server.probe.process)().resident_bytes;
    line(text, format_args!("used_memory_rss:{resident}"));
    let shown = human(usize::try_from(resident).unwrap_or(usize::MAX));
    line(text, format_args!("used_memory_rss_human:{shown}"));
    let config = &call.server.config;
    let most = config.maxmemory;
    let (scripts, interpreter) = call.server.scripts.memory();
    let known = call.server.scripts.len();
    line(text, format_args!("used_memory_vm_eval:{interpreter}"));
    line(text, format_args!("used_memory_lua:{interpreter}"));
    line(text, format_args!("used_memory_scripts_eval:{scripts}"));
    line(text, format_args!("number_of_cached_scripts:{known}"));
    let libraries = &call.server.scripts.libraries;
    let (number, functions) = (libraries.len(), libraries.functions_len());
    line(text, format_args!("number_of_functions:{functions}"));
    line(text, format_args!("number_of_libraries:{number}"));
    let bytes = libraries.bytes();
    line(text, format_args!("used_memory_functions:{bytes}"));
    line(text, format_args!("maxmemory:{most}"));
    line(
        text,
        format_args!("maxmemory_human:{}", human(most as usize)),
    );
    if let Some((directive, _)) = crate::config::Directive::find("maxmemory-policy") {
        let policy = directive.show(config);
        line(text, format_args!("maxmemory_policy:{policy}"));
    }
}

fn human(bytes: usize) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes < 1_024.0 => format!("{bytes}B"),
        _ if bytes < 1_048_576.0 => format!("{:.2}K", bytes / 1_024.0),
        _ if bytes < 1_073_741_824.0 => format!("{:.2}M", bytes / 1_048_576.0),
        _ => format!("{:.2}G", bytes / 1_073_741_824.0),
    }
}

fn stats(call: &Call<'_>, text: &mut String) {
    let stats = &call.server.stats;
    let pubsub = &call.server.pubsub;
    for (name, value) in [
        ("total_connections_received", stats.connections),
        ("total_commands_processed", stats.commands),
        ("instantaneous_ops_per_sec", stats.commands_per_second),
        ("total_net_input_bytes", stats.input_bytes),
        ("total_net_output_bytes", stats.output_bytes),
        ("rejected_connections", stats.rejected),
        ("expired_keys", call.keyspace.expired),
        ("evicted_keys", 0),
        ("keyspace_hits", call.keyspace.hits()),
        ("keyspace_misses", call.keyspace.misses()),
        ("pubsub_channels", pubsub.channels_len() as u64),
        ("pubsub_patterns", pubsub.patterns_len() as u64),
        ("pubsubshard_channels", pubsub.shard_channels_len() as u64),
        ("client_output_buffer_limit_disconnections", pubsub.cut_off),
        (
            "migrate_cached_sockets",
            call.server.migrations.targets.len() as u64,
        ),
        ("total_error_replies", stats.errors.total()),
        ("dump_payload_sanitizations", 0),
        ("sync_full", call.server.replication.counts.full),
        ("sync_partial_ok", call.server.replication.counts.partial),
        (
            "sync_partial_err",
            call.server.replication.counts.partial_refused,
        ),
    ] {
        line(text, format_args!("{name}:{value}"));
    }
}

/// Of the whole process, which several nodes may share.
fn cpu(call: &Call<'_>, text: &mut String) {
    let process = (call.server.probe.process)();
    line(text, format_args!("used_cpu_sys:{:.6}", process.cpu_system));
    line(text, format_args!("used_cpu_user:{:.6}", process.cpu_user));
    line(text, format_args!("used_cpu_sys_children:0.000000"));
    line(text, format_args!("used_cpu_user_children:0.000000"));
}

fn replication(call: &Call<'_>, text: &mut String) {
    match static_primary(call) {
        Some(primary) => {
            line(text, format_args!("role:slave"));
            line(text, format_args!("master_host:{}", primary.host));
            line(text, format_args!("master_port:{}", primary.port));
            line(text, format_args!("master_link_status:down"));
        }
        None => replication_info::write(call, text),
    }
}

/// The primary of a replica that was told of its cluster from outside, and follows nobody.
fn static_primary<'a>(call: &'a Call<'_>) -> Option<&'a Address> {
    if call.server.replication.primary().is_some() {
        return None;
    }
    let cluster = call.server.cluster.as_ref()?;
    let primary = cluster.my_info().primary.as_deref()?;
    let is_replica = cluster.my_info().role == Role::Replica;
    let primary = cluster.view().node(primary).filter(|_| is_replica);
    primary.map(|primary| &primary.address)
}

fn cluster(call: &Call<'_>, text: &mut String) {
    let enabled = u8::from(call.server.cluster.is_some());
    line(text, format_args!("cluster_enabled:{enabled}"));
}

fn keyspace(call: &Call<'_>, text: &mut String) {
    for info in call.keyspace.database_infos() {
        line(
            text,
            format_args!(
                "db{}:keys={},expires={},avg_ttl={}",
                info.number, info.keys, info.expiring, info.average_ttl_ms
            ),
        );
    }
}
