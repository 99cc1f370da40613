//! A whole cluster on threads of one process: starts the nodes, and has them become a cluster by
//! the commands that anybody else would give them.

mod client;
mod directory;
mod form;
mod program;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::directory::Directory;
use self::form::Member;
pub use self::program::CreateCluster;
use super::settings::reason;
use super::{ServerHandle, StartError, lonely_cluster, random_seed};
use super::{spawn_with_bus, spawn_with_files};
use crate::config::{Config, NodeConfig};

/// What cluster there is to be.
#[derive(Debug, Clone)]
pub struct LocalClusterOptions {
    pub primaries: usize,
    /// How many each primary has.
    pub replicas: usize,
    /// The port of the first node; the others follow. 0 lets the system choose all of them.
    pub first_port: u16,
    /// The port at which the first node shows its metrics; the others follow. 0 for none.
    pub first_metrics_port: u16,
    /// Where the nodes keep their files. Without, all is gone when they end.
    pub directory: Option<PathBuf>,
    /// What all nodes have in common.
    pub config: Config,
}

/// Why there is no such cluster.
#[derive(Debug, thiserror::Error)]
pub enum LocalClusterError {
    #[error(transparent)]
    Node(#[from] StartError),
    #[error(
        "the last of {count} nodes from port {first_port} on has none; the highest port is {most}"
    )]
    Ports {
        first_port: u16,
        count: usize,
        most: u16,
    },
    #[error(
        "{count} nodes can't show metrics from port {first_port} on: one of these is a port of a \
         node, or none at all"
    )]
    MetricsPorts { first_port: u16, count: usize },
    #[error("can't use {path}: {reason}")]
    Directory { path: String, reason: String },
    #[error("{path} has the files of {found} nodes, not of {wanted}")]
    Size {
        path: String,
        found: usize,
        wanted: usize,
    },
    #[error("{node}: {reason}")]
    Asked { node: SocketAddr, reason: String },
    #[error("{node} is still loading its keys")]
    Loading { node: SocketAddr },
    #[error("the nodes have not become a cluster within {seconds} s: {trouble}")]
    NotWell { seconds: u64, trouble: String },
}

/// Nodes that run and are a cluster. They end when this is dropped, without handing anything over.
#[derive(Debug)]
pub struct LocalCluster {
    nodes: Vec<ServerHandle>,
}

impl LocalCluster {
    /// Starts all nodes, and returns when each of them says that the cluster is well.
    pub fn start(options: &LocalClusterOptions) -> Result<Self, LocalClusterError> {
        let count = options.primaries * (1 + options.replicas);
        if usize::from(options.first_port) + count > usize::from(PORT_MAX) + 1 {
            return Err(LocalClusterError::Ports {
                first_port: options.first_port,
                count,
                most: PORT_MAX,
            });
        }
        check_metrics_ports(options, count)?;
        let directory = options.directory.as_deref();
        let directory = directory.map(|path| Directory::open(path, count));
        let directory = directory.transpose()?;
        let is_new = directory.as_ref().is_none_or(|directory| directory.is_new);
        let configs = (0..count).map(|index| config(options, directory.as_ref(), index));
        let cluster = Self {
            nodes: start_all(configs.collect(), directory.is_some())?,
        };
        let password = &options.config.requirepass;
        let members = cluster.nodes.iter();
        let members = members.map(|node| Member::of(node, password));
        let mut members = members.collect::<Result<Vec<_>, _>>()?;
        form::form(&mut members, is_new.then_some(options.primaries))?;
        if let Some(directory) = &directory {
            directory.has_cluster()?;
        }
        Ok(cluster)
    }

    /// How many nodes have their files in that directory.
    pub fn count_in(directory: &Path) -> usize {
        directory::count(directory)
    }

    /// Where the nodes listen for clients.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.nodes.iter().map(ServerHandle::addresses);
        addresses.filter_map(|all| all.first().copied()).collect()
    }

    /// The nodes, in the order of their ports.
    pub fn nodes(&self) -> &[ServerHandle] {
        &self.nodes
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // Told together, they end at the same time, and none sees another one gone before. Each
        // handle then waits for its own.
        for node in &self.nodes {
            node.stop_token().cancel();
        }
    }
}

/// Metrics need ports of their own, beside those for clients and for the bus.
fn check_metrics_ports(
    options: &LocalClusterOptions,
    count: usize,
) -> Result<(), LocalClusterError> {
    let first_port = options.first_metrics_port;
    let range = |first: u16| usize::from(first)..usize::from(first) + count;
    let overlaps = |first: u16| {
        let (own, other) = (range(first_port), range(first));
        own.start < other.end && other.start < own.end
    };
    let is_taken = options.first_port != 0
        && (overlaps(options.first_port) || overlaps(options.first_port + BUS_PORT_OFFSET));
    if first_port != 0 && (is_taken || range(first_port).end > usize::from(u16::MAX) + 1) {
        return Err(LocalClusterError::MetricsPorts { first_port, count });
    }
    Ok(())
}

/// The settings of one node.
fn config(options: &LocalClusterOptions, directory: Option<&Directory>, index: usize) -> Config {
    // It was looked at whether there are so many.
    let place = u16::try_from(index).unwrap_or(u16::MAX);
    let port = |first: u16| match first {
        0 => 0,
        first => first.saturating_add(place),
    };
    let mut config = Config {
        port: port(options.first_port),
        metrics_port: port(options.first_metrics_port),
        bind: vec![HOST.to_string()],
        cluster_enabled: true,
        cluster_node_timeout: NODE_TIMEOUT_MS,
        // Known from the beginning, and not only when another node has connected.
        cluster_announce_ip: HOST.to_string(),
        ..options.config.clone()
    };
    if let Some(directory) = directory {
        config.dir = directory.of_node(index).display().to_string();
        config.appendonly = true;
        config.save.clear();
    }
    config
}

/// Starts the nodes at the same time: each may have much to load.
fn start_all(
    configs: Vec<Config>,
    has_files: bool,
) -> Result<Vec<ServerHandle>, LocalClusterError> {
    let started: Vec<Result<ServerHandle, StartError>> = std::thread::scope(|scope| {
        let starting = configs
            .into_iter()
            .map(|config| scope.spawn(move || start(config, has_files)));
        let starting: Vec<_> = starting.collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<ServerHandle, StartError>>| {
            let panicked = |_| Err(io::Error::other("the thread that starts it panicked").into());
            thread.join().unwrap_or_else(panicked)
        };
        starting.into_iter().map(join).collect()
    });
    let nodes: Result<Vec<ServerHandle>, StartError> = started.into_iter().collect();
    Ok(nodes?)
}

fn start(config: Config, has_files: bool) -> Result<ServerHandle, StartError> {
    let node = NodeConfig {
        cluster: Some(lonely_cluster(&config, random_seed())),
        config,
        seed: random_seed(),
    };
    if has_files {
        spawn_with_files(node)
    } else {
        spawn_with_bus(node)
    }
}

fn directory_error(path: &Path, error: &io::Error) -> LocalClusterError {
    LocalClusterError::Directory {
        path: path.display().to_string(),
        reason: reason(error),
    }
}

/// A proxy in front holds requests for twice as long. All nodes run or stand still together, so
/// there is no network to be patient with.
const NODE_TIMEOUT_MS: u64 = 5_000;

/// The bus of a node is so much above its port.
const BUS_PORT_OFFSET: u16 = 10_000;
const PORT_MAX: u16 = u16::MAX - BUS_PORT_OFFSET;

/// How long nodes may take to become a cluster, and one of them to get its keys.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
