//! The library `cmsgpack`: MessagePack to values of Lua and back.

use mlua::{Lua, MultiValue, Table, Value};

use super::errors;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.set("pack", lua.create_function(pack)?)?;
    let unpack = |lua: &Lua, args: MultiValue| {
        let text = text_arg(lua, &args, "unpack")?;
        read_values(lua, &text, 0, 0)
    };
    library.set("unpack", lua.create_function(unpack)?)?;
    let unpack_one = |lua: &Lua, args: MultiValue| {
        let text = text_arg(lua, &args, "unpack_one")?;
        let offset = number_arg(lua, &args, 1, "unpack_one", true)?;
        read_values(lua, &text, 1, offset)
    };
    library.set("unpack_one", lua.create_function(unpack_one)?)?;
    let unpack_limit = |lua: &Lua, args: MultiValue| {
        let text = text_arg(lua, &args, "unpack_limit")?;
        let limit = number_arg(lua, &args, 1, "unpack_limit", false)?;
        let offset = number_arg(lua, &args, 2, "unpack_limit", true)?;
        read_values(lua, &text, limit, offset)
    };
    library.set("unpack_limit", lua.create_function(unpack_limit)?)?;
    library.set("_NAME", "cmsgpack")?;
    library.set("_VERSION", "lua-cmsgpack 0.4.0")?;
    Ok(library)
}

fn pack(lua: &Lua, args: MultiValue) -> mlua::Result<Value> {
    if args.is_empty() {
        let problem = "MessagePack pack needs input.";
        return Err(errors::bad_argument(lua, 0, "pack", problem));
    }
    let mut out = Vec::new();
    for value in &args {
        append(&mut out, value, 0)?;
    }
    lua.create_string(out).map(Value::String)
}

/// What has no form of its own is written as nothing, as are tables in too many tables.
fn append(out: &mut Vec<u8>, value: &Value, depth: usize) -> mlua::Result<()> {
    match value {
        Value::String(text) => append_text(out, &text.as_bytes()),
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => append_integer(out, *number),
        Value::Number(number) => append_number(out, *number),
        Value::Table(table) if depth < DEPTH_MAX => append_table(out, table, depth)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    let len = text.len();
    match len {
        0..=31 => out.push(0xa0 | len as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, len as u8]),
        _ => append_len(out, len, 0xda, 0xdb),
    }
    out.extend_from_slice(text);
}

