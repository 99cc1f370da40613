//! The simulator: whole clusters with proxies and clients in one thread, from one seed.

pub mod sim;
