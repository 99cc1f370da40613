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
    pub nap_micros: u64,
    pub halves: u64,
    /// Within so many micros every reply has to come, if it matters.
    pub bound_micros: Option<u64>,
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
    /// A request of which only the beginning is sent: the rest, its number and what it is.
    half: Option<(Vec<u8>, u64, Operation)>,
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
            half: None,
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
        if self.random.chance(self.habits.halves) && self.script.is_none() {
            let rest = bytes.split_off(1 + self.random.index(bytes.len() - 1));
            self.half = Some((rest, number, operation));
            self.output.push(&bytes);
            return;
        }
        self.send_rest(&bytes, number, operation);
    }

    /// What is left of a request is sent, or all of it.
    fn send_rest(&mut self, bytes: &[u8], number: u64, operation: Operation) {
        self.output.push(bytes);
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
        let mut pause = self.random.between(1, self.habits.pace);
        if self.napping {
            self.napping = false;
            self.actions.push_back(Action::Resume(id));
        } else if self.random.chance(self.habits.naps) {
            self.napping = true;
            pause = pause.max(self.habits.nap_micros);
            self.actions.push_back(Action::Pause(id));
        } else if self.random.chance(self.habits.departures) && self.script.is_none() {
            let when = CloseWhen::Now;
            self.actions.push_back(Action::Close {
                connection: id,
                when,
            });
            return;
        }
        self.send_some(id);
        self.next = Some(now.instant + core::time::Duration::from_micros(pause));
        if self.is_all_sent() {
            self.next = None;
            self.finish(id);
        }
    }

    fn is_all_sent(&self) -> bool {
        self.remaining == 0 && !self.napping && self.half.is_none()
    }

    fn send_some(&mut self, id: ConnectionId) {
        let was_empty = self.output.is_empty();
        if let Some((rest, number, operation)) = self.half.take() {
            if self.random.chance(600) {
                self.half = Some((rest, number, operation));
                return;
            }
            self.send_rest(&rest, number, operation);
        }
        let room = self.habits.pipeline.saturating_sub(self.pending.len());
        let room = room.min(self.remaining);
        let count = if room > 0 {
            self.random.between(1, room as u64)
        } else {
            0
        };
        for _ in 0..count {
            if self.half.is_some() {
                break;
            }
            let (number, operation) = self.next_operation();
            self.send(number, operation);
            self.remaining -= 1;
        }
        if was_empty && !self.output.is_empty() {
            self.actions.push_back(Action::Wake(id));
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

    /// Whether a reply comes soon enough.
    fn judge_time(&self, pending: &Pending, now: Now) {
        let Some(bound) = self.habits.bound_micros else {
            return;
        };
        let micros = now.instant.as_micros() - pending.sent_at;
        let mut checker = self.shared.checker.borrow_mut();
        checker.slowest = checker.slowest.max(micros);
        if micros > bound {
            let Pending {
                number, operation, ..
            } = pending;
            let session = self.session;
            checker.violate(format!(
                "session {session} number {number} waited for {micros}us: {operation:?}"
            ));
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
        self.half = None;
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

    fn handle_input(&mut self, _: ConnectionId, input: &mut BytesMut, now: Now) {
        loop {
            match resp::read(input) {
                Read::Incomplete => break,
                Read::Broken => return self.violate(&format!("no RESP: {input:?}")),
                Read::Whole(value, len) => {
                    input.advance(len);
                    let Some(pending) = self.pending.pop_front() else {
                        return self.violate(&format!("a reply to nothing: {value:?}"));
                    };
                    self.judge_time(&pending, now);
                    self.workload.learn(&pending.operation, &value);
                    self.shared.checker.borrow_mut().reply(&pending, &value);
                }
            }
        }
        if self.is_all_sent()
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
        self.half = None;
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
