//! The connections of one driver: dense numbers that are used again, each with a generation.

use std::task::Waker;

use slotway_protocol::engine::{CloseWhen, ConnectionId};

/// What the driver knows of each open connection.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// The last closed is used first, so that the numbers stay dense.
    free: Vec<u32>,
}

/// One open connection, or the place of one.
pub(crate) struct Slot {
    generation: u32,
    pub(crate) open: bool,
    pub(crate) paused: bool,
    pub(crate) close: Option<CloseWhen>,
    /// Of the connection's task, from its first poll on.
    pub(crate) waker: Option<Waker>,
}

impl Table {
    pub(crate) fn insert(&mut self) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 connections");
            self.slots.push(Slot {
                generation: 0,
                open: false,
                paused: false,
                close: None,
                waker: None,
            });
            index
        });
        let slot = &mut self.slots[index as usize];
        slot.open = true;
        ConnectionId {
            index,
            generation: slot.generation,
        }
    }

    /// The connection, unless it is gone.
    #[inline]
    pub(crate) fn find(&mut self, id: ConnectionId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.index as usize)?;
        (slot.open && slot.generation == id.generation).then_some(slot)
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) {
        let slot = self.find(id).expect("only an open connection closes");
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            open: false,
            paused: false,
            close: None,
            waker: None,
        };
        self.free.push(id.index);
    }

    /// Wakes every connection's task.
    pub(crate) fn wake_all(&self) {
        for waker in self.slots.iter().filter_map(|slot| slot.waker.as_ref()) {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again_under_a_new_generation() {
        let mut table = Table::default();
        let (first, second) = (table.insert(), table.insert());
        assert_eq!((first.index, second.index), (0, 1));
        table.find(first).unwrap().paused = true;
        table.find(first).unwrap().close = Some(CloseWhen::Now);
        table.remove(first);
        assert!(table.find(first).is_none());
        let third = table.insert();
        assert_eq!((third.index, third.generation), (0, 1));
        assert!(table.find(first).is_none());
        let slot = table.find(third).unwrap();
        assert!(!slot.paused && slot.close.is_none());
        assert!(table.find(second).is_some());
    }
}
