//! PUBLISH, SPUBLISH and PUBSUB while this worker has subscriptions: a node counts one for all
//! of a worker's clients, and the replies are put right here.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{CommandId, lookup};
use slotway_protocol::glob::matches;
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::peers::{Answer, Question};
use super::pubsub::Family;
use super::survey::ANSWER_TIMEOUT;
use super::task::{Cluster, Steps, Task};

/// Sends a message to the node of its channel, and tells how many clients hear it.
#[derive(Debug)]
pub(crate) struct Publish {
    command: CommandId,
    family: Family,
    channel: Vec<u8>,
    /// Until it is sent.
    frame: Vec<u8>,
}

impl Publish {
    pub(crate) fn new(command: CommandId, family: Family, channel: &[u8], frame: &[u8]) -> Self {
        Self {
            command,
            family,
            channel: channel.to_vec(),
            frame: frame.to_vec(),
        }
    }
}

impl Task for Publish {
    fn begin(&mut self, _cluster: &Cluster<'_>, steps: &mut Steps) {
        let frame = std::mem::take(&mut self.frame);
        steps.send(0, Slot::of(&self.channel), self.command, frame);
    }

    fn reply(&mut self, _part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        let slot = Slot::of(&self.channel);
        let token = TokenReader::new(reply).next_token();
        let (Ok(Some(Token::Integer(count))), Some(node)) = (token, cluster.owner(slot)) else {
            return steps.finish(reply.to_vec());
        };
        let subscriptions = cluster.subscriptions;
        let (ours, clients) = subscriptions.receivers(self.family, &self.channel, node.index());
        let mut reply = Vec::new();
        encode::integer(&mut reply, corrected(count, ours, clients));
        steps.finish(reply);
    }
}

/// PUBSUB CHANNELS, SHARDCHANNELS, NUMSUB and SHARDNUMSUB: asks every shard, and for numbers every
/// worker, too, how many clients its subscriptions stand for.
#[derive(Debug)]
pub(crate) struct Survey {
    about: About,
    /// The request's arguments behind the name of the subcommand.
    names: Vec<Vec<u8>>,
    frame: Vec<u8>,
    command: CommandId,
    /// Shards and workers that have not answered.
    waiting: usize,
    workers_waiting: usize,
    found: Vec<Vec<u8>>,
    counts: Vec<i64>,
}

/// What PUBSUB is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Channels(Family),
    Counts(Family),
}

impl Survey {
    pub(crate) fn new(about: About, names: Vec<Vec<u8>>, frame: &[u8]) -> Self {
        Self {
            about,
            counts: vec![0; names.len()],
            names,
            frame: frame.to_vec(),
            command: lookup(b"pubsub").map_or(CommandId(0), |command| command.id),
            waiting: 0,
            workers_waiting: 0,
            found: Vec::new(),
        }
    }

    /// Takes in what one node says.
    fn add(&mut self, reply: &[u8]) -> Option<()> {
        let mut reader = TokenReader::new(reply);
        match self.about {
            About::Channels(_) => {
                let Token::Array(len) = reader.next_token().ok()?? else {
                    return None;
                };
                for _ in 0..len {
                    let Token::Bulk(name) = reader.next_token().ok()?? else {
                        return None;
                    };
                    self.found.push(name.to_vec());
                }
            }
            About::Counts(_) => {
                let Token::Array(len) = reader.next_token().ok()?? else {
                    return None;
                };
                for index in 0..(len / 2).min(self.names.len()) {
                    reader.skip_value().ok()?;
                    let Token::Integer(count) = reader.next_token().ok()?? else {
                        return None;
                    };
                    self.counts[index] += count;
                }
            }
        }
        Some(())
    }

    /// The reply, with what our own clients have.
    fn summary(&mut self, cluster: &Cluster<'_>) -> Vec<u8> {
        let mut reply = Vec::new();
        let topics = || cluster.subscriptions.topics().map(|(_, topic)| topic);
        match self.about {
            About::Channels(family) => {
                let pattern = self.names.first().map_or(&b"*"[..], |pattern| pattern);
                let ours = topics().filter(|topic| topic.family == family);
                let ours = ours.filter(|topic| matches(pattern, &topic.name));
                self.found.extend(ours.map(|topic| topic.name.to_vec()));
                self.found.sort_unstable();
                self.found.dedup();
                encode::array(&mut reply, self.found.len());
                for name in &self.found {
                    encode::bulk(&mut reply, name);
                }
            }
            About::Counts(_) => {
                encode::array(&mut reply, 2 * self.names.len());
                for (name, count) in self.names.iter().zip(&self.counts) {
                    encode::bulk(&mut reply, name);
                    encode::integer(&mut reply, (*count).max(0));
                }
            }
        }
        reply
    }

    fn finish_when_complete(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.waiting == 0 && self.workers_waiting == 0 {
            steps.finish(self.summary(cluster));
        }
    }
}

impl Task for Survey {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        let shards = cluster.shards();
        self.waiting = shards.len();
        for (slot, part) in shards.into_iter().zip(0..) {
            steps.send(part, slot, self.command, self.frame.clone());
        }
        if let About::Counts(family) = self.about {
            self.workers_waiting = cluster.workers;
            let names = self.names.clone();
            steps.ask(Question::Subscribers { family, names });
            steps.wake_after(ANSWER_TIMEOUT);
        }
    }

    fn reply(&mut self, _: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.add(reply).is_none() {
            return steps.finish(reply.to_vec());
        }
        self.waiting -= 1;
        self.finish_when_complete(cluster, steps);
    }

    fn answer(&mut self, answer: Answer, cluster: &Cluster<'_>, steps: &mut Steps) {
        if let Answer::More(more) = answer {
            for (count, more) in self.counts.iter_mut().zip(more) {
                *count += more;
            }
        }
        self.workers_waiting = self.workers_waiting.saturating_sub(1);
        self.finish_when_complete(cluster, steps);
    }

    fn wake(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.workers_waiting > 0 {
            steps.answers_late();
            self.workers_waiting = 0;
            self.finish_when_complete(cluster, steps);
        }
    }
}

/// A node's count of receivers without those that are ours, and with the clients for which they
/// stand.
fn corrected(count: i64, ours: usize, clients: usize) -> i64 {
    (count - ours as i64).max(0) + clients as i64
}
