//! What the engine tells of its requests: the slow log, hot keys, hot slots, large values, nodes.

use slotway_protocol::command::lookup;

use super::*;
use crate::engine::{NodeError, Thermometer};

pub(super) fn bench(change: impl FnOnce(&mut Options)) -> Bench {
    let mut options = Options::default();
    change(&mut options);
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    bench
}

impl Bench {
    /// Sends a request, and has the node of that port answer it after that time.
    pub(super) fn served(
        &mut self,
        client: ConnectionId,
        words: &[&str],
        port: u16,
        after_ms: u64,
    ) {
        self.input(client, &request(words));
        assert_eq!(self.sent(port), request(words));
        self.now = self.now + Duration::from_millis(after_ms);
        self.reply(port, "+OK\r\n");
        assert_eq!(self.written(client), "+OK\r\n");
    }

    pub(super) fn ask(&mut self, client: ConnectionId, words: &[&str]) -> String {
        self.input(client, &request(words));
        self.written(client)
    }
}

#[test]
fn what_took_long_is_in_the_slow_log() {
    let mut bench = bench(|options| options.slowlog_max_len = 2);
    let client = bench.client();
    assert_eq!(bench.ask(client, &["slowlog", "get"]), "*0\r\n");
    bench.ask(client, &["client", "setname", "me"]);
    bench.served(client, &["set", LOWER, "1"], 1, 9);
    bench.served(client, &["set", LOWER, "2"], 1, 10);
    bench.served(client, &["set", UPPER, "3"], 2, 30);
    assert_eq!(bench.ask(client, &["slowlog", "len"]), ":2\r\n");
    let entry = |id: u64, micros: u64, key: &str, value: &str| {
        format!(
            "*6\r\n:{id}\r\n:0\r\n:{micros}\r\n{}$11\r\n127.0.0.1:1\r\n$2\r\nme\r\n",
            request(&["set", key, value])
        )
    };
    let (older, newer) = (entry(0, 10_000, LOWER, "2"), entry(1, 30_000, UPPER, "3"));
    let both = bench.ask(client, &["slowlog", "get", "-1"]);
    assert_eq!(both, format!("*2\r\n{newer}{older}"));
    let one = bench.ask(client, &["SLOWLOG", "GET", "1"]);
    assert_eq!(one, format!("*1\r\n{newer}"));
    // The oldest goes when there is no room.
    bench.served(client, &["set", LOWER, "4"], 1, 10);
    let both = bench.ask(client, &["slowlog", "get"]);
    assert_eq!(
        both,
        format!("*2\r\n{}{newer}", entry(2, 10_000, LOWER, "4"))
    );
    assert_eq!(bench.ask(client, &["slowlog", "reset"]), "+OK\r\n");
    assert_eq!(bench.ask(client, &["slowlog", "len"]), ":0\r\n");
    assert_eq!(bench.stats.slow_requests.value(), 3);
}

#[test]
fn the_slow_log_says_what_is_wrong_as_servers_do() {
    let mut bench = bench(|_| ());
    let client = bench.client();
    for (words, error) in [
        (
            &["slowlog", "get", "x"][..],
            "-ERR count should be greater than or equal to -1\r\n",
        ),
        (
            &["slowlog", "get", "-2"],
            "-ERR count should be greater than or equal to -1\r\n",
        ),
        (
            &["slowlog", "get", "1", "2"],
            "-ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.\r\n",
        ),
        (
            &["slowlog", "len", "2"],
            "-ERR wrong number of arguments for 'slowlog|len' command\r\n",
        ),
    ] {
        assert_eq!(bench.ask(client, words), error, "{words:?}");
    }
}

#[test]
fn the_time_in_a_hold_is_told_apart_from_the_nodes() {
    let mut bench = bench(|options| options.slowlog_slower_than_us = 0);
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(
        1,
        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    );
    bench.wait(Duration::from_millis(100));
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
    bench.now = bench.now + Duration::from_millis(7);
    bench.reply(1, "$1\r\nx\r\n");
    assert_eq!(bench.written(client), "$1\r\nx\r\n");
    let told = bench.ask(client, &["proxy", "slowlog", "count", "1"]);
    let number = |name: &str| -> u64 {
        let (_, rest) = told.split_once(&format!("{name}\r\n:")).expect(&told);
        rest.split_once('\r').unwrap().0.parse().unwrap()
    };
    let (total, queue) = (number("total_us"), number("queue_us"));
    assert!((1_000..100_000).contains(&queue), "{told}");
    assert_eq!(number("backend_us"), total - queue);
    assert!(number("backend_us") >= 7_000, "{told}");
    assert!(told.contains("node\r\n$6\r\nnode:1\r\n"), "{told}");
    assert!(
        told.contains("slot\r\n:5503\r\n") || told.contains("slot\r\n:"),
        "{told}"
    );
    assert_eq!(bench.stats.hold_time.snapshot().0.iter().sum::<u64>(), 1);
    assert_eq!(bench.stats.later[0].value(), 1);
}

