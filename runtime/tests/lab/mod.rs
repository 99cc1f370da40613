//! An engine for the tests: echoes frames, obeys the ones that start with an exclamation mark, and
//! relays to a backend. A frame is its length in four bytes, then that many bytes.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses another part"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant,
    Interrupted, Now, Origin, Peer,
};
use slotway_protocol::output::Output;
use slotway_runtime::listener::{AcceptMetrics, AcceptOptions, accept_loop, bind};
use slotway_runtime::worker::{WorkerHandle, WorkerOptions, local_runtime, spawn_worker};
use tokio_util::sync::CancellationToken;

pub enum Event {
    /// Blocks the worker's thread.
    Stall(Duration),
    /// Is noticed.
    Mark(u32),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    Opened(ConnectionId, Peer),
    Ended(ConnectionId),
    Closed(ConnectionId),
    /// After so many calls of `handle_input` for it.
    Frame(usize),
    Written(ConnectionId),
    ConnectFailed(ConnectError),
    Timeout(u64),
    Mark(u32),
    Recovered(Interrupted),
}

#[derive(Default)]
struct Link {
    output: Output,
    /// Calls of `handle_input` since the last whole frame.
    inputs: usize,
    is_backend: bool,
    /// Takes no frame, however many are there.
    is_held: bool,
    /// Takes no frame any more in this call.
    is_sated: bool,
}

#[derive(Default)]
pub struct Lab {
    links: Vec<Link>,
    actions: VecDeque<Action<Notice>>,
    timers: BTreeMap<(Instant, u32), (ConnectionId, Timed)>,
    timers_made: u32,
    backend: Option<ConnectionId>,
    /// Who waits for the backend's replies, in order.
    waiting: VecDeque<ConnectionId>,
    asked: Option<ConnectionId>,
    /// It panics when the connection closes.
    panics_at_close: Option<ConnectionId>,
    after_panic: AfterPanic,
}

enum Timed {
    Say,
    Resume,
    Panic,
}

/// What comes of a panic.
#[derive(Default)]
enum AfterPanic {
    #[default]
    Recovers,
    GivesUp,
    PanicsAgain,
}

impl Link {
    fn is_full(&self) -> bool {
        self.is_held || self.is_sated
    }
}

impl Lab {
    pub fn link_bytes() -> usize {
        size_of::<Link>()
    }

    fn say(&mut self, id: ConnectionId, body: &[u8]) {
        self.send(id, |output| {
            output.push(&u32::try_from(body.len()).unwrap().to_be_bytes());
            output.push(body);
        });
    }

    fn send(&mut self, id: ConnectionId, fill: impl FnOnce(&mut Output)) {
        let output = &mut self.links[id.index as usize].output;
        let was_empty = output.is_empty();
        fill(output);
        if was_empty {
            self.actions.push_back(Action::Wake(id));
        }
    }

    fn frame(&mut self, id: ConnectionId, frame: Bytes, now: Now) {
        let link = &mut self.links[id.index as usize];
        let inputs = std::mem::take(&mut link.inputs);
        if link.is_backend {
            let client = self.waiting.pop_front().unwrap();
            return self.say(client, &frame[4..]);
        }
        let Some(order) = frame[4..].strip_prefix(b"!") else {
            self.actions
                .push_back(Action::Notify(Notice::Frame(inputs)));
            return self.send(id, |output| output.push_shared(frame));
        };
        let order = String::from_utf8(order.to_vec()).unwrap();
        let (verb, rest) = order.split_once(' ').unwrap_or((&order, ""));
        self.obey(id, verb, rest, now);
    }

    fn obey(&mut self, id: ConnectionId, verb: &str, rest: &str, now: Now) {
        let after = |text: &str| now.instant + Duration::from_millis(text.parse().unwrap());
        match verb {
            "close" | "closenow" => {
                let bytes = vec![b'x'; rest.parse().unwrap()];
                self.say(id, &bytes);
                let when = if verb == "close" {
                    CloseWhen::Flushed
                } else {
                    CloseWhen::Now
                };
                let connection = id;
                self.actions.push_back(Action::Close { connection, when });
            }
            "pause" | "hold" => {
                self.links[id.index as usize].is_held = verb == "hold";
                self.actions.push_back(Action::Pause(id));
                self.timer(after(rest), id, Timed::Resume);
            }
            "rest" => {
                self.links[id.index as usize].is_sated = true;
                self.actions.push_back(Action::Pause(id));
                self.actions.push_back(Action::Resume(id));
            }
            "timer" => self.timer(after(rest), id, Timed::Say),
            "connect" => {
                let (host, port) = rest.rsplit_once(':').unwrap();
                self.asked = Some(id);
                self.actions.push_back(Action::Connect {
                    token: ConnectToken(7),
                    address: Address::new(host, port.parse().unwrap()),
                });
            }
            "relay" => {
                self.waiting.push_back(id);
                let backend = self.backend.unwrap();
                self.say(backend, rest.as_bytes());
            }
            "now" => self.say(id, now.unix_ms.to_string().as_bytes()),
            "panic" => self.panic(rest),
            "panic-late" => self.timer(after(rest), id, Timed::Panic),
            "panic-at-close" => self.panics_at_close = Some(id),
            _ => panic!("no such order: {verb}"),
        }
    }

