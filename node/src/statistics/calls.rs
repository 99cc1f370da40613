//! How often each command was called, how long it took, and how often it failed.

use hdrhistogram::Histogram;
use slotway_protocol::command::{Command, CommandId};

/// The counts of all commands.
#[derive(Debug)]
pub(crate) struct Calls {
    /// By the command's number.
    by_command: Vec<CallStats>,
}

/// The counts of one command.
#[derive(Debug, Default, Clone)]
pub(crate) struct CallStats {
    pub(crate) calls: u64,
    pub(crate) nanos: u64,
    /// Refused before they ran.
    pub(crate) rejected: u64,
    /// Ran, and ended with an error.
    pub(crate) failed: u64,
    /// The distribution of nanoseconds, from the first call on.
    pub(crate) latency: Option<Box<Histogram<u64>>>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            by_command: vec![CallStats::default(); Command::count()],
        }
    }
}

impl Calls {
    /// Counts a command that has run.
    #[inline]
    pub(crate) fn note(&mut self, id: CommandId, nanos: u64, failed: bool, tracks_latency: bool) {
        let Some(stats) = self.by_command.get_mut(usize::from(id.0)) else {
            return;
        };
        stats.calls += 1;
        stats.nanos += nanos;
        stats.failed += u64::from(failed);
        if tracks_latency {
            match &mut stats.latency {
                Some(latency) => latency.saturating_record(nanos.max(LATENCY_MIN)),
                none => begin_latency(none, nanos),
            }
        }
    }

    /// Counts a command that was refused before it ran.
    #[cold]
    pub(crate) fn reject(&mut self, id: CommandId) {
        if let Some(stats) = self.by_command.get_mut(usize::from(id.0)) {
            stats.rejected += 1;
        }
    }

    /// Counts that a command that has waited ended with an error.
    #[cold]
    pub(crate) fn fail(&mut self, id: CommandId) {
        if let Some(stats) = self.by_command.get_mut(usize::from(id.0)) {
            stats.failed += 1;
        }
    }

    pub(crate) fn of(&self, command: &Command) -> Option<&CallStats> {
        self.by_command.get(usize::from(command.id.0))
    }
}

#[cold]
fn begin_latency(latency: &mut Option<Box<Histogram<u64>>>, nanos: u64) {
    // The bounds are constants that it accepts.
    if let Ok(mut histogram) = Histogram::new_with_bounds(LATENCY_MIN, LATENCY_MAX, DIGITS) {
        histogram.saturating_record(nanos.max(LATENCY_MIN));
        *latency = Some(Box::new(histogram));
    }
}

/// From a nanosecond to a second, to two digits, as redis-server keeps them; what takes longer
/// counts as a second.
const LATENCY_MIN: u64 = 1;
const LATENCY_MAX: u64 = 1_000_000_000;
const DIGITS: u8 = 2;
