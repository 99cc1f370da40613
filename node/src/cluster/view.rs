//! What a node knows of its cluster: the nodes, who owns which slot, and which slots are moving.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use slotway_protocol::cluster::{Role, SLOTS, Slot};
use slotway_protocol::engine::Address;

use super::bus::SlotSet;
use super::contact::Contact;
use super::settings::BUS_PORT_OFFSET;

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
    /// The index of each node, by its id.
    places: HashMap<String, usize>,
    /// For each slot the index of its owner, or [`NOBODY`].
    owners: Vec<u16>,
    /// The slots that each node owns and how many they are, by its index.
    owned: Vec<(SlotSet, usize)>,
    /// Slots whose owner does not say any more that it owns them.
    unclaimed: BTreeSet<Slot>,
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
    /// This node has not heard of it for too long.
    pub suspected: bool,
    /// It is not known yet who that is, and its id is made up.
    pub handshake: bool,
    /// It is to be told that it is a member now.
    pub meet: bool,
    /// It can't be reached at its old address, and no other is known.
    pub no_address: bool,
    /// A replica that never takes its primary's place by itself.
    pub no_failover: bool,
    /// A primary that has, or had, replicas, and so is given one when it has none left.
    pub migrate_to: bool,
    /// The name that it announces besides its address; empty for none.
    pub hostname: String,
    pub contact: Contact,
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
            suspected: false,
            handshake: false,
            meet: false,
            no_address: false,
            no_failover: false,
            migrate_to: false,
            hostname: String::new(),
            contact: Contact::default(),
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
        let places = places(&nodes);
        Self {
            owned: vec![Default::default(); nodes.len()],
            nodes,
            places,
            owners: vec![NOBODY; SLOTS],
            unclaimed: BTreeSet::new(),
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
        let index = self.index_of(id)?;
        self.nodes.get_mut(index)
    }

    pub fn node(&self, id: &str) -> Option<&NodeInfo> {
        self.nodes.get(self.index_of(id)?)
    }

    /// Gives the slots from `first` to `last` to a node, or to nobody. Whether there is such a
    /// node.
    pub fn assign(&mut self, first: Slot, last: Slot, owner: Option<&str>) -> bool {
        let owner = match owner.map(|id| self.index_of(id)) {
            None => NOBODY,
            Some(Some(index)) => index as u16,
            Some(None) => return false,
        };
        for index in first.index()..=last.index() {
            let before = std::mem::replace(&mut self.owners[index], owner);
            let Some(slot) = Slot::new(index as u64).filter(|_| before != owner) else {
                continue;
            };
            if let Some((slots, count)) = self.owned.get_mut(usize::from(before)) {
                slots.remove(slot);
                *count -= 1;
            }
            if let Some((slots, count)) = self.owned.get_mut(usize::from(owner)) {
                slots.insert(slot);
                *count += 1;
            }
        }
        self.unclaimed.retain(|slot| !(first..=last).contains(slot));
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
        if self.slot_count(index) == 0 {
            return ranges;
        }
        for slot in self.slots_of(index).iter() {
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
        self.places.get(id).copied()
    }

    pub(crate) fn nodes_mut(&mut self) -> &mut [NodeInfo] {
        &mut self.nodes
    }

    /// How many slots a node owns.
    pub(crate) fn slot_count(&self, index: usize) -> usize {
        self.owned[index].1
    }

    /// The slots that a node owns.
    pub(crate) fn slots_of(&self, index: usize) -> &SlotSet {
        &self.owned[index].0
    }

    /// Adds a node that is not there yet; its index. There may be at most [`NODES_MAX`].
    pub(crate) fn add(&mut self, node: NodeInfo) -> Option<usize> {
        if self.nodes.len() >= NODES_MAX || self.places.contains_key(&node.id) {
            return None;
        }
        let index = self.nodes.len();
        self.places.insert(node.id.clone(), index);
        self.nodes.push(node);
        self.owned.push(Default::default());
        Some(index)
    }

    /// Forgets a node; its slots are nobody's then.
    pub(crate) fn remove(&mut self, id: &str) -> Option<NodeInfo> {
        let index = self.index_of(id)?;
        let node = self.nodes.remove(index);
        self.owned.remove(index);
        let gone = index as u16;
        for owner in &mut self.owners {
            match *owner {
                NOBODY => {}
                number if number == gone => *owner = NOBODY,
                number if number > gone => *owner = number - 1,
                _ => {}
            }
        }
        self.places = places(&self.nodes);
        self.migrating.retain(|_, to| to != id);
        self.importing.retain(|_, from| from != id);
        for other in &mut self.nodes {
            other.contact.withdraw(id);
            if other.primary.as_deref() == Some(id) {
                other.primary = None;
            }
        }
        Some(node)
    }

    /// Gives a node another id.
    pub(crate) fn rename(&mut self, index: usize, id: String) {
        self.places.remove(&self.nodes[index].id);
        self.places.insert(id.clone(), index);
        self.nodes[index].id = id;
    }

    /// Ends that slots are moving, as far as this node has a part in it.
    pub(crate) fn close_all(&mut self) {
        self.migrating.clear();
        self.importing.clear();
    }

    /// Notes that the owner of a slot does not say so any more.
    pub(crate) fn set_unclaimed(&mut self, slot: Slot) {
        self.unclaimed.insert(slot);
    }

    /// Notes that the owner of a slot says so again.
    pub(crate) fn set_claimed(&mut self, slot: Slot) {
        self.unclaimed.remove(&slot);
    }

    pub(crate) fn is_unclaimed(&self, slot: Slot) -> bool {
        self.owners[slot.index()] == NOBODY || self.unclaimed.contains(&slot)
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

fn places(nodes: &[NodeInfo]) -> HashMap<String, usize> {
    let ids = nodes.iter().map(|node| node.id.clone());
    ids.zip(0..).collect()
}

/// How many nodes a cluster may have here. Redis advises against more than 1,000.
const NODES_MAX: usize = 16_384;

/// Marks a slot without an owner.
const NOBODY: u16 = u16::MAX;
