//! A node of either kind with several clients, and scripts that say what each of them sends.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use slotway_node::server::{ServerHandle, lonely_cluster, spawn};
use slotway_node::{Config, NodeConfig};
use slotway_protocol::resp::encode;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Theirs,
}

/// A node that runs, with its clients.
pub(crate) struct Stage {
    _node: Running,
    pub(crate) port: u16,
    control: TcpStream,
    clients: Vec<TcpStream>,
}

enum Running {
    Ours {
        _handle: ServerHandle,
    },
    Theirs {
        process: Child,
        _directory: tempfile::TempDir,
    },
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Theirs { process, .. } = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Stage {
    /// A node that is part of no cluster, with so many clients. `settings` are directives.
    pub(crate) fn start(kind: Kind, clients: usize, settings: &[(&str, &str)]) -> Self {
        Self::launch(kind, clients, settings, false)
    }

    /// A cluster of one node that owns all slots.
    pub(crate) fn start_cluster(kind: Kind, clients: usize, settings: &[(&str, &str)]) -> Self {
        let mut stage = Self::launch(kind, clients, settings, true);
        stage.ask(&["cluster", "addslotsrange", "0", "16383"]);
        for _ in 0..200 {
            let info = stage.ask(&["cluster", "info"]);
            if String::from_utf8_lossy(&info).contains("cluster_state:ok") {
                return stage;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the cluster of one never serves");
    }

    fn launch(kind: Kind, clients: usize, settings: &[(&str, &str)], clustered: bool) -> Self {
        let (node, port) = match kind {
            Kind::Ours => start_ours(settings, clustered),
            Kind::Theirs => start_theirs(settings, clustered),
        };
        let connect = || {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        };
        let control = connect();
        control
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut stage = Self {
            _node: node,
            port,
            control,
            clients: Vec::new(),
        };
        for _ in 0..clients {
            stage.clients.push(connect());
        }
        for client in &stage.clients {
            client.set_nonblocking(true).unwrap();
        }
        stage
    }

    /// Asks over a connection of its own.
    pub(crate) fn ask(&mut self, words: &[&str]) -> Vec<u8> {
        let mut request = Vec::new();
        encode::request(&mut request, words);
        self.control.write_all(&request).unwrap();
        let mut reply = Vec::new();
        let mut scanner = slotway_protocol::resp::ReplyScanner::default();
        while scanner.scan(&reply).unwrap().is_none() {
            let mut buffer = [0; 65_536];
            let count = self.control.read(&mut buffer).unwrap();
            assert!(count > 0, "the node closed the connection");
            reply.extend_from_slice(&buffer[..count]);
        }
        reply
    }

    /// Sends one client's request and says what each client has been told after it.
    pub(crate) fn send(&mut self, client: usize, request: &[Vec<u8>]) -> String {
        let mut bytes = Vec::new();
        encode::request(&mut bytes, request);
        // One that was closed meanwhile shows that when it is read from.
        let _ = self.clients[client].write_all(&bytes);
        self.told()
    }

    /// What each client has been told since.
    pub(crate) fn told(&mut self) -> String {
        // A node does one thing after the other, so the request is done when these are.
        for _ in 0..3 {
            self.ask(&["ping"]);
        }
        let mut told = String::new();
        for (index, client) in self.clients.iter_mut().enumerate() {
            let (bytes, closed) = read_all(client);
            if !bytes.is_empty() {
                told += &format!("  {index}: {}\n", bytes.escape_ascii());
            }
            if closed {
                told += &format!("  {index} is closed\n");
            }
        }
        told
    }

    /// Waits until a client has been told something, since another node has to answer first.
    pub(crate) fn wait_told(&mut self) -> String {
        let start = Instant::now();
        loop {
            let told = self.told();
            if !told.is_empty() || start.elapsed() > Duration::from_secs(10) {
                return told;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn read_all(client: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return (bytes, true),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return (bytes, false),
            Err(_) => return (bytes, true),
        }
    }
}

/// Runs a script on both kinds: each line is the number of a client and its request, or `sleep`
/// with milliseconds; `later` before it means that what comes soon counts as told at once.
pub(crate) fn compare(clustered: bool, clients: usize, settings: &[(&str, &str)], script: &[&str]) {
    let mut stages = [Kind::Theirs, Kind::Ours].map(|kind| match clustered {
        true => Stage::start_cluster(kind, clients, settings),
        false => Stage::start(kind, clients, settings),
    });
    let mut differences = String::new();
    for line in script {
        let [expected, actual] = stages.each_mut().map(|stage| play(stage, line));
        // A greeting has the client's number in it.
        if expected != actual && !line.contains("hello") {
            differences += &format!("{line}\n theirs:\n{expected} ours:\n{actual}");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

fn play(stage: &mut Stage, line: &str) -> String {
    let (first, rest) = line.split_once(' ').unwrap();
    match first {
        "sleep" => {
            std::thread::sleep(Duration::from_millis(rest.parse().unwrap()));
            stage.told()
        }
        "later" => {
            let (client, request) = rest.split_once(' ').unwrap();
            let told = stage.send(client.parse().unwrap(), &parse(request));
            std::thread::sleep(Duration::from_millis(250));
            sorted(&(told + &stage.told()))
        }
        client => stage.send(client.parse().unwrap(), &parse(rest)),
    }
}

fn sorted(told: &str) -> String {
    let mut lines: Vec<&str> = told.split_inclusive('\n').collect();
    lines.sort_unstable();
    lines.dedup();
    lines.concat()
}

/// The words of a line; `""` is an empty one, `\xNN` a byte.
pub(crate) fn parse(line: &str) -> Vec<Vec<u8>> {
    let words = line.split_whitespace().map(|word| {
        let mut bytes = Vec::new();
        let mut rest = word.as_bytes();
        if word == "\"\"" {
            return bytes;
        }
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match (byte, rest) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digits = [*high, *low];
                    let digits = core::str::from_utf8(&digits).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = after;
                }
                (byte, _) => bytes.push(*byte),
            }
        }
        bytes
    });
    words.collect()
}

fn start_ours(settings: &[(&str, &str)], clustered: bool) -> (Running, u16) {
    let mut config = Config {
        port: crate::ports::free_port(),
        bind: vec!["127.0.0.1".to_owned()],
        cluster_enabled: clustered,
        databases: 16,
        ..Config::default()
    };
    for (name, value) in settings {
        config.apply(name, value).unwrap();
    }
    let port = config.port;
    let handle = spawn(NodeConfig {
        cluster: clustered.then(|| lonely_cluster(&config, 5)),
        config,
        seed: 1,
    })
    .unwrap();
    (Running::Ours { _handle: handle }, port)
}

fn start_theirs(settings: &[(&str, &str)], clustered: bool) -> (Running, u16) {
    for _ in 0..8 {
        let directory = tempfile::tempdir().unwrap();
        let port = crate::ports::free_port();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .args(["--cluster-enabled", if clustered { "yes" } else { "no" }]);
        for (name, value) in settings {
            command.arg(format!("--{name}"));
            command.args(value.split(' '));
        }
        let process = command
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut running = Running::Theirs {
            process,
            _directory: directory,
        };
        if answers(&mut running, port) {
            return (running, port);
        }
    }
    panic!("redis-server does not start");
}

fn answers(running: &mut Running, port: u16) -> bool {
    let Running::Theirs { process, .. } = running else {
        return true;
    };
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(25));
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
    }
    false
}
