//! What befalls single connections: they break, stand still, dry up or let nothing through.

use super::network::{End, NEVER};
use super::world::{Event, Role, World};

/// What befalls one connection, between a node and a proxy mostly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkFault {
    Reset,
    /// Nothing gets through in one direction for a while.
    Stall {
        micros: u64,
    },
    /// It breaks in the middle of what is sent.
    Fuse {
        bytes: usize,
    },
    /// The node says that it sends no more, but reads on.
    HalfClose,
    /// Nothing gets to these sides any more, and nobody is told.
    HalfOpen {
        sides: [bool; 2],
    },
    /// Bytes go one by one for a while.
    Trickle {
        micros: u64,
    },
}

impl World {
    pub(super) fn suffer_link(&mut self, fault: LinkFault) {
        if let LinkFault::Stall { micros } = fault {
            return self.stall(micros);
        }
        let Some(link) = self.some_link(Role::Node) else {
            return;
        };
        let now = self.clock.micros();
        match fault {
            LinkFault::Stall { .. } => {}
            LinkFault::Reset => self.break_link(link),
            LinkFault::Fuse { bytes } => self.network.set_fuse(link, bytes),
            LinkFault::HalfClose => self.send_end(End { link, side: 1 }),
            LinkFault::HalfOpen { sides } => {
                for side in (0..2).filter(|side| sides[*side]) {
                    self.network.stall(End { link, side }, now, NEVER);
                }
            }
            LinkFault::Trickle { micros } => {
                for side in 0..2 {
                    self.network.trickle(End { link, side }, now + micros);
                }
            }
        }
    }

    fn stall(&mut self, micros: u64) {
        let mut links = self.network.open_links();
        links.retain(|link| self.may_suffer(*link));
        if links.is_empty() {
            return;
        }
        let link = *self.random.pick(&links);
        let end = End {
            link,
            side: self.random.index(2),
        };
        self.block(end, self.clock.micros() + micros);
    }

    /// Nothing gets to the end before that time.
    pub(super) fn block(&mut self, end: End, until: u64) {
        self.network.stall(end, self.clock.micros(), until);
        self.clock.at(until, Event::Arrive(end));
    }

    /// A link whose accepting end has that role.
    pub(super) fn some_link(&mut self, role: Role) -> Option<usize> {
        let mut links = self.network.open_links();
        let accepts = |link: usize| self.roles[self.network.machine(End { link, side: 1 })];
        links.retain(|link| accepts(*link) == role && self.may_suffer(*link));
        if links.is_empty() {
            None
        } else {
            Some(*self.random.pick(&links))
        }
    }

    /// Whether a link leads to one of those that may fare badly.
    fn may_suffer(&self, link: usize) -> bool {
        let machine = self.network.machine(End { link, side: 1 });
        self.victims.is_empty() || self.victims.contains(&machine)
    }
}
