//! IDs in requests: whole or in part, as the ends of ranges, and with all that redis-server lets
//! pass for a number.

use crate::command::CommandError;
use crate::number;
use crate::value::stream::{IdWish, StreamId};

/// An ID; without a number it is the first one of its millisecond.
pub(super) fn strict_id(text: &[u8]) -> Result<StreamId, CommandError> {
    parse(text, 0).ok_or_else(invalid)
}

/// An ID, or `-` and `+` for the least and the greatest one.
pub(super) fn id_or_end(text: &[u8], missing_sequence: u64) -> Result<StreamId, CommandError> {
    match until_nul(text) {
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        _ => parse(text, missing_sequence).ok_or_else(invalid),
    }
}

/// The ID of an entry that is to be added.
pub(super) fn wished_id(text: &[u8]) -> Result<IdWish, CommandError> {
    if text == b"*" {
        return Ok(IdWish::Auto);
    }
    let text = until_nul(text);
    match text.strip_suffix(b"-*") {
        Some(ms) if text.len() <= ID_LEN_MAX && !ms.contains(&b'-') => {
            parse_number(ms).map(IdWish::In).ok_or_else(invalid)
        }
        _ => strict_id(text).map(IdWish::Exact),
    }
}

/// The first ID of a range, which `(` leaves out.
pub(super) fn range_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match excluded(text) {
        Some(text) => (strict_id(text)?.next())
            .ok_or_else(|| CommandError::text("ERR invalid start ID for the interval")),
        None => id_or_end(text, 0),
    }
}

/// The last ID of a range, which `(` leaves out.
pub(super) fn range_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match excluded(text) {
        Some(text) => (parse(text, u64::MAX).ok_or_else(invalid)?.previous())
            .ok_or_else(|| CommandError::text("ERR invalid end ID for the interval")),
        None => id_or_end(text, u64::MAX),
    }
}

fn excluded(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"(").filter(|rest| !rest.is_empty())
}

fn invalid() -> CommandError {
    CommandError::text("ERR Invalid stream ID specified as stream command argument")
}

fn parse(text: &[u8], missing_sequence: u64) -> Option<StreamId> {
    if text.len() > ID_LEN_MAX {
        return None;
    }
    let text = until_nul(text);
    let (ms, sequence) = match text.iter().position(|byte| *byte == b'-') {
        Some(at) => (&text[..at], parse_number(&text[at + 1..])?),
        None => (text, missing_sequence),
    };
    Some(StreamId::new(parse_number(ms)?, sequence))
}

/// A number; what is not written in the usual form may have spaces, a sign and zeros in front.
fn parse_number(text: &[u8]) -> Option<u64> {
    if let Some(number) = number::parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let start = text.iter().position(|byte| !IS_SPACE.contains(byte))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Longer texts are not looked at.
const ID_LEN_MAX: usize = 127;

const IS_SPACE: &[u8] = b" \t\n\x0b\x0c\r";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_a_server_does() {
        let id = |ms, sequence| Some(StreamId::new(ms, sequence));
        for (text, expected) in [
            ("5", id(5, 9)),
            ("5-3", id(5, 3)),
            ("0-0", id(0, 0)),
            (
                "18446744073709551615-18446744073709551615",
                id(u64::MAX, u64::MAX),
            ),
            ("18446744073709551616", None),
            (" 5-007", id(5, 7)),
            ("+5-+3", id(5, 3)),
            ("5--3", None),
            ("5- -3", id(5, 3u64.wrapping_neg())),
            ("-5", None),
            ("5-", None),
            ("", None),
            ("x", None),
            ("5-3x", None),
            ("5\0x", id(5, 9)),
            ("$", None),
        ] {
            assert_eq!(parse(text.as_bytes(), 9), expected, "{text:?}");
        }
    }

    #[test]
    fn ends_may_be_left_out() {
        assert_eq!(range_start(b"(5-3"), Ok(StreamId::new(5, 4)));
        assert_eq!(range_end(b"(5-3"), Ok(StreamId::new(5, 2)));
        assert_eq!(range_end(b"(5"), Ok(StreamId::new(5, u64::MAX - 1)));
        assert_eq!(range_end(b"+"), Ok(StreamId::MAX));
        assert!(range_start(b"(18446744073709551615-18446744073709551615").is_err());
        assert!(range_end(b"(0-0").is_err());
        assert!(range_end(b"(+").is_err());
        assert!(range_start(b"(").is_err());
        assert_eq!(wished_id(b"5-*"), Ok(IdWish::In(5)));
        assert!(wished_id(b"-*").is_err());
    }
}
