//! Runs the interpreter until the script has ended, or the turn has to.

use slotway_protocol::engine::Now;

use super::super::{Call, CommandError};
use super::inner;
use crate::engine::session::Kind;
use crate::script::{Input, Interpreter, Outcome, Output, Running, ScriptFlags, Suspended};
use crate::server_state::DiskError;

/// Whether a script with these flags may run here and now.
pub(super) fn check(
    call: &Call<'_>,
    flags: ScriptFlags,
    is_read_only: bool,
) -> Result<(), CommandError> {
    let refuse = |text: &'static str| Err(CommandError::text(text));
    let replication = &call.server.replication;
    let settings = &replication.settings;
    let follows = replication.primary().is_some();
    let is_stale = follows && !replication.is_up() && !settings.serves_stale_data;
    if flags.is_silent {
        if is_stale {
            return refuse(
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            );
        }
        return Ok(());
    }
    if flags.no_cluster && call.server.cluster.is_some() {
        return refuse("ERR Can not run script on cluster, 'no-cluster' flag is set.");
    }
    if is_stale && !flags.allow_stale {
        return refuse(
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        );
    }
    if flags.no_writes || call.sessions[call.client].kind == Kind::Primary {
        return Ok(());
    }
    if !call.server.is_primary() && settings.is_read_only {
        return refuse("READONLY You can't write against a read only replica.");
    }
    if call.server.disk_error != DiskError::None {
        return Err(call.server.disk_refusal());
    }
    if is_read_only {
        return refuse("ERR Can not execute a script with write flag using *_ro command.");
    }
    if inner::lacks_replicas(call) {
        return refuse(inner::NO_REPLICAS);
    }
    Ok(())
}

/// Goes on with a script. `None` when it is left for a later turn.
pub(crate) fn go_on(
    call: &mut Call<'_>,
    mut running: Running,
    mut interpreter: Box<Interpreter>,
    mut input: Input,
) -> Option<Outcome> {
    let database = std::mem::replace(&mut call.session().database, running.database);
    let in_exec = std::mem::replace(&mut call.server.in_exec, true);
    let outcome = loop {
        if running.is_killed && !matches!(input, Input::Job(_)) {
            input = Input::Kill;
        }
        input = match interpreter.resume(input) {
            Output::Idle(outcome) => break Ok(outcome),
            Output::Wish(wish) => {
                running.budget = running.budget.saturating_sub(COMMAND_COST);
                Input::Reply(inner::run(call, &mut running, &wish))
            }
            Output::Slice => {
                running.budget = running.budget.saturating_sub(SLICE_COST);
                Input::Continue
            }
        };
        if running.budget > 0 {
            continue;
        }
        if in_exec {
            // Those behind it in the transaction can't be left for later.
            running.budget = TURN_BUDGET;
            running.is_killed |= has_lasted(call, &mut running);
            continue;
        }
        break Err(input);
    };
    call.server.in_exec = in_exec;
    running.database = std::mem::replace(&mut call.session().database, database);
    call.keyspace.select_database(database);
    match outcome {
        Ok(outcome) => {
            call.server.scripts.put_back(interpreter);
            Some(outcome)
        }
        Err(input) => {
            call.server.scripts.suspended = Some(Box::new(Suspended {
                running,
                interpreter,
                input,
            }));
            None
        }
    }
}

/// Whether a script in a transaction has had all that it gets.
fn has_lasted(call: &Call<'_>, running: &mut Running) -> bool {
    running.turns += 1;
    let most = call.server.config.busy_reply_threshold / TURN_MS;
    running.turns > most.min(TRANSACTION_TURNS_MAX)
}

/// For the clock stands still while a script runs.
pub(crate) fn is_busy(running: &Running, now: Now, threshold_ms: u64) -> bool {
    let elapsed = now.instant.since(running.began.instant).as_millis();
    elapsed >= u128::from(threshold_ms)
}

/// How much a script may do in one turn, in instructions.
pub(crate) const TURN_BUDGET: u64 = 5_000_000;

/// How long that takes, about.
const TURN_MS: u64 = 100;

/// How many turns' work a script in a transaction may do at most.
const TRANSACTION_TURNS_MAX: u64 = 600;

/// What a command counts for.
const COMMAND_COST: u64 = 500;

const SLICE_COST: u64 = crate::script::SLICE_INSTRUCTIONS as u64;
