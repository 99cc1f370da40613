//! Reads that replicas may serve, for those who opt in: which requests these are, what the settings
//! say of their keys, and what a worker keeps for it all.

mod footprint;
mod health;
mod probes;
mod retries;
mod routing;

pub(crate) use footprint::Footprint;
pub(crate) use health::{Fitness, Node as NodeHealth, Report};
pub(crate) use probes::is_probe;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use slotway_protocol::command::{Command, CommandId, Flags, KeyFlags, Learned};
use slotway_protocol::engine::Instant;

use self::health::Node;
use super::hold::Held;
use super::plan::{Plan, Plans};

/// Which nodes of a shard serve a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadFrom {
    /// The primary, as all writes.
    #[default]
    Primary,
    /// A replica; the primary while none is fit.
    PreferReplica,
    /// A replica, and nobody else.
    Replica,
    /// Any node that is fit, the primary among them.
    Any,
}

impl ReadFrom {
    /// In the words of the config file.
    pub const NAMES: [(&str, Self); 4] = [
        ("primary", Self::Primary),
        ("prefer_replica", Self::PreferReplica),
        ("replica", Self::Replica),
        ("any", Self::Any),
    ];

    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        let known = names.find(|(_, from)| *from == self);
        known.map_or("", |(name, _)| name)
    }
}

/// What the settings say of keys that begin with the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRule {
    pub prefix: Arc<str>,
    pub read_from: ReadFrom,
}

/// The settings about reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Of keys that no rule is for.
    pub read_from: ReadFrom,
    pub rules: Vec<ReadRule>,
    /// A replica that is behind its primary by more serves no reads; zero for no limit.
    pub lag_max: Duration,
    /// The same in bytes of the replication stream.
    pub lag_bytes_max: u64,
    /// How often nodes are asked how they are.
    pub check_interval: Duration,
    /// A replica that owes a reply and is silent for this time is not waited for.
    pub replica_timeout: Duration,
    /// For how long after a client's write to a slot its reads of that slot go to the primary.
    pub your_writes: Duration,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            read_from: ReadFrom::Primary,
            rules: Vec::new(),
            lag_max: Duration::from_secs(1),
            lag_bytes_max: 0,
            check_interval: Duration::from_millis(500),
            replica_timeout: Duration::from_secs(1),
            your_writes: Duration::from_secs(1),
        }
    }
}

impl ReadOptions {
    /// Whether a replica may serve any read at all.
    pub fn is_on(&self) -> bool {
        let of_rules = self.rules.iter().map(|rule| rule.read_from);
        let mut all = core::iter::once(self.read_from).chain(of_rules);
        all.any(|from| from != ReadFrom::Primary)
    }

    /// Where reads of the key go: the rule with the longest prefix counts.
    fn of_key(&self, key: &[u8]) -> ReadFrom {
        let fitting = self
            .rules
            .iter()
            .filter(|rule| key.starts_with(rule.prefix.as_bytes()));
        let longest = fitting.max_by_key(|rule| rule.prefix.len());
        longest.map_or(self.read_from, |rule| rule.read_from)
    }

    /// Where a read of all these keys goes. When the rules are at odds it is the primary.
    fn of_keys<'k>(&self, mut keys: impl Iterator<Item = &'k [u8]>) -> ReadFrom {
        let Some(first) = keys.next().map(|key| self.of_key(key)) else {
            return ReadFrom::Primary;
        };
        if self.rules.is_empty() || keys.all(|key| self.of_key(key) == first) {
            first
        } else {
            ReadFrom::Primary
        }
    }

    /// For how long it is kept which slots a client has written to: until it can be expected that
    /// replicas are known to have that.
    fn footprint_kept(&self) -> Duration {
        if self.your_writes.is_zero() {
            return Duration::ZERO;
        }
        self.your_writes + self.check_interval * 4
    }
}

