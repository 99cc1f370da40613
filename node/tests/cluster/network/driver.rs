//! Does for the engines of a network what a driver does for one: opens, closes and writes.

use std::io::IoSlice;

use slotway_node::{Node, Notice};
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Engine, Origin, Peer};
use slotway_protocol::output::Output;

use super::host::{Attached, End};
use super::tap::Reply;
use super::{Arrival, Network, host_name};

impl Network {
    /// Does all that a node wants, after each call.
    pub(super) fn settle(&mut self, index: usize) {
        loop {
            let Some(node) = &mut self.hosts[index].node else {
                return;
            };
            let Some(action) = node.poll_action() else {
                break;
            };
            self.act(index, action);
        }
        let host = &mut self.hosts[index];
        let timeout = host.node.as_ref().and_then(Node::poll_timeout);
        let timer = timeout.map(|timeout| host.clock.reaches(timeout));
        self.set_timer(index, timer);
    }

    fn act(&mut self, index: usize, action: Action<Notice>) {
        match action {
            Action::Connect { token, address } => {
                let number = address.host.strip_prefix("10.0.");
                let number = number.and_then(|number| number.split_once('.'));
                let to = number.and_then(|(high, low)| {
                    let (high, low): (usize, usize) = (high.parse().ok()?, low.parse().ok()?);
                    (high * 250 + low).checked_sub(1)
                });
                let connect = Arrival::Connect {
                    from: index,
                    boot: self.hosts[index].boot,
                    token,
                    to: to.filter(|to| *to < self.hosts.len()),
                    is_bus: address.port >= 10_000,
                };
                self.fly(self.latency, connect);
            }
            Action::Close { connection, when } => {
                if when == CloseWhen::Flushed {
                    self.write(index, connection);
                }
                self.close(index, connection);
            }
            Action::Wake(connection) => self.write(index, connection),
            Action::Pause(connection) => {
                if let Some(socket) = self.hosts[index].socket(connection) {
                    socket.is_paused = true;
                }
            }
            Action::Resume(connection) => {
                if let Some(socket) = self.hosts[index].socket(connection) {
                    socket.is_paused = false;
                    self.read(index, connection, &[]);
                }
            }
            Action::Notify(Notice::NodesConf(saved)) => {
                let host = &self.hosts[index];
                let saved = Arrival::Saved(index, host.boot, saved);
                self.fly(self.saving + host.disk_slow_by, saved);
            }
            Action::Notify(Notice::Shutdown) => self.kill(index),
            Action::Notify(_) => {}
        }
    }

    /// Tells a node that a connection is open.
    pub(super) fn open(&mut self, end: End, remote: &str, origin: Origin) {
        let now = self.now(end.host);
        let host = &mut self.hosts[end.host];
        host.next_port = host.next_port.checked_add(1).unwrap_or(40_000).max(40_000);
        let peer = Peer {
            remote: format!("{remote}:{}", host.next_port).parse().unwrap(),
            local: format!("{}:7000", host_name(end.host)).parse().unwrap(),
            origin,
        };
        if let Some(node) = &mut host.node {
            node.handle_open(end.id, peer, now);
        }
    }

    /// Hands bytes in, and writes what they lead to.
    pub(super) fn read(&mut self, index: usize, id: ConnectionId, bytes: &[u8]) {
        let now = self.now(index);
        let host = &mut self.hosts[index];
        let Some(socket) = host.socket(id) else {
            return;
        };
        socket.input.extend_from_slice(bytes);
        if socket.is_paused {
            return;
        }
        let mut input = std::mem::take(&mut socket.input);
        if let Some(node) = &mut host.node {
            node.handle_input(id, &mut input, now);
        }
        if let Some(socket) = host.socket(id) {
            socket.input = input;
        }
        self.write(index, id);
    }

    /// Closes a connection here; the other end hears of it later.
    fn close(&mut self, index: usize, id: ConnectionId) {
        let now = self.now(index);
        let host = &mut self.hosts[index];
        let Some(socket) = host.close(id) else {
            return;
        };
        if let Some(node) = &mut host.node {
            node.handle_close(id, now);
        }
        match socket.at {
            Attached::Peer(end) => {
                self.send(index, socket.sent_until, Arrival::Closed(end));
            }
            Attached::Asker(received) => {
                host.left.insert(id, received);
            }
            Attached::Writer if host.writer == Some(id) => {
                host.writer = None;
                host.written.clear();
            }
            _ => {}
        }
    }

    /// Takes all that waits to be written on a connection.
    pub(super) fn write(&mut self, index: usize, id: ConnectionId) {
        let now = self.now(index);
        let host = &mut self.hosts[index];
        if host.socket(id).is_none() {
            return;
        }
        let Some(node) = &mut host.node else {
            return;
        };
        let output = node.output(id);
        if output.is_empty() {
            return;
        }
        let bytes = take(output);
        node.handle_written(id, now);
        let Some(socket) = host.socket(id) else {
            return;
        };
        let (until, is_bus) = (socket.sent_until, socket.is_bus);
        match &mut socket.at {
            Attached::Asker(received) => received.extend(bytes),
            Attached::Writer => self.take_replies(index, &bytes),
            Attached::Peer(to) => {
                let to = *to;
                if is_bus {
                    self.tap.see(index, to.host, &bytes);
                }
                let from = End { host: index, id };
                let arrival = Arrival::Bytes { from, to, bytes };
                let until = self.send(index, until, arrival);
                if let Some(socket) = self.hosts[index].socket(id) {
                    socket.sent_until = until;
                }
            }
        }
    }

    fn take_replies(&mut self, index: usize, bytes: &[u8]) {
        let epoch = self.epoch(index);
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.is_empty()) {
            if let Some(key) = self.hosts[index].written.pop_front() {
                self.tap.replies.push(Reply {
                    node: index,
                    key,
                    epoch,
                    text: String::from_utf8_lossy(line).into_owned(),
                });
            }
        }
    }
}

fn take(output: &mut Output) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(output.len());
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = output.slices(&mut slices);
        let before = bytes.len();
        for slice in &slices[..used] {
            bytes.extend_from_slice(slice);
        }
        output.advance(bytes.len() - before);
    }
    bytes
}
