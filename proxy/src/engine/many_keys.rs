//! A request of very many keys, taken apart by slots and put together again little by little, so
//! that no step takes long and little is kept besides the request and its replies. Knows nothing of
//! clients and nodes.

use bytes::Bytes;
use slotway_protocol::cluster::{SLOTS, Slot};
use slotway_protocol::command::CommandId;
use slotway_protocol::output::{LARGE_BYTES, Output};
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{ArgReader, encode};

use super::fail_point;
use super::merge::{Merge, MergeKind};
use super::session::Ticket;

/// One such request.
#[derive(Debug)]
pub(crate) struct ManyKeys {
    /// The whole request; empty once it is not needed any more.
    frame: Bytes,
    pub(crate) ticket: Ticket,
    pub(crate) command: CommandId,
    pub(crate) lane: usize,
    /// So many arguments belong to each key, itself included.
    pub(crate) step: usize,
    keys: usize,
    stage: Stage,
    /// Where in the frame each key begins, those of one slot after each other. Empty before they
    /// are sorted, and when all are sent.
    order: Vec<u32>,
    /// By slot.
    parts: Vec<Part>,
    /// How many of the parts have been sent, and answered.
    sent: usize,
    answered: usize,
    /// The bytes of those that are not answered.
    unanswered_bytes: usize,
    merge: Merge,
    replies: Replies,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The keys of each slot are counted; the next one begins there in the frame.
    Counting { position: usize },
    /// They are put in the order of their slots.
    Sorting { position: usize },
    /// The parts are sent, and their replies come.
    Sending,
    /// The reply is written; the next element is that of the key that begins there in the frame.
    Writing { position: usize, bytes: usize },
    /// A step has begun. It stays so if that is interrupted, and nobody knows how far it came.
    Busy,
}

/// What is to be done next, for others to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Preparing,
    Sending,
    Writing,
}

/// What goes to one slot.
#[derive(Debug)]
struct Part {
    slot: Slot,
    /// Where its keys begin in the order.
    first: u32,
    /// The bytes of the request while it is not answered.
    len: u32,
    /// Where the next element of the reply is.
    element: Place,
}

/// What has come of preparing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prepared {
    NotYet,
    /// All keys have this slot.
    OneSlot(Slot),
    Parts,
}

/// For each slot a number, while one request is prepared.
pub(crate) type Table = Vec<u32>;

impl ManyKeys {
    pub(crate) fn new(
        frame: Bytes,
        ticket: Ticket,
        command: CommandId,
        lane: usize,
        (merge, step): (MergeKind, usize),
    ) -> Self {
        let position = first_key(&frame);
        Self {
            frame,
            ticket,
            command,
            lane,
            step,
            keys: 0,
            stage: Stage::Counting { position },
            order: Vec::new(),
            parts: Vec::new(),
            sent: 0,
            answered: 0,
            unanswered_bytes: 0,
            merge: Merge::of(merge, 0),
            replies: Replies::default(),
        }
    }

    /// Goes on with finding out which keys have which slot. The table is left alone in between.
    pub(crate) fn prepare(&mut self, table: &mut Table) -> Prepared {
        match self.stage {
            Stage::Counting { position } => self.count(position, table),
            Stage::Sorting { position } => self.sort(position, table),
            Stage::Sending | Stage::Writing { .. } | Stage::Busy => Prepared::Parts,
        }
    }

    fn count(&mut self, mut position: usize, table: &mut Table) -> Prepared {
        self.stage = Stage::Busy;
        if self.keys == 0 {
            table.clear();
            table.resize(SLOTS, 0);
        }
        for _ in 0..KEYS_PER_STEP {
            let Some(key) = next_key(&self.frame, &mut position, self.step) else {
                return self.begin_sorting(table);
            };
            table[Slot::of(key).index()] += 1;
            self.keys += 1;
        }
        fail_point::pass();
        self.stage = Stage::Counting { position };
        Prepared::NotYet
    }

    fn begin_sorting(&mut self, table: &mut Table) -> Prepared {
        let mut first = 0;
        self.parts = Vec::with_capacity(table.iter().filter(|count| **count > 0).count());
        for index in (0..SLOTS).map(|number| number * STRIDE % SLOTS) {
            let count = std::mem::replace(&mut table[index], first);
            let slot = Slot::new(index as u64).expect("the table has a place for each slot");
            if count > 0 {
                self.parts.push(Part {
                    slot,
                    first,
                    len: 0,
                    element: Place::default(),
                });
            }
            first += count;
        }
        self.merge = Merge::of(self.merge.kind(), self.parts.len());
        if let [part] = &self.parts[..] {
            return Prepared::OneSlot(part.slot);
        }
        fail_point::pass();
        self.order = vec![0; self.keys];
        let position = first_key(&self.frame);
        self.stage = Stage::Sorting { position };
        Prepared::NotYet
    }

