//! The length lines that requests and replies have in common, and Redis' strict integers.

use std::ops::Range;

/// Reads an integer as redis-server reads one: an optional minus and digits that fit in 64 bits,
/// no plus, no space, no zero in front and no `-0`.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        // Nineteen digits always fit in an u64.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value = 0_u64;
    for byte in digits {
        value = value * 10 + u64::from(digit(*byte)?);
    }
    if negative {
        0_i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// The place of the bytes of a bulk string that starts at `position`, when it is all there, up to
/// 999 bytes long and written as usual. In all other cases a closer look is needed.
#[inline(always)]
pub(super) fn short_bulk(input: &[u8], position: usize) -> Option<Range<usize>> {
    // The shortest bulk string has six bytes.
    let window = input.get(position..)?.first_chunk()?;
    if window[0] != b'$' {
        return None;
    }
    let (len, line_len) = short_length(window)?;
    let start = position + line_len;
    let end = start + len;
    let line_end = input.get(end..end + 2)?;
    (line_end == b"\r\n").then_some(start..end)
}

/// The number in a line that starts with a type byte and has one to three digits, and the length
/// of the line, its end included.
#[inline(always)]
pub(super) fn short_length(window: &[u8; 6]) -> Option<(usize, usize)> {
    let first = digit(window[1])?;
    if window[2] == b'\r' {
        return (window[3] == b'\n').then_some((usize::from(first), 4));
    }
    let second = digit(window[2])?;
    if first == 0 {
        return None;
    }
    let number = usize::from(first) * 10 + usize::from(second);
    if window[3] == b'\r' {
        return (window[4] == b'\n').then_some((number, 5));
    }
    let third = digit(window[3])?;
    let is_line = window[4] == b'\r' && window[5] == b'\n';
    is_line.then_some((number * 10 + usize::from(third), 6))
}

#[inline(always)]
pub(super) fn digit(byte: u8) -> Option<u8> {
    let value = byte.wrapping_sub(b'0');
    (value <= 9).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_strict() {
        let table: &[(&[u8], Option<i64>)] = &[
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"-7", Some(-7)),
            (b"1000000", Some(1_000_000)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"9223372036854775808", None),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"-9223372036854775809", None),
            (b"99999999999999999999", None),
            (b"", None),
            (b"-", None),
            (b"-0", None),
            (b"00", None),
            (b"07", None),
            (b"+7", None),
            (b" 7", None),
            (b"7 ", None),
            (b"1a", None),
            (b"1:", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_integer(text), *expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn short_bulks_are_seen_only_when_written_as_usual() {
        let table: &[(&[u8], Option<Range<usize>>)] = &[
            (b"$0\r\n\r\n", Some(4..4)),
            (b"$3\r\nabc\r\n", Some(4..7)),
            (b"$3\r\nabc\r\nmore", Some(4..7)),
            (b"$10\r\n0123456789\r\n", Some(5..15)),
            (b"$3\r\nabc\r", None),
            (b"$3\r\nabcd\r\n", None),
            (b"$3\r\nabc\n\n", None),
            (b"$3\n\nabc\r\n", None),
            (b"$3\rXabc\r\n", None),
            (b"$03\r\nabc\r\n", None),
            (b"$-1\r\n\r\n", None),
            (b"$1000\r\n\r\n", None),
            (b"*0\r\n\r\n", None),
            (b"$:\r\n\r\n", None),
            (b"", None),
        ];
        for (input, expected) in table {
            let found = short_bulk(input, 0);
            assert_eq!(found, *expected, "{}", input.escape_ascii());
        }
        assert_eq!(short_bulk(b"abc", 4), None);
    }
}
