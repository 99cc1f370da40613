//! The node itself: INFO, TIME and what else an operator asks.

use slotway_protocol::command::reply;
use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run, info};

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
