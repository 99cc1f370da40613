//! What a node knows of its cluster: the nodes, who owns which slot, and which slots are moving.

use std::collections::BTreeMap;

use slotway_protocol::cluster::{Role, SLOTS, Slot};
use slotway_protocol::engine::Address;

/// The cluster that a node is part of.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// This node's id, forty hexadecimal digits; the view contains it.
    pub me: String,
    pub view: ClusterView,
}

/// One node's idea of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterView {
    nodes: Vec<NodeInfo>,
    /// For each slot the index of its owner, or [`NOBODY`].
    owners: Vec<u16>,
    /// Slots of this node whose keys go to the node with that id.
    migrating: BTreeMap<Slot, String>,
    /// Slots whose keys this node takes over from the node with that id.
    importing: BTreeMap<Slot, String>,
    pub current_epoch: u64,
    /// The whole cluster is down while any slot has no owner.
    pub require_full_coverage: bool,
}

/// One node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Forty hexadecimal digits.
    pub id: String,
    pub address: Address,
    pub bus_port: u16,
    pub role: Role,
    /// The id of a replica's primary.
    pub primary: Option<String>,
    pub epoch: u64,
    /// The cluster agrees that it does not work.
    pub failed: bool,
}

impl NodeInfo {
    /// A working primary with the usual bus port.
    pub fn primary(id: impl Into<String>, host: &str, port: u16) -> Self {
        Self {
            id: id.into(),
            address: Address::new(host, port),
            bus_port: port.saturating_add(BUS_PORT_OFFSET),
            role: Role::Primary,
            primary: None,
            epoch: 0,
            failed: false,
        }
    }

    /// A working replica of the primary with that id.
    pub fn replica(
        id: impl Into<String>,
        host: &str,
        port: u16,
        primary: impl Into<String>,
    ) -> Self {
        Self {
            role: Role::Replica,
            primary: Some(primary.into()),
            ..Self::primary(id, host, port)
        }
    }
}

impl Default for ClusterView {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl ClusterView {
    /// Nodes without slots.
    pub fn new(nodes: Vec<NodeInfo>) -> Self {
        assert!(
            nodes.len() < usize::from(NOBODY),
            "a cluster has fewer nodes than slots"
        );
        Self {
            nodes,
            owners: vec![NOBODY; SLOTS],
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            current_epoch: 0,
            require_full_coverage: true,
        }
    }

    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// A node, to change what is known of it; its id has to stay.
    pub fn node_mut(&mut self, id: &str) -> Option<&mut NodeInfo> {
        self.nodes.iter_mut().find(|node| node.id == id)
    }

    pub fn node(&self, id: &str) -> Option<&NodeInfo> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// Gives the slots from `first` to `last` to a node, or to nobody. Whether there is such a
    /// node.
    pub fn assign(&mut self, first: Slot, last: Slot, owner: Option<&str>) -> bool {
        let owner = match owner.map(|id| self.index_of(id)) {
            None => NOBODY,
            Some(Some(index)) => index as u16,
            Some(None) => return false,
        };
        if first <= last {
            self.owners[first.index()..=last.index()].fill(owner);
        }
        true
    }

    /// Who owns a slot.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<&NodeInfo> {
        self.owner_index(slot).map(|index| &self.nodes[index])
    }

    /// Where the keys of a slot of this node are going.
    pub fn migrating(&self, slot: Slot) -> Option<&str> {
        self.migrating.get(&slot).map(String::as_str)
    }

    pub fn set_migrating(&mut self, slot: Slot, to: Option<String>) {
        match to {
            Some(id) => self.migrating.insert(slot, id),
            None => self.migrating.remove(&slot),
        };
    }

    /// Where the keys of a slot come from that this node is taking over.
    pub fn importing(&self, slot: Slot) -> Option<&str> {
        self.importing.get(&slot).map(String::as_str)
    }

    pub fn set_importing(&mut self, slot: Slot, from: Option<String>) {
        match from {
            Some(id) => self.importing.insert(slot, id),
            None => self.importing.remove(&slot),
        };
    }

    /// The slots of one node as ranges, first and last included.
    pub fn ranges(&self, id: &str) -> Vec<(Slot, Slot)> {
        let Some(index) = self.index_of(id) else {
            return Vec::new();
        };
        let mut ranges: Vec<(Slot, Slot)> = Vec::new();
        for slot in Slot::all().filter(|slot| self.owner_index(*slot) == Some(index)) {
            match ranges.last_mut() {
                Some((_, last)) if last.number() + 1 == slot.number() => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }

    pub fn replicas<'a>(&'a self, primary: &'a str) -> impl Iterator<Item = &'a NodeInfo> {
        let nodes = self.nodes.iter();
        nodes.filter(move |node| node.primary.as_deref() == Some(primary))
    }

    #[inline]
    pub(crate) fn owner_index(&self, slot: Slot) -> Option<usize> {
        let owner = self.owners[slot.index()];
        (owner != NOBODY).then_some(usize::from(owner))
    }

    pub(crate) fn index_of(&self, id: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// Whether any slot is moving; almost always false.
    #[inline]
    pub(crate) fn is_stable(&self) -> bool {
        self.migrating.is_empty() && self.importing.is_empty()
    }

    pub(crate) fn migrating_slots(&self) -> impl Iterator<Item = (Slot, &str)> {
        self.migrating.iter().map(|(slot, id)| (*slot, id.as_str()))
    }

    pub(crate) fn importing_slots(&self) -> impl Iterator<Item = (Slot, &str)> {
        self.importing.iter().map(|(slot, id)| (*slot, id.as_str()))
    }
}

/// Marks a slot without an owner.
const NOBODY: u16 = u16::MAX;

const BUS_PORT_OFFSET: u16 = 10_000;
