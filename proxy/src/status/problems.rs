//! What is wrong now, in words, and since when.

use std::collections::BTreeMap;

use serde::Serialize;
use slotway_protocol::cluster::SLOTS;

use super::reading::{NodeReading, Reading};

/// Something that an operator should know.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Problem {
    pub(super) severity: Severity,
    pub(super) text: String,
    /// Unix time in seconds at which it was first seen.
    pub(super) since: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Requests fail, or are about to.
    Critical,
    /// Nothing is lost yet.
    Warning,
}

/// What was wrong the last time, so that it is known since when.
#[derive(Debug, Default)]
pub(super) struct Problems {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    since: f64,
    /// What the log says of it: nothing of what is over at the next look.
    logged: Option<String>,
    /// The node that it is about, if it is about one.
    node: Option<String>,
}

/// How the proxy itself is.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing {
    pub(super) is_draining: bool,
    /// Why it is not ready, if it is not.
    pub(super) not_ready: Option<String>,
    /// For how long no node has confirmed the topology.
    pub(super) silence_seconds: f64,
}

impl Problems {
    /// Everything that is wrong, the worst first.
    pub(super) fn find(
        &mut self,
        now: &Reading,
        Before { moment, minute_ago }: Before<'_>,
        standing: &Standing,
        time: f64,
    ) -> Vec<Problem> {
        let mut found = Vec::new();
        of_the_proxy(standing, now, &mut found);
        of_nodes(now, moment, &mut found);
        of_requests(now, minute_ago, &mut found);
        of_limits(now, minute_ago, &mut found);
        self.forget_but(&found, now, time);
        let mut problems: Vec<Problem> = found
            .into_iter()
            .map(|found| Problem {
                severity: found.severity,
                since: self.note(&found, time),
                text: found.text,
            })
            .collect();
        problems.sort_by(|one, other| {
            let order = one.severity.cmp(&other.severity);
            order.then(one.since.total_cmp(&other.since))
        });
        problems
    }

    /// Since when it is so.
    fn note(&mut self, found: &Found, time: f64) -> f64 {
        let Some(known) = self.known.get_mut(&found.key) else {
            let known = Known {
                since: time,
                logged: None,
                node: found.node.clone(),
            };
            self.known.insert(found.key.clone(), known);
            return time;
        };
        // Whoever ends the proxy knows.
        if known.logged.is_none() && found.key != DRAINING {
            found.log();
            known.logged = Some(found.text.clone());
        }
        known.since
    }

    /// What is no longer so, as it was logged. That a node was silent is over when it is down, and
    /// that it has left is forgotten in time: only of one that works it is said.
    fn forget_but(&mut self, found: &[Found], now: &Reading, time: f64) -> Vec<String> {
        let works = |name: &String| {
            let node = now.nodes.get(name);
            node.is_some_and(|node| node.is_up && !node.has_left)
        };
        let mut over = Vec::new();
        self.known.retain(|key, known| {
            if found.iter().any(|found| found.key == *key) {
                return true;
            }
            let is_over = known.node.as_ref().is_none_or(works);
            if let Some(problem) = known.logged.take().filter(|_| is_over) {
                let for_s = (time - known.since).round();
                tracing::info!(%problem, for_s, "no longer wrong");
                over.push(problem);
            }
            false
        });
        over
    }
}

/// What was read before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before<'a> {
    /// Two seconds ago, if there is anything.
    pub(super) moment: Option<&'a Reading>,
    pub(super) minute_ago: &'a Reading,
}

struct Found {
    /// Stays the same as long as it is the same problem.
    key: String,
    severity: Severity,
    text: String,
    /// The node that it is about, if it is about one.
    node: Option<String>,
}

impl Found {
    /// Of lines from one place there are so many at a time: those that count most have their own.
    fn log(&self) {
        match self.severity {
            Severity::Critical => tracing::warn!(problem = %self.text, "something is wrong"),
            Severity::Warning => tracing::warn!(problem = %self.text, "something is wrong"),
        }
    }

    fn of_node(self, address: &str) -> Self {
        Self {
            key: format!("{} {address}", self.key),
            node: Some(address.to_owned()),
            ..self
        }
    }
}

const DRAINING: &str = "draining";

fn critical(key: impl Into<String>, text: String) -> Found {
    Found {
        key: key.into(),
        severity: Severity::Critical,
        text,
        node: None,
    }
}

fn warning(key: impl Into<String>, text: String) -> Found {
    Found {
        severity: Severity::Warning,
        ..critical(key, text)
    }
}

