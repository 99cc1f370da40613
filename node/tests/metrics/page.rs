//! docs/node-metrics.md tells of exactly what a node shows, and every family says what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::node::Node;

#[test]
fn a_node_shows_every_documented_metric_and_no_other() {
    let primary = Node::start(&[]);
    let port = primary.port.to_string();
    // Only with a replica there are the series of replicas.
    let replica = Node::start(&[("--replicaof", &format!("127.0.0.1 {port}"))]);
    let up = "slotway_node_primary_link_up";
    crate::wait_until("the link", || replica.metric(up) == 1.0);
    let (_, metrics) = primary.get("/metrics");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/node-metrics.md");
    let page = fs::read_to_string(file).unwrap();
    let (documented, shown) = (documented(&page), shown(&metrics));
    for series in &documented {
        // Where nothing limits the files, there is no number to show.
        let is_optional = series.starts_with("process_max_fds");
        assert!(is_optional || shown.contains(series), "not shown: {series}");
    }
    for series in &shown {
        assert!(documented.contains(series), "not documented: {series}");
    }
    assert!(shown.len() > 150, "{shown:?}");
}

#[test]
fn every_family_says_what_it_is_once() {
    let node = Node::start(&[]);
    let (_, metrics) = node.get("/metrics");
    let mut explained = BTreeSet::new();
    let mut lines = metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = line
            .strip_prefix("# HELP ")
            .unwrap()
            .split_once(' ')
            .unwrap();
        assert!(help.ends_with('.'), "{line}");
        assert!(explained.insert(name), "{name} twice");
        let kind = lines.next().unwrap();
        let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let is_own = |line: &&str| line.split(['{', ' ']).next() == Some(name);
        assert!(lines.next_if(is_own).is_some(), "{name} has no sample");
        while lines.next_if(is_own).is_some() {}
    }
    assert!(explained.len() > 90, "{explained:?}");
}

/// Those that the proxy shows are about nodes too, and are not to be taken for these.
#[test]
fn no_metric_of_the_proxy_has_the_name_of_one_of_a_node() {
    let names = |file: &str| -> BTreeSet<String> {
        let path = format!("{}/../docs/{file}", env!("CARGO_MANIFEST_DIR"));
        let page = fs::read_to_string(path).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let names = rows.filter_map(|row| row.split_once('`'));
        let names = names.map(|(name, _)| name.to_owned());
        names.filter(|name| name.starts_with("slotway_")).collect()
    };
    let (proxy, node) = (names("metrics.md"), names("node-metrics.md"));
    assert!(proxy.len() > 90 && node.len() > 80);
    assert_eq!(proxy.intersection(&node).count(), 0);
}

/// Labels whose values are not in the page: the commands are those of `COMMAND LIST`.
const OPEN: [&str; 5] = ["command", "database", "replica", "version", "redis_version"];

/// The series that the page tells of, each as `name type label=value ...`.
fn documented(page: &str) -> BTreeSet<String> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let series = rows.flat_map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, meaning, _] = cells[..] else {
            panic!("{row} has not four cells");
        };
        assert!(meaning.ends_with('.'), "{row}");
        let mut series = vec![format!("{} {kind}", name.trim_matches('`'))];
        for label in labels.split("; ").filter(|label| !label.is_empty()) {
            let (name, values) = label.split_once(": ").unwrap_or((label, ""));
            let name = name.trim_matches('`');
            let values: Vec<&str> = match name {
                name if OPEN.contains(&name) => vec!["*"],
                _ => values.split(", ").collect(),
            };
            let with = |one: &String| {
                let all = values.iter().map(|value| format!("{one} {name}={value}"));
                all.collect::<Vec<_>>()
            };
            series = series.iter().flat_map(with).collect();
        }
        series
    });
    series.map(|series| in_order(&series)).collect()
}

/// The series of an answer of `/metrics`, in the same form.
fn shown(metrics: &str) -> BTreeSet<String> {
    let kinds: BTreeMap<&str, &str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let series = samples.map(|sample| {
        let (series, _) = sample.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut words = vec![name.to_owned(), kinds[name].to_owned()];
        let labels = labels.trim_end_matches('}').split("\",");
        for label in labels.filter(|label| !label.is_empty()) {
            let (label, value) = label.split_once("=\"").unwrap();
            let value = match OPEN.contains(&label) {
                true => "*",
                false => value.trim_end_matches('"'),
            };
            words.push(format!("{label}={value}"));
        }
        in_order(&words.join(" "))
    });
    series.collect()
}

/// The labels in the order of their names.
fn in_order(series: &str) -> String {
    let mut words: Vec<&str> = series.split_whitespace().collect();
    words[2..].sort_unstable();
    words.join(" ")
}
