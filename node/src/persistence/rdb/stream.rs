//! Streams as RDB: the nodes as they are, and then what is known of the stream and its groups.

use std::collections::BTreeMap;

use super::{Encoder, Input, RdbError, kind};
use crate::value::stream::{Group, ID_LEN, Log, Node, Pending, Stream, StreamId, UNKNOWN_COUNT};

impl Input<'_> {
    /// A stream of any of the three kinds. Each later one says more.
    pub(super) fn stream(&mut self, kind: u8) -> Result<Stream, RdbError> {
        let mut stream = Stream {
            log: self.log(kind)?,
            ..Stream::default()
        };
        for _ in 0..self.length()? {
            let name = self.string()?;
            let last_id = self.id()?;
            let entries_read = match kind {
                kind::STREAM => (stream.log.count_up_to(last_id)).unwrap_or(UNKNOWN_COUNT),
                _ => self.length()? as i64,
            };
            let group = self.group(kind, Group::new(last_id, entries_read))?;
            if stream.groups.insert(name.as_ref().into(), group).is_some() {
                return Err(RdbError::Corrupt("a stream with a group twice"));
            }
        }
        Ok(stream)
    }

    fn log(&mut self, kind: u8) -> Result<Log, RdbError> {
        let mut log = Log::default();
        for _ in 0..self.length()? {
            let base = self.string()?;
            let base: [u8; ID_LEN] = (&*base)
                .try_into()
                .map_err(|_| RdbError::Corrupt("a node of a stream without an ID"))?;
            let base = StreamId::from_bytes(base);
            let node = Node::from_bytes(&self.string()?, base)?;
            if !log.push_node(base, node) {
                return Err(RdbError::Corrupt("a stream with nodes out of order"));
            }
        }
        if !log.is_in_order() {
            return Err(RdbError::Corrupt("a stream with entries out of order"));
        }
        if self.length()? != log.len() {
            return Err(RdbError::Corrupt("a stream with a wrong number of entries"));
        }
        log.last_id = self.id()?;
        if kind == kind::STREAM {
            log.entries_added = log.len();
            log.end_deletion();
        } else {
            log.first_id = self.id()?;
            log.max_deleted_id = self.id()?;
            log.entries_added = self.length()?;
        }
        Ok(log)
    }

    /// What follows of a group behind its own numbers.
    fn group(&mut self, kind: u8, mut group: Group) -> Result<Group, RdbError> {
        let mut pending = BTreeMap::new();
        for _ in 0..self.length()? {
            let id = StreamId::from_bytes(self.array()?);
            let delivered_ms = i64::from_le_bytes(self.array()?);
            let deliveries = self.length()?;
            if pending.insert(id, (delivered_ms, deliveries)).is_some() {
                return Err(RdbError::Corrupt("a group with a pending entry twice"));
            }
        }
        for _ in 0..self.length()? {
            let name = self.string()?;
            let seen_ms = i64::from_le_bytes(self.array()?);
            if !group.create_consumer(&name, seen_ms) {
                return Err(RdbError::Corrupt("a group with a consumer twice"));
            }
            if kind == kind::STREAM_3 {
                // When it was last given something.
                self.array::<8>()?;
            }
            for _ in 0..self.length()? {
                let id = StreamId::from_bytes(self.array()?);
                let (delivered_ms, deliveries) = pending.remove(&id).ok_or(RdbError::Corrupt(
                    "a consumer with an entry not of its group",
                ))?;
                group.assign(id, &name, delivered_ms, deliveries);
            }
        }
        if !pending.is_empty() {
            return Err(RdbError::Corrupt("a pending entry without a consumer"));
        }
        Ok(group)
    }

    fn id(&mut self) -> Result<StreamId, RdbError> {
        Ok(StreamId::new(self.length()?, self.length()?))
    }
}

/// Writes a stream without its kind.
pub(super) fn write(encoder: &mut Encoder, out: &mut Vec<u8>, stream: &Stream) {
    let log = &stream.log;
    let nodes = log.nodes();
    Encoder::length(out, nodes.len() as u64);
    for (base, node) in nodes {
        encoder.string(out, &base.to_bytes());
        encoder.string(out, node.as_bytes());
    }
    Encoder::length(out, log.len());
    for id in [log.last_id, log.first_id, log.max_deleted_id] {
        write_id(out, id);
    }
    Encoder::length(out, log.entries_added);
    Encoder::length(out, stream.groups.len() as u64);
    for (name, group) in &stream.groups {
        encoder.string(out, name);
        write_id(out, group.last_id);
        Encoder::length(out, group.entries_read as u64);
        write_group(encoder, out, group);
    }
}

fn write_group(encoder: &mut Encoder, out: &mut Vec<u8>, group: &Group) {
    let pending = group.pending();
    Encoder::length(out, pending.len() as u64);
    for (
        id,
        Pending {
            delivered_ms,
            deliveries,
            ..
        },
    ) in pending
    {
        out.extend_from_slice(&id.to_bytes());
        out.extend_from_slice(&delivered_ms.to_le_bytes());
        Encoder::length(out, *deliveries);
    }
    let consumers = group.consumers();
    Encoder::length(out, consumers.len() as u64);
    for (name, consumer) in consumers {
        encoder.string(out, name);
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        Encoder::length(out, consumer.ids.len() as u64);
        for id in &consumer.ids {
            out.extend_from_slice(&id.to_bytes());
        }
    }
}

fn write_id(out: &mut Vec<u8>, id: StreamId) {
    Encoder::length(out, id.ms);
    Encoder::length(out, id.sequence);
}
