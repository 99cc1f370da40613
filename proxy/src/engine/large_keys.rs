//! Which commands on which keys have had large replies lately: a client gets one such reply at a
//! time, or a few bytes of requests would make the nodes send gigabytes. All workers of a proxy
//! share it; an entry that gives way to another, or is wrong, costs a little time and nothing else.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use slotway_protocol::command::CommandId;

/// A table without collisions lists: of two that meet in a place the later one stays.
#[derive(Debug)]
pub struct LargeKeys {
    /// What tells the command and the key from others in the place, above the generation that
    /// entered it.
    places: Box<[AtomicU32]>,
    /// Those of the current and the last generation count; none is 0.
    generation: AtomicU32,
    seed: u64,
}

impl LargeKeys {
    /// With a random seed clients can't choose keys that are taken for others.
    pub fn new(seed: u64) -> Self {
        Self {
            places: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            generation: AtomicU32::new(1),
            seed,
        }
    }

    /// The command has had a large reply for the key, or will have.
    pub(crate) fn add(&self, command: CommandId, key: &[u8]) {
        let (place, tag) = self.place(command, key);
        place.store(tag | self.generation.load(Relaxed), Relaxed);
    }

    /// Whether that was so lately.
    pub(crate) fn has(&self, command: CommandId, key: &[u8]) -> bool {
        let (place, tag) = self.place(command, key);
        let entry = place.load(Relaxed);
        entry & !GENERATION_MASK == tag && self.is_new(entry)
    }

    /// Whether there is any.
    pub(crate) fn has_any(&self) -> bool {
        let mut places = self.places.iter();
        places.any(|place| self.is_new(place.load(Relaxed)))
    }

    /// Time passes: what was not added again since the last time is forgotten.
    pub(crate) fn grow_old(&self) {
        let next = match self.generation.load(Relaxed) {
            GENERATION_MASK => 1,
            generation => generation + 1,
        };
        self.generation.store(next, Relaxed);
        // So that it is not taken for a new one when the numbers come round.
        for place in &self.places {
            let entry = place.load(Relaxed);
            if entry != 0 && !self.is_new(entry) {
                place.store(0, Relaxed);
            }
        }
    }

    fn is_new(&self, entry: u32) -> bool {
        let generation = self.generation.load(Relaxed);
        let before = match generation {
            1 => GENERATION_MASK,
            generation => generation - 1,
        };
        let entered = entry & GENERATION_MASK;
        entered == generation || entered == before
    }

    fn place(&self, command: CommandId, key: &[u8]) -> (&AtomicU32, u32) {
        let seed = self.seed ^ u64::from(command.0).wrapping_mul(FACTOR);
        let hash = hash(seed, key);
        let tag = (hash >> 16) as u32 & !GENERATION_MASK;
        (&self.places[(hash >> 48) as usize % PLACES], tag)
    }
}

impl Default for LargeKeys {
    fn default() -> Self {
        Self::new(0)
    }
}

/// With a random seed clients can't choose keys that have the same.
pub(super) fn hash(seed: u64, key: &[u8]) -> u64 {
    let mut hash = seed ^ key.len() as u64;
    for chunk in key.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
        hash ^= hash >> 29;
    }
    hash.wrapping_mul(FACTOR)
}

const PLACES: usize = 4096;
const GENERATION_MASK: u32 = 3;
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    const GET: CommandId = CommandId(1);
    const LINDEX: CommandId = CommandId(2);

    #[test]
    fn what_was_added_is_known_for_a_while() {
        let keys = LargeKeys::new(7);
        assert!(!keys.has_any());
        for round in 0..10 {
            keys.add(GET, b"a");
            assert!(keys.has(GET, b"a") && keys.has_any(), "{round}");
            assert!(!keys.has(LINDEX, b"a") && !keys.has(GET, b"b"));
            keys.grow_old();
            assert!(keys.has(GET, b"a"), "{round}");
            if round % 2 == 0 {
                continue;
            }
            keys.grow_old();
            assert!(!keys.has(GET, b"a") && !keys.has_any(), "{round}");
        }
    }

    #[test]
    fn keys_are_seldom_taken_for_others() {
        let keys = LargeKeys::new(7);
        let name = |number: usize| format!("key:{number}:with a longer name");
        for number in 0..1000 {
            keys.add(GET, name(number).as_bytes());
        }
        let known = (0..1000).filter(|number| keys.has(GET, name(*number).as_bytes()));
        assert!(known.count() > 850);
        let wrong = (1000..100_000).filter(|number| keys.has(GET, name(*number).as_bytes()));
        assert_eq!(wrong.count(), 0);
    }
}
