//! Strings: reading, writing and changing their bytes.

use slotway_protocol::resp::encode;

use super::expire::{Unit, deadline};
use super::{Call, CommandError, Run};
use crate::keyspace::Keyspace;
use crate::number::IntegerText;
use crate::value::Value;
use crate::value::text::Text;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("get", get),
    ("set", set),
    ("setnx", setnx),
    ("setex", setex),
    ("psetex", psetex),
    ("getset", getset),
    ("getdel", getdel),
    ("getex", getex),
    ("mget", mget),
    ("mset", mset),
    ("msetnx", msetnx),
    ("append", append),
    ("strlen", strlen),
    ("getrange", getrange),
    ("substr", getrange),
    ("setrange", setrange),
];

fn get(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply_text(call, call.arg(1))
}

fn set(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, value) = (call.arg(1), call.arg(2));
    if call.len() == 3 {
        call.keyspace.set(key, Value::String(Text::new(value)));
        call.reply_ok();
        return Ok(());
    }
    let options = SetOptions::parse(call)?;
    let expires_at = match options.expiry {
        Expiry::At(index, unit) => deadline(call, index, unit)?,
        Expiry::None | Expiry::Keep | Expiry::Persist => 0,
    };
    if options.get {
        reply_text(call, key)?;
    }
    let exists = options.condition.is_some() && call.keyspace.contains(key);
    if options.condition.is_some_and(|wanted| wanted != exists) {
        if !options.get {
            call.reply_null();
        }
        return Ok(());
    }
    if options.expiry == Expiry::Keep {
        let value = Value::String(Text::new(value));
        call.keyspace.set_keeping_expiry(key, value);
        call.propagate(&[b"SET", key, call.arg(2), b"KEEPTTL"]);
    } else {
        store(call, key, value, expires_at);
    }
    if !options.get {
        call.reply_ok();
    }
    Ok(())
}

/// Sets a key, or removes it when the date of its expiry has passed already.
fn store(call: &mut Call<'_>, key: &[u8], bytes: &[u8], expires_at: u64) {
    let value = Value::String(Text::new(bytes));
    call.keyspace.replace(key, value, expires_at);
    if expires_at == 0 {
        call.propagate(&[b"SET", key, bytes]);
    } else if expires_at <= call.keyspace.now_ms() {
        // That the key has expired is said anyway.
        call.keyspace.remove(key);
        call.server.propagation.have_said();
    } else {
        call.propagate_number(&[b"SET", key, bytes, b"PXAT"], expires_at, &[]);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    None,
    Keep,
    Persist,
    /// The argument with the number, and how to read it.
    At(usize, Unit),
}

struct SetOptions {
    expiry: Expiry,
    /// Whether the key has to be there (XX) or must not (NX).
    condition: Option<bool>,
    get: bool,
}

impl SetOptions {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut options = Self {
            expiry: Expiry::None,
            condition: None,
            get: false,
        };
        let mut index = 3;
        while index < call.len() {
            if call.arg_is(index, "NX") && options.condition != Some(true) {
                options.condition = Some(false);
            } else if call.arg_is(index, "XX") && options.condition != Some(false) {
                options.condition = Some(true);
            } else if call.arg_is(index, "GET") {
                options.get = true;
            } else if call.arg_is(index, "KEEPTTL")
                && matches!(options.expiry, Expiry::None | Expiry::Keep)
            {
                options.expiry = Expiry::Keep;
            } else {
                options.expiry = expiry_option(call, index, options.expiry)?;
                index += 1;
            }
            index += 1;
        }
        Ok(options)
    }
}

/// `EX seconds` and its like at `index`; no other may have come before it.
fn expiry_option(call: &Call<'_>, index: usize, before: Expiry) -> Result<Expiry, CommandError> {
    let unit = Unit::option(call.arg(index)).ok_or(CommandError::Syntax)?;
    let repeated = matches!(before, Expiry::At(_, other) if other == unit);
    if index + 1 >= call.len() || !(before == Expiry::None || repeated) {
        return Err(CommandError::Syntax);
    }
    Ok(Expiry::At(index + 1, unit))
}

fn setnx(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, value) = (call.arg(1), call.arg(2));
    let absent = !call.keyspace.contains(key);
    if absent {
        call.keyspace.set(key, Value::String(Text::new(value)));
    }
    call.reply_integer(i64::from(absent));
    Ok(())
}

fn setex(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_with_ttl(call, Unit::SECONDS)
}

fn psetex(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_with_ttl(call, Unit::MILLISECONDS)
}

fn set_with_ttl(call: &mut Call<'_>, unit: Unit) -> Result<(), CommandError> {
    let expires_at = deadline(call, 2, unit)?;
    store(call, call.arg(1), call.arg(3), expires_at);
    call.reply_ok();
    Ok(())
}

fn getset(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    reply_text(call, key)?;
    store(call, key, call.arg(2), 0);
    Ok(())
}

fn getdel(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    reply_text(call, key)?;
    if call.keyspace.remove(key).is_some() {
        call.propagate(&[b"DEL", key]);
    }
    Ok(())
}

