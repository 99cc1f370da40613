//! Who owns which slot, when nodes say different things: the highest epoch wins.

use slotway_protocol::cluster::{Role, Slot};
use slotway_protocol::engine::Now;

use super::Cluster;
use super::bus::{Header, SlotSet};
use super::effects::Effect;

impl Cluster {
    /// Compares what a node says of its slots with what is known here.
    pub(super) fn take_claims(&mut self, sender: usize, header: &Header, now: Now) {
        let owner = match &header.primary {
            None => Some(sender),
            Some(primary) => self.view.index_of(primary),
        };
        let Some(owner) = owner else {
            return;
        };
        if *self.view.slots_of(owner) == header.slots {
            return;
        }
        let id = header.sender.clone();
        if self.view.nodes()[sender].role == Role::Primary {
            self.update_slots(sender, header.config_epoch, &header.slots, now);
        }
        // Taking the claims may have changed what this node is, but nobody was removed.
        let Some(sender) = self.view.index_of(&id) else {
            return;
        };
        let outdated = header.slots.iter().find_map(|slot| {
            let owner = self.view.owner_index(slot)?;
            let is_newer = self.view.nodes()[owner].epoch > header.config_epoch;
            (owner != sender && is_newer).then_some(owner)
        });
        let contact = &self.view.nodes()[sender].contact;
        if let (Some(owner), Some(link)) = (outdated, contact.link.filter(|_| contact.is_linked)) {
            self.send_update(link, owner);
        }
    }

    /// Somebody says who owns slots that this node was wrong about.
    pub(super) fn take_update(&mut self, epoch: u64, id: &str, slots: &SlotSet, now: Now) {
        let Some(index) = self.view.index_of(id) else {
            return;
        };
        if self.view.nodes()[index].epoch >= epoch {
            return;
        }
        if index != self.my_index {
            self.set_as_primary(index);
        }
        self.view.nodes_mut()[index].epoch = epoch;
        self.saver.is_dirty = true;
        self.update_slots(index, epoch, slots, now);
    }

    /// Gives a primary the slots that it claims with a higher epoch than their owner's.
    fn update_slots(&mut self, claimant: usize, epoch: u64, slots: &SlotSet, now: Now) {
        if claimant == self.my_index {
            return;
        }
        let served = self.my_primary_index();
        let id = self.view.nodes()[claimant].id.clone();
        let (mut lost, mut taken_from_us, mut claimed) = (Vec::new(), 0, 0);
        let mut is_contested = false;
        for slot in Slot::all() {
            let owner = self.view.owner_index(slot);
            if !slots.contains(slot) {
                if owner == Some(claimant) {
                    self.view.set_unclaimed(slot);
                }
                self.forget_grant(slot, &id);
                continue;
            }
            claimed += 1;
            if owner == Some(claimant) {
                self.view.set_claimed(slot);
                continue;
            }
            if self.view.importing(slot).is_some() {
                continue;
            }
            let is_outbid = owner.is_none_or(|owner| self.view.nodes()[owner].epoch < epoch);
            if !is_outbid && !self.view.is_unclaimed(slot) {
                continue;
            }
            if self.is_granted(slot, &id) {
                is_contested = true;
                continue;
            }
            if owner.is_some() && owner == served {
                taken_from_us += 1;
            }
            if owner == Some(self.my_index) {
                lost.push(slot);
            }
            self.view.assign(slot, slot, Some(&id));
            self.changed();
        }
        if is_contested {
            self.bump_epoch();
            self.announce(now);
        }
        self.adjust_to_losses(&id, taken_from_us, claimed, lost);
    }

    /// Takes over a slot from a node, as an operator has told this one to, and outbids all others'
    /// claims to it.
    pub(crate) fn take_over(&mut self, slot: Slot, from: String, now: Now) {
        self.granted.insert(slot, from);
        self.save_before_telling();
        self.bump_epoch();
        self.announce(now);
    }

    /// Whether this node was told to take over a slot from that one, which has not said yet that it
    /// knows. It may have a higher epoch than was known here, and still must not get the slot back:
    /// once it is told as well, neither would own it.
    fn is_granted(&self, slot: Slot, from: &str) -> bool {
        self.view.owner_index(slot) == Some(self.my_index)
            && self.view.migrating(slot).is_none()
            && self.granted.get(&slot).is_some_and(|id| id == from)
    }

    fn forget_grant(&mut self, slot: Slot, from: &str) {
        if self.granted.get(&slot).is_some_and(|id| id == from) {
            self.granted.remove(&slot);
        }
    }

    /// Follows who has taken all slots of this shard, or else gives the keys of those that it has.
    fn adjust_to_losses(&mut self, taker: &str, taken: usize, claimed: usize, lost: Vec<Slot>) {
        let has_none = |index| self.view.slot_count(index) == 0;
        let is_bare = taken > 0 && self.my_primary_index().is_some_and(has_none);
        if is_bare && (self.settings.allow_replica_migration || claimed == taken) {
            tracing::info!(
                primary = taker,
                "Configuration change detected. Reconfiguring myself as a replica"
            );
            self.become_replica_of(taker);
            self.save_now();
            return;
        }
        if let Some(upper) = self.primary_of_my_primary() {
            tracing::info!(
                primary = upper,
                "I'm a sub-replica! Reconfiguring myself to follow"
            );
            self.become_replica_of(&upper);
        } else if !lost.is_empty() {
            self.effects.push_back(Effect::DropSlots(lost));
        }
    }

    /// Whom this node's primary follows, if it has become a replica itself.
    pub(super) fn primary_of_my_primary(&self) -> Option<String> {
        let primary = self.my_info().primary.as_ref()?;
        let upper = self.view.node(primary)?.primary.as_ref()?;
        (*upper != self.me).then(|| upper.clone())
    }

    /// Two primaries must not have the same epoch: the one with the smaller id takes another.
    pub(super) fn resolve_collision(&mut self, sender: usize, epoch: u64) {
        let (mine, other) = (self.my_info(), &self.view.nodes()[sender]);
        let collides = mine.role == Role::Primary
            && other.role == Role::Primary
            && mine.epoch == epoch
            && other.epoch == epoch;
        if !collides || other.id <= mine.id {
            return;
        }
        self.view.current_epoch += 1;
        let epoch = self.view.current_epoch;
        self.my_info_mut().epoch = epoch;
        tracing::info!(epoch, "configEpoch collision, updated mine");
        self.save_now();
    }

    /// Gives this node the highest epoch unless it has that, without asking anybody; whether it
    /// did, and its epoch now.
    pub(crate) fn bump_epoch(&mut self) -> (bool, u64) {
        let epochs = self.view.nodes().iter().map(|node| node.epoch);
        let highest = epochs.max().unwrap_or(0).max(self.view.current_epoch);
        let mine = self.my_info().epoch;
        if mine != 0 && mine == highest {
            return (false, mine);
        }
        let epoch = highest + 1;
        self.view.current_epoch = epoch;
        self.my_info_mut().epoch = epoch;
        self.save_before_telling();
        self.changed();
        (true, epoch)
    }
}
