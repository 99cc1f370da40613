//! Drives one engine on the current thread: hands it bytes, events and the time, and does what it
//! wishes. The sockets themselves are read and written in `connection`.

mod calls;

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream as StdStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant,
    Interrupted, Now, Origin, Peer,
};
use slotway_protocol::output::Output;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::abort::AbortOnPanic;
use crate::clock::Clock;
use crate::connect::{self, Liveness, Lookups};
use crate::connection::{Connection, Polled};
use crate::ready::{Poller, ReadyList, waker};
use crate::table::Table;
use crate::timer::Timer;

/// What a driver can be told about its sockets.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    /// How long an [`Action::Connect`] may take, name lookup included. Default 1 s.
    pub connect_timeout: Duration,
    /// The idle time after which accepted connections are probed; `None` leaves it to the kernel.
    /// Default 300 s, as in Redis.
    pub accepted_keepalive: Option<Duration>,
    /// The same for connections that the engine asked for. Default 15 s.
    pub connected_keepalive: Option<Duration>,
    /// How long the peer of such a connection may leave what was sent without acknowledging it,
    /// before the connection counts as broken; `None` leaves it to the kernel. Default 5 s.
    pub unacknowledged_max: Option<Duration>,
    /// How many ready connections are polled before the timer and the thread's other tasks have
    /// their turn. Connections are polled in the order in which they became ready, whatever this
    /// is; under load a smaller number costs more system calls. Default 256.
    pub polls_per_turn: usize,
}

impl Default for DriverOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            accepted_keepalive: Some(Duration::from_secs(300)),
            connected_keepalive: Some(Duration::from_secs(15)),
            unacknowledged_max: Some(Duration::from_secs(5)),
            polls_per_turn: 256,
        }
    }
}

/// One engine with all that its connections share. Each connection is a task of its own, which
/// only ever touches its own socket: other connections are woken, never written to, so that one
/// write carries what all the ready clients have to say to a backend.
///
/// A panic inside the engine ends the connection that the call was about, or else the process.
pub struct Driver<E: Engine> {
    engine: RefCell<E>,
    connections: RefCell<Table>,
    ready: Arc<ReadyList>,
    /// Where all connections read into that have no large partial frame.
    pub(crate) read_buffer: RefCell<BytesMut>,
    clock: Clock,
    options: DriverOptions,
    accepted_keepalive: Cell<Option<Duration>>,
    lookups: Lookups,
    on_notice: RefCell<Box<dyn FnMut(E::Notice)>>,
    /// The connection being polled: it writes its output before it returns, so nobody wakes it.
    current: Cell<Option<ConnectionId>>,
    /// Whether actions are being drained further up the stack, so that a notice's receiver may
    /// send an event at once.
    draining: Cell<bool>,
    /// When the timer wakes up by itself, at the latest.
    armed: Cell<Option<Instant>>,
    timer: RefCell<Option<Waker>>,
    stopped: Cell<bool>,
    /// When a call last panicked that was about no connection.
    blameless: Cell<Option<Instant>>,
    /// Open or queued accepted connections; the acceptor counts them up.
    accepted: Arc<AtomicUsize>,
}

/// The outside of a driver, for code on the same thread.
pub struct DriverHandle<E: Engine> {
    driver: Rc<Driver<E>>,
}

impl<E: Engine + 'static> Driver<E> {
    /// Starts to drive `engine` on the current `LocalRuntime`. `on_notice` may use the handle.
    pub fn start(
        engine: E,
        options: DriverOptions,
        on_notice: impl FnMut(E::Notice) + 'static,
    ) -> DriverHandle<E> {
        Self::start_counting(engine, options, Arc::default(), on_notice)
    }

    /// The same, with the counter of accepted connections shared with whoever accepts them.
    pub(crate) fn start_counting(
        engine: E,
        options: DriverOptions,
        accepted: Arc<AtomicUsize>,
        on_notice: impl FnMut(E::Notice) + 'static,
    ) -> DriverHandle<E> {
        let driver = Rc::new(Self {
            engine: RefCell::new(engine),
            connections: RefCell::default(),
            ready: Arc::default(),
            read_buffer: RefCell::default(),
            clock: Clock::start(),
            accepted_keepalive: Cell::new(options.accepted_keepalive),
            options,
            lookups: Lookups::default(),
            on_notice: RefCell::new(Box::new(on_notice)),
            current: Cell::new(None),
            draining: Cell::new(false),
            armed: Cell::new(None),
            timer: RefCell::default(),
            stopped: Cell::new(false),
            blameless: Cell::new(None),
            accepted,
        });
        spawn_local(Timer::new(Rc::clone(&driver)));
        let list = Arc::clone(&driver.ready);
        let poller = Poller::new(Rc::clone(&driver), list, driver.options.polls_per_turn);
        // Tokio's own bound on a task's work would end each turn in the middle of a batch.
        spawn_local(tokio::task::unconstrained(poller));
        // What the engine wishes from the start: its first connections, its first timeout.
        driver.drain();
        DriverHandle { driver }
    }
}

