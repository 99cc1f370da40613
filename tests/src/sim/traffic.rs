//! How bytes get from one machine to another, and what becomes of links.

use slotway_protocol::engine::{Address, ConnectError, ConnectToken, Origin, Peer};

use super::host::socket_address;
use super::mutant::Way;
use super::network::{Arrived, End};
use super::world::{Event, Role, World};

impl World {
    pub(super) fn connect(&mut self, machine: usize, token: ConnectToken, address: &Address) {
        if self.is_frozen(machine) {
            let address = address.clone();
            let event = Event::Connect {
                machine,
                token,
                address,
            };
            return self.clock.at(self.frozen_until[machine], event);
        }
        let now = self.clock.now();
        let target = self.addresses.get(address).copied();
        if target.is_none() {
            self.violate(&format!(
                "{machine} connects to {address}, where no node is"
            ));
        }
        if let Some(target) = target
            && let Some(until) = self.separated_until(machine, target)
        {
            return self.wait_for_answer(machine, token, address, until);
        }
        let is_fault_time = now.instant.as_micros() < self.scenario.calm_at;
        let target = target.filter(|target| {
            let refused = is_fault_time
                && self.roles[*target] == Role::Node
                && self.random.chance(self.scenario.faults.refusals);
            self.away_until[*target] <= now.instant.as_micros() && !refused
        });
        let Some(target) = target else {
            self.machines[machine].connect_failed(token, ConnectError::Refused, now);
            return self.after(machine);
        };
        let remote = socket_address(&self.places[target]);
        let local = socket_address(&self.places[machine]);
        let accepted = Peer {
            remote: local,
            local: remote,
            origin: Origin::Accepted(0),
        };
        let connected = Peer {
            remote,
            local,
            origin: Origin::Connected(token),
        };
        let theirs = self.machines[target].open(accepted, now);
        let ours = self.machines[machine].open(connected, now);
        let link = self.network.link([(machine, ours), (target, theirs)]);
        if let Some(lag) = self.slow.get(&target) {
            self.slow_down(link, *lag);
        }
        let (end, peer) = (End { link, side: 0 }, End { link, side: 1 });
        self.ends.insert((machine, ours), end);
        self.ends.insert((target, theirs), peer);
        self.flush_soon(end);
        self.flush_soon(peer);
        self.after(target);
        self.after(machine);
    }

    /// Nobody answers before some time. The driver gives up earlier, if that is far off.
    fn wait_for_answer(
        &mut self,
        machine: usize,
        token: ConnectToken,
        address: &Address,
        until: u64,
    ) {
        let patience = self.clock.micros() + CONNECT_MICROS_MAX;
        if until > patience {
            return self.clock.at(patience, Event::TimeOut { machine, token });
        }
        let address = address.clone();
        let event = Event::Connect {
            machine,
            token,
            address,
        };
        self.clock.at(until, event);
    }

    pub(super) fn flush_soon(&mut self, end: End) {
        if self.flushing.insert(end) {
            let delay = self.random.below(30);
            self.clock.after(delay, Event::Flush(end));
        }
    }

    /// Writes some of an end's output to the network.
    pub(super) fn flush(&mut self, end: End) {
        self.flushing.remove(&end);
        let (machine, id) = (self.network.machine(end), self.network.connection(end));
        if !self.network.is_open(end) || self.is_frozen(machine) {
            return;
        }
        let mut space = self.network.space(end, self.clock.micros());
        if space == 0 {
            return;
        }
        if self.scenario.faults.cuts && self.random.chance(200) {
            space = space.min(1 + self.random.index(40));
        }
        let bytes = self.machines[machine].write(id, space, self.clock.now());
        if !bytes.is_empty() {
            self.trace.mix_bytes(&bytes);
            self.transmit(end, bytes);
            if self.machines[machine].has_output(id) {
                self.flush_soon(end);
            }
        }
        self.after(machine);
    }

    fn transmit(&mut self, end: End, mut bytes: Vec<u8>) {
        let way = self.way(end);
        if way == Way::ProxyToNode {
            self.ledger.sent(end.link, &bytes);
        }
        if way == Way::NodeToProxy {
            let abandoned = !self.network.is_open(end.peer());
            let was_whole = self.tap.is_between_replies(end);
            self.tap.reply(end, &bytes, abandoned);
            bytes = self.garble(end, bytes, was_whole);
            if abandoned && let Some(tamper) = &mut self.tamper {
                return tamper.waste(end, &bytes);
            }
        }
        let parts = match &mut self.tamper {
            Some(tamper) => tamper.pass(end, way, bytes),
            None => vec![(end, bytes)],
        };
        for (end, bytes) in parts {
            if !bytes.is_empty() && !self.network.has_ended(end) {
                self.send(end, bytes);
            }
        }
    }

