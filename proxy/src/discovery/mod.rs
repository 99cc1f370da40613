//! Learns the topology: asks several nodes what they believe of the cluster, and for each slot
//! believes the claim with the highest config epoch. Learns the nodes' commands besides. An engine
//! of its own, on the control thread.

mod beliefs;
mod lessons;
mod options;
mod question;

pub use options::Options;

use core::time::Duration;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::{SLOTS, Topology};
use slotway_protocol::command::Learned;
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};
use slotway_protocol::output::Output;

use self::beliefs::{Answer, Beliefs};
use self::lessons::Lessons;
use self::question::{Databases, Question, Subject, told_databases, told_nodes};

/// What the outside tells discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Something says that the topology has changed: ask soon.
    Stale,
}

/// What discovery tells the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The cluster looks like this now; sent when it differs from what was sent before.
    Topology(Arc<Topology>),
    /// The nodes have these commands besides those of the table; sent when they differ from what
    /// was sent before, or are the first.
    Commands(Arc<Learned>),
    /// The nodes have that many databases; sent when it is not what was sent before, or the first.
    Databases(u32),
    /// A node did not tell its commands. What was learned before stays.
    CommandsUnknown { address: Address, reason: String },
    /// A round of questions has ended, with at least one answer or with none.
    Refreshed { answered: bool },
    /// A node could not be asked.
    Unreachable { address: Address, reason: String },
    /// A node answered that it is not part of a cluster.
    NotACluster { address: Address },
}

/// The discovery engine.
#[derive(Debug)]
pub struct Discovery {
    options: Options,
    /// Nodes of the last topology, in the order in which they are asked next.
    known: VecDeque<Address>,
    beliefs: Beliefs,
    round: Option<Round>,
    /// Rounds begun so far.
    rounds: u64,
    next_round: Instant,
    last_round: Instant,
    /// Rounds without an answer since the last with one.
    failures: u32,
    published: Option<Arc<Topology>>,
    lessons: Lessons,
    connections: HashMap<ConnectionId, Question>,
    /// Connections asked for, whom they lead to and what that node is to be asked.
    connecting: HashMap<ConnectToken, (Address, Subject)>,
    tokens: u32,
    actions: VecDeque<Action<Notice>>,
    random: u64,
    started: bool,
}

/// Questions that are being asked at the same time.
#[derive(Debug)]
struct Round {
    deadline: Instant,
    pending: usize,
    answered: bool,
    /// The topology was doubted after the round began: some answers may be from before the change.
    stale_again: bool,
}

impl Discovery {
    pub fn new(options: Options) -> Self {
        let random = options.random_seed | 1;
        let lessons = Lessons::new(options.commands_interval);
        Self {
            options,
            lessons,
            known: VecDeque::new(),
            beliefs: Beliefs::default(),
            round: None,
            rounds: 0,
            next_round: Instant::default(),
            last_round: Instant::default(),
            failures: 0,
            published: None,
            connections: HashMap::new(),
            connecting: HashMap::new(),
            tokens: 0,
            actions: VecDeque::new(),
            random,
            started: false,
        }
    }

    /// Asks a few nodes at once.
    fn begin_round(&mut self, now: Instant) {
        self.started = true;
        self.last_round = now;
        self.rounds += 1;
        let asked = self.whom_to_ask();
        let deadline = now + self.options.answer_timeout;
        self.round = Some(Round {
            deadline,
            pending: asked.len(),
            answered: false,
            stale_again: false,
        });
        for address in asked {
            self.connect(address, Subject::Topology);
        }
    }

    fn connect(&mut self, address: Address, subject: Subject) {
        let token = ConnectToken(self.tokens);
        self.tokens = self.tokens.wrapping_add(1);
        self.connecting.insert(token, (address.clone(), subject));
        self.actions.push_back(Action::Connect { token, address });
    }

