//! Values of Lua as JSON.

use mlua::{Table, Value};

use super::super::errors::type_name;
use super::super::number::general;
use super::Settings;

/// Appends a value; says why it can't be.
pub(super) fn value(
    out: &mut Vec<u8>,
    value: &Value,
    settings: &Settings,
    depth: i64,
) -> Result<(), String> {
    match value {
        Value::String(text) => append_text(out, &text.as_bytes()),
        Value::Integer(number) => append_number(out, *number as f64, settings)?,
        Value::Number(number) => append_number(out, *number, settings)?,
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Nil => out.extend_from_slice(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend_from_slice(b"null"),
        Value::Table(table) => {
            let depth = depth + 1;
            if depth > settings.encode_depth_max.get() || depth > DEPTH_MAX {
                return Err(format!("Cannot serialise, excessive nesting ({depth})"));
            }
            append_table(out, table, settings, depth)?;
        }
        other => return Err(refusal(other, "type not supported")),
    }
    Ok(())
}

fn refusal(value: &Value, why: &str) -> String {
    format!("Cannot serialise {}: {why}", type_name(value))
}

fn append_number(out: &mut Vec<u8>, number: f64, settings: &Settings) -> Result<(), String> {
    if !number.is_finite() {
        match settings.encode_invalid.get() {
            0 => {
                let why = "must not be NaN or Inf";
                return Err(refusal(&Value::Number(number), why));
            }
            2 => {
                out.extend_from_slice(b"null");
                return Ok(());
            }
            _ => {}
        }
    }
    let text = general(number, settings.precision.get() as usize);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn append_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' | b'/' => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..32 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

fn append_table(
    out: &mut Vec<u8>,
    table: &Table,
    settings: &Settings,
    depth: i64,
) -> Result<(), String> {
    match array_len(table, settings)? {
        Some(len) if len > 0 => {
            out.push(b'[');
            for index in 1..=len {
                if index > 1 {
                    out.push(b',');
                }
                let item = table.raw_get(index).unwrap_or(Value::Nil);
                value(out, &item, settings, depth)?;
            }
            out.push(b']');
            Ok(())
        }
        _ => append_object(out, table, settings, depth),
    }
}

/// How long the array is that the table is, if it is one.
fn array_len(table: &Table, settings: &Settings) -> Result<Option<i64>, String> {
    let (mut most, mut count) = (0, 0);
    for pair in table.pairs::<Value, Value>() {
        let Ok((Value::Integer(index), _)) = pair else {
            return Ok(None);
        };
        if index < 1 {
            return Ok(None);
        }
        most = most.max(index);
        count += 1;
    }
    let ratio = settings.sparse_ratio.get();
    if ratio > 0 && most > count * ratio && most > settings.sparse_safe.get() {
        if !settings.sparse_convert.get() {
            return Err("Cannot serialise table: excessively sparse array".to_owned());
        }
        return Ok(None);
    }
    Ok(Some(most))
}

fn append_object(
    out: &mut Vec<u8>,
    table: &Table,
    settings: &Settings,
    depth: i64,
) -> Result<(), String> {
    out.push(b'{');
    let mut is_first = true;
    for pair in table.pairs::<Value, Value>() {
        let (key, item) = pair.map_err(|error| error.to_string())?;
        if !std::mem::take(&mut is_first) {
            out.push(b',');
        }
        match &key {
            Value::String(text) => append_text(out, &text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                out.push(b'"');
                value(out, &key, settings, depth)?;
                out.push(b'"');
            }
            other => return Err(refusal(other, "table key must be a number or string")),
        }
        out.push(b':');
        value(out, &item, settings, depth)?;
    }
    out.push(b'}');
    Ok(())
}

/// However deep scripts want it, the stack has an end.
const DEPTH_MAX: i64 = 5000;
