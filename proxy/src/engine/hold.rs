//! Requests that wait because their slot is moving or not served. While a slot has a hold, all its
//! requests pass through it, in order: that is what keeps a client's order across redirects.
//!
//! A hold first lets everything that is in flight for its slot come back. Then it sends one
//! request ahead; once that is served the slot's new home is certain, and the rest follows.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Address, ConnectionId, Instant};

use super::fail_point;
use super::pipeline::InFlight;

/// All holds of a worker, by slot.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    holds: HashMap<Slot, Hold>,
    /// All held requests together.
    sum: Weight,
    /// The bytes of those of each client that has any.
    clients: HashMap<ConnectionId, usize>,
}

/// How much requests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Weight {
    requests: usize,
    bytes: usize,
}

/// The requests of one slot.
#[derive(Debug)]
pub(crate) struct Hold {
    /// Requests to be sent, in order.
    queue: VecDeque<Held>,
    /// Requests that came back, in order; they go before those in `queue`.
    returned: Vec<Held>,
    /// Requests for this slot that nodes have not answered.
    outstanding: usize,
    /// The last request that was sent has been served.
    certain: bool,
    /// Nothing is sent before this time.
    not_before: Instant,
    /// Rounds that ended without a request being served.
    pub(crate) attempts: u32,
    /// What the last request that came back would be told if its time were over.
    reason: Option<Bytes>,
}

/// A request that waits.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) entry: InFlight,
    pub(crate) frame: Vec<u8>,
    /// Which of a backend's pipelines it belongs to.
    pub(crate) lane: usize,
    pub(crate) target: Target,
    /// What to tell the client when the time is over; `None` for a request that was never sent.
    pub(crate) error: Option<Bytes>,
}

impl Held {
    /// The memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.frame.len() + size_of::<Self>()
    }
}

/// Where a held request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// To whoever owns the slot then.
    Owner,
    /// There, behind an ASKING.
    Ask(Address),
}

