//! Reads at replicas: which go there, and what happens when a replica does not serve.

use super::*;
use crate::engine::{ReadFrom, ReadOptions, ReadRule};

/// A shard with the lower half of the slots, its primary on port 1 and replicas on 3 and 5; another
/// one on ports 2 and 4.
const PAIRS: [(u16, u16); 3] = [(1, 3), (1, 5), (2, 4)];
const RANGES: [(u64, u64, u16); 2] = [(0, 8191, 1), (8192, 16383, 2)];

/// More keys of the first shard, each of another slot.
const LOWER_TOO: &str = "bar8";

fn reading(read_from: ReadFrom) -> ReadOptions {
    ReadOptions {
        read_from,
        ..ReadOptions::default()
    }
}

fn started(reads: ReadOptions) -> Bench {
    let mut bench = Bench::new(Options {
        reads,
        ..Options::default()
    });
    bench.topology_with_replicas(&RANGES, &PAIRS);
    bench
}

/// All nodes are well.
fn with_replicas(read_from: ReadFrom) -> Bench {
    let mut bench = started(reading(read_from));
    bench.all_well(1000);
    bench
}

fn info(text: &str) -> String {
    let text = text.replace('\n', "\r\n");
    format!("${}\r\n{text}\r\n", text.len())
}

fn primary_says(offset: u64) -> String {
    info(&format!("role:master\nmaster_repl_offset:{offset}\n"))
}

fn replica_says(link: &str, offset: u64) -> String {
    let link = format!("role:slave\nmaster_link_status:{link}\n");
    info(&format!("{link}slave_repl_offset:{offset}\n"))
}

impl Bench {
    /// What a replica has been sent since it was last asked, without what is asked of its health
    /// and the beginning of the connection, which are answered.
    fn reads(&mut self, port: u16) -> String {
        self.connect();
        let Some(connection) = self.readers.get(&port).copied() else {
            return String::new();
        };
        let mut sent = self.written(connection);
        let readonly = request(&["READONLY"]);
        if let Some(rest) = sent.strip_prefix(&readonly) {
            assert_eq!(rest, "", "requests wait for the login");
            self.input(connection, "+OK\r\n");
            sent = self.written(connection);
        }
        sent
    }

    /// Primaries and replicas say how they are, if they are asked.
    fn health(&mut self, ports: &[u16], says: impl Fn(u16) -> String) {
        let asked = request(&["INFO", "replication"]);
        for port in ports {
            let sent = match port {
                1 | 2 => self.sent(*port),
                _ => self.reads(*port),
            };
            if let Some((before, "")) = sent.split_once(&asked) {
                let pong = if before.is_empty() { "" } else { "+PONG\r\n" };
                let connection = match port {
                    1 | 2 => self.nodes[port],
                    _ => self.readers[port],
                };
                self.input(connection, &format!("{pong}{}", says(*port)));
            } else {
                assert_eq!(sent, "", "{port}");
            }
        }
    }

    fn all_well(&mut self, offset: u64) {
        self.health(&[1, 2, 3, 4, 5], |port| match port {
            1 | 2 => primary_says(offset),
            _ => replica_says("up", offset),
        });
    }

    /// Lets time pass with all nodes well.
    fn wait_well(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pass(Duration::from_millis(100));
            self.all_well(self.now.as_micros());
        }
    }

    fn replica_replies(&mut self, port: u16, bytes: &str) {
        let connection = self.readers[&port];
        assert!(self.input(connection, bytes).is_empty());
    }

    pub(super) fn lose_reader(&mut self, port: u16) {
        let connection = self.readers.remove(&port).unwrap();
        self.call(|proxy, now| proxy.handle_close(connection, now));
    }

    /// Asks for a key and tells which nodes are sent that.
    fn whom(&mut self, client: ConnectionId, key: &str) -> Vec<u16> {
        let get = request(&["get", key]);
        let rest = self.input(client, &get);
        assert!(rest.is_empty());
        let mut asked = Vec::new();
        for port in 1..=5 {
            let is_primary = port < 3;
            let sent = [self.sent(port), self.reads(port)];
            if sent.concat() == get {
                assert_eq!(
                    sent[0].is_empty(),
                    !is_primary,
                    "replicas are asked on their own"
                );
                asked.push(port);
                match is_primary {
                    true => self.reply(port, "$1\r\nx\r\n"),
                    false => self.replica_replies(port, "$1\r\nx\r\n"),
                }
            } else {
                assert_eq!(sent.concat(), "");
            }
        }
        if !asked.is_empty() {
            assert_eq!(self.written(client), "$1\r\nx\r\n");
        }
        asked
    }
}

