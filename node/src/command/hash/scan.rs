//! What the commands that scan a collection share: cursor, options and the head of the reply.

use slotway_protocol::glob::matches;
use slotway_protocol::resp::encode;

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
            .is_none_or(|pattern| pattern == b"*" || matches(pattern, text))
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
