//! Sends what waits in holds, in order, once the slot's home is known.

use core::time::Duration;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Action, ConnectionId, Instant};

use super::fail_point;
use super::hold::{Held, Target};
use super::node_stats::NodeError;
use super::pipeline::{ASKING, InFlight, Kind, Link};
use super::redirect::{Later, Verdict};
use super::retries::{RETRY_WAIT, jittered};
use super::session::Reply;
use super::transaction::lead;
use super::{NO_OWNER, Notice, Proxy, answer};

impl Proxy {
    /// The node did not serve the oldest request: it goes back to its slot's hold.
    #[cold]
    pub(super) fn send_elsewhere(
        &mut self,
        index: usize,
        verdict: Verdict,
        is_script: bool,
        reply: &[u8],
        now: Instant,
    ) {
        let lane = index % self.lanes();
        let frame = self.pipelines[index].front_bytes();
        let Some(entry) = self.pipelines[index].pop() else {
            return;
        };
        let slot = entry.slot;
        self.begin_hold(slot, now);
        self.in_flight_by_slot[slot.index()] -= 1;
        fail_point::pass();
        if verdict == Verdict::Later(Later::TryAgain)
            && let Some(requests) = self.scatter(&entry, &frame, lane)
        {
            self.stats.count_later(Later::TryAgain);
            for held in requests {
                self.put_back(held, now, now);
            }
        } else {
            let held = Held {
                entry,
                frame,
                lane,
                target: Target::Owner,
                error: None,
            };
            self.redirect(index, held, verdict, is_script, reply, now);
        }
        if self.holds.settle(slot) {
            self.advance_hold(slot, now);
        }
    }

    /// Takes back a request to send it where and when the node's reply says.
    fn redirect(
        &mut self,
        index: usize,
        mut held: Held,
        verdict: Verdict,
        is_script: bool,
        reply: &[u8],
        now: Instant,
    ) {
        match &verdict {
            Verdict::Moved(_) | Verdict::Ask(_) => held.entry.redirects += 1,
            Verdict::Later(Later::Stranger) => {
                held.error = Some(answer::error(answer::STRANGER).into());
            }
            Verdict::Later(_) => {
                // Waiting, not going round in a circle: its own time limit bounds it.
                held.entry.redirects = 0;
                held.error = Some(Bytes::copy_from_slice(reply));
            }
            Verdict::Deliver => {}
        }
        let slot = held.entry.slot;
        let (target, not_before) = if is_script {
            self.follow_for_script(index, slot, verdict, now)
        } else {
            self.follow(index, slot, verdict, now)
        };
        held.target = target;
        if held.entry.redirects > self.options.redirects_max {
            self.deliver_error(held.entry.ticket, answer::REDIRECTS, now);
        } else {
            self.put_back(held, not_before, now);
        }
    }

    /// Where a request goes next, and when at the earliest.
    fn follow(
        &mut self,
        index: usize,
        slot: Slot,
        verdict: Verdict,
        now: Instant,
    ) -> (Target, Instant) {
        let attempts = self.holds.attempts(slot);
        match verdict {
            Verdict::Moved(address) => {
                self.stats.redirects_moved.inc();
                let owner = self.backend(&address) as u32;
                let before = core::mem::replace(&mut self.owners[slot.index()], owner);
                self.note_move(before, owner, now);
                self.topology_is_stale();
                (Target::Owner, now + redirect_pause(attempts))
            }
            Verdict::Ask(address) => {
                self.stats.redirects_ask.inc();
                self.note_asked(slot, now);
                (Target::Ask(address), now + redirect_pause(attempts))
            }
            Verdict::Later(reason) => {
                self.stats.count_later(reason);
                if reason != Later::TryAgain {
                    self.topology_is_stale();
                }
                let again = if reason.is_of_node() {
                    self.stats.gates.inc();
                    self.count_node_error(index, NodeError::NotServing);
                    self.gates.shut(self.pipelines[index].backend, now)
                } else {
                    self.retry_at(attempts, now)
                };
                (Target::Owner, again)
            }
            Verdict::Deliver => (Target::Owner, now),
        }
    }

    /// The same for a script, whose redirect may be its own invention: it is believed for this one
    /// request only.
    fn follow_for_script(
        &mut self,
        index: usize,
        slot: Slot,
        verdict: Verdict,
        now: Instant,
    ) -> (Target, Instant) {
        match verdict {
            Verdict::Moved(address) | Verdict::Ask(address) => {
                self.stats.redirects_moved.inc();
                self.topology_is_stale();
                let pause = redirect_pause(self.holds.attempts(slot));
                (Target::Ask(address), now + pause)
            }
            other => self.follow(index, slot, other, now),
        }
    }

    /// When to try again after so many times.
    fn retry_at(&mut self, attempts: u32, now: Instant) -> Instant {
        now + jittered(back_off(attempts), self.random())
    }

