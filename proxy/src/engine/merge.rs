//! Puts the replies to the parts of one request together into the reply that a single server
//! would have given.

use slotway_protocol::command::ResponsePolicy;
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::answer::WRONG_FORM;
use super::fail_point;

/// All merges under way; finished ones are used again.
#[derive(Debug, Default)]
pub(crate) struct Merges {
    merges: Vec<Merge>,
    free: Vec<MergeId>,
}

/// One merge in [`Merges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MergeId(u32);

/// How replies become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum MergeKind {
    /// An array with one element for each key, in the order of the keys.
    #[default]
    Elements,
    /// The sum of integers.
    Sum,
    /// One of the replies, all being equal.
    AllSucceeded,
    /// The first reply that is no error; an error only when all are.
    OneSucceeded,
    /// The elements of all arrays, in any order.
    Concat,
    /// Element by element 1 where all have 1; also of single integers.
    And,
    /// The same, where any has 1.
    Or,
    /// The smallest integer.
    Min,
    /// The largest integer.
    Max,
}

impl MergeKind {
    /// Whether the replies to parts of the keys can be put together so that nobody notices. That
    /// leaves out MSETNX, which must do all or nothing.
    pub(crate) fn is_of_parts(self) -> bool {
        matches!(self, Self::Elements | Self::Sum | Self::AllSucceeded)
    }

    /// What a response policy asks for; `None` for those that are no matter of adding up parts.
    pub(crate) fn of(policy: ResponsePolicy) -> Option<Self> {
        match policy {
            ResponsePolicy::Default => Some(Self::Elements),
            ResponsePolicy::AggSum => Some(Self::Sum),
            ResponsePolicy::AllSucceeded => Some(Self::AllSucceeded),
            ResponsePolicy::OneSucceeded => Some(Self::OneSucceeded),
            ResponsePolicy::AggLogicalAnd => Some(Self::And),
            ResponsePolicy::AggLogicalOr => Some(Self::Or),
            ResponsePolicy::AggMin => Some(Self::Min),
            ResponsePolicy::AggMax => Some(Self::Max),
            ResponsePolicy::Special => None,
        }
    }
}

/// One request that was split.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    kind: MergeKind,
    /// Parts without a reply.
    remaining: usize,
    sum: i64,
    /// The single integers, or those in the arrays, taken together so far.
    integers: Vec<i64>,
    /// Whether those are of an array.
    is_array: bool,
    /// The first error; it becomes the reply.
    error: Vec<u8>,
    /// Key positions, sorted by part: a part has a run of them.
    order: Vec<u32>,
    /// For each key its element in `data`: start and length.
    elements: Vec<(u32, u32)>,
    data: Vec<u8>,
}

