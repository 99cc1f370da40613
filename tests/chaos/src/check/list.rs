//! Lists that clients push unique elements to: each acknowledged one must be at the place that was
//! answered, once, and each client's in the order in which it sent them.

use std::collections::HashMap;

use super::order::out_of_order;
use super::{Fault, Findings, with_losses};
use crate::history::{Losses, Outcome, Push, Range, Span, Token};

/// What one list went through, and what it holds at the end.
#[derive(Clone, Copy, Debug)]
pub struct List<'run> {
    pub pushes: &'run [Push],
    pub ranges: &'run [Range],
    pub held: &'run [Token],
}

/// Judges the history of one list, which was empty in the beginning.
pub fn judge_list(list: List<'_>, losses: &Losses) -> Findings {
    with_losses(!losses.is_empty(), |relaxed| {
        let none = Losses::default();
        let losses = if relaxed { losses } else { &none };
        let mut findings = Findings::default();
        let places = places_of(list, &mut findings);
        judge_pushes(list, &places, losses, &mut findings);
        judge_order(list, &places, losses, &mut findings);
        judge_ranges(list, losses, &mut findings);
        findings
    })
}

/// The first place of each element, counted from 1.
fn places_of(list: List<'_>, findings: &mut Findings) -> HashMap<Token, usize> {
    let mut places = HashMap::new();
    for (index, token) in list.held.iter().enumerate() {
        if places.contains_key(token) {
            findings.add(Fault::Doubled, || {
                format!("element {token} at {}", index + 1)
            });
        } else {
            places.insert(*token, index + 1);
        }
    }
    let pushed: HashMap<Token, ()> = list.pushes.iter().map(|push| (push.token, ())).collect();
    for token in places.keys().filter(|token| !pushed.contains_key(token)) {
        findings.add(Fault::Wrong, || format!("nobody pushed {token}"));
    }
    places
}

fn judge_pushes(
    list: List<'_>,
    places: &HashMap<Token, usize>,
    losses: &Losses,
    findings: &mut Findings,
) {
    for push in list.pushes {
        let token = push.token;
        match (push.outcome, places.get(&token)) {
            (Outcome::Done, None) if losses.may_take(push.span.end) => {}
            (Outcome::Done, None) => findings.add(Fault::Lost, || {
                let at = push.span.end / 1_000_000;
                format!("element {token}, acknowledged at {at} ms")
            }),
            (Outcome::Done, Some(place)) if *place != push.place => {
                findings.add(Fault::Reordered, || {
                    format!("element {token} is at {place}, {} was answered", push.place)
                });
            }
            (Outcome::Refused, Some(_)) => {
                findings.add(Fault::RefusedButDone, || format!("element {token}"));
            }
            _ => {}
        }
    }
}

fn judge_order(
    list: List<'_>,
    places: &HashMap<Token, usize>,
    losses: &Losses,
    findings: &mut Findings,
) {
    let mut spans = Vec::new();
    let mut placed: Vec<(&Push, usize)> = Vec::new();
    for push in list.pushes {
        let Some(place) = places.get(&push.token) else {
            continue;
        };
        let span = Span {
            start: push.span.start,
            end: push.outcome.end(push.span),
        };
        spans.push((*place as u64, span));
        placed.push((push, *place));
    }
    // Where elements were lost, later ones take places that earlier ones had.
    if losses.is_empty() {
        for place in out_of_order(&mut spans) {
            findings.add(Fault::Reordered, || {
                format!("place {place} was taken too early")
            });
        }
    }
    placed.sort_unstable_by_key(|(push, _)| (push.token.client(), push.token.sequence()));
    for of_client in placed.chunk_by(|left, right| left.0.token.client() == right.0.token.client())
    {
        let (mut last_known, mut last) = (0, 0);
        for (push, place) in of_client {
            if *place < last {
                let fault = if *place < last_known {
                    Fault::Reordered
                } else {
                    Fault::Late
                };
                findings.add(fault, || {
                    format!("an element is after {}, sent later", push.token)
                });
            }
            last = last.max(*place);
            if push.outcome == Outcome::Done {
                last_known = last_known.max(*place);
            }
        }
    }
}

