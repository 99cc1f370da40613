//! The two that are compared: a redis-server process and a node driven by hand.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use slotway_node::{ClusterConfig, ClusterView, Config, Node, NodeConfig, NodeInfo};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{ConnectionId, Engine, Instant, Now, Origin, Peer};
use slotway_protocol::resp::{ReplyScanner, encode};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Standalone,
    Cluster,
}

/// A redis-server with one connection to it.
pub(crate) struct Theirs {
    process: Child,
    stream: TcpStream,
    directory: std::path::PathBuf,
    port: u16,
}

impl Theirs {
    /// A server that serves; in a cluster it owns all slots.
    pub(crate) fn start(mode: Mode, port: u16) -> Self {
        let mut server = Self::start_process(mode, port);
        if mode == Mode::Cluster {
            server.ask(&parse("cluster addslotsrange 0 16383"));
            server.wait_for("cluster info", "cluster_state:ok");
        }
        server
    }

    /// A server as it comes; in a cluster it owns no slots. When another run of this test holds
    /// the port, it is one of the next.
    pub(crate) fn start_process(mode: Mode, port: u16) -> Self {
        (0..8)
            .find_map(|attempt| Self::try_start(mode, port + 10 * attempt))
            .expect("redis-server is installed and one of the ports is free")
    }

    /// `None` when the port is taken.
    fn try_start(mode: Mode, port: u16) -> Option<Self> {
        let name = format!("slotway-conformance-{}-{port}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let cluster = if mode == Mode::Cluster { "yes" } else { "no" };
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--cluster-enabled", cluster])
            .args(["--save", "", "--databases", "1"])
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        for _ in 0..200 {
            std::thread::sleep(Duration::from_millis(50));
            if process.try_wait().unwrap().is_some() {
                break;
            }
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
                let timeout = Some(Duration::from_secs(5));
                stream.set_read_timeout(timeout).unwrap();
                let mut server = Self {
                    process,
                    stream,
                    directory,
                    port,
                };
                return server.is_itself().then_some(server);
            }
        }
        let _ = process.kill();
        let _ = process.wait();
        let _ = std::fs::remove_dir_all(&directory);
        None
    }

    /// Whether the process that answers is the one that was started.
    fn is_itself(&mut self) -> bool {
        let info = self.ask(&parse("info server"));
        let process = format!("process_id:{}\r\n", self.process.id());
        String::from_utf8_lossy(&info).contains(&process)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Asks until the reply contains a text.
    pub(crate) fn wait_for(&mut self, line: &str, text: &str) {
        for _ in 0..600 {
            if String::from_utf8_lossy(&self.ask(&parse(line))).contains(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{line} never says {text}");
    }

    /// The reply to a request; empty when none comes.
    pub(crate) fn ask(&mut self, request: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode::request(&mut bytes, request);
        self.stream.write_all(&bytes).unwrap();
        let mut reply = Vec::new();
        let mut scanner = ReplyScanner::default();
        while scanner.scan(&reply).unwrap().is_none() {
            let mut buffer = [0; 65_536];
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => reply.extend_from_slice(&buffer[..count]),
                _ => break,
            }
        }
        reply
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A node with one connection.
pub(crate) struct Ours {
    node: Node,
    started: std::time::Instant,
}

const CONNECTION: ConnectionId = ConnectionId {
    index: 0,
    generation: 0,
};

impl Ours {
    pub(crate) fn start(config: NodeConfig) -> Self {
        let port = config.config.port;
        let started = std::time::Instant::now();
        let mut ours = Self {
            node: Node::new(config, now(started)),
            started,
        };
        let peer = Peer {
            remote: "127.0.0.1:1".parse().unwrap(),
            local: format!("127.0.0.1:{port}").parse().unwrap(),
            origin: Origin::Accepted(0),
        };
        ours.node.handle_open(CONNECTION, peer, now(started));
        ours
    }

    pub(crate) fn ask(&mut self, request: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode::request(&mut bytes, request);
        let mut input = BytesMut::from(&bytes[..]);
        let now = now(self.started);
        self.node.handle_input(CONNECTION, &mut input, now);
        let output = self.node.output(CONNECTION);
        let mut slices = [std::io::IoSlice::new(&[]); 16];
        let used = output.slices(&mut slices);
        let reply: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        output.advance(reply.len());
        self.node.handle_written(CONNECTION, now);
        while self.node.poll_action().is_some() {}
        reply
    }

    pub(crate) fn check_invariants(&self) {
        self.node.check_invariants();
    }
}

/// A node alone, or a cluster of one that owns all slots.
pub(crate) fn config(mode: Mode, port: u16) -> NodeConfig {
    let cluster = (mode == Mode::Cluster).then(|| {
        let me = "0123456789012345678901234567890123456789";
        let mut view = ClusterView::new(vec![NodeInfo::primary(me, "", port)]);
        let (first, last) = (Slot::new(0).unwrap(), Slot::new(16_383).unwrap());
        view.assign(first, last, Some(me));
        ClusterConfig {
            me: me.to_owned(),
            view,
        }
    });
    NodeConfig {
        config: Config {
            port,
            bind: vec!["127.0.0.1".to_owned()],
            cluster_enabled: mode == Mode::Cluster,
            databases: 1,
            save: Vec::new(),
            ..Config::default()
        },
        cluster,
        seed: 1,
    }
}

fn now(started: std::time::Instant) -> Now {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Now {
        instant: Instant::from_micros(started.elapsed().as_micros() as u64),
        unix_ms: since_epoch.as_millis() as u64,
    }
}

/// The arguments of a line: words, or in double quotes anything, with `\xNN`.
pub(crate) fn parse(line: &str) -> Vec<Vec<u8>> {
    let mut arguments = Vec::new();
    let mut rest = line.trim_start().as_bytes();
    while !rest.is_empty() {
        let mut argument = Vec::new();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = quoted;
            while let Some((byte, after)) = rest.split_first() {
                rest = after;
                match (byte, rest) {
                    (b'"', _) => break,
                    (b'\\', [b'x', high, low, after @ ..]) => {
                        let digits = String::from_utf8(vec![*high, *low]).unwrap();
                        argument.push(u8::from_str_radix(&digits, 16).unwrap());
                        rest = after;
                    }
                    (byte, _) => argument.push(*byte),
                }
            }
        } else {
            let end = rest
                .iter()
                .position(|byte| *byte == b' ')
                .unwrap_or(rest.len());
            argument.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        arguments.push(argument);
        rest = rest.trim_ascii_start();
    }
    arguments
}

/// Whether the replies are the same: milliseconds that are left may differ by a little, and what
/// has no order may come in any.
pub(crate) fn equal(line: &str, expected: &[u8], actual: &[u8]) -> bool {
    let line = line.to_ascii_uppercase();
    let number = |reply: &[u8]| {
        let text = core::str::from_utf8(reply).ok()?;
        text.strip_prefix(':')?.trim_end().parse::<i64>().ok()
    };
    let in_milliseconds = line.contains("PTTL") || line.contains("PEXPIRETIME");
    if in_milliseconds && let (Some(expected), Some(actual)) = (number(expected), number(actual)) {
        return expected == actual || (expected > 0 && expected.abs_diff(actual) < 1_000);
    }
    let unordered = ["KEYS ", "SCAN ", "CONFIG GET "];
    if unordered.iter().any(|start| line.starts_with(start)) {
        let sorted = |reply: &[u8]| {
            let mut lines: Vec<Vec<u8>> = reply
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            lines.sort();
            lines
        };
        return sorted(expected) == sorted(actual);
    }
    expected == actual
}
