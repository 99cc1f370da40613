//! How much the workers of a proxy keep in memory, and how scarce that makes it. Each worker counts
//! what it keeps now and then, the sooner the more has come in, and tells the others with a store.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What all workers of a proxy share.
#[derive(Debug)]
pub struct Memory {
    shares: Box<[Share]>,
    /// What the process takes besides.
    base: usize,
    /// What all may take together where no setting says so.
    default_max: usize,
    is_short: AtomicBool,
}

/// What one worker tells the others, in bytes, as it was counted last.
#[derive(Debug, Default)]
struct Share {
    /// What it keeps.
    kept: AtomicUsize,
    /// The part of it that waits for nodes, or for their replies.
    sent: AtomicUsize,
    /// What is still to come of the large requests that it has let in.
    expected: AtomicUsize,
}

impl Memory {
    /// For so many workers of a process that takes `base` bytes before there is any client, and
    /// may take `default_max` unless a setting says otherwise.
    pub fn new(workers: usize, base: usize, default_max: usize) -> Self {
        Self {
            shares: (0..workers.max(1)).map(|_| Share::default()).collect(),
            base,
            default_max,
            is_short: AtomicBool::new(false),
        }
    }

    /// Whether no further client should come.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Relaxed)
    }

    /// The bytes that the process takes.
    pub fn total(&self) -> usize {
        self.base.saturating_add(self.kept())
    }

    /// The bytes that it may take; `setting` is 0 where nobody has set it.
    pub fn max(&self, setting: usize) -> usize {
        match setting {
            0 => self.default_max,
            setting => setting,
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.shares.len()
    }

    /// What the workers keep together.
    fn kept(&self) -> usize {
        self.sum(|share| &share.kept)
    }

    /// Whether a request that comes to so many bytes has room beside all that is there and all that
    /// is to come. If nothing is to come, more is let in than else, so that what is too large to
    /// share the room has its turn; it may have to wait for what is under way to nodes.
    pub(crate) fn has_room(&self, bytes: usize, setting: usize) -> bool {
        let max = self.max(setting);
        let expected = self.sum(|share| &share.expected);
        let taken = self.total().saturating_add(expected).saturating_add(bytes);
        let is_alone = expected == 0;
        taken <= max / 16 * 9
            || is_alone && (taken <= max / 4 * 3 || self.sum(|share| &share.sent) <= max / 16)
    }

    /// Says what is still to come of the requests that a worker has let in.
    pub(crate) fn set_expected(&self, bytes: usize, worker: usize) {
        if let Some(share) = self.shares.get(worker) {
            share.expected.store(bytes, Relaxed);
        }
    }

    /// Says what a worker keeps that waits for nodes.
    pub(crate) fn set_sent(&self, bytes: usize, worker: usize) {
        if let Some(share) = self.shares.get(worker) {
            share.sent.store(bytes, Relaxed);
        }
    }

    fn sum(&self, part: impl Fn(&Share) -> &AtomicUsize) -> usize {
        let parts = self.shares.iter().map(|share| part(share).load(Relaxed));
        parts.fold(0, usize::saturating_add)
    }
}

impl Default for Memory {
    /// Without a bound.
    fn default() -> Self {
        Self::new(1, 0, usize::MAX)
    }
}

/// How scarce memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Strain {
    #[default]
    None,
    /// Replies that wait for their client, and large requests, are let in one after the other.
    Tight,
    /// Nobody is let in, and nothing is sent to nodes that have much to do.
    Short,
    /// Who has most is cut off.
    Over,
}

impl Strain {
    fn of(total: usize, max: usize) -> Self {
        // Not up to the brim: not all that is taken is counted, and it is counted now and then.
        let eighths = |count: usize| max / 8 * count;
        if max == usize::MAX || total < eighths(5) {
            Self::None
        } else if total < eighths(6) {
            Self::Tight
        } else if total < eighths(7) {
            Self::Short
        } else {
            Self::Over
        }
    }
}

/// One worker's part in it.
#[derive(Debug)]
pub(crate) struct Meter {
    /// Bytes that may still come in before it is counted anew.
    left: isize,
    pub(crate) strain: Strain,
    /// What this worker kept when it was counted last.
    pub(crate) kept: usize,
}

/// What follows from counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) before: Strain,
    pub(crate) now: Strain,
    /// So many bytes this worker should get rid of.
    pub(crate) excess: usize,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            left: 0,
            strain: Strain::None,
            kept: 0,
        }
    }
}

impl Meter {
    /// Notes that as many bytes have come in, of which more may be kept. Says whether it is time to
    /// count.
    #[inline]
    pub(crate) fn note(&mut self, bytes: usize) -> bool {
        self.left = self.left.saturating_sub_unsigned(bytes);
        self.left < 0
    }

