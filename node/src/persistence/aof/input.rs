//! Commands from the bytes of an append-only file, as they come; and how far the file is whole.

use bytes::{Buf, BytesMut};
use slotway_protocol::resp::{Request, RequestBuffers, RequestLimits, RequestScanner, Scan};

use super::position::LoggedPosition;

/// A file that is being read.
#[derive(Debug, Default)]
pub(crate) struct AofInput {
    /// What is not read yet, or not complete.
    pending: BytesMut,
    /// Where in the file that begins.
    position: u64,
    scanner: RequestScanner,
    buffers: RequestBuffers,
    /// What an annotation says of the stream of writes, unless commands follow it.
    logged: Option<LoggedPosition>,
}

/// What comes next in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// More bytes are needed, or there are none.
    Incomplete,
    /// A command of so many bytes.
    Command(usize),
    /// No command.
    Wrong,
}

impl AofInput {
    /// Begins behind the first `position` bytes, which were something else.
    pub(crate) fn at(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Finds the next command, past lines that are annotations.
    pub(crate) fn find_next(&mut self) -> Next {
        while self.pending.first() == Some(&b'#') {
            match memchr::memchr(b'\n', &self.pending) {
                Some(end) => {
                    let logged = LoggedPosition::parse(&self.pending[..end]);
                    if logged.is_some() {
                        self.logged = logged;
                    }
                    self.consume(end + 1);
                }
                None if self.pending.len() > ANNOTATION_BYTES_MAX => return Next::Wrong,
                None => return Next::Incomplete,
            }
        }
        match self.pending.first() {
            None => return Next::Incomplete,
            Some(b'*') => {}
            Some(_) => return Next::Wrong,
        }
        let limits = RequestLimits {
            bulk_bytes_max: u64::from(u32::MAX),
            ..RequestLimits::default()
        };
        let pending = &self.pending;
        match self.scanner.scan(pending, &limits, &mut self.buffers) {
            Ok(Scan::Incomplete) => Next::Incomplete,
            Ok(Scan::Request { consumed }) => {
                self.logged = None;
                Next::Command(consumed)
            }
            Ok(Scan::Empty { .. }) | Err(_) => Next::Wrong,
        }
    }

    /// The command of so many bytes that was just found.
    pub(crate) fn command(&self, len: usize) -> Request<'_> {
        self.buffers.request(&self.pending[..len])
    }

    /// Goes on behind so many bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.pending.advance(len);
        self.position += len as u64;
    }

    /// Where in the file the next command begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Up to where in the stream of writes the file is whole, if its end says so.
    pub(crate) fn logged_position(&self) -> Option<&LoggedPosition> {
        self.logged.as_ref().filter(|_| self.is_empty())
    }

    /// Whether nothing is left that is not read.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Longer lines than this are no annotations.
const ANNOTATION_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] =
        b"*1\r\n$4\r\nPING\r\n#TS:1700000000\r\n*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n";

    #[test]
    fn finds_commands_however_the_file_is_cut() {
        for cut in 0..=FILE.len() {
            let mut input = AofInput::at(100);
            let mut found = Vec::new();
            for piece in [&FILE[..cut], &FILE[cut..]] {
                input.push(piece);
                while let Next::Command(len) = input.find_next() {
                    let request = input.command(len);
                    let last = request.arg(request.len() - 1).to_vec();
                    input.consume(len);
                    found.push((last, input.position()));
                }
            }
            let expected = [(b"PING".to_vec(), 114), (b"a\r\n".to_vec(), 153)];
            assert_eq!(found, expected, "cut at {cut}");
            assert!(input.is_empty());
        }
    }

    #[test]
    fn what_is_no_command_is_wrong() {
        for file in ["PING\r\n", "*0\r\n", "*x\r\n", "*1\r\n:1\r\n", "\r\n"] {
            let mut input = AofInput::default();
            input.push(file.as_bytes());
            assert_eq!(input.find_next(), Next::Wrong, "{file:?}");
        }
    }
}