impl Merges {
    /// Begins a merge of `parts` replies. `order` says which keys, by their number in the request,
    /// the parts have one after the other.
    pub(crate) fn begin(
        &mut self,
        kind: MergeKind,
        parts: usize,
        order: impl Iterator<Item = u32>,
    ) -> MergeId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.merges.push(Merge::default());
            MergeId(self.merges.len() as u32 - 1)
        });
        let merge = &mut self.merges[id.0 as usize];
        merge.kind = kind;
        merge.remaining = parts;
        merge.sum = 0;
        merge.integers.clear();
        merge.is_array = false;
        merge.error.clear();
        merge.data.clear();
        merge.order.clear();
        merge.elements.clear();
        if kind == MergeKind::Elements {
            merge.order.extend(order);
            merge.elements.resize(merge.order.len(), (0, 0));
        }
        id
    }

    /// Adds the reply to the part whose first place in the order is `part`. Says whether it was the
    /// last.
    pub(crate) fn add(&mut self, id: MergeId, part: u32, reply: &[u8]) -> bool {
        self.merges[id.0 as usize].add(part, reply)
    }

    /// Whether so many bytes more are too many to be kept.
    pub(crate) fn is_full(&self, id: MergeId, more: usize, bytes_max: usize) -> bool {
        let merge = &self.merges[id.0 as usize];
        merge.error.is_empty() && merge.data.len().saturating_add(more) > bytes_max
    }

    /// The reply of a finished merge; the merge is given up.
    pub(crate) fn finish(&mut self, id: MergeId, out: &mut Vec<u8>) {
        self.merges[id.0 as usize].write(out);
        fail_point::pass();
        self.give_up(id);
    }

    /// Forgets a merge whose client has left.
    pub(crate) fn give_up(&mut self, id: MergeId) {
        let merge = &mut self.merges[id.0 as usize];
        if merge.data.capacity() > KEPT_BYTES_MAX || merge.order.capacity() > KEPT_KEYS_MAX {
            *merge = Merge::default();
        }
        self.free.push(id);
    }

    /// How many parts have no reply.
    pub(crate) fn remaining(&self, id: MergeId) -> usize {
        let merge = self.merges.get(id.0 as usize);
        merge.map_or(0, |merge| merge.remaining)
    }

    /// Forgets all but these, which are in order.
    pub(crate) fn keep(&mut self, used: &[MergeId]) {
        let all = (0..self.merges.len() as u32).map(MergeId);
        self.free = all.filter(|id| used.binary_search(id).is_err()).collect();
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        self.merges.iter().map(Merge::memory).sum()
    }

    /// How many merges are under way.
    pub(crate) fn len(&self) -> usize {
        self.merges.len() - self.free.len()
    }
}

impl Merge {
    /// One whose elements, if that is what it is of, are kept elsewhere.
    pub(crate) fn of(kind: MergeKind, parts: usize) -> Self {
        Self {
            kind,
            remaining: parts,
            ..Self::default()
        }
    }

    pub(crate) fn kind(&self) -> MergeKind {
        self.kind
    }

    /// Adds the reply to a part. Says whether it was the last.
    pub(crate) fn add(&mut self, part: u32, reply: &[u8]) -> bool {
        assert!(self.remaining > 0, "a finished merge gets no reply");
        // Any success makes up for all errors, or any error for all successes.
        let goes_on = self.error.is_empty() || self.kind == MergeKind::OneSucceeded;
        if goes_on && self.take(part as usize, reply).is_none() && self.error.is_empty() {
            self.fail(reply);
        }
        fail_point::pass();
        // Last, so that a part that was interrupted is one that is missing.
        self.remaining -= 1;
        self.remaining == 0
    }

    /// Whether a part has failed.
    pub(crate) fn has_failed(&self) -> bool {
        !self.error.is_empty()
    }

    fn memory(&self) -> usize {
        self.data.capacity()
            + self.elements.capacity() * size_of::<(u32, u32)>()
            + self.order.capacity() * size_of::<u32>()
    }

    /// Takes in a part's reply; `None` when it is an error or not of the expected form.
    fn take(&mut self, part: usize, reply: &[u8]) -> Option<()> {
        match self.kind {
            MergeKind::Elements => self.take_elements(part, reply),
            MergeKind::Sum => match TokenReader::new(reply).next_token() {
                Ok(Some(Token::Integer(number))) => {
                    self.sum = self.sum.checked_add(number)?;
                    Some(())
                }
                _ => None,
            },
            MergeKind::Concat => self.take_concat(reply),
            MergeKind::And | MergeKind::Or | MergeKind::Min | MergeKind::Max => {
                self.take_integers(reply)
            }
            MergeKind::AllSucceeded | MergeKind::OneSucceeded => {
                if reply.first() == Some(&b'-') || reply.first() == Some(&b'!') {
                    return None;
                }
                self.data.clear();
                self.data.extend_from_slice(reply);
                Some(())
            }
        }
    }

