//! Reads a whole reply token by token, without recursion and without copying.

use super::error::ReplyError;
use super::reply::{self, ReplyScanner, Shape};

/// One token of a reply. An aggregate is followed by its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Bulk(&'a [u8]),
    /// `$-1`, `*-1` or `_`.
    Null,
    Boolean(bool),
    /// As written; `inf`, `-inf` and `nan` are possible.
    Double(&'a [u8]),
    BigNumber(&'a [u8]),
    BulkError(&'a [u8]),
    /// Three letters, a colon and the text.
    Verbatim(&'a [u8]),
    Array(usize),
    Set(usize),
    Push(usize),
    /// The number of pairs.
    Map(usize),
    /// The number of pairs; the reply itself comes after them.
    Attribute(usize),
}

/// A cursor over the tokens of one or more whole replies.
#[derive(Debug, Clone)]
pub struct TokenReader<'a> {
    rest: &'a [u8],
}

impl<'a> TokenReader<'a> {
    pub fn new(reply: &'a [u8]) -> Self {
        Self { rest: reply }
    }

    /// The next token, `None` at the end.
    pub fn next_token(&mut self) -> Result<Option<Token<'a>>, ReplyError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (kind, line) = reply::first_line(self.rest, &mut 0)?.ok_or(ReplyError::Truncated)?;
        let after_line = &self.rest[1 + line.len() + 2..];
        let shape = Shape::of(kind, line)?;
        let Shape::Bulk(len) = shape else {
            self.rest = after_line;
            return Ok(Some(line_token(kind, line)?));
        };
        let (bytes, after) = after_line
            .split_at_checked(len)
            .ok_or(ReplyError::Truncated)?;
        let (line_end, after) = after.split_at_checked(2).ok_or(ReplyError::Truncated)?;
        if line_end != b"\r\n" {
            return Err(ReplyError::MissingLineEnd);
        }
        self.rest = after;
        Ok(Some(match kind {
            b'!' => Token::BulkError(bytes),
            b'=' => Token::Verbatim(bytes),
            _ => Token::Bulk(bytes),
        }))
    }

    /// Skips one whole value, elements included, and attributes before it.
    pub fn skip_value(&mut self) -> Result<(), ReplyError> {
        self.next_value().map(|_| ())
    }

    /// The bytes of one whole value, elements included, and attributes before it.
    pub fn next_value(&mut self) -> Result<&'a [u8], ReplyError> {
        let scanned = ReplyScanner::default().scan(self.rest)?;
        let (value, rest) = self.rest.split_at(scanned.ok_or(ReplyError::Truncated)?);
        self.rest = rest;
        Ok(value)
    }

    /// Skips the attributes before the next value, if there are any.
    pub fn skip_attributes(&mut self) -> Result<(), ReplyError> {
        while self.rest.first() == Some(&b'|') {
            let Some(Token::Attribute(pairs)) = self.next_token()? else {
                return Err(ReplyError::Truncated);
            };
            for _ in 0..2 * pairs {
                self.skip_value()?;
            }
        }
        Ok(())
    }

    /// The bytes that are not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// The reply without the attributes before it; its first byte then tells its type.
pub fn without_attributes(reply: &[u8]) -> Result<&[u8], ReplyError> {
    let mut reader = TokenReader::new(reply);
    reader.skip_attributes()?;
    Ok(reader.rest())
}

/// The token of a value, or the start of one, that is only a line.
fn line_token(kind: u8, line: &[u8]) -> Result<Token<'_>, ReplyError> {
    Ok(match kind {
        b'+' => Token::Simple(line),
        b'-' => Token::Error(line),
        b',' => Token::Double(line),
        b'(' => Token::BigNumber(line),
        b':' => Token::Integer(reply::integer(line).ok_or(ReplyError::InvalidScalar)?),
        b'#' => Token::Boolean(line == b"t"),
        b'_' => Token::Null,
        b'$' | b'*' if line == b"-1" => Token::Null,
        b'*' => Token::Array(element_count(line)?),
        b'~' => Token::Set(element_count(line)?),
        b'>' => Token::Push(element_count(line)?),
        b'%' => Token::Map(element_count(line)?),
        b'|' => Token::Attribute(element_count(line)?),
        other => return Err(ReplyError::UnknownType(other)),
    })
}

