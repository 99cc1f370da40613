//! While a key is on its way to another node, nobody changes it here: who wants to waits until it
//! is confirmed there and gone here. Everybody else is served.

use std::time::Duration;

use slotway_node::{ClusterConfig, ClusterView, NodeConfig, NodeInfo};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Address, CloseWhen};

use crate::bench::Bench;

/// A node that has sent `k` and `l` to another and waits for its replies; the client that waits,
/// another one, and the connection to the other node.
fn migrating() -> (Bench, usize, usize, usize) {
    let mut bench = Bench::new(NodeConfig::default());
    let (mover, other) = (bench.client(), bench.client());
    bench.check(other, "MSET k 1 l 2 free 3\r\n", "+OK\r\n");
    bench.actions.clear();
    bench.check(
        mover,
        "MIGRATE 10.0.0.9 7000 \"\" 0 5000 KEYS k l\r\nPING\r\n",
        "",
    );
    let (token, address) = bench.asked_for().unwrap();
    assert_eq!(address, Address::new("10.0.0.9", 7000));
    let target = bench.connected(token);
    let sent = bench.take(target);
    assert!(sent.starts_with("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*4\r\n$7\r\nRESTORE\r\n$1\r\nk"));
    assert!(sent.contains("$1\r\nl\r\n"), "{sent:?}");
    (bench, mover, other, target)
}

#[test]
fn a_write_waits_until_the_key_has_moved() {
    let (mut bench, mover, other, target) = migrating();
    // Reads, and what does not touch those keys, are served.
    bench.check(other, "GET k\r\nSET free 4\r\n", "$1\r\n1\r\n+OK\r\n");
    bench.check(other, "INCR k\r\nPING\r\n", "");
    let third = bench.client();
    bench.check(third, "MULTI\r\nSET l 9\r\n", "+OK\r\n+QUEUED\r\n");
    bench.check(third, "EXEC\r\n", "");
    bench.check(target, "+OK\r\n+OK\r\n", "");
    assert_eq!(bench.take(other), "", "the second key is still on its way");
    bench.check(target, "+OK\r\n", "");
    assert_eq!(bench.take(mover), "+OK\r\n+PONG\r\n");
    // Both keys were gone when the writes ran.
    assert_eq!(bench.take(other), ":1\r\n+PONG\r\n");
    assert_eq!(bench.take(third), "*1\r\n+OK\r\n");
    bench.check(other, "MGET k l\r\n", "*2\r\n$1\r\n1\r\n$1\r\n9\r\n");
}

/// A client that waits for one list and wants to push to another that is on its way.
#[test]
fn who_is_served_waits_for_the_key_as_well() {
    let mut bench = Bench::new(NodeConfig::default());
    let (mover, waiter, other) = (bench.client(), bench.client(), bench.client());
    bench.check(other, "RPUSH k 1\r\n", ":1\r\n");
    bench.check(waiter, "BLMOVE source k LEFT LEFT 0\r\n", "");
    bench.actions.clear();
    bench.check(mover, "MIGRATE 10.0.0.9 7000 k 0 5000\r\n", "");
    let (token, _) = bench.asked_for().unwrap();
    let target = bench.connected(token);
    bench.take(target);
    bench.check(other, "RPUSH source 2\r\n", ":1\r\n");
    assert_eq!(bench.take(waiter), "");
    bench.check(target, "+OK\r\n+OK\r\n", "");
    assert_eq!(bench.take(mover), "+OK\r\n");
    assert_eq!(bench.take(waiter), "$1\r\n2\r\n");
    bench.check(other, "LRANGE k 0 -1\r\n", "*1\r\n$1\r\n2\r\n");
}