    /// The next few of the known nodes; the seeds when there are none or they do not answer.
    fn whom_to_ask(&mut self) -> Vec<Address> {
        let mut asked: Vec<Address> = Vec::new();
        for _ in 0..self.known.len().min(ASKED_MAX) {
            self.known.rotate_left(1);
            asked.extend(self.known.back().cloned());
        }
        if asked.is_empty() || self.failures > 0 {
            let start = self.random_below(self.options.seeds.len() as u64) as usize;
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
    fn conclude(&mut self, answer: Option<Answer>, now: Instant) {
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
            self.publish(self.beliefs.merge());
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
            self.publish(self.beliefs.merge());
        } else {
            self.failures += 1;
        }
        self.next_round = now + self.pause(round.answered);
        if round.stale_again {
            self.hurry(now);
        }
        self.actions.push_back(Action::Notify(Notice::Refreshed {
            answered: round.answered,
        }));
    }

    /// The time to the next round if nothing happens.
    fn pause(&mut self, answered: bool) -> Duration {
        let published = self.published.as_ref();
        if !answered || published.is_none_or(|topology| topology.covered() < SLOTS) {
            return RETRY_INTERVAL;
        }
        let jitter = self.random_below(self.options.refresh_interval.as_micros() as u64 / 10);
        self.options.refresh_interval + Duration::from_micros(jitter)
    }

    /// Lets the next round begin as soon as rounds may.
    fn hurry(&mut self, now: Instant) {
        let soon = (self.last_round + ROUNDS_APART).max(now);
        self.next_round = self.next_round.min(soon);
    }

    fn publish(&mut self, topology: Topology) {
        if self.published.as_deref() == Some(&topology) {
            return;
        }
        let mut nodes: Vec<Address> = Vec::new();
        for shard in topology.shards() {
            nodes.push(shard.primary.clone());
            nodes.extend(shard.replicas.iter().cloned());
        }
        self.known.retain(|address| nodes.contains(address));
        for node in &nodes {
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
    fn read_answer(&mut self, address: &Address, reply: &[u8], at: Instant) -> Option<Answer> {
        match told_nodes(reply, address) {
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

    fn unreachable(&mut self, address: Address, reason: String) {
        self.actions
            .push_back(Action::Notify(Notice::Unreachable { address, reason }));
    }

    /// A number below `bound`; 0 when that is 0.
    fn random_below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.checked_rem(bound).unwrap_or(0)
    }
}

impl Engine for Discovery {
    type Event = Event;
    type Notice = Notice;

    fn handle_open(&mut self, connection: ConnectionId, peer: Peer, _now: Now) {
        let Origin::Connected(token) = peer.origin else {
            return self.actions.push_back(Action::Close {
                connection,
                when: CloseWhen::Now,
            });
        };
        let Some((address, subject)) = self.connecting.remove(&token) else {
            return self.actions.push_back(Action::Close {
                connection,
                when: CloseWhen::Now,
            });
        };
        let question = Question::new(address, subject, self.options.credentials.as_ref());
        self.connections.insert(connection, question);
        self.actions.push_back(Action::Wake(connection));
    }

    fn handle_connect_failed(&mut self, token: ConnectToken, error: ConnectError, now: Now) {
        if let Some((address, subject)) = self.connecting.remove(&token) {
            self.give_up(address, subject, error.to_string(), now.instant);
        }
    }

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        while let Some(question) = self.connections.get_mut(&connection)
            && !question.done
        {
            let len = match question.scanner.scan(input) {
                Ok(Some(len)) => len,
                Ok(None) if input.len() < question.subject.bytes_max() => return,
                Ok(None) | Err(_) => 0,
            };
            let refused = input.first() == Some(&b'-');
            if question.skip > 0 && len > 0 && !refused {
                question.skip -= 1;
                input.advance(len);
                continue;
            }
            if question.subject == Subject::Commands && question.databases.is_none() && len > 0 {
                let databases = told_databases(&input[..len]);
                question.databases = Some(databases);
                input.advance(len);
                self.note_databases(databases);
                continue;
            }
            question.done = true;
            let (address, subject) = (question.address.clone(), question.subject);
            self.actions.push_back(Action::Close {
                connection,
                when: CloseWhen::Now,
            });
            match subject {
                Subject::Topology => {
                    let answer = self.read_answer(&address, &input[..len], now.instant);
                    self.conclude(answer, now.instant);
                }
                Subject::Commands => self.learn(address, &input[..len]),
            }
        }
        input.clear();
    }

    fn handle_end(&mut self, connection: ConnectionId, _now: Now) {
        self.actions.push_back(Action::Close {
            connection,
            when: CloseWhen::Now,
        });
    }

    fn handle_close(&mut self, connection: ConnectionId, now: Now) {
        if let Some(question) = self.connections.remove(&connection)
            && !question.done
        {
            let reason = "connection lost".to_owned();
            self.give_up(question.address, question.subject, reason, now.instant);
        }
    }

    fn handle_written(&mut self, _connection: ConnectionId, _now: Now) {}

    fn handle_timeout(&mut self, now: Now) {
        let now = now.instant;
        match &self.round {
            None if now >= self.next_round => self.begin_round(now),
            Some(round) if now >= round.deadline => self.abandon_round(now),
            _ => {}
        }
        self.go_on_learning(now);
    }

    fn handle_event(&mut self, event: Event, now: Now) {
        match event {
            Event::Stale => match &mut self.round {
                Some(round) => round.stale_again = true,
                None => self.hurry(now.instant),
            },
        }
    }

    fn output(&mut self, connection: ConnectionId) -> &mut Output {
        let question = self.connections.get_mut(&connection);
        &mut question
            .expect("the driver asks for open connections only")
            .output
    }

    fn poll_action(&mut self) -> Option<Action<Notice>> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let round = self.round.as_ref();
        let round = round.map_or(self.next_round, |round| round.deadline);
        Some(self.lessons.due().map_or(round, |due| due.min(round)))
    }
}

impl Discovery {
    /// Goes on without the nodes that have not answered in time.
    fn abandon_round(&mut self, now: Instant) {
        for address in self.drop_questions(Subject::Topology) {
            self.unreachable(address, LATE.to_owned());
        }
        self.end_round(now);
    }

    /// Closes the connections to all nodes that were asked for it and have not answered; those of
    /// them that had been reached.
    fn drop_questions(&mut self, subject: Subject) -> Vec<Address> {
        let late: BTreeMap<_, _> = self
            .connections
            .iter_mut()
            .filter(|(_, question)| !question.done && question.subject == subject)
            .map(|(connection, question)| {
                question.done = true;
                (*connection, question.address.clone())
            })
            .collect();
        let close = |connection: &ConnectionId| Action::Close {
            connection: *connection,
            when: CloseWhen::Now,
        };
        self.actions.extend(late.keys().map(close));
        self.connecting.retain(|_, (_, about)| *about != subject);
        late.into_values().collect()
    }

    /// A node can't be asked, or did not answer.
    fn give_up(&mut self, address: Address, subject: Subject, reason: String, now: Instant) {
        match subject {
            Subject::Topology => {
                self.unreachable(address, reason);
                self.conclude(None, now);
            }
            Subject::Commands => {
                self.lessons.fail();
                let notice = Notice::CommandsUnknown { address, reason };
                self.actions.push_back(Action::Notify(notice));
            }
        }
    }
}

/// Why a node that was asked is not waited for any more.
const LATE: &str = "no answer in time";

/// How many nodes are asked in one round.
const ASKED_MAX: usize = 3;

/// How long the others have once a node has answered: one that is down must not delay the rest.
const AFTER_AN_ANSWER: Duration = Duration::from_millis(100);

/// A node's answer counts for so many refresh intervals, unless it answers again.
const BELIEVED_INTERVALS: u32 = 2;

/// Rounds are at least this far apart, however often the topology is said to be stale.
const ROUNDS_APART: Duration = Duration::from_millis(50);

/// The time to the next round while no node answers or slots are without an owner.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
