//! `slotway status --json`: the same for scripts. `docs/monitoring.md` says what each field is; a
//! field may be added, none is taken away or changes its meaning while `schema` is the same.

use serde::Serialize;
use slotway_protocol::cluster::SLOTS;

use super::model::{Node, Picture, Problem, Severity};
use super::nodes;
use super::trail::Trail;

/// How it is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Well,
    /// Only warnings.
    Degraded,
    Critical,
    Unreachable,
}

impl State {
    pub(super) fn of(picture: &Picture) -> Self {
        let mut problems = picture.told.problems.iter();
        match () {
            () if picture.told.problems.is_empty() => Self::Well,
            () if problems.any(|problem| problem.severity == Severity::Critical) => Self::Critical,
            () => Self::Degraded,
        }
    }
}

/// The text of what a proxy told.
pub(super) fn told(address: &str, picture: &Picture) -> serde_json::Result<String> {
    let told = &picture.told;
    let mut trail = Trail::default();
    trail.add(told.time, picture.history.clone());
    let now = |field| trail.latest(field);
    let topology = picture.topology.as_ref();
    let rows = nodes::rows(picture).into_iter();
    line(&Status {
        schema: SCHEMA,
        status: State::of(picture),
        admin: address,
        time: told.time,
        version: told.version.as_str(),
        ready: told.ready,
        problems: told.problems.iter().map(ProblemJson::of).collect(),
        slots_covered: told.slots_covered as u64,
        slots_total: SLOTS,
        epoch: told.epoch as u64,
        shards: topology.map(|topology| topology.shards.len()),
        topology_age_seconds: topology.map(|topology| topology.age_ms / 1e3),
        topology_confirmed_seconds_ago: topology.map(|topology| topology.confirmed_ms_ago / 1e3),
        clients: told.clients as u64,
        clients_max: told.clients_max as u64,
        memory_bytes: told.memory_bytes as u64,
        memory_max_bytes: told.memory_max as u64,
        requests_per_second: now("requests"),
        errors_per_second: now("errors"),
        redirects_per_second: now("redirects"),
        retries_per_second: now("retries"),
        held_per_second: now("held"),
        received_bytes_per_second: now("received_bytes"),
        sent_bytes_per_second: now("sent_bytes"),
        latency_p50_ms: now("p50_ms"),
        latency_p99_ms: now("p99_ms"),
        latency_p999_ms: now("p999_ms"),
        slots_held: now("holds"),
        in_flight: now("in_flight"),
        nodes: rows.map(|row| NodeJson::of(row.shard, row.node)).collect(),
    })
}

/// The text when nobody told anything.
pub(super) fn unreachable(address: &str, error: &str) -> serde_json::Result<String> {
    line(&Unreachable {
        schema: SCHEMA,
        status: State::Unreachable,
        admin: address,
        error,
    })
}

fn line(value: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}

#[derive(Serialize)]
struct Status<'a> {
    schema: u32,
    status: State,
    admin: &'a str,
    time: f64,
    version: &'a str,
    ready: bool,
    problems: Vec<ProblemJson<'a>>,
    slots_covered: u64,
    slots_total: usize,
    epoch: u64,
    shards: Option<usize>,
    topology_age_seconds: Option<f64>,
    topology_confirmed_seconds_ago: Option<f64>,
    clients: u64,
    clients_max: u64,
    memory_bytes: u64,
    memory_max_bytes: u64,
    requests_per_second: Option<f64>,
    errors_per_second: Option<f64>,
    redirects_per_second: Option<f64>,
    retries_per_second: Option<f64>,
    held_per_second: Option<f64>,
    received_bytes_per_second: Option<f64>,
    sent_bytes_per_second: Option<f64>,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    latency_p999_ms: Option<f64>,
    slots_held: Option<f64>,
    in_flight: Option<f64>,
    nodes: Vec<NodeJson<'a>>,
}

#[derive(Serialize)]
struct ProblemJson<'a> {
    severity: &'static str,
    text: &'a str,
    since: f64,
}

#[derive(Serialize)]
struct NodeJson<'a> {
    address: &'a str,
    /// Its place among the shards; `null` for a node that has left.
    shard: Option<usize>,
    role: &'a str,
    state: &'a str,
    slots: u64,
    lag_ms: Option<f64>,
    latency_ms: Option<f64>,
    requests_per_second: f64,
    errors_per_second: f64,
    in_flight: u64,
    connections: u64,
}

#[derive(Serialize)]
struct Unreachable<'a> {
    schema: u32,
    status: State,
    admin: &'a str,
    error: &'a str,
}

impl<'a> ProblemJson<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self {
            severity: match problem.severity {
                Severity::Critical => "critical",
                Severity::Warning => "warning",
            },
            text: problem.text.as_str(),
            since: problem.since,
        }
    }
}

impl<'a> NodeJson<'a> {
    fn of(shard: Option<usize>, node: &'a Node) -> Self {
        Self {
            address: node.address.as_str(),
            shard,
            role: node.role.as_str(),
            state: node.state.as_str(),
            slots: node.slots as u64,
            lag_ms: node.lag_ms,
            latency_ms: node.latency_ms,
            requests_per_second: node.requests,
            errors_per_second: node.errors,
            in_flight: node.in_flight as u64,
            connections: node.connections as u64,
        }
    }
}

const SCHEMA: u32 = 1;

#[cfg(test)]
mod tests {
    use super::super::model::tests::picture;
    use super::*;

    fn read(text: &str) -> serde_json::Value {
        assert!(text.ends_with("}\n") && text.lines().count() == 1);
        serde_json::from_str(text).unwrap()
    }

    /// Every name of an object and of the first of each list in it.
    fn names(value: &serde_json::Value, before: &str, names: &mut Vec<String>) {
        let Some(object) = value.as_object() else {
            return;
        };
        for (name, value) in object {
            let name = format!("{before}{name}");
            if let Some(first) = value.get(0) {
                self::names(first, &format!("{name}[]."), names);
            }
            names.push(name);
        }
    }

    #[test]
    fn every_field_is_documented() {
        let docs = include_str!("../../../docs/monitoring.md");
        let (_, docs) = docs.split_once("### The JSON of `slotway status`").unwrap();
        let mut found = Vec::new();
        names(&read(&told("a:1", &picture()).unwrap()), "", &mut found);
        names(&read(&unreachable("a:1", "e").unwrap()), "", &mut found);
        assert!(found.len() > 40, "{found:?}");
        for name in found {
            assert!(
                docs.contains(&format!("`{name}`")),
                "docs/monitoring.md lacks {name}"
            );
        }
    }

    #[test]
    fn the_word_is_that_of_the_worst_problem() {
        let mut picture = picture();
        assert_eq!(State::of(&picture), State::Critical);
        let problems = &mut picture.told.problems;
        problems.truncate(1);
        problems[0].severity = Severity::Warning;
        assert_eq!(State::of(&picture), State::Degraded);
        picture.told.problems.clear();
        assert_eq!(State::of(&picture), State::Well);
        let json = read(&told("a:1", &picture).unwrap());
        assert_eq!(
            (&json["status"], &json["schema"]),
            (&"well".into(), &1.into())
        );
    }

    #[test]
    fn what_is_not_known_is_null() {
        let json = read(&told("a:1", &Picture::default()).unwrap());
        for name in ["shards", "requests_per_second", "latency_p99_ms"] {
            assert!(json[name].is_null(), "{name}: {json}");
        }
        let json = read(&unreachable("a:1", "can't connect").unwrap());
        assert_eq!(json["status"], "unreachable");
    }
}
