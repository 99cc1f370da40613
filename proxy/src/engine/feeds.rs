//! The feeds of all nodes: opening them, asking on them, telling answers from what a node says
//! unasked, noticing that one is gone.

use bytes::{Buf, BytesMut};
use slotway_protocol::engine::{Action, CloseWhen, ConnectToken, ConnectionId, Instant};
use slotway_protocol::output::LARGE_BYTES;
use slotway_protocol::resp::Protocol;

use super::backends::{LEFT_TIMEOUT, reconnect_delay};
use super::feed::{Owner, PING};
use super::pipeline::Link;
use super::session::Reply;
use super::{Connection, Notice, Proxy};

/// The backend that a connection's token names, when it is one for a feed.
pub(super) fn feed_of(token: ConnectToken) -> Option<usize> {
    (token.0 & FEED != 0).then_some((token.0 & !FEED) as usize)
}

/// The token of a connection that is the backend's feed.
pub(super) fn token_of(backend: usize) -> ConnectToken {
    ConnectToken(backend as u32 | FEED)
}

impl Proxy {
    /// Sends a request on a backend's feed, which is opened if need be; says whether it could. When
    /// the feed is lost before the answer is here, [`Proxy::end_feed`] sees to those who wait.
    pub(super) fn ask_feed(
        &mut self,
        backend: usize,
        frame: &[u8],
        owner: Owner,
        now: Instant,
    ) -> bool {
        let feed = &mut self.feeds[backend];
        if matches!(feed.link, Link::Down { .. }) {
            return false;
        }
        let was_empty = feed.push(frame, owner, now);
        self.stats.backend_bytes_out.add(frame.len() as u64);
        match self.feeds[backend].link {
            Link::Open(connection) if was_empty => {
                self.actions.push_back(Action::Wake(connection));
            }
            Link::Idle => self.connect_feed(backend),
            _ => {}
        }
        true
    }

    /// Opens a backend's feed unless that was begun, or failed a moment ago.
    pub(super) fn connect_feed(&mut self, backend: usize) {
        let feed = &mut self.feeds[backend];
        if feed.link != Link::Idle {
            return;
        }
        feed.link = Link::Connecting;
        self.actions.push_back(Action::Connect {
            token: token_of(backend),
            address: feed.address.clone(),
        });
    }

    pub(super) fn open_feed(&mut self, connection: ConnectionId, backend: usize, now: Instant) {
        self.connections[connection.index as usize] = Connection::Feed { backend };
        let login = self.login(Protocol::Resp3, 0);
        let feed = &mut self.feeds[backend];
        feed.link = Link::Open(connection);
        // A connection that ends before the node has taken the login is a failure, too.
        feed.failures = feed.failures.saturating_add(1);
        feed.log_in(&login, now);
        self.stats.backends.add(1);
        self.stats.backend_connects.inc();
        self.stats.feed_connects.inc();
        self.actions.push_back(Action::Wake(connection));
    }

    pub(super) fn feed_unreachable(&mut self, backend: usize, now: Instant) {
        let feed = &mut self.feeds[backend];
        feed.failures = feed.failures.saturating_add(1);
        self.stats.backend_connects_failed.inc();
        self.end_feed(backend, now);
    }

    pub(super) fn feed_lost(&mut self, backend: usize, now: Instant) {
        self.stats.backends.add(-1);
        self.stats.feeds_lost.inc();
        self.end_feed(backend, now);
    }

    /// What was to come over the feed comes no more.
    fn end_feed(&mut self, backend: usize, now: Instant) {
        let feed = &mut self.feeds[backend];
        feed.link = if feed.failures > 0 {
            let until = now + reconnect_delay(feed.failures);
            Link::Down { until }
        } else {
            Link::Idle
        };
        feed.clear();
        self.forget_tracking(backend);
        if self.feeds[backend].link != Link::Idle {
            self.distrust(backend, now);
        }
        self.topology_is_stale();
        self.lose_subscriptions(backend, now);
    }

