//! The library `redis`: what scripts can do with the node.

use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Scope, Table, Value};
use slotway_protocol::command;
use slotway_protocol::resp::Protocol;

use super::convert;
use super::errors::{self, reply};
use super::fiber::{Input, Output, Shared, Wish};
use super::library::register;
use super::lua::{Link, kill};
use crate::REDIS_VERSION;

pub(super) fn library<'scope, 'env>(
    lua: &Lua,
    scope: &'scope Scope<'scope, 'env>,
    link: &'env Link,
    shared: &Rc<Shared>,
) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    for (name, raises) in [("call", true), ("pcall", false)] {
        let own = Rc::clone(shared);
        let function = scope.create_function(move |lua, args: MultiValue| {
            call(lua, link, &own, &args).or_else(|error| {
                if raises || own.killed.borrow().is_some() {
                    return Err(error);
                }
                errors::explain(lua, Value::Error(Box::new(error)))
            })
        })?;
        library.set(name, function)?;
    }
    let own = Rc::clone(shared);
    library.set(
        "setresp",
        lua.create_function(move |_, args: MultiValue| set_protocol(&own, &args))?,
    )?;
    let own = Rc::clone(shared);
    library.set(
        "set_repl",
        lua.create_function(move |_, args: MultiValue| set_replicates(&own, &args))?,
    )?;
    for (name, function) in FUNCTIONS {
        library.set(*name, lua.create_function(*function)?)?;
    }
    for (name, number) in NUMBERS {
        library.set(*name, *number)?;
    }
    library.set("REDIS_VERSION", REDIS_VERSION)?;
    let constant = |value: bool| -> mlua::Result<Function> {
        lua.create_function(move |_, _: MultiValue| Ok(value))
    };
    library.set("breakpoint", constant(false)?)?;
    library.set("replicate_commands", constant(true)?)?;
    library.set("debug", lua.create_function(|_, _: MultiValue| Ok(()))?)?;
    Ok(library)
}

/// The same for functions: without what only makes sense in scripts.
pub(super) fn of_functions(lua: &Lua, library: &Table) -> mlua::Result<Table> {
    let own = lua.create_table()?;
    for pair in library.pairs::<String, Value>() {
        let (name, value) = pair?;
        if !matches!(&*name, "breakpoint" | "replicate_commands" | "debug") {
            own.raw_set(name, value)?;
        }
    }
    Ok(own)
}

/// The same for libraries of functions that are being loaded.
pub(super) fn of_loading(lua: &Lua, library: &Table, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let own = lua.create_table()?;
    for name in [
        "log",
        "LOG_DEBUG",
        "LOG_VERBOSE",
        "LOG_NOTICE",
        "LOG_WARNING",
        "REDIS_VERSION",
        "REDIS_VERSION_NUM",
    ] {
        own.raw_set(name, library.raw_get::<Value>(name)?)?;
    }
    let shared = Rc::clone(shared);
    let register = move |_: &Lua, args: MultiValue| register(&shared, &args);
    own.raw_set("register_function", lua.create_function(register)?)?;
    Ok(own)
}

/// Runs a command; its error is an error.
fn call(lua: &Lua, link: &Link, shared: &Shared, args: &MultiValue) -> mlua::Result<Value> {
    if args.is_empty() {
        return Err(reply(NO_ARGUMENTS));
    }
    let wish = Wish {
        args: convert::arguments(args).ok_or_else(|| reply(NOT_TEXTS))?,
        protocol: shared.protocol.get(),
        replicates: shared.replicates.get(),
    };
    match link.suspend(Output::Wish(wish)) {
        Input::Reply(answer) => match convert::error_of(&answer) {
            Some(text) => Err(reply(text)),
            None => convert::to_lua(lua, &answer),
        },
        _ => Err(kill(lua, shared)),
    }
}

type Native = fn(&Lua, MultiValue) -> mlua::Result<Value>;

const FUNCTIONS: &[(&str, Native)] = &[
    ("error_reply", error_reply),
    ("status_reply", status_reply),
    ("sha1hex", sha1hex),
    ("log", log),
    ("acl_check_cmd", acl_check_cmd),
];

fn error_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Value> {
    let Some(text) = only_text(&args) else {
        return wrong_arguments(lua);
    };
    let text = text.as_bytes();
    let text = text.strip_prefix(b"-").unwrap_or(&text);
    // Without a second word there is no code in front.
    let code: &[u8] = if text.contains(&b' ') { b"" } else { b"ERR " };
    let table = lua.create_table()?;
    table.raw_set("err", lua.create_string([code, text].concat())?)?;
    Ok(Value::Table(table))
}

