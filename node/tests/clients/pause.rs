//! CLIENT PAUSE: whose requests wait, and for how long.

use crate::stage::compare;

/// The last client is the one that pauses the others.
const SCRIPT: &[&str] = &[
    // What is wrong.
    "2 client pause",
    "2 client pause x",
    "2 client pause -1",
    "2 client pause 0 maybe",
    "2 client pause 0 write more",
    "2 client unpause",
    "2 client pause 0",
    "2 set k 1",
    // Writes and messages wait, and what stands behind them.
    "2 client pause 100000 write",
    "0 get k",
    "0 set k",
    "0 set k 2",
    "0 ping",
    "1 publish c m",
    "2 get k",
    "2 client unpause",
    "2 get k",
    // Transactions with a write wait as a whole.
    "0 multi",
    "0 set k 3",
    "1 multi",
    "1 get k",
    "2 client pause 100000 write",
    "1 exec",
    "0 exec",
    "2 get k",
    "2 client unpause",
    "2 get k",
    // A pause within a transaction begins behind it.
    "2 multi",
    "2 set k 4",
    "2 client pause 100000 write",
    "2 set k 5",
    "2 exec",
    "0 set k 6",
    "2 get k",
    "2 client unpause",
    "2 get k",
    // Others only make a pause stricter and longer.
    "2 client pause 100000 write",
    "2 client pause 10 write",
    "0 set k 7",
    "sleep 300",
    "2 client unpause",
    // Time; one that has passed means nothing for the next.
    "2 client pause 100 write",
    "later 0 set k 8",
    "2 client pause 300 all",
    "later 0 ping",
    "sleep 500",
    "2 client pause 100000 write",
    "0 get k",
    "0 set k 9",
    "2 client unpause",
];

#[test]
fn clients_wait_as_those_of_a_real_server() {
    compare(false, 3, &[], SCRIPT);
}

#[test]
fn clients_of_a_cluster_wait_as_those_of_a_real_server() {
    compare(true, 3, &[], SCRIPT);
}
