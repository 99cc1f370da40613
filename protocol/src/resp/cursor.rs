//! Reads a request as far as it is here, and remembers how far that is.

use memchr::memchr2;

use super::error::RequestError;
use super::line::{parse_integer, short_bulk, short_length};
use super::request::RequestLimits;

/// How far a request has been read: each byte is looked at once, however it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The first byte that is not read; 0 until the line with the number of arguments is read.
    position: usize,
    /// The bytes from `position` up to here are known not to end the line. Once `position` is
    /// beyond it, it means nothing.
    searched: usize,
    /// The number of arguments still to come.
    remaining: u32,
    /// The length of the argument at `position`, when its length line is read.
    body: Option<usize>,
    /// Whether all lines so far ended with CR LF, which redis-server does not check.
    pub(super) is_canonical: bool,
}

/// What the cursor came upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Incomplete,
    Empty {
        consumed: usize,
    },
    Array {
        consumed: usize,
    },
    /// An inline command of `len` bytes without its end.
    Line {
        len: usize,
        consumed: usize,
    },
}

impl Default for Cursor {
    fn default() -> Self {
        Self {
            position: 0,
            searched: 0,
            remaining: 0,
            body: None,
            is_canonical: true,
        }
    }
}

impl Cursor {
    /// Where the argument ends that is arriving, its line end included.
    pub(super) fn end(&self) -> usize {
        let body = self.body.map_or(0, |len| len.saturating_add(LINE_END_LEN));
        self.position.saturating_add(body)
    }

