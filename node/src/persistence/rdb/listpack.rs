//! Listpacks: strings and integers one after the other, each with its length behind it, so that
//! they can be walked from both ends.

use super::{Input, RdbError};
use crate::number::{self, IntegerText};

/// An element of a listpack or a ziplist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

impl Element<'_> {
    /// The element as a string; `scratch` is where a number is written to.
    pub(super) fn as_bytes<'b>(&'b self, scratch: &'b mut IntegerText) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Integer(integer) => scratch.write(*integer),
        }
    }
}

/// All elements of a listpack.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Element<'_>>, RdbError> {
    read_elements(bytes).map_err(RdbError::of_part)
}

fn read_elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, RdbError> {
    let mut input = Input::new(bytes);
    let size = u32::from_le_bytes(input.array()?);
    let count = u16::from_le_bytes(input.array()?);
    if size as usize != bytes.len() {
        return Err(RdbError::Corrupt("a listpack of the wrong size"));
    }
    let mut elements = Vec::new();
    loop {
        let start = input.position();
        let first = input.byte()?;
        if first == END {
            break;
        }
        elements.push(read_element(first, &mut input)?);
        let (behind, len) = length_behind(input.position() - start);
        if input.take(len)? != &behind[..len] {
            return Err(RdbError::Corrupt("a listpack element with a wrong length"));
        }
    }
    if !input.is_at_end() || (count != COUNT_UNKNOWN && usize::from(count) != elements.len()) {
        return Err(RdbError::Corrupt(
            "a listpack with a wrong number of elements",
        ));
    }
    Ok(elements)
}

fn read_element<'a>(first: u8, input: &mut Input<'a>) -> Result<Element<'a>, RdbError> {
    let integer = match first {
        0..=0x7f => i64::from(first),
        0x80..=0xbf => return input.take(usize::from(first & 0x3f)).map(Element::Bytes),
        0xc0..=0xdf => {
            let bits = u16::from(first) << 8 | u16::from(input.byte()?);
            // Thirteen bits, the first of which is the sign.
            i64::from((bits << 3) as i16 >> 3)
        }
        0xe0..=0xef => {
            let len = usize::from(first & 0x0f) << 8 | usize::from(input.byte()?);
            return input.take(len).map(Element::Bytes);
        }
        0xf0 => {
            let len = u32::from_le_bytes(input.array()?);
            return input.take(len as usize).map(Element::Bytes);
        }
        0xf1 => i64::from(i16::from_le_bytes(input.array()?)),
        0xf2 => i64::from(int24(input.array()?)),
        0xf3 => i64::from(i32::from_le_bytes(input.array()?)),
        0xf4 => i64::from_le_bytes(input.array()?),
        _ => return Err(RdbError::Corrupt("a listpack element of unknown coding")),
    };
    Ok(Element::Integer(integer))
}

/// An integer of three bytes.
pub(super) fn int24([low, middle, high]: [u8; 3]) -> i32 {
    i32::from_le_bytes([0, low, middle, high]) >> 8
}

/// The length of an element as it stands behind it, and how many bytes that takes.
fn length_behind(len: usize) -> ([u8; 5], usize) {
    let digits = match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let mut bytes = [0; 5];
    for (index, byte) in bytes[..digits].iter_mut().enumerate() {
        let bits = (len >> (7 * (digits - 1 - index))) as u8 & 0x7f;
        *byte = if index == 0 { bits } else { bits | 0x80 };
    }
    (bytes, digits)
}

/// A listpack that is being written.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            bytes: vec![0; HEADER_LEN],
            count: 0,
        }
    }
}

impl Writer {
    /// The size that it has once it is finished.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a string, as an integer if it reads as one.
    pub(super) fn push(&mut self, element: &[u8]) {
        if let Some(integer) = number::parse_i64(element) {
            return self.push_integer(integer);
        }
        let start = self.bytes.len();
        let len = element.len();
        match len {
            0..64 => self.bytes.push(0x80 | len as u8),
            64..4_096 => self
                .bytes
                .extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]),
            _ => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(element);
        self.end_element(start);
    }

    pub(super) fn push_integer(&mut self, integer: i64) {
        let start = self.bytes.len();
        let bytes = integer.to_le_bytes();
        let (coding, len) = match integer {
            0..=127 => (integer as u8, 0),
            -4_096..=4_095 => {
                let high = 0xc0 | (integer >> 8) as u8 & 0x1f;
                self.bytes.push(high);
                (integer as u8, 0)
            }
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        self.bytes.push(coding);
        self.bytes.extend_from_slice(&bytes[..len]);
        self.end_element(start);
    }

    /// The whole listpack; what was pushed is forgotten with [`Writer::clear`].
    pub(super) fn finish(&mut self) -> &[u8] {
        self.bytes.push(END);
        let size = (self.bytes.len() as u32).to_le_bytes();
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[..4].copy_from_slice(&size);
        self.bytes[4..HEADER_LEN].copy_from_slice(&count.to_le_bytes());
        &self.bytes
    }

    pub(super) fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        self.count = 0;
    }

    fn end_element(&mut self, start: usize) {
        let (behind, len) = length_behind(self.bytes.len() - start);
        self.bytes.extend_from_slice(&behind[..len]);
        self.count += 1;
    }
}

const HEADER_LEN: usize = 6;

const END: u8 = 0xff;

/// The count of a listpack that has more elements than a count can say.
const COUNT_UNKNOWN: u16 = u16::MAX;
