//! DEBUG, as far as tests and tools of Redis Cluster use it; only where the settings allow it.

mod protocol;

use std::time::Duration;

use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run};
use crate::REDIS_VERSION;
use crate::config::Permission;
use crate::keyspace::{Keyspace, Reader, SnapshotStep};
use crate::persistence::rdb::{About, LoadedKey, Loader, Saver};
use crate::server_state::ServerState;
use crate::value::Value;
use crate::value::digest::Digest;
use crate::value::text::Text;

pub(super) const COMMANDS: &[(&str, Run)] = &[("debug", debug)];

fn debug(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !is_allowed(call) {
        return Err(CommandError::text(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
             \"local\", you can run it from a local connection, otherwise you need to set this \
             option in the configuration file, and then restart the server.",
        ));
    }
    let subcommand = call.arg(1).to_ascii_lowercase();
    match (&subcommand[..], call.len()) {
        (b"object", 3..) => object(call),
        (b"sleep", 3) => sleep(call),
        (b"digest", 2) => digest(call),
        (b"digest-value", _) => digest_value(call),
        (b"populate", 3..=5) => populate(call),
        (b"reload", _) => reload(call),
        (b"set-active-expire", 3) => {
            call.server.active_expire = number_of(call.arg(2)) != 0;
            call.reply_ok();
            Ok(())
        }
        // What these change in redis-server does not exist here.
        (
            b"set-disable-deny-scripts" | b"quicklist-packed-threshold" | b"pause-cron" | b"log",
            3,
        )
        | (b"replybuffer", 4) => {
            call.reply_ok();
            Ok(())
        }
        (b"protocol", 3) => protocol::protocol(call),
        (b"drop-cluster-packet-filter", 3) => super::cluster::drop_messages(call),
        (b"clusterlink", 5) if call.arg_is(2, "KILL") => super::cluster::kill_links(call),
        (b"error", 3) => {
            encode::error(call.out, call.request.arg(2));
            Ok(())
        }
        (b"help", 2) => {
            help(call);
            Ok(())
        }
        _ => Err(super::unknown_or_wrong_arguments(call, "DEBUG")),
    }
}

fn is_allowed(call: &Call<'_>) -> bool {
    match call.server.config.enable_debug_command {
        Permission::No => false,
        Permission::Yes => true,
        Permission::Local => {
            let peer = call.sessions[call.client].peer;
            peer.remote.ip().to_canonical().is_loopback()
        }
    }
}

/// The number at the front of a text; 0 without one.
fn number_of(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    })
}

fn object(call: &mut Call<'_>) -> Result<(), CommandError> {
    let key = call.arg(2);
    let value = call.keyspace.peek(key).ok_or(CommandError::NoSuchKey)?;
    let mut bytes = Vec::new();
    call.server.encoder.value(&mut bytes, value);
    let len = bytes.len();
    let encoding = value.encoding();
    let mut text = format!(
        "Value at:0x{:x} refcount:1 encoding:{encoding} serializedlength:{len} lru:0 \
         lru_seconds_idle:0",
        core::ptr::from_ref(value).addr(),
    );
    if let Value::List(list) = value {
        text += &format!(
            " ql_nodes:1 ql_avg_node:{:.2} ql_listpack_max:-2 ql_compressed:0 \
             ql_uncompressed_size:{len}",
            list.len() as f64
        );
    }
    encode::simple(call.out, text.as_bytes());
    Ok(())
}

/// Whoever drives the node stops for so long, and with it everything.
fn sleep(call: &mut Call<'_>) -> Result<(), CommandError> {
    let text = core::str::from_utf8(call.arg(2)).unwrap_or_default();
    let seconds: f64 = text.parse().unwrap_or(0.0);
    let seconds = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    call.server.sleep_wished = Some(seconds.min(SLEEP_MAX));
    call.reply_ok();
    Ok(())
}

fn digest(call: &mut Call<'_>) -> Result<(), CommandError> {
    let here = call.keyspace.database();
    let mut sum = Digest::default();
    for info in call.keyspace.database_infos() {
        call.keyspace.select_database(info.number);
        sum.mix_number(info.number);
        call.keyspace
            .each_with_expiry(&mut |key, value, expires_at| {
                let mut one = Digest::default();
                one.mix(key);
                one.mix_value(value, expires_at != 0);
                sum.add_digest(one);
            });
    }
    call.keyspace.select_database(here);
    encode::simple(call.out, sum.hexadecimal().as_bytes());
    Ok(())
}

