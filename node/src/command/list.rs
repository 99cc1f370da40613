//! The commands on lists, but for those that wait for an element.

use core::ops::Range;

use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run};
use crate::number::parse_i64;
use crate::value::list::{End, List};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("lpush", |call| push(call, End::Left)),
    ("rpush", |call| push(call, End::Right)),
    ("lpushx", |call| push_existing(call, End::Left)),
    ("rpushx", |call| push_existing(call, End::Right)),
    ("lpop", |call| pop(call, End::Left)),
    ("rpop", |call| pop(call, End::Right)),
    ("llen", llen),
    ("lrange", lrange),
    ("lindex", lindex),
    ("lset", lset),
    ("linsert", linsert),
    ("lrem", lrem),
    ("ltrim", ltrim),
    ("lpos", lpos),
    ("lmove", lmove),
    ("rpoplpush", rpoplpush),
    ("lmpop", lmpop),
];

fn push(call: &mut Call<'_>, end: End) -> Result<(), CommandError> {
    let request = call.request;
    let key = request.arg(1);
    let list = call.keyspace.list_or_create(key)?;
    for element in request.args(2) {
        list.push(end, element);
    }
    let len = list.len();
    call.keyspace.note_change(key);
    call.reply_len(len);
    Ok(())
}

fn push_existing(call: &mut Call<'_>, end: End) -> Result<(), CommandError> {
    if call.keyspace.list_mut(call.request.arg(1))?.is_some() {
        return push(call, end);
    }
    call.reply_integer(0);
    Ok(())
}

fn pop(call: &mut Call<'_>, end: End) -> Result<(), CommandError> {
    match call.len() {
        2 => pop_one(call, end),
        3 => pop_count(call, end),
        _ => Err(CommandError::WrongArity),
    }
}

fn pop_one(call: &mut Call<'_>, end: End) -> Result<(), CommandError> {
    let key = call.arg(1);
    let list = call.keyspace.list_mut(key)?;
    let Some(element) = list.and_then(|list| list.pop(end)) else {
        call.reply_null();
        return Ok(());
    };
    encode::bulk(call.out, &element);
    note_removal(call, key);
    Ok(())
}

fn pop_count(call: &mut Call<'_>, end: End) -> Result<(), CommandError> {
    let key = call.arg(1);
    let count = parse_i64(call.arg(2)).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(CommandError::MustBePositive)?;
    let Some(list) = call.keyspace.list_mut(key)? else {
        call.reply_null_array();
        return Ok(());
    };
    let count = count.min(list.len());
    reply_popped(call.out, list, end, count);
    if count > 0 {
        note_removal(call, key);
    }
    Ok(())
}

/// Pops elements that are there and replies with an array of them.
pub(super) fn reply_popped(out: &mut Vec<u8>, list: &mut List, end: End, count: usize) {
    encode::array(out, count);
    for _ in 0..count {
        if let Some(element) = list.pop(end) {
            encode::bulk(out, &element);
        }
    }
}

/// To be called after elements were taken out.
fn note_removal(call: &mut Call<'_>, key: &[u8]) {
    if !call.keyspace.remove_if_empty(key) {
        call.keyspace.note_change(key);
    }
}

fn llen(call: &mut Call<'_>) -> Result<(), CommandError> {
    let len = call.keyspace.list_value(call.arg(1))?.map_or(0, List::len);
    call.reply_len(len);
    Ok(())
}

fn lrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (start, stop) = (call.integer_arg(2)?, call.integer_arg(3)?);
    let Some(list) = call.keyspace.list_value(call.request.arg(1))? else {
        call.reply_array(0);
        return Ok(());
    };
    let range = clamp_range(start, stop, list.len());
    let out = &mut *call.out;
    encode::array(out, range.len());
    for element in list.range(range) {
        encode::bulk(out, element);
    }
    Ok(())
}

/// The range from `start` to `stop`, both included and negative when counted from the end.
pub(super) fn clamp_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_end = |index: i64| {
        if index < 0 {
            (len + index).max(0)
        } else {
            index
        }
    };
    let start = from_end(start);
    let stop = if stop < 0 { len + stop } else { stop }.min(len - 1);
    if start > stop {
        return 0..0;
    }
    start as usize..stop as usize + 1
}