fn append_len(out: &mut Vec<u8>, len: usize, short: u8, long: u8) {
    if let Ok(len) = u16::try_from(len) {
        out.push(short);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(long);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}

fn append_integer(out: &mut Vec<u8>, number: i64) {
    let bytes = number.to_be_bytes();
    let (kind, size) = match number {
        -32..=127 => return out.push(number as u8),
        128..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -128..=-33 => (0xd0, 1),
        -0x8000..=-129 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(kind);
    out.extend_from_slice(&bytes[8 - size..]);
}

fn append_number(out: &mut Vec<u8>, number: f64) {
    let whole = number as i64;
    if whole as f64 == number && whole != i64::MAX {
        return append_integer(out, whole);
    }
    let short = number as f32;
    if f64::from(short) == number {
        out.push(0xca);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn append_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> mlua::Result<()> {
    let pairs: Vec<(Value, Value)> = table.pairs().collect::<mlua::Result<_>>()?;
    let is_array = (1..=pairs.len() as i64).all(|index| {
        let item = table.raw_get::<Value>(index);
        item.is_ok_and(|item| !item.is_nil())
    });
    if is_array {
        match pairs.len() {
            len @ 0..=15 => out.push(0x90 | len as u8),
            len => append_len(out, len, 0xdc, 0xdd),
        }
        for index in 1..=pairs.len() as i64 {
            append(out, &table.raw_get(index)?, depth + 1)?;
        }
        return Ok(());
    }
    match pairs.len() {
        len @ 0..=15 => out.push(0x80 | len as u8),
        len => append_len(out, len, 0xde, 0xdf),
    }
    for (key, value) in &pairs {
        append(out, key, depth + 1)?;
        append(out, value, depth + 1)?;
    }
    Ok(())
}

/// Reads so many values, or all, with where the next begins in front unless it is all.
fn read_values(lua: &Lua, text: &[u8], limit: i64, offset: i64) -> mlua::Result<MultiValue> {
    let len = text.len();
    if offset < 0 || limit < 0 {
        let message =
            format!("Invalid request to unpack with offset of {offset} and limit of {len}.");
        return Err(errors::text(lua, &message));
    }
    if offset > len as i64 {
        let message = format!("Start offset {offset} greater than input length {len}.");
        return Err(errors::text(lua, &message));
    }
    let is_all = limit == 0 && offset == 0;
    let most = if is_all { i64::MAX } else { limit };
    let mut reader = Reader {
        lua,
        rest: &text[offset as usize..],
    };
    let mut values: Vec<Value> = Vec::new();
    while !reader.rest.is_empty() && (values.len() as i64) < most {
        values.push(reader.value(0)?);
    }
    if !is_all {
        let next = len - reader.rest.len();
        let next = if reader.rest.is_empty() {
            -1.0
        } else {
            next as f64
        };
        values.insert(0, Value::Number(next));
    }
    Ok(MultiValue::from_vec(values))
}

struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        let kind = self.take(1)?[0];
        Ok(match kind {
            0..=0x7f => Value::Number(f64::from(kind)),
            0xe0..=0xff => Value::Number(f64::from(kind as i8)),
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f32::from_be_bytes(self.array()?).into()),
            0xcb => Value::Number(f64::from_be_bytes(self.array()?)),
            0xcc..=0xcf => Value::Number(self.unsigned(1 << (kind - 0xcc))? as f64),
            0xd0..=0xd3 => {
                let size = 1 << (kind - 0xd0);
                let unused = 64 - 8 * size as u32;
                let number = self.unsigned(size)?;
                Value::Number(((number << unused) as i64 >> unused) as f64)
            }
            0xa0..=0xbf => self.text(usize::from(kind & 31))?,
            0xc4..=0xc6 | 0xd9..=0xdb => {
                let step = if kind < 0xd0 {
                    kind - 0xc4
                } else {
                    kind - 0xd9
                };
                let len = self.unsigned(1 << step)?;
                self.text(len as usize)?
            }
            0x90..=0x9f => self.items(usize::from(kind & 15), depth)?,
            0x80..=0x8f => self.pairs(usize::from(kind & 15), depth)?,
            0xdc | 0xdd => {
                let len = self.unsigned(2 << (kind - 0xdc))?;
                self.items(len as usize, depth)?
            }
            0xde | 0xdf => {
                let len = self.unsigned(2 << (kind - 0xde))?;
                self.pairs(len as usize, depth)?
            }
            _ => return Err(self.wrong()),
        })
    }

    fn items(&mut self, len: usize, depth: usize) -> mlua::Result<Value> {
        self.check(depth)?;
        let array = self.lua.create_table()?;
        for index in 1..=len {
            array.raw_set(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(array))
    }

    fn pairs(&mut self, len: usize, depth: usize) -> mlua::Result<Value> {
        self.check(depth)?;
        let map = self.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            map.raw_set(key, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(map))
    }

    fn check(&self, depth: usize) -> mlua::Result<()> {
        if depth < READ_DEPTH_MAX {
            Ok(())
        } else {
            Err(self.wrong())
        }
    }

    fn text(&mut self, len: usize) -> mlua::Result<Value> {
        let bytes = self.take(len)?;
        self.lua.create_string(bytes).map(Value::String)
    }

    fn unsigned(&mut self, size: usize) -> mlua::Result<u64> {
        let bytes = self.take(size)?;
        let number = bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        Ok(number)
    }

    fn array<const SIZE: usize>(&mut self) -> mlua::Result<[u8; SIZE]> {
        let mut array = [0; SIZE];
        array.copy_from_slice(self.take(SIZE)?);
        Ok(array)
    }

    fn take(&mut self, len: usize) -> mlua::Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(errors::text(self.lua, "Missing bytes in input."));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn wrong(&self) -> mlua::Error {
        errors::text(self.lua, "Bad data format in input.")
    }
}

fn text_arg(lua: &Lua, args: &MultiValue, function: &str) -> mlua::Result<Vec<u8>> {
    match args.front() {
        Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
        Some(Value::Integer(number)) => Ok(number.to_string().into_bytes()),
        other => Err(errors::wrong_type(lua, 1, function, "string", other)),
    }
}

fn number_arg(
    lua: &Lua,
    args: &MultiValue,
    index: usize,
    function: &str,
    is_optional: bool,
) -> mlua::Result<i64> {
    match args.get(index) {
        Some(Value::Integer(number)) => Ok(*number),
        Some(Value::Number(number)) => Ok(*number as i64),
        None | Some(Value::Nil) if is_optional => Ok(0),
        other => Err(errors::wrong_type(
            lua,
            index + 1,
            function,
            "number",
            other,
        )),
    }
}

/// Tables in tables that are written.
const DEPTH_MAX: usize = 16;

/// Tables in tables that are read: the stack has an end.
const READ_DEPTH_MAX: usize = 1000;
