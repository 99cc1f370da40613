//! One connection to a node: what it is asked, and how its answers are read.

use bytes::BytesMut;
use slotway_protocol::engine::Address;
use slotway_protocol::output::Output;
use slotway_protocol::resp::{ReplyScanner, encode, error_codes};

use crate::engine::{Credentials, Report};

#[derive(Debug)]
pub(super) struct Talk {
    pub(super) address: Address,
    pub(super) output: Output,
    scanner: ReplyScanner,
    /// The reply to a login is still to come.
    logs_in: bool,
}

/// What a node has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Report(Report),
    /// It does not let us know.
    No,
    /// That is no answer; it may have one the next time.
    Nonsense,
}

impl Talk {
    pub(super) fn new(address: Address, credentials: Option<&Credentials>) -> Self {
        let mut output = Output::default();
        if let Some(credentials) = credentials {
            let mut words = vec!["AUTH"];
            words.extend(credentials.username.as_deref());
            words.push(&credentials.password);
            encode::request(output.buffer(), &words);
        }
        Self {
            address,
            output,
            scanner: ReplyScanner::default(),
            logs_in: credentials.is_some(),
        }
    }

    pub(super) fn ask(&mut self) {
        encode::request(self.output.buffer(), &["INFO", "replication"]);
    }

    /// The next answer of those that are here whole.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Option<Said> {
        loop {
            let len = match self.scanner.scan(input) {
                Ok(Some(len)) => len,
                Ok(None) if input.len() < BYTES_MAX => return None,
                Ok(None) | Err(_) => return Some(Said::Nonsense),
            };
            let reply = input.split_to(len);
            let is_error = reply.starts_with(b"-");
            if core::mem::take(&mut self.logs_in) && !is_error {
                continue;
            }
            let is_refused = matches!(
                error_codes::of(&reply),
                b"NOPERM" | b"NOAUTH" | b"WRONGPASS"
            );
            return Some(match Report::parse(&reply) {
                Some(report) => Said::Report(report),
                None if is_error && is_refused => Said::No,
                // Other errors are over soon, as that it has too many clients.
                None => Said::Nonsense,
            });
        }
    }
}

/// What an answer may have at most; with a hundred replicas it takes about 10 KiB.
const BYTES_MAX: usize = 256 * 1024;
