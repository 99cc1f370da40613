//! Keys whatever they hold: whether they are there, what they are, removing, renaming, copying.

use slotway_protocol::resp::encode;

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
    ("randomkey", randomkey),
    ("dbsize", dbsize),
    ("flushall", flush),
    ("flushdb", flush),
    ("object|encoding", object_encoding),
    ("object|refcount", object_refcount),
    ("object|freq", object_freq),
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
    let (mut replace, mut index) = (false, 3);
    while index < call.len() {
        if call.arg_is(index, "REPLACE") {
            replace = true;
        } else if call.arg_is(index, "DB") && index + 1 < call.len() {
            index += 1;
            check_database(call, index)?;
        } else {
            return Err(CommandError::Syntax);
        }
        index += 1;
    }
    if from == to {
        return Err(CommandError::text(
            "ERR source and destination objects are the same",
        ));
    }
    let source = call.keyspace.get(from).cloned();
    let done = match source {
        Some(value) if replace || !call.keyspace.contains(to) => {
            let expires_at = call.keyspace.expires_at(from).unwrap_or(0);
            call.keyspace.replace(to, value, expires_at);
            true
        }
        _ => false,
    };
    call.reply_integer(i64::from(done));
    Ok(())
}

/// The database to copy into; there is only one.
fn check_database(call: &Call<'_>, index: usize) -> Result<(), CommandError> {
    if call.integer_arg(index)? == 0 {
        return Ok(());
    }
    Err(CommandError::text("ERR DB index is out of range"))
}

fn randomkey(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.keyspace.random_key(call.random) {
        Some(key) => encode::bulk(call.out, key),
        None => call.reply_null(),
    }
    Ok(())
}

fn dbsize(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_len(call.keyspace.len());
    Ok(())
}

fn flush(call: &mut Call<'_>) -> Result<(), CommandError> {
    let known = call.len() == 2 && (call.arg_is(1, "SYNC") || call.arg_is(1, "ASYNC"));
    if call.len() > 1 && !known {
        return Err(CommandError::Syntax);
    }
    call.keyspace.clear();
    call.reply_ok();
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
