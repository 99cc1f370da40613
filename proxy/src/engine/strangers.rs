//! Whom a redirect may lead to: nodes of the topology, and hosts that the settings allow. A node
//! that was taken over, or speaks for another cluster, must not send requests just anywhere.

use std::collections::HashMap;

use slotway_protocol::cluster::Topology;
use slotway_protocol::engine::Address;

use super::Proxy;
use super::redirect::{Later, Verdict};

impl Proxy {
    /// Lets a verdict pass, but for a redirect to a stranger: nothing was done, and the topology
    /// may soon name the node. Until then its request waits, as long as any may.
    pub(super) fn screen(&self, verdict: Verdict) -> Verdict {
        let to = match verdict {
            Verdict::Moved(address) => self.way_to(address).map(Verdict::Moved),
            Verdict::Ask(address) => self.way_to(address).map(Verdict::Ask),
            verdict => return verdict,
        };
        to.unwrap_or_else(|| {
            self.stats.redirects_refused.inc();
            Verdict::Later(Later::Stranger)
        })
    }

    /// Where the node is reached that is called so, if requests may go there.
    pub(super) fn way_to(&self, address: Address) -> Option<Address> {
        let allowed = &self.options.redirect_hosts;
        match self.members.find(&address) {
            Some(node) => Some(node.clone()),
            None => allowed.contains(&address.host).then_some(address),
        }
    }
}

/// The nodes of the topology.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Each under its address and under all else that nodes may call it.
    ways: HashMap<Address, Address>,
}

impl Members {
    pub(super) fn of(topology: &Topology) -> Self {
        let aliases = topology.aliases();
        let nodes = topology.nodes().map(|node| (node, node));
        let ways = aliases.chain(nodes);
        Self {
            ways: ways
                .map(|(name, node)| (name.clone(), node.clone()))
                .collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// The address at which the node is reached that is called so.
    fn find(&self, address: &Address) -> Option<&Address> {
        self.ways.get(address)
    }
}
