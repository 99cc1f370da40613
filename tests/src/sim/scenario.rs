//! What a seed decides before anything runs: how many take part, what goes wrong and how much.

use super::random::Random;

/// The parameters of one run.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    pub nodes: usize,
    /// Nodes without slots at the start, targets of failovers.
    pub spare_nodes: usize,
    pub proxies: usize,
    pub clients: usize,
    pub operations_per_client: usize,
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
    pub failovers: usize,
    /// How late a topology may arrive.
    pub topology_delay_micros: u64,
    /// Requests with several keys of one slot, which a node may refuse while the slot moves.
    pub crowded_slots: bool,
    /// Transactions, watched keys and commands to all nodes.
    pub has_errands: bool,
    /// Values of 40 KB among the small ones.
    pub large_values: bool,
    pub faults: Faults,
    /// Whether what nodes execute is judged, besides what clients are told.
    pub is_tapped: bool,
    /// What the proxy is told.
    pub in_flight_max: usize,
    pub output_bytes_max: usize,
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
    /// Nodes that answer LOADING, TRYAGAIN or CLUSTERDOWN for a while.
    pub moods: usize,
    /// Connection attempts that are refused, in 1,000.
    pub refusals: u64,
    /// Bytes are cut at random places.
    pub cuts: bool,
    /// Clients that leave in mid-request, in 1,000 bursts.
    pub departures: u64,
    /// Clients that do not read for a while, in 1,000 bursts.
    pub naps: u64,
}

impl Scenario {
    pub fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let faults = Faults::of(&mut random);
        let crashing = faults.is_lossy() && random.chance(500);
        let nodes = random.between(2, 5) as usize;
        let moving = random.chance(850);
        let latency_micros = *random.pick(&[(20, 60), (20, 2_000), (200, 20_000)]);
        let large_values = random.chance(150);
        // What takes longer than the proxy waits for a node is a fault of its own.
        let is_wide = large_values || latency_micros.1 > 2_000;
        let windows: &[usize] = if is_wide {
            &[64_000]
        } else {
            &[300, 4_000, 64_000]
        };
        Self {
            seed,
            nodes,
            spare_nodes: usize::from(random.chance(400) && nodes > 2),
            proxies: random.between(1, 2) as usize,
            clients: random.between(2, 6) as usize,
            operations_per_client: random.between(40, 160) as usize,
            tags: random.between(2, 8) as usize,
            pipeline: *random.pick(&[1, 4, 16, 64]),
            window_bytes: *random.pick(windows),
            latency_micros,
            calm_at: random.between(100_000, 600_000),
            moves: if moving {
                random.between(1, 12) as usize
            } else {
                0
            },
            failovers: if crashing {
                random.between(1, 2) as usize
            } else {
                0
            },
            topology_delay_micros: *random.pick(&[100, 5_000, 100_000]),
            crowded_slots: random.chance(250),
            has_errands: true,
            large_values,
            faults,
            is_tapped: true,
            in_flight_max: *random.pick(&[4, 32, 1024]),
            output_bytes_max: *random.pick(&[256, 16_384, 1 << 20]),
        }
    }

    /// Whether one client's requests for one key have to be executed in the order sent. A node
    /// that refuses one for a moment and serves the next, which is on its way already, breaks it.
    pub fn is_ordered(&self) -> bool {
        let refuses = self.faults.moods > 0 || self.crowded_slots && self.moves > 0;
        !refuses || self.pipeline == 1
    }

    /// Whether transactions may have several keys. A node refuses those while some of the keys have
    /// moved, just as requests with several keys.
    pub fn has_wide_transactions(&self) -> bool {
        self.crowded_slots || self.moves == 0
    }

    /// When the last fault is over: none begins after `calm_at`, but a stall goes on for a while.
    pub fn settled_at(&self) -> u64 {
        let stalls = self.faults.long_stalls > 0;
        self.calm_at + 1 + if stalls { LONG_STALL_MICROS.1 } else { 0 }
    }

    /// Whether nothing goes wrong and nothing moves.
    pub fn is_calm(&self) -> bool {
        let changes = self.moves + self.failovers + self.faults.moods;
        changes == 0 && !self.may_fail()
    }

    /// Whether a request may come to nothing: otherwise every error is one too many.
    pub fn may_fail(&self) -> bool {
        self.faults.is_lossy()
    }
}

impl Faults {
    fn of(random: &mut Random) -> Self {
        let mut faults = Self {
            cuts: random.chance(700),
            short_stalls: random.below(6) as usize,
            moods: if random.chance(300) {
                random.between(1, 3) as usize
            } else {
                0
            },
            naps: *random.pick(&[0, 0, 30]),
            departures: *random.pick(&[0, 0, 20]),
            ..Self::default()
        };
        if random.chance(500) {
            faults.backend_resets = random.below(8) as usize;
            faults.client_resets = random.below(3) as usize;
            faults.long_stalls = random.below(2) as usize;
            faults.crashes = random.below(3) as usize;
            faults.refusals = *random.pick(&[0, 100, 400]);
        }
        faults
    }

    /// Whether a request that was sent may lose its reply.
    fn is_lossy(&self) -> bool {
        self.backend_resets + self.client_resets + self.long_stalls + self.crashes > 0
    }
}

/// How long a stall takes that is longer than the proxy waits for a node.
pub const LONG_STALL_MICROS: (u64, u64) = (1_000_000, 4_000_000);
