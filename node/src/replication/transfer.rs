//! All keys on their way from the primary: finds their end in what arrives, and loads them into a
//! keyspace of their own.

use super::upstream::{Form, MARK_LEN};
use crate::keyspace::Keyspace;
use crate::persistence::rdb::{LoadedPosition, Loader, RdbError};

/// Keys that are arriving.
#[derive(Debug)]
pub(crate) struct Transfer {
    loader: Loader,
    keyspace: Keyspace,
    databases: u32,
    end: End,
    /// How many bytes have come.
    received: u64,
    /// The id and offset that the stream has behind the keys.
    pub(crate) id: Option<String>,
    pub(crate) offset: u64,
}

/// What has come.
pub(crate) type Transferred = (Keyspace, LoadedPosition, Vec<Vec<u8>>);

#[derive(Debug)]
enum End {
    /// So many bytes are still to come.
    Left(u64),
    /// The keys end before this mark. The last bytes that came may be its beginning.
    Mark { mark: [u8; MARK_LEN], last: Vec<u8> },
}

impl Transfer {
    /// Loads into an empty `keyspace`.
    pub(crate) fn new(keyspace: Keyspace, databases: u32, form: Form, checks: bool) -> Self {
        let (end, len) = match form {
            Form::Length(len) => (End::Left(len), Some(len)),
            Form::EndMark(mark) => {
                let last = Vec::new();
                (End::Mark { mark, last }, None)
            }
        };
        Self {
            loader: Loader::new(len, checks),
            keyspace,
            databases,
            end,
            received: 0,
            id: None,
            offset: 0,
        }
    }

    /// How many keys are loaded.
    pub(crate) fn keys(&self) -> usize {
        self.keyspace.len()
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// How many bytes are still to come, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.end {
            End::Left(left) => Some(left),
            End::Mark { .. } => None,
        }
    }

    /// Takes what has arrived; how many bytes of it belong to the keys, and whether they were the
    /// last.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(usize, bool), RdbError> {
        self.received += bytes.len() as u64;
        match &mut self.end {
            End::Left(left) => {
                let now = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= now as u64;
                let is_last = *left == 0;
                self.load(&bytes[..now])?;
                Ok((now, is_last))
            }
            End::Mark { mark, last } => {
                // The primary says nothing behind the mark before it is answered.
                let mut all = std::mem::take(last);
                all.extend_from_slice(bytes);
                let is_last = all.ends_with(mark);
                let keys = all.len().saturating_sub(MARK_LEN);
                *last = all.split_off(keys);
                self.load(&all)?;
                Ok((bytes.len(), is_last))
            }
        }
    }

    /// The keys, which have to be complete; what the file says of the stream; and the libraries of
    /// functions.
    pub(crate) fn finish(mut self) -> Result<Transferred, RdbError> {
        let position = self.loader.position().clone();
        let (keyspace, databases) = (&mut self.keyspace, self.databases);
        let libraries = self
            .loader
            .finish(&mut |key| keyspace.take_loaded(key, databases, true))?;
        self.keyspace.select_database(0);
        Ok((self.keyspace, position, libraries))
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        let (keyspace, databases) = (&mut self.keyspace, self.databases);
        self.loader
            .push(bytes, &mut |key| keyspace.take_loaded(key, databases, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::rdb::{About, Saver};
    use crate::value::Value;
    use crate::value::text::Text;

    fn file(keys: u32) -> Vec<u8> {
        let about = About {
            server_version: "7.0.15",
            unix_seconds: 0,
            memory: 0,
            position: None,
            is_aof_base: false,
        };
        let mut saver = Saver::new(about, true, true);
        for key in 0..keys {
            let value = Value::String(Text::new(b"some value that is a little longer"));
            saver.key(0, &key.to_le_bytes(), &value, 0);
        }
        saver.end();
        saver.take()
    }

    #[test]
    fn finds_the_end_however_the_bytes_are_cut() {
        let (file, mark) = (file(100), [b'm'; MARK_LEN]);
        for step in [1, 39, 40, 41, 1_000, 100_000] {
            for has_mark in [false, true] {
                let form = if has_mark {
                    Form::EndMark(mark)
                } else {
                    Form::Length(file.len() as u64)
                };
                let tail: &[u8] = if has_mark { &mark } else { b"*1\r\n" };
                let sent = [&file, tail].concat();
                let mut transfer = Transfer::new(Keyspace::new(false, 1), 1, form, true);
                let mut rest = &sent[..];
                loop {
                    let piece = &rest[..step.min(rest.len())];
                    let (taken, is_last) = transfer.push(piece).unwrap();
                    rest = &rest[taken..];
                    if is_last {
                        break;
                    }
                }
                assert_eq!(rest, if has_mark { &b""[..] } else { b"*1\r\n" });
                let (keyspace, _, _) = transfer.finish().unwrap();
                assert_eq!(keyspace.len(), 100, "{step}");
            }
        }
        let mut cut = Transfer::new(Keyspace::new(false, 1), 1, Form::EndMark(mark), true);
        cut.push(&file[..500]).unwrap();
        assert!(cut.push(&mark).unwrap().1);
        assert!(cut.finish().is_err());
    }
}