#[test]
fn without_the_setting_nothing_is_different() {
    let mut bench = started(reading(ReadFrom::Primary));
    assert_eq!(bench.wanted, [], "nobody is asked how it is");
    let client = bench.client();
    assert_eq!(bench.whom(client, LOWER), [1]);
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.sent(1) + &bench.sent(2), "");
    assert_eq!(bench.stats.reads_primary.value(), 0);
    assert!(bench.readers.is_empty());
}

#[test]
fn reads_go_to_replicas_and_writes_to_primaries() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let (one, two) = (bench.client(), bench.client());
    let seen = [bench.whom(one, LOWER), bench.whom(two, LOWER)];
    assert_eq!([&seen[0][..], &seen[1]].concat().len(), 2);
    assert_ne!(seen[0], seen[1], "clients take turns");
    assert_eq!(
        bench.whom(one, LOWER_TOO),
        seen[0],
        "but keep to one replica"
    );
    assert_eq!(bench.whom(one, UPPER), [4]);
    let write = request(&["set", UPPER, "1"]) + &request(&["object", "freq", UPPER]);
    bench.input(one, &write);
    assert_eq!(bench.sent(2), write);
    assert_eq!(bench.stats.reads_replica.value(), 4);
}

#[test]
fn a_client_reads_its_own_writes() {
    let mut bench = started(ReadOptions {
        lag_max: Duration::from_secs(3),
        ..reading(ReadFrom::PreferReplica)
    });
    bench.all_well(9_999);
    let (client, other) = (bench.client(), bench.client());
    let (set, get) = (request(&["set", LOWER, "1"]), request(&["get", LOWER]));
    bench.input(client, &(set.clone() + &get));
    assert_eq!(bench.sent(1), set + &get, "one behind the other");
    assert_eq!(bench.whom(other, LOWER).len(), 1);
    bench.now = bench.now + Duration::from_millis(5000);
    bench.input(client, &get);
    assert_eq!(bench.sent(1), get, "while it is under way");
    bench.reply(1, "+OK\r\n$1\r\n1\r\n$1\r\n1\r\n");
    bench.written(client);
    let pass = |bench: &mut Bench, time, of_replicas| {
        for _ in 0..time / 100 {
            bench.pass(Duration::from_millis(100));
            bench.health(&[1, 2, 3, 4, 5], |port| match port {
                1 | 2 => primary_says(10_000),
                _ => replica_says("up", of_replicas),
            });
        }
    };
    pass(&mut bench, 900, 10_000);
    assert_eq!(bench.whom(client, LOWER), [1], "for some time in any case");
    assert_ne!(bench.whom(client, LOWER_TOO), [1], "another slot");
    bench.input(client, &request(&["set", LOWER, "2"]));
    bench.sent(1);
    bench.reply(1, "+OK\r\n");
    bench.written(client);
    pass(&mut bench, 1500, 9_999);
    assert_eq!(bench.whom(client, LOWER), [1], "and until a replica has it");
    assert_ne!(
        bench.whom(other, LOWER),
        [1],
        "which is not too far behind for others"
    );
    pass(&mut bench, 600, 10_000);
    assert_ne!(bench.whom(client, LOWER), [1]);
    assert_eq!(bench.stats.reads_own.value(), 3);
}

