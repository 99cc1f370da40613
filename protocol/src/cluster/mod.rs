//! What a cluster is made of: slots, the nodes that own them, and redirects between the nodes.

mod crc;
pub mod nodes;
pub mod redirect;
pub mod slot;
pub mod topology;

pub use redirect::Redirect;
pub use slot::{SLOTS, Slot};
pub use topology::{Role, Shard, Topology};
