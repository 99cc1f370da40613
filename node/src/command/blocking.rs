//! Commands that wait until a list or sorted set has something to take. XREAD and XREADGROUP wait
//! like them.

use std::sync::Arc;
use std::time::Duration;

use slotway_protocol::resp::{Protocol, encode};

use super::hash::pick;
use super::list::{parse_end, reply_popped};
use super::sorted_set::pop_one;
use super::stream::Reading;
use super::{Call, CommandError, Run};
use crate::blocking::Waiter;
use crate::engine::session::Replies;
use crate::keyspace::Keyspace;
use crate::number::parse_f64;
use crate::replication::propagation::propagate_expired;
use crate::server_state::ServerState;
use crate::value::Value;
use crate::value::list::End;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("blpop", |call| pop(call, Wish::Pop(End::Left))),
    ("brpop", |call| pop(call, Wish::Pop(End::Right))),
    ("bzpopmin", |call| pop(call, Wish::PopScored(End::Left))),
    ("bzpopmax", |call| pop(call, Wish::PopScored(End::Right))),
    ("blmove", blmove),
    ("brpoplpush", brpoplpush),
    ("blmpop", blmpop),
    ("bzmpop", bzmpop),
];

/// What a client wants to take from the first of its keys that has something.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    /// An element of a list.
    Pop(End),
    PopMany {
        end: End,
        count: usize,
    },
    Move {
        from: End,
        to: End,
        destination: Box<[u8]>,
    },
    /// A member of a sorted set with its score.
    PopScored(End),
    PopManyScored {
        end: End,
        count: usize,
    },
    /// New entries of a stream, which stay there.
    Read(Arc<Reading>),
}

/// What a wish works on.
pub(crate) struct Stock<'a> {
    pub(crate) keyspace: &'a mut Keyspace,
    pub(crate) server: &'a mut ServerState,
    pub(crate) protocol: Protocol,
    pub(crate) out: &'a mut Vec<u8>,
}

fn pop(call: &mut Call<'_>, wish: Wish) -> Result<(), CommandError> {
    let last = call.len() - 1;
    let timeout = timeout(call, last)?;
    take_or_wait(call, 1..last, wish, timeout)
}

fn blmove(call: &mut Call<'_>) -> Result<(), CommandError> {
    let wish = Wish::Move {
        from: parse_end(call, 3)?,
        to: parse_end(call, 4)?,
        destination: call.arg(2).into(),
    };
    let timeout = timeout(call, 5)?;
    take_or_wait(call, 1..2, wish, timeout)
}

fn brpoplpush(call: &mut Call<'_>) -> Result<(), CommandError> {
    let wish = Wish::Move {
        from: End::Right,
        to: End::Left,
        destination: call.arg(2).into(),
    };
    let timeout = timeout(call, 3)?;
    take_or_wait(call, 1..2, wish, timeout)
}

fn blmpop(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (keys, end_index) = counted_keys(call)?;
    let end = parse_end(call, end_index)?;
    let count = pick::pop_count(call, end_index + 1)?;
    let timeout = timeout(call, 1)?;
    take_or_wait(call, keys, Wish::PopMany { end, count }, timeout)
}

fn bzmpop(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (keys, end_index) = counted_keys(call)?;
    let end = match () {
        () if call.arg_is(end_index, "min") => End::Left,
        () if call.arg_is(end_index, "max") => End::Right,
        () => return Err(CommandError::Syntax),
    };
    let count = pick::pop_count(call, end_index + 1)?;
    let timeout = timeout(call, 1)?;
    take_or_wait(call, keys, Wish::PopManyScored { end, count }, timeout)
}

/// The keys behind a number of keys in argument 2, and where the arguments go on.
fn counted_keys(call: &Call<'_>) -> Result<(core::ops::Range<usize>, usize), CommandError> {
    let len = pick::positive(call, 2, "ERR numkeys should be greater than 0")?;
    let end = len.saturating_add(3);
    if end >= call.len() {
        return Err(CommandError::Syntax);
    }
    Ok((3..end, end))
}

/// How long to wait, `None` for ever.
fn timeout(call: &Call<'_>, index: usize) -> Result<Option<Duration>, CommandError> {
    let seconds = parse_f64(call.arg(index))
        .filter(|seconds| !seconds.is_nan())
        .ok_or_else(|| CommandError::text("ERR timeout is not a float or out of range"))?;
    let milliseconds = (seconds * 1_000.0).ceil();
    // What is too large for redis-server becomes negative there.
    if milliseconds < 0.0 || milliseconds >= i64::MAX as f64 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    let milliseconds = milliseconds as u64;
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}

/// Takes from the first key that has something; when none has, the client waits, but not inside of
/// a transaction.
fn take_or_wait(
    call: &mut Call<'_>,
    keys: core::ops::Range<usize>,
    wish: Wish,
    timeout: Option<Duration>,
) -> Result<(), CommandError> {
    for index in keys.clone() {
        let key = call.arg(index);
        let stock = &mut Stock::of(call);
        if wish.take(stock, key)? {
            return Ok(());
        }
    }
    if call.server.in_exec {
        match wish {
            Wish::Move { .. } => call.reply_null(),
            _ => call.reply_null_array(),
        }
        return Ok(());
    }
    wait(call, keys, wish, timeout);
    Ok(())
}

/// Lets the client wait for the keys in these arguments.
pub(super) fn wait(
    call: &mut Call<'_>,
    keys: core::ops::Range<usize>,
    wish: Wish,
    timeout: Option<Duration>,
) {
    let session = &call.sessions[call.client];
    let keys: Vec<Box<[u8]>> = keys.map(|index| call.request.arg(index).into()).collect();
    let waiter = Waiter {
        client: session.connection,
        is_answered: session.replies == Replies::On,
        database: call.keyspace.database(),
        keys: keys.clone(),
        wish,
        deadline: timeout.map(|timeout| call.now.instant + timeout),
        on_primary: call.server.is_primary(),
    };
    let ticket = call.server.blocking.add(waiter);
    for key in &keys {
        call.keyspace.await_key(key, ticket);
    }
    let session = call.session();
    session.waiting = true;
    session.blocked = Some(ticket);
}

