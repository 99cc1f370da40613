//! Clients that wait for a key.

use std::time::Duration;

use slotway_node::NodeConfig;
use slotway_protocol::engine::CloseWhen;

use crate::bench::Bench;
use crate::stage::compare;

/// The first three clients wait, the fourth pushes.
const SCRIPT: &[&str] = &[
    // What does not have to wait.
    "3 rpush l a b c d e f g",
    "0 blpop l 0",
    "0 brpop nokey l 0",
    "0 blmove l m left right 0",
    "0 blmove l m right left 1.5",
    "0 brpoplpush l m 0",
    "0 blmpop 0 2 nokey l left",
    "0 blmpop 0 1 m left count 10",
    "3 del l m",
    "3 zadd z 1 a 2 b 3 c 4.5 d",
    "0 bzpopmin nokey z 0",
    "0 bzpopmax z 0",
    "0 bzmpop 0 1 z min",
    "0 bzmpop 0 1 z max count 5",
    // What is wrong.
    "0 blpop l a",
    "0 blpop l -1",
    "0 blpop l nan",
    "0 blpop l inf",
    "0 blpop l 1e300",
    "0 blpop l 1e16",
    "0 blpop l",
    "0 blmove l m left up 0",
    "0 blmove l m left right x",
    "0 brpoplpush l m x",
    "0 blmpop x 1 l left",
    "0 blmpop 0 0 l left",
    "0 blmpop 0 a l left",
    "0 blmpop x 0 l left",
    "0 blmpop x 1 l up",
    "0 bzmpop x 1 l min count 0",
    "0 bzmpop x 1 l min",
    "0 blmpop 0 2 l left",
    "0 blmpop 0 1 l up",
    "0 blmpop 0 1 l left count",
    "0 blmpop 0 1 l left count 0",
    "0 bzmpop 0 1 l left",
    "0 bzmpop x 0 l left",
    "0 bzpopmin z a",
    "3 set s x",
    "0 blpop s 0",
    "0 blpop nokey s 0",
    "0 blmove s m left right 0",
    "0 bzpopmin s 0",
    // Who has come first is served first.
    "0 blpop k 0",
    "1 brpop k 0",
    "2 blpop other k 0",
    "3 rpush k 1",
    "3 rpush k 2 3 4",
    "3 lrange k 0 -1",
    "3 del k",
    // One who has waited goes on with what it has sent meanwhile.
    "0 blpop k 0",
    "0 set after 1",
    "0 blpop k 0",
    "3 rpush k 1",
    "3 get after",
    "3 rpush k 2",
    // Waiting for other types; a key of the wrong type is not looked at.
    "0 blpop k 0",
    "1 bzpopmin k 0",
    "3 set k x",
    "3 del k",
    "3 zadd k 5 m",
    "3 rpush k y",
    // Keys come in many ways.
    "0 blpop k 0",
    "3 rpush t 1 2",
    "3 rename t k",
    "3 exists t k",
    "3 del k",
    "0 blpop k 0",
    "3 rpush t 1",
    "3 copy t k",
    "3 del t",
    "0 blpop k 0",
    "3 rpush t 1",
    "3 lmove t k left left",
    "0 bzpopmax k 0",
    "3 zadd t 1 a 2 b",
    "3 zunionstore k 1 t",
    "3 zrange k 0 -1",
    "3 del k t",
    // Within a transaction: after it, and with what is there then.
    "0 blpop k 0",
    "3 multi",
    "3 rpush k 1",
    "3 del k",
    "3 exec",
    "3 multi",
    "3 rpush k 2",
    "3 lpush k 3",
    "3 exec",
    "3 del k",
    "0 blpop a b 0",
    "3 multi",
    "3 rpush b 1",
    "3 rpush a 2",
    "3 exec",
    "3 del a b",
    // A transaction does not wait.
    "0 multi",
    "0 blpop nokey 0",
    "0 blmove nokey m left right 0",
    "0 brpoplpush nokey m 0",
    "0 blmpop 0 1 nokey left",
    "0 bzpopmin nokey 0",
    "0 bzmpop 0 1 nokey min",
    "0 exec",
    // Moving wakes who waits for the destination.
    "0 blmove k m left right 0",
    "1 blpop m 0",
    "3 rpush k 1",
    "3 exists k m",
    "0 blmove k s left right 0",
    "3 rpush k 1",
    "3 lrange k 0 -1",
    "3 del k",
    "0 brpoplpush k k 0",
    "3 rpush k 1 2",
    "3 lrange k 0 -1",
    "3 del k",
    "0 blmpop 0 1 k right count 2",
    "3 rpush k 1 2 3",
    "3 del k",
    "0 bzmpop 0 1 k min count 2",
    "3 zadd k 1 a 2 b 3 c",
    "3 del k",
    // Time.
    "0 blpop k 0.05",
    "sleep 200",
    "0 blmove k m left left 0.05",
    "sleep 200",
    "0 bzpopmin k 0.05",
    "sleep 200",
    "0 blmpop 0.05 1 k left",
    "sleep 200",
    "3 rpush k 1",
    "3 del k",
    // Databases.
    "0 blpop k 0",
    "3 select 1",
    "3 rpush k other",
    "3 del k",
    "3 select 0",
    "3 rpush k mine",
    // CLIENT REPLY, and RESP3.
    "0 hello 3",
    "0 blpop k 0.05",
    "sleep 200",
    "0 bzpopmin k 0",
    "3 zadd k 1.5 m",
    "0 bzmpop 0 1 k max",
    "3 zadd k 1.5 m",
    "0 client reply off",
    "0 blpop k 0",
    "3 rpush k silent",
    "3 llen k",
    "0 client reply on",
    // A waiting client in its place of the order leaves when it is gone.
    "1 blpop k 0",
    "2 blpop k 0",
    "1 quit",
    "3 rpush k 1 2",
    "3 del k",
];

