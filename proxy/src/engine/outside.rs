//! What the engine is told from outside besides bytes, and what it tells.

use core::net::SocketAddr;
use std::sync::Arc;

use slotway_protocol::cluster::Topology;
use slotway_protocol::command::Learned;
use slotway_protocol::engine::Address;

use super::hold_story::HoldStory;
use super::newcomers::Suspicion;
use super::peers::Message;
use super::settings::Agreed;
use super::trail::Trail;

/// What the outside tells the proxy.
#[derive(Debug, Clone)]
pub enum Event {
    /// The cluster looks like this now.
    Topology(Arc<Topology>),
    /// The nodes have these commands besides those of the table.
    Commands(Arc<Learned>),
    /// The nodes have that many databases.
    Databases(u32),
    /// A worker, perhaps this one, has changed what all of them go by.
    Agreed(Arc<Agreed>),
    /// Finish what is under way, then close all clients.
    Drain,
    /// Another worker says something.
    Peer(Message),
}

/// What the proxy tells the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A redirect or a lost connection says that the topology has changed.
    TopologyStale,
    /// A connection to that node was refused, or broke off.
    NodeLost { address: Address },
    /// A client has changed what all workers go by.
    Agreed(Agreed),
    /// A node does not accept our user name and password.
    LoginRefused { address: Address, text: String },
    /// Somebody should know of who connects.
    Suspicious {
        client: SocketAddr,
        suspicion: Suspicion,
    },
    /// No client is left after [`Event::Drain`]; sent once.
    Drained,
    /// Requests had to wait, and that is over.
    Held(Box<HoldStory>),
    /// What became of a request that was chosen to be told of.
    Followed(Box<Trail>),
    /// For the other workers, or one of them, as an [`Event::Peer`].
    Peers(Message),
}
