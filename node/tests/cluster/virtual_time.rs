//! Whole clusters on a virtual clock: they form, lose members, elect others and heal.

use std::collections::BTreeSet;
use std::time::Duration;

use slotway_node::{ClusterView, Config};
use slotway_protocol::cluster::{Role, Slot};

use crate::network::{Network, first_id};

const TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn config() -> Config {
    Config {
        cluster_node_timeout: TIMEOUT.as_millis() as u64,
        // Replicas come from other hosts, without a password.
        protected_mode: false,
        // Keys are not looked at here.
        cluster_replica_validity_factor: 0,
        cluster_crash_failover: false,
        ..Config::default()
    }
}

/// So many primaries that share all slots, with so many replicas each, that know each other.
pub(crate) fn form(config: Config, primaries: usize, replicas: usize) -> Network {
    let mut network = Network::new(config);
    let count = primaries * (1 + replicas);
    for index in 0..count {
        network.add();
        let epoch = index + 1;
        assert_eq!(
            ask(
                &mut network,
                index,
                &format!("CLUSTER SET-CONFIG-EPOCH {epoch}")
            ),
            "+OK"
        );
    }
    for index in 0..primaries {
        let first = index * 16_384 / primaries;
        let last = (index + 1) * 16_384 / primaries - 1;
        let line = format!("CLUSTER ADDSLOTSRANGE {first} {last}");
        assert_eq!(ask(&mut network, index, &line), "+OK");
    }
    for index in 1..count {
        assert_eq!(
            ask(&mut network, index, "CLUSTER MEET 10.0.0.1 7000"),
            "+OK"
        );
    }
    network.run_until(Duration::from_secs(20), "all know all", |network| {
        (0..count).all(|index| {
            let nodes = network.view(index).nodes();
            nodes.len() == count && nodes.iter().all(|node| !node.handshake)
        })
    });
    for index in primaries..count {
        let primary = id(&mut network, index % primaries);
        let reply = ask(&mut network, index, &format!("CLUSTER REPLICATE {primary}"));
        assert_eq!(reply, "+OK");
    }
    settle(&mut network);
    network
}

pub(crate) fn ask(network: &mut Network, index: usize, line: &str) -> String {
    network.ask(index, line).trim_end().to_owned()
}

pub(crate) fn id(network: &mut Network, index: usize) -> String {
    let reply = ask(network, index, "CLUSTER MYID");
    reply.lines().nth(1).unwrap().to_owned()
}

/// Waits until all nodes that are up say that all is well, and agree on who owns what.
pub(crate) fn settle(network: &mut Network) -> Duration {
    network.run_until(Duration::from_secs(60), "the cluster is well", |network| {
        let up = nodes_up(network);
        let mut views: Vec<_> = Vec::new();
        for index in up {
            if !ask(network, index, "CLUSTER INFO").contains("cluster_state:ok") {
                return false;
            }
            views.push(agreed(network.view(index)));
        }
        views.windows(2).all(|pair| pair[0] == pair[1])
    })
}

/// What all nodes have to agree on: who owns what, with which epoch, and who follows whom.
fn agreed(view: &ClusterView) -> BTreeSet<String> {
    let nodes = view.nodes().iter().filter(|node| !node.failed);
    nodes
        .map(|node| {
            let ranges = view.ranges(&node.id);
            let epoch = (node.role == Role::Primary).then_some(node.epoch);
            format!(
                "{} {:?} {:?} {epoch:?} {ranges:?}",
                node.id, node.role, node.primary
            )
        })
        .collect()
}

fn nodes_up(network: &Network) -> Vec<usize> {
    (0..32)
        .take_while(|index| network.exists(*index))
        .filter(|index| network.is_up(*index))
        .collect()
}

fn owner(network: &Network, observer: usize, slot: u64) -> String {
    let slot = Slot::new(slot).unwrap();
    network.view(observer).owner(slot).unwrap().id.clone()
}

