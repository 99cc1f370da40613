//! What the commands that scan a collection share: cursor, options and the head of the reply.

use slotway_protocol::resp::encode;

use super::glob::glob_matches;
use crate::command::{Call, CommandError};
use crate::number::IntegerText;

/// The options of HSCAN, SSCAN and ZSCAN.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanOptions<'a> {
    pub(crate) count: usize,
    pattern: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// The options in the arguments from `first` on.
    pub(crate) fn parse(call: &Call<'a>, first: usize) -> Result<Self, CommandError> {
        let mut options = Self {
            count: 10,
            pattern: None,
        };
        let mut index = first;
        while index < call.len() {
            let has_value = index + 1 < call.len();
            if has_value && call.arg_is(index, "count") {
                let count = call.integer_arg(index + 1)?;
                options.count = usize::try_from(count).unwrap_or(0);
                if options.count == 0 {
                    return Err(CommandError::Syntax);
                }
            } else if has_value && call.arg_is(index, "match") {
                options.pattern = Some(call.arg(index + 1));
            } else {
                return Err(CommandError::Syntax);
            }
            index += 2;
        }
        Ok(options)
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.pattern
            .is_none_or(|pattern| pattern == b"*" || glob_matches(pattern, text))
    }
}

/// A cursor as C's `strtoul` reads it: a sign is allowed and wraps around, nothing is 0.
pub(crate) fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let (is_negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let number = core::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse::<u64>().ok());
    match number {
        Some(number) if is_number && is_negative => Ok(number.wrapping_neg()),
        Some(number) if is_number => Ok(number),
        _ => Err(CommandError::text("ERR invalid cursor")),
    }
}

/// The whole reply for a key that is not there.
pub(crate) fn reply_empty(out: &mut Vec<u8>) {
    reply_cursor(out, 0);
    encode::array(out, 0);
}

/// The head of the reply; an array follows.
pub(crate) fn reply_cursor(out: &mut Vec<u8>, cursor: u64) {
    encode::array(out, 2);
    // A cursor is a position in memory, so it is never that large.
    let cursor = i64::try_from(cursor).unwrap_or(0);
    encode::bulk(out, IntegerText::default().write(cursor));
}