    /// Takes all whole replies and pushes from the input.
    pub(super) fn handle_feed_input(&mut self, backend: usize, input: &mut BytesMut, now: Instant) {
        let before = input.len();
        let mut consumed = 0;
        self.feeds[backend].note_heard(now);
        loop {
            let rest = &input[consumed..];
            let feed = &mut self.feeds[backend];
            let len = match feed.scanner.scan(rest) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(_) => return self.cut_feed(backend, input),
            };
            let is_push = rest[0] == b'>';
            if !is_push && feed.is_logging_in() {
                if rest[0] == b'-' {
                    return self.refused_by_feed(backend, input, consumed, len);
                }
                if feed.note_login_reply(now) {
                    self.feed_is_ready(backend, now);
                }
                consumed += len;
                continue;
            }
            let understood = if len >= LARGE_BYTES {
                input.advance(consumed);
                consumed = 0;
                let reply = input.split_to(len).freeze();
                self.handle_feed_reply(backend, is_push, &Reply::Shared(reply), now)
            } else {
                consumed += len;
                self.handle_feed_reply(backend, is_push, &Reply::Copied(&rest[..len]), now)
            };
            if !understood {
                return self.cut_feed(backend, input);
            }
        }
        input.advance(consumed);
        self.stats
            .backend_bytes_in
            .add((before - input.len()) as u64);
        if self.meter.note(before) {
            self.count_memory(now);
        }
    }

    /// Says whether it is something that the node may say.
    fn handle_feed_reply(
        &mut self,
        backend: usize,
        is_push: bool,
        reply: &Reply<'_>,
        now: Instant,
    ) -> bool {
        if is_push {
            self.handle_push(backend, reply, now)
        } else {
            self.handle_feed_answer(backend, reply.bytes(), now)
        }
    }

    fn feed_is_ready(&mut self, backend: usize, now: Instant) {
        self.send_subscriptions(backend, now);
        if let Some(connection) = self.feeds[backend].connection()
            && !self.feeds[backend].output().is_empty()
        {
            self.actions.push_back(Action::Wake(connection));
        }
    }

    fn refused_by_feed(&mut self, backend: usize, input: &mut BytesMut, start: usize, len: usize) {
        let text = input[start + 1..start + len].trim_ascii_end();
        let text = String::from_utf8_lossy(text).into_owned();
        let address = self.feeds[backend].address.clone();
        let notice = Notice::LoginRefused { address, text };
        self.actions.push_back(Action::Notify(notice));
        self.cut_feed(backend, input);
    }

    /// Nothing that follows on this connection can be trusted to be what it seems.
    fn cut_feed(&mut self, backend: usize, input: &mut BytesMut) {
        input.clear();
        if let Some(connection) = self.feeds[backend].connection() {
            self.close(connection, CloseWhen::Now);
        }
    }

    /// Looks after the feeds: asks silent ones whether they live, cuts those that do not answer.
    pub(super) fn sweep_feeds(&mut self, now: Instant) {
        for backend in 0..self.feeds.len() {
            let (mut interval, mut limit) = (
                self.options.feed_check_interval,
                self.options.command_timeout,
            );
            if self.has_left(backend) {
                // A former primary may hang for ever, and others can take its place.
                interval = interval.min(LEFT_TIMEOUT);
                limit = limit.min(LEFT_TIMEOUT);
            }
            let feed = &mut self.feeds[backend];
            if let Link::Down { until } = feed.link
                && until <= now
            {
                feed.link = Link::Idle;
            }
            if feed.needs_health_check(interval, now) {
                self.ask_feed(backend, PING, Owner::Health, now);
            }
            let feed = &self.feeds[backend];
            let Some(connection) = feed.connection() else {
                continue;
            };
            let silence = feed.silence(now).unwrap_or_default();
            if silence >= limit {
                self.stats.backend_timeouts.inc();
                self.close(connection, CloseWhen::Now);
            }
        }
    }

    /// Nobody is to be blamed for the time in which we did not listen.
    pub(super) fn forgive_feeds(&mut self, now: Instant) {
        self.feeds.iter_mut().for_each(|feed| feed.note_heard(now));
    }

    /// An answer that is no push, to the oldest request on the feed. Says whether it may be given.
    fn handle_feed_answer(&mut self, backend: usize, answer: &[u8], now: Instant) -> bool {
        let is_error = answer.first() == Some(&b'-');
        let feed = &mut self.feeds[backend];
        match feed.front() {
            Some(Owner::UnsubscribeShard) if is_error => {
                // Which of the two commands that comes from can't be told.
                return !answer.starts_with(b"-BUSY");
            }
            Some(Owner::Subscribe(_) | Owner::Unsubscribe { .. }) if !is_error => return false,
            _ => {}
        }
        match feed.pop() {
            Some(Owner::Subscribe(batch)) => {
                self.subscriptions_refused(backend, &batch, answer, now);
                true
            }
            Some(Owner::Unsubscribe { .. }) => false,
            Some(Owner::Key(key)) => {
                self.key_answered(backend, &key, answer, now);
                true
            }
            Some(Owner::Health | Owner::Tracking | Owner::UnsubscribeShard) => true,
            None => false,
        }
    }
}

/// Marks the token of a connection that is a feed; the rest of it is the backend.
const FEED: u32 = 1 << 31;
