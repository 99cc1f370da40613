//! The library `bit`: operations on the 32 bits of numbers.

use mlua::{Lua, MultiValue, Table, Value};

use super::errors;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    type Fold = fn(i32, i32) -> i32;
    let folds: [(&str, Fold); 3] = [
        ("band", |one, other| one & other),
        ("bor", |one, other| one | other),
        ("bxor", |one, other| one ^ other),
    ];
    for (name, fold) in folds {
        let function = lua.create_function(move |lua, args: MultiValue| {
            let mut result = bits(lua, &args, 0, name)?;
            for index in 1..args.len() {
                result = fold(result, bits(lua, &args, index, name)?);
            }
            Ok(f64::from(result))
        })?;
        library.set(name, function)?;
    }
    type Shift = fn(i32, u32) -> i32;
    let shifts: [(&str, Shift); 5] = [
        ("lshift", |bits, by| bits << by),
        ("rshift", |bits, by| (bits as u32 >> by) as i32),
        ("arshift", |bits, by| bits >> by),
        ("rol", |bits, by| bits.rotate_left(by)),
        ("ror", |bits, by| bits.rotate_right(by)),
    ];
    for (name, shift) in shifts {
        let function = lua.create_function(move |lua, args: MultiValue| {
            let (number, by) = (bits(lua, &args, 0, name)?, bits(lua, &args, 1, name)?);
            Ok(f64::from(shift(number, by as u32 & 31)))
        })?;
        library.set(name, function)?;
    }
    type Map = fn(i32) -> i32;
    let maps: [(&str, Map); 3] = [
        ("tobit", |bits| bits),
        ("bnot", |bits| !bits),
        ("bswap", i32::swap_bytes),
    ];
    for (name, map) in maps {
        let function = lua.create_function(move |lua, args: MultiValue| {
            Ok(f64::from(map(bits(lua, &args, 0, name)?)))
        })?;
        library.set(name, function)?;
    }
    library.set("tohex", lua.create_function(to_hexadecimal)?)?;
    Ok(library)
}

/// The last digits of the number, as many as the second argument says, in capitals when that is
/// negative.
fn to_hexadecimal(lua: &Lua, args: MultiValue) -> mlua::Result<String> {
    let number = bits(lua, &args, 0, "tohex")? as u32;
    let digits = if args.len() < 2 {
        8
    } else {
        bits(lua, &args, 1, "tohex")?
    };
    let width = (digits.unsigned_abs() as usize).min(8);
    let text = if digits < 0 {
        format!("{number:08X}")
    } else {
        format!("{number:08x}")
    };
    Ok(text[8 - width..].to_owned())
}

/// An argument as 32 bits: what is larger wraps around.
fn bits(lua: &Lua, args: &MultiValue, index: usize, function: &str) -> mlua::Result<i32> {
    let value = args.get(index);
    let number = match value {
        Some(Value::Integer(number)) => Some(*number as f64),
        Some(Value::Number(number)) => Some(*number),
        Some(Value::String(text)) => {
            let text = text.to_string_lossy();
            text.trim().parse().ok()
        }
        _ => None,
    };
    let number =
        number.ok_or_else(|| errors::wrong_type(lua, index + 1, function, "number", value))?;
    // Adding this leaves the low bits of the rounded number at the end of the mantissa.
    Ok((number + 6_755_399_441_055_744.0).to_bits() as i32)
}