fn status_reply(lua: &Lua, args: MultiValue) -> mlua::Result<Value> {
    let Some(text) = only_text(&args) else {
        return wrong_arguments(lua);
    };
    let table = lua.create_table()?;
    table.raw_set("ok", text)?;
    Ok(Value::Table(table))
}

fn only_text(args: &MultiValue) -> Option<mlua::LuaString> {
    match args.front() {
        Some(Value::String(text)) if args.len() == 1 => Some(text.clone()),
        _ => None,
    }
}

fn wrong_arguments(lua: &Lua) -> mlua::Result<Value> {
    let text = b"ERR wrong number or type of arguments";
    errors::error_table(lua, text).map(Value::Table)
}

fn sha1hex(lua: &Lua, args: MultiValue) -> mlua::Result<Value> {
    if args.len() != 1 {
        return Err(reply("ERR wrong number of arguments"));
    }
    let texts = convert::arguments(&args).unwrap_or_default();
    let text = texts.first().map(Vec::as_slice).unwrap_or_default();
    let digest = sha1_smol::Sha1::from(text).digest().to_string();
    lua.create_string(digest).map(Value::String)
}

fn set_protocol(shared: &Shared, args: &MultiValue) -> mlua::Result<()> {
    if args.len() != 1 {
        return Err(reply("ERR redis.setresp() requires one argument."));
    }
    let protocol = match args.front() {
        Some(Value::Integer(2)) => Protocol::Resp2,
        Some(Value::Integer(3)) => Protocol::Resp3,
        _ => return Err(reply("ERR RESP version must be 2 or 3.")),
    };
    shared.protocol.set(protocol);
    Ok(())
}

/// Whoever listens gets the same, so that all or nothing is told to both replicas and file.
fn set_replicates(shared: &Shared, args: &MultiValue) -> mlua::Result<()> {
    if args.len() != 1 {
        return Err(reply("ERR redis.set_repl() requires two arguments."));
    }
    match args.front() {
        Some(Value::Integer(flags @ 0..=3)) => shared.replicates.set(*flags != 0),
        _ => {
            return Err(reply(
                "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            ));
        }
    }
    Ok(())
}

fn log(_: &Lua, args: MultiValue) -> mlua::Result<Value> {
    if args.len() < 2 {
        return Err(reply("ERR redis.log() requires two arguments or more."));
    }
    let level = match args.front() {
        Some(Value::Integer(level)) => *level,
        Some(Value::Number(level)) => *level as i64 as mlua::Integer,
        _ => return Err(reply("ERR First argument must be a number (log level).")),
    };
    let words = args.iter().skip(1).map(|word| match word {
        Value::String(text) => text.to_string_lossy(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => super::number::general(*number, 14),
        _ => String::new(),
    });
    let message = words.collect::<Vec<_>>().join(" ");
    match level {
        0 => tracing::trace!("{message}"),
        1 => tracing::debug!("{message}"),
        2 => tracing::info!("{message}"),
        3 => tracing::warn!("{message}"),
        _ => return Err(reply("ERR Invalid debug level.")),
    }
    Ok(Value::Nil)
}

/// Whoever may run scripts may run all commands.
fn acl_check_cmd(_: &Lua, args: MultiValue) -> mlua::Result<Value> {
    if args.is_empty() {
        return Err(reply(NO_ARGUMENTS));
    }
    let texts = convert::arguments(&args).ok_or_else(|| reply(NOT_TEXTS))?;
    let name = texts.first().map(Vec::as_slice).unwrap_or_default();
    if command::lookup(name).is_none() {
        return Err(reply("ERR Invalid command passed to redis.acl_check_cmd()"));
    }
    Ok(Value::Boolean(true))
}

const NUMBERS: &[(&str, i64)] = &[
    ("LOG_DEBUG", 0),
    ("LOG_VERBOSE", 1),
    ("LOG_NOTICE", 2),
    ("LOG_WARNING", 3),
    ("REPL_NONE", 0),
    ("REPL_AOF", 1),
    ("REPL_SLAVE", 2),
    ("REPL_REPLICA", 2),
    ("REPL_ALL", 3),
    ("REDIS_VERSION_NUM", 0x0007_000f),
];

const NO_ARGUMENTS: &str = "ERR Please specify at least one argument for this redis lib call";

const NOT_TEXTS: &str = "ERR Lua redis lib command arguments must be strings or integers";
