//! A Redis Cluster node as a pure engine, and a function that starts one in-process.

mod blocking;
mod cluster;
mod command;
pub mod config;
mod ending;
mod engine;
mod keyspace;
mod migration;
mod number;
mod persistence;
mod pubsub;
mod replication;
mod report;
mod script;
mod server_state;
mod statistics;
mod value;

pub mod server;

pub use cluster::bus;
pub use cluster::{ClusterConfig, ClusterView, Contact, NodeInfo, NodesConfError, SavedCluster};
pub use config::{Config, NodeConfig};
pub use engine::{
    AofEvent, AofPart, AofSizes, BUS_LISTENER, ConfigOutcome, ConfigWork, Event, FileKind, LoadCut,
    LoadFailure, LoadPart, LoadReply, Loading, Node, Notice, SavePart,
};
pub use keyspace::Exported;
pub use persistence::aof::manifest::{Manifest, ManifestError};
pub use persistence::rdb::RdbError;
pub use persistence::saving::SaveId;
pub use report::{FigureKind, Figures, Label, Number, Report, Sample};
pub use statistics::{Probe, ProcessFacts};

/// The server whose behaviour this node has.
pub const REDIS_VERSION: &str = "7.0.15";
