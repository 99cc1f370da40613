//! The commands that take more than one request each, by name: which task serves which command.

use slotway_protocol::command::CommandId;
use slotway_protocol::resp::Request;

use super::clients;
use super::gather::Gather;
use super::pausing;
use super::publish::{About, Survey};
use super::pubsub::Family;
use super::random_key::RandomKey;
use super::scan::Scan;
use super::script_commands::{AskBusy, ScriptFlush, ScriptLoad};
use super::slow_log;
use super::task::Task;

/// A command that a task serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Special {
    ClientKill,
    ClientList,
    ClientPause,
    ClientUnblock,
    ClientUnpause,
    FunctionStats,
    KillScript,
    LatencyDoctor,
    LatencyGraph,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    MemoryDoctor,
    MemoryMallocStats,
    MemoryStats,
    PubSub(About),
    RandomKey,
    Scan,
    ScriptFlush,
    ScriptLoad,
    SlowLogGet,
    SlowLogLen,
    SlowLogReset,
}

impl Special {
    /// The one of that name in the table.
    pub(crate) fn of(name: &str) -> Option<Self> {
        let mut names = NAMES.iter();
        let found = names.find(|(known, _)| *known == name);
        found.map(|(_, special)| *special)
    }

    /// The task for a request whose arity is right, or the reply when something is wrong with it.
    pub(crate) fn task(
        self,
        command: CommandId,
        request: &Request<'_>,
        user: &str,
        client_id: u64,
    ) -> Result<Box<dyn Task>, Vec<u8>> {
        Ok(match self {
            Self::ClientKill => Box::new(clients::kill(request, client_id, user)?),
            Self::ClientList => Box::new(clients::list(request)?),
            Self::ClientPause => Box::new(pausing::pause(request)?),
            Self::ClientUnpause => Box::new(pausing::unpause()),
            Self::ClientUnblock => Box::new(clients::unblock(request)?),
            Self::PubSub(about) => {
                let names = request.args(2).map(<[u8]>::to_vec).collect();
                Box::new(Survey::new(about, names, request.frame()))
            }
            Self::FunctionStats => Box::new(AskBusy::stats(command, request)),
            Self::KillScript => Box::new(AskBusy::kill(command, request)),
            Self::LatencyDoctor => Box::new(Gather::texts("latency|doctor", request)),
            Self::LatencyGraph => Box::new(Gather::texts("latency|graph", request)),
            Self::LatencyHistogram => Box::new(Gather::latency_histogram(request)),
            Self::LatencyHistory => Box::new(Gather::latency_history(request)),
            Self::LatencyLatest => Box::new(Gather::latency_latest(request)),
            Self::MemoryDoctor => Box::new(Gather::texts("memory|doctor", request)),
            Self::MemoryMallocStats => Box::new(Gather::texts("memory|malloc-stats", request)),
            Self::MemoryStats => Box::new(Gather::memory_stats(request)),
            Self::SlowLogGet => Box::new(slow_log::get(request)?),
            Self::SlowLogLen => Box::new(slow_log::len()),
            Self::SlowLogReset => Box::new(slow_log::reset()),
            Self::RandomKey => Box::<RandomKey>::default(),
            Self::Scan => Box::new(Scan::new(request)?),
            Self::ScriptFlush => Box::new(ScriptFlush::new(command, request)?),
            Self::ScriptLoad => Box::new(ScriptLoad::new(command, request)),
        })
    }
}

const NAMES: &[(&str, Special)] = &[
    ("client|kill", Special::ClientKill),
    ("client|list", Special::ClientList),
    ("client|pause", Special::ClientPause),
    ("client|unblock", Special::ClientUnblock),
    ("client|unpause", Special::ClientUnpause),
    (
        "pubsub|channels",
        Special::PubSub(About::Channels(Family::Channel)),
    ),
    (
        "pubsub|numsub",
        Special::PubSub(About::Counts(Family::Channel)),
    ),
    (
        "pubsub|shardchannels",
        Special::PubSub(About::Channels(Family::Shard)),
    ),
    (
        "pubsub|shardnumsub",
        Special::PubSub(About::Counts(Family::Shard)),
    ),
    ("function|kill", Special::KillScript),
    ("function|stats", Special::FunctionStats),
    ("randomkey", Special::RandomKey),
    ("scan", Special::Scan),
    ("script|flush", Special::ScriptFlush),
    ("script|kill", Special::KillScript),
    ("script|load", Special::ScriptLoad),
    ("latency|doctor", Special::LatencyDoctor),
    ("latency|graph", Special::LatencyGraph),
    ("latency|histogram", Special::LatencyHistogram),
    ("latency|history", Special::LatencyHistory),
    ("latency|latest", Special::LatencyLatest),
    ("memory|doctor", Special::MemoryDoctor),
    ("memory|malloc-stats", Special::MemoryMallocStats),
    ("memory|stats", Special::MemoryStats),
    ("slowlog|get", Special::SlowLogGet),
    ("slowlog|len", Special::SlowLogLen),
    ("slowlog|reset", Special::SlowLogReset),
];
