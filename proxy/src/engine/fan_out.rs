//! Sends one request to several nodes: split by the slots of its keys, or whole to each shard. The
//! replies become one in a merge.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::Command;
use slotway_protocol::output::LARGE_BYTES;
use slotway_protocol::resp::encode;

use super::fail_point;
use super::merge::MergeKind;
use super::pipeline::InFlight;
use super::requests::Incoming;
use super::session::Ticket;
use super::task::shards;
use super::{Proxy, answer};

impl Proxy {
    /// Sends the whole request to every shard; the replies become one. Each goes to the owner of a
    /// slot, so that a shard without a primary is waited for as with any request.
    pub(super) fn fan_out(&mut self, incoming: &Incoming<'_>, command: &Command, merge: MergeKind) {
        if !self.knows_shards() {
            let reply = answer::error(answer::SLOT_NOT_SERVED);
            return self.answer_at_once(incoming, command.id, &reply);
        }
        let Some((ticket, lane)) = self.reserve(incoming, command.id) else {
            return;
        };
        let slots = shards(&self.owners);
        let merge = self.merges.begin(merge, slots.len(), core::iter::empty());
        if let Some(session) = self.session(incoming.connection) {
            session.set_merging(ticket, merge);
        }
        let frame = incoming.request.frame();
        for (slot, part) in slots.into_iter().zip(0..) {
            let ticket = Ticket { part, ..ticket };
            let entry = InFlight::request(ticket, command.id, slot, frame.len(), incoming.now);
            fail_point::pass();
            self.dispatch(entry, lane, frame, None);
        }
    }

    /// Sends each slot's keys to the slot's owner; the replies become one.
    pub(super) fn split(
        &mut self,
        incoming: &Incoming<'_>,
        command: &'static Command,
        merge: MergeKind,
        step: usize,
    ) {
        let request = &incoming.request;
        if !(request.len() - 1).is_multiple_of(step) {
            let name = command.name;
            let text = format!("ERR wrong number of arguments for '{name}' command");
            return self.answer_at_once(incoming, command.id, &answer::error(text.as_bytes()));
        }
        if self.has_many_keys(request, step) {
            return self.split_gradually(incoming, command, merge, step);
        }
        let mut keys = std::mem::take(&mut self.scratch.keys);
        keys.clear();
        let firsts = (1..request.len()).step_by(step);
        keys.extend(
            firsts
                .zip(0..)
                .map(|(at, key)| (Slot::of(request.arg(at)).number(), key)),
        );
        if keys.iter().all(|(slot, _)| *slot == keys[0].0) {
            self.forward(incoming, command, Slot::of(request.arg(1)));
        } else {
            keys.sort_unstable();
            self.send_parts(incoming, command, merge, step, &keys);
        }
        self.scratch.keys = keys;
    }

    fn send_parts(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        merge: MergeKind,
        step: usize,
        keys: &[(u16, u32)],
    ) {
        let Some((ticket, lane)) = self.reserve(incoming, command.id) else {
            return;
        };
        let parts = keys.chunk_by(|a, b| a.0 == b.0).count();
        let merge = self
            .merges
            .begin(merge, parts, keys.iter().map(|(_, key)| *key));
        if let Some(session) = self.session(incoming.connection) {
            session.set_merging(ticket, merge);
        }
        let request = &incoming.request;
        let mut frame = std::mem::take(&mut self.scratch.frame);
        let mut part = 0;
        for chunk in keys.chunk_by(|a, b| a.0 == b.0) {
            frame.clear();
            encode::array(&mut frame, 1 + chunk.len() * step);
            frame.extend_from_slice(request.encoded_args(0..1));
            let first = 1 + chunk[0].1 as usize * step;
            let slot = Slot::of(request.arg(first));
            for (_, key) in chunk {
                let first = 1 + *key as usize * step;
                frame.extend_from_slice(request.encoded_args(first..first + step));
            }
            let ticket = Ticket { part, ..ticket };
            let entry = InFlight::request(ticket, command.id, slot, frame.len(), incoming.now);
            fail_point::pass();
            let keys = chunk
                .iter()
                .map(|(_, key)| request.arg(1 + *key as usize * step));
            self.dispatch_part(entry, lane, &frame, keys);
            part += chunk.len() as u32;
        }
        self.keep_frame(frame);
    }

    /// Keeps the buffer of a request for the next one, unless it is large.
    pub(super) fn keep_frame(&mut self, mut frame: Vec<u8>) {
        if frame.capacity() > LARGE_BYTES {
            frame = Vec::new();
        }
        self.scratch.frame = frame;
    }
}
