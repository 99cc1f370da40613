//! Clusters of nodes: engines joined by queues of bytes on a virtual clock, and real processes
//! beside redis-server.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod ending;
mod ending_real;
mod network;
#[path = "../ports/mod.rs"]
mod ports;
mod processes;
mod real;
mod sim;
mod virtual_time;
