//! What a node says of itself to whoever watches it: every figure with its name and meaning, as it
//! is at one moment. Who shows them, and how, is not known here.

mod clients;
mod cluster;
mod commands;
mod keys;
mod persistence;
mod replication;

use std::time::Duration;

use slotway_protocol::engine::Now;

use crate::cluster::{Cluster, ClusterState};
use crate::engine::State;

/// All figures of a node at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub families: Vec<Figures>,
    /// Why the node serves nobody at that moment, if it does not.
    pub trouble: Option<&'static str>,
}

/// The figures of one name, which differ by a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: FigureKind,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// It only grows, until CONFIG RESETSTAT or the end of the node.
    Counter,
    Gauge,
}

/// One figure, and the labels that tell it from the others of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    pub labels: Vec<(&'static str, Label)>,
    pub number: Number,
}

/// The value of a label: a word of a closed set, or the address of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    Word(&'static str),
    Address(String),
}

/// A figure, exact as it was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Count(u64),
    Nanos(u64),
}

impl Report {
    pub(crate) fn of(state: &State, now: Now) -> Self {
        let mut families = vec![uptime(state, now), build(), role(state)];
        families.extend(clients::figures(state));
        families.extend(commands::figures(state));
        families.extend(keys::figures(state));
        families.extend(persistence::figures(state, now));
        families.extend(replication::figures(state, now));
        families.extend(cluster::figures(state));
        let trouble = trouble(state);
        Self { families, trouble }
    }
}

fn trouble(state: &State) -> Option<&'static str> {
    let server = &state.server;
    let is_down = |cluster: &Cluster| cluster.state() == ClusterState::Fail;
    if server.loading.is_some() || server.replication.is_loading() {
        Some("keys are being loaded")
    } else if server.ending.is_begun() || server.draining {
        Some("the node is about to end")
    } else if server.cluster.as_ref().is_some_and(is_down) {
        Some("the cluster is down")
    } else {
        None
    }
}

fn build() -> Figures {
    let help = "Always 1; which version this is, and of which redis-server it has the behaviour.";
    let labels = vec![
        ("version", Label::Word(env!("CARGO_PKG_VERSION"))),
        ("redis_version", Label::Word(crate::REDIS_VERSION)),
    ];
    let number = Number::Count(1);
    let mut figures = Figures::gauges("slotway_node_build_info", help);
    figures.samples.push(Sample { labels, number });
    figures
}

fn uptime(state: &State, now: Now) -> Figures {
    let help = "Time since the node was started.";
    let uptime = now.instant.since(state.server.started.instant);
    gauge("slotway_node_uptime_seconds", help, uptime)
}

fn role(state: &State) -> Figures {
    let is_primary = state.server.is_primary();
    let help = "1 for the role that the node has, 0 for the other.";
    Figures::gauges("slotway_node_role", help)
        .with("role", "primary", is_primary)
        .with("role", "replica", !is_primary)
}

/// A gauge without labels.
fn gauge(name: &'static str, help: &'static str, number: impl Into<Number>) -> Figures {
    Figures::gauges(name, help).only(number)
}

/// A counter without labels.
fn counter(name: &'static str, help: &'static str, number: impl Into<Number>) -> Figures {
    Figures::counters(name, help).only(number)
}

impl Figures {
    fn gauges(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, FigureKind::Gauge)
    }

    fn counters(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, FigureKind::Counter)
    }

    fn new(name: &'static str, help: &'static str, kind: FigureKind) -> Self {
        let samples = Vec::new();
        Self {
            name,
            help,
            kind,
            samples,
        }
    }

    fn only(mut self, number: impl Into<Number>) -> Self {
        self.add(Vec::new(), number);
        self
    }

    fn with(mut self, label: &'static str, word: &'static str, number: impl Into<Number>) -> Self {
        self.add(vec![(label, Label::Word(word))], number);
        self
    }

    fn add(&mut self, labels: Vec<(&'static str, Label)>, number: impl Into<Number>) {
        let number = number.into();
        self.samples.push(Sample { labels, number });
    }
}

impl Label {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Address(address) => address,
        }
    }
}

impl Number {
    /// In the unit of its name: seconds, if it is a time.
    pub fn value(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Nanos(nanos) => nanos as f64 / 1e9,
        }
    }
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<u32> for Number {
    fn from(count: u32) -> Self {
        Self::Count(count.into())
    }
}

impl From<usize> for Number {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Number {
    fn from(is: bool) -> Self {
        Self::Count(is.into())
    }
}

impl From<Duration> for Number {
    fn from(time: Duration) -> Self {
        Self::Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}