/// A slot is on its way here, and one of its keys goes back.
#[test]
fn what_was_asked_for_is_asked_for_when_it_is_tried_again() {
    let ids = ["1".repeat(40), "2".repeat(40)];
    let nodes = [7_000, 7_001].map(|port| {
        let id = &ids[usize::from(port == 7_001)];
        NodeInfo::primary(id, "127.0.0.1", port)
    });
    let mut view = ClusterView::new(nodes.to_vec());
    let slot = |number| Slot::new(number).unwrap();
    view.assign(slot(0), slot(16_383), Some(&ids[0]));
    view.set_importing(Slot::of(b"k"), Some(ids[0].clone()));
    let me = ids[1].clone();
    let mut bench = Bench::new(NodeConfig {
        cluster: Some(ClusterConfig { me, view }),
        ..NodeConfig::default()
    });
    let (mover, other) = (bench.client(), bench.client());
    bench.check(other, "ASKING\r\nSET k 1\r\n", "+OK\r\n+OK\r\n");
    bench.actions.clear();
    bench.check(mover, "MIGRATE 127.0.0.1 7000 k 0 5000\r\n", "");
    let (token, _) = bench.asked_for().unwrap();
    let target = bench.connected(token);
    assert!(bench.take(target).contains("RESTORE-ASKING"));
    bench.check(other, "ASKING\r\nSET k 2\r\nGET k\r\n", "+OK\r\n");
    bench.check(target, "+OK\r\n+OK\r\n", "");
    assert_eq!(bench.take(mover), "+OK\r\n");
    let moved = format!("-MOVED {} 127.0.0.1:7000\r\n", Slot::of(b"k"));
    assert_eq!(bench.take(other), format!("+OK\r\n{moved}"));
}

#[test]
fn a_key_that_is_refused_stays_and_can_be_changed_again() {
    let (mut bench, mover, other, target) = migrating();
    bench.check(other, "APPEND l x\r\n", "");
    bench.check(
        target,
        "+OK\r\n+OK\r\n-BUSYKEY Target key name already exists.\r\n",
        "",
    );
    assert_eq!(
        bench.take(mover),
        "-ERR Target instance replied with error: BUSYKEY Target key name already exists.\r\n\
         +PONG\r\n"
    );
    assert_eq!(bench.take(other), ":2\r\n");
    bench.check(other, "MGET k l\r\n", "*2\r\n$-1\r\n$2\r\n2x\r\n");
}

#[test]
fn a_node_that_falls_silent_is_given_up() {
    let (mut bench, mover, other, target) = migrating();
    bench.check(other, "SET k new\r\n", "");
    bench.check(target, "+OK\r\n+OK\r\n", "");
    bench.actions.clear();
    bench.pass(Duration::from_millis(4_800));
    assert_eq!(bench.take(mover), "");
    bench.pass(Duration::from_millis(300));
    assert_eq!(
        bench.take(mover),
        "-IOERR error or timeout reading to target instance\r\n+PONG\r\n"
    );
    assert_eq!(bench.take(other), "+OK\r\n");
    assert_eq!(bench.wished_to_close(target), Some(CloseWhen::Now));
    // The first was confirmed, so it was gone before it was written again.
    bench.check(other, "MGET k l\r\n", "*2\r\n$3\r\nnew\r\n$1\r\n2\r\n");
}

#[test]
fn an_idle_connection_is_used_again_and_closed_after_a_while() {
    let (mut bench, mover, _, target) = migrating();
    bench.check(target, "+OK\r\n+OK\r\n+OK\r\n", "");
    assert_eq!(bench.take(mover), "+OK\r\n+PONG\r\n");
    bench.send(mover, "SET k 5\r\nMIGRATE 10.0.0.9 7000 k 0 5000\r\n");
    assert_eq!(bench.take(mover), "+OK\r\n");
    assert_eq!(bench.asked_for(), None);
    assert!(bench.take(target).starts_with("*4\r\n$7\r\nRESTORE\r\n"));
    bench.check(target, "+OK\r\n", "");
    assert_eq!(bench.take(mover), "+OK\r\n");
    bench.actions.clear();
    bench.pass(Duration::from_secs(11));
    assert_eq!(bench.wished_to_close(target), Some(CloseWhen::Now));
}

