//! What lies between the hosts: how long it takes, and who hears nothing of whom. Nothing is lost
//! but with its connection: what is sent into a cut arrives when that is healed.

use std::collections::{BTreeMap, BTreeSet};

use super::Arrival;

#[derive(Default)]
pub(super) struct Wires {
    /// From whom nothing comes to whom.
    cut: BTreeSet<(usize, usize)>,
    /// What waits, and before when it must not arrive since something else is on its way.
    stalled: BTreeMap<(usize, usize), Vec<(u64, Arrival)>>,
    /// What has stalled arrives before what is sent later.
    not_before: BTreeMap<(usize, usize), u64>,
    /// By how much a message may take longer by chance, in microseconds.
    pub(super) jitter: u64,
    random: u64,
}

impl Wires {
    pub(super) fn seed(&mut self, seed: u64) {
        self.random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut.contains(&(from, to))
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// Mends everything; what has stalled, and when it arrives, which is at that time or later.
    pub(super) fn heal(&mut self, at: u64) -> Vec<(u64, Arrival)> {
        self.cut.clear();
        self.not_before.retain(|_, before| *before > at);
        let mut arrivals = Vec::new();
        for (pair, stalled) in std::mem::take(&mut self.stalled) {
            let before = self.not_before.entry(pair).or_insert(at);
            for (until, arrival) in stalled {
                *before = until.max(*before);
                arrivals.push((*before, arrival));
            }
        }
        arrivals
    }

    pub(super) fn stall(&mut self, from: usize, to: usize, until: u64, arrival: Arrival) {
        let stalled = self.stalled.entry((from, to)).or_default();
        stalled.push((until, arrival));
    }

    /// When something arrives that would do so at that time.
    pub(super) fn arrival(&mut self, from: usize, to: usize, at: u64) -> u64 {
        let late = self.below(self.jitter);
        let before = self.not_before.get(&(from, to));
        (at + late).max(before.copied().unwrap_or_default())
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}
