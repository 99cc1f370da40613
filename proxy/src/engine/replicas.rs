//! WAIT: asks each shard how many of its replicas have what was written up to now. The connection
//! that asks is the client's own, so nobody else waits; the node counts from the last write before
//! the request, whoever made it, so the client's own writes are among those counted.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::answer;
use super::task::{Cluster, Steps, Task};

#[derive(Debug)]
pub(crate) struct WaitForReplicas {
    pub(crate) command: CommandId,
    pub(crate) frame: Vec<u8>,
    /// Shards that have not answered.
    waiting: usize,
    /// The fewest replicas of a shard so far.
    fewest: i64,
    error: Option<Vec<u8>>,
    /// CLIENT UNBLOCK was called with ERROR.
    fail: bool,
}

impl WaitForReplicas {
    pub(crate) fn new(command: CommandId, frame: &[u8]) -> Self {
        // The connection may be fresh: the node notes with each request how far writes have come.
        let mut block = Vec::new();
        encode::request(&mut block, &["PING"]);
        block.extend_from_slice(frame);
        Self {
            command,
            frame: block,
            waiting: 0,
            fewest: i64::MAX,
            error: None,
            fail: false,
        }
    }
}

impl Task for WaitForReplicas {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        let shards: Vec<Slot> = cluster.shards();
        self.waiting = shards.len();
        for (slot, part) in shards.into_iter().zip(0..) {
            steps.send_private_block(part, slot, 1, self.command, self.frame.clone());
        }
    }

    fn reply(&mut self, _part: u32, reply: &[u8], _cluster: &Cluster<'_>, steps: &mut Steps) {
        self.waiting -= 1;
        match TokenReader::new(reply).next_token() {
            Ok(Some(Token::Integer(replicas))) => self.fewest = self.fewest.min(replicas),
            _ => drop(self.error.get_or_insert_with(|| reply.to_vec())),
        }
        if self.waiting > 0 {
            return;
        }
        if self.fail {
            return steps.finish(answer::error(answer::UNBLOCKED));
        }
        let reply = self.error.take().unwrap_or_else(|| {
            let mut reply = Vec::new();
            encode::integer(&mut reply, self.fewest);
            reply
        });
        steps.finish(reply);
    }

    fn unblock(&mut self, error: bool, steps: &mut Steps) -> bool {
        self.fail = error;
        steps.interrupt();
        true
    }

    fn abandon(&mut self, steps: &mut Steps) -> bool {
        steps.interrupt();
        true
    }
}
