//! A library of functions while it is loaded: its first line, and the functions it registers.

use mlua::{Function, MultiValue, Table, Value};

use super::ScriptFlags;
use super::errors::reply;
use super::fiber::Shared;

/// What is known of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionInfo {
    pub(crate) name: Vec<u8>,
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) flags: ScriptFlags,
}

/// A function that was registered, and is not known yet.
pub(super) type Staged = (FunctionInfo, Function);

/// The name of a library, from its first line, and how long that is. An error is a reply's text.
pub(crate) fn read_head(code: &[u8]) -> Result<(Vec<u8>, usize), Vec<u8>> {
    let refuse = |text: &str| Err([b"ERR ", text.as_bytes()].concat());
    if !code.starts_with(b"#!") {
        return refuse("Missing library metadata");
    }
    let Some(len) = memchr::memchr(b'\n', code) else {
        return refuse("Invalid library metadata");
    };
    let words = code[2..len].split(u8::is_ascii_whitespace);
    let mut words = words.filter(|word| !word.is_empty());
    let engine = words.next().unwrap_or_default();
    let mut name = None;
    for word in words {
        let Some(value) = word.strip_prefix(b"name=") else {
            return Err([b"ERR Invalid metadata value given: ", word].concat());
        };
        if name.replace(value.to_vec()).is_some() {
            return refuse("Invalid metadata value, name argument was given multiple times");
        }
    }
    let Some(name) = name else {
        return refuse("Library name was not given");
    };
    if !is_name(&name) {
        return refuse(WRONG_NAME);
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err([b"ERR Engine '", engine, b"' not found"].concat());
    }
    Ok((name, len))
}

/// The text behind the first line, with its line end, so that lines keep their numbers.
pub(super) fn body(code: &[u8]) -> &[u8] {
    let len = memchr::memchr(b'\n', code).unwrap_or(0);
    &code[len..]
}

fn is_name(name: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.iter().all(is_plain)
}

/// redis.register_function, in either of its forms.
pub(super) fn register(shared: &Shared, args: &MultiValue) -> mlua::Result<()> {
    let args: Vec<&Value> = args.iter().collect();
    let (info, callback) = match args[..] {
        [Value::Table(named)] => read_named(named)?,
        [_] => {
            return refuse(
                "calling redis.register_function with a single argument is only applicable to Lua \
                 table (representing named arguments).",
            );
        }
        [name, callback] => {
            let name = text_of(name).ok_or_else(|| {
                error("first argument to redis.register_function must be a string")
            })?;
            let Value::Function(callback) = callback else {
                return refuse("second argument to redis.register_function must be a function");
            };
            (plain(name), callback.clone())
        }
        _ => return refuse("wrong number of arguments to redis.register_function"),
    };
    if !is_name(&info.name) {
        return refuse(WRONG_NAME);
    }
    let mut staged = shared.staged.borrow_mut();
    let Some(staged) = staged.as_mut() else {
        return refuse("redis.register_function can only be called on FUNCTION LOAD command");
    };
    if staged.iter().any(|(other, _)| other.name == info.name) {
        return refuse("Function already exists in the library");
    }
    staged.push((info, callback));
    Ok(())
}

fn read_named(named: &Table) -> mlua::Result<Staged> {
    let (mut name, mut callback) = (None, None);
    let mut rest = plain(Vec::new());
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = match key {
            Value::String(key) => key,
            Value::Integer(_) | Value::Number(_) => {
                return refuse("unknown argument given to redis.register_function");
            }
            _ => {
                return refuse(
                    "named argument key given to redis.register_function is not a string",
                );
            }
        };
        match &*key.as_bytes().to_ascii_lowercase() {
            b"function_name" => {
                name = Some(text_of(&value).ok_or_else(|| {
                    error(
                        "function_name argument given to redis.register_function must be a string",
                    )
                })?);
            }
            b"description" => {
                rest.description = Some(text_of(&value).ok_or_else(|| {
                    error("description argument given to redis.register_function must be a string")
                })?);
            }
            b"callback" => {
                let Value::Function(function) = value else {
                    return refuse(
                        "callback argument given to redis.register_function must be a function",
                    );
                };
                callback = Some(function);
            }
            b"flags" => rest.flags = read_flags(&value)?,
            _ => return refuse("unknown argument given to redis.register_function"),
        }
    }
    rest.name =
        name.ok_or_else(|| error("redis.register_function must get a function name argument"))?;
    let callback =
        callback.ok_or_else(|| error("redis.register_function must get a callback argument"))?;
    Ok((rest, callback))
}

fn read_flags(value: &Value) -> mlua::Result<ScriptFlags> {
    let Value::Table(names) = value else {
        return refuse(
            "flags argument to redis.register_function must be a table representing function flags",
        );
    };
    let mut flags = ScriptFlags::default();
    for name in names.sequence_values::<Value>() {
        let is_known = match name? {
            Value::String(name) => flags.set(&name.as_bytes()),
            _ => false,
        };
        if !is_known {
            return refuse("unknown flag given");
        }
    }
    Ok(flags)
}

fn plain(name: Vec<u8>) -> FunctionInfo {
    FunctionInfo {
        name,
        description: None,
        flags: ScriptFlags::default(),
    }
}

/// Numbers are texts as well.
fn text_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Number(number) => Some(super::number::general(*number, 14).into_bytes()),
        _ => None,
    }
}

fn error(text: &str) -> mlua::Error {
    reply(format!("ERR {text}"))
}

fn refuse<T>(text: &str) -> mlua::Result<T> {
    Err(error(text))
}

const WRONG_NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and \
    must be at least one character long";
