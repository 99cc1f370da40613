//! Replication between nodes and real redis-servers, as processes: all keys, what was missed, and
//! changes of roles, in both directions.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

#[path = "../collections/generator.rs"]
mod generator;
#[path = "../collections/lines.rs"]
mod lines;
#[path = "../ports/mod.rs"]
mod ports;
mod servers;

use generator::Generator;
use lines::{GROUPS, HASH, LEX, LIST, SET, SORTED_SET, STREAM};
use servers::{Kind, Server, assert_in_sync};

/// Lines on strings, and on keys as such.
const STRINGS: &[&str] = &[
    "SET Kt V",
    "SET Kt V EX 1000",
    "SET Kt V KEEPTTL",
    "SETEX Kt 1000 V",
    "GETSET Kt V",
    "GETDEL Kt",
    "GETEX Kt PX 1000000",
    "GETEX Kt PERSIST",
    "INCRBY Kt I",
    "INCRBYFLOAT Kt D",
    "APPEND Kt V",
    "SETRANGE Kt 10 V",
    "MSET Kt V Kt V",
    "MSETNX Kt V Kt V",
    "DEL Kt Kh",
    "UNLINK Kl",
    "RENAME Kt Kt",
    "COPY Kh Ks REPLACE",
    "EXPIRE Kt 1000 NX",
    "EXPIREAT Kt 1",
    "MOVE Kt 3",
    "SELECT 0|3",
    "MULTI",
    "EXEC",
    "GET Kt",
];

/// Sends random commands, the same for the same seed.
fn write(server: &mut Server, seed: u64, steps: usize) {
    let lines = [STRINGS, HASH, LIST, SET, SORTED_SET, LEX, STREAM, GROUPS].concat();
    let mut generator = Generator::new(seed);
    for _ in 0..steps {
        let pattern = lines[generator.below(lines.len())];
        server.run(&generator.line(pattern));
    }
    server.ask("EXEC");
    server.ask("SELECT 0");
}

/// What is known of groups of streams. A redis-server does not tell its replicas all of it.
fn assert_same_groups(primary: &mut Server, replica: &mut Server) {
    let mut groups = 0;
    for key in ["n0", "n1", "n2"] {
        let words = format!("XINFO GROUPS {key}");
        let known = primary.ask(&words);
        assert_eq!(known, replica.ask(&words), "{key}");
        groups += known.matches("last-delivered-id").count();
        for group in ["g0", "g1", "g"] {
            let words = format!("XPENDING {key} {group}");
            assert_eq!(primary.ask(&words), replica.ask(&words), "{words}");
        }
    }
    assert!(groups > 0, "there are groups to compare");
}

const OTHER: fn(Kind) -> Kind = |kind| match kind {
    Kind::Ours => Kind::Theirs,
    Kind::Theirs => Kind::Ours,
};

/// All keys in each form, all that is written then, and what is missed while the link is cut.
fn replicate(primary: Kind, diskless: &str) {
    let mut primary_server = Server::start(primary, &["--repl-diskless-sync", diskless]);
    let mut replica = Server::start(OTHER(primary), &[]);
    for seed in 0..4 {
        write(&mut primary_server, seed, 400);
    }
    write(&mut replica, 9, 100);
    replica.follow(&primary_server);
    assert_in_sync(&mut primary_server, &mut replica);
    assert_eq!(primary_server.number("sync_full"), 1);
    for seed in 4..8 {
        write(&mut primary_server, seed, 400);
        assert_in_sync(&mut primary_server, &mut replica);
    }
    if primary == Kind::Ours {
        assert_same_groups(&mut primary_server, &mut replica);
    }
    for seed in 8..10 {
        primary_server.ask("CLIENT KILL TYPE replica");
        write(&mut primary_server, seed, 50);
        assert_in_sync(&mut primary_server, &mut replica);
    }
    assert_eq!(
        primary_server.number("sync_full"),
        1,
        "it got all keys once"
    );
    assert_eq!(primary_server.number("sync_partial_ok"), 2);
}

