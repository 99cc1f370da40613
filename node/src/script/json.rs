//! The library `cjson`: JSON to values of Lua and back.

mod decode;
mod encode;

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::errors;

/// What scripts can change about it; it lasts as long as the interpreter.
#[derive(Debug)]
struct Settings {
    /// Arrays with gaps become objects, instead of being refused.
    sparse_convert: Cell<bool>,
    sparse_ratio: Cell<i64>,
    sparse_safe: Cell<i64>,
    encode_depth_max: Cell<i64>,
    decode_depth_max: Cell<i64>,
    precision: Cell<i64>,
    /// 0 to refuse numbers that JSON does not have, 1 to write them, 2 to write `null`.
    encode_invalid: Cell<i64>,
    decode_invalid: Cell<bool>,
    keep_buffer: Cell<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sparse_convert: Cell::new(false),
            sparse_ratio: Cell::new(2),
            sparse_safe: Cell::new(10),
            encode_depth_max: Cell::new(1000),
            decode_depth_max: Cell::new(1000),
            precision: Cell::new(14),
            encode_invalid: Cell::new(0),
            decode_invalid: Cell::new(true),
            keep_buffer: Cell::new(true),
        }
    }
}

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    let settings = Rc::new(Settings::default());
    let own = Rc::clone(&settings);
    library.set(
        "encode",
        lua.create_function(move |lua, args: MultiValue| {
            let value = only_argument(lua, &args, "encode")?;
            let mut out = Vec::new();
            encode::value(&mut out, value, &own, 0).map_err(|why| errors::text(lua, &why))?;
            lua.create_string(out)
        })?,
    )?;
    let own = Rc::clone(&settings);
    library.set(
        "decode",
        lua.create_function(move |lua, args: MultiValue| {
            let text = match only_argument(lua, &args, "decode")? {
                Value::String(text) => text.as_bytes().to_vec(),
                Value::Integer(number) => number.to_string().into_bytes(),
                Value::Number(number) => super::number::general(*number, 14).into_bytes(),
                other => {
                    let error = errors::wrong_type(lua, 1, "decode", "string", Some(other));
                    return Err(error);
                }
            };
            decode::decode(lua, &text, &own)
        })?,
    )?;
    library.set(
        "new",
        lua.create_function(|lua, _: MultiValue| self::library(lua))?,
    )?;
    library.set("null", Value::NULL)?;
    library.set("_NAME", "cjson")?;
    library.set("_VERSION", "2.1.0")?;
    add_settings(lua, &library, &settings)?;
    Ok(library)
}

/// The functions that show and change settings.
fn add_settings(lua: &Lua, library: &Table, settings: &Rc<Settings>) -> mlua::Result<()> {
    type Field = fn(&Settings) -> &Cell<i64>;
    let numbers: [(&'static str, Field, i64); 3] = [
        (
            "encode_max_depth",
            |own| &own.encode_depth_max,
            i64::from(i32::MAX),
        ),
        (
            "decode_max_depth",
            |own| &own.decode_depth_max,
            i64::from(i32::MAX),
        ),
        ("encode_number_precision", |own| &own.precision, 14),
    ];
    for (name, field, most) in numbers {
        let own = Rc::clone(settings);
        let function = lua.create_function(move |lua, args: MultiValue| {
            let cell = field(&own);
            if let Some(Value::Integer(number)) = args.front() {
                let number = *number;
                if !(1..=most).contains(&number) {
                    let problem = format!("expected integer between 1 and {most}");
                    return Err(errors::bad_argument(lua, 1, name, &problem));
                }
                cell.set(number);
            }
            Ok(cell.get())
        })?;
        library.set(name, function)?;
    }
    type Switch = fn(&Settings) -> &Cell<bool>;
    let switches: [(&'static str, Switch); 2] = [
        ("encode_keep_buffer", |own| &own.keep_buffer),
        ("decode_invalid_numbers", |own| &own.decode_invalid),
    ];
    for (name, field) in switches {
        let own = Rc::clone(settings);
        let function = lua.create_function(move |_, args: MultiValue| {
            let cell = field(&own);
            if let Some(Value::Boolean(on)) = args.front() {
                cell.set(*on);
            }
            Ok(cell.get())
        })?;
        library.set(name, function)?;
    }
    add_encoder_settings(lua, library, settings)
}

/// Those of the encoder that are neither a number nor a switch.
fn add_encoder_settings(lua: &Lua, library: &Table, settings: &Rc<Settings>) -> mlua::Result<()> {
    let own = Rc::clone(settings);
    let invalid = lua.create_function(move |_, args: MultiValue| {
        match args.front() {
            Some(Value::Boolean(on)) => own.encode_invalid.set(i64::from(*on)),
            Some(Value::String(word)) if *word.as_bytes() == *b"null" => own.encode_invalid.set(2),
            _ => {}
        }
        Ok(own.encode_invalid.get() != 0)
    })?;
    library.set("encode_invalid_numbers", invalid)?;
    let own = Rc::clone(settings);
    let sparse = lua.create_function(move |_, args: MultiValue| {
        if let Some(Value::Boolean(on)) = args.front() {
            own.sparse_convert.set(*on);
        }
        for (index, cell) in [(1, &own.sparse_ratio), (2, &own.sparse_safe)] {
            if let Some(Value::Integer(number)) = args.get(index) {
                cell.set(*number);
            }
        }
        Ok((
            own.sparse_convert.get(),
            own.sparse_ratio.get(),
            own.sparse_safe.get(),
        ))
    })?;
    library.set("encode_sparse_array", sparse)
}

fn only_argument<'a>(lua: &Lua, args: &'a MultiValue, name: &str) -> mlua::Result<&'a Value> {
    match args.front() {
        Some(value) if args.len() == 1 => Ok(value),
        _ => Err(errors::bad_argument(lua, 1, name, "expected 1 argument")),
    }
}
