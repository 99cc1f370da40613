//! Finds the replies in what a node sends, RESP2 and RESP3, without looking into them.

use memchr::memchr;

use super::error::ReplyError;
use super::line::{digit, parse_integer, short_bulk};

/// Where one connection stands in the reply that is arriving.
///
/// A value ends when as many values have been read as all the counts in it have declared, however
/// they are nested; how deep that is has a bound, for the sake of whoever reads the reply. No
/// memory is reserved by what is declared.
#[derive(Debug, Default)]
pub struct ReplyScanner {
    /// The first byte that is not read; behind the input when it is in a bulk string.
    position: usize,
    /// The number of values still to come, that at `position` included; 0 between replies.
    remaining: u64,
    /// So many bytes from `position` on are known to hold no line end; at most `TEXT_BYTES_MAX`.
    searched: u32,
    /// Whether `position` is at the line end after a bulk string.
    is_after_bulk: bool,
    /// For each aggregate around `position`, but for the outermost, how many values still come
    /// once it has ended. Ended ones are only taken out when the next aggregate begins.
    levels: Vec<u64>,
}

impl ReplyScanner {
    /// The length of the reply at the front of `input`, attributes before it included; `None`
    /// when it is not all there yet: call again with the same bytes and more behind them. After
    /// an error the connection is to be closed.
    #[inline]
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        if self.remaining == 0 {
            if let Some(len) = short_value(input, 0) {
                return Ok(Some(len));
            }
            self.remaining = 1;
        }
        let result = self.advance(input);
        if !matches!(result, Ok(None)) {
            self.position = 0;
            self.remaining = 0;
            self.searched = 0;
            self.is_after_bulk = false;
            self.levels.clear();
        }
        result
    }

    /// So many bytes at the front of an input of `len` bytes, which was scanned, are not needed any
    /// more: the next scan is to be without them.
    pub fn hand_over(&mut self, len: usize) -> usize {
        let count = self.position.min(len);
        self.position -= count;
        count
    }

    /// How many bytes behind an input of `len` bytes, which was scanned, the reply has at least.
    pub fn missing(&self, len: usize) -> usize {
        let end = self.position + if self.is_after_bulk { 2 } else { 0 };
        end.saturating_sub(len)
    }

    /// Whether no part of a reply waits for the rest of it.
    pub fn is_idle(&self) -> bool {
        self.remaining == 0
    }

    fn advance(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        while self.remaining > 0 {
            if self.is_after_bulk {
                let Some(line_end) = input.get(self.position..self.position + 2) else {
                    return Ok(None);
                };
                if line_end != b"\r\n" {
                    return Err(ReplyError::MissingLineEnd);
                }
                self.position += 2;
                self.is_after_bulk = false;
                self.remaining -= 1;
            } else if let Some(end) = short_value(input, self.position) {
                self.position = end;
                self.searched = 0;
                self.remaining -= 1;
            } else if !self.value_start(input)? {
                return Ok(None);
            }
        }
        Ok(Some(self.position))
    }

    /// Reads the line that a value starts with, if it is all there.
    fn value_start(&mut self, input: &[u8]) -> Result<bool, ReplyError> {
        let value = input.get(self.position..).unwrap_or_default();
        let Some((kind, line)) = first_line(value, &mut self.searched)? else {
            return Ok(false);
        };
        match Shape::of(kind, line)? {
            Shape::Scalar => self.remaining -= 1,
            Shape::Bulk(len) => {
                self.position += len;
                self.is_after_bulk = true;
            }
            Shape::Elements(count) => {
                self.enter(self.remaining - 1)?;
                self.remaining = (self.remaining - 1)
                    .checked_add(count)
                    .ok_or(ReplyError::TooManyElements)?;
            }
            // It is not a value: the value comes after its elements.
            Shape::Attribute(count) => {
                self.enter(self.remaining)?;
                self.remaining = self
                    .remaining
                    .checked_add(count)
                    .ok_or(ReplyError::TooManyElements)?;
            }
        }
        self.position += 1 + line.len() + 2;
        self.searched = 0;
        Ok(true)
    }

    /// An aggregate begins; so many values come behind it.
    fn enter(&mut self, behind: u64) -> Result<(), ReplyError> {
        while self.levels.last().is_some_and(|end| self.remaining <= *end) {
            self.levels.pop();
        }
        // Most replies have no aggregate in another, and then nothing has to be kept.
        if self.remaining > 1 || self.position > 0 {
            self.levels.push(behind);
        }
        if self.levels.len() >= DEPTH_MAX {
            return Err(ReplyError::TooDeep);
        }
        Ok(())
    }
}

