//! What the world sees of a program under test, whichever engine is inside.

use std::any::Any;
use std::sync::Arc;

use slotway_protocol::cluster::Topology;
use slotway_protocol::engine::{
    Address, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now, Peer,
};

use super::view::View;

/// An engine with its driver.
pub trait Machine {
    fn open(&mut self, peer: Peer, now: Now) -> ConnectionId;
    fn connect_failed(&mut self, token: ConnectToken, error: ConnectError, now: Now);
    fn receive(&mut self, id: ConnectionId, bytes: &[u8], now: Now);
    fn end(&mut self, id: ConnectionId, now: Now);
    fn reset(&mut self, id: ConnectionId, now: Now);
    /// Takes at most `max` bytes of output, perhaps fewer.
    fn write(&mut self, id: ConnectionId, max: usize, now: Now) -> Vec<u8>;
    fn has_output(&mut self, id: ConnectionId) -> bool;
    fn is_reading(&self, id: ConnectionId) -> bool;
    fn timeout(&mut self, now: Now);
    fn stimulate(&mut self, stimulus: Stimulus, now: Now);
    fn next_timeout(&self) -> Option<Instant>;
    /// What came of the calls since the last time.
    fn effects(&mut self) -> Vec<Effect>;
    fn keeper(&mut self) -> Option<&mut dyn Keeper>;
    fn waits_for(&self) -> Option<String>;
    /// To be called after the keeper was used.
    fn settle(&mut self, now: Now);
}

/// An engine as the simulation needs it.
pub trait Subject: Engine {
    /// The engine's event for a stimulus, if it has one.
    fn event(stimulus: Stimulus) -> Option<Self::Event>;
    /// What a notice means to the world.
    fn signals(notice: Self::Notice) -> Vec<Signal>;
    /// Panics when an invariant is broken. Slow checks need not be made at every step.
    fn check(&self, step: u64);
    /// What it waits for, for the report of a run that does not end.
    fn waits_for(&self) -> Option<String> {
        None
    }
    /// The engine's data, if it is a node.
    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        None
    }
}

/// A node's data and view of the cluster, as a cluster manager handles them.
pub trait Keeper {
    fn set_view(&mut self, view: &View, now: Now);
    /// Takes a key out, if it is there.
    fn export(&mut self, key: &[u8]) -> Option<Payload>;
    /// Puts in what another node of the same kind gave.
    fn import(&mut self, key: &[u8], payload: Payload);
    /// The node behaves oddly from now on; `None` ends that. Says whether it can.
    fn set_mood(&mut self, mood: Option<Mood>) -> bool;
}

/// How a node may behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// Everything with a key is answered with this error.
    Refuses(&'static str),
    /// It is loading: nearly everything is.
    Loads,
    /// Everything with a key is sent to this address, with an `ASK` or a `MOVED`.
    Sends { word: &'static str, to: String },
}

/// A value on its way from one node to another.
pub type Payload = Box<dyn Any>;

/// What the world does to a program.
#[derive(Debug, Clone)]
pub enum Stimulus {
    Topology(Arc<Topology>),
    /// Someone found the topology to be stale.
    Refresh,
}

/// What a program says to the world.
#[derive(Debug, Clone)]
pub enum Signal {
    TopologyStale,
    Topology(Arc<Topology>),
    /// The connection's last bytes were sent; the other direction stays open.
    Shutdown(ConnectionId),
}

/// What a machine wants to happen.
#[derive(Debug)]
pub enum Effect {
    Opened(ConnectionId),
    Connect {
        token: ConnectToken,
        address: Address,
    },
    Signal(Signal),
    /// There may be output to write.
    Dirty(ConnectionId),
    Resumed(ConnectionId),
    Shutdown(ConnectionId),
    Closed(ConnectionId),
    /// The engine broke its contract.
    Fault(String),
}

/// Bounds on what waits in an engine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub accepted_output_bytes: usize,
    pub connected_output_bytes: usize,
}

impl Limits {
    pub const NONE: Self = Self {
        accepted_output_bytes: usize::MAX,
        connected_output_bytes: usize::MAX,
    };
}
