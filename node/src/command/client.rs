//! CLIENT: what a connection is called, who else is connected, and who is to go.

use core::fmt::Write;
use core::time::Duration;

use slotway_protocol::command::Command;
use slotway_protocol::engine::{CloseWhen, ConnectionId};
use slotway_protocol::resp::{Protocol, encode};

use super::pubsub::counts;
use super::{Call, CommandError, Run};
use crate::blocking::Ending;
use crate::engine::session::{Kind, Replies, Session};
use crate::number;
use crate::replication::pause::Paused;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("client|id", id),
    ("client|getname", getname),
    ("client|setname", setname),
    ("client|info", info),
    ("client|list", list),
    ("client|kill", kill),
    ("client|reply", reply),
    ("client|no-evict", no_evict),
    ("client|unblock", unblock),
    ("client|pause", pause),
    ("client|unpause", unpause),
    ("client|caching", caching),
    ("client|getredir", getredir),
    ("client|trackinginfo", trackinginfo),
];

fn id(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = call.session().id;
    call.reply_integer(id as i64);
    Ok(())
}

fn getname(call: &mut Call<'_>) -> Result<(), CommandError> {
    let name = &call.sessions[call.client].name;
    if name.is_empty() {
        encode::null(call.out, call.protocol);
    } else {
        encode::bulk(call.out, name);
    }
    Ok(())
}

fn setname(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.session().name = validated_name(call.arg(2))?;
    call.reply_ok();
    Ok(())
}

/// A client's name, of visible ASCII without spaces.
pub(super) fn validated_name(name: &[u8]) -> Result<Box<[u8]>, CommandError> {
    if name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Ok(name.into());
    }
    Err(CommandError::text(
        "ERR Client names cannot contain spaces, newlines or special characters.",
    ))
}

fn info(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut text = String::new();
    describe(call, call.client, &mut text);
    encode::verbatim(call.out, call.protocol, text.as_bytes());
    Ok(())
}

fn list(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut wanted_ids: Option<Vec<u64>> = None;
    let mut of_type = None;
    if call.len() == 4 && call.arg_is(2, "TYPE") {
        of_type = Some(Class::parse(call.arg(3))?);
    } else if call.len() > 3 && call.arg_is(2, "ID") {
        let ids = call.request.args(3).map(|id| {
            number::parse_i64(id)
                .and_then(|id| u64::try_from(id).ok())
                .filter(|id| *id > 0)
                .ok_or_else(|| CommandError::text("ERR Invalid client ID"))
        });
        wanted_ids = Some(ids.collect::<Result<_, _>>()?);
    } else if call.len() != 2 {
        return Err(CommandError::Syntax);
    }
    let mut chosen: Vec<(u64, usize)> = call
        .sessions
        .iter()
        .filter(|session| of_type.is_none_or(|kind| kind == Class::of(session)))
        .filter(|session| {
            wanted_ids
                .as_ref()
                .is_none_or(|ids| ids.contains(&session.id))
        })
        .map(|session| (session.id, session.connection.index as usize))
        .collect();
    chosen.sort_unstable();
    let mut text = String::new();
    for (_, client) in chosen {
        describe(call, client, &mut text);
    }
    encode::verbatim(call.out, call.protocol, text.as_bytes());
    Ok(())
}

/// The classes of clients that CLIENT LIST and KILL tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Normal,
    Replica,
    Primary,
    Subscriber,
}

impl Class {
    fn of(session: &Session) -> Self {
        match session.kind {
            Kind::Client if session.subscriptions.is_some() => Self::Subscriber,
            Kind::Client => Self::Normal,
            Kind::Replica => Self::Replica,
            Kind::Primary => Self::Primary,
        }
    }

    fn parse(name: &[u8]) -> Result<Self, CommandError> {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        match () {
            () if is("normal") => Ok(Self::Normal),
            () if is("slave") || is("replica") => Ok(Self::Replica),
            () if is("master") => Ok(Self::Primary),
            () if is("pubsub") => Ok(Self::Subscriber),
            () => {
                let name = String::from_utf8_lossy(name);
                Err(CommandError::text(format!(
                    "ERR Unknown client type '{name}'"
                )))
            }
        }
    }
}

