//! A node driven by hand, with clients and with connections that it has asked for.

use std::time::Duration;

use bytes::BytesMut;
use slotway_node::{Node, NodeConfig, Notice};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};

pub(crate) struct Bench {
    pub(crate) node: Node,
    now: Now,
    inputs: Vec<BytesMut>,
    pub(crate) actions: Vec<Action<Notice>>,
}

impl Bench {
    pub(crate) fn new(config: NodeConfig) -> Self {
        let now = Now {
            instant: Instant::from_micros(0),
            unix_ms: 1_700_000_000_000,
        };
        Self {
            node: Node::new(config, now),
            now,
            inputs: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// A client connects.
    pub(crate) fn client(&mut self) -> usize {
        self.open(Origin::Accepted(0))
    }

    /// What the node has asked for is open.
    pub(crate) fn connected(&mut self, token: ConnectToken) -> usize {
        self.open(Origin::Connected(token))
    }

    fn open(&mut self, origin: Origin) -> usize {
        let index = self.inputs.len();
        self.inputs.push(BytesMut::new());
        self.node
            .handle_open(id(index), peer(index, origin), self.now);
        self.settle();
        index
    }

    pub(crate) fn refuse(&mut self, token: ConnectToken) {
        let error = ConnectError::Refused;
        self.node.handle_connect_failed(token, error, self.now);
        self.settle();
    }

    pub(crate) fn lose(&mut self, index: usize) {
        self.node.handle_close(id(index), self.now);
        self.settle();
    }

    /// The peer sends no more.
    pub(crate) fn end(&mut self, index: usize) {
        self.node.handle_end(id(index), self.now);
        self.settle();
    }

    /// The same as [`Self::client`] and [`Self::send`], for many: nothing is checked.
    pub(crate) fn client_unchecked(&mut self) -> usize {
        let index = self.inputs.len();
        self.inputs.push(BytesMut::new());
        let peer = peer(index, Origin::Accepted(0));
        self.node.handle_open(id(index), peer, self.now);
        index
    }

    pub(crate) fn send_unchecked(&mut self, index: usize, bytes: &str) {
        let mut input = BytesMut::from(bytes);
        self.node.handle_input(id(index), &mut input, self.now);
    }

    /// The connection that the node has asked for since this was asked last.
    pub(crate) fn asked_for(&mut self) -> Option<(ConnectToken, Address)> {
        let actions = std::mem::take(&mut self.actions);
        actions.into_iter().find_map(|action| match action {
            Action::Connect { token, address } => Some((token, address)),
            _ => None,
        })
    }

    /// Whether the node has wished to close a connection since actions were looked at last.
    pub(crate) fn wished_to_close(&mut self, index: usize) -> Option<CloseWhen> {
        let actions = std::mem::take(&mut self.actions);
        actions.into_iter().find_map(|action| match action {
            Action::Close { connection, when } if connection == id(index) => Some(when),
            _ => None,
        })
    }

    pub(crate) fn send(&mut self, index: usize, bytes: &str) {
        self.inputs[index].extend_from_slice(bytes.as_bytes());
        let mut input = std::mem::take(&mut self.inputs[index]);
        self.node.handle_input(id(index), &mut input, self.now);
        self.inputs[index] = input;
        self.settle();
    }

    /// What waits for a connection.
    pub(crate) fn take(&mut self, index: usize) -> String {
        let mut bytes = Vec::new();
        loop {
            let output = self.node.output(id(index));
            let mut slices = [std::io::IoSlice::new(&[]); 16];
            let used = output.slices(&mut slices);
            let before = bytes.len();
            for slice in &slices[..used] {
                bytes.extend_from_slice(slice);
            }
            let count = bytes.len() - before;
            if count == 0 {
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            output.advance(count);
            self.node.handle_written(id(index), self.now);
            self.settle();
        }
    }

    /// Sends and expects that exactly this comes back.
    pub(crate) fn check(&mut self, index: usize, input: &str, expected: &str) {
        self.send(index, input);
        assert_eq!(self.take(index), expected, "{input:?}");
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while self.now.instant < end {
            let next = self.node.poll_timeout().unwrap_or(end).min(end);
            self.now.unix_ms += next.micros_since(self.now.instant) / 1_000;
            self.now.instant = next;
            self.node.handle_timeout(self.now);
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.actions
            .extend(std::iter::from_fn(|| self.node.poll_action()));
        self.node.check_invariants();
    }
}

fn peer(index: usize, origin: Origin) -> Peer {
    Peer {
        remote: format!("127.0.0.1:{}", 40_000 + index).parse().unwrap(),
        local: "127.0.0.1:7000".parse().unwrap(),
        origin,
    }
}

fn id(index: usize) -> ConnectionId {
    ConnectionId {
        index: index as u32,
        generation: 0,
    }
}
