//! Between replies and values of Lua.

use mlua::{Lua, MultiValue, Table, Value};
use slotway_protocol::resp::{Protocol, encode};

use super::errors;
use super::number::general;

/// The value of a reply; what is not a reply is `nil`.
pub(super) fn to_lua(lua: &Lua, reply: &[u8]) -> mlua::Result<Value> {
    let mut rest = reply;
    read(lua, &mut rest)
}

/// The text of an error, if the reply is one.
pub(super) fn error_of(reply: &[u8]) -> Option<&[u8]> {
    let text = reply.strip_prefix(b"-")?;
    Some(text.strip_suffix(b"\r\n").unwrap_or(text))
}

fn read(lua: &Lua, rest: &mut &[u8]) -> mlua::Result<Value> {
    let Some((&kind, line)) = take_line(rest).and_then(|line| line.split_first()) else {
        return Ok(Value::Nil);
    };
    let text = |line: &[u8]| lua.create_string(line);
    Ok(match kind {
        b':' => Value::Number(parse(line)),
        b'$' => match take_bulk(rest, line) {
            Some(bytes) => Value::String(text(bytes)?),
            None => Value::Boolean(false),
        },
        b'+' => single(lua, "ok", text(line)?)?,
        b'-' => Value::Table(errors::error_table(lua, line)?),
        b'*' | b'>' => read_array(lua, rest, line)?,
        b'%' => read_map(lua, rest, line)?,
        b'~' => read_set(lua, rest, line)?,
        b'#' => Value::Boolean(line == b"t"),
        b',' => single(lua, "double", parse(line))?,
        b'(' => single(lua, "big_number", text(line)?)?,
        b'=' => {
            let bytes = take_bulk(rest, line).unwrap_or_default();
            let verbatim = lua.create_table()?;
            verbatim.raw_set("format", text(bytes.get(..3).unwrap_or_default())?)?;
            verbatim.raw_set("string", text(bytes.get(4..).unwrap_or_default())?)?;
            single(lua, "verbatim_string", verbatim)?
        }
        _ => Value::Nil,
    })
}

fn single(lua: &Lua, name: &str, value: impl mlua::IntoLua) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn read_array(lua: &Lua, rest: &mut &[u8], line: &[u8]) -> mlua::Result<Value> {
    if line.first() == Some(&b'-') {
        return Ok(Value::Boolean(false));
    }
    let len = parse(line) as usize;
    let array = lua.create_table_with_capacity(len, 0)?;
    for index in 1..=len {
        array.raw_set(index, read(lua, rest)?)?;
    }
    Ok(Value::Table(array))
}

fn read_map(lua: &Lua, rest: &mut &[u8], line: &[u8]) -> mlua::Result<Value> {
    let map = lua.create_table()?;
    for _ in 0..parse(line) as usize {
        let key = read(lua, rest)?;
        map.raw_set(key, read(lua, rest)?)?;
    }
    single(lua, "map", map)
}

fn read_set(lua: &Lua, rest: &mut &[u8], line: &[u8]) -> mlua::Result<Value> {
    let set = lua.create_table()?;
    for _ in 0..parse(line) as usize {
        set.raw_set(read(lua, rest)?, true)?;
    }
    single(lua, "set", set)
}

fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr::memchr(b'\r', rest)?;
    let line = &rest[..end];
    *rest = rest.get(end + 2..)?;
    Some(line)
}

/// The bytes of a string whose first line was read; `None` for a null.
fn take_bulk<'a>(rest: &mut &'a [u8], line: &[u8]) -> Option<&'a [u8]> {
    if line.first() == Some(&b'-') {
        return None;
    }
    let len = parse(line) as usize;
    let bytes = rest.get(..len)?;
    *rest = rest.get(len + 2..)?;
    Some(bytes)
}

fn parse(line: &[u8]) -> f64 {
    let text = core::str::from_utf8(line).unwrap_or_default();
    text.parse().unwrap_or(0.0)
}

/// What redis.call was called with, as the arguments of a command; `None` when one of them can't
/// be.
pub(super) fn arguments(values: &MultiValue) -> Option<Vec<Vec<u8>>> {
    values
        .iter()
        .map(|value| match value {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            Value::Integer(number) => Some(general(*number as f64, 17).into_bytes()),
            Value::Number(number) => Some(general(*number, 17).into_bytes()),
            _ => None,
        })
        .collect()
}

/// How a script's result is to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Forms {
    /// What the client understands.
    pub(super) client: Protocol,
    /// What the script has chosen for itself.
    pub(super) script: Protocol,
}

