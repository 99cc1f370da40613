//! redis-cli moves slots between two nodes under a load of writes: none of them is lost, and none
//! counts twice.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slotway_node::server::{ServerHandle, spawn};
use slotway_node::{ClusterConfig, ClusterView, Config, NodeConfig, NodeInfo};
use slotway_protocol::cluster::Slot;
use slotway_protocol::resp::{ReplyScanner, encode};

use crate::ports::free_port;

const IDS: [&str; 2] = [
    "1111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222",
];

const COUNTERS: usize = 400;

#[test]
fn no_write_is_lost_while_redis_cli_moves_slots() {
    let ports = [free_port(), free_port()];
    let _nodes: Vec<ServerHandle> = (0..2).map(|me| start(me, ports)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|seed| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || write(ports, seed, &stop))
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        reshard(ports[0], IDS[from], IDS[to], 1_000);
    }
    stop.store(true, Ordering::Relaxed);
    let mut wanted = vec![0; COUNTERS];
    let mut redirects = 0;
    for writer in writers {
        let (counts, asked) = writer.join().unwrap();
        redirects += asked;
        for (wanted, count) in wanted.iter_mut().zip(counts) {
            *wanted += count;
        }
    }
    assert!(redirects > 0, "some were asked to go elsewhere once");
    let mut client = Client::new(ports);
    for (number, wanted) in wanted.into_iter().enumerate() {
        let reply = client.ask(&["INCRBY", &format!("counter:{number}"), "0"]);
        assert_eq!(reply, format!(":{wanted}\r\n"), "counter {number}");
    }
}

fn reshard(port: u16, from: &str, to: &str, slots: usize) {
    let output = Command::new("redis-cli")
        .args(["--cluster", "reshard", &format!("127.0.0.1:{port}")])
        .args(["--cluster-from", from, "--cluster-to", to])
        .args(["--cluster-slots", &slots.to_string(), "--cluster-yes"])
        .output()
        .expect("redis-cli is installed");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("ERR"), "{told}");
    assert_eq!(told.matches("Moving slot").count() / 2, slots, "{told}");
}

/// Increments counters until it is told to stop; how often each, and how many times ASK was told.
fn write(ports: [u16; 2], seed: usize, stop: &AtomicBool) -> (Vec<u64>, usize) {
    let mut client = Client::new(ports);
    let mut counts = vec![0; COUNTERS];
    let mut number = seed * 131;
    while !stop.load(Ordering::Relaxed) {
        number = (number * 7 + 13) % COUNTERS;
        let reply = client.ask(&["INCR", &format!("counter:{number}")]);
        assert!(reply.starts_with(':'), "{reply}");
        counts[number] += 1;
        number += 1;
    }
    (counts, client.asked)
}

/// A client that follows redirects, one at a time.
struct Client {
    ports: [u16; 2],
    connections: HashMap<u16, TcpStream>,
    asked: usize,
}

impl Client {
    fn new(ports: [u16; 2]) -> Self {
        Self {
            ports,
            connections: HashMap::new(),
            asked: 0,
        }
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let (mut port, mut asking) = (self.ports[0], false);
        for _ in 0..1_000 {
            if std::mem::take(&mut asking) {
                self.send(port, &["ASKING"]);
            }
            let reply = self.send(port, words);
            let words: Vec<&str> = reply.split_whitespace().collect();
            match words[0] {
                "-MOVED" | "-ASK" => {
                    port = words[2].rsplit(':').next().unwrap().parse().unwrap();
                    asking = words[0] == "-ASK";
                    self.asked += usize::from(asking);
                }
                "-TRYAGAIN" => std::thread::sleep(Duration::from_millis(1)),
                _ => return reply,
            }
        }
        panic!("{words:?} is sent around for ever");
    }

    fn send(&mut self, port: u16, words: &[&str]) -> String {
        let connection = self.connections.entry(port).or_insert_with(|| {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_nodelay(true).unwrap();
            let timeout = Some(Duration::from_secs(20));
            stream.set_read_timeout(timeout).unwrap();
            stream
        });
        let mut request = Vec::new();
        encode::request(&mut request, words);
        connection.write_all(&request).unwrap();
        let mut reply = Vec::new();
        let mut scanner = ReplyScanner::default();
        while scanner.scan(&reply).unwrap().is_none() {
            let mut buffer = [0; 4_096];
            let count = connection.read(&mut buffer).unwrap();
            assert!(count > 0, "the node closed the connection");
            reply.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(reply).unwrap()
    }
}

/// One of two nodes that know each other, each with half of the slots.
fn start(me: usize, ports: [u16; 2]) -> ServerHandle {
    let nodes = (0..2).map(|index| {
        let mut info = NodeInfo::primary(IDS[index], "127.0.0.1", ports[index]);
        info.epoch = index as u64 + 1;
        info
    });
    let mut view = ClusterView::new(nodes.collect());
    view.current_epoch = 2;
    let slot = |number| Slot::new(number).unwrap();
    view.assign(slot(0), slot(8_191), Some(IDS[0]));
    view.assign(slot(8_192), slot(16_383), Some(IDS[1]));
    spawn(NodeConfig {
        config: Config {
            port: ports[me],
            bind: vec!["127.0.0.1".to_owned()],
            cluster_enabled: true,
            ..Config::default()
        },
        cluster: Some(ClusterConfig {
            me: IDS[me].to_owned(),
            view,
        }),
        seed: me as u64,
    })
    .unwrap()
}