#[test]
fn twelve_nodes_form_a_cluster() {
    let mut network = form(config(), 3, 3);
    for index in 0..12 {
        let info = ask(&mut network, index, "CLUSTER INFO");
        assert!(info.contains("cluster_slots_ok:16384\r\n"), "{info}");
        assert!(info.contains("cluster_known_nodes:12\r\n"), "{info}");
        assert!(info.contains("cluster_size:3\r\n"), "{info}");
        let nodes = ask(&mut network, index, "CLUSTER NODES");
        assert_eq!(nodes.matches(" connected").count(), 12, "{nodes}");
        assert_eq!(nodes.matches("slave").count(), 9, "{nodes}");
    }
    // Links are opened in both directions, each when its node has heard of the other.
    network.run_until(Duration::from_secs(10), "two links each", |network| {
        (0..12).all(|index| ask(network, index, "CLUSTER LINKS").starts_with("*22\r\n"))
    });
}

#[test]
fn a_replica_takes_the_place_of_a_primary_that_is_killed() {
    let mut network = form(config(), 3, 1);
    let (old, new) = (id(&mut network, 0), id(&mut network, 3));
    assert_eq!(owner(&network, 1, 0), old);
    network.kill(0);
    let took = network.run_until(Duration::from_secs(10), "another owner", |network| {
        (1..6).all(|observer| owner(network, observer, 0) == new)
    });
    assert!(
        took > TIMEOUT && took < TIMEOUT + Duration::from_millis(800),
        "{took:?}"
    );
    settle(&mut network);
    network.start(0);
    network.run_until(
        Duration::from_secs(20),
        "it comes back as a replica",
        |network| {
            let node = network.view(1).node(&old).unwrap();
            node.primary.as_ref() == Some(&new) && !node.failed
        },
    );
    settle(&mut network);
}

#[test]
fn a_vote_is_sent_only_once_it_is_certain_to_be_remembered() {
    let mut network = form(config(), 3, 1);
    network.saving = 1_500_000;
    let new = id(&mut network, 3);
    network.kill(0);
    let took = network.run_until(Duration::from_secs(10), "another owner", |network| {
        (1..6).all(|observer| owner(network, observer, 0) == new)
    });
    assert!(took > TIMEOUT + Duration::from_millis(1_500), "{took:?}");
    for voter in [1, 2] {
        let file = network.file(voter).unwrap();
        assert!(file.contains("lastVoteEpoch 7"), "{file}");
    }
}

#[test]
fn a_vote_that_was_saved_late_does_not_count_for_a_later_election() {
    let mut network = form(config(), 3, 1);
    network.slow_down(1, Duration::ZERO, Duration::from_millis(1_500));
    network.kill(0);
    network.run_until(Duration::from_secs(10), "an election", |network| {
        !network.tap.candidates.is_empty()
    });
    // Long enough for a voter to have heard that the primary is down.
    network.run(Duration::from_millis(700));
    assert_eq!(ask(&mut network, 2, "CLUSTER BUMPEPOCH"), "+BUMPED 8");
    // It does not stand again in a later one.
    network.stop(3, Duration::from_secs(10));
    network.run(Duration::from_secs(4));
    let votes = network.tap.votes.iter();
    let epochs: Vec<u64> = votes
        .filter(|vote| vote.voter == 1)
        .map(|vote| vote.epoch)
        .collect();
    assert_eq!(epochs, [7]);
}

#[test]
fn who_is_elected_says_so_only_once_it_is_certain_to_be_remembered() {
    let mut network = form(config(), 3, 1);
    let (old, new) = (id(&mut network, 0), id(&mut network, 3));
    network.slow_down(3, Duration::ZERO, Duration::from_secs(2));
    network.kill(0);
    network.run_until(Duration::from_secs(10), "it is elected", |network| {
        owner(network, 3, 0) == new
    });
    network.run(Duration::from_secs(1));
    for other in [1, 2, 4, 5] {
        assert_eq!(owner(&network, other, 0), old, "{other}");
    }
    assert!(!network.file(3).unwrap().contains("myself,master"));
    network.run_until(Duration::from_secs(10), "all know", |network| {
        (1..6).all(|observer| owner(network, observer, 0) == new)
    });
    assert!(network.file(3).unwrap().contains("myself,master"));
}

