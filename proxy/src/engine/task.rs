//! Commands that take more than one request, or a wait: each is a small state machine of its own
//! that is given replies and says what to send next. Here is what they have in common; where they
//! live is `running.rs`, and running them is `tasks.rs`' part.

use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{CommandId, lookup};
use slotway_protocol::engine::{Address, Instant};
use slotway_protocol::resp::{Protocol, encode};

use super::NO_OWNER;
use super::backends::Backend;
use super::peers::{Answer, Question};
use super::pubsub::Subscriptions;

/// A command under way that is more than one request. It begins with [`Task::begin`], is then given
/// what it asked for, and ends when it says [`Steps::finish`]. What it sends goes through the
/// client's own lanes, so replies are in the client's protocol.
pub(crate) trait Task: fmt::Debug {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps);

    /// The reply to the leg that was sent with that number.
    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps);

    /// The time asked for with [`Steps::wake_after`] is over.
    fn wake(&mut self, _cluster: &Cluster<'_>, _steps: &mut Steps) {}

    /// A worker's answer to what was asked with [`Steps::ask`].
    fn answer(&mut self, _answer: Answer, _cluster: &Cluster<'_>, _steps: &mut Steps) {}

    /// A key that was named with [`Steps::await_keys`] may have changed.
    fn key_changed(&mut self, _key: &[u8], _cluster: &Cluster<'_>, _steps: &mut Steps) {}

    /// CLIENT UNBLOCK was called for the client. A task that is blocked ends as if its time were
    /// over, or with an error. Says whether it was blocked.
    fn unblock(&mut self, _error: bool, _steps: &mut Steps) -> bool {
        false
    }

    /// About how many bytes it keeps.
    fn memory(&self) -> usize {
        0
    }

    /// The client has left. Says whether the task wants to be told of what is still in flight; if
    /// so it goes on until nothing is.
    fn abandon(&mut self, _steps: &mut Steps) -> bool {
        false
    }
}

/// What a task may know of the cluster and the time.
pub(crate) struct Cluster<'a> {
    pub(super) owners: &'a [u32],
    pub(super) backends: &'a [Backend],
    /// For each backend what tells one run of its process from another, if that is known.
    pub(super) runs: &'a [Option<u64>],
    pub(crate) protocol: Protocol,
    pub(crate) now: Instant,
    /// How long a request may wait for what is not served.
    pub(crate) hold_timeout: Duration,
    /// How many bytes of replies may be kept for one request.
    pub(crate) merge_bytes_max: usize,
    /// What clients of this worker are subscribed to.
    pub(super) subscriptions: &'a Subscriptions,
    /// How many workers answer what is asked with [`Steps::ask`].
    pub(crate) workers: usize,
}

/// One of the nodes that own slots, as long as the topology stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Node(pub(super) u32);

impl Node {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

impl Cluster<'_> {
    /// The node that owns the slot.
    pub(crate) fn owner(&self, slot: Slot) -> Option<Node> {
        let owner = self.owners[slot.index()];
        (owner != NO_OWNER).then_some(Node(owner))
    }

    /// One slot of each node that owns any, in the order of the slots. Where none is known, the
    /// first slot of all: what is sent there waits for its owner.
    pub(crate) fn shards(&self) -> Vec<Slot> {
        shards(self.owners)
    }

    /// The last slot of those that the slot's owner owns without a gap from it on.
    pub(crate) fn last_of_range(&self, slot: Slot) -> Slot {
        let owner = self.owners[slot.index()];
        let slots = Slot::all().skip(slot.index());
        let same = slots.take_while(|slot| self.owners[slot.index()] == owner);
        same.last().unwrap_or(slot)
    }

    /// Where a node is reached.
    pub(crate) fn address(&self, node: Node) -> Option<&Address> {
        let backend = self.backends.get(node.0 as usize)?;
        Some(backend.address())
    }

    /// What tells one run of a node's process from another, if it was noted since the connection
    /// to it was opened.
    pub(crate) fn run(&self, node: Node) -> Option<u64> {
        self.runs.get(node.0 as usize).copied().flatten()
    }
}

/// See [`Cluster::shards`].
pub(super) fn shards(owners: &[u32]) -> Vec<Slot> {
    let mut seen = Vec::new();
    let mut shards = Vec::new();
    let mut last = NO_OWNER;
    for slot in Slot::all() {
        let owner = owners[slot.index()];
        if owner == last || owner == NO_OWNER {
            continue;
        }
        last = owner;
        if !seen.contains(&owner) {
            seen.push(owner);
            shards.push(slot);
        }
    }
    if shards.is_empty() {
        shards.push(Slot::of(b""));
    }
    shards
}

/// The command of that name, as in `cluster|nodes`.
pub(crate) fn command_id(name: &str) -> CommandId {
    let (container, subcommand) = name.split_once('|').unwrap_or((name, ""));
    let Some(command) = lookup(container.as_bytes()) else {
        return CommandId(0);
    };
    let subcommand = command.subcommand(subcommand.as_bytes());
    subcommand.unwrap_or(command).id
}

/// A request of these words.
pub(crate) fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::request(&mut frame, words);
    frame
}

