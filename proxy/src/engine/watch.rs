//! The tasks of a client that watches keys. They use one private connection, since the node keeps
//! the watch with the connection; between the tasks it stays with the client.

use core::time::Duration;

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::encode;

use super::task::{Cluster, Steps, Task};
use super::transaction::{aborted, splice};
use super::{answer, redirect};

/// WATCH: sent to the owner of the keys until somebody owns them.
#[derive(Debug)]
pub(crate) struct WatchKeys {
    pub(crate) command: CommandId,
    pub(crate) slot: Slot,
    pub(crate) frame: Vec<u8>,
    /// Keys are watched already: a redirect would lose that watch, and must not pass unnoticed.
    pub(crate) watches: bool,
    pub(crate) patience: Patience,
}

impl Task for WatchKeys {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.patience.begin(cluster.now);
        self.wake(cluster, steps);
    }

    fn wake(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        let frame = self.frame.clone();
        if self.watches {
            steps.send_pinned(self.slot, 0, self.command, frame);
        } else {
            steps.send_private(0, self.slot, self.command, frame);
        }
    }

    fn reply(&mut self, _part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        // A watch ends with its connection, whether it had begun or not.
        let watches_nothing = redirect::was_not_run(reply) || answer::is_unknown(reply);
        if watches_nothing
            && !self.watches
            && let Some(pause) = self.patience.pause(cluster.now)
        {
            steps.topology_is_stale();
            return steps.wake_after(pause);
        }
        // What was watched before stays watched whatever came of this.
        if reply.first() == Some(&b'+') || self.watches {
            steps.keep_private(self.slot);
        }
        if self.watches && watches_nothing {
            // EXEC will say that what was to be watched may have changed.
            steps.lose_private();
            return steps.finish(b"+OK\r\n".to_vec());
        }
        steps.finish(answer::given_up(reply));
    }
}

/// UNWATCH, also on behalf of a DISCARD.
#[derive(Debug)]
pub(crate) struct Unwatch {
    pub(crate) command: CommandId,
    pub(crate) slot: Slot,
}

impl Task for Unwatch {
    fn begin(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        let mut frame = Vec::new();
        encode::request(&mut frame, &["UNWATCH"]);
        steps.send_pinned(self.slot, 0, self.command, frame);
    }

    /// A connection that is gone, or a node that owns the keys no more, watches nothing.
    fn reply(&mut self, _part: u32, _reply: &[u8], _cluster: &Cluster<'_>, steps: &mut Steps) {
        steps.finish(b"+OK\r\n".to_vec());
    }
}

/// EXEC of a client that watches keys.
#[derive(Debug)]
pub(crate) struct ExecWatched {
    pub(crate) command: CommandId,
    pub(crate) slot: Slot,
    pub(crate) block: Vec<u8>,
    pub(crate) preceding: u32,
    /// Replies that the proxy gives by itself, with their places.
    pub(crate) local: Vec<(u32, Vec<u8>)>,
}

impl Task for ExecWatched {
    fn begin(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        let block = std::mem::take(&mut self.block);
        steps.send_pinned(self.slot, self.preceding, self.command, block);
    }

    fn reply(&mut self, _part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        // Elsewhere nobody has watched the keys, so they may have changed: that is what null says.
        let reply = if redirect::was_not_run(reply) {
            aborted(cluster.protocol)
        } else {
            splice(reply, &self.local)
        };
        steps.finish(reply);
    }
}

/// EXEC of a transaction with commands that the proxy answers by itself; no keys are watched.
#[derive(Debug)]
pub(crate) struct ExecMixed {
    pub(crate) command: CommandId,
    pub(crate) slot: Slot,
    pub(crate) block: Vec<u8>,
    pub(crate) preceding: u32,
    pub(crate) local: Vec<(u32, Vec<u8>)>,
}

impl Task for ExecMixed {
    fn begin(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        let block = std::mem::take(&mut self.block);
        steps.send_block(0, self.slot, self.preceding, self.command, block);
    }

    fn reply(&mut self, _part: u32, reply: &[u8], _cluster: &Cluster<'_>, steps: &mut Steps) {
        steps.finish(splice(reply, &self.local));
    }
}

/// How long a request is tried again that no node wants to serve, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    timeout: Duration,
    until: Instant,
    attempts: u32,
}

impl Patience {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            until: Instant::default(),
            attempts: 0,
        }
    }

    pub(crate) fn begin(&mut self, now: Instant) {
        self.until = now + self.timeout;
        self.attempts = 0;
    }

    /// How long to wait before the next attempt; `None` when it has taken too long.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Duration> {
        if now >= self.until {
            return None;
        }
        self.attempts += 1;
        // The first redirect is followed at once; then 2 ms, twice as long each time, up to 50 ms.
        let pause = (1 << self.attempts.min(6)).min(50);
        Some(Duration::from_millis(if self.attempts == 1 {
            0
        } else {
            pause
        }))
    }
}
