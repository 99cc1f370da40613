//! An RDB file, read as its bytes come: one key after the other, and whether the whole is right.

use super::{Input, READ_VERSION_MAX, RdbError, opcode};
use crate::persistence::crc64::Crc64;
use crate::value::Value;

/// A file that is being read. Keys are handed over as soon as they are complete, so they are there
/// before it is known whether the rest of the file is right.
#[derive(Debug)]
pub(crate) struct Loader {
    /// The beginning of what is not complete yet.
    pending: Vec<u8>,
    /// So long `pending` has to get until it is worth another look.
    wanted: usize,
    /// How many bytes are still to come, if that is known.
    announced: Option<u64>,
    stage: Stage,
    checksum: Crc64,
    checks: bool,
    version: u16,
    database: u32,
    expires_at: u64,
    position: LoadedPosition,
    /// The libraries of functions that have come.
    libraries: Vec<Vec<u8>>,
}

/// What a file says of the stream of writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LoadedPosition {
    pub(crate) id: Option<String>,
    pub(crate) offset: Option<u64>,
    pub(crate) database: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Keys,
    Checksum,
    Done,
}

/// A key from a file.
#[derive(Debug)]
pub(crate) struct LoadedKey<'a> {
    pub(crate) database: u32,
    pub(crate) key: &'a [u8],
    pub(crate) value: Value,
    /// Unix time in milliseconds; 0 for never.
    pub(crate) expires_at: u64,
}

/// Who takes the keys.
pub(crate) type Sink<'a> = dyn FnMut(LoadedKey<'_>) -> Result<(), RdbError> + 'a;

impl Loader {
    /// Reads a file of that length, if it is known. Without `checks` the checksum at its end is
    /// not looked at.
    pub(crate) fn new(len: Option<u64>, checks: bool) -> Self {
        Self {
            pending: Vec::new(),
            wanted: 0,
            announced: len,
            stage: Stage::Header,
            checksum: Crc64::default(),
            checks,
            version: 0,
            database: 0,
            expires_at: 0,
            position: LoadedPosition::default(),
            libraries: Vec::new(),
        }
    }

    /// What the file says of the stream of writes, as far as it was read.
    pub(crate) fn position(&self) -> &LoadedPosition {
        &self.position
    }

    /// Takes the bytes that come next. What comes after the end of the file is left out.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut Sink<'_>) -> Result<(), RdbError> {
        if let Some(announced) = &mut self.announced {
            *announced = announced.saturating_sub(bytes.len() as u64);
        }
        if self.stage == Stage::Done {
            return Ok(());
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() < self.wanted {
            return Ok(());
        }
        match self.read(sink) {
            Err(RdbError::Cut { needed }) if self.may_come(needed) => {
                // A large value is looked at a few times while it arrives, not with every piece.
                self.wanted = needed.max(self.pending.len() + self.pending.len() / 2);
                Ok(())
            }
            outcome => outcome,
        }
    }

    /// Nothing more comes. The libraries of functions that nobody has taken.
    pub(crate) fn finish(mut self, sink: &mut Sink<'_>) -> Result<Vec<Vec<u8>>, RdbError> {
        self.read(sink)?;
        Ok(self.libraries)
    }

