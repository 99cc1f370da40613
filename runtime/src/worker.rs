//! A thread of its own for an engine, its driver and its connections.

use std::io;
use std::net::TcpStream as StdStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use slotway_protocol::engine::Engine;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use crate::abort::AbortOnPanic;
use crate::driver::{Driver, DriverHandle, DriverOptions};

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    pub driver: DriverOptions,
    /// How many accepted connections may wait for the worker to take them. Default 256.
    pub accept_capacity: usize,
    /// How many events may wait for the worker to take them. Default 1,024.
    pub event_capacity: usize,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            driver: DriverOptions::default(),
            accept_capacity: 256,
            event_capacity: 1024,
        }
    }
}

/// The outside of a worker; clones are the same worker. It stops when the last one is dropped.
pub struct WorkerHandle<Event> {
    shared: Arc<Shared<Event>>,
}

struct Shared<Event> {
    sockets: mpsc::Sender<(StdStream, u16)>,
    events: mpsc::Sender<Event>,
    /// Accepted connections, open or waiting to be taken.
    accepted: Arc<AtomicUsize>,
    stop: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The event or connection comes back when a worker can't take it.
#[derive(Debug, thiserror::Error)]
pub enum SendError<T> {
    #[error("the worker is busy, its queue is full")]
    Full(T),
    #[error("the worker has stopped")]
    Stopped(T),
}

/// Starts a thread that builds an engine and drives it. `on_notice` runs on that thread.
///
/// # Errors
/// When the system gives no thread or no event queue.
pub fn spawn_worker<E: Engine<Event: Send> + 'static>(
    name: &str,
    options: WorkerOptions,
    build: impl FnOnce() -> E + Send + 'static,
    on_notice: impl FnMut(E::Notice) + Send + 'static,
) -> io::Result<WorkerHandle<E::Event>> {
    let (sockets, socket_receiver) = mpsc::channel(options.accept_capacity.max(1));
    let (events, event_receiver) = mpsc::channel(options.event_capacity.max(1));
    let accepted = Arc::new(AtomicUsize::new(0));
    let stop = CancellationToken::new();
    let inbox = Inbox {
        sockets: socket_receiver,
        events: event_receiver,
        stop: stop.clone(),
    };
    let (started, when_started) = std::sync::mpsc::sync_channel(1);
    let counter = Arc::clone(&accepted);
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _abort = AbortOnPanic("worker");
            let runtime = local_runtime();
            // Whoever waits for this holds the receiver, so the send can't fail.
            let _ = started.send(runtime.as_ref().map(drop).map_err(copy_error));
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async move {
                let engine = build();
                let driver = Driver::start_counting(engine, options.driver, counter, on_notice);
                inbox.serve(&driver).await;
                driver.stop();
            });
        })?;
    when_started.recv().map_err(io::Error::other)??;
    Ok(WorkerHandle {
        shared: Arc::new(Shared {
            sockets,
            events,
            accepted,
            stop,
            thread: Mutex::new(Some(thread)),
        }),
    })
}

/// The runtime that a driver needs, on the current thread; also for the control thread.
///
/// # Errors
/// When the system gives no event queue.
pub fn local_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .max_blocking_threads(NAME_LOOKUP_THREADS)
        .build_local(LocalOptions::default())
}

impl<Event> WorkerHandle<Event> {
    /// Hands over an accepted connection without waiting. The worker takes it before any event
    /// that is sent later.
    ///
    /// # Errors
    /// With the connection, when too many wait already or the worker has stopped.
    pub fn accept(&self, socket: StdStream, listener: u16) -> Result<(), SendError<StdStream>> {
        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        self.shared
            .sockets
            .try_send((socket, listener))
            .map_err(|error| {
                self.shared.accepted.fetch_sub(1, Ordering::Relaxed);
                match error {
                    TrySendError::Full((socket, _)) => SendError::Full(socket),
                    TrySendError::Closed((socket, _)) => SendError::Stopped(socket),
                }
            })
    }

    /// Hands over an event without waiting.
    ///
    /// # Errors
    /// With the event, when too many wait already or the worker has stopped.
    pub fn send(&self, event: Event) -> Result<(), SendError<Event>> {
        self.shared
            .events
            .try_send(event)
            .map_err(|error| match error {
                TrySendError::Full(event) => SendError::Full(event),
                TrySendError::Closed(event) => SendError::Stopped(event),
            })
    }

    /// How many accepted connections are open or wait to be taken.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Drops all connections and ends the thread soon.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Waits until the thread has ended; it must have been told to. Blocks the calling thread.
    pub fn join(&self) {
        let mut thread = self
            .shared
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic has aborted the process, so there is no other outcome to report.
            let _ = thread.join();
        }
    }
}

impl<Event> Clone for WorkerHandle<Event> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The worker's own ends.
struct Inbox<Event> {
    sockets: mpsc::Receiver<(StdStream, u16)>,
    events: mpsc::Receiver<Event>,
    stop: CancellationToken,
}

impl<Event> Inbox<Event> {
    /// Until told to stop, or nobody is left who could tell.
    async fn serve<E: Engine<Event = Event> + 'static>(mut self, driver: &DriverHandle<E>) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                event = self.events.recv() => match event {
                    Some(event) => {
                        // A drain, say, means the clients that came before it, too.
                        while let Ok((socket, listener)) = self.sockets.try_recv() {
                            driver.accept_counted(socket, listener);
                        }
                        driver.send(event);
                    }
                    None => return,
                },
                accepted = self.sockets.recv() => match accepted {
                    Some((socket, listener)) => driver.accept_counted(socket, listener),
                    None => return,
                },
            }
        }
    }
}

fn copy_error(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(
        || io::Error::new(error.kind(), error.to_string()),
        io::Error::from_raw_os_error,
    )
}

/// How many tasks run before the sockets are asked for news. All of a driver's connections are one
/// task, so this is small; with 1 each turn would be followed by a system call for nothing.
const EVENT_INTERVAL: u32 = 4;

/// Names of backends are looked up on threads of their own; more than these at a time wait.
const NAME_LOOKUP_THREADS: usize = 4;
