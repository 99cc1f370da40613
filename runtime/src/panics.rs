//! Logs panics where they happen, with their place in the source; those that a client can cause
//! again and again not every time.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{PanicHookInfo, set_hook};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// From now on panics of all threads are lines of the log.
pub(crate) fn log_all() {
    set_hook(Box::new(|info| LOG.take(info)));
}

/// The last panic of this thread: its place and its message. Empty when there was none that was
/// logged.
pub(crate) fn last() -> String {
    LAST.with_borrow(Clone::clone)
}

/// What keeps the log from being flooded.
struct Log(Mutex<Limit>);

/// One line in each interval.
#[derive(Debug)]
struct Limit {
    logged: Option<Instant>,
    /// Panics without a line since then.
    left_out: u64,
}

impl Limit {
    const fn new() -> Self {
        Self {
            logged: None,
            left_out: 0,
        }
    }

    /// Whether there is a line for a panic at that time; with it, how many had none before.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let is_soon = |logged: Instant| now.duration_since(logged) < INTERVAL;
        if self.logged.is_some_and(is_soon) {
            self.left_out += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Log {
    fn take(&self, info: &PanicHookInfo<'_>) {
        let text = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let last = format!("{place}: {text}");
        // A thread that is about to end may have none any more.
        let _ = LAST.try_with(|it| *it.borrow_mut() = last);
        let mut limit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left_out) = limit.admit(Instant::now()) else {
            return;
        };
        drop(limit);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(thread, place, text, left_out, %backtrace, "a panic: this is a bug");
        } else {
            tracing::error!(thread, place, text, left_out, "a panic: this is a bug");
        }
    }
}

static LOG: Log = Log(Mutex::new(Limit::new()));

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// How soon after a line the next one may come.
const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_many_had_none() {
        let start = Instant::now();
        let mut limit = Limit::new();
        assert_eq!(limit.admit(start), Some(0));
        assert_eq!(limit.admit(start), None);
        assert_eq!(limit.admit(start + INTERVAL / 2), None);
        assert_eq!(limit.admit(start + INTERVAL), Some(2));
        assert_eq!(limit.admit(start + 3 * INTERVAL), Some(0));
    }
}
