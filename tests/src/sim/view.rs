//! What one node believes of its cluster: who owns which slot, who follows whom, who is down.

use std::collections::{BTreeMap, BTreeSet};

use slotway_protocol::cluster::{SLOTS, Shard, Slot, Topology};
use slotway_protocol::engine::Address;

/// One node's idea of the cluster.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The number of the node whose view this is.
    pub me: usize,
    /// Of all nodes, also of those that are not members yet or any more.
    pub addresses: Vec<Address>,
    pub(super) owners: Vec<u8>,
    /// The config epoch of each node, as far as this one knows.
    pub epochs: Vec<u64>,
    /// For each node the one that it follows.
    pub primaries: Vec<Option<usize>>,
    pub members: BTreeSet<usize>,
    /// Members that this one does not reach, and those of which the majority says so.
    pub suspected: BTreeSet<usize>,
    pub failed: BTreeSet<usize>,
    /// This node does not reach the majority.
    pub is_isolated: bool,
    /// Whether nobody serves anything while a slot has no working owner.
    pub full_coverage: bool,
    pub migrating: BTreeMap<Slot, usize>,
    pub importing: BTreeMap<Slot, usize>,
    /// The node serves no keys.
    pub is_down: bool,
}

impl View {
    /// Slots are spread in equal ranges over the first `busy` nodes.
    pub(super) fn new(addresses: &[Address], busy: usize) -> Self {
        Self {
            addresses: addresses.to_vec(),
            owners: (0..SLOTS).map(|slot| (slot * busy / SLOTS) as u8).collect(),
            epochs: (1..=addresses.len() as u64).collect(),
            primaries: vec![None; addresses.len()],
            members: (0..addresses.len()).collect(),
            ..Self::default()
        }
    }

    pub fn owner(&self, slot: Slot) -> Option<usize> {
        self.owners
            .get(slot.index())
            .map(|owner| usize::from(*owner))
    }

    pub fn address(&self, node: usize) -> &Address {
        &self.addresses[node]
    }

    /// The nodes that this one knows: itself and the members.
    pub(super) fn listed(&self) -> BTreeSet<usize> {
        let mut nodes = self.members.clone();
        nodes.insert(self.me);
        nodes
    }

    pub(super) fn owns_any(&self, node: usize) -> bool {
        self.owners.contains(&(node as u8))
    }

    /// The members that follow a node.
    pub(super) fn replicas(&self, primary: usize) -> impl Iterator<Item = usize> + '_ {
        let members = self.members.iter().copied();
        members.filter(move |node| self.primaries[*node] == Some(primary))
    }

    /// First slot, last slot and owner of every range.
    pub fn ranges(&self) -> Vec<(u16, u16, usize)> {
        let mut next = 0;
        let runs = self.owners.chunk_by(|one, other| one == other);
        runs.map(|run| {
            let first = next;
            next += run.len();
            (first as u16, next as u16 - 1, usize::from(run[0]))
        })
        .collect()
    }

    /// Works out what follows from the rest.
    pub(super) fn settle(&mut self) {
        let has_failed = |owner: &u8| self.failed.contains(&usize::from(*owner));
        let is_torn = self.full_coverage && self.owners.iter().any(has_failed);
        self.is_down = self.is_isolated || is_torn;
    }

    /// Takes over all that another view says.
    pub(super) fn learn(&mut self, other: &Self) {
        *self = Self {
            me: self.me,
            migrating: std::mem::take(&mut self.migrating),
            importing: std::mem::take(&mut self.importing),
            ..other.clone()
        };
    }

    /// The reply to CLUSTER NODES.
    pub fn nodes_text(&self) -> String {
        let mut text = String::new();
        let ranges = self.ranges();
        for node in self.listed() {
            let address = self.address(node);
            let epoch = self.epochs[self.primaries[node].unwrap_or(node)];
            text += &format!(
                "{node:040x} {address}@{} {} {} 0 0 {epoch} connected",
                address.port + 10_000,
                self.flags(node),
                self.primaries[node].map_or_else(|| "-".to_owned(), |node| format!("{node:040x}")),
            );
            for (first, last, _) in ranges.iter().filter(|range| range.2 == node) {
                text += &format!(" {first}-{last}");
            }
            for (slot, to) in self.migrating.iter().filter(|_| node == self.me) {
                text += &format!(" [{slot}->-{to:040x}]");
            }
            text.push('\n');
        }
        text
    }

    fn flags(&self, node: usize) -> String {
        let mut flags = Vec::new();
        flags.extend((node == self.me).then_some("myself"));
        flags.push(match self.primaries[node] {
            Some(_) => "slave",
            None => "master",
        });
        if self.failed.contains(&node) {
            flags.push("fail");
        } else if self.suspected.contains(&node) {
            flags.push("fail?");
        }
        flags.join(",")
    }

    pub fn topology(&self) -> Topology {
        let mut topology = Topology::empty();
        for (first, last, node) in self.ranges() {
            let replicas = self.replicas(node).map(|node| self.address(node).clone());
            let shard = Shard {
                primary: self.address(node).clone(),
                replicas: replicas.collect(),
            };
            let slot = |number: u16| Slot::new(u64::from(number)).expect("a view has only slots");
            topology.assign(slot(first), slot(last), shard);
        }
        topology
    }
}
