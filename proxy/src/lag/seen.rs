//! What is known of the nodes, for whoever shows it.

use core::time::Duration;
use std::collections::BTreeMap;

use arc_swap::ArcSwap;
use slotway_protocol::engine::Address;

/// How one node was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// For how long a replica has lacked what its primary has, if that is known.
    pub lag: Option<Duration>,
    /// Nobody could be reached there, the last time.
    pub is_down: bool,
}

/// Written by the control thread, read at a scrape.
#[derive(Debug, Default)]
pub struct Seen(ArcSwap<BTreeMap<Address, Look>>);

impl Seen {
    pub(crate) fn store(&self, looks: impl Iterator<Item = (Address, Look)>) {
        self.0.store(looks.collect::<BTreeMap<_, _>>().into());
    }

    /// How a node was found; as if nothing were wrong, if nobody has asked it.
    pub fn look(&self, address: &Address) -> Look {
        self.0.load().get(address).copied().unwrap_or_default()
    }
}
