//! One address in front of a whole Redis Cluster.
mod cli;
mod config;
fn main() {}
