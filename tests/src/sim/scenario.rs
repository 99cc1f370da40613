//! What a seed decides before anything runs: how many take part, what goes wrong and how much.

use std::collections::BTreeSet;

use super::cluster::Ranks;
use super::random::Random;
use super::story::Story;

/// The parameters of one run.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub story: Story,
    pub ranks: Ranks,
    /// Whether no node serves anything while a slot has no working owner.
    pub full_coverage: bool,
    /// After which silence a node is taken for lost.
    pub node_timeout_micros: u64,
    pub proxies: usize,
    pub clients: usize,
    pub operations_per_client: usize,
    /// Micros between a client's bursts at most.
    pub pace: u64,
    /// Hash tags, each a slot that clients use.
    pub tags: usize,
    /// Requests that a client has under way at most.
    pub pipeline: usize,
    pub window_bytes: usize,
    pub latency_micros: (u64, u64),
    /// When faults end.
    pub calm_at: u64,
    /// Slots that begin to move, in the time before `calm_at`.
    pub moves: usize,
    pub plan: Plan,
    /// How late a topology may arrive.
    pub topology_delay_micros: u64,
    /// Requests with several keys of one slot, which a node may refuse while the slot moves.
    pub crowded_slots: bool,
    /// Transactions, watched keys and commands to all nodes.
    pub has_errands: bool,
    /// Values of 40 KB among the small ones.
    pub large_values: bool,
    pub faults: Faults,
    /// Within which time a client that has nothing to do with what is sick has its reply.
    pub bound_micros: u64,
    /// Whether what nodes execute is judged, besides what clients are told.
    pub is_tapped: bool,
    /// What the proxy is told.
    pub in_flight_max: usize,
    pub output_bytes_max: usize,
}

/// What an operator does in the time before `calm_at`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    pub failovers: usize,
    /// Every node is restarted.
    pub restarts: bool,
    /// Every node is replaced by a new one.
    pub replaces: bool,
}

/// How often what goes wrong, in events of the time before `calm_at`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub backend_resets: usize,
    pub client_resets: usize,
    pub short_stalls: usize,
    /// Longer than the proxy waits for a node.
    pub long_stalls: usize,
    pub crashes: usize,
    /// Nodes that answer LOADING, TRYAGAIN or the like for a while.
    pub moods: usize,
    /// Connection attempts that are refused, in 1,000.
    pub refusals: u64,
    /// Bytes are cut at random places.
    pub cuts: bool,
    /// Clients that leave in mid-request, in 1,000 bursts.
    pub departures: u64,
    /// Clients that do not read for a while, in 1,000 bursts, and for how long.
    pub naps: u64,
    pub nap_micros: u64,
    /// Clients that send half a request and wait, in 1,000 bursts.
    pub halves: u64,
    /// Connections to nodes that break after some bytes, are closed by the node in one direction,
    /// or let nothing through any more without anybody noticing.
    pub fuses: usize,
    pub half_closes: usize,
    pub half_opens: usize,
    /// Connections on which bytes go one by one, and nodes that everything takes longer to.
    pub trickles: usize,
    pub lags: usize,
    /// Nodes that die, stop, or are cut off, and are taken for lost if that takes long; which of
    /// all that is chance.
    pub losses: usize,
    /// All nodes at once.
    pub blackouts: usize,
    /// Nodes that proxies do not reach while the other nodes do.
    pub hidings: usize,
    /// How long these take.
    pub outage_micros: (u64, u64),
    /// Proxies that stand still for a while.
    pub proxy_stops: usize,
    /// Nodes that say what nobody asked for, what cannot be read, that a slot is where no node is,
    /// or that another node has it which says the same of them.
    pub strays: usize,
    pub garbles: usize,
    pub lures: usize,
    pub loops: usize,
}

impl Scenario {
    /// The scenario of a seed, with a story that it chooses.
    pub fn of(seed: u64) -> Self {
        let story = Story::of(&mut Random::new(seed ^ 0x57_0e_11));
        Self::with_story(seed, story)
    }

    /// The scenario of a seed with that story.
    pub fn with_story(seed: u64, story: Story) -> Self {
        let mut random = Random::new(seed);
        let mut scenario = Self::calm(seed, story, &mut random);
        story.tell(&mut scenario, &mut random);
        scenario.settle_pace();
        scenario
    }