#[test]
fn nobody_is_elected_without_most_primaries() {
    let mut network = form(config(), 3, 1);
    let owners = [0, 8_000].map(|slot| owner(&network, 2, slot));
    network.kill(0);
    network.kill(1);
    network.run(Duration::from_secs(30));
    for index in 2..6 {
        assert_eq!([0, 8_000].map(|slot| owner(&network, index, slot)), owners);
        let info = ask(&mut network, index, "CLUSTER INFO");
        assert!(info.contains("cluster_state:fail"), "{info}");
    }
    let reply = ask(&mut network, 2, "GET k");
    assert!(reply.starts_with("-CLUSTERDOWN"), "{reply}");
    network.start(0);
    network.start(1);
    settle(&mut network);
}

#[test]
fn what_one_alone_cannot_reach_has_not_failed() {
    let mut network = form(config(), 3, 1);
    let owners = agreed(network.view(2));
    network.cut(0, 1);
    network.run(TIMEOUT * 5);
    let nodes = ask(&mut network, 1, "CLUSTER NODES");
    assert!(nodes.contains("master,fail? "), "{nodes}");
    assert_eq!(agreed(network.view(2)), owners);
    network.heal();
    settle(&mut network);
}

#[test]
fn two_elections_at_a_time_end_with_two_epochs() {
    let mut network = form(config(), 5, 1);
    // So far apart, both ask before either hears of the other.
    network.latency = 80_000;
    network.kill(0);
    network.kill(1);
    network.run_until(Duration::from_secs(60), "two heirs", |network| {
        let owners = [0, 4_000].map(|slot| owner(network, 2, slot));
        owners == [5, 6].map(|index| id(network, index))
    });
    let view = network.view(2);
    let epochs: BTreeSet<u64> = (2..7)
        .map(|index| view.node(&first_id(index)).unwrap().epoch)
        .collect();
    assert_eq!(epochs.len(), 5, "{epochs:?}");
}

#[test]
fn a_primary_that_is_cut_off_takes_no_requests_and_gives_way() {
    let mut network = form(config(), 3, 1);
    let new = id(&mut network, 3);
    for other in 1..6 {
        network.cut(0, other);
    }
    network.run_until(Duration::from_secs(10), "another owner", |network| {
        (1..6).all(|observer| owner(network, observer, 0) == new)
    });
    let info = ask(&mut network, 0, "CLUSTER INFO");
    assert!(info.contains("cluster_state:fail"), "{info}");
    network.heal();
    settle(&mut network);
    assert_eq!(owner(&network, 0, 0), new);
    let nodes = ask(&mut network, 0, "CLUSTER NODES");
    assert!(nodes.contains(&format!("myself,slave {new}")), "{nodes}");
}

#[test]
fn equal_epochs_do_not_stay_equal() {
    let mut network = Network::new(config());
    for index in 0..3 {
        network.add();
        let (first, last) = (index * 5_000, index * 5_000 + 4_999);
        let line = format!("CLUSTER ADDSLOTSRANGE {first} {last}");
        assert_eq!(ask(&mut network, index, &line), "+OK");
    }
    assert_eq!(ask(&mut network, 1, "CLUSTER MEET 10.0.0.1 7000"), "+OK");
    assert_eq!(ask(&mut network, 2, "CLUSTER MEET 10.0.0.1 7000"), "+OK");
    network.run_until(Duration::from_secs(20), "three epochs", |network| {
        (0..3).all(|observer| {
            let nodes = network.view(observer).nodes();
            let epochs: BTreeSet<u64> = nodes.iter().map(|node| node.epoch).collect();
            nodes.len() == 3 && epochs.len() == 3
        })
    });
}

