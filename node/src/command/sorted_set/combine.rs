//! Union, intersection and difference of sorted sets. Plain sets take part with scores of 1.

use super::range::store;
use super::reply_members;
use crate::command::{Call, CommandError};
use crate::keyspace::Keyspace;
use crate::number::{parse_f64, parse_i64};
use crate::value::Value;
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the scores of a member that is in several sets.
#[derive(Debug, Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// The sets that take part, and the options.
#[derive(Debug)]
struct Query<'k> {
    operation: Operation,
    sources: Vec<Weighted<'k>>,
    aggregate: Aggregate,
    with_scores: bool,
}

#[derive(Debug, Clone, Copy)]
struct Weighted<'k> {
    source: Source<'k>,
    weight: f64,
}

#[derive(Debug, Clone, Copy)]
enum Source<'k> {
    Missing,
    Plain(&'k Set),
    Sorted(&'k SortedSet),
}

pub(super) fn zunion(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, Operation::Union, "zunion")
}

pub(super) fn zinter(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, Operation::Intersection, "zinter")
}

pub(super) fn zdiff(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply(call, Operation::Difference, "zdiff")
}

pub(super) fn zunionstore(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply_stored(call, Operation::Union, "zunionstore")
}

pub(super) fn zinterstore(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply_stored(call, Operation::Intersection, "zinterstore")
}

pub(super) fn zdiffstore(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply_stored(call, Operation::Difference, "zdiffstore")
}

fn reply(call: &mut Call<'_>, operation: Operation, name: &str) -> Result<(), CommandError> {
    let (sources, options) = sources(call, call.keyspace, 1, name)?;
    let query = Query::parse(call, operation, sources, options, false)?;
    let result = query.run();
    let members = result.range(0..result.len());
    reply_members(call.out, call.protocol, members, query.with_scores);
    Ok(())
}

fn reply_stored(call: &mut Call<'_>, operation: Operation, name: &str) -> Result<(), CommandError> {
    let (sources, options) = sources(call, call.keyspace, 2, name)?;
    let mut result = Query::parse(call, operation, sources, options, true)?.run();
    result.compact();
    store(call, result);
    Ok(())
}

pub(super) fn zintercard(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (mut sources, mut index) = sources(call, call.keyspace, 1, "zintercard")?;
    let mut limit = 0;
    while index < call.len() {
        if index + 1 == call.len() || !call.arg_is(index, "limit") {
            return Err(CommandError::Syntax);
        }
        let number = parse_i64(call.arg(index + 1)).and_then(|n| usize::try_from(n).ok());
        limit = number.ok_or_else(|| CommandError::text("ERR LIMIT can't be negative"))?;
        index += 2;
    }
    sources.sort_by_key(|weighted| weighted.source.len());
    let limit = if limit == 0 { usize::MAX } else { limit };
    let mut count = 0;
    if let Some((smallest, others)) = sources.split_first() {
        smallest.source.visit(|member, _| {
            let is_common = others
                .iter()
                .all(|other| other.source.score(member).is_some());
            count += usize::from(is_common && count < limit);
        });
    }
    call.reply_len(count);
    Ok(())
}

/// The sets behind the number of keys in argument `keys_index`, each with weight 1, and the index
/// of the first option.
fn sources<'k>(
    call: &Call<'_>,
    keyspace: &'k Keyspace,
    keys_index: usize,
    name: &str,
) -> Result<(Vec<Weighted<'k>>, usize), CommandError> {
    let keys = call.integer_arg(keys_index)?;
    let first = keys_index + 1;
    let keys = match usize::try_from(keys) {
        Ok(keys) if keys > 0 => keys,
        _ => {
            return Err(CommandError::text(format!(
                "ERR at least 1 input key is needed for '{name}' command"
            )));
        }
    };
    if keys > call.len() - first {
        return Err(CommandError::Syntax);
    }
    let source = |key| match keyspace.get(key) {
        None => Ok(Source::Missing),
        Some(Value::Set(set)) => Ok(Source::Plain(set)),
        Some(Value::SortedSet(set)) => Ok(Source::Sorted(set)),
        Some(_) => Err(CommandError::WrongType),
    };
    let weighted = |source| Weighted {
        source,
        weight: 1.0,
    };
    let sources: Result<_, _> = call
        .request
        .args(first)
        .take(keys)
        .map(|key| source(key).map(weighted))
        .collect();
    Ok((sources?, first + keys))
}