#[test]
fn a_transaction_is_one_entry_and_a_slow_part_is_its_own() {
    let mut bench = bench(|options| options.slowlog_slower_than_us = 1_000);
    let client = bench.client();
    let block = [
        request(&["multi"]),
        request(&["set", LOWER, "1"]),
        request(&["get", LOWER]),
    ];
    bench.input(client, &(block.concat() + &request(&["exec"])));
    bench.sent(1);
    bench.now = bench.now + Duration::from_millis(2);
    bench.reply(1, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\n1\r\n");
    bench.written(client);
    let told = bench.ask(client, &["slowlog", "get"]);
    let arguments = "*2\r\n$4\r\nEXEC\r\n$21\r\n... (2 more commands)\r\n";
    assert!(told.contains(arguments), "{told}");

    bench.ask(client, &["slowlog", "reset"]);
    bench.input(client, &request(&["mget", LOWER, UPPER]));
    bench.sent(1);
    bench.sent(2);
    bench.reply(1, "*1\r\n$1\r\na\r\n");
    bench.now = bench.now + Duration::from_millis(2);
    bench.reply(2, "*1\r\n$1\r\nb\r\n");
    bench.written(client);
    let told = bench.ask(client, &["slowlog", "get"]);
    assert!(told.starts_with("*1\r\n"), "{told}");
    assert!(
        told.to_lowercase().contains(&request(&["mget", UPPER])),
        "{told}"
    );
}

#[test]
fn hot_keys_and_large_values_are_shown() {
    let mut bench = bench(|options| {
        options.hot_key_sample = 1;
        options.large_value_bytes = 40_000;
    });
    let client = bench.client();
    for _ in 0..30 {
        bench.served(client, &["set", LOWER, "1"], 1, 0);
    }
    bench.served(client, &["set", UPPER, "1"], 2, 0);
    let value = "x".repeat(50_000);
    bench.served(client, &["set", UPPER, &value], 2, 0);
    bench.wait(Duration::from_secs(2));
    let hot = bench.ask(client, &["proxy", "hotkeys", "count", "1"]);
    assert!(
        hot.starts_with("*1\r\n*16\r\n$3\r\nkey\r\n$4\r\nbar4\r\n"),
        "{hot}"
    );
    assert!(hot.contains("node\r\n$6\r\nnode:1\r\n"), "{hot}");
    let all = bench.ask(client, &["proxy", "hotkeys"]);
    assert!(all.starts_with("*2\r\n"), "{all}");
    let large = bench.ask(client, &["PROXY", "LARGE"]);
    assert!(
        large.starts_with("*1\r\n*14\r\n$3\r\nkey\r\n$3\r\nfoo\r\n"),
        "{large}"
    );
    assert!(large.contains("direction\r\n$7\r\nrequest\r\n"), "{large}");
    assert_eq!(bench.stats.large_values[0].value(), 1);

    let heat = Thermometer::new().measure(&[Arc::clone(&bench.stats)], 2.0);
    assert_eq!(
        heat.hottest(1),
        [(Slot::of(LOWER.as_bytes()).number(), 15.0)]
    );
    bench.proxy.options.program.heat.store(Arc::new(heat));
    let slots = bench.ask(client, &["proxy", "slots", "count", "1"]);
    let (number, node) = (
        Slot::of(LOWER.as_bytes()).number(),
        "$4\r\nnode\r\n$6\r\nnode:1\r\n",
    );
    let expected = format!("*1\r\n*8\r\n$4\r\nslot\r\n:{number}\r\n{node}");
    assert!(slots.starts_with(&expected), "{slots}");
}

#[test]
fn nothing_is_looked_at_where_nobody_wants_it() {
    let mut bench = bench(|options| {
        options.hot_key_sample = 0;
        options.slowlog_max_len = 0;
    });
    let client = bench.client();
    bench.served(client, &["set", LOWER, "1"], 1, 500);
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.ask(client, &["proxy", "hotkeys"]), "*0\r\n");
    assert_eq!(bench.ask(client, &["slowlog", "len"]), ":0\r\n");
    assert_eq!(bench.stats.key_samples.value(), 0);
}

