//! The proxy's configuration: every key with its default and range, read from TOML into checked
//! types. `config/proxy.toml` documents each key for users; a test keeps the two the same.

mod access_log;
mod addresses;
mod defaults;
mod limits;
mod nearest;
mod reader;
mod reads;
mod shown;
mod traces;
mod watch;

use core::fmt;
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::path::PathBuf;

use slotway::discovery::Addresses;
use slotway::engine::{Credentials, Emulation, Login, Options, ReadOptions};
use slotway_protocol::engine::Address;
use slotway_protocol::resp::RequestLimits;
use slotway_runtime::logging::LogFormat;

pub(crate) use access_log::AccessLogConfig;
pub(crate) use limits::LimitsConfig;
pub(crate) use nearest::suggestion;
use reader::{Document, Section};
pub(crate) use reader::{Mistakes, out_of_range, parse_address, parse_listen};
pub(crate) use traces::TracesConfig;
pub(crate) use watch::WatchConfig;

/// Everything a user can set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config {
    pub(crate) proxy: ProxyConfig,
    pub(crate) cluster: ClusterConfig,
    pub(crate) embedded: EmbeddedConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) log: LogConfig,
    pub(crate) watch: WatchConfig,
    pub(crate) access_log: AccessLogConfig,
    pub(crate) traces: TracesConfig,
}

/// What clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) max_clients: usize,
    pub(crate) drain_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) monitor: bool,
    pub(crate) cross_slot_reads: bool,
    pub(crate) cluster_emulation: bool,
    pub(crate) cluster_announce: Option<Address>,
    pub(crate) client_username: Option<String>,
    pub(crate) client_password: Option<Secret>,
}

/// The cluster behind the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClusterConfig {
    /// Where to ask for the topology first. Empty: nothing was configured.
    pub(crate) seeds: Vec<Address>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) connections_per_node: usize,
    pub(crate) databases_max: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) command_timeout: Duration,
    pub(crate) hold_timeout: Duration,
    pub(crate) refresh_interval: Duration,
    pub(crate) feed_check_interval: Duration,
    /// How often nodes are asked how far they are, where no reads go to replicas; zero for never.
    pub(crate) lag_check_interval: Duration,
    pub(crate) commands_interval: Duration,
    pub(crate) redirects_max: u8,
    pub(crate) redirect_hosts: Vec<String>,
    pub(crate) node_check_interval: Duration,
    pub(crate) retry_percent: usize,
    pub(crate) assist_failover: bool,
    pub(crate) reads: ReadOptions,
    pub(crate) addresses: Addresses,
}

/// The cluster inside this process, if there is to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EmbeddedConfig {
    pub(crate) primaries: usize,
    /// How many each primary has.
    pub(crate) replicas: usize,
    /// Where the nodes keep their files; nothing outlasts the process when absent.
    pub(crate) data: Option<PathBuf>,
}

/// Metrics and health over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdminConfig {
    /// Nowhere when absent.
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// A level, or `target=level` pairs separated by commas.
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

