//! Ports for servers of tests. They are below those that the system gives to outgoing connections,
//! and none is given twice, so that a server that is started again finds its own still free.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that is free, as is the one of its bus.
pub(crate) fn free_port() -> u16 {
    let start = (std::process::id() * 37 % u32::from(COUNT)) as u16;
    for _ in 0..COUNT {
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        let port = FIRST + offset;
        if is_free(port) && is_free(port + BUS_OFFSET) {
            return port;
        }
    }
    panic!("no port is free");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_ok()
}

static NEXT: AtomicU16 = AtomicU16::new(0);

const FIRST: u16 = 12_000;
const COUNT: u16 = 9_000;
const BUS_OFFSET: u16 = 10_000;
