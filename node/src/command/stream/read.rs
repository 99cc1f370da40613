//! XREAD and XREADGROUP: what comes after an ID, now or once it is there.

use std::sync::Arc;
use std::time::Duration;

use slotway_protocol::resp::{Protocol, encode};

use super::effects::{Effects, GroupName};
use super::group::no_key_or_group;
use super::ids::strict_id;
use super::range::{insert_len, reply_entries, reply_entry, reply_id};
use crate::command::blocking::{self, Stock, Wish};
use crate::command::{Call, CommandError};
use crate::value::Value;
use crate::value::stream::{Group, Log, Stream, StreamId, UNKNOWN_COUNT};

/// What a client that waits reads once it is there.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The keys and what was known of each when the client began to wait.
    after: Vec<(Box<[u8]>, StreamId)>,
    count: usize,
    /// In whose name, if it is XREADGROUP.
    member: Option<Identity>,
    no_ack: bool,
}

/// A consumer that waits.
#[derive(Debug)]
struct Identity {
    group: Box<[u8]>,
    consumer: Box<[u8]>,
}

/// In whose name XREADGROUP reads.
#[derive(Debug, Clone, Copy)]
struct Member<'a> {
    name: GroupName<'a>,
    consumer: &'a [u8],
    no_ack: bool,
    now_ms: i64,
}

/// The options of XREAD and XREADGROUP.
#[derive(Debug, Clone, Copy)]
struct Options<'a> {
    /// `Some(None)` to wait for ever.
    block: Option<Option<Duration>>,
    count: Option<usize>,
    /// The group and the name in it.
    member: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// Where the keys begin.
    first_key: usize,
}

pub(super) fn read(call: &mut Call<'_>, of_group: bool) -> Result<(), CommandError> {
    let options = Options::parse(call, of_group)?;
    let keys_len = (call.len() - options.first_key) / 2;
    let keys = options.first_key..options.first_key + keys_len;
    let ids = keys.clone().map(|index| {
        let start = start_id(call, index, index + keys_len, options.member);
        start.map(|id| (call.arg(index), id))
    });
    let after: Vec<(&[u8], StreamId)> = ids.collect::<Result<_, _>>()?;
    let start = call.out.len();
    let mut served = 0;
    let count = options.count.unwrap_or(usize::MAX);
    for (key, id) in &after {
        let stock = &mut Stock::of(call);
        served += usize::from(serve(stock, key, *id, count, options)?);
    }
    if served > 0 {
        insert_head(call.out, call.protocol, start, served);
        return Ok(());
    }
    match options.block {
        Some(timeout) if !call.server.in_exec => {
            let reading = Reading {
                after: after.iter().map(|(key, id)| ((*key).into(), *id)).collect(),
                count: options.count.unwrap_or(COUNT_AFTER_WAIT),
                member: options.member.map(|(group, consumer)| Identity {
                    group: group.into(),
                    consumer: consumer.into(),
                }),
                no_ack: options.no_ack,
            };
            blocking::wait(call, keys, Wish::Read(Arc::new(reading)), timeout);
        }
        _ => call.reply_null_array(),
    }
    Ok(())
}

/// Serves what is there at once; whether there was anything.
fn serve(
    stock: &mut Stock<'_>,
    key: &[u8],
    after: StreamId,
    count: usize,
    options: Options<'_>,
) -> Result<bool, CommandError> {
    let Some((group, consumer)) = options.member else {
        let stream = stock.keyspace.stream_value(key)?;
        let log = stream.map(|stream| &stream.log);
        let Some(log) = log.filter(|log| log.last_entry_id().is_some_and(|last| last > after))
        else {
            return Ok(false);
        };
        reply_key(stock.out, stock.protocol, key);
        reply_after(stock.out, log, after, count);
        return Ok(true);
    };
    let member = Member {
        name: GroupName { key, group },
        consumer,
        no_ack: options.no_ack,
        now_ms: stock.keyspace.now_ms() as i64,
    };
    let is_history = after != StreamId::MAX;
    if !is_history {
        let Some(stream) = stock.keyspace.stream_value(key)? else {
            return Ok(false);
        };
        let last = stream.log.last_entry_id();
        let read = stream.groups.get(group).map(|group| group.last_id);
        if last <= read {
            return Ok(false);
        }
    }
    reply_key(stock.out, stock.protocol, key);
    member.read(stock, count, is_history.then_some(after))?;
    Ok(true)
}

impl Reading {
    /// Whether others see that it was read.
    pub(crate) fn changes(&self) -> bool {
        self.member.is_some()
    }

    /// What a client is told whose key is no stream any more.
    pub(crate) fn refusal(&self, value: Option<&Value>) -> Option<CommandError> {
        let is_lost = self.changes() && !matches!(value, Some(Value::Stream(_)));
        is_lost.then(|| CommandError::text("UNBLOCKED the stream key no longer exists"))
    }

