//! What of a node's cluster is to outlast the process: when it is written, and what waits for that.

use slotway_protocol::engine::ConnectionId;

use super::Cluster;
use super::effects::{Effect, SavedCluster};

/// Writes the cluster file, one version at a time.
#[derive(Debug, Default)]
pub(super) struct Saver {
    /// Somebody writes files. Without, all counts as saved at once.
    has_file: bool,
    pub(super) is_dirty: bool,
    /// What has changed has to be certain to outlast the machine.
    pub(super) needs_sync: bool,
    /// The version that is being written.
    running: Option<u64>,
    last_number: u64,
    /// Nodes that get their vote once it is saved, and the epoch of each. There is at most one for
    /// each epoch, and only the last can still count.
    vote: Option<PendingVote>,
    hold: Hold,
    /// Clients whose reply waits for what they have changed to be written, and the version of the
    /// file that has it; `None` until that is begun. Each waits for one at most.
    waiting: Vec<(ConnectionId, Option<u64>)>,
    /// Those for whom it is.
    answered: Vec<ConnectionId>,
}

/// Whether messages wait for what they tell to be written: others go by it from then on, and a node
/// that has forgotten it would contradict them.
#[derive(Debug, Default)]
struct Hold {
    is_on: bool,
    /// The version of the file that has it; `None` until that is begun.
    number: Option<u64>,
    messages: Vec<Effect>,
}

#[derive(Debug)]
struct PendingVote {
    candidate: String,
    epoch: u64,
    /// The version of the file that has it; `None` until that is begun.
    number: Option<u64>,
}

impl Saver {
    pub(super) fn has_work(&self) -> bool {
        (self.is_dirty && self.running.is_none()) || (self.vote.is_some() && !self.has_file)
    }
}

impl Cluster {
    /// Somebody writes what [`Effect::Save`] says, and answers.
    pub(crate) fn set_has_file(&mut self) {
        self.saver.has_file = true;
    }

    /// Has all that has changed written, whether or not anything has.
    pub(crate) fn save_now(&mut self) {
        self.saver.is_dirty = true;
        self.saver.needs_sync = true;
    }

    /// Sends a vote as soon as it is certain that it is not forgotten.
    pub(super) fn vote_when_saved(&mut self, candidate: String, epoch: u64) {
        self.saver.is_dirty = true;
        self.saver.needs_sync = true;
        self.saver.vote = Some(PendingVote {
            candidate,
            epoch,
            number: None,
        });
    }

    /// Holds all messages back until what has changed is certain to outlast the process.
    pub(super) fn save_before_telling(&mut self) {
        self.save_now();
        if self.saver.has_file {
            self.saver.hold.is_on = true;
            self.saver.hold.number = None;
        }
    }

    /// Has a client's reply wait until what it has changed is written, so that nobody goes by what
    /// this node may forget; whether that is to be waited for.
    pub(crate) fn answer_when_saved(&mut self, client: ConnectionId) -> bool {
        let saver = &mut self.saver;
        let waits = self.has_bus && saver.has_file && saver.is_dirty;
        if waits {
            saver.waiting.push((client, None));
        }
        waits
    }

    /// The clients whose reply waits no more.
    pub(crate) fn take_answered(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.saver.answered)
    }

    /// Sends something, now or when it may be known.
    pub(super) fn send_or_hold(&mut self, message: Effect) {
        let hold = &mut self.saver.hold;
        if !hold.is_on {
            self.effects.push_back(message);
        } else if hold.messages.len() < HELD_MAX {
            hold.messages.push(message);
        }
    }

    pub(super) fn save_if_due(&mut self) {
        if !self.saver.is_dirty || self.saver.running.is_some() {
            return;
        }
        self.saver.is_dirty = false;
        let sync = std::mem::take(&mut self.saver.needs_sync);
        self.saver.last_number += 1;
        let number = self.saver.last_number;
        if let Some(vote) = &mut self.saver.vote {
            vote.number.get_or_insert(number);
        }
        if self.saver.hold.is_on {
            self.saver.hold.number.get_or_insert(number);
        }
        for (_, version) in &mut self.saver.waiting {
            version.get_or_insert(number);
        }
        if !self.saver.has_file {
            return self.saved(number);
        }
        self.saver.running = Some(number);
        let text = self.nodes_conf();
        self.effects
            .push_back(Effect::Save(SavedCluster { number, text, sync }));
    }

    /// A version of the file is written.
    pub(crate) fn saved(&mut self, number: u64) {
        self.saver.running = None;
        let hold = &mut self.saver.hold;
        if hold.number.is_some_and(|version| version <= number) {
            let held = std::mem::take(hold);
            self.effects.extend(held.messages);
        }
        let waiting = &mut self.saver.waiting;
        let is_written = |version: &Option<u64>| version.is_some_and(|version| version <= number);
        let answered = waiting.extract_if(.., |(_, version)| is_written(version));
        let answered = answered.map(|(client, _)| client);
        self.saver.answered.extend(answered);
        let is_saved = |vote: &PendingVote| vote.number.is_some_and(|version| version <= number);
        if self.saver.vote.as_ref().is_some_and(is_saved)
            && let Some(vote) = self.saver.vote.take()
            && vote.epoch == self.last_vote_epoch
        {
            self.send_vote(&vote.candidate, vote.epoch);
        }
        self.save_if_due();
    }
}

/// How many messages are held back at most; any further ones are lost, as with their link.
const HELD_MAX: usize = 65_536;