fn element_count(line: &[u8]) -> Result<usize, ReplyError> {
    usize::try_from(reply::count(line)?).map_err(|_| ReplyError::TooManyElements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token() {
        let table: &[(&[u8], Token<'_>)] = &[
            (b"+OK\r\n", Token::Simple(b"OK")),
            (b"-ERR a\r\n", Token::Error(b"ERR a")),
            (b":-12\r\n", Token::Integer(-12)),
            (b"$2\r\nab\r\n", Token::Bulk(b"ab")),
            (b"$-1\r\n", Token::Null),
            (b"*-1\r\n", Token::Null),
            (b"_\r\n", Token::Null),
            (b"#t\r\n", Token::Boolean(true)),
            (b"#f\r\n", Token::Boolean(false)),
            (b",-inf\r\n", Token::Double(b"-inf")),
            (
                b"(12345678901234567890\r\n",
                Token::BigNumber(b"12345678901234567890"),
            ),
            (b"!5\r\nERR a\r\n", Token::BulkError(b"ERR a")),
            (b"=5\r\ntxt:a\r\n", Token::Verbatim(b"txt:a")),
            (b"*3\r\n", Token::Array(3)),
            (b"~3\r\n", Token::Set(3)),
            (b">3\r\n", Token::Push(3)),
            (b"%3\r\n", Token::Map(3)),
            (b"|3\r\n", Token::Attribute(3)),
        ];
        for (input, expected) in table {
            let mut reader = TokenReader::new(input);
            let name = input.escape_ascii();
            assert_eq!(reader.next_token(), Ok(Some(*expected)), "{name}");
            assert_eq!(reader.next_token(), Ok(None), "{name}");
            for len in 1..input.len() {
                let cut = TokenReader::new(&input[..len]).next_token();
                assert_eq!(cut, Err(ReplyError::Truncated), "{name} cut at {len}");
            }
        }
    }

    #[test]
    fn faults_are_told() {
        let table: &[(&[u8], ReplyError)] = &[
            (b"@\r\n", ReplyError::UnknownType(b'@')),
            (b":x\r\n", ReplyError::InvalidScalar),
            (b"*x\r\n", ReplyError::InvalidLength),
            (b"$1\r\nabc\r\n", ReplyError::MissingLineEnd),
        ];
        for (input, expected) in table {
            let token = TokenReader::new(input).next_token();
            assert_eq!(token, Err(expected.clone()), "{}", input.escape_ascii());
        }
        assert_eq!(
            TokenReader::new(b"").skip_value(),
            Err(ReplyError::Truncated)
        );
        let cut = TokenReader::new(b"*2\r\n:1\r\n").skip_value();
        assert_eq!(cut, Err(ReplyError::Truncated));
    }

    #[test]
    fn values_can_be_skipped_and_taken() {
        let reply = b"*3\r\n*2\r\n:1\r\n:2\r\n|1\r\n+a\r\n:3\r\n$1\r\nx\r\n+end\r\n";
        let mut reader = TokenReader::new(reply);
        assert_eq!(reader.next_token(), Ok(Some(Token::Array(3))));
        assert_eq!(reader.skip_value(), Ok(()));
        assert_eq!(
            reader.clone().next_value(),
            Ok(&b"|1\r\n+a\r\n:3\r\n$1\r\nx\r\n"[..])
        );
        assert_eq!(reader.skip_attributes(), Ok(()));
        assert_eq!(reader.next_token(), Ok(Some(Token::Bulk(b"x"))));
        assert_eq!(reader.rest(), b"+end\r\n");
        assert_eq!(
            without_attributes(b"|1\r\n+a\r\n*1\r\n:1\r\n:2\r\n"),
            Ok(&b":2\r\n"[..])
        );
        assert_eq!(without_attributes(b":2\r\n"), Ok(&b":2\r\n"[..]));
    }
}