    /// A node that served nobody does so again: all that waits for it goes on.
    #[cold]
    pub(super) fn open_gate(&mut self, backend: usize, now: Instant) {
        if self.gates.open(backend) {
            let owners = &self.owners;
            let waits = |slot: Slot| owners[slot.index()] == backend as u32;
            self.holds.hurry(now, waits);
            self.advance_due(now);
        }
    }

    pub(super) fn topology_is_stale(&mut self) {
        self.actions
            .push_back(Action::Notify(Notice::TopologyStale));
    }

    /// As long as a slot's requests wait, its new home may be known at any moment. Nodes that serve
    /// their own slots all the while say nothing of it, so somebody has to ask.
    pub(super) fn ask_for_home(&mut self) {
        if !self.holds.is_empty() {
            self.topology_is_stale();
        }
    }

    /// A slot's requests wait from now on, if they do not yet.
    pub(super) fn begin_hold(&mut self, slot: Slot, now: Instant) {
        if !self.holds.contains(slot) {
            let outstanding = self.outstanding(slot);
            self.holds.begin(slot, outstanding, now);
        }
    }

    /// Takes back a request that was not served, unless too much waits already.
    pub(super) fn put_back(&mut self, mut held: Held, not_before: Instant, now: Instant) {
        note_held(&mut held, now);
        if self.hold_is_full(&held) {
            return;
        }
        self.stats.held.inc();
        let client = held.entry.ticket.connection;
        fail_point::pass();
        self.holds.put_back(held, not_before);
        fail_point::pass();
        self.limit_held(client);
        self.wake_at(not_before.max(now));
    }

    /// Reads no more from a client of which too much is held.
    pub(super) fn limit_held(&mut self, client: ConnectionId) {
        if self.holds.bytes_of(client) > self.options.client_hold_bytes_max {
            self.pause(client);
        }
    }

    /// Answers a request that can't wait because too much does.
    pub(super) fn hold_is_full(&mut self, held: &Held) -> bool {
        // One request has room however large it is, or it could never follow a redirect.
        let full = self.holds.bytes() > 0
            && (self.holds.bytes() + held.bytes() > self.options.hold_bytes_max
                || self.holds.requests() >= self.options.hold_requests_max);
        if full {
            self.stats.holds_refused.inc();
            self.deliver_error(held.entry.ticket, answer::HOLD_FULL, held.entry.arrived);
        }
        full
    }

    /// Goes on with every hold whose time has come.
    pub(super) fn advance_due(&mut self, now: Instant) {
        if self.holds.is_empty() {
            return;
        }
        let mut slots = std::mem::take(&mut self.scratch.slots);
        slots.clear();
        let patience = self.options.hold_timeout;
        self.holds.due(now, patience, &mut slots);
        for slot in &slots {
            self.advance_hold(*slot, now);
        }
        slots.clear();
        if let Some(next) = self.holds.due(now, patience, &mut slots) {
            self.wake_at(next);
        }
        self.scratch.slots = slots;
    }

    /// Sends what a hold may send now. Nothing of it is outstanding.
    pub(super) fn advance_hold(&mut self, slot: Slot, now: Instant) {
        self.expire(slot, now);
        let Some(target) = self.holds.head(slot).map(|head| head.target.clone()) else {
            return self.holds.end_if_idle(slot);
        };
        let Some(backend) = self.target_backend(slot, &target) else {
            self.topology_is_stale();
            return self.wait(slot, now + UNOWNED_RETRY);
        };
        if let Some(ready) = self.holds.ready_at(slot)
            && ready > now
        {
            return self.look_again(slot);
        }
        if let Some(until) = self.down_until(backend, now) {
            return self.wait(slot, until);
        }
        if let Err(until) = self.may_try(slot, backend, now) {
            return self.wait(slot, until);
        }
        let mut batch = std::mem::take(&mut self.scratch.batch);
        self.holds.next_batch(slot, &mut batch);
        for held in batch.drain(..) {
            fail_point::pass();
            self.send_held(held, backend, now);
        }
        self.scratch.batch = batch;
        if target != Target::Owner {
            self.holds.set_uncertain(slot);
        }
        self.holds.end_if_idle(slot);
    }

    /// Whether a slot's requests may go to a node now; else, when to look again.
    fn may_try(&mut self, slot: Slot, backend: usize, now: Instant) -> Result<(), Instant> {
        self.gates.admit(backend, now)?;
        let again = self.holds.attempts(slot) > 0;
        if again && !self.backends[backend].retries.take() {
            self.stats.retries_deferred.inc();
            return Err(now + RETRY_WAIT);
        }
        Ok(())
    }

    fn wait(&mut self, slot: Slot, until: Instant) {
        self.holds.delay(slot, until);
        self.look_again(slot);
    }