#[test]
fn a_node_follows_a_server_that_sends_keys_with_a_mark() {
    replicate(Kind::Theirs, "yes");
}

#[test]
fn a_node_follows_a_server_that_sends_keys_with_their_length() {
    replicate(Kind::Theirs, "no");
}

#[test]
fn a_server_follows_a_node_that_sends_keys_with_a_mark() {
    replicate(Kind::Ours, "yes");
}

#[test]
fn a_server_follows_a_node_that_sends_keys_with_their_length() {
    replicate(Kind::Ours, "no");
}

#[test]
fn roles_change_without_getting_all_keys_again() {
    for kind in [Kind::Ours, Kind::Theirs] {
        let mut one = Server::start(kind, &[]);
        let mut other = Server::start(OTHER(kind), &[]);
        write(&mut one, 1, 200);
        other.follow(&one);
        write(&mut one, 2, 200);
        assert_in_sync(&mut one, &mut other);
        for seed in 3..7 {
            // The replica becomes the primary of the other.
            other.ask("REPLICAOF NO ONE");
            write(&mut other, seed, 20);
            one.follow(&other);
            assert_in_sync(&mut other, &mut one);
            write(&mut other, seed + 10, 200);
            assert_in_sync(&mut other, &mut one);
            assert_eq!(other.number("sync_partial_ok"), i64::from(seed > 4) + 1);
            std::mem::swap(&mut one, &mut other);
        }
        let full = one.number("sync_full") + other.number("sync_full");
        assert_eq!(full, 1, "only the first time");
    }
}

#[test]
fn replicas_have_replicas() {
    for (first, middle, last) in [
        (Kind::Theirs, Kind::Ours, Kind::Theirs),
        (Kind::Ours, Kind::Theirs, Kind::Ours),
        (Kind::Ours, Kind::Ours, Kind::Ours),
    ] {
        let mut primary = Server::start(first, &[]);
        let mut middle = Server::start(middle, &[]);
        let mut last = Server::start(last, &[]);
        write(&mut primary, 1, 300);
        middle.follow(&primary);
        assert_in_sync(&mut primary, &mut middle);
        primary.ask("SELECT 3");
        primary.ask("SET before 1");
        last.follow(&middle);
        // What comes without a SELECT is for the database before.
        primary.ask("SET after 1");
        write(&mut primary, 2, 300);
        assert_in_sync(&mut primary, &mut middle);
        assert_in_sync(&mut primary, &mut last);
        primary.ask("CLIENT KILL TYPE replica");
        write(&mut primary, 3, 100);
        assert_in_sync(&mut primary, &mut middle);
        assert_in_sync(&mut primary, &mut last);
        assert_eq!(middle.number("sync_full"), 1);
        // The last goes on with the first when the one between is gone.
        last.follow(&primary);
        write(&mut primary, 4, 100);
        assert_in_sync(&mut primary, &mut last);
        assert_eq!(primary.number("sync_full"), 1);
    }
}

#[test]
fn a_client_waits_for_replicas() {
    for kind in [Kind::Ours, Kind::Theirs] {
        let mut primary = Server::start(kind, &[]);
        let mut replica = Server::start(OTHER(kind), &[]);
        replica.follow(&primary);
        assert_in_sync(&mut primary, &mut replica);
        assert_eq!(primary.ask("SET a 1"), "+OK\r\n");
        assert_eq!(primary.ask("WAIT 1 10000"), ":1\r\n");
        assert_eq!(primary.ask("WAIT 2 100"), ":1\r\n");
        replica.send_signal("-STOP");
        assert_eq!(primary.ask("SET a 2"), "+OK\r\n");
        assert_eq!(primary.ask("WAIT 1 200"), ":0\r\n");
        primary.send("WAIT 1 0");
        replica.send_signal("-CONT");
        assert_eq!(primary.read(), b":1\r\n");
    }
}

