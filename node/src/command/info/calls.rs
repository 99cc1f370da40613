//! The sections of INFO about commands: how often, how long, and which errors.

use slotway_protocol::command::{Command, CommandId};

use super::{Call, line};
use crate::statistics::CallStats;

pub(super) fn command_stats(call: &Call<'_>, text: &mut String) {
    for (command, stats) in each(call) {
        if stats.calls + stats.rejected + stats.failed == 0 {
            continue;
        }
        let micros = stats.nanos / 1_000;
        let each = if stats.calls == 0 {
            0.0
        } else {
            micros as f64 / stats.calls as f64
        };
        line(
            text,
            format_args!(
                "cmdstat_{}:calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},\
                 failed_calls={}",
                command.name, stats.calls, stats.rejected, stats.failed
            ),
        );
    }
}

pub(super) fn error_stats(call: &Call<'_>, text: &mut String) {
    for (code, count) in call.server.stats.errors.iter() {
        let code = String::from_utf8_lossy(code);
        line(text, format_args!("errorstat_{code}:count={count}"));
    }
}

pub(super) fn latency_stats(call: &Call<'_>, text: &mut String) {
    let percentiles = &call.server.config.latency_tracking_info_percentiles;
    for (command, stats) in each(call) {
        let Some(latency) = &stats.latency else {
            continue;
        };
        let shown = percentiles.iter().filter_map(|percentile| {
            let share: f64 = percentile.parse().ok()?;
            let nanos = latency.value_at_percentile(share);
            Some(format!("p{percentile}={:.3}", nanos as f64 / 1_000.0))
        });
        let shown: Vec<String> = shown.collect();
        let name = command.name;
        let shown = shown.join(",");
        line(
            text,
            format_args!("latency_percentiles_usec_{name}:{shown}"),
        );
    }
}

fn each<'a>(call: &'a Call<'_>) -> impl Iterator<Item = (&'static Command, &'a CallStats)> {
    let commands = (0..Command::count()).map(|number| Command::by_id(CommandId(number as u16)));
    commands.filter_map(|command| Some((command, call.server.stats.calls.of(command)?)))
}
