//! The replies owed to one client, in the order of its requests: where each of them stands, and the
//! bytes of those that came before their turn.

use std::collections::VecDeque;

use bytes::Bytes;
use slotway_protocol::command::CommandId;
use slotway_protocol::engine::Instant;
use slotway_protocol::output::{LARGE_BYTES, Output};

use super::audit::Filler;
use super::fail_point;
use super::merge::MergeId;
use super::running::TaskId;
use super::session::{Delivered, Reply};

/// All replies owed to one client.
#[derive(Debug)]
pub(crate) struct Places {
    places: VecDeque<Place>,
    /// The sequence number of the first of `places`.
    first: u32,
    /// The number of the first of `places` among all there ever were; it begins with 1.
    passed: u64,
    /// Replies that came before their turn. A place says where its own begins.
    parked: Vec<u8>,
    /// How many places refer to `parked`.
    parked_count: u32,
    /// How many bytes are still referred to, also those of `parked_shared`.
    parked_live: usize,
    /// Large replies that came before their turn.
    parked_shared: Vec<(u32, Bytes)>,
}

/// A reply owed to a client.
#[derive(Debug)]
struct Place {
    state: State,
    command: CommandId,
    /// The client does not want the reply.
    silent: bool,
    arrived: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// The parts are being put together.
    Merging(MergeId),
    /// The parts are being sent, or their replies put together, little by little.
    Gradual,
    /// A task will say what to reply.
    Task(TaskId),
    /// Here, in `parked`.
    Parked {
        start: u32,
        len: u32,
    },
    /// Here, in `parked_shared`.
    ParkedShared,
}

impl State {
    fn is_open(self) -> bool {
        !matches!(self, Self::Parked { .. } | Self::ParkedShared)
    }
}

impl Default for Places {
    fn default() -> Self {
        Self {
            places: VecDeque::new(),
            first: 0,
            passed: 1,
            parked: Vec::new(),
            parked_count: 0,
            parked_live: 0,
            parked_shared: Vec::new(),
        }
    }
}

impl Places {
    /// How many replies are owed.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of the first reply owed among all there ever were.
    #[inline]
    pub(crate) fn passed(&self) -> u64 {
        self.passed
    }

    /// The bytes of replies that came before their turn.
    #[inline]
    pub(crate) fn parked_bytes(&self) -> usize {
        self.parked_live
    }

    /// Keeps the place of a reply that will come; gives its sequence number.
    #[inline]
    pub(crate) fn reserve(&mut self, command: CommandId, silent: bool, arrived: Instant) -> u32 {
        let sequence = self.first.wrapping_add(self.places.len() as u32);
        self.places.push_back(Place {
            state: State::Waiting,
            command,
            silent,
            arrived,
        });
        sequence
    }

    /// Keeps a reply that is known already and not in turn.
    pub(crate) fn park_next(
        &mut self,
        command: CommandId,
        silent: bool,
        arrived: Instant,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.parked.len();
        if !silent {
            write(&mut self.parked);
        }
        let state = self.park(start);
        self.places.push_back(Place {
            state,
            command,
            silent,
            arrived,
        });
    }

    /// Whether the place is the first and a reply of a node fills it.
    pub(crate) fn is_in_turn(&self, sequence: u32) -> bool {
        let first = self.places.front();
        sequence == self.first && first.is_some_and(|place| place.state == State::Waiting)
    }

    /// Whether the client does not want the next reply.
    pub(crate) fn is_first_silent(&self) -> bool {
        self.places.front().is_some_and(|place| place.silent)
    }

    /// Marks the place as one that a merge fills.
    pub(crate) fn set_merging(&mut self, sequence: u32, merge: MergeId) {
        let index = self.index(sequence);
        self.places[index].state = State::Merging(merge);
    }

    /// The merge that fills the place.
    #[inline]
    pub(crate) fn merge_of(&self, sequence: u32) -> Option<MergeId> {
        match self.places.get(self.index(sequence))?.state {
            State::Merging(merge) => Some(merge),
            _ => None,
        }
    }

    /// Marks the place as one that is filled little by little, or as one that a node fills.
    pub(crate) fn set_gradual(&mut self, sequence: u32, gradual: bool) {
        let index = self.index(sequence);
        self.places[index].state = match gradual {
            true => State::Gradual,
            false => State::Waiting,
        };
    }