#[test]
fn a_replica_serves_reads_and_hides_what_has_expired() {
    let mut primary = Server::start(Kind::Theirs, &[]);
    let mut replica = Server::start(Kind::Ours, &[]);
    replica.follow(&primary);
    assert_in_sync(&mut primary, &mut replica);
    primary.ask("DEBUG SET-ACTIVE-EXPIRE 0");
    primary.ask("SET soon 1 PX 500");
    primary.ask("SET later 1");
    assert_eq!(primary.ask("WAIT 1 10000"), ":1\r\n");
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(replica.ask("GET soon"), "$-1\r\n");
    assert_eq!(
        replica.ask("DBSIZE"),
        ":2\r\n",
        "it is there until the primary says so"
    );
    assert_eq!(primary.ask("GET soon"), "$-1\r\n");
    assert_in_sync(&mut primary, &mut replica);
    assert_eq!(replica.ask("DBSIZE"), ":1\r\n");
    let refused = "-READONLY You can't write against a read only replica.\r\n";
    assert_eq!(replica.ask("SET a 1"), refused);
    primary.send_signal("-STOP");
    replica.ask("CONFIG SET repl-timeout 1");
    replica.wait_for("master_link_status", "down");
    assert_eq!(replica.ask("GET later"), "$1\r\n1\r\n");
    replica.ask("CONFIG SET replica-serve-stale-data no");
    let refused =
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n";
    assert_eq!(replica.ask("GET later"), refused);
    primary.send_signal("-CONT");
    replica.wait_for("master_link_status", "up");
}

#[test]
fn a_primary_wants_replicas_that_keep_up() {
    let mut primary = Server::start(Kind::Ours, &["--min-replicas-to-write", "1"]);
    let mut replica = Server::start(Kind::Theirs, &[]);
    let refused = "-NOREPLICAS Not enough good replicas to write.\r\n";
    assert_eq!(primary.ask("SET a 1"), refused);
    replica.follow(&primary);
    primary.wait_for("min_slaves_good_slaves", "1");
    assert_eq!(primary.ask("SET a 1"), "+OK\r\n");
    replica.ask("REPLICAOF NO ONE");
    primary.wait_for("min_slaves_good_slaves", "0");
    assert_eq!(primary.ask("SET a 1"), refused);
}

/// The keys are in a file of all keys or in one that is appended to; redis-server itself goes on
/// with the first one only.
#[test]
fn a_replica_that_was_restarted_goes_on_where_it_was() {
    for (settings, ends) in [
        (&["--appendonly", "no"], "SHUTDOWN SAVE"),
        (&["--appendonly", "yes"], "SHUTDOWN"),
    ] {
        let mut primary = Server::start(Kind::Theirs, &["--save", ""]);
        let mut replica = Server::start(Kind::Ours, settings);
        write(&mut primary, 1, 300);
        replica.follow(&primary);
        assert_in_sync(&mut primary, &mut replica);
        // The file begins with the keys that came, once they are written, and has to have more.
        let is_appended = u8::from(settings[1] == "yes").to_string();
        replica.wait_for("aof_enabled", &is_appended);
        replica.wait_for("aof_rewrite_in_progress", "0");
        write(&mut primary, 2, 100);
        assert_in_sync(&mut primary, &mut replica);
        let port = primary.port.to_string();
        for round in 1..=2 {
            replica.send(ends);
            write(&mut primary, 2 + round, 100);
            replica.restart(&["--replicaof", "127.0.0.1", &port]);
            assert_in_sync(&mut primary, &mut replica);
            assert_eq!(primary.number("sync_full"), 1, "{settings:?}");
            assert_eq!(
                primary.number("sync_partial_ok"),
                round as i64,
                "{settings:?}"
            );
        }
        // Whatever has got into the file by then, what it says of its end is true or nothing.
        write(&mut primary, 5, 100);
        replica.send_signal("-KILL");
        replica.restart(&["--replicaof", "127.0.0.1", &port]);
        assert_in_sync(&mut primary, &mut replica);
    }
}