    /// Goes on with a hold when it may be tried, or when its first request gives up.
    fn look_again(&mut self, slot: Slot) {
        if let Some(at) = self.holds.look_at(slot, self.options.hold_timeout) {
            self.wake_at(at);
        }
    }

    /// Answers the requests at the head that have waited too long.
    fn expire(&mut self, slot: Slot, now: Instant) {
        while let Some(head) = self.holds.head(slot)
            && now.since(head.entry.held_since) >= self.options.hold_timeout
        {
            let Some(held) = self.holds.take_head(slot) else {
                return;
            };
            self.stats.holds_expired.inc();
            let waited = now.micros_since(held.entry.held_since);
            self.stats.hold_time.observe(waited);
            let reason = self.why_given_up(&held);
            self.deliver(held.entry.ticket, Reply::Copied(&reason), now);
        }
    }

    /// What a request is told that has waited too long: what the last one before it was told, if it
    /// was never sent itself.
    fn why_given_up(&self, held: &Held) -> Bytes {
        let slot = held.entry.slot;
        if let Some(reason) = held.error.as_ref().or_else(|| self.holds.reason(slot)) {
            return reason.clone();
        }
        let owner = self.owners[slot.index()];
        let pipeline = self
            .pipelines
            .get(owner as usize * self.lanes() + held.lane);
        match pipeline {
            Some(pipeline) if matches!(pipeline.link, Link::Down { .. }) => {
                answer::unreachable(&pipeline.address).into()
            }
            _ => answer::error(answer::SLOT_NOT_SERVED).into(),
        }
    }

    fn target_backend(&mut self, slot: Slot, target: &Target) -> Option<usize> {
        match target {
            Target::Owner => {
                let owner = self.owners[slot.index()];
                (owner != NO_OWNER).then_some(owner as usize)
            }
            Target::Ask(address) => Some(self.backend(address)),
        }
    }

    /// Until when a backend that could not be reached is left alone.
    pub(super) fn down_until(&self, backend: usize, now: Instant) -> Option<Instant> {
        let lanes = self.lanes();
        let first = backend * lanes;
        let pipelines = &self.pipelines[first..first + self.base_lanes()];
        let down = pipelines.iter().filter_map(|pipeline| match pipeline.link {
            Link::Down { until } if until > now => Some(until),
            _ => None,
        });
        down.max()
    }

    fn send_held(&mut self, mut held: Held, backend: usize, now: Instant) {
        let index = backend * self.lanes() + held.lane;
        let pipeline = &mut self.pipelines[index];
        if matches!(pipeline.link, Link::Down { .. }) {
            pipeline.link = Link::Idle;
        }
        let waited = now.micros_since(held.entry.held_since);
        self.stats.hold_time.observe(waited);
        let mut was_empty = false;
        let kind = match held.target {
            Target::Owner => Kind::Request,
            Target::Ask(_) => {
                // An ASKING is for the next command, and with a MULTI for all up to its EXEC.
                let (len, replies) = lead(&held.frame);
                let rest = held.frame.split_off(len);
                let mut first = core::mem::replace(&mut held.frame, rest);
                first.extend_from_slice(ASKING);
                held.entry.len -= len as u32;
                held.entry.preceding -= replies;
                let asking = InFlight {
                    preceding: replies,
                    ..InFlight::unowned(Kind::Asking, first.len(), now)
                };
                was_empty = pipeline.push(&first, asking);
                Kind::Asked
            }
        };
        self.stats.backend_bytes_out.add(held.frame.len() as u64);
        self.in_flight_by_slot[held.entry.slot.index()] += 1;
        fail_point::pass();
        let entry = InFlight {
            kind,
            sent: now,
            ..held.entry
        };
        was_empty |= pipeline.push_shared(held.frame.into(), entry);
        match pipeline.link {
            Link::Open(connection) if was_empty => {
                self.actions.push_back(Action::Wake(connection));
            }
            Link::Idle => self.connect(index),
            _ => {}
        }
    }
}

/// How soon to look again for the owner of a slot that has none.
const UNOWNED_RETRY: Duration = Duration::from_millis(50);

/// Notes when a request first had to wait.
pub(super) fn note_held(held: &mut Held, now: Instant) {
    if held.entry.held_since == Instant::default() {
        held.entry.held_since = now;
    }
}

/// How long to wait before another redirect is followed. The nodes get all the time there is to
/// agree: the number of redirects is limited.
fn redirect_pause(attempts: u32) -> Duration {
    if attempts > 1 {
        back_off(attempts)
    } else {
        Duration::ZERO
    }
}

/// How long to wait before a node is asked again: 1 ms, then twice as long each time, up to 50 ms.
pub(super) fn back_off(attempts: u32) -> Duration {
    Duration::from_millis((1 << attempts.min(6)).min(50))
}
