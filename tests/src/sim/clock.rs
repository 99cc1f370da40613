//! Virtual time: what is to happen, in the order in which it happens.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use slotway_protocol::engine::{Instant, Now};

/// A queue of events by time; those of one time keep the order in which they were added.
#[derive(Debug)]
pub struct Clock<E> {
    micros: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: u64,
    sequence: u64,
    event: E,
}

impl<E> Clock<E> {
    pub fn new() -> Self {
        Self {
            micros: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
        }
    }

    pub fn micros(&self) -> u64 {
        self.micros
    }

    pub fn now(&self) -> Now {
        Now {
            instant: Instant::from_micros(self.micros),
            unix_ms: UNIX_MS_AT_START + self.micros / 1000,
        }
    }

    /// Adds an event; one in the past happens now.
    pub fn at(&mut self, micros: u64, event: E) {
        let at = micros.max(self.micros);
        self.sequence += 1;
        self.queue.push(Reverse(Entry {
            at,
            sequence: self.sequence,
            event,
        }));
    }

    pub fn after(&mut self, micros: u64, event: E) {
        self.at(self.micros + micros, event);
    }

    /// The next event; time moves on to it.
    pub fn advance(&mut self) -> Option<E> {
        let Reverse(entry) = self.queue.pop()?;
        self.micros = entry.at;
        Some(entry.event)
    }
}

impl<E> Default for Clock<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// Some day in 2025; only differences matter.
const UNIX_MS_AT_START: u64 = 1_750_000_000_000;
