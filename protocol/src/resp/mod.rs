//! RESP, the Redis serialization protocol, versions 2 and 3, in both directions.

mod cursor;
pub mod encode;
pub mod error;
pub mod error_codes;
mod inline;
mod line;
pub mod reply;
pub mod request;
pub mod value;

pub use error::{ReplyError, RequestError};
pub use line::parse_integer;
pub use reply::ReplyScanner;
pub use request::{ArgReader, Request, RequestBuffers, RequestLimits, RequestScanner, Scan};

/// The protocol version that a connection speaks, chosen with HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}
