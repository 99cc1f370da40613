//! What can be wrong with bytes that claim to be RESP.

use std::io::Write;

/// A client broke the protocol. Displayed, it is the text of redis-server's error reply, without
/// the leading `-ERR Protocol error: `; the connection is closed after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The first word is one that a browser sends and no Redis client does: somebody may be using
    /// the browser to reach the server. Closed without a reply.
    #[error("possible cross-protocol attack: a POST or Host: command was sent")]
    CrossProtocol,
    /// Something else than a length line where the next argument starts.
    #[error("expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    #[error("invalid bulk length")]
    InvalidBulkLength,
    #[error("invalid multibulk length")]
    InvalidMultibulkLength,
    /// The request is longer than `RequestLimits::query_bytes_max`. Closed without a reply.
    #[error("the request is longer than the query buffer may be")]
    QueryTooBig,
    #[error("too big bulk count string")]
    TooBigBulkCount,
    #[error("too big inline request")]
    TooBigInline,
    #[error("too big mbulk count string")]
    TooBigMultibulkCount,
    #[error("unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
}

impl RequestError {
    /// Whether the client gets an error reply before its connection is closed. When not, replies
    /// to earlier requests that are not yet written are not written either, as redis-server does.
    pub fn is_replied(&self) -> bool {
        !matches!(self, Self::CrossProtocol | Self::QueryTooBig)
    }

    /// Appends the error reply, if there is one.
    pub fn reply(&self, out: &mut Vec<u8>) {
        if !self.is_replied() {
            return;
        }
        out.extend_from_slice(b"-ERR Protocol error: ");
        if let Self::ExpectedBulk(byte) = *self {
            // The byte goes out as it came in, also when it is no character.
            let byte = if is_line_end(byte) { b' ' } else { byte };
            out.extend_from_slice(b"expected '$', got '");
            out.extend_from_slice(&[byte, b'\'']);
        } else {
            write!(out, "{self}").expect("a Vec takes all bytes");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A node broke the protocol; the connection can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("invalid boolean, integer or null")]
    InvalidScalar,
    #[error("invalid length")]
    InvalidLength,
    /// A length, a number or a text goes on for longer than any server writes one.
    #[error("too long line")]
    LineTooLong,
    /// A bulk string is not followed by CR LF: its length was wrong.
    #[error("no line end after a bulk string")]
    MissingLineEnd,
    /// Aggregates lie in each other deeper than any server replies.
    #[error("too deep")]
    TooDeep,
    #[error("too many elements")]
    TooManyElements,
    /// Only when reading tokens: the reply ends too early.
    #[error("the reply is cut off")]
    Truncated,
    #[error("unknown type byte {0:#04x}")]
    UnknownType(u8),
}

/// Line ends in an error would end the reply.
fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn printable(byte: u8) -> char {
    if is_line_end(byte) {
        ' '
    } else {
        char::from(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(error: &RequestError) -> Vec<u8> {
        let mut out = Vec::new();
        error.reply(&mut out);
        out
    }

    #[test]
    fn replies_are_those_of_the_server() {
        let table: &[(RequestError, &[u8])] = &[
            (
                RequestError::ExpectedBulk(b'X'),
                b"-ERR Protocol error: expected '$', got 'X'\r\n",
            ),
            (
                RequestError::ExpectedBulk(b'\n'),
                b"-ERR Protocol error: expected '$', got ' '\r\n",
            ),
            (
                RequestError::ExpectedBulk(0xff),
                b"-ERR Protocol error: expected '$', got '\xff'\r\n",
            ),
            (
                RequestError::InvalidBulkLength,
                b"-ERR Protocol error: invalid bulk length\r\n",
            ),
            (
                RequestError::UnbalancedQuotes,
                b"-ERR Protocol error: unbalanced quotes in request\r\n",
            ),
            (RequestError::CrossProtocol, b""),
            (RequestError::QueryTooBig, b""),
        ];
        for (error, expected) in table {
            assert_eq!(reply(error), *expected, "{error:?}");
            assert_eq!(error.is_replied(), !expected.is_empty());
        }
    }

    #[test]
    fn the_text_is_that_of_the_reply() {
        let error = RequestError::ExpectedBulk(b'\r');
        assert_eq!(error.to_string(), "expected '$', got ' '");
        assert_eq!(
            RequestError::TooBigMultibulkCount.to_string(),
            "too big mbulk count string"
        );
    }
}
