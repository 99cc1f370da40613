//! The library `struct`: numbers and texts as bytes of a fixed form, and back.

use mlua::{Lua, MultiValue, Table, Value};

use super::errors;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.set("pack", lua.create_function(pack)?)?;
    library.set("unpack", lua.create_function(unpack)?)?;
    library.set("size", lua.create_function(size)?)?;
    Ok(library)
}

/// What one letter of a format stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Padding,
    Integer {
        signed: bool,
    },
    Float,
    Double,
    /// Of a fixed length; 0 for the length that came before, or the rest.
    Text,
    /// Up to a byte 0.
    Terminated,
}

/// A format that is being read.
struct Format<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
    is_little: bool,
    align: usize,
    /// Who reads it.
    function: &'static str,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, text: &'a [u8], function: &'static str) -> Self {
        Self {
            lua,
            rest: text,
            is_little: true,
            align: 1,
            function,
        }
    }

    fn number(&mut self, default: usize) -> mlua::Result<usize> {
        let digits = self
            .rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return Ok(default);
        }
        let text = core::str::from_utf8(&self.rest[..digits]).unwrap_or_default();
        self.rest = &self.rest[digits..];
        let number = text
            .parse::<i32>()
            .ok()
            .and_then(|number| usize::try_from(number).ok());
        number.ok_or_else(|| errors::text(self.lua, "integral size overflow"))
    }

    /// The next item and its size.
    fn next(&mut self) -> mlua::Result<Option<(Item, usize)>> {
        while let Some((&letter, rest)) = self.rest.split_first() {
            self.rest = rest;
            let item = match letter {
                b'b' => (Item::Integer { signed: true }, 1),
                b'B' => (Item::Integer { signed: false }, 1),
                b'h' => (Item::Integer { signed: true }, 2),
                b'H' => (Item::Integer { signed: false }, 2),
                b'l' => (Item::Integer { signed: true }, 8),
                b'L' | b'T' => (Item::Integer { signed: false }, 8),
                b'i' => (Item::Integer { signed: true }, self.integer_size()?),
                b'I' => (Item::Integer { signed: false }, self.integer_size()?),
                b'f' => (Item::Float, 4),
                b'd' | b'n' => (Item::Double, 8),
                b'x' => (Item::Padding, 1),
                b's' => (Item::Terminated, 0),
                b'c' => (Item::Text, self.number(1)?),
                b' ' => continue,
                b'<' => {
                    self.is_little = true;
                    continue;
                }
                b'>' => {
                    self.is_little = false;
                    continue;
                }
                b'!' => {
                    self.align = self.alignment()?;
                    continue;
                }
                other => {
                    let letter = char::from(other);
                    let problem = format!("invalid format option '{letter}'");
                    return Err(errors::bad_argument(self.lua, 1, self.function, &problem));
                }
            };
            return Ok(Some(item));
        }
        Ok(None)
    }

    fn integer_size(&mut self) -> mlua::Result<usize> {
        let size = self.number(4)?;
        if size > 32 {
            let message = format!("integral size {size} is larger than limit of 32");
            return Err(errors::text(self.lua, &message));
        }
        Ok(size)
    }

    fn alignment(&mut self) -> mlua::Result<usize> {
        let align = self.number(8)?;
        if align == 0 || !align.is_power_of_two() {
            let message = format!("alignment {align} is not a power of 2");
            return Err(errors::text(self.lua, &message));
        }
        Ok(align)
    }

    /// How much stands before an item at that place so that it is aligned.
    fn gap(&self, item: Item, size: usize, position: usize) -> usize {
        if matches!(item, Item::Text | Item::Padding) || size == 0 || self.align <= 1 {
            return 0;
        }
        let size = size.min(self.align);
        (size - (position & (size - 1))) & (size - 1)
    }
}

fn pack(lua: &Lua, args: MultiValue) -> mlua::Result<Value> {
    let text = text_arg(lua, &args, 0, "pack")?;
    let mut format = Format::new(lua, &text, "pack");
    let (mut out, mut next) = (Vec::new(), 1);
    while let Some((item, size)) = format.next()? {
        let gap = format.gap(item, size, out.len());
        out.resize(out.len() + gap, 0);
        match item {
            Item::Padding => out.push(0),
            Item::Integer { .. } => {
                let number = number_arg(lua, &args, next, "pack")?;
                push_integer(&mut out, whole(number), size, format.is_little);
                next += 1;
            }
            Item::Float => {
                let number = number_arg(lua, &args, next, "pack")? as f32;
                push_bytes(&mut out, &number.to_le_bytes(), format.is_little);
                next += 1;
            }
            Item::Double => {
                let number = number_arg(lua, &args, next, "pack")?;
                push_bytes(&mut out, &number.to_le_bytes(), format.is_little);
                next += 1;
            }
            Item::Text | Item::Terminated => {
                let bytes = text_arg(lua, &args, next, "pack")?;
                let len = if size == 0 { bytes.len() } else { size };
                if bytes.len() < len {
                    let problem = "string too short";
                    return Err(errors::bad_argument(lua, next + 2, "pack", problem));
                }
                out.extend_from_slice(&bytes[..len]);
                if item == Item::Terminated {
                    out.push(0);
                }
                next += 1;
            }
        }
    }
    lua.create_string(out).map(Value::String)
}

