//! A primary that ends in order: a replica takes its place first, and no request is lost.

use std::time::Duration;

use slotway_node::{Config, Event};
use slotway_protocol::cluster::Slot;

use crate::network::Network;
use crate::virtual_time::{ask, config, form, id, settle};

const MS: Duration = Duration::from_millis(1);
const WRITES_BEFORE: u32 = 20;

fn quick() -> Config {
    Config {
        save: Vec::new(),
        protected_mode: false,
        ..config()
    }
}

/// Three primaries with so many replicas each, which have their keys.
fn ready(config: Config, replicas: usize) -> Network {
    let mut network = form(config, 3, replicas);
    let most = Duration::from_secs(20);
    network.run_until(most, "the replicas have their keys", |network| {
        (3..3 + 3 * replicas).all(|index| network.is_replicating(index))
    });
    network.run(Duration::from_secs(2));
    network
}

/// A key of the first primary.
fn key() -> String {
    let mut keys = (0..).map(|number| format!("key{number}"));
    let is_first = |key: &String| Slot::of(key.as_bytes()).number() < 5_000;
    keys.find(is_first).unwrap()
}

fn holder(network: &Network, observer: usize) -> String {
    let owner = network.view(observer).owner(Slot::new(0).unwrap());
    owner.unwrap().id.clone()
}

/// Writes every millisecond until the connection is closed, some time before the first node is to
/// end and after that. What was answered, and for how long nothing was.
fn end_while_writing(network: &mut Network, most: u32) -> (Vec<String>, u32) {
    let client = network.client(0);
    let (mut replies, mut sent, mut quiet, mut longest) = (Vec::new(), 0, 0, 0);
    for number in 0..most {
        if number == WRITES_BEFORE {
            network.tell(0, Event::Terminate);
        }
        sent += u32::from(network.request(0, client, &format!("SET {} {number}", key())));
        network.run(MS);
        let (text, is_open) = network.replies(0, client);
        quiet = if text.is_empty() { quiet + 1 } else { 0 };
        longest = longest.max(quiet);
        replies.extend(text.lines().map(str::to_owned));
        if !is_open {
            assert_eq!(replies.len(), sent as usize, "each is answered");
            return (replies, longest);
        }
    }
    panic!("it is still there after {most} ms: {replies:?}");
}

#[test]
fn a_replica_takes_over_before_its_primary_ends() {
    let mut network = ready(quick(), 2);
    let heirs = [3, 6].map(|index| id(&mut network, index));
    let (replies, longest) = end_while_writing(&mut network, 1_000);
    assert!(longest < 40, "nothing for {longest} ms");
    let moved = replies.iter().filter(|reply| reply.starts_with("-MOVED "));
    let taken = replies.iter().filter(|reply| *reply == "+OK").count();
    let moved = moved.count();
    assert_eq!(taken + moved, replies.len(), "{replies:?}");
    // Whoever does not learn of it is sent away for half a second.
    assert!((400..600).contains(&moved), "{moved}");
    assert!(replies.last().unwrap().starts_with("-MOVED "));
    network.run_until(MS * 100, "the process is gone", |network| !network.is_up(0));
    let heir = holder(&network, 1);
    assert!(heirs.contains(&heir), "{heir}");
    settle(&mut network);
    let index = if heir == heirs[0] { 3 } else { 6 };
    let reply = ask(&mut network, index, &format!("GET {}", key()));
    assert_eq!(reply.lines().nth(1).map(str::parse), Some(Ok(taken - 1)));
    // The other replica and the old primary go on with it, with what they have.
    network.start(0);
    settle(&mut network);
    network.run_until(Duration::from_secs(20), "they follow", |network| {
        network.is_replicating(9 - index) && network.is_replicating(0)
    });
    let info = ask(&mut network, index, "INFO stats");
    assert!(
        info.contains("sync_full:1\r\n"),
        "only the new process: {info}"
    );
}

#[test]
fn shutdown_hands_over_too_and_with_a_password() {
    let mut network = ready(quick(), 1);
    for index in 0..6 {
        for name in ["masterauth", "requirepass"] {
            let line = format!("AUTH secret\r\nCONFIG SET {name} secret");
            assert!(ask(&mut network, index, &line).ends_with("+OK"));
        }
    }
    let heir = network.view(3).nodes();
    let heir = heir
        .iter()
        .find(|node| node.primary.is_some() && node.address.host.ends_with(".4"));
    let heir = heir.unwrap().id.clone();
    let client = network.client(0);
    assert!(network.request(0, client, "AUTH secret\r\nSHUTDOWN"));
    let took = network.run_until(MS * 700, "the process is gone", |network| !network.is_up(0));
    // Nobody has to be sent away, but somebody may come yet.
    assert!(took >= MS * 50 && took < MS * 150, "{took:?}");
    assert_eq!(network.replies(0, client), ("+OK\r\n".to_owned(), false));
    assert_eq!(holder(&network, 1), heir);
}

