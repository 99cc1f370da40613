//! Transactions: MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use slotway_protocol::command::Command;
use slotway_protocol::resp::{Request, RequestBuffers};

use super::{Call, CommandError, Run};
use crate::cluster::{self, Keyed, Permissions};
use crate::engine::session::Kind;
use crate::engine::transaction::{Queued, WatchedKey};
use crate::replication::propagation::propagate;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("multi", multi),
    ("exec", exec),
    ("discard", discard),
    ("watch", watch),
    ("unwatch", unwatch),
];

fn multi(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.session().transaction.is_open() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    call.session().transaction.queue = Some(Vec::new());
    call.reply_ok();
    Ok(())
}

fn discard(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.session().transaction.is_open() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    discard_transaction(call);
    call.reply_ok();
    Ok(())
}

/// Forgets what was queued, and the watched keys with it.
pub(super) fn discard_transaction(call: &mut Call<'_>) -> Vec<Queued> {
    let transaction = &mut call.session().transaction;
    transaction.broken = false;
    let queue = transaction.queue.take();
    if queue.is_some() {
        unwatch_all(call);
    }
    queue.unwrap_or_default()
}

fn watch(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.session().transaction.is_open() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    for key in call.request.args(1) {
        let was_there = call.keyspace.contains(key);
        // An expired key goes now, so that its going is not taken for a change later.
        call.keyspace.finish();
        let session = call.session();
        let database = session.database;
        let (client, watched) = (session.id, &mut session.transaction.watched);
        let is_same = |watched: &WatchedKey| watched.database == database && *watched.key == *key;
        if !watched.iter().any(is_same) {
            watched.push(WatchedKey {
                database,
                key: key.into(),
                was_there,
            });
            call.keyspace.watch(key, client);
        }
    }
    call.reply_ok();
    Ok(())
}

fn unwatch(call: &mut Call<'_>) -> Result<(), CommandError> {
    unwatch_all(call);
    call.reply_ok();
    Ok(())
}

pub(super) fn unwatch_all(call: &mut Call<'_>) {
    let session = call.session();
    session.transaction.disturbed = false;
    let client = session.id;
    for watched in std::mem::take(&mut session.transaction.watched) {
        call.keyspace
            .unwatch(watched.database, &watched.key, client);
    }
}

fn exec(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.session().transaction.is_open() {
        return Err(CommandError::text("ERR EXEC without MULTI"));
    }
    let broken = call.session().transaction.broken;
    let disturbed = call.session().transaction.disturbed || watched_key_expired(call);
    let queue = discard_transaction(call);
    if broken {
        return Err(CommandError::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    let buffers: Vec<RequestBuffers> = queue.iter().map(Queued::parse).collect();
    let requests: Vec<Keyed<'_>> = queue
        .iter()
        .zip(&buffers)
        .map(|(queued, buffers)| (queued.command, buffers.request(&queued.frame)))
        .collect();
    check_slots(call, &requests)?;
    if disturbed {
        call.reply_null_array();
        return Ok(());
    }
    call.reply_array(requests.len());
    call.server.in_exec = true;
    for (command, request) in requests {
        run(call, command, request);
    }
    call.server.in_exec = false;
    Ok(())
}

/// Whether a watched key that was there has expired since. All are of one slot in a cluster, which
/// is not known here, so each is looked up in its own.
fn watched_key_expired(call: &mut Call<'_>) -> bool {
    let session = &call.sessions[call.client];
    let expired = session.transaction.watched.iter().any(|watched| {
        call.keyspace.select_database(watched.database);
        call.keyspace.select_key(&watched.key);
        watched.was_there && !call.keyspace.contains(&watched.key)
    });
    call.keyspace.select_database(session.database);
    expired
}

fn check_slots(call: &mut Call<'_>, requests: &[Keyed<'_>]) -> Result<(), CommandError> {
    let readonly = call.session().readonly;
    if call.session().kind == Kind::Primary {
        return Ok(());
    }
    let Some(cluster) = &call.server.cluster else {
        return Ok(());
    };
    let permissions = Permissions {
        asking: call.asking,
        readonly,
    };
    let slot = cluster::route(cluster, call.keyspace, requests, permissions)?;
    if let Some(slot) = slot {
        call.keyspace.select(slot);
    }
    Ok(())
}

/// Runs one queued request; an error of its own is its reply.
fn run(call: &mut Call<'_>, command: &'static Command, request: Request<'_>) {
    let start = call.out.len();
    let protocol = call.session().protocol;
    let changes = call.keyspace.changes;
    if call.session().kind == Kind::Primary
        && let Some(slot) = cluster::slot_of(&(command, request))
    {
        call.keyspace.select(slot);
    }
    let began = call.server.nanos;
    let outcome = match call.dispatch.run(command.id) {
        Some(run) => run(&mut Call {
            request,
            keyspace: &mut *call.keyspace,
            out: &mut *call.out,
            protocol,
            random: &mut *call.random,
            client: call.client,
            sessions: &mut *call.sessions,
            server: &mut *call.server,
            dispatch: call.dispatch,
            now: call.now,
            asking: false,
        }),
        None => Err(CommandError::text("ERR the command is gone")),
    };
    let nanos = call.server.note_call(command, began, outcome.is_err());
    if call.server.is_slow(command, nanos) {
        let session = &call.sessions[call.client];
        call.server.note_slow(session, &request, nanos, call.now);
    }
    if let Err(error) = outcome {
        call.out.truncate(start);
        error.of(command).write(call.out);
        call.server.stats.errors.note(&call.out[start..]);
    }
    if call.server.propagation.is_heard() {
        let propagation = &mut call.server.propagation;
        propagate(call.keyspace, propagation, (command, request), changes);
    }
    call.keyspace.finish();
}
