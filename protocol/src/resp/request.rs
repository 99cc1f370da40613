//! Finds the requests in what a client sends: RESP arrays of bulk strings and inline commands.
//! Nothing is copied but what is not fit to be forwarded as it came, which is rewritten.

use std::ops::Range;

use super::cursor::{Cursor, LINE_END_LEN, Span, Step};
use super::error::RequestError;
use super::line::{parse_integer, short_bulk};
use super::{encode, inline};

/// What a request may be at most. The defaults are those of redis-server 7.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The length of one argument in bytes (`proto-max-bulk-len`). Default: 512 MiB.
    pub bulk_bytes_max: u64,
    /// The number of arguments. Default: 2,147,483,647; it was 1,048,576 before version 7.
    pub arguments_max: u64,
    /// The length of an inline command, and of a length line, in bytes, at least 4.
    /// Default: 64 KiB.
    pub inline_bytes_max: usize,
    /// The length of a whole request in bytes, never more than 4 GiB (`client-query-buffer-limit`,
    /// which counts only the argument that is arriving, while we hold the whole request).
    /// Default: 1 GiB.
    pub query_bytes_max: usize,
    /// Whether the client has yet to authenticate: an array then has at most 10 arguments of at
    /// most 16 KiB. Default: false.
    pub unauthenticated: bool,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 512 * 1024 * 1024,
            arguments_max: i32::MAX as u64,
            inline_bytes_max: 64 * 1024,
            query_bytes_max: 1024 * 1024 * 1024,
            unauthenticated: false,
        }
    }
}

impl RequestLimits {
    /// Spans are 32 bits wide.
    pub(super) fn frame_bytes_max(&self) -> usize {
        self.query_bytes_max.min(u32::MAX as usize)
    }
}

/// Where one connection stands in the request that is arriving. Between requests it is only an
/// empty pointer, as most connections are idle most of the time.
#[derive(Debug, Default)]
pub struct RequestScanner {
    arriving: Option<Box<Arriving>>,
}

/// Working memory that all connections of a thread share.
#[derive(Debug, Default)]
pub struct RequestBuffers {
    spans: Vec<Span>,
    /// The request as an array, when its bytes were not fit to be forwarded as they came; else
    /// empty.
    rewritten: Vec<u8>,
    /// How many bytes of the input the request took.
    consumed: usize,
    /// One word of an inline command.
    word: Vec<u8>,
}

/// What is at the front of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// Not yet a whole request; call again with the same bytes and more behind them.
    Incomplete,
    /// An empty request: skip that many bytes, nothing is answered.
    Empty { consumed: usize },
    /// A request in that many bytes; [`RequestBuffers::request`] shows it.
    Request { consumed: usize },
}

/// One request: its bytes as an array of bulk strings, and its arguments in them.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    frame: &'a [u8],
    spans: &'a [Span],
}

impl RequestScanner {
    /// Looks for a request at the front of `input`. After an error the connection is to be closed.
    #[inline(always)]
    pub fn scan(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        buffers: &mut RequestBuffers,
    ) -> Result<Scan, RequestError> {
        buffers.clear();
        if self.arriving.is_some() {
            return self.resume(input, limits, buffers);
        }
        let mut cursor = Cursor::default();
        let step = cursor.advance(input, limits, &mut buffers.spans)?;
        if step == Step::Incomplete && cursor != Cursor::default() {
            self.suspend(cursor, &buffers.spans);
        }
        buffers.finish(step, cursor.is_canonical, input)
    }

    /// Whether no part of a request waits for the rest of it.
    pub fn is_idle(&self) -> bool {
        self.arriving.is_none()
    }

    /// How many bytes behind an input of `len` bytes, which was scanned, the request has at least.
    pub fn missing(&self, len: usize) -> usize {
        let arriving = self.arriving.as_ref();
        arriving.map_or(0, |arriving| arriving.cursor.end().saturating_sub(len))
    }

    /// Counts how often this was called while the same request was arriving.
    pub fn grow_old(&mut self) -> u32 {
        self.arriving.as_mut().map_or(0, |arriving| {
            arriving.age = arriving.age.saturating_add(1);
            arriving.age - 1
        })
    }

    /// The bytes of memory held besides the input, for the limits on it.
    pub fn memory(&self) -> usize {
        self.arriving.as_ref().map_or(0, |arriving| {
            size_of::<Arriving>() + arriving.spans.capacity() * size_of::<Span>()
        })
    }

