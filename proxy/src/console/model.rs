//! What the admin port tells, as far as the console shows it. Nothing that a terminal would obey
//! gets past this: every text is read through [`Printable`].

use core::fmt;
use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

/// Text of printable ASCII only; all else stands there as Rust would write it in a literal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Printable(String);

impl Printable {
    pub(super) fn of(text: &str) -> Self {
        let is_harmless = |c: char| c == ' ' || c.is_ascii_graphic();
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            if is_harmless(c) {
                shown.push(c);
            } else {
                shown.extend(c.escape_default());
            }
        }
        Self(shown)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Printable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&Cow::<str>::deserialize(deserializer)?))
    }
}

impl fmt::Display for Printable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The answers of one round.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    pub(super) told: Told,
    /// The seconds since the round before.
    pub(super) history: History,
    /// `None` before a node has told one.
    pub(super) topology: Option<Topology>,
    pub(super) hot: Option<Hot>,
}

/// `/status`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Told {
    /// By the proxy's clock, Unix time in seconds.
    pub(super) time: f64,
    pub(super) version: Printable,
    pub(super) ready: bool,
    pub(super) slots_covered: f64,
    pub(super) epoch: f64,
    pub(super) clients: f64,
    pub(super) clients_max: f64,
    pub(super) memory_bytes: f64,
    pub(super) memory_max: f64,
    /// The worst first.
    pub(super) problems: Vec<Problem>,
    pub(super) nodes: Vec<Node>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    pub(super) text: Printable,
    /// By the proxy's clock, Unix time in seconds.
    pub(super) since: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Critical,
    /// What a later version may call otherwise is no less than this.
    #[serde(other)]
    Warning,
}

/// A node; the rates are those of the last second.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Node {
    pub(super) address: Printable,
    pub(super) role: Printable,
    /// `up`, `silent`, `refusing`, `gone` or `down`.
    pub(super) state: Printable,
    pub(super) slots: f64,
    pub(super) connections: f64,
    pub(super) in_flight: f64,
    pub(super) requests: f64,
    pub(super) latency_ms: Option<f64>,
    pub(super) errors: f64,
    /// Of a replica, where the proxy asks replicas how they are.
    #[serde(default)]
    pub(super) lag_ms: Option<f64>,
}

impl Node {
    pub(super) fn is_up(&self) -> bool {
        self.state.as_str() == "up"
    }
}

/// `/history`: seconds, and what stands at which place of them.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct History {
    pub(super) fields: Vec<Printable>,
    pub(super) samples: Vec<Vec<Option<f64>>>,
}

/// `/topology`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Topology {
    /// How long it is this one, and how long ago a node last said so.
    pub(super) age_ms: f64,
    pub(super) confirmed_ms_ago: f64,
    pub(super) shards: Vec<Shard>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Shard {
    pub(super) primary: Printable,
    pub(super) replicas: Vec<Printable>,
    /// First and last slot of each range.
    pub(super) slots: Vec<(u16, u16)>,
}

/// `/hot`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Hot {
    /// Requests to nodes, for all slots.
    pub(super) per_second: f64,
    pub(super) keys: Vec<HotKey>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct HotKey {
    pub(super) key: Printable,
    pub(super) slot: u16,
    pub(super) node: Option<Printable>,
    pub(super) command: Printable,
    pub(super) per_second: f64,
    pub(super) writes_per_second: f64,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a proxy told: six nodes under load, one of them stopped.
    pub(in crate::console) fn picture() -> Picture {
        let told = include_str!("fixtures/status.json");
        let history = include_str!("fixtures/history.json");
        let topology = include_str!("fixtures/topology.json");
        let hot = include_str!("fixtures/hot.json");
        Picture {
            told: serde_json::from_str(told).unwrap(),
            history: serde_json::from_str(history).unwrap(),
            topology: Some(serde_json::from_str(topology).unwrap()),
            hot: Some(serde_json::from_str(hot).unwrap()),
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_that_is_told() {
        for (json, expected) in [
            (r#""plain text: 100 % ~""#, "plain text: 100 % ~"),
            (r#""a\\x1b[2J""#, "a\\x1b[2J"),
            (r#""\u001b[2J\r\n\t\u0000""#, "\\u{1b}[2J\\r\\n\\t\\u{0}"),
            ("\"\u{9b}2J\u{7f}\"", "\\u{9b}2J\\u{7f}"),
            ("\"\u{202e}\u{200b}\u{e9}\"", "\\u{202e}\\u{200b}\\u{e9}"),
        ] {
            let read: Printable = serde_json::from_str(json).unwrap();
            assert_eq!(read.as_str(), expected, "{json}");
        }
    }

    #[test]
    fn what_a_proxy_tells_is_read() {
        let picture = picture();
        let told = &picture.told;
        assert_eq!((told.nodes.len(), told.slots_covered), (6, 16_384.0));
        assert!(!told.problems.is_empty());
        assert!(told.nodes.iter().any(|node| !node.is_up()));
        assert_eq!(picture.topology.unwrap().shards.len(), 3);
        assert!(!picture.hot.unwrap().keys.is_empty());
        assert!(picture.history.samples.len() > 60);
    }
}
