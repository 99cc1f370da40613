//! Saving all keys to a file: SAVE, BGSAVE, LASTSAVE, and SHUTDOWN, which may do so first.

use slotway_protocol::engine::{CloseWhen, Now};
use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run};
use crate::REDIS_VERSION;
use crate::keyspace::{Keyspace, Reader};
use crate::persistence::rdb::{About, Saver};
use crate::persistence::saving::{SaveTarget, Saving, Waiter};
use crate::server_state::ServerState;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("save", save),
    ("bgsave", bgsave),
    ("bgrewriteaof", bgrewriteaof),
    ("lastsave", lastsave),
    ("shutdown", shutdown),
];

/// Begins to save all keys as they are now. Whoever drives the node goes on with it.
pub(crate) fn begin(
    keyspace: &mut Keyspace,
    server: &mut ServerState,
    target: SaveTarget,
    waiter: Option<Waiter>,
    now: Now,
) {
    let about = About {
        server_version: REDIS_VERSION,
        unix_seconds: now.unix_ms / 1_000,
        memory: keyspace.memory(),
        position: server.replication.saved_position(),
        is_aof_base: target == SaveTarget::AofBase,
    };
    let config = &server.config;
    let saver = Saver::new(about, config.rdbcompression, config.rdbchecksum);
    let buffer_max = usize::try_from(config.save_buffer_max).unwrap_or(usize::MAX);
    keyspace.begin_snapshot(Reader::File, saver, buffer_max);
    let replaces_rewrite = server.saving.running_for(SaveTarget::AofBase).is_some();
    server.log.rewriting.scheduled |= replaces_rewrite;
    server
        .saving
        .begin(target, now.instant, keyspace.changes, waiter);
}

/// The others are served meanwhile; only this client waits.
fn save(call: &mut Call<'_>) -> Result<(), CommandError> {
    check_idle(call)?;
    begin_for(call, false);
    Ok(())
}

fn bgsave(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 2 || (call.len() == 2 && !call.arg_is(1, "SCHEDULE")) {
        return Err(CommandError::Syntax);
    }
    check_idle(call)?;
    let rewrites = is_rewriting(call);
    if call.server.in_exec || (rewrites && call.len() == 2) {
        call.server.saving.scheduled = true;
        encode::simple(call.out, b"Background saving scheduled");
    } else if rewrites {
        return Err(CommandError::text(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
             SCHEDULE in order to schedule a BGSAVE whenever possible.",
        ));
    } else {
        let target = SaveTarget::File;
        begin(call.keyspace, call.server, target, None, call.now);
        encode::simple(call.out, b"Background saving started");
    }
    Ok(())
}

/// It begins at the end of the turn, as what was done before has to be in the old files.
fn bgrewriteaof(call: &mut Call<'_>) -> Result<(), CommandError> {
    check_files(call)?;
    let is_saving = call.server.saving.running.is_some();
    let rewriting = &mut call.server.log.rewriting;
    if is_saving && is_rewriting_now(&call.server.saving) || rewriting.wanted {
        return Err(CommandError::text(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    if is_saving || call.server.in_exec {
        rewriting.scheduled = true;
        rewriting.consecutive_failures = 0;
        encode::simple(call.out, b"Background append only file rewriting scheduled");
    } else {
        rewriting.wanted = true;
        encode::simple(call.out, b"Background append only file rewriting started");
    }
    Ok(())
}

fn is_rewriting(call: &Call<'_>) -> bool {
    call.server.log.rewriting.wanted || is_rewriting_now(&call.server.saving)
}

fn is_rewriting_now(saving: &Saving) -> bool {
    saving.running_for(SaveTarget::AofBase).is_some()
}

fn lastsave(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_integer(call.server.saving.last_at as i64);
    Ok(())
}

fn shutdown(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (mut saves, mut saves_not) = (false, false);
    for index in 1..call.len() {
        let known = ["NOSAVE", "SAVE", "NOW", "FORCE"];
        if !known.iter().any(|word| call.arg_is(index, word)) {
            return Err(CommandError::Syntax);
        }
        saves |= call.arg_is(index, "SAVE");
        saves_not |= call.arg_is(index, "NOSAVE");
    }
    if saves && saves_not {
        return Err(CommandError::Syntax);
    }
    let is_loading = call.server.loading.is_some();
    if (saves && !is_loading) || (!saves_not && call.server.saves_at_the_end()) {
        check_files(call)?;
        begin_for(call, true);
    } else {
        call.server.shutdown_wished = true;
        call.session().closing = Some(CloseWhen::Now);
    }
    Ok(())
}

/// Begins a save for which the client waits, in the place of one that is under way.
fn begin_for(call: &mut Call<'_>, shuts_down: bool) {
    let connection = call.session().connection;
    call.session().waiting = true;
    let waiter = Waiter {
        connection: Some(connection),
        shuts_down,
    };
    let target = SaveTarget::File;
    begin(call.keyspace, call.server, target, Some(waiter), call.now);
}

fn check_idle(call: &Call<'_>) -> Result<(), CommandError> {
    check_files(call)?;
    let saving = &call.server.saving;
    if saving.running_for(SaveTarget::File).is_some() {
        return Err(CommandError::text(
            "ERR Background save already in progress",
        ));
    }
    Ok(())
}

fn check_files(call: &Call<'_>) -> Result<(), CommandError> {
    if !call.server.saving.has_files {
        return Err(CommandError::text("ERR This node keeps no files"));
    }
    Ok(())
}
