//! CONFIG: shows and changes the settings of the node that runs.

use std::rc::Rc;

use slotway_protocol::glob::matches;

use super::{Call, CommandError, Run};
use crate::config::{Config, Directive, Permission};
use crate::engine::configuring::{Changed, Pending, Wish};
use crate::engine::session::Replies;
use crate::statistics::Stats;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("config|get", get),
    ("config|set", set),
    ("config|resetstat", resetstat),
    ("config|rewrite", rewrite),
];

/// A directive that is asked for by its name is answered with the name as it was asked for.
fn get(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut chosen: Vec<(Vec<u8>, &Directive)> = Vec::new();
    for pattern in call.request.args(2) {
        let is_name = !pattern.iter().any(|byte| b"*?[".contains(byte));
        let lower = pattern.to_ascii_lowercase();
        for directive in Directive::all() {
            for name in directive.names() {
                let found = if is_name {
                    lower == name.as_bytes()
                } else {
                    !directive.traits.hidden && matches(&lower, name.as_bytes())
                };
                let is = |(shown, _): &(Vec<u8>, _)| shown.eq_ignore_ascii_case(name.as_bytes());
                if found && !chosen.iter().any(is) {
                    let shown = if is_name { pattern } else { name.as_bytes() };
                    chosen.push((shown.to_vec(), directive));
                }
            }
        }
    }
    call.reply_map(chosen.len());
    for (shown, directive) in chosen {
        let value = directive.show(&call.server.config);
        call.reply_bulk(&shown);
        call.reply_bulk(value.as_bytes());
    }
    Ok(())
}

/// Sets all given directives or none.
fn set(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let pairs = named(call)?;
    let mut config = call.server.config.clone();
    for &(index, directive, name) in &pairs {
        let value = core::str::from_utf8(call.arg(index + 1))
            .map_err(|_| refusal(name, "argument must be valid UTF-8"))?;
        directive
            .set(&mut config, value)
            .map_err(|error| refusal(name, &error.to_string()))?;
    }
    apply(call, config, &pairs);
    Ok(())
}

/// The directives that are to be set, with the index of each and its name as the table has it.
fn named(call: &Call<'_>) -> Result<Vec<(usize, &'static Directive, &'static str)>, CommandError> {
    let mut pairs: Vec<(usize, &Directive, &str)> = Vec::new();
    for index in (2..call.len()).step_by(2) {
        let given = String::from_utf8_lossy(call.arg(index));
        let Some((directive, name)) = Directive::find(&given) else {
            return Err(CommandError::text(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{given}'"
            )));
        };
        if directive.traits.immutable {
            return Err(refusal(&given, "can't set immutable config"));
        }
        if directive.traits.protected && !may_change_protected(call) {
            return Err(refusal(&given, "can't set protected config"));
        }
        // Its other name is not the same to redis-server.
        if pairs.iter().any(|(_, _, other)| *other == name) {
            return Err(refusal(&given, "duplicate parameter"));
        }
        pairs.push((index, directive, name));
    }
    Ok(pairs)
}

fn may_change_protected(call: &Call<'_>) -> bool {
    match call.server.config.enable_protected_configs {
        Permission::Yes => true,
        Permission::Local => call.sessions[call.client].peer.remote.ip().is_loopback(),
        Permission::No => false,
    }
}

/// Puts new settings in force. Where the driver has to do something for that, the client waits,
/// and they are taken back if it can't.
fn apply(call: &mut Call<'_>, config: Config, pairs: &[(usize, &'static Directive, &'static str)]) {
    call.server.config_changed = true;
    let old = std::mem::replace(&mut call.server.config, config);
    let config = &call.server.config;
    let concerns_outside = |directive: &Directive| {
        directive.traits.outside && directive.show(config) != directive.show(&old)
    };
    if !pairs.iter().any(|pair| concerns_outside(pair.1)) {
        return call.reply_ok();
    }
    let old = Rc::new(old);
    let changed = pairs.iter().map(|&(_, directive, name)| Changed {
        directive,
        name,
        old: Rc::clone(&old),
    });
    let wish = Wish::Set(changed.collect());
    ask_outside(call, wish);
}

fn rewrite(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.server.configuring.file.is_empty() {
        return Err(CommandError::text(
            "ERR The server is running without a config file",
        ));
    }
    ask_outside(call, Wish::Rewrite);
    Ok(())
}

/// In a transaction nobody waits: what comes of it is then only in the log.
fn ask_outside(call: &mut Call<'_>, wish: Wish) {
    let in_exec = call.server.in_exec;
    let session = call.session();
    let pending = Pending {
        client: (!in_exec).then_some(session.connection),
        is_answered: session.replies == Replies::On,
        wish,
    };
    session.waiting = !in_exec;
    call.server.configuring.push(pending);
    if in_exec {
        call.reply_ok();
    }
}

fn refusal(name: &str, reason: &str) -> CommandError {
    CommandError::text(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    ))
}

fn resetstat(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.server.stats = Stats::default();
    call.keyspace.reset_counters();
    call.reply_ok();
    Ok(())
}
