//! The commands on a range of a sorted set: by rank, by score or by the members' bytes.

use core::ops::Range;

use super::bounds::{Bounds, By};
use super::{note_removal, reply_members};
use crate::command::{Call, CommandError};
use crate::value::Value;
use crate::value::sorted_set::{Members, SortedSet};

/// What a command's name leaves open: nothing, but for ZRANGE and ZRANGESTORE.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// The index of the key to read.
    source: usize,
    by: Option<By>,
    is_reversed: Option<bool>,
    is_stored: bool,
}

/// A range that was asked for.
#[derive(Debug)]
struct Query<'a> {
    bounds: Bounds<'a>,
    is_reversed: bool,
    with_scores: bool,
    limit: Limit,
}

/// How many members are passed over and how many taken at most; all when negative.
#[derive(Debug, Clone, Copy)]
struct Limit {
    offset: i64,
    count: i64,
}

/// The form of ZRANGE.
const OPEN: Form = Form {
    source: 1,
    by: None,
    is_reversed: None,
    is_stored: false,
};

const fn fixed(by: By, is_reversed: bool) -> Form {
    Form {
        by: Some(by),
        is_reversed: Some(is_reversed),
        ..OPEN
    }
}

pub(super) fn zrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, OPEN)
}

pub(super) fn zrevrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, fixed(By::Rank, true))
}

pub(super) fn zrangebyscore(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, fixed(By::Score, false))
}

pub(super) fn zrevrangebyscore(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, fixed(By::Score, true))
}

pub(super) fn zrangebylex(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, fixed(By::Lex, false))
}

pub(super) fn zrevrangebylex(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, fixed(By::Lex, true))
}

fn reply(call: &mut Call<'_>, form: Form) -> Result<(), CommandError> {
    let query = Query::parse(call, form)?;
    let Some(set) = call
        .keyspace
        .sorted_set_value(call.request.arg(form.source))?
    else {
        call.reply_array(0);
        return Ok(());
    };
    let members = query.members(set);
    reply_members(call.out, call.protocol, members, query.with_scores);
    Ok(())
}

pub(super) fn zrangestore(call: &mut Call<'_>) -> Result<(), CommandError> {
    let form = Form {
        source: 2,
        is_stored: true,
        ..OPEN
    };
    let query = Query::parse(call, form)?;
    let mut result = SortedSet::default();
    if let Some(set) = call
        .keyspace
        .sorted_set_value(call.request.arg(form.source))?
    {
        let members = query.members(set);
        // Only of a range by rank does the server know the length beforehand. It shows in the sign
        // of zeros, and so does the order.
        if matches!(query.bounds, Bounds::Rank(..)) {
            result = SortedSet::with_len(members.len());
        }
        for (member, score) in members {
            result.insert(member, score);
        }
    }
    store(call, result);
    Ok(())
}

/// Gives the key in argument 1 a set, or removes it when the set is empty, and replies with the
/// number of members.
pub(super) fn store(call: &mut Call<'_>, result: SortedSet) {
    let (key, len) = (call.arg(1), result.len());
    if result.is_empty() {
        call.keyspace.remove(key);
    } else {
        call.keyspace.set(key, Value::SortedSet(Box::new(result)));
    }
    call.reply_len(len);
}