/// A text that never shows up in a log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Config {
    /// Reads a file's text; `file` is its name in messages. All mistakes are reported together.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Self, Mistakes> {
        let mut document = Document::new(text);
        let config = Self::read(&mut document);
        document.finish(file)?;
        Ok(config)
    }

    /// What the engine of one worker is told.
    pub(crate) fn engine_options(&self, worker: usize) -> Options {
        let Self {
            cluster, limits, ..
        } = self;
        let mut options = Options {
            request: RequestLimits {
                bulk_bytes_max: limits.bulk_bytes_max as u64,
                arguments_max: limits.arguments_max as u64,
                inline_bytes_max: limits.inline_bytes_max,
                query_bytes_max: limits.request_bytes_max,
                unauthenticated: false,
            },
            connections_per_node: cluster.connections_per_node,
            databases_max: cluster.databases_max,
            command_timeout: cluster.command_timeout,
            hold_timeout: cluster.hold_timeout,
            feed_check_interval: cluster.feed_check_interval,
            redirects_max: cluster.redirects_max,
            redirect_hosts: cluster
                .redirect_hosts
                .iter()
                .map(|host| host.as_str().into())
                .collect(),
            node_check_interval: cluster.node_check_interval,
            login_timeout: cluster.connect_timeout,
            retry_percent: cluster.retry_percent as u64,
            client_in_flight_max: limits.client_in_flight_max,
            large_in_flight_max: limits.large_in_flight_max,
            client_login_timeout: millis(limits.client_login_timeout_ms),
            login_failures_max: limits.login_failures_max,
            login_failures_window: millis(limits.login_failures_window_ms),
            client_request_timeout: millis(limits.client_request_timeout_ms),
            client_idle_timeout: millis(limits.client_idle_timeout_ms),
            client_output_timeout: millis(limits.client_output_timeout_ms),
            login: self.login(),
            subscriber_output_bytes_max: limits.subscriber_output_bytes_max,
            client_subscription_bytes_max: limits.client_subscription_bytes_max,
            client_output_bytes_max: limits.client_output_bytes_max,
            client_output_bytes_cut: limits.client_output_bytes_cut,
            backend_queue_bytes_max: limits.backend_queue_bytes_max,
            backend_queue_requests_max: limits.backend_queue_requests_max,
            hold_bytes_max: limits.hold_bytes_max,
            memory_bytes_max: limits.memory_bytes_max,
            hold_requests_max: limits.hold_requests_max,
            client_hold_bytes_max: limits.client_hold_bytes_max,
            merge_bytes_max: limits.merge_bytes_max,
            transaction_bytes_max: limits.transaction_bytes_max,
            cross_slot_bytes_max: limits.cross_slot_bytes_max,
            script_cache_bytes_max: limits.script_cache_bytes_max,
            private_connections_max: limits.private_connections_max,
            private_idle_max: limits.private_idle_max,
            close_timeout: self.proxy.close_timeout,
            monitor: self.proxy.monitor,
            cross_slot_reads: self.proxy.cross_slot_reads,
            reads: cluster.reads.clone(),
            credentials: self.credentials(),
            worker: u16::try_from(worker).unwrap_or(u16::MAX),
            worker_count: self.proxy.workers,
            cluster: self.emulation(),
            ..Options::default()
        };
        self.watch.apply(&mut options);
        self.access_log.apply(&mut options);
        self.traces.apply(&mut options);
        options
    }

    fn emulation(&self) -> Option<Emulation> {
        let announce = self.proxy.cluster_announce.clone();
        let emulation = Emulation { announce };
        self.proxy.cluster_emulation.then_some(emulation)
    }

    /// What clients have to log in with.
    fn login(&self) -> Option<Login> {
        let Secret(password) = self.proxy.client_password.as_ref()?;
        let username = self.proxy.client_username.as_deref().unwrap_or("default");
        Some(Login {
            username: username.into(),
            password: password.as_str().into(),
        })
    }

    /// What to log in with at the nodes.
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        let Secret(password) = self.cluster.password.as_ref()?;
        Some(Credentials {
            username: self.cluster.username.as_deref().map(Into::into),
            password: password.as_str().into(),
        })
    }

    fn read(document: &mut Document<'_>) -> Self {
        Self {
            proxy: document.section("proxy", ProxyConfig::read),
            cluster: document.section("cluster", ClusterConfig::read),
            embedded: document.section("embedded", EmbeddedConfig::read),
            limits: document.section("limits", LimitsConfig::read),
            admin: document.section("admin", AdminConfig::read),
            log: document.section("log", LogConfig::read),
            watch: document.section("watch", WatchConfig::read),
            access_log: document.section("access_log", AccessLogConfig::read),
            traces: document.section("traces", TracesConfig::read),
        }
    }
}

