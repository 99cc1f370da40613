//! The commands on sets.

mod combine;

use slotway_protocol::resp::encode;

use super::hash::pick::Count;
use super::hash::scan::{self, ScanOptions};
use super::scan::parse_cursor;
use super::{Call, CommandError, Run};
use crate::number::parse_i64;
use crate::value::set::Set;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("sadd", sadd),
    ("srem", srem),
    ("smembers", smembers),
    ("scard", scard),
    ("sismember", sismember),
    ("smismember", smismember),
    ("spop", spop),
    ("srandmember", srandmember),
    ("smove", smove),
    ("sscan", sscan),
    ("sinter", combine::sinter),
    ("sinterstore", combine::sinterstore),
    ("sintercard", combine::sintercard),
    ("sunion", combine::sunion),
    ("sunionstore", combine::sunionstore),
    ("sdiff", combine::sdiff),
    ("sdiffstore", combine::sdiffstore),
];

fn sadd(call: &mut Call<'_>) -> Result<(), CommandError> {
    let request = call.request;
    let key = request.arg(1);
    let set = call.keyspace.set_or_create(key)?;
    let added = request.args(2).filter(|member| set.add(member)).count();
    if added > 0 {
        call.keyspace.note_change(key);
    }
    call.reply_len(added);
    Ok(())
}

fn srem(call: &mut Call<'_>) -> Result<(), CommandError> {
    let request = call.request;
    let key = request.arg(1);
    let mut removed = 0;
    if let Some(set) = call.keyspace.set_mut(key)? {
        removed = request.args(2).filter(|member| set.remove(member)).count();
    }
    if removed > 0 {
        note_removal(call, key);
    }
    call.reply_len(removed);
    Ok(())
}

/// To be called after members were taken out.
fn note_removal(call: &mut Call<'_>, key: &[u8]) {
    if !call.keyspace.remove_if_empty(key) {
        call.keyspace.note_change(key);
    }
}

fn smembers(call: &mut Call<'_>) -> Result<(), CommandError> {
    let set = call.keyspace.set_value(call.request.arg(1))?;
    encode::set(call.out, call.protocol, set.map_or(0, Set::len));
    for member in set.iter().flat_map(|set| set.iter()) {
        encode::bulk(call.out, &member);
    }
    Ok(())
}

fn scard(call: &mut Call<'_>) -> Result<(), CommandError> {
    let len = call.keyspace.set_value(call.arg(1))?.map_or(0, Set::len);
    call.reply_len(len);
    Ok(())
}

fn sismember(call: &mut Call<'_>) -> Result<(), CommandError> {
    let set = call.keyspace.set_value(call.arg(1))?;
    let contains = set.is_some_and(|set| set.contains(call.arg(2)));
    call.reply_integer(i64::from(contains));
    Ok(())
}

fn smismember(call: &mut Call<'_>) -> Result<(), CommandError> {
    let set = call.keyspace.set_value(call.request.arg(1))?;
    encode::array(call.out, call.request.len() - 2);
    for member in call.request.args(2) {
        let contains = set.is_some_and(|set| set.contains(member));
        encode::integer(call.out, i64::from(contains));
    }
    Ok(())
}

fn spop(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.len() {
        2 => pop_one(call),
        3 => pop_count(call),
        _ => Err(CommandError::Syntax),
    }
}

fn pop_one(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    let Some(set) = call.keyspace.set_mut(key)? else {
        call.reply_null();
        return Ok(());
    };
    let position = call.random.below(set.len());
    encode::bulk(call.out, &set.at(position));
    let is_heard = call.server.propagation.is_heard();
    let popped = is_heard.then(|| set.at(position).to_vec());
    set.remove_at(position);
    note_removal(call, key);
    if let Some(member) = popped {
        call.propagate(&[b"SREM", key, &member]);
    }
    Ok(())
}

fn pop_count(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    let count = parse_i64(call.arg(2)).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(CommandError::MustBePositive)?;
    let Some(set) = call.keyspace.set_mut(key)? else {
        call.reply_set(0);
        return Ok(());
    };
    let count = count.min(set.len());
    encode::set(call.out, call.protocol, count);
    if count == set.len() {
        set.iter()
            .for_each(|member| encode::bulk(call.out, &member));
        call.keyspace.remove(key);
        call.propagate(&[b"DEL", key]);
        return Ok(());
    }
    let is_heard = call.server.propagation.is_heard();
    let mut popped: Vec<Vec<u8>> = Vec::new();
    for _ in 0..count {
        let position = call.random.below(set.len());
        let member = set.at(position);
        encode::bulk(call.out, &member);
        if is_heard {
            popped.push(member.to_vec());
        }
        set.remove_at(position);
    }
    if count > 0 {
        call.keyspace.note_change(key);
    }
    if !popped.is_empty() {
        let args = [&b"SREM"[..], key].into_iter();
        let args: Vec<&[u8]> = args.chain(popped.iter().map(Vec::as_slice)).collect();
        call.propagate(&args);
    }
    Ok(())
}

fn srandmember(call: &mut Call<'_>) -> Result<(), CommandError> {
    let count = match call.len() {
        2 => None,
        3 => Some(Count::parse(call, 2)?),
        _ => return Err(CommandError::Syntax),
    };
    let Some(set) = call.keyspace.set_value(call.request.arg(1))? else {
        match count {
            Some(_) => call.reply_array(0),
            None => call.reply_null(),
        }
        return Ok(());
    };
    let Some(count) = count else {
        encode::bulk(call.out, &set.at(call.random.below(set.len())));
        return Ok(());
    };
    let positions = count.pick(set.len(), call.random);
    encode::array(call.out, positions.len());
    for position in positions {
        encode::bulk(call.out, &set.at(position));
    }
    Ok(())
}

fn smove(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (source, destination, member) = (call.arg(1), call.arg(2), call.arg(3));
    let Some(set) = call.keyspace.set_mut(source)? else {
        call.reply_integer(0);
        return Ok(());
    };
    let contains = set.contains(member);
    call.keyspace.set_mut(destination)?;
    if contains && source != destination {
        if let Some(set) = call.keyspace.set_mut(source)? {
            set.remove(member);
        }
        note_removal(call, source);
        if call.keyspace.set_or_create(destination)?.add(member) {
            call.keyspace.note_change(destination);
        }
    }
    call.reply_integer(i64::from(contains));
    Ok(())
}

fn sscan(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cursor = parse_cursor(call.arg(2))?;
    let Some(set) = call.keyspace.set_value(call.request.arg(1))? else {
        scan::reply_empty(call.out);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3)?;
    let (positions, next) = set.scan(cursor, options.count);
    let found: Vec<_> = positions
        .map(|position| set.at(position))
        .filter(|member| options.matches(member))
        .collect();
    scan::reply_cursor(call.out, next);
    encode::array(call.out, found.len());
    for member in found {
        encode::bulk(call.out, &member);
    }
    Ok(())
}
