//! Clusters of real processes, of one kind and of both, that redis-cli creates.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::processes::{Kind, Process, redis_cli, wait_for};

const OURS: Kind = Kind::Ours;
const REDIS: Kind = Kind::Redis;

/// Six nodes that redis-cli has made a cluster of, with one replica for each of three primaries.
pub(crate) fn create(kinds: [Kind; 6], timeout_ms: u64) -> Vec<Process> {
    let nodes: Vec<Process> = kinds
        .into_iter()
        .map(|kind| Process::start(kind, timeout_ms))
        .collect();
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port))
        .collect();
    let mut arguments = vec!["--cluster", "create"];
    arguments.extend(addresses.iter().map(String::as_str));
    arguments.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let (succeeded, text) = redis_cli(&arguments);
    assert!(
        succeeded && text.contains("[OK] All 16384 slots covered."),
        "{text}"
    );
    settle(&nodes, 6);
    nodes
}

/// Waits until all say that all is well, and see the same.
pub(crate) fn settle(nodes: &[Process], count: usize) {
    let mut last = String::new();
    wait_for(Duration::from_secs(30), "all agree", || {
        let views: BTreeSet<BTreeSet<String>> = nodes.iter().map(view).collect();
        last = format!("{views:#?}");
        let well = nodes
            .iter()
            .all(|node| node.ask("CLUSTER INFO").contains("cluster_state:ok"));
        well && views.len() == 1 && views.iter().all(|view| view.len() == count)
    });
}

/// What CLUSTER NODES says of each node that works, but for times and links.
fn view(node: &Process) -> BTreeSet<String> {
    let text = node.ask("CLUSTER NODES");
    let lines = text
        .lines()
        .filter(|line| line.len() > 40 && !line.contains("fail"));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let flags = words[2].replace("myself,", "");
            let slots = words.get(8..).unwrap_or_default().join(" ");
            format!(
                "{} {} {flags} {} {} {slots}",
                words[0], words[1], words[3], words[6]
            )
        })
        .collect()
}

pub(crate) fn is_primary(node: &Process) -> bool {
    node.ask("CLUSTER NODES")
        .lines()
        .any(|line| line.contains("myself,master"))
}

/// The replica of a node.
pub(crate) fn replica_of(nodes: &[Process], primary: &Process) -> usize {
    let id = primary.id();
    let follows = |node: &Process| {
        let text = node.ask("CLUSTER NODES");
        let mut mine = text.lines().filter(|line| line.contains("myself"));
        mine.any(|line| line.split(' ').nth(3) == Some(&id))
    };
    nodes.iter().position(follows).unwrap()
}

/// Kills the primary whose number it is, and sees another take its place and it come back.
fn kill_and_recover(nodes: &mut [Process], victim: usize, timeout_ms: u64) {
    let heir = replica_of(nodes, &nodes[victim]);
    nodes[victim].kill();
    let most = Duration::from_millis(timeout_ms * 2 + 3_000);
    wait_for(most, "a replica takes over", || is_primary(&nodes[heir]));
    nodes[victim].restart();
    wait_for(Duration::from_secs(20), "it is a replica", || {
        !is_primary(&nodes[victim])
    });
    settle(nodes, 6);
}

#[test]
fn six_of_ours() {
    let mut nodes = create([OURS; 6], 1_000);
    let (succeeded, text) = redis_cli(&["--cluster", "check", &address(&nodes[4])]);
    assert!(succeeded && text.contains("[OK] All nodes agree"), "{text}");
    kill_and_recover(&mut nodes, 0, 1_000);
    let (succeeded, text) = redis_cli(&["--cluster", "check", &address(&nodes[0])]);
    assert!(succeeded && text.contains("[OK] All nodes agree"), "{text}");
}