#[test]
fn with_no_time_for_it_only_a_write_under_way_counts() {
    let mut bench = started(ReadOptions {
        your_writes: Duration::ZERO,
        ..reading(ReadFrom::PreferReplica)
    });
    bench.all_well(1);
    let client = bench.client();
    let (set, get) = (request(&["set", LOWER, "1"]), request(&["get", LOWER]));
    bench.input(client, &(set.clone() + &get));
    assert_eq!(bench.sent(1), set + &get);
    bench.reply(1, "+OK\r\n$1\r\n1\r\n");
    bench.written(client);
    assert_ne!(bench.whom(client, LOWER), [1]);
}

#[test]
fn a_write_waits_for_the_reads_before_it() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let client = bench.client();
    let (get, set) = (request(&["get", UPPER]), request(&["set", UPPER, "1"]));
    let rest = bench.input(client, &(get.clone() + &set + &get));
    assert_eq!(bench.reads(4), get);
    assert_eq!(bench.sent(2), "", "it might change what the read finds");
    assert_eq!(rest, *(set.clone() + &get));
    bench.replica_replies(4, "$1\r\n0\r\n");
    assert_eq!(bench.resumed, [client]);
    assert!(bench.input(client, &(set.clone() + &get)).is_empty());
    assert_eq!(bench.sent(2), set + &get);
    bench.reply(2, "+OK\r\n$1\r\n1\r\n");
    assert_eq!(bench.written(client), "$1\r\n0\r\n+OK\r\n$1\r\n1\r\n");
    // One to another slot needs not wait, one to all of them has to.
    bench.input(
        client,
        &(request(&["get", LOWER]) + &request(&["set", "a", "1"])),
    );
    assert_eq!(bench.sent(2), request(&["set", "a", "1"]));
    let flush = request(&["flushall"]);
    assert_eq!(bench.input(client, &flush), *flush);
}