    /// Tells the other workers what this one keeps, and learns how scarce memory is.
    pub(crate) fn set(
        &mut self,
        kept: usize,
        worker: usize,
        memory: &Memory,
        setting: usize,
    ) -> Counted {
        self.kept = kept;
        if let Some(share) = memory.shares.get(worker) {
            share.kept.store(kept, Relaxed);
        }
        let (total, max) = (memory.total(), memory.max(setting));
        let before = self.strain;
        let mut now = Strain::of(total, max);
        if now < before {
            // It must be clearly better, or it would be worse in a moment.
            now = Strain::of(total.saturating_add(max / 32), max).min(before);
        }
        self.strain = now;
        memory.is_short.store(now >= Strain::Short, Relaxed);
        let room = (max / 8 * 7).saturating_sub(total) / 2 / memory.workers();
        let least = (max / 64 / memory.workers()).clamp(LEAST_ROOM, MOST_ROOM);
        self.left = room.clamp(least, MOST_ROOM) as isize;
        let excess = match now {
            Strain::Over => {
                // Everybody gives as much of it as he has of all.
                let all = total.saturating_sub(max / 8 * 6) as u128;
                let part = all * kept as u128 / memory.kept().max(1) as u128;
                usize::try_from(part).unwrap_or(usize::MAX)
            }
            _ => 0,
        };
        Counted {
            before,
            now,
            excess,
        }
    }
}

/// It is not counted more often than this comes in, however scarce memory is: counting takes time.
const LEAST_ROOM: usize = 1024 * 1024;

/// It is counted whenever this has come in, however much there is.
const MOST_ROOM: usize = 1024 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn strain_grows_in_steps_and_falls_with_a_delay() {
        let memory = Memory::new(2, 8 * MIB, 128 * MIB);
        let mut meter = Meter::default();
        for (kept, expected) in [
            (0, Strain::None),
            (71, Strain::None),
            (72, Strain::Tight),
            (88, Strain::Short),
            (104, Strain::Over),
            (101, Strain::Over),
            (99, Strain::Short),
            (85, Strain::Short),
            (83, Strain::Tight),
            (69, Strain::Tight),
            (67, Strain::None),
        ] {
            let counted = meter.set(kept * MIB, 0, &memory, 0);
            assert_eq!(counted.now, expected, "{kept}");
            assert_eq!(memory.is_short(), expected >= Strain::Short, "{kept}");
            assert_eq!(counted.excess > 0, expected == Strain::Over, "{kept}");
        }
    }

    #[test]
    fn each_worker_gives_its_part() {
        let memory = Memory::new(2, 0, 800 * MIB);
        let (mut one, mut other) = (Meter::default(), Meter::default());
        one.set(500 * MIB, 0, &memory, 0);
        let counted = other.set(250 * MIB, 1, &memory, 0);
        assert_eq!(counted.excess, 50 * MIB);
        let counted = one.set(500 * MIB, 0, &memory, 0);
        assert_eq!(counted.excess, 100 * MIB);
        let counted = one.set(500 * MIB, 0, &memory, 1000 * MIB);
        assert_eq!((counted.now, counted.excess), (Strain::Short, 0));
    }

    #[test]
    fn what_is_to_come_takes_room() {
        let memory = Memory::new(2, 0, 160 * MIB);
        assert!(memory.has_room(90 * MIB, 0));
        memory.set_expected(50 * MIB, 1);
        assert!(memory.has_room(40 * MIB, 0));
        assert!(!memory.has_room(41 * MIB, 0));
        assert!(memory.has_room(41 * MIB, 320 * MIB));
        memory.set_expected(0, 1);
        assert!(
            memory.has_room(1000 * MIB, 0),
            "it will never have more room"
        );
        memory.set_sent(11 * MIB, 0);
        assert!(memory.has_room(120 * MIB, 0));
        assert!(
            !memory.has_room(121 * MIB, 0),
            "it will when that is answered"
        );
    }

    #[test]
    fn it_is_counted_the_sooner_the_less_is_left() {
        let memory = Memory::new(2, 0, 800 * MIB);
        let mut meter = Meter::default();
        assert!(meter.note(1), "for the first time at once");
        for (kept, room) in [(0, 175), (300, 100), (700, 6), (900, 6)] {
            meter.set(kept * MIB, 0, &memory, 0);
            assert!(!meter.note(room * MIB), "{kept}");
            assert!(meter.note(MIB), "{kept}");
        }
    }

    #[test]
    fn without_a_bound_nothing_is_scarce() {
        let mut meter = Meter::default();
        let counted = meter.set(usize::MAX, 0, &Memory::default(), 0);
        assert_eq!((counted.now, counted.excess), (Strain::None, 0));
    }
}
