//! The configuration: what it takes, what it refuses, and that the shipped file is true.

use slotway::engine::{ReadFrom, ReadRule};

use super::limits::MIB;
use super::traces::Endpoint;
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
        client_username = 'cu'
        client_password = 'cp'
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
        lag_check_interval_ms = 800
        commands_interval_ms = 0
        redirects_max = 6
        redirect_hosts = ['h']
        node_check_interval_ms = 8
        retry_percent = 9
        assist_failover = true
        read_from = 'any'
        read_rules = [{ prefix = 'x', read_from = 'replica' }]
        replica_lag_max_ms = 8
        replica_lag_max_bytes = 9
        replica_check_interval_ms = 100
        replica_timeout_ms = 11
        read_your_writes_ms = 12
        prefer_hostnames = true
        address_map = { '10.0.0.1:1' = 'a:2', 'b' = '::1' }
        [embedded]
        primaries = 4
        replicas = 2
        data = 'd'
        [limits]
        bulk_bytes_max = 2048
        arguments_max = 17
        inline_bytes_max = 65
        request_bytes_max = 4096
        client_output_bytes_max = 0x1000
        client_in_flight_max = 2
        large_in_flight_max = 3
        client_login_timeout_ms = 21
        login_failures_max = 26
        login_failures_window_ms = 27
        client_request_timeout_ms = 22
        client_idle_timeout_ms = 23
        client_output_timeout_ms = 24
        subscriber_output_bytes_max = 2049
        client_subscription_bytes_max = 2050
        backend_queue_bytes_max = 1048577
        backend_queue_requests_max = 11
        hold_bytes_max = 1048578
        memory_bytes_max = 0x2000001
        hold_requests_max = 12
        client_hold_bytes_max = 1300
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
        format = 'json'
        [watch]
        slowlog_slower_than_us = 31
        slowlog_max_len = 32
        hot_key_sample = 33
        large_value_bytes_min = 32769
        [access_log]
        sample = 34
        lines_max = 35
        keys = true
        [traces]
        endpoint = 'http://[::1]:4318/v1/traces'
        sample = 36
        timeout_ms = 37
        queue_max = 38
        batch_spans_max = 39
        interval_ms = 40
        service_name = 's'
        attributes = { 'k' = 'v' }
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
            client_username: Some("cu".to_owned()),
            client_password: Some(Secret("cp".to_owned())),
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
            lag_check_interval: Duration::from_millis(800),
            commands_interval: Duration::ZERO,
            redirects_max: 6,
            redirect_hosts: vec!["h".to_owned()],
            node_check_interval: Duration::from_millis(8),
            retry_percent: 9,
            assist_failover: true,
            reads: ReadOptions {
                read_from: ReadFrom::Any,
                rules: vec![ReadRule {
                    prefix: "x".into(),
                    read_from: ReadFrom::Replica,
                }],
                lag_max: Duration::from_millis(8),
                lag_bytes_max: 9,
                check_interval: Duration::from_millis(100),
                replica_timeout: Duration::from_millis(11),
                your_writes: Duration::from_millis(12),
            },
            addresses: Addresses {
                nodes: [(Address::new("10.0.0.1", 1), Address::new("a", 2))].into(),
                hosts: [("b".into(), "::1".into())].into(),
                prefer_hostnames: true,
            },
        },
        embedded: EmbeddedConfig {
            primaries: 4,
            replicas: 2,
            data: Some("d".into()),
        },
        limits: LimitsConfig {
            bulk_bytes_max: 2048,
            arguments_max: 17,
            inline_bytes_max: 65,
            request_bytes_max: 4096,
            client_output_bytes_max: 4096,
            client_output_bytes_cut: 64 * MIB,
            client_in_flight_max: 2,
            large_in_flight_max: 3,
            client_login_timeout_ms: 21,
            login_failures_max: 26,
            login_failures_window_ms: 27,
            client_request_timeout_ms: 22,
            client_idle_timeout_ms: 23,
            client_output_timeout_ms: 24,
            subscriber_output_bytes_max: 2049,
            client_subscription_bytes_max: 2050,
            backend_queue_bytes_max: MIB + 1,
            backend_queue_requests_max: 11,
            hold_requests_max: 12,
            client_hold_bytes_max: 1300,
            hold_bytes_max: MIB + 2,
            memory_bytes_max: 32 * MIB + 1,
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
            format: LogFormat::Json,
        },
        watch: WatchConfig {
            slowlog_slower_than_us: 31,
            slowlog_max_len: 32,
            hot_key_sample: 33,
            large_value_bytes_min: 32_769,
        },
        access_log: AccessLogConfig {
            sample: 34,
            lines_max: 35,
            keys: true,
        },
        traces: TracesConfig {
            endpoint: Some(Endpoint {
                url: "http://[::1]:4318/v1/traces".to_owned(),
                authority: "[::1]:4318".to_owned(),
            }),
            sample: 36,
            timeout: Duration::from_millis(37),
            queue_max: 38,
            batch_spans_max: 39,
            interval: Duration::from_millis(40),
            service_name: "s".to_owned(),
            attributes: vec![("k".to_owned(), "v".to_owned())],
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
fn the_engine_has_the_defaults_of_the_file() {
    let from_config = Config::default().engine_options(0);
    let of_engine = Options {
        // One for each core of this machine.
        worker_count: Config::default().proxy.workers,
        ..Options::default()
    };
    assert_eq!(format!("{from_config:?}"), format!("{of_engine:?}"));
}

#[test]
fn the_engine_is_told_what_the_file_says_of_the_cluster() {
    let text = "
        [cluster]
        username = 'u'
        password = 'p'
        connections_per_node = 2
        databases_max = 4
        command_timeout_ms = 3
        hold_timeout_ms = 4
        redirect_hosts = ['h']
        node_check_interval_ms = 8
        retry_percent = 9
        read_from = 'any'
        connect_timeout_ms = 5
        redirects_max = 6
    ";
    let options = Config::parse("f", text).unwrap().engine_options(7);
    let credentials = options.credentials.as_ref().unwrap();
    assert_eq!(credentials.username.as_deref(), Some("u"));
    assert_eq!(&*credentials.password, "p");
    assert_eq!(options.connections_per_node, 2);
    assert_eq!(options.databases_max, 4);
    assert_eq!(options.command_timeout, Duration::from_millis(3));
    assert_eq!(options.hold_timeout, Duration::from_millis(4));
    assert_eq!(options.redirects_max, 6);
    assert_eq!(options.redirect_hosts, ["h".into()]);
    assert_eq!(options.node_check_interval, Duration::from_millis(8));
    assert_eq!(options.login_timeout, Duration::from_millis(5));
    assert_eq!(options.retry_percent, 9);
    assert_eq!(options.reads.read_from, ReadFrom::Any);
    assert_eq!(options.worker, 7);
}

#[test]
fn the_engine_is_told_the_limits_of_the_file() {
    let text = "
        [limits]
        bulk_bytes_max = 2048
        arguments_max = 17
        inline_bytes_max = 65
        request_bytes_max = 4096
        client_output_bytes_max = 4096
        client_in_flight_max = 2
        large_in_flight_max = 3
        backend_queue_bytes_max = 1048577
        backend_queue_requests_max = 11
        hold_requests_max = 12
        client_hold_bytes_max = 1300
        hold_bytes_max = 1048578
        merge_bytes_max = 1048580
        transaction_bytes_max = 2000
        cross_slot_bytes_max = 4000
        script_cache_bytes_max = 3000
        private_connections_max = 20
        private_idle_max = 10
    ";
    let options = Config::parse("f", text).unwrap().engine_options(7);
    let request = &options.request;
    assert_eq!(
        (
            request.bulk_bytes_max,
            request.arguments_max,
            request.inline_bytes_max,
            request.query_bytes_max
        ),
        (2048, 17, 65, 4096)
    );
    assert_eq!(options.backend_queue_requests_max, 11);
    assert_eq!(options.hold_requests_max, 12);
    assert_eq!(options.client_hold_bytes_max, 1300);
    assert_eq!(options.client_output_bytes_max, 4096);
    assert_eq!(options.client_in_flight_max, 2);
    assert_eq!(options.large_in_flight_max, 3);
    assert_eq!(options.backend_queue_bytes_max, MIB + 1);
    assert_eq!(options.hold_bytes_max, MIB + 2);
    assert_eq!(options.merge_bytes_max, MIB + 4);
    assert_eq!(options.transaction_bytes_max, 2000);
    assert_eq!(options.cross_slot_bytes_max, 4000);
    assert_eq!(options.script_cache_bytes_max, 3000);
    assert_eq!(options.private_connections_max, 20);
    assert_eq!(options.private_idle_max, 10);
}

#[test]
fn the_engine_is_told_which_requests_are_followed() {
    let sampled = "sample = 5";
    let with = |text: &str| Config::parse("f", text).unwrap().engine_options(0);
    let options = with(&format!(
        "[access_log]\n{sampled}\nlines_max = 6\nkeys = true"
    ));
    assert_eq!((options.access_log_sample, options.traces_sample), (5, 0));
    assert_eq!(options.access_log_lines_max, 6);
    assert!(options.access_log_keys);
    let nowhere = with(&format!("[traces]\n{sampled}"));
    assert_eq!(nowhere.traces_sample, 0, "there is nowhere to export to");
    let endpoint = "endpoint = 'http://a:1/v1/traces'";
    assert_eq!(
        with(&format!("[traces]\n{sampled}\n{endpoint}")).traces_sample,
        5
    );
}

#[test]
fn a_password_is_not_printed() {
    let config = Config::parse("f", "[cluster]\npassword = 'hunter2'").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
