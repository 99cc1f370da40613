//! What one client has lately written, and what it has read at replicas: as sets of slots, so that
//! it takes bounded memory whatever the client does. A slot too many in a set does no harm.
//!
//! A place is the number of a reply among all that the client gets. Replies come in the order of
//! requests, so once that many have passed, what had this place has been answered.

use core::time::Duration;
use std::collections::VecDeque;

use slotway_protocol::cluster::{SLOTS, Slot};
use slotway_protocol::engine::Instant;

/// The slots that a client has touched lately.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    /// Slots written to, the oldest first.
    generations: VecDeque<Generation>,
    /// By that time all writes had been answered of which the slots are forgotten.
    forgotten: Option<Instant>,
    /// Slots read at replicas, and the place of the last of those reads.
    read: Slots,
    read_last: u64,
}

/// The slots that were written to in some stretch of time.
#[derive(Debug)]
struct Generation {
    slots: Slots,
    began: Instant,
    /// The place of the last write.
    last: u64,
    /// When it was seen that all of the writes had been answered.
    answered: Option<Instant>,
}

/// Whether a client has written to a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    No,
    /// The reply may be still to come.
    Open,
    /// By that time all had been answered.
    Answered(Instant),
}

impl Footprint {
    /// The client writes to the slot, or to any slot.
    pub(crate) fn note_write(
        &mut self,
        slot: Option<Slot>,
        place: u64,
        kept: Duration,
        now: Instant,
    ) {
        let step = kept / (GENERATIONS_MAX as u32 - 2);
        let full = self.generations.len() >= GENERATIONS_MAX;
        let fits = |last: &Generation| full || now.since(last.began) < step;
        if !self.generations.back().is_some_and(fits) {
            self.generations.push_back(Generation {
                slots: Slots::default(),
                began: now,
                last: place,
                answered: None,
            });
        }
        if let Some(generation) = self.generations.back_mut() {
            generation.slots.insert(slot);
            generation.last = place;
            generation.answered = None;
        }
    }

    /// The client reads the slot at a replica.
    pub(crate) fn note_read(&mut self, slot: Slot, place: u64) {
        self.read.insert(Some(slot));
        self.read_last = place;
    }

    /// So many replies have passed by now. Forgets what nobody needs to know any more.
    pub(crate) fn settle(&mut self, passed: u64, kept: Duration, now: Instant) {
        if passed > self.read_last {
            self.read.clear();
        }
        for generation in &mut self.generations {
            if generation.answered.is_none() && passed > generation.last {
                generation.answered = Some(now);
            }
        }
        let is_over = |first: &mut Generation| {
            let answered = first.answered;
            answered.is_some_and(|answered| now.since(answered) >= kept)
        };
        while let Some(over) = self.generations.pop_front_if(is_over) {
            self.forgotten = over.answered;
        }
    }

    /// When the last write was answered of which the slot is not known any more.
    pub(crate) fn forgotten(&self) -> Option<Instant> {
        self.forgotten
    }

    /// Whether the client has written to the slot; of several times the last one counts.
    pub(crate) fn written(&self, slot: Slot) -> Written {
        let mut generations = self.generations.iter().rev();
        let last = generations.find(|generation| generation.slots.contains(slot));
        match last.map(|generation| generation.answered) {
            None => Written::No,
            Some(None) => Written::Open,
            Some(Some(answered)) => Written::Answered(answered),
        }
    }

    /// Whether a replica may still owe the client a reply about the slot, or about any slot.
    pub(crate) fn is_reading(&self, slot: Option<Slot>) -> bool {
        match slot {
            Some(slot) => self.read.contains(slot),
            None => !self.read.is_empty(),
        }
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        let slots = self.generations.iter().map(|generation| &generation.slots);
        let sets = slots
            .chain([&self.read])
            .filter(|slots| slots.many.is_some());
        size_of::<Self>()
            + self.generations.capacity() * size_of::<Generation>()
            + sets.count() * SLOTS / 8
    }

    /// Whether there is nothing to know.
    pub(crate) fn is_blank(&self) -> bool {
        self.generations.is_empty() && self.read.is_empty() && self.forgotten.is_none()
    }
}

/// A set of slots. As long as they are few it takes no memory of its own.
#[derive(Debug, Default)]
struct Slots {
    few: [u16; FEW],
    /// How many of `few` count.
    len: usize,
    /// All of them, once they are many.
    many: Option<Box<[u64; SLOTS / 64]>>,
}

impl Slots {
    /// Adds one, or all.
    fn insert(&mut self, slot: Option<Slot>) {
        let Some(slot) = slot else {
            self.many = Some(Box::new([u64::MAX; SLOTS / 64]));
            return;
        };
        if self.contains(slot) {
            return;
        }
        if self.many.is_none() && self.len < FEW {
            self.few[self.len] = slot.number();
            self.len += 1;
            return;
        }
        let few = &self.few[..self.len];
        let bits = self.many.get_or_insert_with(|| {
            let mut bits = Box::new([0; SLOTS / 64]);
            few.iter()
                .for_each(|number| set(&mut bits, usize::from(*number)));
            bits
        });
        set(bits, slot.index());
    }

