//! Keys whatever they hold: whether they are there, what they are, removing, renaming, copying.

use slotway_protocol::resp::encode;

use super::connection::{database, small_integer_arg};
use super::{Call, CommandError, Run};
use crate::value::Value;
use crate::value::text::Text;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("del", del),
    ("unlink", del),
    ("exists", exists),
    ("touch", exists),
    ("type", type_of),
    ("rename", rename),
    ("renamenx", renamenx),
    ("copy", copy),
    ("move", move_to_database),
    ("swapdb", swapdb),
    ("randomkey", randomkey),
    ("dbsize", dbsize),
    ("flushall", flushall),
    ("flushdb", flushdb),
    ("object|encoding", object_encoding),
    ("object|refcount", object_refcount),
    ("object|freq", object_freq),
    ("object|idletime", object_idletime),
    ("memory|usage", memory_usage),
];

fn del(call: &mut Call<'_>) -> Result<(), CommandError> {
    let keys = call.request.args(1);
    let count = keys
        .filter(|key| call.keyspace.remove(key).is_some())
        .count();
    call.reply_len(count);
    Ok(())
}

fn exists(call: &mut Call<'_>) -> Result<(), CommandError> {
    let keys = call.request.args(1);
    let count = keys.filter(|key| call.keyspace.get(key).is_some()).count();
    call.reply_len(count);
    Ok(())
}

fn type_of(call: &mut Call<'_>) -> Result<(), CommandError> {
    let name = call
        .keyspace
        .get(call.arg(1))
        .map_or("none", Value::type_name);
    encode::simple(call.out, name.as_bytes());
    Ok(())
}

fn rename(call: &mut Call<'_>) -> Result<(), CommandError> {
    move_value(call, true)?;
    call.reply_ok();
    Ok(())
}

fn renamenx(call: &mut Call<'_>) -> Result<(), CommandError> {
    let done = move_value(call, false)?;
    call.reply_integer(i64::from(done));
    Ok(())
}

/// Moves a value to another name; without `replace` only to one that is free.
fn move_value(call: &mut Call<'_>, replace: bool) -> Result<bool, CommandError> {
    let (from, to) = (call.arg(1), call.arg(2));
    let expires_at = call
        .keyspace
        .expires_at(from)
        .ok_or(CommandError::NoSuchKey)?;
    if !replace && call.keyspace.contains(to) {
        return Ok(false);
    }
    if from != to
        && let Some(value) = call.keyspace.remove(from)
    {
        call.keyspace.replace(to, value, expires_at);
    }
    Ok(true)
}

fn copy(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (from, to) = (call.arg(1), call.arg(2));
    let here = call.keyspace.database();
    let (mut replace, mut to_database, mut index) = (false, here, 3);
    while index < call.len() {
        if call.arg_is(index, "REPLACE") {
            replace = true;
        } else if call.arg_is(index, "DB") && index + 1 < call.len() {
            index += 1;
            to_database = database(call, small_integer_arg(call, index)?)?;
        } else {
            return Err(CommandError::Syntax);
        }
        index += 1;
    }
    let elsewhere = to_database != here || here != 0;
    if elsewhere && call.server.cluster.is_some() && call.server.databases() == 1 {
        return Err(CommandError::text(
            "ERR Copying to another database is not allowed in cluster mode",
        ));
    }
    if from == to && to_database == here {
        return Err(same_object());
    }
    let expires_at = call.keyspace.expires_at(from).unwrap_or(0);
    let source = call.keyspace.get(from).cloned();
    let done = source.is_some_and(|value| {
        let to = Destination {
            database: to_database,
            key: to,
            replace,
        };
        put(call, &to, value, expires_at)
    });
    call.reply_integer(i64::from(done));
    Ok(())
}

fn move_to_database(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.server.cluster.is_some() && call.server.databases() == 1 {
        return Err(CommandError::text(
            "ERR MOVE is not allowed in cluster mode",
        ));
    }
    let to_database = database(call, small_integer_arg(call, 2)?)?;
    if to_database == call.keyspace.database() {
        return Err(same_object());
    }
    let key = call.arg(1);
    let expires_at = call.keyspace.expires_at(key).unwrap_or(0);
    let source = call.keyspace.peek(key).cloned();
    let done = source.is_some_and(|value| {
        let to = Destination {
            database: to_database,
            key,
            replace: false,
        };
        put(call, &to, value, expires_at)
    });
    if done {
        call.keyspace.remove(key);
    }
    call.reply_integer(i64::from(done));
    Ok(())
}

