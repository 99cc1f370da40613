//! How many requests each slot has had lately.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::Arc;

use slotway_protocol::cluster::{SLOTS, Slot};

use super::stats::Stats;

/// For each slot how many requests one worker has sent to nodes; it comes round after 2³².
#[derive(Debug)]
pub struct SlotCounts(Box<[AtomicU32]>);

impl SlotCounts {
    /// One thread counts.
    #[inline(always)]
    pub(crate) fn count(&self, slot: Slot) {
        let counter = &self.0[slot.index()];
        counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

impl Default for SlotCounts {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU32::new(0)).collect())
    }
}

/// What all workers together sent for each slot within some seconds.
#[derive(Debug, Default)]
pub struct Heat {
    pub seconds: f64,
    /// By slot; empty before the first seconds are over.
    pub requests: Vec<u32>,
}

impl Heat {
    /// The slots with the most requests, and how many a second they have.
    pub fn hottest(&self, count: usize) -> Vec<(u16, f64)> {
        let slots = (0..).zip(&self.requests);
        let mut slots: Vec<(u16, u32)> = slots
            .map(|(slot, requests)| (slot, *requests))
            .filter(|(_, requests)| *requests > 0)
            .collect();
        slots.sort_by_key(|(slot, requests)| (core::cmp::Reverse(*requests), *slot));
        slots.truncate(count);
        let rate = |requests: u32| f64::from(requests) / self.seconds.max(1e-3);
        let slots = slots.into_iter();
        slots
            .map(|(slot, requests)| (slot, rate(requests)))
            .collect()
    }

    pub fn per_second(&self) -> f64 {
        let all: u64 = self.requests.iter().copied().map(u64::from).sum();
        all as f64 / self.seconds.max(1e-3)
    }

    /// The part of all requests that the slot with the most has.
    pub fn busiest_share(&self) -> f64 {
        let busiest = self.hottest(1).first().map_or(0.0, |(_, rate)| *rate);
        if busiest > 0.0 {
            busiest / self.per_second()
        } else {
            0.0
        }
    }
}

/// Measures how hot slots are from one time to the next.
#[derive(Debug)]
pub struct Thermometer {
    last: Vec<u32>,
}

impl Thermometer {
    pub fn new() -> Self {
        Self {
            last: vec![0; SLOTS],
        }
    }

    /// What was counted since the last time, so many seconds ago.
    pub fn measure(&mut self, workers: &[Arc<Stats>], seconds: f64) -> Heat {
        let mut sums = vec![0u32; SLOTS];
        for stats in workers {
            for (sum, counter) in sums.iter_mut().zip(&stats.slots.0) {
                *sum = sum.wrapping_add(counter.load(Relaxed));
            }
        }
        let changes = sums.iter().zip(&self.last);
        let requests = changes.map(|(now, before)| now.wrapping_sub(*before));
        let heat = Heat {
            seconds,
            requests: requests.collect(),
        };
        self.last = sums;
        heat
    }
}

impl Default for Thermometer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_the_last_time_is_hot() {
        let workers = [Arc::new(Stats::new()), Arc::new(Stats::new())];
        let slot = |number| Slot::new(number).unwrap();
        let mut thermometer = Thermometer::new();
        workers[0].slots.count(slot(7));
        assert_eq!(thermometer.measure(&workers, 1.0).hottest(9), [(7, 1.0)]);
        for stats in &workers {
            stats.slots.count(slot(16_383));
            stats.slots.0[16_383].store(u32::MAX, Relaxed);
        }
        thermometer.measure(&workers, 1.0);
        for stats in &workers {
            stats.slots.count(slot(16_383));
        }
        workers[1].slots.count(slot(3));
        let heat = thermometer.measure(&workers, 2.0);
        assert_eq!(heat.hottest(9), [(16_383, 1.0), (3, 0.5)]);
        assert_eq!(heat.hottest(1).len(), 1);
        assert!((heat.busiest_share() - 2.0 / 3.0).abs() < 1e-9);
        assert!(Heat::default().busiest_share() == 0.0);
    }
}
