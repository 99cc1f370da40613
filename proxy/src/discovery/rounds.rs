//! Rounds of questions about the topology: when one begins, whom it asks, and what comes of the
//! answers.

use core::time::Duration;
use std::sync::Arc;

use slotway_protocol::cluster::{SLOTS, Topology};
use slotway_protocol::engine::{Action, Address, Instant};

use super::beliefs::Answer;
use super::question::{Databases, Subject, told_nodes};
use super::{Discovery, LATE, Notice};

/// Why a round of questions begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// No node has answered yet.
    Start,
    /// It is time to.
    Interval,
    /// A redirect or a lost connection tells of a change.
    Doubt,
    /// Slots are without an owner, a node is said to be down, or none has answered.
    Trouble,
}

impl Trigger {
    /// In the order of the triggers.
    pub const NAMES: [&str; 4] = ["start", "interval", "doubt", "trouble"];
}

/// Questions that are being asked at the same time.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) deadline: Instant,
    pending: usize,
    answered: bool,
    trigger: Trigger,
    /// The topology was doubted after the round began: some answers may be from before the change.
    stale_again: bool,
}

impl Discovery {
    /// Asks a few nodes at once.
    pub(super) fn begin_round(&mut self, now: Instant) {
        self.started = true;
        self.last_round = now;
        self.rounds += 1;
        let asked = self.whom_to_ask();
        let deadline = now + self.options.answer_timeout;
        self.round = Some(Round {
            deadline,
            pending: asked.len(),
            answered: false,
            trigger: self.trigger,
            stale_again: false,
        });
        for address in asked {
            self.connect(address, Subject::Topology);
        }
    }

    /// The next few of the known nodes; the seeds when there are none or they do not answer.
    fn whom_to_ask(&mut self) -> Vec<Address> {
        let watched = self.watch.as_ref().map(|watch| watch.node.clone());
        let mut asked: Vec<Address> = Vec::from_iter(watched);
        for _ in 0..self.known.len().min(ASKED_MAX) {
            self.known.rotate_left(1);
            let next = self.known.back().cloned();
            asked.extend(next.filter(|next| asked.first() != Some(next)));
        }
        if asked.is_empty() || self.failures > 0 {
            let start = self.random.below(self.options.seeds.len() as u64) as usize;
            let seeds = self.options.seeds.iter().cycle().skip(start);
            for seed in seeds.take(self.options.seeds.len().min(ASKED_MAX)) {
                if !asked.contains(seed) {
                    asked.push(seed.clone());
                }
            }
        }
        asked
    }

    /// A question came to its end, with an answer or without.
    pub(super) fn conclude(&mut self, answer: Option<Answer>, now: Instant) {
        let answer = answer.and_then(|answer| self.unless_blank(answer));
        let Some(round) = &mut self.round else { return };
        round.pending = round.pending.saturating_sub(1);
        let ends = round.pending == 0;
        let Some(answer) = answer else {
            if ends {
                self.end_round(now);
            }
            return;
        };
        round.answered = true;
        round.deadline = round.deadline.min(now + AFTER_AN_ANSWER);
        // The first slots of all are better than none; later on all that were asked count.
        let first = answer.has_slots() && !self.has_slots();
        self.beliefs.add(answer);
        if ends {
            self.end_round(now);
        } else if first {
            self.merge(now);
        }
    }

    /// A node without slots that once had some has restarted empty. Were it believed, all that
    /// is known of the others would be lost with it; and of no use would it be even when all are
    /// like that, because a topology without owners leads to nobody who could know better.
    fn unless_blank(&mut self, answer: Answer) -> Option<Answer> {
        if self.has_slots() && !answer.has_slots() {
            self.unreachable(answer.from, "it knows of no slots".to_owned());
            return None;
        }
        Some(answer)
    }

    fn has_slots(&self) -> bool {
        let published = self.published.as_ref();
        published.is_some_and(|topology| topology.covered() > 0)
    }

    fn end_round(&mut self, now: Instant) {
        let Some(round) = self.round.take() else {
            return;
        };
        if round.answered {
            self.failures = 0;
            let age_max = self.options.refresh_interval * BELIEVED_INTERVALS;
            self.beliefs.expire(now, age_max);
            self.merge(now);
        } else {
            self.failures += 1;
        }
        self.next_round = now + self.pause(round.answered, now);
        self.trigger = match &self.published {
            None => Trigger::Start,
            Some(_) if self.is_calm(round.answered) => Trigger::Interval,
            Some(_) => Trigger::Trouble,
        };
        if round.stale_again {
            self.hurry(now);
        }
        self.actions.push_back(Action::Notify(Notice::Refreshed {
            answered: round.answered,
            trigger: round.trigger,
            epoch: self.beliefs.epoch(),
        }));
    }

