//! A node as a process that shows its metrics, and its page as numbers by series.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::ports::free_port;

/// A node that is killed when this is dropped.
pub(crate) struct Node {
    pub(crate) port: u16,
    pub(crate) metrics_port: u16,
    pub(crate) directory: TempDir,
    child: Child,
}

impl Node {
    pub(crate) fn start(options: &[(&str, &str)]) -> Self {
        let (port, metrics_port) = (free_port(), free_port());
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotway-node"));
        command.current_dir(directory.path());
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--metrics-port", &metrics_port.to_string()]);
        command.args(["--enable-debug-command", "yes"]);
        for (name, value) in options {
            command.args([name, value]);
        }
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let node = Self {
            port,
            metrics_port,
            directory,
            child: quiet.spawn().unwrap(),
        };
        wait_until("the node answers", || node.ask("PING") == "+PONG");
        node
    }

    /// Sends a line; the first line of the reply, or nothing.
    pub(crate) fn ask(&self, line: &str) -> String {
        let mut reply = Vec::new();
        let Ok(mut stream) = self.connect() else {
            return String::new();
        };
        stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut byte = [0];
        while !reply.ends_with(b"\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
            reply.push(byte[0]);
        }
        String::from_utf8_lossy(&reply).trim_end().to_owned()
    }

    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    }

    /// The status and the text at a path of the metrics port.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        get(self.metrics_port, path)
    }

    /// The value of each series.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        series(&self.get("/metrics").1)
    }

    pub(crate) fn metric(&self, series: &str) -> f64 {
        let metrics = self.metrics();
        let found = metrics.get(series).copied();
        found.unwrap_or_else(|| panic!("{series} in {metrics:?}"))
    }

    /// A signal for the process.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a node that is expected to end by itself.
pub(crate) fn output(options: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotway-node"));
    command.current_dir(directory.path()).args(options);
    command.output().unwrap()
}

pub(crate) fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), body.to_owned())
}

pub(crate) fn series(page: &str) -> BTreeMap<String, f64> {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let series = samples.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    });
    series.collect()
}

pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}
