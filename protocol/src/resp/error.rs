//! What can be wrong with bytes that claim to be RESP.

/// A client broke the protocol. Displayed, it is the text of redis-server's error reply, without
/// the leading `-ERR Protocol error: `; the connection is closed after it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("invalid multibulk length")]
    InvalidMultibulkLength,
}

/// A node broke the protocol; the connection can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    #[error("unknown type byte {0:#04x}")]
    UnknownType(u8),
}