/// The index of an element; negative when counted from the end.
fn resolve_index(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { len as i64 + index } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

fn lindex(call: &mut Call<'_>) -> Result<(), CommandError> {
    let Some(list) = call.keyspace.list_value(call.request.arg(1))? else {
        call.reply_null();
        return Ok(());
    };
    let index = resolve_index(call.integer_arg(2)?, list.len());
    match index.and_then(|index| list.get(index)) {
        Some(element) => encode::bulk(call.out, element),
        None => encode::null(call.out, call.protocol),
    }
    Ok(())
}

fn lset(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, index, element) = (call.arg(1), call.integer_arg(2), call.arg(3));
    let list = call
        .keyspace
        .list_mut(key)?
        .ok_or(CommandError::NoSuchKey)?;
    match resolve_index(index?, list.len()) {
        Some(index) => list.set(index, element),
        None => return Err(CommandError::IndexOutOfRange),
    };
    call.keyspace.note_change(key);
    call.reply_ok();
    Ok(())
}

fn linsert(call: &mut Call<'_>) -> Result<(), CommandError> {
    let after = match () {
        () if call.arg_is(2, "before") => 0,
        () if call.arg_is(2, "after") => 1,
        () => return Err(CommandError::Syntax),
    };
    let (key, pivot, element) = (call.arg(1), call.arg(3), call.arg(4));
    let Some(list) = call.keyspace.list_mut(key)? else {
        call.reply_integer(0);
        return Ok(());
    };
    let Some(index) = list.iter().position(|element| element == pivot) else {
        call.reply_integer(-1);
        return Ok(());
    };
    list.insert(index + after, element);
    let len = list.len();
    call.keyspace.note_change(key);
    call.reply_len(len);
    Ok(())
}

fn lrem(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, count, element) = (call.arg(1), call.integer_arg(2)?, call.arg(3));
    let end = if count < 0 { End::Right } else { End::Left };
    let max = match usize::try_from(count.unsigned_abs()) {
        Ok(max) if max > 0 => max,
        _ => usize::MAX,
    };
    let list = call.keyspace.list_mut(key)?;
    let removed = list.map_or(0, |list| list.remove(end, element, max));
    if removed > 0 {
        note_removal(call, key);
    }
    call.reply_len(removed);
    Ok(())
}

fn ltrim(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, start, stop) = (call.arg(1), call.integer_arg(2)?, call.integer_arg(3)?);
    if let Some(list) = call.keyspace.list_mut(key)? {
        let range = clamp_range(start, stop, list.len());
        if range.len() == list.len() {
            // Who watches the key is told all the same.
            call.server.propagation.have_said();
        }
        list.trim(range);
        note_removal(call, key);
    }
    call.reply_ok();
    Ok(())
}

/// The options of LPOS.
struct Search {
    /// Counted from this end.
    end: End,
    /// How many matches are passed over.
    skip: u64,
    /// How many matches are wanted, 0 for all; `None` for one, not in an array.
    count: Option<usize>,
    /// How many elements are looked at, 0 for all.
    len_max: usize,
}