    /// Reads from a key that has changed; whether there was anything.
    pub(crate) fn take(&self, stock: &mut Stock<'_>, key: &[u8]) -> Result<bool, CommandError> {
        let mut after = self.after.iter();
        let Some((_, after)) = after.find(|(known, _)| **known == *key) else {
            return Ok(false);
        };
        let Some(stream) = stock.keyspace.stream_value(key)? else {
            return Ok(false);
        };
        let after = match &self.member {
            None => *after,
            Some(identity) => match stream.groups.get(&identity.group) {
                Some(group) => group.last_id,
                None => return Err(group_is_gone()),
            },
        };
        if stream.log.last_id <= after {
            return Ok(false);
        }
        let start = stock.out.len();
        reply_key(stock.out, stock.protocol, key);
        match &self.member {
            None => reply_after(stock.out, &stream.log, after, self.count),
            Some(Identity { group, consumer }) => {
                let member = Member {
                    name: GroupName { key, group },
                    consumer,
                    no_ack: self.no_ack,
                    now_ms: stock.keyspace.now_ms() as i64,
                };
                member.read(stock, self.count, None)?;
            }
        }
        insert_head(stock.out, stock.protocol, start, 1);
        Ok(true)
    }
}

impl Member<'_> {
    /// Reads new entries, or those that this consumer has had after an ID.
    fn read(
        &self,
        stock: &mut Stock<'_>,
        count: usize,
        history: Option<StreamId>,
    ) -> Result<(), CommandError> {
        let mut effects = Effects::new(self.name, &stock.server.propagation);
        let stream = stock.keyspace.stream_mut(self.name.key)?;
        let Some(Stream { log, groups }) = stream else {
            unreachable!("the stream was found before");
        };
        let Some(group) = groups.get_mut(self.name.group) else {
            unreachable!("the group was found before");
        };
        let is_new = !group.see(self.consumer, self.now_ms);
        if is_new {
            group.create_consumer(self.consumer, self.now_ms);
        }
        if is_new && (self.no_ack || history.is_some()) {
            effects.create_consumer(self.consumer);
        }
        match history {
            Some(after) => {
                self.reply_history(stock.out, stock.protocol, (log, group), after, count)
            }
            None => self.deliver(stock.out, (log, group), count, &mut effects),
        }
        stock.keyspace.changes += 1;
        effects.say(stock.keyspace, &mut stock.server.propagation);
        Ok(())
    }

    /// Replies with entries that nobody of the group has read.
    fn deliver(
        &self,
        out: &mut Vec<u8>,
        (log, group): (&Log, &mut Group),
        count: usize,
        effects: &mut Effects<'_>,
    ) {
        let start = out.len();
        let (mut len, before) = (0, group.last_id);
        let first = before.next().unwrap_or(StreamId::MAX);
        for entry in log.range(first, StreamId::MAX).take(count) {
            group.advance(log, entry.id);
            reply_entry(out, &entry);
            len += 1;
            if self.no_ack {
                continue;
            }
            group.assign(entry.id, self.consumer, self.now_ms, 1);
            if let Some(pending) = group.pending_entry(entry.id) {
                effects.claim(entry.id, pending, group.last_id);
            }
        }
        insert_len(out, start, len);
        if group.last_id != before {
            effects.move_group(group);
        }
    }

    /// Replies with entries that the consumer has had already.
    fn reply_history(
        &self,
        out: &mut Vec<u8>,
        protocol: Protocol,
        (log, group): (&Log, &mut Group),
        after: StreamId,
        count: usize,
    ) {
        let consumer = group.consumer(self.consumer);
        let ids = consumer.zip(after.next()).map(|(consumer, first)| {
            let ids = consumer.ids.range(first..).take(count);
            ids.copied().collect()
        });
        let ids: Vec<StreamId> = ids.unwrap_or_default();
        encode::array(out, ids.len());
        for id in ids {
            if let Some(entry) = log.entry(id) {
                reply_entry(out, &entry);
                group.deliver_again(id, self.now_ms);
            } else {
                encode::array(out, 2);
                reply_id(out, id);
                encode::null_array(out, protocol);
            }
        }
    }
}

impl Group {
    /// Notes that an entry was delivered that comes after all that were before.
    fn advance(&mut self, log: &Log, id: StreamId) {
        if self.entries_read != UNKNOWN_COUNT && !log.has_tombstones_from(id) {
            self.entries_read = self.entries_read.wrapping_add(1);
        } else if log.entries_added > 0 {
            self.entries_read = log.count_up_to(id).unwrap_or(UNKNOWN_COUNT);
        }
        self.last_id = id;
    }
}

