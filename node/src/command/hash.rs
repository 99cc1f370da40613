//! The commands on hashes.

pub(super) mod pick;
pub(super) mod scan;

use slotway_protocol::resp::{Protocol, encode};

use super::scan::parse_cursor;
use super::{Call, CommandError, Run};
use crate::number::long_double::{LongDouble, add};
use crate::number::{IntegerText, parse_i64};
use crate::value::hash::Hash;
use pick::Count;
use scan::ScanOptions;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("hset", hset),
    ("hmset", hmset),
    ("hsetnx", hsetnx),
    ("hget", hget),
    ("hmget", hmget),
    ("hgetall", hgetall),
    ("hkeys", hkeys),
    ("hvals", hvals),
    ("hdel", hdel),
    ("hlen", hlen),
    ("hexists", hexists),
    ("hstrlen", hstrlen),
    ("hincrby", hincrby),
    ("hincrbyfloat", hincrbyfloat),
    ("hrandfield", hrandfield),
    ("hscan", hscan),
];

fn hset(call: &mut Call<'_>) -> Result<(), CommandError> {
    let added = set_fields(call)?;
    call.reply_len(added);
    Ok(())
}

fn hmset(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_fields(call)?;
    call.reply_ok();
    Ok(())
}

/// Sets the fields that follow the key; how many of them are new.
fn set_fields(call: &mut Call<'_>) -> Result<usize, CommandError> {
    if !call.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity);
    }
    let request = call.request;
    let key = request.arg(1);
    let hash = call.keyspace.hash_or_create(key)?;
    let mut args = request.args(2);
    let mut added = 0;
    while let (Some(field), Some(value)) = (args.next(), args.next()) {
        added += usize::from(hash.set(field, value));
    }
    call.keyspace.note_change(key);
    Ok(added)
}

fn hsetnx(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, field, value) = (call.arg(1), call.arg(2), call.arg(3));
    let hash = call.keyspace.hash_or_create(key)?;
    let is_new = hash.get(field).is_none();
    if is_new {
        hash.set(field, value);
        call.keyspace.note_change(key);
    }
    call.reply_integer(i64::from(is_new));
    Ok(())
}

fn hget(call: &mut Call<'_>) -> Result<(), CommandError> {
    let hash = call.keyspace.hash_value(call.request.arg(1))?;
    reply_value(call.out, call.protocol, hash, call.request.arg(2));
    Ok(())
}

fn hmget(call: &mut Call<'_>) -> Result<(), CommandError> {
    let hash = call.keyspace.hash_value(call.request.arg(1))?;
    encode::array(call.out, call.request.len() - 2);
    for field in call.request.args(2) {
        reply_value(call.out, call.protocol, hash, field);
    }
    Ok(())
}

fn reply_value(out: &mut Vec<u8>, protocol: Protocol, hash: Option<&Hash>, field: &[u8]) {
    match hash.and_then(|hash| hash.get(field)) {
        Some(value) => encode::bulk(out, value),
        None => encode::null(out, protocol),
    }
}

fn hgetall(call: &mut Call<'_>) -> Result<(), CommandError> {
    let hash = call.keyspace.hash_value(call.request.arg(1))?;
    encode::map(call.out, call.protocol, hash.map_or(0, Hash::len));
    for (field, value) in hash.iter().flat_map(|hash| hash.iter()) {
        encode::bulk(call.out, field);
        encode::bulk(call.out, value);
    }
    Ok(())
}

fn hkeys(call: &mut Call<'_>) -> Result<(), CommandError> {
    let hash = call.keyspace.hash_value(call.request.arg(1))?;
    encode::array(call.out, hash.map_or(0, Hash::len));
    for (field, _) in hash.iter().flat_map(|hash| hash.iter()) {
        encode::bulk(call.out, field);
    }
    Ok(())
}

fn hvals(call: &mut Call<'_>) -> Result<(), CommandError> {
    let hash = call.keyspace.hash_value(call.request.arg(1))?;
    encode::array(call.out, hash.map_or(0, Hash::len));
    for (_, value) in hash.iter().flat_map(|hash| hash.iter()) {
        encode::bulk(call.out, value);
    }
    Ok(())
}

fn hdel(call: &mut Call<'_>) -> Result<(), CommandError> {
    let request = call.request;
    let key = request.arg(1);
    let mut removed = 0;
    if let Some(hash) = call.keyspace.hash_mut(key)? {
        removed = request.args(2).filter(|field| hash.remove(field)).count();
    }
    if removed > 0 && !call.keyspace.remove_if_empty(key) {
        call.keyspace.note_change(key);
    }
    call.reply_len(removed);
    Ok(())
}