impl Wish {
    /// Takes from a key and replies with what was taken. Whether there was anything.
    pub(crate) fn take(&self, stock: &mut Stock<'_>, key: &[u8]) -> Result<bool, CommandError> {
        match self {
            Self::Pop(end) => pop_element(stock, key, *end),
            Self::PopMany { end, count } => pop_elements(stock, key, *end, *count),
            Self::Move {
                from,
                to,
                destination,
            } => move_element(stock, key, destination, *from, *to),
            Self::PopScored(end) => pop_members(stock, key, *end, None),
            Self::PopManyScored { end, count } => pop_members(stock, key, *end, Some(*count)),
            Self::Read(reading) => reading.take(stock, key),
        }
    }

    /// Whether a value is of the type that is wished for.
    pub(crate) fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Pop(_) | Self::PopMany { .. } | Self::Move { .. } => {
                matches!(value, Value::List(_))
            }
            Self::PopScored(_) | Self::PopManyScored { .. } => {
                matches!(value, Value::SortedSet(_))
            }
            Self::Read(_) => matches!(value, Value::Stream(_)),
        }
    }

    /// Whether nothing is changed when it is fulfilled.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self, Self::Read(reading) if !reading.changes())
    }

    /// Why it is in vain to wait for a key that has that value now.
    pub(crate) fn refusal(&self, value: Option<&Value>) -> Option<CommandError> {
        match self {
            Self::Read(reading) => reading.refusal(value),
            _ => None,
        }
    }

    /// Another key that is changed.
    pub(crate) fn destination(&self) -> Option<&[u8]> {
        match self {
            Self::Move { destination, .. } => Some(destination),
            _ => None,
        }
    }
}

fn pop_element(stock: &mut Stock<'_>, key: &[u8], end: End) -> Result<bool, CommandError> {
    let list = stock.keyspace.list_mut(key)?;
    let Some(element) = list.and_then(|list| list.pop(end)) else {
        return Ok(false);
    };
    encode::array(stock.out, 2);
    encode::bulk(stock.out, key);
    encode::bulk(stock.out, &element);
    stock.note_removal(key);
    stock.propagate(&[pop_name(end), key]);
    Ok(true)
}

fn pop_elements(
    stock: &mut Stock<'_>,
    key: &[u8],
    end: End,
    count: usize,
) -> Result<bool, CommandError> {
    let Some(list) = stock.keyspace.list_mut(key)? else {
        return Ok(false);
    };
    let count = count.min(list.len());
    encode::array(stock.out, 2);
    encode::bulk(stock.out, key);
    reply_popped(stock.out, list, end, count);
    stock.note_removal(key);
    stock.propagate(&[pop_name(end), key, count.to_string().as_bytes()]);
    Ok(true)
}

fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Left => b"LPOP",
        End::Right => b"RPOP",
    }
}

fn move_element(
    stock: &mut Stock<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Result<bool, CommandError> {
    if stock.keyspace.list_mut(source)?.is_none() {
        return Ok(false);
    }
    stock.keyspace.list_mut(destination)?;
    let list = stock.keyspace.list_mut(source)?;
    let Some(element) = list.and_then(|list| list.pop(from)) else {
        return Ok(false);
    };
    // Before the source is removed: it may be the destination.
    let list = stock.keyspace.list_or_create(destination)?;
    list.push(to, &element);
    stock.keyspace.note_change(destination);
    stock.note_removal(source);
    encode::bulk(stock.out, &element);
    let side = |end: End| match end {
        End::Left => &b"LEFT"[..],
        End::Right => b"RIGHT",
    };
    stock.propagate(&[b"LMOVE", source, destination, side(from), side(to)]);
    Ok(true)
}

/// Without a count one member, in a row with its key.
fn pop_members(
    stock: &mut Stock<'_>,
    key: &[u8],
    end: End,
    count: Option<usize>,
) -> Result<bool, CommandError> {
    let Some(set) = stock.keyspace.sorted_set_mut(key)? else {
        return Ok(false);
    };
    let taken = count.unwrap_or(1).min(set.len());
    encode::array(stock.out, if count.is_some() { 2 } else { 3 });
    encode::bulk(stock.out, key);
    if count.is_some() {
        encode::array(stock.out, taken);
    }
    for _ in 0..taken {
        pop_one(stock.out, stock.protocol, set, end, count.is_some());
    }
    stock.note_removal(key);
    let name: &[u8] = match end {
        End::Left => b"ZPOPMIN",
        End::Right => b"ZPOPMAX",
    };
    stock.propagate(&[name, key, taken.to_string().as_bytes()]);
    Ok(true)
}

impl<'a> Stock<'a> {
    pub(super) fn of(call: &'a mut Call<'_>) -> Self {
        Self {
            keyspace: &mut *call.keyspace,
            server: &mut *call.server,
            protocol: call.protocol,
            out: &mut *call.out,
        }
    }

    fn note_removal(&mut self, key: &[u8]) {
        if !self.keyspace.remove_if_empty(key) {
            self.keyspace.note_change(key);
        }
    }

    fn propagate(&mut self, args: &[&[u8]]) {
        let propagation = &mut self.server.propagation;
        if propagation.is_heard() {
            self.keyspace.finish();
            propagate_expired(self.keyspace, propagation);
            propagation.say(self.keyspace.database(), args);
        }
    }
}
