//! MIGRATE: keys on their way to other nodes. Which are under way, on which connections, and which
//! keys nobody may change meanwhile.
//!
//! redis-server stops while it migrates. Here only those wait who want to change a key that is on
//! its way: from the moment at which MIGRATE begins until the other node has confirmed the key, and
//! it is removed here, the key is locked. So nothing is written between a key's dump and its
//! removal, and nothing that was confirmed can be lost.

mod targets;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use slotway_protocol::engine::{Address, ConnectionId, Instant};

pub(crate) use targets::{Target, TargetId, Targets};

/// All that is under way.
#[derive(Debug, Default)]
pub(crate) struct Migrations {
    /// Keys that are on their way, each with how many want it so.
    locked: HashMap<Box<[u8]>, usize>,
    /// Clients whose next request would change one of those, in the order in which they came.
    held: Vec<ConnectionId>,
    /// Begun by a client, and not seen by the node yet.
    pub(crate) begun: Vec<Migration>,
    /// Those that wait for a connection, as all are in use.
    pub(crate) queued: VecDeque<Migration>,
    pub(crate) targets: Targets,
    /// Those whose replies are not looked at for now, as writes wait.
    pub(crate) paused: Vec<ConnectionId>,
}

/// One MIGRATE.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) client: ConnectionId,
    /// The client wants a reply.
    pub(crate) is_answered: bool,
    pub(crate) address: Address,
    /// Here, and there.
    pub(crate) database: u32,
    pub(crate) target_database: i64,
    /// Without any progress for so long it is given up.
    pub(crate) timeout: Duration,
    pub(crate) copies: bool,
    pub(crate) replaces: bool,
    /// The arguments of AUTH.
    pub(crate) password: Option<Vec<Vec<u8>>>,
    /// Those that were there, in the order of the request.
    pub(crate) keys: Vec<Box<[u8]>>,
    pub(crate) progress: Progress,
    pub(crate) progressed_at: Instant,
    /// A connection that had been idle was found dead, so this is on a new one.
    pub(crate) is_retry: bool,
}

/// How far a migration has come on its connection.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// How many of the keys were looked at.
    pub(crate) looked_at: usize,
    /// The index of each key that was sent and is not answered, in order.
    pub(crate) unanswered: VecDeque<usize>,
    /// Which replies come before those to the keys.
    pub(crate) prelude: VecDeque<Prelude>,
    /// Something was answered.
    pub(crate) any_reply: bool,
    /// What is replied to AUTH or SELECT is an error, so the replies to the keys do not count.
    pub(crate) prelude_failed: bool,
    /// The first error that the other node replied.
    pub(crate) error: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prelude {
    Auth,
    Select,
}

/// What comes of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Connecting,
    /// Nobody listens there.
    Refused,
    Writing,
    Reading,
    /// This node has become a replica.
    Demoted,
}

impl Failure {
    /// The reply.
    pub(crate) fn reply(self) -> &'static [u8] {
        match self {
            Self::Connecting => b"-IOERR error or timeout connecting to the client\r\n",
            Self::Refused | Self::Writing => {
                b"-IOERR error or timeout writing to target instance\r\n"
            }
            Self::Reading => b"-IOERR error or timeout reading to target instance\r\n",
            Self::Demoted => {
                b"-UNBLOCKED force unblock from blocking operation, instance state changed \
                  (master -> replica?)\r\n"
            }
        }
    }
}

impl Migrations {
    /// Whether no key is locked.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.locked.is_empty()
    }

    pub(crate) fn is_locked(&self, key: &[u8]) -> bool {
        self.locked.contains_key(key)
    }

    /// Begins a migration; its keys are locked from now on.
    pub(crate) fn begin(&mut self, migration: Migration) {
        for key in &migration.keys {
            *self.locked.entry(key.clone()).or_default() += 1;
        }
        self.begun.push(migration);
    }

    /// Ends the lock of a key.
    pub(crate) fn unlock(&mut self, key: &[u8]) {
        if let Some(count) = self.locked.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.locked.remove(key);
            }
        }
    }

    /// Notes a client whose request has to wait.
    pub(crate) fn hold(&mut self, client: ConnectionId) {
        self.held.push(client);
    }

    /// The clients whose requests may be tried again.
    pub(crate) fn take_held(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.held)
    }
}

/// So much of what is written to one node may wait; more keys are dumped when it has taken that.
pub(crate) const WINDOW_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_locked_as_long_as_anyone_moves_it() {
        let mut migrations = Migrations::default();
        for _ in 0..2 {
            *migrations.locked.entry(b"k".as_slice().into()).or_default() += 1;
        }
        migrations.unlock(b"k");
        assert!(migrations.is_locked(b"k"));
        migrations.unlock(b"k");
        assert!(!migrations.is_locked(b"k"));
        assert!(migrations.is_idle());
        migrations.unlock(b"k");
        assert!(migrations.is_idle());
    }
}
