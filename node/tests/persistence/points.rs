//! Saving by itself, at save points and at the end, and what is refused after a save that failed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::files::Client;
use super::{assert_same, line};

/// Either server in a process of its own.
struct Process(Child);

impl Process {
    fn start(program: &str, folder: &Path, save: &str) -> (Self, Client) {
        let port = crate::ports::free_port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", save, "--dir", folder.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (Self(child), Client::connect(port))
    }

    fn terminate(&mut self) {
        // The program has to be ready for signals, not only for clients.
        std::thread::sleep(Duration::from_millis(300));
        let pid = self.0.id().to_string();
        let sent = Command::new("kill").arg(&pid).status().unwrap();
        assert!(sent.success() && self.0.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const OURS: &str = env!("CARGO_BIN_EXE_slotway-node");

fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn keys_are_saved_once_there_are_enough_changes() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dump.rdb");
    let (_process, mut client) = Process::start(OURS, folder.path(), "1 3");
    client.run(&line("SET a 1"));
    client.run(&line("SET b 1"));
    std::thread::sleep(Duration::from_millis(2_300));
    assert!(!file.exists(), "two changes are not three");
    client.run(&line("SET c 1"));
    wait_for("it saves", || file.exists());
}

#[test]
fn a_signal_saves_where_there_are_save_points() {
    for (save, expected) in [("900 1", true), ("", false)] {
        let folder = TempDir::new().unwrap();
        let (mut process, mut client) = Process::start(OURS, folder.path(), save);
        client.run(&line("SET a 1"));
        process.terminate();
        let file = folder.path().join("dump.rdb");
        assert_eq!(file.exists(), expected, "save {save:?}");
    }
}

#[test]
fn writes_are_refused_after_a_save_that_failed() {
    let mut replies = Vec::new();
    for program in [OURS, "redis-server"] {
        let folder = TempDir::new().unwrap();
        let (_process, mut client) = Process::start(program, folder.path(), "900 100");
        client.run(&line("SET a 1"));
        // A folder in its place can't be replaced.
        std::fs::create_dir_all(folder.path().join("dump.rdb/full")).unwrap();
        client.run(&line("BGSAVE"));
        let mut failed = || {
            let text = client.run(&line("INFO persistence"));
            String::from_utf8_lossy(&text).contains("rdb_last_bgsave_status:err")
        };
        wait_for("it fails", &mut failed);
        let requests = [
            "SET a 2", "PING", "GET a", "MULTI", "GET a", "SET a 2", "EXEC", "DBSIZE",
        ];
        let mut said = Vec::new();
        for text in requests {
            said.push(client.run(&line(text)));
        }
        client.run(&line("CONFIG SET stop-writes-on-bgsave-error no"));
        std::thread::sleep(Duration::from_millis(300));
        said.push(client.run(&line("SET a 3")));
        replies.push(said);
    }
    for (ours, theirs) in replies[0].iter().zip(&replies[1]) {
        assert_same(ours, theirs, "after a failure");
    }
}
