//! The connections to nodes that take over keys. One that is not needed any more is kept for a
//! while, since the next keys of a slot usually follow at once.

use std::time::Duration;

use slotway_protocol::engine::{Address, ConnectToken, ConnectionId, Instant};
use slotway_protocol::resp::ReplyScanner;

use super::Migration;

/// All of them, at most [`TARGETS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Targets {
    targets: Vec<Target>,
    last_id: u64,
}

/// Tells a target from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TargetId(u64);

/// A connection to a node, or one that is being opened.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) id: TargetId,
    address: Address,
    token: ConnectToken,
    /// `None` until it is open.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) scanner: ReplyScanner,
    /// The database that the other node has selected, when that is certain.
    pub(crate) database: Option<i64>,
    /// What it is used for; without, it is idle.
    pub(crate) migration: Option<Migration>,
    idle_since: Instant,
}

impl Targets {
    pub(crate) fn len(&self) -> usize {
        self.targets.len()
    }

    /// An idle connection to that node.
    pub(crate) fn idle(&mut self, address: &Address) -> Option<&mut Target> {
        let mut targets = self.targets.iter_mut();
        targets.find(|target| {
            target.address == *address && target.migration.is_none() && target.connection.is_some()
        })
    }

    pub(crate) fn is_full(&self) -> bool {
        self.targets.len() >= TARGETS_MAX
    }

    /// Takes out the one that has been idle for the longest, to make room.
    pub(crate) fn take_idle(&mut self) -> Option<Target> {
        let idle = self.targets.iter().enumerate();
        let idle = idle.filter(|(_, target)| target.migration.is_none());
        let (index, _) = idle.min_by_key(|(_, target)| target.idle_since)?;
        Some(self.targets.swap_remove(index))
    }

    /// Takes out all that have been idle for too long.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Vec<Target> {
        let mut expired = Vec::new();
        let mut index = 0;
        while let Some(target) = self.targets.get(index) {
            if target.migration.is_none() && now.since(target.idle_since) >= IDLE_MAX {
                expired.push(self.targets.swap_remove(index));
            } else {
                index += 1;
            }
        }
        expired
    }

    /// Notes a connection that is being opened for a migration.
    pub(crate) fn open(&mut self, token: ConnectToken, migration: Migration) {
        self.last_id += 1;
        self.targets.push(Target {
            id: TargetId(self.last_id),
            address: migration.address.clone(),
            token,
            connection: None,
            scanner: ReplyScanner::default(),
            database: None,
            idle_since: migration.progressed_at,
            migration: Some(migration),
        });
    }

    pub(crate) fn by_token(&mut self, token: ConnectToken) -> Option<&mut Target> {
        let mut targets = self.targets.iter_mut();
        targets.find(|target| target.token == token && target.connection.is_none())
    }

    pub(crate) fn by_connection(&mut self, connection: ConnectionId) -> Option<&mut Target> {
        let mut targets = self.targets.iter_mut();
        targets.find(|target| target.connection == Some(connection))
    }

    pub(crate) fn remove(&mut self, id: TargetId) -> Option<Target> {
        let index = self.targets.iter().position(|target| target.id == id)?;
        Some(self.targets.swap_remove(index))
    }

    /// Ends a [`Targets::remove`] that was only made to work with it.
    pub(crate) fn put_back(&mut self, target: Target) {
        self.targets.push(target);
    }

    pub(crate) fn connection(&self, id: TargetId) -> Option<ConnectionId> {
        let target = self.targets.iter().find(|target| target.id == id)?;
        target.connection
    }

    /// Those whose migrations have not come on for too long.
    pub(crate) fn late(&self, now: Instant) -> Vec<TargetId> {
        let late = self.targets.iter().filter(|target| {
            let migration = target.migration.as_ref();
            migration.is_some_and(|migration| migration.is_late(now))
        });
        late.map(|target| target.id).collect()
    }
}

impl Target {
    /// Takes what it is used for as having come on.
    pub(crate) fn touch(&mut self, now: Instant) {
        if let Some(migration) = &mut self.migration {
            migration.progressed_at = now;
        }
    }

    /// Ends its use; what it was used for.
    pub(crate) fn release(&mut self, now: Instant) -> Option<Migration> {
        self.idle_since = now;
        self.migration.take()
    }
}

impl Migration {
    pub(crate) fn is_late(&self, now: Instant) -> bool {
        now.since(self.progressed_at) >= self.timeout
    }
}

/// As in redis-server, so many connections to other nodes may be open.
pub(crate) const TARGETS_MAX: usize = 64;

/// As in redis-server, one that was idle for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(10);
