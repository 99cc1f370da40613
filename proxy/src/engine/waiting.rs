//! Sends what waits in holds, in order, once the slot's home is known.

use core::time::Duration;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Action, Instant};

use super::hold::{Held, Target};
use super::pipeline::{ASKING, InFlight, Kind, Link};
use super::session::Reply;
use super::{NO_OWNER, Notice, Proxy, answer};

impl Proxy {
    /// Takes back a request that was not served, unless too much waits already.
    pub(super) fn put_back(&mut self, held: Held, not_before: Instant, now: Instant) {
        if self.hold_is_full(&held) {
            return;
        }
        self.stats.held.inc();
        self.holds.put_back(held, not_before);
        self.wake_at(not_before.max(now));
    }

    /// Answers a request that can't wait because too much does.
    pub(super) fn hold_is_full(&mut self, held: &Held) -> bool {
        let full = self.holds.bytes() + held.frame.len() > self.options.hold_bytes_max;
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
        self.holds.due(now, &mut slots);
        for slot in &slots {
            self.advance_hold(*slot, now);
        }
        slots.clear();
        if let Some(next) = self.holds.due(now, &mut slots) {
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
            self.actions
                .push_back(Action::Notify(Notice::TopologyStale));
            return self.wait(slot, now + UNOWNED_RETRY);
        };
        if let Some(ready) = self.holds.ready_at(slot)
            && ready > now
        {
            return self.wake_at(ready);
        }
        if let Some(until) = self.down_until(backend, now) {
            return self.wait(slot, until);
        }
        let mut batch = std::mem::take(&mut self.scratch.batch);
        self.holds.next_batch(slot, &mut batch);
        for held in batch.drain(..) {
            self.send_held(held, backend, now);
        }
        self.scratch.batch = batch;
        if target != Target::Owner {
            self.holds.set_uncertain(slot);
        }
        self.holds.end_if_idle(slot);
    }

    fn wait(&mut self, slot: Slot, until: Instant) {
        self.holds.delay(slot, until);
        self.wake_at(until);
    }

    /// Answers the requests at the head that have waited too long.
    fn expire(&mut self, slot: Slot, now: Instant) {
        while let Some(head) = self.holds.head(slot)
            && now.since(head.entry.arrived) >= self.options.hold_timeout
        {
            let Some(held) = self.holds.take_head(slot) else {
                return;
            };
            self.stats.holds_expired.inc();
            self.deliver(held.entry.ticket, Reply::Copied(&held.error), now);
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
    fn down_until(&self, backend: usize, now: Instant) -> Option<Instant> {
        let lanes = self.lanes();
        let pipelines = &self.pipelines[backend * lanes..(backend + 1) * lanes];
        let down = pipelines.iter().filter_map(|pipeline| match pipeline.link {
            Link::Down { until } if until > now => Some(until),
            _ => None,
        });
        down.max()
    }

    fn send_held(&mut self, held: Held, backend: usize, now: Instant) {
        let index = backend * self.lanes() + held.lane;
        let pipeline = &mut self.pipelines[index];
        if matches!(pipeline.link, Link::Down { .. }) {
            pipeline.link = Link::Idle;
        }
        let mut was_empty = false;
        let kind = match held.target {
            Target::Owner => Kind::Request,
            Target::Ask(_) => {
                was_empty = pipeline.push(ASKING, InFlight::asking(now));
                Kind::Asked
            }
        };
        self.stats.backend_bytes_out.add(held.frame.len() as u64);
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
