//! What a reply says: whether it is one's own, and what of the history is known by it.

use std::io;
use std::rc::Rc;

use super::Run;
use super::client::Pending;
use super::figures::{Class, Event};
use super::keys::{balances, bulk, initial, tiny_value};
use super::plan::{Planner, Work};
use crate::check::{Entry, bank};
use crate::history::{
    Count, History, Oddity, Outcome, OwnMiss, Push, Range, Read, Span, Swap, Swapped, Token,
    Transfer, Write,
};
use crate::resp::Reply;

/// What the proxy says of writes that may have been executed.
const UNKNOWN: &str = "result unknown";

/// Keeps what one client learns.
#[derive(Debug)]
pub(super) struct Settling {
    run: Rc<Run>,
    client: u16,
    shard: Option<u8>,
    history: History,
    own: Known<Token>,
    tiny: Known<u64>,
}

/// What a key that nobody else writes must hold.
#[derive(Debug)]
struct Known<T> {
    /// The last write that is known to have been executed, and when that was known.
    last: T,
    written: u64,
    /// Writes that may have been executed, or still be.
    perhaps: Vec<T>,
}

impl<T: Copy + PartialEq> Known<T> {
    fn new(last: T) -> Self {
        Self {
            last,
            written: 0,
            perhaps: Vec::new(),
        }
    }

    fn note(&mut self, write: T, outcome: Outcome, at: u64) {
        match outcome {
            Outcome::Done => (self.last, self.written) = (write, at),
            Outcome::Unknown => self.perhaps.push(write),
            Outcome::Refused => {}
        }
    }
}

impl Settling {
    pub(super) fn new(run: &Rc<Run>, client: u16, shard: Option<u8>) -> Self {
        let own = run.keys.own[usize::from(client)];
        Self {
            run: Rc::clone(run),
            client,
            shard,
            history: History::default(),
            own: Known::new(initial(own as usize)),
            tiny: Known::new(0),
        }
    }

    /// Gives what was learnt to the run.
    pub(super) fn finish(&mut self) {
        self.run.history.borrow_mut().append(&mut self.history);
    }

    /// The connection was lost before the replies came.
    pub(super) fn lose(&mut self, pending: Pending, why: &io::Error) {
        let span = Span {
            start: pending.start,
            end: self.run.clock.now(),
        };
        self.count(
            &pending.work,
            span,
            Outcome::Unknown,
            Some(&format!("connection: {why}")),
        );
        self.fail(&pending.work, span, Outcome::Unknown);
    }

    pub(super) fn settle(&mut self, mut pending: Pending, planner: &mut Planner) {
        let span = Span {
            start: pending.start,
            end: self.run.clock.now(),
        };
        let Some(reply) = pending.replies.pop() else {
            return;
        };
        if let Some(text) = error_in(&pending.work, &reply) {
            let outcome = self.outcome_of(&pending.work, text);
            let text = with_cause(&pending.replies, text);
            let text = format!("{}: {text}", pending.work.command());
            self.count(&pending.work, span, outcome, Some(&text));
            return self.fail(&pending.work, span, outcome);
        }
        self.count(&pending.work, span, Outcome::Done, None);
        self.succeed(pending.work, span, reply, planner);
    }

    /// Whether a write that got this error may have been executed.
    fn outcome_of(&self, work: &Work, text: &str) -> Outcome {
        // Of a write that was split some parts may be done, and of MULTI nobody heard.
        let split = matches!(work, Work::MultiSet(_)) && self.shard.is_none();
        let no_multi = text.contains("without MULTI");
        if text.contains(UNKNOWN) || split || no_multi || self.run.arguments.errors_unknown {
            Outcome::Unknown
        } else {
            Outcome::Refused
        }
    }

    fn count(&self, work: &Work, span: Span, outcome: Outcome, error: Option<&str>) {
        let class = if work.writes() {
            Class::Write
        } else {
            Class::Read
        };
        let event = Event {
            span,
            shard: self.shard,
            class,
            outcome,
        };
        self.run.figures.borrow_mut().note(event, error);
    }

