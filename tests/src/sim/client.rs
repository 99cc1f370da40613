//! A client: connects to a proxy, sends bursts of requests, reads the replies and tells the
//! checker of both. It is an engine like those under test, so that it meets the same network.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Peer,
};
use slotway_protocol::output::Output;

use super::checker::{Pending, SharedChecker};
use super::machine::{Signal, Stimulus, Subject};
use super::operation::{self, Operation};
use super::random::Random;
use super::resp::{self, Read};
use super::workload::{Style, Workload};

/// What all clients of a run share.
#[derive(Clone)]
pub struct Shared {
    pub checker: SharedChecker,
    pub sessions: Rc<Cell<u64>>,
    /// Clients that have nothing left to do.
    pub done: Rc<Cell<usize>>,
    /// Connections may break without anyone's fault.
    pub may_break: bool,
}

/// What one client is like.
#[derive(Debug, Clone)]
pub struct Habits {
    pub proxies: Vec<Address>,
    pub operations: usize,
    pub pipeline: usize,
    pub style: Style,
    pub departures: u64,
    pub naps: u64,
    /// Micros between bursts at most.
    pub pace: u64,
    /// No more than a few requests are sent after this time.
    pub calm_at: u64,
}

/// The client.
pub struct Client {
    shared: Shared,
    habits: Habits,
    random: Random,
    /// Requests to be sent as they are, instead of random ones.
    script: Option<VecDeque<Operation>>,
    remaining: usize,
    link: Link,
    session: u64,
    workload: Workload,
    resp3: bool,
    output: Output,
    pending: VecDeque<Pending>,
    napping: bool,
    /// Its last request is sent and it has said that no more come.
    finished: bool,
    done: bool,
    next: Option<Instant>,
    actions: VecDeque<Action<Signal>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    None,
    Connecting,
    Open(ConnectionId),
}

impl Client {
    pub fn new(shared: Shared, habits: Habits, mut random: Random) -> Self {
        let start = Instant::from_micros(random.below(5_000));
        Self {
            remaining: habits.operations,
            script: None,
            link: Link::None,
            session: 0,
            workload: Workload::new(0, habits.style, random.fork()),
            resp3: false,
            output: Output::default(),
            pending: VecDeque::new(),
            napping: false,
            finished: false,
            done: false,
            next: Some(start),
            actions: VecDeque::new(),
            shared,
            habits,
            random,
        }
    }

    /// A client that asks for certain things, all in one connection.
    pub fn scripted(shared: Shared, mut habits: Habits, script: Vec<Operation>) -> Self {
        habits.operations = script.len();
        let mut client = Self::new(shared, habits, Random::new(1));
        client.script = Some(script.into());
        client
    }

    fn violate(&self, what: &str) {
        let asked = self
            .pending
            .front()
            .map(|pending| pending.operation.clone());
        let text = format!(
            "session {}: {what}; next reply is for {asked:?}",
            self.session
        );
        self.shared.checker.borrow_mut().violate(text);
    }

    fn connect(&mut self) {
        self.link = Link::Connecting;
        let address = self.random.pick(&self.habits.proxies).clone();
        self.actions.push_back(Action::Connect {
            token: ConnectToken(0),
            address,
        });
    }

    fn send(&mut self, number: u64, operation: Operation) {
        let mut bytes = Vec::new();
        operation::write(&mut bytes, &operation);
        self.output.push(&bytes);
        if let Operation::Hello { version } = operation {
            self.resp3 = version == 3;
        }
        let mut checker = self.shared.checker.borrow_mut();
        let pending = checker.invoke((self.session, number), operation, self.resp3);
        drop(checker);
        self.pending.push_back(pending);
    }

    /// Sends a few requests, or does one of the things that clients do in between.
    fn burst(&mut self, id: ConnectionId, now: Now) {
        if now.instant.as_micros() >= self.habits.calm_at && self.script.is_none() {
            self.remaining = self.remaining.min(10);
        }
        if self.napping {
            self.napping = false;
            self.actions.push_back(Action::Resume(id));
        } else if self.random.chance(self.habits.naps) {
            self.napping = true;
            self.actions.push_back(Action::Pause(id));
        } else if self.random.chance(self.habits.departures) && self.script.is_none() {
            let when = CloseWhen::Now;
            self.actions.push_back(Action::Close {
                connection: id,
                when,
            });
            return;
        }
        let room = self
            .habits
            .pipeline
            .saturating_sub(self.pending.len())
            .min(self.remaining);
        if room > 0 {
            let was_empty = self.output.is_empty();
            for _ in 0..self.random.between(1, room as u64) {
                let (number, operation) = self.next_operation();
                self.send(number, operation);
                self.remaining -= 1;
            }
            if was_empty {
                self.actions.push_back(Action::Wake(id));
            }
        }
        let pause = self.random.between(1, self.habits.pace);
        self.next = Some(now.instant + core::time::Duration::from_micros(pause));
        if self.remaining == 0 && !self.napping {
            self.next = None;
            self.finish(id);
        }
    }