#[test]
fn waiting_clients_are_served_as_by_a_real_server() {
    compare(false, 4, &[("databases", "16")], SCRIPT);
}

/// In a cluster of one, whose slots go.
const LOST: &[&str] = &[
    "0 blpop {a}k {a}l 0",
    "1 blpop a b 0",
    "1 bzpopmin {a}z 0",
    "3 rpush {a}l 1",
    "0 blpop {a}k 0",
    "3 cluster delslots 15495",
    "sleep 1300",
    "3 cluster addslots 15495",
    "sleep 2600",
    "0 blpop {a}k 0",
    "3 rpush {a}k 1",
];

#[test]
fn who_waits_for_a_slot_that_goes_is_told() {
    compare(true, 4, &[], LOST);
}

fn blocked() -> (Bench, usize, usize) {
    let mut bench = Bench::new(NodeConfig::default());
    let (waiter, other) = (bench.client(), bench.client());
    bench.check(waiter, "BLPOP k 0\r\n", "");
    (bench, waiter, other)
}

#[test]
fn a_client_can_be_unblocked() {
    let (mut bench, waiter, other) = blocked();
    bench.check(other, "CLIENT UNBLOCK 99\r\n", ":0\r\n");
    bench.check(other, "CLIENT UNBLOCK 2\r\n", ":0\r\n");
    bench.check(
        other,
        "CLIENT UNBLOCK 1\r\nRPUSH k x\r\nLPOP k\r\n",
        ":1\r\n:1\r\n$1\r\nx\r\n",
    );
    assert_eq!(bench.take(waiter), "*-1\r\n");
    bench.check(waiter, "BLPOP k 0\r\nPING\r\n", "");
    bench.check(other, "CLIENT UNBLOCK 1 ERROR\r\n", ":1\r\n");
    assert_eq!(
        bench.take(waiter),
        "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n+PONG\r\n"
    );
    bench.check(other, "CLIENT UNBLOCK 1\r\n", ":0\r\n");
}

#[test]
fn who_has_gone_takes_nothing() {
    let (mut bench, waiter, other) = blocked();
    bench.actions.clear();
    bench.end(waiter);
    assert_eq!(bench.wished_to_close(waiter), Some(CloseWhen::Now));
    bench.lose(waiter);
    bench.check(other, "RPUSH k x\r\nLLEN k\r\n", ":1\r\n:1\r\n");
}

#[test]
fn a_client_that_waits_is_not_idle_and_its_end_is_seen() {
    let (mut bench, waiter, other) = blocked();
    bench.check(other, "CONFIG SET timeout 5\r\n", "+OK\r\n");
    bench.actions.clear();
    bench.pass(Duration::from_secs(6));
    assert_eq!(bench.wished_to_close(waiter), None);
    let paused = |bench: &mut Bench| {
        let actions = std::mem::take(&mut bench.actions);
        actions
            .iter()
            .any(|action| matches!(action, slotway_protocol::engine::Action::Pause(_)))
    };
    let (mut bench, waiter, other) = blocked();
    bench.send(waiter, "GET k\r\n");
    assert!(!paused(&mut bench), "it is still read from");
    // What it sends meanwhile has a bound.
    bench.send(waiter, &"PING\r\n".repeat(200_000));
    assert!(paused(&mut bench));
    bench.check(other, "RPUSH k x\r\n", ":1\r\n");
    let replies = bench.take(waiter);
    assert!(replies.starts_with("*2\r\n$1\r\nk\r\n$1\r\nx\r\n$-1\r\n+PONG\r\n"));
    assert_eq!(replies.matches("+PONG").count(), 200_000);
}

#[test]
fn a_long_row_of_clients_that_wake_each_other_ends_well() {
    let mut bench = Bench::new(NodeConfig::default());
    let clients: Vec<usize> = (0..3_000)
        .map(|index| {
            let client = bench.client_unchecked();
            bench.send_unchecked(
                client,
                &format!("BLPOP k{index} 0\r\nRPUSH k{} x\r\n", index + 1),
            );
            client
        })
        .collect();
    let first = bench.client();
    bench.check(first, "RPUSH k0 x\r\n", ":1\r\n");
    bench.check(first, "LRANGE k3000 0 -1\r\n", "*1\r\n$1\r\nx\r\n");
    let told = bench.take(clients[2_999]);
    assert_eq!(told, "*2\r\n$5\r\nk2999\r\n$1\r\nx\r\n:1\r\n");
}

#[test]
fn an_hour_is_waited_to_the_millisecond() {
    let mut bench = Bench::new(NodeConfig::default());
    let waiter = bench.client();
    bench.check(waiter, "BLPOP k 3600.001\r\n", "");
    bench.pass(Duration::from_secs(3_600));
    assert_eq!(bench.take(waiter), "");
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.take(waiter), "*-1\r\n");
}
