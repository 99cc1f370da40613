//! What clients did and were told: the histories that the oracles in `check/` judge. Times are
//! nanoseconds since the run began.

pub use crate::values::Token;

/// From just before the request was written until its reply was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

/// What the client knows of a write afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// An error that says that nothing was executed.
    Refused,
    /// No reply, or an error that says that nobody knows; it may be executed at any time, or never.
    Unknown,
}

impl Outcome {
    /// When the operation was over at the latest, as far as the client can tell.
    pub(crate) fn end(self, span: Span) -> u64 {
        if self == Self::Unknown {
            u64::MAX
        } else {
            span.end
        }
    }
}

/// A write of one key with SET or MSET.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub register: u32,
    pub token: Token,
    pub outcome: Outcome,
    pub span: Span,
}

/// A read of one key with GET or MGET.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    pub register: u32,
    pub token: Token,
    pub span: Span,
}

/// An RPUSH of one element.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    pub list: u32,
    pub token: Token,
    pub outcome: Outcome,
    /// The length that was answered.
    pub place: usize,
    pub span: Span,
}

/// An LRANGE.
#[derive(Clone, Debug)]
pub struct Range {
    pub list: u32,
    pub first: usize,
    /// How many were asked for.
    pub wanted: usize,
    pub items: Vec<Token>,
    pub span: Span,
}

/// An INCR.
#[derive(Clone, Copy, Debug)]
pub struct Count {
    pub counter: u32,
    pub outcome: Outcome,
    pub value: u64,
    pub span: Span,
}

/// A script that replaces one value by another and counts how often it did.
#[derive(Clone, Copy, Debug)]
pub struct Swap {
    pub swap: u32,
    pub expected: Token,
    pub new: Token,
    pub outcome: Swapped,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swapped {
    /// It was the swap of this number.
    Done(u64),
    /// Another value was there.
    Seen(Token),
    Refused,
    Unknown,
}

/// A transfer from one account to another in a transaction, which is logged in a list.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    pub bank: u32,
    pub token: Token,
    pub from: u8,
    pub to: u8,
    pub amount: u32,
}

/// What a client's own key held, against what it had stored there last.
#[derive(Clone, Debug)]
pub struct OwnMiss {
    pub shard: u8,
    /// When the write that is missing was acknowledged.
    pub written: u64,
    pub read: Span,
    pub what: String,
}

/// Something that is wrong whatever else happened.
#[derive(Clone, Debug)]
pub struct Oddity {
    pub torn: bool,
    pub at: u64,
    pub what: String,
}

/// All that the clients noted.
#[derive(Debug, Default)]
pub struct History {
    pub writes: Vec<Write>,
    pub reads: Vec<Read>,
    pub pushes: Vec<Push>,
    pub ranges: Vec<Range>,
    pub counts: Vec<Count>,
    pub swaps: Vec<Swap>,
    /// The entries of the banks' logs, which are lists of their own.
    pub entries: Vec<Push>,
    pub transfers: Vec<Transfer>,
    pub own_misses: Vec<OwnMiss>,
    pub oddities: Vec<Oddity>,
}

impl History {
    pub fn append(&mut self, other: &mut Self) {
        self.writes.append(&mut other.writes);
        self.reads.append(&mut other.reads);
        self.pushes.append(&mut other.pushes);
        self.ranges.append(&mut other.ranges);
        self.counts.append(&mut other.counts);
        self.swaps.append(&mut other.swaps);
        self.entries.append(&mut other.entries);
        self.transfers.append(&mut other.transfers);
        self.own_misses.append(&mut other.own_misses);
        self.oddities.append(&mut other.oddities);
    }
}

/// The time in which a failed primary may have acknowledged writes that its replica never got:
/// Redis Cluster's own loss, which no proxy can prevent.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    pub shard: u8,
    pub from: u64,
    pub to: u64,
}

/// The losses of one shard.
#[derive(Clone, Debug, Default)]
pub struct Losses(pub Vec<Loss>);

impl Losses {
    pub(crate) fn of_shard(all: &[Loss], shard: u8) -> Self {
        Self(
            all.iter()
                .filter(|loss| loss.shard == shard)
                .copied()
                .collect(),
        )
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a write acknowledged then may have been lost.
    pub(crate) fn may_take(&self, end: u64) -> bool {
        self.0.iter().any(|loss| loss.from <= end && end <= loss.to)
    }

    /// Whether what was seen before then may have been lost since.
    pub(crate) fn may_undo(&self, end: u64) -> bool {
        self.0.iter().any(|loss| end <= loss.to)
    }
}
