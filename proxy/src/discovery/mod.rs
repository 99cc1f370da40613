//! Learns the topology: asks several nodes what they believe of the cluster, and for each slot
//! believes the claim with the highest config epoch. Learns the nodes' commands besides. An engine
//! of its own, on the control thread.

mod addresses;
mod assist;
mod assisting;
mod beliefs;
mod lessons;
mod options;
mod question;
mod random;
mod rounds;
mod standing;
mod story;

pub use addresses::Addresses;
pub use options::Options;
pub use story::{Outcome, Story};

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::cluster::Topology;
use slotway_protocol::command::Learned;
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};
use slotway_protocol::output::Output;

use self::assist::Assist;
use self::beliefs::Beliefs;
use self::lessons::Lessons;
use self::question::{Question, Subject};
use self::random::Random;
use self::rounds::Round;
pub use self::rounds::Trigger;

/// What the outside tells discovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something says that the topology has changed: ask soon.
    Stale,
    /// A connection to that node was refused, or broke off.
    Lost(Address),
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
    /// A round of questions has ended, with at least one answer or with none. `epoch` is the
    /// highest config epoch of those who own slots by now.
    Refreshed {
        answered: bool,
        trigger: Trigger,
        epoch: u64,
    },
    /// A node could not be asked.
    Unreachable { address: Address, reason: String },
    /// A node answered that it is not part of a cluster.
    NotACluster { address: Address },
    /// A replica is told to take over from its primary, whose process is gone.
    Assisting,
    /// What came of a primary's process being gone.
    Assisted(Story),
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
    /// Why the next round begins.
    trigger: Trigger,
    /// Since when slots have been without an owner that is up.
    trouble_since: Option<Instant>,
    /// Rounds without an answer since the last with one.
    failures: u32,
    published: Option<Arc<Topology>>,
    lessons: Lessons,
    assist: Assist,
    /// The topology is about to change, says the assisted failover.
    watch: Option<Watch>,
    connections: HashMap<ConnectionId, Question>,
    /// Connections asked for, whom they lead to and what that node is to be asked.
    connecting: HashMap<ConnectToken, (Address, Subject)>,
    tokens: u32,
    actions: VecDeque<Action<Notice>>,
    random: Random,
    started: bool,
}

impl Discovery {
    pub fn new(options: Options) -> Self {
        let random = Random::new(options.random_seed);
        let assist = Assist::new(options.random_seed.rotate_left(32));
        let lessons = Lessons::new(options.commands_interval);
        Self {
            options,
            lessons,
            assist,
            watch: None,
            known: VecDeque::new(),
            beliefs: Beliefs::default(),
            round: None,
            rounds: 0,
            next_round: Instant::default(),
            last_round: Instant::default(),
            trigger: Trigger::Start,
            trouble_since: None,
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

    fn connect(&mut self, address: Address, subject: Subject) {
        let token = ConnectToken(self.tokens);
        self.tokens = self.tokens.wrapping_add(1);
        self.connecting.insert(token, (address.clone(), subject));
        self.actions.push_back(Action::Connect { token, address });
    }

    fn unreachable(&mut self, address: Address, reason: String) {
        self.actions
            .push_back(Action::Notify(Notice::Unreachable { address, reason }));
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
            self.give_up(address, subject, &Loss::Unopened(error), now.instant);
        }
    }

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        let question = self.connections.get_mut(&connection);
        let Some(question) = question.filter(|question| !question.done) else {
            return input.clear();
        };
        if !question.take(input) {
            return;
        }
        let (address, subject) = (question.address.clone(), question.subject);
        let replies = core::mem::take(&mut question.replies);
        self.actions.push_back(Action::Close {
            connection,
            when: CloseWhen::Now,
        });
        match subject {
            Subject::Topology => {
                let answer = self.read_answer(&address, last(&replies), now.instant);
                self.conclude(answer, now.instant);
            }
            Subject::Commands => self.learn(address, &replies),
            Subject::Pulse | Subject::Standing | Subject::Order => {
                self.take_for_assist(subject, &address, &replies, now.instant);
            }
        }
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
            let Question {
                address, subject, ..
            } = question;
            self.give_up(address, subject, &Loss::Broken, now.instant);
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
        self.go_on_assisting(now);
    }

    fn handle_event(&mut self, event: Event, now: Now) {
        match event {
            Event::Stale => self.doubt(now.instant),
            Event::Lost(address) => self.suspect(&address, now.instant),
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
        let others = [self.lessons.due(), self.assist.due()];
        Some(others.into_iter().flatten().fold(round, Instant::min))
    }
}

impl Discovery {
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
    fn give_up(&mut self, address: Address, subject: Subject, loss: &Loss, now: Instant) {
        let reason = loss.to_string();
        match subject {
            Subject::Topology => {
                if *loss == Loss::Unopened(ConnectError::Refused) {
                    self.suspect(&address, now);
                }
                self.unreachable(address, reason);
                self.conclude(None, now);
            }
            Subject::Commands => {
                self.lessons.fail();
                let notice = Notice::CommandsUnknown { address, reason };
                self.actions.push_back(Action::Notify(notice));
            }
            Subject::Pulse | Subject::Standing | Subject::Order => {
                self.lose_for_assist(subject, &address, loss, now);
            }
        }
    }
}

/// Why a node did not answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Loss {
    #[error(transparent)]
    Unopened(ConnectError),
    #[error("connection lost")]
    Broken,
}

/// Until when a new topology is looked for often, and at which node first.
#[derive(Debug)]
struct Watch {
    node: Address,
    until: Instant,
}

/// The reply that counts when only one does.
fn last(replies: &[BytesMut]) -> &[u8] {
    replies.last().map_or(&[], |reply| reply)
}

/// Why a node that was asked is not waited for any more.
const LATE: &str = "no answer in time";

#[cfg(test)]
mod tests;