    fn sort(&mut self, mut position: usize, table: &mut Table) -> Prepared {
        self.stage = Stage::Busy;
        for _ in 0..KEYS_PER_STEP {
            let begin = position;
            let Some(key) = next_key(&self.frame, &mut position, self.step) else {
                self.stage = Stage::Sending;
                return Prepared::Parts;
            };
            let place = &mut table[Slot::of(key).index()];
            self.order[*place as usize] = begin as u32;
            *place += 1;
        }
        fail_point::pass();
        self.stage = Stage::Sorting { position };
        Prepared::NotYet
    }

    /// Writes the next part, unless enough is under way or it is in vain. Gives its ticket and
    /// slot.
    pub(crate) fn next_part(&mut self, out: &mut Vec<u8>) -> Option<(Ticket, Slot)> {
        let is_ready = self.stage == Stage::Sending
            && self.unanswered_bytes < UNANSWERED_BYTES_MAX
            && !self.merge.has_failed();
        let part = self.parts.get(self.sent).filter(|_| is_ready)?;
        let end = self
            .parts
            .get(self.sent + 1)
            .map(|next| next.first as usize);
        let keys = part.first as usize..end.unwrap_or(self.keys);
        let name = ArgReader::new(&self.frame).position()..first_key(&self.frame);
        out.clear();
        encode::array(out, 1 + keys.len() * self.step);
        out.extend_from_slice(&self.frame[name]);
        for begin in &self.order[keys] {
            let begin = *begin as usize;
            let mut end = begin;
            next_key(&self.frame, &mut end, self.step);
            out.extend_from_slice(&self.frame[begin..end]);
        }
        let slot = part.slot;
        let ticket = Ticket {
            part: self.sent as u32,
            ..self.ticket
        };
        self.parts[self.sent].len = out.len() as u32;
        self.unanswered_bytes += out.len();
        self.sent += 1;
        fail_point::pass();
        if self.sent == self.parts.len() {
            self.order = Vec::new();
            if self.merge.kind() != MergeKind::Elements {
                self.frame = Bytes::new();
            }
        }
        Some((ticket, slot))
    }

    /// Takes the reply to a part. Says whether no other is to come.
    pub(crate) fn take(&mut self, ticket: Ticket, reply: &[u8]) -> bool {
        let index = ticket.part as usize;
        assert!(
            ticket.sequence == self.ticket.sequence && index < self.sent,
            "only what was sent is answered"
        );
        if self.merge.kind() != MergeKind::Elements {
            self.merge.add(ticket.part, reply);
        } else if !self.merge.has_failed() {
            let end = self.parts.get(index + 1).map(|next| next.first as usize);
            let keys = end.unwrap_or(self.keys) - self.parts[index].first as usize;
            match elements(reply, keys) {
                Some(elements) => self.parts[index].element = self.replies.add(elements),
                None => self.fail(reply),
            }
        }
        fail_point::pass();
        // Last, so that a part that was interrupted is one that is missing.
        self.answered += 1;
        self.unanswered_bytes -= self.parts[index].len as usize;
        let is_all_sent = self.sent == self.parts.len() || self.merge.has_failed();
        is_all_sent && self.answered == self.sent
    }

    /// Whether so little is under way that it is worth it to send more.
    pub(crate) fn wants_more(&self) -> bool {
        self.unanswered_bytes <= UNANSWERED_BYTES_MAX / 2
    }

    /// The reply will be that error, or say that this is none to such a request.
    pub(crate) fn fail(&mut self, reply: &[u8]) {
        self.merge.fail(reply);
        self.replies = Replies::default();
    }

    /// Whether so many bytes of replies more are too many to be kept.
    pub(crate) fn is_full(&self, more: usize, bytes_max: usize) -> bool {
        let is_kept = self.merge.kind() == MergeKind::Elements && !self.merge.has_failed();
        is_kept && self.replies.bytes.saturating_add(more) > bytes_max
    }

    /// The whole reply, if it is not one to be written little by little.
    pub(crate) fn short_reply(&self) -> Option<Vec<u8>> {
        if self.merge.kind() == MergeKind::Elements && !self.merge.has_failed() {
            return None;
        }
        let mut out = Vec::new();
        self.merge.write(&mut out);
        Some(out)
    }

    /// All elements are here.
    pub(crate) fn begin_writing(&mut self) {
        let position = first_key(&self.frame);
        self.stage = Stage::Writing { position, bytes: 0 };
    }

    pub(crate) fn is_writing(&self) -> bool {
        matches!(self.stage, Stage::Writing { .. })
    }