fn unpack(lua: &Lua, args: MultiValue) -> mlua::Result<MultiValue> {
    let text = text_arg(lua, &args, 0, "unpack")?;
    let data = text_arg(lua, &args, 1, "unpack")?;
    let start = match args.get(2) {
        None | Some(Value::Nil) => 1.0,
        Some(_) => number_arg(lua, &args, 2, "unpack")?,
    };
    if start < 1.0 {
        let problem = "offset must be 1 or greater";
        return Err(errors::bad_argument(lua, 3, "unpack", problem));
    }
    let mut position = start as usize - 1;
    let mut format = Format::new(lua, &text, "unpack");
    let mut values: Vec<Value> = Vec::new();
    let short = || errors::bad_argument(lua, 2, "unpack", "data string too short");
    while let Some((item, size)) = format.next()? {
        position = position.saturating_add(format.gap(item, size, position));
        let rest = data.get(position..).ok_or_else(short)?;
        let mut taken = rest.get(..size).ok_or_else(short)?.len();
        match item {
            Item::Padding => {}
            Item::Integer { signed } => {
                let number = read_integer(&rest[..size], format.is_little, signed);
                values.push(Value::Number(number));
            }
            Item::Float => {
                let bytes = ordered::<4>(rest, format.is_little);
                values.push(Value::Number(f32::from_le_bytes(bytes).into()));
            }
            Item::Double => {
                let bytes = ordered::<8>(rest, format.is_little);
                values.push(Value::Number(f64::from_le_bytes(bytes)));
            }
            Item::Text => {
                if size == 0 {
                    taken = taken_length(lua, &mut values)?;
                }
                let bytes = rest.get(..taken).ok_or_else(short)?;
                values.push(Value::String(lua.create_string(bytes)?));
            }
            Item::Terminated => {
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(errors::text(lua, "unfinished string in data"));
                };
                values.push(Value::String(lua.create_string(&rest[..end])?));
                taken = end + 1;
            }
        }
        position += taken;
    }
    values.push(Value::Number((position + 1) as f64));
    Ok(MultiValue::from_vec(values))
}

/// The length of a text is the number that was read before it.
fn taken_length(lua: &Lua, values: &mut Vec<Value>) -> mlua::Result<usize> {
    match values.pop() {
        Some(Value::Number(len)) if len >= 0.0 => Ok(len as usize),
        _ => Err(errors::text(lua, "format 'c0' needs a previous size")),
    }
}

fn size(lua: &Lua, args: MultiValue) -> mlua::Result<f64> {
    let text = text_arg(lua, &args, 0, "size")?;
    let mut format = Format::new(lua, &text, "size");
    let mut position = 0;
    while let Some((item, size)) = format.next()? {
        position += format.gap(item, size, position);
        if item == Item::Terminated {
            let problem = "option 's' has no fixed size";
            return Err(errors::bad_argument(lua, 1, "size", problem));
        }
        if item == Item::Text && size == 0 {
            let problem = "option 'c0' has no fixed size";
            return Err(errors::bad_argument(lua, 1, "size", problem));
        }
        position += size;
    }
    Ok(position as f64)
}

fn text_arg(lua: &Lua, args: &MultiValue, index: usize, function: &str) -> mlua::Result<Vec<u8>> {
    match args.get(index) {
        Some(Value::String(text)) => Ok(text.as_bytes().to_vec()),
        Some(Value::Integer(number)) => Ok(number.to_string().into_bytes()),
        Some(Value::Number(number)) => Ok(super::number::general(*number, 14).into_bytes()),
        other => Err(errors::wrong_type(
            lua,
            index + 1,
            function,
            "string",
            other,
        )),
    }
}

fn number_arg(lua: &Lua, args: &MultiValue, index: usize, function: &str) -> mlua::Result<f64> {
    let value = args.get(index);
    let number = match value {
        Some(Value::Integer(number)) => Some(*number as f64),
        Some(Value::Number(number)) => Some(*number),
        Some(Value::String(text)) => text.to_string_lossy().trim().parse().ok(),
        _ => None,
    };
    let found = Some(value.unwrap_or(&Value::Nil));
    number.ok_or_else(|| errors::wrong_type(lua, index + 1, function, "number", found))
}

/// Negative numbers wrap around.
fn whole(number: f64) -> u64 {
    if number < 0.0 {
        number as i64 as u64
    } else {
        number as u64
    }
}

fn push_integer(out: &mut Vec<u8>, number: u64, size: usize, is_little: bool) {
    let little = (0..size).map(|index| {
        if index < 8 {
            (number >> (8 * index)) as u8
        } else {
            0
        }
    });
    let bytes: Vec<u8> = little.collect();
    push_bytes(out, &bytes, is_little);
}

fn push_bytes(out: &mut Vec<u8>, little: &[u8], is_little: bool) {
    if is_little {
        out.extend_from_slice(little);
    } else {
        out.extend(little.iter().rev());
    }
}

fn ordered<const SIZE: usize>(bytes: &[u8], is_little: bool) -> [u8; SIZE] {
    let mut ordered = [0; SIZE];
    ordered.copy_from_slice(&bytes[..SIZE]);
    if !is_little {
        ordered.reverse();
    }
    ordered
}

fn read_integer(bytes: &[u8], is_little: bool, signed: bool) -> f64 {
    let mut number: u64 = 0;
    let mut add = |byte: &u8| number = number << 8 | u64::from(*byte);
    if is_little {
        bytes.iter().rev().for_each(&mut add);
    } else {
        bytes.iter().for_each(&mut add);
    }
    if !signed {
        return number as f64;
    }
    let unused = 64_usize.saturating_sub(8 * bytes.len()).min(63) as u32;
    ((number << unused) as i64 >> unused) as f64
}