    /// Whether the next round has time.
    fn is_calm(&self, answered: bool) -> bool {
        answered && self.watch.is_none() && self.trouble_since.is_none()
    }

    /// The time to the next round if nothing happens.
    fn pause(&mut self, answered: bool, now: Instant) -> Duration {
        if self.watch.is_some() {
            return WATCH_APART;
        }
        if !answered {
            return RETRY_INTERVAL;
        }
        let published = self.published.as_ref();
        let is_whole = published.is_some_and(|topology| topology.covered() == SLOTS);
        if !is_whole || self.beliefs.is_in_trouble(self.rounds) {
            let since = *self.trouble_since.get_or_insert(now);
            let is_fresh = now.since(since) <= TROUBLE_FRESH;
            return if is_fresh {
                TROUBLE_APART
            } else {
                TROUBLE_LATER
            };
        }
        self.trouble_since = None;
        let jitter = self
            .random
            .below(self.options.refresh_interval.as_micros() as u64 / 10);
        self.options.refresh_interval + Duration::from_micros(jitter)
    }

    /// The topology may have changed.
    pub(super) fn doubt(&mut self, now: Instant) {
        match &mut self.round {
            Some(round) => round.stale_again = true,
            None => self.hurry(now),
        }
    }

    /// Lets the next round begin as soon as rounds may.
    fn hurry(&mut self, now: Instant) {
        let apart = if self.watch.is_some() {
            WATCH_APART
        } else {
            ROUNDS_APART
        };
        let soon = (self.last_round + apart).max(now);
        if soon < self.next_round {
            self.next_round = soon;
            if self.published.is_some() {
                self.trigger = Trigger::Doubt;
            }
        }
    }

    /// Makes one topology of all that the nodes say.
    fn merge(&mut self, now: Instant) {
        let topology = self.beliefs.merge();
        if self.published.as_deref() != Some(&topology) {
            self.note_replaced(&topology, now);
            self.publish(topology);
        }
        self.note_owner(now);
    }

    fn publish(&mut self, topology: Topology) {
        let mut nodes: Vec<Address> = Vec::new();
        for shard in topology.shards() {
            nodes.push(shard.primary.clone());
            nodes.extend(shard.replicas.iter().cloned());
        }
        // A member without slots may know of the next owner before the others do.
        self.known.retain(|address| topology.has_node(address));
        for node in topology.nodes() {
            if !self.known.contains(node) {
                self.known.push_back(node.clone());
            }
        }
        self.lessons.set_nodes(nodes);
        if self.lessons.is_off() {
            self.note_databases(Databases::Some(1));
        }
        let (known, seeds) = (&self.known, &self.options.seeds);
        self.beliefs
            .keep_only(|node| known.contains(node) || seeds.contains(node));
        let topology = Arc::new(topology);
        self.published = Some(topology.clone());
        self.actions
            .push_back(Action::Notify(Notice::Topology(topology)));
    }

    /// Reads the reply of a node that was asked.
    pub(super) fn read_answer(
        &mut self,
        address: &Address,
        reply: &[u8],
        at: Instant,
    ) -> Option<Answer> {
        match told_nodes(reply, address, &self.options.addresses) {
            Ok(lines) => Some(Answer {
                from: address.clone(),
                round: self.rounds,
                at,
                lines,
            }),
            Err(Some(problem)) => {
                self.unreachable(address.clone(), problem);
                None
            }
            Err(None) => {
                let address = address.clone();
                let notice = Notice::NotACluster { address };
                self.actions.push_back(Action::Notify(notice));
                None
            }
        }
    }

    /// Goes on without the nodes that have not answered in time.
    pub(super) fn abandon_round(&mut self, now: Instant) {
        for address in self.drop_questions(Subject::Topology) {
            self.unreachable(address, LATE.to_owned());
        }
        self.end_round(now);
    }
}

/// How many nodes are asked in one round.
const ASKED_MAX: usize = 3;

/// How long the others have once a node has answered: one that is down must not delay the rest.
const AFTER_AN_ANSWER: Duration = Duration::from_millis(100);

/// A node's answer counts for so many refresh intervals, unless it answers again.
const BELIEVED_INTERVALS: u32 = 2;

/// Rounds are at least this far apart, however often the topology is said to be stale.
const ROUNDS_APART: Duration = Duration::from_millis(50);

/// The same while a replica is about to take over.
const WATCH_APART: Duration = Duration::from_millis(20);

/// The time to the next round while no node answers.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// The same while slots are without an owner, or one is said to be down: a new one may come at any
/// moment.
const TROUBLE_APART: Duration = Duration::from_millis(100);

/// From then on it is probably there to stay.
const TROUBLE_FRESH: Duration = Duration::from_secs(60);

/// The time to the next round in such a lasting trouble.
const TROUBLE_LATER: Duration = Duration::from_millis(500);
