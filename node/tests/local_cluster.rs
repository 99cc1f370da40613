//! A whole cluster in one process: it forms, loses a node, and comes back from its files.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use slotway_node::Config;
use slotway_node::server::{LocalCluster, LocalClusterError, LocalClusterOptions};

fn options(directory: Option<PathBuf>) -> LocalClusterOptions {
    LocalClusterOptions {
        primaries: 3,
        replicas: 1,
        // The system chooses them.
        first_port: 0,
        first_metrics_port: 0,
        directory,
        config: Config::default(),
    }
}

/// Sends a line and returns the reply: what is behind the type, or a text; nothing when the node
/// has ended.
fn ask(node: SocketAddr, line: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(node) else {
        return String::new();
    };
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).unwrap();
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return String::new();
    }
    match first.trim_end().strip_prefix('$') {
        Some(len) => {
            let mut text = vec![0; len.parse().unwrap_or(0)];
            reader.read_exact(&mut text).unwrap();
            String::from_utf8(text).unwrap()
        }
        None => first.trim_end().to_owned(),
    }
}

/// The same of whichever node has the key.
fn ask_owner(nodes: &[SocketAddr], line: &str) -> String {
    let mut reply = String::new();
    for node in nodes {
        reply = ask(*node, line);
        let is_elsewhere = reply.is_empty() || reply.starts_with("-MOVED");
        if !is_elsewhere {
            break;
        }
    }
    reply
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_replica_takes_the_place_of_a_node_that_ends() {
    let cluster = LocalCluster::start(&options(None)).unwrap();
    let nodes = cluster.addresses();
    assert_eq!(nodes.len(), 6);
    for node in &nodes {
        let info = ask(*node, "CLUSTER INFO");
        for line in [
            "cluster_state:ok",
            "cluster_known_nodes:6",
            "cluster_size:3",
        ] {
            assert!(info.contains(line), "{info}");
        }
    }
    for node in &nodes[3..] {
        let info = ask(*node, "INFO replication");
        assert!(info.contains("master_link_status:up"), "{info}");
    }
    for key in 0..20 {
        let line = format!("SET key:{key} {key}");
        assert_eq!(ask_owner(&nodes, &line), "+OK");
    }
    assert_eq!(ask(nodes[0], "SHUTDOWN NOSAVE"), "");
    wait_until("its replica is a primary", || {
        ask(nodes[3], "INFO replication").contains("role:master")
    });
    wait_until("the others know", || {
        let says_ok = |node: &SocketAddr| ask(*node, "CLUSTER INFO").contains("cluster_state:ok");
        nodes[1..].iter().all(says_ok)
    });
    for key in 0..20 {
        let reply = ask_owner(&nodes[1..], &format!("GET key:{key}"));
        assert_eq!(reply, key.to_string());
    }
}

#[test]
fn it_comes_back_at_other_ports() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(Some(folder.path().join("cluster")));
    let cluster = LocalCluster::start(&options).unwrap();
    let nodes = cluster.addresses();
    let id = ask(nodes[0], "CLUSTER MYID");
    for key in 0..20 {
        let line = format!("SET key:{key} {key}");
        assert_eq!(ask_owner(&nodes, &line), "+OK");
    }
    drop(cluster);
    let cluster = LocalCluster::start(&options).unwrap();
    let nodes = cluster.addresses();
    assert_eq!(ask(nodes[0], "CLUSTER MYID"), id);
    for key in 0..20 {
        let reply = ask_owner(&nodes, &format!("GET key:{key}"));
        assert_eq!(reply, key.to_string());
    }
    let error = LocalCluster::start(&options).unwrap_err();
    assert!(matches!(error, LocalClusterError::Node(_)), "{error}");
}

#[test]
fn a_taken_port_is_said() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();
    let taken = LocalClusterOptions {
        primaries: 1,
        replicas: 0,
        first_port: address.port(),
        ..options(None)
    };
    let error = LocalCluster::start(&taken).unwrap_err().to_string();
    let is_named = error.contains(&address.to_string()) || error.contains("the highest port");
    assert!(is_named, "{error}");
}
