//! MIGRATE: moves keys to another node. The client waits; the node goes on with it in
//! `engine/migrating.rs`.

use std::time::Duration;

use slotway_protocol::engine::Address;
use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run};
use crate::engine::session::Replies;
use crate::migration::{Migration, Progress};

pub(super) const COMMANDS: &[(&str, Run)] = &[("migrate", migrate)];

fn migrate(call: &mut Call<'_>) -> Result<(), CommandError> {
    let options = Options::parse(call)?;
    let timeout = call.integer_arg(5)?;
    let target_database = call.integer_arg(4)?;
    let timeout_ms = u64::try_from(timeout).ok().filter(|timeout| *timeout > 0);
    let keys: Vec<Box<[u8]>> = call
        .request
        .args(options.first_key)
        .take(options.keys_len)
        .filter(|key| call.keyspace.get(key).is_some())
        .map(Box::from)
        .collect();
    if keys.is_empty() {
        encode::simple(call.out, b"NOKEY");
        return Ok(());
    }
    if call.server.in_exec {
        return Err(CommandError::text(
            "ERR MIGRATE inside of a transaction is not supported by this node",
        ));
    }
    let address = address(call)?;
    let session = call.session();
    session.waiting = true;
    let (client, is_answered) = (session.connection, session.replies == Replies::On);
    let migration = Migration {
        client,
        is_answered,
        address,
        database: call.keyspace.database(),
        target_database,
        timeout: Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS)),
        copies: options.copies,
        replaces: options.replaces,
        password: options.password,
        keys,
        progress: Progress::default(),
        progressed_at: call.now.instant,
        is_retry: false,
    };
    call.server.migrations.begin(migration);
    Ok(())
}

/// Where the keys are to go. redis-server finds out that nobody can listen on a port when it
/// writes, except when its number is negative.
fn address(call: &Call<'_>) -> Result<Address, CommandError> {
    let unreachable =
        |while_doing: &str| CommandError::text(format!("IOERR error or timeout {while_doing}"));
    let host =
        core::str::from_utf8(call.arg(1)).map_err(|_| unreachable("connecting to the client"))?;
    let port = core::str::from_utf8(call.arg(2)).unwrap_or_default();
    match port.parse() {
        Ok(port) => Ok(Address::new(host, port)),
        Err(_) if port.starts_with('-') => Err(unreachable("connecting to the client")),
        Err(_) => Err(unreachable("writing to target instance")),
    }
}

struct Options {
    copies: bool,
    replaces: bool,
    password: Option<Vec<Vec<u8>>>,
    first_key: usize,
    keys_len: usize,
}

impl Options {
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut options = Self {
            copies: false,
            replaces: false,
            password: None,
            first_key: 3,
            keys_len: 1,
        };
        let mut index = 6;
        while index < call.len() {
            let more = call.len() - index - 1;
            if call.arg_is(index, "COPY") {
                options.copies = true;
            } else if call.arg_is(index, "REPLACE") {
                options.replaces = true;
            } else if call.arg_is(index, "AUTH") && more >= 1 {
                options.password = Some(vec![call.arg(index + 1).to_vec()]);
                index += 1;
            } else if call.arg_is(index, "AUTH2") && more >= 2 {
                let (user, password) = (call.arg(index + 1), call.arg(index + 2));
                options.password = Some(vec![user.to_vec(), password.to_vec()]);
                index += 2;
            } else if call.arg_is(index, "KEYS") {
                if !call.arg(3).is_empty() {
                    return Err(CommandError::text(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the \
                         empty string",
                    ));
                }
                options.first_key = index + 1;
                options.keys_len = more;
                break;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }
}

/// As in redis-server, where the client gives none.
const TIMEOUT_MS: u64 = 1_000;
