//! Reads over keys of several slots, for those who opt in: each node gives what its own keys come
//! to, and the proxy puts that together. What one node gives may be older than what another does.

mod hyper_log_log;
mod query;
mod sets;
mod sorted_sets;

use std::collections::HashMap;

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{Command, CommandId, lookup};
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Protocol, encode};

use self::query::{Operation, Query, Read};
use super::requests::Incoming;
use super::task::{Cluster, Steps, Task};
use super::{Proxy, answer};

impl Proxy {
    /// Serves a request whose keys belong to different slots, if it can be and may be.
    #[cold]
    pub(super) fn read_across_slots(&mut self, incoming: &Incoming<'_>, command: &Command) {
        let query = if self.options.cross_slot_reads {
            Query::parse(command, &incoming.request)
        } else {
            None
        };
        match query {
            None => {
                let reply = answer::error(answer::CROSS_SLOT);
                self.answer_at_once(incoming, command.id, &reply);
            }
            Some(Err(text)) => {
                self.answer_at_once(incoming, command.id, &answer::error(text));
            }
            Some(Ok(query)) => {
                self.stats.cross_slot_reads.inc();
                let gather = Gather::new(query, self.options.cross_slot_bytes_max);
                self.begin_task(incoming, command.id, Box::new(gather), None);
            }
        }
    }
}

/// Whether it is one of the commands that can be served so; its arguments may be wrong.
#[cfg(test)]
pub(super) fn serves(command: &Command, request: &slotway_protocol::resp::Request<'_>) -> bool {
    Query::parse(command, request).is_some()
}

/// One read under way.
#[derive(Debug)]
struct Gather {
    query: Query,
    legs: Vec<Leg>,
    /// By leg; empty until it is there.
    replies: Vec<Vec<u8>>,
    waiting: usize,
    /// How much more may be kept.
    bytes_left: usize,
}

/// What one node is asked for some of the keys, which share a slot.
#[derive(Debug, PartialEq, Eq)]
struct Leg {
    slot: Slot,
    /// By their number in the query.
    keys: Vec<usize>,
    how: How,
}

/// How a node is to reduce the keys of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Whether all are sets or sorted sets.
    CheckTypes,
    Get,
    Sets(Operation),
    /// With scores, or only the members.
    SortedSets(Operation, bool),
}

impl Gather {
    fn new(query: Query, bytes_max: usize) -> Self {
        let legs = legs(&query);
        Self {
            replies: vec![Vec::new(); legs.len()],
            waiting: legs.len(),
            legs,
            query,
            bytes_left: bytes_max,
        }
    }

    /// The reply of all replies.
    fn combine(&self, protocol: Protocol) -> Vec<u8> {
        // The nodes' errors are what one server would say of the first key that is wrong.
        let failed = self
            .replies
            .iter()
            .find(|reply| reply.first() == Some(&b'-'));
        if self.query.read != Read::Cardinality
            && let Some(error) = failed
        {
            return error.clone();
        }
        combine(&self.query, &self.legs, &self.replies, protocol)
            .unwrap_or_else(|| answer::error(answer::WRONG_FORM))
    }
}

impl Task for Gather {
    fn begin(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        for (leg, part) in self.legs.iter().zip(0..) {
            let (command, frame) = leg.request(&self.query.keys);
            steps.send(part, leg.slot, command, frame);
        }
    }

    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        let part = part as usize;
        let Some(left) = self.bytes_left.checked_sub(memory_of(reply)) else {
            let key = &self.query.keys[self.legs[part].keys[0]];
            steps.note_too_large();
            return steps.finish(too_large(key));
        };
        self.bytes_left = left;
        self.replies[part] = reply.to_vec();
        self.waiting -= 1;
        if self.waiting == 0 {
            steps.finish(self.combine(cluster.protocol));
        }
    }

    fn memory(&self) -> usize {
        self.replies.iter().map(Vec::len).sum()
    }
}

/// What each node is asked, in the order of the keys.
fn legs(query: &Query) -> Vec<Leg> {
    let mut legs: Vec<Leg> = Vec::new();
    let mut of_key: HashMap<&[u8], usize> = HashMap::new();
    let mut of_slot: HashMap<Slot, usize> = HashMap::new();
    for (number, key) in query.keys.iter().enumerate() {
        let slot = Slot::of(key);
        let new = legs.len();
        let leg = if query.is_by_key() {
            *of_key.entry(key).or_insert(new)
        } else {
            *of_slot.entry(slot).or_insert(new)
        };
        if leg == new {
            legs.push(Leg {
                slot,
                keys: Vec::new(),
                how: query.how(number == 0),
            });
        }
        legs[leg].keys.push(number);
    }
    legs
}