impl ProxyConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let username_place = section.place("client_username");
        let password_place = section.place("client_password");
        let config = Self {
            listen: section.listen("listen", default.listen),
            workers: section.count("workers", WORKERS, default.workers),
            max_clients: section.count("max_clients", 1..=1_000_000, default.max_clients),
            drain_timeout: section.millis("drain_timeout_ms", WAIT_MS, default.drain_timeout),
            close_timeout: section.millis("close_timeout_ms", WAIT_MS, default.close_timeout),
            monitor: section.flag("monitor", default.monitor),
            cross_slot_reads: section.flag("cross_slot_reads", default.cross_slot_reads),
            cluster_emulation: section.flag("cluster_emulation", default.cluster_emulation),
            cluster_announce: section.address("cluster_announce"),
            client_username: section.text("client_username"),
            client_password: section.text("client_password").map(Secret),
        };
        if config.client_username.is_some() && config.client_password.is_none() {
            let problem = "needs a 'client_password' beside it";
            section.refuse(username_place, "client_username", problem);
        }
        if config.client_password == Some(Secret(String::new())) {
            section.refuse(password_place, "client_password", "must not be empty");
        }
        config
    }
}

impl ClusterConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let username_place = section.place("username");
        let config = Self {
            seeds: section.addresses("seeds"),
            username: section.text("username"),
            password: section.text("password").map(Secret),
            connections_per_node: section.count(
                "connections_per_node",
                1..=64,
                default.connections_per_node,
            ),
            databases_max: section.count("databases_max", 1..=256, default.databases_max),
            connect_timeout: section.millis("connect_timeout_ms", WAIT_MS, default.connect_timeout),
            command_timeout: section.millis("command_timeout_ms", WAIT_MS, default.command_timeout),
            hold_timeout: section.millis("hold_timeout_ms", WAIT_MS, default.hold_timeout),
            refresh_interval: section.millis(
                "refresh_interval_ms",
                100..=HOUR_MS,
                default.refresh_interval,
            ),
            lag_check_interval: lag_check_interval(section, default.lag_check_interval),
            feed_check_interval: section.millis(
                "feed_check_interval_ms",
                WAIT_MS,
                default.feed_check_interval,
            ),
            commands_interval: section.millis(
                "commands_interval_ms",
                0..=HOUR_MS,
                default.commands_interval,
            ),
            redirects_max: section.count_u8("redirects_max", 1..=64, default.redirects_max),
            redirect_hosts: section.texts("redirect_hosts"),
            node_check_interval: section.millis(
                "node_check_interval_ms",
                0..=HOUR_MS,
                default.node_check_interval,
            ),
            retry_percent: section.count("retry_percent", 0..=1_000, default.retry_percent),
            assist_failover: section.flag("assist_failover", default.assist_failover),
            reads: reads::read(section),
            addresses: addresses::read(section),
        };
        if config.username.is_some() && config.password.is_none() {
            section.refuse(username_place, "username", "needs a 'password' beside it");
        }
        config
    }
}

impl EmbeddedConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            primaries: section.count("primaries", 1..=16, default.primaries),
            replicas: section.count("replicas", 0..=5, default.replicas),
            data: section.text("data").map(PathBuf::from),
        }
    }
}

impl AdminConfig {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            listen: section.listen_or_off("listen", Self::default().listen),
        }
    }
}

impl LogConfig {
    fn read(section: &mut Section<'_>) -> Self {
        Self {
            filter: section
                .text("filter")
                .unwrap_or_else(|| Self::default().filter),
            format: section.choice("format", &LogFormat::NAMES, LogFormat::default()),
        }
    }
}

/// Never, or not so often that nodes that are down are hardly left alone.
fn lag_check_interval(section: &mut Section<'_>, default: Duration) -> Duration {
    let key = "lag_check_interval_ms";
    let place = section.place(key);
    let interval = section.millis(key, 0..=60_000, default);
    if !interval.is_zero() && interval < Duration::from_millis(100) {
        section.refuse(place, key, "must be 0 or from 100 to 60000");
    }
    interval
}

fn millis(count: usize) -> Duration {
    Duration::from_millis(count as u64)
}

/// Also the range of `--workers`.
pub(crate) const WORKERS: RangeInclusive<usize> = 1..=256;
/// How long anything may wait for a peer.
const WAIT_MS: RangeInclusive<usize> = 1..=HOUR_MS;
const HOUR_MS: usize = 3_600_000;

#[cfg(test)]
mod tests;
