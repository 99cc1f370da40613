//! The node itself: INFO, TIME and what else an operator asks.

use slotway_protocol::command::reply;
use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run, info};
use crate::number;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("command", command),
    ("command|count", command),
    ("command|docs", command),
    ("command|getkeys", command),
    ("command|getkeysandflags", command),
    ("command|help", command),
    ("command|info", command),
    ("command|list", command),
    ("info", info_command),
    ("time", time),
    ("wait", wait),
    ("role", role),
];

fn command(call: &mut Call<'_>) -> Result<(), CommandError> {
    reply::reply(&call.request, call.protocol, call.out);
    Ok(())
}

fn info_command(call: &mut Call<'_>) -> Result<(), CommandError> {
    let sections: Vec<&[u8]> = call.request.args(1).collect();
    let text = info::text(call, &sections);
    encode::verbatim(call.out, call.protocol, text.as_bytes());
    Ok(())
}

fn time(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (seconds, millis) = (call.now.unix_ms / 1_000, call.now.unix_ms % 1_000);
    // The wall clock comes in milliseconds; the monotonic clock's digits fill up the rest.
    let micros = millis * 1_000 + call.now.instant.as_micros() % 1_000;
    call.reply_array(2);
    call.reply_bulk(seconds.to_string().as_bytes());
    call.reply_bulk(micros.to_string().as_bytes());
    Ok(())
}

/// There are no replicas that follow this node, so none has what was written.
fn wait(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.server.is_primary() {
        return Err(CommandError::text(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis \
             4.0 if a replica is configured to be writable (which is not the default) writes to \
             replicas are just local and are not propagated.",
        ));
    }
    call.integer_arg(1)?;
    let timeout = number::parse_i64(call.arg(2))
        .ok_or_else(|| CommandError::text("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    call.reply_integer(0);
    Ok(())
}

fn role(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.server.is_primary() {
        return Err(CommandError::text(
            "ERR 'role' on a replica is not supported by this node yet",
        ));
    }
    call.reply_array(3);
    call.reply_bulk(b"master");
    call.reply_integer(0);
    call.reply_array(0);
    Ok(())
}
