//! A node with real sockets, on a thread of its own.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use slotway_node::server::{ServerHandle, StartError, lonely_cluster, spawn};
use slotway_node::{Config, Event, NodeConfig};

fn config(port: u16) -> Config {
    Config {
        port,
        bind: vec!["127.0.0.1".to_owned()],
        ..Config::default()
    }
}

fn start(config: Config) -> Result<ServerHandle, StartError> {
    spawn(NodeConfig {
        cluster: config.cluster_enabled.then(|| lonely_cluster(&config, 5)),
        config,
        seed: 1,
    })
}

fn ask(address: SocketAddr, request: &str, expected: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = vec![0; expected.len()];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(String::from_utf8_lossy(&reply), expected);
}

#[test]
fn serves_until_it_is_dropped() {
    let server = start(config(0)).unwrap();
    let address = server.addresses()[0];
    ask(address, "SET a 1\r\nINCR a\r\n", "+OK\r\n:2\r\n");
    ask(address, "GET a\r\n", "$1\r\n2\r\n");
    drop(server);
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn a_large_value_comes_back_whole() {
    let server = start(config(0)).unwrap();
    let value = "v".repeat(5_000_000);
    let bulk = format!("${}\r\n{value}\r\n", value.len());
    let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n{bulk}GET k\r\nGET k\r\n");
    ask(
        server.addresses()[0],
        &request,
        &format!("+OK\r\n{bulk}{bulk}"),
    );
}

#[test]
fn ends_when_a_client_says_so() {
    let server = start(config(0)).unwrap();
    let mut stream = TcpStream::connect(server.addresses()[0]).unwrap();
    stream.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    server.join();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn events_reach_it() {
    let server = start(Config {
        cluster_enabled: true,
        ..config(0)
    })
    .unwrap();
    let address = server.addresses()[0];
    ask(
        address,
        "GET a\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
    );
    ask(
        address,
        "CLUSTER ADDSLOTSRANGE 0 16383\r\nGET a\r\n",
        "+OK\r\n$-1\r\n",
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    server.send(Event::Drain);
    assert_eq!(
        stream.read(&mut [0; 1]).unwrap(),
        0,
        "a drained node closes its clients"
    );
}

#[test]
fn a_taken_port_is_an_error_that_says_what_to_do() {
    let server = start(config(0)).unwrap();
    let port = server.addresses()[0].port();
    let error = start(config(port)).unwrap_err().to_string();
    assert!(
        error.contains("is in use") && error.contains("--port"),
        "{error}"
    );
    let bad = Config {
        bind: vec!["localhost".to_owned()],
        ..config(0)
    };
    assert!(matches!(start(bad), Err(StartError::Address(_))));
}