    fn panic(&mut self, then: &str) {
        self.after_panic = match then {
            "" => AfterPanic::Recovers,
            "give-up" => AfterPanic::GivesUp,
            _ => AfterPanic::PanicsAgain,
        };
        panic!("as it was told to");
    }

    fn timer(&mut self, at: Instant, id: ConnectionId, what: Timed) {
        self.timers_made += 1;
        self.timers.insert((at, self.timers_made), (id, what));
    }
}

impl Engine for Lab {
    type Event = Event;
    type Notice = Notice;

    fn handle_open(&mut self, id: ConnectionId, peer: Peer, _now: Now) {
        let index = id.index as usize;
        if self.links.len() <= index {
            self.links.resize_with(index + 1, Link::default);
        }
        let is_backend = matches!(peer.origin, Origin::Connected(_));
        self.links[index] = Link {
            is_backend,
            ..Link::default()
        };
        if is_backend {
            self.backend = Some(id);
            if let Some(client) = self.asked.take() {
                self.say(client, b"connected");
            }
        }
        self.actions
            .push_back(Action::Notify(Notice::Opened(id, peer)));
    }

    fn handle_connect_failed(&mut self, token: ConnectToken, error: ConnectError, _now: Now) {
        assert_eq!(token, ConnectToken(7));
        if let Some(client) = self.asked.take() {
            self.say(client, error.to_string().as_bytes());
        }
        self.actions
            .push_back(Action::Notify(Notice::ConnectFailed(error)));
    }

    fn handle_input(&mut self, id: ConnectionId, input: &mut BytesMut, now: Now) {
        let link = &mut self.links[id.index as usize];
        link.inputs += 1;
        link.is_sated = false;
        while input.len() >= 4 && !self.links[id.index as usize].is_full() {
            let len = 4 + u32::from_be_bytes(input[..4].try_into().unwrap()) as usize;
            if input.len() < len {
                return;
            }
            // Small frames are copied, as a parser would; large ones are taken away.
            let frame = if len < 32 * 1024 {
                let copy = Bytes::copy_from_slice(&input[..len]);
                input.advance(len);
                copy
            } else {
                input.split_to(len).freeze()
            };
            self.frame(id, frame, now);
        }
    }

    fn handle_end(&mut self, id: ConnectionId, _now: Now) {
        self.actions.push_back(Action::Notify(Notice::Ended(id)));
        self.actions.push_back(Action::Close {
            connection: id,
            when: CloseWhen::Flushed,
        });
    }

    fn handle_close(&mut self, id: ConnectionId, _now: Now) {
        self.timers.retain(|_, (of, _)| *of != id);
        if self.panics_at_close == Some(id) {
            self.panic("");
        }
        self.actions.push_back(Action::Notify(Notice::Closed(id)));
    }

    fn handle_written(&mut self, id: ConnectionId, _now: Now) {
        self.links[id.index as usize].output.shrink();
        self.actions.push_back(Action::Notify(Notice::Written(id)));
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some(entry) = self.timers.first_entry()
            && entry.key().0 <= now.instant
        {
            let ((at, _), (id, what)) = entry.remove_entry();
            let late = now.instant.micros_since(at);
            self.actions
                .push_back(Action::Notify(Notice::Timeout(late)));
            match what {
                Timed::Panic => self.panic(""),
                Timed::Say => self.say(id, b"timer"),
                Timed::Resume => {
                    self.links[id.index as usize].is_held = false;
                    self.actions.push_back(Action::Resume(id));
                }
            }
        }
    }

