//! The two ends of a range of a sorted set: by rank, by score or by the members' bytes.

use core::ops::Range;

use crate::command::list::clamp_range;
use crate::command::{Call, CommandError};
use crate::number;
use crate::value::sorted_set::SortedSet;

/// What the two ends of a range are given as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Rank,
    Score,
    Lex,
}

/// The two ends of a range.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bounds<'a> {
    /// Both included, negative when counted from the end.
    Rank(i64, i64),
    Score(Bound<f64>, Bound<f64>),
    Lex(Bound<LexValue<'a>>, Bound<LexValue<'a>>),
}

/// One end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<T> {
    value: T,
    is_excluded: bool,
}

/// Bytes, or what is before or behind all bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LexValue<'a> {
    Lowest,
    Bytes(&'a [u8]),
    Highest,
}

impl<'a> Bounds<'a> {
    /// The lower end in argument `min` and the upper one in argument `max`.
    pub(super) fn parse(
        call: &Call<'a>,
        by: By,
        min: usize,
        max: usize,
    ) -> Result<Self, CommandError> {
        let (low, high) = (call.arg(min), call.arg(max));
        match by {
            By::Rank => Ok(Self::Rank(call.integer_arg(min)?, call.integer_arg(max)?)),
            By::Score => match (parse_score(low), parse_score(high)) {
                (Some(low), Some(high)) => Ok(Self::Score(low, high)),
                _ => Err(CommandError::text("ERR min or max is not a float")),
            },
            By::Lex => match (parse_lex(low), parse_lex(high)) {
                (Some(low), Some(high)) => Ok(Self::Lex(low, high)),
                _ => Err(CommandError::text(
                    "ERR min or max not valid string range item",
                )),
            },
        }
    }

    /// The ranks that lie between, counted from the lowest score; of a range by rank that is
    /// counted from the highest one, too.
    pub(super) fn ranks(&self, set: &SortedSet, is_reversed: bool) -> Range<usize> {
        let range = match *self {
            Self::Rank(start, stop) => {
                let range = clamp_range(start, stop, set.len());
                if is_reversed {
                    return set.len() - range.end..set.len() - range.start;
                }
                return range;
            }
            Self::Score(low, high) => {
                let start = set.partition_point_by_score(|score| low.is_above(&score));
                let end = set.partition_point_by_score(|score| !high.is_below(&score));
                start..end
            }
            Self::Lex(low, high) => {
                let start = set.partition_point(|member, _| low.is_above(&LexValue::Bytes(member)));
                let end = set.partition_point(|member, _| !high.is_below(&LexValue::Bytes(member)));
                start..end
            }
        };
        range.start..range.end.max(range.start)
    }
}

impl<T: PartialOrd> Bound<T> {
    /// Whether this lower end leaves a value out.
    fn is_above(&self, value: &T) -> bool {
        *value < self.value || (self.is_excluded && *value == self.value)
    }

    /// Whether this upper end leaves a value out.
    fn is_below(&self, value: &T) -> bool {
        *value > self.value || (self.is_excluded && *value == self.value)
    }
}

fn parse_score(text: &[u8]) -> Option<Bound<f64>> {
    let (is_excluded, number) = match text {
        [b'(', number @ ..] => (true, number),
        number => (false, number),
    };
    let value = parse_lenient(number)?;
    Some(Bound { value, is_excluded })
}

/// A number as C's `strtod` takes it when only the end of the text is looked at: spaces in front
/// are skipped, nothing at all is 0, and what is too large is an infinity.
fn parse_lenient(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    let text = text.trim_ascii_start();
    let plain = core::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<f64>().ok());
    let number = number::parse_f64(text).or(plain)?;
    (!number.is_nan()).then_some(number)
}

fn parse_lex(text: &[u8]) -> Option<Bound<LexValue<'_>>> {
    let (value, is_excluded) = match text {
        [b'-'] => (LexValue::Lowest, false),
        [b'+'] => (LexValue::Highest, false),
        [b'(', bytes @ ..] => (LexValue::Bytes(bytes), true),
        [b'[', bytes @ ..] => (LexValue::Bytes(bytes), false),
        _ => return None,
    };
    Some(Bound { value, is_excluded })
}
