//! Working memory of a worker, used again and again. Whoever takes a part of it leaves it empty.

use slotway_protocol::cluster::Slot;
use slotway_protocol::resp::RequestBuffers;

use super::hold::Held;
use super::many_keys::Table;

#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) buffers: RequestBuffers,
    /// The keys of a request that is split: slot and number of each.
    pub(super) keys: Vec<(u16, u32)>,
    pub(super) frame: Vec<u8>,
    pub(super) reply: Vec<u8>,
    pub(super) batch: Vec<Held>,
    pub(super) slots: Vec<Slot>,
    pub(super) table: Table,
}