fn getex(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(1);
    let mut expiry = Expiry::None;
    let mut index = 2;
    while index < call.len() {
        if call.arg_is(index, "PERSIST") && matches!(expiry, Expiry::None | Expiry::Persist) {
            expiry = Expiry::Persist;
        } else {
            expiry = expiry_option(call, index, expiry)?;
            index += 1;
        }
        index += 1;
    }
    text(call.keyspace, key)?;
    let expires_at = match expiry {
        Expiry::At(index, unit) if call.keyspace.contains(key) => deadline(call, index, unit)?,
        _ => 0,
    };
    reply_text(call, key)?;
    match expiry {
        Expiry::At(..) if expires_at != 0 && expires_at <= call.keyspace.now_ms() => {
            call.keyspace.remove(key);
            call.propagate(&[b"DEL", key]);
        }
        Expiry::At(..) if call.keyspace.set_expires_at(key, expires_at) => {
            call.propagate_number(&[b"PEXPIREAT", key], expires_at, &[]);
        }
        Expiry::Persist if call.keyspace.expires_at(key).is_some_and(|at| at != 0) => {
            call.keyspace.set_expires_at(key, 0);
            call.propagate(&[b"PERSIST", key]);
        }
        _ => {}
    }
    Ok(())
}

fn mget(call: &mut Call<'_>) -> Result<(), CommandError> {
    let keys = call.request.args(1);
    call.reply_array(keys.len());
    for key in keys {
        match call.keyspace.get(key) {
            Some(Value::String(text)) => write_text(call.out, text),
            _ => encode::null(call.out, call.protocol),
        }
    }
    Ok(())
}

fn mset(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity);
    }
    set_all(call);
    call.reply_ok();
    Ok(())
}

fn msetnx(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity);
    }
    let mut keys = call.request.args(1).step_by(2);
    let free = !keys.any(|key| call.keyspace.contains(key));
    if free {
        set_all(call);
    }
    call.reply_integer(i64::from(free));
    Ok(())
}

fn set_all(call: &mut Call<'_>) {
    for index in (1..call.len()).step_by(2) {
        let value = Value::String(Text::new(call.arg(index + 1)));
        call.keyspace.set(call.arg(index), value);
    }
}

fn append(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, suffix) = (call.arg(1), call.arg(2));
    let len_max = call.server.config.proto_max_bulk_len;
    let len = match call.keyspace.get_mut(key) {
        None => {
            let value = Value::String(Text::new(suffix));
            call.keyspace.set(key, value);
            suffix.len()
        }
        Some(Value::String(text)) => {
            check_len(text.len() + suffix.len(), len_max)?;
            let bytes = text.make_growing();
            bytes.extend_from_slice(suffix);
            let len = bytes.len();
            call.keyspace.note_change(key);
            len
        }
        Some(_) => return Err(CommandError::WrongType),
    };
    call.reply_len(len);
    Ok(())
}

fn strlen(call: &mut Call<'_>) -> Result<(), CommandError> {
    let len = text(call.keyspace, call.arg(1))?.map_or(0, Text::len);
    call.reply_len(len);
    Ok(())
}

fn getrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (start, end) = (call.integer_arg(2)?, call.integer_arg(3)?);
    let Some(text) = text(call.keyspace, call.arg(1))? else {
        call.reply_bulk(b"");
        return Ok(());
    };
    let mut scratch = IntegerText::default();
    let bytes = text.as_bytes(&mut scratch);
    let len = bytes.len() as i64;
    if start < 0 && end < 0 && start > end {
        encode::bulk(call.out, b"");
        return Ok(());
    }
    let from_end = |index: i64| {
        if index < 0 {
            (len.saturating_add(index)).max(0)
        } else {
            index
        }
    };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    let range = if start > end || len == 0 {
        &[]
    } else {
        &bytes[start as usize..=end as usize]
    };
    encode::bulk(call.out, range);
    Ok(())
}

fn setrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, patch) = (call.arg(1), call.arg(3));
    let offset = call.integer_arg(2)?;
    let offset =
        usize::try_from(offset).map_err(|_| CommandError::text("ERR offset is out of range"))?;
    let len_max = call.server.config.proto_max_bulk_len;
    if let Some(present) = text(call.keyspace, key)?.map(Text::len)
        && patch.is_empty()
    {
        call.reply_len(present);
        return Ok(());
    }
    if patch.is_empty() {
        call.reply_len(0);
        return Ok(());
    }
    let end = offset.saturating_add(patch.len());
    check_len(end, len_max)?;
    if !call.keyspace.contains(key) {
        call.keyspace.set(key, Value::String(Text::from_bytes(b"")));
    }
    let Some(Value::String(text)) = call.keyspace.get_mut(key) else {
        return Err(CommandError::WrongType);
    };
    let bytes = text.make_growing();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(patch);
    let len = bytes.len();
    call.keyspace.note_change(key);
    call.reply_len(len);
    Ok(())
}

fn check_len(len: usize, len_max: u64) -> Result<(), CommandError> {
    if len as u64 > len_max {
        return Err(CommandError::text(
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ));
    }
    Ok(())
}

/// The string that a key holds, if it is there.
#[inline]
pub(super) fn text<'k>(
    keyspace: &'k Keyspace,
    key: &[u8],
) -> Result<Option<&'k Text>, CommandError> {
    match keyspace.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(CommandError::WrongType),
    }
}

/// Replies with the string that a key holds.
#[inline]
fn reply_text(call: &mut Call<'_>, key: &[u8]) -> Result<(), CommandError> {
    match text(call.keyspace, key)? {
        Some(text) => write_text(call.out, text),
        None => call.reply_null(),
    }
    Ok(())
}

#[inline]
fn write_text(out: &mut Vec<u8>, text: &Text) {
    encode::bulk(out, text.as_bytes(&mut IntegerText::default()));
}