    #[inline(always)]
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        spans: &mut Vec<Span>,
    ) -> Result<Step, RequestError> {
        if input.first() != Some(&b'*') {
            return self.inline(input, limits);
        }
        let frame_max = limits.frame_bytes_max();
        let frame = &input[..input.len().min(frame_max)];
        if self.position == 0 && !self.short_count(frame, limits) {
            match self.count(input, limits)? {
                None => return Ok(Step::Incomplete),
                Some(0) => {
                    return Ok(Step::Empty {
                        consumed: self.position,
                    });
                }
                Some(count) => self.remaining = count,
            }
        }
        while self.remaining > 0 {
            if self.body.is_none()
                && let Some(span) = short_bulk(frame, self.position)
                && span.len() as u64 <= limits.bulk_bytes_max
            {
                spans.push(Span::new(span.start, span.end));
                self.position = span.end + LINE_END_LEN;
            } else if let Some(span) = self.bulk(input, limits)? {
                spans.push(span);
            } else {
                return Ok(Step::Incomplete);
            }
            self.remaining -= 1;
        }
        Ok(Step::Array {
            consumed: self.position,
        })
    }

    /// Reads the number of arguments if it is from 1 to 999 and written as usual.
    #[inline(always)]
    fn short_count(&mut self, frame: &[u8], limits: &RequestLimits) -> bool {
        let Some((count, line_len)) = frame.first_chunk().and_then(short_length) else {
            return false;
        };
        let is_allowed = count <= UNAUTHENTICATED_ARGUMENTS_MAX || !limits.unauthenticated;
        if count == 0 || !is_allowed || count as u64 > limits.arguments_max {
            return false;
        }
        self.remaining = count as u32;
        self.position = line_len;
        true
    }

    /// Reads the number of arguments; 0 stands for an empty request.
    #[inline(never)]
    fn count(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Option<u32>, RequestError> {
        let too_big = RequestError::TooBigMultibulkCount;
        let Some(line) = self.length_line(input, limits, too_big)? else {
            return Ok(None);
        };
        let count = parse_integer(&line[1..]).ok_or(RequestError::InvalidMultibulkLength)?;
        let Ok(count) = u64::try_from(count) else {
            return Ok(Some(0));
        };
        if count > limits.arguments_max {
            return Err(RequestError::InvalidMultibulkLength);
        }
        if limits.unauthenticated && count > UNAUTHENTICATED_ARGUMENTS_MAX as u64 {
            return Err(RequestError::UnauthenticatedMultibulkLength);
        }
        match u32::try_from(count) {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(RequestError::InvalidMultibulkLength),
        }
    }

    /// Reads one argument.
    #[inline(never)]
    fn bulk(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Option<Span>, RequestError> {
        let len = match self.body {
            Some(len) => len,
            None => match self.bulk_length(input, limits)? {
                Some(len) => len,
                None => return Ok(None),
            },
        };
        let start = self.position;
        let end = start.saturating_add(len);
        let after = end.saturating_add(LINE_END_LEN);
        if after > limits.frame_bytes_max() {
            return Err(RequestError::QueryTooBig);
        }
        if after > input.len() {
            self.body = Some(len);
            return Ok(None);
        }
        self.is_canonical &= &input[end..after] == b"\r\n";
        self.position = after;
        self.body = None;
        Ok(Some(Span::new(start, end)))
    }

    fn bulk_length(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
    ) -> Result<Option<usize>, RequestError> {
        let too_big = RequestError::TooBigBulkCount;
        let Some(line) = self.length_line(input, limits, too_big)? else {
            return Ok(None);
        };
        let [b'$', digits @ ..] = line else {
            // An empty line starts with its end.
            let byte = line.first().unwrap_or(&b'\r');
            return Err(RequestError::ExpectedBulk(*byte));
        };
        let len = parse_integer(digits).and_then(|len| u64::try_from(len).ok());
        let Some(len) = len.filter(|len| *len <= limits.bulk_bytes_max) else {
            return Err(RequestError::InvalidBulkLength);
        };
        if limits.unauthenticated && len > UNAUTHENTICATED_BULK_BYTES_MAX {
            return Err(RequestError::UnauthenticatedBulkLength);
        }
        usize::try_from(len)
            .map(Some)
            .map_err(|_| RequestError::QueryTooBig)
    }

    /// Reads a line that ends with CR and any one byte, and returns it without them.
    fn length_line<'a>(
        &mut self,
        input: &'a [u8],
        limits: &RequestLimits,
        too_big: RequestError,
    ) -> Result<Option<&'a [u8]>, RequestError> {
        let Some(end) = self.line_end(b'\r', input, limits, too_big)? else {
            return Ok(None);
        };
        if end + LINE_END_LEN > limits.frame_bytes_max() {
            return Err(RequestError::QueryTooBig);
        }
        let Some(line_feed) = input.get(end + 1) else {
            return Ok(None);
        };
        self.is_canonical &= *line_feed == b'\n';
        let line = &input[self.position..end];
        self.position = end + LINE_END_LEN;
        Ok(Some(line))
    }

    #[inline(never)]
    fn inline(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Step, RequestError> {
        let too_big = RequestError::TooBigInline;
        let Some(end) = self.line_end(b'\n', input, limits, too_big)? else {
            return Ok(Step::Incomplete);
        };
        let line = &input[..end];
        Ok(Step::Line {
            len: line.strip_suffix(b"\r").unwrap_or(line).len(),
            consumed: end + 1,
        })
    }

    /// The place of the first byte `wanted` at or after the position. A NUL hides all that is
    /// behind it, as redis-server searches strings that end there: such a line never ends, until
    /// it is too big. The outcome depends on the bytes only, not on how they were cut: a line is
    /// too big as if its bytes had come one at a time.
    fn line_end(
        &mut self,
        wanted: u8,
        input: &[u8],
        limits: &RequestLimits,
        too_big: RequestError,
    ) -> Result<Option<usize>, RequestError> {
        let frame_max = limits.frame_bytes_max();
        // A line without an end may have that many bytes; its end may be the next one.
        let line_max = self.position.saturating_add(limits.inline_bytes_max);
        let from = self.position.max(self.searched);
        let to = input.len().min(line_max.saturating_add(1)).min(frame_max);
        let unseen = input.get(from..to).unwrap_or_default();
        match memchr2(wanted, 0, unseen) {
            Some(at) if unseen[at] == wanted => {
                self.searched = from + at;
                return Ok(Some(self.searched));
            }
            Some(at) => self.searched = from + at,
            None => self.searched = from + unseen.len(),
        }
        if line_max < frame_max && input.len() > line_max {
            Err(too_big)
        } else if input.len() > frame_max {
            Err(RequestError::QueryTooBig)
        } else {
            Ok(None)
        }
    }
}

/// The place of one argument in its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// The last `len` bytes of `written` before its line end.
    pub(super) fn last_bulk(written: &[u8], len: usize) -> Result<Self, RequestError> {
        let end = written.len() - LINE_END_LEN;
        match u32::try_from(end) {
            Ok(_) => Ok(Self::new(end - len, end)),
            Err(_) => Err(RequestError::QueryTooBig),
        }
    }

    #[inline(always)]
    pub(super) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= u32::MAX as usize);
        Self {
            start: start as u32,
            end: end as u32,
        }
    }
}

/// The length of CR LF.
pub(super) const LINE_END_LEN: usize = 2;

/// What redis-server allows before AUTH.
const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: u64 = 16 * 1024;