fn of_the_proxy(standing: &Standing, now: &Reading, found: &mut Vec<Found>) {
    if standing.is_draining {
        found.push(warning(DRAINING, "This proxy is about to end.".to_owned()));
    } else if let Some(why) = &standing.not_ready {
        found.push(critical("not ready", format!("Not ready: {why}.")));
    }
    let uncovered = SLOTS as f64 - now.slots_covered;
    if now.slots_covered > 0.0 && uncovered > 0.0 {
        let text =
            format!("{uncovered} slots have no node; requests for their keys wait and fail.");
        found.push(critical("uncovered", text));
    }
    if standing.silence_seconds > SILENCE_SECONDS {
        let seconds = standing.silence_seconds.round();
        let text = format!("No node has confirmed the topology for {seconds} s.");
        found.push(warning("silence", text));
    }
    if !now.reload_ok {
        let text = "The last reload of the configuration was refused; the log says why.";
        found.push(warning("reload", text.to_owned()));
    }
}

fn of_nodes(now: &Reading, moment: Option<&Reading>, found: &mut Vec<Found>) {
    for (address, node) in &now.nodes {
        let role = if node.is_primary {
            format!("primary of {} slots", node.slots)
        } else {
            "replica".to_owned()
        };
        let is_silent = moment.is_some_and(|before| is_silent(before.nodes.get(address), node));
        let problem = if node.has_left {
            let text =
                format!("Node {address} has left the cluster: it has failed, or was taken out.");
            warning("left", text)
        } else if !node.is_up {
            let text = format!("Node {address} ({role}) does not answer.");
            if node.is_primary {
                critical("down", text)
            } else {
                warning("down", text)
            }
        } else if is_silent {
            let text = format!(
                "Node {address} ({role}) owes {} replies and has not answered for 2 s or longer.",
                node.in_flight
            );
            critical("silent", text)
        } else if node.circuits_open > 0.0 {
            let text = format!(
                "Node {address} ({role}) answers but serves nobody: it is loading, or misses its \
                 primary or its cluster."
            );
            warning("gate", text)
        } else {
            continue;
        };
        found.push(problem.of_node(address));
    }
}

/// Whether a node has answered nothing since then, although it had something to answer.
pub(super) fn is_silent(before: Option<&NodeReading>, now: &NodeReading) -> bool {
    before.is_some_and(|before| {
        before.in_flight > 0.0 && now.in_flight > 0.0 && now.replies <= before.replies
    })
}

fn of_requests(now: &Reading, minute_ago: &Reading, found: &mut Vec<Found>) {
    if now.holds > 0.0 {
        let text = format!("Requests for {} slots wait for their node.", now.holds);
        found.push(warning("holds", text));
    }
    let since = |of: fn(&Reading) -> f64| (of(now) - of(minute_ago)).max(0.0);
    let unknown = since(|reading| reading.unknown);
    if unknown > 0.0 {
        let text = format!(
            "{unknown} writes of the last minute have an unknown result: their node was lost \
             before it answered."
        );
        found.push(warning("unknown", text));
    }
    let failed = since(|reading| reading.failed);
    if failed > 0.0 {
        let text = format!(
            "{failed} requests of the last minute failed because they had waited too long or too \
             many were waiting."
        );
        found.push(critical("failed", text));
    }
    let (errors, requests) = (since(|it| it.errors), since(|it| it.requests));
    if errors >= ERRORS_MIN && errors > requests * ERROR_SHARE {
        let percent = (errors / requests * 100.0).round();
        let text = format!("{percent} % of the replies of the last minute were errors.");
        found.push(warning("errors", text));
    }
    if since(|reading| reading.panics) > 0.0 {
        let text = "A bug ended a connection in the last minute; the log has the details.";
        found.push(critical("panic", text.to_owned()));
    }
}

fn of_limits(now: &Reading, minute_ago: &Reading, found: &mut Vec<Found>) {
    if now.memory_strain >= 2.0 {
        let text = "Memory is short (memory_bytes_max): large requests wait, clients may be cut.";
        found.push(critical("memory", text.to_owned()));
    } else if now.memory_strain >= 1.0 {
        let text = "Memory is tight (memory_bytes_max).";
        found.push(warning("memory", text.to_owned()));
    }
    let refused = now.clients_refused - minute_ago.clients_refused;
    if refused > 0.0 {
        let text = format!("{refused} clients of the last minute were turned away at the door.");
        found.push(critical("refused", text));
    } else if now.clients_max > 0.0 && now.clients > now.clients_max * NEARLY_FULL {
        let text = format!(
            "{} of at most {} clients are connected.",
            now.clients, now.clients_max
        );
        found.push(warning("clients", text));
    }
}

