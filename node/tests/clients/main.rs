//! What several clients of one node see of each other, and nodes of each other's keys: the same
//! lines to nodes with real sockets and to redis-servers, whose bytes must be the same.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod bench;
mod block;
mod busy;
mod debug;
mod locks;
mod migrate;
mod pause;
#[path = "../ports/mod.rs"]
mod ports;
mod publish;
mod reshard;
mod stage;
mod streams;
mod work;
