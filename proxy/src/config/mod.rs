//! The proxy's configuration: every key with its default and range, read from TOML into checked
//! types. `config/proxy.toml` documents each key for users; a test keeps the two the same.

mod nearest;
mod reader;
mod shown;

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::thread::available_parallelism;

use slotway::engine::{Credentials, Emulation, Options};
use slotway_protocol::engine::Address;
use slotway_protocol::resp::RequestLimits;

pub(crate) use nearest::suggestion;
use reader::{Document, Section};
pub(crate) use reader::{Mistakes, out_of_range, parse_address, parse_listen};

/// Everything a user can set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config {
    pub(crate) proxy: ProxyConfig,
    pub(crate) cluster: ClusterConfig,
    pub(crate) limits: LimitsConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) log: LogConfig,
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
    pub(crate) commands_interval: Duration,
    pub(crate) redirects_max: u8,
}

/// Bounds on what one peer can make the proxy hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitsConfig {
    pub(crate) bulk_bytes_max: usize,
    pub(crate) arguments_max: usize,
    pub(crate) inline_bytes_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) client_output_bytes_max: usize,
    pub(crate) client_output_bytes_cut: usize,
    pub(crate) client_in_flight_max: usize,
    pub(crate) subscriber_output_bytes_max: usize,
    pub(crate) client_subscription_bytes_max: usize,
    pub(crate) backend_queue_bytes_max: usize,
    pub(crate) hold_bytes_max: usize,
    pub(crate) merge_bytes_max: usize,
    pub(crate) transaction_bytes_max: usize,
    pub(crate) cross_slot_bytes_max: usize,
    pub(crate) script_cache_bytes_max: usize,
    pub(crate) private_connections_max: usize,
    pub(crate) private_idle_max: usize,
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
        Options {
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
            client_in_flight_max: limits.client_in_flight_max,
            subscriber_output_bytes_max: limits.subscriber_output_bytes_max,
            client_subscription_bytes_max: limits.client_subscription_bytes_max,
            client_output_bytes_max: limits.client_output_bytes_max,
            client_output_bytes_cut: limits.client_output_bytes_cut,
            backend_queue_bytes_max: limits.backend_queue_bytes_max,
            hold_bytes_max: limits.hold_bytes_max,
            merge_bytes_max: limits.merge_bytes_max,
            transaction_bytes_max: limits.transaction_bytes_max,
            cross_slot_bytes_max: limits.cross_slot_bytes_max,
            script_cache_bytes_max: limits.script_cache_bytes_max,
            private_connections_max: limits.private_connections_max,
            private_idle_max: limits.private_idle_max,
            close_timeout: self.proxy.close_timeout,
            monitor: self.proxy.monitor,
            cross_slot_reads: self.proxy.cross_slot_reads,
            credentials: self.credentials(),
            worker: u16::try_from(worker).unwrap_or(u16::MAX),
            worker_count: self.proxy.workers,
            cluster: self.emulation(),
            ..Options::default()
        }
    }

    fn emulation(&self) -> Option<Emulation> {
        let announce = self.proxy.cluster_announce.clone();
        let emulation = Emulation { announce };
        self.proxy.cluster_emulation.then_some(emulation)
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
            limits: document.section("limits", LimitsConfig::read),
            admin: document.section("admin", AdminConfig::read),
            log: document.section("log", LogConfig::read),
        }
    }
}

impl ProxyConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            listen: section.listen("listen", default.listen),
            workers: section.count("workers", WORKERS, default.workers),
            max_clients: section.count("max_clients", 1..=1_000_000, default.max_clients),
            drain_timeout: section.millis("drain_timeout_ms", WAIT_MS, default.drain_timeout),
            close_timeout: section.millis("close_timeout_ms", WAIT_MS, default.close_timeout),
            monitor: section.flag("monitor", default.monitor),
            cross_slot_reads: section.flag("cross_slot_reads", default.cross_slot_reads),
            cluster_emulation: section.flag("cluster_emulation", default.cluster_emulation),
            cluster_announce: section.address("cluster_announce"),
        }
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
        };
        if config.username.is_some() && config.password.is_none() {
            section.refuse(username_place, "username", "needs a 'password' beside it");
        }
        config
    }
}

