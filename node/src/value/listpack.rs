//! Listpacks: strings and integers one after the other, each with its length behind it, so that
//! they can be walked from both ends.

use crate::number::{self, IntegerText};

/// An element of a listpack or a ziplist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

/// What is wrong with bytes that are no listpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Element<'_> {
    /// The element as a string; `scratch` is where a number is written to.
    pub(crate) fn as_bytes<'b>(&'b self, scratch: &'b mut IntegerText) -> &'b [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Integer(integer) => scratch.write(*integer),
        }
    }
}

/// All elements of a listpack.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Element<'_>>, Malformed> {
    let mut cursor = Cursor::checked(bytes)?;
    let mut elements = Vec::new();
    while let Some(element) = cursor.next_element()? {
        elements.push(element);
    }
    cursor.check_end(elements.len())?;
    Ok(elements)
}

/// A place between two elements of a listpack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    /// The place before the first element of bytes that are known to be a listpack.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: HEADER_LEN,
        }
    }

    /// The same for bytes of which nothing is known. Of the header only the size is looked at.
    pub(crate) fn checked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let is_whole = bytes.len() > HEADER_LEN
            && (bytes.first_chunk())
                .is_some_and(|size| u32::from_le_bytes(*size) as usize == bytes.len());
        if !is_whole {
            return Err(Malformed("a listpack of the wrong size"));
        }
        Ok(Self::new(bytes))
    }

    /// That nothing follows the end, behind which this is, and that the header counts right.
    pub(crate) fn check_end(&self, elements: usize) -> Result<(), Malformed> {
        let count = u16::from_le_bytes([self.bytes[4], self.bytes[5]]);
        let is_counted = count == COUNT_UNKNOWN || usize::from(count) == elements;
        if self.position + 1 != self.bytes.len() || !is_counted {
            return Err(Malformed("a listpack with a wrong number of elements"));
        }
        Ok(())
    }

    /// Where in the bytes this is.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The element that comes next; `None` at the end, where the cursor stays.
    pub(crate) fn next_element(&mut self) -> Result<Option<Element<'a>>, Malformed> {
        let start = self.position;
        let first = self.byte()?;
        if first == END {
            self.position = start;
            return Ok(None);
        }
        let element = self.element(first)?;
        let (behind, len) = length_behind(self.position - start);
        if self.take(len)? != &behind[..len] {
            return Err(Malformed("a listpack element with a wrong length"));
        }
        Ok(Some(element))
    }

    fn element(&mut self, first: u8) -> Result<Element<'a>, Malformed> {
        let integer = match first {
            0..=0x7f => i64::from(first),
            0x80..=0xbf => return self.take(usize::from(first & 0x3f)).map(Element::Bytes),
            0xc0..=0xdf => {
                let bits = u16::from(first) << 8 | u16::from(self.byte()?);
                // Thirteen bits, the first of which is the sign.
                i64::from((bits << 3) as i16 >> 3)
            }
            0xe0..=0xef => {
                let len = usize::from(first & 0x0f) << 8 | usize::from(self.byte()?);
                return self.take(len).map(Element::Bytes);
            }
            0xf0 => {
                let len = u32::from_le_bytes(self.array()?);
                return self.take(len as usize).map(Element::Bytes);
            }
            0xf1 => i64::from(i16::from_le_bytes(self.array()?)),
            0xf2 => i64::from(int24(self.array()?)),
            0xf3 => i64::from(i32::from_le_bytes(self.array()?)),
            0xf4 => i64::from_le_bytes(self.array()?),
            _ => return Err(Malformed("a listpack element of unknown coding")),
        };
        Ok(Element::Integer(integer))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.position.saturating_add(len);
        let taken = self.bytes.get(self.position..end);
        self.position = end;
        taken.ok_or(Malformed("a length that reaches beyond its value"))
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Malformed> {
        let mut array = [0; LEN];
        array.copy_from_slice(self.take(LEN)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }
}

/// An integer of three bytes.
pub(crate) fn int24([low, middle, high]: [u8; 3]) -> i32 {
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
pub(crate) struct Writer {
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
    /// Goes on with a listpack.
    pub(crate) fn open(mut bytes: Vec<u8>) -> Self {
        bytes.pop();
        let count = u16::from_le_bytes([bytes[4], bytes[5]]);
        Self {
            bytes,
            count: usize::from(count),
        }
    }

    /// The size that it has once it is finished.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a string, as an integer if it reads as one.
    pub(crate) fn push(&mut self, element: &[u8]) {
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

    pub(crate) fn push_integer(&mut self, integer: i64) {
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
    pub(crate) fn finish(&mut self) -> &[u8] {
        self.bytes.push(END);
        let size = (self.bytes.len() as u32).to_le_bytes();
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[..4].copy_from_slice(&size);
        self.bytes[4..HEADER_LEN].copy_from_slice(&count.to_le_bytes());
        &self.bytes
    }

    /// The same as bytes of its own.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.finish();
        self.bytes
    }

    /// The elements without the header, as they are in any listpack.
    pub(crate) fn elements(&self) -> &[u8] {
        &self.bytes[HEADER_LEN..]
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.truncate(HEADER_LEN);
        self.count = 0;
    }

    fn end_element(&mut self, start: usize) {
        let (behind, len) = length_behind(self.bytes.len() - start);
        self.bytes.extend_from_slice(&behind[..len]);
        self.count += 1;
    }
}

pub(crate) const HEADER_LEN: usize = 6;

const END: u8 = 0xff;

/// The count of a listpack that has more elements than a count can say.
const COUNT_UNKNOWN: u16 = u16::MAX;
