//! One host: a node's process, its connections and the cluster file as the disk has it.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use slotway_node::Node;
use slotway_protocol::engine::ConnectionId;

use super::Arrival;
use super::clock::Clock;

/// One end of a connection. What was sent to an earlier process, or to a connection that has been
/// closed, has another generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) host: usize,
    pub(super) id: ConnectionId,
}

#[derive(Default)]
pub(super) struct Host {
    pub(super) node: Option<Node>,
    /// How many processes have ended.
    pub(super) boot: u32,
    /// Without power it doesn't even refuse connections.
    pub(super) is_off: bool,
    pub(crate) clock: Clock,
    /// When the node wants to be called, in the simulator's time.
    pub(super) timer: Option<u64>,
    sockets: Vec<Option<Socket>>,
    free: Vec<u32>,
    last_generation: u32,
    pub(super) next_port: u16,
    pub(super) file: File,
    /// The process is stopped until then; what comes meanwhile.
    pub(super) stopped_until: u64,
    pub(super) backlog: VecDeque<Arrival>,
    /// A client that stays connected, and what it waits for.
    pub(super) writer: Option<ConnectionId>,
    pub(super) written: VecDeque<usize>,
    /// What clients had to read when the node closed their connections.
    pub(super) left: BTreeMap<ConnectionId, Vec<u8>>,
    /// By how much what it sends takes longer, and what it writes to disk, in microseconds.
    pub(super) slow_by: u64,
    pub(super) disk_slow_by: u64,
}

/// The cluster file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// As a process finds it that comes after another one.
    pub(super) written: Option<String>,
    /// As it is certain to be when the power has failed.
    pub(super) synced: Option<String>,
}

pub(super) struct Socket {
    pub(super) id: ConnectionId,
    pub(super) at: Attached,
    pub(super) is_bus: bool,
    pub(super) input: BytesMut,
    pub(super) is_paused: bool,
    /// When what was sent last arrives.
    pub(super) sent_until: u64,
}

/// What is at the other end.
pub(super) enum Attached {
    Peer(End),
    /// A client of the test that asks one question, and what it has got.
    Asker(Vec<u8>),
    Writer,
}

impl Host {
    pub(super) fn open(&mut self, at: Attached, is_bus: bool) -> ConnectionId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() as u32 - 1
        });
        self.last_generation += 1;
        let id = ConnectionId {
            index,
            generation: self.last_generation,
        };
        self.sockets[index as usize] = Some(Socket {
            id,
            at,
            is_bus,
            input: BytesMut::new(),
            is_paused: false,
            sent_until: 0,
        });
        id
    }

    pub(super) fn socket(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        let socket = self.sockets.get_mut(id.index as usize)?.as_mut()?;
        (socket.id == id).then_some(socket)
    }

    pub(super) fn close(&mut self, id: ConnectionId) -> Option<Socket> {
        self.socket(id)?;
        self.free.push(id.index);
        self.sockets[id.index as usize].take()
    }

    pub(super) fn close_all(&mut self) -> Vec<Socket> {
        self.free.clear();
        std::mem::take(&mut self.sockets)
            .into_iter()
            .flatten()
            .collect()
    }

    /// The ends of its connections with other hosts.
    pub(super) fn links(&self) -> Vec<(ConnectionId, End)> {
        let sockets = self.sockets.iter().flatten();
        sockets
            .filter_map(|socket| match socket.at {
                Attached::Peer(end) => Some((socket.id, end)),
                _ => None,
            })
            .collect()
    }
}