#[test]
fn a_replica_that_is_to_take_over_from_nobody_does_not() {
    let mut network = ready(quick(), 1);
    let line = "CONFIG SET cluster-replica-no-failover yes";
    assert_eq!(ask(&mut network, 3, line), "+OK");
    // The primary hears of it at once, not with some ping.
    network.run(MS * 5);
    let me = id(&mut network, 0);
    end_while_writing(&mut network, 200);
    assert_eq!(holder(&network, 1), me);
}

#[test]
fn what_the_replica_refuses_is_no_reason_to_stay() {
    let mut network = ready(quick(), 1);
    // The primary has no password to log in with.
    assert_eq!(ask(&mut network, 3, "CONFIG SET requirepass secret"), "+OK");
    let me = id(&mut network, 0);
    let (replies, longest) = end_while_writing(&mut network, 200);
    assert!(longest < 10, "nothing for {longest} ms");
    let down = "-CLUSTERDOWN The cluster is down";
    assert_eq!(replies.last().map(String::as_str), Some(down));
    assert_eq!(holder(&network, 1), me);
}

#[test]
fn now_means_now_and_no_means_no() {
    for says_no in [false, true] {
        let mut network = ready(
            Config {
                cluster_shutdown_failover: !says_no,
                ..quick()
            },
            1,
        );
        let me = id(&mut network, 0);
        let client = network.client(0);
        let line = if says_no { "SHUTDOWN" } else { "SHUTDOWN NOW" };
        assert!(network.request(0, client, line));
        let took = network.run_until(MS * 100, line, |network| !network.is_up(0));
        assert!(took <= MS * 20, "{line}: {took:?}");
        assert_eq!(network.replies(0, client), (String::new(), false));
        assert_eq!(holder(&network, 1), me);
    }
}

#[test]
fn replicas_are_waited_for_but_not_for_ever() {
    let mut network = ready(
        Config {
            shutdown_timeout: 1,
            ..quick()
        },
        1,
    );
    network.cut(0, 3);
    let writer = network.client(0);
    let line = format!("SET {} 1", key());
    assert!(network.request(0, writer, &line));
    assert_eq!(network.replies(0, writer).0, "+OK\r\n");
    let client = network.client(0);
    assert!(network.request(0, client, "SHUTDOWN"));
    assert!(network.request(0, writer, &line));
    network.run(MS * 500);
    assert_eq!(
        network.replies(0, writer),
        (String::new(), true),
        "it waits"
    );
    let info = ask(&mut network, 0, "INFO server");
    assert!(info.contains("shutdown_in_milliseconds:"), "{info}");
    // Somebody calls it off, and again there is nothing to call off.
    assert_eq!(ask(&mut network, 0, "SHUTDOWN ABORT"), "+OK");
    let failed = "-ERR Errors trying to SHUTDOWN. Check logs.\r\n";
    assert_eq!(network.replies(0, client), (failed.to_owned(), true));
    assert_eq!(network.replies(0, writer), ("+OK\r\n".to_owned(), true));
    let reply = ask(&mut network, 0, "SHUTDOWN ABORT");
    assert_eq!(reply, "-ERR No shutdown in progress.");
    network.tell(0, Event::Interrupt);
    let took = network.run_until(Duration::from_secs(3), "it is gone", |network| {
        !network.is_up(0)
    });
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < MS * 1_100, "{took:?}");
}

#[test]
fn without_a_majority_nobody_is_asked() {
    let mut network = ready(quick(), 1);
    network.kill(1);
    network.kill(2);
    network.run(Duration::from_secs(10));
    network.tell(0, Event::Terminate);
    network.run_until(MS * 100, "the process is gone", |network| !network.is_up(0));
}

#[test]
fn whoever_ends_with_its_replica_does_not_wait_for_it() {
    let mut network = ready(quick(), 1);
    for index in 0..6 {
        network.tell(index, Event::Terminate);
    }
    let most = Duration::from_secs(2);
    let took = network.run_until(most, "all are gone", |network| {
        (0..6).all(|index| !network.is_up(index))
    });
    assert!(took < Duration::from_secs(1), "{took:?}");
}