#[test]
fn a_replica_whose_keys_are_too_old_does_not_replace_a_process_that_has_ended() {
    let mut nodes = create([OURS; 6], 1_000);
    let mut primary = nodes.remove(0);
    let replica = &nodes[replica_of(&nodes, &primary)];
    for line in [
        "CONFIG SET cluster-replica-validity-factor 1",
        "CONFIG SET repl-ping-replica-period 1",
    ] {
        assert_eq!(replica.ask(line), "+OK");
    }
    // It hears nothing for longer than a PING and two timeouts take, and then at once that the
    // primary is gone.
    let sleep = format!(
        "MULTI\r\nCLIENT KILL {}\r\nDEBUG SLEEP 4\r\nEXEC",
        address(&primary)
    );
    assert_eq!(primary.ask("CLIENT PAUSE 60000 WRITE"), "+OK");
    std::thread::scope(|scope| {
        scope.spawn(|| replica.ask(&sleep));
        std::thread::sleep(Duration::from_millis(3_700));
        primary.kill();
    });
    std::thread::sleep(Duration::from_secs(3));
    assert!(!is_primary(replica));
}

#[test]
fn ours_and_redis_together() {
    // The first three become primaries, and get replicas of the other kind.
    let mut nodes = create([OURS, REDIS, OURS, REDIS, OURS, REDIS], 1_000);
    let (succeeded, text) = redis_cli(&["--cluster", "check", &address(&nodes[1])]);
    assert!(succeeded && text.contains("[OK] All nodes agree"), "{text}");
    let primaries: Vec<usize> = (0..6).filter(|index| is_primary(&nodes[*index])).collect();
    for kind in [OURS, REDIS] {
        let of_kind = |index: &&usize| nodes[**index].kind == kind;
        let victim = *primaries.iter().find(of_kind).unwrap();
        kill_and_recover(&mut nodes, victim, 1_000);
    }
}

#[test]
fn each_kind_notices_when_the_other_is_silent() {
    let nodes = create([OURS, REDIS, OURS, REDIS, OURS, REDIS], 1_000);
    for kind in [OURS, REDIS] {
        let victim = nodes
            .iter()
            .find(|node| node.kind == kind && !is_primary(node));
        let Some(victim) = victim else { continue };
        let id = victim.id();
        victim.signal("-STOP");
        let says_failed = |node: &Process| {
            let text = node.ask("CLUSTER NODES");
            text.lines()
                .any(|line| line.starts_with(&id) && line.contains("slave,fail "))
        };
        let others = || nodes.iter().filter(|node| node.port != victim.port);
        wait_for(
            Duration::from_secs(10),
            "all say that it has failed",
            || others().all(says_failed),
        );
        victim.signal("-CONT");
        wait_for(Duration::from_secs(10), "all take it back", || {
            !others().any(says_failed)
        });
    }
    settle(&nodes, 6);
}

#[test]
fn the_cluster_file_of_each_is_read_by_the_other() {
    let mut nodes = create([OURS, REDIS, OURS, REDIS, OURS, REDIS], 1_000);
    for node in &mut nodes {
        node.kill();
        node.kind = if node.kind == OURS { REDIS } else { OURS };
    }
    for node in &mut nodes {
        node.restart();
    }
    settle(&nodes, 6);
    // A file can't be used by two.
    let used = nodes.iter().find(|node| node.kind == OURS).unwrap();
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_slotway-node"))
        .current_dir(used.directory())
        .args([
            "--port",
            "0",
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            "0",
        ])
        .output()
        .unwrap();
    let text = [&second.stdout[..], &second.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        !second.status.success() && text.contains("is already used by a different"),
        "{text}"
    );
}

#[test]
fn a_failover_that_is_asked_for_goes_from_kind_to_kind() {
    let nodes = create([OURS, REDIS, OURS, REDIS, OURS, REDIS], 1_000);
    for form in ["CLUSTER FAILOVER FORCE", "CLUSTER FAILOVER TAKEOVER"] {
        let primary = nodes.iter().find(|node| is_primary(node)).unwrap();
        let heir = &nodes[replica_of(&nodes, primary)];
        assert_eq!(heir.ask(form), "+OK");
        wait_for(Duration::from_secs(3), form, || {
            is_primary(heir) && !is_primary(primary)
        });
        settle(&nodes, 6);
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn address(node: &Process) -> String {
    format!("127.0.0.1:{}", node.port)
}
