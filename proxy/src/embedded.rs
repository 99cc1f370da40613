//! A cluster inside this process, for trying the proxy out without installing anything. It is a
//! real one: its nodes have a bus and replicas, and one of those takes over from a node that ends.

use std::path::PathBuf;

use slotway_node::Config as NodeConfig;
use slotway_node::server::watch::Watch;
use slotway_node::server::{
    self, LocalCluster, LocalClusterError, LocalClusterOptions, ServerHandle,
};
use slotway_protocol::engine::Address;

use crate::config::EmbeddedConfig;

/// The first of the nodes' ports when nobody says otherwise.
pub(crate) const FIRST_PORT: u16 = 7000;

/// The nodes; they end when this is dropped.
pub(crate) struct EmbeddedCluster {
    cluster: LocalCluster,
    data: Option<PathBuf>,
}

/// Why there are no such nodes.
#[derive(Debug, thiserror::Error)]
#[error("a node of the embedded cluster: {0}")]
pub(crate) struct StartError(LocalClusterError);

impl EmbeddedCluster {
    /// Starts the nodes, each on a thread of its own, and returns when they are a cluster that
    /// works.
    pub(crate) fn start(config: &EmbeddedConfig, first_port: u16) -> Result<Self, StartError> {
        let options = LocalClusterOptions {
            primaries: config.primaries,
            replicas: config.replicas,
            first_port,
            first_metrics_port: 0,
            directory: config.data.clone(),
            config: NodeConfig {
                cluster_databases: DATABASES,
                ..NodeConfig::default()
            },
        };
        let cluster = LocalCluster::start(&options).map_err(start_error)?;
        let data = options.directory;
        Ok(Self { cluster, data })
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        let addresses = self.cluster.addresses().into_iter();
        addresses
            .map(|address| Address::new(address.ip().to_string(), address.port()))
            .collect()
    }

    /// Whom to ask how each node is, with its name.
    pub(crate) fn watches(&self) -> Vec<(String, Watch)> {
        let names = self.addresses().into_iter().map(|node| node.to_string());
        let nodes = self.cluster.nodes().iter();
        names.zip(nodes.map(ServerHandle::watch)).collect()
    }

    /// What to tell whoever has started this.
    pub(crate) fn describe(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        let count = match addresses.len() {
            6 => "six".to_owned(),
            count => count.to_string(),
        };
        let purpose = match &self.data {
            Some(data) => format!("data in {}", data.display()),
            None => "for trying out".to_owned(),
        };
        format!(
            "{count} in this process, {purpose}: {}",
            addresses.join(" ")
        )
    }
}

/// The nodes know nothing of the options that change their ports and their directory.
fn start_error(error: LocalClusterError) -> StartError {
    StartError(match error {
        LocalClusterError::Node(server::StartError::Bind(mut error)) => {
            error.option = "--node-port, or name a cluster with --seed".to_owned();
            LocalClusterError::Node(server::StartError::Bind(error))
        }
        other => other,
    })
}

/// What applications know from a single server.
const DATABASES: u32 = 16;
