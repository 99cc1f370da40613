//! What counts for the keys that a file leaves out.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::available_parallelism;
use std::time::Duration;

use slotway::discovery::Addresses;
use slotway::engine::ReadOptions;
use slotway_runtime::logging::LogFormat;

use super::limits::{KIB, MIB};
use super::{
    AdminConfig, ClusterConfig, EmbeddedConfig, LimitsConfig, LogConfig, ProxyConfig, WORKERS,
};

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 6379)),
            workers: available_parallelism().map_or(1, |cores| cores.get().min(*WORKERS.end())),
            max_clients: 10_000,
            drain_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(10),
            monitor: false,
            cross_slot_reads: false,
            cluster_emulation: false,
            cluster_announce: None,
            client_username: None,
            client_password: None,
        }
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            seeds: Vec::new(),
            username: None,
            password: None,
            connections_per_node: 1,
            databases_max: 16,
            connect_timeout: Duration::from_secs(1),
            command_timeout: Duration::from_secs(5),
            hold_timeout: Duration::from_secs(10),
            refresh_interval: Duration::from_secs(5),
            feed_check_interval: Duration::from_secs(5),
            lag_check_interval: Duration::from_secs(1),
            commands_interval: Duration::from_mins(5),
            redirects_max: 16,
            redirect_hosts: Vec::new(),
            node_check_interval: Duration::from_secs(5),
            retry_percent: 20,
            assist_failover: false,
            reads: ReadOptions::default(),
            addresses: Addresses::default(),
        }
    }
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            primaries: 3,
            replicas: 1,
            data: None,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 512 * MIB,
            arguments_max: i32::MAX as usize,
            inline_bytes_max: 64 * KIB,
            request_bytes_max: 1024 * MIB,
            client_output_bytes_max: MIB,
            client_output_bytes_cut: 64 * MIB,
            client_in_flight_max: 1024,
            large_in_flight_max: 1,
            client_login_timeout_ms: 10_000,
            login_failures_max: 10,
            login_failures_window_ms: 60_000,
            client_request_timeout_ms: 30_000,
            client_idle_timeout_ms: 0,
            client_output_timeout_ms: 60_000,
            subscriber_output_bytes_max: 32 * MIB,
            client_subscription_bytes_max: 64 * MIB,
            backend_queue_bytes_max: 256 * MIB,
            backend_queue_requests_max: 262_144,
            hold_bytes_max: 64 * MIB,
            memory_bytes_max: 0,
            hold_requests_max: 100_000,
            client_hold_bytes_max: MIB,
            merge_bytes_max: 256 * MIB,
            transaction_bytes_max: 64 * MIB,
            cross_slot_bytes_max: 64 * MIB,
            script_cache_bytes_max: 16 * MIB,
            private_connections_max: 1024,
            private_idle_max: 128,
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9379))),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::default(),
        }
    }
}
