//! What one worker counts. The worker writes, the metrics endpoint reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::metrics::{Counter, Gauge, Histogram};
use slotway_protocol::resp::error_codes::{self, ERROR_CODES as KNOWN_CODES};

use super::heat::SlotCounts;
use super::hot::Hot;
use super::node_stats::NodeStats;
use super::reads::Fitness;
use super::redirect::Later;

/// The counters of one worker.
#[derive(Debug, Default)]
pub struct Stats {
    /// By command id, and behind them for all that was learned: requests answered well, and with an
    /// error, and the microseconds that took.
    requests: ByCommand,
    /// Each node that it has to do with.
    pub nodes: ArcSwap<Vec<Arc<NodeStats>>>,
    /// Requests sent to nodes, by slot.
    pub slots: SlotCounts,
    /// Keys that are often asked for, and large values.
    pub hot: ArcSwap<Hot>,
    pub key_samples: Counter,
    /// Requests and replies of `large_value_bytes_min`.
    pub large_values: [Counter; 2],
    /// Requests that came into the slow log.
    pub slow_requests: Counter,
    /// Requests that came into the access log, and that did not because of its bounds.
    pub access_lines: Counter,
    pub access_lines_dropped: Counter,
    /// Spans of traces that found no room.
    pub trace_spans_dropped: Counter,
    /// Error replies, by the code they begin with, in the order of [`ERROR_CODES`].
    errors: [Counter; ERROR_CODES.len()],
    /// Requests that are no command, or break the protocol.
    pub requests_invalid: Counter,
    /// From a request's arrival to the reply to all of it being here.
    pub client_latency: Histogram,
    /// The part of it from queueing a request for a node to that node's reply.
    pub backend_latency: Histogram,
    pub clients: Gauge,
    pub clients_accepted: Counter,
    /// Clients between MULTI and EXEC, with subscriptions, with watched keys; and the replies that
    /// wait for any. Counted once a second.
    pub clients_in_transaction: Gauge,
    pub clients_subscribed: Gauge,
    pub clients_watching: Gauge,
    pub client_output_bytes: Gauge,
    pub backends: Gauge,
    pub backend_connects: Counter,
    pub backend_connects_failed: Counter,
    pub backend_timeouts: Counter,
    /// Idle connections that were asked whether they live.
    pub backend_checks: Counter,
    /// Connections for subscriptions that were opened, and that were lost.
    pub feed_connects: Counter,
    pub feeds_lost: Counter,
    /// What we are subscribed to at nodes.
    pub channels: Gauge,
    pub patterns: Gauge,
    pub shard_channels: Gauge,
    /// Subscriptions of clients.
    pub subscribers: Gauge,
    /// Messages given to clients.
    pub messages: Counter,
    /// Clients cut off because they did not take their messages.
    pub subscribers_cut: Counter,
    /// Subscriptions refused because a client has too many, or no node confirmed them in time.
    pub subscriptions_refused: Counter,
    pub subscriptions_expired: Counter,
    /// Subscriptions that a node ended because the slot has moved.
    pub subscriptions_moved: Counter,
    pub client_bytes_in: Counter,
    pub client_bytes_out: Counter,
    pub backend_bytes_in: Counter,
    pub backend_bytes_out: Counter,
    pub redirects_moved: Counter,
    pub redirects_ask: Counter,
    /// Redirects not followed, because nobody knows the node.
    pub redirects_refused: Counter,
    /// TRYAGAIN, CLUSTERDOWN, LOADING, MASTERDOWN and READONLY.
    pub redirects_later: Counter,
    /// Nodes that said they serve nobody now: how many there are, and were.
    pub gates_shut: Gauge,
    pub gates: Counter,
    /// Times at which a slot's requests waited because too much was sent again already.
    pub retries_deferred: Counter,
    /// Requests for several keys of a slot that were sent key by key, because it is moving.
    pub scattered: Counter,
    /// Requests of so many keys that they were sent little by little.
    pub gradual: Counter,
    /// Requests that had to wait for a slot.
    pub held: Counter,
    pub holds: Gauge,
    pub hold_bytes: Gauge,
    pub hold_bytes_max: Gauge,
    /// How long requests had waited for their slot when they were sent, or given up.
    pub hold_time: Histogram,
    /// Requests that nodes did not serve now, in the order of [`Later::NAMES`].
    pub(crate) later: [Counter; Later::NAMES.len()],
    /// Requests that are sent again because their connection was lost.
    pub retries_lost: Counter,
    /// Requests answered with an error because they waited too long or too much was waiting.
    pub holds_expired: Counter,
    pub holds_refused: Counter,
    /// Requests whose reply was lost with a connection; the node may have executed them.
    pub results_unknown: Counter,
    /// Calls of the engine that panicked.
    pub panics: Counter,
    /// Requests sent to nodes and not yet answered.
    pub in_flight: Gauge,
    /// What is kept for them.
    pub queue_bytes: Gauge,
    /// Clients not read from because they do not take their replies, or are owed too many.
    pub clients_paused: Counter,
    /// Large replies handed on in pieces.
    pub replies_passed: Counter,
    /// Wrong user names and passwords of clients.
    pub logins_failed: Counter,
    /// Those that were refused unseen, because too many from the address were wrong; and addresses
    /// that were forgotten to make room for others.
    pub logins_refused: Counter,
    pub login_addresses_forgotten: Counter,
    /// Connections to nodes that were cut, by the reason.
    pub(crate) backends_cut: [Counter; CutBackend::NAMES.len()],
    /// Clients cut off, by the reason.
    pub(crate) clients_cut: [Counter; Cut::NAMES.len()],
    /// What is kept for clients and nodes, as far as it is counted.
    pub memory_kept: Gauge,
    /// What the process may take and how scarce memory is, as the first worker sees it.
    pub memory_max: Gauge,
    pub memory_strain: Gauge,
    /// Large requests that were not read on because memory was scarce.
    pub requests_delayed: Counter,
    /// Requests that waited for others that were large, or had a large reply.
    pub large_waits: Counter,
    /// Requests refused because a node's queue was full.
    pub queue_full: Counter,
    /// Requests whose reply would have been too large to be put together.
    pub merges_full: Counter,
    /// Messages to other workers that found no room there.
    pub peer_messages_lost: Counter,
    /// Commands for all workers that were answered without some of them, for they took too long.
    pub peer_answers_late: Counter,
    /// Connections to nodes that serve one client at a time, and those of them that are free.
    pub privates: Gauge,
    pub privates_idle: Gauge,
    pub privates_max: Gauge,
    pub private_connects: Counter,
    /// Requests refused because there were too many such connections.
    pub privates_refused: Counter,
    /// Transactions executed, and commands refused because too much was queued.
    pub transactions: Counter,
    pub transactions_refused: Counter,
    /// Clients that wait for elements or replicas.
    pub clients_blocked: Gauge,
    /// Keys that blocked clients wait for without a connection of their own.
    pub waiting_keys: Gauge,
    /// Reads over keys of several slots, and those refused because there was too much to put
    /// together.
    pub cross_slot_reads: Counter,
    pub cross_slot_refused: Counter,
    /// Reads that a replica could have served by the settings or by its commands, by who was asked;
    /// counted where replicas serve any.
    pub reads_primary: Counter,
    pub reads_replica: Counter,
    /// Reads that went to the primary although a replica was wanted: because of the client's own
    /// writes, because none was fit, because slots are moving.
    pub reads_own: Counter,
    pub reads_unfit: Counter,
    pub reads_moving: Counter,
    /// Reads asked of another node since a replica refused, or was lost.
    pub reads_refused: Counter,
    pub reads_lost: Counter,
    /// Reads for replicas only that wait for one.
    pub reads_waiting: Gauge,
    /// Replicas in each state, and how often one was left out for it, in the order of
    /// `Fitness::ALL`.
    pub replicas: [Gauge; Fitness::COUNT],
    pub replicas_left_out: [Counter; Fitness::COUNT],
    /// Scripts remembered, what they take, those forgotten to make room for others, and requests
    /// that were sent with the script because the node did not know it.
    pub scripts: Gauge,
    pub script_bytes: Gauge,
    pub script_bytes_max: Gauge,
    pub scripts_evicted: Counter,
    pub scripts_healed: Counter,
    /// Elements given back because the client they were taken for had left.
    pub restored: Counter,
}

