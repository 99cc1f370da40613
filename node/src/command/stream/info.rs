//! XINFO: a stream, its groups and their consumers as they are.

use slotway_protocol::resp::{Protocol, encode};

use super::group::no_group;
use super::range::{reply_entries, reply_entry, reply_id};
use crate::command::{Call, CommandError, unknown_or_wrong_arguments};
use crate::value::stream::{Consumer, Group, Stream, StreamId, UNKNOWN_COUNT};

/// A reply that is being written: names and what belongs to them.
struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

pub(super) fn stream(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.request.arg(2);
    let stream = call.keyspace.stream_value(key)?;
    let stream = stream.ok_or(CommandError::NoSuchKey)?;
    let count = match call.request.len() {
        3 => None,
        4 | 6 if call.request.is_arg(3, b"FULL") => {
            if call.request.len() == 4 {
                Some(FULL_COUNT)
            } else if call.request.is_arg(4, b"COUNT") {
                let count = usize::try_from(call.integer_arg(5)?);
                Some(count.unwrap_or(FULL_COUNT))
            } else {
                return Err(unknown_or_wrong_arguments(call, "XINFO"));
            }
        }
        _ => return Err(unknown_or_wrong_arguments(call, "XINFO")),
    };
    let mut reply = Reply {
        out: call.out,
        protocol: call.protocol,
    };
    reply.stream(stream, count.is_some());
    match count {
        None => reply.ends(stream),
        // 0 is for all.
        Some(0) => reply.contents(stream, usize::MAX),
        Some(count) => reply.contents(stream, count),
    }
    Ok(())
}

pub(super) fn groups(call: &mut Call<'_>) -> Result<(), CommandError> {
    let stream = call.keyspace.stream_value(call.request.arg(2))?;
    let stream = stream.ok_or(CommandError::NoSuchKey)?;
    let mut reply = Reply {
        out: call.out,
        protocol: call.protocol,
    };
    encode::array(reply.out, stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(6);
        reply.text("name", name);
        reply.number("consumers", group.consumers().len() as i64);
        reply.number("pending", group.pending().len() as i64);
        reply.progress(stream, group);
    }
    Ok(())
}

pub(super) fn consumers(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, name) = (call.request.arg(2), call.request.arg(3));
    let stream = call.keyspace.stream_value(key)?;
    let stream = stream.ok_or(CommandError::NoSuchKey)?;
    let group = stream.groups.get(name).ok_or_else(|| no_group(key, name))?;
    let now_ms = call.keyspace.now_ms() as i64;
    let mut reply = Reply {
        out: call.out,
        protocol: call.protocol,
    };
    encode::array(reply.out, group.consumers().len());
    for (name, consumer) in group.consumers() {
        reply.map(3);
        reply.text("name", name);
        reply.number("pending", consumer.ids.len() as i64);
        reply.number("idle", now_ms.wrapping_sub(consumer.seen_ms).max(0));
    }
    Ok(())
}

impl Reply<'_> {
    fn map(&mut self, pairs: usize) {
        encode::map(self.out, self.protocol, pairs);
    }

    fn name(&mut self, name: &str) {
        encode::bulk(self.out, name.as_bytes());
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        self.name(name);
        encode::bulk(self.out, text);
    }

    fn number(&mut self, name: &str, number: i64) {
        self.name(name);
        encode::integer(self.out, number);
    }

    fn number_or_null(&mut self, name: &str, number: Option<i64>) {
        self.name(name);
        match number {
            Some(number) => encode::integer(self.out, number),
            None => encode::null(self.out, self.protocol),
        }
    }

    fn id(&mut self, name: &str, id: StreamId) {
        self.name(name);
        reply_id(self.out, id);
    }

    /// The numbers of a stream.
    fn stream(&mut self, stream: &Stream, is_full: bool) {
        let log = &stream.log;
        self.map(if is_full { 9 } else { 10 });
        self.number("length", log.len() as i64);
        self.number("radix-tree-keys", log.nodes().len() as i64);
        self.number("radix-tree-nodes", log.radix_nodes_len() as i64);
        self.id("last-generated-id", log.last_id);
        self.id("max-deleted-entry-id", log.max_deleted_id);
        self.number("entries-added", log.entries_added as i64);
        self.id("recorded-first-entry-id", log.first_id);
    }

    /// How many groups there are, and the first and the last entry.
    fn ends(&mut self, stream: &Stream) {
        self.number("groups", stream.groups.len() as i64);
        let (start, end) = (StreamId::MIN, StreamId::MAX);
        let ends = [
            ("first-entry", stream.log.range(start, end).next()),
            ("last-entry", stream.log.range_reversed(start, end).next()),
        ];
        for (name, entry) in ends {
            self.name(name);
            match entry {
                Some(entry) => reply_entry(self.out, &entry),
                None => encode::null(self.out, self.protocol),
            }
        }
    }

    /// Entries, groups and consumers, and up to `count` of what each has.
    fn contents(&mut self, stream: &Stream, count: usize) {
        self.name("entries");
        let entries = stream.log.range(StreamId::MIN, StreamId::MAX);
        reply_entries(self.out, entries.take(count));
        self.name("groups");
        encode::array(self.out, stream.groups.len());
        for (name, group) in &stream.groups {
            self.map(7);
            self.text("name", name);
            self.progress(stream, group);
            self.pending(group, count);
            self.name("consumers");
            encode::array(self.out, group.consumers().len());
            for (name, consumer) in group.consumers() {
                self.map(4);
                self.text("name", name);
                self.number("seen-time", consumer.seen_ms);
                self.pending_of(group, consumer, count);
            }
        }
    }

    /// How far a group has read.
    fn progress(&mut self, stream: &Stream, group: &Group) {
        self.id("last-delivered-id", group.last_id);
        let read = Some(group.entries_read).filter(|read| *read != UNKNOWN_COUNT);
        self.number_or_null("entries-read", read);
        self.number_or_null("lag", stream.lag(group));
    }

    fn pending(&mut self, group: &Group, count: usize) {
        let len = group.pending().len();
        self.number("pel-count", len as i64);
        self.name("pending");
        encode::array(self.out, len.min(count));
        for (id, pending) in group.pending().take(count) {
            encode::array(self.out, 4);
            reply_id(self.out, id);
            encode::bulk(self.out, &pending.consumer);
            encode::integer(self.out, pending.delivered_ms);
            encode::integer(self.out, pending.deliveries as i64);
        }
    }

    fn pending_of(&mut self, group: &Group, consumer: &Consumer, count: usize) {
        let len = consumer.ids.len();
        self.number("pel-count", len as i64);
        self.name("pending");
        encode::array(self.out, len.min(count));
        for id in consumer.ids.iter().take(count) {
            let pending = group.pending_entry(*id);
            encode::array(self.out, 3);
            reply_id(self.out, *id);
            encode::integer(self.out, pending.map_or(0, |pending| pending.delivered_ms));
            encode::integer(
                self.out,
                pending.map_or(0, |pending| pending.deliveries as i64),
            );
        }
    }
}

/// How much XINFO STREAM FULL shows if it is not told.
const FULL_COUNT: usize = 10;
