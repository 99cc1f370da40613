//! Assisted failover: when the process of a primary is gone, a replica is asked to take over at
//! once, so that nobody has to wait for the nodes' own cluster-node-timeout. It asks the others for
//! their votes as ever. Nobody is asked here: what is to be done comes out as wishes.
//!
//! An order that came too early would do harm. A replica that loses an election begins no other for
//! four times the cluster-node-timeout, not even by itself. So everything on which the votes depend
//! is looked at twice before (`standing.rs`), only one primary is dealt with at a time, and what
//! does not hold is left to the nodes.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Address, Instant};

use super::random::Random;
use super::standing::{Choice, NODE_TIMEOUT, Reason, Standing, Stricken, judge};
use super::story::{Outcome, Story};

/// All that is known of primaries that may be gone.
#[derive(Debug)]
pub(super) struct Assist {
    /// Primaries that somebody has lost, and that are to be looked at.
    suspects: BTreeSet<Address>,
    /// Nodes that are left alone for a while.
    rests: BTreeMap<Address, Rest>,
    case: Option<Case>,
    /// The nodes' own, once one of them has told it.
    node_timeout: Duration,
    wishes: VecDeque<Wish>,
    random: Random,
}

/// What the outside is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Find out whether a process answers there.
    Probe(Address),
    /// Ask the node for its standing.
    Ask(Address),
    /// Tell the replica to take over.
    Order(Address),
    /// Look for a new topology often until then, at that node first.
    Watch { node: Address, until: Instant },
    /// Nobody waits any more for the answers that are still to come.
    Forget,
    /// This is what became of a primary.
    Tell(Story),
}

/// What a probe has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    /// The host says that there is no process.
    Gone,
    /// Somebody answers.
    Alive,
    /// Nobody says anything: the network may be down, or the process may hang.
    Unclear,
}

/// A node that is left alone.
#[derive(Debug, Default)]
struct Rest {
    until: Instant,
    /// Until then the nodes do not vote about it again.
    voted_until: Instant,
    /// How often in a row no replica could be told to take over.
    suppressed: u32,
}

/// The primary that is being dealt with.
#[derive(Debug)]
struct Case {
    stricken: Stricken,
    began: Instant,
    step: Step,
    /// How often its host has said that there is no process.
    refusals: u32,
    /// Nodes whose standing is still to come.
    awaited: BTreeSet<Address>,
    standings: BTreeMap<Address, Standing>,
    /// The epochs that the others knew of when they were asked the time before.
    epochs: BTreeMap<Address, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// It is being probed.
    Probing { deadline: Instant },
    /// It is probed again then.
    Between { until: Instant },
    /// It is gone; the answers of the other nodes are still to come.
    Gathering { deadline: Instant },
    /// All is looked at once more then.
    Pausing { until: Instant },
    /// It is being probed, and the others are asked again.
    Checking { deadline: Instant, gone: bool },
    /// The replica was told to take over.
    Ordered { choice: Choice, until: Instant },
}

impl Assist {
    pub(super) fn new(random_seed: u64) -> Self {
        Self {
            suspects: BTreeSet::new(),
            rests: BTreeMap::new(),
            case: None,
            node_timeout: NODE_TIMEOUT,
            wishes: VecDeque::new(),
            random: Random::new(random_seed),
        }
    }

    /// Somebody has lost that primary.
    pub(super) fn suspect(&mut self, address: &Address) {
        let case = self.case.as_ref();
        if case.is_some_and(|case| case.stricken.address == *address) {
            return;
        }
        if self.suspects.len() < SUSPECTS_MAX {
            self.suspects.insert(address.clone());
        }
    }

    /// Which primary to look at now, if none is being dealt with.
    pub(super) fn next_suspect(&mut self, now: Instant) -> Option<Address> {
        if self.case.is_some() {
            return None;
        }
        let mut suspects = self.suspects.iter();
        let next = suspects.find(|address| self.rests_until(address) <= now);
        let next = next.cloned()?;
        self.suspects.remove(&next);
        Some(next)
    }

