//! What kind of thing goes wrong in a run. What may be demanded depends on it.

use super::random::Random;
use super::scenario::{Faults, Plan, Scenario};
use super::script::NOTICE_MICROS;

/// A kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Connections break, nodes stall for a moment, slots move.
    Mixed,
    /// An operator at work: failovers, restarts, new nodes for old ones. Clients see no error.
    Planned,
    /// Nodes die, stop or are cut off, and replicas take over.
    Broken,
    /// One shard is sick in some way. Clients of the others do not notice.
    Isolated,
    /// Nodes say what is not so, or what cannot be read.
    Lying,
}

impl Story {
    pub const ALL: [Self; 5] = [
        Self::Mixed,
        Self::Planned,
        Self::Broken,
        Self::Isolated,
        Self::Lying,
    ];

    pub(super) fn of(random: &mut Random) -> Self {
        match random.below(100) {
            0..30 => Self::Mixed,
            30..50 => Self::Planned,
            50..70 => Self::Broken,
            70..85 => Self::Isolated,
            _ => Self::Lying,
        }
    }

    /// Lets a calm scenario have what belongs to the story.
    pub(super) fn tell(self, scenario: &mut Scenario, random: &mut Random) {
        match self {
            Self::Mixed => mixed(scenario, random),
            Self::Planned => planned(scenario, random),
            Self::Broken => broken(scenario, random),
            Self::Isolated => isolated(scenario, random),
            Self::Lying => lying(scenario, random),
        }
    }
}

fn mixed(scenario: &mut Scenario, random: &mut Random) {
    let faults = &mut scenario.faults;
    faults.short_stalls = random.below(6) as usize;
    faults.moods = some(300, 3, random);
    faults.trickles = some(300, 2, random);
    faults.lags = some(300, 2, random);
    odd_clients(faults, random);
    if random.chance(500) {
        faults.backend_resets = random.below(8) as usize;
        faults.client_resets = random.below(3) as usize;
        faults.long_stalls = random.below(2) as usize;
        faults.crashes = random.below(3) as usize;
        faults.fuses = random.below(4) as usize;
        faults.half_closes = random.below(3) as usize;
        faults.half_opens = some(200, 1, random);
        faults.refusals = *random.pick(&[0, 100, 400]);
    }
    scenario.plan.failovers = some(400, 2, random);
}

fn planned(scenario: &mut Scenario, random: &mut Random) {
    scenario.calm_at = random.between(300_000, 2_000_000);
    scenario.moves = some(500, 8, random);
    let (faults, ranks) = (&mut scenario.faults, &mut scenario.ranks);
    faults.short_stalls = random.below(4) as usize;
    faults.trickles = some(300, 2, random);
    faults.lags = some(300, 3, random);
    faults.strays = some(200, 2, random);
    odd_clients(faults, random);
    ranks.replicas = 1;
    let way = random.below(3);
    if way == 0 {
        scenario.plan.failovers = random.between(1, 6) as usize;
        return;
    }
    // Takes long, so there are fewer nodes, and more requests.
    (ranks.primaries, ranks.spare) = (random.between(2, 3) as usize, 0);
    scenario.calm_at = NOTICE_MICROS * ranks.primaries as u64;
    scenario.operations_per_client = random.between(100, 250) as usize;
    scenario.pipeline = *random.pick(&[1, 4, 16]);
    scenario.plan = Plan {
        restarts: way == 1,
        replaces: way == 2,
        ..Plan::default()
    };
    if scenario.plan.replaces {
        (ranks.replicas, ranks.has_successors) = (0, true);
    }
    if scenario.plan.restarts && random.chance(500) {
        // A node that is loading breaks the order of clients that send ahead.
        scenario.pipeline = 1;
    }
}

fn broken(scenario: &mut Scenario, random: &mut Random) {
    scenario.calm_at = random.between(200_000, 2_000_000);
    scenario.moves = some(500, 6, random);
    scenario.ranks.replicas = usize::from(random.chance(700));
    if random.chance(400) {
        scenario.pipeline = 1;
    }
    let faults = &mut scenario.faults;
    odd_clients(faults, random);
    faults.short_stalls = random.below(3) as usize;
    faults.losses = random.below(4) as usize;
    faults.hidings = some(300, 2, random);
    faults.blackouts = some(150, 1, random);
    faults.half_opens = some(300, 3, random);
    faults.proxy_stops = some(200, 2, random);
    if faults.losses + faults.hidings + faults.blackouts + faults.half_opens == 0 {
        faults.losses = 1;
    }
    faults.outage_micros = *random.pick(&[(1_000, 200_000), (100_000, 1_500_000), OUTAGE_MICROS]);
    scenario.plan.failovers = some(300, 2, random);
}

/// Everything about time that has nothing to do with the sick shard is kept small.
fn isolated(scenario: &mut Scenario, random: &mut Random) {
    scenario.calm_at = random.between(300_000, 1_500_000);
    scenario.moves = 0;
    scenario.ranks.primaries = random.between(2, 4) as usize;
    scenario.ranks.replicas = random.below(2) as usize;
    scenario.full_coverage = false;
    scenario.latency_micros = *random.pick(&[(20, 60), (20, 2_000)]);
    scenario.window_bytes = 64_000;
    scenario.large_values = false;
    scenario.pipeline = *random.pick(&[1, 4, 16]);
    scenario.clients = random.between(3, 6) as usize;
    scenario.tags = 8;
    scenario.topology_delay_micros = *random.pick(&[100, 5_000]);
    let faults = &mut scenario.faults;
    faults.cuts = false;
    faults.losses = some(700, 2, random);
    faults.hidings = some(300, 1, random);
    faults.half_opens = some(300, 3, random);
    faults.lags = some(300, 3, random);
    faults.backend_resets = some(300, 3, random);
    faults.garbles = some(200, 2, random);
    faults.moods = some(200, 2, random);
    faults.outage_micros = (50_000, 2_500_000);
}

fn lying(scenario: &mut Scenario, random: &mut Random) {
    scenario.calm_at = random.between(200_000, 800_000);
    scenario.moves = some(300, 4, random);
    if random.chance(500) {
        scenario.pipeline = 1;
    }
    let faults = &mut scenario.faults;
    odd_clients(faults, random);
    faults.strays = random.below(5) as usize;
    faults.garbles = some(400, 4, random);
    faults.lures = some(500, 3, random);
    faults.loops = some(400, 2, random);
    faults.moods = some(200, 2, random);
    if faults.loops > 0 {
        // An ASK to a node that imports the slot may be a lie, and nobody can tell.
        scenario.moves = 0;
    }
}

/// Clients that do not read, that leave in mid-request, that send half of one.
fn odd_clients(faults: &mut Faults, random: &mut Random) {
    faults.naps = *random.pick(&[0, 0, 30]);
    faults.nap_micros = *random.pick(&[1, 20_000, 500_000]);
    faults.departures = *random.pick(&[0, 0, 20]);
    faults.halves = *random.pick(&[0, 0, 30]);
}

/// In so many of 1,000 cases up to so many.
fn some(per_mille: u64, most: u64, random: &mut Random) -> usize {
    if random.chance(per_mille) {
        random.between(1, most) as usize
    } else {
        0
    }
}

/// Nearly as long as the proxy lets requests wait, all things that follow included.
const OUTAGE_MICROS: (u64, u64) = (500_000, 3_000_000);
