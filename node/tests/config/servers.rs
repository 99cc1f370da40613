//! Two programs with the same arguments in folders of their own: the node and a redis-server.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Ours,
    Theirs,
}

impl Which {
    fn program(self) -> &'static str {
        match self {
            Self::Ours => env!("CARGO_BIN_EXE_slotway-node"),
            Self::Theirs => "redis-server",
        }
    }
}

/// A program that runs, with a client.
pub(crate) struct Server {
    child: Child,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    stream: TcpStream,
    _temporary: tempfile::TempDir,
}

impl Server {
    /// Starts with a file `redis.conf` if there is a text for it, and with those arguments, in
    /// which `PORT` is its port.
    pub(crate) fn start(which: Which, file: Option<&str>, arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().canonicalize().unwrap();
        let port = crate::ports::free_port();
        let mut command = Command::new(which.program());
        if let Some(text) = file {
            let text = text
                .replace("PORT", &port.to_string())
                .replace("DIR", folder.to_str().unwrap());
            fs::write(folder.join("redis.conf"), text).unwrap();
            command.arg("redis.conf");
        } else {
            command.args(["--port", &port.to_string()]);
        }
        let child = command
            .args(arguments)
            .current_dir(&folder)
            .stdout(fs::File::create(folder.join("stdout")).unwrap())
            .stderr(fs::File::create(folder.join("stderr")).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stream = connect(port, &folder);
        Self {
            child,
            folder,
            port,
            stream,
            _temporary: temporary,
        }
    }

    /// Sends words and returns the raw reply.
    pub(crate) fn ask(&mut self, words: &[&str]) -> String {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(request.as_bytes()).unwrap();
        String::from_utf8(self.reply()).unwrap()
    }

    /// What CONFIG GET says, as pairs.
    pub(crate) fn get(&mut self, patterns: &[&str]) -> Vec<(String, String)> {
        let words: Vec<&str> = ["config", "get"].iter().chain(patterns).copied().collect();
        let reply = self.ask(&words);
        let bulks: Vec<&str> = reply.split("\r\n").skip(1).collect();
        let pairs = bulks.chunks_exact(4);
        pairs
            .map(|pair| (pair[1].to_owned(), pair[3].to_owned()))
            .collect()
    }

    /// The text of a file in its folder, with the folder and the port masked.
    pub(crate) fn masked(&self, name: &str) -> String {
        let text = fs::read_to_string(self.folder.join(name)).unwrap();
        text.replace(self.folder.to_str().unwrap(), "DIR")
            .replace(&self.port.to_string(), "PORT")
    }

    /// The text of a log, once the server has said there that it is ready.
    pub(crate) fn log(&self, name: &str) -> String {
        let begun = Instant::now();
        loop {
            let text = self.masked(name);
            if text.contains("* Ready to accept connections\n") {
                return text;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{text}");
            sleep(Duration::from_millis(10));
        }
    }

    /// Connects to another port from now on.
    pub(crate) fn move_to(&mut self, port: u16) {
        self.port = port;
        self.stream = connect(port, &self.folder);
    }

    fn reply(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let count = self.element(&mut bytes);
        for _ in 0..count {
            self.element(&mut bytes);
        }
        bytes
    }

    /// Appends a line, and what belongs to it; returns how many elements follow.
    fn element(&mut self, bytes: &mut Vec<u8>) -> usize {
        let start = bytes.len();
        while !bytes[start..].ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        let line = String::from_utf8(bytes[start..bytes.len() - 2].to_vec()).unwrap();
        let number = line[1..].parse().unwrap_or(0);
        match line.as_bytes()[0] {
            b'*' => number,
            b'$' => {
                let mut bulk = vec![0; number + 2];
                self.stream.read_exact(&mut bulk).unwrap();
                bytes.extend(bulk);
                0
            }
            _ => 0,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(port: u16, folder: &Path) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                stream
                    .set_read_timeout(Some(Duration::from_secs(10)))
                    .unwrap();
                return stream;
            }
            Err(_) if begun.elapsed() < Duration::from_secs(10) => {
                sleep(Duration::from_millis(10));
            }
            Err(error) => {
                let text = |name| fs::read_to_string(folder.join(name)).unwrap();
                let (log, errors) = (text("stdout"), text("stderr"));
                panic!("nobody listens on {port}: {error}\n{log}{errors}");
            }
        }
    }
}

/// Runs a program to its end, with that text on its input.
pub(crate) fn run(which: Which, folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(which.program())
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that ends before it has read all is none of our concern.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}
