//! The commands on sorted sets, but for those on ranges and on several sets.

mod add;
mod bounds;
mod combine;
mod range;

use slotway_protocol::resp::{Protocol, encode};

use super::hash::pick::{self, Count};
use super::hash::scan::{self, ScanOptions};
use super::scan::parse_cursor;
use super::{Call, CommandError, Run};
use crate::number::{IntegerText, parse_i64};
use crate::value::list::End;
use crate::value::sorted_set::SortedSet;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("zadd", add::zadd),
    ("zincrby", add::zincrby),
    ("zscore", zscore),
    ("zmscore", zmscore),
    ("zcard", zcard),
    ("zrem", zrem),
    ("zrank", |call| rank(call, false)),
    ("zrevrank", |call| rank(call, true)),
    ("zpopmin", |call| pop(call, End::Left)),
    ("zpopmax", |call| pop(call, End::Right)),
    ("zmpop", zmpop),
    ("zrandmember", zrandmember),
    ("zscan", zscan),
    ("zrange", range::zrange),
    ("zrevrange", range::zrevrange),
    ("zrangebyscore", range::zrangebyscore),
    ("zrevrangebyscore", range::zrevrangebyscore),
    ("zrangebylex", range::zrangebylex),
    ("zrevrangebylex", range::zrevrangebylex),
    ("zrangestore", range::zrangestore),
    ("zcount", range::zcount),
    ("zlexcount", range::zlexcount),
    ("zremrangebyrank", range::zremrangebyrank),
    ("zremrangebyscore", range::zremrangebyscore),
    ("zremrangebylex", range::zremrangebylex),
    ("zunion", combine::zunion),
    ("zunionstore", combine::zunionstore),
    ("zinter", combine::zinter),
    ("zinterstore", combine::zinterstore),
    ("zintercard", combine::zintercard),
    ("zdiff", combine::zdiff),
    ("zdiffstore", combine::zdiffstore),
];

fn zscore(call: &mut Call<'_>) -> Result<(), CommandError> {
    let set = call.keyspace.sorted_set_value(call.arg(1))?;
    match set.and_then(|set| set.score(call.arg(2))) {
        Some(score) => call.reply_double(score),
        None => call.reply_null(),
    }
    Ok(())
}

fn zmscore(call: &mut Call<'_>) -> Result<(), CommandError> {
    let set = call.keyspace.sorted_set_value(call.request.arg(1))?;
    encode::array(call.out, call.request.len() - 2);
    for member in call.request.args(2) {
        match set.and_then(|set| set.score(member)) {
            Some(score) => encode::double(call.out, call.protocol, score),
            None => encode::null(call.out, call.protocol),
        }
    }
    Ok(())
}

fn zcard(call: &mut Call<'_>) -> Result<(), CommandError> {
    let set = call.keyspace.sorted_set_value(call.arg(1))?;
    call.reply_len(set.map_or(0, SortedSet::len));
    Ok(())
}