#[test]
fn those_who_follow_a_primary_that_was_restarted_go_on_where_they_were() {
    for kind in [Kind::Ours, Kind::Theirs] {
        let mut primary = Server::start(Kind::Ours, &["--appendonly", "yes"]);
        let mut replica = Server::start(kind, &["--save", ""]);
        write(&mut primary, 1, 300);
        replica.follow(&primary);
        assert_in_sync(&mut primary, &mut replica);
        write(&mut primary, 2, 100);
        primary.send("SHUTDOWN");
        primary.restart(&[]);
        write(&mut primary, 3, 100);
        assert_in_sync(&mut primary, &mut replica);
        assert_eq!(primary.number("sync_full"), 0, "{kind:?}");
        assert_eq!(primary.number("sync_partial_ok"), 1, "{kind:?}");
        // Who was killed may have lost what its replica has, which must not be taken for the same.
        primary.send_signal("-KILL");
        primary.restart(&[]);
        write(&mut primary, 4, 100);
        assert_in_sync(&mut primary, &mut replica);
        assert_eq!(primary.number("sync_full"), 1, "{kind:?}");
    }
}

#[test]
fn a_replica_tells_that_all_keys_are_on_their_way() {
    for swaps in [false, true] {
        let load = if swaps { "swapdb" } else { "disabled" };
        let mut primary = Server::start(Kind::Ours, &[]);
        let mut replica = Server::start(Kind::Ours, &["--repl-diskless-load", load]);
        for number in 0..500 {
            primary.ask(&format!("SET key:{number} {number}"));
        }
        replica.follow(&primary);
        assert_in_sync(&mut primary, &mut replica);
        // More than what the backlog has at the least.
        let filler = format!("SET filler {}", "x".repeat(20_000));
        primary.ask("CONFIG SET repl-backlog-size 1");
        replica.ask("CONFIG SET key-load-delay 100000 loading-process-events-interval-bytes 1024");
        let cut_off = |primary: &mut Server, write: &str| {
            for words in ["MULTI", "CLIENT KILL TYPE replica", &filler, write, "EXEC"] {
                primary.ask(words);
            }
        };
        cut_off(&mut primary, "SET key:1 new");
        let (told, silent) = match swaps {
            true => ("async_loading", "loading"),
            false => ("loading", "async_loading"),
        };
        replica.wait_for(told, "1");
        assert_eq!(replica.number(silent), 0);
        assert_eq!(replica.ask("GET key:1"), "$1\r\n1\r\n", "it has its keys");
        replica.ask("CONFIG SET key-load-delay 0");
        replica.wait_for(told, "0");
        assert_in_sync(&mut primary, &mut replica);
        assert_eq!(replica.ask("GET key:1"), "$3\r\nnew\r\n");
        // The same, slowly at the other end, and cut off.
        primary.ask("CONFIG SET rdb-key-save-delay 100000");
        cut_off(&mut primary, "SET key:2 new");
        replica.wait_for(told, "1");
        primary.send_signal("-KILL");
        replica.wait_for(told, "0");
        assert_eq!(
            replica.ask("GET key:2"),
            "$1\r\n2\r\n",
            "nothing has changed"
        );
    }
}

#[test]
fn a_replica_without_keys_does_not_say_that_there_are_none() {
    let mut primary = Server::start(Kind::Ours, &["--rdb-key-save-delay", "100000"]);
    let mut replica = Server::start(Kind::Ours, &[]);
    for number in 0..100 {
        primary.ask(&format!("SET key:{number} {number}"));
    }
    replica.follow(&primary);
    replica.wait_for("loading", "1");
    let loading = "-LOADING Redis is loading the dataset in memory\r\n";
    assert_eq!(replica.ask("GET key:1"), loading);
    assert_eq!(replica.ask("PING"), "+PONG\r\n");
    primary.ask("CONFIG SET rdb-key-save-delay 0");
    replica.wait_for("loading", "0");
    assert_eq!(replica.ask("GET key:1"), "$1\r\n1\r\n");
}
