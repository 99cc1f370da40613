//! What a node knows of whom it follows and who follows it, and how far each has come.

#![allow(dead_code, reason = "those who use it are being built")]

pub(crate) mod propagation;

use slotway_protocol::engine::{Address, Instant, Now};

use crate::command::Random;
use crate::server_state::hexadecimal_id;

/// A node's place among those that hold the same keys. The stream of writes has an id, and every
/// byte of it a number; who knows both can go on where it was.
#[derive(Debug)]
pub(crate) struct Replication {
    /// Forty hexadecimal digits.
    id: String,
    /// A primary: how many bytes it has produced. A replica: how many it has processed.
    offset: u64,
    primary: Option<Address>,
    link: LinkState,
    last_io: Instant,
    link_was_reset: bool,
    /// Clients' writes wait until then.
    paused_until: Option<Instant>,
}

/// How a replica's connection to its primary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    Down {
        since: Instant,
    },
    Connecting,
    /// The keys are on their way.
    Syncing,
    Up,
}

/// One that follows this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaInfo {
    pub(crate) address: Address,
    /// What it has acknowledged.
    pub(crate) acked: u64,
    /// It has the keys and gets the stream.
    pub(crate) online: bool,
}

impl Replication {
    pub(crate) fn new(random: &mut Random, started: Now) -> Self {
        Self {
            id: hexadecimal_id(random),
            offset: 0,
            primary: None,
            link: LinkState::Down {
                since: started.instant,
            },
            last_io: started.instant,
            link_was_reset: false,
            paused_until: None,
        }
    }

    /// The id of the stream.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// A primary: how many bytes it has produced. A replica: how many it has processed.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Counts what a primary has produced.
    pub(crate) fn produce(&mut self, bytes: u64) {
        if self.primary.is_none() {
            self.offset += bytes;
        }
    }

    /// Whom this node follows.
    pub(crate) fn primary(&self) -> Option<&Address> {
        self.primary.as_ref()
    }

    /// Follows another node from now on, keeping what it knows to go on from there; or nobody.
    pub(crate) fn follow(&mut self, primary: Option<Address>, now: Now) {
        self.primary = primary;
        self.link = LinkState::Down { since: now.instant };
    }

    pub(crate) fn link(&self) -> LinkState {
        self.link
    }

    /// When anything came from the primary last.
    pub(crate) fn last_io(&self) -> Instant {
        self.last_io
    }

    /// Whether the host of the primary has closed the link, or reset it, since this was asked last.
    pub(crate) fn take_link_reset(&mut self) -> bool {
        std::mem::take(&mut self.link_was_reset)
    }

    /// Those that follow this node.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = ReplicaInfo> {
        std::iter::empty()
    }

    /// Lets writes of clients wait until then, so that nothing more is produced; `None` ends that.
    pub(crate) fn pause_writes(&mut self, until: Option<Instant>) {
        self.paused_until = until;
    }
}
