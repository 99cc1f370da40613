//! Where a request's keys are: the key specs of the table put to a request's arguments, and own
//! rules for the few commands whose specs can't tell.

use super::Command;
use super::flags::{Flags, KeyFlags};
use crate::resp::Request;

/// How to find some of a command's keys: where to begin, and how far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    pub flags: KeyFlags,
    pub begin: BeginSearch,
    pub find: FindKeys,
}

/// Where a spec's keys begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginSearch {
    /// At this argument.
    Index(u8),
    /// After the first argument that is this word, searched from `from` on to the right; from the
    /// end to the left when `from` is negative.
    Keyword { word: &'static str, from: i8 },
    /// Specs can't say.
    Unknown,
}

/// How far a spec's keys go, counted from where they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindKeys {
    /// Every `step`th argument up to `last`, which is relative to the first when not negative,
    /// else to the end of the request. A `limit` of 2 and more leaves that part of the rest.
    Range { last: i8, step: u8, limit: u8 },
    /// As many as argument `number` says, from `first` on.
    KeyNum { number: u8, first: u8, step: u8 },
    /// Specs can't say.
    Unknown,
}

/// Whether the specs alone tell a command's keys and what is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyRule {
    Specs,
    /// There may be keys that the specs do not find; the server knows more.
    Hidden,
    /// BITFIELD only reads unless a subcommand writes.
    Bitfield,
    /// MIGRATE has its keys after KEYS when the usual place is empty.
    Migrate,
    /// SET reads the old value with GET.
    Set,
    /// SORT writes to the last STORE.
    Sort,
    /// SORT_RO has one key; its other spec stands for keys named by patterns.
    SortRo,
}

/// Why the keys of a request can't be told. The command itself is going to fail on any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    #[error("Invalid arguments specified for command")]
    InvalidArguments,
}

/// Calls `visit` with the argument position of each key of a request whose arity is right. Shard
/// channels count, because they are routed like keys. Either all keys are visited, or none and
/// the result is an error; a request without keys that may have none is no error.
pub fn each_key(
    command: &Command,
    request: &Request<'_>,
    visit: &mut dyn FnMut(usize),
) -> Result<(), KeysError> {
    if let Some(position) = command.single_key() {
        visit(position);
        return Ok(());
    }
    each_key_with_flags(command, request, &mut |position, _| visit(position))
}

/// Like [`each_key`], with what the command does with each key.
pub fn each_key_with_flags(
    command: &Command,
    request: &Request<'_>,
    visit: &mut dyn FnMut(usize, KeyFlags),
) -> Result<(), KeysError> {
    if command.key_specs.is_empty() {
        return Ok(());
    }
    let arguments = Arguments::of(request);
    for range in locate(command, &arguments)?.as_slice() {
        range.each(|position| visit(position, range.flags));
    }
    Ok(())
}

/// A request, or the one inside of a request like COMMAND GETKEYS.
#[derive(Clone, Copy)]
pub(super) struct Arguments<'a> {
    request: &'a Request<'a>,
    first: usize,
}

impl<'a> Arguments<'a> {
    pub(super) fn of(request: &'a Request<'a>) -> Self {
        Self { request, first: 0 }
    }

    /// What comes from argument `first` on; there is such an argument.
    pub(super) fn inside(request: &'a Request<'a>, first: usize) -> Self {
        Self { request, first }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.request.len() - self.first
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> &'a [u8] {
        self.request.arg(self.first + index)
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).eq_ignore_ascii_case(word.as_bytes())
    }
}

/// Some keys at equal distances: from `first` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRange {
    first: usize,
    end: usize,
    step: usize,
    pub(super) flags: KeyFlags,
}