    fn rests_until(&self, address: &Address) -> Instant {
        let rest = self.rests.get(address);
        rest.map_or_else(Instant::default, |rest| rest.until)
    }

    /// Begins to deal with a primary.
    pub(super) fn begin(&mut self, stricken: Stricken, now: Instant) {
        self.wishes.push_back(Wish::Probe(stricken.address.clone()));
        self.case = Some(Case {
            stricken,
            began: now,
            step: Step::Probing {
                deadline: now + PATIENCE,
            },
            refusals: 0,
            awaited: BTreeSet::new(),
            standings: BTreeMap::new(),
            epochs: BTreeMap::new(),
        });
    }

    /// When something is to be done.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.case {
            Some(case) => Some(case.step.until()),
            None => {
                let suspects = self.suspects.iter();
                suspects.map(|address| self.rests_until(address)).min()
            }
        }
    }

    pub(super) fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// A slot of the primary that is being dealt with.
    pub(super) fn slot(&self) -> Option<Slot> {
        Some(self.case.as_ref()?.stricken.slot)
    }

    /// A probe has come to its end.
    pub(super) fn handle_probe(&mut self, pulse: Pulse, now: Instant) {
        let Some(case) = &mut self.case else { return };
        let is_probed = matches!(case.step, Step::Probing { .. } | Step::Checking { .. });
        match pulse {
            _ if !is_probed => {}
            Pulse::Alive => self.end(ALIVE_REST, now),
            Pulse::Unclear => self.end(UNCLEAR_REST, now),
            Pulse::Gone => {
                case.refusals += 1;
                if let Step::Checking { gone, .. } = &mut case.step {
                    *gone = true;
                } else if case.refusals < REFUSALS {
                    let until = now + PROBES_APART;
                    case.step = Step::Between { until };
                } else {
                    let deadline = now + PATIENCE;
                    case.step = Step::Gathering { deadline };
                }
                if case.refusals == 1 {
                    self.ask_all();
                }
                self.advance(now);
            }
        }
    }

    /// A node has told its standing, or nothing that makes sense, or can't be reached.
    pub(super) fn handle_standing(
        &mut self,
        address: &Address,
        standing: Option<Standing>,
        now: Instant,
    ) {
        let Some(case) = &mut self.case else { return };
        if !case.awaited.remove(address) {
            return;
        }
        if let Some(standing) = standing {
            if let Some(node_timeout) = standing.node_timeout {
                self.node_timeout = node_timeout;
            }
            case.standings.insert(address.clone(), standing);
        }
        self.advance(now);
    }

    /// The replica has accepted the order, or has refused it with these words.
    pub(super) fn handle_reply(&mut self, refusal: Option<String>, now: Instant) {
        let Some(case) = &self.case else { return };
        if let (Step::Ordered { choice, .. }, Some(refusal)) = (&case.step, refusal)
            // Else it has taken over already: another proxy has told it a moment earlier.
            && !refusal.contains(NOT_A_REPLICA)
        {
            let choice = choice.clone();
            self.tell(Some(choice), Outcome::Refused(refusal), now);
            self.end(REST, now);
        }
    }

    /// Who owns the slot that [`Assist::slot`] names, in the newest topology.
    pub(super) fn handle_owner(&mut self, owner: Option<&Address>, now: Instant) {
        let Some(case) = &self.case else { return };
        if owner.is_none_or(|owner| *owner == case.stricken.address) {
            return;
        }
        let address = case.stricken.address.clone();
        if let Step::Ordered { choice, .. } = &case.step {
            let choice = choice.clone();
            self.tell(Some(choice), Outcome::Succeeded, now);
        }
        self.end(Duration::ZERO, now);
        self.note_replaced(&address, now);
    }

    /// Another node has the slots of that primary. For a while the nodes would not vote about it
    /// again, should it come back and be lost once more.
    pub(super) fn note_replaced(&mut self, address: &Address, now: Instant) {
        self.suspects.remove(address);
        let rest = self.rests.entry(address.clone()).or_default();
        rest.voted_until = now + (self.node_timeout * VOTE_TIMEOUTS).max(REST);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.rests
            .retain(|_, rest| now < rest.until.max(rest.voted_until) + REMEMBERED);
        self.advance(now);
    }

    /// Goes on as far as what is known by now allows.
    fn advance(&mut self, now: Instant) {
        let Some(case) = &mut self.case else { return };
        let is_late = now >= case.step.until();
        let is_told = case.awaited.is_empty();
        match case.step {
            Step::Between { .. } if is_late => self.probe(now),
            Step::Gathering { .. } if is_late || is_told => self.pause(Duration::ZERO, now),
            Step::Pausing { .. } if is_late => self.check(now),
            Step::Checking { gone: true, .. } if is_late || is_told => self.decide(now),
            Step::Probing { .. } | Step::Checking { .. } if is_late => self.end(UNCLEAR_REST, now),
            Step::Ordered { ref choice, .. } if is_late => {
                let choice = choice.clone();
                let outcome = Outcome::Refused(NO_VOTES.to_owned());
                let address = case.stricken.address.clone();
                self.tell(Some(choice), outcome, now);
                self.end(REST, now);
                let rest = self.rests.entry(address).or_default();
                rest.voted_until = now + self.node_timeout * ELECTION_TIMEOUTS;
            }
            _ => {}
        }
    }

    fn probe(&mut self, now: Instant) {
        let Some(case) = &mut self.case else { return };
        case.step = Step::Probing {
            deadline: now + PATIENCE,
        };
        let address = case.stricken.address.clone();
        self.wishes.push_back(Wish::Probe(address));
    }

    fn ask_all(&mut self) {
        let Some(case) = &mut self.case else { return };
        case.standings.clear();
        let stricken = &case.stricken;
        let all = stricken.replicas.iter().chain(&stricken.others);
        case.awaited = all.cloned().collect();
        let asked = case.awaited.iter().cloned();
        self.wishes.extend(asked.map(Wish::Ask));
    }

    /// Lets a moment pass, at random: of several proxies, the later ones see what the first does.
    fn pause(&mut self, at_least: Duration, now: Instant) {
        let random = self.random.below(PAUSE_MAX.as_micros() as u64);
        let Some(case) = &mut self.case else { return };
        let standings = case.standings.iter();
        case.epochs = standings
            .map(|(address, standing)| (address.clone(), standing.epoch))
            .collect();
        let until = now + at_least + Duration::from_micros(random);
        case.step = Step::Pausing { until };
    }

    fn check(&mut self, now: Instant) {
        self.wishes.push_back(Wish::Forget);
        self.probe(now);
        self.ask_all();
        if let Some(case) = &mut self.case {
            case.step = Step::Checking {
                deadline: now + PATIENCE,
                gone: false,
            };
        }
    }

    /// All that could be known is known.
    fn decide(&mut self, now: Instant) {
        let Some(case) = &mut self.case else { return };
        let rest = self.rests.get(&case.stricken.address);
        let voted_until = rest.map_or_else(Instant::default, |rest| rest.voted_until);
        match judge(&case.stricken, &case.epochs, &case.standings) {
            Ok(_) if now < voted_until => {
                self.tell(None, Outcome::Suppressed(Reason::Tried.to_string()), now);
                self.end(voted_until.since(now), now);
            }
            Ok(choice) => {
                let until = now + ELECTION;
                let node = choice.replica.clone();
                case.step = Step::Ordered { choice, until };
                self.wishes.push_back(Wish::Order(node.clone()));
                self.wishes.push_back(Wish::Watch { node, until });
            }
            Err(reason) if reason.may_pass() && now.since(case.began) < GIVE_UP => {
                self.pause(reason.pause(), now);
            }
            Err(Reason::Replaced) => {
                if let Some(node) = case.stricken.others.first().cloned() {
                    let until = now + REST;
                    self.wishes.push_back(Wish::Watch { node, until });
                }
                self.end(REST, now);
            }
            Err(reason) => {
                let address = case.stricken.address.clone();
                self.tell(None, Outcome::Suppressed(reason.to_string()), now);
                self.end(REST, now);
                let suppressed = self.rests.get(&address).map_or(0, |rest| rest.suppressed);
                let rest = (REST * (1 << suppressed.min(5))).min(REST_MAX);
                self.rest(address, rest, now).suppressed = suppressed.saturating_add(1);
            }
        }
    }

    fn tell(&mut self, choice: Option<Choice>, outcome: Outcome, now: Instant) {
        let Some(case) = &self.case else { return };
        self.wishes.push_back(Wish::Tell(Story {
            primary: case.stricken.address.clone(),
            replica: choice.map(|choice| (choice.replica, choice.offset)),
            outcome,
            refusals: case.refusals,
            took: now.since(case.began),
        }));
    }

    /// Deals with the primary no longer, and for so long not again.
    fn end(&mut self, rest: Duration, now: Instant) {
        let Some(case) = self.case.take() else { return };
        self.wishes.push_back(Wish::Forget);
        self.rest(case.stricken.address, rest, now);
    }

    fn rest(&mut self, address: Address, rest: Duration, now: Instant) -> &mut Rest {
        let until = now + rest;
        let rest = self.rests.entry(address).or_default();
        rest.until = rest.until.max(until);
        rest
    }
}

