//! Scripts: EVAL and its kin, and SCRIPT.

mod inner;
mod run;

use slotway_protocol::cluster::Slot;

use super::{Call, CommandError, Run};
use crate::number;
use crate::script::{Digest, Input, Job, Outcome, Running, ScriptFlags, Scripts};
pub(crate) use run::{TURN_BUDGET, go_on, is_busy};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("eval", |call| eval(call, false)),
    ("eval_ro", |call| eval(call, true)),
    ("evalsha", |call| evalsha(call, false)),
    ("evalsha_ro", |call| evalsha(call, true)),
    ("script|load", load),
    ("script|exists", exists),
    ("script|flush", flush),
    ("script|kill", |call| kill_script(call, false)),
    ("script|debug", debug),
];

fn eval(call: &mut Call<'_>, is_read_only: bool) -> Result<(), CommandError> {
    let body = call.arg(1);
    let keys = count_keys(call)?;
    let digest = Scripts::digest(body);
    let loaded = call.server.scripts.load(digest, body);
    loaded.map_err(|text| refusal(&text))?;
    run_script(call, digest, keys, is_read_only)
}

fn evalsha(call: &mut Call<'_>, is_read_only: bool) -> Result<(), CommandError> {
    let name = call.arg(1).to_ascii_lowercase();
    let digest = Digest::try_from(&name[..]).map_err(|_| no_script())?;
    let keys = count_keys(call)?;
    run_script(call, digest, keys, is_read_only)
}

/// How many of the arguments are keys.
fn count_keys(call: &Call<'_>) -> Result<usize, CommandError> {
    let given = number::parse_i64(call.arg(2)).ok_or(CommandError::NotAnInteger)?;
    if given > (call.len() - 3) as i64 {
        return Err(CommandError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    usize::try_from(given).map_err(|_| CommandError::text("ERR Number of keys can't be negative"))
}

fn run_script(
    call: &mut Call<'_>,
    digest: Digest,
    keys: usize,
    is_read_only: bool,
) -> Result<(), CommandError> {
    let script = call.server.scripts.find(&digest).ok_or_else(no_script)?;
    let flags = script.flags;
    let owned = |range: core::ops::Range<usize>| {
        let args = range.map(|index| call.arg(index).to_vec());
        args.collect::<Vec<_>>()
    };
    let job = Job::Run {
        digest,
        keys: owned(3..3 + keys),
        args: owned(3 + keys..call.len()),
        protocol: call.protocol,
    };
    let name = String::from_utf8_lossy(&digest).into_owned();
    start(call, name, flags, is_read_only, (job, keys))
}

/// Runs a job of the interpreter in the client's name.
pub(super) fn start(
    call: &mut Call<'_>,
    name: String,
    flags: ScriptFlags,
    is_read_only: bool,
    (job, keys): (Job, usize),
) -> Result<(), CommandError> {
    run::check(call, flags, is_read_only)?;
    let has_slot = keys > 0 && call.server.cluster.is_some();
    let is_function = matches!(job, Job::CallFunction { .. });
    let running = Running {
        name,
        flags,
        is_read_only: is_read_only || (!flags.is_silent && flags.no_writes),
        slot: has_slot.then(|| Slot::of(call.arg(3))),
        is_function,
        command: Vec::new(),
        has_written: false,
        is_killed: false,
        client: call.session().connection,
        asking: call.asking,
        began: call.now,
        database: call.session().database,
        budget: TURN_BUDGET,
        turns: 0,
    };
    let interpreter = call.server.scripts.take_interpreter();
    let interpreter = interpreter.map_err(|text| refusal(&text))?;
    let input = Input::Job(job);
    match go_on(call, running, interpreter, input) {
        Some(Outcome::Reply(reply)) => call.out.extend_from_slice(&reply),
        Some(Outcome::Failed(text)) => return Err(refusal(&text)),
        Some(Outcome::Ready | Outcome::Library(_)) => {}
        // It goes on later, and is answered then.
        None => {
            call.session().waiting = true;
            let command = call.request.args(0).map(<[u8]>::to_vec).collect();
            if let Some(suspended) = &mut call.server.scripts.suspended {
                suspended.running.command = command;
            }
        }
    }
    Ok(())
}

fn load(call: &mut Call<'_>) -> Result<(), CommandError> {
    let body = call.arg(2);
    let digest = Scripts::digest(body);
    let loaded = call.server.scripts.load(digest, body);
    loaded.map_err(|text| refusal(&text))?;
    call.reply_bulk(&digest);
    Ok(())
}

fn exists(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_array(call.len() - 2);
    for index in 2..call.len() {
        let name = call.arg(index).to_ascii_lowercase();
        let digest = Digest::try_from(&name[..]).ok();
        let known = digest.and_then(|digest| call.server.scripts.find(&digest));
        let is_known = i64::from(known.is_some());
        call.reply_integer(is_known);
    }
    Ok(())
}

fn flush(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 3 || (call.len() == 3 && !call.arg_is(2, "SYNC") && !call.arg_is(2, "ASYNC")) {
        return Err(CommandError::text(
            "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        ));
    }
    call.server.scripts.flush();
    call.reply_ok();
    Ok(())
}

pub(super) fn kill_script(call: &mut Call<'_>, is_function: bool) -> Result<(), CommandError> {
    let Some(suspended) = &mut call.server.scripts.suspended else {
        return Err(CommandError::text(
            "NOTBUSY No scripts in execution right now.",
        ));
    };
    if suspended.running.is_function != is_function {
        let is_function = suspended.running.is_function;
        return Err(CommandError::text(busy(is_function)));
    }
    if suspended.running.has_written {
        return Err(CommandError::text(
            "UNKILLABLE Sorry the script already executed write commands against the dataset. You \
             can either wait the script termination or kill the server in a hard way using the \
             SHUTDOWN NOSAVE command.",
        ));
    }
    suspended.running.is_killed = true;
    call.reply_ok();
    Ok(())
}

/// There is no debugger. Whoever asks for none gets what they want.
fn debug(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.arg_is(2, "NO") {
        call.reply_ok();
        return Ok(());
    }
    if call.arg_is(2, "YES") || call.arg_is(2, "SYNC") {
        return Err(CommandError::text(
            "ERR SCRIPT DEBUG is not supported by this node",
        ));
    }
    Err(CommandError::text("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}

fn no_script() -> CommandError {
    CommandError::text("NOSCRIPT No matching script. Please use EVAL.")
}

fn refusal(text: &[u8]) -> CommandError {
    CommandError::text(String::from_utf8_lossy(text).into_owned())
}

/// The reply to the client whose script has gone on later.
pub(crate) fn late_reply(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Failed(text) => {
            let mut reply = Vec::new();
            refusal(&text).write(&mut reply);
            reply
        }
        Outcome::Ready | Outcome::Library(_) => Vec::new(),
    }
}

pub(crate) const BUSY: &str = "BUSY Redis is busy running a script. You can only call SCRIPT KILL \
    or SHUTDOWN NOSAVE.";

const BUSY_WITH_FUNCTION: &str = "BUSY Redis is busy running a script. You can only call FUNCTION \
    KILL or SHUTDOWN NOSAVE.";

/// What others are told while a script, or a function, takes too long.
pub(crate) fn busy(is_function: bool) -> &'static str {
    if is_function {
        BUSY_WITH_FUNCTION
    } else {
        BUSY
    }
}
