//! A node of a cluster for fuzz targets, on a clock of its own, with a client and links of the bus.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use slotway_node::{
    BUS_LISTENER, ClusterConfig, ClusterView, Config, Event, Node, NodeConfig, NodeInfo, Notice,
};
use slotway_protocol::engine::{
    Action, ConnectError, ConnectionId, Engine, Instant, Now, Origin, Peer,
};
use slotway_protocol::resp::encode;

/// Three primaries, of which this node is the first, and a replica of it.
pub const NODES_CONF: &str = concat!(
    "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0000 10.0.0.1:7000@17000 myself,master ",
    "- 0 1 1 connected 0-5460\n",
    "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0001 10.0.0.2:7000@17000 master ",
    "- 0 1 2 connected 5461-10922\n",
    "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0002 10.0.0.3:7000@17000 master ",
    "- 0 1 3 connected 10923-16383\n",
    "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0003 10.0.0.4:7000@17000 slave ",
    "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0000 0 1 1 connected\n",
    "vars currentEpoch 6 lastVoteEpoch 4\n",
);

/// The node. Nobody answers when it connects.
pub struct Bench {
    node: Node,
    ms: u64,
    /// The last version of the cluster file.
    pub saved: Option<String>,
}

impl Bench {
    /// `None` if the node does not take that cluster file.
    pub fn new(nodes_conf: Option<&str>) -> Option<Self> {
        let id = "f".repeat(40);
        let info = NodeInfo::primary(id.clone(), "", 7000);
        let config = NodeConfig {
            config: Config {
                port: 7000,
                cluster_enabled: true,
                ..Config::default()
            },
            cluster: Some(ClusterConfig {
                me: id,
                view: ClusterView::new(vec![info]),
            }),
            ..NodeConfig::default()
        };
        let mut bench = Self {
            node: Node::new(config, at(1)),
            ms: 1,
            saved: None,
        };
        bench.node.set_has_cluster_file();
        bench.node.start_bus(nodes_conf, at(1)).ok()?;
        bench.open(CLIENT, 0);
        bench.settle();
        Some(bench)
    }

    /// Lets milliseconds go by, in the steps that the node asks for, but no more than a hundred.
    pub fn pass(&mut self, ms: u64) {
        let end = self.ms + ms;
        for _ in 0..100 {
            let next = self
                .node
                .poll_timeout()
                .map(|time| time.as_micros() / 1_000 + 1);
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.ms = self.ms.max(next);
            self.node.handle_timeout(at(self.ms));
            self.settle();
        }
        self.ms = end;
    }

    /// What a client gets for a command.
    pub fn ask(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut request = Vec::new();
        encode::request(&mut request, words);
        let input = &mut BytesMut::from(&request[..]);
        self.node.handle_input(CLIENT, input, at(self.ms));
        self.settle();
        let output = self.node.output(CLIENT);
        let mut reply = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let used = output.slices(&mut slices);
            let before = reply.len();
            for slice in &slices[..used] {
                reply.extend_from_slice(slice);
            }
            output.advance(reply.len() - before);
        }
        self.node.handle_written(CLIENT, at(self.ms));
        self.settle();
        reply
    }

    /// Another node connects; numbers begin with 1.
    pub fn open_bus_link(&mut self, number: u32) {
        self.open(link(number), BUS_LISTENER);
        self.settle();
    }

    /// Bytes come on a link; what the node has closed is still the other end's to write to.
    pub fn bus_input(&mut self, number: u32, bytes: &[u8]) {
        let input = &mut BytesMut::from(bytes);
        self.node.handle_input(link(number), input, at(self.ms));
        self.settle();
    }

    fn open(&mut self, connection: ConnectionId, listener: u16) {
        let peer = |last| SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 40_000));
        let peer = Peer {
            remote: peer(2),
            local: peer(1),
            origin: Origin::Accepted(listener),
        };
        self.node.handle_open(connection, peer, at(self.ms));
    }

    fn settle(&mut self) {
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Connect { token, .. } => {
                    let error = ConnectError::Refused;
                    self.node.handle_connect_failed(token, error, at(self.ms));
                }
                Action::Notify(Notice::NodesConf(saved)) => {
                    self.saved = Some(saved.text);
                    let event = Event::NodesConfSaved(saved.number);
                    self.node.handle_event(event, at(self.ms));
                }
                _ => {}
            }
        }
    }
}

fn at(ms: u64) -> Now {
    Now {
        instant: Instant::from_micros(ms * 1_000),
        unix_ms: 1_700_000_000_000 + ms,
    }
}

fn link(number: u32) -> ConnectionId {
    ConnectionId {
        index: number,
        generation: 0,
    }
}

const CLIENT: ConnectionId = ConnectionId {
    index: 0,
    generation: 0,
};