    #[cold]
    fn suspend(&mut self, cursor: Cursor, spans: &[Span]) {
        self.arriving = Some(Box::new(Arriving {
            cursor,
            spans: spans.to_vec(),
            age: 0,
        }));
    }

    #[cold]
    fn resume(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        buffers: &mut RequestBuffers,
    ) -> Result<Scan, RequestError> {
        let Some(mut arriving) = self.arriving.take() else {
            return Ok(Scan::Incomplete);
        };
        let (cursor, spans) = (&mut arriving.cursor, &mut arriving.spans);
        let step = cursor.advance(input, limits, spans)?;
        let is_canonical = cursor.is_canonical;
        if step == Step::Incomplete {
            self.arriving = Some(arriving);
        } else if spans.capacity() > buffers.spans.capacity() {
            buffers.spans = arriving.spans;
        } else {
            buffers.spans.extend_from_slice(spans);
        }
        buffers.finish(step, is_canonical, input)
    }
}

impl RequestBuffers {
    /// The request that was just scanned; `input` starts with the bytes that it consumed.
    #[inline]
    pub fn request<'a>(&'a self, input: &'a [u8]) -> Request<'a> {
        let frame = if self.rewritten.is_empty() {
            &input[..self.consumed]
        } else {
            &self.rewritten
        };
        Request {
            frame,
            spans: &self.spans,
        }
    }

    #[inline]
    fn clear(&mut self) {
        self.spans.clear();
        self.rewritten.clear();
        if self.spans.capacity() > SPANS_KEPT_MAX || self.rewritten.capacity() > BYTES_KEPT_MAX {
            self.spans = Vec::new();
            self.rewritten = Vec::new();
        }
    }

    /// Gives back the memory of a large request, once nothing refers to it.
    pub fn shrink(&mut self) {
        self.clear();
    }

    #[inline]
    fn finish(
        &mut self,
        step: Step,
        is_canonical: bool,
        input: &[u8],
    ) -> Result<Scan, RequestError> {
        let consumed = match step {
            Step::Incomplete => return Ok(Scan::Incomplete),
            Step::Empty { consumed } => return Ok(Scan::Empty { consumed }),
            Step::Array { consumed } => {
                if !is_canonical {
                    self.rewrite_array(input, consumed)?;
                }
                consumed
            }
            Step::Line { len, consumed } => {
                if !self.rewrite_line(&input[..len])? {
                    return Ok(Scan::Empty { consumed });
                }
                consumed
            }
        };
        self.consumed = consumed;
        if is_cross_protocol(self.request(input).arg(0)) {
            return Err(RequestError::CrossProtocol);
        }
        Ok(Scan::Request { consumed })
    }

    /// Writes an array again whose lines did not all end with CR LF. It does not get longer.
    #[cold]
    fn rewrite_array(&mut self, input: &[u8], consumed: usize) -> Result<(), RequestError> {
        self.rewritten.reserve(consumed);
        encode::array(&mut self.rewritten, self.spans.len());
        for span in &mut self.spans {
            let arg = &input[span.start as usize..span.end as usize];
            encode::bulk(&mut self.rewritten, arg);
            *span = Span::last_bulk(&self.rewritten, arg.len())?;
        }
        Ok(())
    }

    /// Writes an inline command as an array, unless it is empty.
    #[cold]
    fn rewrite_line(&mut self, line: &[u8]) -> Result<bool, RequestError> {
        let mut words = 0;
        inline::split(line, &mut self.word, |_| words += 1)?;
        if words == 0 {
            return Ok(false);
        }
        let (rewritten, spans) = (&mut self.rewritten, &mut self.spans);
        let mut is_too_big = false;
        encode::array(rewritten, words);
        inline::split(line, &mut self.word, |word| {
            encode::bulk(rewritten, word);
            match Span::last_bulk(rewritten, word.len()) {
                Ok(span) => spans.push(span),
                Err(_) => is_too_big = true,
            }
        })?;
        if is_too_big {
            return Err(RequestError::QueryTooBig);
        }
        Ok(true)
    }
}