impl Stats {
    pub fn new() -> Self {
        Self::default()
    }

    #[inline]
    pub(crate) fn count_request(&self, command: CommandId, failed: bool, micros: u64) {
        let counters = &self.requests.0[command.index_or_other()];
        counters[usize::from(failed)].inc();
        counters[2].add(micros);
    }

    /// Counts a request that a node did not serve now.
    pub(crate) fn count_later(&self, reason: Later) {
        self.redirects_later.inc();
        self.later[reason as usize].inc();
    }

    /// Counts an error reply by its code, and says which that is.
    #[cold]
    pub(crate) fn count_error(&self, reply: &[u8]) -> &'static str {
        let place = error_place(reply);
        self.errors[place].inc();
        ERROR_CODES[place]
    }

    /// How many requests were answered.
    pub fn requests_total(&self) -> u64 {
        let answered = |[ok, failed, _]: &[Counter; 3]| ok.value() + failed.value();
        self.requests.0.iter().map(answered).sum()
    }

    /// How many requests of a command were answered well, and with an error. Learned commands are
    /// counted together.
    pub fn requests(&self, command: CommandId) -> (u64, u64) {
        let [ok, failed, _] = &self.requests.0[command.index_or_other()];
        (ok.value(), failed.value())
    }

    /// The time from the arrival of a command's requests to their replies, added up.
    pub(crate) fn micros(&self, command: CommandId) -> u64 {
        self.requests.0[command.index_or_other()][2].value()
    }

    /// How many clients were cut off for that reason.
    #[cfg(test)]
    pub(crate) fn cut(&self, reason: Cut) -> u64 {
        self.clients_cut[reason as usize].value()
    }

    pub(crate) fn errors(&self) -> &[Counter] {
        &self.errors
    }

    /// The states that a replica can be in: how many are, and how often one was left out for it.
    pub(crate) fn replica_states(&self) -> impl Iterator<Item = (&'static str, i64, u64)> {
        let names = Fitness::ALL.iter().map(|(_, name)| *name);
        let counts = self.replicas.iter().zip(&self.replicas_left_out);
        let all = names.zip(counts);
        all.map(|(name, (count, left_out))| (name, count.value(), left_out.value()))
    }
}

