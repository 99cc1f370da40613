//! The network between machines: ordered byte streams with delay, a bounded window, stalls, resets
//! and all that else befalls a connection. It only keeps the state; the world decides when what
//! happens.

use std::collections::VecDeque;

use slotway_protocol::engine::ConnectionId;

use super::random::Random;

/// All links that ever were.
#[derive(Debug)]
pub struct Network {
    links: Vec<Link>,
    /// Bytes that one direction takes before its reader reads.
    window_bytes: usize,
    latency_micros: (u64, u64),
}

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    pub link: usize,
    pub side: usize,
}

impl End {
    pub fn peer(self) -> Self {
        Self {
            link: self.link,
            side: 1 - self.side,
        }
    }
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    Bytes(Vec<u8>),
    /// The writer sends no more.
    End,
    Nothing,
}

#[derive(Debug)]
struct Link {
    /// Side 0 asked for the link.
    sides: [Side; 2],
    /// `flows[i]` runs from side `i` to the other.
    flows: [Flow; 2],
    /// Nothing gets through any more, though the ends may not know yet.
    broken: bool,
    /// The link breaks after so many more bytes.
    fuse: Option<usize>,
    /// It is about to break: what is sent now does not get through.
    burned: bool,
}

#[derive(Debug)]
struct Side {
    machine: usize,
    connection: ConnectionId,
    open: bool,
}

#[derive(Debug, Default)]
struct Flow {
    chunks: VecDeque<Chunk>,
    /// The bytes in `chunks`.
    bytes: usize,
    last_arrival: u64,
    stalled_until: u64,
    ended: bool,
    writer_waits: bool,
    lag: Lag,
    /// Bytes go one by one before this time.
    trickles_until: u64,
}

/// How slow a direction of a link is before some time.
#[derive(Debug, Clone, Copy)]
pub struct Lag {
    pub until: u64,
    /// How much longer everything takes.
    pub micros: u64,
    /// How many bytes get through in a millisecond.
    pub bytes_per_milli: u64,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            until: 0,
            micros: 0,
            bytes_per_milli: u64::MAX,
        }
    }
}

#[derive(Debug)]
struct Chunk {
    at: u64,
    /// `None` for the end of the stream.
    bytes: Option<Vec<u8>>,
}

impl Network {
    pub fn new(window_bytes: usize, latency_micros: (u64, u64)) -> Self {
        Self {
            links: Vec::new(),
            window_bytes,
            latency_micros,
        }
    }

    /// A new link between two machines, each with its own id for it.
    pub fn link(&mut self, sides: [(usize, ConnectionId); 2]) -> usize {
        let sides = sides.map(|(machine, connection)| Side {
            machine,
            connection,
            open: true,
        });
        self.links.push(Link {
            sides,
            flows: Default::default(),
            broken: false,
            fuse: None,
            burned: false,
        });
        self.links.len() - 1
    }

    pub fn machine(&self, end: End) -> usize {
        self.links[end.link].sides[end.side].machine
    }

    pub fn connection(&self, end: End) -> ConnectionId {
        self.links[end.link].sides[end.side].connection
    }

    pub fn is_open(&self, end: End) -> bool {
        self.links[end.link].sides[end.side].open
    }

    /// Links with both ends open.
    pub fn open_links(&self) -> Vec<usize> {
        let open = |link: &usize| self.links[*link].sides.iter().all(|side| side.open);
        (0..self.links.len()).filter(open).collect()
    }

    pub fn latency(&self, random: &mut Random) -> u64 {
        random.between(self.latency_micros.0, self.latency_micros.1)
    }

    /// How many bytes the end may write now. When it is none, the writer is noted as waiting.
    pub fn space(&mut self, end: End, now: u64) -> usize {
        let flow = &mut self.links[end.link].flows[end.side];
        let space = self.window_bytes.saturating_sub(flow.bytes);
        flow.writer_waits = space == 0;
        if now < flow.trickles_until {
            space.min(1)
        } else {
            space
        }
    }

    /// Sends bytes, or the end of the stream; says when they arrive.
    pub fn send(&mut self, from: End, bytes: Option<Vec<u8>>, now: u64, delay: u64) -> u64 {
        if self.links[from.link].broken || self.links[from.link].burned {
            return now;
        }
        let flow = &mut self.links[from.link].flows[from.side];
        let len = bytes.as_ref().map_or(0, Vec::len);
        let lag = if now < flow.lag.until {
            flow.lag
        } else {
            Lag::default()
        };
        let busy = flow.last_arrival + 1000 * len as u64 / lag.bytes_per_milli;
        let at = (now + delay + lag.micros).max(busy).max(flow.stalled_until);
        flow.last_arrival = at;
        flow.bytes += len;
        flow.ended |= bytes.is_none();
        flow.chunks.push_back(Chunk { at, bytes });
        at
    }

    /// Whether the end has sent its end of the stream.
    pub fn has_ended(&self, end: End) -> bool {
        self.links[end.link].flows[end.side].ended
    }

    /// Takes what has arrived at the end, at most `max` bytes.
    pub fn take(&mut self, to: End, now: u64, max: usize) -> Arrived {
        let flow = &mut self.links[to.link].flows[1 - to.side];
        let mut taken = Vec::new();
        while taken.len() < max && flow.chunks.front().is_some_and(|chunk| chunk.at <= now) {
            let Some(chunk) = flow.chunks.pop_front() else {
                break;
            };
            let Some(mut bytes) = chunk.bytes else {
                if taken.is_empty() {
                    return Arrived::End;
                }
                flow.chunks.push_front(Chunk {
                    at: chunk.at,
                    bytes: None,
                });
                break;
            };
            let rest = bytes.split_off(bytes.len().min(max - taken.len()));
            taken.append(&mut bytes);
            if !rest.is_empty() {
                flow.chunks.push_front(Chunk {
                    at: chunk.at,
                    bytes: Some(rest),
                });
            }
        }
        flow.bytes -= taken.len();
        if taken.is_empty() {
            Arrived::Nothing
        } else {
            Arrived::Bytes(taken)
        }
    }

