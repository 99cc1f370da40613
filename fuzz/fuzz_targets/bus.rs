//! Any bytes as messages of the cluster bus, and messages with some bytes altered: they are refused
//! or taken, and what is taken is written and read the same. From the top of the repository:
//! `mkdir -p fuzz/corpus/bus && cargo +nightly fuzz run --sanitizer none bus fuzz/corpus/bus`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slotway_node::bus::{Packet, frame_len};

fuzz_target!(|data: &[u8]| {
    check(data);
    // Most of a message is slots, so what comes after them is hard to hit.
    let (front, back) = data.split_at(data.len() / 2);
    let mut message = vec![0; HEADER_BYTES];
    message[..PREFIX.len()].copy_from_slice(PREFIX);
    message[SENDER..SENDER + 40].fill(b'a');
    let front = &front[..front.len().min(8)];
    message[PREFIX.len()..PREFIX.len() + front.len()].copy_from_slice(front);
    message.extend_from_slice(back);
    let len = message.len() as u32;
    message[4..8].copy_from_slice(&len.to_be_bytes());
    check(&message);
});

fn check(bytes: &[u8]) {
    let len = frame_len(bytes, 1 << 20);
    let Ok(packet) = Packet::decode(bytes) else {
        return;
    };
    assert_eq!(len, Ok(Some(bytes.len())));
    let mut again = Vec::new();
    packet.encode(&mut again);
    assert_eq!(Packet::decode(&again), Ok(packet));
}

/// Signature, a length and the version.
const PREFIX: &[u8] = b"RCmb\0\0\0\0\0\x01";
const HEADER_BYTES: usize = 2256;
const SENDER: usize = 40;
