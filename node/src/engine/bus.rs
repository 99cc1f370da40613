//! The connections of the cluster bus: bytes become messages and back, and what the node's part in
//! its cluster wants done is done.

use std::collections::HashMap;

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Now, Origin, Peer,
};

use super::roles::Role;
use super::{Channel, Node, Notice};
use crate::cluster::bus::{Packet, frame_len};
use crate::cluster::{Cluster, Effect, LinkId, NodesConfError, Settings, Standing};
use crate::replication::LinkState;

/// What comes in on listeners with this number, and higher ones, is from other nodes.
pub const BUS_LISTENER: u16 = 1000;

/// Which connection is which link.
#[derive(Debug, Default)]
pub(super) struct BusConnections {
    connections: HashMap<LinkId, ConnectionId>,
    links: HashMap<ConnectionId, LinkId>,
    opening: HashMap<ConnectToken, Opening>,
    /// It was looked at whether keys are here of slots that are not this node's.
    has_checked_keys: bool,
}

/// What a connection is opened for.
#[derive(Debug)]
enum Opening {
    Link(LinkId),
    /// To see whether anybody listens there.
    Probe(Address),
}

/// The role of what a listener has accepted.
pub(super) fn accepted_role(listener: u16) -> Role {
    if listener >= BUS_LISTENER {
        Role::BusLink
    } else {
        Role::Client
    }
}

impl Node {
    /// Lets the node talk to the others of its cluster, as the cluster file says that it has, if
    /// there is one. The driver accepts their connections with numbers from [`BUS_LISTENER`] on.
    pub fn start_bus(&mut self, nodes_conf: Option<&str>, now: Now) -> Result<(), NodesConfError> {
        let settings = Settings::of(&self.state.server.config);
        let Some(cluster) = &mut self.state.server.cluster else {
            return Ok(());
        };
        cluster.set_settings(settings);
        if let Some(text) = nodes_conf {
            cluster.load_nodes_conf(text, now)?;
        }
        cluster.start_bus(now);
        self.state.server.pubsub.has_bus = true;
        self.serve_cluster(now);
        Ok(())
    }

    /// Says that the driver writes the cluster file, as [`Notice::NodesConf`] has it.
    pub fn set_has_cluster_file(&mut self) {
        if let Some(cluster) = &mut self.state.server.cluster {
            cluster.set_has_file();
        }
    }

    /// A version of the cluster file is written.
    pub(super) fn note_saved(&mut self, number: u64, now: Now) {
        let Some(cluster) = &mut self.state.server.cluster else {
            return;
        };
        cluster.saved(number);
        for client in cluster.take_answered() {
            let session = self.state.sessions.find(client);
            let kept = session.and_then(|session| session.kept.take());
            self.answer_later(client, true, &kept.unwrap_or_default(), now);
        }
    }

    /// A connection from or to another node is open.
    pub(super) fn open_bus_link(&mut self, connection: ConnectionId, peer: Peer, now: Now) {
        self.note_standing();
        let Some(cluster) = &mut self.state.server.cluster else {
            return self.close_unasked(connection);
        };
        let link = match peer.origin {
            Origin::Accepted(_) => {
                let hosts = [peer.remote, peer.local].map(|address| {
                    let ip = address.ip().to_canonical();
                    ip.to_string()
                });
                let [remote, local] = hosts;
                let has_bus = cluster.has_bus();
                cluster.accept_link(remote, local, now).filter(|_| has_bus)
            }
            Origin::Connected(token) => match self.bus.opening.remove(&token) {
                Some(Opening::Link(link)) => Some(link).filter(|link| cluster.is_link(*link)),
                Some(Opening::Probe(address)) => {
                    cluster.probed(&address, false, now);
                    None
                }
                None => None,
            },
        };
        let Some(link) = link else {
            return self.close_unasked(connection);
        };
        self.bus.connections.insert(link, connection);
        self.bus.links.insert(connection, link);
        if let Origin::Connected(_) = peer.origin
            && let Some(cluster) = &mut self.state.server.cluster
        {
            cluster.link_connected(link, now);
        }
        self.end_turn(now);
    }

