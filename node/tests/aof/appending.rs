//! What the node appends: the server loads it, and the node does after a restart or a rewrite.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Writes;
use super::servers::{Client, Process, carried_digest, digest, line, log};

const ON: &[&str] = &["--appendonly", "yes", "--databases", "16", "--save", ""];

fn ours(folder: &Path, options: &[&str]) -> (Process, Client) {
    let mut process = Process::ours(folder, &[ON, options].concat());
    let client = process.client();
    (process, client)
}

fn theirs(folder: &Path) -> (Process, Client) {
    let mut process = Process::theirs(folder, ON);
    let client = process.client();
    (process, client)
}

fn wait_for(client: &mut Client, field: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while client.info(field) != expected {
        assert!(Instant::now() < deadline, "{field} becomes {expected}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("appendonlydir")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn manifest(folder: &Path) -> String {
    fs::read_to_string(folder.join("appendonlydir/appendonly.aof.manifest")).unwrap()
}

fn check(folder: &Path) {
    let output = std::process::Command::new("redis-check-aof")
        .arg(folder.join("appendonlydir/appendonly.aof.manifest"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("is valid"),
        "{said}"
    );
}

fn shutdown(mut process: Process, mut client: Client) {
    client.send(&line("SHUTDOWN"));
    assert_eq!(process.wait(), Some(0));
}

#[test]
fn a_new_node_has_the_files_of_the_server() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut mine, mut their) = (ours(folder.path(), &[]), theirs(other.path()));
    for client in [&mut mine.1, &mut their.1] {
        client.run(&line("set a b"));
        client.run(&line("SET a b PXAT 4102444800000"));
        client.run(&line("SELECT 2"));
        client.run(&line("SADD s 1 2 3"));
        client.run(&line("MULTI"));
        client.run(&line("INCR n"));
        client.run(&line("INCRBYFLOAT n 0.5"));
        client.run(&line("EXEC"));
        client.run(&line("GET n"));
        client.run(&line("DEL missing"));
    }
    let fields = |client: &mut Client| {
        let text = client.text("INFO persistence");
        let names = text.lines().filter_map(|line| line.split_once(':'));
        names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    let mut expected = fields(&mut their.1);
    expected.push("aof_buffer_limit_hits".to_owned());
    assert_eq!(fields(&mut mine.1), expected);
    shutdown(mine.0, mine.1);
    shutdown(their.0, their.1);
    assert_eq!(names(folder.path()), names(other.path()));
    assert_eq!(manifest(folder.path()), manifest(other.path()));
    let increment = "appendonlydir/appendonly.aof.1.incr.aof";
    let read = |folder: &Path| {
        fs::read(folder.join(increment))
            .unwrap()
            .escape_ascii()
            .to_string()
    };
    assert_eq!(read(folder.path()), read(other.path()));
    check(folder.path());
}

/// Writes, rewrites under way, a restart after a kill: the node and the server load the same.
#[test]
fn the_server_loads_what_the_node_writes() {
    for (seed, policy) in [(1, "always"), (2, "everysec"), (3, "no"), (4, "everysec")] {
        let folder = TempDir::new().unwrap();
        let (process, mut client) = ours(folder.path(), &["--appendfsync", policy]);
        let mut writes = Writes::new(seed);
        writes.send(&mut client, 1_000);
        for _ in 0..2 {
            let started = client.text("BGREWRITEAOF");
            assert_eq!(
                started,
                "+Background append only file rewriting started\r\n"
            );
            writes.send(&mut client, 500);
            wait_for(&mut client, "aof_rewrite_in_progress", "0");
            assert_eq!(client.info("aof_last_bgrewrite_status"), "ok");
            writes.send(&mut client, 500);
        }
        let expected = carried_digest(&mut client);
        if seed % 2 == 0 {
            // What was answered is written at once, even if it is not on the disk yet.
            wait_for(&mut client, "aof_buffer_length", "0");
            drop(process);
        } else {
            shutdown(process, client);
        }
        check(folder.path());
        let (process, mut client) = ours(folder.path(), &[]);
        assert_eq!(carried_digest(&mut client), expected, "seed {seed}, ours");
        shutdown(process, client);
        let (_process, mut client) = theirs(folder.path());
        assert_eq!(digest(&mut client), expected, "seed {seed}, theirs");
    }
}

#[test]
fn a_rewrite_replaces_all_files_before() {
    let folder = TempDir::new().unwrap();
    let (process, mut client) = ours(folder.path(), &[]);
    for _ in 0..1_000 {
        client.run(&line("INCR n"));
    }
    let before: u64 = client.info("aof_current_size").parse().unwrap();
    client.run(&line("BGREWRITEAOF"));
    wait_for(&mut client, "aof_rewrites", "1");
    client.run(&line("INCR n"));
    let expected = [
        "appendonly.aof.2.base.rdb",
        "appendonly.aof.2.incr.aof",
        "appendonly.aof.manifest",
    ];
    assert_eq!(names(folder.path()), expected);
    assert_eq!(
        manifest(folder.path()),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    let after: u64 = client.info("aof_current_size").parse().unwrap();
    assert!(after < 300 && before > 20_000, "{before} {after}");
    shutdown(process, client);
    let increment = fs::read(
        folder
            .path()
            .join("appendonlydir/appendonly.aof.2.incr.aof"),
    );
    assert!(increment.unwrap().starts_with(b"*2\r\n$6\r\nSELECT\r\n"));
    let (_process, mut client) = theirs(folder.path());
    assert_eq!(client.text("GET n"), "$4\r\n1001\r\n");
}

#[test]
fn a_file_that_has_grown_is_rewritten() {
    let folder = TempDir::new().unwrap();
    let options = ["--auto-aof-rewrite-min-size", "20kb"];
    let (_process, mut client) = ours(folder.path(), &options);
    for _ in 0..1_000 {
        client.run(&line("INCR n"));
    }
    wait_for(&mut client, "aof_rewrites", "1");
    assert!(log(folder.path()).contains("Starting automatic rewriting of AOF on"));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(client.info("aof_rewrites"), "1", "and not again at once");
}

#[test]
fn it_can_be_switched_on_and_off_while_the_node_runs() {
    let folder = TempDir::new().unwrap();
    let (process, mut client) = ours(folder.path(), &["--appendonly", "no"]);
    client.run(&line("SET a 1"));
    for (round, on) in ["yes", "no", "yes"].iter().enumerate() {
        let set = line(&format!("CONFIG SET appendonly {on}"));
        assert_eq!(client.run(&set), b"+OK\r\n");
        let enabled = if *on == "yes" { "1" } else { "0" };
        wait_for(&mut client, "aof_enabled", enabled);
        client.run(&line(&format!("SET b {round}")));
        if *on == "yes" {
            wait_for(&mut client, "aof_rewrites", &(round / 2 + 1).to_string());
        }
    }
    client.run(&line("SET c 1"));
    shutdown(process, client);
    assert_eq!(
        names(folder.path()),
        [
            "appendonly.aof.2.base.rdb",
            "appendonly.aof.2.incr.aof",
            "appendonly.aof.manifest"
        ]
    );
    let (_process, mut client) = theirs(folder.path());
    let expected = "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n1\r\n";
    assert_eq!(client.text("MGET a b c"), expected);
}

#[test]
fn saving_and_rewriting_wait_for_each_other_in_the_words_of_the_server() {
    let (folder, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut mine, mut their) = (ours(folder.path(), &[]), theirs(other.path()));
    for requests in [
        &["BGREWRITEAOF", "BGREWRITEAOF", "BGSAVE", "BGSAVE SCHEDULE"][..],
        &["BGSAVE", "BGREWRITEAOF", "BGSAVE"],
        &["MULTI", "BGREWRITEAOF", "EXEC"],
    ] {
        let mut replies = Vec::new();
        for client in [&mut mine.1, &mut their.1] {
            // Together, so that the first is still under way.
            requests.iter().for_each(|text| client.send(&line(text)));
            let received = requests.iter().map(|_| client.receive().unwrap());
            let text = received.map(|reply| reply.escape_ascii().to_string());
            replies.push(text.collect::<Vec<_>>());
            std::thread::sleep(Duration::from_millis(300));
            wait_for(client, "aof_rewrite_in_progress", "0");
            wait_for(client, "rdb_bgsave_in_progress", "0");
            wait_for(client, "aof_rewrite_scheduled", "0");
        }
        assert_eq!(replies[0], replies[1], "{requests:?}");
    }
}
