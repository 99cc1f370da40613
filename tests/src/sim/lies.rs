//! Nodes that say what they should not: replies to nothing, bytes that are no reply, slots that are
//! where no node is, or where the node that is named says the same of another.

use super::faults::Fault;
use super::machine::Mood;
use super::mutant::Mutant;
use super::network::End;
use super::node_faults::NodeFault;
use super::world::{Event, Role, World};

/// What a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// A reply that nobody asked for.
    Stray,
    /// Bytes that cannot be read, behind the next reply or in place of it.
    Garble,
    /// All slots are at an address that is no node's.
    Lure { micros: u64 },
    /// Two nodes say of each other, or one of itself, that it has all slots.
    Loop { micros: u64 },
    /// By now the link over which something unreadable went is to be closed.
    Check { link: usize },
}

impl World {
    pub(super) fn hear_lie(&mut self, lie: Lie) {
        match lie {
            Lie::Stray => self.stray(),
            Lie::Garble => {
                if let Some(link) = self.some_proxy_link(|_, _| true) {
                    self.garbled.insert(End { link, side: 1 });
                }
            }
            Lie::Lure { micros } => {
                let word = *self.random.pick(&["MOVED", "ASK"]);
                let to = (*self.random.pick(&LURES)).to_owned();
                let node = self.some_node();
                self.mislead(node, Mood::Sends { word, to }, micros);
            }
            Lie::Loop { micros } => {
                let word = *self.random.pick(&["MOVED", "MOVED", "ASK"]);
                let (one, other) = (self.some_node(), self.some_node());
                for (node, other) in [(one, other), (other, one)] {
                    let to = self.places[other].to_string();
                    self.mislead(node, Mood::Sends { word, to }, micros);
                }
            }
            Lie::Check { link } => {
                let end = End { link, side: 0 };
                let is_heard = !self.network.has_unread(end);
                if self.network.is_open(end) && is_heard && !self.is_frozen_end(end) {
                    self.violate("a link goes on after what cannot be read");
                }
            }
        }
    }

    fn mislead(&mut self, node: usize, mood: Mood, micros: u64) {
        if !self.cluster.is_deaf(node) && self.keeper(node).set_mood(Some(mood)) {
            let recover = Fault::Node(NodeFault::Recover { node });
            self.clock.after(micros, Event::Fault(recover));
        }
    }

    /// The link between a proxy and a node, of those that fit.
    fn some_proxy_link(&mut self, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let mut links = self.network.open_links();
        links.retain(|link| {
            let [one, other] = [0, 1].map(|side| self.network.machine(End { link: *link, side }));
            let is_victim = self.victims.is_empty() || self.victims.contains(&other);
            self.roles[one] == Role::Proxy && is_victim && fits(self, *link)
        });
        if links.is_empty() {
            None
        } else {
            Some(*self.random.pick(&links))
        }
    }

    /// Only where the proxy owes nothing and is owed nothing can it know that a reply is none.
    fn stray(&mut self) {
        let link = self.some_proxy_link(|world, link| {
            let end = End { link, side: 0 };
            let machine = &world.machines[world.network.machine(end)];
            world.ledger.is_idle(link)
                && world.network.is_empty(link)
                && machine.is_reading(world.network.connection(end))
                && !world.is_frozen_end(end)
        });
        let Some(link) = link else { return };
        let end = End { link, side: 0 };
        let (proxy, id) = (self.network.machine(end), self.network.connection(end));
        if self.machines[proxy].has_output(id) {
            return;
        }
        let bytes = self.random.pick(&STRAYS).as_bytes();
        self.show(end, bytes);
        let is_hidden = self
            .tamper
            .as_mut()
            .is_some_and(|it| it.strikes_now(Mutant::KeepStray));
        if !is_hidden {
            self.machines[proxy].receive(id, bytes, self.clock.now());
            self.after(proxy);
        }
        if self.network.is_open(end) {
            self.violate("a link goes on after a reply that nobody asked for");
        }
    }

    /// What a node writes, with what makes it unreadable if that is due.
    pub(super) fn garble(&mut self, end: End, mut bytes: Vec<u8>, was_whole: bool) -> Vec<u8> {
        if !self.garbled.contains(&end) || !self.network.is_open(end.peer()) {
            return bytes;
        }
        let is_whole = self.tap.is_between_replies(end);
        let garbage = self.random.pick(&GARBAGE).as_bytes();
        if was_whole && self.random.chance(500) {
            bytes = garbage.to_vec();
        } else if is_whole {
            bytes.extend_from_slice(garbage);
        } else {
            return bytes;
        }
        self.garbled.remove(&end);
        let check = Fault::Lie(Lie::Check { link: end.link });
        self.clock.after(CHECK_MICROS, Event::Fault(check));
        bytes
    }

    fn is_frozen_end(&self, end: End) -> bool {
        self.is_frozen(self.network.machine(end))
    }
}

/// Addresses at which no node is.
const LURES: [&str; 6] = [
    "203.0.113.66:22",
    "169.254.169.254:80",
    "127.0.0.1:7000",
    "metadata.internal:80",
    "::1:7000",
    ":22",
];

const STRAYS: [&str; 6] = [
    "+OK\r\n",
    ":1\r\n",
    "$-1\r\n",
    "*0\r\n",
    "-MOVED 0 10.0.0.1:7000\r\n",
    "-ERR something\r\n",
];

/// Nothing of this is a reply or the beginning of one.
const GARBAGE: [&str; 6] = [
    "?what\r\n",
    "$-7\r\n",
    "*many\r\n",
    ":12a\r\n",
    "$99999999999999999999\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
];

/// Within this time what was sent is there, unless something holds it up.
const CHECK_MICROS: u64 = 1_000_000;
