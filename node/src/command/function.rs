//! FUNCTION: libraries of functions; and FCALL, which calls them.

use slotway_protocol::glob;
use slotway_protocol::resp::encode;

use super::script::{BUSY, kill_script, start};
use super::{Call, CommandError, Run};
use crate::number;
use crate::persistence::payload;
use crate::script::{FunctionInfo, Job, Library, Restore, ScriptFlags};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("function|load", load),
    ("function|list", list),
    ("function|delete", delete),
    ("function|flush", flush),
    ("function|dump", dump),
    ("function|restore", restore),
    ("function|stats", stats),
    ("function|kill", |call| kill_script(call, true)),
    ("fcall", |call| fcall(call, false)),
    ("fcall_ro", |call| fcall(call, true)),
];

fn load(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut replaces = false;
    for index in 2..call.len() - 1 {
        if !call.arg_is(index, "REPLACE") {
            let unknown = String::from_utf8_lossy(call.arg(index));
            return Err(CommandError::text(format!(
                "ERR Unknown option given: {unknown}"
            )));
        }
        replaces = true;
    }
    let code = call.arg(call.len() - 1);
    let name = call.server.scripts.load_library(code, replaces);
    let name = name.map_err(|text| refusal(&text))?;
    call.keyspace.changes += 1;
    call.reply_bulk(&name);
    Ok(())
}

