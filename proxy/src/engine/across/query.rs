//! What a read over several slots asks for: its arguments, judged as redis-server judges them.

use slotway_protocol::command::Command;
use slotway_protocol::command::keys::each_key;
use slotway_protocol::resp::Request;

use super::super::local::parse_integer;
use super::How;

/// A read, parsed.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) read: Read,
}

#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// Of the union of HyperLogLogs.
    Cardinality,
    /// Only the types of the keys, before the error with this text.
    Malformed(&'static [u8]),
    Sets(Operation),
    /// Of an intersection, counted up to a limit; 0 is none.
    Size {
        sorted: bool,
        limit: u64,
    },
    SortedSets(SortedSets),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Difference,
    Intersection,
    Union,
}

/// What is to be done with sorted sets.
#[derive(Debug, PartialEq)]
pub(super) struct SortedSets {
    pub(super) operation: Operation,
    /// One for each key.
    pub(super) weights: Vec<f64>,
    pub(super) aggregate: Aggregate,
    pub(super) with_scores: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    Max,
    Min,
    Sum,
}

impl Query {
    /// `None` for a request that is none of these reads; the text of an error for one that is
    /// malformed.
    pub(super) fn parse(
        command: &Command,
        request: &Request<'_>,
    ) -> Option<Result<Self, &'static [u8]>> {
        use Operation::{Difference, Intersection, Union};
        let mut keys = Vec::new();
        let mut last = 0;
        let visit = &mut |position: usize| {
            keys.push(request.arg(position).to_vec());
            last = position;
        };
        each_key(command, request, visit).ok()?;
        let count = keys.len();
        let options = Options {
            request,
            next: last + 1,
        };
        let read = match command.name {
            "pfcount" => Ok(Read::Cardinality),
            "sdiff" => Ok(Read::Sets(Difference)),
            "sinter" => Ok(Read::Sets(Intersection)),
            "sunion" => Ok(Read::Sets(Union)),
            "sintercard" => options.size(false),
            "zintercard" => options.size(true),
            "zdiff" => options.sorted_sets(Difference, count),
            "zinter" => options.sorted_sets(Intersection, count),
            "zunion" => options.sorted_sets(Union, count),
            _ => return None,
        };
        let read = match read {
            // The server looks at sorted sets first, and then at its options.
            Err(text) if command.name.starts_with('z') => Ok(Read::Malformed(text)),
            read => read,
        };
        Some(read.map(|read| Self { keys, read }))
    }

    /// Whether each key is asked for by itself. The sum of three scores depends on the order of
    /// adding, as infinities do, so scores are put together here, in the order of one server.
    pub(super) fn is_by_key(&self) -> bool {
        match &self.read {
            Read::Cardinality => true,
            Read::SortedSets(sorted) => sorted.operation != Operation::Difference,
            Read::Malformed(_) | Read::Sets(_) | Read::Size { .. } => false,
        }
    }

    /// How the keys of a slot are reduced by its node; `first` is the slot of the first key.
    pub(super) fn how(&self, first: bool) -> How {
        match &self.read {
            Read::Cardinality => How::Get,
            Read::Malformed(_) => How::CheckTypes,
            // What is taken away is all that the other slots have.
            Read::Sets(Operation::Difference) if !first => How::Sets(Operation::Union),
            Read::Sets(operation) => How::Sets(*operation),
            Read::Size { sorted: false, .. } => How::Sets(Operation::Intersection),
            Read::Size { sorted: true, .. } => How::SortedSets(Operation::Intersection, false),
            Read::SortedSets(sorted) if sorted.operation == Operation::Difference => {
                if first {
                    How::SortedSets(Operation::Difference, true)
                } else {
                    How::SortedSets(Operation::Union, false)
                }
            }
            Read::SortedSets(_) => How::SortedSets(Operation::Union, true),
        }
    }
}

/// What comes after the keys.
struct Options<'a> {
    request: &'a Request<'a>,
    next: usize,
}

impl Options<'_> {
    fn size(mut self, sorted: bool) -> Result<Read, &'static [u8]> {
        let mut limit = 0;
        while self.left() > 0 {
            if self.left() < 2 || !self.is(b"limit") {
                return Err(SYNTAX);
            }
            let number = parse_integer(self.request.arg(self.next + 1));
            let number = number.and_then(|number| u64::try_from(number).ok());
            limit = number.ok_or(BAD_LIMIT)?;
            self.next += 2;
        }
        Ok(Read::Size { sorted, limit })
    }

    fn sorted_sets(mut self, operation: Operation, keys: usize) -> Result<Read, &'static [u8]> {
        let mut weights = vec![1.0; keys];
        let mut aggregate = Aggregate::Sum;
        let mut with_scores = false;
        let has_scores = operation != Operation::Difference;
        while self.left() > 0 {
            if has_scores && self.left() > keys && self.is(b"weights") {
                for (weight, word) in weights.iter_mut().zip(self.request.args(self.next + 1)) {
                    *weight = number(word).ok_or(BAD_WEIGHT)?;
                }
                self.next += 1 + keys;
            } else if has_scores && self.left() >= 2 && self.is(b"aggregate") {
                self.next += 1;
                aggregate = if self.is(b"sum") {
                    Aggregate::Sum
                } else if self.is(b"min") {
                    Aggregate::Min
                } else if self.is(b"max") {
                    Aggregate::Max
                } else {
                    return Err(SYNTAX);
                };
                self.next += 1;
            } else if self.is(b"withscores") {
                with_scores = true;
                self.next += 1;
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(Read::SortedSets(SortedSets {
            operation,
            weights,
            aggregate,
            with_scores,
        }))
    }

    fn left(&self) -> usize {
        self.request.len() - self.next
    }

    fn is(&self, word: &[u8]) -> bool {
        self.request.is_arg(self.next, word)
    }
}

/// A number as C's `strtod` reads it, all of it, but for one that is too large or too small for a
/// double and what is not a number. (Nor are hexadecimal digits read.)
fn number(word: &[u8]) -> Option<f64> {
    let text = core::str::from_utf8(word).ok()?;
    let number: f64 = text.parse().ok()?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let written_as_zero = !mantissa.contains(|letter: char| matches!(letter, '1'..='9'));
    let overflowed = number.is_infinite() && text.contains(|letter: char| letter.is_ascii_digit());
    let underflowed = number == 0.0 && !written_as_zero;
    (!number.is_nan() && !overflowed && !underflowed).then_some(number)
}

const SYNTAX: &[u8] = b"ERR syntax error";
const BAD_LIMIT: &[u8] = b"ERR LIMIT can't be negative";
const BAD_WEIGHT: &[u8] = b"ERR weight value is not a float";

#[cfg(test)]
mod tests {
    use super::*;

    /// Each was tried at redis-server 7.0.15.
    #[test]
    fn numbers_are_what_the_server_takes_for_numbers() {
        for (word, expected) in [
            ("1", Some(1.0)),
            ("-1.5e1", Some(-15.0)),
            ("+.5", Some(0.5)),
            ("5.", Some(5.0)),
            ("inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0e400", Some(0.0)),
            ("1e400", None),
            ("1e-400", None),
            ("nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1,5", None),
        ] {
            assert_eq!(number(word.as_bytes()), expected, "{word:?}");
        }
    }
}
