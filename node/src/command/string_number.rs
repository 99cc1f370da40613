//! Strings that are numbers: counting up and down.

use slotway_protocol::resp::encode;

use super::string::text;
use super::{Call, CommandError, Run};
use crate::number::long_double::LongDouble;
use crate::number::{self, IntegerText};
use crate::value::Value;
use crate::value::text::Text;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("incr", incr),
    ("decr", decr),
    ("incrby", incrby),
    ("decrby", decrby),
    ("incrbyfloat", incrbyfloat),
];

fn incr(call: &mut Call<'_>) -> Result<(), CommandError> {
    add(call, 1)
}

fn decr(call: &mut Call<'_>) -> Result<(), CommandError> {
    add(call, -1)
}

fn incrby(call: &mut Call<'_>) -> Result<(), CommandError> {
    let increment = call.integer_arg(2)?;
    add(call, increment)
}

fn decrby(call: &mut Call<'_>) -> Result<(), CommandError> {
    let decrement = call.integer_arg(2)?;
    match decrement.checked_neg() {
        Some(increment) => add(call, increment),
        None => Err(CommandError::text("ERR decrement would overflow")),
    }
}

fn add(call: &mut Call<'_>, increment: i64) -> Result<(), CommandError> {
    let key = call.arg(1);
    let sum = match call.keyspace.get_mut(key) {
        None => {
            call.keyspace
                .set(key, Value::String(Text::Integer(increment)));
            increment
        }
        Some(Value::String(text)) => {
            let before = text.as_integer().ok_or(CommandError::NotAnInteger)?;
            let sum = before
                .checked_add(increment)
                .ok_or_else(|| CommandError::text("ERR increment or decrement would overflow"))?;
            *text = Text::Integer(sum);
            call.keyspace.note_change(key);
            sum
        }
        Some(_) => return Err(CommandError::WrongType),
    };
    call.reply_integer(sum);
    Ok(())
}

fn incrbyfloat(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    let mut scratch = IntegerText::default();
    let before = match text(call.keyspace, key)? {
        None => LongDouble::default(),
        Some(text) => {
            LongDouble::parse(text.as_bytes(&mut scratch)).ok_or(CommandError::NotAFloat)?
        }
    };
    let increment = LongDouble::parse(call.arg(2)).ok_or(CommandError::NotAFloat)?;
    let sum = number::long_double::add(&before, &increment)
        .ok_or_else(|| CommandError::text("ERR increment would produce NaN or Infinity"))?;
    let sum = sum.to_text();
    let value = Value::String(Text::from_bytes(sum.as_bytes()));
    call.keyspace.set_keeping_expiry(key, value);
    call.propagate(&[b"SET", key, sum.as_bytes(), b"KEEPTTL"]);
    encode::bulk(call.out, sum.as_bytes());
    Ok(())
}