    /// Takes the integers of this reply together with those before.
    fn take_integers(&mut self, reply: &[u8]) -> Option<()> {
        let mut reader = TokenReader::new(reply);
        let mut integers = Vec::new();
        self.is_array = false;
        let count = match reader.next_token() {
            Ok(Some(Token::Integer(integer))) => {
                integers.push(integer);
                0
            }
            Ok(Some(Token::Array(count))) => {
                self.is_array = true;
                count
            }
            _ => return None,
        };
        for _ in 0..count {
            let Ok(Some(Token::Integer(integer))) = reader.next_token() else {
                return None;
            };
            integers.push(integer);
        }
        if self.integers.is_empty() {
            self.integers = integers;
            return Some(());
        }
        if self.integers.len() != integers.len() {
            return None;
        }
        for (so_far, integer) in self.integers.iter_mut().zip(integers) {
            *so_far = match self.kind {
                MergeKind::And => i64::from(*so_far != 0 && integer != 0),
                MergeKind::Or => i64::from(*so_far != 0 || integer != 0),
                MergeKind::Max => integer.max(*so_far),
                _ => integer.min(*so_far),
            };
        }
        Some(())
    }

    fn take_concat(&mut self, reply: &[u8]) -> Option<()> {
        let header = reply.iter().position(|byte| *byte == b'\n')? + 1;
        let Ok(Some(Token::Array(count) | Token::Set(count))) =
            TokenReader::new(reply).next_token()
        else {
            return None;
        };
        self.sum += count as i64;
        self.data.extend_from_slice(&reply[header..]);
        Some(())
    }

    fn take_elements(&mut self, part: usize, reply: &[u8]) -> Option<()> {
        let header = reply.iter().position(|byte| *byte == b'\n')? + 1;
        let mut reader = TokenReader::new(reply);
        let Ok(Some(Token::Array(count))) = reader.next_token() else {
            return None;
        };
        let keys = self.order.get(part..part.checked_add(count)?)?;
        let base = u32::try_from(self.data.len()).ok()?;
        let mut start = 0;
        for key in keys {
            reader.skip_value().ok()?;
            let end = u32::try_from(reply.len() - header - reader.rest().len()).ok()?;
            self.elements[*key as usize] = (base.checked_add(start)?, end - start);
            start = end;
        }
        self.data.extend_from_slice(&reply[header..]);
        Some(())
    }

    /// The reply is that error, or says that this is no reply to such a request.
    pub(crate) fn fail(&mut self, reply: &[u8]) {
        if reply.first() == Some(&b'-') || reply.first() == Some(&b'!') {
            self.error.extend_from_slice(reply);
        } else {
            encode::error(&mut self.error, WRONG_FORM);
        }
    }

    /// Writes what the replies have become.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let made_up_for = self.kind == MergeKind::OneSucceeded && !self.data.is_empty();
        if !self.error.is_empty() && !made_up_for {
            return out.extend_from_slice(&self.error);
        }
        if self.elements.iter().any(|(_, len)| *len == 0) {
            return encode::error(out, WRONG_FORM);
        }
        match self.kind {
            MergeKind::Sum => encode::integer(out, self.sum),
            MergeKind::AllSucceeded | MergeKind::OneSucceeded => out.extend_from_slice(&self.data),
            MergeKind::Concat => {
                encode::array(out, self.sum as usize);
                out.extend_from_slice(&self.data);
            }
            MergeKind::And | MergeKind::Or | MergeKind::Min | MergeKind::Max => {
                if self.is_array {
                    encode::array(out, self.integers.len());
                }
                self.integers
                    .iter()
                    .for_each(|integer| encode::integer(out, *integer));
            }
            MergeKind::Elements => {
                encode::array(out, self.elements.len());
                out.reserve(self.data.len());
                for (start, len) in &self.elements {
                    let start = *start as usize;
                    out.extend_from_slice(&self.data[start..start + *len as usize]);
                }
            }
        }
    }
}