impl<E: Engine + 'static> Driver<E> {
    /// Some connections are about to be polled.
    #[inline]
    pub(crate) fn start_turn(&self) {
        self.clock.forget();
    }

    /// The bytes waiting on a connection.
    #[inline]
    pub(crate) fn with_output<R>(
        &self,
        id: ConnectionId,
        use_it: impl FnOnce(&mut Output) -> R,
    ) -> R {
        use_it(self.engine.borrow_mut().output(id))
    }

    /// Polls a connection that is ready, if it is still there.
    #[inline]
    pub(crate) fn poll_connection(self: &Rc<Self>, index: u32) {
        let taken = self.connections.borrow_mut().take(index);
        let Some(mut polled) = taken else { return };
        let Polled { connection, waker } = &mut *polled;
        let id = connection.id;
        self.current.set(Some(id));
        let outcome = connection.poll(self, &mut Context::from_waker(waker));
        self.current.set(None);
        match outcome {
            Poll::Pending => {
                if let Some(slot) = self.connections.borrow_mut().find(id) {
                    slot.connection = Some(polled);
                }
            }
            Poll::Ready(outcome) => {
                if let Err(error) = outcome {
                    tracing::debug!(%error, connection = ?id, "the connection broke");
                }
                self.closed(&polled.connection);
            }
        }
    }

    /// Whether the engine wants no more bytes of the connection, for now or for ever.
    #[inline]
    pub(crate) fn is_paused(&self, id: ConnectionId) -> bool {
        let mut connections = self.connections.borrow_mut();
        connections
            .find(id)
            .is_none_or(|slot| slot.paused || slot.close.is_some())
    }

    /// Whether the connection was resumed since this was last asked.
    #[inline]
    pub(crate) fn take_resumed(&self, id: ConnectionId) -> bool {
        let mut connections = self.connections.borrow_mut();
        connections
            .find(id)
            .is_some_and(|slot| std::mem::take(&mut slot.resumed))
    }

    #[inline]
    pub(crate) fn close_wish(&self, id: ConnectionId) -> Option<CloseWhen> {
        self.connections.borrow_mut().find(id)?.close
    }

    /// The connection's socket is about to be dropped.
    fn closed(self: &Rc<Self>, connection: &Connection) {
        if connection.is_accepted {
            self.accepted.fetch_sub(1, Ordering::Relaxed);
        }
        if self.stopped.get() {
            return;
        }
        let id = connection.id;
        let about = Interrupted::Close(id);
        let now = self.clock.now();
        self.enter(about, now, |engine, now| engine.handle_close(id, now));
        self.connections.borrow_mut().remove(id);
        self.drain();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    pub(crate) fn deadline(&self, instant: Instant) -> tokio::time::Instant {
        self.clock.deadline(instant)
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.engine.borrow().poll_timeout()
    }

    pub(crate) fn set_armed(&self, armed: Option<Instant>) {
        self.armed.set(armed);
    }

    pub(crate) fn set_timer_waker(&self, waker: &Waker) {
        self.timer.borrow_mut().get_or_insert_with(|| waker.clone());
    }

    #[inline]
    fn drain(self: &Rc<Self>) {
        if self.draining.replace(true) {
            return;
        }
        loop {
            let action = self.engine.borrow_mut().poll_action();
            let Some(action) = action else { break };
            self.perform(action);
        }
        self.draining.set(false);
        self.arm_timer();
    }

    fn perform(self: &Rc<Self>, action: Action<E::Notice>) {
        match action {
            Action::Wake(id) => self.wake(id),
            Action::Notify(notice) => (self.on_notice.borrow_mut())(notice),
            Action::Connect { token, address } => {
                spawn_local(Self::connect(Rc::clone(self), token, address));
            }
            Action::Close { connection, when } => self.close(connection, when),
            Action::Pause(id) => {
                if let Some(slot) = self.connections.borrow_mut().find(id) {
                    slot.paused = true;
                }
            }
            Action::Resume(id) => {
                if let Some(slot) = self.connections.borrow_mut().find(id) {
                    slot.paused = false;
                    slot.resumed = true;
                    self.ready.push(id.index);
                }
            }
        }
    }

    fn close(&self, connection: ConnectionId, when: CloseWhen) {
        if let Some(slot) = self.connections.borrow_mut().find(connection) {
            // A close at once overrules one that waits for the output, never the reverse.
            slot.close = match (slot.close, when) {
                (Some(CloseWhen::Now), _) => Some(CloseWhen::Now),
                _ => Some(when),
            };
            self.ready.push(connection.index);
        }
    }

    #[inline]
    fn wake(&self, id: ConnectionId) {
        if self.current.get() == Some(id) {
            return;
        }
        if self.connections.borrow_mut().find(id).is_some() {
            self.ready.push(id.index);
        }
    }

    #[inline]
    fn arm_timer(&self) {
        let Some(due) = self.next_timeout() else {
            return;
        };
        if self.armed.get().is_none_or(|armed| due < armed) {
            self.armed.set(Some(due));
            wake(self.timer.borrow().as_ref());
        }
    }

    async fn connect(self: Rc<Self>, token: ConnectToken, address: Address) {
        let _abort = AbortOnPanic("connect");
        let options = &self.options;
        let liveness = Liveness {
            keepalive: options.connected_keepalive,
            unacknowledged_max: options.unacknowledged_max,
        };
        let outcome =
            connect::connect(&address, options.connect_timeout, liveness, &self.lookups).await;
        if self.is_stopped() {
            return;
        }
        let origin = Origin::Connected(token);
        let outcome = outcome.and_then(|socket| match peer(&socket, origin) {
            Ok(peer) => Ok((socket, peer)),
            Err(error) => Err(ConnectError::Other(error.to_string())),
        });
        match outcome {
            Ok((socket, peer)) => self.open(socket, peer),
            Err(error) => {
                tracing::debug!(%address, %error, "can't connect");
                self.call(Interrupted::Connect(token), |engine, now| {
                    engine.handle_connect_failed(token, error, now);
                });
            }
        }
    }

    /// Takes an accepted socket that is counted already.
    fn adopt(self: &Rc<Self>, socket: StdStream, listener: u16) {
        let opened = (|| {
            socket.set_nonblocking(true)?;
            let socket = TcpStream::from_std(socket)?;
            let liveness = Liveness {
                keepalive: self.accepted_keepalive.get(),
                unacknowledged_max: None,
            };
            connect::set_options(&socket, liveness)?;
            let peer = peer(&socket, Origin::Accepted(listener))?;
            Ok::<_, std::io::Error>((socket, peer))
        })();
        match opened {
            Ok((socket, peer)) => self.open(socket, peer),
            Err(error) => {
                self.accepted.fetch_sub(1, Ordering::Relaxed);
                tracing::debug!(%error, "a connection is gone before it was used");
            }
        }
    }

    fn open(self: &Rc<Self>, socket: TcpStream, peer: Peer) {
        let id = self.connections.borrow_mut().insert();
        let about = Interrupted::Connection(id);
        self.call(about, |engine, now| engine.handle_open(id, peer, now));
        let is_accepted = matches!(peer.origin, Origin::Accepted(_));
        let polled = Polled {
            connection: Connection::new(socket, id, is_accepted),
            waker: waker(&self.ready, id.index),
        };
        if let Some(slot) = self.connections.borrow_mut().find(id) {
            slot.connection = Some(Box::new(polled));
        }
        self.ready.push(id.index);
    }
}

