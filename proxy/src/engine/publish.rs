//! PUBLISH, SPUBLISH and PUBSUB while this worker has subscriptions: a node counts one for all
//! of a worker's clients, and the replies are put right here.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{CommandId, lookup};
use slotway_protocol::glob::matches;
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::pubsub::Family;
use super::task::{Cluster, Node, Steps, Task};

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

/// PUBSUB CHANNELS, SHARDCHANNELS, NUMSUB and SHARDNUMSUB: asks every shard, takes away
/// what is ours there, and adds what our clients have.
#[derive(Debug)]
pub(crate) struct Survey {
    about: About,
    /// The request's arguments behind the name of the subcommand.
    names: Vec<Vec<u8>>,
    frame: Vec<u8>,
    command: CommandId,
    /// The nodes that are asked, by the number of the part.
    nodes: Vec<Option<Node>>,
    waiting: usize,
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
            nodes: Vec::new(),
            waiting: 0,
            found: Vec::new(),
        }
    }

    /// Takes in what one node says.
    fn add(&mut self, reply: &[u8], node: Option<Node>, cluster: &Cluster<'_>) -> Option<()> {
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
            About::Counts(family) => {
                let Token::Array(len) = reader.next_token().ok()?? else {
                    return None;
                };
                for index in 0..(len / 2).min(self.names.len()) {
                    reader.skip_value().ok()?;
                    let Token::Integer(count) = reader.next_token().ok()?? else {
                        return None;
                    };
                    let id = cluster.subscriptions.find(family, &self.names[index]);
                    let topic = id.and_then(|id| cluster.subscriptions.topic(id));
                    let ours = topic.is_some_and(|it| it.source == node.map(Node::index));
                    self.counts[index] += count - i64::from(ours);
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
            About::Counts(family) => {
                encode::array(&mut reply, 2 * self.names.len());
                for (name, count) in self.names.iter().zip(&self.counts) {
                    let id = cluster.subscriptions.find(family, name);
                    let topic = id.and_then(|id| cluster.subscriptions.topic(id));
                    let clients = topic.map_or(0, |topic| topic.subscribers.len());
                    encode::bulk(&mut reply, name);
                    encode::integer(&mut reply, (*count).max(0) + clients as i64);
                }
            }
        }
        reply
    }
}

impl Task for Survey {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        let shards = cluster.shards();
        self.waiting = shards.len();
        for (slot, part) in shards.into_iter().zip(0..) {
            self.nodes.push(cluster.owner(slot));
            steps.send(part, slot, self.command, self.frame.clone());
        }
    }

    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        let node = self.nodes.get(part as usize).copied().flatten();
        if self.add(reply, node, cluster).is_none() {
            return steps.finish(reply.to_vec());
        }
        self.waiting -= 1;
        if self.waiting == 0 {
            steps.finish(self.summary(cluster));
        }
    }
}

/// A node's count of receivers without those that are ours, and with the clients for which they
/// stand.
fn corrected(count: i64, ours: usize, clients: usize) -> i64 {
    (count - ours as i64).max(0) + clients as i64
}