/// In a transaction it does not wait, in a script it is refused.
#[cold]
fn not_from_scripts(call: &Call<'_>) -> CommandError {
    let name = String::from_utf8_lossy(call.arg(0));
    CommandError::text(format!(
        "ERR {name} command is not allowed with BLOCK option from scripts"
    ))
}

impl<'a> Options<'a> {
    fn parse(call: &Call<'a>, of_group: bool) -> Result<Self, CommandError> {
        let mut options = Self {
            block: None,
            count: None,
            member: None,
            no_ack: false,
            first_key: 0,
        };
        let mut index = 1;
        while index < call.len() && options.first_key == 0 {
            let values = call.len() - index - 1;
            if call.arg_is(index, "BLOCK") && values > 0 {
                if call.server.scripts.is_calling {
                    return Err(not_from_scripts(call));
                }
                options.block = Some(timeout(call, index + 1)?);
                index += 2;
            } else if call.arg_is(index, "COUNT") && values > 0 {
                // 0, and what is less, is for all.
                let count = usize::try_from(call.integer_arg(index + 1)?);
                options.count = count.ok().filter(|count| *count > 0);
                index += 2;
            } else if call.arg_is(index, "STREAMS") && values > 0 {
                options.first_key = index + 1;
                if !values.is_multiple_of(2) {
                    return Err(CommandError::text(
                        "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' \
                         must be specified.",
                    ));
                }
            } else if call.arg_is(index, "GROUP") && values >= 2 {
                only_of_group(of_group, "GROUP")?;
                options.member = Some((call.arg(index + 1), call.arg(index + 2)));
                index += 3;
            } else if call.arg_is(index, "NOACK") {
                only_of_group(of_group, "NOACK")?;
                options.no_ack = true;
                index += 1;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.first_key == 0 {
            return Err(CommandError::Syntax);
        }
        if of_group && options.member.is_none() {
            return Err(CommandError::text(
                "ERR Missing GROUP option for XREADGROUP",
            ));
        }
        Ok(options)
    }
}

fn only_of_group(of_group: bool, option: &str) -> Result<(), CommandError> {
    if of_group {
        return Ok(());
    }
    Err(CommandError::text(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    )))
}

/// How long to wait, `None` for ever.
fn timeout(call: &Call<'_>, index: usize) -> Result<Option<Duration>, CommandError> {
    let milliseconds = crate::number::parse_i64(call.arg(index))
        .ok_or_else(|| CommandError::text("ERR timeout is not an integer or out of range"))?;
    let milliseconds =
        u64::try_from(milliseconds).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}

/// After which entry to read; for a group the greatest ID stands for what it has not read yet.
fn start_id(
    call: &Call<'_>,
    key: usize,
    id: usize,
    member: Option<(&[u8], &[u8])>,
) -> Result<StreamId, CommandError> {
    let key = call.arg(key);
    let stream = call.keyspace.stream_value(key)?;
    if let Some((group, _)) = member
        && !stream.is_some_and(|stream| stream.groups.contains_key(group))
    {
        return Err(no_key_or_group(
            key,
            group,
            " in XREADGROUP with GROUP option",
        ));
    }
    match (call.arg(id), member) {
        (b"$", None) => Ok(stream.map_or(StreamId::MIN, |stream| stream.log.last_id)),
        (b"$", Some(_)) => Err(CommandError::text(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the \
             history of this consumer by specifying a proper ID, or use the > ID to get new \
             messages. The $ ID would just return an empty result set.",
        )),
        (b">", Some(_)) => Ok(StreamId::MAX),
        (b">", None) => Err(CommandError::text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
             <consumer> option.",
        )),
        (text, _) => strict_id(text),
    }
}

/// Before the entries of a key.
fn reply_key(out: &mut Vec<u8>, protocol: Protocol, key: &[u8]) {
    if protocol == Protocol::Resp2 {
        encode::array(out, 2);
    }
    encode::bulk(out, key);
}

/// Puts the head of a reply before what was written since `start`.
fn insert_head(out: &mut Vec<u8>, protocol: Protocol, start: usize, keys: usize) {
    let mut head = Vec::new();
    match protocol {
        Protocol::Resp2 => encode::array(&mut head, keys),
        Protocol::Resp3 => encode::map(&mut head, protocol, keys),
    }
    out.splice(start..start, head);
}

fn reply_after(out: &mut Vec<u8>, log: &Log, after: StreamId, count: usize) {
    let first = after.next().unwrap_or(StreamId::MAX);
    reply_entries(out, log.range(first, StreamId::MAX).take(count));
}

fn group_is_gone() -> CommandError {
    CommandError::text("NOGROUP the consumer group this client was blocked on no longer exists")
}

/// How many entries one who has waited gets if it has not said.
const COUNT_AFTER_WAIT: usize = 1_000;