    fn next_operation(&mut self) -> (u64, Operation) {
        match self.script.as_mut().and_then(VecDeque::pop_front) {
            Some(operation) => (0, operation),
            None => self.workload.next_operation(),
        }
    }

    /// Everything is sent: says so, or leaves once all is answered.
    fn finish(&mut self, id: ConnectionId) {
        if self.finished {
            return;
        }
        if self.random.chance(500) {
            self.finished = true;
            self.actions.push_back(Action::Notify(Signal::Shutdown(id)));
        } else if self.pending.is_empty() {
            self.finished = true;
            let when = CloseWhen::Flushed;
            self.actions.push_back(Action::Close {
                connection: id,
                when,
            });
        }
    }

    fn set_done(&mut self) {
        assert!(!self.done, "a client is done once");
        self.done = true;
        self.next = None;
        self.shared.done.set(self.shared.done.get() + 1);
    }
}

impl Engine for Client {
    type Event = ();
    type Notice = Signal;

    fn handle_open(&mut self, connection: ConnectionId, _: Peer, now: Now) {
        self.link = Link::Open(connection);
        self.session = self.shared.sessions.get() + 1;
        self.shared.sessions.set(self.session);
        self.workload = Workload::new(self.session, self.habits.style, self.random.fork());
        self.output = Output::default();
        self.resp3 = false;
        self.napping = false;
        if self.random.chance(500) {
            self.send(0, Operation::Hello { version: 3 });
            self.actions.push_back(Action::Wake(connection));
        }
        self.next = Some(now.instant);
    }

    fn handle_connect_failed(&mut self, _: ConnectToken, _: ConnectError, now: Now) {
        self.link = Link::None;
        self.next = Some(now.instant + core::time::Duration::from_millis(5));
    }

    fn handle_input(&mut self, _: ConnectionId, input: &mut BytesMut, _: Now) {
        loop {
            match resp::read(input) {
                Read::Incomplete => break,
                Read::Broken => return self.violate(&format!("no RESP: {input:?}")),
                Read::Whole(value, len) => {
                    input.advance(len);
                    let Some(pending) = self.pending.pop_front() else {
                        return self.violate(&format!("a reply to nothing: {value:?}"));
                    };
                    self.workload.learn(&pending.operation, &value);
                    self.shared.checker.borrow_mut().reply(&pending, &value);
                }
            }
        }
        if self.remaining == 0
            && !self.napping
            && let Link::Open(id) = self.link
        {
            self.finish(id);
        }
    }

    fn handle_end(&mut self, connection: ConnectionId, _: Now) {
        let complete = self.finished && self.pending.is_empty();
        if !(self.shared.may_break || complete) {
            self.violate("the proxy ended the connection");
        }
        let when = CloseWhen::Now;
        self.actions.push_back(Action::Close { connection, when });
    }

    fn handle_close(&mut self, _: ConnectionId, now: Now) {
        self.link = Link::None;
        let complete = self.finished && self.pending.is_empty();
        for pending in self.pending.drain(..) {
            self.shared.checker.borrow_mut().abandon(&pending);
        }
        if complete || self.remaining == 0 && self.script.is_none() {
            self.set_done();
        } else {
            self.next = Some(now.instant + core::time::Duration::from_millis(2));
        }
    }

    fn handle_written(&mut self, _: ConnectionId, _: Now) {}

    fn handle_timeout(&mut self, now: Now) {
        if self.next.is_none_or(|next| next > now.instant) {
            return;
        }
        self.next = None;
        match self.link {
            Link::None => self.connect(),
            Link::Connecting => {}
            Link::Open(id) => self.burst(id, now),
        }
    }

    fn handle_event(&mut self, (): (), _: Now) {}

    fn output(&mut self, _: ConnectionId) -> &mut Output {
        &mut self.output
    }

    fn poll_action(&mut self) -> Option<Action<Signal>> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

impl Subject for Client {
    fn event(_: Stimulus) -> Option<()> {
        None
    }

    fn signals(signal: Signal) -> Vec<Signal> {
        vec![signal]
    }

    fn check(&self, _: u64) {}

    fn waits_for(&self) -> Option<String> {
        let count = self.pending.len();
        let first = self
            .pending
            .front()
            .map(|pending| (pending.number, &pending.operation));
        (!self.done).then(|| {
            let Self {
                session,
                link,
                remaining,
                napping,
                finished,
                ..
            } = self;
            format!(
                "session {session} {link:?} has {count} under way, from {first:?}; \
                 {remaining} to go, napping {napping}, finished {finished}"
            )
        })
    }
}
