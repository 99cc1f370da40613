//! What is told of one request that was chosen by chance: who asked for what, which nodes answered,
//! how long that took. It has names of commands and codes of errors, never a value.

use core::net::SocketAddr;
use std::sync::Arc;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::Address;

/// One request that has its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// Not zero, and not that of any other request.
    pub trace_id: u128,
    /// Whether it is for the access log, and whether it is for the traces.
    pub is_logged: bool,
    pub is_traced: bool,
    pub client: SocketAddr,
    pub client_name: Vec<u8>,
    pub user: Arc<str>,
    pub database: u16,
    pub command: &'static str,
    /// What the first of its keys are, where the settings want that.
    pub keys: Vec<Vec<u8>>,
    /// The code of the error that it was answered with.
    pub error: Option<&'static str>,
    /// From its arrival to the reply to all of it being here.
    pub total_us: u64,
    /// What nodes were sent for it; of one that the proxy has answered itself, its own bytes.
    pub request_bytes: u64,
    pub reply_bytes: u64,
    /// In the order in which nodes have answered.
    pub hops: Vec<Hop>,
}

/// What one node was asked for a request, and that it answered or was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    pub node: Address,
    pub slot: Slot,
    /// Which part of a request that was split.
    pub part: u32,
    /// From the request's arrival to being sent to this node, and from there to the answer.
    pub queue_us: u64,
    pub backend_us: u64,
    /// How many redirects had been followed, and how long it had waited for its slot.
    pub redirects: u8,
    pub held_us: u64,
    pub request_bytes: u64,
    /// The code of the error that the node said, or [`Hop::LOST`].
    pub error: Option<&'static str>,
}

impl Hop {
    /// Stands for the code of an error when the connection ended before the reply.
    pub const LOST: &'static str = "connection_lost";
}

impl Trail {
    /// How long nodes worked on it: that of the parts of a split request which took longest.
    pub fn backend_us(&self) -> u64 {
        let mut longest = 0;
        for hop in &self.hops {
            let same = self.hops.iter().filter(|other| other.part == hop.part);
            longest = same.map(|hop| hop.backend_us).sum::<u64>().max(longest);
        }
        longest
    }

    pub fn redirects(&self) -> u8 {
        let redirects = self.hops.iter().map(|hop| hop.redirects);
        redirects.max().unwrap_or_default()
    }

    pub fn held_us(&self) -> u64 {
        let held = self.hops.iter().map(|hop| hop.held_us);
        held.max().unwrap_or_default()
    }

    /// The node that served it, or the last of several.
    pub fn node(&self) -> Option<&Address> {
        self.hops.last().map(|hop| &hop.node)
    }

    /// The slot of its keys, if they have only one.
    pub fn slot(&self) -> Option<Slot> {
        let first = self.hops.first()?.slot;
        let is_only = self.hops.iter().all(|hop| hop.slot == first);
        is_only.then_some(first)
    }

    /// How many spans it makes in a trace.
    pub fn spans(&self) -> u64 {
        1 + self.hops.len() as u64
    }
}