    /// Whether the place is filled little by little.
    #[inline]
    pub(crate) fn is_gradual(&self, sequence: u32) -> bool {
        let place = self.places.get(self.index(sequence));
        place.is_some_and(|place| place.state == State::Gradual)
    }

    /// Whether the reply of a node fills the place.
    #[inline]
    pub(crate) fn is_waiting(&self, sequence: u32) -> bool {
        let place = self.places.get(self.index(sequence));
        place.is_some_and(|place| place.state == State::Waiting)
    }

    /// Marks the place as one that a task fills.
    pub(crate) fn set_task(&mut self, sequence: u32, task: TaskId) {
        let index = self.index(sequence);
        self.places[index].state = State::Task(task);
    }

    /// The tasks that are under way.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.places.iter().filter_map(|place| match place.state {
            State::Task(task) => Some(task),
            _ => None,
        })
    }

    /// The merges that are under way.
    pub(crate) fn merges(&self) -> impl Iterator<Item = MergeId> + '_ {
        self.places.iter().filter_map(|place| match place.state {
            State::Merging(merge) => Some(merge),
            _ => None,
        })
    }

    /// The places without a reply, by their sequence numbers.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u32, Filler)> + '_ {
        let places = (0..).zip(&self.places);
        places.filter_map(|(index, place)| {
            let filler = match place.state {
                State::Waiting => Filler::Node,
                State::Merging(merge) => Filler::Merge(merge),
                State::Gradual => Filler::Gradual,
                State::Task(task) => Filler::Task(task),
                State::Parked { .. } | State::ParkedShared => return None,
            };
            Some((self.first.wrapping_add(index), filler))
        })
    }

    /// Puts the reply in its place; all that is in turn goes to the output.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        sequence: u32,
        reply: Reply<'_>,
        output: &mut Output,
    ) -> Delivered {
        let index = self.index(sequence);
        let place = &self.places[index];
        let delivered = Delivered {
            command: place.command,
            arrived: place.arrived,
        };
        debug_assert!(place.state.is_open(), "a place is filled once");
        if index > 0 {
            self.fill_early(index, sequence, reply);
            return delivered;
        }
        match reply {
            _ if place.silent => {}
            Reply::Copied(bytes) => output.push(bytes),
            Reply::Shared(bytes) => output.push_shared(bytes),
        }
        fail_point::pass();
        self.pass();
        if self.parked_count > 0 || !self.parked_shared.is_empty() {
            self.release_parked(output);
        }
        delivered
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        let shared: usize = self
            .parked_shared
            .iter()
            .map(|(_, bytes)| bytes.len())
            .sum();
        self.places.capacity() * size_of::<Place>() + self.parked.capacity() + shared
    }

    /// Gives back memory when nothing is owed.
    pub(crate) fn shrink(&mut self) {
        if self.places.is_empty() {
            self.places = VecDeque::new();
            self.parked = Vec::new();
            self.parked_shared = Vec::new();
        }
    }

    /// Checks what must hold between calls.
    pub(crate) fn check_invariants(&self) {
        let waits = |place: &Place| place.state.is_open();
        assert!(
            self.places.front().is_none_or(waits),
            "what is in turn has been sent"
        );
        let parked = |place: &&Place| matches!(place.state, State::Parked { .. });
        assert_eq!(
            self.places.iter().filter(parked).count(),
            self.parked_count as usize
        );
    }

    #[inline]
    fn index(&self, sequence: u32) -> usize {
        sequence.wrapping_sub(self.first) as usize
    }

    /// The first reply has left.
    #[inline]
    fn pass(&mut self) {
        self.places.pop_front();
        self.first = self.first.wrapping_add(1);
        self.passed += 1;
    }

    fn fill_early(&mut self, index: usize, sequence: u32, reply: Reply<'_>) {
        let place = &self.places[index];
        fail_point::pass();
        self.places[index].state = match reply {
            _ if place.silent => self.park_copy(b""),
            Reply::Shared(bytes) if bytes.len() >= LARGE_BYTES => {
                self.parked_live += bytes.len();
                self.parked_shared.push((sequence, bytes));
                State::ParkedShared
            }
            Reply::Shared(bytes) => self.park_copy(&bytes),
            Reply::Copied(bytes) => self.park_copy(bytes),
        };
    }

    fn park_copy(&mut self, bytes: &[u8]) -> State {
        let start = self.parked.len();
        self.parked.extend_from_slice(bytes);
        self.park(start)
    }

    /// Accounts for what was appended to `parked` from `start` on.
    fn park(&mut self, start: usize) -> State {
        let len = self.parked.len() - start;
        self.parked_count += 1;
        self.parked_live += len;
        State::Parked {
            start: start as u32,
            len: len as u32,
        }
    }

    /// Sends on all replies whose turn has come.
    fn release_parked(&mut self, output: &mut Output) {
        while let Some(place) = self.places.front() {
            match place.state {
                State::Waiting | State::Merging(_) | State::Gradual | State::Task(_) => break,
                State::Parked { start, len } => {
                    let (start, len) = (start as usize, len as usize);
                    output.push(&self.parked[start..start + len]);
                    self.parked_count -= 1;
                    self.parked_live -= len;
                }
                State::ParkedShared => self.release_shared(output),
            }
            self.pass();
        }
        if self.parked_count == 0 {
            self.parked.clear();
        } else if self.parked.len() > PARKED_COMPACT_BYTES
            && self.parked_live * 2 < self.parked.len()
        {
            self.compact_parked();
        }
    }

    fn release_shared(&mut self, output: &mut Output) {
        let first = self.first;
        let found = self
            .parked_shared
            .iter()
            .position(|(sequence, _)| *sequence == first);
        let index = found.expect("a large reply is kept until its turn");
        let (_, bytes) = self.parked_shared.swap_remove(index);
        self.parked_live -= bytes.len();
        output.push_shared(bytes);
    }

    /// Drops the bytes of `parked` that nobody refers to.
    fn compact_parked(&mut self) {
        let mut kept = Vec::with_capacity(self.parked_live);
        for place in &mut self.places {
            if let State::Parked { start, len } = &mut place.state {
                let from = *start as usize;
                *start = kept.len() as u32;
                kept.extend_from_slice(&self.parked[from..from + *len as usize]);
            }
        }
        self.parked = kept;
    }
}