    /// The texts of the libraries of functions that have come since.
    pub(crate) fn take_libraries(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.libraries)
    }

    /// What came behind the end of the file, once that is reached.
    pub(crate) fn take_rest(&mut self) -> Option<Vec<u8>> {
        (self.stage == Stage::Done).then(|| std::mem::take(&mut self.pending))
    }

    fn may_come(&self, needed: usize) -> bool {
        let available = |announced: u64| announced.saturating_add(self.pending.len() as u64);
        self.announced
            .is_none_or(|announced| needed as u64 <= available(announced))
    }

    /// Reads what is complete; `Cut` when that is not all.
    fn read(&mut self, sink: &mut Sink<'_>) -> Result<(), RdbError> {
        let pending = std::mem::take(&mut self.pending);
        let mut consumed = 0;
        let outcome = loop {
            if self.stage == Stage::Done {
                break Ok(());
            }
            let mut input = Input::new(&pending[consumed..]);
            let is_checksum = self.stage == Stage::Checksum;
            if let Err(error) = self.read_next(&mut input, sink) {
                break Err(error);
            }
            let end = consumed + input.position();
            if !is_checksum {
                self.checksum.update(&pending[consumed..end]);
            }
            consumed = end;
        };
        self.pending = pending;
        self.pending.drain(..consumed);
        outcome
    }

    fn read_next(&mut self, input: &mut Input<'_>, sink: &mut Sink<'_>) -> Result<(), RdbError> {
        match self.stage {
            Stage::Header => {
                self.version = header(input)?;
                self.stage = Stage::Keys;
            }
            Stage::Keys => self.read_record(input, sink)?,
            Stage::Checksum => {
                let expected = u64::from_le_bytes(input.array()?);
                let found = self.checksum.value();
                // A file that was written without a checksum has 0 there.
                if self.checks && expected != 0 && expected != found {
                    return Err(RdbError::Checksum { expected, found });
                }
                self.stage = Stage::Done;
            }
            Stage::Done => {}
        }
        Ok(())
    }

    /// Reads a key with its value, or what stands between keys.
    fn read_record(&mut self, input: &mut Input<'_>, sink: &mut Sink<'_>) -> Result<(), RdbError> {
        match input.byte()? {
            opcode::END => {
                self.stage = if self.version < CHECKSUM_VERSION_MIN {
                    Stage::Done
                } else {
                    Stage::Checksum
                };
            }
            opcode::DATABASE => {
                let number = input.length()?;
                self.database = u32::try_from(number)
                    .map_err(|_| RdbError::Corrupt("a database of an impossible number"))?;
            }
            opcode::EXPIRES_SECONDS => {
                let seconds = i32::from_le_bytes(input.array()?);
                self.expires_at = date(i64::from(seconds).saturating_mul(1_000));
            }
            opcode::EXPIRES_MS => self.expires_at = date(i64::from_le_bytes(input.array()?)),
            opcode::FREQUENCY => drop(input.byte()?),
            opcode::IDLE => drop(input.length()?),
            opcode::AUX => {
                let (name, value) = (input.string()?, input.string()?);
                self.note(&name, &value);
            }
            opcode::RESIZE => drop((input.length()?, input.length()?)),
            opcode::SLOT_INFO => drop((input.length()?, input.length()?, input.length()?)),
            opcode::FUNCTION => self.libraries.push(input.string()?.into_owned()),
            opcode::FUNCTION_PRE => {
                return Err(RdbError::Unsupported("functions of before version 7"));
            }
            opcode::MODULE_AUX => return Err(RdbError::Unsupported("values of modules")),
            kind => self.read_key(kind, input, sink)?,
        }
        Ok(())
    }

    /// Notes what a file says of itself; most of that is of no use.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let text = || core::str::from_utf8(value).ok();
        let position = &mut self.position;
        match name {
            b"repl-id" => position.id = text().map(str::to_owned),
            b"repl-offset" => position.offset = text().and_then(|text| text.parse().ok()),
            b"repl-stream-db" => position.database = text().and_then(|text| text.parse().ok()),
            _ => {}
        }
    }

    fn read_key(
        &mut self,
        kind: u8,
        input: &mut Input<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), RdbError> {
        let key = input.string()?;
        let value = match input.value(kind) {
            Ok(value) => Some(value),
            // An old server could write one; leaving it out loses nothing.
            Err(RdbError::Empty) => None,
            Err(error) => return Err(error),
        };
        let expires_at = std::mem::take(&mut self.expires_at);
        match value {
            Some(value) => sink(LoadedKey {
                database: self.database,
                key: &key,
                value,
                expires_at,
            }),
            None => Ok(()),
        }
    }
}

/// Reads what a file begins with: its version.
fn header(input: &mut Input<'_>) -> Result<u16, RdbError> {
    let bytes: [u8; 9] = input.array()?;
    let (signature, digits) = bytes.split_at(5);
    if signature != b"REDIS" {
        return Err(RdbError::Signature);
    }
    let version = digits.iter().try_fold(0, |version, digit| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        Some(version * 10 + digit)
    });
    match version {
        Some(version @ 1..=READ_VERSION_MAX) => Ok(version),
        other => Err(RdbError::Version(other.unwrap_or(0).into())),
    }
}

/// A date as it is kept: never 0, which is no date. The server writes -1 for none.
fn date(unix_ms: i64) -> u64 {
    match unix_ms {
        -1 => 0,
        unix_ms => u64::try_from(unix_ms).unwrap_or(0).max(1),
    }
}

/// Files of older versions have no checksum.
const CHECKSUM_VERSION_MIN: u16 = 5;