    fn close_unasked(&mut self, connection: ConnectionId) {
        let when = CloseWhen::Now;
        self.actions.push_back(Action::Close { connection, when });
    }

    /// A connection to another node could not be opened.
    pub(super) fn fail_bus_link(&mut self, token: ConnectToken, error: &ConnectError, now: Now) {
        let opening = self.bus.opening.remove(&token);
        let Some(cluster) = &mut self.state.server.cluster else {
            return;
        };
        match opening {
            Some(Opening::Link(link)) => cluster.link_failed(link, error, now),
            Some(Opening::Probe(address)) => {
                cluster.probed(&address, *error == ConnectError::Refused, now);
            }
            None => {}
        }
        self.end_turn(now);
    }

    /// Bytes of another node have come.
    pub(super) fn take_bus_input(
        &mut self,
        connection: ConnectionId,
        input: &mut BytesMut,
        now: Now,
    ) {
        self.note_standing();
        while let Some(link) = self.bus.links.get(&connection).copied() {
            let Some(cluster) = &mut self.state.server.cluster else {
                break;
            };
            let published_max = cluster.settings().published_max;
            let len = match frame_len(input, published_max) {
                Ok(Some(len)) if len <= input.len() => len,
                Ok(_) => return self.end_turn(now),
                Err(error) => {
                    tracing::debug!(%error, "a bus link is closed for what came on it");
                    cluster.link_lost(link, now);
                    self.forget_connection(connection);
                    self.close_unasked(connection);
                    break;
                }
            };
            match Packet::decode(&input[..len]) {
                Ok(packet) => cluster.receive(link, packet, now),
                Err(error) => tracing::debug!(%error, "a message of the bus is ignored"),
            }
            input.advance(len);
            // A message may ask for the end of its own link.
            self.run_effects(now);
        }
        input.clear();
        self.end_turn(now);
    }

    /// A connection from or to another node is gone.
    pub(super) fn lose_bus_link(&mut self, connection: ConnectionId, now: Now) {
        if let Some(link) = self.forget_connection(connection)
            && let Some(cluster) = &mut self.state.server.cluster
        {
            cluster.link_lost(link, now);
        }
        self.channels[connection.index as usize] = Channel::default();
        self.end_turn(now);
    }

    fn forget_connection(&mut self, connection: ConnectionId) -> Option<LinkId> {
        let link = self.bus.links.remove(&connection)?;
        self.bus.connections.remove(&link);
        Some(link)
    }

    /// What is due every 100 milliseconds.
    pub(super) fn tick_cluster(&mut self, now: Now) {
        self.note_standing();
        self.apply_cluster_settings();
        let Some(cluster) = &mut self.state.server.cluster else {
            return;
        };
        if !cluster.has_bus() || self.state.server.loading.is_some() {
            return;
        }
        if !self.bus.has_checked_keys {
            self.bus.has_checked_keys = true;
            let keyspace = &self.state.keyspace;
            let slots = Slot::all().filter(|slot| keyspace.slot_len(*slot) > 0);
            cluster.claim_slots_with_keys(&slots.collect::<Vec<_>>());
        }
        self.measure_links();
        if let Some(cluster) = &mut self.state.server.cluster {
            cluster.tick(now);
        }
    }

    /// Has the settings count, for what this node says of itself and does.
    pub(super) fn apply_cluster_settings(&mut self) {
        let server = &mut self.state.server;
        if let Some(cluster) = &mut server.cluster
            && cluster.has_bus()
        {
            cluster.set_settings(Settings::of(&server.config));
        }
    }

    /// Closes links on which too much waits.
    fn measure_links(&mut self) {
        let Some(cluster) = &mut self.state.server.cluster else {
            return;
        };
        let limit = match cluster.settings().link_output_max {
            0 => LINK_OUTPUT_MAX,
            limit => usize::try_from(limit).unwrap_or(LINK_OUTPUT_MAX),
        };
        for (link, connection) in &self.bus.connections {
            let waiting = self.channels[connection.index as usize].output.len();
            cluster.note_waiting(*link, waiting, limit);
        }
    }