    fn contains(&self, slot: Slot) -> bool {
        match &self.many {
            Some(bits) => bits[slot.index() / 64] & 1 << (slot.index() % 64) != 0,
            None => self.few[..self.len].contains(&slot.number()),
        }
    }

    fn is_empty(&self) -> bool {
        self.len == 0 && self.many.is_none()
    }

    fn clear(&mut self) {
        self.len = 0;
        self.many = None;
    }
}

fn set(bits: &mut [u64; SLOTS / 64], index: usize) {
    bits[index / 64] |= 1 << (index % 64);
}

/// As many slots are listed one by one.
const FEW: usize = 16;

/// So many sets there are for one client, each of 2 KiB at most. More would tell more exactly when
/// a slot was written to.
const GENERATIONS_MAX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_millis(400);

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    fn slot(number: u64) -> Option<Slot> {
        Slot::new(number)
    }

    #[test]
    fn a_write_counts_from_its_reply_on() {
        let mut footprint = Footprint::default();
        let one = slot(1).unwrap();
        footprint.note_write(Some(one), 5, KEPT, at(0));
        footprint.settle(5, KEPT, at(10_000));
        assert_eq!(footprint.written(one), Written::Open, "it is held for long");
        footprint.settle(6, KEPT, at(10_100));
        assert_eq!(footprint.written(one), Written::Answered(at(10_100)));
        assert_eq!(footprint.written(slot(2).unwrap()), Written::No);
        footprint.settle(9, KEPT, at(10_499));
        assert_eq!(footprint.written(one), Written::Answered(at(10_100)));
        footprint.settle(9, KEPT, at(10_500));
        assert_eq!(footprint.written(one), Written::No);
        assert_eq!(footprint.forgotten(), Some(at(10_100)));
    }

    #[test]
    fn the_last_write_to_a_slot_counts() {
        let mut footprint = Footprint::default();
        let one = slot(1).unwrap();
        footprint.note_write(Some(one), 1, KEPT, at(0));
        footprint.settle(2, KEPT, at(10));
        footprint.note_write(Some(one), 2, KEPT, at(300));
        assert_eq!(footprint.written(one), Written::Open);
        footprint.settle(3, KEPT, at(310));
        footprint.settle(3, KEPT, at(600));
        assert_eq!(footprint.written(one), Written::Answered(at(310)));
    }

    #[test]
    fn memory_is_bounded_while_nothing_is_answered() {
        let mut footprint = Footprint::default();
        for place in 0..1000 {
            footprint.note_write(slot(place), place, KEPT, at(place * 500));
            footprint.settle(0, KEPT, at(place * 500));
        }
        assert_eq!(footprint.generations.len(), GENERATIONS_MAX);
        for number in 0..1000 {
            assert_eq!(footprint.written(slot(number).unwrap()), Written::Open);
        }
        footprint.settle(1000, KEPT, at(500_000));
        footprint.settle(1000, KEPT, at(500_400));
        assert!(footprint.generations.is_empty());
    }

    #[test]
    fn reads_are_open_until_the_last_of_them_is_answered() {
        let mut footprint = Footprint::default();
        footprint.note_read(slot(1).unwrap(), 1);
        footprint.note_read(slot(2).unwrap(), 2);
        footprint.settle(2, KEPT, at(0));
        assert!(footprint.is_reading(slot(1)) && footprint.is_reading(None));
        assert!(!footprint.is_reading(slot(3)));
        footprint.settle(3, KEPT, at(0));
        assert!(!footprint.is_reading(None) && footprint.is_blank());
    }

    #[test]
    fn a_write_without_keys_is_to_every_slot() {
        let mut footprint = Footprint::default();
        footprint.note_write(None, 1, KEPT, at(0));
        assert_eq!(footprint.written(slot(16_383).unwrap()), Written::Open);
    }

    #[test]
    fn sets_are_the_same_whether_few_or_many() {
        let mut slots = Slots::default();
        for number in 0..40 {
            assert_eq!(slots.many.is_some(), number > FEW as u64);
            slots.insert(slot(number * 400));
            slots.insert(slot(number * 400));
            let contained = Slot::all().filter(|slot| slots.contains(*slot));
            assert_eq!(contained.count() as u64, number + 1);
        }
        slots.clear();
        assert!(slots.is_empty() && !slots.contains(slot(400).unwrap()));
    }

    #[test]
    fn with_no_time_kept_only_open_writes_count() {
        let mut footprint = Footprint::default();
        for place in 1..20 {
            footprint.note_write(slot(1), place, Duration::ZERO, at(place));
        }
        footprint.settle(19, Duration::ZERO, at(30));
        assert_eq!(footprint.written(slot(1).unwrap()), Written::Open);
        footprint.settle(20, Duration::ZERO, at(30));
        assert_eq!(footprint.written(slot(1).unwrap()), Written::No);
    }
}