#[test]
fn transactions_see_what_the_primary_has() {
    let mut bench = with_replicas(ReadFrom::Any);
    let client = bench.client();
    let (get, exec) = (request(&["get", UPPER]), request(&["exec"]));
    let block = request(&["MULTI"]) + &get + &request(&["EXEC"]);
    bench.input(client, &(request(&["multi"]) + &get + &exec + &get));
    assert_eq!(bench.sent(2), block + &get, "a block is a write");
    bench.reply(2, "+OK\r\n+QUEUED\r\n*1\r\n$1\r\nx\r\n$1\r\nx\r\n");
    bench.written(client);
    let watcher = bench.client();
    bench.input(watcher, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    assert_eq!(bench.written(private), request(&["watch", LOWER]));
    bench.input(private, "+OK\r\n");
    assert_eq!(bench.written(watcher), "+OK\r\n");
    assert_eq!(bench.whom(watcher, LOWER), [1]);
    assert_eq!(bench.whom(watcher, UPPER), [2]);
}

#[test]
fn parts_of_a_split_request_go_to_replicas_too() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let client = bench.client();
    let rest = bench.input(
        client,
        &(request(&["mget", UPPER, LOWER]) + &request(&["set", LOWER, "1"])),
    );
    assert_eq!(rest.len(), request(&["set", LOWER, "1"]).len());
    assert_eq!(bench.reads(4), request(&["mget", UPPER]));
    let lower = if bench.reads(3).is_empty() { 5 } else { 3 };
    bench.replica_replies(4, "*1\r\n$1\r\na\r\n");
    bench.replica_replies(lower, "*1\r\n$1\r\nb\r\n");
    assert_eq!(bench.written(client), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(bench.resumed, [client]);
}

#[test]
fn rules_for_keys_count_before_the_rest() {
    let rule = |prefix: &str, read_from| ReadRule {
        prefix: prefix.into(),
        read_from,
    };
    let mut bench = started(ReadOptions {
        rules: vec![
            rule("fo", ReadFrom::Primary),
            rule("foo", ReadFrom::Replica),
        ],
        ..reading(ReadFrom::Primary)
    });
    bench.all_well(1);
    let client = bench.client();
    assert_eq!(bench.whom(client, "foo"), [4]);
    assert_eq!(bench.whom(client, LOWER), [1]);
    let mixed = request(&["sdiff", "{foo}", "foo"]);
    bench.input(client, &mixed);
    assert_eq!(bench.sent(2), mixed, "rules that are at odds");
}

/// A replica answers with an error that says nothing of the read. The primary is asked, and the
/// replica is left alone until it says that it is well.
#[test]
fn a_replica_that_does_not_serve_is_left_out() {
    let slot = Slot::of(UPPER.as_bytes());
    let moved = format!("-MOVED {slot} node:9\r\n");
    for error in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-CLUSTERDOWN The cluster is down\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        &moved,
    ] {
        let mut bench = with_replicas(ReadFrom::PreferReplica);
        let client = bench.client();
        let get = request(&["get", UPPER]);
        bench.input(client, &(get.clone() + &get));
        assert_eq!(bench.reads(4), get.repeat(2));
        bench.replica_replies(4, error);
        assert_eq!(bench.sent(2), get, "{error}");
        bench.replica_replies(4, "$1\r\nx\r\n");
        bench.reply(2, "$1\r\ny\r\n");
        assert_eq!(bench.written(client), "$1\r\ny\r\n$1\r\nx\r\n");
        assert_eq!(bench.whom(client, UPPER), [2], "{error}");
        assert_eq!(
            bench.wanted,
            [],
            "nobody connects to where a replica points"
        );
        bench.wait_well(Duration::from_secs(6));
        assert_eq!(bench.whom(client, UPPER), [4], "{error}");
        assert_eq!(bench.stats.reads_refused.value(), 1);
        assert_eq!(
            bench
                .stats
                .replicas_left_out
                .iter()
                .map(|it| it.value())
                .sum::<u64>(),
            1
        );
    }
}

/// What a replica says of itself when it is asked.
#[test]
fn a_replica_that_is_not_well_is_left_out() {
    let syncing = info(
        "role:slave\nmaster_link_status:down\nmaster_sync_in_progress:1\nslave_repl_offset:0\n",
    );
    for (pong, says) in [
        ("+PONG\r\n", replica_says("down", 9_000_000)),
        ("-LOADING x\r\n", replica_says("up", 9_000_000)),
        ("-MASTERDOWN x\r\n", replica_says("up", 9_000_000)),
        ("+PONG\r\n", syncing),
        // It is two seconds behind.
        ("+PONG\r\n", replica_says("up", 7_000_000)),
        ("-NOPERM x\r\n", "-NOPERM x\r\n".to_owned()),
    ] {
        let mut bench = with_replicas(ReadFrom::PreferReplica);
        let client = bench.client();
        bench.now = Instant::from_micros(5_000_000);
        bench.wait_well(Duration::from_secs(4));
        assert_eq!(bench.whom(client, UPPER), [4]);
        bench.pass(Duration::from_millis(500));
        bench.health(&[1, 2, 3, 5], |port| match port {
            1 | 2 => primary_says(9_500_000),
            _ => replica_says("up", 9_500_000),
        });
        let asked = request(&["PING"]) + &request(&["INFO", "replication"]);
        assert_eq!(bench.reads(4), asked);
        bench.replica_replies(4, &format!("{pong}{says}"));
        assert_eq!(bench.whom(client, UPPER), [2], "{pong} {says}");
        assert_ne!(
            bench.whom(client, LOWER),
            [1],
            "the other shard has its own"
        );
        bench.wait_well(Duration::from_millis(600));
        assert_eq!(bench.whom(client, UPPER), [4], "it has recovered");
    }
}

