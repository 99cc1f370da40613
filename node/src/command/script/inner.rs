//! A command that a script calls: whether it may run, and its reply.

use slotway_protocol::command::{Command, Flags, Refusal, resolve};
use slotway_protocol::resp::{
    Request, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

use super::super::{Call, CommandError};
use crate::cluster::{self, Permissions};
use crate::engine::session::Kind;
use crate::replication::propagation::propagate;
use crate::script::{Running, Wish};
use crate::server_state::DiskError;

/// Runs the command; whatever stands against it is its reply.
pub(super) fn run(call: &mut Call<'_>, running: &mut Running, wish: &Wish) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::request(&mut frame, &wish.args);
    let mut buffers = RequestBuffers::default();
    let limits = RequestLimits {
        bulk_bytes_max: u64::from(u32::MAX),
        ..RequestLimits::default()
    };
    let scanned = RequestScanner::default().scan(&frame, &limits, &mut buffers);
    let mut reply = Vec::new();
    let outcome = match scanned {
        Ok(Scan::Request { .. }) => {
            let request = buffers.request(&frame);
            let listeners = (!wish.replicates).then(|| call.server.propagation.silence());
            let outcome = run_request(call, running, request, wish, &mut reply);
            if let Some(listeners) = listeners {
                call.server.propagation.end_silence(listeners);
            }
            outcome
        }
        _ => Err(unknown()),
    };
    if let Err(error) = outcome {
        reply.clear();
        error.write(&mut reply);
    }
    reply
}

fn run_request(
    call: &mut Call<'_>,
    running: &mut Running,
    request: Request<'_>,
    wish: &Wish,
    reply: &mut Vec<u8>,
) -> Result<(), CommandError> {
    let command = resolve(&request).map_err(|refusal| match refusal {
        Refusal::WrongArity(_) => {
            CommandError::text("ERR Wrong number of args calling Redis command from script")
        }
        Refusal::UnknownCommand | Refusal::UnknownSubcommand => unknown(),
    })?;
    check(call, running, command)?;
    let run = call.dispatch.run(command.id).ok_or_else(unknown)?;
    let database = call.session().database;
    call.keyspace.select_database(database);
    check_slot(call, running, command, request)?;
    running.has_written |= command.flags.contains(Flags::WRITE);
    let began = call.server.nanos;
    let changes = call.keyspace.changes;
    call.server.scripts.is_calling = true;
    let outcome = run(&mut Call {
        request,
        keyspace: &mut *call.keyspace,
        out: reply,
        protocol: wish.protocol,
        random: &mut *call.random,
        client: call.client,
        sessions: &mut *call.sessions,
        server: &mut *call.server,
        dispatch: call.dispatch,
        now: call.now,
        asking: false,
    });
    call.server.scripts.is_calling = false;
    call.server.note_call(command, began, outcome.is_err());
    if call.server.propagation.is_heard() {
        let propagation = &mut call.server.propagation;
        propagate(call.keyspace, propagation, (command, request), changes);
    }
    call.keyspace.finish();
    outcome.map_err(|error| error.of(command))
}

/// In the server's order.
fn check(
    call: &Call<'_>,
    running: &Running,
    command: &'static Command,
) -> Result<(), CommandError> {
    let refuse = |text: &'static str| Err(CommandError::text(text));
    if command.flags.contains(Flags::NOSCRIPT) {
        return refuse("ERR This Redis command is not allowed from script");
    }
    let replication = &call.server.replication;
    let settings = &replication.settings;
    let follows = replication.primary().is_some();
    let is_stale = follows && !replication.is_up() && !settings.serves_stale_data;
    if is_stale && !command.flags.contains(Flags::STALE) {
        return refuse("ERR Can not execute the command on a stale replica");
    }
    if !command.flags.contains(Flags::WRITE) {
        return Ok(());
    }
    if running.is_read_only {
        return refuse("ERR Write commands are not allowed from read-only scripts.");
    }
    if !call.server.is_primary() && settings.is_read_only {
        return refuse("READONLY You can't write against a read only replica.");
    }
    if call.server.disk_error != DiskError::None {
        return Err(call.server.disk_refusal());
    }
    if lacks_replicas(call) {
        return refuse(NO_REPLICAS);
    }
    Ok(())
}

/// Whether too few replicas have what is written.
pub(super) fn lacks_replicas(call: &Call<'_>) -> bool {
    let replication = &call.server.replication;
    let settings = &replication.settings;
    replication.primary().is_none()
        && !settings.lag_max.is_zero()
        && replication.good_replicas < settings.replicas_min
}

/// Chooses the slot of the keys, if this node may serve them to the script.
fn check_slot(
    call: &mut Call<'_>,
    running: &mut Running,
    command: &'static Command,
    request: Request<'_>,
) -> Result<(), CommandError> {
    if !call.server.migrations.is_idle() && command.flags.contains(Flags::WRITE) {
        let migrations = &call.server.migrations;
        let mut is_locked = false;
        cluster::each_key(&[(command, request)], &mut |key| {
            is_locked |= migrations.is_locked(key);
        });
        if is_locked {
            return Err(CommandError::text(
                "TRYAGAIN Multiple keys request during rehashing of slot",
            ));
        }
    }
    let readonly = call.session().readonly;
    let obeys = call.session().kind == Kind::Primary;
    let Some(cluster) = call.server.cluster.as_ref().filter(|_| !obeys) else {
        return Ok(());
    };
    if !cluster::has_keys(command) {
        return Ok(());
    }
    let permissions = Permissions {
        asking: running.asking,
        readonly,
    };
    let routed = cluster::route(cluster, call.keyspace, &[(command, request)], permissions);
    let Some(slot) = routed.map_err(|error| in_script(&error))? else {
        return Ok(());
    };
    let allows_several = running.flags.is_silent || running.flags.allow_cross_slot_keys;
    if !allows_several && *running.slot.get_or_insert(slot) != slot {
        return Err(CommandError::text(
            "ERR Script attempted to access keys that do not hash to the same slot",
        ));
    }
    call.keyspace.select(slot);
    Ok(())
}

/// What a script is told where a client would be sent elsewhere.
fn in_script(error: &CommandError) -> CommandError {
    let CommandError::Text(text) = error else {
        return error.clone();
    };
    CommandError::text(match &**text {
        "CLUSTERDOWN The cluster is down and only accepts read commands" => {
            "ERR Script attempted to execute a write command while the cluster is down and readonly"
        }
        "CLUSTERDOWN The cluster is down" => {
            "ERR Script attempted to execute a command while the cluster is down"
        }
        _ => "ERR Script attempted to access a non local key in a cluster node",
    })
}

fn unknown() -> CommandError {
    CommandError::text("ERR Unknown Redis command called from script")
}

pub(super) const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
