//! Finds the requests in what a client sends: RESP arrays of bulk strings and inline commands.
//! Nothing is copied but what is not fit to be forwarded as it came, which is rewritten.

use std::ops::Range;

use super::cursor::{Cursor, LINE_END_LEN, Span, Step};
use super::error::RequestError;
use super::{encode, inline};

/// What a request may be at most. The defaults are those of redis-server 7.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The length of one argument in bytes (`proto-max-bulk-len`). Default: 512 MiB.
    pub bulk_bytes_max: u64,
    /// The number of arguments. Default: 2,147,483,647; it was 1,048,576 before version 7.
    pub arguments_max: u64,
    /// The length of an inline command, and of a length line, in bytes. Default: 64 KiB.
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
    #[inline]
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

    /// Whether a part of a request has arrived and the rest has not.
    pub fn is_idle(&self) -> bool {
        self.arriving.is_none()
    }

    #[cold]
    fn suspend(&mut self, cursor: Cursor, spans: &[Span]) {
        self.arriving = Some(Box::new(Arriving {
            cursor,
            spans: spans.to_vec(),
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
    pub fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The number of arguments, the command's name included; never 0.
    #[allow(clippy::len_without_is_empty)]
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

/// A request of which only a part is here.
#[derive(Debug)]
struct Arriving {
    cursor: Cursor,
    /// The arguments before the cursor. It grows as they arrive, never by what was declared.
    spans: Vec<Span>,
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
