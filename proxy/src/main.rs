//! One address in front of a whole Redis Cluster.
mod admin;
mod cli;
mod config;
fn main() {}