    fn fail(&mut self, work: &Work, span: Span, outcome: Outcome) {
        let history = &mut self.history;
        match work {
            Work::Set(register, token) => {
                history.writes.push(Write {
                    register: *register,
                    token: *token,
                    outcome,
                    span,
                });
            }
            Work::MultiSet(sets) => {
                let write = |(register, token): &(u32, Token)| Write {
                    register: *register,
                    token: *token,
                    outcome,
                    span,
                };
                history.writes.extend(sets.iter().map(write));
            }
            Work::OwnSet(token) => self.write_own(*token, outcome, span),
            Work::TinySet(sequence) => self.tiny.note(*sequence, outcome, span.end),
            Work::Push(list, token) => {
                let (list, token) = (*list, *token);
                history.pushes.push(Push {
                    list,
                    token,
                    outcome,
                    place: 0,
                    span,
                });
            }
            Work::Count(counter) => {
                history.counts.push(Count {
                    counter: *counter,
                    outcome,
                    value: 0,
                    span,
                });
            }
            Work::Swap(swap, expected, new) => {
                let unknown = outcome == Outcome::Unknown;
                let outcome = if unknown {
                    Swapped::Unknown
                } else {
                    Swapped::Refused
                };
                let (swap, expected, new) = (*swap, *expected, *new);
                history.swaps.push(Swap {
                    swap,
                    expected,
                    new,
                    outcome,
                    span,
                });
            }
            Work::Transfer(bank, entry) => self.log(*bank, *entry, outcome, 0, span),
            Work::Get(_) | Work::MultiGet(_) | Work::OwnGet | Work::TinyGet | Work::Range(..) => {}
        }
    }

    fn succeed(&mut self, work: Work, span: Span, reply: Reply, planner: &mut Planner) {
        let before = self.history.oddities.len();
        let right = match &work {
            Work::Get(register) => self.read(*register, &reply, span),
            Work::MultiGet(registers) => self.read_all(registers, &reply, span),
            Work::Set(..) | Work::MultiSet(_) | Work::OwnSet(_) | Work::TinySet(_) => {
                self.fail(&work, span, Outcome::Done);
                (reply == Reply::Simple(b"OK".to_vec())).then_some(())
            }
            Work::OwnGet => self.read_own(&reply, span),
            Work::TinyGet => self.read_tiny(&reply, span),
            Work::Push(list, token) => self.push(*list, *token, &reply, span, planner),
            Work::Range(list, first, wanted) => self.range((*list, *first, *wanted), &reply, span),
            Work::Count(counter) => self.counted(*counter, &reply, span),
            Work::Swap(swap, expected, new) => {
                self.swapped((*swap, *expected, *new), &reply, span, planner)
            }
            Work::Transfer(bank, entry) => self.transferred(*bank, *entry, &reply, span),
        };
        if right.is_none() && self.history.oddities.len() == before {
            self.note_odd(
                false,
                span,
                format!("client {}: {work:?} got {reply:?}", self.client),
            );
        }
    }

    fn note_odd(&mut self, torn: bool, span: Span, mut what: String) {
        what.truncate(what.floor_char_boundary(400));
        self.history.oddities.push(Oddity {
            torn,
            at: span.end,
            what,
        });
    }

    fn read(&mut self, register: u32, reply: &Reply, span: Span) -> Option<()> {
        let known = self.run.keys.register(register);
        let value = bulk(reply)?;
        let token = self
            .run
            .keys
            .values
            .take(&known.key.name, known.bytes, value)?;
        self.history.reads.push(Read {
            register,
            token,
            span,
        });
        Some(())
    }

    fn read_all(&mut self, registers: &[u32], reply: &Reply, span: Span) -> Option<()> {
        let Reply::Array(Some(items)) = reply else {
            return None;
        };
        (items.len() == registers.len()).then_some(())?;
        let mut pairs = registers.iter().zip(items);
        pairs.try_for_each(|(register, item)| self.read(*register, item, span))
    }

    fn write_own(&mut self, token: Token, outcome: Outcome, span: Span) {
        let register = self.run.keys.own[usize::from(self.client)];
        self.history.writes.push(Write {
            register,
            token,
            outcome,
            span,
        });
        self.own.note(token, outcome, span.end);
    }

    /// The client's own reads must see its last write even when both were under way at once.
    fn read_own(&mut self, reply: &Reply, span: Span) -> Option<()> {
        let register = self.run.keys.own[usize::from(self.client)];
        self.read(register, reply, span)?;
        let token = self.history.reads.last()?.token;
        if token != self.own.last && !self.own.perhaps.contains(&token) {
            let what = format!("own key: {token} instead of {}", self.own.last);
            self.note_own_miss(self.own.written, span, what);
        }
        self.own.last = token;
        Some(())
    }

    fn read_tiny(&mut self, reply: &Reply, span: Span) -> Option<()> {
        let [value] = bulk(reply)? else {
            return None;
        };
        let is = |sequence: &u64| tiny_value(*sequence) == *value;
        if !is(&self.tiny.last) && !self.tiny.perhaps.iter().any(is) {
            let (value, last) = (char::from(*value), char::from(tiny_value(self.tiny.last)));
            let what = format!("own key of one byte: {value} instead of {last}");
            self.note_own_miss(self.tiny.written, span, what);
            // From now on what is there counts, so that one fault is found once.
            self.tiny.perhaps.extend(0..52);
        }
        Some(())
    }

