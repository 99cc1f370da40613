//! The node itself: INFO, CONFIG, TIME and what else an operator asks.

use slotway_protocol::command::reply;
use slotway_protocol::glob::matches;
use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run, info};
use crate::config::{ConfigError, Directive};
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
    ("config|get", config_get),
    ("config|set", config_set),
    ("config|resetstat", config_resetstat),
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

/// A directive that is asked for by its name is answered with the name as it was asked for.
fn config_get(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut chosen: Vec<(&Directive, Vec<u8>)> = Vec::new();
    for pattern in call.request.args(2) {
        let lower = pattern.to_ascii_lowercase();
        let is_name = !pattern.iter().any(|byte| b"*?[".contains(byte));
        for directive in Directive::all() {
            let name = directive.name.as_bytes();
            let known = chosen.iter().any(|(other, _)| other.name == directive.name);
            if !known && matches(&lower, name) {
                let shown = if is_name { pattern } else { name };
                chosen.push((directive, shown.to_vec()));
            }
        }
    }
    call.reply_map(chosen.len());
    for (directive, shown) in chosen {
        let value = directive.value(&call.server.config);
        call.reply_bulk(&shown);
        call.reply_bulk(value.as_bytes());
    }
    Ok(())
}

/// Sets all given directives or none.
fn config_set(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity);
    }
    let mut config = call.server.config.clone();
    let mut seen: Vec<&str> = Vec::new();
    for index in (2..call.len()).step_by(2) {
        let name = String::from_utf8_lossy(call.arg(index));
        let directive = Directive::find(call.arg(index)).ok_or_else(|| {
            CommandError::text(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            ))
        })?;
        if !directive.mutable {
            return Err(config_error(&name, &ConfigError::Immutable.to_string()));
        }
        if seen.contains(&directive.name) {
            return Err(config_error(&name, "duplicate parameter"));
        }
        seen.push(directive.name);
    }
    for index in (2..call.len()).step_by(2) {
        let name = String::from_utf8_lossy(call.arg(index));
        let value = core::str::from_utf8(call.arg(index + 1))
            .map_err(|_| config_error(&name, "argument must be valid UTF-8"))?;
        if let Some(directive) = Directive::find(call.arg(index)) {
            directive
                .set(&mut config, value)
                .map_err(|error| config_error(&name, &error.to_string()))?;
        }
    }
    call.server.config = config;
    call.server.config_changed = true;
    call.reply_ok();
    Ok(())
}

fn config_error(name: &str, reason: &str) -> CommandError {
    CommandError::text(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    ))
}

fn config_resetstat(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.server.stats = crate::server_state::Stats::default();
    call.keyspace.reset_counters();
    call.reply_ok();
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
