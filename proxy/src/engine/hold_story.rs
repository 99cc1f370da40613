//! What a worker tells of a time in which requests had to wait: for whom, how long, how many. What
//! is over within a moment, such as a redirect that is followed, is not told.

use core::time::Duration;
use std::collections::BTreeMap;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Action, Address, Instant};

use super::{NO_OWNER, Notice, Proxy};

/// One such time, when it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldStory {
    /// Of each node whose slots had to wait: the node, and who has the slot now.
    pub nodes: Vec<(Option<Address>, Option<Address>)>,
    /// The most that waited at the same time.
    pub slots: usize,
    pub time: Duration,
    /// Times that a request had to wait.
    pub requests: u64,
    /// Requests that got an error since they waited too long, or since too much waited already.
    pub expired: u64,
    pub refused: u64,
    /// Those whose result nobody knows.
    pub unknown: u64,
}

/// What is noted until then.
#[derive(Debug, Default)]
pub(super) struct HoldNotes {
    /// What had been counted when nothing waited last.
    before: Counted,
    since: Option<Instant>,
    /// When anything was last seen to wait.
    last: Instant,
    slots: usize,
    /// For each node one of its slots that waited.
    nodes: BTreeMap<Option<Address>, Slot>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    at: Option<Instant>,
    requests: u64,
    expired: u64,
    refused: u64,
    unknown: u64,
}

impl Proxy {
    /// Looks after holds now and then.
    pub(super) fn note_holds(&mut self, now: Instant) {
        if !self.holds.is_empty() {
            let began = self.watched.holds.before.at.unwrap_or(now);
            self.watched.holds.since.get_or_insert(began);
            self.watched.holds.last = now;
            self.watched.holds.slots = self.watched.holds.slots.max(self.holds.len());
            self.note_held_nodes();
            return;
        }
        let notes = &self.watched.holds;
        if notes.since.is_some() && now.since(notes.last) < QUIET {
            // Requests leave for a node and come back each time that it is tried in vain.
            return;
        }
        let counted = Counted {
            at: Some(now),
            requests: self.stats.held.value(),
            expired: self.stats.holds_expired.value(),
            refused: self.stats.holds_refused.value(),
            unknown: self.stats.results_unknown.value(),
        };
        let notes = std::mem::take(&mut self.watched.holds);
        self.watched.holds.before = counted;
        let Some(since) = notes.since else { return };
        let nodes = notes.nodes.into_iter();
        let nodes = nodes.map(|(from, slot)| (from, self.address_of(self.owners[slot.index()])));
        let before = notes.before;
        let story = HoldStory {
            nodes: nodes.collect(),
            slots: notes.slots,
            time: notes.last.since(since),
            requests: counted.requests - before.requests,
            expired: counted.expired - before.expired,
            refused: counted.refused - before.refused,
            unknown: counted.unknown - before.unknown,
        };
        let notice = Notice::Held(Box::new(story));
        self.actions.push_back(Action::Notify(notice));
    }

    /// Whose slots wait, as the topology tells it.
    fn note_held_nodes(&mut self) {
        let mut owners: BTreeMap<u32, Slot> = BTreeMap::new();
        for slot in self.holds.slots() {
            owners.entry(self.told[slot.index()]).or_insert(slot);
        }
        for (owner, slot) in owners {
            let address = self.address_of(owner);
            if self.watched.holds.nodes.len() < NODES_MAX {
                self.watched.holds.nodes.entry(address).or_insert(slot);
            }
        }
    }

    fn address_of(&self, owner: u32) -> Option<Address> {
        let is_known = owner != NO_OWNER;
        is_known.then(|| self.backends[owner as usize].address().clone())
    }
}

/// How long nothing has to wait for it to be over.
const QUIET: Duration = Duration::from_millis(500);

/// More nodes are not named.
const NODES_MAX: usize = 32;
