//! How many clients the limit on open files allows: every client takes a file, and the connections
//! to the nodes must not go short of them.

use std::sync::Arc;

use slotway_protocol::cluster::Topology;
use slotway_runtime::listener::ConnectionsMax;
use slotway_runtime::process::open_files_max;
use tokio::sync::watch;

use super::lagging;
use crate::config::Config;

/// Keeps the number of clients within the files that the nodes leave to them.
pub(super) struct Files {
    /// What the configuration allows.
    wanted: usize,
    /// What the system allows; none when it sets no limit.
    limit: Option<usize>,
    /// Files that are neither a client's nor a node's.
    fixed: usize,
    /// Files for all connections to one node.
    per_node: usize,
    clients_max: ConnectionsMax,
}

impl Files {
    /// Asks the system for the limit.
    pub(super) fn new(config: &Config) -> Self {
        let limit = open_files_max().ok().flatten();
        Self::within(config, limit)
    }

    fn within(config: &Config, limit: Option<u64>) -> Self {
        let workers = config.proxy.workers;
        let per_node = workers * (config.cluster.connections_per_node * PROTOCOLS + FEEDS)
            + usize::from(lagging::is_on(config));
        // The other ends of connections to nodes in this process are open here as well.
        let is_embedded = config.cluster.seeds.is_empty();
        let (ends, inside) = if is_embedded {
            (2, files_inside(config))
        } else {
            (1, 0)
        };
        let files = Self {
            wanted: config.proxy.max_clients,
            limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            fixed: FILES_RESERVED + workers * FILES_PER_WORKER + inside,
            per_node: per_node * ends,
            clients_max: ConnectionsMax::new(0),
        };
        files.clients_max.set(files.affordable(NODES_ASSUMED));
        files
    }

    /// How many clients there may be; it follows the number of nodes.
    pub(super) fn clients_max(&self) -> ConnectionsMax {
        self.clients_max.clone()
    }

    /// The number from which on files are not for clients, whatever has taken the others.
    pub(super) fn files_max(&self) -> usize {
        let kept = |limit: usize| limit - FILES_KEPT.min(limit / 4);
        self.limit.map_or(usize::MAX, kept)
    }

    /// Counts the nodes of each new topology.
    pub(super) async fn follow(self, mut topologies: watch::Receiver<Arc<Topology>>) {
        self.warn(NODES_ASSUMED);
        while topologies.changed().await.is_ok() {
            let nodes = nodes(&topologies.borrow_and_update());
            self.set_nodes(nodes);
        }
    }

    fn set_nodes(&self, nodes: usize) {
        let nodes = nodes.max(NODES_ASSUMED);
        let affordable = self.affordable(nodes);
        if affordable != self.clients_max.value() {
            self.clients_max.set(affordable);
            self.warn(nodes);
        }
    }

    fn affordable(&self, nodes: usize) -> usize {
        let left = self.limit.map_or(self.wanted, |limit| {
            limit.saturating_sub(self.reserved(nodes)).max(1)
        });
        left.min(self.wanted)
    }

    fn reserved(&self, nodes: usize) -> usize {
        self.fixed + self.per_node * nodes
    }

    fn warn(&self, nodes: usize) {
        let max_clients = self.affordable(nodes);
        if let Some(limit) = self.limit
            && max_clients < self.wanted
        {
            tracing::warn!(
                max_clients,
                nodes,
                "only {limit} files may be open; raise the limit (ulimit -n {}) for {} clients",
                self.wanted + self.reserved(nodes),
                self.wanted
            );
        }
    }
}

/// Files of nodes in this process: both ends of what they say to each other, and their own.
fn files_inside(config: &Config) -> usize {
    let embedded = &config.embedded;
    let nodes = embedded.primaries * (1 + embedded.replicas);
    nodes * (nodes.saturating_sub(1) * BUS_ENDS + FILES_PER_NODE)
}

/// Replicas count: each may be a primary soon, while the connections to the old one still end.
fn nodes(topology: &Topology) -> usize {
    let shards = topology.shards().iter();
    shards.map(|shard| 1 + shard.replicas.len()).sum()
}

/// Clients of RESP 2 and of RESP 3 have connections of their own to each node.
const PROTOCOLS: usize = 2;

/// A worker's connections to one node for what the node says unasked.
const FEEDS: usize = 1;

