//! Files of all keys: each of the two loads what the other saved, and what is wrong is refused.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use slotway_node::server::{ServerHandle, spawn_with_files};
use slotway_node::{Config, NodeConfig};
use slotway_protocol::resp::{ReplyScanner, encode};
use tempfile::TempDir;

use super::{Line, assert_same, contents, line, request};

/// A client of either.
pub(super) struct Client(TcpStream);

impl Client {
    pub(super) fn connect(port: u16) -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(stream) => {
                    let timeout = Some(Duration::from_secs(20));
                    stream.set_read_timeout(timeout).unwrap();
                    stream.set_nodelay(true).unwrap();
                    return Self(stream);
                }
                Err(error) => assert!(Instant::now() < deadline, "port {port}: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn run(&mut self, line: &Line) -> Vec<u8> {
        self.send(line);
        self.receive()
    }

    fn send(&mut self, line: &Line) {
        let mut request = Vec::new();
        encode::request(&mut request, line);
        self.0.write_all(&request).unwrap();
    }

    /// Sends several requests at once, so that nothing comes between them.
    fn send_together(&mut self, texts: &[&str]) {
        let mut requests = Vec::new();
        for text in texts {
            encode::request(&mut requests, &line(text));
        }
        self.0.write_all(&requests).unwrap();
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut scanner = ReplyScanner::default();
        let (mut reply, mut byte) = (Vec::new(), [0; 1]);
        loop {
            if let Some(len) = scanner.scan(&reply).unwrap() {
                assert_eq!(len, reply.len());
                return reply;
            }
            // The rest of what is announced at once, a line byte by byte.
            let count = self.0.read(&mut byte).unwrap();
            assert!(count > 0, "the connection is closed");
            reply.extend_from_slice(&byte);
        }
    }
}

/// A redis-server that has its file in a folder.
struct Theirs {
    process: Child,
    client: Client,
}