fn hlen(call: &mut Call<'_>) -> Result<(), CommandError> {
    let len = call.keyspace.hash_value(call.arg(1))?.map_or(0, Hash::len);
    call.reply_len(len);
    Ok(())
}

fn hexists(call: &mut Call<'_>) -> Result<(), CommandError> {
    let hash = call.keyspace.hash_value(call.arg(1))?;
    let exists = hash.is_some_and(|hash| hash.get(call.arg(2)).is_some());
    call.reply_integer(i64::from(exists));
    Ok(())
}

fn hstrlen(call: &mut Call<'_>) -> Result<(), CommandError> {
    let hash = call.keyspace.hash_value(call.arg(1))?;
    let len = hash
        .and_then(|hash| hash.get(call.arg(2)))
        .map_or(0, <[u8]>::len);
    call.reply_len(len);
    Ok(())
}

fn hincrby(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, field) = (call.arg(1), call.arg(2));
    let increment = call.integer_arg(3)?;
    let value = match call
        .keyspace
        .hash_mut(key)?
        .and_then(|hash| hash.get(field))
    {
        Some(value) => parse_i64(value).ok_or_else(|| error("ERR hash value is not an integer"))?,
        None => 0,
    };
    let value = value
        .checked_add(increment)
        .ok_or_else(|| error("ERR increment or decrement would overflow"))?;
    let hash = call.keyspace.hash_or_create(key)?;
    hash.set(field, IntegerText::default().write(value));
    call.keyspace.note_change(key);
    call.reply_integer(value);
    Ok(())
}

fn hincrbyfloat(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, field) = (call.arg(1), call.arg(2));
    let increment = LongDouble::parse(call.arg(3)).ok_or(CommandError::NotAFloat)?;
    if add(&LongDouble::default(), &increment).is_none() {
        return Err(error("ERR value is NaN or Infinity"));
    }
    let value = match call
        .keyspace
        .hash_mut(key)?
        .and_then(|hash| hash.get(field))
    {
        Some(value) => {
            LongDouble::parse(value).ok_or_else(|| error("ERR hash value is not a float"))?
        }
        None => LongDouble::default(),
    };
    let value = add(&value, &increment)
        .ok_or_else(|| error("ERR increment would produce NaN or Infinity"))?;
    let text = value.to_text();
    let hash = call.keyspace.hash_or_create(key)?;
    hash.set(field, text.as_bytes());
    call.keyspace.note_change(key);
    call.propagate(&[b"HSET", key, field, text.as_bytes()]);
    call.reply_bulk(text.as_bytes());
    Ok(())
}

fn error(text: &'static str) -> CommandError {
    CommandError::text(text)
}

fn hrandfield(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() == 2 {
        return random_field(call);
    }
    let count = Count::parse(call, 2)?;
    let with_values = match call.len() {
        3 => false,
        4 if call.arg_is(3, "withvalues") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_values {
        count.check_pairs()?;
    }
    let Some(hash) = call.keyspace.hash_value(call.request.arg(1))? else {
        call.reply_array(0);
        return Ok(());
    };
    let positions = count.pick(hash.len(), call.random);
    let (out, is_nested) = (&mut *call.out, call.protocol == Protocol::Resp3);
    encode::array(out, positions.len() << u32::from(with_values && !is_nested));
    for position in positions {
        let (field, value) = hash.at(position);
        if with_values && is_nested {
            encode::array(out, 2);
        }
        encode::bulk(out, field);
        if with_values {
            encode::bulk(out, value);
        }
    }
    Ok(())
}

fn random_field(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.keyspace.hash_value(call.request.arg(1))? {
        Some(hash) => {
            let (field, _) = hash.at(call.random.below(hash.len()));
            encode::bulk(call.out, field);
        }
        None => call.reply_null(),
    }
    Ok(())
}

fn hscan(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cursor = parse_cursor(call.arg(2))?;
    let Some(hash) = call.keyspace.hash_value(call.request.arg(1))? else {
        scan::reply_empty(call.out);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3)?;
    let (positions, next) = hash.scan(cursor, options.count);
    let found: Vec<_> = positions
        .map(|position| hash.at(position))
        .filter(|(field, _)| options.matches(field))
        .collect();
    scan::reply_cursor(call.out, next);
    encode::array(call.out, found.len() * 2);
    for (field, value) in found {
        encode::bulk(call.out, field);
        encode::bulk(call.out, value);
    }
    Ok(())
}
