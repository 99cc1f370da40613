//! Listens on an address and hands each accepted connection to the worker that has the fewest.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Counter;
use crate::worker::{SendError, WorkerHandle};

/// Why an address can't be listened on, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct BindError {
    pub address: SocketAddr,
    /// The option that names another address, such as `--listen`.
    pub option: String,
    #[source]
    pub source: io::Error,
}

impl BindError {
    fn text(&self) -> String {
        let Self {
            address,
            option,
            source,
        } = self;
        let port = address.port();
        match source.kind() {
            io::ErrorKind::AddrInUse => format!(
                "address {address} is in use; another redis-server or slotway may hold it \
                 (ss -ltnp 'sport = :{port}' tells which); choose another with {option}"
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "address {address} belongs to no interface of this machine; choose another \
                 with {option}"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "address {address} is not allowed to this user (ports below 1024 need a \
                 privilege); choose another with {option}"
            ),
            _ => format!("can't listen on {address}: {source}; choose another with {option}"),
        }
    }
}

/// Listens on `address`; `option` is what the user may change, for the error.
///
/// # Errors
/// When the address is taken, not ours or not allowed.
pub fn bind(address: SocketAddr, backlog: u32, option: &str) -> Result<StdListener, BindError> {
    listen(address, backlog).map_err(|source| BindError {
        address,
        option: option.to_owned(),
        source,
    })
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<StdListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // As in Redis: "::" and "0.0.0.0" are two addresses and may both be listened on.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// How connections are accepted.
#[derive(Debug, Clone)]
pub struct AcceptOptions {
    /// The listener's number, which engines see as the connection's origin.
    pub listener: u16,
    /// How many accepted connections all the workers together may have; one more is told so and
    /// closed. Default 10,000, as in Redis.
    pub connections_max: ConnectionsMax,
    /// When it says so, nobody is let in. Default: never.
    pub overload: Overload,
    /// A connection whose file has this number or a higher one is not let in, because the files
    /// above are for what the process opens itself: the system gives out the lowest number that is
    /// free. Default: no limit.
    pub files_max: usize,
}

/// Asks whether there is no room for another connection, whatever their number.
#[derive(Clone)]
pub struct Overload(Arc<dyn Fn() -> bool + Send + Sync>);

impl Overload {
    pub fn new(is_overloaded: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_overloaded))
    }
}

impl fmt::Debug for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Overload").field(&(self.0)()).finish()
    }
}

/// A number that may change while the listener accepts; clones are the same number.
#[derive(Debug, Clone)]
pub struct ConnectionsMax(Arc<AtomicUsize>);

impl ConnectionsMax {
    pub fn new(max: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(max)))
    }

    pub fn value(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Connections that are open already stay so.
    pub fn set(&self, max: usize) {
        self.0.store(max, Ordering::Relaxed);
    }
}

impl Default for AcceptOptions {
    fn default() -> Self {
        Self {
            listener: 0,
            connections_max: ConnectionsMax::new(10_000),
            overload: Overload::new(|| false),
            files_max: usize::MAX,
        }
    }
}

/// What one listener has done. One listener writes it.
#[derive(Debug, Default)]
pub struct AcceptMetrics {
    pub accepted: Counter,
    /// Connections told that there are too many.
    pub refused: Counter,
    /// Connections turned away because of [`AcceptOptions::overload`].
    pub overloaded: Counter,
    /// Connections turned away because files were short.
    pub short_of_files: Counter,
    /// Failed calls to accept, such as for want of a file descriptor.
    pub failed: Counter,
}

/// The usual length of the queue of connections that the kernel has accepted and we have not.
pub const BACKLOG: u32 = 4096;

/// Accepts until told to stop.
///
/// # Errors
/// When the listener can't be watched, that is at once or never.
pub async fn accept_loop<Event>(
    listener: StdListener,
    workers: Vec<WorkerHandle<Event>>,
    options: AcceptOptions,
    metrics: Arc<AcceptMetrics>,
    stop: CancellationToken,
) -> io::Result<()> {
    assert!(!workers.is_empty(), "somebody must serve the connections");
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut acceptor = Acceptor {
        workers,
        options,
        metrics,
        last: 0,
        spare: spare_file(&listener),
        logged: None,
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        outcome = acceptor.run(&listener) => outcome,
    }
}

struct Acceptor<Event> {
    workers: Vec<WorkerHandle<Event>>,
    options: AcceptOptions,
    metrics: Arc<AcceptMetrics>,
    /// The worker that got the last connection.
    last: usize,
    /// A file of no use but to be closed when files are short, so that there is one with which a
    /// client can be told so. Without it clients would wait without a word.
    spare: Option<Socket>,
    /// When a failure was last logged.
    logged: Option<Instant>,
}

