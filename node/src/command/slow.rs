//! SLOWLOG, and LATENCY as far as it is about commands: there are never events in it, which is what
//! tools that look there get.

use hdrhistogram::Histogram;
use slotway_protocol::command::{Command, CommandId, lookup};
use slotway_protocol::resp::{Protocol, encode};

use super::{Call, CommandError, Run};
use crate::statistics::CallStats;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("slowlog|get", get),
    ("slowlog|len", len),
    ("slowlog|reset", reset),
    ("latency|histogram", histogram),
    ("latency|latest", nothing),
    ("latency|history", nothing),
    ("latency|reset", zero),
];

fn get(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 3 {
        return Err(super::unknown_or_wrong_arguments(call, "SLOWLOG"));
    }
    let count = if call.len() == 3 {
        let count = call.integer_arg(2).ok().filter(|count| *count >= -1);
        count
            .ok_or_else(|| CommandError::text("ERR count should be greater than or equal to -1"))?
    } else {
        COUNT
    };
    // -1 means all.
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let entries = call.server.slow_log.entries();
    encode::array(call.out, count.min(entries.len()));
    for entry in entries.take(count) {
        encode::array(call.out, 6);
        for number in [entry.id, entry.unix_seconds, entry.micros] {
            encode::integer(call.out, i64::try_from(number).unwrap_or(i64::MAX));
        }
        encode::array(call.out, entry.arguments.len());
        for argument in &entry.arguments {
            encode::bulk(call.out, argument);
        }
        encode::bulk(call.out, entry.caller.address.as_bytes());
        encode::bulk(call.out, &entry.caller.name);
    }
    Ok(())
}

fn len(call: &mut Call<'_>) -> Result<(), CommandError> {
    let len = call.server.slow_log.entries().len();
    call.reply_integer(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(())
}

fn reset(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.server.slow_log.clear();
    call.reply_ok();
    Ok(())
}

/// How the times of commands are distributed: of those that are named, or of all.
fn histogram(call: &mut Call<'_>) -> Result<(), CommandError> {
    let commands: Vec<&'static Command> = if call.len() == 2 {
        (0..Command::count())
            .map(|number| Command::by_id(CommandId(number as u16)))
            .collect()
    } else {
        (2..call.len())
            .filter_map(|index| named(call.arg(index)))
            .flat_map(|command| core::iter::once(command).chain(command.subcommands))
            .collect()
    };
    let calls = &call.server.stats.calls;
    let known: Vec<(&str, &CallStats, &Histogram<u64>)> = commands
        .into_iter()
        .filter_map(|command| {
            let stats = calls.of(command)?;
            Some((command.name, stats, stats.latency.as_deref()?))
        })
        .collect();
    let protocol = call.protocol;
    encode::map(call.out, protocol, known.len());
    for (name, stats, latency) in known {
        encode::bulk(call.out, name.as_bytes());
        encode::map(call.out, protocol, 2);
        encode::bulk(call.out, b"calls");
        encode::integer(call.out, i64::try_from(stats.calls).unwrap_or(i64::MAX));
        encode::bulk(call.out, b"histogram_usec");
        write_distribution(call.out, protocol, latency);
    }
    Ok(())
}

/// `set` or, for a subcommand, `config|set`.
fn named(name: &[u8]) -> Option<&'static Command> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let command = lookup(parts.next()?)?;
    let Some(own_name) = parts.next() else {
        return Some(command);
    };
    let mut subcommands = command.subcommands.iter();
    subcommands.find(|command| {
        let full = command.name.as_bytes();
        full.len() > own_name.len()
            && full[full.len() - own_name.len()..].eq_ignore_ascii_case(own_name)
            && full[full.len() - own_name.len() - 1] == b'|'
    })
}

/// How many took up to so many microseconds, for doubling bounds, without those that add nothing.
fn write_distribution(out: &mut Vec<u8>, protocol: Protocol, latency: &Histogram<u64>) {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    let mut total = 0;
    for step in latency.iter_log(FIRST_BOUND_NANOS, 2.0) {
        let count = step.count_since_last_iteration();
        if count > 0 {
            total += count;
            let bound = latency.highest_equivalent(step.value_iterated_to());
            steps.push((bound / 1_000, total));
        }
    }
    encode::map(out, protocol, steps.len());
    for (micros, count) in steps {
        encode::integer(out, i64::try_from(micros).unwrap_or(i64::MAX));
        encode::integer(out, i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn nothing(call: &mut Call<'_>) -> Result<(), CommandError> {
    encode::array(call.out, 0);
    Ok(())
}

fn zero(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_integer(0);
    Ok(())
}

/// Entries of SLOWLOG GET unless told otherwise.
const COUNT: i64 = 10;
const FIRST_BOUND_NANOS: u64 = 1_024;