/// Where a value is copied to.
struct Destination<'a> {
    database: u32,
    key: &'a [u8],
    /// What is there already gives way.
    replace: bool,
}

/// Puts a value into the same slot of a database; whether its place was free. The selected
/// database stays.
fn put(call: &mut Call<'_>, to: &Destination<'_>, value: Value, expires_at: u64) -> bool {
    let here = call.keyspace.database();
    call.keyspace.select_database(to.database);
    let free = to.replace || !call.keyspace.contains(to.key);
    if free {
        call.keyspace.replace(to.key, value, expires_at);
    }
    call.keyspace.select_database(here);
    free
}

fn same_object() -> CommandError {
    CommandError::text("ERR source and destination objects are the same")
}

/// Slots are common to all databases, so a cluster can't swap two.
fn swapdb(call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(CommandError::text(if call.server.cluster.is_some() {
        "ERR SWAPDB is not allowed in cluster mode"
    } else {
        "ERR 'swapdb' is not supported by this node yet"
    }))
}

fn randomkey(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.keyspace.random_key(call.random) {
        Some(key) => encode::bulk(call.out, key),
        None => call.reply_null(),
    }
    Ok(())
}

fn dbsize(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_len(call.keyspace.database_len());
    Ok(())
}

fn flushall(call: &mut Call<'_>) -> Result<(), CommandError> {
    check_flush_mode(call)?;
    call.keyspace.clear();
    propagate_flush(call);
    call.reply_ok();
    Ok(())
}

fn flushdb(call: &mut Call<'_>) -> Result<(), CommandError> {
    check_flush_mode(call)?;
    call.keyspace.clear_database();
    propagate_flush(call);
    call.reply_ok();
    Ok(())
}

/// Replicas are emptied as well when there is nothing here.
fn propagate_flush(call: &mut Call<'_>) {
    let args: [&[u8]; 2] = [call.arg(0), call.request.args(1).next().unwrap_or_default()];
    call.propagate(&args[..call.len()]);
}

fn check_flush_mode(call: &Call<'_>) -> Result<(), CommandError> {
    let known = call.len() == 2 && (call.arg_is(1, "SYNC") || call.arg_is(1, "ASYNC"));
    if call.len() > 1 && !known {
        return Err(CommandError::Syntax);
    }
    Ok(())
}

fn object_encoding(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.keyspace.peek(call.arg(2)) {
        Some(value) => encode::bulk(call.out, value.encoding().as_bytes()),
        None => call.reply_null(),
    }
    Ok(())
}

fn object_refcount(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.keyspace.peek(call.arg(2)) {
        // Redis shares these numbers and answers with the count of an object that never dies.
        Some(Value::String(Text::Integer(0..=9_999))) => {
            call.reply_integer(i64::from(i32::MAX));
        }
        Some(_) => call.reply_integer(1),
        None => call.reply_null(),
    }
    Ok(())
}

/// When a key was used last is not kept, since nothing is evicted.
fn object_idletime(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.keyspace.contains(call.arg(2)) {
        call.reply_integer(0);
    } else {
        call.reply_null();
    }
    Ok(())
}

fn object_freq(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.keyspace.contains(call.arg(2)) {
        call.reply_null();
        return Ok(());
    }
    Err(CommandError::text(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note \
         that when switching between policies at runtime LRU and LFU data will take some time to \
         adjust.",
    ))
}

fn memory_usage(call: &mut Call<'_>) -> Result<(), CommandError> {
    let valid = match call.len() {
        3 => true,
        5 => call.arg_is(3, "SAMPLES") && call.integer_arg(4)? >= 0,
        _ => false,
    };
    if !valid {
        return Err(CommandError::Syntax);
    }
    let key = call.arg(2);
    let Some(value) = call.keyspace.peek(key).map(Value::heap_bytes) else {
        call.reply_null();
        return Ok(());
    };
    let entry = call.keyspace.entry_memory(key).unwrap_or(0);
    call.reply_len(entry + value);
    Ok(())
}