/// Memory that a finished merge keeps for the next one.
const KEPT_BYTES_MAX: usize = 64 * 1024;
const KEPT_KEYS_MAX: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(kind: MergeKind, order: &[u32], parts: &[(u32, &str)]) -> String {
        let mut merges = Merges::default();
        let id = merges.begin(kind, parts.len(), order.iter().copied());
        for (number, (part, reply)) in parts.iter().enumerate() {
            let last = merges.add(id, *part, reply.as_bytes());
            assert_eq!(last, number + 1 == parts.len());
        }
        let mut out = Vec::new();
        merges.finish(id, &mut out);
        assert_eq!(merges.len(), 0);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn elements_come_in_the_order_of_the_keys() {
        let parts = [(1, "*2\r\n$1\r\nc\r\n$-1\r\n"), (0, "*1\r\n$2\r\nbb\r\n")];
        let reply = merged(MergeKind::Elements, &[1, 2, 0], &parts);
        assert_eq!(reply, "*3\r\n$-1\r\n$2\r\nbb\r\n$1\r\nc\r\n");
    }

    #[test]
    fn integers_are_added_up() {
        assert_eq!(
            merged(MergeKind::Sum, &[0, 1], &[(0, ":2\r\n"), (1, ":40\r\n")]),
            ":42\r\n"
        );
    }

    #[test]
    fn integers_are_compared_one_by_one() {
        let parts = [(0, "*2\r\n:1\r\n:1\r\n"), (1, "*2\r\n:0\r\n:1\r\n")];
        assert_eq!(merged(MergeKind::And, &[], &parts), "*2\r\n:0\r\n:1\r\n");
        assert_eq!(merged(MergeKind::Or, &[], &parts), "*2\r\n:1\r\n:1\r\n");
        let parts = [(0, ":7\r\n"), (1, ":3\r\n"), (2, ":5\r\n")];
        assert_eq!(merged(MergeKind::Min, &[], &parts), ":3\r\n");
        assert_eq!(merged(MergeKind::Max, &[], &parts), ":7\r\n");
        let parts = [(0, "*1\r\n:1\r\n"), (1, "*2\r\n:1\r\n:1\r\n")];
        assert!(merged(MergeKind::And, &[], &parts).starts_with("-ERR proxy"));
    }

    #[test]
    fn arrays_are_joined() {
        let parts = [
            (0, "*1\r\n$1\r\na\r\n"),
            (1, "*0\r\n"),
            (2, "*1\r\n$1\r\nb\r\n"),
        ];
        assert_eq!(
            merged(MergeKind::Concat, &[], &parts),
            "*2\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
    }

    #[test]
    fn one_success_is_enough_for_some() {
        let parts = [
            (0, "-NOTBUSY no\r\n"),
            (1, "+OK\r\n"),
            (2, "-NOTBUSY no\r\n"),
        ];
        assert_eq!(merged(MergeKind::OneSucceeded, &[], &parts), "+OK\r\n");
        assert_eq!(
            merged(MergeKind::OneSucceeded, &[], &parts[2..]),
            "-NOTBUSY no\r\n"
        );
    }

    #[test]
    fn the_first_error_wins() {
        let parts = [(0, "+OK\r\n"), (1, "-ERR one\r\n"), (2, "-ERR two\r\n")];
        assert_eq!(
            merged(MergeKind::AllSucceeded, &[0, 1, 2], &parts),
            "-ERR one\r\n"
        );
        let parts = [(0, "+OK\r\n"), (1, "+OK\r\n")];
        assert_eq!(merged(MergeKind::AllSucceeded, &[0, 1], &parts), "+OK\r\n");
    }

    #[test]
    fn a_reply_of_the_wrong_form_is_an_error() {
        for (kind, reply) in [
            (MergeKind::Elements, "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
            (MergeKind::Elements, "*0\r\n"),
            (MergeKind::Elements, "$1\r\na\r\n"),
            (MergeKind::Sum, "+OK\r\n"),
        ] {
            let reply = merged(kind, &[0], &[(0, reply)]);
            assert_eq!(
                reply,
                "-ERR proxy: a node gave a reply of the wrong form\r\n"
            );
        }
    }
}
