//! Clients that wait for entries of streams.

use slotway_node::NodeConfig;

use crate::bench::Bench;
use crate::stage::compare;

/// The first three clients wait, the fourth writes.
const SCRIPT: &[&str] = &[
    // What is wrong.
    "0 xread block x streams s 0",
    "0 xread block -1 streams s 0",
    "0 xread block 0 count x streams s 0",
    "0 xread block 0 streams s t 0",
    "0 xread block 0 streams s >",
    "0 xreadgroup group g c block 0 streams s >",
    "0 xreadgroup group g c block 0 streams s",
    "0 xreadgroup block 0 count 1 streams s 0",
    "3 set text x",
    "0 xread block 0 streams text 0",
    "3 del text",
    // What does not have to wait.
    "3 xadd s 1-1 a b",
    "0 xread block 0 streams s 0",
    "0 xread block 0 count 1 streams other s 0 0-5",
    // Readers take nothing from each other.
    "0 xread block 0 streams s $",
    "1 xread block 0 streams other s 0 $",
    "2 xread block 0 count 1 streams s 1-4",
    "3 xadd s 1-2 a b",
    "3 xadd s 1-5 a b",
    "3 xadd s 1-6 a b",
    // Only the key that has changed is read, and all that came with it.
    "0 xread block 0 streams s t $ $",
    "3 multi",
    "3 xadd t 1-1 a b",
    "3 xadd s 2-1 a b",
    "3 xadd t 1-2 a b",
    "3 exec",
    // The first of two IDs of one key counts.
    "0 xread block 0 streams u u 5 1",
    "3 xadd u 2 a b",
    "3 xadd u 6 a b",
    // What is deleted and trimmed wakes nobody.
    "0 xread block 0 streams s 2-1",
    "3 xdel s 2-1",
    "3 xtrim s maxlen 1",
    "3 xsetid s 7-1",
    "3 xgroup create s g0 0",
    "3 xadd s maxlen 0 8-1 a b",
    // A key of another type, and one that comes by another name.
    "0 xread block 0 streams k 0",
    "3 rpush k 1",
    "3 del k",
    "3 xgroup create k g $ mkstream",
    "3 del k",
    "3 xadd moved 1-1 a b",
    "3 rename moved k",
    "3 del k s t u",
    // Groups: each entry goes to one of them.
    "3 xgroup create s g $ mkstream",
    "0 xreadgroup group g one block 0 streams s >",
    "1 xreadgroup group g two block 0 count 5 streams s >",
    "2 xread block 0 streams s 0",
    "3 xadd s 1-1 a b",
    "3 xadd s 1-2 a b",
    "3 xpending s g",
    "0 xreadgroup group g one block 0 streams s 0",
    "0 xreadgroup group g one noack block 0 streams s >",
    "3 xadd s 1-3 a b",
    "3 xpending s g",
    "3 xinfo groups s",
    // Going back lets the same entries come again.
    "0 xreadgroup group g three block 0 streams s >",
    "3 xgroup setid s g 0",
    "3 xadd s 1-4 a b",
    "3 xpending s g",
    // The group, or the key, goes.
    "0 xreadgroup group g one block 0 streams s >",
    "1 xread block 0 streams s $",
    "3 xgroup destroy s g",
    "3 xgroup create s g $",
    "0 xreadgroup group g one block 0 streams s >",
    "3 del s",
    "3 xadd s 1-1 a b",
    "3 xgroup create s g $",
    "0 xreadgroup group g one block 0 streams s >",
    "3 set s x",
    "3 del s",
    "3 xgroup create s g $ mkstream",
    "0 xreadgroup group g one block 0 streams s >",
    "3 flushall",
    "3 xgroup create s g $ mkstream",
    "0 xreadgroup group g one block 0 streams s >",
    "3 rename s elsewhere",
    "3 del elsewhere",
    // A transaction does not wait.
    "0 multi",
    "0 xread block 0 streams s 0",
    "0 exec",
    // Time.
    "0 xread block 50 streams s 0",
    "sleep 200",
    "0 xread streams s 0",
    // RESP3.
    "0 hello 3",
    "0 xread streams s 0",
    "0 xread block 50 streams s 0",
    "sleep 200",
    "0 xread block 0 streams s 0",
    "3 xadd s 1-1 a b",
    "0 xread streams s nokey 0 0",
    "3 xgroup create s g 0",
    "0 xreadgroup group g c streams s >",
    "3 xdel s 1-1",
    "0 xreadgroup group g c streams s 0",
    "0 xpending s g",
    "0 xpending s nogroup",
    "0 xinfo stream s",
    "0 xinfo groups s",
    "0 xrange s - + count 0",
    "0 xgroup help",
    "0 xinfo help",
];

#[test]
fn readers_that_wait_are_served_as_by_a_real_server() {
    compare(false, 4, &[], SCRIPT);
}

/// In a cluster of one, whose slots go.
const LOST: &[&str] = &[
    "0 xread streams a b 0 0",
    "0 xread streams {a}s {a}t 0 0",
    "3 xgroup create {a}s g $ mkstream",
    "0 xread block 0 streams {a}s $",
    "1 xreadgroup group g c block 0 streams {a}s >",
    "3 cluster delslots 15495",
    "sleep 1300",
];

#[test]
fn who_reads_from_a_slot_that_goes_is_told() {
    compare(true, 4, &[], LOST);
}

#[test]
fn ids_come_from_the_clock() {
    let mut bench = Bench::new(NodeConfig::default());
    let (waiter, other) = (bench.client(), bench.client());
    bench.check(waiter, "XREAD BLOCK 0 STREAMS s $\r\n", "");
    bench.send(other, "XADD s * a b\r\nXADD s * a b\r\n");
    let ids = bench.take(other);
    let ids: Vec<&str> = ids.lines().filter(|line| line.contains('-')).collect();
    let (ms, first) = ids[0].split_once('-').unwrap();
    assert_eq!((first, ids[1]), ("0", &*format!("{ms}-1")));
    assert!(bench.take(waiter).contains(&format!("{ms}-0")));
    // A clock that is behind the last ID is not followed.
    let last = "99999999999999-18446744073709551615";
    bench.send(other, &format!("XADD s {last} a b\r\nXADD s * a b\r\n"));
    assert!(bench.take(other).ends_with("100000000000000-0\r\n"));
}
