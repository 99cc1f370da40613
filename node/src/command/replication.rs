//! Replication: what replicas say and ask, whom a node follows, and waiting for replicas.

use slotway_protocol::engine::Address;

use super::{Call, CommandError, Run};
use crate::engine::session::Kind;
use crate::number;
use crate::replication::replica::{Phase, Wish};
use crate::replication::waiting::Waiter;
use crate::replication::{Link, Replication};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("replconf", replconf),
    ("psync", psync),
    ("sync", sync),
    ("replicaof", replicaof),
    ("slaveof", replicaof),
    ("role", role),
    ("wait", wait),
];

fn replconf(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    for index in (1..call.len()).step_by(2) {
        if call.arg_is(index, "ACK") {
            acknowledge(call, index + 1);
            return Ok(());
        }
        if call.arg_is(index, "GETACK") {
            call.server.replication.ack_wished |= call.session().kind == Kind::Primary;
            return Ok(());
        }
        describe(call, index)?;
    }
    call.reply_ok();
    Ok(())
}

/// Notes what a replica says of itself.
fn describe(call: &mut Call<'_>, index: usize) -> Result<(), CommandError> {
    let value = call.arg(index + 1);
    let (connection, peer) = (call.session().connection, call.session().peer);
    let now = call.now.instant;
    let number = number::parse_i64(value);
    let name = call.request.arg(index).to_ascii_lowercase();
    let replication = &mut call.server.replication;
    let replica = replication.introduce(connection, peer.remote.ip().to_string(), now);
    match name.as_slice() {
        b"listening-port" => {
            let port = number.ok_or(CommandError::NotAnInteger)?;
            replica.port = port as u16;
        }
        b"ip-address" if value.len() < HOST_LEN_MAX => {
            replica.announced_host = Some(String::from_utf8_lossy(value).into_owned());
        }
        b"ip-address" => {
            let len = value.len();
            return Err(CommandError::text(format!(
                "ERR REPLCONF ip-address provided by replica instance is too long: {len} bytes"
            )));
        }
        b"capa" if value.eq_ignore_ascii_case(b"eof") => replica.knows_end_mark = true,
        b"capa" if value.eq_ignore_ascii_case(b"psync2") => replica.knows_ids = true,
        b"capa" | b"rdb-only" | b"rdb-filter-only" => {}
        _ => {
            let option = String::from_utf8_lossy(call.request.arg(index)).into_owned();
            return Err(CommandError::text(format!(
                "ERR Unrecognized REPLCONF option: {option}"
            )));
        }
    }
    Ok(())
}

/// A replica says how far it is. It gets no reply.
fn acknowledge(call: &mut Call<'_>, index: usize) {
    let offset = number::parse_i64(call.arg(index)).and_then(|offset| u64::try_from(offset).ok());
    let (connection, now) = (call.session().connection, call.now.instant);
    let replication = &mut call.server.replication;
    let (Some(offset), Some(replica)) = (offset, replication.replica(connection)) else {
        return;
    };
    replica.acked = replica.acked.max(offset);
    replica.acked_at = now;
    let is_loaded = replica.phase == Phase::Loading;
    if is_loaded {
        replica.phase = Phase::Ready;
    }
    replication.is_asked |= is_loaded || !replication.waiting.acknowledged.is_empty();
    replication.count_good(now);
}

fn psync(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 3 && !(call.len() == 4 && call.arg_is(3, "FAILOVER")) {
        return Err(CommandError::Syntax);
    }
    let offset = call.integer_arg(2)?;
    let wish = Wish::Continue {
        id: String::from_utf8_lossy(call.arg(1)).into_owned(),
        offset: u64::try_from(offset).ok(),
    };
    ask(call, wish)
}

fn sync(call: &mut Call<'_>) -> Result<(), CommandError> {
    ask(call, Wish::Everything)
}

/// Notes what a replica wants; it is answered at the end of the turn.
fn ask(call: &mut Call<'_>, wish: Wish) -> Result<(), CommandError> {
    let replication = &call.server.replication;
    if replication.primary().is_some() && !replication.is_up() {
        return Err(CommandError::text(
            "NOMASTERLINK Can't SYNC while not connected with my master",
        ));
    }
    if call.session().kind != Kind::Client {
        // It has asked already.
        return Ok(());
    }
    let now = call.now.instant;
    let session = call.session();
    session.kind = Kind::Replica;
    session.waiting = true;
    let (connection, peer) = (session.connection, session.peer);
    let replication = &mut call.server.replication;
    let replica = replication.introduce(connection, peer.remote.ip().to_string(), now);
    replica.phase = Phase::Asking(wish);
    replica.acked_at = now;
    replication.is_asked = true;
    Ok(())
}

