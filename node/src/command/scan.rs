//! Walks over all keys: SCAN and KEYS.

use slotway_protocol::cluster::Slot;
use slotway_protocol::glob::matches;
use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run};
use crate::value::Value;

pub(super) const COMMANDS: &[(&str, Run)] = &[("scan", scan), ("keys", keys)];

/// What SCAN is asked for.
struct Options<'a> {
    count: usize,
    pattern: Option<&'a [u8]>,
    type_name: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(call: &Call<'a>) -> Result<Self, CommandError> {
        let mut options = Self {
            count: COUNT_DEFAULT,
            pattern: None,
            type_name: None,
        };
        for index in (2..call.len()).step_by(2) {
            if index + 1 == call.len() {
                return Err(CommandError::Syntax);
            }
            if call.arg_is(index, "COUNT") {
                let count = call.integer_arg(index + 1)?;
                options.count = match usize::try_from(count) {
                    Ok(count) if count > 0 => count,
                    _ => return Err(CommandError::Syntax),
                };
            } else if call.arg_is(index, "MATCH") {
                options.pattern = Some(call.arg(index + 1)).filter(|pattern| *pattern != b"*");
            } else if call.arg_is(index, "TYPE") {
                options.type_name = Some(call.arg(index + 1));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    fn accept(&self, key: &[u8], value: &Value) -> bool {
        let type_name = value.type_name().as_bytes();
        self.type_name
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(type_name))
            && self.pattern.is_none_or(|pattern| matches(pattern, key))
    }
}

fn scan(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cursor = parse_cursor(call.arg(1))?;
    let options = Options::parse(call)?;
    let mut found: Vec<&[u8]> = Vec::new();
    let next = call
        .keyspace
        .scan(cursor, options.count, &mut |key, value| {
            if options.accept(key, value) {
                found.push(key);
            }
        });
    encode::array(call.out, 2);
    encode::bulk(call.out, next.to_string().as_bytes());
    encode::array(call.out, found.len());
    for key in found {
        encode::bulk(call.out, key);
    }
    Ok(())
}

/// A cursor that no walk has returned is one that is at its end, or begins somewhere.
pub(super) fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let invalid = || CommandError::text("ERR invalid cursor");
    let text = core::str::from_utf8(text).map_err(|_| invalid())?;
    if text.is_empty() {
        return Ok(0);
    }
    match text.strip_prefix('-') {
        Some(digits) => digits.parse::<u64>().map(u64::wrapping_neg),
        None => text.parse(),
    }
    .map_err(|_| invalid())
}

fn keys(call: &mut Call<'_>) -> Result<(), CommandError> {
    let pattern = call.arg(1);
    let mut found: Vec<&[u8]> = Vec::new();
    let mut visit = |key, _: &Value| {
        if matches(pattern, key) {
            found.push(key);
        }
    };
    match call
        .server
        .cluster
        .as_ref()
        .and_then(|_| Slot::of_pattern(pattern))
    {
        Some(slot) => call.keyspace.each_in_slot(slot, &mut visit),
        None => call.keyspace.each(&mut visit),
    }
    encode::array(call.out, found.len());
    for key in found {
        encode::bulk(call.out, key);
    }
    Ok(())
}

const COUNT_DEFAULT: usize = 10;
