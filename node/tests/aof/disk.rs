//! A disk that takes no more: writes are refused in the words of the server, nothing is lost, and
//! all goes on when there is room again.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::servers::{Client, Process, line};

const REFUSED: &str = "-MISCONF Errors writing to the AOF file: No space left on device\r\n";

/// A program that may write no longer files than so many blocks of 512 bytes, and learns of that by
/// an error.
fn limited(folder: &Path, blocks: u64, program: &str, policy: &str) -> Process {
    let script = folder.join("limited");
    let text = format!("#!/bin/sh\ntrap '' XFSZ\nulimit -S -f {blocks}\nexec {program} \"$@\"\n");
    fs::write(&script, text).unwrap();
    let mode = Command::new("chmod").arg("+x").arg(&script).status();
    assert!(mode.unwrap().success());
    let options = ["--appendonly", "yes", "--appendfsync", policy, "--save", ""];
    Process::start(script.to_str().unwrap(), folder, &options)
}

/// Writes until that is refused; how many writes were answered with success.
fn fill(client: &mut Client) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(20);
    let value = "v".repeat(1_000);
    let mut count = 0;
    loop {
        let reply = client.text(&format!("SET key:{count} {value}"));
        if reply == REFUSED {
            return count;
        }
        assert_eq!(reply, "+OK\r\n");
        count += 1;
        assert!(Instant::now() < deadline, "{count} writes were taken");
    }
}

fn lift_limit(process: &Process) {
    let pid = process.id().to_string();
    let lifted = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited"])
        .status();
    assert!(lifted.unwrap().success());
}

#[test]
fn writes_are_refused_in_the_words_of_the_server() {
    for program in [env!("CARGO_BIN_EXE_slotway-node"), "redis-server"] {
        let folder = TempDir::new().unwrap();
        let mut process = limited(folder.path(), 200, program, "everysec");
        let mut client = process.client();
        let count = fill(&mut client);
        assert_eq!(client.text("INCR n"), REFUSED, "{program}");
        assert_eq!(client.text("PING"), REFUSED, "{program}");
        assert_eq!(client.text("GET n"), "$-1\r\n");
        assert_eq!(client.text("MULTI"), "+OK\r\n");
        assert_eq!(client.text("INCR n"), REFUSED);
        assert!(client.text("EXEC").starts_with("-EXECABORT"));
        assert_eq!(client.info("aof_last_write_status"), "err");
        lift_limit(&process);
        let deadline = Instant::now() + Duration::from_secs(10);
        while client.text("INCR n") == REFUSED {
            assert!(Instant::now() < deadline, "{program} goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(client.info("aof_last_write_status"), "ok");
        client.send(&line("SHUTDOWN"));
        process.wait();
        let mut process = Process::ours(folder.path(), &["--appendonly", "yes"]);
        let mut client = process.client();
        let size: u64 = client.text("DBSIZE")[1..].trim().parse().unwrap();
        assert!(size > count, "{program}: {size} of {count} keys and n");
    }
}

/// With `always` what could not be kept is never answered, until it could.
#[test]
fn what_can_not_be_kept_is_not_answered() {
    let folder = TempDir::new().unwrap();
    let program = env!("CARGO_BIN_EXE_slotway-node");
    let mut process = limited(folder.path(), 200, program, "always");
    let mut writer = process.client();
    let mut other = process.client();
    let value = "v".repeat(1_000);
    let mut answered = 0;
    let timeout = Duration::from_millis(500);
    while writer
        .run_within(&line(&format!("SET key:{answered} {value}")), timeout)
        .is_some()
    {
        answered += 1;
    }
    // Others are not held up.
    assert_eq!(other.text("INCR n"), REFUSED);
    assert_eq!(other.text("GET key:0"), format!("$1000\r\n{value}\r\n"));
    lift_limit(&process);
    assert_eq!(writer.receive().unwrap(), b"+OK\r\n", "now it is kept");
    assert_eq!(other.text("INCR n"), ":1\r\n");
    process.kill();
    let mut process = Process::ours(folder.path(), &["--appendonly", "yes"]);
    let size = process.client().text("DBSIZE");
    assert_eq!(size, format!(":{}\r\n", answered + 2));
}
