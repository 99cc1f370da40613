//! What each open connection is to the proxy.

use super::session::Session;

/// What a connection is to the proxy.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all connections are clients"
)]
pub(super) enum Connection {
    Vacant,
    Client(Session),
    Backend { pipeline: usize },
    Feed { backend: usize },
    Private { index: u32 },
}

impl Connection {
    /// The client, unless it is as good as gone.
    pub(super) fn client(&self) -> Option<&Session> {
        match self {
            Self::Client(session) if !session.leaving => Some(session),
            _ => None,
        }
    }
}