/// What a task wants done.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    pub(super) legs: Vec<Leg>,
    pub(super) wake_after: Option<Duration>,
    pub(super) runs: Vec<(Node, u64)>,
    pub(super) stale: bool,
    pub(super) questions: Vec<Question>,
    pub(super) late: bool,
    pub(super) interrupt: bool,
    pub(super) wake_if_idle: bool,
    pub(super) restored: u64,
    pub(super) await_keys: Option<(Vec<Bytes>, bool)>,
    pub(super) nothing: bool,
    pub(super) script: Option<Bytes>,
    pub(super) too_large: bool,
    pub(super) keep: Option<Slot>,
    pub(super) lose: bool,
    pub(super) finished: Option<Vec<u8>>,
}

/// A request that a task sends.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) part: u32,
    pub(super) to: To,
    /// The command as which it counts for what may be repeated when a connection is lost.
    pub(super) command: CommandId,
    pub(super) frame: Vec<u8>,
    /// Replies that come before the one that counts.
    pub(super) preceding: u32,
}

/// Where a leg goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum To {
    /// To the slot's owner, whoever that is, with redirects and holds as any request.
    Owner(Slot),
    /// To that node and no other. When it can't be reached the reply is an error for which
    /// [`super::answer::is_passing`] is true.
    Node(Node),
    /// To the slot's owner on a connection that is the task's alone.
    Private(Slot),
    /// On the connection that the task was given, wherever that leads.
    Pinned(Slot),
    /// The same for a node that may own no slots, at an address that another node has told.
    Address(Address),
}

impl Steps {
    /// Sends a request to whoever owns the slot, as if a client had sent it.
    pub(crate) fn send(&mut self, part: u32, slot: Slot, command: CommandId, frame: Vec<u8>) {
        self.leg(part, To::Owner(slot), command, frame, 0);
    }

    /// Like [`Steps::send`], of several requests in one frame. `preceding` replies come before the
    /// one that counts; an error among them is the reason when that is one, too.
    pub(crate) fn send_block(
        &mut self,
        part: u32,
        slot: Slot,
        preceding: u32,
        command: CommandId,
        frame: Vec<u8>,
    ) {
        self.leg(part, To::Owner(slot), command, frame, preceding);
    }

    /// Sends a request to one node; it is sent once at most and follows no redirect.
    pub(crate) fn send_to(&mut self, part: u32, node: Node, command: CommandId, frame: Vec<u8>) {
        self.leg(part, To::Node(node), command, frame, 0);
    }

    /// Sends a request to the slot's owner on a connection that is the task's alone. It is sent
    /// once; where a redirect leads is noted, and the next request goes there.
    pub(crate) fn send_private(
        &mut self,
        part: u32,
        slot: Slot,
        command: CommandId,
        frame: Vec<u8>,
    ) {
        self.leg(part, To::Private(slot), command, frame, 0);
    }

