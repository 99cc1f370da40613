//! Exact linearizability of one key that is written with unique values and read, in the time it
//! takes to sort (P. B. Gibbons and E. Korach, "Testing Shared Memories", 1997, section 4.2).
//!
//! A write and the reads of its value are a cluster. Let `first_end` be the first time at which one
//! of them was over and `last_start` the last at which one began. If `first_end` comes first, the
//! key certainly held the value all the time between: a forward zone. Otherwise there is a moment
//! in the backward zone between `last_start` and `first_end` that will do for all of them. The
//! history is linearizable if no read ends before its write began, no two forward zones overlap,
//! and no backward zone lies inside a forward one.

use std::collections::HashMap;

use super::{Fault, Findings, with_losses};
use crate::history::{Losses, Outcome, Read, Span, Token, Write};

/// A write and the reads of what it wrote.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    write: Option<(Outcome, Span)>,
    reads: usize,
    first_read_end: u64,
    last_read_start: u64,
}

/// Where the value of one cluster was, or must have been.
#[derive(Clone, Copy, Debug)]
struct Zone {
    low: u64,
    high: u64,
    token: Token,
    last_read_start: u64,
}

/// Judges the history of one register; `initial` is what it held before.
pub fn judge_register(
    initial: Token,
    writes: &[Write],
    reads: &[Read],
    losses: &Losses,
) -> Findings {
    with_losses(!losses.is_empty(), |relaxed| {
        let mut findings = Findings::default();
        let mut clusters = clusters_of(initial, writes, reads);
        if relaxed {
            clusters.retain(|_, cluster| !may_be_lost(cluster, losses));
        }
        let zones = zones_of(&clusters, &mut findings);
        judge_zones(zones, &mut findings);
        findings
    })
}

fn clusters_of(initial: Token, writes: &[Write], reads: &[Read]) -> HashMap<Token, Cluster> {
    let empty = Cluster {
        write: None,
        reads: 0,
        first_read_end: u64::MAX,
        last_read_start: 0,
    };
    let mut clusters = HashMap::new();
    let began = Span { start: 0, end: 0 };
    clusters.insert(
        initial,
        Cluster {
            write: Some((Outcome::Done, began)),
            ..empty
        },
    );
    for write in writes {
        let cluster = clusters.entry(write.token).or_insert(empty);
        cluster.write = Some((write.outcome, write.span));
    }
    for read in reads {
        let cluster = clusters.entry(read.token).or_insert(empty);
        cluster.reads += 1;
        cluster.first_read_end = cluster.first_read_end.min(read.span.end);
        cluster.last_read_start = cluster.last_read_start.max(read.span.start);
    }
    clusters
}

/// Whether the failed primary may have taken the write with it: acknowledged shortly before, and
/// never seen again.
fn may_be_lost(cluster: &Cluster, losses: &Losses) -> bool {
    let Some((outcome, span)) = cluster.write else {
        return false;
    };
    losses.0.iter().any(|loss| {
        let acknowledged = outcome == Outcome::Done && loss.from <= span.end && span.end <= loss.to;
        // One whose acknowledgement the failure took may have been read, too.
        let seen = outcome == Outcome::Unknown && span.start <= loss.to;
        (acknowledged || seen) && cluster.last_read_start <= loss.to
    })
}

fn zones_of(clusters: &HashMap<Token, Cluster>, findings: &mut Findings) -> Vec<(bool, Zone)> {
    let mut zones = Vec::new();
    for (token, cluster) in clusters {
        let Some((outcome, span)) = cluster.write else {
            findings.add(Fault::Wrong, || {
                format!("{token} was read and never written")
            });
            continue;
        };
        if cluster.reads == 0 && outcome != Outcome::Done {
            continue;
        }
        if outcome == Outcome::Refused {
            findings.add(Fault::RefusedButDone, || {
                format!("{token} was refused, and read")
            });
            continue;
        }
        if cluster.first_read_end < span.start {
            findings.add(Fault::Wrong, || {
                format!("{token} was read before it was written")
            });
            continue;
        }
        let first_end = outcome.end(span).min(cluster.first_read_end);
        let last_start = span.start.max(cluster.last_read_start);
        let zone = Zone {
            low: first_end.min(last_start),
            high: first_end.max(last_start),
            token: *token,
            last_read_start: cluster.last_read_start,
        };
        zones.push((first_end < last_start, zone));
    }
    zones
}

