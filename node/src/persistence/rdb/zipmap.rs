//! Zipmaps, the small hashes of Redis before 2.6: fields and values, each behind its length.

use super::{Input, RdbError};

/// A field and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// The fields and values of a zipmap.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Pair<'_>>, RdbError> {
    read_pairs(bytes).map_err(RdbError::of_part)
}

fn read_pairs(bytes: &[u8]) -> Result<Vec<Pair<'_>>, RdbError> {
    let mut input = Input::new(bytes);
    let count = input.byte()?;
    let mut pairs = Vec::new();
    while let Some(len) = read_len(&mut input)? {
        let field = input.take(len)?;
        let len = read_len(&mut input)?.ok_or(RdbError::Corrupt("a zipmap field without value"))?;
        let unused = input.byte()?;
        let value = input.take(len)?;
        input.take(usize::from(unused))?;
        pairs.push((field, value));
    }
    let count_is_right = count >= LONG || usize::from(count) == pairs.len();
    if !input.is_at_end() || !count_is_right {
        return Err(RdbError::Corrupt("a zipmap with a wrong number of fields"));
    }
    Ok(pairs)
}

/// A length; `None` at the end.
fn read_len(input: &mut Input<'_>) -> Result<Option<usize>, RdbError> {
    Ok(match input.byte()? {
        END => None,
        LONG => Some(u32::from_le_bytes(input.array()?) as usize),
        short => Some(usize::from(short)),
    })
}

/// Stands in front of a length of four bytes; as the count, that there are too many to say.
const LONG: u8 = 0xfe;

const END: u8 = 0xff;