    /// Does what was put off to the end of the turn, and what is to be done outside.
    #[inline]
    pub(super) fn serve_cluster(&mut self, now: Now) {
        let Some(cluster) = &self.state.server.cluster else {
            return;
        };
        let was_reset = self.state.server.replication.take_link_reset();
        let publishes = !self.state.server.pubsub.outgoing.is_empty();
        if was_reset || publishes || !cluster.is_settled() {
            self.settle_cluster(was_reset, now);
        }
    }

    #[cold]
    fn settle_cluster(&mut self, was_reset: bool, now: Now) {
        self.note_standing();
        if let Some(cluster) = &mut self.state.server.cluster {
            if was_reset {
                cluster.primary_has_reset_link(now);
            }
            for published in std::mem::take(&mut self.state.server.pubsub.outgoing) {
                let (channel, message) = (&published.channel, &published.message);
                cluster.broadcast_published(channel, message, published.sharded);
            }
            cluster.settle(now);
        }
        self.run_effects(now);
    }

    pub(super) fn note_standing(&mut self) {
        let replication = &self.state.server.replication;
        let standing = Standing {
            offset: replication.told_offset(),
            follows: replication.primary().is_some(),
            is_up: replication.link() == LinkState::Up,
            last_io: replication.last_io(),
            is_loading: self.state.server.loading.is_some(),
        };
        if let Some(cluster) = &mut self.state.server.cluster {
            cluster.set_standing(standing);
        }
    }

    fn run_effects(&mut self, now: Now) {
        while let Some(effect) = self
            .state
            .server
            .cluster
            .as_mut()
            .and_then(Cluster::poll_effect)
        {
            self.run_effect(effect, now);
        }
    }

    fn run_effect(&mut self, effect: Effect, now: Now) {
        match effect {
            Effect::Connect(link, address) => self.dial(Opening::Link(link), address),
            Effect::Probe(address) => self.dial(Opening::Probe(address.clone()), address),
            Effect::Send(link, bytes) => {
                if let Some(connection) = self.bus.connections.get(&link).copied() {
                    let channel = &mut self.channels[connection.index as usize];
                    channel.output.push_shared(bytes);
                    self.wake(connection);
                }
            }
            Effect::Close(link) => {
                if let Some(connection) = self.bus.connections.get(&link).copied() {
                    self.forget_connection(connection);
                    self.close_unasked(connection);
                }
            }
            Effect::Save(saved) => {
                let notice = Notice::NodesConf(saved);
                self.actions.push_back(Action::Notify(notice));
            }
            Effect::Follow(primary) => self.state.server.replication.follow(primary, now),
            Effect::DropSlots(slots) => self.drop_slots(&slots),
            Effect::Flush => self.state.keyspace.clear(),
            Effect::PauseWrites(until) => self.state.server.replication.pause_writes(until),
            Effect::Published {
                channel,
                message,
                sharded,
            } => self.deliver_published(&channel, &message, sharded, now),
        }
    }

    fn dial(&mut self, opening: Opening, address: Address) {
        let token = self.roles.connect(Role::BusLink);
        self.bus.opening.insert(token, opening);
        self.actions.push_back(Action::Connect { token, address });
    }

    /// Removes the keys of slots that another node has taken, here and at the replicas.
    fn drop_slots(&mut self, slots: &[Slot]) {
        for slot in slots {
            for key in self.state.keyspace.export_slot(*slot) {
                let propagation = &mut self.state.server.propagation;
                if propagation.is_heard() {
                    propagation.add(0, &[&b"DEL"[..], key.key()]);
                    self.state.finish_unit();
                }
            }
        }
        self.state.keyspace.finish();
        self.state.mark_disturbed();
        self.leave_lost_slots();
    }
}

/// How many bytes may wait on a link when the settings name no bound.
const LINK_OUTPUT_MAX: usize = 64 * 1024 * 1024;
