//! Publish and subscribe.

use bytes::Bytes;
use slotway_protocol::glob::matches;
use slotway_protocol::resp::{Protocol, encode};

use super::{Call, CommandError, Run};
use crate::engine::session::{Replies, Session};
use crate::pubsub::{Published, Subscriptions, Topic};
use crate::server_state::ServerState;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("subscribe", |call| subscribe(call, Topic::Channel)),
    ("unsubscribe", |call| unsubscribe(call, Topic::Channel)),
    ("psubscribe", |call| subscribe(call, Topic::Pattern)),
    ("punsubscribe", |call| unsubscribe(call, Topic::Pattern)),
    ("ssubscribe", |call| subscribe(call, Topic::ShardChannel)),
    ("sunsubscribe", |call| {
        unsubscribe(call, Topic::ShardChannel)
    }),
    ("publish", |call| publish(call, false)),
    ("spublish", |call| publish(call, true)),
    ("pubsub|channels", |call| channels(call, false)),
    ("pubsub|shardchannels", |call| channels(call, true)),
    ("pubsub|numsub", |call| numsub(call, false)),
    ("pubsub|shardnumsub", |call| numsub(call, true)),
    ("pubsub|numpat", numpat),
];

fn subscribe(call: &mut Call<'_>, topic: Topic) -> Result<(), CommandError> {
    let [word, _] = topic.words();
    for name in call.request.args(1) {
        let session = &mut call.sessions[call.client];
        let client = session.connection;
        let own = session.subscriptions.get_or_insert_default();
        call.server.pubsub.subscribe(client, own, topic, name);
        let count = own.count(topic);
        confirm(call, word, Some(name), count);
    }
    Ok(())
}

fn unsubscribe(call: &mut Call<'_>, topic: Topic) -> Result<(), CommandError> {
    let [_, word] = topic.words();
    let session = &mut call.sessions[call.client];
    let names: Vec<Box<[u8]>> = if call.request.len() > 1 {
        call.request.args(1).map(Box::from).collect()
    } else {
        let own = session.subscriptions.as_deref();
        own.map_or_else(Vec::new, |own| own.of(topic).iter().cloned().collect())
    };
    if names.is_empty() {
        let own = session.subscriptions.as_deref();
        let count = own.map_or(0, |own| own.count(topic));
        confirm(call, word, None, count);
    }
    for name in names {
        let count = leave(call.server, &mut call.sessions[call.client], topic, &name);
        confirm(call, word, Some(&name), count);
    }
    Ok(())
}

/// Ends one subscription; how many there are after it.
fn leave(server: &mut ServerState, session: &mut Session, topic: Topic, name: &[u8]) -> usize {
    let client = session.connection;
    let Some(own) = session.subscriptions.as_deref_mut() else {
        return 0;
    };
    server.pubsub.unsubscribe(client, own, topic, name);
    let count = own.count(topic);
    session.forget_no_subscriptions();
    count
}

/// Ends all subscriptions without a word.
pub(super) fn leave_all(call: &mut Call<'_>) {
    let session = &mut call.sessions[call.client];
    if let Some(own) = session.subscriptions.take() {
        let client = session.connection;
        call.server.pubsub.unsubscribe_all(client, &own);
    }
}

/// Says that a subscription has begun or ended; CLIENT REPLY does not keep that back.
fn confirm(call: &mut Call<'_>, word: &str, name: Option<&[u8]>, count: usize) {
    let mut bytes = Vec::new();
    encode_confirmation(&mut bytes, call.protocol, word, name, count);
    tell(call, &bytes);
}

/// The words that a client gets when a subscription of it begins or ends.
pub(crate) fn encode_confirmation(
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

/// Appends what is no reply.
fn tell(call: &mut Call<'_>, bytes: &[u8]) {
    let session = &call.sessions[call.client];
    if session.replies == Replies::On {
        call.out.extend_from_slice(bytes);
        return;
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let delivery = crate::pubsub::Delivery {
        resp2: bytes.clone(),
        resp3: bytes,
        to: vec![session.connection],
    };
    call.server.pubsub.deliveries.push(delivery);
}

fn publish(call: &mut Call<'_>, sharded: bool) -> Result<(), CommandError> {
    let (channel, message) = (call.arg(1), call.arg(2));
    let pubsub = &mut call.server.pubsub;
    let before = pubsub.deliveries.len();
    let count = pubsub.publish(channel, message, sharded);
    if pubsub.has_bus && call.server.cluster.is_some() {
        pubsub.outgoing.push(Published {
            channel: channel.into(),
            message: Bytes::copy_from_slice(message),
            sharded,
        });
    }
    // In a cluster messages go to all nodes by the bus.
    if call.server.cluster.is_none() {
        call.propagate(&[call.arg(0), channel, message]);
    }
    tell_publisher(call, before);
    call.reply_len(count);
    Ok(())
}

/// Whoever publishes to itself gets the message before the reply.
fn tell_publisher(call: &mut Call<'_>, from: usize) {
    let session = &call.sessions[call.client];
    if session.subscriptions.is_none() || session.replies != Replies::On {
        return;
    }
    let client = session.connection;
    for delivery in &mut call.server.pubsub.deliveries[from..] {
        if delivery.to.contains(&client) {
            delivery.to.retain(|known| *known != client);
            call.out.extend_from_slice(delivery.bytes(call.protocol));
        }
    }
}

fn channels(call: &mut Call<'_>, sharded: bool) -> Result<(), CommandError> {
    if call.len() > 3 {
        return Err(super::unknown_or_wrong_arguments(call, "PUBSUB"));
    }
    let pattern = (call.len() == 3).then(|| call.arg(2));
    let active = call.server.pubsub.active(sharded);
    let found: Vec<&[u8]> = active
        .filter(|name| pattern.is_none_or(|pattern| matches(pattern, name)))
        .collect();
    encode::array(call.out, found.len());
    for name in found {
        encode::bulk(call.out, name);
    }
    Ok(())
}

fn numsub(call: &mut Call<'_>, sharded: bool) -> Result<(), CommandError> {
    call.reply_array((call.len() - 2) * 2);
    for name in call.request.args(2) {
        let count = call.server.pubsub.subscribers(name, sharded);
        call.reply_bulk(name);
        call.reply_len(count);
    }
    Ok(())
}

fn numpat(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_len(call.server.pubsub.patterns_len());
    Ok(())
}

/// How many of each a client has, as CLIENT LIST shows them.
pub(super) fn counts(own: Option<&Subscriptions>) -> [usize; 3] {
    [Topic::Channel, Topic::Pattern, Topic::ShardChannel]
        .map(|topic| own.map_or(0, |own| own.of(topic).len()))
}