    fn handle_event(&mut self, event: Event, _now: Now) {
        match event {
            Event::Stall(time) => std::thread::sleep(time),
            Event::Mark(mark) => self.actions.push_back(Action::Notify(Notice::Mark(mark))),
        }
    }

    fn output(&mut self, id: ConnectionId) -> &mut Output {
        &mut self.links[id.index as usize].output
    }

    fn poll_action(&mut self) -> Option<Action<Notice>> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    fn recover(&mut self, interrupted: Interrupted, _now: Now) -> bool {
        let recovered = Notice::Recovered(interrupted);
        self.actions.push_back(Action::Notify(recovered));
        match self.after_panic {
            AfterPanic::Recovers => true,
            AfterPanic::GivesUp => false,
            AfterPanic::PanicsAgain => panic!("again"),
        }
    }
}

/// Workers behind a listener on a free port, with a control thread.
pub struct Server {
    pub address: SocketAddr,
    pub workers: Vec<WorkerHandle<Event>>,
    pub metrics: Arc<AcceptMetrics>,
    pub notices: Receiver<Notice>,
    stop: CancellationToken,
    control: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(worker_count: usize, options: WorkerOptions, accept: AcceptOptions) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap(), 4096, "--listen").unwrap();
        let (sender, notices) = channel();
        let workers: Vec<_> = (0..worker_count)
            .map(|number| {
                let sender = sender.clone();
                let on_notice = move |notice| {
                    // The test may be over.
                    let _ = sender.send(notice);
                };
                let name = format!("worker-{number}");
                spawn_worker(&name, options.clone(), Lab::default, on_notice).unwrap()
            })
            .collect();
        let stop = CancellationToken::new();
        let metrics = Arc::new(AcceptMetrics::default());
        let address = listener.local_addr().unwrap();
        let (for_loop, counters, token) = (workers.clone(), Arc::clone(&metrics), stop.clone());
        let control = std::thread::spawn(move || {
            let runtime = local_runtime().unwrap();
            let serve = accept_loop(listener, for_loop, accept, counters, token);
            runtime.block_on(serve).unwrap();
        });
        Self {
            address,
            workers,
            metrics,
            notices,
            stop,
            control: Some(control),
        }
    }

    pub fn small() -> Self {
        Self::start(1, WorkerOptions::default(), AcceptOptions::default())
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The next notice that `pick` wants; others are passed over.
    pub fn notice<R>(&self, pick: impl Fn(&Notice) -> Option<R>) -> R {
        loop {
            let notice = self.notices.recv_timeout(Duration::from_secs(10)).unwrap();
            if let Some(found) = pick(&notice) {
                return found;
            }
        }
    }

    pub fn opened(&self) -> ConnectionId {
        self.notice(|notice| match notice {
            Notice::Opened(id, _) => Some(*id),
            _ => None,
        })
    }

    pub fn closed(&self) -> ConnectionId {
        self.notice(|notice| match notice {
            Notice::Closed(id) => Some(*id),
            _ => None,
        })
    }

    /// Blocks the first worker and returns when it is blocked.
    pub fn stall(&self, time: Duration) {
        let worker = &self.workers[0];
        assert!(worker.send(Event::Mark(1)).is_ok() && worker.send(Event::Stall(time)).is_ok());
        self.notice(|notice| (*notice == Notice::Mark(1)).then_some(()));
        // The mark is noticed just before the worker turns to the stall.
        std::thread::sleep(Duration::from_millis(50));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        for worker in &self.workers {
            worker.stop();
            worker.join();
        }
        if let Some(control) = self.control.take() {
            control.join().unwrap();
        }
    }
}

/// A blocking client whose every call ends within ten seconds.
pub struct Client(pub TcpStream);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        socket
            .set_write_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self(socket)
    }

    pub fn send(&mut self, body: &[u8]) {
        self.0.write_all(&frame(body)).unwrap();
    }

    pub fn receive(&mut self) -> Vec<u8> {
        self.try_receive().unwrap()
    }

    pub fn try_receive(&mut self) -> io::Result<Vec<u8>> {
        let mut len = [0; 4];
        self.0.read_exact(&mut len)?;
        let mut body = vec![0; u32::from_be_bytes(len) as usize];
        self.0.read_exact(&mut body)?;
        Ok(body)
    }

    pub fn ask(&mut self, body: &[u8]) -> Vec<u8> {
        self.send(body);
        self.receive()
    }

    /// Whether the other side has closed.
    pub fn is_over(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// An address on which nobody listens.
pub fn dead_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
