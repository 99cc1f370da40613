//! How much a worker may send again: a share of what it sends each node anyway, and a little more.
//! A cluster in trouble must not be kept there by those who try again.

use core::time::Duration;
use std::collections::HashSet;

use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::Instant;

use super::Proxy;
use super::pipeline::InFlight;

/// What may be sent again to one node.
#[derive(Debug, Clone)]
pub(crate) struct RetryBudget {
    /// Tries that are left, in hundredths.
    hundredths: u64,
    filled: Instant,
    /// What had been sent to the node when it was last filled.
    sent: u64,
}

impl RetryBudget {
    /// A full one.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            hundredths: RETRIES_KEPT_MAX * 100,
            filled: now,
            sent: 0,
        }
    }

    /// Adds what has been earned since the last time: `percent` of what was sent, which is `sent`
    /// by now, and a number of tries for each second.
    pub(crate) fn fill(&mut self, sent: u64, percent: u64, now: Instant) {
        let more = sent.saturating_sub(self.sent).saturating_mul(percent);
        let granted = now.micros_since(self.filled) * RETRIES_A_SECOND / 10_000;
        self.sent = sent;
        self.filled = now;
        let kept_max = (RETRIES_KEPT_MAX * 100).max(more);
        self.hundredths = (self.hundredths + more + granted).min(kept_max);
    }

    /// Takes one try, if any is left.
    pub(crate) fn take(&mut self) -> bool {
        let left = self.hundredths.checked_sub(100);
        self.hundredths = left.unwrap_or(self.hundredths);
        left.is_some()
    }
}

impl Proxy {
    /// Any number, from a sequence that depends on the seed only.
    pub(super) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// A half of a pause at least, the whole of it at most: those who fail together do not try again
/// together. `random` is any number.
pub(crate) fn jittered(pause: Duration, random: u64) -> Duration {
    let half = pause.as_micros() as u64 / 2;
    pause - Duration::from_micros(random.checked_rem(half + 1).unwrap_or(0))
}

/// Tries that each node is good for in any second, however little it is sent.
const RETRIES_A_SECOND: u64 = 500;

/// So many tries may be left over from quiet times.
const RETRIES_KEPT_MAX: u64 = 500;

/// When to look again once none is left.
pub(crate) const RETRY_WAIT: Duration = Duration::from_millis(10);

/// Which of the requests that a lost connection leaves behind may be sent again: those that were
/// not sent whole, and those that only read. But not a read with a write of the same client and
/// slot behind it that may have run: the client would see its write before it was made.
pub(super) fn repeatable(taken: &[(InFlight, Vec<u8>, bool)]) -> Vec<bool> {
    let mut written = HashSet::new();
    let mut repeatable: Vec<bool> = (taken.iter().rev())
        .map(|(entry, _, sent)| {
            let place = (entry.ticket.connection, entry.slot);
            let command = Command::by_id(entry.command);
            let only_reads = command.flags.contains(Flags::READONLY);
            if *sent && !only_reads {
                written.insert(place);
            }
            !sent || only_reads && !written.contains(&place)
        })
        .collect();
    repeatable.reverse();
    repeatable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(budget: &mut RetryBudget) -> usize {
        core::iter::from_fn(|| budget.take().then_some(())).count()
    }

    #[test]
    fn tries_are_a_share_of_what_is_sent() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut budget = RetryBudget::new(at(0));
        assert_eq!(left(&mut budget), 500);
        budget.fill(0, 20, at(100));
        assert_eq!(left(&mut budget), 50, "for a tenth of a second");
        budget.fill(1_000, 20, at(200));
        assert_eq!(left(&mut budget), 250);
        budget.fill(101_000, 20, at(300));
        assert_eq!(left(&mut budget), 20_000);
        budget.fill(101_000, 20, at(60_000));
        assert_eq!(left(&mut budget), 500, "quiet times are not saved up");
    }

    #[test]
    fn a_pause_keeps_its_half() {
        let pause = Duration::from_millis(10);
        for random in [0, 1, 4_999, 5_000, 5_001, u64::MAX] {
            let less = jittered(pause, random);
            assert!((pause / 2..=pause).contains(&less), "{less:?}");
        }
        assert_eq!(jittered(Duration::ZERO, 7), Duration::ZERO);
    }
}