impl<E: Engine + 'static> DriverHandle<E> {
    /// Takes an accepted connection. One that is gone already is dropped without a word.
    pub fn accept(&self, socket: StdStream, listener: u16) {
        self.driver.accepted.fetch_add(1, Ordering::Relaxed);
        self.driver.adopt(socket, listener);
    }

    /// The same for a connection that is in the shared count already.
    pub(crate) fn accept_counted(&self, socket: StdStream, listener: u16) {
        self.driver.adopt(socket, listener);
    }

    /// Hands the engine an event. From inside `on_notice` too: what the engine wishes then is done
    /// when `on_notice` has returned.
    pub fn send(&self, event: E::Event) {
        self.driver.call(Interrupted::Other, |engine, now| {
            engine.handle_event(event, now)
        });
    }

    /// Changes [`DriverOptions::accepted_keepalive`] for connections that come from now on.
    pub fn set_accepted_keepalive(&self, keepalive: Option<Duration>) {
        self.driver.accepted_keepalive.set(keepalive);
    }

    /// How many accepted connections are open.
    pub fn connections(&self) -> usize {
        self.driver.accepted.load(Ordering::Relaxed)
    }

    /// Drops all connections, unwritten output included, and calls the engine no more.
    pub fn stop(&self) {
        let driver = &self.driver;
        if driver.stopped.replace(true) {
            return;
        }
        driver.connections.borrow_mut().clear();
        driver.ready.wake_poller();
        wake(driver.timer.borrow().as_ref());
    }
}

impl<E: Engine> Clone for DriverHandle<E> {
    fn clone(&self) -> Self {
        Self {
            driver: Rc::clone(&self.driver),
        }
    }
}

fn peer(socket: &TcpStream, origin: Origin) -> std::io::Result<Peer> {
    Ok(Peer {
        remote: canonical(socket.peer_addr()?),
        local: canonical(socket.local_addr()?),
        origin,
    })
}

/// An IPv4 peer of a listener on both families is an IPv4 peer.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[inline]
fn wake(waker: Option<&Waker>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}
