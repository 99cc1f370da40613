//! The clocks of one host: no two of them go alike, and the one on the wall may be wrong.

use slotway_protocol::engine::{Instant, Now};

/// What a host holds to be the time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// By how many millionths it is faster than the simulator's.
    pub(crate) fast_by: i64,
    /// How far the clock on the wall is ahead, in milliseconds.
    pub(crate) ahead_ms: i64,
}

impl Clock {
    /// What it shows at that time of the simulator.
    pub(super) fn now(self, micros: u64) -> Now {
        let local = i128::from(micros) * self.rate() / ONE;
        let unix_ms = EPOCH_MS + (local / 1_000) as i64 + self.ahead_ms;
        Now {
            instant: Instant::from_micros(local as u64),
            unix_ms: unix_ms as u64,
        }
    }

    /// The first time of the simulator at which it shows that much, or more.
    pub(super) fn reaches(self, instant: Instant) -> u64 {
        let local = i128::from(instant.as_micros());
        let micros = (local * ONE + self.rate() - 1) / self.rate();
        micros as u64
    }

    fn rate(self) -> i128 {
        ONE + i128::from(self.fast_by)
    }
}

const ONE: i128 = 1_000_000;

const EPOCH_MS: i64 = 1_700_000_000_000;
