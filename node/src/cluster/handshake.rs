//! How nodes become acquainted: CLUSTER MEET, who is at the other end of a link, and where it is.

use core::net::IpAddr;
use std::time::Duration;

use slotway_protocol::cluster::Role;
use slotway_protocol::engine::{Address, Now};

use super::bus::{Flags, Header, Heartbeat};
use super::effects::Effect;
use super::links::LinkId;
use super::{Cluster, NodeInfo};
use crate::server_state::hexadecimal_id;

/// Why a node can't be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MeetError {
    /// The host is no IP address, or a port is 0.
    Address,
    NoBus,
}

impl Cluster {
    /// CLUSTER MEET: begins to make the acquaintance of whoever is there. That may fail later, and
    /// nobody is told.
    pub(crate) fn meet(
        &mut self,
        host: &str,
        port: u16,
        bus_port: u16,
        now: Now,
    ) -> Result<(), MeetError> {
        if !self.has_bus {
            return Err(MeetError::NoBus);
        }
        let ip: IpAddr = host.parse().map_err(|_| MeetError::Address)?;
        if port == 0 || bus_port == 0 {
            return Err(MeetError::Address);
        }
        let host = ip.to_string();
        let is_under_way = self.view.nodes().iter().any(|node| {
            node.handshake
                && &*node.address.host == host.as_str()
                && node.address.port == port
                && node.bus_port == bus_port
        });
        if !is_under_way {
            self.add_stranger(&host, port, bus_port, true, now);
        }
        Ok(())
    }

    /// Adds a node of which only the address is known.
    fn add_stranger(&mut self, host: &str, port: u16, bus_port: u16, meet: bool, now: Now) {
        let id = hexadecimal_id(&mut self.random);
        let mut node = NodeInfo::primary(id, host, port);
        node.bus_port = bus_port;
        node.handshake = true;
        node.meet = meet;
        node.contact.created = now.instant;
        if let Some(index) = self.view.add(node) {
            self.connect(index, now);
        }
    }

    /// Adds a node that has introduced itself.
    pub(super) fn welcome(&mut self, link: LinkId, header: &Header, now: Now) {
        let Some(host) = self.host_of(link, header) else {
            return;
        };
        let is_under_way = self.view.nodes().iter().any(|node| {
            node.handshake && *node.address.host == host && node.bus_port == header.bus_port
        });
        if !is_under_way && header.bus_port != 0 {
            self.add_stranger(&host, header.port, header.bus_port, false, now);
        }
    }

    /// The host that a node announces, or that it has connected from.
    fn host_of(&self, link: LinkId, header: &Header) -> Option<String> {
        if !header.host.is_empty() {
            return Some(header.host.clone());
        }
        let host = &self.links.get(link)?.remote_host;
        (!host.is_empty()).then(|| host.clone())
    }

    /// Takes as this node's own host what others have connected to.
    pub(super) fn learn_my_host(&mut self, link: LinkId, heartbeat: Heartbeat) {
        let unknown = self.my_info().address.host.is_empty();
        if !self.settings.announce_host.is_empty() || !(unknown || heartbeat == Heartbeat::Meet) {
            return;
        }
        let Some(link) = self.links.get(link) else {
            return;
        };
        let host = link.local_host.clone();
        if !host.is_empty() && *self.my_info().address.host != host {
            self.my_info_mut().address.host = host.into();
            self.changed();
        }
    }

    /// Notes who has opened a link.
    pub(super) fn note_inbound(&mut self, link: LinkId, header: &Header) {
        let Some(index) = self.view.index_of(&header.sender) else {
            return;
        };
        if let Some(known) = self.links.get_mut(link).filter(|link| link.is_inbound) {
            known.node = Some(header.sender.clone());
            let before = self.view.nodes_mut()[index].contact.inbound.replace(link);
            // A node has one link to this one; an older one is what is left of an earlier process.
            if let Some(before) = before.filter(|before| *before != link) {
                self.close_link(before);
            }
        }
    }

