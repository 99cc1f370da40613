//! What a client asks of SCAN. The nodes find its mistakes; here is only what the proxy needs.

use slotway_protocol::cluster::Slot;
use slotway_protocol::glob;
use slotway_protocol::resp::{Request, encode};

/// The options of one request.
#[derive(Debug)]
pub(super) struct ScanRequest {
    /// All arguments behind the cursor, as they came.
    options: Vec<u8>,
    options_len: usize,
    pattern: Option<Vec<u8>>,
    type_name: Option<Vec<u8>>,
    /// The only slot that can have keys of the pattern.
    pub(super) only: Option<Slot>,
}

impl ScanRequest {
    pub(super) fn new(request: &Request<'_>) -> Self {
        let (mut pattern, mut type_name) = (None, None);
        for name in (2..request.len().saturating_sub(1)).step_by(2) {
            let value = request.arg(name + 1);
            if request.is_arg(name, b"match") {
                pattern = Some(value.to_vec());
            } else if request.is_arg(name, b"type") {
                type_name = Some(value.to_vec());
            }
        }
        let only = pattern.as_deref().and_then(Slot::of_pattern);
        Self {
            options: request.encoded_args(2..request.len()).to_vec(),
            options_len: request.len() - 2,
            pattern,
            type_name,
            only,
        }
    }

    /// The request to a node, with its own cursor.
    pub(super) fn frame(&self, cursor: u64) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.options.len() + 48);
        encode::array(&mut frame, 2 + self.options_len);
        encode::bulk(&mut frame, b"SCAN");
        encode::bulk(&mut frame, cursor.to_string().as_bytes());
        frame.extend_from_slice(&self.options);
        frame
    }

    pub(super) fn matches(&self, key: &[u8]) -> bool {
        let pattern = self.pattern.as_deref();
        pattern.is_none_or(|pattern| glob::matches(pattern, key))
    }

    /// The type that keys must have, if that matters.
    pub(super) fn type_name(&self) -> Option<&[u8]> {
        self.type_name.as_deref()
    }
}
