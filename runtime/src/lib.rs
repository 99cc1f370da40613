//! Everything a program needs around an engine: the driver and its sockets, worker threads, the
//! listener, admin HTTP, metrics plumbing, signals and logging. It knows no Redis.

mod abort;
mod clock;
mod connect;
mod connection;
mod panics;
mod ready;
mod table;
mod timer;

pub mod admin;
pub mod allocator;
pub mod driver;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod signals;
pub mod worker;

pub use driver::{Driver, DriverHandle, DriverOptions};
pub use worker::{WorkerHandle, WorkerOptions, spawn_worker};
