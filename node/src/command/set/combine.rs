//! Intersection, union and difference of sets.

use slotway_protocol::resp::encode;

use crate::command::hash::pick::positive;
use crate::command::{Call, CommandError};
use crate::keyspace::Keyspace;
use crate::number::parse_i64;
use crate::value::Value;
use crate::value::set::Set;

/// A way to make one set of several.
type Combine = fn(&[Option<&Set>]) -> Set;

pub(super) fn sinter(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, intersection)
}

pub(super) fn sunion(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, union)
}

pub(super) fn sdiff(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, difference)
}

pub(super) fn sinterstore(call: &mut Call<'_>) -> Result<(), CommandError> {
    store(call, intersection)
}

pub(super) fn sunionstore(call: &mut Call<'_>) -> Result<(), CommandError> {
    store(call, union)
}

pub(super) fn sdiffstore(call: &mut Call<'_>) -> Result<(), CommandError> {
    store(call, difference)
}

fn reply(call: &mut Call<'_>, combine: Combine) -> Result<(), CommandError> {
    let result = combine(&sets(call.keyspace, call.request.args(1))?);
    encode::set(call.out, call.protocol, result.len());
    result
        .iter()
        .for_each(|member| encode::bulk(call.out, &member));
    Ok(())
}

fn store(call: &mut Call<'_>, combine: Combine) -> Result<(), CommandError> {
    let destination = call.arg(1);
    let result = combine(&sets(call.keyspace, call.request.args(2))?);
    let len = result.len();
    if result.is_empty() {
        call.keyspace.remove(destination);
    } else {
        call.keyspace.set(destination, Value::Set(Box::new(result)));
    }
    call.reply_len(len);
    Ok(())
}

pub(super) fn sintercard(call: &mut Call<'_>) -> Result<(), CommandError> {
    let keys = positive(call, 1, "ERR numkeys should be greater than 0")?;
    if keys > call.len() - 2 {
        return Err(CommandError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let mut limit = 0;
    for index in (keys + 2..call.len()).step_by(2) {
        if index + 1 == call.len() || !call.arg_is(index, "limit") {
            return Err(CommandError::Syntax);
        }
        let number = parse_i64(call.arg(index + 1)).and_then(|n| usize::try_from(n).ok());
        limit = number.ok_or_else(|| CommandError::text("ERR LIMIT can't be negative"))?;
    }
    let sets = sets(call.keyspace, call.request.args(2).take(keys))?;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut count = 0;
    for_each_common(&sets, |_| {
        count += 1;
        count < limit
    });
    call.reply_len(count);
    Ok(())
}

/// The sets of some keys; all of their types are checked.
fn sets<'k, 'a>(
    keyspace: &'k Keyspace,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Option<&'k Set>>, CommandError> {
    keys.map(|key| keyspace.set_value(key)).collect()
}

fn intersection(sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    for_each_common(sets, |member| {
        result.add(member);
        true
    });
    result
}

/// Shows the members that all sets have, while `visit` wants more.
fn for_each_common(sets: &[Option<&Set>], mut visit: impl FnMut(&[u8]) -> bool) {
    let Some(mut sets) = sets.iter().copied().collect::<Option<Vec<&Set>>>() else {
        return;
    };
    // The smallest set has the fewest candidates, and the next ones drop the most of them.
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else {
        return;
    };
    for member in smallest.iter() {
        if others.iter().all(|set| set.contains(&member)) && !visit(&member) {
            return;
        }
    }
}

fn union(sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    for member in sets.iter().flatten().flat_map(|set| set.iter()) {
        result.add(&member);
    }
    result
}

fn difference(sets: &[Option<&Set>]) -> Set {
    let mut result = Set::default();
    let Some((Some(first), others)) = sets.split_first() else {
        return result;
    };
    let is_elsewhere = |member: &[u8]| others.iter().flatten().any(|set| set.contains(member));
    for member in first.iter().filter(|member| !is_elsewhere(member)) {
        result.add(&member);
    }
    result
}
