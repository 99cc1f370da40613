//! `PROXY`: what only a proxy can tell. It is no command of Redis, so the table does not have it.

use slotway_protocol::command::{self, CommandId};
use slotway_protocol::engine::ConnectionId;
use slotway_protocol::resp::{Protocol, Request, encode};

use super::hot::{HotKey, LargeValue, hot_of};
use super::local::parse_integer;
use super::requests::Incoming;
use super::{NO_OWNER, Proxy, answer, slow_log};

/// Whether the request is one for this file. Any other that begins so may be of the PROXY protocol.
pub(super) fn is_proxy_command(request: &Request<'_>) -> bool {
    request.is_arg(0, b"proxy") && SUBCOMMANDS.iter().any(|known| request.is_arg(1, known))
}

impl Proxy {
    /// Whether the client could not tell a reply from a message.
    pub(super) fn hears_only(&mut self, connection: ConnectionId) -> bool {
        let session = self.session(connection);
        session.is_some_and(|session| session.is_subscribing())
    }

    pub(super) fn run_proxy_command(&mut self, incoming: &Incoming<'_>) {
        // It is counted as INFO is, which tells of the proxy as well.
        let id = command::lookup(b"info").map_or(CommandId(0), |known| known.id);
        let is_queuing = self.is_queuing(incoming.connection);
        if is_queuing {
            self.spoil_transaction(incoming);
            let refusal = answer::error(b"ERR Command not allowed inside a transaction");
            return self.answer_at_once(incoming, id, &refusal);
        }
        let request = &incoming.request;
        let count = match count_of(request) {
            Ok(count) => count,
            Err(refusal) => return self.answer_at_once(incoming, id, &refusal),
        };
        if request.is_arg(1, b"slowlog") {
            let task = Box::new(slow_log::get_all(count));
            return self.begin_task(incoming, id, task, None);
        }
        let session = self.session(incoming.connection);
        let protocol = session.map_or_else(Default::default, |session| session.protocol);
        let mut reply = Vec::new();
        match request.arg(1).to_ascii_lowercase().as_slice() {
            b"hotkeys" => self.write_hot_keys(count, protocol, &mut reply),
            b"slots" => self.write_slots(count, protocol, &mut reply),
            b"large" => self.write_large(count, protocol, &mut reply),
            _ => write_help(&mut reply),
        }
        self.answer_at_once(incoming, id, &reply);
    }

    fn write_hot_keys(&self, count: usize, protocol: Protocol, out: &mut Vec<u8>) {
        let keys = hot_of(&self.options.workers).keys;
        encode::array(out, keys.len().min(count));
        for HotKey {
            key,
            key_len,
            slot,
            command,
            per_second,
            over_per_second,
            writes_per_second,
        } in keys.iter().take(count)
        {
            encode::map(out, protocol, 8);
            text(out, "key", key);
            number(out, "key_bytes", *key_len as i64);
            number(out, "slot", i64::from(*slot));
            text(out, "node", self.owner_of(*slot).as_bytes());
            text(out, "command", command.as_bytes());
            number(out, "per_second", per_second.round() as i64);
            number(out, "over_per_second", over_per_second.round() as i64);
            number(out, "writes_per_second", writes_per_second.round() as i64);
        }
    }

    fn write_slots(&self, count: usize, protocol: Protocol, out: &mut Vec<u8>) {
        let heat = self.options.program.heat.load();
        let slots = heat.hottest(count);
        let all = heat.per_second();
        encode::array(out, slots.len());
        for (slot, per_second) in slots {
            encode::map(out, protocol, 4);
            number(out, "slot", i64::from(slot));
            text(out, "node", self.owner_of(slot).as_bytes());
            number(out, "per_second", per_second.round() as i64);
            encode::bulk(out, b"share");
            encode::double(out, protocol, per_second / all);
        }
    }

    fn write_large(&self, count: usize, protocol: Protocol, out: &mut Vec<u8>) {
        let large = hot_of(&self.options.workers).large;
        encode::array(out, large.len().min(count));
        for LargeValue {
            key,
            slot,
            command,
            is_reply,
            bytes,
            count,
            unix_ms,
        } in large.iter().take(count)
        {
            encode::map(out, protocol, 7);
            text(out, "key", key);
            number(out, "slot", i64::from(*slot));
            text(out, "command", command.as_bytes());
            let direction: &[u8] = if *is_reply { b"reply" } else { b"request" };
            text(out, "direction", direction);
            number(out, "bytes", *bytes as i64);
            number(out, "count", *count as i64);
            number(out, "last_unix_ms", *unix_ms as i64);
        }
    }

    /// The address of the node to which requests for the slot go; nothing where there is none.
    fn owner_of(&self, slot: u16) -> String {
        match self.owners[usize::from(slot)] {
            NO_OWNER => String::new(),
            owner => self.backends[owner as usize].address().to_string(),
        }
    }
}

/// How many are asked for, by the one option that each subcommand but HELP has.
fn count_of(request: &Request<'_>) -> Result<usize, Vec<u8>> {
    let is_help = request.is_arg(1, b"help");
    match request.len() {
        2 => Ok(COUNT),
        4 if !is_help && request.is_arg(2, b"count") => parse_integer(request.arg(3))
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| (1..=COUNT_MAX).contains(count))
            .ok_or_else(|| answer::error(b"ERR COUNT must be between 1 and 10000")),
        _ => Err(answer::error(b"ERR syntax error")),
    }
}

fn write_help(out: &mut Vec<u8>) {
    encode::array(out, HELP.len());
    for line in HELP {
        encode::simple(out, line.as_bytes());
    }
}

fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    encode::bulk(out, name.as_bytes());
    encode::bulk(out, value);
}

fn number(out: &mut Vec<u8>, name: &str, value: i64) {
    encode::bulk(out, name.as_bytes());
    encode::integer(out, value);
}

const SUBCOMMANDS: [&[u8]; 5] = [b"help", b"hotkeys", b"large", b"slots", b"slowlog"];

const COUNT: usize = 10;
const COUNT_MAX: usize = 10_000;

const HELP: [&str; 11] = [
    "PROXY <subcommand> [COUNT <count>]. Subcommands are:",
    "HELP",
    "    This text.",
    "HOTKEYS",
    "    The keys that were asked for most within the last seconds.",
    "LARGE",
    "    The keys with the largest requests and replies of the last minutes.",
    "SLOTS",
    "    The slots that had the most requests within the last seconds.",
    "SLOWLOG",
    "    The slowest requests, with how long each waited and how long its node took.",
];
