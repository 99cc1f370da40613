//! Sorted sets put together, with scores added up in the order in which one server does.

use core::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Protocol, encode};

use super::query::{Aggregate, Operation, SortedSets};
use super::{Leg, members};

/// A member and its score.
pub(super) type Element<'a> = (&'a [u8], f64);

/// The elements of the result in their order; `None` when a reply is malformed.
pub(super) fn combine<'a>(
    query: &SortedSets,
    legs: &[Leg],
    replies: &'a [Vec<u8>],
) -> Option<Vec<Element<'a>>> {
    let mut result = if query.operation == Operation::Difference {
        difference(replies)?
    } else {
        let sets: Vec<Vec<Element<'_>>> = replies
            .iter()
            .map(|reply| elements(reply))
            .collect::<Option<_>>()?;
        let mut inputs = Vec::new();
        for (leg, set) in legs.iter().zip(&sets) {
            for key in &leg.keys {
                inputs.push((*key, query.weights[*key], set));
            }
        }
        inputs.sort_by_key(|(key, ..)| *key);
        // The server goes from the smallest to the largest, and sums depend on the order.
        inputs.sort_by_key(|(.., set)| set.len());
        let inputs: Vec<_> = inputs
            .iter()
            .map(|(_, weight, set)| (*weight, *set))
            .collect();
        match query.operation {
            Operation::Union => union(query.aggregate, &inputs),
            _ => intersection(query.aggregate, &inputs),
        }
    };
    result.sort_unstable_by(|(member, score), (other, other_score)| {
        let by_score = score.partial_cmp(other_score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| member.cmp(other))
    });
    Some(result)
}

fn union<'a>(aggregate: Aggregate, inputs: &[(f64, &Vec<Element<'a>>)]) -> Vec<Element<'a>> {
    let mut scores: HashMap<&[u8], f64> = HashMap::new();
    for (weight, set) in inputs {
        for (member, score) in *set {
            let score = number_or_zero(weight * score);
            let total = scores.entry(member);
            total
                .and_modify(|total| *total = aggregate.of(*total, score))
                .or_insert(score);
        }
    }
    scores.into_iter().collect()
}

fn intersection<'a>(aggregate: Aggregate, inputs: &[(f64, &Vec<Element<'a>>)]) -> Vec<Element<'a>> {
    let Some(((weight, smallest), others)) = inputs.split_first() else {
        return Vec::new();
    };
    let first = |(member, score): &Element<'a>| (*member, number_or_zero(weight * score));
    let mut left: HashMap<&[u8], f64> = smallest.iter().map(first).collect();
    for (weight, set) in others {
        let mut common = HashMap::new();
        for (member, score) in *set {
            if let Some(total) = left.get(member) {
                common.insert(*member, aggregate.of(*total, weight * score));
            }
        }
        left = common;
    }
    left.into_iter().collect()
}

/// Of the first reply, which has scores, what is in none of the others, which have none.
fn difference(replies: &[Vec<u8>]) -> Option<Vec<Element<'_>>> {
    let (first, others) = replies.split_first()?;
    let mut taken: HashSet<&[u8]> = HashSet::new();
    for other in others {
        taken.extend(members(other)?);
    }
    let mut left = elements(first)?;
    left.retain(|(member, _)| !taken.contains(member));
    Some(left)
}

impl Aggregate {
    /// The score of two. What is no number loses every comparison, and is zero as a sum.
    fn of(self, total: f64, score: f64) -> f64 {
        match self {
            Self::Sum => number_or_zero(total + score),
            Self::Min if score < total => score,
            Self::Max if score > total => score,
            Self::Min | Self::Max => total,
        }
    }
}

/// Infinities that cancel each other out, or are taken no times, count as zero.
fn number_or_zero(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number }
}

/// Members and scores: one after the other in RESP2, in pairs in RESP3.
fn elements(reply: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut reader = TokenReader::new(reply);
    let Ok(Some(Token::Array(count))) = reader.next_token() else {
        return None;
    };
    let mut elements = Vec::new();
    let mut read = 0;
    while read < count {
        let (member, tokens) = match reader.next_token() {
            Ok(Some(Token::Array(2))) => (reader.next_token(), 1),
            other => (other, 2),
        };
        let (Ok(Some(Token::Bulk(member))), Ok(Some(Token::Bulk(score) | Token::Double(score)))) =
            (member, reader.next_token())
        else {
            return None;
        };
        let score = core::str::from_utf8(score).ok()?.parse().ok()?;
        elements.push((member, score));
        read += tokens;
    }
    Some(elements)
}

pub(super) fn write(
    out: &mut Vec<u8>,
    protocol: Protocol,
    with_scores: bool,
    elements: &[Element<'_>],
) {
    let flat = with_scores && protocol == Protocol::Resp2;
    let count = if flat {
        2 * elements.len()
    } else {
        elements.len()
    };
    encode::array(out, count);
    for (member, score) in elements {
        if with_scores && !flat {
            encode::array(out, 2);
        }
        encode::bulk(out, member);
        if with_scores {
            encode::double(out, protocol, *score);
        }
    }
}
