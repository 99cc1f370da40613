//! RDB bytes, read from the front: lengths and strings, each checked against what is there.

use std::borrow::Cow;

use super::{RdbError, coding};
use crate::number::IntegerText;
use crate::persistence::lzf;

/// Bytes that are read from the front.
#[derive(Debug, Clone)]
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

/// A length, or how the string is coded that stands in its place.
enum Length {
    Of(u64),
    Coded(u8),
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.position == self.bytes.len()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], RdbError> {
        let end = self.position.saturating_add(len);
        let taken = self
            .bytes
            .get(self.position..end)
            .ok_or(RdbError::Cut { needed: end })?;
        self.position = end;
        Ok(taken)
    }

    pub(crate) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], RdbError> {
        let mut array = [0; LEN];
        array.copy_from_slice(self.take(LEN)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, RdbError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    /// A length, or another number that is written like one.
    pub(crate) fn length(&mut self) -> Result<u64, RdbError> {
        match self.length_or_coding()? {
            Length::Of(len) => Ok(len),
            Length::Coded(_) => Err(RdbError::Corrupt("a string in the place of a length")),
        }
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, [u8]>, RdbError> {
        let number = match self.length_or_coding()? {
            Length::Of(len) => return self.take(in_memory(len)).map(Cow::Borrowed),
            Length::Coded(coding::INT8) => i64::from(i8::from_le_bytes(self.array()?)),
            Length::Coded(coding::INT16) => i64::from(i16::from_le_bytes(self.array()?)),
            Length::Coded(coding::INT32) => i64::from(i32::from_le_bytes(self.array()?)),
            Length::Coded(coding::LZF) => return self.compressed().map(Cow::Owned),
            Length::Coded(_) => return Err(RdbError::Corrupt("a string of unknown coding")),
        };
        Ok(Cow::Owned(IntegerText::default().write(number).to_vec()))
    }

    fn compressed(&mut self) -> Result<Vec<u8>, RdbError> {
        let compressed_len = self.length()?;
        let len = self.length()?;
        let compressed = self.take(in_memory(compressed_len))?;
        lzf::decompress(compressed, len).ok_or(RdbError::Corrupt("an invalid LZF string"))
    }

    fn length_or_coding(&mut self) -> Result<Length, RdbError> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3f);
        Ok(Length::Of(match first >> 6 {
            0 => low,
            1 => low << 8 | u64::from(self.byte()?),
            2 if first == 0x80 => u64::from(u32::from_be_bytes(self.array()?)),
            2 if first == 0x81 => u64::from_be_bytes(self.array()?),
            2 => return Err(RdbError::Corrupt("an unknown length encoding")),
            _ => return Ok(Length::Coded(first)),
        }))
    }
}

impl RdbError {
    /// The error of a part whose end is known: more bytes would not help it.
    pub(super) fn of_part(self) -> Self {
        match self {
            Self::Cut { .. } => Self::Corrupt("a length that reaches beyond its value"),
            other => other,
        }
    }
}

/// A length as one of memory. One that is too large for that can't be there, either.
fn in_memory(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
