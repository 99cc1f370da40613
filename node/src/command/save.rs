//! Saving all keys to a file: SAVE, BGSAVE, LASTSAVE, and SHUTDOWN, which may do so first.

use slotway_protocol::engine::Now;
use slotway_protocol::resp::encode;

use super::script::BUSY;
use super::{Call, CommandError, Run};
use crate::REDIS_VERSION;
use crate::ending::How;
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
    let mut saver = Saver::new(about, config.rdbcompression, config.rdbchecksum);
    saver.libraries(server.scripts.libraries.codes());
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
    let waiter = Waiter::Client(call.session().connection);
    call.session().waiting = true;
    let (target, now) = (SaveTarget::File, call.now);
    begin(call.keyspace, call.server, target, Some(waiter), now);
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
    let words = ["NOSAVE", "SAVE", "NOW", "FORCE", "FAILOVER", "ABORT"];
    let mut given = [false; 6];
    for index in 1..call.len() {
        let known = words.iter().position(|word| call.arg_is(index, word));
        given[known.ok_or(CommandError::Syntax)?] = true;
    }
    let [saves_not, saves, is_now, is_forced, hands_over, aborts] = given;
    if (saves && saves_not) || (aborts && given[..5].contains(&true)) {
        return Err(CommandError::Syntax);
    }
    if aborts {
        if !call.server.ending.abort() {
            return Err(CommandError::text("ERR No shutdown in progress."));
        }
        call.reply_ok();
        return Ok(());
    }
    if call.server.scripts.is_suspended() && !saves_not {
        return Err(CommandError::text(BUSY));
    }
    if saves && call.server.loading.is_none() {
        check_files(call)?;
    }
    call.server.ending.wish(How {
        saves: (saves || saves_not).then_some(saves),
        is_now,
        is_forced,
        hands_over,
    });
    let connection = call.session().connection;
    call.session().waiting = true;
    call.server.ending.waiters.push(connection);
    Ok(())
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
