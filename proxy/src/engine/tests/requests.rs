//! What clients send and get: order, splitting, protocols, limits, endings.

use super::super::Cut;
use super::*;

#[test]
fn the_keys_are_where_the_tests_believe() {
    assert!(Slot::of(LOWER.as_bytes()).number() < 8192);
    assert!(Slot::of(UPPER.as_bytes()).number() >= 8192);
}

#[test]
fn replies_of_several_nodes_leave_in_order() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let requests = request(&["get", UPPER]) + &request(&["get", LOWER]) + &request(&["ping"]);
    bench.input(client, &requests);
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
    assert_eq!(bench.sent(2), request(&["get", UPPER]));
    bench.reply(1, "$1\r\n1\r\n");
    assert_eq!(bench.written(client), "");
    bench.reply(2, "$1\r\n2\r\n");
    assert_eq!(bench.written(client), "$1\r\n2\r\n$1\r\n1\r\n+PONG\r\n");
    assert_eq!(
        bench.stats.client_latency.snapshot().0.iter().sum::<u64>(),
        3
    );
}

#[test]
fn a_split_request_gets_one_reply() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["mget", UPPER, LOWER, UPPER]));
    assert_eq!(bench.sent(1), request(&["mget", LOWER]));
    assert_eq!(bench.sent(2), request(&["mget", UPPER, UPPER]));
    bench.reply(2, "*2\r\n$1\r\nu\r\n$1\r\nu\r\n");
    bench.reply(1, "*1\r\n$-1\r\n");
    assert_eq!(bench.written(client), "*3\r\n$1\r\nu\r\n$-1\r\n$1\r\nu\r\n");
}

#[test]
fn each_protocol_has_its_own_connections() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(
        client,
        &(request(&["hello", "3"]) + &request(&["get", LOWER])),
    );
    assert!(bench.written(client).starts_with("%7\r\n$6\r\nserver\r\n"));
    assert_eq!(bench.sent(1), request(&["HELLO", "3"]));
    bench.reply(1, "%1\r\n+proto\r\n:3\r\n");
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
    bench.reply(1, "_\r\n");
    assert_eq!(bench.written(client), "_\r\n");
}

#[test]
fn a_change_of_protocol_waits_for_what_is_under_way() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let switch = request(&["hello", "3"]) + &request(&["get", LOWER]);
    let rest = bench.input(client, &(request(&["set", LOWER, "1"]) + &switch));
    assert_eq!(
        (&rest[..], &bench.paused[..]),
        (switch.as_bytes(), &[client][..])
    );
    bench.sent(1);
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.resumed, [client]);
    assert!(bench.input(client, &switch).is_empty());
    assert!(bench.written(client).starts_with("+OK\r\n%7\r\n"));
    assert_eq!(bench.sent(1), request(&["HELLO", "3"]));
}

#[test]
fn a_client_that_is_owed_too_much_is_paused() {
    let options = Options {
        client_in_flight_max: 4,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.client();
    let rest = bench.input(client, &request(&["get", LOWER]).repeat(6));
    assert_eq!(&rest[..], request(&["get", LOWER]).repeat(2).as_bytes());
    assert_eq!(bench.paused, [client]);
    bench.sent(1);
    bench.reply(1, "$1\r\na\r\n");
    assert_eq!(bench.resumed, []);
    bench.reply(1, "$1\r\na\r\n");
    assert_eq!(bench.resumed, [client]);
}

#[test]
fn errors_are_the_servers_own() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    for (words, reply) in [
        (
            &["rename", LOWER, UPPER][..],
            "-CROSSSLOT Keys in request don't hash to the same slot",
        ),
        (&["get"], "-ERR wrong number of arguments for 'get' command"),
        (
            &["mset", "a"],
            "-ERR wrong number of arguments for 'mset' command",
        ),
        (
            &["mset", "a", "1", "b"],
            "-ERR wrong number of arguments for 'mset' command",
        ),
        (
            &["cluster", "nodes"],
            "-ERR This instance has cluster support disabled",
        ),
        (
            &["swapdb", "0", "1"],
            "-ERR SWAPDB is not allowed in cluster mode",
        ),
        (
            &["select", "1"],
            "-ERR SELECT is not allowed in cluster mode",
        ),
        (
            &["nope", "x"],
            "-ERR unknown command 'nope', with args beginning with: 'x' ",
        ),
    ] {
        bench.input(client, &request(words));
        assert_eq!(bench.written(client), format!("{reply}\r\n"), "{words:?}");
    }
}

