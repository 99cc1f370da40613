//! Which nodes owned a slot, one after the other. Who has heard of one of them must not believe
//! again in an earlier one that is lost: that only nodes say that are lost themselves. In the end
//! everybody has to believe in the last one.
//!
//! Other ways back are open. A node that has heard of a new epoch of another, but not of all the
//! slots that this one has given away before, says of it what was true once.

use std::collections::BTreeMap;

use slotway_protocol::cluster::{Slot, Topology};

use super::view::View;

/// The owners of the slots that clients use.
#[derive(Debug, Default)]
pub(super) struct History {
    owners: BTreeMap<Slot, Vec<usize>>,
    /// For each believer and slot the place of the owner that it believes in.
    believed: BTreeMap<(usize, Slot), usize>,
}

impl History {
    pub(super) fn new(slots: impl Iterator<Item = Slot>, view: &View) -> Self {
        let owners = slots.map(|slot| (slot, Vec::from_iter(view.owner(slot))));
        Self {
            owners: owners.collect(),
            believed: BTreeMap::new(),
        }
    }

    /// The slot has another owner from now on.
    pub(super) fn note(&mut self, slot: Slot, owner: usize) {
        if let Some(owners) = self.owners.get_mut(&slot) {
            owners.push(owner);
        }
    }

    /// Somebody believes in a topology from now on; some nodes are lost.
    pub(super) fn believe(
        &mut self,
        who: usize,
        topology: &Topology,
        view: &View,
        is_lost: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        for (slot, owners) in &self.owners {
            let Some(shard) = topology.owner(*slot) else {
                continue;
            };
            let address = &topology.shards()[shard].primary;
            let believed = self.believed.entry((who, *slot)).or_default();
            let is_it = |place: &usize| view.address(owners[*place]) == address;
            let later = (*believed..owners.len()).find(is_it);
            let earlier = (0..*believed).rev().find(is_it);
            let Some(place) = later.or(earlier) else {
                return Err(format!("{who} believes that {address} has slot {slot}"));
            };
            if later.is_none() && is_lost(owners[place]) {
                let known = view.address(owners[*believed]);
                return Err(format!(
                    "{who} believes again that {address} has slot {slot}, after {known}"
                ));
            }
            *believed = place;
        }
        Ok(())
    }

    /// What somebody still believes that is not so any more.
    pub(super) fn outdated(&self) -> Option<String> {
        self.believed.iter().find_map(|((who, slot), place)| {
            let owners = &self.owners[slot];
            let (believed, last) = (owners[*place], owners.last()?);
            let text = || format!("{who} believes that {believed} has slot {slot}, not {last}");
            (believed != *last).then(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use slotway_protocol::engine::Address;

    use super::*;

    #[test]
    fn nobody_goes_back_to_an_owner_that_is_lost() {
        let nodes = ["a", "b"].map(|host| Address::new(host, 1));
        let mut view = View::new(&nodes, 2);
        let slot = Slot::of(b"");
        let mut history = History::new([slot].into_iter(), &view);
        let before = view.topology();
        view.owners[slot.index()] = 1;
        let after = view.topology();
        let believe = |history: &mut History, topology, lost| {
            let is_lost = |node| lost && node == 0;
            history.believe(7, topology, &view, is_lost).is_ok()
        };
        assert!(!believe(&mut history, &after, false), "not yet so");
        history.note(slot, 1);
        assert!(believe(&mut history, &before, true), "it lags");
        assert!(history.outdated().is_some());
        assert!(believe(&mut history, &after, true));
        assert_eq!(history.outdated(), None);
        assert!(!believe(&mut history, &before, true));
        assert!(believe(&mut history, &before, false));
        assert!(believe(&mut history, &after, false));
        history.note(slot, 0);
        assert!(history.outdated().is_some());
        assert!(believe(&mut history, &before, true), "it is so again");
        assert_eq!(history.outdated(), None);
    }
}