fn replicaof(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.server.cluster.is_some() {
        return Err(CommandError::text(
            "ERR REPLICAOF not allowed in cluster mode.",
        ));
    }
    if call.arg_is(1, "no") && call.arg_is(2, "one") {
        call.server.replication.follow(None, call.now);
        call.server.config.replicaof = None;
        call.reply_ok();
        return Ok(());
    }
    if call.session().kind == Kind::Replica {
        return Err(CommandError::text(
            "ERR Command is not valid when client is a replica.",
        ));
    }
    let port = number::parse_i64(call.arg(2)).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| CommandError::text("ERR Invalid master port"))?;
    let primary = Address::new(String::from_utf8_lossy(call.arg(1)), port);
    if call.server.replication.primary() == Some(&primary) {
        call.out
            .extend_from_slice(b"+OK Already connected to specified master\r\n");
        return Ok(());
    }
    call.server.config.replicaof = Some(primary.clone());
    call.server.replication.follow(Some(primary), call.now);
    call.reply_ok();
    Ok(())
}

fn role(call: &mut Call<'_>) -> Result<(), CommandError> {
    let Some(primary) = call.server.replication.primary().cloned() else {
        return role_of_primary(call);
    };
    let replication = &call.server.replication;
    let (state, offset) = match replication.link {
        Link::None { .. } => ("connect", -1),
        Link::Connecting(_) => ("connecting", -1),
        Link::Talking(..) => ("handshake", -1),
        Link::Receiving(_) => ("sync", -1),
        Link::Up(_) => ("connected", replication.offset() as i64),
    };
    call.reply_array(5);
    call.reply_bulk(b"slave");
    call.reply_bulk(primary.host.as_bytes());
    call.reply_integer(i64::from(primary.port));
    call.reply_bulk(state.as_bytes());
    call.reply_integer(offset);
    Ok(())
}

fn role_of_primary(call: &mut Call<'_>) -> Result<(), CommandError> {
    let replicas: Vec<_> = call.server.replication.replicas().collect();
    let online = replicas.iter().filter(|replica| replica.online);
    let offset = call.server.replication.offset();
    call.reply_array(3);
    call.reply_bulk(b"master");
    call.reply_integer(offset as i64);
    call.reply_array(online.clone().count());
    for replica in online {
        call.reply_array(3);
        call.reply_bulk(replica.address.host.as_bytes());
        call.reply_bulk(replica.address.port.to_string().as_bytes());
        call.reply_bulk(replica.acked.to_string().as_bytes());
    }
    Ok(())
}

/// `WAIT numreplicas timeout`: the client is answered once so many replicas have what it wrote.
fn wait(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !call.server.is_primary() {
        return Err(CommandError::text(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis \
             4.0 if a replica is configured to be writable (which is not the default) writes to \
             replicas are just local and are not propagated.",
        ));
    }
    let count = call.integer_arg(1)?;
    let timeout = number::parse_i64(call.arg(2))
        .ok_or_else(|| CommandError::text("ERR timeout is not an integer or out of range"))?;
    let timeout =
        u64::try_from(timeout).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    let in_transaction = call.server.in_exec;
    let session = call.session();
    let (connection, offset) = (session.connection, session.wrote_until);
    let have = call.server.replication.acknowledged(offset);
    if have >= count || in_transaction {
        call.reply_integer(have);
        return Ok(());
    }
    call.session().waiting = true;
    let timeout = core::time::Duration::from_millis(timeout);
    let until = (!timeout.is_zero()).then(|| call.now.instant + timeout);
    begin_waiting(
        &mut call.server.replication,
        Waiter {
            connection,
            offset,
            count,
            until,
        },
    );
    Ok(())
}

fn begin_waiting(replication: &mut Replication, waiter: Waiter) {
    replication.waiting.acknowledged.push(waiter);
    replication.waiting.asks = true;
    replication.is_asked = true;
}

/// What redis-server has room for in an address.
const HOST_LEN_MAX: usize = 255;
