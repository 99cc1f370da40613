//! The checksum that slots are made of: CRC-16 with the polynomial 0x1021, from 0 on, the highest
//! bit first (XMODEM; Redis Cluster specification, "Keys distribution model").

/// The checksum of `bytes`.
///
/// Eight bytes at a time: what each of them adds to the sum is looked up by itself, so that none of
/// the eight has to wait for the one before.
#[inline]
pub(super) fn crc16(bytes: &[u8]) -> u16 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let mut sum = 0;
    for [a, b, c, d, e, f, g, h] in eights {
        let [high, low] = u16::to_be_bytes(sum);
        sum = added(7, a ^ high)
            ^ added(6, b ^ low)
            ^ added(5, *c)
            ^ added(4, *d)
            ^ added(3, *e)
            ^ added(2, *f)
            ^ added(1, *g)
            ^ added(0, *h);
    }
    let (fours, rest) = rest.as_chunks::<4>();
    for [a, b, c, d] in fours {
        let [high, low] = u16::to_be_bytes(sum);
        sum = added(3, a ^ high) ^ added(2, b ^ low) ^ added(1, *c) ^ added(0, *d);
    }
    for byte in rest {
        let [high, low] = u16::to_be_bytes(sum);
        sum = u16::from_be_bytes([low, 0]) ^ added(0, byte ^ high);
    }
    sum
}

/// What a byte adds to the sum when that many bytes follow it.
#[inline]
fn added(following: usize, byte: u8) -> u16 {
    ADDED[following][usize::from(byte)]
}

static ADDED: [[u16; 256]; 8] = {
    let mut added = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut sum = (byte as u16) << 8;
        let mut following = 0;
        while following < 8 {
            let mut bit = 0;
            while bit < 8 {
                let carry = sum & 0x8000 != 0;
                sum = (sum << 1) ^ if carry { POLYNOMIAL } else { 0 };
                bit += 1;
            }
            added[following][byte] = sum;
            following += 1;
        }
        byte += 1;
    }
    added
};

const POLYNOMIAL: u16 = 0x1021;

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate that takes one byte at a time.
    fn expected(bytes: &[u8]) -> u16 {
        ::crc16::State::<::crc16::XMODEM>::calculate(bytes)
    }

    #[test]
    fn every_byte_counts_at_every_place() {
        for len in 0..40 {
            for place in 0..len {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'k'; len];
                    bytes[place] = byte;
                    assert_eq!(crc16(&bytes), expected(&bytes), "{}", bytes.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn long_keys_are_no_different() {
        let bytes: Vec<u8> = (0..1000_u32).map(|number| (number * 37) as u8).collect();
        for end in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..end]), expected(&bytes[..end]), "{end}");
        }
    }
}
