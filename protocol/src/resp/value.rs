//! Reads a whole reply token by token, without recursion and without copying.

use super::error::ReplyError;

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
        let _ = self.rest;
        unimplemented!()
    }

    /// Skips one whole value, elements included.
    pub fn skip_value(&mut self) -> Result<(), ReplyError> {
        unimplemented!()
    }
}
