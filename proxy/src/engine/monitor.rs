//! MONITOR: shows some clients what all others ask for, whichever worker serves whom. Workers with
//! such clients say so to the others, which send them lines from then on.

use core::fmt::Write;
use core::time::Duration;

use bytes::Bytes;
use slotway_protocol::command::{Command, Flags, Group};
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::resp::Request;

use super::pausing::done;
use super::peers::{Body, Question};
use super::requests::Incoming;
use super::session::{Replies, Watching};
use super::stats::Cut;
use super::survey::Survey;
use super::{Connection, Proxy, answer};

/// Who watches, and what they have not been shown.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    /// Somebody watches: the one thing to be asked for each request.
    pub(super) active: bool,
    /// Clients of this worker.
    own: Vec<ConnectionId>,
    /// Workers that have such clients.
    peers: Vec<u16>,
    /// Lines that nobody was given.
    lines: Vec<u8>,
    /// Lines that other workers were not given.
    for_peers: Vec<u8>,
    /// When they are to have them.
    due: Option<Instant>,
    /// What the wall clock shows when the other one shows 0, in microseconds.
    epoch: u64,
}

impl Proxy {
    /// `MONITOR`
    pub(super) fn run_monitor(&mut self, incoming: &Incoming<'_>, command: &Command) {
        if !self.options.monitor {
            return self.answer_at_once(incoming, command.id, &answer::error(OFF));
        }
        let worker = self.options.worker;
        let Some(session) = self.session(incoming.connection) else {
            return;
        };
        if session.watching != Watching::No {
            // The server has no reply to that either.
            return self.answer_at_once(incoming, command.id, b"");
        }
        let client_id = session.client_id;
        let question = Question::Monitor { worker, client_id };
        let task = Box::new(Survey::new(question, done));
        self.begin_task(incoming, command.id, task, None);
    }

    /// A client of some worker watches from now on.
    pub(super) fn add_monitor(&mut self, worker: u16, client_id: u64) {
        self.monitors.active = true;
        if worker != self.options.worker {
            if !self.monitors.peers.contains(&worker) {
                self.monitors.peers.push(worker);
            }
            return;
        }
        let clients = self.connections.iter_mut();
        let mut clients = clients.filter_map(|connection| match connection {
            Connection::Client(session) => Some(session),
            _ => None,
        });
        if let Some(session) = clients.find(|session| session.client_id == client_id) {
            session.watching = Watching::Soon;
            self.monitors.own.push(session.connection);
        }
    }

    /// A client watches no more.
    pub(super) fn leave_monitor(&mut self, connection: ConnectionId) {
        let own = &mut self.monitors.own;
        let before = own.len();
        own.retain(|known| *known != connection);
        if own.len() == before {
            return;
        }
        if let Some(session) = self.session(connection) {
            session.watching = Watching::No;
        }
        if self.monitors.own.is_empty() {
            if self.options.worker_count > 1 {
                self.send_to_peers(None, Body::MonitorsGone);
            }
            self.monitors.settle();
        }
    }

    /// A worker has no client that watches any more.
    pub(super) fn monitors_gone(&mut self, worker: u16) {
        self.monitors.peers.retain(|known| *known != worker);
        self.monitors.settle();
    }

    /// Notes a request for those who watch. Says whether it is one that a client that itself
    /// watches must not send, and has been refused.
    #[cold]
    pub(super) fn watch_request(&mut self, incoming: &Incoming<'_>, command: &Command) -> bool {
        let Some(session) = self.session(incoming.connection) else {
            return false;
        };
        let keyspace = Flags::WRITE.union(Flags::READONLY);
        if session.watching != Watching::No && command.flags.intersects(keyspace) {
            self.answer_at_once(incoming, command.id, &answer::error(NO_KEYSPACE));
            return true;
        }
        // The server shows a script by another way, before what the script does.
        let skips = command.flags.contains(Flags::SKIP_MONITOR);
        if command.flags.contains(Flags::ADMIN) || skips && command.group != Group::Scripting {
            return false;
        }
        let (remote, database) = (session.ends.remote(), session.database);
        let database = self.database_after(command, &incoming.request, database);
        let micros = self.wall_micros(incoming.now);
        let lines = &mut self.monitors.lines;
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        lines.extend_from_slice(format!("+{seconds}.{rest:06} [{database} {remote}]").as_bytes());
        write_arguments(&incoming.request, command, lines);
        lines.extend_from_slice(b"\r\n");
        if self.monitors.lines.len() > BATCH_BYTES {
            self.show_lines(incoming.now);
        }
        false
    }

    /// Gives the lines to the clients of this worker, and puts them aside for the others.
    #[cold]
    pub(super) fn show_lines(&mut self, now: Instant) {
        let lines = std::mem::take(&mut self.monitors.lines);
        if lines.is_empty() {
            return;
        }
        self.show_to_own(&lines);
        if self.monitors.peers.is_empty() {
            return;
        }
        self.monitors.for_peers.extend_from_slice(&lines);
        if self.monitors.for_peers.len() > BATCH_BYTES {
            return self.send_lines();
        }
        let due = *self.monitors.due.get_or_insert(now + BATCH_TIME);
        self.wake_at(due);
    }