#[test]
fn reads_of_a_lost_replica_are_asked_of_another() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let client = bench.client();
    let first = bench.whom(client, LOWER)[0];
    let get = request(&["get", LOWER]);
    bench.input(client, &get);
    assert_eq!(bench.reads(first), get);
    bench.lose_reader(first);
    let second = 8 - first;
    assert_eq!(bench.reads(second), get);
    bench.lose_reader(second);
    assert_eq!(bench.sent(1), get);
    bench.reply(1, "$1\r\nx\r\n");
    assert_eq!(bench.written(client), "$1\r\nx\r\n");
    assert_eq!(bench.stats.reads_lost.value(), 2);
    bench.wait_well(Duration::from_millis(300));
    assert_eq!(bench.whom(client, LOWER), [first], "both are back");
}

#[test]
fn a_silent_replica_is_not_waited_for() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let client = bench.client();
    bench.wait_well(Duration::from_millis(500));
    let get = request(&["get", UPPER]);
    bench.input(client, &get);
    assert_eq!(bench.reads(4), get);
    let others = |bench: &mut Bench, time| {
        for _ in 0..time / 100 {
            bench.pass(Duration::from_millis(100));
            bench.health(&[1, 2, 3, 5], |port| match port {
                1 | 2 => primary_says(1),
                _ => replica_says("up", 1),
            });
        }
    };
    others(&mut bench, 900);
    assert_eq!(bench.closed, []);
    let other = bench.client();
    others(&mut bench, 200);
    let reader = bench.readers[&4];
    assert_eq!(bench.closed.first(), Some(&(reader, CloseWhen::Now)));
    bench.input(other, &get);
    assert_eq!(bench.sent(2), get, "no new ones go there");
    bench.lose_reader(4);
    assert_eq!(bench.sent(2), get, "the primary is asked instead");
    bench.reply(2, "$1\r\ny\r\n$1\r\nx\r\n");
    assert_eq!(bench.written(client), "$1\r\nx\r\n");
}

#[test]
fn reads_for_replicas_only_wait_for_one() {
    let mut bench = with_replicas(ReadFrom::Replica);
    let client = bench.client();
    let get = request(&["get", UPPER]);
    bench.input(client, &get);
    assert_eq!(bench.reads(4), get);
    bench.replica_replies(4, "-LOADING x\r\n");
    bench.input(client, &get);
    assert_eq!(bench.sent(2), "", "never the primary");
    bench.pass(Duration::from_millis(500));
    bench.health(&[1, 2], |_| primary_says(1000));
    let asked = request(&["PING"]) + &request(&["INFO", "replication"]);
    assert_eq!(bench.reads(4), asked);
    bench.replica_replies(4, &format!("+PONG\r\n{}", replica_says("up", 1000)));
    assert_eq!(
        bench.reads(4),
        get.repeat(2),
        "in any order, since they read"
    );
    bench.replica_replies(4, "$1\r\nx\r\n$1\r\nx\r\n");
    assert_eq!(bench.written(client), "$1\r\nx\r\n".repeat(2));
    bench.lose_reader(4);
    bench.refuse();
    bench.input(client, &get);
    let waited = bench.proxy.options.hold_timeout - Duration::from_millis(100);
    for _ in 0..waited.as_millis() / 100 {
        bench.pass(Duration::from_millis(100));
        bench.refuse();
        bench.health(&[1, 2, 3, 5], |_| primary_says(1));
    }
    assert_eq!(bench.proxy.work_left()[3], 1);
    assert_eq!(bench.written(client), "");
    bench.pass(Duration::from_millis(200));
    let expired = "-CLUSTERDOWN proxy: no replica of the slot can serve reads (read_from)\r\n";
    assert_eq!(bench.written(client), expired);
    assert_eq!(bench.proxy.work_left()[3], 0);
}