impl Search {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut search = Self {
            end: End::Left,
            skip: 0,
            count: None,
            len_max: 0,
        };
        for index in (3..call.len()).step_by(2) {
            if index + 1 == call.len() {
                return Err(CommandError::Syntax);
            }
            let natural = |text: &'static str| {
                let number = parse_i64(call.arg(index + 1)).and_then(|n| usize::try_from(n).ok());
                number.ok_or_else(|| CommandError::text(text))
            };
            if call.arg_is(index, "rank") {
                search.set_rank(call.integer_arg(index + 1)?)?;
            } else if call.arg_is(index, "count") {
                search.count = Some(natural("ERR COUNT can't be negative")?);
            } else if call.arg_is(index, "maxlen") {
                search.len_max = natural("ERR MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(search)
    }

    fn set_rank(&mut self, rank: i64) -> Result<(), CommandError> {
        (self.end, self.skip) = match rank {
            0 => {
                return Err(CommandError::text(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
            // The server negates this one to itself, and takes what is below 1 as 1.
            i64::MIN => (End::Right, 0),
            1.. => (End::Left, rank.unsigned_abs() - 1),
            _ => (End::Right, rank.unsigned_abs() - 1),
        };
        Ok(())
    }

    /// The indices of the matches.
    fn run(&self, list: &List, element: &[u8]) -> Vec<usize> {
        let looked_at = match self.len_max {
            0 => list.len(),
            len_max => len_max,
        };
        let wanted = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        };
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let matches = |(_, candidate): &(usize, &[u8])| *candidate == element;
        match self.end {
            End::Left => {
                let found = list.iter().enumerate().take(looked_at).filter(matches);
                found
                    .map(|(index, _)| index)
                    .skip(skip)
                    .take(wanted)
                    .collect()
            }
            End::Right => {
                let found = list
                    .iter()
                    .enumerate()
                    .rev()
                    .take(looked_at)
                    .filter(matches);
                found
                    .map(|(index, _)| index)
                    .skip(skip)
                    .take(wanted)
                    .collect()
            }
        }
    }
}

fn lpos(call: &mut Call<'_>) -> Result<(), CommandError> {
    let search = Search::parse(call)?;
    let list = call.keyspace.list_value(call.request.arg(1))?;
    let found = list.map_or_else(Vec::new, |list| search.run(list, call.request.arg(2)));
    match (search.count, found.first()) {
        (None, Some(index)) => call.reply_len(*index),
        (None, None) => call.reply_null(),
        (Some(_), _) => {
            call.reply_array(found.len());
            found.into_iter().for_each(|index| call.reply_len(index));
        }
    }
    Ok(())
}

fn lmove(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (from, to) = (parse_end(call, 3)?, parse_end(call, 4)?);
    move_element(call, from, to)
}

fn rpoplpush(call: &mut Call<'_>) -> Result<(), CommandError> {
    move_element(call, End::Right, End::Left)
}

pub(super) fn parse_end(call: &Call<'_>, index: usize) -> Result<End, CommandError> {
    if call.arg_is(index, "left") {
        Ok(End::Left)
    } else if call.arg_is(index, "right") {
        Ok(End::Right)
    } else {
        Err(CommandError::Syntax)
    }
}

/// Moves an element from one end of a list to one of another, which may be the same list.
fn move_element(call: &mut Call<'_>, from: End, to: End) -> Result<(), CommandError> {
    let (source, destination) = (call.arg(1), call.arg(2));
    if call.keyspace.list_mut(source)?.is_none() {
        call.reply_null();
        return Ok(());
    }
    call.keyspace.list_mut(destination)?;
    let popped = call
        .keyspace
        .list_mut(source)?
        .and_then(|list| list.pop(from));
    if let Some(element) = popped {
        // Before the source is removed: it may be the destination.
        call.keyspace
            .list_or_create(destination)?
            .push(to, &element);
        call.keyspace.note_change(destination);
        note_removal(call, source);
        encode::bulk(call.out, &element);
    }
    Ok(())
}

fn lmpop(call: &mut Call<'_>) -> Result<(), CommandError> {
    let keys = super::hash::pick::positive(call, 1, "ERR numkeys should be greater than 0")?;
    let end_index = keys.saturating_add(2);
    if end_index >= call.len() {
        return Err(CommandError::Syntax);
    }
    let end = parse_end(call, end_index)?;
    let count = super::hash::pick::pop_count(call, end_index + 1)?;
    let request = call.request;
    for key in request.args(2).take(keys) {
        let Some(list) = call.keyspace.list_mut(key)? else {
            continue;
        };
        let count = count.min(list.len());
        encode::array(call.out, 2);
        encode::bulk(call.out, key);
        reply_popped(call.out, list, end, count);
        note_removal(call, key);
        let name: &[u8] = match end {
            End::Left => b"LPOP",
            End::Right => b"RPOP",
        };
        call.propagate_number(&[name, key], count as u64, &[]);
        return Ok(());
    }
    call.reply_null_array();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_length() {
        for (start, stop, len, expected) in [
            (0, -1, 5, 0..5),
            (-2, -1, 5, 3..5),
            (-100, 2, 5, 0..3),
            (1, 100, 5, 1..5),
            (3, 2, 5, 0..0),
            (5, 9, 5, 0..0),
            (0, -6, 5, 0..0),
            (i64::MIN, i64::MAX, 5, 0..5),
            (i64::MAX, i64::MIN, 5, 0..0),
            (0, -1, 0, 0..0),
        ] {
            assert_eq!(
                clamp_range(start, stop, len),
                expected,
                "{start} {stop} {len}"
            );
        }
    }

    #[test]
    fn indices_count_from_either_end() {
        assert_eq!(resolve_index(0, 3), Some(0));
        assert_eq!(resolve_index(-3, 3), Some(0));
        assert_eq!(resolve_index(-4, 3), None);
        assert_eq!(resolve_index(3, 3), None);
        assert_eq!(resolve_index(i64::MIN, 3), None);
    }
}
