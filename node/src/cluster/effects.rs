//! What the node's part in its cluster wants done: by the engine, the driver and the keyspace.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Address, Instant};

use super::links::LinkId;

/// Something to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Open a connection of the bus.
    Connect(LinkId, Address),
    Send(LinkId, Bytes),
    /// Close a connection of the bus, which is forgotten already.
    Close(LinkId),
    /// Find out whether anybody listens there.
    Probe(Address),
    /// Write what is to outlast the process. The answer is [`super::Cluster::saved`].
    Save(SavedCluster),
    /// Become a replica of that node, or of nobody.
    Follow(Option<Address>),
    /// Remove the keys of slots that are another node's now.
    DropSlots(Vec<Slot>),
    /// Remove all keys.
    Flush,
    /// Let writes of clients wait until then, or no longer.
    PauseWrites(Option<Instant>),
    /// Somebody has published that at another node.
    Published {
        channel: Vec<u8>,
        message: Vec<u8>,
        sharded: bool,
    },
}

/// The content of a node's cluster file, of which there is a new one with each change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedCluster {
    pub number: u64,
    pub text: String,
    /// It has to be certain that it outlasts the machine, too, before it is answered.
    pub sync: bool,
}
