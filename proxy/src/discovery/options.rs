//! What discovery is told once at its start: whom to ask, how often, and what to log in with.

use core::time::Duration;

use slotway_protocol::engine::Address;

use super::addresses::Addresses;
use crate::engine::Credentials;

/// What discovery is told once at its start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Nodes to begin with, and to come back to when no known node answers.
    pub seeds: Vec<Address>,
    pub credentials: Option<Credentials>,
    /// Where nodes are reached that announce something else.
    pub addresses: Addresses,
    /// The time between two rounds when nothing has happened; up to a tenth is added at random.
    pub refresh_interval: Duration,
    /// A node that has not answered in this time is not waited for; once another has, much less.
    pub answer_timeout: Duration,
    /// How often a node is asked for its commands when the nodes stay the same; zero for never.
    pub commands_interval: Duration,
    /// Whether a replica of a primary whose process is gone is told to take over at once.
    pub assist_failover: bool,
    /// Where the random numbers begin.
    pub random_seed: u64,
}
