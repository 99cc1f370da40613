//! One cluster from its beginning to its end: things go wrong, then nothing does any more, and a
//! judge looks on.

use std::collections::BTreeSet;
use std::time::Duration;

use slotway_protocol::cluster::Slot;

use super::judge::{Judge, complaint};
use super::random::Random;
use super::scenario::Scenario;
use crate::network::{Network, first_id};

pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) network: Network,
    pub(super) random: Random,
    pub(super) judge: Judge,
    /// What is to be done at which time, in microseconds.
    due: Vec<(u64, Deed, usize)>,
    keys: Vec<(String, Slot)>,
    /// Slots of which all have to have the same idea in the end.
    watched: Vec<Slot>,
    last_write: u64,
    /// When it was last looked at whether all know of primaries that were replaced.
    last_look: u64,
    /// Something may go wrong.
    is_disturbed: bool,
}

/// Something that is done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Start,
    PowerOff,
}

/// What a run was like.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) writes: u64,
    pub(super) conflicts: u64,
    /// How often primaries that worked were replaced.
    pub(super) forced: u64,
    pub(super) elections: u64,
    /// How long it took until all was well again, in virtual milliseconds.
    pub(super) healing_ms: u64,
    pub(super) virtual_ms: u64,
}

/// Runs the cluster of a seed; panics when something happens that must not.
pub(super) fn run(seed: u64) -> Report {
    let mut random = Random::new(seed);
    let scenario = Scenario::of(seed);
    let network = scenario.network(seed, &mut random);
    let (keys, movable) = (scenario.keys(), scenario.movable());
    let mut watched = movable;
    watched.extend(keys.iter().map(|(_, slot)| *slot));
    watched.sort();
    let judge = Judge::new(&scenario);
    let mut world = World {
        scenario,
        network,
        random,
        judge,
        due: Vec::new(),
        keys,
        watched,
        last_write: 0,
        last_look: 0,
        is_disturbed: false,
    };
    for index in 0..world.scenario.nodes {
        world.judge.started(index, &world.network);
    }
    world.wait_until_well("the cluster forms");
    world.is_disturbed = true;
    for _ in 0..world.scenario.rounds {
        world.disturb();
        let pause = match world.random.below(4) {
            0 => world.random.millis(0, 50),
            1 | 2 => world.random.millis(0, 1_000),
            _ => world.random.millis(0, 5_000),
        };
        world.pass(pause);
    }
    world.mend();
    let healing_ms = world.wait_until_well("all is well again");
    world.check_service();
    Report {
        seed,
        writes: world.judge.writes,
        conflicts: world.judge.conflicts,
        forced: world.judge.forced,
        elections: world.judge.elections,
        healing_ms,
        virtual_ms: world.network.micros() / 1000,
    }
}

