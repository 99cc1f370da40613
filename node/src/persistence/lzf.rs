//! LZF, the compression of long strings in RDB: literals, and references to what came before.
//!
//! A control byte below 32 announces one more than as many literal bytes. Any other one has a
//! length in its upper three bits, seven of which means that a byte with the rest follows, and
//! with the byte after that the distance of what is to be repeated.

/// Compresses one string after the other, to the same bytes as redis-server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Compressor {
    /// Where three bytes with that hash were last seen: `base` and the position.
    seen: Vec<u32>,
    /// What is below comes from earlier strings, so that the table need not be cleared for each.
    base: u32,
    output: Vec<u8>,
}

impl Compressor {
    /// The string compressed; `None` when that takes more than `len_max` bytes.
    pub(crate) fn compress(&mut self, input: &[u8], len_max: usize) -> Option<&[u8]> {
        if input.len() < MATCH_LEN_MIN || input.len() >= INPUT_LEN_MAX || len_max == 0 {
            return None;
        }
        if self.seen.is_empty() || u32::MAX - self.base <= input.len() as u32 {
            self.seen.clear();
            self.seen.resize(SEEN_LEN, 0);
            self.base = 1;
        }
        self.output.clear();
        self.output.resize(len_max + SLACK, 0);
        let mut run = Run {
            input,
            seen: &mut self.seen,
            base: self.base,
            output: &mut self.output,
            len_max,
            at: 0,
            end: 1,
            literals: 0,
        };
        let len = run.compress();
        self.base += input.len() as u32;
        Some(&self.output[..len?])
    }
}

/// The compression of one string.
struct Run<'a> {
    input: &'a [u8],
    seen: &'a mut [u32],
    base: u32,
    output: &'a mut [u8],
    len_max: usize,
    /// How far the input was read.
    at: usize,
    /// How far the output was written; the byte before the literals at its end is theirs.
    end: usize,
    literals: usize,
}

impl Run<'_> {
    fn compress(&mut self) -> Option<usize> {
        let last = self.input.len() - 2;
        while self.at < last {
            match self.find() {
                Some(from) => {
                    self.refer_to(from)?;
                    if self.at >= last {
                        break;
                    }
                    // The server notes two of the positions that a reference skips.
                    for position in self.at - 2..self.at {
                        self.note(position);
                    }
                }
                None if self.end >= self.len_max => return None,
                None => self.copy_one(),
            }
        }
        if self.end + 3 > self.len_max {
            return None;
        }
        while self.at < self.input.len() {
            self.copy_one();
        }
        self.close_literals();
        Some(self.end)
    }

    /// Where the three bytes that come next were before, if that is near enough.
    fn find(&mut self) -> Option<usize> {
        let at = self.at;
        let from = self.note(at)?;
        let is_near = from > 0 && at - from <= DISTANCE_MAX;
        (is_near && self.input[from..from + 3] == self.input[at..at + 3]).then_some(from)
    }

    /// Notes three bytes at a position; where the like were before.
    fn note(&mut self, position: usize) -> Option<usize> {
        let bytes = &self.input[position..position + 3];
        let three = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
        let hash = (three >> (24 - SEEN_BITS)).wrapping_sub(three.wrapping_mul(5));
        let place = &mut self.seen[hash as usize & (SEEN_LEN - 1)];
        let before = std::mem::replace(place, self.base + position as u32);
        Some(before.checked_sub(self.base)? as usize)
    }

    /// Writes a reference to as much as is the same at `from`.
    fn refer_to(&mut self, from: usize) -> Option<()> {
        let is_empty = usize::from(self.literals == 0);
        if self.end - is_empty + 4 >= self.len_max {
            return None;
        }
        self.close_literals();
        let distance = self.at - from - 1;
        let len = self.match_len(from);
        let (high, low) = ((distance >> 8) as u8, distance as u8);
        let coded = len - 2;
        if coded < 7 {
            self.put(high + ((coded as u8) << 5));
        } else {
            self.put(high + (7 << 5));
            self.put((coded - 7) as u8);
        }
        self.put(low);
        self.end += 1;
        self.at += len;
        Some(())
    }

    /// How many bytes at `from` are those that come next; three are known to be.
    fn match_len(&self, from: usize) -> usize {
        let len_max = (self.input.len() - self.at - 2).min(MATCH_LEN_MAX);
        let is_same = |len: usize| self.input[from + len] == self.input[self.at + len];
        let mut len = 2;
        // The server compares sixteen at once where it can and looks at the limit only then.
        if len_max > 16 {
            for _ in 0..16 {
                len += 1;
                if !is_same(len) {
                    return len;
                }
            }
        }
        loop {
            len += 1;
            if len >= len_max || !is_same(len) {
                return len;
            }
        }
    }

    fn copy_one(&mut self) {
        self.put(self.input[self.at]);
        self.at += 1;
        self.literals += 1;
        if self.literals == LITERALS_MAX {
            self.output[self.end - self.literals - 1] = self.literals as u8 - 1;
            self.literals = 0;
            self.end += 1;
        }
    }

    /// Says in front of the literals how many they are; takes the place back if there are none.
    fn close_literals(&mut self) {
        if self.literals == 0 {
            self.end -= 1;
        } else {
            self.output[self.end - self.literals - 1] = self.literals as u8 - 1;
        }
        self.literals = 0;
    }

    fn put(&mut self, byte: u8) {
        self.output[self.end] = byte;
        self.end += 1;
    }
}

