//! Intsets: ascending integers of the same width.

use super::{Input, RdbError};

/// The integers of an intset.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<i64>, RdbError> {
    let mut input = Input::new(bytes);
    let read_header = |input: &mut Input<'_>| -> Result<_, RdbError> {
        Ok((
            u32::from_le_bytes(input.array()?),
            u32::from_le_bytes(input.array()?),
        ))
    };
    let (width, len) = read_header(&mut input).map_err(RdbError::of_part)?;
    let integers = &bytes[input.position()..];
    let expected = u64::from(len) * u64::from(width);
    if !matches!(width, 2 | 4 | 8) || integers.len() as u64 != expected {
        return Err(RdbError::Corrupt("an intset of the wrong size"));
    }
    let read = |bytes: &[u8]| {
        let mut wide = [if bytes[bytes.len() - 1] >= 0x80 {
            0xff
        } else {
            0
        }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        i64::from_le_bytes(wide)
    };
    let integers: Vec<i64> = integers.chunks(width as usize).map(read).collect();
    if !integers.is_sorted_by(|before, after| before < after) {
        return Err(RdbError::Corrupt("an intset out of order"));
    }
    Ok(integers)
}

/// Writes an intset as narrow as possible.
pub(super) fn write(out: &mut Vec<u8>, integers: &[i64]) {
    let fits = |width: u32| {
        let bits = width * 8 - 1;
        let is_in_range = |integer: &i64| *integer >> bits == 0 || *integer >> bits == -1;
        integers.iter().all(is_in_range)
    };
    let width = [2, 4].into_iter().find(|width| fits(*width)).unwrap_or(8);
    out.extend_from_slice(&width.to_le_bytes());
    out.extend_from_slice(&(integers.len() as u32).to_le_bytes());
    for integer in integers {
        out.extend_from_slice(&integer.to_le_bytes()[..width as usize]);
    }
}
