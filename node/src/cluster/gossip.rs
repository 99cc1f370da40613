//! What a node makes of what others say about third nodes.

use slotway_protocol::cluster::Role;
use slotway_protocol::engine::{Address, Now};

use super::bus::{Flags, Gossip, GossipEntry};
use super::{Cluster, NodeInfo};

impl Cluster {
    /// Takes what a member says of others, or who has just introduced itself.
    pub(super) fn take_gossip(&mut self, sender: Option<usize>, gossip: &Gossip, now: Now) {
        let sender = sender.map(|sender| {
            let node = &self.view.nodes()[sender];
            (node.id.clone(), node.role == Role::Primary)
        });
        for entry in &gossip.entries {
            match self.view.index_of(&entry.id) {
                Some(index) if index == self.my_index => {}
                Some(index) => {
                    if let Some((id, true)) = &sender {
                        self.take_report(index, id, entry, now);
                    }
                    self.take_news(index, entry, now);
                }
                None if sender.is_some() => self.add_acquaintance(entry, now),
                None => {}
            }
        }
    }

    /// Takes a primary's word on whether a node works.
    fn take_report(&mut self, index: usize, reporter: &str, entry: &GossipEntry, now: Now) {
        let contact = &mut self.view.nodes_mut()[index].contact;
        if entry
            .flags
            .intersects(Flags(Flags::FAILED.0 | Flags::SUSPECTED.0))
        {
            contact.report(reporter, now.instant);
            self.fail_if_agreed(index, now);
        } else {
            contact.withdraw(reporter);
        }
    }

    fn take_news(&mut self, index: usize, entry: &GossipEntry, now: Now) {
        let age_max = self.settings.node_timeout * 2;
        let node = &mut self.view.nodes_mut()[index];
        let works_there = !entry.flags.intersects(Flags(
            Flags::FAILED.0 | Flags::SUSPECTED.0 | Flags::NO_ADDRESS.0,
        ));
        if !node.failed && !node.suspected {
            let is_idle =
                node.contact.ping_sent.is_none() && node.contact.reports(now.instant, age_max) == 0;
            let received_ms = u64::from(entry.pong_received) * 1000;
            if is_idle && works_there && received_ms <= now.unix_ms + CLOCK_TOLERANCE_MS {
                let age_ms = now.unix_ms.saturating_sub(received_ms);
                let received = now.instant.before(std::time::Duration::from_millis(age_ms));
                let pong = &mut node.contact.pong_received;
                *pong = (*pong).max(Some(received));
            }
            return;
        }
        let elsewhere = *node.address.host != entry.host
            || node.address.port != entry.port
            || node.bus_port != entry.bus_port;
        if works_there && elsewhere && !entry.host.is_empty() {
            let address = Address::new(entry.host.as_str(), entry.port);
            self.set_address(index, address, entry.bus_port, now);
        }
    }

    /// Adds a node that a member knows.
    fn add_acquaintance(&mut self, entry: &GossipEntry, now: Now) {
        let has_address = !entry.flags.contains(Flags::NO_ADDRESS)
            && !entry.host.is_empty()
            && entry.bus_port != 0;
        if !has_address
            || entry.flags.contains(Flags::HANDSHAKE)
            || self.is_forgotten(&entry.id, now)
        {
            return;
        }
        let mut node = NodeInfo::primary(entry.id.clone(), &entry.host, entry.port);
        node.bus_port = entry.bus_port;
        if entry.flags.contains(Flags::REPLICA) {
            node.role = Role::Replica;
        }
        node.no_failover = entry.flags.contains(Flags::NO_FAILOVER);
        node.contact.created = now.instant;
        if let Some(index) = self.view.add(node) {
            self.connect(index, now);
            self.changed();
        }
    }
}

/// How far another node's clock may be ahead.
const CLOCK_TOLERANCE_MS: u64 = 500;
