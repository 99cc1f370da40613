//! ZADD and ZINCRBY.

use crate::command::{Call, CommandError};
use crate::value::sorted_set::SortedSet;

/// The options of ZADD.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    /// Only new members.
    nx: bool,
    /// Only members that are there.
    xx: bool,
    /// Only greater scores.
    gt: bool,
    /// Only lower scores.
    lt: bool,
    /// Count changed members, too.
    ch: bool,
    /// Add to the score.
    incr: bool,
}

/// What became of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Added(f64),
    /// The score is another one now.
    Changed(f64),
    /// The score is the same as before.
    Same(f64),
    /// The options did not allow it.
    Refused,
}

pub(super) fn zadd(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (options, first) = Options::parse(call)?;
    add(call, options, first)
}

pub(super) fn zincrby(call: &mut Call<'_>) -> Result<(), CommandError> {
    let options = Options {
        incr: true,
        ..Options::default()
    };
    add(call, options, 2)
}

impl Options {
    /// The options after the key, and the index of the first score.
    fn parse(call: &Call<'_>) -> Result<(Self, usize), CommandError> {
        let mut options = Self::default();
        let mut index = 2;
        while index < call.len() {
            let option = match call.arg(index) {
                arg if arg.eq_ignore_ascii_case(b"nx") => &mut options.nx,
                arg if arg.eq_ignore_ascii_case(b"xx") => &mut options.xx,
                arg if arg.eq_ignore_ascii_case(b"gt") => &mut options.gt,
                arg if arg.eq_ignore_ascii_case(b"lt") => &mut options.lt,
                arg if arg.eq_ignore_ascii_case(b"ch") => &mut options.ch,
                arg if arg.eq_ignore_ascii_case(b"incr") => &mut options.incr,
                _ => break,
            };
            *option = true;
            index += 1;
        }
        let rest = call.len() - index;
        if rest == 0 || !rest.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        options.check(rest / 2)?;
        Ok((options, index))
    }

    fn check(self, members: usize) -> Result<(), CommandError> {
        if self.nx && self.xx {
            return Err(CommandError::text(
                "ERR XX and NX options at the same time are not compatible",
            ));
        }
        if [self.gt, self.lt, self.nx]
            .into_iter()
            .filter(|given| *given)
            .count()
            > 1
        {
            return Err(CommandError::text(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.incr && members > 1 {
            return Err(CommandError::text(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }
}

/// Adds the pairs of score and member from argument `first` on.
fn add(call: &mut Call<'_>, options: Options, first: usize) -> Result<(), CommandError> {
    let request = call.request;
    let key = request.arg(1);
    // One pair, the most frequent case, needs no memory.
    let score = call.float_arg(first)?;
    let more: Vec<f64> = (first + 2..call.len())
        .step_by(2)
        .map(|index| call.float_arg(index))
        .collect::<Result<_, _>>()?;
    if options.xx && call.keyspace.sorted_set_mut(key)?.is_none() {
        reply(call, options, Outcome::Refused, 0, 0);
        return Ok(());
    }
    let set = call.keyspace.sorted_set_or_create(key)?;
    let (mut added, mut changed, mut last) = (0, 0, Outcome::Refused);
    for (score, member) in [score]
        .into_iter()
        .chain(more)
        .zip(request.args(first + 1).step_by(2))
    {
        last = add_one(set, options, member, score)?;
        added += usize::from(matches!(last, Outcome::Added(_)));
        changed += usize::from(matches!(last, Outcome::Changed(_)));
    }
    if added + changed > 0 {
        call.keyspace.note_change(key);
    }
    reply(call, options, last, added, changed);
    Ok(())
}

fn reply(call: &mut Call<'_>, options: Options, last: Outcome, added: usize, changed: usize) {
    match last {
        Outcome::Refused if options.incr => call.reply_null(),
        Outcome::Added(score) | Outcome::Changed(score) | Outcome::Same(score) if options.incr => {
            call.reply_double(score);
        }
        _ if options.ch => call.reply_len(added + changed),
        _ => call.reply_len(added),
    }
}

/// Fails only with INCR, so on the only member.
fn add_one(
    set: &mut SortedSet,
    options: Options,
    member: &[u8],
    score: f64,
) -> Result<Outcome, CommandError> {
    let Some(old) = set.score(member) else {
        if options.xx {
            return Ok(Outcome::Refused);
        }
        set.insert(member, score);
        return Ok(Outcome::Added(score));
    };
    if options.nx {
        return Ok(Outcome::Refused);
    }
    let score = if options.incr { old + score } else { score };
    if score.is_nan() {
        return Err(CommandError::text(
            "ERR resulting score is not a number (NaN)",
        ));
    }
    if (options.gt && score <= old) || (options.lt && score >= old) {
        return Ok(Outcome::Refused);
    }
    if score == old {
        return Ok(Outcome::Same(score));
    }
    set.insert(member, score);
    Ok(Outcome::Changed(score))
}
