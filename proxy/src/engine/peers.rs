//! What the workers of one proxy ask each other, and their answers: rare, administrative things
//! such as who is connected. Each message is handed to the outside as a notice and reaches the
//! other worker as an event; one that finds no room there is lost, so nobody waits without limit.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use slotway_protocol::engine::{Action, Instant};

use super::clients::Filter;
use super::pubsub::Family;
use super::running::{News, TaskId};
use super::slow_log::SlowEntry;
use super::{Notice, Proxy};

/// What one worker's engine says to another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub from: u16,
    /// The worker it is for; `None`: all others.
    pub to: Option<u16>,
    /// Boxed, for all that the engine wishes moves through one queue, and this is rare.
    pub(super) body: Box<Body>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// A task of the worker it is from wants to know.
    Question { asker: TaskId, question: Question },
    /// To a question of the worker it is for.
    Answer { asker: TaskId, answer: Answer },
    /// What its clients have asked for, as MONITOR shows it.
    Lines(Bytes),
    /// No client of the worker it is from watches any more.
    MonitorsGone,
    /// A client has brought this script; another one may name it.
    Script(Bytes),
}

/// What every worker can answer for its own clients. The worker that asks answers, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Closes the clients that fit; the answer is how many were.
    Kill {
        filter: Filter,
        me: u64,
    },
    /// The lines of the clients that fit.
    List(Filter),
    /// The worker has a client that is to be shown all requests.
    Monitor {
        worker: u16,
        client_id: u64,
    },
    /// Lets requests wait.
    Pause {
        time: Duration,
        all: bool,
    },
    /// Forgets all scripts.
    ForgetScripts,
    /// Lets a blocked client go on; the answer is how many were.
    Unblock {
        client_id: u64,
        error: bool,
    },
    /// How many clients are subscribed to each of these channels.
    Subscribers {
        family: Family,
        names: Vec<Vec<u8>>,
    },
    /// Ends the pause.
    Unpause,
    /// The newest entries of the slow log; how many there are; and they are forgotten.
    SlowLog {
        limit: usize,
    },
    SlowLogLen,
    ForgetSlowLog,
}

/// One worker's answer to a [`Question`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Count(u64),
    /// Of each channel that was asked for, how many more clients than the node counts: it has one
    /// connection of the worker for all of them.
    More(Vec<i64>),
    Done,
    /// Of each client its number and what CLIENT LIST shows.
    Lines(Vec<(u64, Vec<u8>)>),
    Slow(Vec<Arc<SlowEntry>>),
}

impl Proxy {
    /// Answers a task's question, and has the other workers answer it.
    pub(super) fn ask_workers(&mut self, asker: TaskId, question: Question, now: Instant) {
        let answer = self.answer_question(&question, now);
        if self.options.worker_count > 1 {
            self.send_to_peers(None, Body::Question { asker, question });
        }
        self.tell(asker, News::Answer(answer), now);
    }

    /// Another worker has said something.
    pub(super) fn handle_peer(&mut self, message: Message, now: Instant) {
        match *message.body {
            Body::Question { asker, question } => {
                let answer = self.answer_question(&question, now);
                self.send_to_peers(Some(message.from), Body::Answer { asker, answer });
            }
            Body::Answer { asker, answer } => self.tell(asker, News::Answer(answer), now),
            Body::Lines(lines) => self.lines_from(message.from, &lines),
            Body::MonitorsGone => self.monitors_gone(message.from),
            Body::Script(body) => drop(self.remember_script(&body)),
        }
    }

    pub(super) fn send_to_peers(&mut self, to: Option<u16>, body: Body) {
        let from = self.options.worker;
        let body = Box::new(body);
        let message = Message { from, to, body };
        self.actions
            .push_back(Action::Notify(Notice::Peers(message)));
    }

    fn answer_question(&mut self, question: &Question, now: Instant) -> Answer {
        match question {
            Question::Kill { filter, me } => self.kill_clients(filter, *me, now),
            Question::ForgetScripts => {
                let scripts = self.scripts.len() as u64;
                self.scripts.clear();
                Answer::Count(scripts)
            }
            Question::List(filter) => self.list_clients(filter, now),
            Question::Unblock { client_id, error } => {
                Answer::Count(u64::from(self.unblock(*client_id, *error, now)))
            }
            Question::Monitor { worker, client_id } => {
                self.add_monitor(*worker, *client_id);
                Answer::Done
            }
            Question::Subscribers { family, names } => {
                let more = |name: &Vec<u8>| self.subscriptions.more(*family, name);
                Answer::More(names.iter().map(more).collect())
            }
            Question::Pause { time, all } => {
                self.pause_clients(*time, *all, now);
                Answer::Done
            }
            Question::SlowLog { limit } => Answer::Slow(self.watched.slow_log.newest(*limit)),
            Question::SlowLogLen => Answer::Count(self.watched.slow_log.len() as u64),
            Question::ForgetSlowLog => {
                self.watched.slow_log.clear();
                Answer::Done
            }
            Question::Unpause => {
                self.unpause_clients();
                Answer::Done
            }
        }
    }
}