impl KeyRange {
    fn one(position: usize, flags: KeyFlags) -> Self {
        Self {
            first: position,
            end: position + 1,
            step: 1,
            flags,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first >= self.end
    }

    pub(super) fn each(&self, mut visit: impl FnMut(usize)) {
        let mut position = self.first;
        while position < self.end {
            visit(position);
            position += self.step;
        }
    }
}

/// The keys of a request.
#[derive(Debug)]
pub(super) struct KeyRanges {
    ranges: [KeyRange; RANGES_MAX],
    len: usize,
}

impl KeyRanges {
    fn none() -> Self {
        let unused = KeyRange {
            first: 0,
            end: 0,
            step: 1,
            flags: KeyFlags::default(),
        };
        Self {
            ranges: [unused; RANGES_MAX],
            len: 0,
        }
    }

    fn one(range: KeyRange) -> Self {
        let mut ranges = Self::none();
        ranges.push(range);
        ranges
    }

    fn push(&mut self, range: KeyRange) {
        self.ranges[self.len] = range;
        self.len += 1;
    }

    pub(super) fn as_slice(&self) -> &[KeyRange] {
        &self.ranges[..self.len]
    }
}

/// Where the keys are. A range may be empty: PFMERGE with a destination only.
pub(super) fn locate(command: &Command, arguments: &Arguments<'_>) -> Result<KeyRanges, KeysError> {
    match command.key_rule {
        KeyRule::Specs | KeyRule::Hidden => by_specs(command, arguments),
        KeyRule::Bitfield => Ok(KeyRanges::one(KeyRange::one(1, bitfield_flags(arguments)))),
        KeyRule::Migrate => migrate(arguments),
        KeyRule::Set => Ok(KeyRanges::one(KeyRange::one(1, set_flags(arguments)))),
        KeyRule::Sort => Ok(sort(arguments)),
        KeyRule::SortRo => Ok(KeyRanges::one(KeyRange::one(1, READ))),
    }
}

fn by_specs(command: &Command, arguments: &Arguments<'_>) -> Result<KeyRanges, KeysError> {
    let mut found = KeyRanges::none();
    for spec in command.key_specs {
        if let Some(range) = apply(spec, command.flags, arguments)? {
            found.push(range);
        }
    }
    let may_be_none = command.key_specs.is_empty() || optional_keys(command.flags);
    if found.len == 0 && !may_be_none {
        return Err(KeysError::InvalidArguments);
    }
    Ok(found)
}

/// The keys that one spec finds; none when its keyword is absent.
fn apply(
    spec: &KeySpec,
    flags: Flags,
    arguments: &Arguments<'_>,
) -> Result<Option<KeyRange>, KeysError> {
    let begin = match spec.begin {
        BeginSearch::Index(index) => usize::from(index),
        BeginSearch::Keyword { word, from } => match find_word(word, from, arguments) {
            Some(position) => position + 1,
            None => return Ok(None),
        },
        BeginSearch::Unknown => return Err(KeysError::InvalidArguments),
    };
    let (first, end, step) = match spec.find {
        FindKeys::Range { last, step, limit } => {
            (begin, range_end(begin, last, limit, arguments.len()), step)
        }
        FindKeys::KeyNum {
            number,
            first,
            step,
        } => {
            let (first, step) = (begin + usize::from(first), usize::from(step));
            let count = key_count(begin + usize::from(number), arguments)?;
            if count == 0 {
                let legal = optional_keys(flags);
                return legal.then_some(None).ok_or(KeysError::InvalidArguments);
            }
            let end = (count - 1).checked_mul(step).map(|len| first + len + 1);
            (first, end, step as u8)
        }
        FindKeys::Unknown => return Err(KeysError::InvalidArguments),
    };
    match end {
        Some(end) if end >= first && end <= arguments.len() => Ok(Some(KeyRange {
            first,
            end,
            step: usize::from(step),
            flags: spec.flags,
        })),
        _ => Err(KeysError::InvalidArguments),
    }
}

/// The position of a keyword. It has to have something behind it.
fn find_word(word: &str, from: i8, arguments: &Arguments<'_>) -> Option<usize> {
    let len = arguments.len();
    let distance = usize::from(from.unsigned_abs());
    if from >= 0 {
        (distance..len.saturating_sub(1)).find(|&at| arguments.is(at, word))
    } else {
        (2..=len.saturating_sub(distance))
            .rev()
            .find(|&at| arguments.is(at, word))
    }
}

/// The position after the last key of a range.
fn range_end(begin: usize, last: i8, limit: u8, len: usize) -> Option<usize> {
    let distance = usize::from(last.unsigned_abs());
    if last >= 0 {
        Some(begin + distance + 1)
    } else if limit <= 1 {
        (len + 1).checked_sub(distance)
    } else {
        let part = len.checked_sub(begin)? / usize::from(limit);
        // At least one key: half of nothing is a mistake, not an empty range.
        (part >= distance).then(|| begin + part + 1 - distance)
    }
}

/// The number of keys that an argument names, read as redis-server reads it when it looks for the
/// keys: blanks and a sign may stand before the digits, and anything behind them. Its commands are
/// stricter, but complain only where their keys are served; elsewhere they are redirected.
fn key_count(position: usize, arguments: &Arguments<'_>) -> Result<usize, KeysError> {
    if position >= arguments.len() {
        return Err(KeysError::InvalidArguments);
    }
    let text = arguments.get(position);
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let start = text.iter().position(|byte| !blank(byte));
    let text = start.map_or(&[][..], |start| &text[start..]);
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let value = digits.fold(0_i64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
    });
    // Larger numbers lose their upper half there.
    let value = if negative { -value } else { value } as i32;
    usize::try_from(value).or(Ok(0))
}

