//! The client's side of publish and subscribe: SUBSCRIBE and its kin, and messages to all who
//! are subscribed.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::Command;
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Instant};
use slotway_protocol::resp::{Protocol, encode};

use super::publish::Publish;
use super::pubsub::{self, Dropped, Family, TopicId, subscription_bytes};
use super::requests::Incoming;
use super::session::{Replies, Reply, Session};
use super::{Connection, Proxy, answer};

impl Proxy {
    /// SUBSCRIBE, PSUBSCRIBE or SSUBSCRIBE. The reply, one confirmation for each name, is given
    /// once nodes have confirmed all of them; where we are subscribed already that is at once.
    pub(super) fn subscribe(&mut self, incoming: &Incoming<'_>, command: &Command, family: Family) {
        let request = &incoming.request;
        if family == Family::Shard && !share_a_slot(request.args(1)) {
            return self.answer_at_once(incoming, command.id, &answer::error(answer::CROSS_SLOT));
        }
        let names = || request.args(1);
        let bytes: usize = names().map(subscription_bytes).sum();
        let kept = self.subscriptions.bytes(incoming.connection);
        if kept + bytes > self.options.client_subscription_bytes_max {
            self.stats.subscriptions_refused.inc();
            let reply = answer::error(answer::SUBSCRIPTIONS_FULL);
            return self.answer_at_once(incoming, command.id, &reply);
        }
        let confirmed = |name| self.subscriptions.is_confirmed(family, name);
        let waits = !names().all(confirmed);
        let Some(session) = self.session(incoming.connection) else {
            return;
        };
        let (place, protocol) = (session.next_place(waits), session.protocol);
        let mut reply = Vec::new();
        let mut ids = Vec::with_capacity(names().len());
        for name in names() {
            let connection = incoming.connection;
            ids.push(self.subscriptions.add(connection, family, name, place));
            let count = self.subscriptions.told_count(connection, family);
            confirmation(&mut reply, protocol, family.subscribe(), Some(name), count);
        }
        self.note_subscriptions(incoming.connection);
        let hushed = self.session(incoming.connection).map(Session::speak);
        if !waits {
            self.answer_at_once(incoming, command.id, &reply);
            return self.hush(incoming.connection, hushed);
        }
        let Some((ticket, _)) = self.reserve(incoming, command.id) else {
            return;
        };
        self.hush(incoming.connection, hushed);
        let deadline = incoming.now + self.options.hold_timeout;
        let waiting = pubsub::Command::new(ticket, place, reply, deadline);
        self.subscriptions.wait(waiting, &ids);
        self.place_topics(incoming.now);
    }

    /// UNSUBSCRIBE, PUNSUBSCRIBE or SUNSUBSCRIBE. Nothing has to be waited for.
    pub(super) fn unsubscribe(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        family: Family,
    ) {
        let request = &incoming.request;
        if family == Family::Shard && !share_a_slot(request.args(1)) {
            return self.answer_at_once(incoming, command.id, &answer::error(answer::CROSS_SLOT));
        }
        let connection = incoming.connection;
        let mut names: Vec<Bytes> = request.args(1).map(Bytes::copy_from_slice).collect();
        if names.is_empty() {
            names = self.subscriptions.names_of(connection, family);
        }
        let Some(protocol) = self.session(connection).map(|session| session.protocol) else {
            return;
        };
        let word = family.unsubscribe();
        let mut reply = Vec::new();
        let mut dropped = Vec::new();
        for name in &names {
            if let Some(id) = self.subscriptions.find(family, name) {
                dropped.extend(self.subscriptions.remove(connection, id));
            }
            let count = self.subscriptions.told_count(connection, family);
            confirmation(&mut reply, protocol, word, Some(name), count);
        }
        if names.is_empty() {
            let count = self.subscriptions.told_count(connection, family);
            confirmation(&mut reply, protocol, word, None, count);
        }
        self.note_subscriptions(connection);
        let hushed = self.session(connection).map(Session::speak);
        self.answer_at_once(incoming, command.id, &reply);
        self.hush(connection, hushed);
        self.end_topics(dropped, incoming.now);
    }

    /// Replies are again suppressed as the client wants.
    fn hush(&mut self, connection: ConnectionId, replies: Option<Replies>) {
        if let (Some(session), Some(replies)) = (self.session(connection), replies) {
            session.replies = replies;
        }
    }

    /// Ends all subscriptions of a client that leaves, or starts anew.
    pub(super) fn drop_subscriptions(&mut self, connection: ConnectionId, now: Instant) {
        if self.subscriptions.is_empty() {
            return;
        }
        let dropped = self.subscriptions.remove_client(connection);
        self.note_subscriptions(connection);
        self.end_topics(dropped, now);
    }

    /// PUBLISH or SPUBLISH. The count in its reply is put right if clients of ours may be counted.
    pub(super) fn send_message(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        family: Family,
    ) {
        let request = &incoming.request;
        let channel = request.arg(1);
        if self.subscriptions.is_empty() {
            return self.forward(incoming, command, Slot::of(channel));
        }
        let task = Publish::new(command.id, family, channel, request.frame());
        self.begin_task(incoming, command.id, Box::new(task), None);
    }