fn judge_ranges(list: List<'_>, losses: &Losses, findings: &mut Findings) {
    let mut acknowledged: Vec<(u64, usize)> = list
        .pushes
        .iter()
        .filter(|push| push.outcome == Outcome::Done && !losses.may_take(push.span.end))
        .map(|push| (push.span.end, push.place))
        .collect();
    acknowledged.sort_unstable();
    let mut longest = 0;
    for entry in &mut acknowledged {
        longest = longest.max(entry.1);
        entry.1 = longest;
    }
    for range in list.ranges {
        let end = range.first + range.items.len();
        let held = list.held.get(range.first..end);
        let what = |word: &str| {
            let at = range.span.start / 1_000_000;
            format!(
                "at {at} ms elements {} to {end} were {word}",
                range.first + 1
            )
        };
        if held != Some(&range.items) && !losses.may_undo(range.span.end) {
            findings.add(Fault::Wrong, || what("others than at the end"));
        }
        let index = acknowledged.partition_point(|(at, _)| *at < range.span.start);
        let before = index
            .checked_sub(1)
            .map_or(0, |index| acknowledged[index].1);
        if end < before && range.items.len() < range.wanted && !losses.may_undo(range.span.end) {
            findings.add(Fault::Stale, || {
                what(&format!("all, {before} were acknowledged"))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Loss;

    fn push(client: u16, sequence: u64, place: usize, at: u64) -> Push {
        Push {
            list: 0,
            token: Token::new(client, sequence),
            outcome: Outcome::Done,
            place,
            span: Span {
                start: at,
                end: at + 5,
            },
        }
    }

    fn tokens(of: &[(u16, u64)]) -> Vec<Token> {
        of.iter()
            .map(|(client, sequence)| Token::new(*client, *sequence))
            .collect()
    }

    fn judge(pushes: &[Push], ranges: &[Range], held: &[(u16, u64)]) -> Vec<(Fault, u64)> {
        let held = tokens(held);
        let list = List {
            pushes,
            ranges,
            held: &held,
        };
        judge_list(list, &Losses::default())
            .counts
            .into_iter()
            .collect()
    }

    fn three() -> [Push; 3] {
        [push(1, 1, 1, 0), push(2, 1, 2, 10), push(1, 2, 3, 20)]
    }

    fn range(first: usize, of: &[(u16, u64)], at: u64) -> Range {
        let span = Span {
            start: at,
            end: at + 5,
        };
        Range {
            list: 0,
            first,
            wanted: 50,
            items: tokens(of),
            span,
        }
    }

    #[test]
    fn a_good_history_passes() {
        let ranges = [range(0, &[(1, 1)], 6), range(1, &[(2, 1), (1, 2)], 30)];
        assert_eq!(judge(&three(), &ranges, &[(1, 1), (2, 1), (1, 2)]), []);
        let mut unknown = three();
        unknown[1].outcome = Outcome::Unknown;
        unknown[2].place = 2;
        assert_eq!(judge(&unknown, &[], &[(1, 1), (1, 2)]), []);
        assert_eq!(judge(&unknown, &[], &[(1, 1), (1, 2), (2, 1)]), []);
    }

    #[test]
    fn what_is_lost_doubled_or_made_up_is_found() {
        assert_eq!(judge(&three(), &[], &[(1, 1), (2, 1)]), [(Fault::Lost, 1)]);
        let doubled = [(1, 1), (2, 1), (1, 2), (2, 1)];
        assert_eq!(judge(&three(), &[], &doubled), [(Fault::Doubled, 1)]);
        let stranger = [(1, 1), (2, 1), (1, 2), (9, 9)];
        assert_eq!(judge(&three(), &[], &stranger), [(Fault::Wrong, 1)]);
        let mut unknown = three();
        unknown[2].outcome = Outcome::Unknown;
        let doubled = [(1, 1), (2, 1), (1, 2), (1, 2)];
        assert_eq!(judge(&unknown, &[], &doubled), [(Fault::Doubled, 1)]);
        unknown[2].outcome = Outcome::Refused;
        let held = [(1, 1), (2, 1), (1, 2)];
        assert_eq!(judge(&unknown, &[], &held), [(Fault::RefusedButDone, 1)]);
    }

    #[test]
    fn a_wrong_order_is_found() {
        // Two replies crossed: both elements are elsewhere than their clients were told.
        let mut crossed = three();
        (crossed[0].place, crossed[1].place) = (2, 1);
        let held = [(1, 1), (2, 1), (1, 2)];
        assert_eq!(judge(&crossed, &[], &held), [(Fault::Reordered, 2)]);
        // In the order of the list, but not in the order of time.
        let mut early = three();
        (early[1].place, early[2].place) = (3, 2);
        let held = [(1, 1), (1, 2), (2, 1)];
        assert_eq!(judge(&early, &[], &held), [(Fault::Reordered, 1)]);
        // Two of one client, sent together.
        let mut pair = [push(1, 1, 2, 0), push(1, 2, 1, 1)];
        assert_eq!(
            judge(&pair, &[], &[(1, 2), (1, 1)]),
            [(Fault::Reordered, 1)]
        );
        pair[0].outcome = Outcome::Unknown;
        assert_eq!(judge(&pair, &[], &[(1, 2), (1, 1)]), [(Fault::Late, 1)]);
    }

    #[test]
    fn a_stale_read_is_found() {
        let held = [(1, 1), (2, 1), (1, 2)];
        let stale = [range(0, &[(1, 1)], 30)];
        assert_eq!(judge(&three(), &stale, &held), [(Fault::Stale, 1)]);
        let other = [range(1, &[(2, 2)], 13)];
        assert_eq!(judge(&three(), &other, &held), [(Fault::Wrong, 1)]);
    }

    #[test]
    fn only_what_a_failed_primary_may_lose_is_forgiven() {
        let mut pushes = three();
        pushes[2].place = 2;
        let held = tokens(&[(1, 1), (1, 2)]);
        let list = List {
            pushes: &pushes,
            ranges: &[],
            held: &held,
        };
        let at = |from, to| Losses(vec![Loss { shard: 0, from, to }]);
        let counts = |losses| {
            judge_list(list, &losses)
                .counts
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(at(10, 18)), [(Fault::LossWindow, 1)]);
        assert_eq!(counts(at(16, 18)), [(Fault::Lost, 1)]);
    }
}
