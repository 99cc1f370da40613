//! Clusters whose nodes are killed, started and cut off from each other by chance: no two ever own
//! a slot with the same epoch, and all is well again once everybody is back.

use std::collections::BTreeMap;
use std::time::Duration;

use slotway_node::Config;
use slotway_protocol::cluster::Slot;

use crate::network::{Network, first_id};
use crate::virtual_time::{config, form, settle};

/// Who has owned a slot, by the slot and the epoch that it was owned with.
type Owners = BTreeMap<(u64, u64), String>;

#[test]
fn no_two_nodes_own_a_slot_with_the_same_epoch() {
    let seeds = std::env::var("SLOTWAY_SIM_SEEDS").ok();
    let seeds = seeds.and_then(|seeds| seeds.parse().ok()).unwrap_or(15);
    for seed in 0..seeds {
        let crash_failover = seed % 2 == 0;
        let config = Config {
            cluster_crash_failover: crash_failover,
            ..config()
        };
        let (primaries, replicas) = if seed % 3 == 0 { (3, 2) } else { (3, 1) };
        let mut network = form(config, primaries, replicas);
        disturb(&mut network, seed, primaries * (1 + replicas));
    }
}

fn disturb(network: &mut Network, seed: u64, count: usize) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % bound as u64) as usize
    };
    let mut owners = Owners::new();
    for _ in 0..25 {
        let (one, other) = (below(count), below(count));
        match below(6) {
            0 | 1 if network.is_up(one) => network.kill(one),
            0..=2 if !network.is_up(one) => network.start(one),
            3 | 4 if one != other => network.cut(one, other),
            5 => network.heal(),
            _ => {}
        }
        for _ in 0..=below(40) {
            network.run(Duration::from_millis(100));
            check(network, seed, count, &mut owners);
        }
    }
    network.heal();
    for index in 0..count {
        if !network.is_up(index) {
            network.start(index);
        }
    }
    settle(network);
    check(network, seed, count, &mut owners);
}

fn check(network: &Network, seed: u64, count: usize, owners: &mut Owners) {
    for index in (0..count).filter(|index| network.is_up(*index)) {
        let view = network.view(index);
        for number in [0, 6_000, 16_383] {
            let slot = Slot::new(number).unwrap();
            let owner = view.owner(slot);
            let Some(owner) = owner.filter(|owner| owner.id == first_id(index)) else {
                continue;
            };
            let known = owners
                .entry((number, owner.epoch))
                .or_insert_with(|| owner.id.clone());
            assert_eq!(
                *known, owner.id,
                "seed {seed}, slot {number}, {}",
                owner.epoch
            );
        }
    }
}
