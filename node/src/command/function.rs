//! FUNCTION on a node that runs no functions: its set of libraries is there, and always empty. That
//! is what `redis-cli --cluster add-node` needs to take it for a node like others.

use super::{Call, CommandError, Run};
use crate::persistence::payload;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("function|list", list),
    ("function|dump", dump),
    ("function|restore", restore),
    ("function|flush", flush),
    ("function|stats", stats),
    ("function|delete", delete),
    ("function|kill", kill),
    ("function|load", load),
    ("fcall", fcall),
    ("fcall_ro", fcall),
];

fn list(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (mut with_code, mut named) = (false, false);
    let mut index = 2;
    while index < call.len() {
        if !with_code && call.arg_is(index, "WITHCODE") {
            with_code = true;
        } else if !named && call.arg_is(index, "LIBRARYNAME") {
            if index + 1 == call.len() {
                return Err(CommandError::text(
                    "ERR library name argument was not given",
                ));
            }
            named = true;
            index += 1;
        } else {
            let unknown = String::from_utf8_lossy(call.arg(index));
            return Err(CommandError::text(format!(
                "ERR Unknown argument {unknown}"
            )));
        }
        index += 1;
    }
    call.reply_array(0);
    Ok(())
}

fn dump(call: &mut Call<'_>) -> Result<(), CommandError> {
    let payload = payload::seal_bytes(Vec::new());
    call.reply_bulk(&payload);
    Ok(())
}

/// A payload without libraries changes nothing, whatever the policy. One with libraries is refused
/// as a whole, since nothing here could call them.
fn restore(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 4 {
        return Err(super::unknown_or_wrong_arguments(call, "FUNCTION"));
    }
    let policies = ["FLUSH", "APPEND", "REPLACE"];
    if call.len() == 4 && !policies.iter().any(|policy| call.arg_is(3, policy)) {
        return Err(CommandError::text(
            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        ));
    }
    let libraries = payload::unseal(call.arg(2))
        .ok_or_else(|| CommandError::text("ERR DUMP payload version or checksum are wrong"))?;
    match libraries.first() {
        None => {
            call.reply_ok();
            Ok(())
        }
        Some(&payload::FUNCTION) => Err(unsupported()),
        Some(&payload::FUNCTION_PRE) => Err(CommandError::text(
            "ERR Pre-GA function format not supported",
        )),
        Some(_) => Err(CommandError::text("ERR given type is not a function")),
    }
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
    call.reply_ok();
    Ok(())
}

fn stats(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_map(2);
    call.reply_bulk(b"running_script");
    call.reply_null();
    call.reply_bulk(b"engines");
    call.reply_map(1);
    call.reply_bulk(b"LUA");
    call.reply_map(2);
    call.reply_bulk(b"libraries_count");
    call.reply_integer(0);
    call.reply_bulk(b"functions_count");
    call.reply_integer(0);
    Ok(())
}

fn delete(_call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(CommandError::text("ERR Library not found"))
}

fn kill(_call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(CommandError::text(
        "NOTBUSY No scripts in execution right now.",
    ))
}

fn load(_call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(unsupported())
}

fn fcall(_call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(CommandError::text("ERR Function not found"))
}

fn unsupported() -> CommandError {
    CommandError::text("ERR Libraries of functions are not supported by this node yet")
}