#[test]
fn any_node_takes_its_turn() {
    let mut bench = with_replicas(ReadFrom::Any);
    let clients: Vec<_> = (0..6).map(|_| bench.client()).collect();
    let seen: Vec<_> = clients
        .iter()
        .map(|client| bench.whom(*client, LOWER)[0])
        .collect();
    for port in [1, 3, 5] {
        assert_eq!(seen.iter().filter(|it| **it == port).count(), 2, "{seen:?}");
    }
    // The primary is gone: the others serve its clients, too.
    let connection = bench.nodes.remove(&1).unwrap();
    bench.call(|proxy, now| proxy.handle_close(connection, now));
    for client in clients {
        assert_ne!(bench.whom(client, LOWER), [1]);
    }
}

/// The replicas have lost the primary too, and still serve what they have.
#[test]
fn reads_go_on_while_a_primary_is_down() {
    for read_from in [ReadFrom::PreferReplica, ReadFrom::Replica, ReadFrom::Any] {
        let mut bench = with_replicas(read_from);
        let client = bench.client();
        bench.wait_well(Duration::from_millis(1000));
        bench.lose(1);
        for _ in 0..30 {
            bench.pass(Duration::from_millis(100));
            bench.wanted.retain(|(_, address)| address.port != 1);
            let now = bench.now.as_micros();
            bench.health(&[2, 3, 4, 5], |port| match port {
                2 => primary_says(now),
                4 => replica_says("up", now),
                _ => replica_says("down", 3_000_000),
            });
            let set = request(&["set", LOWER_TOO, "1"]);
            let writer = bench.client();
            bench.input(writer, &set);
            let asked = bench.whom(client, LOWER);
            assert!(asked == [3] || asked == [5], "{asked:?}");
        }
    }
}

/// A replica becomes the primary. What was for reads only carries no write then either.
#[test]
fn a_promoted_replica_gets_writes_on_another_connection() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let client = bench.client();
    let get = request(&["get", UPPER]);
    bench.input(client, &get);
    assert_eq!(bench.reads(4), get);
    let pairs = [(1, 3), (1, 5), (4, 2)];
    bench.topology_with_replicas(&[(0, 8191, 1), (8192, 16383, 4)], &pairs);
    bench.replica_replies(4, "$1\r\nx\r\n");
    assert_eq!(bench.written(client), "$1\r\nx\r\n");
    let set = request(&["set", UPPER, "1"]);
    bench.input(client, &(set.clone() + &get));
    let ask = request(&["INFO", "replication"]);
    assert_eq!(bench.sent(4), ask + &set + &get);
    assert_eq!(bench.reads(4), "");
    bench.reply(4, &(primary_says(5) + "+OK\r\n$1\r\n1\r\n"));
    let ask = request(&["PING"]) + &request(&["INFO", "replication"]);
    assert_eq!(bench.reads(2), ask, "the old primary is a replica now");
    bench.replica_replies(2, &format!("+PONG\r\n{}", replica_says("up", 5)));
    let other = bench.client();
    bench.input(other, &get);
    assert_eq!(bench.reads(2), get);
}

/// What was a primary until now is not known to be a replica at once. It is asked after.
#[test]
fn a_node_that_the_topology_lacks_is_asked_after_for_a_while() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let asked_for = |bench: &mut Bench, millis: u64| {
        let before = bench.stale;
        for _ in 0..millis / 100 {
            bench.pass(Duration::from_millis(100));
            let offset = bench.now.as_micros();
            bench.all_well(offset);
        }
        bench.stale - before
    };
    bench.topology_with_replicas(&RANGES, &PAIRS[..2]);
    let asked = asked_for(&mut bench, 2000);
    assert!((3..=5).contains(&asked), "{asked}");
    bench.topology_with_replicas(&RANGES, &PAIRS);
    assert_eq!(asked_for(&mut bench, 2000), 0);
    // One that is gone for good is not asked after for ever.
    bench.topology_with_replicas(&RANGES, &PAIRS[1..]);
    let asked = asked_for(&mut bench, 20_000);
    assert!((8..=11).contains(&asked), "{asked}");
    assert_eq!(asked_for(&mut bench, 5000), 0);
}

