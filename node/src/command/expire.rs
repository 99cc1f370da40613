//! When keys expire: setting, reading and removing their dates.

use super::{Call, CommandError, Run};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("expire", expire),
    ("pexpire", pexpire),
    ("expireat", expireat),
    ("pexpireat", pexpireat),
    ("ttl", ttl),
    ("pttl", pttl),
    ("expiretime", expiretime),
    ("pexpiretime", pexpiretime),
    ("persist", persist),
];

/// How a number says when something expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    seconds: bool,
    /// A date, not a duration from now.
    absolute: bool,
}

impl Unit {
    pub(super) const SECONDS: Self = Self {
        seconds: true,
        absolute: false,
    };
    pub(super) const MILLISECONDS: Self = Self {
        seconds: false,
        absolute: false,
    };
    const SECONDS_AT: Self = Self {
        seconds: true,
        absolute: true,
    };
    const MILLISECONDS_AT: Self = Self {
        seconds: false,
        absolute: true,
    };

    /// The unit that an option of SET and GETEX stands for.
    pub(super) fn option(word: &[u8]) -> Option<Self> {
        [
            (&b"EX"[..], Self::SECONDS),
            (b"PX", Self::MILLISECONDS),
            (b"EXAT", Self::SECONDS_AT),
            (b"PXAT", Self::MILLISECONDS_AT),
        ]
        .into_iter()
        .find_map(|(name, unit)| word.eq_ignore_ascii_case(name).then_some(unit))
    }

    /// The date in milliseconds; `None` when it is too far away to be told.
    fn date(self, number: i64, now_ms: u64) -> Option<i64> {
        let milliseconds = if self.seconds {
            number.checked_mul(1_000)?
        } else {
            number
        };
        if self.absolute {
            Some(milliseconds)
        } else {
            milliseconds.checked_add(i64::try_from(now_ms).ok()?)
        }
    }
}

/// When a value that is being set expires, from argument `index`, which must be positive.
pub(super) fn deadline(call: &Call<'_>, index: usize, unit: Unit) -> Result<u64, CommandError> {
    let number = call.integer_arg(index)?;
    if number <= 0 {
        return Err(CommandError::InvalidExpireTime);
    }
    unit.date(number, call.keyspace.now_ms())
        .and_then(|date| u64::try_from(date).ok())
        .ok_or(CommandError::InvalidExpireTime)
}

fn expire(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_expiry(call, Unit::SECONDS)
}

fn pexpire(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_expiry(call, Unit::MILLISECONDS)
}

fn expireat(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_expiry(call, Unit::SECONDS_AT)
}

fn pexpireat(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_expiry(call, Unit::MILLISECONDS_AT)
}

#[derive(Debug, Clone, Copy, Default)]
struct Conditions {
    /// Only a key without expiry.
    nx: bool,
    /// Only a key with expiry.
    xx: bool,
    /// Only to a later date.
    gt: bool,
    /// Only to an earlier date.
    lt: bool,
}

impl Conditions {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for index in 3..call.len() {
            match () {
                () if call.arg_is(index, "NX") => conditions.nx = true,
                () if call.arg_is(index, "XX") => conditions.xx = true,
                () if call.arg_is(index, "GT") => conditions.gt = true,
                () if call.arg_is(index, "LT") => conditions.lt = true,
                () => {
                    let option = String::from_utf8_lossy(call.arg(index));
                    return Err(CommandError::text(format!(
                        "ERR Unsupported option {option}"
                    )));
                }
            }
        }
        if conditions.nx && (conditions.xx || conditions.gt || conditions.lt) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if conditions.gt && conditions.lt {
            return Err(CommandError::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(conditions)
    }

    /// Whether a key that expires at `before` (0 for never) may get the new date.
    fn allow(self, before: u64, date: i64) -> bool {
        let before = (before != 0).then_some(before as i64);
        !(self.nx && before.is_some()
            || self.xx && before.is_none()
            || self.gt && before.is_none_or(|before| date <= before)
            || self.lt && before.is_some_and(|before| date >= before))
    }
}

fn set_expiry(call: &mut Call<'_>, unit: Unit) -> Result<(), CommandError> {
    let key = call.arg(1);
    let conditions = Conditions::parse(call)?;
    let number = call.integer_arg(2)?;
    let date = unit
        .date(number, call.keyspace.now_ms())
        .ok_or(CommandError::InvalidExpireTime)?;
    let before = call.keyspace.expires_at(key);
    let done = before.is_some_and(|before| conditions.allow(before, date));
    if done {
        match u64::try_from(date) {
            Ok(date) if date > call.keyspace.now_ms() => {
                call.keyspace.set_expires_at(key, date);
                call.propagate_number(&[b"PEXPIREAT", key], date, &[]);
            }
            _ => {
                call.keyspace.remove(key);
                call.propagate(&[b"DEL", key]);
            }
        }
    }
    call.reply_integer(i64::from(done));
    Ok(())
}

fn ttl(call: &mut Call<'_>) -> Result<(), CommandError> {
    let now_ms = call.keyspace.now_ms();
    reply_expiry(call, |at| (at - now_ms + 500) / 1_000)
}

fn pttl(call: &mut Call<'_>) -> Result<(), CommandError> {
    let now_ms = call.keyspace.now_ms();
    reply_expiry(call, |at| at - now_ms)
}

fn expiretime(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply_expiry(call, |at| (at + 500) / 1_000)
}

fn pexpiretime(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply_expiry(call, |at| at)
}

/// -2 without the key, -1 when it never expires, else what `convert` makes of the date.
fn reply_expiry(call: &mut Call<'_>, convert: impl FnOnce(u64) -> u64) -> Result<(), CommandError> {
    let number = match call.keyspace.expires_at(call.arg(1)) {
        None => -2,
        Some(0) => -1,
        Some(at) => i64::try_from(convert(at)).unwrap_or(i64::MAX),
    };
    call.reply_integer(number);
    Ok(())
}

fn persist(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    let done = call.keyspace.expires_at(key).is_some_and(|at| at != 0);
    if done {
        call.keyspace.set_expires_at(key, 0);
    }
    call.reply_integer(i64::from(done));
    Ok(())
}
