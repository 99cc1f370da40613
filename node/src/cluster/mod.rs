//! The node's part in its cluster: what it knows of the others, and whether a request is its own.

pub mod bus;
mod slots;
mod view;

pub(crate) use slots::{Keyed, Permissions, each_key, has_keys, lost, route};
pub use view::{ClusterConfig, ClusterView, NodeInfo};

use slotway_protocol::cluster::{Role, SLOTS, Slot};

/// A node's view of its cluster, with the answers it gives most often worked out.
#[derive(Debug)]
pub(crate) struct Cluster {
    me: String,
    /// The index of this node in the view.
    my_index: usize,
    view: ClusterView,
    state: ClusterState,
}

/// Whether the cluster as a whole can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterState {
    Ok,
    /// Some slot has no working owner.
    Fail,
}

impl Cluster {
    pub(crate) fn new(config: ClusterConfig) -> Self {
        let mut cluster = Self {
            me: config.me,
            my_index: 0,
            view: ClusterView::default(),
            state: ClusterState::Fail,
        };
        cluster.set_view(config.view);
        cluster
    }

    pub(crate) fn view(&self) -> &ClusterView {
        &self.view
    }

    /// Replaces the whole view. One without this node in it is refused, as it can only be a
    /// mistake.
    pub(crate) fn set_view(&mut self, view: ClusterView) {
        match view.index_of(&self.me) {
            Some(index) => {
                self.my_index = index;
                self.view = view;
                self.update_state();
            }
            None => debug_assert!(false, "a view contains the node that holds it"),
        }
    }

    /// Changes the view in place.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut ClusterView) -> R) -> R {
        let result = change(&mut self.view);
        self.update_state();
        result
    }

    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    pub(crate) fn my_index(&self) -> usize {
        self.my_index
    }

    pub(crate) fn my_info(&self) -> &NodeInfo {
        &self.view.nodes()[self.my_index]
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.my_info().role == Role::Primary
    }

    /// Whether the keys of a slot are this node's or its primary's.
    pub(crate) fn serves(&self, slot: Slot) -> bool {
        let owner = self.view.owner(slot);
        owner.is_some_and(|owner| {
            owner.id == self.me || self.my_info().primary.as_ref() == Some(&owner.id)
        })
    }

    pub(crate) fn state(&self) -> ClusterState {
        self.state
    }

    fn update_state(&mut self) {
        let served = |slot: Slot| {
            let owner = self.view.owner_index(slot);
            owner.is_some_and(|owner| !self.view.nodes()[owner].failed)
        };
        let served = Slot::all().filter(|slot| served(*slot)).count();
        let enough = served == SLOTS || (!self.view.require_full_coverage && served > 0);
        self.state = if enough {
            ClusterState::Ok
        } else {
            ClusterState::Fail
        };
    }
}