    fn note_own_miss(&mut self, written: u64, read: Span, what: String) {
        let shard = self.shard.unwrap_or(u8::MAX);
        self.history.own_misses.push(OwnMiss {
            shard,
            written,
            read,
            what,
        });
    }

    fn push(
        &mut self,
        list: u32,
        token: Token,
        reply: &Reply,
        span: Span,
        planner: &mut Planner,
    ) -> Option<()> {
        let place = positive(reply);
        let outcome = if place.is_some() {
            Outcome::Done
        } else {
            Outcome::Unknown
        };
        let length = place.unwrap_or(0) as usize;
        self.history.pushes.push(Push {
            list,
            token,
            outcome,
            place: length,
            span,
        });
        planner.lengths.insert(list, length);
        place.map(drop)
    }

    fn range(&mut self, of: (u32, usize, usize), reply: &Reply, span: Span) -> Option<()> {
        let (list, first, wanted) = of;
        let Reply::Array(Some(items)) = reply else {
            return None;
        };
        let items: Option<Vec<Token>> =
            items.iter().map(|item| Token::parse(bulk(item)?)).collect();
        self.history.ranges.push(Range {
            list,
            first,
            wanted,
            items: items?,
            span,
        });
        Some(())
    }

    fn counted(&mut self, counter: u32, reply: &Reply, span: Span) -> Option<()> {
        let value = positive(reply);
        let outcome = if value.is_some() {
            Outcome::Done
        } else {
            Outcome::Unknown
        };
        let count = Count {
            counter,
            outcome,
            value: value.unwrap_or(0),
            span,
        };
        self.history.counts.push(count);
        value.map(drop)
    }

    fn swapped(
        &mut self,
        of: (u32, Token, Token),
        reply: &Reply,
        span: Span,
        planner: &mut Planner,
    ) -> Option<()> {
        let (swap, expected, new) = of;
        let outcome = match reply {
            Reply::Array(Some(items)) => match items.as_slice() {
                [Reply::Integer(1), number] => positive(number).map(Swapped::Done),
                [Reply::Integer(0), seen] => bulk(seen).and_then(Token::parse).map(Swapped::Seen),
                _ => None,
            },
            _ => None,
        };
        match outcome {
            Some(Swapped::Done(_)) => planner.seen.insert(swap, new),
            Some(Swapped::Seen(token)) => planner.seen.insert(swap, token),
            _ => None,
        };
        let known = outcome.unwrap_or(Swapped::Unknown);
        self.history.swaps.push(Swap {
            swap,
            expected,
            new,
            outcome: known,
            span,
        });
        outcome.map(drop)
    }

    fn transferred(&mut self, bank: u32, entry: Entry, reply: &Reply, span: Span) -> Option<()> {
        let results = match reply {
            Reply::Array(Some(items)) => match items.as_slice() {
                [Reply::Integer(_), Reply::Integer(_), place, read] => {
                    positive(place).zip(balances(read))
                }
                _ => None,
            },
            _ => None,
        };
        let Some((place, held)) = results else {
            self.log(bank, entry, Outcome::Unknown, 0, span);
            return None;
        };
        self.log(bank, entry, Outcome::Done, place as usize, span);
        if !bank::is_whole(&held) {
            let what = format!("transfer {entry} saw {held:?}");
            self.note_odd(true, span, what);
        }
        Some(())
    }

    fn log(&mut self, bank: u32, entry: Entry, outcome: Outcome, place: usize, span: Span) {
        let Entry {
            token,
            from,
            to,
            amount,
        } = entry;
        self.history.entries.push(Push {
            list: bank,
            token,
            outcome,
            place,
            span,
        });
        self.history.transfers.push(Transfer {
            bank,
            token,
            from,
            to,
            amount,
        });
    }
}

/// The error that a reply is; some proxies give MGET one for each key that failed.
fn error_in<'reply>(work: &Work, reply: &'reply Reply) -> Option<&'reply str> {
    match reply {
        Reply::Error(text) => Some(text),
        Reply::Array(Some(items)) if matches!(work, Work::MultiGet(_)) => {
            items.iter().find_map(|item| error_in(work, item))
        }
        _ => None,
    }
}

/// A transaction's own error, with the first of its commands' behind it.
fn with_cause(before: &[Reply], text: &str) -> String {
    let mut errors = before.iter().filter_map(|reply| match reply {
        Reply::Error(text) => Some(text),
        _ => None,
    });
    errors
        .next()
        .map_or_else(|| text.to_owned(), |cause| format!("{text} ({cause})"))
}

fn positive(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Integer(number) => u64::try_from(*number).ok().filter(|number| *number > 0),
        _ => None,
    }
}