/// What a worker keeps about reads.
#[derive(Debug)]
pub(crate) struct Reads {
    is_on: bool,
    /// By command: whether a replica may serve it.
    readable: Vec<bool>,
    /// By backend: how it is.
    nodes: Vec<Node>,
    /// By the backend of a primary: those of its replicas, in a fixed order.
    followers: Vec<Vec<u32>>,
    /// When nodes were asked last how they are.
    asked: Instant,
    /// Counts how often they were asked.
    round: u64,
    /// Counts questions to single nodes.
    questions: u32,
    /// How many nodes there should be, and until when those that the topology does not name any
    /// more are expected to be back.
    expected: usize,
    expected_until: Instant,
    /// Reads for replicas only that no replica can serve just now.
    waiting: VecDeque<Held>,
    waiting_bytes: usize,
}

impl Reads {
    pub(crate) fn new(options: &ReadOptions, plans: &Plans) -> Self {
        let mut reads = Self {
            is_on: options.is_on(),
            readable: Vec::new(),
            nodes: Vec::new(),
            followers: Vec::new(),
            asked: Instant::default(),
            round: 0,
            questions: 0,
            expected: 0,
            expected_until: Instant::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        };
        for command in slotway_protocol::command::all() {
            for command in core::iter::once(command).chain(command.subcommands) {
                reads.consider(command, plans);
            }
        }
        reads
    }

    /// Whether any read may go to a replica.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The nodes have these commands, too.
    pub(crate) fn learn(&mut self, learned: &Learned, plans: &Plans) {
        learned
            .all()
            .for_each(|command| self.consider(command, plans));
    }

    fn consider(&mut self, command: &Command, plans: &Plans) {
        let index = usize::from(command.id.0);
        if index >= self.readable.len() {
            self.readable.resize(index + 1, false);
        }
        self.readable[index] = is_readable(command, plans.of(command));
    }

    fn is_readable(&self, command: CommandId) -> bool {
        let index = usize::from(command.0);
        self.readable.get(index).copied().unwrap_or_default()
    }

    /// There is a new backend, in a new place or in that of another.
    pub(crate) fn set_fresh(&mut self, backend: usize) {
        let len = self.nodes.len().max(backend + 1);
        self.nodes.resize_with(len, Node::default);
        self.followers.resize_with(len, Vec::new);
        self.nodes[backend] = Node::default();
        self.followers[backend].clear();
    }

    /// A replica has said how it is: whether it may serve.
    fn report(
        &mut self,
        replica: usize,
        primary: usize,
        report: Report,
        options: &ReadOptions,
    ) -> Fitness {
        let mut node = core::mem::take(&mut self.nodes[replica]);
        node.take_report(report, &self.nodes[primary]);
        let fitness = node.judge(&self.nodes[primary], options);
        self.nodes[replica] = node;
        fitness
    }

    /// There is a new topology. A node that it lacks may be about to come back: what was a primary
    /// until now is nobody's replica for a moment.
    fn expect_nodes(&mut self, now: Instant) {
        let count = self.count_nodes();
        if count >= self.expected {
            self.expected = count;
            self.expected_until = Instant::default();
        } else if self.expected_until == Instant::default() {
            self.expected_until = now + MISSING;
        }
    }

    /// Whether the topology lacks a node that may come back.
    fn expects_nodes(&mut self, now: Instant) -> bool {
        if self.expected_until != Instant::default() && now >= self.expected_until {
            self.expected = self.count_nodes();
            self.expected_until = Instant::default();
        }
        self.expected_until > now
    }

    /// How many nodes there are that follow another or have followers.
    fn count_nodes(&self) -> usize {
        let shards = self
            .followers
            .iter()
            .filter(|replicas| !replicas.is_empty());
        shards.map(|replicas| 1 + replicas.len()).sum()
    }

    /// The reads that wait for a replica.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Held> {
        self.waiting.iter()
    }

    /// Counts those anew.
    pub(crate) fn recount(&mut self) {
        self.waiting_bytes = self.waiting.iter().map(Held::bytes).sum();
    }

    /// Forgets those.
    pub(crate) fn start_over(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }

    /// How many reads wait for a replica.
    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    /// The bytes that those take.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// How many replicas are in each state, in the order of [`Fitness::ALL`].
    pub(crate) fn census(&self) -> [i64; Fitness::COUNT] {
        let mut census = [0; Fitness::COUNT];
        for replica in self.followers.iter().flatten() {
            census[self.nodes[*replica as usize].fitness as usize] += 1;
        }
        census
    }

    pub(crate) fn check_invariants(&self) {
        let bytes: usize = self.waiting.iter().map(Held::bytes).sum();
        assert_eq!(bytes, self.waiting_bytes, "what waits is counted");
    }
}

