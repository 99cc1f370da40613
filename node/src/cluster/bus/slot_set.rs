//! A set of slots as it stands in a message: one bit each.

use core::fmt;

use slotway_protocol::cluster::{SLOTS, Slot};

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u8; SLOT_BYTES]>);

/// The length of a set in a message.
pub(super) const SLOT_BYTES: usize = SLOTS / 8;

impl SlotSet {
    pub(super) fn from_bytes(bytes: &[u8; SLOT_BYTES]) -> Self {
        Self(Box::new(*bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0[..]
    }

    pub fn insert(&mut self, slot: Slot) {
        self.0[slot.index() / 8] |= 1 << (slot.index() % 8);
    }

    pub fn remove(&mut self, slot: Slot) {
        self.0[slot.index() / 8] &= !(1 << (slot.index() % 8));
    }

    pub fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() / 8] & (1 << (slot.index() % 8)) != 0
    }

    /// All slots of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        let bytes = self.0.iter().enumerate().filter(|(_, byte)| **byte != 0);
        bytes.flat_map(|(index, byte)| {
            let bits = (0..8).filter(move |bit| byte & (1 << bit) != 0);
            bits.filter_map(move |bit| Slot::new((index * 8 + bit) as u64))
        })
    }
}

impl Default for SlotSet {
    fn default() -> Self {
        Self(Box::new([0; SLOT_BYTES]))
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotSet({} slots)", self.iter().count())
    }
}
