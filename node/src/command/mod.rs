//! The commands, one file a family, and the table that finds a command's function by its number.
//!
//! A command is a function on a [`Call`]: it reads its arguments, uses the keyspace and appends
//! its reply to `out`. A family lists its functions by name in a `COMMANDS` constant; names are
//! those of the command table in `slotway_protocol::command`, where arity and keys stand, so
//! that a function runs only on a request whose number of arguments fits.

mod blocking;
mod client;
mod cluster;
mod config;
mod connection;
mod debug;
mod dump;
mod error;
mod expire;
mod function;
mod hash;
mod help;
mod info;
mod keys;
mod list;
mod migrate;
mod pubsub;
mod replication;
mod replication_info;
mod save;
mod scan;
mod script;
mod server;
mod set;
mod slow;
mod sorted_set;
mod stream;
mod string;
mod string_number;
mod transaction;

use slotway_protocol::command::{self, Command, CommandId};
use slotway_protocol::engine::Now;
use slotway_protocol::resp::{Protocol, Request, encode};

pub(crate) use blocking::{Stock, Wish};
pub(crate) use error::CommandError;
pub(crate) use pubsub::encode_confirmation;
pub(crate) use save::begin as begin_save;
pub(crate) use script::{TURN_BUDGET, busy, go_on as go_on_with_script, is_busy, late_reply};

use crate::REDIS_VERSION;
use crate::engine::session::{Session, Sessions};
use crate::keyspace::Keyspace;
use crate::number;
use crate::replication::propagation::propagate_expired;
use crate::server_state::ServerState;

/// What a command does. An error may be returned only before anything was appended to `out`.
pub(crate) type Run = fn(&mut Call<'_>) -> Result<(), CommandError>;

/// A command that is running.
pub(crate) struct Call<'a> {
    pub(crate) request: Request<'a>,
    pub(crate) keyspace: &'a mut Keyspace,
    /// Where the reply goes. Only append to it.
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) protocol: Protocol,
    pub(crate) random: &'a mut Random,
    /// The index of the client in `sessions`.
    pub(crate) client: usize,
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) server: &'a mut ServerState,
    pub(crate) dispatch: &'a Dispatch,
    pub(crate) now: Now,
    /// ASKING came right before.
    pub(crate) asking: bool,
}

impl<'a> Call<'a> {
    /// Argument `index`; the command's name is number 0. Lives as long as the request, so the
    /// call can be used while it is held.
    #[inline]
    pub(crate) fn arg(&self, index: usize) -> &'a [u8] {
        self.request.arg(index)
    }

    /// The number of arguments, the command's name included.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.request.len()
    }

    #[inline]
    pub(crate) fn integer_arg(&self, index: usize) -> Result<i64, CommandError> {
        number::parse_i64(self.arg(index)).ok_or(CommandError::NotAnInteger)
    }

    #[inline]
    pub(crate) fn float_arg(&self, index: usize) -> Result<f64, CommandError> {
        number::parse_f64(self.arg(index)).ok_or(CommandError::NotAFloat)
    }

    /// Whether argument `index` is that word, given in upper case.
    #[inline]
    pub(crate) fn arg_is(&self, index: usize, word: &str) -> bool {
        self.arg(index).eq_ignore_ascii_case(word.as_bytes())
    }

    #[inline]
    pub(crate) fn session(&mut self) -> &mut Session {
        &mut self.sessions[self.client]
    }

    /// Says what this command has done to replicas and to the append-only file, in the place of the
    /// request as it came; to be called at once after a change, for each one if there are several.
    #[inline]
    pub(crate) fn propagate(&mut self, args: &[&[u8]]) {
        if self.server.propagation.is_heard() {
            self.propagate_heard(args);
        }
    }

    /// The same with a number between the arguments.
    #[inline]
    pub(crate) fn propagate_number(&mut self, before: &[&[u8]], number: u64, after: &[&[u8]]) {
        if self.server.propagation.is_heard() {
            let number = number.to_string();
            self.propagate_heard(&[before, &[number.as_bytes()], after].concat());
        }
    }

    #[cold]
    fn propagate_heard(&mut self, args: &[&[u8]]) {
        self.keyspace.finish();
        propagate_expired(self.keyspace, &mut self.server.propagation);
        self.server.propagation.say(self.keyspace.database(), args);
    }

    #[inline]
    pub(crate) fn reply_ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    #[inline]
    pub(crate) fn reply_integer(&mut self, number: i64) {
        encode::integer(self.out, number);
    }

    /// A count of something in memory.
    #[inline]
    pub(crate) fn reply_len(&mut self, len: usize) {
        encode::integer(self.out, len as i64);
    }

    #[inline]
    pub(crate) fn reply_bulk(&mut self, bytes: &[u8]) {
        encode::bulk(self.out, bytes);
    }

    #[inline]
    pub(crate) fn reply_array(&mut self, len: usize) {
        encode::array(self.out, len);
    }

    #[inline]
    pub(crate) fn reply_map(&mut self, pairs: usize) {
        encode::map(self.out, self.protocol, pairs);
    }

    #[inline]
    pub(crate) fn reply_set(&mut self, len: usize) {
        encode::set(self.out, self.protocol, len);
    }

    #[inline]
    pub(crate) fn reply_null(&mut self) {
        encode::null(self.out, self.protocol);
    }

    #[inline]
    pub(crate) fn reply_null_array(&mut self) {
        encode::null_array(self.out, self.protocol);
    }

    #[inline]
    pub(crate) fn reply_double(&mut self, number: f64) {
        encode::double(self.out, self.protocol, number);
    }
}

