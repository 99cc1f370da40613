//! What was done to a group, as requests that do the same elsewhere.

use crate::keyspace::Keyspace;
use crate::replication::propagation::{Propagation, propagate_expired};
use crate::value::stream::{Group, Pending, StreamId};

/// The group of a stream that a command is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupName<'a> {
    pub(super) key: &'a [u8],
    pub(super) group: &'a [u8],
}

/// Requests that a command has done the work of, if anybody wants to know.
#[derive(Debug)]
pub(super) struct Effects<'a> {
    name: GroupName<'a>,
    lines: Vec<Vec<Vec<u8>>>,
    is_heard: bool,
}

impl<'a> Effects<'a> {
    pub(super) fn new(name: GroupName<'a>, propagation: &Propagation) -> Self {
        Self {
            name,
            lines: Vec::new(),
            is_heard: propagation.is_heard(),
        }
    }

    /// A consumer has an entry now. Where the entry is gone this takes it from whoever has it.
    pub(super) fn claim(&mut self, id: StreamId, pending: &Pending, last_id: StreamId) {
        if !self.is_heard {
            return;
        }
        let texts = [id.to_string(), pending.delivered_ms.to_string()];
        let (deliveries, last_id) = (pending.deliveries.to_string(), last_id.to_string());
        self.add(&[
            b"XCLAIM",
            self.name.key,
            self.name.group,
            &pending.consumer,
            b"0",
            texts[0].as_bytes(),
            b"TIME",
            texts[1].as_bytes(),
            b"RETRYCOUNT",
            deliveries.as_bytes(),
            b"FORCE",
            b"JUSTID",
            b"LASTID",
            last_id.as_bytes(),
        ]);
    }

    /// A group has read on.
    pub(super) fn move_group(&mut self, group: &Group) {
        if !self.is_heard {
            return;
        }
        let (last_id, read) = (group.last_id.to_string(), group.entries_read.to_string());
        self.add(&[
            b"XGROUP",
            b"SETID",
            self.name.key,
            self.name.group,
            last_id.as_bytes(),
            b"ENTRIESREAD",
            read.as_bytes(),
        ]);
    }

    /// There is a new consumer, which has nothing yet.
    pub(super) fn create_consumer(&mut self, consumer: &[u8]) {
        if self.is_heard {
            let (key, group) = (self.name.key, self.name.group);
            self.add(&[b"XGROUP", b"CREATECONSUMER", key, group, consumer]);
        }
    }

    fn add(&mut self, args: &[&[u8]]) {
        self.lines
            .push(args.iter().map(|arg| arg.to_vec()).collect());
    }

    /// Says all of it, in the place of the request as it came.
    pub(super) fn say(self, keyspace: &mut Keyspace, propagation: &mut Propagation) {
        if !self.is_heard {
            return;
        }
        keyspace.finish();
        propagate_expired(keyspace, propagation);
        for line in &self.lines {
            propagation.say(keyspace.database(), line);
        }
        propagation.have_said();
    }
}
