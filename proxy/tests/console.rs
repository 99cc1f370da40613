//! `slotway status` and `slotway top` as scripts meet them: exit statuses, and what goes where.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

#[test]
fn a_proxy_that_is_well_and_then_is_not() {
    let (proxy, listen, address) = embedded();
    let status = |more: &[&str]| {
        let arguments = [&["status", "--admin", &address], more].concat();
        slotway(&arguments)
    };
    // Whatever it says before it is ready, it ends with 0, 1 or 2.
    wait_until("all is well", || match status(&[]).status.code() {
        Some(0) => true,
        Some(1 | 2) => false,
        other => panic!("status {other:?}"),
    });
    // The replicas come a little later.
    wait_until("six nodes", || stdout(&status(&[])).contains("\n6 nodes: "));
    let well = stdout(&status(&[]));
    let first = format!("slotway 0.1.0 at {address}: all is well\n");
    assert!(well.starts_with(&first), "{well}");
    for part in [
        "16,384 of 16,384 slots",
        "3 primaries, 3 replicas",
        "p99 ",
        "req/s",
    ] {
        assert!(well.contains(part), "{part}: {well}");
    }
    assert!(
        !well.contains('\x1b'),
        "no colours but on a terminal: {well}"
    );

    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, listen)).unwrap();
    let mut reply = [0; 5];
    socket.write_all(b"SET key value\r\n").unwrap();
    socket.read_exact(&mut reply).unwrap();
    let mut json = serde_json::Value::Null;
    wait_until("the client is counted", || {
        let output = status(&["--json"]);
        assert_eq!(output.status.code(), Some(0));
        json = serde_json::from_slice(&output.stdout).unwrap();
        json["clients"] == 1
    });
    assert_eq!(
        (&json["schema"], &json["status"]),
        (&1.into(), &"well".into())
    );
    assert_eq!(json["slots_covered"], 16_384);
    assert_eq!(json["nodes"].as_array().unwrap().len(), 6);

    // Errors are a problem that it tells of.
    socket.write_all(&b"INCR key\r\n".repeat(100)).unwrap();
    wait_until("something is wrong", || {
        status(&[]).status.code() == Some(1)
    });
    let wrong = stdout(&status(&[]));
    assert!(
        wrong.contains(": 1 thing is wrong\n  warning   since "),
        "{wrong}"
    );
    assert!(
        wrong.contains("of the replies of the last minute were errors."),
        "{wrong}"
    );
    let json: serde_json::Value = serde_json::from_slice(&status(&["--json"]).stdout).unwrap();
    assert_eq!(json["status"], "degraded");
    assert_eq!(json["problems"][0]["severity"], "warning");

    drop(proxy);
    expect_gone(&address);
}

#[test]
fn whoever_answers_otherwise_is_no_proxy() {
    let cases: [(&'static [u8], &str); 3] = [
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nno \x1b[2Jno",
            "it answered /status with 404: no \\u{1b}[2Jno",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            "its answer to /status is not that of a slotway: missing field",
        ),
        (b"+PONG\r\n", "it does not speak HTTP"),
    ];
    for (says, expected) in cases {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 1024]);
            let _ = socket.write_all(says);
            let _ = socket.read(&mut [0; 1024]);
        });
        let output = slotway(&["status", "--admin", &format!("127.0.0.1:{port}")]);
        assert_eq!(output.status.code(), Some(2), "{expected}");
        let said = stdout(&output);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn bad_usage_ends_with_status_2() {
    for (arguments, expected) in [
        (&["status", "--jsn"][..], "did you mean '--json'?"),
        (
            &["top", "--interval", "0"],
            "must be between 1 and 60, got 0",
        ),
        (
            &["status", "--config", "/nowhere.toml"],
            "can't read /nowhere.toml",
        ),
        (&["top", "now"], "unexpected argument 'now'"),
    ] {
        let output = slotway(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn the_address_comes_from_the_configuration() {
    let port = ports(1);
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("[admin]\nlisten = \"0.0.0.0:{port}\"\n[cluster]\nseeds = [\"a:1\"]\n");
    file.as_file().write_all(text.as_bytes()).unwrap();
    let name = file.path().to_str().unwrap();
    let output = slotway(&["status", "--config", name]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!("slotway at 127.0.0.1:{port}: nobody can say");
    assert!(
        stdout(&output).starts_with(&expected),
        "{}",
        stdout(&output)
    );

    let text = "[admin]\nlisten = \"\"\n[cluster]\nseeds = [\"a:1\"]\n";
    std::fs::write(file.path(), text).unwrap();
    let output = slotway(&["status", "--config", name]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("there is no admin port"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn top_wants_a_terminal() {
    let output = slotway(&["top"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "", "nothing is drawn");
    let said = stderr(&output);
    assert!(
        said.starts_with("slotway: slotway top needs a terminal"),
        "{said}"
    );
    assert!(said.contains("slotway status"), "{said}");
}

#[test]
fn help_says_what_there_is() {
    let help = stdout(&slotway(&["--help"]));
    assert!(
        help.contains("slotway status") && help.contains("slotway top"),
        "{help}"
    );
    for arguments in [["status", "--help"], ["top", "-h"]] {
        let output = slotway(&arguments);
        assert_eq!(output.status.code(), Some(0));
        let help = stdout(&output);
        for part in [
            "--json",
            "--interval",
            "--admin",
            "exit status of slotway status",
        ] {
            assert!(help.contains(part), "{part}: {help}");
        }
    }
}

fn expect_gone(address: &str) {
    let gone = slotway(&["status", "--admin", address]);
    assert_eq!(gone.status.code(), Some(2));
    let expected = format!("slotway at {address}: nobody can say: can't connect: ");
    assert!(stdout(&gone).starts_with(&expected), "{}", stdout(&gone));
    assert!(stdout(&gone).contains("\nIs it running? --admin names"));
    let gone = slotway(&["status", "--json", "--admin", address]);
    assert_eq!(gone.status.code(), Some(2));
    let json: serde_json::Value = serde_json::from_slice(&gone.stdout).unwrap();
    assert_eq!(
        (&json["schema"], &json["status"]),
        (&1.into(), &"unreachable".into())
    );
}

/// A proxy with nodes of its own, where its clients connect, and where it tells of itself.
fn embedded() -> (Running, u16, String) {
    let (nodes, listen, admin) = (ports(6), ports(1), ports(1));
    let address = format!("127.0.0.1:{admin}");
    let proxy = Command::new(BINARY)
        .args(["--node-port", &nodes.to_string()])
        .args(["--listen", &format!("127.0.0.1:{listen}")])
        .args(["--admin", &address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    (Running(proxy.unwrap()), listen, address)
}

fn slotway(arguments: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(100));
    }
}

/// The first of so many free ports in a row, whose bus ports are free too.
fn ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = NEXT.fetch_add(count, Ordering::Relaxed);
        let first = FIRST_PORT + (std::process::id() % 20) as u16 * 20 + offset;
        let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if (first..first + count).all(|port| is_free(port) && is_free(port + 10_000)) {
            return first;
        }
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_slotway");
const FIRST_PORT: u16 = 11_200;
const PATIENCE: Duration = Duration::from_secs(60);
