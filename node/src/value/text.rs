//! A string value: a number, a few bytes in place, or bytes on the heap.

use crate::number;

/// A string value. Which variant holds it depends on how it came to be, as the encodings that
/// OBJECT ENCODING names do.
#[derive(Debug, Clone)]
pub(crate) enum Text {
    Integer(i64),
    Inline {
        len: u8,
        bytes: [u8; INLINE_MAX],
    },
    Heap(Box<[u8]>),
    /// Changed in place before, so more room is kept behind it. Boxed because few values are, and
    /// all would be larger otherwise.
    #[expect(clippy::box_collection)]
    Growing(Box<Vec<u8>>),
}

impl Text {
    /// A value as SET stores it: a number when it reads as one.
    #[inline]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        match number::parse_i64(bytes) {
            Some(number) => Self::Integer(number),
            None => Self::from_bytes(bytes),
        }
    }

    /// A value that is not looked at for a number.
    #[inline]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE_MAX {
            return Self::Heap(bytes.into());
        }
        let mut inline = [0; INLINE_MAX];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self::Inline {
            len: bytes.len() as u8,
            bytes: inline,
        }
    }

    /// The bytes; `scratch` is where a number is written to.
    #[inline]
    pub(crate) fn as_bytes<'a>(&'a self, scratch: &'a mut number::IntegerText) -> &'a [u8] {
        match self {
            Self::Integer(number) => scratch.write(*number),
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
            Self::Growing(bytes) => bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Integer(number) => number::IntegerText::default().write(*number).len(),
            Self::Inline { len, .. } => usize::from(*len),
            Self::Heap(bytes) => bytes.len(),
            Self::Growing(bytes) => bytes.len(),
        }
    }

    /// The bytes it has on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Integer(_) | Self::Inline { .. } => 0,
            Self::Heap(bytes) => bytes.len(),
            Self::Growing(bytes) => size_of::<Vec<u8>>() + bytes.capacity(),
        }
    }

    /// The value as a number, if it reads as one.
    pub(crate) fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            other => number::parse_i64(other.as_bytes(&mut number::IntegerText::default())),
        }
    }

    /// The bytes as a vector to change in place.
    pub(crate) fn make_growing(&mut self) -> &mut Vec<u8> {
        if !matches!(self, Self::Growing(_)) {
            let bytes = match std::mem::replace(self, Self::Integer(0)) {
                Self::Heap(bytes) => bytes.into_vec(),
                other => other.as_bytes(&mut number::IntegerText::default()).to_vec(),
            };
            *self = Self::Growing(Box::new(bytes));
        }
        match self {
            Self::Growing(bytes) => bytes,
            _ => unreachable!("it was just made growing"),
        }
    }

    pub(crate) fn encoding(&self) -> &'static str {
        match self {
            Self::Integer(_) => "int",
            Self::Inline { .. } => "embstr",
            Self::Heap(bytes) if bytes.len() <= EMBEDDED_MAX => "embstr",
            Self::Heap(_) | Self::Growing(_) => "raw",
        }
    }
}

/// With the tag and the length this makes 24 bytes, the size of a `Vec`.
const INLINE_MAX: usize = 22;

/// The longest value that OBJECT ENCODING calls `embstr`.
const EMBEDDED_MAX: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::IntegerText;

    #[test]
    fn keeps_every_length() {
        for len in 0..100 {
            let bytes: Vec<u8> = (0..len).map(|index| b'a' + index % 26).collect();
            let mut text = Text::new(&bytes);
            assert_eq!(text.as_bytes(&mut IntegerText::default()), bytes);
            assert_eq!(text.len(), bytes.len());
            assert_eq!(text.encoding(), if len <= 44 { "embstr" } else { "raw" });
            text.make_growing().push(b'!');
            assert_eq!(text.len(), bytes.len() + 1);
            assert_eq!(text.encoding(), "raw");
        }
    }

    #[test]
    fn numbers_are_numbers() {
        let text = Text::new(b"-12");
        assert_eq!(text.encoding(), "int");
        assert_eq!(text.as_integer(), Some(-12));
        assert_eq!(text.len(), 3);
        assert_eq!(Text::new(b"012").as_integer(), None);
        assert_eq!(Text::from_bytes(b"12").as_integer(), Some(12));
        assert_eq!(Text::from_bytes(b"12").encoding(), "embstr");
    }
}