impl<'a> Request<'a> {
    /// The whole request as an array of bulk strings, fit to be sent to a node.
    #[inline]
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The number of arguments, the command's name included; never 0.
    #[allow(clippy::len_without_is_empty)]
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Argument `index`; the command's name is number 0.
    ///
    /// # Panics
    /// When there is no such argument.
    #[inline]
    pub fn arg(&self, index: usize) -> &'a [u8] {
        let span = self.spans[index];
        &self.frame[span.start as usize..span.end as usize]
    }

    /// Whether there is an argument `index` and it is `word` in capital or small letters.
    #[inline]
    pub fn is_arg(&self, index: usize, word: &[u8]) -> bool {
        index < self.len() && self.arg(index).eq_ignore_ascii_case(word)
    }

    /// The arguments from `first` on.
    pub fn args(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let (frame, spans) = (self.frame, &self.spans[first.min(self.spans.len())..]);
        spans
            .iter()
            .map(move |span| &frame[span.start as usize..span.end as usize])
    }

    /// The arguments of `range` as the bulk strings that they are in the frame, to be copied into
    /// another request.
    ///
    /// # Panics
    /// When there are no such arguments.
    pub fn encoded_args(&self, range: Range<usize>) -> &'a [u8] {
        if range.is_empty() {
            return &[];
        }
        let after = |index: usize| self.spans[index].end as usize + LINE_END_LEN;
        let start = match range.start {
            0 => array_line_len(self.len()),
            first => after(first - 1),
        };
        &self.frame[start..after(range.end - 1)]
    }
}

/// Reads the arguments of a request's frame one after the other, where there are so many that the
/// place of each would take too much memory.
#[derive(Debug, Clone)]
pub struct ArgReader<'a> {
    frame: &'a [u8],
    position: usize,
}

impl<'a> ArgReader<'a> {
    /// From the command's name on, in what [`Request::frame`] gave.
    pub fn new(frame: &'a [u8]) -> Self {
        let line_end = frame.iter().position(|byte| *byte == b'\n');
        let position = line_end.map_or(frame.len(), |end| end + 1);
        Self { frame, position }
    }

    /// From the argument that begins at a position which a reader of the same frame has told.
    #[inline]
    pub fn at(frame: &'a [u8], position: usize) -> Self {
        Self { frame, position }
    }

    /// Where in the frame the next argument begins, its length included.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for ArgReader<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let range = match short_bulk(self.frame, self.position) {
            Some(range) => range,
            None => long_bulk(self.frame, self.position)?,
        };
        self.position = range.end + LINE_END_LEN;
        self.frame.get(range)
    }
}

/// The place of the bytes of a bulk string of any length.
fn long_bulk(frame: &[u8], position: usize) -> Option<Range<usize>> {
    let line = frame.get(position..)?;
    let len = line.iter().position(|byte| *byte == b'\r')?;
    let count = parse_integer(line[..len].strip_prefix(b"$")?)?;
    let start = position + len + LINE_END_LEN;
    Some(start..start.checked_add(usize::try_from(count).ok()?)?)
}

/// A request of which only a part is here.
#[derive(Debug)]
struct Arriving {
    cursor: Cursor,
    /// The arguments before the cursor. It grows as they arrive, never by what was declared.
    spans: Vec<Span>,
    age: u32,
}

/// Whether a browser was made to send this: redis-server hangs up on these words, and compares
/// them as strings that end at a NUL.
#[inline]
fn is_cross_protocol(name: &[u8]) -> bool {
    match name.first() {
        Some(b'p' | b'P') => is_word(name, b"post"),
        Some(b'h' | b'H') => is_word(name, b"host:"),
        _ => false,
    }
}

fn is_word(name: &[u8], word: &[u8]) -> bool {
    name.split_at_checked(word.len())
        .is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(word) && matches!(rest.first(), None | Some(0))
        })
}

/// The length of `*count` and its line end.
fn array_line_len(count: usize) -> usize {
    let digits = count.checked_ilog10().unwrap_or(0) as usize + 1;
    1 + digits + LINE_END_LEN
}

