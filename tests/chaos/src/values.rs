//! Values that say which key they were written to, by whom and which write it was, so that a reply
//! which belongs to somebody else can't pass for one's own.

/// One write: the client and its count of writes. Unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Who stored what the keys hold at the start.
pub(crate) const PREPARER: u16 = u16::MAX;
const SEQUENCE_BITS: u32 = 48;
/// No power of two, so that the filling of one write does not look like the next one's.
const FILLING_SPAN: usize = 8191;

impl Token {
    pub fn new(client: u16, sequence: u64) -> Self {
        assert!(
            sequence >> SEQUENCE_BITS == 0,
            "a client never writes that often"
        );
        Self(u64::from(client) << SEQUENCE_BITS | sequence)
    }

    pub fn client(self) -> u16 {
        u16::try_from(self.0 >> SEQUENCE_BITS).unwrap_or(PREPARER)
    }

    pub fn sequence(self) -> u64 {
        self.0 & ((1 << SEQUENCE_BITS) - 1)
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (client, sequence) = text.split_once('.')?;
        let sequence = sequence
            .parse()
            .ok()
            .filter(|number| number >> SEQUENCE_BITS == 0)?;
        Some(Self::new(client.parse().ok()?, sequence))
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{}", self.client(), self.sequence())
    }
}

/// Makes values and takes them apart again.
#[derive(Debug)]
pub(crate) struct Values {
    filling: Vec<u8>,
}

impl Values {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let filling = (0..bytes_max + FILLING_SPAN)
            .map(|place| b'!' + u8::try_from((place * place / 7 + place) % 90).unwrap_or(0))
            .collect();
        Self { filling }
    }

    /// A value of `bytes`, or a little longer where what it must say takes more.
    pub(crate) fn make(&self, key: &[u8], token: Token, bytes: usize) -> Vec<u8> {
        let mut value = key.to_vec();
        value.extend_from_slice(format!("|{token}|").as_bytes());
        let rest = bytes.saturating_sub(value.len());
        value.extend_from_slice(self.filling_of(token, rest));
        value
    }

    /// The write that a value is of, if it is one to this key and whole.
    pub(crate) fn take(&self, key: &[u8], bytes: usize, value: &[u8]) -> Option<Token> {
        let rest = value.strip_prefix(key)?.strip_prefix(b"|")?;
        let len = rest.iter().position(|byte| *byte == b'|')?;
        let token = Token::parse(&rest[..len])?;
        let filling = &rest[len + 1..];
        let expected = bytes.saturating_sub(value.len() - filling.len());
        (filling == self.filling_of(token, expected)).then_some(token)
    }

    fn filling_of(&self, token: Token, bytes: usize) -> &[u8] {
        let start = usize::try_from(token.0 % FILLING_SPAN as u64).unwrap_or(0);
        &self.filling[start..start + bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_only_as_what_was_written() {
        let values = Values::new(1000);
        let token = Token::new(7, 123_456);
        for bytes in [1, 20, 1000] {
            let value = values.make(b"key:1", token, bytes);
            assert!(value.len() >= bytes);
            assert_eq!(values.take(b"key:1", bytes, &value), Some(token));
            assert_eq!(values.take(b"key:2", bytes, &value), None, "another key");
            let mut changed = value.clone();
            changed[8] ^= 1;
            assert_ne!(
                values.take(b"key:1", bytes, &changed),
                Some(token),
                "a changed byte"
            );
            let short = &value[..value.len() - 1];
            assert_ne!(values.take(b"key:1", bytes, short), Some(token), "cut off");
        }
        assert_eq!(Token::parse(token.to_string().as_bytes()), Some(token));
    }
}
