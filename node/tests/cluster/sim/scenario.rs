//! What kind of cluster a seed has, and what may happen to it.

use slotway_node::Config;
use slotway_protocol::cluster::Slot;

use super::random::Random;
use crate::network::clock::Clock;
use crate::network::{Network, first_id, host_name};

/// A cluster and what may happen to it.
pub(super) struct Scenario {
    pub(super) primaries: usize,
    pub(super) nodes: usize,
    /// Nodes may take slots without votes, by CLUSTER FAILOVER TAKEOVER.
    pub(super) has_takeovers: bool,
    /// Replicas may replace primaries that work, by CLUSTER FAILOVER FORCE.
    pub(super) has_forced: bool,
    pub(super) has_migrations: bool,
    /// All primaries begin with the same epoch.
    pub(super) has_equal_epochs: bool,
    pub(super) rounds: usize,
    pub(super) config: Config,
}

impl Scenario {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xc1a5);
        let primaries = match random.below(20) {
            0..=12 => 3 + random.below(2),
            13..=17 => 5 + random.below(2),
            _ => 7 + random.below(4),
        };
        // Up to ten with a replica each, or half as many with two.
        let replicas = if primaries <= 5 && random.percent(30) {
            2
        } else {
            1
        };
        Self {
            primaries,
            nodes: primaries * (1 + replicas),
            has_takeovers: random.percent(10),
            has_forced: random.percent(40),
            has_migrations: random.percent(25),
            has_equal_epochs: random.percent(25),
            rounds: 8 + random.below(24),
            config: Config {
                cluster_node_timeout: 1_000,
                protected_mode: false,
                // Whose keys are how old is not looked at here.
                cluster_replica_validity_factor: 0,
                cluster_crash_failover: random.percent(50),
                cluster_require_full_coverage: random.percent(70),
                cluster_allow_replica_migration: random.percent(70),
                ..Config::default()
            },
        }
    }

    /// The cluster, as its nodes' files have it.
    pub(super) fn network(&self, seed: u64, random: &mut Random) -> Network {
        let mut network = Network::seeded(self.config.clone(), seed);
        network.latency = [200, 1_000, 5_000, 40_000][random.below(4)];
        network.saving = [0, 500, 5_000, 30_000][random.below(4)];
        for index in 0..self.nodes {
            network.add_host(Some(self.file(index)));
            if random.percent(70) {
                let clock = Clock {
                    fast_by: random.below(20_001) as i64 - 10_000,
                    ahead_ms: random.below(600_001) as i64 - 300_000,
                };
                network.set_clock(index, clock);
            }
        }
        network.set_jitter(random.millis(0, 20));
        for index in 0..self.nodes {
            network.run(random.millis(0, 100));
            network.start(index);
        }
        network
    }

    /// The slots that a node has at first.
    fn slots(&self, index: usize) -> (usize, usize) {
        let first = index * 16_384 / self.primaries;
        (first, (index + 1) * 16_384 / self.primaries - 1)
    }

    /// For each primary a key that it has at first, and for each slot of those keys one that no
    /// client writes to and that may be moved.
    pub(super) fn keys(&self) -> Vec<(String, Slot)> {
        let owned = (0..self.primaries).map(|index| self.slots(index));
        owned
            .map(|(first, last)| {
                let keys = (0..).map(|number| format!("key{number}"));
                let mut keys = keys.map(|key| {
                    let slot = Slot::of(key.as_bytes());
                    (key, slot)
                });
                // Not the first slots, which move.
                let fits = |slot: Slot| (first + 10..=last).contains(&slot.index());
                keys.find(|(_, slot)| fits(*slot)).unwrap()
            })
            .collect()
    }

    /// Slots that may be moved; no client writes to them.
    pub(super) fn movable(&self) -> Vec<Slot> {
        let firsts = (0..self.primaries).map(|index| self.slots(index).0 as u64);
        let slots = firsts.flat_map(|first| first..first + 3);
        slots.filter_map(Slot::new).collect()
    }

    fn file(&self, me: usize) -> String {
        let mut text = String::new();
        for index in 0..self.nodes {
            let is_me = if index == me { "myself," } else { "" };
            let (role, primary, slots) = if index < self.primaries {
                let (first, last) = self.slots(index);
                ("master", "-".to_owned(), format!(" {first}-{last}"))
            } else {
                ("slave", first_id(index % self.primaries), String::new())
            };
            let epoch = if self.has_equal_epochs { 1 } else { index + 1 };
            let (id, host) = (first_id(index), host_name(index));
            text += &format!(
                "{id} {host}:7000@17000 {is_me}{role} {primary} 0 0 {epoch} connected{slots}\n"
            );
        }
        text + &format!("vars currentEpoch {} lastVoteEpoch 0\n", self.primaries)
    }
}