/// Appends one client's line.
fn describe(call: &Call<'_>, client: usize, text: &mut String) {
    let session = &call.sessions[client];
    let now = call.now.instant;
    let name = String::from_utf8_lossy(&session.name);
    let command = session
        .last_command
        .map_or("NULL", |id| Command::by_id(id).name);
    let resp = match session.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let queue = session.transaction.queue.as_ref();
    let multi = queue.map_or(-1, |queue| queue.len() as i64);
    let [sub, psub, ssub] = counts(session.subscriptions.as_deref());
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd={} name={name} age={} idle={} flags={} db={} sub={sub} \
         psub={psub} ssub={ssub} multi={multi} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
         rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={command} \
         user=default redir=-1 resp={resp}",
        session.id,
        session.peer.remote,
        session.peer.local,
        session.connection.index,
        now.since(session.opened_at).as_secs(),
        now.since(session.active_at).as_secs(),
        flags(session),
        session.database,
    );
}

fn flags(session: &Session) -> String {
    let mut flags = String::new();
    for (set, flag) in [
        (session.blocked.is_some(), 'b'),
        (session.subscriptions.is_some(), 'P'),
        (session.kind == Kind::Replica, 'S'),
        (session.kind == Kind::Primary, 'M'),
        (session.transaction.is_open(), 'x'),
        (session.transaction.disturbed, 'd'),
        (session.closing == Some(CloseWhen::Flushed), 'c'),
        (session.closing == Some(CloseWhen::Now), 'A'),
        (session.readonly, 'r'),
        (session.no_evict, 'e'),
    ] {
        if set {
            flags.push(flag);
        }
    }
    if flags.is_empty() {
        flags.push('N');
    }
    flags
}

/// Whom CLIENT KILL means; all of it has to apply.
#[derive(Default)]
struct Victims<'a> {
    id: Option<u64>,
    remote: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    kind: Option<Class>,
    user: Option<&'a [u8]>,
    spare_me: bool,
}