    /// Like [`Steps::send_private`], of several requests in one frame: `preceding` replies come
    /// before the one that counts.
    pub(crate) fn send_private_block(
        &mut self,
        part: u32,
        slot: Slot,
        preceding: u32,
        command: CommandId,
        frame: Vec<u8>,
    ) {
        self.leg(part, To::Private(slot), command, frame, preceding);
    }

    /// Sends a request for the slot on the private connection that the task was begun with. For
    /// `preceding` see [`Steps::send_block`].
    pub(crate) fn send_pinned(
        &mut self,
        slot: Slot,
        preceding: u32,
        command: CommandId,
        frame: Vec<u8>,
    ) {
        self.leg(0, To::Pinned(slot), command, frame, preceding);
    }

    fn leg(&mut self, part: u32, to: To, command: CommandId, frame: Vec<u8>, preceding: u32) {
        self.legs.push(Leg {
            part,
            to,
            command,
            frame,
            preceding,
        });
    }

    /// Asks the nodes to end what blocks the task's private connections. The replies still come.
    pub(crate) fn interrupt(&mut self) {
        self.interrupt = true;
    }

    /// Calls [`Task::wake`] at once if nothing is in flight.
    pub(crate) fn wake_if_idle(&mut self) {
        self.wake_if_idle = true;
    }

    /// Calls [`Task::key_changed`] when one of these keys may have changed since the task last saw
    /// it, until the task ends. Of those who take elements away one at a time is called for a key,
    /// and the next when that one waits again or has ended.
    pub(crate) fn await_keys(&mut self, keys: Vec<Bytes>, takes: bool) {
        self.await_keys = Some((keys, takes));
    }

    /// Ends the task with the null array of the client's protocol.
    pub(crate) fn finish_with_nothing(&mut self) {
        self.nothing = true;
    }

    /// That many elements go back to where they were taken from.
    pub(crate) fn note_restored(&mut self, elements: u64) {
        self.restored += elements;
    }

    /// There is more to put together than may be kept; it is only counted.
    pub(crate) fn note_too_large(&mut self) {
        self.too_large = true;
    }

    /// All nodes know this script: the workers remember it.
    pub(crate) fn share_script(&mut self, body: Bytes) {
        self.script = Some(body);
    }

    /// When the task ends its private connection stays with the client, until its next task that
    /// has one takes it over.
    pub(crate) fn keep_private(&mut self, slot: Slot) {
        self.keep = Some(slot);
    }

    /// Ends the task's private connections; one that the client keeps is found to be lost.
    pub(crate) fn lose_private(&mut self) {
        self.lose = true;
    }

    /// The same, to the node that another node has said to be there.
    pub(crate) fn send_to_address(
        &mut self,
        part: u32,
        address: Address,
        command: CommandId,
        frame: Vec<u8>,
    ) {
        self.legs.push(Leg {
            part,
            to: To::Address(address),
            command,
            frame,
            preceding: 0,
        });
    }

    /// Calls [`Task::wake`] after that time; an earlier wish of the same task is forgotten.
    pub(crate) fn wake_after(&mut self, time: Duration) {
        self.wake_after = Some(time);
    }

    /// Notes what tells this run of the node's process from others; forgotten when a connection to
    /// it is lost.
    pub(crate) fn note_run(&mut self, node: Node, run: u64) {
        self.runs.push((node, run));
    }

    /// The topology is found to be out of date.
    pub(crate) fn topology_is_stale(&mut self) {
        self.stale = true;
    }

    /// Asks every worker, this one included; [`Task::answer`] is called for each that answers.
    pub(crate) fn ask(&mut self, question: Question) {
        self.questions.push(question);
    }

    /// Some worker has not answered in time; it is only counted.
    pub(crate) fn answers_late(&mut self) {
        self.late = true;
    }

    /// Ends the task with a whole reply for the client.
    pub(crate) fn finish(&mut self, reply: Vec<u8>) {
        self.finished = Some(reply);
    }
}