impl<'a> Query<'a> {
    /// The ends of the range and the options, which follow the key.
    fn parse(call: &Call<'a>, form: Form) -> Result<Self, CommandError> {
        let (mut by, mut is_reversed) = (form.by, form.is_reversed);
        let mut with_scores = false;
        let mut limit = Limit {
            offset: 0,
            count: -1,
        };
        let mut index = form.source + 3;
        while index < call.len() {
            if !form.is_stored && call.arg_is(index, "withscores") {
                with_scores = true;
            } else if call.arg_is(index, "limit") && index + 2 < call.len() {
                limit.offset = call.integer_arg(index + 1)?;
                limit.count = call.integer_arg(index + 2)?;
                index += 2;
            } else if form.is_reversed.is_none() && call.arg_is(index, "rev") {
                is_reversed = Some(true);
            } else if by.is_none() && call.arg_is(index, "bylex") {
                by = Some(By::Lex);
            } else if by.is_none() && call.arg_is(index, "byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        let (by, is_reversed) = (by.unwrap_or(By::Rank), is_reversed.unwrap_or(false));
        check_combination(by, with_scores, limit)?;
        let (first, second) = (form.source + 1, form.source + 2);
        let bounds = if is_reversed && by != By::Rank {
            Bounds::parse(call, by, second, first)?
        } else {
            Bounds::parse(call, by, first, second)?
        };
        Ok(Self {
            bounds,
            is_reversed,
            with_scores,
            limit,
        })
    }

    /// The members that are asked for, in the order that is asked for.
    fn members<'s>(&self, set: &'s SortedSet) -> Members<'s> {
        let ranks = self.ranks(set);
        if self.is_reversed {
            set.range_reversed(ranks)
        } else {
            set.range(ranks)
        }
    }

    /// The ranks that are asked for, counted from the lowest score.
    fn ranks(&self, set: &SortedSet) -> Range<usize> {
        let ranks = self.bounds.ranks(set, self.is_reversed);
        if matches!(self.bounds, Bounds::Rank(..)) {
            return ranks;
        }
        self.limit.cut(ranks, self.is_reversed)
    }
}

fn check_combination(by: By, with_scores: bool, limit: Limit) -> Result<(), CommandError> {
    if limit.count != -1 && by == By::Rank {
        return Err(CommandError::text(
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    if with_scores && by == By::Lex {
        return Err(CommandError::text(
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ));
    }
    Ok(())
}

impl Limit {
    /// The part of a range that is left, seen from its end when it is reversed.
    fn cut(self, ranks: Range<usize>, is_reversed: bool) -> Range<usize> {
        let Ok(offset) = usize::try_from(self.offset) else {
            return 0..0;
        };
        let offset = offset.min(ranks.len());
        let count = usize::try_from(self.count)
            .unwrap_or(usize::MAX)
            .min(ranks.len() - offset);
        if is_reversed {
            let end = ranks.end - offset;
            end - count..end
        } else {
            let start = ranks.start + offset;
            start..start + count
        }
    }
}

pub(super) fn zcount(call: &mut Call<'_>) -> Result<(), CommandError> {
    count(call, By::Score)
}

pub(super) fn zlexcount(call: &mut Call<'_>) -> Result<(), CommandError> {
    count(call, By::Lex)
}

fn count(call: &mut Call<'_>, by: By) -> Result<(), CommandError> {
    let bounds = Bounds::parse(call, by, 2, 3)?;
    let set = call.keyspace.sorted_set_value(call.arg(1))?;
    call.reply_len(set.map_or(0, |set| bounds.ranks(set, false).len()));
    Ok(())
}

pub(super) fn zremrangebyrank(call: &mut Call<'_>) -> Result<(), CommandError> {
    remove(call, By::Rank)
}

pub(super) fn zremrangebyscore(call: &mut Call<'_>) -> Result<(), CommandError> {
    remove(call, By::Score)
}

pub(super) fn zremrangebylex(call: &mut Call<'_>) -> Result<(), CommandError> {
    remove(call, By::Lex)
}

fn remove(call: &mut Call<'_>, by: By) -> Result<(), CommandError> {
    let bounds = Bounds::parse(call, by, 2, 3)?;
    let key = call.arg(1);
    let mut removed = 0;
    if let Some(set) = call.keyspace.sorted_set_mut(key)? {
        let ranks = bounds.ranks(set, false);
        removed = ranks.len();
        for _ in 0..removed {
            set.remove_at(ranks.start);
        }
    }
    if removed > 0 {
        note_removal(call, key);
    }
    call.reply_len(removed);
    Ok(())
}
