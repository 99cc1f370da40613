//! What a client says about its connection, except CLIENT.

use slotway_protocol::engine::CloseWhen;
use slotway_protocol::resp::{Protocol, encode};

use super::client::validated_name;
use super::pubsub::leave_all;
use super::transaction::{discard_transaction, unwatch_all};
use super::{Call, CommandError, Run};
use crate::number;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("ping", ping),
    ("echo", echo),
    ("auth", auth),
    ("hello", hello),
    ("select", select),
    ("quit", quit),
    ("reset", reset),
    ("asking", asking),
    ("readonly", readonly),
    ("readwrite", readwrite),
];

fn ping(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 2 {
        return Err(CommandError::WrongArity);
    }
    let is_subscribed = call.session().subscriptions.is_some();
    if is_subscribed && call.protocol == Protocol::Resp2 {
        call.reply_array(2);
        call.reply_bulk(b"pong");
        let text = if call.len() == 2 { call.arg(1) } else { b"" };
        call.reply_bulk(text);
        return Ok(());
    }
    match call.len() {
        1 => call.out.extend_from_slice(b"+PONG\r\n"),
        _ => call.reply_bulk(call.arg(1)),
    }
    Ok(())
}

fn echo(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_bulk(call.arg(1));
    Ok(())
}

fn auth(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (user, password) = match call.len() {
        2 if call.server.config.requirepass.is_empty() => {
            return Err(CommandError::text(
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
            ));
        }
        2 => (&b"default"[..], call.arg(1)),
        3 => (call.arg(1), call.arg(2)),
        _ => return Err(CommandError::Syntax),
    };
    authenticate(call, user, password)?;
    call.reply_ok();
    Ok(())
}

fn authenticate(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Result<(), CommandError> {
    let wanted = call.server.config.requirepass.as_bytes();
    let valid = user == b"default" && (wanted.is_empty() || same_secret(wanted, password));
    if !valid {
        return Err(CommandError::text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    call.session().authenticated = true;
    Ok(())
}

/// Takes as long wherever the first difference is, so that time tells nothing of the password.
fn same_secret(wanted: &[u8], given: &[u8]) -> bool {
    let mut difference = usize::from(wanted.len() != given.len());
    for (index, byte) in given.iter().enumerate() {
        difference |= usize::from(byte ^ wanted[index % wanted.len()]);
    }
    difference == 0
}

fn hello(call: &mut Call<'_>) -> Result<(), CommandError> {
    let mut protocol = None;
    if call.len() > 1 {
        let version = number::parse_i64(call.arg(1)).ok_or_else(|| {
            CommandError::text("ERR Protocol version is not an integer or out of range")
        })?;
        protocol = Some(match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(CommandError::text("NOPROTO unsupported protocol version")),
        });
    }
    let mut index = 2;
    while index < call.len() {
        let more = call.len() - index - 1;
        if call.arg_is(index, "AUTH") && more >= 2 {
            authenticate(call, call.arg(index + 1), call.arg(index + 2))?;
            index += 3;
        } else if call.arg_is(index, "SETNAME") && more >= 1 {
            // A name stays although a later option is refused.
            call.session().name = validated_name(call.arg(index + 1))?;
            index += 2;
        } else {
            return Err(hello_option_refused(call.arg(index)));
        }
    }
    if !call.session().authenticated {
        return Err(CommandError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(protocol) = protocol {
        call.protocol = protocol;
        call.session().protocol = protocol;
    }
    reply_hello(call);
    Ok(())
}

/// The option goes back as it came, also when it is no text. To redis-server it is a C string.
fn hello_option_refused(option: &[u8]) -> CommandError {
    let shown = option.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = [&b"ERR Syntax error in HELLO option '"[..], shown, b"'"].concat();
    CommandError::Bytes(text.into())
}

fn reply_hello(call: &mut Call<'_>) {
    let id = call.session().id;
    let version = match call.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let mode = if call.server.cluster.is_some() {
        "cluster"
    } else {
        "standalone"
    };
    let role = if call.server.is_primary() {
        "master"
    } else {
        "replica"
    };
    call.reply_map(7);
    let texts = [("server", "redis"), ("version", super::REDIS_VERSION)];
    for text in texts.iter().flat_map(|(name, value)| [name, value]) {
        call.reply_bulk(text.as_bytes());
    }
    call.reply_bulk(b"proto");
    call.reply_integer(version);
    call.reply_bulk(b"id");
    call.reply_integer(id as i64);
    for text in ["mode", mode, "role", role, "modules"] {
        call.reply_bulk(text.as_bytes());
    }
    call.reply_array(0);
}

fn select(call: &mut Call<'_>) -> Result<(), CommandError> {
    let number = small_integer_arg(call, 1)?;
    if number != 0 && call.server.cluster.is_some() && call.server.databases() == 1 {
        return Err(CommandError::text(
            "ERR SELECT is not allowed in cluster mode",
        ));
    }
    let database = database(call, number)?;
    call.session().database = database;
    // For what comes next in a transaction.
    call.keyspace.select_database(database);
    call.reply_ok();
    Ok(())
}

/// An integer as wide as a database's number.
pub(super) fn small_integer_arg(call: &Call<'_>, index: usize) -> Result<i32, CommandError> {
    i32::try_from(call.integer_arg(index)?).map_err(|_| {
        CommandError::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        )
    })
}

/// The database of that number, when there is one.
pub(super) fn database(call: &Call<'_>, number: i32) -> Result<u32, CommandError> {
    u32::try_from(number)
        .ok()
        .filter(|number| *number < call.server.databases())
        .ok_or_else(|| CommandError::text("ERR DB index is out of range"))
}

fn quit(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_ok();
    call.session().closing = Some(CloseWhen::Flushed);
    Ok(())
}

fn reset(call: &mut Call<'_>) -> Result<(), CommandError> {
    discard_transaction(call);
    unwatch_all(call);
    leave_all(call);
    let open = call.server.config.requirepass.is_empty();
    call.session().reset(open);
    encode::simple(call.out, b"RESET");
    Ok(())
}

fn asking(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster_only(call)?;
    call.session().asking = true;
    call.reply_ok();
    Ok(())
}

fn readonly(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_readonly(call, true)
}

fn readwrite(call: &mut Call<'_>) -> Result<(), CommandError> {
    set_readonly(call, false)
}

fn set_readonly(call: &mut Call<'_>, readonly: bool) -> Result<(), CommandError> {
    cluster_only(call)?;
    call.session().readonly = readonly;
    call.reply_ok();
    Ok(())
}

fn cluster_only(call: &Call<'_>) -> Result<(), CommandError> {
    if call.server.cluster.is_some() {
        return Ok(());
    }
    Err(CommandError::text(super::CLUSTER_DISABLED))
}