/// What follows the line that a value starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Nothing.
    Scalar,
    /// That many bytes and a line end.
    Bulk(usize),
    /// That many values.
    Elements(u64),
    /// That many values, and then the value that they are an attribute of.
    Attribute(u64),
}

impl Shape {
    pub(super) fn of(kind: u8, line: &[u8]) -> Result<Self, ReplyError> {
        match kind {
            b'+' | b'-' | b',' | b'(' => Ok(Self::Scalar),
            b':' if integer(line).is_some() => Ok(Self::Scalar),
            b'_' if line.is_empty() => Ok(Self::Scalar),
            b'#' if matches!(line, b"t" | b"f") => Ok(Self::Scalar),
            b':' | b'_' | b'#' => Err(ReplyError::InvalidScalar),
            b'$' | b'*' if line == b"-1" => Ok(Self::Scalar),
            b'$' | b'!' | b'=' => {
                let len = length(line).and_then(|len| usize::try_from(len).ok());
                let len = len.filter(|len| *len <= BULK_BYTES_MAX);
                len.map(Self::Bulk).ok_or(ReplyError::InvalidLength)
            }
            b'*' | b'~' | b'>' => Ok(Self::Elements(count(line)?)),
            b'%' => Ok(Self::Elements(2 * count(line)?)),
            b'|' => Ok(Self::Attribute(2 * count(line)?)),
            other => Err(ReplyError::UnknownType(other)),
        }
    }
}

/// The type byte at the front of `input` and the line behind it, without its end; `None` when the
/// line is not all there. `searched` says how much of `input` is known to hold no line end.
pub(super) fn first_line<'a>(
    input: &'a [u8],
    searched: &mut u32,
) -> Result<Option<(u8, &'a [u8])>, ReplyError> {
    let Some((kind, rest)) = input.split_first() else {
        return Ok(None);
    };
    let line_max = match kind {
        b'+' | b'-' | b',' | b'(' => TEXT_BYTES_MAX,
        b':' | b'_' | b'#' | b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|' => {
            NUMBER_BYTES_MAX
        }
        other => return Err(ReplyError::UnknownType(*other)),
    };
    let visible = &rest[..rest.len().min(line_max + 2)];
    let from = *searched as usize;
    if let Some(end) = line_end(visible, from) {
        return Ok(Some((*kind, &visible[..end])));
    }
    if visible.len() == line_max + 2 {
        return Err(ReplyError::LineTooLong);
    }
    // The last byte may be the CR of the line's end.
    *searched = visible.len().saturating_sub(1) as u32;
    Ok(None)
}