/// A small generator of random numbers (xorshift64*), the same for the same seed. For choosing
/// members, not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            // The state must not be 0.
            state: (seed ^ 0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is something to choose from");
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// The functions of all commands this node knows, by the command's number.
pub(crate) struct Dispatch {
    runs: Vec<Option<Run>>,
    /// Commands that are not queued between MULTI and EXEC.
    unqueued: Vec<CommandId>,
    /// Those that a subscribed client of RESP2 may send.
    while_subscribed: Vec<CommandId>,
    /// The command that ends a transaction even when it is refused itself.
    exec: CommandId,
}

impl Dispatch {
    pub(crate) fn new() -> Self {
        let mut runs = vec![None; Command::count()];
        for (name, run) in FAMILIES.iter().copied().flatten() {
            runs[usize::from(id_of(name).0)] = Some(*run);
        }
        let unqueued = UNQUEUED.iter().map(|name| id_of(name)).collect();
        Self {
            runs,
            unqueued,
            while_subscribed: WHILE_SUBSCRIBED.iter().map(|name| id_of(name)).collect(),
            exec: id_of("exec"),
        }
    }

    pub(crate) fn is_exec(&self, command: &Command) -> bool {
        command.id == self.exec
    }

    pub(crate) fn runs_in_transaction(&self, id: CommandId) -> bool {
        self.unqueued.contains(&id)
    }

    pub(crate) fn runs_while_subscribed(&self, id: CommandId) -> bool {
        self.while_subscribed.contains(&id)
    }

    /// `None` for a command that this node does not know yet.
    #[inline]
    pub(crate) fn run(&self, id: CommandId) -> Option<Run> {
        self.runs[usize::from(id.0)]
    }
}

/// The number of a command, or of a subcommand named `client|list`.
fn id_of(name: &str) -> CommandId {
    let mut parts = name.split('|');
    let container = parts
        .next()
        .and_then(|container| command::lookup(container.as_bytes()));
    let found = match parts.next() {
        None => container,
        Some(subcommand) => {
            container.and_then(|container| container.subcommand(subcommand.as_bytes()))
        }
    };
    match found {
        Some(command) => command.id,
        None => panic!("the command table has no command {name:?} that a family registers"),
    }
}

/// The functions of every family.
const FAMILIES: &[&[(&str, Run)]] = &[
    string::COMMANDS,
    string_number::COMMANDS,
    keys::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    dump::COMMANDS,
    migrate::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    blocking::COMMANDS,
    set::COMMANDS,
    sorted_set::COMMANDS,
    stream::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    transaction::COMMANDS,
    server::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
    slow::COMMANDS,
    save::COMMANDS,
    replication::COMMANDS,
    script::COMMANDS,
    function::COMMANDS,
    pubsub::COMMANDS,
    cluster::COMMANDS,
    help::COMMANDS,
];

/// Commands that are executed between MULTI and EXEC instead of being queued.
const UNQUEUED: &[&str] = &["exec", "discard", "multi", "watch", "quit", "reset"];

const WHILE_SUBSCRIBED: &[&str] = &[
    "subscribe",
    "unsubscribe",
    "psubscribe",
    "punsubscribe",
    "ssubscribe",
    "sunsubscribe",
    "ping",
    "quit",
    "reset",
];

/// What a container says to a subcommand whose number of arguments only it can judge.
#[cold]
fn unknown_or_wrong_arguments(call: &Call<'_>, container: &str) -> CommandError {
    let subcommand = String::from_utf8_lossy(call.arg(1));
    CommandError::text(format!(
        "ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try {container} \
         HELP."
    ))
}

const CLUSTER_DISABLED: &str = "ERR This instance has cluster support disabled";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_cover_their_range() {
        let mut random = Random::new(1);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[random.below(10)] += 1;
        }
        assert!(
            seen.iter().all(|count| (800..1200).contains(count)),
            "{seen:?}"
        );
    }
}
