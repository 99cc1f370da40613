//! Clients that have not said the password yet, where there is one: what they may send, and what
//! comes of what they say. And those that are no clients of Redis at all.

use core::time::Duration;

use slotway_protocol::command::{self, Command};
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::resp::{RequestBuffers, RequestError, RequestLimits, Scan};

use super::local::Local;
use super::plan::Plan;
use super::requests::{Incoming, is_client_set_info};
use super::stats::Cut;
use super::{Notice, Proxy, answer};

/// What somebody should know of who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// A wrong user name or password.
    Login,
    /// A request of a web browser or its like.
    Http,
    /// The beginning of a TLS connection.
    Tls,
    /// Bytes that no client of Redis sends.
    Garbage,
}

impl Proxy {
    /// Takes a request of a client that has not said the password. All that follows from it is
    /// done here; what is returned is only to be skipped.
    #[cold]
    pub(super) fn hear_newcomer(
        &mut self,
        connection: ConnectionId,
        input: &[u8],
        buffers: &mut RequestBuffers,
        now: Instant,
    ) -> Option<Result<Scan, RequestError>> {
        let limits = RequestLimits {
            unauthenticated: true,
            query_bytes_max: self.options.request.query_bytes_max.min(NEWCOMER_BYTES_MAX),
            ..self.options.request
        };
        let session = self.session(connection)?;
        if session.held_bytes() >= NEWCOMER_OUTPUT_MAX {
            self.pause(connection);
            return None;
        }
        let scanned = session.scanner.scan(input, &limits, buffers);
        let Ok(Scan::Request { consumed }) = scanned else {
            return Some(scanned);
        };
        let request = buffers.request(&input[..consumed]);
        let command = command::resolve_with(&request, self.learned.as_deref());
        let incoming = Incoming {
            connection,
            request,
            shared: None,
            large: None,
            now,
        };
        match command {
            Ok(command) if !self.is_for_newcomers(command) => {
                let reply = answer::error(answer::NOT_LOGGED_IN);
                self.answer_at_once(&incoming, command.id, &reply);
            }
            Err(_) if is_client_set_info(&incoming.request) => {
                let reply = answer::error(answer::NOT_LOGGED_IN);
                self.answer_at_once(&incoming, command::CommandId(0), &reply);
            }
            command => self.handle_request(incoming, command),
        }
        Some(Ok(Scan::Empty { consumed }))
    }

    fn is_for_newcomers(&self, command: &Command) -> bool {
        matches!(
            self.plans.of(command),
            Plan::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset)
        )
    }

    /// A client has said who it is, or that it is nobody any more.
    pub(super) fn note_login(&mut self, connection: ConnectionId, reply: &[u8], now: Instant) {
        let first = self.first_window();
        let Some(session) = self.session(connection) else {
            return;
        };
        if session.is_newcomer {
            session.window = 0;
        } else if session.window == 0 {
            session.window = first;
        }
        if reply.starts_with(b"-WRONGPASS ") {
            self.stats.logins_failed.inc();
            self.tell_suspicion(connection, Suspicion::Login, now);
        }
    }

    /// What a client begins with looks like no request.
    #[cold]
    pub(super) fn look_at_line(&mut self, connection: ConnectionId, input: &[u8], now: Instant) {
        let Some(session) = self.session(connection) else {
            return;
        };
        if session.leaving || !session.is_new() {
            return;
        }
        if input.starts_with(TLS_HANDSHAKE) {
            self.tell_suspicion(connection, Suspicion::Tls, now);
            return self.cut_client(connection, Cut::Tls);
        }
        let is_text = |byte: &u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
        session.is_odd = !input[..input.len().min(LOOKED_AT)].iter().all(is_text);
    }

    /// Tells the outside, but not as often as somebody can make us.
    pub(super) fn tell_suspicion(
        &mut self,
        connection: ConnectionId,
        suspicion: Suspicion,
        now: Instant,
    ) {
        if let Some(told) = self.suspicion_told
            && now.since(told) < TOLD_EVERY
        {
            return;
        }
        if let Some(session) = self.session(connection) {
            let client = session.ends.remote();
            self.suspicion_told = Some(now);
            self.actions
                .push_back(Action::Notify(Notice::Suspicious { client, suspicion }));
        }
    }
}

/// What redis-server allows before AUTH besides the limits on arguments.
const NEWCOMER_BYTES_MAX: usize = 1024 * 1024;

/// Reply bytes that wait for such a client; then it is not read from.
const NEWCOMER_OUTPUT_MAX: usize = 1024;

/// A record of the kind and version that every TLS client begins with.
const TLS_HANDSHAKE: &[u8] = b"\x16\x03";

/// So much of a line tells whether it is text.
const LOOKED_AT: usize = 64;

const TOLD_EVERY: Duration = Duration::from_secs(10);