impl World {
    /// Lets time go by, with clients that write, and reacts to what is seen.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.network.micros() + duration.as_micros() as u64;
        while self.network.micros() < end {
            let next_due = self.due.iter().map(|(at, ..)| *at).min();
            let until = end
                .min(next_due.unwrap_or(end))
                .min(self.last_write + WRITE_EVERY)
                .max(self.network.micros());
            let slice = Duration::from_micros(until - self.network.micros());
            self.network.run_until_news(slice);
            self.look();
            self.do_what_is_due();
            if self.network.micros() >= self.last_write + WRITE_EVERY {
                self.last_write = self.network.micros();
                self.write();
            }
        }
    }

    fn look(&mut self) {
        for vote in std::mem::take(&mut self.network.tap.votes) {
            self.judge.take_vote(vote);
            if self.is_disturbed {
                self.react_to_vote(vote.voter);
            }
        }
        for candidate in std::mem::take(&mut self.network.tap.candidates) {
            if self.is_disturbed {
                self.react_to_candidate(candidate);
            }
        }
        for reply in std::mem::take(&mut self.network.tap.replies) {
            self.judge.take_reply(&reply);
        }
        self.judge.look_at_primaries(&self.network);
        let now = self.network.micros();
        if self.judge.may_be_over(now) && now >= self.last_look + LOOK_EVERY {
            self.last_look = now;
            let are_up = (0..self.scenario.nodes).all(|index| self.network.is_up(index));
            let nobody = BTreeSet::new();
            if are_up && complaint(&mut self.network, &self.watched, &nobody).is_none() {
                self.judge.is_forced = false;
            }
        }
    }

    /// Writes to every key at each node that holds its slot to be its own.
    fn write(&mut self) {
        for index in 0..self.scenario.nodes {
            if !self.network.is_up(index) || self.network.is_stopped(index) {
                continue;
            }
            let id = first_id(index);
            for (number, (key, slot)) in self.keys.iter().enumerate() {
                let owner = self.network.view(index).owner(*slot);
                if owner.is_some_and(|owner| owner.id == id) {
                    self.network.write_key(index, number, key);
                }
            }
        }
    }

    pub(super) fn plan(&mut self, after: Duration, deed: Deed, index: usize) {
        let at = self.network.micros() + after.as_micros() as u64;
        self.due.push((at, deed, index));
    }

    fn do_what_is_due(&mut self) {
        let now = self.network.micros();
        let due: Vec<_> = self.due.extract_if(.., |(at, ..)| *at <= now).collect();
        for (_, deed, index) in due {
            match deed {
                Deed::Start => self.start(index),
                Deed::PowerOff if self.network.is_up(index) => {
                    tracing::info!(index, "the power fails");
                    self.network.power_off(index);
                }
                Deed::PowerOff => {}
            }
        }
    }

    fn start(&mut self, index: usize) {
        if !self.network.is_up(index) {
            tracing::info!(index, "starts");
            self.network.start(index);
            self.judge.started(index, &self.network);
        }
    }

    /// From now on nothing goes wrong any more.
    fn mend(&mut self) {
        tracing::info!("nothing goes wrong from here on");
        self.is_disturbed = false;
        self.network.heal();
        self.network.latency = self.network.latency.min(5_000);
        self.network.set_jitter(Duration::from_millis(1));
        self.network.saving = self.network.saving.min(5_000);
        self.due.clear();
        for index in 0..self.scenario.nodes {
            self.network
                .slow_down(index, Duration::ZERO, Duration::ZERO);
            self.start(index);
        }
        while (0..self.scenario.nodes).any(|index| self.network.is_stopped(index)) {
            self.pass(Duration::from_millis(100));
        }
        self.close_migrations();
    }

    /// How long it took until all nodes agreed and served, in milliseconds.
    fn wait_until_well(&mut self, what: &str) -> u64 {
        let (start, nobody) = (self.network.micros(), BTreeSet::new());
        while let Some(complaint) = complaint(&mut self.network, &self.watched, &nobody) {
            let passed = self.network.micros() - start;
            tracing::info!(complaint, "not well yet");
            assert!(passed < WELL_WITHIN, "{what}: not yet: {complaint}");
            self.pass(Duration::from_millis(200));
        }
        (self.network.micros() - start) / 1000
    }

    /// Every key can be written to, at one node.
    fn check_service(&mut self) {
        // A primary that a replica has asked to hand over holds writes back for that long.
        self.pass(Duration::from_secs(11));
        self.wait_until_well("all is still well");
        self.judge.refused = None;
        let before = self.judge.writes;
        self.write();
        self.look();
        let written = self.judge.writes - before;
        let refused = &self.judge.refused;
        assert_eq!(
            written,
            self.keys.len() as u64,
            "written, of all keys; {refused:?}"
        );
        let all: Vec<Slot> = Slot::all().collect();
        let complaint = complaint(&mut self.network, &all, &BTreeSet::new());
        assert!(complaint.is_none(), "of all slots: {complaint:?}");
    }
}

/// How often it is looked at whether all agree again, in microseconds.
const LOOK_EVERY: u64 = 500_000;

/// How often clients write, in microseconds.
const WRITE_EVERY: u64 = 50_000;

/// How long it may take until all is well when nothing goes wrong, in virtual microseconds.
const WELL_WITHIN: u64 = 60_000_000;