    /// Slots may move and bytes may be cut, but nothing goes wrong.
    fn calm(seed: u64, story: Story, random: &mut Random) -> Self {
        let latency_micros = *random.pick(&[(20, 60), (20, 2_000), (200, 20_000)]);
        let large_values = random.chance(150);
        // What takes longer than the proxy waits for a node is a fault of its own.
        let is_wide = large_values || latency_micros.1 > 2_000;
        let windows: &[usize] = if is_wide {
            &[64_000]
        } else {
            &[300, 4_000, 64_000]
        };
        let primaries = random.between(2, 5) as usize;
        Self {
            seed,
            story,
            ranks: Ranks {
                primaries,
                spare: usize::from(random.chance(400) && primaries > 2),
                replicas: usize::from(random.chance(500)),
                has_successors: false,
            },
            full_coverage: random.chance(500),
            node_timeout_micros: random.between(50_000, 400_000),
            proxies: random.between(1, 2) as usize,
            clients: random.between(2, 6) as usize,
            operations_per_client: random.between(40, 160) as usize,
            pace: *random.pick(&[500, 5_000, 20_000]),
            tags: random.between(2, 8) as usize,
            pipeline: *random.pick(&[1, 4, 16, 64]),
            window_bytes: *random.pick(windows),
            latency_micros,
            calm_at: random.between(100_000, 600_000),
            moves: if random.chance(850) {
                random.between(1, 12) as usize
            } else {
                0
            },
            plan: Plan::default(),
            topology_delay_micros: *random.pick(&[100, 5_000, 100_000]),
            crowded_slots: random.chance(250),
            has_errands: true,
            large_values,
            faults: Faults {
                cuts: random.chance(700),
                nap_micros: 1,
                ..Faults::default()
            },
            bound_micros: BOUND_MICROS,
            is_tapped: true,
            in_flight_max: *random.pick(&[4, 32, 1024]),
            output_bytes_max: *random.pick(&[256, 16_384, 1 << 20]),
        }
    }

    /// In a run that takes long clients go slower, so that they are there to the end.
    fn settle_pace(&mut self) {
        let burst = (1 + self.pipeline.min(self.in_flight_max)) as u64 / 2;
        let bursts = 1 + self.operations_per_client as u64 / burst.max(1);
        if self.story != Story::Mixed {
            self.pace = (2 * self.calm_at / bursts).clamp(500, 500_000);
        }
    }

    /// The only nodes that fare badly, those of one shard; none for all.
    pub(super) fn victims(&self) -> BTreeSet<usize> {
        if self.story != Story::Isolated {
            return BTreeSet::new();
        }
        let replicas = (0..self.ranks.replicas).map(|_| self.ranks.replica(0));
        [0].into_iter().chain(replicas).collect()
    }

    /// Whether one client's requests for one key have to be executed in the order sent. A node
    /// that refuses one for a moment and serves the next, which is on its way already, breaks it.
    pub fn is_ordered(&self) -> bool {
        let faults = &self.faults;
        let refuses = faults.moods + faults.losses + faults.blackouts + faults.lures + faults.loops
            > 0
            || self.plan.restarts
            || self.crowded_slots && self.moves > 0;
        !refuses || self.pipeline == 1
    }

    /// Whether transactions may have several keys. A node refuses those while some of the keys have
    /// moved, just as requests with several keys.
    pub fn has_wide_transactions(&self) -> bool {
        self.crowded_slots || self.moves == 0
    }

    /// When the last fault is over: none begins after `calm_at`, but some go on for a while.
    pub fn settled_at(&self) -> u64 {
        let faults = &self.faults;
        let stalls = faults.long_stalls > 0;
        let outages = faults.losses + faults.blackouts + faults.hidings + faults.proxy_stops > 0;
        let longest = [
            if stalls { LONG_STALL_MICROS.1 } else { 0 },
            if outages { faults.outage_micros.1 } else { 0 },
        ];
        self.calm_at + 1 + longest.into_iter().max().unwrap_or(0)
    }

    /// Whether nothing goes wrong and nothing moves.
    pub fn is_calm(&self) -> bool {
        let Plan {
            failovers,
            restarts,
            replaces,
        } = self.plan;
        let changes = self.moves + failovers + usize::from(restarts) + usize::from(replaces);
        let faults = &self.faults;
        let lies = faults.moods + faults.lures + faults.loops + faults.strays;
        changes + lies == 0 && !self.may_fail()
    }

    /// Whether a request may come to nothing: otherwise every error is one too many.
    pub fn may_fail(&self) -> bool {
        self.faults.is_lossy()
    }
}

impl Faults {
    /// Whether a request that was sent may lose its reply.
    fn is_lossy(&self) -> bool {
        let Self {
            backend_resets,
            client_resets,
            long_stalls,
            crashes,
            fuses,
            half_closes,
            half_opens,
            losses,
            blackouts,
            hidings,
            garbles,
            ..
        } = *self;
        let of_links = backend_resets + client_resets + fuses + half_closes + half_opens;
        of_links + long_stalls + crashes + losses + blackouts + hidings + garbles > 0
    }
}

/// How long a stall takes that is longer than the proxy waits for a node.
pub const LONG_STALL_MICROS: (u64, u64) = (1_000_000, 4_000_000);

/// Requests and replies on their way four times, some of them behind a new connection.
const BOUND_MICROS: u64 = 60_000;