/// Keys of any slot, whoever it belongs to.
fn digest_value(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_array(call.len() - 2);
    for key in call.request.args(2) {
        call.keyspace.select_key(key);
        let mut sum = Digest::default();
        let expires = call.keyspace.expires_at(key).is_some_and(|date| date != 0);
        if let Some(value) = call.keyspace.peek(key) {
            sum.mix_value(value, expires);
        }
        encode::simple(call.out, sum.hexadecimal().as_bytes());
    }
    Ok(())
}

/// Adds keys, whoever their slots belong to; nobody else is told of them.
fn populate(call: &mut Call<'_>) -> Result<(), CommandError> {
    let natural = |index: usize| {
        let number = call.integer_arg(index).ok();
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.ok_or(CommandError::MustBePositive)
    };
    let count = natural(2)?;
    let prefix = if call.len() > 3 { call.arg(3) } else { b"key" };
    let len = match call.len() {
        5 => usize::try_from(natural(4)?).unwrap_or(usize::MAX),
        _ => 0,
    };
    for number in 0..count {
        let key = [prefix, b":", number.to_string().as_bytes()].concat();
        call.keyspace.select_key(&key);
        if call.keyspace.contains(&key) {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if len > 0 {
            value.resize(len, 0);
        }
        let value = Value::String(Text::from_bytes(&value));
        call.keyspace.set(&key, value);
    }
    call.reply_ok();
    Ok(())
}

/// Writes all keys as to a file and reads them again; the file itself is not touched.
fn reload(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 2 {
        return Err(CommandError::text(
            "ERR DEBUG RELOAD has no options on this node",
        ));
    }
    if call.server.saving.running.is_some() {
        return Err(CommandError::text(
            "ERR Background save already in progress",
        ));
    }
    let file = whole_file(call.keyspace, call.server, call.now.unix_ms);
    let here = call.keyspace.database();
    call.keyspace.clear();
    let mut loader = Loader::new(Some(file.len() as u64), true);
    let keyspace = &mut *call.keyspace;
    let mut take = |loaded: LoadedKey<'_>| {
        keyspace.select_database(loaded.database);
        keyspace.select_key(loaded.key);
        keyspace.replace(loaded.key, loaded.value, loaded.expires_at);
        Ok(())
    };
    let loaded = loader
        .push(&file, &mut take)
        .and_then(|()| loader.finish(&mut take));
    call.keyspace.select_database(here);
    loaded.map_err(|error| {
        CommandError::text(format!("ERR Error trying to load the RDB dump: {error}"))
    })?;
    call.reply_ok();
    Ok(())
}

fn whole_file(keyspace: &mut Keyspace, server: &ServerState, unix_ms: u64) -> Vec<u8> {
    let about = About {
        server_version: REDIS_VERSION,
        unix_seconds: unix_ms / 1_000,
        memory: keyspace.memory(),
        position: None,
        is_aof_base: false,
    };
    keyspace.begin_snapshot(
        Reader::Itself,
        Saver::new(about, server.config.rdbcompression, true),
        usize::MAX,
    );
    let mut file = Vec::new();
    loop {
        match keyspace.continue_snapshot(Reader::Itself, PIECE_BYTES) {
            SnapshotStep::Bytes(bytes) => file.extend_from_slice(&bytes),
            SnapshotStep::Last(bytes) => {
                file.extend_from_slice(&bytes);
                keyspace.end_snapshot(Reader::Itself);
                return file;
            }
            SnapshotStep::GivenUp => unreachable!("nothing changes meanwhile"),
        }
    }
}

fn help(call: &mut Call<'_>) {
    call.reply_array(HELP.len());
    for line in HELP {
        encode::simple(call.out, line.as_bytes());
    }
}

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. This node knows:",
    "CLUSTERLINK KILL <to|from|all> <id>",
    "DIGEST",
    "DIGEST-VALUE <key> [<key> ...]",
    "DROP-CLUSTER-PACKET-FILTER <packet-type>",
    "ERROR <string>",
    "OBJECT <key>",
    "POPULATE <count> [<prefix>] [<size>]",
    "PROTOCOL <type>",
    "RELOAD",
    "SET-ACTIVE-EXPIRE <0|1>",
    "SLEEP <seconds>",
    "HELP",
];

const SLEEP_MAX: Duration = Duration::from_secs(3_600);

const PIECE_BYTES: usize = 1024 * 1024;