#[test]
fn what_died_while_it_was_idle_is_tried_once_more() {
    let (mut bench, mover, _, target) = migrating();
    bench.check(target, "+OK\r\n+OK\r\n+OK\r\n", "");
    bench.send(mover, "SET k 5\r\nMIGRATE 10.0.0.9 7000 k 0 5000\r\n");
    bench.actions.clear();
    bench.lose(target);
    let (token, _) = bench.asked_for().unwrap();
    let second = bench.connected(token);
    let sent = bench.take(second);
    assert!(sent.starts_with("*2\r\n$6\r\nSELECT\r\n"), "{sent:?}");
    bench.lose(second);
    assert_eq!(bench.asked_for(), None);
    assert!(
        bench
            .take(mover)
            .ends_with("-IOERR error or timeout reading to target instance\r\n")
    );
    bench.check(mover, "GET k\r\n", "$1\r\n5\r\n");
}

#[test]
fn nobody_listens_there() {
    let mut bench = Bench::new(NodeConfig::default());
    let mover = bench.client();
    bench.send(
        mover,
        "SET k 1\r\nMIGRATE 10.0.0.9 7000 k 0 5000\r\nGET k\r\n",
    );
    let (token, _) = bench.asked_for().unwrap();
    bench.refuse(token);
    assert_eq!(
        bench.take(mover),
        "+OK\r\n-IOERR error or timeout writing to target instance\r\n$1\r\n1\r\n"
    );
}

#[test]
fn more_migrations_than_connections_wait_for_one() {
    let mut bench = Bench::new(NodeConfig::default());
    let mut tokens = Vec::new();
    let mut movers = Vec::new();
    for index in 0..65 {
        let mover = bench.client();
        bench.send(mover, &format!("SET k{index} 1\r\n"));
        bench.send(
            mover,
            &format!("MIGRATE 10.0.0.9 {} k{index} 0 5000\r\n", 7_000 + index),
        );
        assert_eq!(bench.take(mover), "+OK\r\n");
        tokens.extend(bench.asked_for());
        movers.push(mover);
    }
    assert_eq!(tokens.len(), 64);
    let first = bench.connected(tokens[0].0);
    bench.send(first, "+OK\r\n+OK\r\n");
    assert_eq!(bench.take(movers[0]), "+OK\r\n");
    let (token, address) = bench.asked_for().unwrap();
    assert_eq!(address.port, 7_064);
    let last = bench.connected(token);
    bench.send(last, "+OK\r\n+OK\r\n");
    assert_eq!(bench.take(movers[64]), "+OK\r\n");
}

#[test]
fn a_large_request_is_sent_as_the_other_takes_it() {
    let mut bench = Bench::new(NodeConfig::default());
    let mover = bench.client();
    let mut keys = String::new();
    for index in 0..40 {
        let value = format!("{index}").repeat(100_000);
        bench.send(mover, "CONFIG SET rdbcompression no\r\n");
        let key = format!("k{index}");
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        bench.send(
            mover,
            &format!("*3\r\n$3\r\nSET\r\n{}{}", bulk(&key), bulk(&value)),
        );
        keys += &format!(" {key}");
    }
    bench.take(mover);
    bench.send(
        mover,
        &format!("MIGRATE 10.0.0.9 7000 \"\" 0 5000 KEYS{keys}\r\n"),
    );
    let (token, _) = bench.asked_for().unwrap();
    let target = bench.connected(token);
    let waiting = {
        use slotway_protocol::engine::Engine;
        let id = slotway_protocol::engine::ConnectionId {
            index: target as u32,
            generation: 0,
        };
        bench.node.output(id).len()
    };
    assert!(waiting < 1_400_000, "{waiting} bytes wait at once");
    let sent = bench.take(target);
    assert!(sent.len() > 5_000_000, "{} bytes were sent", sent.len());
    bench.send(target, &"+OK\r\n".repeat(41));
    assert_eq!(bench.take(mover), "+OK\r\n");
    bench.check(mover, "DBSIZE\r\n", ":0\r\n");
}
