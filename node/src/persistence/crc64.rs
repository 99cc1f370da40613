//! The checksum of RDB files and DUMP payloads: CRC-64 with the polynomial of Jones, reflected,
//! without any inversion.

/// A checksum under way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Crc64(u64);

impl Crc64 {
    /// The checksum of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        let mut checksum = Self::default();
        checksum.update(bytes);
        checksum.value()
    }

    /// Goes on with more bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut state = self.0;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            let mixed = state ^ u64::from_le_bytes(*word);
            state = 0;
            for (place, byte) in mixed.to_le_bytes().iter().enumerate() {
                state ^= TABLES[7 - place][usize::from(*byte)];
            }
        }
        for byte in rest {
            state = TABLES[0][usize::from(state as u8 ^ byte)] ^ state >> 8;
        }
        self.0 = state;
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

/// The polynomial 0xad93d23594c935a9, its bits in the opposite order.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// Table `n` has what a byte comes to when `n` more bytes follow it.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut state = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            let carry = state & 1;
            state >>= 1;
            if carry == 1 {
                state ^= POLYNOMIAL;
            }
            bit += 1;
        }
        tables[0][byte] = state;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = tables[0][(before & 0xff) as usize] ^ before >> 8;
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_redis() {
        // What `crc64.c` of Redis tests itself with.
        assert_eq!(Crc64::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Crc64::of(b""), 0);
    }

    #[test]
    fn any_cut_gives_the_same() {
        let bytes: Vec<u8> = (0..100u8).map(|index| index.wrapping_mul(37)).collect();
        for cut in 0..bytes.len() {
            let mut checksum = Crc64::default();
            checksum.update(&bytes[..cut]);
            checksum.update(&bytes[cut..]);
            assert_eq!(checksum.value(), Crc64::of(&bytes), "cut at {cut}");
        }
    }
}