    /// Whether the node at the other end of a link that this node has opened is the one it was
    /// opened to; true as well of a link that came in. Else the link is closed.
    pub(super) fn check_identity(&mut self, link: LinkId, header: &Header, now: Now) -> bool {
        let Some(index) = self.node_of_link(link) else {
            return self.is_link(link);
        };
        let node = &self.view.nodes()[index];
        if node.handshake {
            return self.end_handshake(link, index, header, now);
        }
        if node.id == header.sender {
            return true;
        }
        // Another node has its address now.
        let node = &mut self.view.nodes_mut()[index];
        node.no_address = true;
        node.address = Address::new("", 0);
        node.bus_port = 0;
        self.close_link(link);
        self.changed();
        false
    }

    /// Learns who a stranger is.
    fn end_handshake(&mut self, link: LinkId, index: usize, header: &Header, now: Now) -> bool {
        let stranger = self.view.nodes()[index].id.clone();
        if self.view.index_of(&header.sender).is_some() {
            self.update_address(link, header, now);
            self.remove_node(&stranger);
            return false;
        }
        self.view.rename(index, header.sender.clone());
        if let Some(link) = self.links.get_mut(link) {
            link.node = Some(header.sender.clone());
        }
        let node = &mut self.view.nodes_mut()[index];
        node.handshake = false;
        node.role = if header.flags.contains(Flags::REPLICA) {
            Role::Replica
        } else {
            Role::Primary
        };
        node.contact.data_received = Some(now.instant);
        node.contact.offset = header.offset;
        if header.primary.is_none() {
            node.epoch = header.config_epoch;
        }
        self.view.current_epoch = self.view.current_epoch.max(header.current_epoch);
        self.changed();
        true
    }

    /// Takes over that a node has another address.
    pub(super) fn update_address(&mut self, link: LinkId, header: &Header, now: Now) {
        let Some(index) = self.view.index_of(&header.sender) else {
            return;
        };
        let node = &self.view.nodes()[index];
        if index == self.my_index || node.contact.link == Some(link) {
            return;
        }
        let Some(host) = self.host_of_peer(link, header) else {
            return;
        };
        let same = *node.address.host == host
            && node.address.port == header.port
            && node.bus_port == header.bus_port;
        if !same {
            self.set_address(index, Address::new(host, header.port), header.bus_port, now);
        }
    }

    /// The same as [`Cluster::host_of`], also on a link that this node has opened.
    fn host_of_peer(&self, link: LinkId, header: &Header) -> Option<String> {
        let opened = self.node_of_link(link);
        match opened {
            Some(index) if header.host.is_empty() => {
                Some(self.view.nodes()[index].address.host.to_string())
            }
            _ => self.host_of(link, header),
        }
    }

    /// Gives a node another address, and connects to it there.
    pub(super) fn set_address(&mut self, index: usize, address: Address, bus_port: u16, now: Now) {
        let node = &mut self.view.nodes_mut()[index];
        node.address = address.clone();
        node.bus_port = bus_port;
        node.no_address = false;
        if let Some(link) = node.contact.link {
            self.close_link(link);
        }
        let is_followed = self.my_info().primary.as_ref() == Some(&self.view.nodes()[index].id);
        if is_followed {
            self.effects.push_back(Effect::Follow(Some(address)));
        }
        if self.may_connect(index) {
            self.connect(index, now);
        }
        self.changed();
    }

    /// Gives up strangers that have not said in time who they are.
    pub(super) fn end_old_handshakes(&mut self, now: Now) {
        let timeout = self.settings.node_timeout.max(HANDSHAKE_MIN);
        let old =
            |node: &&NodeInfo| node.handshake && now.instant.since(node.contact.created) > timeout;
        let nodes = self.view.nodes().iter();
        let ids: Vec<String> = nodes.filter(old).map(|node| node.id.clone()).collect();
        for id in ids {
            self.remove_node(&id);
        }
    }
}

const HANDSHAKE_MIN: Duration = Duration::from_secs(1);
