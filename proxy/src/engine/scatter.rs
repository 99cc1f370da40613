//! Requests for several keys of a slot whose keys lie on two nodes just now. Neither can serve such
//! a request, but one key at a time is served wherever it is. So a request that the proxy could
//! split over slots is split once more, and its client does not wait for the slot to have moved.
//! As with any request that is split, another client may see one half of it.

use slotway_protocol::command::Command;
use slotway_protocol::engine::{ConnectionId, Instant};
use slotway_protocol::output::LARGE_BYTES;
use slotway_protocol::resp::{
    Request, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

use super::fail_point;
use super::hold::{Held, Target};
use super::merge::MergeId;
use super::pipeline::InFlight;
use super::plan::Plan;
use super::session::{Reply, Ticket};
use super::{Proxy, answer};

/// The requests of a worker that are split by their keys.
#[derive(Debug, Default)]
pub(crate) struct Scattered {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    request: Option<(Ticket, MergeId)>,
}

impl Scattered {
    fn add(&mut self, request: Ticket, merge: MergeId) -> Ticket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.request = Some((request, merge));
        ticket(index, place.generation)
    }

    /// The merge of the request that a key's ticket belongs to.
    fn merge_of(&self, ticket: Ticket) -> Option<MergeId> {
        let place = self.places.get(ticket.connection.generation as usize)?;
        let request = place.request.as_ref();
        request
            .filter(|_| place.generation == ticket.sequence)
            .map(|(_, merge)| *merge)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Ticket> {
        let index = ticket.connection.generation;
        let place = self.places.get_mut(index as usize)?;
        let (request, _) = place.request.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(index);
        Some(request)
    }

    /// Each with the merge that answers it.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (Ticket, MergeId)> {
        self.places.iter().filter_map(|place| place.request)
    }

    /// For each the ticket of its first key, and the merge.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Ticket, MergeId)> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(index, place)| {
            let (_, merge) = place.request?;
            Some((ticket(index, place.generation), merge))
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

fn ticket(index: u32, generation: u32) -> Ticket {
    Ticket {
        connection: ConnectionId {
            index: SCATTERED,
            generation: index,
        },
        sequence: generation,
        part: 0,
    }
}

/// Whether a ticket is that of one key of such a request.
pub(crate) fn is_scattered(ticket: Ticket) -> bool {
    ticket.connection.index == SCATTERED
}

impl Proxy {
    /// The requests that stand for one whose keys lie on two nodes: one for each key. `None`: it
    /// can't be split.
    pub(super) fn scatter(
        &mut self,
        entry: &InFlight,
        frame: &[u8],
        lane: usize,
    ) -> Option<Vec<Held>> {
        let Plan::Split { merge, step } = self.plans.of(Command::by_id(entry.command)) else {
            return None;
        };
        let mut buffers = RequestBuffers::default();
        let request = whole(frame, &mut buffers)?;
        let keys = (request.len() - 1) / step;
        if keys < 2 || entry.preceding > 0 {
            return None;
        }
        self.stats.scattered.inc();
        let merge = self.merges.begin(merge, keys, 0..keys as u32);
        let ticket = self.scattered.add(entry.ticket, merge);
        let requests = (0..keys).map(|key| {
            let first = 1 + key * step;
            let mut frame = Vec::new();
            encode::array(&mut frame, 1 + step);
            frame.extend_from_slice(request.encoded_args(0..1));
            frame.extend_from_slice(request.encoded_args(first..first + step));
            let ticket = Ticket {
                part: key as u32,
                ..ticket
            };
            let len = frame.len() as u32;
            Held {
                entry: InFlight {
                    ticket,
                    len,
                    ..*entry
                },
                frame,
                lane,
                target: Target::Owner,
                error: None,
            }
        });
        Some(requests.collect())
    }

    /// The reply for one key; the last one makes the request's reply whole.
    pub(super) fn deliver_scattered(&mut self, ticket: Ticket, reply: Reply<'_>, now: Instant) {
        let Some(merge) = self.scattered.merge_of(ticket) else {
            return;
        };
        let bytes = reply.bytes();
        let limit = self.options.merge_bytes_max;
        let last = if self.merges.is_full(merge, bytes.len(), limit) {
            self.stats.merges_full.inc();
            let error = answer::error(answer::MERGE_FULL);
            self.merges.add(merge, ticket.part, &error)
        } else {
            self.merges.add(merge, ticket.part, bytes)
        };
        if !last {
            return;
        }
        let mut merged = Vec::new();
        self.merges.finish(merge, &mut merged);
        fail_point::pass();
        let Some(request) = self.scattered.remove(ticket) else {
            return;
        };
        if merged.len() >= LARGE_BYTES {
            self.deliver(request, Reply::Shared(merged.into()), now);
        } else {
            self.deliver(request, Reply::Copied(&merged), now);
        }
    }
}

/// A request that the proxy has read before.
fn whole<'a>(frame: &'a [u8], buffers: &'a mut RequestBuffers) -> Option<Request<'a>> {
    let mut scanner = RequestScanner::default();
    let scan = scanner.scan(frame, &RequestLimits::default(), buffers);
    matches!(scan, Ok(Scan::Request { .. })).then(|| buffers.request(frame))
}

/// Where in a ticket the number of a connection is, those of single keys have this.
const SCATTERED: u32 = u32::MAX - 2;