/// Whether a replica may serve the command: it has keys, and does nothing but read what they hold.
fn is_readable(command: &Command, plan: Plan) -> bool {
    let is_routed = matches!(plan, Plan::Key(_) | Plan::Keys | Plan::Split { .. });
    let only_reads = |flags: KeyFlags| flags.contains(KeyFlags::RO) && !flags.intersects(CHANGES);
    is_routed
        && command.flags.contains(Flags::READONLY)
        && !command
            .flags
            .intersects(Flags::WRITE.union(Flags::BLOCKING))
        && command.tells_keys()
        && !command.key_specs.is_empty()
        && command.key_specs.iter().all(|spec| only_reads(spec.flags))
        && !is_of_one_node(command.name)
}

/// Whether what the command does or tells is about one node's copy of the keys: a cursor means
/// something only to the node that gave it, and each node has its own idea of what was used last.
fn is_of_one_node(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let has = |word: &str| name.contains(word);
    let is_about_copy =
        name == "touch" || name.starts_with("object|") || name.starts_with("memory|");
    is_about_copy || has("scan") || has("cursor")
}

/// For how long the topology is asked for again and again after a node is missing from it.
const MISSING: Duration = Duration::from_secs(5);

const CHANGES: KeyFlags = KeyFlags::RW.union(KeyFlags::OW).union(KeyFlags::RM);

/// The most rules that there may be: each read looks at all of them.
pub const READ_RULES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_keys_may_go_to_a_replica() {
        let plans = Plans::new(false);
        let reads = Reads::new(&ReadOptions::default(), &plans);
        let find = |name: &str| {
            let (container, subcommand) = name.split_once('|').unwrap_or((name, ""));
            let command = slotway_protocol::command::lookup(container.as_bytes()).unwrap();
            command.subcommand(subcommand.as_bytes()).unwrap_or(command)
        };
        let yes = [
            "bitcount",
            "bitfield_ro",
            "dump",
            "eval_ro",
            "evalsha_ro",
            "exists",
            "fcall_ro",
            "geosearch",
            "get",
            "hgetall",
            "hmget",
            "lrange",
            "mget",
            "sdiff",
            "smembers",
            "sort_ro",
            "ttl",
            "type",
            "xinfo|stream",
            "xrange",
            "zrange",
            "zunion",
        ];
        let no = [
            "bitfield",
            "blpop",
            "dbsize",
            "eval",
            "evalsha",
            "exec",
            "expire",
            "fcall",
            "getdel",
            "getex",
            "hscan",
            "keys",
            "memory|usage",
            "object|freq",
            "pfcount",
            "publish",
            "randomkey",
            "scan",
            "set",
            "sort",
            "sscan",
            "touch",
            "watch",
            "xread",
            "xreadgroup",
            "zscan",
        ];
        let told = |name| reads.is_readable(find(name).id);
        assert_eq!(yes.into_iter().find(|name| !told(name)), None);
        assert_eq!(no.into_iter().find(|name| told(name)), None);
    }

    #[test]
    fn the_longest_prefix_counts() {
        let rule = |prefix: &str, read_from| ReadRule {
            prefix: prefix.into(),
            read_from,
        };
        let options = ReadOptions {
            rules: vec![
                rule("cache:", ReadFrom::Any),
                rule("cache:money:", ReadFrom::Primary),
                rule("log:", ReadFrom::Replica),
            ],
            ..ReadOptions::default()
        };
        assert!(options.is_on() && !ReadOptions::default().is_on());
        for (keys, expected) in [
            (&["cache:1"][..], ReadFrom::Any),
            (&["cache:money:1"], ReadFrom::Primary),
            (&["log:1", "log:2"], ReadFrom::Replica),
            (&["log:1", "cache:2"], ReadFrom::Primary),
            (&["cache"], ReadFrom::Primary),
            (&[], ReadFrom::Primary),
        ] {
            let keys = keys.iter().map(|key| key.as_bytes());
            assert_eq!(options.of_keys(keys.clone()), expected, "{keys:?}");
        }
    }
}
