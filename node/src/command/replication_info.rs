//! What INFO says of replication.

use core::fmt::Write;

use super::Call;
use crate::replication::{Link, Replication};

/// Appends the lines of the section.
pub(super) fn write(call: &Call<'_>, text: &mut String) {
    let replication = &call.server.replication;
    let mut line = |name: &str, value: &dyn core::fmt::Display| {
        // Writing to a string does not fail.
        let _ = write!(text, "{name}:{value}\r\n");
    };
    if replication.primary().is_some() {
        write_primary(call, replication, &mut line);
    } else {
        line("role", &"master");
    }
    let now = call.now.instant;
    let replicas = || {
        let replicas = replication.replicas.iter();
        replicas.filter(|replica| replica.is_replica())
    };
    line("connected_slaves", &replicas().count());
    if replication.settings.replicas_min > 0 && !replication.settings.lag_max.is_zero() {
        line("min_slaves_good_slaves", &replication.good_replicas);
    }
    for (index, replica) in replicas().enumerate() {
        let lag = if replica.is_online() {
            replica.lag_seconds(now)
        } else {
            0
        };
        let value = format!(
            "ip={},port={},state={},offset={},lag={lag}",
            replica.host(),
            replica.port,
            replica.state_name(),
            replica.acked,
        );
        line(&format!("slave{index}"), &value);
    }
    line("master_failover_state", &"no-failover");
    line("master_replid", &replication.id());
    let second = replication.second();
    line("master_replid2", &second.map_or(NO_ID, |(id, _)| id));
    line("master_repl_offset", &replication.offset());
    let next = second.map_or(-1, |(_, next)| next as i64);
    line("second_repl_offset", &next);
    let backlog = replication.backlog.as_ref();
    line("repl_backlog_active", &u8::from(backlog.is_some()));
    let size = replication.settings.backlog_bytes;
    line("repl_backlog_size", &size);
    let first = backlog.map_or(0, |backlog| backlog.first_offset());
    line("repl_backlog_first_byte_offset", &first);
    let len = backlog.map_or(0, |backlog| backlog.len());
    line("repl_backlog_histlen", &len);
}

/// What a replica says of its primary.
fn write_primary(
    call: &Call<'_>,
    replication: &Replication,
    line: &mut dyn FnMut(&str, &dyn core::fmt::Display),
) {
    let Some(primary) = replication.primary() else {
        return;
    };
    let now = call.now.instant;
    let silence = now.since(replication.last_io()).as_secs() as i64;
    let is_receiving = matches!(replication.link, Link::Receiving(_));
    line("role", &"slave");
    line("master_host", &primary.host);
    line("master_port", &primary.port);
    let status = if replication.is_up() { "up" } else { "down" };
    line("master_link_status", &status);
    let seen = if replication.is_up() { silence } else { -1 };
    line("master_last_io_seconds_ago", &seen);
    line("master_sync_in_progress", &u8::from(is_receiving));
    line("slave_read_repl_offset", &replication.offset());
    line("slave_repl_offset", &replication.offset());
    if is_receiving {
        let (received, left) = replication.transfer_bytes;
        let total = left.map_or(0, |left| left + received);
        let share = if total > 0 {
            received as f64 / total as f64 * 100.0
        } else {
            0.0
        };
        line("master_sync_total_bytes", &total);
        line("master_sync_read_bytes", &received);
        line(
            "master_sync_left_bytes",
            &left.map_or(-1, |left| left as i64),
        );
        line("master_sync_perc", &format!("{share:.2}"));
        line("master_sync_last_io_seconds_ago", &silence);
    }
    if !replication.is_up() {
        let down = now.since(replication.down_since).as_secs();
        line("master_link_down_since_seconds", &down);
    }
    line("slave_priority", &replication.settings.priority);
    let read_only = u8::from(replication.settings.is_read_only);
    line("slave_read_only", &read_only);
    let announced = u8::from(replication.settings.is_announced);
    line("replica_announced", &announced);
}

const NO_ID: &str = "0000000000000000000000000000000000000000";
