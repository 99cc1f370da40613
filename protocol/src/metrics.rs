//! Counters, gauges and histograms that one thread writes and others read: relaxed atomics without
//! locked instructions. How they are shown is not decided here.

use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A count that only grows. One thread writes it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub fn add(&self, count: u64) {
        // One writer: a load and a store need no locked instruction.
        self.0
            .store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes over what was counted elsewhere.
    #[inline]
    pub fn raise_to(&self, count: u64) {
        self.0.store(count, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that rises and falls. One thread writes it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    #[inline]
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    #[inline]
    pub fn add(&self, change: i64) {
        self.set(self.value().wrapping_add(change));
    }

    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// How often durations of each size occurred. One thread writes it.
///
/// Aligned to a cache line, so that two workers' histograms share none.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Histogram {
    /// Not cumulative; the last is for what exceeds every bound.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    #[inline]
    pub fn observe(&self, micros: u64) {
        let bucket = &self.buckets[bucket_of(micros)];
        bucket.store(bucket.load(Relaxed).wrapping_add(1), Relaxed);
        self.sum_micros
            .store(self.sum_micros.load(Relaxed).wrapping_add(micros), Relaxed);
    }

    /// How many durations fell into each bucket, and their sum in microseconds.
    pub fn snapshot(&self) -> ([u64; BOUNDS_MICROS.len() + 1], u64) {
        let counts = core::array::from_fn(|index| self.buckets[index].load(Relaxed));
        (counts, self.sum_micros.load(Relaxed))
    }
}

/// The upper bounds of a histogram's buckets, inclusive, in microseconds: 50 µs to 5 s.
pub const BOUNDS_MICROS: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
    1_000_000, 2_000_000, 5_000_000,
];

/// The first bucket whose bound is not below `micros`.
#[inline]
fn bucket_of(micros: u64) -> usize {
    // Each doubling begins at a known bucket; at most two steps follow.
    let doubling = 64 - micros.leading_zeros() as usize;
    let mut bucket = FIRST_BUCKET[doubling.min(FIRST_BUCKET.len() - 1)] as usize;
    while bucket < BOUNDS_MICROS.len() && micros > BOUNDS_MICROS[bucket] {
        bucket += 1;
    }
    bucket
}

/// For the number of significant bits of a duration, the first bucket that can hold it.
const FIRST_BUCKET: [u8; 24] = first_buckets();

const fn first_buckets() -> [u8; 24] {
    let mut first = [0; 24];
    let mut bits = 1;
    while bits < first.len() {
        let least = 1u64 << (bits - 1);
        let mut bucket = 0;
        while bucket < BOUNDS_MICROS.len() && least > BOUNDS_MICROS[bucket] {
            bucket += 1;
        }
        first[bits] = bucket as u8;
        bits += 1;
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_its_bucket() {
        let near = BOUNDS_MICROS
            .iter()
            .flat_map(|bound| [bound - 1, *bound, bound + 1]);
        for micros in near.chain([0, 1, 2, u64::MAX]) {
            let expected = BOUNDS_MICROS.iter().position(|bound| micros <= *bound);
            assert_eq!(
                bucket_of(micros),
                expected.unwrap_or(BOUNDS_MICROS.len()),
                "{micros}"
            );
        }
    }

    #[test]
    fn a_histogram_counts_and_sums() {
        let histogram = Histogram::default();
        for micros in [10, 60, 70, 9_000_000] {
            histogram.observe(micros);
        }
        let (counts, sum) = histogram.snapshot();
        assert_eq!(
            (counts[0], counts[1], counts[BOUNDS_MICROS.len()], sum),
            (1, 2, 1, 9_000_140)
        );
    }
}