fn optional_keys(flags: Flags) -> bool {
    flags.contains(Flags::NO_MANDATORY_KEYS)
}

fn set_flags(arguments: &Arguments<'_>) -> KeyFlags {
    if (3..arguments.len()).any(|at| arguments.is(at, "get")) {
        READ_WRITE
    } else {
        OVERWRITE
    }
}

fn bitfield_flags(arguments: &Arguments<'_>) -> KeyFlags {
    let mut at = 2;
    while at < arguments.len() {
        let behind = arguments.len() - at - 1;
        at += if arguments.is(at, "get") && behind >= 2 {
            3
        } else if arguments.is(at, "overflow") && behind >= 1 {
            2
        } else {
            return READ_WRITE;
        };
    }
    READ
}

fn sort(arguments: &Arguments<'_>) -> KeyRanges {
    let mut store = None;
    let mut at = 2;
    while at < arguments.len() {
        if arguments.is(at, "limit") {
            at += 2;
        } else if arguments.is(at, "get") || arguments.is(at, "by") {
            at += 1;
        } else if arguments.is(at, "store") && at + 1 < arguments.len() {
            store = Some(at + 1);
        }
        at += 1;
    }
    let mut found = KeyRanges::one(KeyRange::one(1, READ));
    if let Some(position) = store {
        found.push(KeyRange::one(position, OVERWRITE));
    }
    found
}

fn migrate(arguments: &Arguments<'_>) -> Result<KeyRanges, KeysError> {
    let only = KeyRanges::one(KeyRange::one(3, MOVE));
    if find_word("keys", -2, arguments).is_none() {
        return Ok(only);
    }
    let mut at = 6;
    while at < arguments.len() {
        if arguments.is(at, "keys") {
            if !arguments.get(3).is_empty() || at + 1 == arguments.len() {
                return Err(KeysError::InvalidArguments);
            }
            return Ok(KeyRanges::one(KeyRange {
                first: at + 1,
                end: arguments.len(),
                step: 1,
                flags: MOVE,
            }));
        }
        if arguments.is(at, "auth2") {
            at += 2;
        } else if arguments.is(at, "auth") {
            at += 1;
        }
        at += 1;
    }
    Ok(only)
}

/// The most specs that a command has; the table is checked against it.
pub(super) const RANGES_MAX: usize = 3;

const READ: KeyFlags = KeyFlags::of("RO access");
const READ_WRITE: KeyFlags = KeyFlags::of("RW access update");
const OVERWRITE: KeyFlags = KeyFlags::of("OW update");
const MOVE: KeyFlags = KeyFlags::of("RW access delete");