/// The place of the first CR LF at or after `from`.
fn line_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut from = from;
    loop {
        let at = from + memchr(b'\r', bytes.get(from..)?)?;
        if *bytes.get(at + 1)? == b'\n' {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The end of the value that starts at `position`, for those that are most common.
#[inline(always)]
fn short_value(input: &[u8], position: usize) -> Option<usize> {
    let value = input.get(position..)?;
    match value.first()? {
        b'$' => match short_bulk(input, position) {
            Some(bytes) => Some(bytes.end + 2),
            None => value.starts_with(b"$-1\r\n").then_some(position + 5),
        },
        b':' => short_integer(value).map(|len| position + len),
        b'+' => value.starts_with(b"+OK\r\n").then_some(position + 5),
        b'_' => value.starts_with(b"_\r\n").then_some(position + 3),
        _ => None,
    }
}

/// The length of a line that holds an integer that is not negative and has up to 18 digits.
#[inline]
fn short_integer(value: &[u8]) -> Option<usize> {
    let digits = value[1..]
        .iter()
        .take(19)
        .take_while(|byte| digit(**byte).is_some())
        .count();
    let is_line = (1..=18).contains(&digits) && value[1 + digits..].starts_with(b"\r\n");
    is_line.then_some(1 + digits + 2)
}

/// The number in an integer reply; a plus and zeros in front are allowed.
pub(super) fn integer(line: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(line).ok()?;
    text.parse().ok()
}

pub(super) fn count(line: &[u8]) -> Result<u64, ReplyError> {
    let count = length(line).ok_or(ReplyError::InvalidLength)?;
    if count > ELEMENTS_MAX {
        return Err(ReplyError::TooManyElements);
    }
    Ok(count)
}

fn length(line: &[u8]) -> Option<u64> {
    u64::try_from(parse_integer(line)?).ok()
}

/// The longest bulk string that is taken from a node: room for values above the default limit of
/// 512 MiB, and for replies such as DUMP's that are longer than the value.
pub const BULK_BYTES_MAX: usize = 4 * 1024 * 1024 * 1024;

/// The longest simple string, error, double or big number. A script may return any text as one,
/// so a small limit would let a client break the connection that it shares with others.
pub const TEXT_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The longest line that holds a length, an integer, a boolean or nothing.
pub const NUMBER_BYTES_MAX: usize = 64;

/// How deep aggregates may lie in each other.
pub const DEPTH_MAX: usize = 128;

/// The largest number of elements, or of pairs, that one aggregate may declare.
pub const ELEMENTS_MAX: u64 = u32::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(input: &[u8]) -> Result<Option<usize>, ReplyError> {
        ReplyScanner::default().scan(input)
    }

    #[test]
    fn whole_replies() {
        let table: &[&[u8]] = &[
            b"+OK\r\n",
            b"+\r\n",
            b"+a\rb\nc\r\n",
            b"-ERR some error\r\n",
            b":0\r\n",
            b":-1\r\n",
            b":+7\r\n",
            b":123456789012345678\r\n",
            b":9223372036854775807\r\n",
            b"$0\r\n\r\n",
            b"$-1\r\n",
            b"$5\r\na\r\nbc\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n*1\r\n:1\r\n$-1\r\n",
            b"_\r\n",
            b"#t\r\n",
            b"#f\r\n",
            b",1.5\r\n",
            b",-inf\r\n",
            b"(3492890328409238509324850943850943825024385\r\n",
            b"!5\r\nERR a\r\n",
            b"=7\r\ntxt:abc\r\n",
            b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
            b"%0\r\n",
            b"~2\r\n+a\r\n+b\r\n",
            b">3\r\n+message\r\n+c\r\n$1\r\nx\r\n",
            b"|1\r\n+ttl\r\n:1\r\n*1\r\n:2\r\n",
            b"|0\r\n+OK\r\n",
            b"*2\r\n|1\r\n+ttl\r\n*0\r\n:1\r\n|1\r\n|0\r\n+a\r\n:1\r\n:2\r\n",
        ];
        for reply in table {
            let name = reply.escape_ascii();
            for len in 0..reply.len() {
                assert_eq!(scan(&reply[..len]), Ok(None), "{name} cut at {len}");
            }
            let longer = [reply, &b"+next\r\n"[..]].concat();
            assert_eq!(scan(reply), Ok(Some(reply.len())), "{name}");
            assert_eq!(scan(&longer), Ok(Some(reply.len())), "{name}");
        }
    }

    #[test]
    fn faulty_replies() {
        let zeros = [&b":"[..], &[b'0'; 100]].concat();
        let table: &[(&[u8], ReplyError)] = &[
            (b"\r\n", ReplyError::UnknownType(b'\r')),
            (b"HTTP/1.1", ReplyError::UnknownType(b'H')),
            (b"*1\r\n@", ReplyError::UnknownType(b'@')),
            (b":\r\n", ReplyError::InvalidScalar),
            (b":1a\r\n", ReplyError::InvalidScalar),
            (b":9223372036854775808\r\n", ReplyError::InvalidScalar),
            (b"#x\r\n", ReplyError::InvalidScalar),
            (b"_x\r\n", ReplyError::InvalidScalar),
            (b"$-2\r\n", ReplyError::InvalidLength),
            (b"$\r\n", ReplyError::InvalidLength),
            (b"$?\r\n", ReplyError::InvalidLength),
            (b"$01\r\n", ReplyError::InvalidLength),
            (b"=-1\r\n", ReplyError::InvalidLength),
            (b"$4294967297\r\n", ReplyError::InvalidLength),
            (b"*-2\r\n", ReplyError::InvalidLength),
            (b"%-1\r\n", ReplyError::InvalidLength),
            (b"*4294967296\r\n", ReplyError::TooManyElements),
            (b"$1\r\nab\r\n", ReplyError::MissingLineEnd),
            (b"$1000\r\n", ReplyError::MissingLineEnd),
            (&zeros, ReplyError::LineTooLong),
        ];
        for (input, expected) in table {
            let padded = [input, &[b'x'; 1010][..]].concat();
            let name = input.escape_ascii();
            assert_eq!(scan(&padded), Err(expected.clone()), "{name}");
        }
    }

    #[test]
    fn declared_counts_neither_reserve_nor_overflow() {
        assert_eq!(scan(b"*4294967295\r\n:1\r\n"), Ok(None));
        assert_eq!(scan(b"$4294967296\r\nabc"), Ok(None));
        let nested = b"%4294967295\r\n".repeat(100);
        assert_eq!(scan(&nested), Ok(None));
        assert!(size_of::<ReplyScanner>() <= 48);
    }

    #[test]
    fn depth_has_a_bound() {
        for kind in ["*1", "%1", "~1", ">1", "|1"] {
            let deep = |depth: usize| format!("{kind}\r\n").repeat(depth).into_bytes();
            assert_eq!(scan(&deep(DEPTH_MAX)), Ok(None), "{kind}");
            assert_eq!(
                scan(&deep(DEPTH_MAX + 1)),
                Err(ReplyError::TooDeep),
                "{kind}"
            );
        }
        // Many beside each other are no depth.
        let wide = [&b"*1000\r\n"[..], &b"*1\r\n*1\r\n*0\r\n".repeat(1000)].concat();
        assert_eq!(scan(&wide), Ok(Some(wide.len())));
        let attributes = [&b"*1000\r\n"[..], &b"|1\r\n:1\r\n*0\r\n*0\r\n".repeat(1000)].concat();
        assert_eq!(scan(&attributes), Ok(Some(attributes.len())));
    }

    #[test]
    fn what_is_handed_over_is_not_needed_any_more() {
        let reply = b"*3\r\n$10\r\n0123456789\r\n:12345\r\n*2\r\n$-1\r\n$4\r\nabcd\r\n";
        for step in 1..reply.len() {
            let (mut scanner, mut input, mut handed) = (ReplyScanner::default(), Vec::new(), 0);
            let mut ends = 0;
            for (number, piece) in reply.chunks(step).enumerate() {
                input.extend_from_slice(piece);
                match scanner.scan(&input) {
                    Ok(None) => {
                        let missing = scanner.missing(input.len());
                        let here = ((number + 1) * step).min(reply.len());
                        assert!(here + missing <= reply.len(), "{step}");
                        let count = scanner.hand_over(input.len());
                        handed += count;
                        input.drain(..count);
                    }
                    Ok(Some(len)) => {
                        assert_eq!(handed + len, reply.len(), "in steps of {step}");
                        ends += 1;
                    }
                    Err(error) => panic!("{error} in steps of {step}"),
                }
            }
            assert_eq!(ends, 1, "in steps of {step}");
        }
    }

    #[test]
    fn a_scanner_starts_anew_after_a_reply() {
        let mut scanner = ReplyScanner::default();
        assert_eq!(scanner.scan(b"*2\r\n:1\r\n$3\r\nab"), Ok(None));
        assert!(!scanner.is_idle());
        assert_eq!(scanner.scan(b"*2\r\n:1\r\n$3\r\nabc\r\n:1"), Ok(Some(17)));
        assert!(scanner.is_idle());
        assert_eq!(scanner.scan(b":1\r"), Ok(None));
        assert_eq!(scanner.scan(b":1\r\n"), Ok(Some(4)));
    }
}
