//! Nodes and real redis-servers as processes of their own, each with one client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use slotway_protocol::resp::{ReplyScanner, encode};

/// Which program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Theirs,
}

/// A server that ends with this value.
pub(crate) struct Server {
    kind: Kind,
    pub(crate) port: u16,
    process: Child,
    directory: tempfile::TempDir,
    settings: Vec<String>,
    stream: TcpStream,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts one with directives as a command line has them.
    pub(crate) fn start(kind: Kind, settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = crate::ports::free_port();
        let settings: Vec<String> = settings.iter().map(|word| (*word).to_owned()).collect();
        let process = launch(kind, port, directory.path(), &settings);
        Self {
            kind,
            port,
            process,
            directory,
            settings,
            stream: connect(port),
        }
    }

    /// Starts it again after it has ended, with the same files and more directives.
    pub(crate) fn restart(&mut self, more: &[&str]) {
        self.process.wait().unwrap();
        let more = more.iter().map(|word| (*word).to_owned());
        let settings: Vec<String> = self.settings.iter().cloned().chain(more).collect();
        self.process = launch(self.kind, self.port, self.directory.path(), &settings);
        self.stream = connect(self.port);
    }

    pub(crate) fn send_signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        let status = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(status.success(), "kill {signal}");
        // Not all threads of a process stop at once.
        std::thread::sleep(Duration::from_millis(300));
    }

    /// The reply to a request, as it comes.
    pub(crate) fn run(&mut self, line: &[Vec<u8>]) -> Vec<u8> {
        let mut request = Vec::new();
        encode::request(&mut request, line);
        self.stream.write_all(&request).unwrap();
        self.read()
    }

    /// The next reply.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        let mut scanner = ReplyScanner::default();
        let (mut reply, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let count = self.stream.read(&mut buffer).expect("a server answers");
            assert!(count > 0, "the server closed the connection");
            reply.extend_from_slice(&buffer[..count]);
            if scanner.scan(&reply).unwrap() == Some(reply.len()) {
                return reply;
            }
        }
    }

    /// The reply to words, as text.
    pub(crate) fn ask(&mut self, words: &str) -> String {
        let line: Vec<Vec<u8>> = words.split(' ').map(|word| word.into()).collect();
        String::from_utf8_lossy(&self.run(&line)).into_owned()
    }

    /// Sends a request whose reply is not waited for.
    pub(crate) fn send(&mut self, words: &str) {
        let mut request = Vec::new();
        encode::request(&mut request, &words.split(' ').collect::<Vec<_>>());
        self.stream.write_all(&request).unwrap();
    }

    pub(crate) fn info(&mut self, name: &str) -> String {
        let info = self.ask("INFO everything");
        let mut lines = info.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_default().to_owned()
    }

    pub(crate) fn number(&mut self, name: &str) -> i64 {
        self.info(name).parse().unwrap_or(-1)
    }

    /// Waits until INFO says that.
    pub(crate) fn wait_for(&mut self, name: &str, value: &str) {
        let begun = Instant::now();
        let mut found = String::new();
        while begun.elapsed() < PATIENCE {
            found = self.info(name);
            if found == value {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{:?}: {name} is {found} and not {value}", self.kind);
    }

    pub(crate) fn follow(&mut self, primary: &Self) {
        let reply = self.ask(&format!("REPLICAOF 127.0.0.1 {}", primary.port));
        assert_eq!(reply, "+OK\r\n");
    }
}

/// Waits until a replica has all of its primary, and compares the keys.
pub(crate) fn assert_in_sync(primary: &mut Server, replica: &mut Server) {
    replica.wait_for("master_link_status", "up");
    let begun = Instant::now();
    // The primary may say meanwhile that it is there.
    while replica.info("slave_repl_offset") != primary.info("master_repl_offset") {
        assert!(
            begun.elapsed() < PATIENCE,
            "the replica has all that there is"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let (one, other) = (primary.ask("DEBUG DIGEST"), replica.ask("DEBUG DIGEST"));
    assert!(one.starts_with('+'), "{one}");
    if one != other {
        let all = primary.ask("KEYS *");
        for key in all.split("\r\n").filter(|key| !key.starts_with(['*', '$'])) {
            let digest = format!("DEBUG DIGEST-VALUE {key}");
            let (one, other) = (primary.ask(&digest), replica.ask(&digest));
            assert_eq!(one, other, "{key}");
        }
    }
    assert_eq!(one, other, "the keys");
    let id = primary.info("master_replid");
    assert_eq!(replica.info("master_replid"), id);
}

fn launch(kind: Kind, port: u16, directory: &std::path::Path, settings: &[String]) -> Child {
    let mut command = match kind {
        Kind::Ours => Command::new(env!("CARGO_BIN_EXE_slotway-node")),
        Kind::Theirs => Command::new("redis-server"),
    };
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .arg("--dir")
        .arg(directory)
        .args(["--databases", "16", "--enable-debug-command", "yes"])
        .args(["--repl-diskless-sync-delay", "0"])
        // A PING that one has and the other has not is a difference, too.
        .args(["--repl-ping-replica-period", "3600"])
        .args(settings)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server 7.0 must be installed to replicate with")
}

fn connect(port: u16) -> TcpStream {
    for _ in 0..200 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            return stream;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody answers on port {port}");
}

const PATIENCE: Duration = Duration::from_secs(20);
