//! What a Redis Cluster proxy and a node must agree on. No input, no output, no clock, no threads.

pub mod cluster;
pub mod command;
pub mod engine;
pub mod glob;
pub mod metrics;
pub mod output;
pub mod resp;