impl Holds {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.holds.len()
    }

    /// The slots that have one, in no order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.holds.keys().copied()
    }

    /// How many requests are held.
    pub(crate) fn requests(&self) -> usize {
        self.sum.requests
    }

    pub(crate) fn bytes(&self) -> usize {
        self.sum.bytes
    }

    /// The bytes of one client's held requests.
    pub(crate) fn bytes_of(&self, client: ConnectionId) -> usize {
        self.clients.get(&client).copied().unwrap_or_default()
    }

    fn note_in(&mut self, held: &Held) {
        let bytes = held.bytes();
        self.sum.requests += 1;
        self.sum.bytes += bytes;
        *self
            .clients
            .entry(held.entry.ticket.connection)
            .or_default() += bytes;
    }

    fn note_out(&mut self, held: &Held) {
        let (bytes, client) = (held.bytes(), held.entry.ticket.connection);
        self.sum.requests -= 1;
        self.sum.bytes -= bytes;
        let left = self.clients.get_mut(&client);
        let left = left.expect("what is held was counted for its client");
        *left -= bytes;
        if *left == 0 {
            self.clients.remove(&client);
        }
    }

    #[inline]
    pub(crate) fn contains(&self, slot: Slot) -> bool {
        self.holds.contains_key(&slot)
    }

    /// Begins a hold that waits for `outstanding` replies.
    pub(crate) fn begin(&mut self, slot: Slot, outstanding: usize, now: Instant) {
        let hold = Hold {
            queue: VecDeque::new(),
            returned: Vec::new(),
            outstanding,
            certain: true,
            not_before: now,
            attempts: 0,
            reason: None,
        };
        let before = self.holds.insert(slot, hold);
        assert!(before.is_none(), "a slot has one hold");
    }

    /// Adds a request behind all others of its slot.
    pub(crate) fn append(&mut self, held: Held) {
        self.note_in(&held);
        fail_point::pass();
        self.hold(held.entry.slot).queue.push_back(held);
    }

    /// Takes back a request that a node did not serve.
    pub(crate) fn put_back(&mut self, held: Held, not_before: Instant) {
        self.note_in(&held);
        let hold = self.hold(held.entry.slot);
        hold.reason = held.error.clone();
        hold.returned.push(held);
        hold.certain = false;
        hold.not_before = hold.not_before.max(not_before);
    }

    /// A request of the slot was answered or came back. Says whether none is outstanding now.
    pub(crate) fn settle(&mut self, slot: Slot) -> bool {
        let Some(hold) = self.holds.get_mut(&slot) else {
            return false;
        };
        assert!(hold.outstanding > 0, "only what is outstanding settles");
        hold.outstanding -= 1;
        if hold.outstanding > 0 {
            return false;
        }
        hold.turn();
        true
    }

    /// Lets the holds of some slots try at once: something has changed for them.
    pub(crate) fn hurry(&mut self, now: Instant, concerns: impl Fn(Slot) -> bool) {
        for (slot, hold) in &mut self.holds {
            if concerns(*slot) {
                hold.not_before = now;
            }
        }
    }

    /// Nothing of the slot is sent before that time.
    pub(crate) fn delay(&mut self, slot: Slot, not_before: Instant) {
        self.hold(slot).not_before = not_before;
    }

    /// The slots that are to be looked at now, and the next time at which one is. A request gives
    /// up when it has waited for as long as `patience`.
    pub(crate) fn due(
        &self,
        now: Instant,
        patience: Duration,
        due: &mut Vec<Slot>,
    ) -> Option<Instant> {
        let mut next = None;
        for (slot, hold) in self.holds.iter().filter(|(_, hold)| hold.outstanding == 0) {
            let at = hold.look_at(patience);
            if at <= now {
                due.push(*slot);
            } else if next.is_none_or(|next| at < next) {
                next = Some(at);
            }
        }
        // A hash map has no order of its own; the same seed must give the same run.
        due.sort_unstable();
        next
    }

    /// The first request to be sent, when nothing is outstanding.
    pub(crate) fn head(&self, slot: Slot) -> Option<&Held> {
        let hold = self.holds.get(&slot)?;
        if hold.outstanding > 0 {
            None
        } else {
            hold.queue.front()
        }
    }

    /// Takes out the first request.
    pub(crate) fn take_head(&mut self, slot: Slot) -> Option<Held> {
        let held = self.hold(slot).queue.pop_front()?;
        self.note_out(&held);
        Some(held)
    }

    /// Takes out what may be sent now, and counts it as outstanding.
    pub(crate) fn next_batch(&mut self, slot: Slot, batch: &mut Vec<Held>) {
        let hold = self.hold(slot);
        assert_eq!(
            hold.outstanding, 0,
            "a batch is sent when the one before is answered"
        );
        let Some(head) = hold.queue.front() else {
            return;
        };
        let target = head.target.clone();
        let limit = if hold.certain { usize::MAX } else { 1 };
        while batch.len() < limit
            && let Some(held) = hold.queue.pop_front_if(|held| held.target == target)
        {
            batch.push(held);
        }
        hold.outstanding = batch.len();
        batch.iter().for_each(|held| self.note_out(held));
    }

    /// Ends the hold if nothing waits in it and what is outstanding needs no care: it went to the
    /// slot's owner, behind which all that follows queues up too.
    pub(crate) fn end_if_idle(&mut self, slot: Slot) {
        let Some(hold) = self.holds.get(&slot) else {
            return;
        };
        let quiet = hold.outstanding == 0 || hold.certain;
        if hold.queue.is_empty() && hold.returned.is_empty() && quiet {
            self.holds.remove(&slot);
        }
    }

    /// When to look at a slot's hold again.
    pub(crate) fn look_at(&self, slot: Slot, patience: Duration) -> Option<Instant> {
        self.holds.get(&slot).map(|hold| hold.look_at(patience))
    }

    /// Before which time nothing of the slot is sent.
    pub(crate) fn ready_at(&self, slot: Slot) -> Option<Instant> {
        self.holds.get(&slot).map(|hold| hold.not_before)
    }

    /// Marks that the batch just taken went elsewhere than to the owner: the hold must outlive it.
    pub(crate) fn set_uncertain(&mut self, slot: Slot) {
        self.hold(slot).certain = false;
    }

    /// Why requests of the slot came back.
    pub(crate) fn reason(&self, slot: Slot) -> Option<&Bytes> {
        self.holds.get(&slot)?.reason.as_ref()
    }

    /// How many rounds in a row ended without a request being served.
    pub(crate) fn attempts(&self, slot: Slot) -> u32 {
        self.holds.get(&slot).map_or(0, |hold| hold.attempts)
    }

    /// All requests that are held.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Held> {
        let holds = self.holds.values();
        holds.flat_map(|hold| hold.queue.iter().chain(&hold.returned))
    }

    /// Counts all anew, `in_flight` being the requests of each slot that nodes have not answered.
    pub(crate) fn recount(&mut self, in_flight: &[u32]) {
        for (slot, hold) in &mut self.holds {
            let outstanding = in_flight[slot.index()] as usize;
            if core::mem::replace(&mut hold.outstanding, outstanding) > 0 && outstanding == 0 {
                hold.turn();
            }
        }
        (self.sum, self.clients) = self.weigh();
    }

    fn weigh(&self) -> (Weight, HashMap<ConnectionId, usize>) {
        let mut sum = Weight::default();
        let mut clients = HashMap::new();
        for held in self.held() {
            sum.requests += 1;
            sum.bytes += held.bytes();
            *clients.entry(held.entry.ticket.connection).or_default() += held.bytes();
        }
        (sum, clients)
    }

    pub(crate) fn check_invariants(&self, in_flight: &[u32]) {
        let (sum, clients) = self.weigh();
        assert_eq!((self.sum, &self.clients), (sum, &clients));
        for (slot, hold) in &self.holds {
            assert_eq!(
                hold.outstanding,
                in_flight[slot.index()] as usize,
                "a hold waits for what is under way"
            );
        }
    }

    fn hold(&mut self, slot: Slot) -> &mut Hold {
        self.holds
            .get_mut(&slot)
            .expect("the caller has seen the hold")
    }
}

impl Hold {
    /// When something may be sent, or when the first request has waited for too long.
    fn look_at(&self, patience: Duration) -> Instant {
        let head = self.queue.front();
        head.map_or(self.not_before, |head| {
            self.not_before.min(head.entry.held_since + patience)
        })
    }

    /// All replies of a round are here: what came back goes to the front again.
    fn turn(&mut self) {
        self.certain = self.returned.is_empty();
        self.attempts = if self.certain { 0 } else { self.attempts + 1 };
        for held in self.returned.drain(..).rev() {
            self.queue.push_front(held);
        }
    }
}
