//! Any bytes as an RDB file, cut anywhere, and as the payload of RESTORE: they are refused or
//! taken, and what is taken is given back the same. From the top of the repository:
//! `mkdir -p fuzz/corpus/rdb && cargo +nightly fuzz run --sanitizer none rdb fuzz/corpus/rdb
//! fuzz/seeds/rdb`.

#![no_main]

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use slotway_node::{Config, Node, NodeConfig, RdbError};
use slotway_protocol::engine::{ConnectionId, Engine, Instant, Now, Origin, Peer};
use slotway_protocol::resp::encode;

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, cut], input)) = data.split_first_chunk() else {
        return;
    };
    if choice % 2 == 0 {
        restore(input);
    } else {
        load(input, usize::from(cut) % (input.len() + 1));
    }
});

/// The same keys and the same outcome, whether a file comes whole or in two pieces.
fn load(file: &[u8], cut: usize) {
    let (mut whole, mut pieces) = (node(), node());
    let outcome = load_pieces(&mut whole, &[file]);
    let other = load_pieces(&mut pieces, &[&file[..cut], &file[cut..]]);
    assert_eq!(outcome.is_ok(), other.is_ok(), "{outcome:?} {other:?}");
    if outcome.is_ok() {
        assert_eq!(whole.len(), pieces.len());
    }
    whole.check_invariants();
}

fn load_pieces(node: &mut Node, pieces: &[&[u8]]) -> Result<(), RdbError> {
    let len = pieces.iter().map(|piece| piece.len() as u64).sum();
    let mut loading = node.begin_loading(len);
    for piece in pieces {
        node.load(&mut loading, piece)?;
    }
    node.end_loading(loading)
}

/// A value that is taken is dumped, and what was dumped is taken and dumped to the same.
fn restore(value: &[u8]) {
    let mut node = node();
    let reply = run(&mut node, &[b"RESTORE", b"k", b"0", &sealed(value)]);
    if reply != b"+OK\r\n" {
        assert!(reply.starts_with(b"-ERR "), "{}", reply.escape_ascii());
        return;
    }
    let dumped = bulk(&run(&mut node, &[b"DUMP", b"k"]));
    let reply = run(&mut node, &[b"RESTORE", b"l", b"0", &dumped]);
    assert_eq!(reply, b"+OK\r\n");
    let encodings = [b"k", b"l"].map(|key| run(&mut node, &[b"OBJECT", b"ENCODING", key]));
    assert_eq!(encodings[0], encodings[1]);
    assert_eq!(bulk(&run(&mut node, &[b"DUMP", b"l"])), dumped);
    node.check_invariants();
}

fn node() -> Node {
    let config = Config {
        databases: 16,
        rdbchecksum: false,
        ..Config::default()
    };
    let config = NodeConfig {
        config,
        ..NodeConfig::default()
    };
    let mut node = Node::new(config, NOW);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let peer = Peer {
        remote: address,
        local: address,
        origin: Origin::Accepted(0),
    };
    node.handle_open(CLIENT, peer, NOW);
    node
}

fn run(node: &mut Node, line: &[&[u8]]) -> Vec<u8> {
    let mut request = Vec::new();
    encode::request(&mut request, line);
    node.handle_input(CLIENT, &mut BytesMut::from(&request[..]), NOW);
    while node.poll_action().is_some() {}
    let output = node.output(CLIENT);
    let mut reply = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = output.slices(&mut slices);
        let before = reply.len();
        let slices = &slices[..used];
        slices
            .iter()
            .for_each(|slice| reply.extend_from_slice(slice));
        output.advance(reply.len() - before);
    }
    node.handle_written(CLIENT, NOW);
    reply
}

fn bulk(reply: &[u8]) -> Vec<u8> {
    let end = reply.iter().position(|byte| *byte == b'\n');
    let start = end.expect("a reply has a line") + 1;
    reply[start..reply.len() - 2].to_vec()
}

/// The payload that RESTORE takes, with its version and checksum.
fn sealed(value: &[u8]) -> Vec<u8> {
    let mut payload = value.to_vec();
    payload.extend_from_slice(&10u16.to_le_bytes());
    let mut state = 0u64;
    for byte in &payload {
        state ^= u64::from(*byte);
        for _ in 0..8 {
            let carry = state & 1;
            state = state >> 1 ^ carry.wrapping_mul(0x95ac_9329_ac4b_c9b5);
        }
    }
    payload.extend_from_slice(&state.to_le_bytes());
    payload
}

const NOW: Now = Now {
    instant: Instant::from_micros(1),
    unix_ms: 1_700_000_000_000,
};

const CLIENT: ConnectionId = ConnectionId {
    index: 0,
    generation: 0,
};
