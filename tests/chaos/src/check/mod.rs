//! The oracles: each takes one key's history and what the key holds at the end, and says what can't
//! have happened on a single server that executes each request at most once.

pub(crate) mod bank;
mod counter;
mod list;
mod order;
mod register;
mod swap;

use std::collections::BTreeMap;

pub use bank::{Bank, Entry, judge_bank};
pub use counter::judge_counter;
pub use list::{List, judge_list};
pub use register::judge_register;
pub use swap::judge_swap;

/// What can be wrong with a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A write was acknowledged and is gone.
    Lost,
    /// A write was executed more than once.
    Doubled,
    /// An order that was promised was not kept.
    Reordered,
    /// A read saw what had been replaced before it began.
    Stale,
    /// A reply that nothing explains: another key's value, a value that nobody wrote.
    Wrong,
    /// Part of a transaction.
    Torn,
    /// A write that was refused was executed.
    RefusedButDone,
    /// Keys that lost acknowledged writes when their primary failed, as Redis Cluster may.
    LossWindow,
    /// A write of unknown result was executed after a later one of the same client.
    Late,
}

impl Fault {
    pub(crate) const ALL: [(Self, &'static str); 9] = [
        (Self::Lost, "lost"),
        (Self::Doubled, "doubled"),
        (Self::Reordered, "reordered"),
        (Self::Stale, "stale"),
        (Self::Wrong, "wrong"),
        (Self::Torn, "torn"),
        (Self::RefusedButDone, "refused_but_done"),
        (Self::LossWindow, "loss_window_keys"),
        (Self::Late, "late"),
    ];
}

/// How often each fault was found, and the first few in words.
#[derive(Debug, Default)]
pub struct Findings {
    counts: BTreeMap<Fault, u64>,
    pub examples: Vec<String>,
}

const EXAMPLES_MAX: usize = 40;

impl Findings {
    pub(crate) fn add(&mut self, fault: Fault, what: impl FnOnce() -> String) {
        *self.counts.entry(fault).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{fault:?}: {}", what()));
        }
    }

    pub fn count(&self, fault: Fault) -> u64 {
        self.counts.get(&fault).copied().unwrap_or(0)
    }

    /// Faults of the proxy; what Redis Cluster allows by itself is none.
    pub fn faults(&self) -> u64 {
        let own = |fault: &Fault| matches!(fault, Fault::LossWindow | Fault::Late);
        self.counts
            .iter()
            .filter(|(fault, _)| !own(fault))
            .map(|(_, count)| count)
            .sum()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (fault, count) in other.counts {
            *self.counts.entry(fault).or_default() += count;
        }
        let room = EXAMPLES_MAX - self.examples.len().min(EXAMPLES_MAX);
        self.examples.extend(other.examples.into_iter().take(room));
    }
}

/// Judges strictly; where that finds a fault and the key's primary had failed, again without what
/// may have been lost with it.
fn with_losses(may_lose: bool, judge: impl Fn(bool) -> Findings) -> Findings {
    let strict = judge(false);
    if strict.faults() == 0 || !may_lose {
        return strict;
    }
    let mut relaxed = judge(true);
    if relaxed.faults() == 0 {
        relaxed.add(Fault::LossWindow, || strict.examples.join("; "));
        return relaxed;
    }
    relaxed
}