fn zrem(call: &mut Call<'_>) -> Result<(), CommandError> {
    let request = call.request;
    let key = request.arg(1);
    let mut removed = 0;
    if let Some(set) = call.keyspace.sorted_set_mut(key)? {
        removed = request
            .args(2)
            .filter(|member| set.remove(member).is_some())
            .count();
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

fn rank(call: &mut Call<'_>, is_reversed: bool) -> Result<(), CommandError> {
    let set = call.keyspace.sorted_set_value(call.arg(1))?;
    let rank = set.and_then(|set| {
        let rank = set.rank(call.arg(2))?;
        Some(if is_reversed {
            set.len() - 1 - rank
        } else {
            rank
        })
    });
    match rank {
        Some(rank) => call.reply_len(rank),
        None => call.reply_null(),
    }
    Ok(())
}

fn pop(call: &mut Call<'_>, end: End) -> Result<(), CommandError> {
    let count = match call.len() {
        2 => None,
        3 => {
            let count = parse_i64(call.arg(2)).and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(CommandError::MustBePositive)?)
        }
        _ => return Err(CommandError::Syntax),
    };
    let key = call.arg(1);
    let Some(set) = call.keyspace.sorted_set_mut(key)? else {
        call.reply_array(0);
        return Ok(());
    };
    let is_nested = call.protocol == Protocol::Resp3 && count.is_some();
    let count = count.unwrap_or(1).min(set.len());
    encode::array(call.out, if is_nested { count } else { count * 2 });
    for _ in 0..count {
        pop_one(call.out, call.protocol, set, end, is_nested);
    }
    if count > 0 {
        note_removal(call, key);
    }
    Ok(())
}

/// Removes the first or last member of a set that is not empty, and replies with it.
pub(super) fn pop_one(
    out: &mut Vec<u8>,
    protocol: Protocol,
    set: &mut SortedSet,
    end: End,
    is_nested: bool,
) {
    let rank = match end {
        End::Left => 0,
        End::Right => set.len() - 1,
    };
    let (member, score) = set.remove_at(rank);
    if is_nested {
        encode::array(out, 2);
    }
    encode::bulk(out, &member);
    encode::double(out, protocol, score);
}

fn zmpop(call: &mut Call<'_>) -> Result<(), CommandError> {
    let keys = pick::positive(call, 1, "ERR numkeys should be greater than 0")?;
    let end_index = keys.saturating_add(2);
    if end_index >= call.len() {
        return Err(CommandError::Syntax);
    }
    let end = match () {
        () if call.arg_is(end_index, "min") => End::Left,
        () if call.arg_is(end_index, "max") => End::Right,
        () => return Err(CommandError::Syntax),
    };
    let count = pick::pop_count(call, end_index + 1)?;
    let request = call.request;
    for key in request.args(2).take(keys) {
        let Some(set) = call.keyspace.sorted_set_mut(key)? else {
            continue;
        };
        let count = count.min(set.len());
        encode::array(call.out, 2);
        encode::bulk(call.out, key);
        encode::array(call.out, count);
        for _ in 0..count {
            pop_one(call.out, call.protocol, set, end, true);
        }
        note_removal(call, key);
        let name: &[u8] = match end {
            End::Left => b"ZPOPMIN",
            End::Right => b"ZPOPMAX",
        };
        call.propagate_number(&[name, key], count as u64, &[]);
        return Ok(());
    }
    call.reply_null_array();
    Ok(())
}

fn zrandmember(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() == 2 {
        return random_member(call);
    }
    let count = Count::parse(call, 2)?;
    let with_scores = match call.len() {
        3 => false,
        4 if call.arg_is(3, "withscores") => true,
        _ => return Err(CommandError::Syntax),
    };
    if with_scores {
        count.check_pairs()?;
    }
    let Some(set) = call.keyspace.sorted_set_value(call.request.arg(1))? else {
        call.reply_array(0);
        return Ok(());
    };
    let positions = count.pick(set.len(), call.random);
    let members = positions
        .into_iter()
        .map(|position| set.at_position(position));
    reply_members(call.out, call.protocol, members, with_scores);
    Ok(())
}

fn random_member(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.keyspace.sorted_set_value(call.request.arg(1))? {
        Some(set) => {
            let (member, _) = set.at_position(call.random.below(set.len()));
            encode::bulk(call.out, member);
        }
        None => call.reply_null(),
    }
    Ok(())
}

/// An array of members; with scores, RESP3 has an array for each pair and RESP2 one for all.
fn reply_members<'a>(
    out: &mut Vec<u8>,
    protocol: Protocol,
    members: impl ExactSizeIterator<Item = (&'a [u8], f64)>,
    with_scores: bool,
) {
    let is_nested = with_scores && protocol == Protocol::Resp3;
    let is_flat = with_scores && !is_nested;
    encode::array(
        out,
        if is_flat {
            members.len() * 2
        } else {
            members.len()
        },
    );
    for (member, score) in members {
        if is_nested {
            encode::array(out, 2);
        }
        encode::bulk(out, member);
        if with_scores {
            encode::double(out, protocol, score);
        }
    }
}

fn zscan(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cursor = parse_cursor(call.arg(2))?;
    let Some(set) = call.keyspace.sorted_set_value(call.request.arg(1))? else {
        scan::reply_empty(call.out);
        return Ok(());
    };
    let options = ScanOptions::parse(call, 3)?;
    let (positions, next) = set.scan(cursor, options.count);
    let found: Vec<_> = positions
        .map(|position| set.at_position(position))
        .filter(|(member, _)| options.matches(member))
        .collect();
    scan::reply_cursor(call.out, next);
    encode::array(call.out, found.len() * 2);
    for (member, score) in found {
        encode::bulk(call.out, member);
        reply_scanned_score(call.out, score, set.is_small());
    }
    Ok(())
}

/// A score as a string in both protocols. The server keeps whole numbers of small sets as
/// integers, which then show no exponent.
fn reply_scanned_score(out: &mut Vec<u8>, score: f64, is_small: bool) {
    let integer = score as i64;
    if is_small && score.abs() <= INTEGER_MAX && integer as f64 == score {
        encode::bulk(out, IntegerText::default().write(integer));
    } else {
        encode::double(out, Protocol::Resp2, score);
    }
}

/// Half of the greatest integer.
const INTEGER_MAX: f64 = (i64::MAX / 2) as f64;
