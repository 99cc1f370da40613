//! How long operations took and which failed, for each shard and for the times that are asked for.

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::Clock;
use super::ending::Ending;
use crate::history::{Outcome, Span};

const ERRORS_SHOWN: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Read,
    Write,
}

/// An operation that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) span: Span,
    /// Without a shard it was one across all of them.
    pub(super) shard: Option<u8>,
    pub(super) class: Class,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) struct Figures {
    shards: usize,
    events: Vec<Event>,
    errors: BTreeMap<String, u64>,
    first_errors: Vec<(u64, String)>,
    lost: u64,
    unconnected: u64,
    own_delays: Vec<(u64, u64)>,
}

impl Figures {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            shards,
            events: Vec::new(),
            errors: BTreeMap::new(),
            first_errors: Vec::new(),
            lost: 0,
            unconnected: 0,
            own_delays: Vec::new(),
        }
    }

    pub(super) fn note(&mut self, event: Event, error: Option<&str>) {
        self.events.push(event);
        let Some(text) = error else {
            return;
        };
        let class = if event.class == Class::Read {
            "read"
        } else {
            "write"
        };
        *self
            .errors
            .entry(format!("{class}: {}", without_numbers(text)))
            .or_default() += 1;
        let shard = event
            .shard
            .map_or_else(|| "all".to_owned(), |shard| shard.to_string());
        self.show(event.span.end, format!("shard {shard}, {class}: {text}"));
    }

    pub(super) fn note_lost(&mut self, at: u64, why: &io::Error) {
        self.lost += 1;
        self.show(at, format!("connection lost: {why}"));
    }

    pub(super) fn note_unconnected(&mut self, why: &io::Error) {
        self.unconnected += 1;
        *self.errors.entry(format!("connect: {why}")).or_default() += 1;
    }

    pub(super) fn note_own_delay(&mut self, at: u64, late: u64) {
        self.own_delays.push((at, late));
    }

    fn show(&mut self, at: u64, what: String) {
        if self.first_errors.len() < ERRORS_SHOWN {
            self.first_errors.push((at, what));
        }
    }

    pub(super) fn report(&mut self, clock: &Clock, ending: &Ending) -> Value {
        self.events.sort_unstable_by_key(|event| event.span.end);
        let end = self.events.last().map_or(0, |event| event.span.end);
        let mut windows = serde_json::Map::new();
        windows.insert("all".to_owned(), self.window(clock, (0, end), 0));
        for one in &ending.windows {
            let span = (clock.at(one.from), clock.at(one.to));
            let figures = self.window(clock, span, clock.at(one.gone));
            windows.insert(one.name.clone(), figures);
        }
        let first_errors = self.first_errors.iter();
        let first_errors: Vec<Value> = first_errors
            .map(|(at, what)| json!([clock.unix_of(*at), what]))
            .collect();
        let seconds = end as f64 / 1e9;
        json!({
            "began": clock.unix_of(0),
            "seconds": seconds,
            "operations": self.events.len(),
            "rate": self.events.len() as f64 / seconds.max(0.001),
            "connections_lost": self.lost,
            "connects_failed": self.unconnected,
            "errors": self.errors,
            "first_errors": first_errors,
            "windows": windows,
        })
    }

    /// The figures of operations that were over between two times.
    fn window(&self, clock: &Clock, span: (u64, u64), gone: u64) -> Value {
        let (from, to) = span;
        let of = |shard: Option<u8>| {
            let events = self.events.iter().filter(move |event| event.shard == shard);
            shard_window(events, clock, span, gone)
        };
        let shards: Vec<Value> = (0..self.shards)
            .map(|shard| of(u8::try_from(shard).ok()))
            .collect();
        let delays = self.own_delays.iter();
        let delays = delays.filter(|(at, late)| *at >= from && *at <= to.saturating_add(*late));
        let mut delays: Vec<u64> = delays.map(|delay| delay.1).collect();
        delays.sort_unstable();
        json!({
            "from": clock.unix_of(from),
            "to": clock.unix_of(to),
            "own_delay_ms": millis(delays.last().copied().unwrap_or(0)),
            "own_p99_ms": millis(delays.get(delays.len() * 99 / 100).copied().unwrap_or(0)),
            "shards": shards,
            "across": of(None),
        })
    }
}

/// The longest time without a success.
#[derive(Clone, Copy, Debug, Default)]
struct Stall {
    last: Option<u64>,
    longest: u64,
    at: u64,
}

impl Stall {
    fn success(&mut self, at: u64, from: u64) {
        let gap = at.saturating_sub(self.last.unwrap_or(from));
        if gap > self.longest && at >= from {
            (self.longest, self.at) = (gap, at - gap);
        }
        self.last = Some(at);
    }