/// The memory of a larger request is given back after it.
const SPANS_KEPT_MAX: usize = 64 * 1024;
const BYTES_KEPT_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome of scanning `input` at once: `incomplete`, `empty N`, `N: arguments` or the
    /// error's text.
    fn outcome(input: &[u8], limits: &RequestLimits) -> String {
        let mut buffers = RequestBuffers::default();
        match RequestScanner::default().scan(input, limits, &mut buffers) {
            Ok(Scan::Incomplete) => "incomplete".to_owned(),
            Ok(Scan::Empty { consumed }) => format!("empty {consumed}"),
            Ok(Scan::Request { consumed }) => {
                let request = buffers.request(input);
                let args: Vec<_> = request.args(0).collect();
                let mut canonical = Vec::new();
                encode::request(&mut canonical, &args);
                assert_eq!(request.frame(), canonical, "{}", input.escape_ascii());
                format!("{consumed}: {}", args.join(&b'|').escape_ascii())
            }
            Err(error) => error.to_string(),
        }
    }

    fn check(limits: &RequestLimits, table: &[(&[u8], &str)]) {
        for (input, expected) in table {
            let found = outcome(input, limits);
            assert_eq!(found, *expected, "{}", input.escape_ascii());
        }
    }

    fn repeated(start: &[u8], byte: u8, count: usize, end: &[u8]) -> Vec<u8> {
        [start, &vec![byte; count], end].concat()
    }

    #[test]
    fn arrays() {
        check(
            &RequestLimits::default(),
            &[
                (b"", "incomplete"),
                (b"*1\r\n$4\r\nPING\r\n", "14: PING"),
                (b"*1\r\n$4\r\nPING\r\n*1\r\n", "14: PING"),
                (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "19: GET|"),
                (b"*1\r\n$0\r\n\r\n", "10: "),
                (b"*1\r\n$4\rXPINGXY", "14: PING"),
                (b"*1\rX$4\r\nPING\r\n", "14: PING"),
                (b"*1\r\n$4\r\nPING\r", "incomplete"),
                (b"*0\r\nPING", "empty 4"),
                (b"*0\rX", "empty 4"),
                (b"*-1\r\n", "empty 5"),
                (b"*-9223372036854775808\r\n", "empty 23"),
                (b"*2147483647\r\n$1\r\n", "incomplete"),
                (b"*1\r\nX\r", "incomplete"),
                (b"*1\r\n\0\r\n", "incomplete"),
                (b"*1\0\r\n$4\r\nPING\r\n", "incomplete"),
                (b"*1\r\n$536870912\r\n", "incomplete"),
            ],
        );
    }

    #[test]
    fn faulty_arrays() {
        let count = "invalid multibulk length";
        let length = "invalid bulk length";
        check(
            &RequestLimits::default(),
            &[
                (b"*\r\n", count),
                (b"*+1\r\n", count),
                (b"*01\r\n", count),
                (b"*-0\r\n", count),
                (b"* 1\r\n", count),
                (b"*2147483648\r\n", count),
                (b"*9223372036854775808\r\n", count),
                (b"*1\r\nX\r\n", "expected '$', got 'X'"),
                (b"*1\r\n\r\n", "expected '$', got ' '"),
                (b"*1\r\n\n\r\n", "expected '$', got ' '"),
                (b"*1\r\n\"\r\n", "expected '$', got '\"'"),
                (b"*2\r\n$1\r\na\r\n*1\r\n", "expected '$', got '*'"),
                (b"*1\r\n$\r\n", length),
                (b"*1\r\n$-1\r\n", length),
                (b"*1\r\n$+4\r\nPING\r\n", length),
                (b"*1\r\n$04\r\nPING\r\n", length),
                (b"*1\r\n$536870913\r\n", length),
            ],
        );
    }

    #[test]
    fn inline_commands() {
        check(
            &RequestLimits::default(),
            &[
                (b"PING", "incomplete"),
                (b"PING\r", "incomplete"),
                (b"PING\r\nPING", "6: PING"),
                (b"PING\n", "5: PING"),
                (b"set a 'b c'\r\n", "13: set|a|b c"),
                (b"\r\nPING", "empty 2"),
                (b"\nPING", "empty 1"),
                (b" \t \r\n", "empty 5"),
                (b"\"\"\r\n", "4: "),
                (b"ECHO a\r\r\n", "9: ECHO|a"),
                (b"PI\0NG\r\n", "incomplete"),
                (b"ECHO \"a\r\n", "unbalanced quotes in request"),
            ],
        );
    }

    #[test]
    fn lines_are_limited() {
        let limits = RequestLimits::default();
        let bulk = b"*1\r\n$";
        let table: &[(Vec<u8>, &str)] = &[
            (repeated(b"*", b'1', 65_535, b""), "incomplete"),
            (
                repeated(b"*", b'1', 65_535, b"\r\n"),
                "invalid multibulk length",
            ),
            (
                repeated(b"*", b'1', 65_536, b""),
                "too big mbulk count string",
            ),
            (
                repeated(b"*\0\r\n", b'1', 65_533, b""),
                "too big mbulk count string",
            ),
            (repeated(bulk, b'1', 65_535, b""), "incomplete"),
            (
                repeated(bulk, b'1', 65_536, b""),
                "too big bulk count string",
            ),
            (repeated(b"", b'a', 65_536, b""), "incomplete"),
            (repeated(b"", b'a', 65_537, b""), "too big inline request"),
            (
                repeated(b"", b'a', 65_537, b"\r\n"),
                "too big inline request",
            ),
            (
                repeated(b"a\0\n", b'a', 65_534, b"\n"),
                "too big inline request",
            ),
        ];
        for (input, expected) in table {
            assert_eq!(outcome(input, &limits), *expected, "{}", input.len());
        }
        let longest = repeated(b"", b'a', 65_536, b"\n");
        assert!(outcome(&longest, &limits).starts_with("65537: aaa"));
    }

    #[test]
    fn whole_requests_are_limited() {
        let limits = RequestLimits {
            query_bytes_max: 20,
            ..RequestLimits::default()
        };
        let too_big = "the request is longer than the query buffer may be";
        check(
            &limits,
            &[
                (b"*1\r\n$9\r\n0123456789\r\n", "19: 012345678"),
                (b"*1\r\n$10\r\n0123456789\r\n", too_big),
                (b"*1\r\n$10\r\n", too_big),
                (b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", too_big),
                (b"ECHO 01234567890123\n", "20: ECHO|01234567890123"),
                (b"ECHO 0123456789012345\n", too_big),
            ],
        );
        let limits = RequestLimits {
            bulk_bytes_max: u64::MAX,
            query_bytes_max: usize::MAX,
            ..RequestLimits::default()
        };
        check(
            &limits,
            &[
                (b"*1\r\n$4294967276\r\n", "incomplete"),
                (b"*1\r\n$4294967277\r\n", too_big),
                (b"*1\r\n$9223372036854775807\r\n", too_big),
            ],
        );
    }

    #[test]
    fn strangers_send_little() {
        let limits = RequestLimits {
            unauthenticated: true,
            ..RequestLimits::default()
        };
        check(
            &limits,
            &[
                (b"*10\r\n", "incomplete"),
                (b"*11\r\n$1\r\n", "unauthenticated multibulk length"),
                (b"*2147483647\r\n", "unauthenticated multibulk length"),
                (b"*2147483648\r\n", "invalid multibulk length"),
                (b"*1\r\n$16384\r\n", "incomplete"),
                (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
                (b"*1\r\n$536870913\r\n", "invalid bulk length"),
                (
                    b"A a b c d e f g h i j k\r\n",
                    "25: A|a|b|c|d|e|f|g|h|i|j|k",
                ),
            ],
        );
    }

    #[test]
    fn smaller_limits_hold_for_short_arguments_too() {
        let limits = RequestLimits {
            bulk_bytes_max: 3,
            arguments_max: 2,
            ..RequestLimits::default()
        };
        check(
            &limits,
            &[
                (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "20: GET|k"),
                (b"*2\r\n$4\r\nMGET\r\n$1\r\nk\r\n", "invalid bulk length"),
                (b"*3\r\n$3\r\nSET\r\n", "invalid multibulk length"),
            ],
        );
    }

    #[test]
    fn browsers_are_recognized() {
        let attack = RequestError::CrossProtocol.to_string();
        check(
            &RequestLimits::default(),
            &[
                (b"POST / HTTP/1.1\r\n", &attack),
                (b"Host: x\r\n", &attack),
                (b"hOST:\n", &attack),
                (b"\"POST\"\r\n", &attack),
                (b"*1\r\n$4\r\npOsT\r\n", &attack),
                (b"*1\r\n$6\r\npOsT\0a\r\n", &attack),
                (b"*1\r\n$4\r\npOsTxx", &attack),
                (b"GET / HTTP/1.1\r\n", "16: GET|/|HTTP/1.1"),
                (b"POSTS\r\n", "7: POSTS"),
                (b"host\r\n", "6: host"),
                (b"PING POST\r\n", "11: PING|POST"),
            ],
        );
    }

    #[test]
    fn arguments_can_be_had_in_many_ways() {
        let mut buffers = RequestBuffers::default();
        let mut input = Vec::new();
        let words: Vec<_> = (0..12).map(|index| "x".repeat(index)).collect();
        encode::request(&mut input, &words);
        input.extend_from_slice(b"*1\r\n");
        let limits = RequestLimits::default();
        let scan = RequestScanner::default().scan(&input, &limits, &mut buffers);
        let consumed = input.len() - 4;
        assert_eq!(scan, Ok(Scan::Request { consumed }));
        let request = buffers.request(&input);
        assert_eq!(request.frame().len(), consumed);
        assert_eq!(request.len(), 12);
        assert_eq!(request.arg(3), b"xxx");
        assert!(request.is_arg(3, b"XxX") && !request.is_arg(3, b"XX"));
        assert!(!request.is_arg(12, b""));
        assert_eq!(
            request.args(10).collect::<Vec<_>>(),
            [&b"x"[..].repeat(10), &b"x".repeat(11)]
        );
        assert_eq!(request.args(12).len(), 0);
        assert_eq!(request.encoded_args(0..2), b"$0\r\n\r\n$1\r\nx\r\n");
        assert_eq!(request.encoded_args(3..4), b"$3\r\nxxx\r\n");
        assert_eq!(request.encoded_args(5..5), b"");
        assert_eq!(request.encoded_args(0..12), &input[5..consumed]);
    }

    #[test]
    fn arguments_can_be_read_without_their_places() {
        let words: Vec<_> = [0, 1, 9, 10, 999, 1000, 70_000]
            .map(|len| "x".repeat(len))
            .into();
        let mut frame = Vec::new();
        encode::request(&mut frame, &words);
        let mut reader = ArgReader::new(&frame);
        let mut positions = Vec::new();
        for word in &words {
            positions.push(reader.position());
            assert_eq!(reader.next(), Some(word.as_bytes()));
        }
        assert_eq!((reader.next(), reader.position()), (None, frame.len()));
        for (word, position) in words.iter().zip(positions) {
            let found = ArgReader::at(&frame, position).next();
            assert_eq!(found, Some(word.as_bytes()));
        }
    }

    #[test]
    fn nothing_is_reserved_by_what_is_declared() {
        let mut scanner = RequestScanner::default();
        let mut buffers = RequestBuffers::default();
        let limits = RequestLimits::default();
        let input = b"*2147483647\r\n$3\r\nSET\r\n$536870912\r\n";
        let scan = scanner.scan(input, &limits, &mut buffers);
        assert_eq!(scan, Ok(Scan::Incomplete));
        assert!(!scanner.is_idle());
        assert!(scanner.arriving.unwrap().spans.capacity() < 16);
        assert!(buffers.spans.capacity() < 16 && buffers.rewritten.capacity() == 0);
    }

    #[test]
    fn memory_of_a_large_request_is_given_back() {
        let mut scanner = RequestScanner::default();
        let mut buffers = RequestBuffers::default();
        let limits = RequestLimits::default();
        let mut input = Vec::new();
        encode::request(&mut input, &vec![b"a"; 2 * SPANS_KEPT_MAX]);
        let scan = scanner.scan(&input, &limits, &mut buffers);
        assert!(matches!(scan, Ok(Scan::Request { .. })));
        let scan = scanner.scan(b"PING\r\n", &limits, &mut buffers);
        assert_eq!(scan, Ok(Scan::Request { consumed: 6 }));
        assert!(buffers.spans.capacity() < 16);
    }

    #[test]
    fn an_idle_scanner_is_one_pointer() {
        assert_eq!(size_of::<RequestScanner>(), size_of::<usize>());
        let mut scanner = RequestScanner::default();
        let mut buffers = RequestBuffers::default();
        let limits = RequestLimits::default();
        for input in [&b""[..], b"*1\r\n$4\r\nPING\r\n", b"PING\r\n"] {
            assert!(scanner.scan(input, &limits, &mut buffers).is_ok());
            assert!(scanner.is_idle());
        }
    }
}