impl Step {
    fn until(&self) -> Instant {
        match self {
            Self::Probing { deadline }
            | Self::Gathering { deadline }
            | Self::Checking { deadline, .. } => *deadline,
            Self::Between { until } | Self::Pausing { until } | Self::Ordered { until, .. } => {
                *until
            }
        }
    }
}

/// So often in a row the host must say that there is no process, before and besides the last check.
const REFUSALS: u32 = 3;
const PROBES_APART: Duration = Duration::from_millis(40);

/// How long a probe or a question may take. Who needs longer is not well enough to vote.
const PATIENCE: Duration = Duration::from_millis(500);

/// At most so long, at random, a proxy waits before the last check.
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// How long after the first sign a replica may be told to take over. Later the nodes may be about
/// to act themselves.
const GIVE_UP: Duration = Duration::from_secs(3);

/// How long a node that was told to take over tries to: `CLUSTER_MF_TIMEOUT` of the server.
const ELECTION: Duration = Duration::from_secs(5);

/// For so many times cluster-node-timeout primaries do not vote again about the same primary.
const VOTE_TIMEOUTS: u32 = 2;

/// For so many times cluster-node-timeout a replica does not begin another election.
const ELECTION_TIMEOUTS: u32 = 4;

/// How soon the same primary is looked at again: at least, and when nothing comes of it for long.
const REST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_mins(1);

/// The same for one that answers: some connection to it was lost, for whatever reason.
const ALIVE_REST: Duration = Duration::from_millis(50);

/// The same for one that neither answers nor is surely gone.
const UNCLEAR_REST: Duration = Duration::from_secs(1);

/// How long it is remembered that nothing came of looking at a primary.
const REMEMBERED: Duration = Duration::from_mins(1);

/// No more primaries than this wait for being looked at; those that are lost are lost again soon.
const SUSPECTS_MAX: usize = 1_000;

/// What a primary says that is told to take over from its primary.
const NOT_A_REPLICA: &str = "You should send CLUSTER FAILOVER to a replica";

const NO_VOTES: &str = "it has not taken over in time, as without a majority of the votes";

#[cfg(test)]
mod tests;
