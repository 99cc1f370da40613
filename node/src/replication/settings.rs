//! The settings that replication goes by.

use core::time::Duration;

use crate::config::Config;

/// Taken from the settings of the node whenever they change.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) announced_host: String,
    pub(crate) announced_port: u16,
    pub(crate) timeout: Duration,
    pub(crate) ping_period: Duration,
    pub(crate) backlog_bytes: u64,
    /// How long a backlog is kept without replicas; zero for ever.
    pub(crate) backlog_ttl: Duration,
    /// Keys are sent to replicas that understand it in the form that has no length.
    pub(crate) is_diskless: bool,
    pub(crate) is_read_only: bool,
    pub(crate) serves_stale_data: bool,
    pub(crate) priority: u32,
    pub(crate) is_announced: bool,
    pub(crate) replicas_min: u32,
    pub(crate) lag_max: Duration,
    /// A replica for which more waits is cut off: at once, or after that time.
    pub(crate) output_hard: u64,
    pub(crate) output_soft: u64,
    pub(crate) output_soft_time: Duration,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let limit = config.client_output_buffer_limit.replica;
        Self {
            user: config.masteruser.clone(),
            password: config.masterauth.clone(),
            announced_host: config.replica_announce_ip.clone(),
            announced_port: match config.replica_announce_port {
                0 => config.port,
                port => port,
            },
            timeout: seconds(config.repl_timeout),
            ping_period: seconds(config.repl_ping_replica_period),
            backlog_bytes: config.repl_backlog_size,
            backlog_ttl: Duration::from_secs(config.repl_backlog_ttl),
            is_diskless: config.repl_diskless_sync,
            is_read_only: config.replica_read_only,
            serves_stale_data: config.replica_serve_stale_data,
            priority: config.replica_priority,
            is_announced: config.replica_announced,
            replicas_min: config.min_replicas_to_write,
            lag_max: seconds(config.min_replicas_max_lag),
            output_hard: limit.hard_bytes,
            output_soft: limit.soft_bytes,
            output_soft_time: Duration::from_secs(limit.soft_seconds),
        }
    }
}
