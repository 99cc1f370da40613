//! What this node tells the others of itself: the header of its messages, pings and what they
//! carry, and messages to all.

use slotway_protocol::cluster::{Role, SLOTS};
use slotway_protocol::engine::{Instant, Now};

use super::bus::{Body, Flags, Gossip, GossipEntry, Header, Heartbeat, Packet};
use super::links::LinkId;
use super::{Cluster, ClusterState, NodeInfo};

impl Cluster {
    pub(super) fn header(&self) -> Header {
        let mine = self.my_info();
        let primary = self.my_primary_index().unwrap_or(self.my_index);
        Header {
            port: mine.address.port,
            bus_port: mine.bus_port,
            current_epoch: self.view.current_epoch,
            config_epoch: self.view.nodes()[primary].epoch,
            offset: self.standing.offset,
            sender: self.me.clone(),
            slots: self.view.slots_of(primary).clone(),
            primary: mine.primary.clone(),
            host: self.settings.announce_host.clone(),
            flags: flags(mine, true),
            is_down: self.state == ClusterState::Fail,
            is_paused: mine.role == Role::Primary && self.manual.is_running(),
            forces_vote: false,
        }
    }

    pub(super) fn packet(&self, body: Body) -> Packet {
        Packet {
            header: self.header(),
            body,
        }
    }

    /// Sends a ping, a pong or that a node is a member now, with news of others.
    pub(super) fn send_heartbeat(&mut self, link: LinkId, heartbeat: Heartbeat, now: Now) {
        let receiver = self.node_of_link(link);
        if let Some(index) = receiver
            && heartbeat == Heartbeat::Ping
        {
            self.view.nodes_mut()[index].contact.ping_sent = Some(now.instant);
        }
        let gossip = self.gossip(receiver, now);
        let packet = self.packet(Body::Heartbeat(heartbeat, gossip));
        self.send(link, &packet);
    }

    /// Tells all that can be reached how things are here, without waiting for the next ping.
    pub(super) fn broadcast_pong(&mut self, now: Now, wanted: impl Fn(&NodeInfo) -> bool) {
        let gossip = self.gossip(None, now);
        let packet = self.packet(Body::Heartbeat(Heartbeat::Pong, gossip));
        self.broadcast(&packet, wanted);
    }

    /// Tells all others how things are here.
    pub(crate) fn announce(&mut self, now: Now) {
        if self.has_bus {
            self.broadcast_pong(now, |_| true);
        }
    }

    /// Some nodes by chance, and all that seem to be down.
    fn gossip(&mut self, receiver: Option<usize>, now: Now) -> Gossip {
        let count = self.view.nodes().len();
        let others = count.saturating_sub(2);
        let wanted = (count / 10).max(GOSSIP_MIN).min(others);
        let mut chosen: Vec<usize> = Vec::new();
        let mut attempts = wanted * 3;
        while chosen.len() < wanted && attempts > 0 {
            attempts -= 1;
            let index = self.random.below(count);
            let node = &self.view.nodes()[index];
            let is_known = !node.handshake
                && !node.no_address
                && (node.contact.link.is_some() || self.view.slot_count(index) > 0);
            let fits = index != self.my_index
                && Some(index) != receiver
                && !node.suspected
                && is_known
                && !chosen.contains(&index);
            if fits {
                chosen.push(index);
            }
        }
        let suspected = self.view.nodes().iter().enumerate();
        chosen.extend(
            suspected
                .filter(|(_, node)| node.suspected && !node.handshake && !node.no_address)
                .map(|(index, _)| index),
        );
        chosen.truncate(usize::from(u16::MAX));
        let nodes = self.view.nodes();
        Gossip {
            entries: chosen
                .iter()
                .map(|index| entry(&nodes[*index], now))
                .collect(),
            hostname: self.settings.announce_hostname.clone(),
        }
    }

    /// Tells a node who owns slots that it, or whoever it follows, holds to be its own.
    pub(super) fn send_update(&mut self, link: LinkId, owner: usize) {
        let node = &self.view.nodes()[owner];
        let body = Body::Update {
            epoch: node.epoch,
            id: node.id.clone(),
            slots: self.view.slots_of(owner).clone(),
        };
        let packet = self.packet(body);
        self.send(link, &packet);
    }

    /// Sends what a client has published to all nodes, or to those of this shard.
    pub(crate) fn broadcast_published(&mut self, channel: &[u8], message: &[u8], sharded: bool) {
        if !self.has_bus {
            return;
        }
        let packet = self.packet(Body::Publish {
            channel: channel.to_vec(),
            message: message.to_vec(),
            sharded,
        });
        let mine = self.my_primary_index().unwrap_or(self.my_index);
        let primary = self.view.nodes()[mine].id.clone();
        self.broadcast(&packet, |node| {
            !sharded || node.id == primary || node.primary.as_ref() == Some(&primary)
        });
    }
}

/// A node's flags as they are on the wire.
pub(super) fn flags(node: &NodeInfo, is_me: bool) -> Flags {
    let mut flags = Flags::default();
    for (flag, on) in [
        (Flags::MYSELF, is_me),
        (Flags::PRIMARY, node.role == Role::Primary),
        (Flags::REPLICA, node.role == Role::Replica),
        (Flags::SUSPECTED, node.suspected),
        (Flags::FAILED, node.failed),
        (Flags::HANDSHAKE, node.handshake),
        (Flags::NO_ADDRESS, node.no_address),
        (Flags::MEET, node.meet),
        (Flags::MIGRATE_TO, node.migrate_to),
        (Flags::NO_FAILOVER, node.no_failover),
    ] {
        flags.set(flag, on);
    }
    flags
}

fn entry(node: &NodeInfo, now: Now) -> GossipEntry {
    GossipEntry {
        id: node.id.clone(),
        ping_sent: unix_seconds(node.contact.ping_sent, now),
        pong_received: unix_seconds(node.contact.pong_received, now),
        host: node.address.host.to_string(),
        port: node.address.port,
        bus_port: node.bus_port,
        flags: flags(node, false),
    }
}

fn unix_seconds(time: Option<Instant>, now: Now) -> u32 {
    u32::try_from(unix_ms(time, now) / 1000).unwrap_or(u32::MAX)
}

/// A time as the wall clock had it, in milliseconds; 0 for never.
pub(crate) fn unix_ms(time: Option<Instant>, now: Now) -> u64 {
    time.map_or(0, |time| {
        let age_ms = now.instant.micros_since(time) / 1000;
        now.unix_ms.saturating_sub(age_ms)
    })
}

/// How many others a ping tells of at least.
const GOSSIP_MIN: usize = 3;

const _: () = assert!(SLOTS == 16_384, "the slots of a message are as many");