/// What was compressed, if it comes to exactly `len` bytes.
pub(crate) fn decompress(input: &[u8], len: u64) -> Option<Vec<u8>> {
    // Three bytes come to 264 at most, so what is made stays in proportion to what is there.
    let len = usize::try_from(len).ok()?;
    if len > input.len().saturating_mul(MATCH_LEN_MAX / MATCH_LEN_MIN) {
        return None;
    }
    let mut output = Vec::new();
    let mut rest = input;
    while let Some((control, after)) = rest.split_first() {
        rest = after;
        let control = usize::from(*control);
        if control < LITERALS_MAX {
            let (literals, after) = rest.split_at_checked(control + 1)?;
            output.extend_from_slice(literals);
            rest = after;
        } else {
            let mut repeated = (control >> 5) + 2;
            if repeated == 9 {
                let (more, after) = rest.split_first()?;
                repeated += usize::from(*more);
                rest = after;
            }
            let (low, after) = rest.split_first()?;
            rest = after;
            let distance = ((control & 31) << 8 | usize::from(*low)) + 1;
            let from = output.len().checked_sub(distance)?;
            if distance >= repeated {
                output.extend_from_within(from..from + repeated);
            } else {
                (from..from + repeated).for_each(|place| output.push(output[place]));
            }
        }
        if output.len() > len {
            return None;
        }
    }
    (output.len() == len).then_some(output)
}

const SEEN_BITS: u32 = 16;
const SEEN_LEN: usize = 1 << SEEN_BITS;

/// What announces more bytes than this is a reference.
const LITERALS_MAX: usize = 32;

const DISTANCE_MAX: usize = 8_192;

const MATCH_LEN_MIN: usize = 3;
const MATCH_LEN_MAX: usize = 264;

/// Longer strings are not compressed: their positions would not fit.
const INPUT_LEN_MAX: usize = 1 << 31;

/// So far behind its limit the output is written before the limit is looked at.
const SLACK: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(input: &[u8]) -> Option<usize> {
        let mut compressor = Compressor::default();
        let output = compressor.compress(input, input.len() - 4)?.to_vec();
        assert_eq!(
            decompress(&output, input.len() as u64).as_deref(),
            Some(input)
        );
        assert_eq!(decompress(&output, input.len() as u64 - 1), None);
        assert_eq!(decompress(&output, input.len() as u64 + 1), None);
        // What earlier strings left in the table shows nowhere.
        for _ in 0..2 {
            let again = compressor.compress(input, input.len() - 4);
            assert_eq!(again, Some(&output[..]));
        }
        compressor.base = u32::MAX - 1;
        let again = compressor.compress(input, input.len() - 4);
        assert_eq!(again, Some(&output[..]));
        Some(output.len())
    }

    #[test]
    fn compresses_what_repeats() {
        // The lengths are those of redis-server 7.0.15.
        assert_eq!(check(&[b'a'; 30]), Some(9));
        assert_eq!(check(&[b'a'; 1_000]), Some(18));
        assert_eq!(check(b"abcdefghijklmnopqrstuvwxyz"), None);
    }

    #[test]
    fn refuses_what_reaches_beyond() {
        for input in [
            &b"\x05abc"[..],
            b"\x20\x00",
            b"\x00a\x20\x01",
            b"\x00a\xe0",
            b"\x00a\x20",
        ] {
            for len in 0..300 {
                assert_eq!(decompress(input, len), None, "{input:?} {len}");
            }
        }
        assert_eq!(decompress(b"\x00a", u64::MAX), None);
        assert_eq!(decompress(b"", 0), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn gives_back_what_it_got(
            parts in proptest::collection::vec((any::<u8>(), 1usize..400, 0usize..9), 1..20)
        ) {
            let mut input = vec![0; 21];
            for (byte, len, from) in parts {
                let at = from * input.len() / 10;
                input.extend_from_within(at..(at + len / 3).min(input.len()));
                input.extend(core::iter::repeat_n(byte, len % 13));
            }
            check(&input);
        }

        #[test]
        fn takes_any_bytes(
            input in proptest::collection::vec(any::<u8>(), 0..200),
            len in 0u64..500,
        ) {
            if let Some(output) = decompress(&input, len) {
                prop_assert_eq!(output.len() as u64, len);
            }
        }
    }
}
