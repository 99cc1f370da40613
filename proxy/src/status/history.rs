//! The last fifteen minutes, second by second.

use std::collections::VecDeque;

use super::reading::{NodeReading, Reading};

/// What was read, and what came of it in each second.
#[derive(Debug, Default)]
pub(super) struct History {
    latest: Option<(f64, Reading)>,
    samples: VecDeque<Sample>,
    /// What was read in the last minute, to say what has happened in it.
    minute: VecDeque<Reading>,
}

/// One second; see [`FIELDS`]. `null` in JSON where there was nothing to measure.
pub(super) type Sample = Vec<Option<f64>>;

/// What stands at which place of a sample.
pub(super) const FIELDS: [&str; 14] = [
    "time",
    "requests",
    "errors",
    "p50_ms",
    "p99_ms",
    "p999_ms",
    "redirects",
    "retries",
    "held",
    "holds",
    "clients",
    "in_flight",
    "received_bytes",
    "sent_bytes",
];

/// What a node did in the last second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NodeRates {
    pub(super) requests: f64,
    /// Of a reply, on average.
    pub(super) latency_ms: Option<f64>,
    pub(super) errors: f64,
}

impl History {
    /// Takes what was read at that Unix time. The first time there is nothing to compare with.
    pub(super) fn take(&mut self, time: f64, reading: Reading) -> Option<&Sample> {
        let before = self.latest.replace((time, reading.clone()));
        self.minute.push_back(reading);
        if self.minute.len() > MINUTE {
            self.minute.pop_front();
        }
        let (then, before) = before?;
        let seconds = time - then;
        // A clock that was set back makes no rates.
        if seconds <= 0.0 {
            return None;
        }
        let now = &self.latest.as_ref()?.1;
        self.samples.push_back(sample(now, &before, time, seconds));
        if self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.back()
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }

    pub(super) fn latest(&self) -> Option<&Reading> {
        self.latest.as_ref().map(|(_, reading)| reading)
    }

    /// What was read one minute ago, or as long ago as there is anything.
    pub(super) fn minute_ago(&self) -> Option<&Reading> {
        self.minute.front()
    }

    /// What was read a moment ago: long enough for a node that works to have answered.
    pub(super) fn moment_ago(&self) -> Option<&Reading> {
        let place = self.minute.len().checked_sub(MOMENT)?;
        self.minute.get(place)
    }

    /// What a node did since the reading before the latest one.
    pub(super) fn rates_of(&self, address: &str, now: &NodeReading) -> NodeRates {
        let place = self.minute.len().checked_sub(2);
        let before = place.and_then(|place| self.minute[place].nodes.get(address));
        let Some(before) = before else {
            return NodeRates::default();
        };
        // A node that left and came back counts from zero.
        let since = |now: f64, before: f64| (now - before).max(0.0);
        let replies = since(now.replies, before.replies);
        let seconds = since(now.reply_seconds, before.reply_seconds);
        NodeRates {
            requests: since(now.requests, before.requests),
            latency_ms: (replies > 0.0).then(|| seconds / replies * 1_000.0),
            errors: since(now.errors, before.errors),
        }
    }
}

fn sample(now: &Reading, before: &Reading, time: f64, seconds: f64) -> Sample {
    let rate = |of: fn(&Reading) -> f64| Some(rounded((of(now) - of(before)).max(0.0) / seconds));
    let quantile = |share| {
        let time = now.latency.quantile_since(&before.latency, share)?;
        Some(rounded(time.as_secs_f64() * 1_000.0))
    };
    vec![
        Some(time.floor()),
        rate(|reading| reading.requests),
        rate(|reading| reading.errors),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        rate(|reading| reading.redirects),
        rate(|reading| reading.retries),
        rate(|reading| reading.held),
        Some(now.holds),
        Some(now.clients),
        Some(now.in_flight),
        rate(|reading| reading.received_bytes),
        rate(|reading| reading.sent_bytes),
    ]
}

/// Three digits behind the point are more than anybody sees.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Fifteen minutes of seconds.
const SAMPLES_MAX: usize = 900;
const MINUTE: usize = 61;
/// Two seconds back, the latest reading included.
const MOMENT: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_and_history_ends() {
        let mut history = History::default();
        let reading = |requests: f64| Reading {
            requests,
            clients: 3.0,
            ..Reading::default()
        };
        assert!(history.take(100.0, reading(10.0)).is_none());
        let sample = history.take(102.0, reading(30.0)).unwrap().clone();
        let field = |name| {
            let place = FIELDS.iter().position(|field| *field == name).unwrap();
            sample[place]
        };
        assert_eq!(sample.len(), FIELDS.len());
        assert_eq!(field("time"), Some(102.0));
        assert_eq!(field("requests"), Some(10.0));
        assert_eq!(field("p99_ms"), None);
        assert_eq!(field("clients"), Some(3.0));
        assert!(history.take(102.0, reading(31.0)).is_none(), "no time");
        for second in 0..2_000 {
            history.take(200.0 + f64::from(second), reading(40.0));
        }
        assert_eq!(history.samples().count(), SAMPLES_MAX);
        assert_eq!(history.minute_ago().unwrap().requests, 40.0);
    }
}
