//! What goes wrong, by chance: anything at any time, and the worst just when somebody votes.

use std::time::Duration;

use slotway_protocol::cluster::Role;

use super::world::{Deed, World};
use crate::network::first_id;

impl World {
    /// Lets something go wrong, or heals what did.
    pub(super) fn disturb(&mut self) {
        let nodes = self.scenario.nodes;
        let one = self.random.below(nodes);
        let other = (one + 1 + self.random.below(nodes - 1)) % nodes;
        match self.random.below(100) {
            0..14 => self.crash(one),
            14..20 => self.crash_some(),
            20..28 => self.stop(one),
            28..34 => self.split(false),
            34..38 => self.split(true),
            38..46 => self.isolate(one),
            46..54 => {
                tracing::info!(one, other, "nothing comes from one to the other");
                self.network.cut_one_way(one, other);
            }
            54..60 => {
                tracing::info!(one, other, "are cut off from each other");
                self.network.cut(one, other);
            }
            60..70 => {
                tracing::info!("all wires are mended");
                self.network.heal();
            }
            70..76 => self.reset_links(),
            76..82 => self.slow_down(one),
            82..85 => self.turn_clock(one),
            85..95 => self.fail_over(),
            _ => self.migrate(one, other),
        }
    }

    /// The worst moment for a crash: a vote is on its way, and may be forgotten.
    pub(super) fn react_to_vote(&mut self, voter: usize) {
        if self.random.percent(8) {
            let pause = self.random.millis(0, 2);
            self.plan(pause, Deed::PowerOff, voter);
            let pause = self.random.millis(20, 400);
            self.plan(pause, Deed::Start, voter);
        }
    }

    /// Somebody wants to be elected: others may, too, or it crashes.
    pub(super) fn react_to_candidate(&mut self, candidate: usize) {
        match self.random.below(100) {
            0..5 => {
                let pause = self.random.millis(0, 5);
                self.plan(pause, Deed::PowerOff, candidate);
                let pause = self.random.millis(20, 800);
                self.plan(pause, Deed::Start, candidate);
            }
            5..12 => self.fail_over(),
            _ => {}
        }
    }

    fn crash(&mut self, index: usize) {
        if !self.network.is_up(index) {
            return;
        }
        if self.random.percent(50) {
            tracing::info!(index, "is killed");
            self.network.kill(index);
        } else {
            tracing::info!(index, "the power fails");
            self.network.power_off(index);
        }
        let least = if self.random.percent(50) { 50 } else { 1_000 };
        let pause = self.random.millis(least, least * 8);
        self.plan(pause, Deed::Start, index);
    }

    /// Several at once, so that several elections are under way.
    fn crash_some(&mut self) {
        for _ in 0..2 + self.random.below(2) {
            let index = self.random.below(self.scenario.nodes);
            self.crash(index);
        }
    }

    fn stop(&mut self, index: usize) {
        if self.network.is_up(index) {
            let duration = self.random.millis(50, 4_000);
            tracing::info!(index, ?duration, "is stopped");
            self.network.stop(index, duration);
        }
    }

    /// Two halves, of which one or both hear nothing of the other.
    fn split(&mut self, one_way: bool) {
        let nodes = self.scenario.nodes;
        let here: Vec<bool> = (0..nodes).map(|_| self.random.percent(50)).collect();
        tracing::info!(?here, one_way, "is split");
        let pairs = (0..nodes).flat_map(|one| (0..nodes).map(move |other| (one, other)));
        for (one, other) in pairs.filter(|(one, other)| here[*one] && !here[*other]) {
            self.network.cut_one_way(one, other);
            if !one_way {
                self.network.cut_one_way(other, one);
            }
        }
    }

    fn isolate(&mut self, index: usize) {
        let (hears, is_heard) =
            [(false, false), (true, false), (false, true)][self.random.below(3)];
        tracing::info!(index, hears, is_heard, "is cut off from all");
        for other in (0..self.scenario.nodes).filter(|other| *other != index) {
            if !hears {
                self.network.cut_one_way(other, index);
            }
            if !is_heard {
                self.network.cut_one_way(index, other);
            }
        }
    }

    fn reset_links(&mut self) {
        for _ in 0..1 + self.random.below(10) {
            let index = self.random.below(self.scenario.nodes);
            let after = self.random.millis(0, 1_500);
            if !self.network.is_stopped(index) && self.network.reset_link(index, after) {
                tracing::info!(index, ?after, "a connection is reset");
            }
        }
    }

    fn slow_down(&mut self, index: usize) {
        let network = self.random.millis(0, 700);
        let disk = self.random.millis(0, 3_000);
        let (network, disk) = match self.random.below(4) {
            0 => (network, Duration::ZERO),
            1 => (Duration::ZERO, disk),
            2 => (network, disk),
            _ => (Duration::ZERO, Duration::ZERO),
        };
        tracing::info!(index, ?network, ?disk, "is slow");
        self.network.slow_down(index, network, disk);
    }

