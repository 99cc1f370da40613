//! What a message of another node changes here.

use slotway_protocol::cluster::Role;
use slotway_protocol::engine::Now;

use super::Cluster;
use super::bus::{Body, Flags, Gossip, Header, Heartbeat, Packet};
use super::effects::Effect;
use super::links::LinkId;

impl Cluster {
    /// Takes a message that came on a link.
    pub(crate) fn receive(&mut self, link: LinkId, packet: Packet, now: Now) {
        let Packet { header, body } = packet;
        self.count_received(body.kind());
        if self.ignored == Some(body.kind()) {
            return;
        }
        let sender = self.sender(&header);
        if let Some(sender) = sender {
            self.note_sender(sender, &header, now);
        }
        match (body, sender) {
            (Body::Heartbeat(heartbeat, gossip), _) => {
                self.receive_heartbeat(link, heartbeat, &header, &gossip, now);
            }
            // From here on, who is not a member is not believed.
            (_, None) => {}
            (Body::Fail(id), Some(_)) => self.take_failure(&id, now),
            (
                Body::Publish {
                    channel,
                    message,
                    sharded,
                },
                Some(_),
            ) => self.effects.push_back(Effect::Published {
                channel,
                message,
                sharded,
            }),
            (Body::AuthRequest, Some(sender)) => self.judge_candidate(sender, &header, now),
            (Body::AuthAck, Some(sender)) => self.count_vote(sender, &header),
            (Body::Update { epoch, id, slots }, Some(_)) => {
                self.take_update(epoch, &id, &slots, now);
            }
            (Body::ManualFailoverStart, Some(sender)) => {
                self.begin_handing_over(link, sender, now);
            }
            (Body::Module, Some(_)) => {}
        }
    }

    /// The member that has sent a message.
    fn sender(&self, header: &Header) -> Option<usize> {
        let index = self.view.index_of(&header.sender)?;
        (index != self.my_index && !self.view.nodes()[index].handshake).then_some(index)
    }

    fn note_sender(&mut self, sender: usize, header: &Header, now: Now) {
        if header.current_epoch > self.view.current_epoch {
            self.view.current_epoch = header.current_epoch;
            self.saver.is_dirty = true;
        }
        let node = &mut self.view.nodes_mut()[sender];
        node.contact.data_received = Some(now.instant);
        node.contact.offset = header.offset;
        if header.config_epoch > node.epoch && header.primary.is_none() {
            node.epoch = header.config_epoch;
            self.saver.is_dirty = true;
        }
        if header.is_paused && self.my_info().primary.as_deref() == Some(&header.sender) {
            self.manual.primary_is_paused(header.offset);
            self.election_due = true;
        }
    }

    fn receive_heartbeat(
        &mut self,
        link: LinkId,
        heartbeat: Heartbeat,
        header: &Header,
        gossip: &Gossip,
        now: Now,
    ) {
        let mut is_known = self.sender(header).is_some();
        if heartbeat != Heartbeat::Pong {
            self.learn_my_host(link, heartbeat);
            if !is_known && heartbeat == Heartbeat::Meet {
                self.welcome(link, header, now);
                // Who introduces itself is trusted with whom it knows.
                self.take_gossip(None, gossip, now);
            }
            self.note_inbound(link, header);
            self.send_heartbeat(link, Heartbeat::Pong, now);
        }
        if !self.check_identity(link, header, now) {
            return;
        }
        // The one whose pong this is may have become known by it.
        is_known |= self.sender(header).is_some();
        if heartbeat == Heartbeat::Ping && is_known {
            self.update_address(link, header, now);
        }
        if heartbeat == Heartbeat::Pong {
            self.take_pong(link, now);
        }
        let Some(sender) = self.sender(header) else {
            return;
        };
        let passive = header.flags.contains(Flags::NO_FAILOVER);
        self.view.nodes_mut()[sender].no_failover = passive;
        self.update_role(sender, header);
        self.take_claims(sender, header, now);
        self.resolve_collision(sender, header.config_epoch);
        if let Some(sender) = self.sender(header) {
            self.update_hostname(sender, &gossip.hostname);
            self.take_gossip(Some(sender), gossip, now);
        }
    }

    fn take_pong(&mut self, link: LinkId, now: Now) {
        let Some(index) = self.node_of_link(link) else {
            return;
        };
        let node = &mut self.view.nodes_mut()[index];
        node.contact.pong_received = Some(now.instant);
        node.contact.data_received = Some(now.instant);
        node.contact.ping_sent = None;
        if std::mem::take(&mut node.suspected) {
            self.changed();
        }
        if self.view.nodes()[index].failed {
            self.clear_failure_if_possible(index, now);
        }
    }

    /// Takes over whether a node is a primary, and whose replica it is.
    fn update_role(&mut self, sender: usize, header: &Header) {
        let Some(primary) = &header.primary else {
            return self.set_as_primary(sender);
        };
        if self.view.nodes()[sender].role == Role::Primary {
            self.drop_slots_of(sender);
            let node = &mut self.view.nodes_mut()[sender];
            node.role = Role::Replica;
            node.migrate_to = false;
            self.changed();
        }
        let is_news = self.view.nodes()[sender].primary.as_ref() != Some(primary);
        if is_news && self.view.index_of(primary).is_some() {
            self.set_primary_of(sender, primary);
        }
    }

    fn update_hostname(&mut self, sender: usize, hostname: &str) {
        let node = &mut self.view.nodes_mut()[sender];
        if node.hostname != hostname {
            hostname.clone_into(&mut node.hostname);
            self.saver.is_dirty = true;
        }
    }
}
