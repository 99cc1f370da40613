//! The connections of a node's bus. There are two between each pair of nodes: each sends its pings
//! on the one that it has opened, and gets their pongs there.

use std::collections::BTreeMap;
use std::time::Duration;

use slotway_protocol::engine::{Address, ConnectError, Instant, Now};

use super::bus::{Heartbeat, Packet};
use super::effects::Effect;
use super::{Cluster, NodeInfo};

/// A connection of the bus, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u32);

/// A connection of the bus.
#[derive(Debug)]
pub(crate) struct Link {
    /// The id of the node at the other end. It is not known at once of one that came in.
    pub(crate) node: Option<String>,
    pub(crate) is_inbound: bool,
    pub(crate) created: Instant,
    pub(crate) created_unix_ms: u64,
    /// The other end's address, of one that came in.
    pub(crate) remote_host: String,
    /// Our own end's.
    pub(crate) local_host: String,
    /// How many bytes wait to be written, as the driver's side has last said.
    pub(crate) waiting: usize,
}

/// All connections of the bus; as many as there are nodes, and those that come in.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<LinkId, Link>,
    last_id: u32,
    /// How often one was closed for too much that waited.
    pub(crate) limit_exceeded: u64,
}

impl Links {
    fn add(&mut self, link: Link) -> LinkId {
        self.last_id = self.last_id.wrapping_add(1);
        let id = LinkId(self.last_id);
        self.links.insert(id, link);
        id
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    fn inbound_count(&self) -> usize {
        self.links.values().filter(|link| link.is_inbound).count()
    }
}

impl Cluster {
    /// Begins to connect to a node of which there is an address.
    pub(super) fn connect(&mut self, index: usize, now: Now) {
        let node = &mut self.view.nodes_mut()[index];
        let link = self.links.add(Link {
            node: Some(node.id.clone()),
            is_inbound: false,
            created: now.instant,
            created_unix_ms: now.unix_ms,
            remote_host: String::new(),
            local_host: String::new(),
            waiting: 0,
        });
        node.contact.link = Some(link);
        node.contact.is_linked = false;
        let address = Address::new(node.address.host.clone(), node.bus_port);
        self.effects.push_back(Effect::Connect(link, address));
    }

    /// A node has connected. `None` when there are too many already.
    pub(crate) fn accept_link(
        &mut self,
        remote_host: String,
        local_host: String,
        now: Now,
    ) -> Option<LinkId> {
        // Nodes that are not known yet have to be let in, and so do those that come again before
        // their old connection is seen to be gone.
        let most = self.view.nodes().len() * 2 + INBOUND_SPARE;
        if self.links.inbound_count() >= most {
            return None;
        }
        Some(self.links.add(Link {
            node: None,
            is_inbound: true,
            created: now.instant,
            created_unix_ms: now.unix_ms,
            remote_host,
            local_host,
            waiting: 0,
        }))
    }

    /// A connection that was asked for is open. Whether it is still wanted.
    pub(crate) fn link_connected(&mut self, link: LinkId, now: Now) -> bool {
        let Some(index) = self.node_of_link(link) else {
            return self.links.links.contains_key(&link);
        };
        let contact = &mut self.view.nodes_mut()[index].contact;
        contact.is_linked = true;
        contact.refused_at = None;
        let waits_since = contact.ping_sent;
        let meets = std::mem::take(&mut self.view.nodes_mut()[index].meet);
        let heartbeat = if meets {
            Heartbeat::Meet
        } else {
            Heartbeat::Ping
        };
        self.send_heartbeat(link, heartbeat, now);
        if waits_since.is_some() {
            // The time without an answer goes on, whatever connection it is on.
            self.view.nodes_mut()[index].contact.ping_sent = waits_since;
        }
        true
    }

    /// A connection that was asked for did not come to be.
    pub(crate) fn link_failed(&mut self, link: LinkId, error: &ConnectError, now: Now) {
        if let Some(index) = self.node_of_link(link) {
            let contact = &mut self.view.nodes_mut()[index].contact;
            contact.ping_sent.get_or_insert(now.instant);
            if *error == ConnectError::Refused {
                contact.refused_at = Some(now.instant);
            }
        }
        self.forget_link(link);
    }

