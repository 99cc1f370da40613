//! The contract between a pure state machine and whatever drives it: bytes, events and the time go
//! in; bytes and wishes come out.
//!
//! A driver calls one `handle_*` method, then drains [`Engine::poll_action`], then arms its timer
//! from [`Engine::poll_timeout`]. It writes what [`Engine::output`] holds whenever the connection
//! takes bytes, and says so with [`Engine::handle_written`]. That is the whole driver.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use bytes::BytesMut;

use crate::output::Output;

/// A pure state machine that speaks over many connections at once.
pub trait Engine {
    /// What the outside tells it besides bytes: a new topology, a new config, drain.
    type Event;
    /// What it tells the outside besides bytes: "the topology is stale", "drained".
    type Notice;

    /// A connection is open: accepted, or the answer to [`Action::Connect`].
    fn handle_open(&mut self, connection: ConnectionId, peer: Peer, now: Now);

    /// An [`Action::Connect`] came to nothing.
    fn handle_connect_failed(&mut self, token: ConnectToken, error: ConnectError, now: Now);

    /// Bytes arrived. The engine takes whole frames from the front and leaves a partial one; the
    /// driver keeps that and appends the next bytes to it.
    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now);

    /// The peer will send no more, but may still read. An engine that has nothing left to say
    /// answers with [`Action::Close`]; it is asked only once.
    fn handle_end(&mut self, connection: ConnectionId, now: Now);

    /// The connection is gone, whoever closed it, also after [`Action::Close`]. The id may be used
    /// again by a later [`Engine::handle_open`].
    fn handle_close(&mut self, connection: ConnectionId, now: Now);

    /// The kernel took bytes of the connection's output. The time may be that of a call shortly
    /// before.
    fn handle_written(&mut self, connection: ConnectionId, now: Now);

    /// The time that [`Engine::poll_timeout`] named has come.
    fn handle_timeout(&mut self, now: Now);

    /// Something happened outside.
    fn handle_event(&mut self, event: Self::Event, now: Now);

    /// The bytes waiting to be written to an open connection.
    fn output(&mut self, connection: ConnectionId) -> &mut Output;

    /// The next wish, until there is none.
    fn poll_action(&mut self) -> Option<Action<Self::Notice>>;

    /// When [`Engine::handle_timeout`] wants to be called, if at all.
    fn poll_timeout(&self) -> Option<Instant>;

    /// One of the calls above has panicked, so what it was about may be half done. The engine gives
    /// up all of that: it says which connections to close, and sees to it that no reply reaches
    /// another than the one it is for. Says whether it can be used from now on; one that can't, or
    /// that panics here, is not called any more.
    fn recover(&mut self, _interrupted: Interrupted, _now: Now) -> bool {
        false
    }
}

/// Which call has panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// One about an open connection. The driver closes it at once; `handle_close` follows.
    Connection(ConnectionId),
    /// [`Engine::handle_close`]; it is not called again.
    Close(ConnectionId),
    /// [`Engine::handle_connect_failed`]; it is not called again.
    Connect(ConnectToken),
    /// One that is about no connection: a timeout or an event.
    Other,
}

/// What an engine asks its driver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<N> {
    /// Open a connection; the answer is `handle_open` with the token as its origin, or
    /// `handle_connect_failed`.
    Connect {
        token: ConnectToken,
        address: Address,
    },
    /// Close a connection; `handle_close` follows.
    Close {
        connection: ConnectionId,
        when: CloseWhen,
    },
    /// The connection's output went from empty to not empty: write it soon. Not sent for the
    /// connection whose `handle_input` is under way: the driver looks at that output anyway.
    Wake(ConnectionId),
    /// Stop reading from the connection (back-pressure).
    Pause(ConnectionId),
    /// Read from the connection again. What an earlier `handle_input` left of the input is handed
    /// in once more at once, also when nothing new arrives.
    Resume(ConnectionId),
    /// Tell the outside.
    Notify(N),
}

/// When an [`Action::Close`] takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseWhen {
    /// After all output is written; nothing is read any more.
    Flushed,
    /// At once; output is dropped.
    Now,
}

/// A connection, numbered densely from 0 by the driver so that engines can index by it. The
/// generation tells a new connection from an old one in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    pub index: u32,
    pub generation: u32,
}

/// The engine's own name for a connection it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectToken(pub u32);

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end's address.
    pub remote: SocketAddr,
    /// Our own end's address.
    pub local: SocketAddr,
    pub origin: Origin,
}

/// How a connection came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Accepted by the listener of that number, in the order of the driver's listeners.
    Accepted(u16),
    /// Asked for with [`Action::Connect`].
    Connected(ConnectToken),
}

/// Why a connection could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("connection refused")]
    Refused,
    #[error("timed out")]
    TimedOut,
    #[error("{0}")]
    Other(String),
}

/// Where a node can be reached: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    pub host: Arc<str>,
    pub port: u16,
}

impl Address {
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The time of a call: monotonic for durations, wall clock for what Redis stores as a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub instant: Instant,
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
}

/// A monotonic time in microseconds since the driver started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The time that much earlier, or the beginning.
    pub const fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_micros() as u64))
    }

    /// The time in microseconds from `earlier` to `self`; zero when `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}