impl Theirs {
    fn start(folder: &Path) -> Self {
        let port = crate::ports::free_port();
        let process = Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .arg("--dir")
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server 7.0 must be installed to compare with");
        let client = Client::connect(port);
        let mut theirs = Self { process, client };
        while theirs.client.run(&line("PING")).starts_with(b"-LOADING") {
            std::thread::sleep(Duration::from_millis(10));
        }
        theirs
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn config(folder: &Path) -> NodeConfig {
    let config = Config {
        port: 0,
        bind: vec!["127.0.0.1".to_owned()],
        databases: 16,
        dir: folder.to_str().unwrap().to_owned(),
        ..Config::default()
    };
    NodeConfig {
        config,
        ..NodeConfig::default()
    }
}

fn start(folder: &Path) -> (ServerHandle, Client) {
    let server = spawn_with_files(config(folder)).unwrap();
    let client = Client::connect(server.addresses()[0].port());
    (server, client)
}

/// Keys of every type, small and large, some of which expire; all in a database of their own.
fn fill(client: &mut Client) -> Vec<Vec<u8>> {
    assert_eq!(client.run(&line("SELECT 3")), b"+OK\r\n");
    let mut keys = Vec::new();
    for len in [1, 100, 700, 3_000] {
        for (name, command, per_element) in [
            ("string", "SET", 1),
            ("number", "SET", 1),
            ("list", "RPUSH", 1),
            ("set", "SADD", 1),
            ("integers", "SADD", 1),
            ("hash", "HSET", 2),
            ("zset", "ZADD", 2),
        ] {
            let key = format!("{name}:{len}").into_bytes();
            let mut line = request(&[command.as_bytes(), &key]);
            for index in 0..len {
                match name {
                    "number" | "integers" => line.push((index * 31).to_string().into_bytes()),
                    "zset" => line.push((f64::from(index) / 8.0).to_string().into_bytes()),
                    _ => {}
                }
                if !matches!(name, "number" | "integers") {
                    let text = format!("{index}{}", "element".repeat(index as usize % 11));
                    line.extend(std::iter::repeat_n(
                        text.into_bytes(),
                        per_element - usize::from(name == "zset"),
                    ));
                }
            }
            if command == "SET" {
                line.truncate(2);
                let text = if name == "string" {
                    "text".repeat(len as usize)
                } else {
                    (len * 3).to_string()
                };
                line.push(text.into_bytes());
            }
            assert!(!client.run(&line).starts_with(b"-"), "{name}");
            if len == 100 {
                client.run(&request(&[b"PEXPIREAT", &key, b"4102444800123"]));
            }
            keys.push(key);
        }
    }
    keys
}

fn all_contents(client: &mut Client, keys: &[Vec<u8>]) -> Vec<Vec<Vec<u8>>> {
    assert_eq!(client.run(&line("SELECT 3")), b"+OK\r\n");
    keys.iter()
        .map(|key| contents(|line| client.run(line), key))
        .collect()
}

fn info(client: &mut Client, field: &str) -> String {
    let text = client.run(&line("INFO persistence"));
    let text = String::from_utf8_lossy(&text).into_owned();
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{field}:")));
    found
        .unwrap_or_else(|| panic!("no {field}: {text}"))
        .to_owned()
}

fn wait_for_bgsave(client: &mut Client) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while info(client, "rdb_bgsave_in_progress") == "1" {
        assert!(Instant::now() < deadline, "BGSAVE ends");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(info(client, "rdb_last_bgsave_status"), "ok");
}

#[test]
fn the_server_loads_what_the_node_saves() {
    let folder = TempDir::new().unwrap();
    let (node, mut client) = start(folder.path());
    let keys = fill(&mut client);
    let expected = all_contents(&mut client, &keys);
    assert_eq!(client.run(&line("SAVE")), b"+OK\r\n");
    assert_eq!(client.run(&line("DBSIZE")), b":28\r\n");
    drop(node);
    let check = Command::new("redis-check-rdb")
        .arg(folder.path().join("dump.rdb"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(
        check.status.success() && said.contains("RDB looks OK"),
        "{said}"
    );
    assert!(said.contains("AUX FIELD redis-ver = '7.0.15'"), "{said}");
    let mut theirs = Theirs::start(folder.path());
    assert_eq!(all_contents(&mut theirs.client, &keys), expected);
    assert_eq!(theirs.client.run(&line("DBSIZE")), b":28\r\n");
}

#[test]
fn the_node_loads_what_the_server_saves() {
    let folder = TempDir::new().unwrap();
    let mut theirs = Theirs::start(folder.path());
    let keys = fill(&mut theirs.client);
    let expected = all_contents(&mut theirs.client, &keys);
    theirs.client.run(&line("SET soon v PXAT 1000000000000"));
    assert_eq!(theirs.client.run(&line("SAVE")), b"+OK\r\n");
    let (_node, mut client) = start(folder.path());
    assert_eq!(all_contents(&mut client, &keys), expected);
    assert_eq!(client.run(&line("DBSIZE")), b":28\r\n");
    assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "0");
}

#[test]
fn bgsave_saves_while_commands_go_on() {
    let folder = TempDir::new().unwrap();
    let (node, mut client) = start(folder.path());
    for index in 0..20_000 {
        let (key, value) = (format!("key:{index}"), format!("before:{index:0200}"));
        client.send(&request(&[b"SET", key.as_bytes(), value.as_bytes()]));
        if index % 1_000 == 999 {
            (0..1_000).for_each(|_| drop(client.receive()));
        }
    }
    let mut other = Client::connect(node.addresses()[0].port());
    assert_eq!(
        client.run(&line("BGSAVE")),
        b"+Background saving started\r\n"
    );
    for index in 0..20_000 {
        client.send(&request(&[
            b"SET",
            format!("key:{index}").as_bytes(),
            b"after",
        ]));
        if index % 100 == 99 {
            (0..100).for_each(|_| drop(client.receive()));
        }
    }
    wait_for_bgsave(&mut other);
    assert_eq!(info(&mut other, "rdb_changes_since_last_save"), "20000");
    assert_eq!(info(&mut other, "rdb_saves"), "1");
    drop(node);
    let mut theirs = Theirs::start(folder.path());
    for index in 0..20_000 {
        let got = theirs
            .client
            .run(&request(&[b"GET", format!("key:{index}").as_bytes()]));
        assert_same(
            &got,
            format!("$207\r\nbefore:{index:0200}\r\n").as_bytes(),
            "a value",
        );
    }
}

#[test]
fn saving_is_refused_in_the_same_words() {
    let (folder, other_folder) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_node, mut client) = start(folder.path());
    let mut theirs = Theirs::start(other_folder.path());
    for text in [
        "BGSAVE now",
        "BGSAVE schedule",
        "SAVE now",
        "LASTSAVE now",
        "SHUTDOWN SAVE NOSAVE",
        "SHUTDOWN later",
        "MULTI",
        "SAVE",
        "BGSAVE",
        "EXEC",
        "MULTI",
        "BGSAVE",
        "EXEC",
    ] {
        let line = line(text);
        assert_same(&client.run(&line), &theirs.client.run(&line), text);
        std::thread::sleep(Duration::from_millis(300));
    }
    wait_for_bgsave(&mut client);
    assert_eq!(info(&mut client, "rdb_saves"), "2", "the one in EXEC, too");
    // The one that waits leaves the others alone, and its next request waits with it.
    client.send(&line("SAVE"));
    client.send(&line("PING"));
    assert_eq!(client.receive(), b"+OK\r\n");
    assert_eq!(client.receive(), b"+PONG\r\n");
}

#[test]
fn shutdown_may_save_first() {
    let folder = TempDir::new().unwrap();
    for (option, expected) in [
        ("SAVE", "$1\r\n1\r\n"),
        ("NOSAVE", "$1\r\n1\r\n"),
        ("SAVE", "$1\r\n2\r\n"),
    ] {
        let (node, mut client) = start(folder.path());
        client.run(&line("INCR k"));
        client.send(&line(&format!("SHUTDOWN {option}")));
        assert_eq!(
            client.0.read(&mut [0; 1]).unwrap(),
            0,
            "the connection ends"
        );
        node.join();
        let (_node, mut client) = start(folder.path());
        assert_same(&client.run(&line("GET k")), expected.as_bytes(), option);
    }
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["dump.rdb"], "nothing else is left");
}

/// Fills the node with so much that saving it takes a while.
fn fill_much(client: &mut Client) {
    let plain = line("CONFIG SET rdbcompression no");
    assert_eq!(client.run(&plain), b"+OK\r\n");
    for index in 0..40_000u64 {
        let text = format!("{}", index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(20);
        client.send(&request(&[
            b"SET",
            format!("key:{index}").as_bytes(),
            text.as_bytes(),
        ]));
        if index % 1_000 == 999 {
            (0..1_000).for_each(|_| drop(client.receive()));
        }
    }
}

#[test]
fn shutdown_saves_in_the_place_of_a_save_under_way() {
    let folder = TempDir::new().unwrap();
    let (node, mut client) = start(folder.path());
    fill_much(&mut client);
    client.send_together(&["BGSAVE", "BGSAVE", "SAVE", "SET last v"]);
    assert_eq!(client.receive(), b"+Background saving started\r\n");
    let refused = b"-ERR Background save already in progress\r\n";
    assert_eq!(client.receive(), refused);
    assert_eq!(client.receive(), refused);
    assert_eq!(client.receive(), b"+OK\r\n");
    client.send(&line("SHUTDOWN SAVE"));
    assert_eq!(
        client.0.read(&mut [0; 1]).unwrap(),
        0,
        "the connection ends"
    );
    node.join();
    let (_node, mut client) = start(folder.path());
    assert_eq!(client.run(&line("GET last")), b"$1\r\nv\r\n");
    assert_eq!(client.run(&line("DBSIZE")), b":40001\r\n");
}

#[test]
fn a_save_under_way_ends_with_the_node() {
    let folder = TempDir::new().unwrap();
    let (node, mut client) = start(folder.path());
    fill_much(&mut client);
    client.send_together(&["BGSAVE", "SHUTDOWN NOSAVE"]);
    node.join();
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "neither the file nor what was begun");
}

#[test]
fn a_file_that_can_not_be_written_is_an_error() {
    let folder = TempDir::new().unwrap();
    let (_node, mut client) = start(folder.path());
    client.run(&line("SET k v"));
    std::fs::remove_dir_all(folder.path()).unwrap();
    assert_eq!(client.run(&line("SAVE")), b"-ERR\r\n");
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "err");
    let refused = client.run(&line("SHUTDOWN SAVE"));
    assert_eq!(refused, b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert_eq!(client.run(&line("GET k")), b"$1\r\nv\r\n");
}

#[test]
fn a_wrong_file_keeps_the_node_from_starting() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("dump.rdb");
    for (file, expected) in [
        (&b"REDIS0099"[..], "Can't handle RDB format version 99"),
        (
            b"REDIS0010\xfe\x10\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0",
            "databases",
        ),
        (
            b"REDIS0010\x00\x01k\x01v\x00\x01k\x01w\xff\0\0\0\0\0\0\0\0",
            "a key is there twice",
        ),
        (b"REDIS0010\x00\x01k", "Short read"),
        (
            b"REDIS0010\x07\x01k",
            "values of modules are not supported by this node yet",
        ),
    ] {
        std::fs::write(&path, file).unwrap();
        let error = spawn_with_files(config(folder.path()))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expected) && error.contains("dump.rdb"),
            "{error}"
        );
    }
    let missing = folder.path().join("missing");
    let error = spawn_with_files(config(&missing)).unwrap_err().to_string();
    assert!(error.contains("missing"), "{error}");
}