/// Appends the reply that a value stands for.
pub(super) fn write_reply(out: &mut Vec<u8>, value: &Value, forms: Forms, depth: usize) {
    match value {
        Value::String(text) => encode::bulk(out, &text.as_bytes()),
        Value::Integer(number) => encode::integer(out, *number),
        Value::Number(number) => encode::integer(out, truncated(*number)),
        Value::Boolean(value) if forms.script == Protocol::Resp3 => {
            encode::boolean(out, forms.client, *value);
        }
        Value::Boolean(true) => encode::integer(out, 1),
        Value::Table(table) if depth < DEPTH_MAX => write_table(out, table, forms, depth),
        Value::Table(_) => encode::error(out, b"ERR reached lua stack limit"),
        _ => encode::null(out, forms.client),
    }
}

fn write_table(out: &mut Vec<u8>, table: &Table, forms: Forms, depth: usize) {
    let field = |name: &str| table.raw_get(name).unwrap_or(Value::Nil);
    if let Value::String(text) = field("err") {
        return encode::error(out, &without_line_ends(&text.as_bytes()));
    }
    if let Value::String(text) = field("ok") {
        return encode::simple(out, &without_line_ends(&text.as_bytes()));
    }
    match field("double") {
        Value::Integer(number) => return encode::double(out, forms.client, number as f64),
        Value::Number(number) => return encode::double(out, forms.client, number),
        _ => {}
    }
    if let Value::Table(map) = field("map") {
        return write_pairs(out, &map, forms, depth, true);
    }
    if let Value::Table(set) = field("set") {
        return write_pairs(out, &set, forms, depth, false);
    }
    if let Value::String(number) = field("big_number") {
        return write_big_number(out, &without_line_ends(&number.as_bytes()), forms.client);
    }
    if let Value::Table(verbatim) = field("verbatim_string")
        && let Ok((format, text)) = verbatim_parts(&verbatim)
    {
        return write_verbatim(out, &format, &text, forms.client);
    }
    write_array(out, table, forms, depth);
}

fn write_array(out: &mut Vec<u8>, table: &Table, forms: Forms, depth: usize) {
    let items: Vec<Value> = (1..)
        .map(|index: i64| table.raw_get(index).unwrap_or(Value::Nil))
        .take_while(|item| !item.is_nil())
        .collect();
    encode::array(out, items.len());
    for item in &items {
        write_reply(out, item, forms, depth + 1);
    }
}

fn write_pairs(out: &mut Vec<u8>, table: &Table, forms: Forms, depth: usize, with_values: bool) {
    let pairs: Vec<(Value, Value)> = table.pairs().filter_map(Result::ok).collect();
    if with_values {
        encode::map(out, forms.client, pairs.len());
    } else {
        encode::set(out, forms.client, pairs.len());
    }
    for (key, value) in &pairs {
        write_reply(out, key, forms, depth + 1);
        if with_values {
            write_reply(out, value, forms, depth + 1);
        }
    }
}

fn write_big_number(out: &mut Vec<u8>, digits: &[u8], client: Protocol) {
    if client == Protocol::Resp2 {
        return encode::bulk(out, digits);
    }
    out.push(b'(');
    out.extend_from_slice(digits);
    out.extend_from_slice(b"\r\n");
}

fn verbatim_parts(table: &Table) -> mlua::Result<(Vec<u8>, Vec<u8>)> {
    let format: mlua::LuaString = table.raw_get("format")?;
    let text: mlua::LuaString = table.raw_get("string")?;
    let parts = (format.as_bytes().to_vec(), text.as_bytes().to_vec());
    Ok(parts)
}

fn write_verbatim(out: &mut Vec<u8>, format: &[u8], text: &[u8], client: Protocol) {
    if client == Protocol::Resp2 {
        return encode::bulk(out, text);
    }
    let mut padded = *b"   ";
    for (place, byte) in padded.iter_mut().zip(format) {
        *place = *byte;
    }
    out.extend_from_slice(format!("={}\r\n", text.len() + 4).as_bytes());
    out.extend_from_slice(&padded);
    out.push(b':');
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

/// As C does it: what is too large becomes the smallest number.
fn truncated(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) {
        number as i64
    } else {
        i64::MIN
    }
}

/// A line can't have several lines.
fn without_line_ends(text: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| {
        if matches!(byte, b'\r' | b'\n') {
            b' '
        } else {
            *byte
        }
    };
    text.iter().map(plain).collect()
}

/// Tables in tables; Lua's own stack ends there, too.
const DEPTH_MAX: usize = 1000;
