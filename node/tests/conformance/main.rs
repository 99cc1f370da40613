//! Command lines, one after the other, to the node and to a real redis-server, standalone and as a
//! cluster of one: the replies must be the same, byte for byte.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod lines;
mod moving;
mod scripts;
mod servers;

use lines::{BOTH, CLUSTER, STANDALONE, TRANSACTIONS};
use scripts::{SCRIPTS, SCRIPTS_IN_CLUSTER};
use servers::{Mode, Ours, Theirs};

fn compare(mode: Mode, port: u16, scripts: &[&[&str]]) {
    let mut theirs = Theirs::start(mode, port);
    let mut ours = Ours::start(servers::config(mode, theirs.port()));
    let mut differences = Vec::new();
    let mut count = 0;
    for line in scripts.iter().copied().flatten() {
        let request = servers::parse(line);
        let expected = theirs.ask(&request);
        let actual = ours.ask(&request);
        count += 1;
        if !servers::equal(line, &expected, &actual) {
            differences.push(format!(
                "{line}\n  theirs: {}\n  ours:   {}",
                expected.escape_ascii(),
                actual.escape_ascii()
            ));
        }
    }
    ours.check_invariants();
    assert!(count > 20, "there is something to compare");
    assert!(
        differences.is_empty(),
        "{} of {count} replies differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn standalone() {
    compare(Mode::Standalone, 24310, &[BOTH, STANDALONE]);
}

#[test]
fn cluster() {
    compare(Mode::Cluster, 24311, &[BOTH, CLUSTER]);
}

#[test]
fn transactions() {
    compare(Mode::Standalone, 24312, &[TRANSACTIONS]);
}

#[test]
fn transactions_in_a_cluster() {
    compare(Mode::Cluster, 24313, &[TRANSACTIONS]);
}

#[test]
fn scripts() {
    compare(Mode::Standalone, 24314, &[SCRIPTS]);
}

#[test]
fn scripts_in_a_cluster() {
    compare(Mode::Cluster, 24315, &[SCRIPTS, SCRIPTS_IN_CLUSTER]);
}
