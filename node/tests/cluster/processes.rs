//! Node processes with files of their own: ours, and redis-server's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A process that runs a node. It is killed when this is dropped.
pub(crate) struct Process {
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    directory: TempDir,
    child: Option<Child>,
    timeout_ms: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Ours,
    Redis,
}

impl Process {
    pub(crate) fn start(kind: Kind, timeout_ms: u64) -> Self {
        let mut process = Self {
            port: crate::ports::free_port(),
            kind,
            directory: tempfile::tempdir().unwrap(),
            child: None,
            timeout_ms,
        };
        process.restart();
        process
    }

    /// Starts it again with the files that it has left.
    pub(crate) fn restart(&mut self) {
        let program = match self.kind {
            Kind::Ours => env!("CARGO_BIN_EXE_slotway-node"),
            Kind::Redis => "redis-server",
        };
        let mut command = Command::new(program);
        command.current_dir(self.directory.path());
        for (name, value) in [
            ("--port", self.port.to_string()),
            ("--bind", "127.0.0.1".to_owned()),
            ("--cluster-enabled", "yes".to_owned()),
            ("--cluster-node-timeout", self.timeout_ms.to_string()),
            ("--cluster-replica-validity-factor", "0".to_owned()),
            ("--repl-diskless-sync-delay", "0".to_owned()),
            ("--enable-debug-command", "yes".to_owned()),
            ("--save", String::new()),
        ] {
            command.args([name, &value]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.unwrap());
        wait_for(Duration::from_secs(20), "it listens", || {
            self.ask("PING") == "+PONG"
        });
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process without ending it, or lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let done = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(done.success());
    }

    /// Ends the process as whoever restarts it does; whether it says that all is well.
    pub(crate) fn terminate(&mut self) -> bool {
        self.signal("-TERM");
        let mut child = self.child.take().unwrap();
        let mut status = None;
        wait_for(Duration::from_secs(30), "it ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().success()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The reply to one request, without its last line end; empty when there is none.
    pub(crate) fn ask(&self, line: &str) -> String {
        self.try_ask(line).unwrap_or_default()
    }

    fn try_ask(&self, line: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        // What follows QUIT's own reply is the end, so no length has to be known.
        stream
            .write_all(format!("{line}\r\nQUIT\r\n").as_bytes())
            .ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        let reply = reply.strip_suffix("+OK\r\n")?;
        Some(reply.trim_end().to_owned())
    }

    pub(crate) fn id(&self) -> String {
        let reply = self.ask("CLUSTER MYID");
        reply.lines().nth(1).unwrap_or_default().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something holds; how long that took.
pub(crate) fn wait_for(most: Duration, what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < most, "{what}: not within {most:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

/// What redis-cli prints and whether it succeeds.
pub(crate) fn redis_cli(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("redis-cli").args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.success(),
        text + &String::from_utf8_lossy(&output.stderr),
    )
}
