//! Commands about the servers themselves: every shard is asked, and what they say is put together
//! in a way that belongs to the command.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::CommandId;
use slotway_protocol::resp::{Request, encode};

use super::answer;
use super::gathered;
use super::local::{Database, add_keyspace, keyspace_section};
use super::task::{Cluster, Steps, Task, command_id, request};

/// One such request.
#[derive(Debug)]
pub(crate) struct Gather {
    how: How,
    command: CommandId,
    frame: Vec<u8>,
    /// Of each shard one slot, and its reply.
    shards: Vec<(Slot, Vec<u8>)>,
    waiting: usize,
    bytes: usize,
}

/// How the replies become one.
#[derive(Debug)]
enum How {
    /// The rest of the text is known.
    Keyspace(String),
    /// Of these commands, or of all.
    LatencyHistogram(Vec<Vec<u8>>),
    LatencyHistory,
    LatencyLatest,
    MemoryStats,
    /// One text after the other, with the nodes' addresses.
    Texts,
}

impl Gather {
    pub(crate) fn latency_histogram(request: &Request<'_>) -> Self {
        let names = request.args(2).map(<[u8]>::to_vec).collect();
        let how = How::LatencyHistogram(names);
        Self::new(how, "latency|histogram", request.frame())
    }

    pub(crate) fn latency_history(request: &Request<'_>) -> Self {
        Self::new(How::LatencyHistory, "latency|history", request.frame())
    }

    pub(crate) fn latency_latest(request: &Request<'_>) -> Self {
        Self::new(How::LatencyLatest, "latency|latest", request.frame())
    }

    pub(crate) fn memory_stats(request: &Request<'_>) -> Self {
        Self::new(How::MemoryStats, "memory|stats", request.frame())
    }

    pub(crate) fn texts(name: &str, request: &Request<'_>) -> Self {
        Self::new(How::Texts, name, request.frame())
    }

    /// INFO: what the proxy says of itself comes first.
    pub(crate) fn keyspace(own: &[u8]) -> Self {
        let own = gathered::text(own).unwrap_or_default();
        let own = String::from_utf8_lossy(own).into_owned();
        Self::new(How::Keyspace(own), "info", &request(&["INFO", "keyspace"]))
    }

    fn new(how: How, name: &str, frame: &[u8]) -> Self {
        Self {
            how,
            command: command_id(name),
            frame: frame.to_vec(),
            shards: Vec::new(),
            waiting: 0,
            bytes: 0,
        }
    }
}

impl Task for Gather {
    fn memory(&self) -> usize {
        self.bytes
    }

    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        let slots = cluster.shards().into_iter();
        self.shards = slots.map(|slot| (slot, Vec::new())).collect();
        self.waiting = self.shards.len();
        for ((slot, _), part) in self.shards.iter().zip(0..) {
            steps.send(part, *slot, self.command, self.frame.clone());
        }
    }

    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        self.bytes += reply.len();
        if self.bytes > cluster.merge_bytes_max {
            return steps.finish(answer::error(answer::MERGE_FULL));
        }
        let failed = matches!(reply.first(), Some(b'-' | b'!'));
        if failed && !matches!(self.how, How::Texts) {
            return steps.finish(reply.to_vec());
        }
        self.shards[part as usize].1 = reply.to_vec();
        self.waiting -= 1;
        if self.waiting == 0 {
            let whole = self.put_together(cluster);
            steps.finish(whole.unwrap_or_else(|| answer::error(answer::WRONG_FORM)));
        }
    }
}

impl Gather {
    fn put_together(&self, cluster: &Cluster<'_>) -> Option<Vec<u8>> {
        let replies: Vec<&[u8]> = self.shards.iter().map(|(_, reply)| &reply[..]).collect();
        let protocol = cluster.protocol;
        match &self.how {
            How::Keyspace(own) => keyspace(own, &replies, cluster),
            How::LatencyHistogram(names) => gathered::latency_histogram(&replies, names, protocol),
            How::LatencyHistory => gathered::latency_history(&replies),
            How::LatencyLatest => gathered::latency_latest(&replies),
            How::MemoryStats => gathered::memory_stats(&replies, protocol),
            How::Texts => self.texts_together(cluster),
        }
    }

    /// Where one node has nothing to say but an error, that is its text; the reply is an error only
    /// if nobody has more to say.
    fn texts_together(&self, cluster: &Cluster<'_>) -> Option<Vec<u8>> {
        let is_error = |reply: &[u8]| matches!(reply.first(), Some(b'-' | b'!'));
        if let Some((_, first)) = self.shards.first()
            && self.shards.iter().all(|(_, reply)| is_error(reply))
        {
            return Some(first.clone());
        }
        let mut whole = Vec::new();
        for (slot, reply) in &self.shards {
            let node = cluster.owner(*slot);
            let address = node.and_then(|node| cluster.address(node));
            let name = address.map_or_else(|| format!("slot {slot}"), ToString::to_string);
            whole.extend_from_slice(format!("# {name}\n").as_bytes());
            whole.extend_from_slice(match is_error(reply) {
                true => reply.trim_ascii_end(),
                false => gathered::text(reply)?,
            });
            whole.extend_from_slice(b"\n\n");
        }
        let mut out = Vec::new();
        encode::verbatim(&mut out, cluster.protocol, whole.trim_ascii_end());
        Some(out)
    }
}

fn keyspace(own: &str, replies: &[&[u8]], cluster: &Cluster<'_>) -> Option<Vec<u8>> {
    let mut databases: Vec<Database> = Vec::new();
    for reply in replies {
        let text = String::from_utf8_lossy(gathered::text(reply)?);
        add_keyspace(&mut databases, &text);
    }
    let mut text = own.to_owned();
    if !text.is_empty() {
        text.push_str("\r\n");
    }
    text.push_str("# Keyspace\r\n");
    keyspace_section(&databases, &mut text);
    let mut out = Vec::new();
    encode::verbatim(&mut out, cluster.protocol, text.as_bytes());
    Some(out)
}
