//! The two that are compared, each in a process of its own, and a client of either.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use slotway_protocol::resp::{ReplyScanner, encode};

pub(crate) type Line = Vec<Vec<u8>>;

/// A request from the words of a text.
pub(crate) fn line(text: &str) -> Line {
    text.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// A client of either.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        let timeout = Some(Duration::from_secs(60));
        stream.set_read_timeout(timeout).unwrap();
        stream.set_nodelay(true).unwrap();
        Some(Self {
            stream,
            read: Vec::new(),
        })
    }

    pub(crate) fn run(&mut self, line: &Line) -> Vec<u8> {
        self.send(line);
        self.receive().expect("a reply")
    }

    pub(crate) fn text(&mut self, text: &str) -> String {
        let reply = self.run(&line(text));
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Sends a request; one that can't be sent gets no reply.
    pub(crate) fn send(&mut self, line: &Line) {
        let mut request = Vec::new();
        encode::request(&mut request, line);
        let _ = self.stream.write_all(&request);
    }

    /// The next reply; `None` when the connection ends.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut scanner = ReplyScanner::default();
        loop {
            if let Some(len) = scanner.scan(&self.read).unwrap() {
                let rest = self.read.split_off(len);
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let mut piece = [0; 65_536];
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// The reply, if it comes in time.
    pub(crate) fn run_within(&mut self, line: &Line, timeout: Duration) -> Option<Vec<u8>> {
        self.stream.set_read_timeout(Some(timeout)).unwrap();
        self.send(line);
        let reply = self.receive();
        let usual = Some(Duration::from_secs(60));
        self.stream.set_read_timeout(usual).unwrap();
        reply
    }

    /// A field of INFO persistence.
    pub(crate) fn info(&mut self, field: &str) -> String {
        let text = self.text("INFO persistence");
        let prefix = format!("{field}:");
        let found = text.lines().find_map(|line| line.strip_prefix(&prefix));
        found
            .unwrap_or_else(|| panic!("no {field}: {text}"))
            .to_owned()
    }
}

/// Either server, with its files in a folder.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
}

impl Process {
    pub(crate) fn ours(folder: &Path, options: &[&str]) -> Self {
        Self::start(env!("CARGO_BIN_EXE_slotway-node"), folder, options)
    }

    pub(crate) fn theirs(folder: &Path, options: &[&str]) -> Self {
        let all = [&["--enable-debug-command", "yes"], options].concat();
        Self::start("redis-server", folder, &all)
    }

    pub(crate) fn start(program: &str, folder: &Path, options: &[&str]) -> Self {
        let port = crate::ports::free_port();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--dir", folder.to_str().unwrap()])
            .args(options)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("redis-server 7.0 must be installed to compare with");
        Self { child, port }
    }

    /// A client, as soon as the server serves.
    pub(crate) fn client(&mut self) -> Client {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(mut client) = Client::connect(self.port) {
                client.send(&line("PING"));
                if client.receive().is_some_and(|reply| reply == b"+PONG\r\n") {
                    return client;
                }
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended: {status}");
            }
            assert!(Instant::now() < deadline, "it does not serve");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself; its exit status.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap()
}

/// The digest of all keys that the client's server has, as a redis-server computes it: its own, or
/// that of another one to which all keys are carried by DUMP.
pub(crate) fn carried_digest(client: &mut Client) -> String {
    let folder = tempfile::TempDir::new().unwrap();
    let mut server = Process::theirs(folder.path(), &["--save", ""]);
    let mut other = server.client();
    for database in 0..4 {
        let select = line(&format!("SELECT {database}"));
        assert_eq!(client.run(&select), b"+OK\r\n");
        other.run(&select);
        for key in keys(client) {
            let dump = bulk(&client.run(&vec![b"DUMP".to_vec(), key.clone()]));
            let expires = client.run(&vec![b"PEXPIRETIME".to_vec(), key.clone()]);
            let expires = String::from_utf8_lossy(&expires[1..expires.len() - 2]).into_owned();
            let expires = if expires == "-1" { "0" } else { &expires };
            let restore = vec![
                b"RESTORE".to_vec(),
                key.clone(),
                expires.as_bytes().to_vec(),
                dump,
                b"ABSTTL".to_vec(),
            ];
            let reply = other.run(&restore);
            assert_eq!(reply, b"+OK\r\n", "{}", key.escape_ascii());
        }
    }
    digest(&mut other)
}

pub(crate) fn digest(theirs: &mut Client) -> String {
    theirs.text("DEBUG DIGEST")
}

fn keys(client: &mut Client) -> Vec<Vec<u8>> {
    let reply = client.run(&line("KEYS *"));
    let mut rest = &reply[after_line(&reply)..];
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let start = after_line(rest);
        let len: usize = String::from_utf8_lossy(&rest[1..start - 2])
            .parse()
            .unwrap();
        keys.push(rest[start..start + len].to_vec());
        rest = &rest[start + len + 2..];
    }
    keys
}

fn bulk(reply: &[u8]) -> Vec<u8> {
    assert_eq!(reply[0], b'$', "{}", reply.escape_ascii());
    reply[after_line(reply)..reply.len() - 2].to_vec()
}

fn after_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1
}