#[test]
fn proxy_says_what_it_does_not_know() {
    let mut bench = bench(|_| ());
    let client = bench.client();
    for (words, reply) in [
        // The beginning of the PROXY protocol, and the like, is no command.
        (
            &["proxy"][..],
            "-ERR unknown command 'proxy', with args beginning with: \r\n",
        ),
        (
            &["PROXY", "TCP4"],
            "-ERR unknown command 'PROXY', with args beginning with: 'TCP4' \r\n",
        ),
        (&["proxy", "slots", "count"], "-ERR syntax error\r\n"),
        (&["proxy", "help", "me"], "-ERR syntax error\r\n"),
        (
            &["proxy", "slots", "count", "0"],
            "-ERR COUNT must be between 1 and 10000\r\n",
        ),
    ] {
        assert_eq!(bench.ask(client, words), reply, "{words:?}");
    }
    let help = bench.ask(client, &["proxy", "help"]);
    assert!(help.starts_with("*11\r\n+PROXY "), "{help}");
    bench.ask(client, &["multi"]);
    let refused = "-ERR Command not allowed inside a transaction\r\n";
    assert_eq!(bench.ask(client, &["proxy", "slots"]), refused);
    let aborted = bench.ask(client, &["exec"]);
    assert!(aborted.starts_with("-EXECABORT"), "{aborted}");
}

#[test]
fn each_node_is_counted() {
    let mut bench = bench(|_| ());
    let client = bench.client();
    bench.served(client, &["set", LOWER, "1"], 1, 3);
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.wait(Duration::from_millis(200));
    let node = |bench: &Bench, port: u16| {
        let nodes = bench.stats.nodes.load();
        let found = nodes.iter().find(|node| node.address.port == port);
        Arc::clone(found.unwrap())
    };
    let one = node(&bench, 1);
    assert_eq!((one.requests.value(), one.replies.value()), (2, 1));
    assert_eq!((one.micros.value(), one.in_flight.value()), (3_000, 1));
    assert_eq!((one.connections.value(), one.connects.value()), (1, 1));
    assert!(one.queue_bytes.value() > 0 && one.down.value() == 0);
    bench.lose(1);
    bench.refuse();
    bench.wait(Duration::from_millis(200));
    let errors = |error: NodeError| node(&bench, 1).errors[error as usize].value();
    assert_eq!(errors(NodeError::Lost), 1);
    assert_eq!(errors(NodeError::Silent), 0);
    assert_eq!(node(&bench, 1).down.value(), 1);
    assert_eq!(node(&bench, 2).requests.value(), 0);
    let get = lookup(b"get").unwrap().id;
    assert_eq!(bench.stats.requests(get), (0, 0));
    // Taken back twice: when the connection was lost, and when there was no new one.
    assert_eq!(bench.stats.retries_lost.value(), 2);
    assert_eq!(errors(NodeError::Refused), 1);
}

#[test]
fn a_hold_that_lasts_is_told_when_it_is_over() {
    let mut bench = bench(|_| ());
    let client = bench.client();
    // What is over at once is no story.
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    let moved = format!("-MOVED {} node:2\r\n", Slot::of(LOWER.as_bytes()).number());
    bench.reply(1, &moved);
    assert_eq!(bench.sent(2), request(&["get", LOWER]));
    bench.reply(2, "+OK\r\n");
    bench.wait(Duration::from_millis(300));
    assert_eq!(bench.held, []);

    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.sent(1);
    bench.lose(1);
    bench.input(client, &request(&["get", LOWER]));
    // In vain it is tried again and again.
    for _ in 0..20 {
        bench.refuse();
        bench.wait(Duration::from_millis(100));
    }
    bench.refuse();
    assert_eq!(bench.held, [], "it is not over");
    bench.topology(&[(0, 8191, 3), (8192, 16383, 2)]);
    assert_eq!(bench.sent(3), request(&["get", LOWER]));
    bench.reply(3, "+OK\r\n");
    bench.wait(Duration::from_millis(700));
    let [story] = &bench.held[..] else {
        panic!("one story: {:?}", bench.held);
    };
    let node = |port| Some(Address::new("node", port));
    assert_eq!(story.nodes, [(node(1), node(3))]);
    assert_eq!((story.slots, story.unknown, story.expired), (1, 1, 0));
    assert!(story.requests >= 1, "{story:?}");
    let seconds = story.time.as_secs_f64();
    assert!((1.8..2.6).contains(&seconds), "{story:?}");
}
