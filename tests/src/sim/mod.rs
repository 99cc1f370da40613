//! The seeded simulator. Everything runs in one thread in virtual time; the same seed gives the
//! same run.

pub mod checker;
pub mod client;
pub mod clock;
pub mod cluster;
mod faults;
pub mod host;
pub mod machine;
pub mod model;
pub mod mutant;
pub mod network;
mod oracle;
pub mod random;
pub mod real;
pub mod relay;
pub mod resp;
pub mod scenario;
pub mod tap;
mod traffic;
pub mod workload;
pub mod world;