#[test]
fn a_failover_that_is_asked_for_loses_nobody() {
    let mut network = form(config(), 3, 1);
    let new = id(&mut network, 3);
    let reply = ask(&mut network, 0, "CLUSTER FAILOVER");
    assert_eq!(reply, "-ERR You should send CLUSTER FAILOVER to a replica");
    for (form, most) in [("", 200), (" FORCE", 200), (" TAKEOVER", 100)] {
        let holder = network
            .view(1)
            .owner(Slot::new(0).unwrap())
            .unwrap()
            .id
            .clone();
        let candidate = if holder == new { 0 } else { 3 };
        // A voter gives a shard one vote in that time.
        network.run(TIMEOUT * 3);
        let reply = ask(&mut network, candidate, &format!("CLUSTER FAILOVER{form}"));
        assert_eq!(reply, "+OK");
        let wanted = id(&mut network, candidate);
        let took = network.run_until(Duration::from_secs(5), form, |network| {
            (0..6).all(|observer| owner(network, observer, 0) == wanted)
        });
        assert!(took < Duration::from_millis(most), "{form}: {took:?}");
        settle(&mut network);
        let info = ask(&mut network, candidate, "CLUSTER INFO");
        assert!(info.contains("cluster_state:ok"), "{info}");
    }
}

