//! Values and files on their way between the node and a real redis-server 7.0, both ways.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod files;
mod old_forms;
mod points;
#[path = "../ports/mod.rs"]
mod ports;
#[path = "../collections/servers.rs"]
mod servers;
mod values;

use servers::{Ours, Server};

type Line = Vec<Vec<u8>>;

/// A request from the words of a text.
fn line(text: &str) -> Line {
    text.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

fn request(args: &[&[u8]]) -> Line {
    args.iter().map(|arg| arg.to_vec()).collect()
}

/// The bulk string that a reply is.
fn bulk(reply: &[u8]) -> Vec<u8> {
    let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    assert_eq!(reply[0], b'$', "{}", reply.escape_ascii());
    reply[start..reply.len() - 2].to_vec()
}

/// CRC-64 bit by bit, to have a second opinion.
fn crc64(bytes: &[u8]) -> u64 {
    let mut state = 0u64;
    for byte in bytes {
        state ^= u64::from(*byte);
        for _ in 0..8 {
            let carry = state & 1;
            state >>= 1;
            if carry == 1 {
                state ^= 0x95ac_9329_ac4b_c9b5;
            }
        }
    }
    state
}

/// A payload of RESTORE of a value in RDB.
fn sealed(value: &[u8], version: u16) -> Vec<u8> {
    let mut payload = value.to_vec();
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

#[track_caller]
fn assert_same(ours: &[u8], theirs: &[u8], context: &str) {
    assert_eq!(
        ours.escape_ascii().to_string(),
        theirs.escape_ascii().to_string(),
        "{context}: ours and theirs"
    );
}

/// All that can be seen of a key, in an order that is the same everywhere.
fn contents(mut run: impl FnMut(&Line) -> Vec<u8>, key: &[u8]) -> Vec<Vec<u8>> {
    let kind = run(&request(&[b"TYPE", key]));
    let encoding = run(&request(&[b"OBJECT", b"ENCODING", key]));
    let expires = run(&request(&[b"PEXPIRETIME", key]));
    let elements = match &kind[..] {
        b"+string\r\n" => run(&request(&[b"GET", key])),
        b"+list\r\n" => run(&request(&[b"LRANGE", key, b"0", b"-1"])),
        b"+zset\r\n" => run(&request(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"])),
        b"+hash\r\n" => sorted(&run(&request(&[b"HGETALL", key])), 2),
        b"+stream\r\n" => run(&request(&[
            b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0",
        ])),
        b"+set\r\n" => sorted(&run(&request(&[b"SMEMBERS", key])), 1),
        other => panic!("{}: {}", key.escape_ascii(), other.escape_ascii()),
    };
    vec![kind, encoding, expires, elements]
}

/// An array of bulk strings with its groups in order.
fn sorted(reply: &[u8], group: usize) -> Vec<u8> {
    let mut rest = &reply[reply.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    let mut elements: Vec<&[u8]> = Vec::new();
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let len: usize = std::str::from_utf8(&rest[1..end - 2])
            .unwrap()
            .parse()
            .unwrap();
        elements.push(&rest[..end + len + 2]);
        rest = &rest[end + len + 2..];
    }
    let mut groups: Vec<&[&[u8]]> = elements.chunks(group).collect();
    groups.sort();
    groups.concat().concat()
}

fn both() -> (Ours, Server) {
    let port = 24_500 + (std::process::id() % 400) as u16;
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    (Ours::new(1), Server::start(port + next * 401))
}