impl Leg {
    fn request(&self, keys: &[Vec<u8>]) -> (CommandId, Vec<u8>) {
        let name = match self.how {
            How::CheckTypes => "ZINTERCARD",
            How::Get => "GET",
            How::Sets(Operation::Union) => "SUNION",
            How::Sets(Operation::Intersection) => "SINTER",
            How::Sets(Operation::Difference) => "SDIFF",
            How::SortedSets(Operation::Union, _) => "ZUNION",
            How::SortedSets(Operation::Intersection, _) => "ZINTER",
            How::SortedSets(Operation::Difference, _) => "ZDIFF",
        };
        let mut keys: Vec<&[u8]> = self.keys.iter().map(|key| &keys[*key][..]).collect();
        let sorted = matches!(self.how, How::SortedSets(..) | How::CheckTypes);
        // Legs of one key each have it once, however often it is in the query.
        if self.how == How::Get || self.how == How::SortedSets(Operation::Union, true) {
            keys.truncate(1);
        }
        let number = keys.len().to_string();
        let mut words = vec![name.as_bytes()];
        if sorted {
            words.push(number.as_bytes());
        }
        words.append(&mut keys);
        match self.how {
            How::SortedSets(_, true) => words.push(b"WITHSCORES"),
            How::CheckTypes => words.extend([&b"LIMIT"[..], b"1"]),
            _ => {}
        }
        let mut frame = Vec::new();
        encode::request(&mut frame, &words);
        let command = lookup(name.as_bytes()).map_or(CommandId(0), |command| command.id);
        (command, frame)
    }
}

/// The reply of the nodes' replies; `None` when one of those is not what was asked for.
fn combine(
    query: &Query,
    legs: &[Leg],
    replies: &[Vec<u8>],
    protocol: Protocol,
) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match &query.read {
        Read::Cardinality => {
            // One key after the other, as their faults are to be told.
            let replies = replies.iter().map(Vec::as_slice);
            match hyper_log_log::count(replies)? {
                Ok(count) => encode::integer(&mut out, count),
                Err(error) => out.extend_from_slice(&error),
            }
        }
        Read::Malformed(text) => encode::error(&mut out, text),
        Read::Sets(operation) => {
            let sets: Vec<_> = replies
                .iter()
                .map(|it| members(it))
                .collect::<Option<_>>()?;
            let members = sets::combine(*operation, &sets);
            encode::set(&mut out, protocol, members.len());
            for member in members {
                encode::bulk(&mut out, member);
            }
        }
        Read::Size { limit, .. } => {
            let sets: Vec<_> = replies
                .iter()
                .map(|it| members(it))
                .collect::<Option<_>>()?;
            let size = sets::combine(Operation::Intersection, &sets).len() as u64;
            let size = if *limit == 0 { size } else { size.min(*limit) };
            encode::integer(&mut out, i64::try_from(size).unwrap_or(i64::MAX));
        }
        Read::SortedSets(sorted) => {
            let result = sorted_sets::combine(sorted, legs, replies)?;
            sorted_sets::write(&mut out, protocol, sorted.with_scores, &result);
        }
    }
    Some(out)
}

/// The elements of an array or a set of strings.
fn members(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = TokenReader::new(reply);
    let Ok(Some(Token::Array(count) | Token::Set(count))) = reader.next_token() else {
        return None;
    };
    let next = |_| match reader.next_token() {
        Ok(Some(Token::Bulk(member))) => Some(member),
        _ => None,
    };
    (0..count).map(next).collect()
}

/// What a reply costs while it is put together with others.
fn memory_of(reply: &[u8]) -> usize {
    let elements = match TokenReader::new(reply).next_token() {
        Ok(Some(Token::Array(count) | Token::Set(count))) => count,
        _ => 0,
    };
    reply.len() + elements * ELEMENT_BYTES
}

fn too_large(key: &[u8]) -> Vec<u8> {
    let shown = &key[..key.len().min(KEY_SHOWN_MAX)];
    let text = [
        b"ERR proxy: what is at '",
        shown,
        b"' and other keys is too large to be put together (cross_slot_bytes_max)",
    ];
    answer::error(&text.concat())
}

/// About what a member takes in the tables that find it.
const ELEMENT_BYTES: usize = 48;

/// How much of a key an error shows.
const KEY_SHOWN_MAX: usize = 128;

#[cfg(test)]
mod tests;