/// Early replies are compacted once they take this much and less than half of it is needed.
const PARKED_COMPACT_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(output: &mut Output) -> Vec<u8> {
        let mut bytes = Vec::new();
        output.copy_retained(0, output.len(), &mut bytes);
        output.advance(bytes.len());
        bytes
    }

    fn reserved(places: &mut Places) -> u32 {
        places.reserve(CommandId(0), false, Instant::default())
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let (mut places, mut output) = (Places::default(), Output::default());
        let [first, second, third] = [0; 3].map(|_| reserved(&mut places));
        let now = Instant::default();
        places.park_next(CommandId(0), false, now, |out| out.extend_from_slice(b"4"));
        places.fill(third, Reply::Copied(b"3"), &mut output);
        places.fill(second, Reply::Shared(Bytes::from_static(b"2")), &mut output);
        assert_eq!(taken(&mut output), b"");
        places.fill(first, Reply::Copied(b"1"), &mut output);
        assert_eq!(taken(&mut output), b"1234");
        assert_eq!((places.len(), places.passed()), (0, 5));
        places.check_invariants();
    }

    #[test]
    fn large_early_replies_keep_their_turn() {
        let (mut places, mut output) = (Places::default(), Output::default());
        let [first, second, third] = [0; 3].map(|_| reserved(&mut places));
        let large = |byte| Reply::Shared(Bytes::from(vec![byte; LARGE_BYTES]));
        places.fill(third, large(b'3'), &mut output);
        places.fill(second, large(b'2'), &mut output);
        assert_eq!(places.parked_bytes(), 2 * LARGE_BYTES);
        places.fill(first, Reply::Copied(b"1"), &mut output);
        let bytes = taken(&mut output);
        assert_eq!(bytes.len(), 1 + 2 * LARGE_BYTES);
        assert_eq!(
            (bytes[0], bytes[1], bytes[LARGE_BYTES + 1]),
            (b'1', b'2', b'3')
        );
    }

    #[test]
    fn early_replies_do_not_pile_up_behind_a_busy_client() {
        let (mut places, mut output) = (Places::default(), Output::default());
        let mut waiting = reserved(&mut places);
        for _ in 0..10_000 {
            let next = reserved(&mut places);
            let last = reserved(&mut places);
            places.fill(last, Reply::Copied(&[b'x'; 100]), &mut output);
            places.fill(waiting, Reply::Copied(b"y"), &mut output);
            waiting = next;
            taken(&mut output);
            places.check_invariants();
        }
        assert!(
            places.parked.len() <= 2 * PARKED_COMPACT_BYTES,
            "{}",
            places.parked.len()
        );
    }
}