impl<'a> Victims<'a> {
    fn parse(call: &Call<'a>) -> Result<Self, CommandError> {
        let mut victims = Self {
            spare_me: true,
            ..Self::default()
        };
        for index in (2..call.len()).step_by(2) {
            if index + 1 == call.len() {
                return Err(CommandError::Syntax);
            }
            let value = call.arg(index + 1);
            if call.arg_is(index, "ID") {
                let id = number::parse_i64(value).and_then(|id| u64::try_from(id).ok());
                let id = id
                    .filter(|id| *id > 0)
                    .ok_or_else(|| CommandError::text("ERR client-id should be greater than 0"))?;
                victims.id = Some(id);
            } else if call.arg_is(index, "TYPE") {
                victims.kind = Some(Class::parse(value)?);
            } else if call.arg_is(index, "ADDR") {
                victims.remote = Some(value);
            } else if call.arg_is(index, "LADDR") {
                victims.local = Some(value);
            } else if call.arg_is(index, "USER") {
                if value != b"default" {
                    let user = String::from_utf8_lossy(value);
                    return Err(CommandError::text(format!("ERR No such user '{user}'")));
                }
                victims.user = Some(value);
            } else if call.arg_is(index, "SKIPME") {
                victims.spare_me = match value.to_ascii_lowercase().as_slice() {
                    b"yes" => true,
                    b"no" => false,
                    _ => return Err(CommandError::Syntax),
                };
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(victims)
    }

    fn include(&self, session: &Session) -> bool {
        let at = |wanted: Option<&[u8]>, address: core::net::SocketAddr| {
            wanted.is_none_or(|wanted| address.to_string().as_bytes() == wanted)
        };
        self.id.is_none_or(|id| session.id == id)
            && at(self.remote, session.peer.remote)
            && at(self.local, session.peer.local)
            && self.kind.is_none_or(|kind| kind == Class::of(session))
            && (self.user.is_none() || session.authenticated)
    }
}

fn kill(call: &mut Call<'_>) -> Result<(), CommandError> {
    let by_address = call.len() == 3;
    let victims = if by_address {
        Victims {
            remote: Some(call.arg(2)),
            ..Victims::default()
        }
    } else {
        Victims::parse(call)?
    };
    let me = call.sessions[call.client].connection;
    let chosen: Vec<ConnectionId> = call
        .sessions
        .iter()
        .filter(|session| victims.include(session))
        .map(|session| session.connection)
        .filter(|connection| !(victims.spare_me && *connection == me))
        .collect();
    for connection in &chosen {
        if *connection == me {
            call.session().closing = Some(CloseWhen::Flushed);
        } else {
            call.sessions.kill(*connection);
        }
    }
    match (by_address, chosen.len()) {
        (true, 0) => return Err(CommandError::text("ERR No such client")),
        (true, _) => call.reply_ok(),
        (false, count) => call.reply_len(count),
    }
    Ok(())
}

fn reply(call: &mut Call<'_>) -> Result<(), CommandError> {
    let replies = if call.arg_is(2, "ON") {
        Replies::On
    } else if call.arg_is(2, "OFF") {
        Replies::Off
    } else if call.arg_is(2, "SKIP") {
        // Inside of OFF there is nothing to skip.
        match call.session().replies {
            Replies::Off => Replies::Off,
            _ => Replies::SkipNext,
        }
    } else {
        return Err(CommandError::Syntax);
    };
    call.session().replies = replies;
    call.reply_ok();
    Ok(())
}

fn no_evict(call: &mut Call<'_>) -> Result<(), CommandError> {
    let on = call.arg_is(2, "ON");
    if !on && !call.arg_is(2, "OFF") {
        return Err(CommandError::Syntax);
    }
    call.session().no_evict = on;
    call.reply_ok();
    Ok(())
}

/// `CLIENT UNBLOCK client-id [TIMEOUT | ERROR]`
fn unblock(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 4 {
        return Err(CommandError::text(
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
        ));
    }
    let with_error = call.len() == 4 && call.arg_is(3, "ERROR");
    if call.len() == 4 && !call.arg_is(3, "TIMEOUT") && !with_error {
        return Err(CommandError::text(
            "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        ));
    }
    let id = call.integer_arg(2)?;
    let session = u64::try_from(id)
        .ok()
        .and_then(|id| call.sessions.by_id(id));
    let ticket = session.and_then(|session| session.blocked);
    if let Some(ticket) = ticket {
        let ending = if with_error {
            Ending::Reply(b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n".to_vec())
        } else {
            Ending::Late
        };
        let blocking = &mut call.server.blocking;
        blocking.end(call.keyspace, call.sessions, ticket, ending);
    }
    call.reply_integer(i64::from(ticket.is_some()));
    Ok(())
}

/// `CLIENT PAUSE timeout [WRITE | ALL]`
fn pause(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 4 {
        return Err(super::unknown_or_wrong_arguments(call, "CLIENT"));
    }
    let paused = match call.len() {
        4 if call.arg_is(3, "WRITE") => Paused::Writes,
        4 if !call.arg_is(3, "ALL") => {
            return Err(CommandError::text(
                "ERR CLIENT PAUSE mode must be WRITE or ALL",
            ));
        }
        _ => Paused::All,
    };
    let millis = number::parse_i64(call.arg(2))
        .ok_or_else(|| CommandError::text("ERR timeout is not an integer or out of range"))?;
    let millis =
        u64::try_from(millis).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let now = call.now.instant;
    let until = now + Duration::from_millis(millis.min(PAUSE_MAX_MILLIS));
    let replication = &mut call.server.replication;
    replication.pause_clients(paused, until, now);
    call.reply_ok();
    Ok(())
}

fn unpause(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.server.replication.unpause_clients();
    call.reply_ok();
    Ok(())
}

/// `CLIENT CACHING <YES | NO>` needs tracking, which nobody can switch on here.
fn caching(_call: &mut Call<'_>) -> Result<(), CommandError> {
    Err(CommandError::text(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
         OPTOUT mode enabled",
    ))
}

fn getredir(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_integer(NO_REDIRECT);
    Ok(())
}

/// `CLIENT TRACKINGINFO` of a client without tracking.
fn trackinginfo(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_map(3);
    call.reply_bulk(b"flags");
    encode::set(call.out, call.protocol, 1);
    call.reply_bulk(b"off");
    call.reply_bulk(b"redirect");
    call.reply_integer(NO_REDIRECT);
    call.reply_bulk(b"prefixes");
    call.reply_array(0);
    Ok(())
}

/// A century, so that no time overflows.
const PAUSE_MAX_MILLIS: u64 = 100 * 365 * 86_400 * 1_000;

/// Where invalidation messages go when a client has no tracking.
const NO_REDIRECT: i64 = -1;
