//! Six cluster nodes inside this process, for trying the proxy out without installing anything.

use core::net::Ipv4Addr;

use slotway_node::server::{self, ServerHandle, random_seed};
use slotway_node::{ClusterConfig, ClusterView, Config, NodeConfig, NodeInfo};
use slotway_protocol::cluster::{SLOTS, Slot};
use slotway_protocol::engine::Address;

/// The first of the nodes' ports when nobody says otherwise.
pub(crate) const FIRST_PORT: u16 = 7000;

/// The nodes; they end when this is dropped, and their data with them.
pub(crate) struct EmbeddedCluster {
    addresses: Vec<Address>,
    nodes: Vec<ServerHandle>,
}

/// Why the nodes could not be started.
#[derive(Debug, thiserror::Error)]
#[error("a node of the embedded cluster: {0}")]
pub(crate) struct StartError(server::StartError);

impl EmbeddedCluster {
    /// Starts the nodes, each on a thread of its own. The first three own all slots, the others
    /// none: they are there to be given some.
    pub(crate) fn start(first_port: u16) -> Result<Self, StartError> {
        let view = cluster_view(first_port);
        let mut cluster = Self {
            addresses: Vec::new(),
            nodes: Vec::new(),
        };
        for node in view.nodes() {
            cluster.addresses.push(node.address.clone());
            let config = NodeConfig {
                config: Config {
                    port: node.address.port,
                    bind: vec![HOST.to_string()],
                    cluster_enabled: true,
                    cluster_databases: DATABASES,
                    ..Config::default()
                },
                cluster: Some(ClusterConfig {
                    me: node.id.clone(),
                    view: view.clone(),
                }),
                seed: random_seed(),
            };
            cluster
                .nodes
                .push(server::spawn(config).map_err(start_error)?);
        }
        Ok(cluster)
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

impl Drop for EmbeddedCluster {
    fn drop(&mut self) {
        // Told together, they end at the same time; each handle then waits for its own.
        for node in &self.nodes {
            node.stop_token().cancel();
        }
    }
}

/// The nodes know nothing of the option that changes their ports.
fn start_error(error: server::StartError) -> StartError {
    StartError(match error {
        server::StartError::Bind(mut error) => {
            error.option = "--node-port, or name a cluster with --seed".to_owned();
            server::StartError::Bind(error)
        }
        other => other,
    })
}

fn cluster_view(first_port: u16) -> ClusterView {
    let host = HOST.to_string();
    let nodes = (0..NODES).map(|index| NodeInfo {
        epoch: u64::from(index) + 1,
        ..NodeInfo::primary(random_id(), &host, first_port + index)
    });
    let mut view = ClusterView::new(nodes.collect());
    view.current_epoch = u64::from(NODES);
    let owners = view.nodes().iter().take(OWNERS);
    let owners: Vec<String> = owners.map(|node| node.id.clone()).collect();
    for slot in Slot::all() {
        let owner = &owners[slot.index() * OWNERS / SLOTS];
        view.assign(slot, slot, Some(owner));
    }
    view
}

/// Forty hexadecimal digits.
pub(crate) fn random_id() -> String {
    let id = format!(
        "{:016x}{:016x}{:016x}",
        random_seed(),
        random_seed(),
        random_seed()
    );
    id.chars().take(40).collect()
}

const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const NODES: u16 = 6;
const OWNERS: usize = 3;

/// What applications know from a single server.
const DATABASES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_share_all_slots_and_three_have_none() {
        let view = cluster_view(7000);
        let counts = view.nodes().iter().map(|node| {
            let ranges = view.ranges(&node.id).into_iter();
            ranges
                .map(|(first, last)| last.number() - first.number() + 1)
                .collect::<Vec<_>>()
        });
        let counts: Vec<Vec<u16>> = counts.collect();
        assert_eq!(
            counts,
            [vec![5462], vec![5461], vec![5461], vec![], vec![], vec![]]
        );
        let ports: Vec<u16> = view.nodes().iter().map(|node| node.address.port).collect();
        assert_eq!(ports, [7000, 7001, 7002, 7003, 7004, 7005]);
        assert!(view.nodes().iter().all(|node| node.id.len() == 40));
    }
}