impl LimitsConfig {
    fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let place = section.place("bulk_bytes_max");
        let place = place.or_else(|| section.place("request_bytes_max"));
        let mut count = |key, range, default| section.count(key, range, default);
        let limits = Self {
            bulk_bytes_max: count("bulk_bytes_max", KIB..=512 * MIB, default.bulk_bytes_max),
            arguments_max: count("arguments_max", 16..=ARGUMENTS, default.arguments_max),
            inline_bytes_max: count("inline_bytes_max", 64..=MIB, default.inline_bytes_max),
            request_bytes_max: count(
                "request_bytes_max",
                KIB..=4096 * MIB - 1,
                default.request_bytes_max,
            ),
            client_output_bytes_max: count(
                "client_output_bytes_max",
                KIB..=1024 * MIB,
                default.client_output_bytes_max,
            ),
            client_output_bytes_cut: count(
                "client_output_bytes_cut",
                MIB..=64 * 1024 * MIB,
                default.client_output_bytes_cut,
            ),
            client_in_flight_max: count(
                "client_in_flight_max",
                1..=65_536,
                default.client_in_flight_max,
            ),
            subscriber_output_bytes_max: count(
                "subscriber_output_bytes_max",
                KIB..=64 * 1024 * MIB,
                default.subscriber_output_bytes_max,
            ),
            client_subscription_bytes_max: count(
                "client_subscription_bytes_max",
                KIB..=64 * 1024 * MIB,
                default.client_subscription_bytes_max,
            ),
            backend_queue_bytes_max: count(
                "backend_queue_bytes_max",
                MIB..=4096 * MIB,
                default.backend_queue_bytes_max,
            ),
            hold_bytes_max: count("hold_bytes_max", MIB..=4096 * MIB, default.hold_bytes_max),
            merge_bytes_max: count("merge_bytes_max", MIB..=4096 * MIB, default.merge_bytes_max),
            transaction_bytes_max: count(
                "transaction_bytes_max",
                1024..=4096 * MIB,
                default.transaction_bytes_max,
            ),
            cross_slot_bytes_max: count(
                "cross_slot_bytes_max",
                KIB..=4096 * MIB,
                default.cross_slot_bytes_max,
            ),
            script_cache_bytes_max: count(
                "script_cache_bytes_max",
                0..=4096 * MIB,
                default.script_cache_bytes_max,
            ),
            private_connections_max: count(
                "private_connections_max",
                0..=65_536,
                default.private_connections_max,
            ),
            private_idle_max: count("private_idle_max", 0..=65_536, default.private_idle_max),
        };
        limits.refuse_contradictions(section, place);
        limits
    }

    fn refuse_contradictions(&self, section: &mut Section<'_>, place: Option<usize>) {
        if self.bulk_bytes_max > self.request_bytes_max {
            section.refuse(place, "bulk_bytes_max", "must not exceed request_bytes_max");
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
        }
    }
}

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
            hold_timeout: Duration::from_secs(5),
            refresh_interval: Duration::from_secs(5),
            feed_check_interval: Duration::from_secs(5),
            commands_interval: Duration::from_mins(5),
            redirects_max: 16,
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
            client_output_bytes_cut: 256 * MIB,
            client_in_flight_max: 1024,
            subscriber_output_bytes_max: 32 * MIB,
            client_subscription_bytes_max: 64 * MIB,
            backend_queue_bytes_max: 256 * MIB,
            hold_bytes_max: 64 * MIB,
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
        }
    }
}

