//! The connections of one driver: dense numbers that are used again, each with a generation.

use slotway_protocol::engine::{CloseWhen, ConnectionId};

use crate::connection::Polled;

/// What the driver knows of each open connection.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// The last closed is used first, so that the numbers stay dense.
    free: Vec<u32>,
}

/// One open connection, or the place of one.
#[derive(Default)]
pub(crate) struct Slot {
    generation: u32,
    open: bool,
    pub(crate) paused: bool,
    /// It is to be handed what it left of its input, though nothing new may come.
    pub(crate) resumed: bool,
    pub(crate) close: Option<CloseWhen>,
    /// Not here while it is being polled. Boxed, because the table grows by moving.
    pub(crate) connection: Option<Box<Polled>>,
}

impl Table {
    pub(crate) fn insert(&mut self) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 connections");
            self.slots.push(Slot::default());
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

    /// Takes the connection out to poll it. None where it is gone by now.
    #[inline]
    pub(crate) fn take(&mut self, index: u32) -> Option<Box<Polled>> {
        self.slots.get_mut(index as usize)?.connection.take()
    }

    pub(crate) fn remove(&mut self, id: ConnectionId) {
        let slot = self.find(id).expect("only an open connection closes");
        *slot = Slot {
            generation: slot.generation.wrapping_add(1),
            ..Slot::default()
        };
        self.free.push(id.index);
    }

    /// Closes all sockets.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
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
