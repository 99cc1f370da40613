//! The seeded simulator. Everything runs in one thread in virtual time; the same seed gives the
//! same run.

mod blocks;
pub mod cast;
pub mod checker;
pub mod client;
pub mod clock;
pub mod cluster;
mod errands;
mod faults;
pub mod host;
pub mod machine;
pub mod model;
mod model_block;
pub mod mutant;
pub mod network;
pub mod operation;
mod oracle;
pub mod random;
pub mod real;
pub mod relay;
pub mod resp;
pub mod scenario;
mod swaps;
pub mod tap;
mod traffic;
mod walks;
pub mod workload;
pub mod world;