/// The code of an error reply.
pub(crate) fn error_code(reply: &[u8]) -> &'static str {
    ERROR_CODES[error_place(reply)]
}

fn error_place(reply: &[u8]) -> usize {
    let code = error_codes::of(reply);
    let known = ERROR_CODES
        .iter()
        .position(|known| known.as_bytes() == code);
    known.unwrap_or(ERROR_CODES.len() - 1)
}

/// Why a client is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It did not take what it had asked for.
    Output,
    /// It took most of the memory when that was scarce.
    Memory,
    /// It took what waited for it too slowly.
    OutputTime,
    /// The rest of its request did not come.
    RequestTime,
    /// It had nothing to say for long.
    Idle,
    /// It did not say the password in time.
    Login,
    /// The node was lost in the middle of a reply of which the client had the beginning.
    ReplyLost,
    /// Its request was longer than may be.
    RequestSize,
    /// It spoke HTTP, TLS, or nothing that can be understood.
    Http,
    Tls,
    Garbage,
    /// Its reply was lost when a call of the engine panicked.
    Panic,
}

impl Cut {
    /// In the order of the reasons.
    pub(crate) const NAMES: [&str; 12] = [
        "output",
        "memory",
        "output_timeout",
        "request_timeout",
        "idle_timeout",
        "login_timeout",
        "reply_lost",
        "request_size",
        "http",
        "tls",
        "garbage",
        "panic",
    ];
}

/// Why a connection to a node is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutBackend {
    /// It said something that can't be read.
    Unreadable,
    /// It said something that nobody had asked for.
    Unasked,
    /// It did not let us log in.
    Login,
}

impl CutBackend {
    /// In the order of the reasons.
    pub(crate) const NAMES: [&str; 3] = ["unreadable", "unasked", "login"];
}

/// Three counters for each command.
#[derive(Debug)]
struct ByCommand(Vec<[Counter; 3]>);

impl Default for ByCommand {
    fn default() -> Self {
        Self((0..=Command::count()).map(|_| Default::default()).collect())
    }
}

/// The codes that errors are counted by; the last one is for what scripts invent.
pub(crate) const ERROR_CODES: [&str; KNOWN_CODES.len() + 1] = {
    let mut codes = ["OTHER"; KNOWN_CODES.len() + 1];
    let (known, _) = codes.split_at_mut(KNOWN_CODES.len());
    known.copy_from_slice(&KNOWN_CODES);
    codes
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_code() {
        let stats = Stats::new();
        for reply in [
            "-ERR x\r\n",
            "-OTHER\r\n",
            "-MY own\r\n",
            "-oops\r\n",
            "-",
            "-ERR-x\r\n",
        ] {
            stats.count_error(reply.as_bytes());
        }
        let counted = |code: &str| {
            let index = ERROR_CODES.iter().position(|known| *known == code);
            stats.errors()[index.unwrap()].value()
        };
        assert_eq!((counted("ERR"), counted("OTHER")), (1, 5));
    }
}
