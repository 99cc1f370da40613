//! Commands that wait for elements, with all keys in one slot: sent on a connection of the client's
//! own and, while the time is not over, sent again when the slot or its node has gone elsewhere.

use core::time::Duration;

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::{Request, encode};

use super::redirect::was_not_run;
use super::restore::restore;
use super::task::{Cluster, Steps, Task};
use super::watch::Patience;
use super::{answer, wait_time};

/// A blocking command under way.
#[derive(Debug)]
pub(crate) struct Blocking {
    name: &'static str,
    command: CommandId,
    slot: Slot,
    words: Vec<Vec<u8>>,
    /// When the client wants to hear that nothing came; `None` for never.
    deadline: Option<Instant>,
    patience: Patience,
    sent: Instant,
    /// CLIENT UNBLOCK was called, and whether it is to end with an error.
    unblocked: Option<bool>,
    abandoned: bool,
}

impl Blocking {
    pub(crate) fn new(
        name: &'static str,
        command: CommandId,
        slot: Slot,
        request: &Request<'_>,
        hold_timeout: Duration,
    ) -> Self {
        Self {
            name,
            command,
            slot,
            words: request.args(0).map(<[u8]>::to_vec).collect(),
            deadline: None,
            patience: Patience::new(hold_timeout),
            sent: Instant::default(),
            unblocked: None,
            abandoned: false,
        }
    }

    fn send(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.sent = cluster.now;
        let mut frame = Vec::new();
        encode::request(&mut frame, &self.words);
        steps.send_private(0, self.slot, self.command, frame);
    }

    /// Tries again after a moment, for the time that is left.
    fn try_again(&mut self, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        let now = cluster.now;
        if now.since(self.sent) >= SETTLED {
            // It was blocked where it belonged; what came now is news.
            self.patience.begin(now);
        }
        let pause = self.patience.pause(now);
        match (self.deadline, pause) {
            (Some(deadline), _) if deadline <= now => steps.finish(nothing(cluster)),
            (_, None) => steps.finish(answer::given_up(reply)),
            (deadline, Some(pause)) => {
                let left = deadline.map(|deadline| deadline.since(now));
                steps.topology_is_stale();
                steps.wake_after(left.map_or(pause, |left| left.min(pause)));
            }
        }
    }
}

impl Task for Blocking {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        // What is no time the node will say.
        let time = wait_time::read(self.name, &self.words);
        self.deadline = time.flatten().map(|time| cluster.now + time);
        self.patience.begin(cluster.now);
        self.send(cluster, steps);
    }

    fn reply(&mut self, _part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.abandoned {
            return self.give_back(reply, steps);
        }
        let is_error = reply.first() == Some(&b'-');
        if let Some(error) = self.unblocked
            && (is_error || is_nothing(reply))
        {
            return end_wait(error, steps);
        }
        // Connections that are on their way out make room in a moment.
        let later = was_not_run(reply) || answer::is_privates_full(reply);
        if later || answer::is_unknown(reply) {
            return self.try_again(reply, cluster, steps);
        }
        steps.finish(reply.to_vec());
    }

    fn wake(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        if let Some(error) = self.unblocked {
            return end_wait(error, steps);
        }
        if let Some(deadline) = self.deadline {
            if deadline <= cluster.now {
                return steps.finish(nothing(cluster));
            }
            wait_time::write(self.name, &mut self.words, deadline.since(cluster.now));
        }
        self.send(cluster, steps);
    }

    fn unblock(&mut self, error: bool, steps: &mut Steps) -> bool {
        self.unblocked = Some(error);
        steps.interrupt();
        steps.wake_if_idle();
        true
    }

    /// What the node has already taken for the client comes back, and goes back.
    fn abandon(&mut self, steps: &mut Steps) -> bool {
        self.abandoned = true;
        steps.interrupt();
        true
    }
}

impl Blocking {
    fn give_back(&self, reply: &[u8], steps: &mut Steps) {
        if let Some(restore) = restore(self.name, &self.words, reply) {
            steps.note_restored(restore.elements);
            steps.send(1, self.slot, restore.command, restore.frame);
        }
    }
}

/// Ends a wait as CLIENT UNBLOCK does.
pub(crate) fn end_wait(error: bool, steps: &mut Steps) {
    if error {
        steps.finish(answer::error(answer::UNBLOCKED));
    } else {
        steps.finish_with_nothing();
    }
}

/// What the server replies when the time is over.
pub(crate) fn nothing(cluster: &Cluster<'_>) -> Vec<u8> {
    let mut reply = Vec::new();
    encode::null_array(&mut reply, cluster.protocol);
    reply
}

/// Whether a reply says that there was nothing.
pub(crate) fn is_nothing(reply: &[u8]) -> bool {
    matches!(reply, b"*-1\r\n" | b"_\r\n" | b"$-1\r\n")
}

/// One that was blocked for this long was at the right node.
const SETTLED: Duration = Duration::from_secs(1);
