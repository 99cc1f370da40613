//! Clients of the nodes: they are at the node's own host, so nothing takes any time.

use std::time::Duration;

use slotway_node::Event;
use slotway_protocol::engine::{ConnectionId, Engine, Origin};

use super::Network;
use super::host::{Attached, End};

impl Network {
    /// Sends a command to a node as a client, and returns the reply. One that comes late, as of
    /// what has to be written first, is waited for.
    pub(crate) fn ask(&mut self, index: usize, line: &str) -> String {
        let client = self.client(index);
        self.request(index, client, line);
        let (mut reply, mut is_open) = self.replies(index, client);
        let deadline = self.micros() + LATE_WITHIN;
        while reply.is_empty() && is_open && self.micros() < deadline {
            self.run(Duration::from_millis(1));
            (reply, is_open) = self.replies(index, client);
        }
        self.leave(index, client);
        reply
    }

    /// A client closes its connection, if it is still open.
    pub(crate) fn leave(&mut self, index: usize, client: ConnectionId) {
        let now = self.now(index);
        let host = &mut self.hosts[index];
        if host.socket(client).is_none() {
            return;
        }
        host.close(client);
        if let Some(node) = &mut host.node {
            node.handle_close(client, now);
        }
        self.settle(index);
    }

    /// The node is told something by its process.
    pub(crate) fn tell(&mut self, index: usize, event: Event) {
        let now = self.now(index);
        if let Some(node) = &mut self.hosts[index].node {
            node.handle_event(event, now);
        }
        self.settle(index);
    }

    /// A connection of a client.
    pub(crate) fn client(&mut self, index: usize) -> ConnectionId {
        let id = self.hosts[index].open(Attached::Asker(Vec::new()), false);
        let end = End { host: index, id };
        self.open(end, "127.0.0.1", Origin::Accepted(0));
        self.settle(index);
        id
    }

    /// Sends a command on it; whether the connection is still open.
    pub(crate) fn request(&mut self, index: usize, client: ConnectionId, line: &str) -> bool {
        let host = &mut self.hosts[index];
        if host.node.is_none() || host.socket(client).is_none() {
            return false;
        }
        self.read(index, client, format!("{line}\r\n").as_bytes());
        self.settle(index);
        true
    }

    /// What it has to read, and whether the connection is still open.
    pub(crate) fn replies(&mut self, index: usize, client: ConnectionId) -> (String, bool) {
        let host = &mut self.hosts[index];
        let (received, is_open) = match host.socket(client).map(|socket| &mut socket.at) {
            Some(Attached::Asker(received)) => (std::mem::take(received), true),
            _ => (host.left.remove(&client).unwrap_or_default(), false),
        };
        (String::from_utf8(received).unwrap(), is_open)
    }

    /// Has a client write to a key, unless it still waits for the last answer. That is told by the
    /// tap.
    pub(crate) fn write_key(&mut self, index: usize, number: usize, key: &str) {
        if self.hosts[index].node.is_none() || !self.hosts[index].written.is_empty() {
            return;
        }
        let id = match self.hosts[index].writer {
            Some(id) => id,
            None => {
                let id = self.hosts[index].open(Attached::Writer, false);
                self.hosts[index].writer = Some(id);
                let end = End { host: index, id };
                self.open(end, "127.0.0.1", Origin::Accepted(0));
                id
            }
        };
        self.hosts[index].written.push_back(number);
        let line = format!("SET {key} {}\r\n", self.micros);
        self.read(index, id, line.as_bytes());
        self.settle(index);
    }
}

/// How long a reply is waited for, in virtual microseconds.
const LATE_WITHIN: u64 = 10_000_000;
