//! When which node is asked for its commands, and what was learned of them: those of modules and
//! of newer servers, which the command table lacks.

use core::time::Duration;
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::command::Learned;
use slotway_protocol::command::learned::LearnError;
use slotway_protocol::engine::{Action, Address, Instant};

use super::question::{Databases, Subject, told_databases};
use super::{Discovery, LATE, Notice, last};

/// The commands of the nodes, as one node tells them. It is the same one as long as it answers:
/// were nodes of several versions asked in turn, commands would come and go.
#[derive(Debug)]
pub(super) struct Lessons {
    /// Zero: nobody is ever asked.
    interval: Duration,
    /// All nodes of the topology, in a fixed order.
    nodes: Vec<Address>,
    /// Counts up with every node that did not answer.
    turn: usize,
    asked: Option<Instant>,
    /// A node is being asked until then.
    deadline: Option<Instant>,
    /// The last answer is missing, or from before the nodes changed.
    is_stale: bool,
    learned: Arc<Learned>,
    /// How many databases the node has that was asked last.
    databases: Option<u32>,
}

impl Lessons {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            nodes: Vec::new(),
            turn: 0,
            asked: None,
            deadline: None,
            is_stale: false,
            learned: Arc::default(),
            databases: None,
        }
    }

    /// The topology has these nodes now. A new one may know other commands.
    pub(super) fn set_nodes(&mut self, mut nodes: Vec<Address>) {
        nodes.sort_unstable_by(|one, other| (&one.host, one.port).cmp(&(&other.host, other.port)));
        if self.nodes != nodes {
            self.nodes = nodes;
            self.is_stale = true;
        }
    }

    /// When something is to be done: a node to be asked, or not to be waited for any longer.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.deadline.is_some() {
            return self.deadline;
        }
        if self.interval.is_zero() || self.nodes.is_empty() {
            return None;
        }
        let pause = if self.is_stale {
            self.interval.min(LESSONS_APART)
        } else {
            self.interval
        };
        Some(
            self.asked
                .map_or_else(Instant::default, |asked| asked + pause),
        )
    }

    /// Whether the node that is being asked has had its time.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whom to ask now, if it is time.
    pub(super) fn begin(&mut self, now: Instant, timeout: Duration) -> Option<Address> {
        if self.deadline.is_some() || self.due().is_none_or(|due| now < due) {
            return None;
        }
        self.asked = Some(now);
        self.deadline = Some(now + timeout);
        self.is_stale = false;
        self.nodes.get(self.turn % self.nodes.len()).cloned()
    }

    /// The node did not answer: the next one is asked soon.
    pub(super) fn fail(&mut self) {
        self.deadline = None;
        self.is_stale = true;
        self.turn = self.turn.wrapping_add(1);
    }

    /// Whether nobody will ever be asked.
    pub(super) fn is_off(&self) -> bool {
        self.interval.is_zero()
    }

    /// How many databases a node says that it has; whether that is news.
    pub(super) fn take_databases(&mut self, databases: u32) -> bool {
        self.databases.replace(databases) != Some(databases)
    }

    /// Takes a reply to COMMAND; what it teaches, when that is news.
    pub(super) fn take(&mut self, reply: &[u8]) -> Result<Option<Arc<Learned>>, LearnError> {
        let learned = Learned::parse(reply).inspect_err(|_| self.fail())?;
        self.deadline = None;
        if *self.learned == learned {
            return Ok(None);
        }
        self.learned = Arc::new(learned);
        Ok(Some(Arc::clone(&self.learned)))
    }
}

impl Discovery {
    /// Asks a node for its commands when it is time.
    pub(super) fn go_on_learning(&mut self, now: Instant) {
        if self.lessons.is_late(now) {
            self.abandon_lesson();
        }
        let patience = self.options.answer_timeout * PATIENCE;
        if let Some(address) = self.lessons.begin(now, patience) {
            self.connect(address, Subject::Commands);
        }
    }

    /// Takes the replies to the questions for the number of databases and for the commands.
    pub(super) fn learn(&mut self, address: Address, replies: &[BytesMut]) {
        if let [databases, _] = replies {
            self.note_databases(told_databases(databases));
        }
        let notice = match self.lessons.take(last(replies)) {
            Ok(None) => return,
            Ok(Some(learned)) => Notice::Commands(learned),
            Err(error) => Notice::CommandsUnknown {
                address,
                reason: error.to_string(),
            },
        };
        self.actions.push_back(Action::Notify(notice));
    }

    /// A node has said how many databases there are.
    pub(super) fn note_databases(&mut self, databases: Databases) {
        if let Databases::Some(number) = databases
            && self.lessons.take_databases(number)
        {
            let notice = Notice::Databases(number);
            self.actions.push_back(Action::Notify(notice));
        }
    }

    /// Waits no longer for the node that was asked for its commands.
    fn abandon_lesson(&mut self) {
        self.lessons.fail();
        for address in self.drop_questions(Subject::Commands) {
            let reason = LATE.to_owned();
            let notice = Notice::CommandsUnknown { address, reason };
            self.actions.push_back(Action::Notify(notice));
        }
    }
}

/// Nodes are asked at least this far apart, however often they change or fail to answer.
pub(super) const LESSONS_APART: Duration = Duration::from_secs(10);

/// A node has so many times longer for its commands than for the topology: the reply is long.
const PATIENCE: u32 = 5;

/// A longer reply is not read. That of Redis 8 with all its modules has about 300 KiB.
pub(super) const REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;