#[test]
fn a_process_that_has_ended_is_replaced_at_once_and_a_silent_one_is_not() {
    let with_crash_failover = Config {
        cluster_node_timeout: 15_000,
        cluster_crash_failover: true,
        ..config()
    };
    let mut network = form(with_crash_failover.clone(), 3, 1);
    // Replicas have to have had their keys.
    let is_synced = network.is_replicating(3);
    let new = id(&mut network, 3);
    for other in 1..6 {
        network.cut(0, other);
    }
    network.run(Duration::from_secs(10));
    assert_ne!(owner(&network, 1, 0), new, "silence says nothing");
    network.heal();
    settle(&mut network);
    if !is_synced {
        return;
    }
    network.kill(0);
    let took = network.run_until(Duration::from_secs(5), "another owner", |network| {
        (1..6).all(|observer| owner(network, observer, 0) == new)
    });
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[test]
fn what_a_node_is_called_counts_at_once() {
    let mut network = form(config(), 3, 0);
    for (line, shown) in [
        ("CONFIG SET cluster-announce-hostname me.com", ",me.com "),
        ("CONFIG SET cluster-announce-port 1234", ":1234@"),
        ("CONFIG SET cluster-announce-bus-port 5678", "@5678"),
    ] {
        assert_eq!(ask(&mut network, 0, line), "+OK");
        let nodes = ask(&mut network, 0, "CLUSTER NODES");
        assert!(nodes.contains(shown), "{line}: {nodes}");
    }
}

#[test]
fn who_is_forgotten_is_not_brought_back_by_hearsay() {
    let mut network = form(config(), 3, 1);
    let gone = id(&mut network, 5);
    for index in 0..5 {
        let reply = ask(&mut network, index, &format!("CLUSTER FORGET {gone}"));
        assert_eq!(reply, "+OK");
        // Those that have not been told yet go on talking of it.
        network.run(Duration::from_secs(3));
    }
    network.run(Duration::from_secs(20));
    for index in 0..5 {
        assert!(network.view(index).node(&gone).is_none(), "{index}");
    }
    let reply = ask(&mut network, 0, &format!("CLUSTER FORGET {gone}"));
    assert_eq!(reply, format!("-ERR Unknown node {gone}"));
    assert_eq!(ask(&mut network, 5, "CLUSTER RESET HARD"), "+OK");
    let info = ask(&mut network, 5, "CLUSTER INFO");
    assert!(info.contains("cluster_known_nodes:1\r\n"), "{info}");
}

#[test]
fn a_primary_without_replicas_is_given_one() {
    let mut network = form(config(), 3, 2);
    let orphan = id(&mut network, 0);
    let lost = [3, 6].map(|index| id(&mut network, index));
    // Both of its replicas go; each of the others has two.
    network.kill(3);
    network.kill(6);
    network.run_until(Duration::from_secs(30), "a replica moves", |network| {
        let view = network.view(1);
        view.replicas(&orphan)
            .any(|replica| !lost.contains(&replica.id))
    });
    settle(&mut network);
}

#[test]
fn the_cluster_file_brings_everything_back() {
    let mut network = form(config(), 3, 1);
    let before = agreed(network.view(0));
    for index in 0..6 {
        network.kill(index);
    }
    network.run(Duration::from_secs(1));
    for index in 0..6 {
        network.start(index);
    }
    settle(&mut network);
    assert_eq!(agreed(network.view(0)), before);
    let file = network.file(0).unwrap().to_owned();
    assert!(
        file.contains("\nvars currentEpoch 6 lastVoteEpoch 0\n"),
        "{file}"
    );
    assert_eq!(file.lines().count(), 7);
}

#[test]
fn slots_that_are_given_to_another_node_are_so_for_all() {
    let mut network = form(config(), 3, 1);
    let (source, target) = (id(&mut network, 0), id(&mut network, 1));
    for (index, line) in [
        (1, format!("CLUSTER SETSLOT 7 IMPORTING {source}")),
        (0, format!("CLUSTER SETSLOT 7 MIGRATING {target}")),
        (1, format!("CLUSTER SETSLOT 7 NODE {target}")),
    ] {
        assert_eq!(ask(&mut network, index, &line), "+OK");
    }
    network.run_until(Duration::from_secs(3), "all know", |network| {
        (0..6).all(|observer| owner(network, observer, 7) == target)
    });
    settle(&mut network);
    let reply = ask(&mut network, 2, "CLUSTER BUMPEPOCH");
    assert!(reply.starts_with("+BUMPED "), "{reply}");
    settle(&mut network);
}

#[test]
fn a_change_of_slots_is_answered_once_it_is_saved_in_a_transaction_and_a_script_too() {
    let mut network = Network::new(config());
    network.add();
    network.saving = 1_000_000;
    let script = "EVAL \"return redis.call('CLUSTER', 'ADDSLOTS', '3')\" 0";
    let transaction = [
        "MULTI",
        "CLUSTER ADDSLOTS 2",
        "CLUSTER COUNTKEYSINSLOT 2",
        "EXEC",
    ];
    for (lines, expected) in [
        (&["CLUSTER ADDSLOTS 1"][..], "+OK\r\n"),
        (&transaction[..], "*2\r\n+OK\r\n:0\r\n"),
        (&[script][..], "+OK\r\n"),
    ] {
        network.run(Duration::from_secs(3));
        let client = network.client(0);
        for line in lines {
            network.replies(0, client);
            network.request(0, client, line);
        }
        network.run(Duration::from_millis(900));
        network.request(0, client, "PING");
        assert_eq!(network.replies(0, client).0, "", "{lines:?}");
        network.run(Duration::from_millis(200));
        let answered = network.replies(0, client).0;
        assert_eq!(answered, format!("{expected}+PONG\r\n"), "{lines:?}");
    }
}

#[test]
fn a_slot_that_moves_is_not_taken_back_by_who_has_a_higher_epoch_than_was_known() {
    let mut network = form(config(), 3, 1);
    let (target, source) = (id(&mut network, 0), id(&mut network, 1));
    let slot = 5_461;
    assert_eq!(owner(&network, 2, slot), source);
    network.cut_one_way(1, 0);
    assert!(ask(&mut network, 1, "CLUSTER BUMPEPOCH").starts_with("+BUMPED"));
    for (index, line) in [
        (0, format!("CLUSTER SETSLOT {slot} IMPORTING {source}")),
        (1, format!("CLUSTER SETSLOT {slot} MIGRATING {target}")),
        (0, format!("CLUSTER SETSLOT {slot} NODE {target}")),
    ] {
        assert_eq!(ask(&mut network, index, &line), "+OK", "{index}: {line}");
    }
    // The source's higher epoch gets there before the source is told that the slot has gone.
    network.heal();
    network.run(Duration::from_millis(1));
    let line = format!("CLUSTER SETSLOT {slot} NODE {target}");
    assert_eq!(ask(&mut network, 1, &line), "+OK");
    settle(&mut network);
    for observer in 0..6 {
        assert_eq!(owner(&network, observer, slot), target);
    }
}