/// Also the range of `--workers`.
pub(crate) const WORKERS: RangeInclusive<usize> = 1..=256;
/// How long anything may wait for a peer.
const WAIT_MS: RangeInclusive<usize> = 1..=HOUR_MS;
const HOUR_MS: usize = 3_600_000;
/// The most arguments that a request can announce.
const ARGUMENTS: usize = i32::MAX as usize;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../config/proxy.toml");

    /// The shipped file with the keys in it that are commented out, `# key = value`.
    fn uncommented() -> String {
        let lines = SHIPPED.lines().map(|line| {
            let key = line.strip_prefix("# ").and_then(|rest| {
                let (key, _) = rest.split_once(" = ")?;
                let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
                is_key.then_some(rest)
            });
            key.unwrap_or(line)
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_shipped_file_states_the_defaults() {
        let mut config = Config::parse("proxy.toml", SHIPPED).unwrap();
        assert_eq!(config.cluster.seeds, [Address::new("127.0.0.1", 7000)]);
        config.cluster.seeds.clear();
        assert_eq!(config, Config::default());
    }

    #[test]
    fn the_shipped_file_names_every_key_and_no_other() {
        let text = uncommented();
        let config = Config::parse("proxy.toml", &text).unwrap();
        assert!(config.cluster.username.is_some());
        let mut document = Document::new(&text);
        Config::read(&mut document);
        for known in document.known() {
            let (section, key) = known.split_once('.').unwrap();
            // A comment may name another section.
            let head = format!("\n[{section}]\n");
            let start = text.find(&head).expect(section) + head.len() - 1;
            let end = text[start..]
                .find("\n[")
                .map_or(text.len(), |end| start + end);
            let needle = format!("\n{key} = ");
            assert!(text[start..end].contains(&needle), "{known} is missing");
        }
    }

    /// Each key read from a file differs from its default, so none is read and dropped.
    #[test]
    #[allow(clippy::too_many_lines, reason = "it has a line for each key")]
    fn every_key_has_an_effect() {
        let text = "
            [proxy]
            listen = '[::1]:1'
            workers = 3
            max_clients = 7
            drain_timeout_ms = 1
            monitor = true
            cross_slot_reads = true
            cluster_emulation = true
            cluster_announce = 'c:3'
            [cluster]
            seeds = ['a:1', '[::1]:2']
            username = 'u'
            password = 'p'
            connections_per_node = 2
            databases_max = 4
            connect_timeout_ms = 2
            command_timeout_ms = 3
            hold_timeout_ms = 4
            refresh_interval_ms = 500
            feed_check_interval_ms = 7
            commands_interval_ms = 0
            redirects_max = 6
            [limits]
            bulk_bytes_max = 2048
            arguments_max = 17
            inline_bytes_max = 65
            request_bytes_max = 4096
            client_output_bytes_max = 0x1000
            client_in_flight_max = 2
            subscriber_output_bytes_max = 2049
            client_subscription_bytes_max = 2050
            backend_queue_bytes_max = 1048577
            hold_bytes_max = 1048578
            merge_bytes_max = 1048580
            transaction_bytes_max = 2000
            cross_slot_bytes_max = 4000
            script_cache_bytes_max = 3000
            private_connections_max = 20
            private_idle_max = 10
            [admin]
            listen = ''
            [log]
            filter = 'debug'
        ";
        let expected = Config {
            proxy: ProxyConfig {
                listen: "[::1]:1".parse().unwrap(),
                workers: 3,
                max_clients: 7,
                drain_timeout: Duration::from_millis(1),
                close_timeout: ProxyConfig::default().close_timeout,
                monitor: true,
                cross_slot_reads: true,
                cluster_emulation: true,
                cluster_announce: Some(Address::new("c", 3)),
            },
            cluster: ClusterConfig {
                seeds: vec![Address::new("a", 1), Address::new("::1", 2)],
                username: Some("u".to_owned()),
                password: Some(Secret("p".to_owned())),
                connections_per_node: 2,
                databases_max: 4,
                connect_timeout: Duration::from_millis(2),
                command_timeout: Duration::from_millis(3),
                hold_timeout: Duration::from_millis(4),
                refresh_interval: Duration::from_millis(500),
                feed_check_interval: Duration::from_millis(7),
                commands_interval: Duration::ZERO,
                redirects_max: 6,
            },
            limits: LimitsConfig {
                bulk_bytes_max: 2048,
                arguments_max: 17,
                inline_bytes_max: 65,
                request_bytes_max: 4096,
                client_output_bytes_max: 4096,
                client_output_bytes_cut: 256 * MIB,
                client_in_flight_max: 2,
                subscriber_output_bytes_max: 2049,
                client_subscription_bytes_max: 2050,
                backend_queue_bytes_max: MIB + 1,
                hold_bytes_max: MIB + 2,
                merge_bytes_max: MIB + 4,
                transaction_bytes_max: 2000,
                cross_slot_bytes_max: 4000,
                script_cache_bytes_max: 3000,
                private_connections_max: 20,
                private_idle_max: 10,
            },
            admin: AdminConfig { listen: None },
            log: LogConfig {
                filter: "debug".to_owned(),
            },
        };
        assert_eq!(Config::parse("f", text).unwrap(), expected);
    }

    #[test]
    fn all_mistakes_are_reported_with_their_lines() {
        let text = "\
seeds = []
[proxy]
lisen = \"127.0.0.1:1\"
workers = 0
max_clients = \"many\"
password = \"hunter2\"
[cluster]
seeds = [
  \"127.0.0.1:7000\",
  \"no-port\",
]
username = \"u\"
password = 12345
[limitz]
[admin]
listen = \"localhost:1\"
[log]
filter = = 1
";
        let mistakes = Config::parse("proxy.toml", text).unwrap_err().to_string();
        let lines: Vec<&str> = mistakes.lines().collect();
        assert_eq!(
            lines[..10],
            [
                "proxy.toml:1: 'seeds' stands outside of its section; it belongs in [cluster]",
                "proxy.toml:3: unknown key 'lisen' in [proxy]; did you mean 'listen'?",
                "proxy.toml:4: 'workers' must be between 1 and 256, got 0",
                "proxy.toml:5: 'max_clients' must be an integer, got a string",
                "proxy.toml:6: unknown key 'password' in [proxy]; it belongs in [cluster]",
                "proxy.toml:10: 'seeds' must be host:port such as 10.0.0.1:7000, got \"no-port\"",
                "proxy.toml:12: 'username' needs a 'password' beside it",
                "proxy.toml:13: 'password' must be a string in quotes, got a number",
                "proxy.toml:14: unknown section [limitz]; did you mean [limits]?",
                "proxy.toml:16: 'listen' must be an IP address and a port such as \
                 127.0.0.1:6379, got \"localhost:1\"",
            ]
        );
        let syntax = &lines[10..];
        assert!(!syntax.is_empty());
        assert!(
            syntax
                .iter()
                .all(|line| line.starts_with("proxy.toml:18: ")),
            "{syntax:?}"
        );
    }

    #[test]
    fn a_wrong_kind_of_value_is_refused_everywhere() {
        for (text, expected) in [
            (
                "proxy = 1",
                "f:1: 'proxy' must be a section, [proxy], got a number",
            ),
            (
                "[proxy]\nworkers = 1.5",
                "f:2: 'workers' must be an integer, got a number with a fraction",
            ),
            (
                "[proxy]\nworkers = -1",
                "f:2: 'workers' must be between 1 and 256, got -1",
            ),
            (
                "[proxy]\nworkers = 99999999999999999999999",
                "f:2: 'workers' must be between 1 and 256, got 99999999999999999999999",
            ),
            (
                "[proxy]\nlisten = true",
                "f:2: 'listen' must be a string in quotes, got true or false",
            ),
            (
                "[cluster]\nseeds = 'a:1'",
                "f:2: 'seeds' must be a list of \"host:port\", got a string",
            ),
            (
                "[cluster]\nseeds = [1]",
                "f:2: 'seeds' must be a string in quotes, got a number",
            ),
            (
                "[limits]\nrequest_bytes_max = 4096\nbulk_bytes_max = 4097",
                "f:3: 'bulk_bytes_max' must not exceed request_bytes_max",
            ),
            (
                "[limits]\nrequest_bytes_max = 4096",
                "f:2: 'bulk_bytes_max' must not exceed request_bytes_max",
            ),
            (
                "hello = 1",
                "f:1: unknown key 'hello' outside of any section",
            ),
            ("[tls]", "f:1: unknown section [tls]"),
        ] {
            assert_eq!(Config::parse("f", text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn addresses_are_hosts_and_ports() {
        for (text, expected) in [
            ("a:1", Some(("a", 1))),
            ("10.0.0.1:65535", Some(("10.0.0.1", 65535))),
            ("[::1]:7000", Some(("::1", 7000))),
            ("::1:7000", None),
            ("[a]:7000", None),
            ("a", None),
            (":7000", None),
            ("a:", None),
            ("a:0", None),
            ("a:65536", None),
            ("redis://a:1", None),
            ("a b:1", None),
        ] {
            let expected = expected.map(|(host, port)| Address::new(host, port));
            assert_eq!(parse_address(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn the_engine_is_told_what_the_file_says() {
        let from_config = Config::default().engine_options(0);
        let of_engine = Options {
            // One for each core of this machine.
            worker_count: Config::default().proxy.workers,
            ..Options::default()
        };
        assert_eq!(format!("{from_config:?}"), format!("{of_engine:?}"));
        let text = "
            [cluster]
            username = 'u'
            password = 'p'
            connections_per_node = 2
            databases_max = 4
            command_timeout_ms = 3
            hold_timeout_ms = 4
            redirects_max = 6
            [limits]
            bulk_bytes_max = 2048
            arguments_max = 17
            inline_bytes_max = 65
            request_bytes_max = 4096
            client_output_bytes_max = 4096
            client_in_flight_max = 2
            backend_queue_bytes_max = 1048577
            hold_bytes_max = 1048578
            merge_bytes_max = 1048580
            transaction_bytes_max = 2000
            cross_slot_bytes_max = 4000
            script_cache_bytes_max = 3000
            private_connections_max = 20
            private_idle_max = 10
        ";
        let options = Config::parse("f", text).unwrap().engine_options(7);
        let Options {
            request,
            credentials,
            ..
        } = &options;
        assert_eq!(
            (
                request.bulk_bytes_max,
                request.arguments_max,
                request.inline_bytes_max,
                request.query_bytes_max
            ),
            (2048, 17, 65, 4096)
        );
        let credentials = credentials.as_ref().unwrap();
        assert_eq!(credentials.username.as_deref(), Some("u"));
        assert_eq!(&*credentials.password, "p");
        assert_eq!(options.connections_per_node, 2);
        assert_eq!(options.databases_max, 4);
        assert_eq!(options.command_timeout, Duration::from_millis(3));
        assert_eq!(options.hold_timeout, Duration::from_millis(4));
        assert_eq!(options.redirects_max, 6);
        assert_eq!(options.client_output_bytes_max, 4096);
        assert_eq!(options.client_in_flight_max, 2);
        assert_eq!(options.backend_queue_bytes_max, MIB + 1);
        assert_eq!(options.hold_bytes_max, MIB + 2);
        assert_eq!(options.merge_bytes_max, MIB + 4);
        assert_eq!(options.transaction_bytes_max, 2000);
        assert_eq!(options.cross_slot_bytes_max, 4000);
        assert_eq!(options.script_cache_bytes_max, 3000);
        assert_eq!(options.private_connections_max, 20);
        assert_eq!(options.private_idle_max, 10);
        assert_eq!(options.worker, 7);
    }

    #[test]
    fn a_password_is_not_printed() {
        let config = Config::parse("f", "[cluster]\npassword = 'hunter2'").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
