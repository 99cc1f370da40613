//! How often clients were told which error, by its code.

use std::collections::BTreeMap;

use slotway_protocol::resp::error_codes::{self, ERROR_CODES};

/// Errors by their codes, such as `ERR` or `MOVED`.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    total: u64,
    by_code: BTreeMap<Box<[u8]>, u64>,
}

impl Errors {
    /// Counts an error reply, `-CODE words...`, as it goes out.
    #[cold]
    pub(crate) fn note(&mut self, reply: &[u8]) {
        self.total += 1;
        let code = code(reply);
        if let Some(count) = self.by_code.get_mut(code) {
            *count += 1;
        } else if self.by_code.len() < CODES_MAX || is_usual(code) {
            self.by_code.insert(code.into(), 1);
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Each code that was used, in order, and how often.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.by_code.iter().map(|(code, count)| (&**code, *count))
    }
}

fn code(reply: &[u8]) -> &[u8] {
    match error_codes::of(reply) {
        b"" => b"ERR",
        code => code,
    }
}

fn is_usual(code: &[u8]) -> bool {
    ERROR_CODES.iter().any(|usual| usual.as_bytes() == code)
}

/// Scripts may make up codes of their own, so there has to be an end to them; the total goes on,
/// and so do the usual ones.
const CODES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_the_first_word() {
        let mut errors = Errors::default();
        errors.note(b"-MOVED 1 127.0.0.1:7000\r\n");
        errors.note(b"-ERR syntax error\r\n");
        errors.note(b"-MOVED 2 127.0.0.1:7000\r\n");
        errors.note(b"-BARE\r\n");
        let counts: Vec<_> = errors.iter().collect();
        assert_eq!(counts, [(&b"BARE"[..], 1), (b"ERR", 1), (b"MOVED", 2)]);
        assert_eq!(errors.total(), 4);
    }

    #[test]
    fn codes_that_are_made_up_come_to_an_end() {
        let mut errors = Errors::default();
        for number in 0..1_000 {
            errors.note(format!("-E{number} so\r\n").as_bytes());
        }
        assert_eq!(errors.iter().count(), CODES_MAX);
        assert_eq!(errors.total(), 1_000);
    }
}
