//! Clients that have not said the password yet, where there is one: what they may send, and what
//! comes of what they say. And those that are no clients of Redis at all.

use core::time::Duration;

use slotway_protocol::command::{self, Command, CommandId};
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
    /// So many of them that no more are listened to.
    Logins,
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
                self.answer_at_once(&incoming, CommandId(0), &reply);
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
            self.note_wrong_password(connection, now);
        }
    }

    fn note_wrong_password(&mut self, connection: ConnectionId, now: Instant) {
        let options = &self.options;
        let (count_max, window) = (options.login_failures_max, options.login_failures_window);
        let Some(session) = self.session(connection) else {
            return;
        };
        let client = session.ends.remote();
        if self.options.login.is_none() {
            return self.tell_suspicion(connection, Suspicion::Login, now);
        }
        let noted = self.login_limit.note(client, count_max, window, now);
        if noted.forgets {
            self.stats.login_addresses_forgotten.inc();
        }
        let told = self.login_limit.told;
        let is_told = told.is_some_and(|told| now.since(told) < TOLD_EVERY);
        if noted.is_last && !is_told {
            self.login_limit.told = Some(now);
            let suspicion = Suspicion::Logins;
            let notice = Notice::Suspicious { client, suspicion };
            self.actions.push_back(Action::Notify(notice));
        } else {
            self.tell_suspicion(connection, Suspicion::Login, now);
        }
    }

    /// A client says a password: refuses to look at it if too many wrong ones have come from its
    /// address. Says whether that is so.
    pub(super) fn refuse_login(&mut self, incoming: &Incoming<'_>, command: CommandId) -> bool {
        let options = &self.options;
        let (count_max, window) = (options.login_failures_max, options.login_failures_window);
        let is_on = options.login.is_some() && count_max > 0;
        let client = self.session(incoming.connection).map(|it| it.ends.remote());
        let Some(client) = client.filter(|_| is_on) else {
            return false;
        };
        let until = self
            .login_limit
            .refused_until(client, count_max, window, incoming.now);
        let Some(until) = until else { return false };
        self.stats.logins_refused.inc();
        let wait = until.since(incoming.now);
        self.answer_at_once(incoming, command, &answer::too_many_logins(wait));
        if let Some(session) = self.session(incoming.connection) {
            session.closing = true;
        }
        true
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