    /// Bytes enter the network, all of them unless the link breaks.
    fn send(&mut self, end: End, mut bytes: Vec<u8>) {
        let burned = self.network.burn(end.link, bytes.len());
        bytes.truncate(burned.unwrap_or(bytes.len()));
        let delay = self.network.latency(&mut self.random);
        let now = self.clock.micros();
        let at = self.network.send(end, Some(bytes), now, delay);
        self.clock.at(at, Event::Arrive(end.peer()));
        if burned.is_some() {
            // Now, or when the last bytes are there.
            let link = end.link;
            self.network.mute(link);
            let at = if self.random.chance(500) { now } else { at };
            self.clock.at(at, Event::Break(link));
        }
    }

    fn way(&self, from: End) -> Way {
        let role = |end| self.roles[self.network.machine(end)];
        match (role(from), role(from.peer())) {
            (Role::Client, _) => Way::ClientToProxy,
            (Role::Proxy, Role::Client) => Way::ProxyToClient,
            (Role::Proxy, _) => Way::ProxyToNode,
            (Role::Node, Role::Proxy) => Way::NodeToProxy,
            _ => Way::Other,
        }
    }

    pub(super) fn arrive(&mut self, end: End) {
        let (machine, id) = (self.network.machine(end), self.network.connection(end));
        let (micros, now) = (self.clock.micros(), self.clock.now());
        if !self.network.is_open(end) {
            if self.network.has_arrived(end, micros) {
                self.break_link(end.link);
            }
            return;
        }
        if !self.machines[machine].is_reading(id) || self.is_frozen(machine) {
            return;
        }
        let cut = self.scenario.faults.cuts && self.random.chance(200);
        let max = if cut {
            1 + self.random.index(60)
        } else {
            64 * 1024
        };
        match self.network.take(end, micros, max) {
            Arrived::Nothing => return,
            Arrived::End => self.machines[machine].end(id, now),
            Arrived::Bytes(bytes) => {
                self.trace.mix_bytes(&bytes);
                self.show(end, &bytes);
                if self.way(end.peer()) == Way::ProxyToNode {
                    self.tap.request(end, &bytes);
                }
                if self.way(end.peer()) == Way::NodeToProxy {
                    self.ledger.answered(end.link, &bytes);
                }
                self.machines[machine].receive(id, &bytes, now);
            }
        }
        if self.network.has_arrived(end, micros) {
            self.clock.after(1, Event::Arrive(end));
        }
        if self.network.take_writer_waits(end.peer()) {
            self.flush_soon(end.peer());
        }
        self.after(machine);
    }

    pub(super) fn show(&self, end: End, bytes: &[u8]) {
        if self.is_traced {
            let side = |end| {
                format!(
                    "{:?} {}",
                    self.roles[self.network.machine(end)],
                    self.network.machine(end)
                )
            };
            let text = String::from_utf8_lossy(bytes);
            eprintln!("          {} to {}: {text:?}", side(end.peer()), side(end));
        }
    }

    pub(super) fn send_end(&mut self, end: End) {
        if !self.network.has_ended(end) {
            let delay = self.network.latency(&mut self.random);
            let at = self.network.send(end, None, self.clock.micros(), delay);
            self.clock.at(at, Event::Arrive(end.peer()));
        }
    }

    pub(super) fn close(&mut self, end: End) {
        self.note_lost(end);
        let unread = self.network.close(end);
        self.send_end(end);
        if unread {
            self.break_link(end.link);
        }
    }

    /// Resets a link: what is under way is lost, and both ends learn of it.
    pub(super) fn break_link(&mut self, link: usize) {
        self.network.cut(link);
        for side in 0..2 {
            let delay = self.network.latency(&mut self.random);
            self.clock.after(delay, Event::Reset(End { link, side }));
        }
    }

    pub(super) fn reset(&mut self, end: End) {
        if !self.network.is_open(end) {
            return;
        }
        let (machine, id) = (self.network.machine(end), self.network.connection(end));
        if self.is_frozen(machine) {
            return self.clock.at(self.frozen_until[machine], Event::Reset(end));
        }
        self.note_lost(end);
        self.network.close(end);
        self.ends.remove(&(machine, id));
        self.machines[machine].reset(id, self.clock.now());
        self.after(machine);
    }

    /// A proxy's connection is gone. What it had sent may have been executed.
    fn note_lost(&mut self, end: End) {
        if self.way(end) == Way::ProxyToNode {
            let keys = self.ledger.close(end.link);
            self.checker.borrow_mut().note_lost(keys);
        }
    }
}

/// A driver waits so long for a connection.
const CONNECT_MICROS_MAX: u64 = 1_000_000;
