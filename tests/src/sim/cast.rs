//! Which programs take part in a run, and what came of it.

use slotway_protocol::engine::Address;

use super::machine::Machine;
use super::random::Random;
use super::scenario::Scenario;
use super::tap::Refusals;
use super::view::View;

/// Which programs take part.
pub struct Cast<'a> {
    pub node: &'a MakeNode,
    pub proxy: &'a MakeProxy,
    /// `None` lets the world bring topologies to the proxies itself.
    pub discovery: Option<&'a MakeDiscovery>,
}

pub type MakeNode = dyn Fn(&Scenario, View, Random) -> Box<dyn Machine>;
pub type MakeProxy = dyn Fn(&Scenario, Random) -> Box<dyn Machine>;
pub type MakeDiscovery = dyn Fn(&Scenario, Vec<Address>, Random) -> Box<dyn Machine>;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    pub violation: Option<String>,
    pub trace: u64,
    pub answered: u64,
    pub failed: u64,
    /// Transactions that were executed, transactions that found a watched key changed, and walks
    /// over all keys.
    pub executed: u64,
    pub lost: u64,
    pub walked: u64,
    /// How often a mutant did something.
    pub strikes: u64,
    pub virtual_micros: u64,
    pub events: u64,
    /// How long the clients of healthy shards waited for a reply at most.
    pub slowest_micros: u64,
    /// How long somebody had to wait after the last fault was over.
    pub wait_micros: u64,
    /// What the nodes did not serve.
    pub refusals: Refusals,
}
