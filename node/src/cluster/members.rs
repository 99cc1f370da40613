//! Who belongs to the cluster, and in which part: nodes that are forgotten, that become primaries
//! or replicas, and this node when it starts over.

use std::time::Duration;

use slotway_protocol::cluster::{Role, Slot};
use slotway_protocol::engine::Now;

use super::effects::Effect;
use super::{Cluster, ClusterView, NodeInfo};
use crate::server_state::hexadecimal_id;

impl Cluster {
    /// Removes a node, with its links and slots.
    pub(super) fn remove_node(&mut self, id: &str) {
        let Some(node) = self.view.remove(id) else {
            return;
        };
        let links = [node.contact.link, node.contact.inbound];
        for link in links.into_iter().flatten() {
            self.close_link(link);
        }
        self.my_index = self.view.index_of(&self.me).unwrap_or(0);
        self.manual.forget(id);
        self.changed();
    }

    /// CLUSTER FORGET: removes a node, and lets nobody bring it back for a while.
    pub(crate) fn forget(&mut self, id: &str, now: Now) {
        self.forgotten.retain(|_, until| *until > now.instant);
        if self.forgotten.len() < FORGOTTEN_MAX {
            self.forgotten
                .insert(id.to_owned(), now.instant + FORGOTTEN_FOR);
        }
        self.remove_node(id);
    }

    pub(super) fn is_forgotten(&self, id: &str, now: Now) -> bool {
        self.forgotten
            .get(id)
            .is_some_and(|until| *until > now.instant)
    }

    pub(super) fn set_as_primary(&mut self, index: usize) {
        let node = &mut self.view.nodes_mut()[index];
        if node.role == Role::Primary {
            return;
        }
        node.role = Role::Primary;
        let before = node.primary.take();
        node.migrate_to = index != self.my_index;
        if let Some(before) = before {
            self.note_lost_replica(&before);
        }
        self.changed();
    }

    pub(super) fn set_primary_of(&mut self, index: usize, primary: &str) {
        let node = &mut self.view.nodes_mut()[index];
        node.role = Role::Replica;
        let before = node.primary.replace(primary.to_owned());
        if let Some(before) = before.filter(|before| before != primary) {
            self.note_lost_replica(&before);
        }
        if let Some(primary) = self.view.node_mut(primary) {
            primary.migrate_to = true;
        }
        self.changed();
    }

    /// A primary without replicas that it would miss is given none.
    fn note_lost_replica(&mut self, primary: &str) {
        let has_others = self.view.replicas(primary).next().is_some();
        if !has_others && let Some(primary) = self.view.node_mut(primary) {
            primary.migrate_to = false;
        }
    }

    pub(super) fn drop_slots_of(&mut self, index: usize) {
        let id = self.view.nodes()[index].id.clone();
        for (first, last) in self.view.ranges(&id) {
            self.view.assign(first, last, None);
        }
    }

    /// Makes this node, which has no slots, a replica.
    pub(crate) fn become_replica_of(&mut self, primary: &str) {
        let Some(index) = self
            .view
            .index_of(primary)
            .filter(|index| *index != self.my_index)
        else {
            return;
        };
        if self.is_primary() {
            self.view.close_all();
        }
        let mine = self.my_index;
        self.view.nodes_mut()[mine].migrate_to = false;
        self.set_primary_of(mine, primary);
        self.synced_at = None;
        let address = self.view.nodes()[index].address.clone();
        if !address.host.is_empty() {
            self.effects.push_back(Effect::Follow(Some(address)));
        }
        self.end_manual_failover();
        self.election.forget();
    }

    /// Makes this node a primary without slots, if it is a replica.
    pub(super) fn stop_following(&mut self) {
        if !self.is_primary() {
            self.set_as_primary(self.my_index);
            self.effects.push_back(Effect::Follow(None));
        }
    }

    /// CLUSTER RESET: forgets all nodes and slots, and with `hard` also who this node was.
    pub(crate) fn reset(&mut self, hard: bool) {
        if !self.is_primary() {
            self.stop_following();
            self.effects.push_back(Effect::Flush);
        }
        self.end_manual_failover();
        self.election.forget();
        let others = self.view.nodes().iter();
        let others: Vec<String> = others
            .map(|node| node.id.clone())
            .filter(|id| *id != self.me)
            .collect();
        for id in others {
            self.remove_node(&id);
        }
        let mut mine = self.my_info().clone();
        let (mut current_epoch, require) =
            (self.view.current_epoch, self.view.require_full_coverage);
        if hard {
            current_epoch = 0;
            self.last_vote_epoch = 0;
            mine.epoch = 0;
            mine.id = hexadecimal_id(&mut self.random);
            self.me = mine.id.clone();
        }
        self.granted.clear();
        self.view = ClusterView::new(vec![mine]);
        self.view.current_epoch = current_epoch;
        self.view.require_full_coverage = require;
        self.my_index = 0;
        self.save_now();
        self.changed();
    }

    /// For each node, how many replicas could take its place. Counted in one pass, since there are
    /// as many primaries as make it slow to look for the replicas of each.
    pub(super) fn count_working_replicas(&self) -> Vec<usize> {
        let mut counts = vec![0; self.view.nodes().len()];
        let working = self.view.nodes().iter().filter(|node| !node.failed);
        let primaries = working.filter_map(|node| self.view.index_of(node.primary.as_ref()?));
        primaries.for_each(|primary| counts[primary] += 1);
        counts
    }

    /// A node of this cluster that owns slots.
    pub(super) fn owns_slots(&self, index: usize) -> bool {
        self.view.nodes()[index].role == Role::Primary && self.view.slot_count(index) > 0
    }

    /// The primaries that own slots.
    pub(super) fn voters(&self) -> impl Iterator<Item = &NodeInfo> {
        let nodes = self.view.nodes().iter().enumerate();
        nodes
            .filter(|(index, _)| self.owns_slots(*index))
            .map(|(_, node)| node)
    }

    /// How many primaries owned slots when the state was last worked out.
    pub(crate) fn last_size(&self) -> usize {
        self.last_size
    }

    /// How many primaries own slots.
    pub(super) fn size(&self) -> usize {
        self.voters().count()
    }

    /// How many slots have an owner, whether it works or not.
    pub(super) fn owned(&self) -> usize {
        let indexes = 0..self.view.nodes().len();
        indexes.map(|index| self.view.slot_count(index)).sum()
    }

    /// How many primaries have to agree.
    pub(super) fn quorum(&self) -> usize {
        self.size() / 2 + 1
    }

    /// Takes over slots whose keys are here although nobody is said to own them, and notes that
    /// others' slots are being imported: after a start with files that know different things.
    pub(crate) fn claim_slots_with_keys(&mut self, slots: &[Slot]) {
        if !self.is_primary() {
            return;
        }
        let me = self.me.clone();
        for slot in slots {
            match self.view.owner_index(*slot) {
                Some(owner) if owner == self.my_index => {}
                Some(owner) => {
                    if self.view.importing(*slot).is_none() {
                        let owner = self.view.nodes()[owner].id.clone();
                        self.view.set_importing(*slot, Some(owner));
                        self.changed();
                    }
                }
                None => {
                    self.view.assign(*slot, *slot, Some(&me));
                    self.changed();
                }
            }
        }
    }
}

/// For how long nobody's word brings a node back that was forgotten.
const FORGOTTEN_FOR: Duration = Duration::from_secs(60);

/// How many nodes can be forgotten at a time.
const FORGOTTEN_MAX: usize = 16_384;
