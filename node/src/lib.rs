//! A Redis Cluster node as a pure engine, and a function that starts one in-process.

mod cluster;
mod command;
mod config;
mod engine;
mod keyspace;
mod number;
mod value;
