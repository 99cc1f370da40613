//! A Redis Cluster node as a pure engine, and a function that starts one in-process.

mod cluster;
mod command;
mod config;
mod engine;
mod keyspace;
mod migration;
mod number;
mod persistence;
mod replication;
mod server_state;
mod value;

pub mod server;

pub use cluster::{ClusterConfig, ClusterView, NodeInfo};
pub use config::{Config, ConfigError, NodeConfig};
pub use engine::{Event, Loading, Node, Notice, SavePart};
pub use keyspace::Exported;
pub use persistence::rdb::RdbError;
pub use persistence::saving::SaveId;