/// A node opens a connection to each other one, and each other one to it.
const BUS_ENDS: usize = 2;

/// A node's listeners, its event queue, its files, and the connection to its primary or replicas.
const FILES_PER_NODE: usize = 16;

/// Files are set aside for so many nodes even when there are fewer or none is known yet, so that a
/// small cluster can grow without turning clients away.
const NODES_ASSUMED: usize = 12;

/// So many files are left for connections to nodes, for the admin port and for the logs even when
/// something that is not reckoned with has taken more than it should.
const FILES_KEPT: usize = 64;

/// Open files that are no clients': listeners, admin connections, the discovery's, logs.
const FILES_RESERVED: usize = 128;

/// A worker's event queue with what wakes it up, twice what they are today.
const FILES_PER_WORKER: usize = 8;

#[cfg(test)]
mod tests {
    use slotway_protocol::cluster::{Shard, Slot};
    use slotway_protocol::engine::Address;
    use slotway_runtime::worker::local_runtime;
    use tokio::task::{spawn_local, yield_now};

    use super::*;

    fn config(workers: usize, connections_per_node: usize, max_clients: usize) -> Config {
        let mut config = Config::default();
        config.proxy.workers = workers;
        config.proxy.max_clients = max_clients;
        config.cluster.connections_per_node = connections_per_node;
        config.cluster.seeds = vec![Address::new("127.0.0.1", 7000)];
        config
    }

    /// A cluster of so many shards, each of a primary and a replica.
    fn topology(shards: u16) -> Arc<Topology> {
        let mut topology = Topology::empty();
        for shard in 0..shards {
            let slot = Slot::new(shard.into()).unwrap();
            let primary = Address::new("h", shard + 1);
            let replicas = vec![Address::new("r", shard + 1)];
            topology.assign(slot, slot, Shard { primary, replicas });
        }
        Arc::new(topology)
    }

    #[test]
    fn at_the_maximum_of_clients_every_node_can_still_be_reached() {
        for (workers, per_node, shards) in [(1, 1, 3), (4, 8, 3), (4, 1, 200), (16, 64, 3)] {
            let files = Files::within(&config(workers, per_node, 1_000_000), Some(65_536));
            files.set_nodes(nodes(&topology(shards)));
            let backends = (workers * (per_node * 2 + 1) + 1) * 2 * usize::from(shards);
            let all = files.clients_max().value() + backends + FILES_RESERVED;
            assert!(all <= 65_536, "{workers} {per_node} {shards}: {all}");
            assert!(files.clients_max().value() > 20_000);
        }
    }

    #[test]
    fn where_files_are_plenty_the_configuration_counts() {
        for limit in [None, Some(1 << 20)] {
            let files = Files::within(&config(4, 2, 10_000), limit);
            files.set_nodes(100);
            assert_eq!(files.clients_max().value(), 10_000);
        }
        // However few there are, somebody is served.
        let files = Files::within(&config(4, 2, 10_000), Some(64));
        assert_eq!((files.clients_max().value(), files.files_max()), (1, 48));
    }

    #[test]
    fn nodes_in_this_process_take_a_file_for_their_ends_too() {
        let mut config = config(2, 1, 10_000);
        let other = Files::within(&config, Some(1024)).clients_max().value();
        config.cluster.seeds.clear();
        let embedded = Files::within(&config, Some(1024)).clients_max().value();
        let connections = (2 * (PROTOCOLS + FEEDS) + 1) * NODES_ASSUMED;
        assert_eq!(other - embedded, connections + 6 * (5 * 2 + FILES_PER_NODE));
    }

    #[test]
    fn the_maximum_follows_the_topology() {
        let runtime = local_runtime().unwrap();
        runtime.block_on(async {
            let (sender, receiver) = watch::channel(Arc::new(Topology::empty()));
            let files = Files::within(&config(1, 1, 10_000), Some(4096));
            let clients_max = files.clients_max();
            let before = clients_max.value();
            spawn_local(files.follow(receiver));
            let wait = async |shards: u16| {
                sender.send_replace(topology(shards));
                for _ in 0..10 {
                    yield_now().await;
                }
                clients_max.value()
            };
            assert_eq!(wait(3).await, before, "room for so many is there anyway");
            assert_eq!(wait(100).await, before - 4 * (200 - NODES_ASSUMED));
            assert_eq!(wait(3).await, before);
        });
    }
}
