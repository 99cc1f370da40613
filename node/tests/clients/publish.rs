//! Publish and subscribe.

use std::time::Duration;

use slotway_node::NodeConfig;
use slotway_protocol::engine::CloseWhen;

use crate::bench::Bench;
use crate::stage::compare;

/// The first two clients are told, the third publishes.
const SCRIPT: &[&str] = &[
    "2 publish c nobody",
    "0 subscribe c",
    "0 subscribe c",
    "1 psubscribe c* d?",
    "2 publish c one",
    "2 publish cc two",
    "2 publish d three",
    "2 publish dd four",
    "2 publish c \"\"",
    "2 pubsub channels",
    "2 pubsub channels d*",
    "2 pubsub channels c*",
    "2 pubsub channels a b",
    "2 pubsub numsub",
    "2 pubsub numsub c d",
    "2 pubsub numpat",
    "2 pubsub numpat x",
    "2 pubsub shardchannels",
    "2 pubsub shardnumsub c",
    "2 pubsub foo",
    "2 pubsub",
    "2 publish c",
    "2 subscribe",
    // What a subscribed client of RESP2 may send.
    "0 get k",
    "0 client id",
    "0 publish c x",
    "0 multi",
    "0 foo",
    "0 ping",
    "0 ping hello",
    "0 ping a b",
    "0 psubscribe p",
    "0 ssubscribe s",
    "0 unsubscribe x",
    "0 sunsubscribe",
    "0 sunsubscribe",
    "0 unsubscribe",
    "0 unsubscribe",
    "0 get k",
    "0 punsubscribe p",
    "0 punsubscribe",
    "0 get k",
    "0 unsubscribe",
    "0 unsubscribe a b",
    "2 pubsub channels",
    // Shard channels are something else than channels.
    "0 ssubscribe c",
    "0 ssubscribe c",
    "2 spublish c one",
    "2 publish c two",
    "2 spublish d three",
    "2 pubsub shardchannels",
    "2 pubsub shardchannels d*",
    "2 pubsub shardnumsub c d",
    "2 pubsub channels",
    "0 sunsubscribe c",
    "2 spublish c four",
    // RESET and QUIT end it all.
    "1 reset",
    "1 get k",
    "2 publish c five",
    "1 subscribe z",
    "1 quit",
    "2 publish z six",
    // In a transaction.
    "0 multi",
    "0 subscribe m",
    "0 publish m x",
    "0 exec",
    "2 publish m y",
    "0 unsubscribe m",
    "2 multi",
    "2 publish m 1",
    "2 exec",
    // RESP3: pushes, and any command.
    "0 client reply on",
    "3 hello 3",
    "3 subscribe c d",
    "3 get k",
    "3 ping",
    "3 ping x",
    "3 publish c self",
    "2 publish d other",
    "3 psubscribe *",
    "3 publish c twice",
    "3 multi",
    "3 publish c inside",
    "3 get k",
    "3 exec",
    "3 unsubscribe d",
    "3 unsubscribe",
    "3 unsubscribe",
    "3 punsubscribe",
    "3 punsubscribe",
    // CLIENT REPLY keeps back replies only.
    "3 subscribe c",
    "3 client reply off",
    "3 subscribe d",
    "3 publish c quiet",
    "2 publish c loud",
    "3 get k",
    "3 client reply on",
    "3 unsubscribe c d",
];

#[test]
fn subscribers_are_told_what_a_real_server_tells_them() {
    compare(false, 4, &[], SCRIPT);
}

#[test]
fn subscribers_are_told_the_same_in_a_cluster() {
    let mut script = SCRIPT.to_vec();
    script.extend([
        "2 spublish {a}1 x",
        "0 ssubscribe {a}1 {a}2",
        "0 ssubscribe a b",
        "2 spublish {a}1 x",
        "later 2 cluster delslots 15495",
        "2 cluster addslots 15495",
        "2 spublish {a}1 x",
    ]);
    compare(true, 4, &[], &script);
}

#[test]
fn who_does_not_take_messages_is_cut_off() {
    let mut bench = Bench::new(NodeConfig::default());
    let (slow, fast, publisher) = (bench.client(), bench.client(), bench.client());
    for client in [slow, fast] {
        bench.check(
            client,
            "SUBSCRIBE c\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
        );
    }
    let message = "m".repeat(1_000_000);
    let publish = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1000000\r\n{message}\r\n");
    for _ in 0..30 {
        bench.check(publisher, &publish, ":2\r\n");
        assert!(bench.take(fast).len() > 1_000_000);
    }
    assert_eq!(bench.wished_to_close(slow), None);
    for _ in 0..5 {
        bench.send(publisher, &publish);
        bench.take(fast);
    }
    assert_eq!(bench.wished_to_close(slow), Some(CloseWhen::Now));
    bench.lose(slow);
    bench.take(publisher);
    bench.check(publisher, "PUBLISH c x\r\n", ":1\r\n");
}

#[test]
fn who_is_slow_for_long_is_cut_off_sooner() {
    let mut bench = Bench::new(NodeConfig::default());
    let (slow, publisher) = (bench.client(), bench.client());
    bench.check(
        slow,
        "SUBSCRIBE c\r\n",
        "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
    );
    let message = "m".repeat(9_000_000);
    let publish = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$9000000\r\n{message}\r\n");
    bench.check(publisher, &publish, ":1\r\n");
    bench.pass(Duration::from_secs(59));
    bench.check(publisher, "PUBLISH c x\r\n", ":1\r\n");
    assert_eq!(bench.wished_to_close(slow), None);
    bench.pass(Duration::from_secs(2));
    bench.check(publisher, "PUBLISH c x\r\n", ":1\r\n");
    assert_eq!(bench.wished_to_close(slow), Some(CloseWhen::Now));
}

#[test]
fn an_idle_subscriber_is_not_closed() {
    let mut bench = Bench::new(NodeConfig::default());
    let (subscriber, idle) = (bench.client(), bench.client());
    bench.check(idle, "CONFIG SET timeout 5\r\n", "+OK\r\n");
    bench.send(subscriber, "SUBSCRIBE c\r\n");
    bench.actions.clear();
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.wished_to_close(idle), Some(CloseWhen::Now));
    assert_eq!(bench.wished_to_close(subscriber), None);
}
