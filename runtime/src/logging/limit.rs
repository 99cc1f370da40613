//! Keeps lines of one kind, which are those from one place in the source, from filling the log.

use std::collections::HashMap;
use std::time::Instant;

use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

/// For each place in the source what may still be written; there are only so many places.
#[derive(Debug, Default)]
pub(super) struct Limits(HashMap<Identifier, Limit>);

#[derive(Debug)]
struct Limit {
    /// Lines that may be written at once.
    left: f64,
    filled: Instant,
    /// Lines left out since the last one that was written.
    left_out: u64,
}

impl Limits {
    /// Whether a line may be written; if so, how many like it were left out before. Who asks for
    /// the finer levels wants to see them all.
    pub(super) fn admit(&mut self, metadata: &Metadata<'_>, now: Instant) -> Option<u64> {
        if *metadata.level() > Level::INFO || metadata.target() == super::ACCESS {
            return Some(0);
        }
        let limit = self.0.entry(metadata.callsite()).or_insert(Limit {
            left: BURST as f64,
            filled: now,
            left_out: 0,
        });
        limit.take(now)
    }
}

impl Limit {
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.filled).as_secs_f64() * A_SECOND;
        self.left = (self.left + earned).min(BURST as f64);
        self.filled = now;
        if self.left < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// So many lines may come at once.
pub(super) const BURST: u64 = 20;

/// So many lines in the long run.
const A_SECOND: f64 = 1.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_left_out_is_told_with_the_next_line() {
        let start = Instant::now();
        let mut limit = Limit {
            left: BURST as f64,
            filled: start,
            left_out: 0,
        };
        for _ in 0..BURST {
            assert_eq!(limit.take(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.take(start), None);
        }
        let later = start + Duration::from_secs(1);
        assert_eq!(limit.take(later), Some(7));
        assert_eq!(limit.take(later), None);
        let much_later = start + Duration::from_hours(1);
        assert_eq!(limit.take(much_later), Some(1));
        assert_eq!(limit.take(much_later), Some(0));
    }
}
