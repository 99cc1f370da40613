//! Ziplists, which listpacks came after: each element has the length of the one before in front.

use super::{Input, RdbError};
use crate::value::listpack::{Element, int24};

/// All elements of a ziplist.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Element<'_>>, RdbError> {
    read_elements(bytes).map_err(RdbError::of_part)
}

fn read_elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, RdbError> {
    let mut input = Input::new(bytes);
    let size = u32::from_le_bytes(input.array()?);
    let tail = u32::from_le_bytes(input.array()?);
    let count = u16::from_le_bytes(input.array()?);
    if size as usize != bytes.len() {
        return Err(RdbError::Corrupt("a ziplist of the wrong size"));
    }
    let mut elements = Vec::new();
    let mut last = input.position();
    let mut len_before = 0;
    loop {
        let start = input.position();
        let first = input.byte()?;
        if first == END {
            break;
        }
        let before = match first {
            LONG => u32::from_le_bytes(input.array()?) as usize,
            short => usize::from(short),
        };
        if before != len_before {
            return Err(RdbError::Corrupt("a ziplist element with a wrong length"));
        }
        elements.push(read_element(&mut input)?);
        len_before = input.position() - start;
        last = start;
    }
    let count_is_right = count == COUNT_UNKNOWN || usize::from(count) == elements.len();
    if !input.is_at_end() || !count_is_right || tail as usize != last {
        return Err(RdbError::Corrupt(
            "a ziplist with a wrong number of elements",
        ));
    }
    Ok(elements)
}

fn read_element<'a>(input: &mut Input<'a>) -> Result<Element<'a>, RdbError> {
    let first = input.byte()?;
    let integer = match first {
        0..=0x3f => return input.take(usize::from(first)).map(Element::Bytes),
        0x40..=0x7f => {
            let len = usize::from(first & 0x3f) << 8 | usize::from(input.byte()?);
            return input.take(len).map(Element::Bytes);
        }
        0x80 => {
            let len = u32::from_be_bytes(input.array()?);
            return input.take(len as usize).map(Element::Bytes);
        }
        0xc0 => i64::from(i16::from_le_bytes(input.array()?)),
        0xd0 => i64::from(i32::from_le_bytes(input.array()?)),
        0xe0 => i64::from_le_bytes(input.array()?),
        0xf0 => i64::from(int24(input.array()?)),
        0xf1..=0xfd => i64::from(first & 0x0f) - 1,
        0xfe => i64::from(i8::from_le_bytes(input.array()?)),
        _ => return Err(RdbError::Corrupt("a ziplist element of unknown coding")),
    };
    Ok(Element::Integer(integer))
}

/// Stands in front of a length of four bytes.
const LONG: u8 = 0xfe;

const END: u8 = 0xff;

/// The count of a ziplist that has more elements than a count can say.
const COUNT_UNKNOWN: u16 = u16::MAX;
