//! Compare and swap: the values of a key form one chain, each made from the one before by exactly
//! one swap, and every swap that was acknowledged is a link of it.

use std::collections::HashMap;

use super::order::out_of_order;
use super::{Fault, Findings, with_losses};
use crate::history::{Losses, Span, Swap, Swapped, Token};

/// Judges the history of one key that held `initial`, holds `held`, and was swapped `number` times
/// by its own count.
pub fn judge_swap(
    initial: Token,
    swaps: &[Swap],
    held: Token,
    number: u64,
    losses: &Losses,
) -> Findings {
    with_losses(!losses.is_empty(), |relaxed| {
        let none = Losses::default();
        let losses = if relaxed { losses } else { &none };
        let mut findings = Findings::default();
        let Some(places) = chain(initial, swaps, held, &mut findings) else {
            return findings;
        };
        let length = places.len() as u64 - 1;
        if length != number {
            findings.add(Fault::Doubled, || {
                format!("{length} swaps were counted as {number}")
            });
        }
        let mut spans = Vec::new();
        for swap in swaps {
            judge_one(swap, &places, losses, &mut spans, &mut findings);
        }
        if losses.is_empty() {
            for rank in out_of_order(&mut spans) {
                findings.add(Fault::Stale, || {
                    format!("what is at place {} of time", rank / 2)
                });
            }
        }
        findings
    })
}

/// The place of each value in the chain, found backwards from the last one.
fn chain(
    initial: Token,
    swaps: &[Swap],
    held: Token,
    findings: &mut Findings,
) -> Option<HashMap<Token, u64>> {
    let made: HashMap<Token, &Swap> = swaps.iter().map(|swap| (swap.new, swap)).collect();
    let mut values = vec![held];
    let mut value = held;
    while value != initial {
        let Some(swap) = made.get(&value).filter(|_| values.len() <= swaps.len()) else {
            findings.add(Fault::Wrong, || format!("nobody made {value}"));
            return None;
        };
        value = swap.expected;
        values.push(value);
    }
    let places = values.iter().rev().enumerate();
    Some(
        places
            .map(|(place, value)| (*value, place as u64))
            .collect(),
    )
}

/// Notes where in time the swap, or the look that it became, has its place: a value is there from
/// rank `2 * place` on, looks at it have the rank behind.
fn judge_one(
    swap: &Swap,
    places: &HashMap<Token, u64>,
    losses: &Losses,
    spans: &mut Vec<(u64, Span)>,
    findings: &mut Findings,
) {
    let Swap { new, span, .. } = *swap;
    match (swap.outcome, places.get(&new)) {
        (Swapped::Done(_), None) if losses.may_take(span.end) => {}
        (Swapped::Done(_), None) => {
            findings.add(Fault::Lost, || format!("swap {new} was acknowledged"));
        }
        (Swapped::Done(number), Some(place)) => {
            if number != *place {
                findings.add(Fault::Reordered, || {
                    format!("swap {new} is at {place}, {number} was answered")
                });
            }
            spans.push((2 * place, span));
        }
        (Swapped::Refused | Swapped::Seen(_), Some(_)) => {
            findings.add(Fault::RefusedButDone, || format!("swap {new}"));
        }
        (Swapped::Unknown, Some(place)) => {
            let open = Span {
                end: u64::MAX,
                ..span
            };
            spans.push((2 * place, open));
        }
        (Swapped::Seen(token), None) => match places.get(&token) {
            Some(place) => spans.push((2 * place + 1, span)),
            None if losses.may_undo(span.end) => {}
            None => findings.add(Fault::Wrong, || format!("{token} was seen and never there")),
        },
        (Swapped::Refused | Swapped::Unknown, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Loss;

    fn swap(expected: u64, new: u64, at: u64, outcome: Swapped) -> Swap {
        let span = Span {
            start: at,
            end: at + 5,
        };
        Swap {
            swap: 0,
            expected: Token(expected),
            new: Token(new),
            outcome,
            span,
        }
    }

    fn judge(swaps: &[Swap], held: u64, number: u64) -> Vec<(Fault, u64)> {
        let losses = Losses::default();
        let findings = judge_swap(Token(0), swaps, Token(held), number, &losses);
        findings.counts.into_iter().collect()
    }

    #[test]
    fn a_good_history_passes() {
        let swaps = [
            swap(0, 1, 0, Swapped::Done(1)),
            swap(0, 9, 10, Swapped::Seen(Token(1))),
            swap(1, 2, 20, Swapped::Unknown),
            swap(2, 3, 30, Swapped::Done(3)),
            swap(3, 4, 40, Swapped::Refused),
        ];
        assert_eq!(judge(&swaps, 3, 3), []);
        assert_eq!(judge(&swaps[..3], 1, 1), []);
    }

    #[test]
    fn two_winners_are_found() {
        let swaps = [
            swap(0, 1, 0, Swapped::Done(1)),
            swap(0, 2, 1, Swapped::Done(1)),
        ];
        assert_eq!(judge(&swaps, 2, 1), [(Fault::Lost, 1)]);
    }

    #[test]
    fn a_swap_that_ran_twice_is_found() {
        assert_eq!(
            judge(&[swap(0, 1, 0, Swapped::Done(1))], 1, 2),
            [(Fault::Doubled, 1)]
        );
        let told_no = [swap(0, 1, 0, Swapped::Seen(Token(1)))];
        assert_eq!(judge(&told_no, 1, 1), [(Fault::RefusedButDone, 1)]);
    }

    #[test]
    fn a_stale_look_is_found() {
        let swaps = [
            swap(0, 1, 0, Swapped::Done(1)),
            swap(9, 2, 10, Swapped::Seen(Token(0))),
        ];
        assert_eq!(judge(&swaps, 1, 1), [(Fault::Stale, 1)]);
        let nowhere = [swap(9, 2, 10, Swapped::Seen(Token(7)))];
        assert_eq!(judge(&nowhere, 0, 0), [(Fault::Wrong, 1)]);
        assert_eq!(judge(&[], 5, 0), [(Fault::Wrong, 1)]);
    }

    #[test]
    fn only_what_a_failed_primary_may_lose_is_forgiven() {
        let swaps = [
            swap(0, 1, 0, Swapped::Done(1)),
            swap(0, 2, 30, Swapped::Done(1)),
        ];
        let at = |from, to| Losses(vec![Loss { shard: 0, from, to }]);
        let forgiven = judge_swap(Token(0), &swaps, Token(2), 1, &at(3, 8));
        assert_eq!(
            (forgiven.faults(), forgiven.count(Fault::LossWindow)),
            (0, 1)
        );
        let lost = judge_swap(Token(0), &swaps, Token(2), 1, &at(7, 8));
        assert_eq!(lost.count(Fault::Lost), 1);
    }
}
