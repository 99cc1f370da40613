//! Finds the requests in what a client sends: RESP arrays of bulk strings and inline commands.
//! Nothing is copied but inline commands, which are rewritten as arrays.

use super::error::RequestError;

/// What a request may be at most. The defaults are those of redis-server 7.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The length of one argument in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: u64,
    /// The number of arguments.
    pub arguments_max: u64,
    /// The length of an inline command, and of a length line, in bytes.
    pub inline_bytes_max: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 512 * 1024 * 1024,
            arguments_max: 1024 * 1024,
            inline_bytes_max: 64 * 1024,
        }
    }
}

/// Where one connection stands in the request that is arriving.
#[derive(Debug, Default)]
pub struct RequestScanner {}

/// Working memory that all connections of a thread share.
#[derive(Debug, Default)]
pub struct RequestBuffers {
    spans: Vec<Span>,
    /// The request as an array, when its bytes were not fit to be forwarded as they came.
    rewritten: Vec<u8>,
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
    /// Looks for a request at the front of `input`.
    pub fn scan(
        &mut self,
        input: &[u8],
        limits: &RequestLimits,
        buffers: &mut RequestBuffers,
    ) -> Result<Scan, RequestError> {
        let _ = (input, limits, buffers);
        unimplemented!()
    }
}

impl RequestBuffers {
    /// The request that was just scanned; `input` holds the bytes that it consumed.
    pub fn request<'a>(&'a self, input: &'a [u8]) -> Request<'a> {
        let frame = if self.rewritten.is_empty() {
            input
        } else {
            &self.rewritten
        };
        Request {
            frame,
            spans: &self.spans,
        }
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

    /// The arguments from `first` on.
    pub fn args(&self, first: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let (frame, spans) = (self.frame, &self.spans[first.min(self.spans.len())..]);
        spans
            .iter()
            .map(move |span| &frame[span.start as usize..span.end as usize])
    }
}

/// The place of one argument in its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}
