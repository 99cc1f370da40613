//! One reading of the monotonic clock a call; the wall clock follows it from an anchor.

use std::cell::Cell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slotway_protocol::engine::{Instant, Now};

/// The time as an engine sees it.
pub(crate) struct Clock {
    start: std::time::Instant,
    anchor: Cell<Anchor>,
    /// The last reading, until it is forgotten.
    last: Cell<Option<Now>>,
}

/// A moment whose wall-clock time is known.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    /// Microseconds since the start.
    micros: u64,
    unix_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let anchor = Anchor {
            micros: 0,
            unix_ms: system_unix_ms(),
        };
        Self {
            start: std::time::Instant::now(),
            anchor: Cell::new(anchor),
            last: Cell::new(None),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let micros = elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros());
        let mut anchor = self.anchor.get();
        if micros - anchor.micros >= ANCHOR_MICROS {
            anchor = self.refresh(micros);
        }
        let now = Now {
            instant: Instant::from_micros(micros),
            unix_ms: anchor.unix_ms + (micros - anchor.micros) / 1000,
        };
        self.last.set(Some(now));
        now
    }

    /// The last reading that was not forgotten, or a new one.
    #[inline]
    pub(crate) fn recent(&self) -> Now {
        self.last.get().unwrap_or_else(|| self.now())
    }

    /// From now on what was read so far is not recent any more.
    #[inline]
    pub(crate) fn forget(&self) {
        self.last.set(None);
    }

    /// The moment in tokio's own terms, rounded by nothing.
    pub(crate) fn deadline(&self, instant: Instant) -> tokio::time::Instant {
        let micros = instant.as_micros().min(FAR_MICROS);
        tokio::time::Instant::from_std(self.start + Duration::from_micros(micros))
    }

    #[cold]
    fn refresh(&self, micros: u64) -> Anchor {
        let anchor = Anchor {
            micros,
            unix_ms: system_unix_ms(),
        };
        self.anchor.set(anchor);
        anchor
    }
}

fn system_unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}

/// How old the anchor may be: the wall clock lags a change of the system's by this at most.
const ANCHOR_MICROS: u64 = 1_000_000;

/// A hundred years, so that an engine's "never" is no overflow.
const FAR_MICROS: u64 = 100 * 365 * 24 * 3600 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_follows_the_system_across_anchors() {
        let clock = Clock::start();
        for _ in 0..12 {
            let before = system_unix_ms();
            let now = clock.now();
            let after = system_unix_ms();
            assert!(now.unix_ms + 2 >= before && now.unix_ms <= after + 2);
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(clock.anchor.get().micros >= ANCHOR_MICROS);
        assert!(clock.now().instant.as_micros() >= 1_200_000);
    }

    #[test]
    fn the_recent_time_is_the_last_one_that_was_read() {
        let clock = Clock::start();
        let first = clock.recent();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(clock.recent(), first);
        let second = clock.now();
        assert!(second.instant > first.instant);
        assert_eq!(clock.recent(), second);
        std::thread::sleep(Duration::from_millis(2));
        clock.forget();
        assert!(clock.recent().instant > second.instant);
    }

    #[test]
    fn never_is_not_an_overflow() {
        let clock = Clock::start();
        assert!(clock.deadline(Instant::from_micros(u64::MAX)) > tokio::time::Instant::now());
    }
}
