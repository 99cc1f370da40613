//! What nodes show to those who watch them: metrics, health and readiness, over HTTP.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod node;
mod page;
#[path = "../ports/mod.rs"]
mod ports;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use node::{Node, get, output, wait_until};
use slotway_node::Config;
use slotway_node::server::{LocalCluster, LocalClusterError, LocalClusterOptions};

#[test]
fn a_load_moves_the_values_and_adds_no_series() {
    let node = Node::start(&[("--slowlog-log-slower-than", "0")]);
    let before = node.metrics();
    let mut client = node.connect().unwrap();
    let mut say = |line: &str, reply: &str| {
        client.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut answer = vec![0; reply.len()];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), reply, "{line}");
    };
    say("SET a 1 EX 100", "+OK\r\n");
    say("GET a", "$1\r\n1\r\n");
    say("GET b", "$-1\r\n");
    say("INCR a", ":2\r\n");
    say("LPUSH a 1", "-WRONGTYPE Operation against a key");
    say("", " holding the wrong kind of value\r\n");
    say("SELECT 3", "+OK\r\n");
    say("SET c 1", "+OK\r\n");
    say(
        "SUBSCRIBE news",
        "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n",
    );
    let after = node.metrics();
    let names = |all: &std::collections::BTreeMap<String, f64>| -> BTreeSet<String> {
        all.keys().cloned().collect()
    };
    assert_eq!(names(&before), names(&after));
    let grown = |series: &str| after[series] - before[series];
    for (series, expected) in [
        ("slotway_node_commands_total", 8.0),
        ("slotway_node_command_calls_total{command=\"get\"}", 2.0),
        ("slotway_node_command_calls_total{command=\"set\"}", 2.0),
        ("slotway_node_command_failed_total{command=\"lpush\"}", 1.0),
        ("slotway_node_error_replies_total{code=\"WRONGTYPE\"}", 1.0),
        ("slotway_node_error_replies_total{code=\"OTHER\"}", 0.0),
        ("slotway_node_keyspace_hits_total", 1.0),
        ("slotway_node_keyspace_misses_total", 1.0),
        ("slotway_node_keys{database=\"0\"}", 1.0),
        ("slotway_node_keys{database=\"3\"}", 1.0),
        ("slotway_node_keys_expiring{database=\"0\"}", 1.0),
        ("slotway_node_connections_accepted_total", 1.0),
        ("slotway_node_subscriptions{kind=\"channel\"}", 1.0),
        ("slotway_node_rdb_changes_since_save", 3.0),
        ("slotway_node_slow_commands_total", 8.0),
    ] {
        assert_eq!(grown(series), expected, "{series}");
    }
    let sent = "+OK$11$-1:2-WRONGTYPE Operation against a key holding the wrong kind of \
        value+OK+OK*3$9subscribe$4news:1";
    let line_ends = 2 * (8 + 1 + 5);
    assert_eq!(
        grown("slotway_node_sent_bytes_total"),
        (sent.len() + line_ends) as f64
    );
    assert!(grown("slotway_node_command_seconds_total{command=\"set\"}") > 0.0);
    assert!(grown("slotway_node_received_bytes_total") > 80.0);
    assert_eq!(after["slotway_node_responding"], 1.0);
    assert_eq!(after["slotway_node_role{role=\"primary\"}"], 1.0);
}

#[test]
fn a_stuck_node_holds_no_scrape_up() {
    let node = Node::start(&[]);
    let before = node.metrics();
    assert_eq!(node.get("/health").0, 200);
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| node.ask("DEBUG SLEEP 4"));
        std::thread::sleep(Duration::from_millis(300));
        let began = Instant::now();
        let during = node.metrics();
        let took = began.elapsed();
        assert!(took < Duration::from_millis(2_500), "{took:?}");
        assert_eq!(during["slotway_node_responding"], 0.0);
        assert!(during["slotway_node_report_age_seconds"] > 1.0);
        assert!(before.keys().eq(during.keys()));
        assert_eq!(node.get("/health").0, 503);
        let (status, why) = node.get("/ready");
        assert_eq!(status, 503);
        assert!(why.contains("has not answered"), "{why}");
        assert_eq!(sleeping.join().unwrap(), "+OK");
    });
    assert_eq!(node.metric("slotway_node_responding"), 1.0);
    assert_eq!(node.get("/health").0, 200);
    // It is asked once, however many wait for the answer.
    let asked = "slotway_node_report_age_seconds";
    assert!(node.metric(asked) < 0.5);
}

#[test]
fn readiness_is_that_of_the_cluster() {
    let node = Node::start(&[("--cluster-enabled", "yes")]);
    let not_ready = (503, "not ready: the cluster is down\n".to_owned());
    assert_eq!(node.get("/ready"), not_ready);
    assert_eq!(node.metric("slotway_node_cluster_ok"), 0.0);
    let unassigned = "slotway_node_cluster_slots{state=\"unassigned\"}";
    assert_eq!(node.metric(unassigned), 16_384.0);
    assert_eq!(node.ask("CLUSTER ADDSLOTSRANGE 0 16383"), "+OK");
    wait_until("ready", || {
        node.get("/ready") == (200, "ready\n".to_owned())
    });
    assert_eq!(node.metric("slotway_node_slots_owned"), 16_384.0);
    let id = node.ask("CLUSTER MYID");
    assert!(id.starts_with('$'), "{id}");
    let own = "CLUSTER SETSLOT 5 MIGRATING ffffffffffffffffffffffffffffffffffffffff";
    assert!(node.ask(own).starts_with("-ERR"));
    assert_eq!(node.get("/nothing").0, 404);
}

