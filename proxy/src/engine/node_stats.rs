//! What a worker counts of each node. Requests are counted in the worker's own plain numbers; ten
//! times a second these are shown to whoever scrapes.

use core::time::Duration;
use std::sync::Arc;

use slotway_protocol::engine::{Address, ConnectError, Instant};
use slotway_protocol::metrics::{Counter, Gauge};

use super::Proxy;
use super::pipeline::{Link, Pipeline};
use super::stats::CutBackend;

/// One node as one worker sees it.
#[derive(Debug)]
pub struct NodeStats {
    pub address: Address,
    /// Open connections that clients share.
    pub connections: Gauge,
    /// Connections that could not be opened lately, or ended without a reply.
    pub down: Gauge,
    /// The node serves nobody just now; it is asked by one request at a time.
    pub circuit_open: Gauge,
    pub in_flight: Gauge,
    /// What is kept for requests without a reply.
    pub queue_bytes: Gauge,
    /// How far a replica was behind its primary when it was asked last; negative when not known.
    pub lag_micros: Gauge,
    pub requests: Counter,
    pub replies: Counter,
    /// How long the requests took that were answered, added up.
    pub micros: Counter,
    pub connects: Counter,
    /// In the order of `NodeError::NAMES`.
    pub errors: [Counter; NodeError::NAMES.len()],
}

/// What can go wrong with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeError {
    /// Nobody listens there.
    Refused,
    ConnectTimeout,
    /// It can't be connected to for another reason.
    Unreachable,
    /// It ended an open connection.
    Lost,
    /// It did not answer in time.
    Silent,
    /// It said what can't be read, or nobody had asked for.
    Protocol,
    /// It did not let us log in.
    Login,
    /// It said that it serves nobody just now.
    NotServing,
}

impl NodeError {
    /// In the order of the kinds.
    pub(crate) const NAMES: [&str; 8] = [
        "refused",
        "connect_timeout",
        "unreachable",
        "lost",
        "silent",
        "protocol",
        "login",
        "not_serving",
    ];

    pub(crate) fn of_cut(reason: CutBackend) -> Self {
        match reason {
            CutBackend::Unreadable | CutBackend::Unasked => Self::Protocol,
            CutBackend::Login => Self::Login,
        }
    }

    pub(crate) fn of_connect(error: &ConnectError) -> Self {
        match error {
            ConnectError::Refused => Self::Refused,
            ConnectError::TimedOut => Self::ConnectTimeout,
            ConnectError::Other(_) => Self::Unreachable,
        }
    }
}

impl NodeStats {
    pub(crate) fn new(address: Address) -> Self {
        let stats = Self {
            address,
            connections: Gauge::default(),
            down: Gauge::default(),
            circuit_open: Gauge::default(),
            in_flight: Gauge::default(),
            queue_bytes: Gauge::default(),
            lag_micros: Gauge::default(),
            requests: Counter::default(),
            replies: Counter::default(),
            micros: Counter::default(),
            connects: Counter::default(),
            errors: Default::default(),
        };
        stats.show_lag(None);
        stats
    }

    pub(crate) fn show_lag(&self, lag: Option<Duration>) {
        let micros = lag.map(|lag| i64::try_from(lag.as_micros()).unwrap_or(i64::MAX));
        self.lag_micros.set(micros.unwrap_or(-1));
    }

    pub(crate) fn count(&self, error: NodeError) {
        self.errors[error as usize].inc();
    }
}

impl Proxy {
    /// A node has joined, or has taken another's place.
    pub(super) fn list_nodes(&self) {
        let nodes = self
            .backends
            .iter()
            .map(|backend| Arc::clone(&backend.stats));
        self.stats.nodes.store(Arc::new(nodes.collect()));
    }

    /// Counts what went wrong with the node that the pipeline leads to.
    pub(super) fn count_node_error(&self, pipeline: usize, error: NodeError) {
        let backend = self.pipelines[pipeline].backend;
        self.backends[backend].stats.count(error);
    }

    /// Shows what is counted of each node, and how much is kept for all of them.
    pub(super) fn show_nodes(&self, now: Instant) {
        let (mut all_in_flight, mut all_bytes) = (0, 0);
        let lanes = self.pipelines.chunks(self.lanes());
        for (index, (backend, lanes)) in self.backends.iter().zip(lanes).enumerate() {
            let sum = |of: fn(&Pipeline) -> u64| lanes.iter().map(of).sum::<u64>();
            let shown = &backend.stats;
            let in_flight = sum(|lane| lane.in_flight_len() as u64) as i64;
            let bytes = sum(|lane| lane.kept_bytes() as u64) as i64;
            let open = lanes.iter().filter(|lane| lane.connection().is_some());
            let down = lanes.iter().filter(|lane| is_down(lane, now));
            shown.connections.set(open.count() as i64);
            shown.down.set(down.count() as i64);
            shown.circuit_open.set(self.gates.is_shut(index).into());
            shown.in_flight.set(in_flight);
            shown.queue_bytes.set(bytes);
            shown.requests.raise_to(sum(Pipeline::pushed));
            shown.replies.raise_to(sum(|lane| lane.replies));
            shown.micros.raise_to(sum(|lane| lane.micros));
            all_in_flight += in_flight;
            all_bytes += bytes;
        }
        self.stats.in_flight.set(all_in_flight);
        self.stats.queue_bytes.set(all_bytes);
    }
}

/// Whether a node could not be reached when that was tried last, not long ago. Where nothing is to
/// be sent nobody tries, and so nobody knows.
fn is_down(pipeline: &Pipeline, now: Instant) -> bool {
    let is_open = matches!(pipeline.link, Link::Open(_));
    let failed = pipeline
        .failed
        .filter(|_| !is_open && pipeline.failures > 0);
    failed.is_some_and(|at| now.since(at) < DOWN_KNOWN)
}

/// While there are requests a node that is down is tried about once a second.
const DOWN_KNOWN: Duration = Duration::from_secs(10);