impl<Event> Acceptor<Event> {
    async fn run(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            let accepted = listener.accept().await;
            match accepted.and_then(|(socket, _)| socket.into_std()) {
                Ok(socket) => self.take(socket).await?,
                Err(error) => self.failed(listener, &error).await,
            }
        }
    }

    async fn take(&mut self, socket: StdStream) -> io::Result<()> {
        let connections: usize = self.workers.iter().map(WorkerHandle::connections).sum();
        if connections >= self.options.connections_max.value() {
            self.metrics.refused.inc();
            refuse(socket, TOO_MANY);
            return Ok(());
        }
        if usize::try_from(socket.as_raw_fd()).is_ok_and(|it| it >= self.options.files_max) {
            self.metrics.short_of_files.inc();
            self.tell("too many files are open");
            refuse(socket, TOO_MANY);
            return Ok(());
        }
        if (self.options.overload.0)() {
            self.metrics.overloaded.inc();
            refuse(socket, OVERLOADED);
            return Ok(());
        }
        self.metrics.accepted.inc();
        let mut waiting = Some(socket);
        while let Some(socket) = waiting {
            waiting = self.offer(socket)?;
            if waiting.is_some() {
                tokio::time::sleep(ALL_FULL).await;
            }
        }
        Ok(())
    }

    /// Gives the connection to the idlest worker whose queue has room; it comes back if none has.
    /// One that is stuck takes no more, which must not keep clients from the others.
    fn offer(&mut self, mut socket: StdStream) -> io::Result<Option<StdStream>> {
        for index in by_idleness(&self.workers, self.last) {
            match self.workers[index].accept(socket, self.options.listener) {
                Ok(()) => {
                    self.last = index;
                    return Ok(None);
                }
                Err(SendError::Full(back)) => socket = back,
                Err(error @ SendError::Stopped(_)) => return Err(io::Error::other(error)),
            }
        }
        Ok(Some(socket))
    }

    /// Turns away those who wait if files are short. Otherwise, or where that can't be done, waits
    /// before the next attempt unless only that one connection was at fault: the listener stays
    /// readable, and trying again at once would spin.
    async fn failed(&mut self, listener: &TcpListener, error: &io::Error) {
        self.metrics.failed.inc();
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return;
        }
        self.tell(error);
        let is_short = matches!(error.raw_os_error(), Some(EMFILE | ENFILE));
        if is_short && self.spare.take().is_some() {
            let are_all_gone = self.turn_away(listener).await;
            self.spare = spare_file(listener);
            if are_all_gone && self.spare.is_some() {
                return;
            }
        }
        tokio::time::sleep(BACK_OFF).await;
        if self.spare.is_none() {
            self.spare = spare_file(listener);
        }
    }

    /// Tells those who wait, but not without end, that there are too many. True when nobody waits
    /// any more; then the listener is not readable until somebody comes.
    async fn turn_away(&self, listener: &TcpListener) -> bool {
        for _ in 0..TURNED_AWAY_AT_ONCE {
            let accepted = poll_fn(|cx| Poll::Ready(listener.poll_accept(cx))).await;
            match accepted.map_ok(|(socket, _)| socket.into_std()) {
                Poll::Pending => return true,
                Poll::Ready(Ok(Ok(socket))) => {
                    self.metrics.short_of_files.inc();
                    refuse(socket, TOO_MANY);
                }
                Poll::Ready(_) => return false,
            }
        }
        false
    }

    /// Logs that clients can't be let in, now and then.
    fn tell(&mut self, error: impl fmt::Display) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            let failures = self.metrics.failed.value();
            tracing::warn!(
                %error, failures,
                "can't accept connections; if files are short, raise the limit (ulimit -n)"
            );
        }
    }
}

/// Any file will do; this one needs no path.
fn spare_file(listener: &TcpListener) -> Option<Socket> {
    SockRef::from(listener).try_clone().ok()
}

/// The workers by the number of their connections; among equals the next after `last` is first.
fn by_idleness<Event>(workers: &[WorkerHandle<Event>], last: usize) -> Vec<usize> {
    let after_last = (1..=workers.len()).map(|step| (last + step) % workers.len());
    let mut order: Vec<usize> = after_last.collect();
    // Each number is read once: the workers change them meanwhile.
    order.sort_by_cached_key(|&index| workers[index].connections());
    order
}

fn refuse(socket: StdStream, text: &[u8]) {
    // A new socket's buffer has room for this, and whoever does not read it is gone anyway.
    let _ = (&socket).write(text);
}

const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

const OVERLOADED: &[u8] = b"-OOM proxy: no room for another client now (memory_bytes_max)\r\n";

const BACK_OFF: Duration = Duration::from_millis(100);

/// How long to wait while no worker has room for another connection.
const ALL_FULL: Duration = Duration::from_millis(2);

const LOG_EVERY: Duration = Duration::from_secs(1);

/// How many are told so before somebody else may need the file.
const TURNED_AWAY_AT_ONCE: usize = 64;

/// The process, or the system, has no more files.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