fn list(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (mut with_code, mut pattern) = (false, None);
    let mut index = 2;
    while index < call.len() {
        if !with_code && call.arg_is(index, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && call.arg_is(index, "LIBRARYNAME") {
            if index + 1 == call.len() {
                return Err(CommandError::text(
                    "ERR library name argument was not given",
                ));
            }
            index += 1;
            pattern = Some(call.arg(index));
        } else {
            let unknown = String::from_utf8_lossy(call.arg(index));
            return Err(CommandError::text(format!(
                "ERR Unknown argument {unknown}"
            )));
        }
        index += 1;
    }
    let libraries = &call.server.scripts.libraries;
    let pattern = pattern.map(<[u8]>::to_ascii_lowercase);
    let wanted = |name: &[u8]| {
        let name = name.to_ascii_lowercase();
        pattern
            .as_ref()
            .is_none_or(|pattern| glob::matches(pattern, &name))
    };
    let found: Vec<(&[u8], &Library)> = libraries.iter().filter(|(name, _)| wanted(name)).collect();
    encode::array(call.out, found.len());
    for (name, library) in found {
        encode::map(call.out, call.protocol, if with_code { 4 } else { 3 });
        encode::bulk(call.out, b"library_name");
        encode::bulk(call.out, name);
        encode::bulk(call.out, b"engine");
        encode::bulk(call.out, b"LUA");
        encode::bulk(call.out, b"functions");
        encode::array(call.out, library.functions.len());
        for function in &library.functions {
            show_function(call.out, call.protocol, function);
        }
        if with_code {
            encode::bulk(call.out, b"library_code");
            encode::bulk(call.out, &library.code);
        }
    }
    Ok(())
}

fn show_function(
    out: &mut Vec<u8>,
    protocol: slotway_protocol::resp::Protocol,
    function: &FunctionInfo,
) {
    encode::map(out, protocol, 3);
    encode::bulk(out, b"name");
    encode::bulk(out, &function.name);
    encode::bulk(out, b"description");
    match &function.description {
        Some(text) => encode::bulk(out, text),
        None => encode::null(out, protocol),
    }
    encode::bulk(out, b"flags");
    let flags: Vec<&str> = function.flags.names().collect();
    encode::set(out, protocol, flags.len());
    for flag in flags {
        encode::simple(out, flag.as_bytes());
    }
}

fn delete(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.server.scripts.delete_library(call.arg(2)) {
        return Err(CommandError::text("ERR Library not found"));
    }
    call.keyspace.changes += 1;
    call.reply_ok();
    Ok(())
}

fn flush(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 3 {
        return Err(super::unknown_or_wrong_arguments(call, "FUNCTION"));
    }
    if call.len() == 3 && !call.arg_is(2, "SYNC") && !call.arg_is(2, "ASYNC") {
        return Err(CommandError::text(
            "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
        ));
    }
    call.server.scripts.flush_libraries();
    call.keyspace.changes += 1;
    call.reply_ok();
    Ok(())
}

fn dump(call: &mut Call<'_>) -> Result<(), CommandError> {
    let payload = call.server.scripts.dump_libraries();
    call.reply_bulk(&payload);
    Ok(())
}

fn restore(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 4 {
        return Err(super::unknown_or_wrong_arguments(call, "FUNCTION"));
    }
    let how = match call.len() {
        3 => Restore::Append,
        _ if call.arg_is(3, "APPEND") => Restore::Append,
        _ if call.arg_is(3, "REPLACE") => Restore::Replace,
        _ if call.arg_is(3, "FLUSH") => Restore::Flush,
        _ => {
            return Err(CommandError::text(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let unsealed = payload::unseal(call.arg(2))
        .ok_or_else(|| CommandError::text("ERR DUMP payload version or checksum are wrong"))?;
    let codes = payload::libraries(unsealed).map_err(CommandError::text)?;
    let restored = call.server.scripts.restore_libraries(&codes, how);
    restored.map_err(|text| refusal(&text))?;
    call.keyspace.changes += 1;
    call.reply_ok();
    Ok(())
}

fn stats(call: &mut Call<'_>) -> Result<(), CommandError> {
    if let Some(suspended) = &call.server.scripts.suspended
        && !suspended.running.is_function
    {
        return Err(CommandError::text(BUSY));
    }
    call.reply_map(2);
    call.reply_bulk(b"running_script");
    match &call.server.scripts.suspended {
        None => encode::null(call.out, call.protocol),
        Some(suspended) => {
            let running = &suspended.running;
            let elapsed = call.now.instant.since(running.began.instant).as_millis();
            encode::map(call.out, call.protocol, 3);
            encode::bulk(call.out, b"name");
            encode::bulk(call.out, running.name.as_bytes());
            encode::bulk(call.out, b"command");
            encode::array(call.out, running.command.len());
            for arg in &running.command {
                encode::bulk(call.out, arg);
            }
            encode::bulk(call.out, b"duration_ms");
            encode::integer(call.out, elapsed as i64);
        }
    }
    let libraries = &call.server.scripts.libraries;
    let (libraries, functions) = (libraries.len(), libraries.functions_len());
    call.reply_bulk(b"engines");
    call.reply_map(1);
    call.reply_bulk(b"LUA");
    call.reply_map(2);
    call.reply_bulk(b"libraries_count");
    call.reply_len(libraries);
    call.reply_bulk(b"functions_count");
    call.reply_len(functions);
    Ok(())
}

fn fcall(call: &mut Call<'_>, is_read_only: bool) -> Result<(), CommandError> {
    let name = call.arg(1);
    let function = call.server.scripts.libraries.function(name);
    let flags: ScriptFlags = function
        .ok_or_else(|| CommandError::text("ERR Function not found"))?
        .flags;
    let given = number::parse_i64(call.arg(2))
        .ok_or_else(|| CommandError::text("ERR Bad number of keys provided"))?;
    if given > (call.len() - 3) as i64 {
        return Err(CommandError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let keys = usize::try_from(given)
        .map_err(|_| CommandError::text("ERR Number of keys can't be negative"))?;
    let job = Job::CallFunction {
        name: name.to_vec(),
        keys: call
            .request
            .args(3)
            .take(keys)
            .map(<[u8]>::to_vec)
            .collect(),
        args: call.request.args(3 + keys).map(<[u8]>::to_vec).collect(),
        protocol: call.protocol,
    };
    let name = String::from_utf8_lossy(name).into_owned();
    start(call, name, flags, is_read_only, (job, keys))
}

fn refusal(text: &[u8]) -> CommandError {
    CommandError::text(String::from_utf8_lossy(text).into_owned())
}