#[test]
fn a_broken_request_is_answered_in_turn_and_ends_the_connection() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &(request(&["get", LOWER]) + "*1\r\n!oops\r\n"));
    assert_eq!(bench.closed, []);
    bench.sent(1);
    bench.reply(1, "$-1\r\n");
    let error = "-ERR Protocol error: expected '$', got '!'\r\n";
    assert_eq!(bench.written(client), format!("$-1\r\n{error}"));
    assert_eq!(bench.closed, [(client, CloseWhen::Flushed)]);
}

#[test]
fn a_client_that_ends_gets_what_it_is_owed() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.call(|proxy, now| proxy.handle_end(client, now));
    assert_eq!(bench.closed, []);
    bench.reply(1, "$1\r\na\r\n");
    assert_eq!(bench.closed, [(client, CloseWhen::Flushed)]);
}

#[test]
fn a_client_that_does_not_read_its_last_replies_is_cut_off() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["quit"]));
    bench.pass(Duration::from_secs(1));
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.closed, [(client, CloseWhen::Flushed)]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.closed[1..], [(client, CloseWhen::Now)]);
}

#[test]
fn a_client_that_is_gone_leaves_nothing_behind() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["mget", LOWER, UPPER]));
    bench.sent(1);
    bench.sent(2);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    bench.reply(1, "*1\r\n$-1\r\n");
    bench.reply(2, "*1\r\n$-1\r\n");
    assert_eq!(bench.closed, []);
}

#[test]
fn a_client_that_asks_for_much_and_reads_nothing_is_cut_off() {
    let options = Options {
        client_output_bytes_cut: 100_000,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]).repeat(8));
    bench.sent(1);
    let large = format!("$40000\r\n{}\r\n", "x".repeat(40_000));
    bench.reply(1, &large.repeat(3));
    assert_eq!(bench.closed, []);
    bench.reply(1, &large.repeat(5));
    assert_eq!(bench.closed, [(client, CloseWhen::Now)]);
    assert_eq!(bench.stats.cut(Cut::Output), 1);
}

#[test]
fn a_request_to_all_shards_becomes_one_reply() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["dbsize"]));
    assert_eq!(bench.sent(1), request(&["dbsize"]));
    assert_eq!(bench.sent(2), request(&["dbsize"]));
    bench.reply(2, ":40\r\n");
    assert_eq!(bench.written(client), "");
    bench.reply(1, ":2\r\n");
    assert_eq!(bench.written(client), ":42\r\n");
}

#[test]
fn a_task_takes_several_steps_for_one_reply() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(
        client,
        &(request(&["randomkey"]) + &request(&["echo", "x"])),
    );
    assert_eq!(bench.sent(1), request(&["DBSIZE"]));
    assert_eq!(bench.sent(2), request(&["DBSIZE"]));
    bench.reply(1, ":0\r\n");
    bench.reply(2, ":1\r\n");
    assert_eq!(bench.sent(1), "");
    assert_eq!(bench.sent(2), request(&["RANDOMKEY"]));
    bench.reply(2, "$1\r\nk\r\n");
    assert_eq!(bench.written(client), "$1\r\nk\r\n$1\r\nx\r\n");
}

#[test]
fn a_task_whose_client_has_left_ends() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["randomkey"]));
    bench.sent(1);
    bench.sent(2);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    assert_eq!(bench.proxy.tasks.len(), 0);
    bench.reply(1, ":1\r\n");
    bench.reply(2, ":1\r\n");
    assert_eq!(bench.sent(1), "");
}

/// What a node says in LATENCY, INFO and the like.
fn ask_both(words: &[&str], first: &str, second: &str) -> String {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(words));
    assert_ne!(bench.sent(1), "", "{words:?}");
    assert_ne!(bench.sent(2), "", "{words:?}");
    bench.reply(1, first);
    bench.reply(2, second);
    bench.written(client)
}

