//! Runs a node with real sockets, on a thread of its own: the only part that knows of threads,
//! clocks and tokio.

mod aof;
mod cluster_file;
pub mod command_line;
mod configuring;
mod files;
mod listeners;
mod loading;
mod local_cluster;
pub mod log;
pub mod metrics;
mod probe;
pub mod process;
pub mod settings;
mod storage;
pub mod watch;

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slotway_protocol::engine::{Instant, Now};
use slotway_runtime::listener::BindError;
use slotway_runtime::worker::local_runtime;
use slotway_runtime::{Driver, DriverHandle, DriverOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cluster::{ClusterConfig, ClusterView, NodeInfo, bus_port};
use crate::command::Random;
use crate::config::{Config, NodeConfig};
use crate::engine::{Event, LoadReply, Node, Notice};
use crate::server_state::hexadecimal_id;
pub use cluster_file::ClusterFileError;
use cluster_file::{ClusterFile, ClusterFileWriter};
use configuring::Configurator;
use listeners::{Listeners, Listening, listen};
pub use loading::LoadError;
use loading::Plan;
pub use local_cluster::{CreateCluster, LocalCluster, LocalClusterError, LocalClusterOptions};
use storage::Storage;
use watch::{Publisher, Watch};

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("'{0}' is no address to bind; give an IP address, or * for all")]
    Address(String),
    #[error("none of the addresses in 'bind' can be listened on")]
    NoAddress,
    #[error("metrics can't be shown: {0}")]
    Metrics(BindError),
    #[error("none of the addresses in 'metrics-bind' can be listened on")]
    NoMetricsAddress,
    #[error("the system gives no thread or no event queue: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    ClusterFile(#[from] ClusterFileError),
}

/// A node that runs. It stops when this is dropped.
#[derive(Debug)]
pub struct ServerHandle {
    addresses: Vec<SocketAddr>,
    bus_port: u16,
    events: mpsc::UnboundedSender<Event>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    watch: Watch,
    /// The thread that shows metrics, if any does.
    metrics: Option<JoinHandle<()>>,
}