#[test]
fn while_slots_move_the_primary_serves() {
    let slot = Slot::of(UPPER.as_bytes());
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let (writer, client) = (bench.client(), bench.client());
    let set = request(&["set", UPPER, "1"]);
    bench.input(writer, &set);
    assert_eq!(bench.sent(2), set);
    bench.reply(2, &format!("-ASK {slot} node:1\r\n"));
    assert_eq!(bench.sent(1), request(&["ASKING"]) + &set);
    bench.reply(1, "+OK\r\n+OK\r\n");
    bench.written(writer);
    assert_eq!(
        bench.whom(client, UPPER),
        [2],
        "its replicas do not know of the keys that left"
    );
    bench.wait_well(Duration::from_secs(6));
    assert_eq!(bench.whom(client, UPPER), [4]);
    // The slot has gone over, as the topology says.
    let number = u64::from(slot.number());
    let ranges = [(0, 8191, 1), (8192, 16383, 2), (number, number, 1)];
    bench.topology_with_replicas(&ranges, &PAIRS);
    bench.all_well(bench.now.as_micros());
    assert_eq!(bench.whom(client, UPPER), [1]);
    assert_eq!(bench.whom(client, LOWER), [1]);
    bench.wait_well(Duration::from_secs(6));
    assert_ne!(bench.whom(client, UPPER), [1]);
}

#[test]
fn a_replica_is_told_the_script_that_it_does_not_know() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let client = bench.client();
    let script = request(&["eval_ro", "return 1", "1", UPPER]);
    bench.input(client, &script);
    assert_eq!(bench.reads(4), script);
    bench.replica_replies(4, ":1\r\n");
    let sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    let named = request(&["evalsha_ro", sha, "1", UPPER]);
    bench.input(client, &named);
    assert_eq!(bench.reads(4), named);
    bench.replica_replies(4, "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    assert_eq!(
        bench.reads(4),
        request(&["EVAL_RO", "return 1", "1", UPPER])
    );
    bench.replica_replies(4, ":1\r\n");
    assert_eq!(bench.written(client), ":1\r\n:1\r\n");
    // A script can say what it likes; the primary is asked, and the replica is as well as before.
    bench.input(client, &script);
    assert_eq!(bench.reads(4), script);
    bench.replica_replies(4, "-LOADING invented\r\n");
    assert_eq!(bench.sent(2), script);
    bench.reply(2, "-LOADING invented\r\n");
    assert_eq!(bench.written(client), "-LOADING invented\r\n");
    assert_eq!(bench.whom(client, UPPER), [4]);
}

#[test]
fn a_replica_that_refuses_the_login_serves_nothing() {
    let mut bench = started(reading(ReadFrom::PreferReplica));
    bench.health(&[1, 2], |_| primary_says(1));
    bench.connect();
    let reader = bench.readers[&4];
    assert_eq!(bench.written(reader), request(&["READONLY"]));
    bench.input(reader, "-NOPERM this user has no permissions\r\n");
    assert_eq!(bench.refusals, ["NOPERM this user has no permissions"]);
    bench.lose_reader(4);
    let client = bench.client();
    let get = request(&["get", UPPER]);
    bench.input(client, &get);
    assert_eq!(bench.sent(2), get);
    bench.call(|proxy, now| proxy.handle_timeout(now));
    assert_eq!(bench.stale, 1, "it is a node that is not as it was");
}

/// A client that has left gets nothing, and what it has asked for is not asked again.
#[test]
fn a_client_that_left_needs_no_other_node() {
    let mut bench = with_replicas(ReadFrom::PreferReplica);
    let client = bench.client();
    bench.input(client, &request(&["get", UPPER]));
    bench.reads(4);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    bench.lose_reader(4);
    assert_eq!(bench.sent(2), "");
}
