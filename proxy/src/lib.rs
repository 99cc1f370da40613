//! One address in front of a whole Redis Cluster.

pub mod discovery;
pub mod engine;
pub mod lag;
pub mod metrics;