    fn turn_clock(&mut self, index: usize) {
        let mut clock = self.network.clock(index);
        clock.ahead_ms += self.random.below(60_000) as i64 - 30_000;
        tracing::info!(index, clock.ahead_ms, "the clock on the wall is turned");
        self.network.set_clock(index, clock);
    }

    /// One replica or more are told to take over.
    fn fail_over(&mut self) {
        let mut forms = vec![""];
        if self.scenario.has_forced {
            forms.extend([" FORCE", " FORCE"]);
        }
        if self.scenario.has_takeovers {
            forms.push(" TAKEOVER");
        }
        let form = self.random.pick(&forms).unwrap_or_default();
        let replicas: Vec<usize> = self.working(Role::Replica);
        for _ in 0..1 + self.random.below(3) {
            if let Some(index) = self.random.pick(&replicas) {
                let reply = self.network.ask(index, &format!("CLUSTER FAILOVER{form}"));
                tracing::info!(index, form, reply, "is to take over");
                if !form.is_empty() && reply.starts_with('+') {
                    self.judge
                        .force(index, form == " FORCE", self.network.micros());
                }
            }
        }
    }

    fn working(&self, role: Role) -> Vec<usize> {
        let works = |index: &usize| {
            let id = first_id(*index);
            self.network.is_up(*index)
                && !self.network.is_stopped(*index)
                && self
                    .network
                    .view(*index)
                    .node(&id)
                    .is_some_and(|node| node.role == role)
        };
        (0..self.scenario.nodes).filter(works).collect()
    }

    /// A slot without keys goes from one primary to another, perhaps not to the end. What a node
    /// refuses is the end, as it is for redis-cli.
    fn migrate(&mut self, one: usize, other: usize) {
        if !self.scenario.has_migrations || one == other {
            return;
        }
        let primaries = self.working(Role::Primary);
        if !primaries.contains(&one) || !primaries.contains(&other) {
            return;
        }
        let (source, target) = (first_id(one), first_id(other));
        let movable = self.scenario.movable();
        let slot = movable.into_iter().find(|slot| {
            let owner = self.network.view(one).owner(*slot);
            owner.is_some_and(|owner| owner.id == source)
        });
        let Some(slot) = slot.map(|slot| slot.number()) else {
            return;
        };
        let steps = [
            (other, format!("IMPORTING {source}")),
            (one, format!("MIGRATING {target}")),
            (other, format!("NODE {target}")),
            (one, format!("NODE {target}")),
        ];
        let count = if self.random.percent(70) {
            4
        } else {
            1 + self.random.below(4)
        };
        for (index, step) in steps.into_iter().take(count) {
            if !self.network.is_up(index) || self.network.is_stopped(index) {
                break;
            }
            let line = format!("CLUSTER SETSLOT {slot} {step}");
            let reply = self.order(index, &line);
            tracing::info!(index, line, reply, "a slot moves");

            if !reply.starts_with('+') {
                break;
            }
            let pause = self.random.millis(0, 300);
            self.pass(pause);
        }
    }

    /// A node may have taken another epoch for a slot that it was told to take over, and did so
    /// when it was told, not when it answers.
    fn note_epoch(&mut self, index: usize) {
        if self.network.is_up(index) {
            let view = self.network.view(index);
            let epoch = view.node(&first_id(index)).map(|node| node.epoch);
            self.judge.bump(index, epoch.unwrap_or_default());
        }
    }

    /// Tells a node something and waits for the answer; it has none when it ends before that.
    fn order(&mut self, index: usize, line: &str) -> String {
        let client = self.network.client(index);
        self.network.request(index, client, line);
        if line.contains(" NODE ") {
            self.note_epoch(index);
        }
        let deadline = self.network.micros() + ANSWER_WITHIN;
        loop {
            let (reply, is_open) = self.network.replies(index, client);
            if !reply.is_empty() || !is_open || self.network.micros() >= deadline {
                self.network.leave(index, client);
                return reply;
            }
            self.pass(Duration::from_millis(1));
        }
    }

    /// As `redis-cli --cluster fix` does with slots that are open.
    pub(super) fn close_migrations(&mut self) {
        for index in 0..self.scenario.nodes {
            for slot in self.scenario.movable() {
                let view = self.network.view(index);
                if view.migrating(slot).is_some() || view.importing(slot).is_some() {
                    let line = format!("CLUSTER SETSLOT {} STABLE", slot.number());
                    self.order(index, &line);
                }
            }
        }
    }
}

/// How long an operator waits for an answer, in virtual microseconds.
const ANSWER_WITHIN: u64 = 5_000_000;