#[test]
fn what_servers_say_of_themselves_becomes_one_reply() {
    assert_eq!(ask_both(&["lastsave"], ":5\r\n", ":4\r\n"), ":4\r\n");
    let none = "-ERR No samples available for event 'a'\r\n";
    assert_eq!(ask_both(&["latency", "graph", "a"], none, none), none);
    let graph = ask_both(&["latency", "graph", "a"], none, "$2\r\nok\r\n");
    let text = "# node:1\n-ERR No samples available for event 'a'\n\n# node:2\nok";
    assert_eq!(graph, format!("${}\r\n{text}\r\n", text.len()));
    let (one, other) = (
        "# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\n",
        "# Keyspace\r\n",
    );
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let info = ask_both(&["info"], &bulk(one), &bulk(one));
    assert!(info.contains("# Server\r\n"), "{info}");
    assert!(
        info.ends_with("\r\n\r\n# Keyspace\r\ndb0:keys=4,expires=0,avg_ttl=0\r\n\r\n"),
        "{info}"
    );
    let empty = ask_both(&["info", "keyspace"], &bulk(other), &bulk(other));
    assert_eq!(empty, bulk("# Keyspace\r\n"));
}

#[test]
fn latency_histograms_of_all_shards_are_one() {
    let of_node = |calls: i64| {
        let buckets = format!("$14\r\nhistogram_usec\r\n*2\r\n:8\r\n:{calls}\r\n");
        format!("*2\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:{calls}\r\n{buckets}")
    };
    for words in [
        &["latency", "histogram"][..],
        &["latency", "histogram", "Get"],
    ] {
        assert_eq!(ask_both(words, &of_node(2), &of_node(40)), of_node(42));
        assert_eq!(ask_both(words, "*0\r\n", &of_node(40)), of_node(40));
        let failed = ask_both(words, &of_node(2), "-ERR broken\r\n");
        assert_eq!(failed, "-ERR broken\r\n");
        let strange = ask_both(words, &of_node(2), "+OK\r\n");
        assert_eq!(
            strange,
            "-ERR proxy: a node gave a reply of the wrong form\r\n"
        );
    }
}

#[test]
fn of_debug_only_what_has_a_key_reaches_its_node() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let debug = |words: &[&str]| request(&[&["debug"], words].concat());
    for (words, port) in [
        (&["object", LOWER][..], 1),
        (&["OBJECT", UPPER], 2),
        (&["object", UPPER, "more"], 2),
        (&["object"], 1),
    ] {
        bench.input(client, &debug(words));
        assert_eq!(bench.sent(3 - port), "", "{words:?}");
        assert_eq!(bench.sent(port), debug(words));
        bench.reply(port, "-ERR no such key\r\n");
        assert_eq!(bench.written(client), "-ERR no such key\r\n");
    }
    let refused = "-ERR proxy: this acts on one server process; send it to a node\r\n";
    for words in [&["sleep", "0"][..], &["listpack", LOWER], &["help"]] {
        bench.input(client, &debug(words));
        assert_eq!(bench.written(client), refused, "{words:?}");
    }
    bench.input(client, &(request(&["multi"]) + &debug(&["sleep", "0"])));
    assert_eq!(bench.written(client), format!("+OK\r\n{refused}"));
    bench.input(client, &debug(&["object", LOWER]));
    let reply = bench.written(client);
    assert!(reply.contains("can't be part of a transaction"), "{reply}");
    assert_eq!(bench.sent(1), "");
}

#[test]
fn a_reply_that_is_too_large_to_be_put_together_is_an_error() {
    let options = Options {
        merge_bytes_max: 30,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    let client = bench.client();
    let full = "-ERR proxy: the reply is too large to be put together (merge_bytes_max)\r\n";
    let page = |key: &str| format!("*1\r\n${}\r\n{key}\r\n", key.len());
    let large = "a".repeat(30);
    for (words, key, reply) in [
        (&["keys", "*"][..], "a", "*2\r\n$1\r\na\r\n$1\r\na\r\n"),
        (&["keys", "*"], &large, full),
        (&["latency", "latest"], &large, full),
    ] {
        bench.input(client, &request(words));
        bench.sent(1);
        bench.sent(2);
        bench.reply(1, &page(key));
        bench.reply(2, &page(key));
        assert_eq!(bench.written(client), reply, "{words:?}");
    }
    assert_eq!(bench.stats.merges_full.value(), 2);
}