    /// Writes more of the reply, one piece or all of it. Gives the length of the whole reply when
    /// that is all.
    pub(crate) fn write(
        &mut self,
        output: &mut Output,
        in_pieces: bool,
        table: &mut Table,
    ) -> Option<usize> {
        let Stage::Writing {
            mut position,
            mut bytes,
        } = self.stage
        else {
            return None;
        };
        self.stage = Stage::Busy;
        table.clear();
        table.resize(SLOTS, 0);
        for (part, number) in self.parts.iter().zip(0..) {
            table[part.slot.index()] = number;
        }
        let (bytes_max, keys_max) = match in_pieces {
            true => (PIECE_BYTES, KEYS_PER_STEP),
            false => (usize::MAX, usize::MAX),
        };
        let before = output.len();
        if bytes == 0 {
            encode::array(output.buffer(), self.keys);
        }
        let mut keys = 0;
        while output.len() < bytes_max
            && keys < keys_max
            && let Some(key) = next_key(&self.frame, &mut position, self.step)
        {
            let part = &mut self.parts[table[Slot::of(key).index()] as usize];
            self.replies.write_next(&mut part.element, output);
            keys += 1;
        }
        fail_point::pass();
        bytes += output.len() - before;
        self.stage = Stage::Writing { position, bytes };
        (position == self.frame.len()).then_some(bytes)
    }

    /// What is to be done next; `None` after a step that was interrupted.
    pub(crate) fn progress(&self) -> Option<Progress> {
        match self.stage {
            Stage::Counting { .. } | Stage::Sorting { .. } => Some(Progress::Preparing),
            Stage::Sending => Some(Progress::Sending),
            Stage::Writing { .. } => Some(Progress::Writing),
            Stage::Busy => None,
        }
    }

    /// How many parts nodes have not answered.
    pub(crate) fn under_way(&self) -> usize {
        self.sent - self.answered
    }

    /// The request.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.frame.len()
            + self.order.capacity() * size_of::<u32>()
            + self.parts.capacity() * size_of::<Part>()
            + self.replies.bytes
    }

    /// Checks what must hold between calls.
    pub(crate) fn check_invariants(&self) {
        assert!(self.answered <= self.sent && self.sent <= self.parts.len());
        assert!(
            self.answered < self.sent || self.unanswered_bytes == 0,
            "what is answered is not under way"
        );
    }
}

/// The keys of a part, which is a request with that many arguments to each key.
pub(crate) fn keys_of(frame: &[u8], step: usize) -> impl Iterator<Item = &[u8]> {
    ArgReader::new(frame).skip(1).step_by(step)
}

/// Where the first key begins.
fn first_key(frame: &[u8]) -> usize {
    let mut reader = ArgReader::new(frame);
    reader.next();
    reader.position()
}

/// The key that begins at the position, which is moved on to the next one.
#[inline]
fn next_key<'a>(frame: &'a [u8], position: &mut usize, step: usize) -> Option<&'a [u8]> {
    let mut reader = ArgReader::at(frame, *position);
    let key = reader.next()?;
    for _ in 1..step {
        reader.next();
    }
    *position = reader.position();
    Some(key)
}

/// The elements of a reply that is an array of that many, one after the other.
fn elements(reply: &[u8], count: usize) -> Option<&[u8]> {
    let mut reader = TokenReader::new(reply);
    match reader.next_token() {
        Ok(Some(Token::Array(len))) if len == count => {}
        _ => return None,
    }
    let elements = reader.rest();
    for _ in 0..count {
        reader.skip_value().ok()?;
    }
    reader.rest().is_empty().then_some(elements)
}

/// The elements of all replies, in blocks that never grow: to enlarge one large buffer would take
/// time, and twice the memory for a moment.
#[derive(Debug, Default)]
struct Replies {
    full: Vec<Bytes>,
    last: Vec<u8>,
    /// Of all of them.
    bytes: usize,
}

/// Where an element is: in which block, and where in it.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    block: u32,
    start: u32,
}

impl Replies {
    fn add(&mut self, elements: &[u8]) -> Place {
        if self.last.capacity() - self.last.len() < elements.len() {
            let next = Vec::with_capacity(elements.len().max(BLOCK_BYTES));
            let full = std::mem::replace(&mut self.last, next);
            if !full.is_empty() {
                self.full.push(Bytes::from(full));
            }
        }
        self.bytes += elements.len();
        let place = Place {
            block: self.full.len() as u32,
            start: self.last.len() as u32,
        };
        self.last.extend_from_slice(elements);
        place
    }

    /// Writes the element and moves on to the next one.
    fn write_next(&self, place: &mut Place, output: &mut Output) {
        let full = self.full.get(place.block as usize);
        let block = full.map_or(&self.last[..], |full| full);
        let rest = &block[place.start as usize..];
        let element = TokenReader::new(rest).next_value();
        let element = element.expect("replies are looked at when they come");
        place.start += element.len() as u32;
        match full {
            Some(full) if element.len() >= LARGE_BYTES => {
                output.push_shared(full.slice_ref(element));
            }
            _ => output.push(element),
        }
    }
}

/// How many keys are looked at in one step: a fraction of a millisecond.
const KEYS_PER_STEP: usize = 8 * 1024;

/// Slots are taken in steps of so many, since neighbours have one node, and all nodes shall work.
const STRIDE: usize = 6_143;

/// So much of the request may be under way to nodes. Others' requests wait behind it.
const UNANSWERED_BYTES_MAX: usize = 128 * 1024;

/// How much of a reply is written at once.
pub(crate) const PIECE_BYTES: usize = 128 * 1024;

const BLOCK_BYTES: usize = 64 * 1024;
