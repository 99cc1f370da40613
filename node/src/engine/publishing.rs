//! Hands published messages to the clients that are subscribed, cuts off those that don't take
//! them, and ends subscriptions to channels whose slot has gone to another node.

use slotway_protocol::engine::{CloseWhen, ConnectionId, Now};

use super::Node;
use crate::command::encode_confirmation;
use crate::pubsub::{Delivery, Topic};

impl Node {
    /// Hands out what the commands that were run have published.
    #[inline]
    pub(super) fn deliver(&mut self, now: Now) {
        if !self.state.server.pubsub.deliveries.is_empty() {
            self.deliver_all(now);
        }
    }

    #[cold]
    fn deliver_all(&mut self, now: Now) {
        for delivery in std::mem::take(&mut self.state.server.pubsub.deliveries) {
            for client in &delivery.to {
                self.deliver_to(*client, &delivery, now);
            }
        }
    }

    fn deliver_to(&mut self, client: ConnectionId, delivery: &Delivery, now: Now) {
        let Some(session) = self.state.sessions.find(client) else {
            return;
        };
        if session.closing.is_some() {
            return;
        }
        let bytes = delivery.bytes(session.protocol);
        let channel = &mut self.channels[client.index as usize];
        channel.output.push_shared(bytes.clone());
        let waiting = channel.output_len() as u64;
        let limit = self.state.server.config.client_output_buffer_limit.pubsub;
        let mut is_slow = limit.hard_bytes != 0 && waiting > limit.hard_bytes;
        if let Some(own) = session.subscriptions.as_deref_mut() {
            if limit.soft_bytes == 0 || waiting <= limit.soft_bytes {
                own.slow_since = None;
            } else {
                let since = *own.slow_since.get_or_insert(now.instant);
                is_slow |= now.instant.since(since).as_secs() >= limit.soft_seconds;
            }
        }
        if is_slow {
            self.state.server.pubsub.cut_off += 1;
            self.close(client, CloseWhen::Now);
        } else {
            self.wake(client);
        }
    }

    /// A message that another node has published.
    pub(crate) fn deliver_published(
        &mut self,
        channel: &[u8],
        message: &[u8],
        sharded: bool,
        now: Now,
    ) {
        let pubsub = &mut self.state.server.pubsub;
        pubsub.publish(channel, message, sharded);
        self.deliver(now);
    }

    /// Ends subscriptions to channels whose slot this node, or its primary, does not have any more.
    pub(super) fn leave_lost_slots(&mut self) {
        let server = &mut self.state.server;
        let Some(cluster) = &server.cluster else {
            return;
        };
        let lost: Vec<_> = server
            .pubsub
            .slots()
            .filter(|slot| !cluster.serves(*slot))
            .collect();
        for slot in lost {
            let topics = self.state.server.pubsub.take_slot(slot);
            for (name, client) in topics.into_subscriptions() {
                self.end_subscription(client, &name);
            }
        }
    }

    fn end_subscription(&mut self, client: ConnectionId, name: &[u8]) {
        let Some(session) = self.state.sessions.find(client) else {
            return;
        };
        let topic = Topic::ShardChannel;
        let count = session.lose_subscription(topic, name);
        let [_, word] = topic.words();
        let protocol = session.protocol;
        let out = self.channels[client.index as usize].output.buffer();
        encode_confirmation(out, protocol, word, Some(name), count);
        self.wake(client);
    }
}