fn judge_zones(zones: Vec<(bool, Zone)>, findings: &mut Findings) {
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for (is_forward, zone) in zones {
        if is_forward {
            forward.push(zone);
        } else {
            backward.push(zone);
        }
    }
    forward.sort_unstable_by_key(|zone| zone.low);
    // Of all forward zones up to one, the one that reaches furthest.
    let mut furthest: Vec<Zone> = Vec::with_capacity(forward.len());
    for zone in &forward {
        let before = furthest.last().copied();
        if let Some(before) = before.filter(|before| zone.low < before.high) {
            conflict(before, *zone, findings);
        }
        furthest.push(
            before
                .filter(|before| before.high > zone.high)
                .unwrap_or(*zone),
        );
    }
    for zone in backward {
        let index = forward.partition_point(|other| other.low < zone.low);
        let around = index.checked_sub(1).map(|index| furthest[index]);
        if let Some(around) = around.filter(|around| zone.high < around.high) {
            conflict(around, zone, findings);
        }
    }
}

/// The value of `outer` was there before and after that of `inner`.
fn conflict(outer: Zone, inner: Zone, findings: &mut Findings) {
    let seen_again = inner.last_read_start > outer.high.min(outer.last_read_start);
    let fault = if seen_again {
        Fault::Stale
    } else {
        Fault::Lost
    };
    findings.add(fault, || {
        format!(
            "{} was there from {} to {} ms and {} from {} to {} ms",
            outer.token,
            outer.low / 1_000_000,
            outer.high / 1_000_000,
            inner.token,
            inner.low / 1_000_000,
            inner.high / 1_000_000
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Loss;

    const INITIAL: Token = Token(0);

    fn write(token: u64, start: u64, end: u64, outcome: Outcome) -> Write {
        let span = Span { start, end };
        Write {
            register: 0,
            token: Token(token),
            outcome,
            span,
        }
    }

    fn done(token: u64, start: u64, end: u64) -> Write {
        write(token, start, end, Outcome::Done)
    }

    fn read(token: u64, start: u64, end: u64) -> Read {
        Read {
            register: 0,
            token: Token(token),
            span: Span { start, end },
        }
    }

    fn judge(writes: &[Write], reads: &[Read], losses: &[Loss]) -> Vec<(Fault, u64)> {
        let losses = Losses(losses.to_vec());
        let findings = judge_register(INITIAL, writes, reads, &losses);
        findings.counts.into_iter().collect()
    }

    #[test]
    fn good_histories_pass() {
        let none = [];
        // Concurrent writes may take either order, reads beside a write see old or new.
        assert_eq!(
            judge(&[done(1, 1, 10), done(2, 2, 9)], &[read(1, 11, 12)], &[]),
            none
        );
        assert_eq!(
            judge(&[done(1, 1, 10), done(2, 2, 9)], &[read(2, 11, 12)], &[]),
            none
        );
        assert_eq!(
            judge(&[done(1, 5, 10)], &[read(0, 6, 7), read(1, 8, 9)], &[]),
            none
        );
        // A write of unknown result may happen never, or late.
        let unknown = write(1, 1, 3, Outcome::Unknown);
        assert_eq!(
            judge(&[unknown, done(2, 4, 5)], &[read(2, 6, 7)], &[]),
            none
        );
        assert_eq!(
            judge(
                &[unknown, done(2, 4, 5)],
                &[read(2, 6, 7), read(1, 8, 9)],
                &[]
            ),
            none
        );
        let refused = write(1, 1, 3, Outcome::Refused);
        assert_eq!(judge(&[refused], &[read(0, 4, 5)], &[]), none);
    }

    #[test]
    fn a_lost_acknowledgement_is_found() {
        let history = [done(1, 1, 2), done(2, 3, 4)];
        assert_eq!(judge(&history, &[read(1, 5, 6)], &[]), [(Fault::Lost, 1)]);
        assert_eq!(
            judge(&[done(1, 1, 2)], &[read(0, 5, 6)], &[]),
            [(Fault::Lost, 1)]
        );
    }

    #[test]
    fn a_stale_read_is_found() {
        let history = [done(1, 1, 2), done(2, 3, 4)];
        let reads = [read(2, 5, 6), read(1, 7, 8), read(2, 9, 10)];
        assert_eq!(judge(&history, &reads, &[]), [(Fault::Stale, 1)]);
        // The old value while nobody reads the new one in between, but later.
        assert_eq!(
            judge(&history, &[read(1, 5, 6), read(2, 7, 8)], &[]),
            [(Fault::Stale, 1)]
        );
    }

    #[test]
    fn a_retry_that_comes_late_is_found() {
        // 1 is executed again after 2 was.
        let history = [done(1, 1, 2), done(2, 3, 4)];
        let reads = [read(1, 2, 3), read(2, 5, 6), read(1, 7, 8)];
        assert_eq!(judge(&history, &reads, &[]), [(Fault::Lost, 1)]);
    }

    #[test]
    fn values_from_nowhere_are_found() {
        assert_eq!(judge(&[], &[read(9, 1, 2)], &[]), [(Fault::Wrong, 1)]);
        assert_eq!(
            judge(&[done(1, 5, 6)], &[read(1, 1, 2)], &[]),
            [(Fault::Wrong, 1)]
        );
        let refused = write(1, 1, 3, Outcome::Refused);
        assert_eq!(
            judge(&[refused], &[read(1, 4, 5)], &[]),
            [(Fault::RefusedButDone, 1)]
        );
    }

    #[test]
    fn only_what_a_failed_primary_may_lose_is_forgiven() {
        let loss = [Loss {
            shard: 0,
            from: 3,
            to: 8,
        }];
        let forgiven = [(Fault::LossWindow, 1)];
        let history = [done(1, 1, 2), done(2, 4, 5)];
        assert_eq!(judge(&history, &[read(1, 9, 10)], &loss), forgiven);
        assert_eq!(
            judge(&history, &[read(2, 6, 7), read(1, 9, 10)], &loss),
            forgiven
        );
        // Seen after the failure, it was not lost, so it may not vanish later.
        let reads = [read(2, 9, 10), read(1, 11, 12)];
        assert_eq!(judge(&history, &reads, &loss), [(Fault::Lost, 1)]);
        // Acknowledged before the window.
        let old = [done(1, 0, 1), done(2, 2, 2)];
        assert_eq!(judge(&old, &[read(1, 9, 10)], &loss), [(Fault::Lost, 1)]);
    }

    /// Against trying all orders, on thousands of small random histories.
    #[test]
    fn it_agrees_with_trying_all_orders() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut linearizable = 0;
        for _ in 0..20_000 {
            let mut writes = Vec::new();
            for token in 1..=random(4) {
                let start = 1 + random(20);
                let outcome = [Outcome::Done, Outcome::Unknown][usize::from(random(4) == 0)];
                // Times are all different, as those of a clock are.
                let end = start + 1 + random(8);
                writes.push(write(
                    token,
                    start * 100 + token,
                    end * 100 + 10 + token,
                    outcome,
                ));
            }
            let mut reads = Vec::new();
            for number in 20..20 + random(4) {
                let (start, len) = (1 + random(25), 1 + random(6));
                let token = random(writes.len() as u64 + 1);
                reads.push(read(
                    token,
                    start * 100 + number,
                    (start + len) * 100 + 10 + number,
                ));
            }
            let expected = some_order_works(0, &writes, &reads);
            linearizable += usize::from(expected);
            let found = judge(&writes, &reads, &[]);
            assert_eq!(found.is_empty(), expected, "{writes:?} {reads:?} {found:?}");
        }
        assert!(
            (4000..16_000).contains(&linearizable),
            "{linearizable} say little"
        );
    }

    fn some_order_works(value: u64, writes: &[Write], reads: &[Read]) -> bool {
        let ends = writes.iter().map(|write| write.outcome.end(write.span));
        let first_end = ends.chain(reads.iter().map(|read| read.span.end)).min();
        let first_end = first_end.unwrap_or(u64::MAX);
        if reads.is_empty() && writes.iter().all(|write| write.outcome == Outcome::Unknown) {
            return true;
        }
        let without = |index: usize| {
            let rest = writes
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            rest.map(|(_, write)| *write).collect::<Vec<_>>()
        };
        let mut candidates = writes.iter().enumerate();
        if candidates.any(|(index, write)| {
            write.span.start < first_end && some_order_works(write.token.0, &without(index), reads)
        }) {
            return true;
        }
        reads.iter().enumerate().any(|(index, read)| {
            let mut rest = reads.to_vec();
            rest.remove(index);
            read.token.0 == value
                && read.span.start < first_end
                && some_order_works(value, writes, &rest)
        })
    }
}