#[test]
fn the_link_between_replica_and_primary_is_seen_from_both_ends() {
    let mut primary = Node::start(&[]);
    let port = primary.port.to_string();
    let replica = Node::start(&[("--replicaof", &format!("127.0.0.1 {port}"))]);
    let up = "slotway_node_primary_link_up";
    wait_until("the link", || replica.metric(up) == 1.0);
    assert_eq!(replica.metric("slotway_node_role{role=\"replica\"}"), 1.0);
    assert_eq!(primary.metric(up), 0.0);
    assert_eq!(primary.ask("SET a 1"), "+OK");
    let lag = format!(
        "slotway_node_replica_lag_bytes{{replica=\"127.0.0.1:{}\"}}",
        replica.port
    );
    wait_until("the replica has it all", || {
        primary.metrics().get(&lag) == Some(&0.0)
            && primary.metric("slotway_node_replication_offset_bytes") > 30.0
    });
    let online = "slotway_node_replicas{state=\"online\"}";
    assert_eq!(primary.metric(online), 1.0);
    assert_eq!(
        primary.metric("slotway_node_syncs_total{kind=\"full\"}"),
        1.0
    );
    assert_eq!(replica.metric("slotway_node_keys{database=\"0\"}"), 1.0);
    primary.kill();
    let down = "slotway_node_primary_link_down_seconds";
    wait_until("that the link is down", || replica.metric(down) > 0.2);
    assert_eq!(replica.metric(up), 0.0);
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    let node = Node::start(&[("--save", "3600 1"), ("--appendonly", "no")]);
    let failed = "slotway_node_rdb_last_save_successful";
    assert_eq!(node.metric(failed), 1.0);
    assert_eq!(node.ask("SET a 1"), "+OK");
    assert_eq!(node.ask("SAVE"), "+OK");
    assert_eq!(node.metric("slotway_node_rdb_saves_total"), 1.0);
    assert_eq!(node.metric("slotway_node_rdb_changes_since_save"), 0.0);
    // A folder has the name that the file is to get.
    std::fs::remove_file(node.directory.path().join("dump.rdb")).unwrap();
    std::fs::create_dir(node.directory.path().join("dump.rdb")).unwrap();
    assert!(node.ask("SAVE").starts_with('-'));
    assert_eq!(node.metric(failed), 0.0);
    let refused = "slotway_node_writes_refused{file=\"rdb\"}";
    wait_until("that writes are refused", || node.metric(refused) == 1.0);
    assert!(node.ask("SET a 2").starts_with("-MISCONF"));
}

#[test]
fn the_append_only_file_is_told_of() {
    let node = Node::start(&[("--appendonly", "yes"), ("--save", "")]);
    assert_eq!(node.metric("slotway_node_aof_enabled"), 1.0);
    let size = node.metric("slotway_node_aof_size_bytes");
    assert_eq!(node.ask("SET a 1"), "+OK");
    wait_until("that it has grown", || {
        node.metric("slotway_node_aof_size_bytes") > size
    });
    assert_eq!(node.metric("slotway_node_aof_last_write_successful"), 1.0);
    assert!(node.ask("BGREWRITEAOF").starts_with('+'));
    let rewrites = "slotway_node_aof_rewrites_total";
    wait_until("the rewrite", || node.metric(rewrites) == 1.0);
}

#[test]
fn a_taken_port_ends_the_start_with_words() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port().to_string();
    let port = ports::free_port().to_string();
    let ended = output(&["--port", &port, "--metrics-port", &taken]);
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let expected = format!("metrics can't be shown: address 127.0.0.1:{taken} is in use");
    assert!(said.contains(&expected), "{said}");
    assert!(
        said.contains("choose another with --metrics-port"),
        "{said}"
    );
}

#[test]
fn the_port_is_told_and_cannot_be_changed() {
    let node = Node::start(&[]);
    assert_eq!(node.ask("CONFIG GET metrics-port"), "*2");
    assert_eq!(
        node.ask("CONFIG SET metrics-port 1"),
        "-ERR CONFIG SET failed (possibly related to argument 'metrics-port') - can't set \
         immutable config"
    );
}

#[test]
fn a_signal_ends_it_and_frees_the_port() {
    let node = Node::start(&[]);
    node.signal("-TERM");
    wait_until("that nobody listens", || {
        TcpListener::bind(("127.0.0.1", node.metrics_port)).is_ok()
    });
}

#[test]
fn each_node_of_a_local_cluster_has_a_port() {
    let first_metrics_port = (0..100)
        .map(|_| ports::free_port())
        .find(|first| (0..3).all(|it| TcpListener::bind(("127.0.0.1", first + it)).is_ok()))
        .unwrap();
    let options = LocalClusterOptions {
        primaries: 3,
        replicas: 0,
        first_port: 0,
        first_metrics_port,
        directory: None,
        config: Config::default(),
    };
    let cluster = LocalCluster::start(&options).unwrap();
    for port in first_metrics_port..first_metrics_port + 3 {
        assert_eq!(get(port, "/ready"), (200, "ready\n".to_owned()));
    }
    drop(cluster);
    let too_near = LocalClusterOptions {
        first_port: first_metrics_port + 2,
        ..options
    };
    let error = LocalCluster::start(&too_near).unwrap_err();
    assert!(matches!(error, LocalClusterError::MetricsPorts { .. }));
    let too_near = LocalClusterOptions {
        first_port: first_metrics_port - 10_000 - 2,
        ..too_near
    };
    let error = LocalCluster::start(&too_near).unwrap_err();
    assert!(matches!(error, LocalClusterError::MetricsPorts { .. }));
}