    /// A connection is gone, and not because this node wanted it.
    pub(crate) fn link_lost(&mut self, link: LinkId, now: Now) {
        if let Some(index) = self.node_of_link(link) {
            // Failure detection goes by unanswered pings, and there is nothing to wait for here.
            let contact = &mut self.view.nodes_mut()[index].contact;
            contact.ping_sent.get_or_insert(now.instant);
            let known = self.links.get(link);
            let lasted = known.is_some_and(|link| now.instant.since(link.created) >= RECONNECT);
            self.forget_link(link);
            // Who closes what it has just taken is asked again at the next tick only.
            if lasted && self.may_connect(index) {
                self.connect(index, now);
            }
            return;
        }
        self.forget_link(link);
    }

    /// Closes a connection.
    pub(super) fn close_link(&mut self, link: LinkId) {
        if self.links.links.contains_key(&link) {
            self.forget_link(link);
            self.effects.push_back(Effect::Close(link));
        }
    }

    /// Closes the connections with a node, by who has opened them.
    pub(crate) fn close_links(&mut self, id: &str, to: bool, from: bool) {
        let Some(node) = self.view.node(id) else {
            return;
        };
        let opened = node.contact.link.filter(|_| to);
        let inbound = node.contact.inbound.filter(|_| from);
        for link in opened.into_iter().chain(inbound) {
            self.close_link(link);
        }
    }

    /// Closes a connection on which more waits than may.
    pub(crate) fn note_waiting(&mut self, link: LinkId, waiting: usize, limit: usize) {
        if let Some(known) = self.links.get_mut(link) {
            known.waiting = waiting;
            if waiting > limit {
                self.links.limit_exceeded += 1;
                self.close_link(link);
            }
        }
    }

    fn forget_link(&mut self, link: LinkId) {
        self.links.links.remove(&link);
        for node in self.view.nodes_mut() {
            if node.contact.link == Some(link) {
                node.contact.link = None;
                node.contact.is_linked = false;
            }
            if node.contact.inbound == Some(link) {
                node.contact.inbound = None;
            }
        }
    }

    /// The node to which this node has opened the connection.
    pub(super) fn node_of_link(&self, link: LinkId) -> Option<usize> {
        let known = self.links.get(link).filter(|link| !link.is_inbound)?;
        let index = self.view.index_of(known.node.as_deref()?)?;
        (self.view.nodes()[index].contact.link == Some(link)).then_some(index)
    }

    pub(super) fn may_connect(&self, index: usize) -> bool {
        let node: &NodeInfo = &self.view.nodes()[index];
        index != self.my_index && !node.no_address && node.contact.link.is_none()
    }

    /// Sends a message on a connection that is open.
    pub(super) fn send(&mut self, link: LinkId, packet: &Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        self.stats.sent[usize::from(packet.body.kind().number())] += 1;
        self.send_or_hold(Effect::Send(link, bytes.into()));
    }

    /// Sends a message to all nodes of some kind that can be reached.
    pub(super) fn broadcast(&mut self, packet: &Packet, wanted: impl Fn(&NodeInfo) -> bool) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        let bytes = bytes::Bytes::from(bytes);
        for index in 0..self.view.nodes().len() {
            let node = &self.view.nodes()[index];
            let Some(link) = node.contact.link.filter(|_| node.contact.is_linked) else {
                continue;
            };
            if index != self.my_index && !node.handshake && wanted(node) {
                self.stats.sent[usize::from(packet.body.kind().number())] += 1;
                self.send_or_hold(Effect::Send(link, bytes.clone()));
            }
        }
    }
}

/// A link that has lasted so long is opened again at once.
const RECONNECT: Duration = Duration::from_secs(1);

/// How many connections may come in besides two from each node.
const INBOUND_SPARE: usize = 1_000;
