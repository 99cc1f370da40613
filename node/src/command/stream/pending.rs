//! XPENDING: what was delivered to the consumers of a group and is not acknowledged.

use slotway_protocol::resp::{Protocol, encode};

use super::group::no_key_or_group;
use super::ids::{range_end, range_start};
use super::range::{insert_len, reply_id};
use crate::command::{Call, CommandError};
use crate::value::stream::{Group, StreamId};

/// The longer form: which entries to list.
#[derive(Debug, Clone, Copy)]
struct Listing<'a> {
    start: StreamId,
    end: StreamId,
    count: usize,
    min_idle_ms: i64,
    consumer: Option<&'a [u8]>,
}

pub(super) fn xpending(call: &mut Call<'_>) -> Result<(), CommandError> {
    let listing = match call.len() {
        3 => None,
        6..=9 => Some(Listing::parse(call)?),
        _ => return Err(CommandError::Syntax),
    };
    let (key, name) = (call.request.arg(1), call.request.arg(2));
    let stream = call.keyspace.stream_value(key)?;
    let group = stream.and_then(|stream| stream.groups.get(name));
    let group = group.ok_or_else(|| no_key_or_group(key, name, ""))?;
    match listing {
        Some(listing) => listing.reply(call.out, group, call.keyspace.now_ms() as i64),
        None => reply_summary(call.out, call.protocol, group),
    }
    Ok(())
}

fn reply_summary(out: &mut Vec<u8>, protocol: Protocol, group: &Group) {
    encode::array(out, 4);
    encode::integer(out, group.pending().len() as i64);
    let Some((first, last)) = group.first_and_last_pending() else {
        encode::null(out, protocol);
        encode::null(out, protocol);
        encode::null_array(out, protocol);
        return;
    };
    reply_id(out, first);
    reply_id(out, last);
    let busy = || {
        group
            .consumers()
            .filter(|(_, consumer)| !consumer.ids.is_empty())
    };
    encode::array(out, busy().count());
    for (name, consumer) in busy() {
        encode::array(out, 2);
        encode::bulk(out, name);
        encode::bulk_integer(out, consumer.ids.len() as i64);
    }
}

impl<'a> Listing<'a> {
    fn parse(call: &Call<'a>) -> Result<Self, CommandError> {
        let (mut first, mut min_idle_ms) = (3, 0);
        if call.arg_is(3, "IDLE") {
            min_idle_ms = call.integer_arg(4)?;
            if call.len() < 8 {
                return Err(CommandError::Syntax);
            }
            first = 5;
        }
        let count = usize::try_from(call.integer_arg(first + 2)?).unwrap_or(0);
        let consumer = first + 3;
        Ok(Self {
            start: range_start(call.arg(first))?,
            end: range_end(call.arg(first + 1))?,
            count,
            min_idle_ms,
            consumer: (consumer < call.len()).then(|| call.arg(consumer)),
        })
    }

    fn reply(&self, out: &mut Vec<u8>, group: &Group, now_ms: i64) {
        let head = out.len();
        let mut len = 0;
        for id in self.ids(group) {
            if len == self.count {
                break;
            }
            let Some(pending) = group.pending_entry(id) else {
                continue;
            };
            let idle_ms = now_ms.wrapping_sub(pending.delivered_ms);
            if self.min_idle_ms != 0 && idle_ms < self.min_idle_ms {
                continue;
            }
            len += 1;
            encode::array(out, 4);
            reply_id(out, id);
            encode::bulk(out, &pending.consumer);
            encode::integer(out, idle_ms.max(0));
            encode::integer(out, pending.deliveries as i64);
        }
        insert_len(out, head, len);
    }

    /// What is pending in the range, of the consumer or of all.
    fn ids<'b>(&self, group: &'b Group) -> Box<dyn Iterator<Item = StreamId> + 'b> {
        let (start, end) = (self.start, self.end);
        if start > end {
            return Box::new(std::iter::empty());
        }
        match self.consumer {
            None => {
                let ids = group.pending_from(start).map(|(id, _)| id);
                Box::new(ids.take_while(move |id| *id <= end))
            }
            Some(name) => {
                let consumer = group.consumer(name);
                let ids = consumer.map(|consumer| consumer.ids.range(start..=end));
                Box::new(ids.into_iter().flatten().copied())
            }
        }
    }
}
