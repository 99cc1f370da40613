//! When the append-only file is written anew, and what came of it.

use core::time::Duration;

use slotway_protocol::engine::Instant;

/// What is known of rewrites. Whether one is under way is known where saving is.
#[derive(Debug, Default)]
pub(crate) struct Rewriting {
    /// One is to begin at the end of the turn.
    pub(crate) wanted: bool,
    /// One is to begin as soon as nothing else is saved.
    pub(crate) scheduled: bool,
    pub(crate) last_failed: bool,
    pub(crate) last_seconds: Option<u64>,
    /// How many succeeded.
    pub(crate) count: u64,
    pub(crate) consecutive_failures: u32,
    /// Not by itself before then, after several failures.
    retry_at: Option<Instant>,
    delay_minutes: u64,
}

impl Rewriting {
    /// Whether one may begin by itself. After three failures in a row that takes a minute, and
    /// twice as long after each further one, an hour at most.
    pub(crate) fn may_begin(&mut self, now: Instant) -> bool {
        if self.consecutive_failures < FAILURES_BEFORE_DELAY {
            self.retry_at = None;
            self.delay_minutes = 0;
            return true;
        }
        if let Some(retry_at) = self.retry_at {
            let is_due = now >= retry_at;
            if is_due {
                self.retry_at = None;
            }
            return is_due;
        }
        self.delay_minutes = (self.delay_minutes * 2).clamp(1, DELAY_MINUTES_MAX);
        self.retry_at = Some(now + Duration::from_secs(self.delay_minutes * 60));
        tracing::warn!(
            "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in \
             {} minutes",
            self.delay_minutes
        );
        false
    }

    pub(crate) fn end(&mut self, succeeded: bool, seconds: u64) {
        self.last_failed = !succeeded;
        self.last_seconds = Some(seconds);
        if succeeded {
            self.count += 1;
            self.consecutive_failures = 0;
        } else {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
        }
    }
}

/// Whether a file has grown so much since its last rewrite that it is time for the next.
pub(crate) fn has_grown(current: u64, base: u64, percentage: u32, least: u64) -> bool {
    if percentage == 0 || current <= least {
        return false;
    }
    let base = base.max(1);
    let growth = u128::from(current) * 100 / u128::from(base);
    growth >= 100 + u128::from(percentage)
}

const FAILURES_BEFORE_DELAY: u32 = 3;

const DELAY_MINUTES_MAX: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_counted_from_the_last_rewrite() {
        for (current, base, percentage, least, expected) in [
            (199, 100, 100, 50, false),
            (200, 100, 100, 50, true),
            (200, 100, 100, 200, false),
            (1_000, 0, 100, 50, true),
            (1_000, 0, 0, 50, false),
            (150, 100, 50, 50, true),
        ] {
            let grown = has_grown(current, base, percentage, least);
            assert_eq!(grown, expected, "{current} {base} {percentage} {least}");
        }
    }

    #[test]
    fn after_failures_it_takes_longer_and_longer() {
        let mut rewriting = Rewriting::default();
        let mut now = Instant::from_micros(0);
        let mut waited = Vec::new();
        for _ in 0..11 {
            let mut minutes = 0;
            while !rewriting.may_begin(now) {
                now = now + Duration::from_secs(60);
                minutes += 1;
            }
            waited.push(minutes);
            rewriting.end(false, 0);
        }
        assert_eq!(waited, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        rewriting.end(true, 0);
        assert!(rewriting.may_begin(now));
    }
}
