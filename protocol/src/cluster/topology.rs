//! Which node owns which slot: one immutable value, replaced as a whole.

use std::collections::BTreeMap;

use super::slot::{SLOTS, Slot};
use crate::engine::Address;

/// A cluster's shards and the slots they own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    shards: Vec<Shard>,
    /// For each slot the index of its shard, or [`NO_SHARD`].
    owners: Vec<u16>,
    /// Nodes of the cluster that own no slots and follow nobody who does, sorted.
    others: Vec<Address>,
    /// What else nodes may call a node, and the address at which it is reached.
    aliases: BTreeMap<Address, Address>,
}

/// A primary and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub primary: Address,
    pub replicas: Vec<Address>,
}

/// What a node is to its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Primary,
    Replica,
}

impl Topology {
    /// No shards, no slots.
    pub fn empty() -> Self {
        Self {
            shards: Vec::new(),
            owners: vec![NO_SHARD; SLOTS],
            others: Vec::new(),
            aliases: BTreeMap::new(),
        }
    }

    /// Adds the shard, or replaces its replicas when its primary is there already, and gives it
    /// the slots from `first` to `last`.
    pub fn assign(&mut self, first: Slot, last: Slot, shard: Shard) {
        let position = self
            .shards
            .iter()
            .position(|other| other.primary == shard.primary);
        let index = position.unwrap_or(self.shards.len());
        assert!(
            index < usize::from(NO_SHARD),
            "a cluster has fewer shards than slots"
        );
        match self.shards.get_mut(index) {
            Some(known) => *known = shard,
            None => self.shards.push(shard),
        }
        if first <= last {
            self.owners[first.index()..=last.index()].fill(index as u16);
        }
    }

    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Adds a node that may have no slots yet; one that is in a shard is known already.
    pub fn add_node(&mut self, address: &Address) {
        if !self.has_node(address)
            && let Err(place) = self.others.binary_search(address)
        {
            self.others.insert(place, address.clone());
        }
    }

    /// Notes that redirects may call the node at `address` by another name.
    pub fn add_alias(&mut self, alias: &Address, address: &Address) {
        self.aliases.insert(alias.clone(), address.clone());
    }

    /// Other names of nodes, each with the address at which the node is reached.
    pub fn aliases(&self) -> impl Iterator<Item = (&Address, &Address)> {
        self.aliases.iter()
    }

    /// Whether the node is in a shard, or at least a member of the cluster.
    pub fn has_node(&self, address: &Address) -> bool {
        let nodes = |shard: &Shard| shard.primary == *address || shard.replicas.contains(address);
        self.shards.iter().any(nodes) || self.others.contains(address)
    }

    /// All members of the cluster, those without slots included.
    pub fn nodes(&self) -> impl Iterator<Item = &Address> {
        let of_shard = |shard| {
            let Shard { primary, replicas }: &Shard = shard;
            core::iter::once(primary).chain(replicas)
        };
        self.shards.iter().flat_map(of_shard).chain(&self.others)
    }

    /// The index into [`Topology::shards`] of the shard that owns the slot.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<usize> {
        let index = self.owners[slot.index()];
        (index != NO_SHARD).then_some(usize::from(index))
    }

    /// How many slots have an owner.
    pub fn covered(&self) -> usize {
        self.owners
            .iter()
            .filter(|owner| **owner != NO_SHARD)
            .count()
    }

    /// The slots of one shard as ranges, first and last included.
    pub fn ranges(&self, shard: usize) -> Vec<(Slot, Slot)> {
        let mut ranges: Vec<(Slot, Slot)> = Vec::new();
        for slot in Slot::all().filter(|slot| self.owner(*slot) == Some(shard)) {
            match ranges.last_mut() {
                Some((_, last)) if last.number() + 1 == slot.number() => *last = slot,
                _ => ranges.push((slot, slot)),
            }
        }
        ranges
    }
}

/// Marks a slot without an owner.
const NO_SHARD: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u64) -> Slot {
        Slot::new(number).unwrap()
    }

    fn shard(port: u16) -> Shard {
        Shard {
            primary: Address::new("h", port),
            replicas: Vec::new(),
        }
    }

    #[test]
    fn a_node_without_slots_is_known_too() {
        let mut topology = Topology::empty();
        topology.assign(slot(0), slot(100), shard(1));
        for port in [3, 1, 2, 3] {
            topology.add_node(&Address::new("h", port));
        }
        let ports: Vec<u16> = topology.nodes().map(|node| node.port).collect();
        assert_eq!(ports, [1, 2, 3]);
        assert!(topology.has_node(&Address::new("h", 3)));
        assert!(!topology.has_node(&Address::new("h", 4)));
    }

    #[test]
    fn later_assignments_win() {
        let mut topology = Topology::empty();
        topology.assign(slot(0), slot(100), shard(1));
        topology.assign(slot(50), slot(60), shard(2));
        assert_eq!(topology.owner(slot(49)), Some(0));
        assert_eq!(topology.owner(slot(55)), Some(1));
        assert_eq!(topology.owner(slot(101)), None);
        assert_eq!(topology.covered(), 101);
        assert_eq!(
            topology.ranges(0),
            [(slot(0), slot(49)), (slot(61), slot(100))]
        );
    }
}