    /// Lines have come from another worker.
    pub(super) fn lines_from(&mut self, worker: u16, lines: &[u8]) {
        if self.monitors.own.is_empty() {
            // It has missed that the last one left.
            return self.send_to_peers(Some(worker), Body::MonitorsGone);
        }
        self.show_to_own(lines);
    }

    /// Sends what waits for the other workers, when it is time.
    pub(super) fn send_lines_due(&mut self, now: Instant) {
        match self.monitors.due {
            Some(due) if due <= now => self.send_lines(),
            Some(due) => self.wake_at(due),
            None => {}
        }
    }

    fn send_lines(&mut self) {
        self.monitors.due = None;
        let lines = Bytes::from(std::mem::take(&mut self.monitors.for_peers));
        for index in 0..self.monitors.peers.len() {
            let peer = self.monitors.peers[index];
            self.send_to_peers(Some(peer), Body::Lines(lines.clone()));
        }
    }

    fn show_to_own(&mut self, lines: &[u8]) {
        let bytes_max = self.options.subscriber_output_bytes_max;
        for connection in self.monitors.own.clone() {
            let current = self.current;
            let Some(session) = self.session(connection) else {
                continue;
            };
            if session.watching == Watching::Soon && session.owed() == 0 {
                session.watching = Watching::Yes;
            }
            let wants = session.watching == Watching::Yes && session.replies != Replies::Off;
            if !wants || session.leaving {
                continue;
            }
            let was_empty = session.output.is_empty();
            session.output.push(lines);
            let too_much = session.held_bytes() > bytes_max;
            self.stats.client_bytes_out.add(lines.len() as u64);
            if was_empty && connection.index != current {
                self.actions.push_back(Action::Wake(connection));
            }
            if too_much {
                self.cut_client(connection, Cut::Output);
            }
        }
    }

    /// The time of day. The clock that the engine has for it shows milliseconds only.
    fn wall_micros(&mut self, now: Instant) -> u64 {
        let epoch = (self.unix_ms * 1000).saturating_sub(now.as_micros());
        if epoch.abs_diff(self.monitors.epoch) > CLOCK_SET_MICROS {
            self.monitors.epoch = epoch;
        }
        self.monitors.epoch + now.as_micros()
    }
}

impl Monitors {
    /// Forgets the clients of this worker that watch.
    pub(super) fn start_over(&mut self) {
        self.own.clear();
        self.settle();
    }

    /// Forgets what is for nobody.
    fn settle(&mut self) {
        if self.peers.is_empty() {
            self.for_peers = Vec::new();
            self.due = None;
        }
        self.active = !self.own.is_empty() || !self.peers.is_empty();
        if !self.active {
            self.lines = Vec::new();
        }
    }
}

/// Appends the arguments, each in quotes; passwords are not shown, and neither is what is too long.
fn write_arguments(request: &Request<'_>, command: &Command, line: &mut Vec<u8>) {
    let start = line.len();
    let mut secrets = if command.name == "auth" {
        usize::MAX
    } else {
        0
    };
    for (place, argument) in request.args(0).enumerate() {
        if line.len() - start > LINE_BYTES_MAX {
            let left = request.len() - place;
            return line.extend_from_slice(format!(" \"... ({left} more arguments)\"").as_bytes());
        }
        if place > 0 && secrets > 0 {
            secrets -= 1;
            line.extend_from_slice(b" \"(redacted)\"");
            continue;
        }
        if place > 1 && command.name == "hello" && argument.eq_ignore_ascii_case(b"auth") {
            secrets = 2;
        }
        line.push(b' ');
        write_quoted(argument, line);
    }
}

/// Appends the bytes in quotes, as MONITOR shows them.
fn write_quoted(bytes: &[u8], line: &mut Vec<u8>) {
    let shown = &bytes[..bytes.len().min(ARGUMENT_BYTES_MAX)];
    line.push(b'"');
    for byte in shown {
        match byte {
            b'"' | b'\\' => line.extend([b'\\', *byte]),
            b'\n' => line.extend(b"\\n"),
            b'\r' => line.extend(b"\\r"),
            b'\t' => line.extend(b"\\t"),
            0x07 => line.extend(b"\\a"),
            0x08 => line.extend(b"\\b"),
            b' '..=b'~' => line.push(*byte),
            _ => line.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    let left = bytes.len() - shown.len();
    if left > 0 {
        let mut more = String::new();
        // Writing to a string can't fail.
        let _ = write!(more, "... ({left} more bytes)");
        line.extend(more.bytes());
    }
    line.push(b'"');
}

/// Lines are handed on when there are so many bytes of them, or after [`BATCH_TIME`].
const BATCH_BYTES: usize = 16 * 1024;
const BATCH_TIME: Duration = Duration::from_millis(1);

/// Of one argument, and of all arguments of a request, not much more than this is shown.
const ARGUMENT_BYTES_MAX: usize = 64 * 1024;
const LINE_BYTES_MAX: usize = 256 * 1024;

/// A wall clock that differs by so much from what was expected was set.
const CLOCK_SET_MICROS: u64 = 1_000_000;

const OFF: &[u8] = b"ERR proxy: MONITOR is off; it needs 'monitor = true' in [proxy] of the \
proxy's config file";
const NO_KEYSPACE: &[u8] = b"ERR Replica can't interact with the keyspace";
