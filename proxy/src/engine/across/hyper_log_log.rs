//! How many different elements HyperLogLogs have seen together: reads the strings in which the
//! server keeps them and estimates as it does, by the improved estimator of Otmar Ertl, "New
//! cardinality estimation algorithms for HyperLogLog sketches", 2017.

use slotway_protocol::resp::value::{Token, TokenReader};

/// The estimate for all replies to GET together, or the error that the first one deserves that is
/// no HyperLogLog; `None` when a reply is not one to GET.
pub(super) fn count<'a>(replies: impl Iterator<Item = &'a [u8]>) -> Option<Result<i64, Vec<u8>>> {
    let mut registers = Box::new([0; REGISTERS]);
    for reply in replies {
        match TokenReader::new(reply).next_token() {
            Ok(Some(Token::Null)) => {}
            Ok(Some(Token::Error(_))) => return Some(Err(reply.to_vec())),
            Ok(Some(Token::Bulk(value))) => {
                if let Err(fault) = merge(value, &mut registers) {
                    return Some(Err(super::answer::error(fault)));
                }
            }
            _ => return None,
        }
    }
    Some(Ok(estimate(&registers)))
}

/// Takes the larger of each two registers. The error is the server's.
fn merge(value: &[u8], registers: &mut [u8; REGISTERS]) -> Result<(), &'static [u8]> {
    let (header, body) = value.split_at_checked(HEADER_BYTES).ok_or(NOT_ONE)?;
    if !header.starts_with(b"HYLL") {
        return Err(NOT_ONE);
    }
    match header[4] {
        DENSE if body.len() == DENSE_BYTES => merge_dense(body, registers),
        SPARSE => merge_sparse(body, registers).ok_or(CORRUPTED)?,
        _ => return Err(NOT_ONE),
    }
    Ok(())
}

/// Six bits each, the lowest first.
fn merge_dense(body: &[u8], registers: &mut [u8; REGISTERS]) {
    for (four, bytes) in registers.chunks_exact_mut(4).zip(body.chunks_exact(3)) {
        let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]);
        for (register, shift) in four.iter_mut().zip([0, 6, 12, 18]) {
            *register = (*register).max((bits >> shift & 0b11_1111) as u8);
        }
    }
}

/// Runs of equal registers: `00nnnnnn` and `01nnnnnn nnnnnnnn` of zeros, `1vvvvvnn` of others;
/// numbers and values are one larger than what is written.
fn merge_sparse(body: &[u8], registers: &mut [u8; REGISTERS]) -> Option<()> {
    let mut rest = body.iter().copied();
    let mut next = 0;
    while let Some(byte) = rest.next() {
        let (value, len) = match byte >> 6 {
            0 => (0, usize::from(byte & 0x3f) + 1),
            1 => {
                let low = rest.next()?;
                (0, usize::from(byte & 0x3f) << 8 | usize::from(low))
            }
            _ => ((byte >> 2 & 0x1f) + 1, usize::from(byte & 3) + 1),
        };
        let len = if byte >> 6 == 1 { len + 1 } else { len };
        for register in registers.get_mut(next..next + len)? {
            *register = (*register).max(value);
        }
        next += len;
    }
    (next == REGISTERS).then_some(())
}

/// Ertl's algorithm 6, of how many registers have which value.
fn estimate(registers: &[u8; REGISTERS]) -> i64 {
    let mut histogram = [0_u32; 64];
    for register in registers {
        histogram[usize::from(register & 0x3f)] += 1;
    }
    let count = REGISTERS as f64;
    let full = f64::from(histogram[VALUE_BITS + 1]);
    let mut z = count * tau((count - full) / count);
    for value in (1..=VALUE_BITS).rev() {
        z += f64::from(histogram[value]);
        z *= 0.5;
    }
    z += count * sigma(f64::from(histogram[0]) / count);
    // One over twice the logarithm of two.
    let alpha = core::f64::consts::LOG2_E / 2.0;
    (alpha * count * count / z).round() as i64
}

/// The sum over k of 2^(k-1) x^(2^k), and x.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let mut factor = 1.0;
    let mut sum = x;
    loop {
        x *= x;
        let before = sum;
        sum += x * factor;
        factor += factor;
        if sum.total_cmp(&before).is_eq() {
            return sum;
        }
    }
}

/// A third of 1 - x without the sum over k of (1 - x^(2^-k))^2 2^-k.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let mut factor = 1.0;
    let mut sum = 1.0 - x;
    loop {
        x = x.sqrt();
        let before = sum;
        factor *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * factor;
        if sum.total_cmp(&before).is_eq() {
            return sum / 3.0;
        }
    }
}

const REGISTERS: usize = 1 << 14;
/// The bits of a hash that do not choose a register.
const VALUE_BITS: usize = 64 - 14;
const HEADER_BYTES: usize = 16;
const DENSE_BYTES: usize = REGISTERS * 6 / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

const NOT_ONE: &[u8] = b"WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPTED: &[u8] = b"INVALIDOBJ Corrupted HLL object detected";

#[cfg(test)]
mod tests {
    use super::*;

    fn sparse(body: &[u8]) -> Vec<u8> {
        [b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80", body].concat()
    }

    fn counted(values: &[Vec<u8>]) -> Result<i64, Vec<u8>> {
        let replies: Vec<Vec<u8>> = values
            .iter()
            .map(|value| {
                let mut reply = Vec::new();
                slotway_protocol::resp::encode::bulk(&mut reply, value);
                reply
            })
            .collect();
        count(replies.iter().map(Vec::as_slice)).unwrap()
    }

    /// What redis-server has after `PFADD h 1`, and counts.
    const ONE: &[u8] = b"]f\x80b\x97";

    #[test]
    fn sparse_and_dense_ones_are_read() {
        assert_eq!(counted(&[]), Ok(0));
        assert_eq!(counted(&[sparse(ONE)]), Ok(1));
        assert_eq!(counted(&[sparse(ONE), sparse(ONE)]), Ok(1));
        assert_eq!(counted(&[sparse(b"\x7f\xff")]), Ok(0));
        let mut dense = [b"HYLL\0\0\0\0\0\0\0\0\0\0\0\0", &[0; DENSE_BYTES][..]].concat();
        assert_eq!(counted(&[dense.clone()]), Ok(0));
        // The second and the last register.
        dense[16] = 0b0100_0000;
        *dense.last_mut().unwrap() = 0b0000_0100;
        assert_eq!(counted(&[dense.clone()]), Ok(2));
        let mut registers = Box::new([0; REGISTERS]);
        merge(&dense, &mut registers).unwrap();
        let set: Vec<_> = (0..)
            .zip(registers.iter())
            .filter(|(_, it)| **it > 0)
            .collect();
        assert_eq!(set, [(1, &1), (REGISTERS - 1, &1)]);
    }

    #[test]
    fn what_is_none_is_told_as_the_server_does() {
        for (value, fault) in [
            (b"12345".to_vec(), NOT_ONE),
            (b"HYLX\x01\0\0\0\0\0\0\0\0\0\0\x80".to_vec(), NOT_ONE),
            (b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\x80".to_vec(), NOT_ONE),
            (b"HYLL\0\0\0\0\0\0\0\0\0\0\0\x80".to_vec(), NOT_ONE),
            (sparse(b"\x7f\xfe"), CORRUPTED),
            (sparse(b"\x7f\xff\x00"), CORRUPTED),
            (sparse(b"\x7f"), CORRUPTED),
        ] {
            let error = super::super::answer::error(fault);
            assert_eq!(counted(&[sparse(ONE), value]), Err(error));
        }
    }
}
