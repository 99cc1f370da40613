//! Counters: every INCR that was acknowledged has a number of its own, later ones have higher
//! numbers, and the sum counts each once.

use super::order::out_of_order;
use super::{Fault, Findings, with_losses};
use crate::history::{Count, Losses, Outcome, Span};

/// Judges the history of one counter, which was 0 in the beginning and is `held` at the end.
pub fn judge_counter(counts: &[Count], held: u64, losses: &Losses) -> Findings {
    with_losses(!losses.is_empty(), |relaxed| {
        let mut findings = Findings::default();
        let (mut known, mut unknown) = (Vec::new(), 0);
        for count in counts {
            let taken = relaxed && losses.may_take(count.span.end);
            match count.outcome {
                Outcome::Done if !taken => known.push((count.value, count.span)),
                Outcome::Refused => {}
                Outcome::Done | Outcome::Unknown => unknown += 1,
            }
        }
        judge_known(&mut known, held, unknown, &mut findings);
        findings
    })
}

fn judge_known(known: &mut [(u64, Span)], held: u64, unknown: u64, findings: &mut Findings) {
    for value in out_of_order(known) {
        findings.add(Fault::Reordered, || {
            format!("{value} was answered after a higher number")
        });
    }
    for pair in known.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        findings.add(Fault::Lost, || format!("{} was answered twice", pair[0].0));
    }
    if let Some((value, _)) = known.last().filter(|(value, _)| *value > held) {
        findings.add(Fault::Lost, || {
            format!("{value} was answered, {held} is left")
        });
    }
    let done = known.len() as u64;
    if held < done {
        findings.add(Fault::Lost, || {
            format!("{done} acknowledged, {held} are left")
        });
    } else if held > done + unknown {
        findings.add(Fault::Doubled, || {
            format!("{done} acknowledged and {unknown} unknown make {held}")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Loss;

    fn count(value: u64, at: u64, outcome: Outcome) -> Count {
        Count {
            counter: 0,
            outcome,
            value,
            span: Span {
                start: at,
                end: at + 5,
            },
        }
    }

    fn judge(counts: &[Count], held: u64) -> Vec<(Fault, u64)> {
        judge_counter(counts, held, &Losses::default())
            .counts
            .into_iter()
            .collect()
    }

    #[test]
    fn a_good_history_passes() {
        let counts = [count(1, 0, Outcome::Done), count(3, 10, Outcome::Done)];
        let mut all = counts.to_vec();
        all.push(count(0, 2, Outcome::Unknown));
        all.push(count(0, 3, Outcome::Unknown));
        all.push(count(0, 3, Outcome::Refused));
        for held in [3, 4] {
            assert_eq!(judge(&all, held), [], "{held}");
        }
    }

    #[test]
    fn a_double_increment_is_found() {
        let mut counts = vec![count(1, 0, Outcome::Done), count(3, 10, Outcome::Done)];
        assert_eq!(judge(&counts, 3), [(Fault::Doubled, 1)]);
        counts.push(count(0, 3, Outcome::Refused));
        assert_eq!(judge(&counts, 3), [(Fault::Doubled, 1)]);
        counts.push(count(0, 3, Outcome::Unknown));
        assert_eq!(judge(&counts, 3), []);
        assert_eq!(judge(&counts, 4), [(Fault::Doubled, 1)]);
    }

    #[test]
    fn a_lost_increment_is_found() {
        let twice = [count(1, 0, Outcome::Done), count(1, 10, Outcome::Done)];
        assert_eq!(judge(&twice, 2), [(Fault::Lost, 1)]);
        let gone = [count(1, 0, Outcome::Done), count(2, 10, Outcome::Done)];
        assert_eq!(judge(&gone, 1), [(Fault::Lost, 2)]);
        let losses = Losses(vec![Loss {
            shard: 0,
            from: 12,
            to: 20,
        }]);
        let forgiven = judge_counter(&gone, 1, &losses);
        assert_eq!(
            (forgiven.faults(), forgiven.count(Fault::LossWindow)),
            (0, 1)
        );
    }

    #[test]
    fn a_wrong_order_is_found() {
        let crossed = [count(2, 0, Outcome::Done), count(1, 10, Outcome::Done)];
        assert_eq!(judge(&crossed, 2), [(Fault::Reordered, 1)]);
    }
}
