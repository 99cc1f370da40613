//! Errors that functions of scripts raise, and where in a script that was.

use core::fmt;

use mlua::{Error, Lua, Value};

/// An error of a function that is not written in Lua.
#[derive(Debug)]
pub(super) enum Raised {
    /// Scripts see a table with this as `err`: a reply's text, its code in front.
    Reply(Vec<u8>),
    /// Scripts see this text.
    Text(String),
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Raised {}

/// An error as redis.call raises it.
pub(super) fn reply(text: impl Into<Vec<u8>>) -> Error {
    Error::external(Raised::Reply(text.into()))
}

/// An error of a library: says where it was called, as errors of Lua's own do.
pub(super) fn text(lua: &Lua, message: &str) -> Error {
    let place = lua.inspect_stack(1, |debug| {
        let source = debug.source();
        let line = debug.current_line()?;
        Some(format!("{}:{line}: ", source.short_src?))
    });
    let place = place.flatten().unwrap_or_default();
    Error::external(Raised::Text(format!("{place}{message}")))
}

/// What is said of an argument that is not what a function needs.
pub(super) fn bad_argument(lua: &Lua, number: usize, function: &str, problem: &str) -> Error {
    let message = format!("bad argument #{number} to '{function}' ({problem})");
    text(lua, &message)
}

/// The same for one of the wrong type.
pub(super) fn wrong_type(
    lua: &Lua,
    number: usize,
    function: &str,
    wanted: &str,
    found: Option<&Value>,
) -> Error {
    let found = found.map_or("no value", type_name);
    let problem = format!("{wanted} expected, got {found}");
    bad_argument(lua, number, function, &problem)
}

/// The name of a value's type in Lua.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Number(_) => "number",
        Value::LightUserData(_) | Value::UserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}

/// What a script sees of an error; anything else stays what it is.
pub(super) fn explain(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let Value::Error(error) = value else {
        return Ok(value);
    };
    match error.downcast_ref::<Raised>() {
        Some(Raised::Reply(text)) => error_table(lua, text).map(Value::Table),
        Some(Raised::Text(text)) => lua.create_string(text).map(Value::String),
        None => lua.create_string(error.to_string()).map(Value::String),
    }
}

/// An error as redis.pcall gives it.
pub(super) fn error_table(lua: &Lua, text: &[u8]) -> mlua::Result<mlua::Table> {
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string(text)?)?;
    table.raw_set("ignore_error_stats_update", true)?;
    Ok(table)
}

/// Where an error that is being handled was raised: the source and the line of the innermost
/// function that is a script's.
pub(super) fn position(lua: &Lua) -> Option<(String, i64)> {
    let mut is_first = true;
    for level in 1.. {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let line = debug.current_line().map_or(-1, |line| line as i64);
            let is_native = source.what == "C";
            (
                source.source.unwrap_or_default().into_owned(),
                line,
                is_native,
            )
        });
        let (source, line, is_native) = found?;
        if source == PRELUDE || (is_native && std::mem::take(&mut is_first)) {
            continue;
        }
        return Some((source, line));
    }
    None
}

/// The name of what surrounds scripts.
pub(super) const PRELUDE: &str = "=redis";
