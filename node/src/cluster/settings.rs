//! The settings that a node's part in its cluster goes by, and how its own replication stands.

use std::time::Duration;

use slotway_protocol::engine::Instant;

use crate::config::{Config, EndpointType};

/// Copies of settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) node_timeout: Duration,
    pub(crate) validity_factor: u32,
    pub(crate) migration_barrier: usize,
    pub(crate) allow_replica_migration: bool,
    pub(crate) require_full_coverage: bool,
    pub(crate) no_failover: bool,
    pub(crate) allow_reads_when_down: bool,
    pub(crate) allow_pubsubshard_when_down: bool,
    pub(crate) crash_failover: bool,
    /// How often a primary sends its replicas something at least.
    pub(crate) replica_ping_period: Duration,
    /// 0 for the bound that there is anyway.
    pub(crate) link_output_max: u64,
    pub(crate) published_max: u64,
    /// How clients are told to call nodes.
    pub(crate) endpoint_type: EndpointType,
    pub(crate) announce_host: String,
    pub(crate) announce_hostname: String,
    pub(crate) port: u16,
    pub(crate) bus_port: u16,
}

/// How this node's own replication stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// A primary: bytes produced. A replica: bytes processed.
    pub(crate) offset: u64,
    /// It follows somebody.
    pub(crate) follows: bool,
    /// A replica's link to its primary is up.
    pub(crate) is_up: bool,
    /// When a replica last heard of its primary.
    pub(crate) last_io: Instant,
    /// Its keys are still being read from files.
    pub(crate) is_loading: bool,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            node_timeout: Duration::from_millis(config.cluster_node_timeout),
            validity_factor: config.cluster_replica_validity_factor,
            migration_barrier: config.cluster_migration_barrier as usize,
            allow_replica_migration: config.cluster_allow_replica_migration,
            require_full_coverage: config.cluster_require_full_coverage,
            no_failover: config.cluster_replica_no_failover,
            allow_reads_when_down: config.cluster_allow_reads_when_down,
            allow_pubsubshard_when_down: config.cluster_allow_pubsubshard_when_down,
            crash_failover: config.cluster_crash_failover,
            replica_ping_period: Duration::from_secs(config.repl_ping_replica_period.into()),
            link_output_max: config.cluster_link_sendbuf_limit,
            published_max: config.proto_max_bulk_len.saturating_mul(2),
            endpoint_type: config.cluster_preferred_endpoint_type,
            announce_host: config.cluster_announce_ip.clone(),
            announce_hostname: config.cluster_announce_hostname.clone(),
            port: nonzero(config.cluster_announce_port).unwrap_or(config.port),
            bus_port: nonzero(config.cluster_announce_bus_port).unwrap_or_else(|| bus_port(config)),
        }
    }
}

/// The port of a node's bus.
pub(crate) fn bus_port(config: &Config) -> u16 {
    nonzero(config.cluster_port).unwrap_or_else(|| config.port.saturating_add(BUS_PORT_OFFSET))
}

fn nonzero(port: u16) -> Option<u16> {
    (port != 0).then_some(port)
}

/// Where the bus is when nobody says otherwise, from the port for clients on.
pub(crate) const BUS_PORT_OFFSET: u16 = 10_000;