    /// At the end of the window nothing more came.
    fn close(&mut self, from: u64, to: u64) {
        let last = self.last.unwrap_or(from);
        if to.saturating_sub(last) > self.longest {
            (self.longest, self.at) = (to - last, last);
        }
    }
}

fn shard_window<'run>(
    events: impl Iterator<Item = &'run Event>,
    clock: &Clock,
    (from, to): (u64, u64),
    gone: u64,
) -> Value {
    let (mut refused, mut unknown) = ([0_u64; 2], [0_u64; 2]);
    let mut in_flight = [0_u64; 2];
    let mut stalls = [Stall::default(); 2];
    let mut any = Stall::default();
    let mut first = None;
    let mut micros = Vec::new();
    for event in events {
        let Span { start, end } = event.span;
        let class = usize::from(event.class == Class::Write);
        in_flight[class] += u64::from(start <= gone && from < end);
        if end > to {
            continue;
        }
        if event.outcome == Outcome::Done {
            stalls[class].success(end, from);
            any.success(end, from);
        }
        if end < from {
            continue;
        }
        match event.outcome {
            Outcome::Done => {
                first.get_or_insert(end - from);
                micros.push((end - start) / 1000);
            }
            Outcome::Refused => refused[class] += 1,
            Outcome::Unknown => unknown[class] += 1,
        }
    }
    stalls
        .iter_mut()
        .chain([&mut any])
        .for_each(|stall| stall.close(from, to));
    micros.sort_unstable();
    let at = |part: usize| {
        let place = micros.len() * part / 1000;
        let micros = micros.get(place.min(micros.len().saturating_sub(1)));
        micros.copied().unwrap_or(0) as f64 / 1000.0
    };
    json!({
        "done": micros.len(),
        "read_errors": refused[0] + unknown[0],
        "write_errors": refused[1] + unknown[1],
        "writes_unknown": unknown[1],
        "reads_in_flight": in_flight[0],
        "writes_in_flight": in_flight[1],
        // From the window's start to its first success.
        "first_ms": first.map(millis),
        "stall_ms": millis(any.longest),
        "stall_at": clock.unix_of(any.at),
        "read_stall_ms": millis(stalls[0].longest),
        "write_stall_ms": millis(stalls[1].longest),
        "p50_ms": at(500),
        "p99_ms": at(990),
        "p999_ms": at(999),
        "max_ms": at(1000),
    })
}

fn millis(nanos: u64) -> f64 {
    (nanos / 1000) as f64 / 1000.0
}

/// So that errors about different slots or ports count as the same.
fn without_numbers(text: &str) -> String {
    let mut short = String::new();
    for letter in text.chars() {
        if !letter.is_ascii_digit() {
            short.push(letter);
        } else if !short.ends_with('#') {
            short.push('#');
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_window_shows_what_ended_in_it() {
        let mut figures = Figures::new(1);
        let mut note = |start, end, class, outcome| {
            let span = Span {
                start: start * MS,
                end: end * MS,
            };
            figures.note(
                Event {
                    span,
                    shard: Some(0),
                    class,
                    outcome,
                },
                None,
            );
        };
        note(0, 10, Class::Read, Outcome::Done);
        note(80, 90, Class::Write, Outcome::Done);
        note(95, 180, Class::Write, Outcome::Unknown);
        note(99, 190, Class::Read, Outcome::Done);
        note(400, 410, Class::Write, Outcome::Refused);
        let clock = Clock {
            began: Instant::now(),
            unix: Duration::ZERO,
        };
        let ending: Ending = "window fault 0.1 0.3".parse().unwrap();
        let report = figures.report(&clock, &ending);
        let shard = &report["windows"]["fault"]["shards"][0];
        let expected = [
            ("done", 1.0),
            ("read_errors", 0.0),
            ("write_errors", 1.0),
            ("writes_unknown", 1.0),
            ("writes_in_flight", 1.0),
            ("first_ms", 90.0),
            ("stall_ms", 110.0),
            ("read_stall_ms", 180.0),
            ("write_stall_ms", 210.0),
            ("max_ms", 91.0),
        ];
        for (name, value) in expected {
            assert_eq!(shard[name].as_f64(), Some(value), "{name} of {shard}");
        }
        assert_eq!(report["windows"]["all"]["shards"][0]["write_errors"], 2);
    }

    #[test]
    fn numbers_do_not_tell_errors_apart() {
        assert_eq!(
            without_numbers("MOVED 12 127.0.0.1:80"),
            "MOVED # #.#.#.#:#"
        );
    }
}