impl<'k> Query<'k> {
    fn parse(
        call: &Call<'_>,
        operation: Operation,
        sources: Vec<Weighted<'k>>,
        first: usize,
        is_stored: bool,
    ) -> Result<Self, CommandError> {
        let mut query = Query {
            operation,
            sources,
            aggregate: Aggregate::Sum,
            with_scores: false,
        };
        let is_weighted = operation != Operation::Difference;
        let mut index = first;
        while index < call.len() {
            let rest = call.len() - index - 1;
            if is_weighted && rest >= query.sources.len() && call.arg_is(index, "weights") {
                query.set_weights(call, index + 1)?;
                index += query.sources.len();
            } else if is_weighted && rest >= 1 && call.arg_is(index, "aggregate") {
                query.aggregate = Aggregate::parse(call, index + 1)?;
                index += 1;
            } else if !is_stored && call.arg_is(index, "withscores") {
                query.with_scores = true;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(query)
    }

    fn set_weights(&mut self, call: &Call<'_>, first: usize) -> Result<(), CommandError> {
        for (weighted, text) in self.sources.iter_mut().zip(call.request.args(first)) {
            weighted.weight = parse_f64(text)
                .ok_or_else(|| CommandError::text("ERR weight value is not a float"))?;
        }
        Ok(())
    }

    fn run(&self) -> SortedSet {
        if self.operation == Operation::Difference {
            return difference(&self.sources);
        }
        // The order shows in sums of numbers of very different size.
        let mut sources = self.sources.clone();
        sources.sort_by_key(|weighted| weighted.source.len());
        match self.operation {
            Operation::Union => union(&sources, self.aggregate),
            _ => intersection(&sources, self.aggregate),
        }
    }
}

fn union(sources: &[Weighted<'_>], aggregate: Aggregate) -> SortedSet {
    let mut result = SortedSet::large();
    for weighted in sources {
        weighted.source.visit(|member, score| {
            let score = weighted.scaled(score);
            let score = match result.score(member) {
                Some(other) => aggregate.join(other, score),
                None => score,
            };
            result.insert(member, score);
        });
    }
    result
}

fn intersection(sources: &[Weighted<'_>], aggregate: Aggregate) -> SortedSet {
    let mut result = SortedSet::large();
    let Some((smallest, others)) = sources.split_first() else {
        return result;
    };
    smallest.source.visit(|member, score| {
        let joined = others
            .iter()
            .try_fold(smallest.scaled(score), |joined, weighted| {
                let score = weighted.source.score(member)?;
                Some(aggregate.join(joined, score * weighted.weight))
            });
        if let Some(score) = joined {
            result.insert(member, score);
        }
    });
    result
}

fn difference(sources: &[Weighted<'_>]) -> SortedSet {
    let mut result = SortedSet::large();
    if let Some((first, others)) = sources.split_first() {
        first.source.visit(|member, score| {
            if others
                .iter()
                .all(|other| other.source.score(member).is_none())
            {
                result.insert(member, score);
            }
        });
    }
    result
}

impl Weighted<'_> {
    /// A score times the weight; 0 when that is no number.
    fn scaled(&self, score: f64) -> f64 {
        let scaled = score * self.weight;
        if scaled.is_nan() { 0.0 } else { scaled }
    }
}

impl Source<'_> {
    fn len(self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Plain(set) => set.len(),
            Self::Sorted(set) => set.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Plain(set) => set.contains(member).then_some(1.0),
            Self::Sorted(set) => set.score(member),
        }
    }

    fn visit(self, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            Self::Missing => {}
            Self::Plain(set) => set.iter().for_each(|member| visit(&member, 1.0)),
            Self::Sorted(set) => {
                for (member, score) in set.range(0..set.len()) {
                    visit(member, score);
                }
            }
        }
    }
}

impl Aggregate {
    fn parse(call: &Call<'_>, index: usize) -> Result<Self, CommandError> {
        if call.arg_is(index, "sum") {
            Ok(Self::Sum)
        } else if call.arg_is(index, "min") {
            Ok(Self::Min)
        } else if call.arg_is(index, "max") {
            Ok(Self::Max)
        } else {
            Err(CommandError::Syntax)
        }
    }

    fn join(self, joined: f64, score: f64) -> f64 {
        match self {
            // Opposite infinities make 0.
            Self::Sum => {
                let sum = joined + score;
                if sum.is_nan() { 0.0 } else { sum }
            }
            Self::Min if score < joined => score,
            Self::Max if score > joined => score,
            Self::Min | Self::Max => joined,
        }
    }
}
