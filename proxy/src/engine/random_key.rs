//! RANDOMKEY: asks every shard how many keys it has, then one of them, each key as likely as the
//! next, for one of its own.

use slotway_protocol::cluster::Slot;
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::task::{Cluster, Steps, Task, command_id, request};

#[derive(Debug, Default)]
pub(crate) struct RandomKey {
    /// Of each shard one slot, and how many keys it has.
    shards: Vec<(Slot, u64)>,
    /// Replies that have not come.
    waiting: usize,
    /// The shard that was asked for a key.
    asked: Option<usize>,
}

impl Task for RandomKey {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.shards = cluster.shards().into_iter().map(|slot| (slot, 0)).collect();
        self.waiting = self.shards.len();
        for ((slot, _), part) in self.shards.iter().zip(0..) {
            steps.send(part, *slot, command_id("dbsize"), request(&["DBSIZE"]));
        }
    }

    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        let token = TokenReader::new(reply).next_token();
        if let Ok(Some(Token::Error(_))) = token {
            return steps.finish(reply.to_vec());
        }
        match self.asked {
            None => {
                if let Ok(Some(Token::Integer(keys))) = token {
                    self.shards[part as usize].1 = u64::try_from(keys).unwrap_or(0);
                }
                self.waiting -= 1;
                if self.waiting == 0 {
                    self.ask(reply, cluster, steps);
                }
            }
            // Its keys may be gone by now; then another shard is asked.
            Some(asked) if token == Ok(Some(Token::Null)) => {
                self.shards[asked].1 = 0;
                self.ask(reply, cluster, steps);
            }
            Some(_) => steps.finish(reply.to_vec()),
        }
    }
}

impl RandomKey {
    fn ask(&mut self, last: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        let keys: u64 = self.shards.iter().map(|(_, keys)| keys).sum();
        if keys == 0 {
            let mut reply = last.to_vec();
            if self.asked.is_none() {
                reply.clear();
                encode::null(&mut reply, cluster.protocol);
            }
            return steps.finish(reply);
        }
        let mut chosen = mix(cluster.now.as_micros()) % keys;
        for (index, (slot, keys)) in self.shards.iter().enumerate() {
            if chosen < *keys {
                self.asked = Some(index);
                return steps.send(0, *slot, command_id("randomkey"), request(&["RANDOMKEY"]));
            }
            chosen -= keys;
        }
    }
}

/// Spreads a number that grows by little over all numbers (the finalizer of MurmurHash3).
fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ number >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ number >> 33
}
