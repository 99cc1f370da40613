//! The messages that the nodes of a cluster send each other on its bus, as bytes and back. What
//! they mean is not known here.

mod body;
mod header;
mod packet;
mod slot_set;
mod wire;

pub use body::{Body, Gossip, GossipEntry, Heartbeat};
pub use header::{Flags, Header, Kind};
pub use packet::{Packet, PacketError, frame_len};
pub use slot_set::SlotSet;

pub(crate) use packet::KINDS;
