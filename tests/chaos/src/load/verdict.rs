//! Gives each key's part of the history to its oracle.

use serde_json::{Value, json};

use super::keys::{Finals, Held, Keys, initial};
use crate::check::{
    Bank, Fault, Findings, List, judge_bank, judge_counter, judge_list, judge_register, judge_swap,
};
use crate::history::{History, Loss, Losses, Push, Range, Read, Span, Token};

/// Judges everything; `end` is when the last of what the keys hold was read.
pub(super) fn judge(
    keys: &Keys,
    history: &mut History,
    finals: &Finals,
    losses: &[Loss],
    end: u64,
) -> Findings {
    let mut findings = Findings::default();
    judge_noted(history, losses, &mut findings);
    judge_registers(keys, history, finals, losses, end, &mut findings);
    judge_lists(keys, history, finals, losses, &mut findings);
    judge_numbers(keys, history, finals, losses, &mut findings);
    findings
}

/// What clients found by themselves.
fn judge_noted(history: &History, losses: &[Loss], findings: &mut Findings) {
    for odd in &history.oddities {
        let fault = if odd.torn { Fault::Torn } else { Fault::Wrong };
        findings.add(fault, || {
            format!("at {} ms {}", odd.at / 1_000_000, odd.what)
        });
    }
    for miss in &history.own_misses {
        let losses = Losses::of_shard(losses, miss.shard);
        let allowed = losses.may_take(miss.written);
        let fault = if allowed {
            Fault::LossWindow
        } else {
            Fault::Stale
        };
        findings.add(fault, || {
            format!("at {} ms {}", miss.read.end / 1_000_000, miss.what)
        });
    }
}

fn judge_registers(
    keys: &Keys,
    history: &mut History,
    finals: &Finals,
    losses: &[Loss],
    end: u64,
    findings: &mut Findings,
) {
    for (number, held) in finals.registers.iter().enumerate() {
        let span = Span {
            start: end,
            end: end + 1,
        };
        match held {
            Ok(token) => {
                let register = number as u32;
                history.reads.push(Read {
                    register,
                    token: *token,
                    span,
                });
            }
            Err(why) => findings.add(Fault::Lost, || why.clone()),
        }
    }
    history.writes.sort_unstable_by_key(|write| write.register);
    history.reads.sort_unstable_by_key(|read| read.register);
    for (number, register) in keys.registers.iter().enumerate() {
        let place = number as u32;
        let writes = part(&history.writes, |write| write.register.cmp(&place));
        let reads = part(&history.reads, |read| read.register.cmp(&place));
        let losses = Losses::of_shard(losses, register.key.shard);
        let found = judge_register(initial(number), writes, reads, &losses);
        findings.merge(named(found, &register.key.name));
    }
}

fn judge_lists(
    keys: &Keys,
    history: &mut History,
    finals: &Finals,
    losses: &[Loss],
    findings: &mut Findings,
) {
    history.pushes.sort_unstable_by_key(|push| push.list);
    history.ranges.sort_by_key(|range| range.list);
    history.entries.sort_unstable_by_key(|push| push.list);
    for (number, (list, held)) in keys.lists.iter().zip(&finals.lists).enumerate() {
        let Some(held) = good(held, findings) else {
            continue;
        };
        let list_history = List {
            pushes: of_list(&history.pushes, number),
            ranges: part(&history.ranges, |range: &Range| {
                range.list.cmp(&(number as u32))
            }),
            held,
        };
        let losses = Losses::of_shard(losses, list.shard);
        findings.merge(named(judge_list(list_history, &losses), &list.name));
    }
    for (number, (bank, held)) in keys.banks.iter().zip(&finals.banks).enumerate() {
        let Some((entries, balances)) = good(held, findings) else {
            continue;
        };
        let tokens: Vec<Token> = entries.iter().map(|entry| entry.token).collect();
        let pushes = of_list(&history.entries, number);
        let log = List {
            pushes,
            ranges: &[],
            held: &tokens,
        };
        let losses = Losses::of_shard(losses, bank.shard);
        let found = judge_bank(
            Bank {
                log,
                entries,
                balances,
            },
            &losses,
        );
        findings.merge(named(found, &bank.name));
    }
}

fn judge_numbers(
    keys: &Keys,
    history: &mut History,
    finals: &Finals,
    losses: &[Loss],
    findings: &mut Findings,
) {
    history.counts.sort_unstable_by_key(|count| count.counter);
    history.swaps.sort_unstable_by_key(|swap| swap.swap);
    for (number, (counter, held)) in keys.counters.iter().zip(&finals.counters).enumerate() {
        let Some(held) = good(held, findings) else {
            continue;
        };
        let counts = part(&history.counts, |count| count.counter.cmp(&(number as u32)));
        let losses = Losses::of_shard(losses, counter.shard);
        findings.merge(named(judge_counter(counts, *held, &losses), &counter.name));
    }
    for (number, (swap, held)) in keys.swaps.iter().zip(&finals.swaps).enumerate() {
        let Some((value, count)) = good(held, findings) else {
            continue;
        };
        let swaps = part(&history.swaps, |one| one.swap.cmp(&(number as u32)));
        let losses = Losses::of_shard(losses, swap.shard);
        let found = judge_swap(initial(number), swaps, *value, *count, &losses);
        findings.merge(named(found, &swap.name));
    }
}

fn good<'run, T>(held: &'run Held<T>, findings: &mut Findings) -> Option<&'run T> {
    match held {
        Ok(held) => Some(held),
        Err(why) => {
            findings.add(Fault::Lost, || why.clone());
            None
        }
    }
}

fn of_list(pushes: &[Push], number: usize) -> &[Push] {
    part(pushes, |push| push.list.cmp(&(number as u32)))
}

/// The part of a sorted history for which `order` says that it is equal.
fn part<T>(all: &[T], order: impl Fn(&T) -> std::cmp::Ordering) -> &[T] {
    let first = all.partition_point(|one| order(one).is_lt());
    let end = all.partition_point(|one| order(one).is_le());
    &all[first..end]
}

fn named(mut findings: Findings, key: &[u8]) -> Findings {
    for example in &mut findings.examples {
        *example = format!("{}: {example}", key.escape_ascii());
    }
    findings
}

pub(super) fn shown(findings: &Findings) -> Value {
    let counts = Fault::ALL
        .iter()
        .map(|(fault, name)| ((*name).to_owned(), json!(findings.count(*fault))));
    Value::Object(counts.collect())
}