impl ServerHandle {
    /// Where it listens; with port 0 in the config, here is the port that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens for the other nodes of its cluster; 0 if it does not.
    pub fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// Hands the node an event; one that comes after its end is dropped.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Whom to ask how it is.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
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
        self.stop.cancel();
        if let Some(thread) = self.metrics.take() {
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
    start(config, Surroundings::default())
}

/// Starts a node without files that talks to the other nodes of its cluster. What it was part of,
/// and its keys, are forgotten when it ends.
pub fn spawn_with_bus(config: NodeConfig) -> Result<ServerHandle, StartError> {
    let surroundings = Surroundings {
        has_bus: config.config.cluster_enabled,
        ..Surroundings::default()
    };
    start(config, surroundings)
}

/// Starts a node that loads its keys from the files of its settings, and saves them there. Returns
/// when they are loaded; clients that connect meanwhile are told to wait.
pub fn spawn_with_files(config: NodeConfig) -> Result<ServerHandle, StartError> {
    let surroundings = Surroundings {
        has_files: true,
        has_bus: config.config.cluster_enabled,
        ..Surroundings::default()
    };
    start(config, surroundings)
}

/// The same for the one node of a program, whose settings may come from a file.
pub fn spawn_program(
    config: NodeConfig,
    config_file: Option<PathBuf>,
) -> Result<ServerHandle, StartError> {
    let surroundings = Surroundings {
        has_files: true,
        has_bus: config.config.cluster_enabled,
        config_file,
        is_program: true,
    };
    start(config, surroundings)
}

/// What a node finds around it.
#[derive(Debug, Default)]
struct Surroundings {
    has_files: bool,
    /// It talks to the other nodes of its cluster.
    has_bus: bool,
    config_file: Option<PathBuf>,
    /// The process is there for this node alone.
    is_program: bool,
}

fn start(mut config: NodeConfig, surroundings: Surroundings) -> Result<ServerHandle, StartError> {
    let (listeners, bus_listeners) = if surroundings.has_bus {
        listeners::listen_in_cluster(&mut config.config)?
    } else {
        (listen(&config.config)?, Vec::new())
    };
    let metrics_listeners = metrics::listen(&config.config)?;
    let bus_port = if surroundings.has_bus {
        bus_port(&config.config)
    } else {
        0
    };
    let addresses = listeners
        .iter()
        .map(|(_, listener)| listener.local_addr())
        .collect::<Result<_, _>>()?;
    let (events, inbox) = mpsc::unbounded_channel();
    let (publisher, watch) = watch::channel(events.clone());
    let (loaded, when_loaded) = sync_channel(1);
    let for_files = surroundings.has_files.then(|| (events.clone(), loaded));
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (started, when_started) = sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(format!("node-{}", config.config.port))
        .spawn(move || {
            let prepared = local_runtime()
                .map_err(StartError::from)
                .and_then(|runtime| {
                    let prepared = prepare(config, surroundings.has_bus, for_files)?;
                    Ok((runtime, prepared))
                });
            // Whoever waits for this holds the receiver.
            match prepared {
                Ok((runtime, (mut node, writers))) => {
                    if let Some(file) = &surroundings.config_file {
                        node.set_config_file(file.to_string_lossy().into_owned());
                    }
                    publisher.publish(node.report(started_at()));
                    let _ = started.send(Ok(()));
                    let listeners = (listeners, bus_listeners);
                    let outside = (writers, publisher);
                    let served = serve(node, surroundings, outside, listeners, inbox, token);
                    runtime.block_on(served);
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
    when_started.recv().map_err(io::Error::other)??;
    let metrics = (!metrics_listeners.is_empty())
        .then(|| metrics::start(metrics_listeners, watch.clone(), stop.clone()));
    let handle = ServerHandle {
        addresses,
        bus_port,
        events,
        stop,
        thread: Some(thread),
        watch,
        metrics: metrics.transpose()?,
    };
    match when_loaded.recv() {
        Ok(Err(error)) if !matches!(error, LoadError::Stopped) => Err(error.into()),
        // Without files nobody sends anything.
        _ => Ok(handle),
    }
}

/// A way to hand the node events, and where to say what came of loading.
type ForFiles = (
    mpsc::UnboundedSender<Event>,
    SyncSender<Result<(), LoadError>>,
);

/// What reads and writes a node's files.
#[derive(Debug, Default)]
struct Writers {
    keys: Option<Storage>,
    cluster: Option<ClusterFileWriter>,
}

/// The node, and what reads and writes its files, if it has any.
fn prepare(
    config: NodeConfig,
    has_bus: bool,
    for_files: Option<ForFiles>,
) -> Result<(Node, Writers), StartError> {
    let started = started_at();
    let mut node = Node::new(config, started).with_probe(probe::probe());
    let Some((events, loaded)) = for_files else {
        if has_bus {
            node.start_bus(None, started)
                .map_err(ClusterFileError::from)?;
        }
        return Ok((node, Writers::default()));
    };
    let cluster = join_cluster(&mut node, &events, started)?;
    let plan = Plan::new(node.config())?;
    node.begin_loading_files(plan.total_bytes(), started);
    node.set_has_files();
    let empty_base = node.empty_base(started);
    let storage = Storage::start(node.config(), plan, empty_base, &events, loaded)?;
    let keys = Some(storage);
    Ok((node, Writers { keys, cluster }))
}

/// Lets a node that is part of a cluster be what its cluster file says, and talk to the others.
fn join_cluster(
    node: &mut Node,
    events: &mpsc::UnboundedSender<Event>,
    started: Now,
) -> Result<Option<ClusterFileWriter>, StartError> {
    if !node.config().cluster_enabled {
        return Ok(None);
    }
    let mut file = ClusterFile::open(node.config())?;
    let text = file.read()?;
    node.set_has_cluster_file();
    node.start_bus(text.as_deref(), started)
        .map_err(ClusterFileError::from)?;
    let port = node.config().port;
    Ok(Some(ClusterFileWriter::start(file, port, events.clone())?))
}

async fn serve(
    node: Node,
    surroundings: Surroundings,
    (writers, publisher): (Writers, Publisher),
    (listeners, bus_listeners): (Vec<Listening>, Vec<Listening>),
    mut inbox: mpsc::UnboundedReceiver<Event>,
    stop: CancellationToken,
) {
    let options = DriverOptions {
        accepted_keepalive: configuring::keepalive(node.config()),
        // The node has timeouts for all that it connects to, which may be far longer. Up to them
        // a peer may stand still.
        unacknowledged_max: None,
        ..DriverOptions::default()
    };
    let settings = node.config().clone();
    // Clients wait for each answer, so that few are ever in the queue.
    let (works, wishes) = mpsc::unbounded_channel();
    let on_shutdown = stop.clone();
    let is_program = surroundings.is_program;
    let accepting = stop.child_token();
    let on_closing = accepting.clone();
    let loaded = Rc::new(Cell::new(writers.keys.is_none()));
    let on_loaded = Rc::clone(&loaded);
    let driver = Driver::start(node, options, move |notice| match notice {
        Notice::Closing => on_closing.cancel(),
        Notice::Shutdown => on_shutdown.cancel(),
        Notice::Sleep(time) => std::thread::sleep(time),
        Notice::Save(id, part) => {
            if let Some(storage) = &writers.keys {
                storage.save(id, part);
            }
        }
        Notice::Aof(part) => {
            if let Some(storage) = &writers.keys {
                storage.append(part);
            }
        }
        Notice::Loaded(reply) => {
            on_loaded.set(matches!(reply, LoadReply::Complete));
            if let Some(storage) = &writers.keys {
                storage.loaded(reply);
            }
        }
        Notice::Config(work) => {
            // Who takes it ends with this thread.
            let _ = works.send(work);
        }
        Notice::NodesConf(version) => {
            if let Some(writer) = &writers.cluster {
                writer.write(version);
            }
        }
        Notice::Report(report) => publisher.publish(*report),
        Notice::IsPrimary(is_primary) if is_program => log::set_role(is_primary),
        Notice::IsPrimary(_) => {}
    });
    load_briefly(&driver, &mut inbox, &stop, &loaded).await;
    listeners::accept_bus(bus_listeners, &driver, &stop);
    let listeners = Listeners::start(listeners, driver.clone(), (accepting, stop.clone()));
    let configurator = Configurator::new(surroundings, driver.clone(), listeners);
    tokio::task::spawn_local(configurator.run(settings, wishes));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = inbox.recv() => match event {
                Some(event) => driver.send(event),
                None => break,
            },
        }
        // Else several events of a file would be taken in a row, and clients would wait.
        tokio::task::yield_now().await;
    }
    driver.send(Event::Flush);
    driver.stop();
}

/// Lets clients wait to be accepted for as long as loading takes, if that is not long: they need
/// not learn of it, then.
async fn load_briefly(
    driver: &DriverHandle<Node>,
    inbox: &mut mpsc::UnboundedReceiver<Event>,
    stop: &CancellationToken,
    loaded: &Cell<bool>,
) {
    let mut patience = Box::pin(tokio::time::sleep(ACCEPT_PATIENCE));
    while !loaded.get() {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = &mut patience => return,
            event = inbox.recv() => match event {
                Some(event) => driver.send(event),
                None => return,
            },
        }
    }
}

/// How long clients that connect at the start may wait for files to be loaded.
const ACCEPT_PATIENCE: Duration = Duration::from_millis(100);

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

/// The time at which a node begins.
fn started_at() -> Now {
    Now {
        instant: Instant::from_micros(0),
        unix_ms: unix_ms(),
    }
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since| since.as_millis() as u64)
}