    /// Whether more has arrived at the end than was taken.
    pub fn has_arrived(&self, to: End, now: u64) -> bool {
        let flow = &self.links[to.link].flows[1 - to.side];
        flow.chunks.front().is_some_and(|chunk| chunk.at <= now)
    }

    /// Whether anything is on its way to the end.
    pub fn has_unread(&self, to: End) -> bool {
        !self.links[to.link].flows[1 - to.side].chunks.is_empty()
    }

    /// Whether the end's writer waits for space; asks once.
    pub fn take_writer_waits(&mut self, end: End) -> bool {
        let flow = &mut self.links[end.link].flows[end.side];
        std::mem::take(&mut flow.writer_waits)
    }

    /// Nothing more arrives at the end before that time.
    pub fn stall(&mut self, to: End, now: u64, until: u64) {
        let flow = &mut self.links[to.link].flows[1 - to.side];
        flow.stalled_until = flow.stalled_until.max(until);
        for chunk in flow.chunks.iter_mut().filter(|chunk| chunk.at > now) {
            chunk.at = chunk.at.max(until);
        }
        flow.last_arrival = flow
            .chunks
            .back()
            .map_or(flow.last_arrival, |chunk| chunk.at);
    }

    /// Before some time the end's bytes take longer.
    pub fn slow_down(&mut self, from: End, lag: Lag) {
        self.links[from.link].flows[from.side].lag = lag;
    }

    /// Before that time the end's bytes go one by one.
    pub fn trickle(&mut self, from: End, until: u64) {
        self.links[from.link].flows[from.side].trickles_until = until;
    }

    /// The link breaks after so many more bytes.
    pub fn set_fuse(&mut self, link: usize, bytes: usize) {
        self.links[link].fuse = Some(bytes);
    }

    /// So many bytes are about to be sent: how many get through before the link breaks, if it does.
    pub fn burn(&mut self, link: usize, len: usize) -> Option<usize> {
        let fuse = self.links[link].fuse.as_mut()?;
        if *fuse > len {
            *fuse -= len;
            return None;
        }
        self.links[link].fuse.take()
    }

    /// Nothing that is sent from now on gets through.
    pub fn mute(&mut self, link: usize) {
        self.links[link].burned = true;
    }

    /// Whether nothing is under way in either direction.
    pub fn is_empty(&self, link: usize) -> bool {
        let mut flows = self.links[link].flows.iter();
        flows.all(|flow| flow.chunks.is_empty() && !flow.ended)
    }

    /// Closes one end. Says whether bytes were left unread there, which resets the link.
    pub fn close(&mut self, end: End) -> bool {
        let link = &mut self.links[end.link];
        link.sides[end.side].open = false;
        let unread = link.flows[1 - end.side].bytes > 0;
        link.flows[1 - end.side].chunks.clear();
        link.flows[1 - end.side].bytes = 0;
        unread
    }

    /// Drops everything that is under way, in both directions, and all that is still sent.
    pub fn cut(&mut self, link: usize) {
        self.links[link].broken = true;
        for flow in &mut self.links[link].flows {
            flow.chunks.clear();
            flow.bytes = 0;
        }
    }
}

/// Later than anything happens.
pub const NEVER: u64 = u64::MAX / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_bounds_the_window() {
        let id = ConnectionId {
            index: 0,
            generation: 0,
        };
        let mut network = Network::new(10, (1, 1));
        let link = network.link([(0, id), (1, id)]);
        let (a, b) = (End { link, side: 0 }, End { link, side: 1 });
        assert_eq!(network.send(a, Some(b"hello".to_vec()), 0, 9), 9);
        assert_eq!(network.send(a, Some(b"world".to_vec()), 0, 1), 9);
        assert_eq!(network.send(a, None, 0, 1), 9);
        assert_eq!(network.space(a, 9), 0);
        assert_eq!(network.take(b, 8, 99), Arrived::Nothing);
        assert_eq!(network.take(b, 9, 7), Arrived::Bytes(b"hellowo".to_vec()));
        assert!(network.take_writer_waits(a));
        assert_eq!(network.space(a, 9), 7);
        assert_eq!(network.take(b, 9, 99), Arrived::Bytes(b"rld".to_vec()));
        assert_eq!(network.take(b, 9, 99), Arrived::End);
    }

    #[test]
    fn a_slow_link_takes_its_time_and_a_fuse_burns_down() {
        let id = ConnectionId {
            index: 0,
            generation: 0,
        };
        let mut network = Network::new(100, (1, 1));
        let link = network.link([(0, id), (1, id)]);
        let end = End { link, side: 0 };
        let (until, micros, bytes_per_milli) = (10, 7, 2);
        network.slow_down(
            end,
            Lag {
                until,
                micros,
                bytes_per_milli,
            },
        );
        assert_eq!(network.send(end, Some(vec![0]), 0, 1), 500);
        assert_eq!(network.send(end, Some(vec![0]), 600, 1), 601);
        network.trickle(end, 700);
        assert_eq!(network.space(end, 699), 1);
        assert_eq!(network.space(end, 700), 98);
        network.set_fuse(link, 3);
        assert_eq!(network.burn(link, 2), None);
        assert_eq!(network.burn(link, 2), Some(1));
        assert_eq!(network.burn(link, 2), None);
    }
}
