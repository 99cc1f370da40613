//! Learns the topology: asks several nodes what they believe of the cluster, and for each slot
//! believes the claim with the highest config epoch. An engine of its own, on the control thread.

mod beliefs;

use core::time::Duration;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::nodes::parse_nodes;
use slotway_protocol::cluster::{SLOTS, Topology};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};
use slotway_protocol::output::Output;
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{ReplyScanner, encode};

use self::beliefs::{Answer, Beliefs};
use crate::engine::Credentials;

/// What discovery is told once at its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes to begin with, and to come back to when no known node answers.
    pub seeds: Vec<Address>,
    pub credentials: Option<Credentials>,
    /// The time between two rounds when nothing has happened; up to a tenth is added at random.
    pub refresh_interval: Duration,
    /// A node that has not answered in this time is not waited for; once another has, much less.
    pub answer_timeout: Duration,
    /// Where the random numbers begin.
    pub random_seed: u64,
}

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
    connections: HashMap<ConnectionId, Question>,
    /// Connections asked for, and whom they lead to.
    connecting: HashMap<ConnectToken, Address>,
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

/// One node being asked.
#[derive(Debug)]
struct Question {
    address: Address,
    output: Output,
    scanner: ReplyScanner,
    /// Replies to skip before the one that counts.
    skip: usize,
    done: bool,
}

impl Discovery {
    pub fn new(options: Options) -> Self {
        let random = options.random_seed | 1;
        Self {
            options,
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
            let token = ConnectToken(self.tokens);
            self.tokens = self.tokens.wrapping_add(1);
            self.connecting.insert(token, address.clone());
            self.actions.push_back(Action::Connect { token, address });
        }
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
        for node in nodes {
            if !self.known.contains(&node) {
                self.known.push_back(node);
            }
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
        let problem = match TokenReader::new(reply).next_token() {
            Ok(Some(Token::Bulk(text) | Token::Verbatim(text))) => {
                match parse_nodes(&String::from_utf8_lossy(text), address) {
                    Ok(lines) => {
                        return Some(Answer {
                            from: address.clone(),
                            round: self.rounds,
                            at,
                            lines,
                        });
                    }
                    Err(error) => error.to_string(),
                }
            }
            Ok(Some(Token::Error(text))) => {
                let text = String::from_utf8_lossy(text).into_owned();
                if text.contains("cluster support disabled") {
                    let notice = Notice::NotACluster {
                        address: address.clone(),
                    };
                    self.actions.push_back(Action::Notify(notice));
                    return None;
                }
                text
            }
            _ => "the reply to CLUSTER NODES has the wrong form".to_owned(),
        };
        self.unreachable(address.clone(), problem);
        None
    }

    fn unreachable(&mut self, address: Address, reason: String) {
        self.actions
            .push_back(Action::Notify(Notice::Unreachable { address, reason }));
    }

    fn question(&self, address: Address) -> Question {
        let mut output = Output::default();
        let mut skip = 0;
        if let Some(credentials) = &self.options.credentials {
            let mut words = vec!["AUTH"];
            words.extend(credentials.username.as_deref());
            words.push(&credentials.password);
            encode::request(output.buffer(), &words);
            skip = 1;
        }
        encode::request(output.buffer(), &["CLUSTER", "NODES"]);
        Question {
            address,
            output,
            scanner: ReplyScanner::default(),
            skip,
            done: false,
        }
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
        let Some(address) = self.connecting.remove(&token) else {
            return self.actions.push_back(Action::Close {
                connection,
                when: CloseWhen::Now,
            });
        };
        let question = self.question(address);
        self.connections.insert(connection, question);
        self.actions.push_back(Action::Wake(connection));
    }

    fn handle_connect_failed(&mut self, token: ConnectToken, error: ConnectError, now: Now) {
        let Some(address) = self.connecting.remove(&token) else {
            return;
        };
        self.unreachable(address, error.to_string());
        self.conclude(None, now.instant);
    }

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        while let Some(question) = self.connections.get_mut(&connection)
            && !question.done
        {
            let len = match question.scanner.scan(input) {
                Ok(Some(len)) => len,
                Ok(None) if input.len() < ANSWER_BYTES_MAX => return,
                Ok(None) | Err(_) => 0,
            };
            let refused = input.first() == Some(&b'-');
            if question.skip > 0 && len > 0 && !refused {
                question.skip -= 1;
                input.advance(len);
                continue;
            }
            question.done = true;
            let address = question.address.clone();
            let answer = self.read_answer(&address, &input[..len], now.instant);
            self.actions.push_back(Action::Close {
                connection,
                when: CloseWhen::Now,
            });
            self.conclude(answer, now.instant);
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
            self.unreachable(question.address, "connection lost".to_owned());
            self.conclude(None, now.instant);
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
        Some(
            self.round
                .as_ref()
                .map_or(self.next_round, |round| round.deadline),
        )
    }
}

impl Discovery {
    /// Goes on without the nodes that have not answered in time.
    fn abandon_round(&mut self, now: Instant) {
        let late: BTreeMap<_, _> = self
            .connections
            .iter_mut()
            .filter(|(_, question)| !question.done)
            .map(|(connection, question)| {
                question.done = true;
                (*connection, question.address.clone())
            })
            .collect();
        for (connection, address) in late {
            self.unreachable(address, "no answer in time".to_owned());
            self.actions.push_back(Action::Close {
                connection,
                when: CloseWhen::Now,
            });
        }
        self.connecting.clear();
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

/// The time to the next round while no node answers or slots are without an owner.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// An answer longer than this is not believed; 1,000 nodes take about 200 KiB.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests;