    /// Whether the client may not send the command: in RESP2 one that is subscribed must not send
    /// any whose reply could be taken for a message.
    pub(super) fn is_barred(&mut self, incoming: &Incoming<'_>, command: &Command) -> bool {
        let Some(session) = self.session(incoming.connection) else {
            return false;
        };
        session.is_subscribing() && !ALLOWED.contains(&command.name)
    }

    /// Refuses a command to a client that only hears messages.
    #[cold]
    pub(super) fn bar(&mut self, incoming: &Incoming<'_>, command: &Command) {
        let name = command.name;
        let text = format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
RESET are allowed in this context"
        );
        self.answer_at_once(incoming, command.id, &answer::error(text.as_bytes()));
    }

    /// Gives up the commands whose time is over: their clients are not subscribed.
    pub(super) fn expire_subscribing(&mut self, now: Instant) {
        while let Some(number) = self.subscriptions.expired(now) {
            self.stats.subscriptions_expired.inc();
            self.fail_subscribing(number, &answer::error(answer::NOT_SUBSCRIBED), now);
        }
    }

    /// Answers a command that waits with an error, and takes back what it began.
    pub(super) fn fail_subscribing(
        &mut self,
        number: pubsub::CommandNumber,
        error: &[u8],
        now: Instant,
    ) {
        let Some(command) = self.subscriptions.give_up(number) else {
            return;
        };
        let connection = command.ticket.connection;
        let dropped = self.subscriptions.roll_back(connection, command.place);
        self.note_subscriptions(connection);
        self.deliver(command.ticket, Reply::Copied(error), now);
        self.end_topics(dropped, now);
    }

    /// Answers the commands that wait for nothing more.
    pub(super) fn settle_subscribing(&mut self, waiting: Vec<pubsub::CommandNumber>, now: Instant) {
        for command in self.subscriptions.settle(waiting) {
            self.deliver(command.ticket, Reply::Shared(command.reply.into()), now);
        }
    }

    /// Nobody wants these any more: tells the nodes, and those who still waited.
    fn end_topics(&mut self, mut dropped: Vec<Dropped>, now: Instant) {
        for Dropped { topic } in &mut dropped {
            let waiting = topic.take_waiting();
            self.settle_subscribing(waiting, now);
        }
        self.unsubscribe_at_nodes(&dropped, now);
    }

    /// The session knows how many subscriptions it has.
    fn note_subscriptions(&mut self, connection: ConnectionId) {
        let families = [Family::Channel, Family::Pattern, Family::Shard];
        let counts = families.map(|family| self.subscriptions.count(connection, family) as u32);
        if let Some(session) = self.session(connection) {
            session.subscriptions = counts;
        }
    }

    /// Gives a message to all clients of a topic, each in the protocol that it speaks. None waits
    /// for another: one that does not read is cut off.
    pub(super) fn publish(&mut self, id: TopicId, push: &Reply<'_>) {
        let Some(topic) = self.subscriptions.topic(id) else {
            return;
        };
        let mut cut = Vec::new();
        let mut count = 0;
        for subscriber in &topic.subscribers {
            let index = subscriber.connection.index;
            let Some(Connection::Client(session)) = self.connections.get_mut(index as usize) else {
                continue;
            };
            if !session.hears(subscriber.connection, subscriber.after) {
                continue;
            }
            if session.output.is_empty() {
                self.actions.push_back(Action::Wake(subscriber.connection));
            }
            session.push_message(push);
            count += 1;
            if session.output.len() > self.options.subscriber_output_bytes_max {
                session.closing = true;
                session.leaving = true;
                cut.push(subscriber.connection);
            }
        }
        self.stats.messages.add(count);
        self.stats
            .client_bytes_out
            .add(count * push.bytes().len() as u64);
        // It is counted once the node has been heard to the end.
        self.meter.note(count as usize * push.bytes().len());
        for connection in cut {
            self.stats.subscribers_cut.inc();
            self.close(connection, CloseWhen::Now);
        }
    }
}

fn share_a_slot<'a>(mut names: impl Iterator<Item = &'a [u8]>) -> bool {
    let first = names.next().map(Slot::of);
    names.all(|name| Some(Slot::of(name)) == first)
}

/// One confirmation: which command, which name, and how many subscriptions there are now.
fn confirmation(
    out: &mut Vec<u8>,
    protocol: Protocol,
    word: &str,
    name: Option<&[u8]>,
    count: usize,
) {
    encode::push(out, protocol, 3);
    encode::bulk(out, word.as_bytes());
    match name {
        Some(name) => encode::bulk(out, name),
        None => encode::null(out, protocol),
    }
    encode::integer(out, count as i64);
}

/// What a subscribed client may send in RESP2.
const ALLOWED: [&str; 9] = [
    "ping",
    "psubscribe",
    "punsubscribe",
    "quit",
    "reset",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
];