/// Nodes confirm the topology every few seconds.
const SILENCE_SECONDS: f64 = 15.0;
/// Errors are worth a word from so many in a minute on, and from that share of replies on.
const ERRORS_MIN: f64 = 10.0;
const ERROR_SHARE: f64 = 0.05;
const NEARLY_FULL: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Reading {
        let node = NodeReading {
            is_up: true,
            is_primary: true,
            slots: 16_384.0,
            ..NodeReading::default()
        };
        Reading {
            requests: 1_000.0,
            slots_covered: 16_384.0,
            clients: 10.0,
            clients_max: 100.0,
            reload_ok: true,
            nodes: [("10.0.0.1:7000".to_owned(), node)].into(),
            ..Reading::default()
        }
    }

    fn texts(now: &Reading) -> Vec<String> {
        let standing = Standing::default();
        let mut before = well();
        before
            .nodes
            .values_mut()
            .for_each(|node| node.in_flight = 1.0);
        let before = Before {
            moment: Some(&before),
            minute_ago: &well(),
        };
        let problems = Problems::default().find(now, before, &standing, 1.0);
        problems.into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn nothing_is_wrong_when_all_is_well() {
        assert_eq!(texts(&well()), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_wrong_is_said() {
        type Change = fn(&mut Reading);
        let cases: [(Change, &str); 13] = [
            (
                |it| it.nodes.values_mut().for_each(|node| node.has_left = true),
                "10.0.0.1:7000 has left the cluster",
            ),
            (
                |it| it.nodes.values_mut().for_each(|node| node.in_flight = 3.0),
                "owes 3 replies",
            ),
            (|it| it.slots_covered = 16_000.0, "384 slots have no node"),
            (|it| it.reload_ok = false, "reload"),
            (
                |it| it.nodes.values_mut().for_each(|node| node.is_up = false),
                "10.0.0.1:7000 (primary of 16384 slots) does not answer",
            ),
            (
                |it| {
                    it.nodes
                        .values_mut()
                        .for_each(|node| node.circuits_open = 1.0)
                },
                "serves nobody",
            ),
            (|it| it.holds = 2.0, "2 slots wait"),
            (|it| it.unknown = 1.0, "1 writes"),
            (|it| it.failed = 7.0, "7 requests"),
            (
                |it| (it.errors, it.requests) = (30.0, 1_100.0),
                "30 % of the replies",
            ),
            (|it| it.panics = 1.0, "bug"),
            (|it| it.memory_strain = 2.0, "Memory is short"),
            (|it| it.clients = 95.0, "95 of at most 100"),
        ];
        for (change, expected) in cases {
            let mut reading = well();
            change(&mut reading);
            let texts = texts(&reading);
            assert!(
                texts.len() == 1 && texts[0].contains(expected),
                "{expected}: {texts:?}"
            );
        }
    }

    #[test]
    fn since_when_stays_until_it_is_over_and_the_worst_comes_first() {
        let mut problems = Problems::default();
        let mut now = well();
        now.holds = 1.0;
        let standing = Standing::default();
        let well = well();
        let before = Before {
            moment: None,
            minute_ago: &well,
        };
        problems.find(&now, before, &standing, 5.0);
        now.holds = 2.0;
        now.slots_covered = 1.0;
        let found = problems.find(&now, before, &standing, 6.0);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!((found[0].since, found[1].since), (6.0, 5.0));
        problems.find(&well, before, &standing, 7.0);
        now.slots_covered = 16_384.0;
        let found = problems.find(&now, before, &standing, 8.0);
        assert_eq!(found[0].since, 8.0);
    }

    #[test]
    fn a_node_that_has_left_is_not_said_to_be_well_again() {
        let found = [warning("left", "x".to_owned()).of_node("10.0.0.1:7000")];
        let (well, nobody) = (well(), Reading::default());
        let mut down = well.clone();
        down.nodes.values_mut().for_each(|node| node.is_up = false);
        for (now, is_over) in [(&well, true), (&nobody, false), (&down, false)] {
            let mut problems = Problems::default();
            for _ in 0..2 {
                problems.note(&found[0], 1.0);
            }
            let over = problems.forget_but(&[], now, 2.0);
            assert_eq!(over, if is_over { vec!["x"] } else { vec![] });
            assert!(problems.known.is_empty());
        }
        let draining = critical(DRAINING, "x".to_owned());
        let mut problems = Problems::default();
        problems.note(&draining, 1.0);
        problems.note(&draining, 2.0);
        assert_eq!(
            problems.known[DRAINING].logged, None,
            "whoever ends it knows"
        );
    }

    #[test]
    fn what_is_over_at_the_next_look_is_not_logged() {
        let mut problems = Problems::default();
        let (mut now, well, standing) = (well(), well(), Standing::default());
        let before = Before {
            moment: None,
            minute_ago: &well,
        };
        now.slots_covered = 16_000.0;
        let logged = |problems: &Problems| {
            let known = problems.known.values();
            known
                .filter_map(|known| known.logged.clone())
                .collect::<Vec<_>>()
        };
        problems.find(&now, before, &standing, 5.0);
        assert_eq!(logged(&problems), [""; 0]);
        now.slots_covered = 15_000.0;
        problems.find(&now, before, &standing, 6.0);
        let first = logged(&problems);
        assert!(first.len() == 1 && first[0].contains("1384"), "{first:?}");
        now.slots_covered = 14_000.0;
        problems.find(&now, before, &standing, 7.0);
        assert_eq!(logged(&problems), first, "once");
        problems.find(&well, before, &standing, 8.0);
        assert_eq!(logged(&problems), [""; 0]);
    }
}
