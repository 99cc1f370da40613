//! One that follows this node, or is about to: what it has said of itself, and how far it is.

use bytes::Bytes;
use slotway_protocol::engine::{ConnectionId, Instant};

/// A replica of this node.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) connection: ConnectionId,
    /// Where its connection comes from.
    pub(crate) peer_host: String,
    /// What it says of where it listens.
    pub(crate) announced_host: Option<String>,
    pub(crate) port: u16,
    /// It can tell the end of a snapshot by a mark.
    pub(crate) knows_end_mark: bool,
    /// It understands an id behind CONTINUE.
    pub(crate) knows_ids: bool,
    pub(crate) phase: Phase,
    /// What it has acknowledged, and when it did last.
    pub(crate) acked: u64,
    pub(crate) acked_at: Instant,
    /// What was produced since its snapshot began.
    pub(crate) held: Vec<Bytes>,
    pub(crate) held_bytes: usize,
    /// When it took bytes last.
    pub(crate) took_at: Instant,
    /// More than the soft limit waits for it, since then.
    pub(crate) behind_since: Option<Instant>,
}

/// How far a replica has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It says who it is.
    Introducing,
    /// It wants to go on from there, or all keys.
    Asking(Wish),
    /// It waits for a snapshot to begin.
    Waiting { psync: bool },
    /// All keys are on their way to it; their end is a mark, or their length comes first.
    Receiving { by_mark: bool },
    /// It was sent all keys, and is to say when it has them.
    Loading,
    /// It has said so.
    Ready,
    /// It gets all that is produced.
    Online,
}

/// What a replica has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// SYNC.
    Everything,
    /// PSYNC with the id of a stream and the number of the byte that is wanted next.
    Continue { id: String, offset: Option<u64> },
}

impl Replica {
    pub(crate) fn new(connection: ConnectionId, peer_host: String, now: Instant) -> Self {
        Self {
            connection,
            peer_host,
            announced_host: None,
            port: 0,
            knows_end_mark: false,
            knows_ids: false,
            phase: Phase::Introducing,
            acked: 0,
            acked_at: now,
            held: Vec::new(),
            held_bytes: 0,
            took_at: now,
            behind_since: None,
        }
    }

    /// It has asked for the keys, so it is one.
    pub(crate) fn is_replica(&self) -> bool {
        !matches!(self.phase, Phase::Introducing)
    }

    pub(crate) fn is_online(&self) -> bool {
        self.phase == Phase::Online
    }

    pub(crate) fn host(&self) -> &str {
        self.announced_host.as_deref().unwrap_or(&self.peer_host)
    }

    /// As INFO has it.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Online => "online",
            _ => "wait_bgsave",
        }
    }

    /// Keeps what is produced until it can be sent.
    pub(crate) fn hold(&mut self, bytes: &Bytes) {
        self.held_bytes += bytes.len();
        self.held.push(bytes.clone());
    }

    pub(crate) fn take_held(&mut self) -> Vec<Bytes> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// How many seconds ago it acknowledged anything.
    pub(crate) fn lag_seconds(&self, now: Instant) -> u64 {
        now.since(self.acked_at).as_secs()
    }
}
