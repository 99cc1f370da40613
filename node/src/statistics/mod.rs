//! What INFO, SLOWLOG and LATENCY tell of the work that was done.

mod calls;
mod errors;
mod probe;
mod slow_log;

use slotway_protocol::engine::Now;

pub(crate) use calls::{CallStats, Calls};
pub(crate) use errors::Errors;
pub use probe::{Probe, ProcessFacts};
pub(crate) use slow_log::{Caller, SlowLog};

/// Counts since the start, or since CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: u64,
    pub(crate) rejected: u64,
    pub(crate) commands: u64,
    pub(crate) errors: Errors,
    pub(crate) calls: Calls,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    /// Commands in each second, and when that was last looked at.
    pub(crate) commands_per_second: u64,
    sampled_commands: u64,
    sampled_at_micros: u64,
}

impl Stats {
    /// Notes what is reported per second; called about ten times a second.
    pub(crate) fn sample(&mut self, now: Now) {
        let now_micros = now.instant.as_micros();
        let elapsed = now_micros.saturating_sub(self.sampled_at_micros);
        if elapsed >= SAMPLE_MICROS {
            let commands = self.commands.saturating_sub(self.sampled_commands);
            self.commands_per_second = commands.saturating_mul(1_000_000) / elapsed;
            self.sampled_commands = self.commands;
            self.sampled_at_micros = now_micros;
        }
    }
}

const SAMPLE_MICROS: u64 = 1_000_000;
