//! Hash slots: which of the 16,384 a key belongs to (Redis Cluster specification, "Key
//! distribution model" and "Hash tags").

use core::fmt;

use super::crc::crc16;

/// The number of hash slots.
pub const SLOTS: usize = 16_384;

/// A hash slot, always below [`SLOTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a key: of its first non-empty `{tag}` if it has one, else of all of it.
    #[inline]
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(tag(key)) % SLOTS as u16)
    }

    /// The slot of all keys that a glob pattern can match, when it has a hash tag that every such
    /// key must have, too: nothing up to the tag's end may stand for anything else.
    pub fn of_pattern(pattern: &[u8]) -> Option<Self> {
        let tag = tag(pattern);
        let tagged = tag.len() < pattern.len();
        let before = pattern
            .split(|byte| *byte == b'{')
            .next()
            .unwrap_or(pattern);
        let plain = |bytes: &[u8]| !bytes.iter().any(|byte| b"*?[\\".contains(byte));
        (tagged && plain(tag) && plain(before)).then(|| Self::of(tag))
    }

    /// The slot of that number, if it is one.
    pub fn new(number: u64) -> Option<Self> {
        u16::try_from(number)
            .ok()
            .filter(|number| usize::from(*number) < SLOTS)
            .map(Self)
    }

    #[inline]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// For indexing tables of [`SLOTS`] entries.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All slots in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS as u16).map(Self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The part of a key that is hashed.
#[inline]
pub fn tag(key: &[u8]) -> &[u8] {
    if lacks_brace(key) {
        return key;
    }
    let Some(open) = memchr::memchr(b'{', key) else {
        return key;
    };
    match memchr::memchr(b'}', &key[open + 1..]) {
        None | Some(0) => key,
        Some(len) => &key[open + 1..open + 1 + len],
    }
}

/// Whether the key is short and has no brace that opens, as most. A search that is made for long
/// texts costs more than this.
#[inline]
fn lacks_brace(key: &[u8]) -> bool {
    let (eights, rest) = key.as_chunks::<8>();
    let Some(last) = key.last_chunk() else {
        return !rest.contains(&b'{');
    };
    // The last eight bytes may be looked at twice.
    key.len() <= SHORT_KEY_BYTES
        && !has_brace(*last)
        && !eights.iter().any(|eight| has_brace(*eight))
}

/// Whether one of the bytes is a brace that opens: the others are not zero after the exclusive or,
/// and only below a byte that is zero does the subtraction borrow.
#[inline]
fn has_brace(eight: [u8; 8]) -> bool {
    let bytes = u64::from_ne_bytes(eight) ^ u64::from_ne_bytes([b'{'; 8]);
    let (ones, highs) = (u64::from_ne_bytes([1; 8]), u64::from_ne_bytes([0x80; 8]));
    bytes.wrapping_sub(ones) & !bytes & highs != 0
}

const SHORT_KEY_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that `redis-cli cluster keyslot` of redis-server 7.0.15 printed.
    #[test]
    fn agrees_with_the_server() {
        for (key, slot) in [
            ("", 0),
            ("foo", 12182),
            ("123456789", 12739),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(Slot::of(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn a_plain_tag_tells_the_slot_of_a_pattern() {
        for (pattern, tag) in [
            ("{user}*", Some("user")),
            ("a{user}:*", Some("user")),
            ("a}b{user}[*", Some("user")),
            ("{{user}*", Some("{user")),
            ("*{user}", None),
            ("{us?r}*", None),
            ("\\{user}", None),
            ("{user\\}*}", None),
            ("{}{user}*", None),
            ("user*", None),
            ("{}*", None),
        ] {
            let expected = tag.map(|tag| Slot::of(tag.as_bytes()));
            assert_eq!(Slot::of_pattern(pattern.as_bytes()), expected, "{pattern}");
        }
    }

    #[test]
    fn a_brace_is_found_wherever_it_is() {
        for len in 0..80 {
            let plain: Vec<u8> = (0..len).map(|at| [b'z', b'|', 0xfb, 0][at % 4]).collect();
            assert_eq!(tag(&plain), plain);
            for open in 0..len {
                let mut key = plain.clone();
                key[open] = b'{';
                assert_eq!(tag(&key), key, "{}", key.escape_ascii());
                assert!(!lacks_brace(&key), "{}", key.escape_ascii());
                for close in open + 2..len {
                    key[close] = b'}';
                    assert_eq!(tag(&key), &key[open + 1..close], "{}", key.escape_ascii());
                    key[close] = b'z';
                }
            }
        }
    }

    #[test]
    fn tags_are_the_first_non_empty_braces() {
        for (key, hashed) in [
            ("a{b}c", "b"),
            ("{}a", "{}a"),
            ("a{b", "a{b"),
            ("a}{b}", "b"),
        ] {
            assert_eq!(tag(key.as_bytes()), hashed.as_bytes(), "{key}");
        }
    }
}
