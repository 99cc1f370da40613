//! Finds the replies in what a node sends, RESP2 and RESP3, without looking into them.

use super::error::ReplyError;

/// Where one connection stands in the reply that is arriving.
#[derive(Debug, Default)]
pub struct ReplyScanner {}

impl ReplyScanner {
    /// The length of the reply at the front of `input`, attributes before it included; `None`
    /// when it is not all there yet: call again with the same bytes and more behind them.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<usize>, ReplyError> {
        let _ = input;
        unimplemented!()
    }
}
