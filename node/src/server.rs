//! Runs a node with real sockets, on a thread of its own: the only part that knows of threads,
//! clocks and tokio.

pub mod command_line;
mod files;
pub mod settings;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use slotway_protocol::engine::{Instant, Now};
use slotway_runtime::listener::{BindError, bind};
use slotway_runtime::worker::local_runtime;
use slotway_runtime::{Driver, DriverHandle, DriverOptions};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cluster::{ClusterConfig, ClusterView, NodeInfo};
use crate::command::Random;
use crate::config::{Config, NodeConfig};
use crate::engine::{Event, Node, Notice};
use crate::server_state::hexadecimal_id;
use files::FileWriter;
pub use files::LoadError;

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("'{0}' is no address to bind; give an IP address, or * for all")]
    Address(String),
    #[error("none of the addresses in 'bind' can be listened on")]
    NoAddress,
    #[error("the system gives no thread or no event queue: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A node that runs. It stops when this is dropped.
#[derive(Debug)]
pub struct ServerHandle {
    addresses: Vec<SocketAddr>,
    events: mpsc::UnboundedSender<Event>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// Where it listens; with port 0 in the config, here is the port that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Hands the node an event; one that comes after its end is dropped.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Stops the node soon; a clone of this can be kept by whoever catches signals.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until the node has ended: by [`ServerHandle::stop_token`] or a client's SHUTDOWN.
    pub fn join(mut self) {
        self.wait();
    }

    fn wait(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic inside the engine has aborted the process, so there is nothing to report.
            let _ = thread.join();
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop.cancel();
            self.wait();
        }
    }
}

/// Starts a node without files on a thread of its own. When this returns, it listens.
pub fn spawn(config: NodeConfig) -> Result<ServerHandle, StartError> {
    start(config, false)
}

/// Starts a node that loads its keys from the file of its settings, and saves them there. Clients
/// that connect while it loads are served after that.
pub fn spawn_with_files(config: NodeConfig) -> Result<ServerHandle, StartError> {
    start(config, true)
}

fn start(config: NodeConfig, has_files: bool) -> Result<ServerHandle, StartError> {
    let listeners = listen(&config.config)?;
    let addresses = listeners
        .iter()
        .map(StdListener::local_addr)
        .collect::<Result<_, _>>()?;
    let (events, inbox) = mpsc::unbounded_channel();
    let for_files = has_files.then(|| events.clone());
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (started, when_started) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("node-{}", config.config.port))
        .spawn(move || {
            let prepared = local_runtime()
                .map_err(StartError::from)
                .and_then(|runtime| Ok((runtime, prepare(config, for_files)?)));
            // Whoever waits for this holds the receiver.
            match prepared {
                Ok((runtime, (node, writer))) => {
                    let _ = started.send(Ok(()));
                    runtime.block_on(serve(node, writer, listeners, inbox, token));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
    when_started.recv().map_err(io::Error::other)??;
    Ok(ServerHandle {
        addresses,
        events,
        stop,
        thread: Some(thread),
    })
}

/// The node with the keys of its file, and what writes that, if it has one.
fn prepare(
    config: NodeConfig,
    events: Option<mpsc::UnboundedSender<Event>>,
) -> Result<(Node, Option<FileWriter>), StartError> {
    let started = Now {
        instant: Instant::from_micros(0),
        unix_ms: unix_ms(),
    };
    let mut node = Node::new(config, started);
    let Some(events) = events else {
        return Ok((node, None));
    };
    files::load(&mut node)?;
    node.set_has_files();
    let writer = FileWriter::start(node.config(), events)?;
    Ok((node, Some(writer)))
}

async fn serve(
    node: Node,
    writer: Option<FileWriter>,
    listeners: Vec<StdListener>,
    mut inbox: mpsc::UnboundedReceiver<Event>,
    stop: CancellationToken,
) {
    let options = DriverOptions::default();
    let on_shutdown = stop.clone();
    let driver = Driver::start(node, options, move |notice| match notice {
        Notice::Shutdown => on_shutdown.cancel(),
        Notice::Sleep(time) => std::thread::sleep(time),
        Notice::Save(id, part) => {
            if let Some(writer) = &writer {
                writer.write(id, part);
            }
        }
    });
    for (index, listener) in listeners.into_iter().enumerate() {
        let number = u16::try_from(index).unwrap_or(u16::MAX);
        tokio::task::spawn_local(accept(listener, number, driver.clone(), stop.clone()));
    }
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = inbox.recv() => match event {
                Some(event) => driver.send(event),
                None => break,
            },
        }
    }
    driver.stop();
}

async fn accept(
    listener: StdListener,
    number: u16,
    driver: DriverHandle<Node>,
    stop: CancellationToken,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "can't watch the listener");
            return stop.cancel();
        }
    };
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted.and_then(|(socket, _)| socket.into_std()) {
            Ok(socket) => driver.accept(socket, number),
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                // For want of a file descriptor the next attempt would fail at once, too.
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Listens on all addresses of `bind`. One with a `-` in front may be missing.
fn listen(config: &Config) -> Result<Vec<StdListener>, StartError> {
    let mut listeners = Vec::new();
    for text in &config.bind {
        let (optional, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.as_str()),
        };
        let ip: IpAddr = match text {
            "*" => Ipv4Addr::UNSPECIFIED.into(),
            "::*" => Ipv6Addr::UNSPECIFIED.into(),
            text => text
                .parse()
                .map_err(|_| StartError::Address(text.to_owned()))?,
        };
        let address = SocketAddr::new(ip, config.port);
        match bind(address, config.tcp_backlog, "--port or --bind") {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional => tracing::info!(%error, "an optional address is left out"),
            Err(error) => return Err(error.into()),
        }
    }
    if listeners.is_empty() {
        return Err(StartError::NoAddress);
    }
    Ok(listeners)
}

/// A number nobody can foresee.
pub fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A cluster of this node alone, without slots, as a new node has it.
pub fn lonely_cluster(config: &Config, seed: u64) -> ClusterConfig {
    let me = hexadecimal_id(&mut Random::new(seed));
    let node = NodeInfo::primary(me.clone(), &config.cluster_announce_ip, config.port);
    ClusterConfig {
        me,
        view: ClusterView::new(vec![node]),
    }
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since| since.as_millis() as u64)
}

const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);
