//! The engine between a scripted client and scripted nodes.

use core::time::Duration;
use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::cluster::{Shard, Slot, Topology};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};

use super::{Event, Notice, Options, Proxy, Stats};

/// Drives one engine by hand.
struct Bench {
    proxy: Proxy,
    stats: Arc<Stats>,
    now: Instant,
    connections: u32,
    /// Open connections to nodes, by port and whether they speak RESP3.
    nodes: HashMap<u16, ConnectionId>,
    /// Connections asked for and not answered.
    wanted: Vec<(ConnectToken, Address)>,
    closed: Vec<(ConnectionId, CloseWhen)>,
    resumed: Vec<ConnectionId>,
    paused: Vec<ConnectionId>,
    stale: usize,
    refusals: Vec<String>,
}

impl Bench {
    fn new(options: Options) -> Self {
        let stats = Arc::new(Stats::new());
        Self {
            proxy: Proxy::new(options, stats.clone()),
            stats,
            now: Instant::from_micros(1_000_000),
            connections: 0,
            nodes: HashMap::new(),
            wanted: Vec::new(),
            closed: Vec::new(),
            resumed: Vec::new(),
            paused: Vec::new(),
            stale: 0,
            refusals: Vec::new(),
        }
    }

    /// Two nodes: port 1 has the lower half of the slots, port 2 the upper one.
    fn with_two_nodes() -> Self {
        let mut bench = Self::new(Options::default());
        bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
        bench
    }

    fn now(&self) -> Now {
        Now {
            instant: self.now,
            unix_ms: 0,
        }
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut Proxy, Now) -> R) -> R {
        let now = self.now();
        let result = call(&mut self.proxy, now);
        while let Some(action) = self.proxy.poll_action() {
            match action {
                Action::Connect { token, address } => self.wanted.push((token, address)),
                Action::Close { connection, when } => self.closed.push((connection, when)),
                Action::Resume(connection) => self.resumed.push(connection),
                Action::Pause(connection) => self.paused.push(connection),
                Action::Notify(Notice::TopologyStale) => self.stale += 1,
                Action::Notify(Notice::LoginRefused { text, .. }) => self.refusals.push(text),
                Action::Notify(Notice::Drained) | Action::Wake(_) => {}
            }
        }
        self.proxy.check_invariants();
        result
    }

    fn topology(&mut self, ranges: &[(u64, u64, u16)]) {
        let mut topology = Topology::empty();
        for (first, last, port) in ranges {
            let primary = Address::new("node", *port);
            let shard = Shard {
                primary,
                replicas: Vec::new(),
            };
            topology.assign(Slot::new(*first).unwrap(), Slot::new(*last).unwrap(), shard);
        }
        self.call(|proxy, now| proxy.handle_event(Event::Topology(Arc::new(topology)), now));
    }

    fn open(&mut self, origin: Origin) -> ConnectionId {
        let connection = ConnectionId {
            index: self.connections,
            generation: 0,
        };
        self.connections += 1;
        let any = "127.0.0.1:1".parse().unwrap();
        let peer = Peer {
            remote: any,
            local: any,
            origin,
        };
        self.call(|proxy, now| proxy.handle_open(connection, peer, now));
        connection
    }

    fn client(&mut self) -> ConnectionId {
        self.open(Origin::Accepted(0))
    }

    /// Answers all wishes for connections.
    fn connect(&mut self) {
        for (token, address) in std::mem::take(&mut self.wanted) {
            let connection = self.open(Origin::Connected(token));
            self.nodes.insert(address.port, connection);
        }
    }

    fn refuse(&mut self) {
        for (token, _) in std::mem::take(&mut self.wanted) {
            self.call(|proxy, now| {
                proxy.handle_connect_failed(token, ConnectError::Refused, now);
            });
        }
    }

    /// Bytes from a client or a node.
    fn input(&mut self, connection: ConnectionId, bytes: &str) -> BytesMut {
        let mut input = BytesMut::from(bytes);
        self.call(|proxy, now| proxy.handle_input(connection, &mut input, now));
        input
    }

    fn reply(&mut self, port: u16, bytes: &str) {
        let connection = self.nodes[&port];
        let rest = self.input(connection, bytes);
        assert!(rest.is_empty(), "nodes send whole replies here");
    }

    /// Takes all that is to be written to a connection.
    fn written(&mut self, connection: ConnectionId) -> String {
        let output = self.proxy.output(connection);
        let mut slices = [IoSlice::new(&[]); 64];
        let used = output.slices(&mut slices);
        let bytes: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        output.advance(bytes.len());
        self.call(|proxy, now| proxy.handle_written(connection, now));
        String::from_utf8(bytes).unwrap()
    }

    /// What a node has been sent since it was last asked.
    fn sent(&mut self, port: u16) -> String {
        self.connect();
        match self.nodes.get(&port).copied() {
            Some(connection) => self.written(connection),
            None => String::new(),
        }
    }

    fn lose(&mut self, port: u16) {
        let connection = self.nodes.remove(&port).unwrap();
        self.call(|proxy, now| proxy.handle_close(connection, now));
    }

    /// Lets time pass as a driver does, which calls at each timeout.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.pass(Duration::from_millis(20));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.call(|proxy, now| proxy.handle_timeout(now));
    }
}

/// A request as clients send it.
fn request(words: &[&str]) -> String {
    let bulks = words
        .iter()
        .map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>())
}

/// One key for each node of [`Bench::with_two_nodes`].
const LOWER: &str = "bar4";
const UPPER: &str = "foo";

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
fn a_moved_request_goes_ahead_and_the_rest_follows_in_order() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(
        client,
        &(request(&["set", LOWER, "1"]) + &request(&["set", LOWER, "2"])),
    );
    bench.sent(1);
    let slot = Slot::of(LOWER.as_bytes());
    bench.reply(1, &format!("-MOVED {slot} node:2\r\n"));
    bench.input(client, &request(&["set", LOWER, "3"]));
    assert_eq!(bench.sent(2), "", "the second request is still under way");
    bench.reply(1, &format!("-MOVED {slot} node:2\r\n"));
    assert_eq!(
        bench.sent(2),
        request(&["set", LOWER, "1"]),
        "one goes ahead"
    );
    bench.reply(2, "+OK\r\n");
    let rest = request(&["set", LOWER, "2"]) + &request(&["set", LOWER, "3"]);
    assert_eq!(bench.sent(2), rest);
    bench.reply(2, "+OK\r\n+OK\r\n");
    assert_eq!(bench.written(client), "+OK\r\n+OK\r\n+OK\r\n");
    assert!(bench.stale > 0);
    assert_eq!(bench.stats.redirects_moved.value(), 2);
}

#[test]
fn an_asked_request_changes_no_map() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(
        1,
        &format!("-ASK {} node:2\r\n", Slot::of(LOWER.as_bytes())),
    );
    bench.input(client, &request(&["set", LOWER, "2"]));
    let asked = request(&["ASKING"]) + &request(&["get", LOWER]);
    assert_eq!(bench.sent(2), asked);
    assert_eq!(bench.sent(1), "", "the next request of the slot waits");
    bench.reply(2, "+OK\r\n$1\r\nx\r\n");
    assert_eq!(bench.sent(1), request(&["set", LOWER, "2"]));
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.written(client), "$1\r\nx\r\n+OK\r\n");
}

#[test]
fn a_circle_of_redirects_ends() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    for round in 0..100 {
        let port = 1 + round % 2;
        bench.pass(Duration::from_millis(60));
        if bench.sent(port).is_empty() {
            break;
        }
        let slot = Slot::of(LOWER.as_bytes());
        bench.reply(port, &format!("-MOVED {slot} node:{}\r\n", 3 - port));
    }
    assert!(
        bench
            .written(client)
            .starts_with("-CLUSTERDOWN proxy: the nodes sent")
    );
    assert_eq!(bench.stats.redirects_moved.value(), 17);
}

#[test]
fn a_lost_connection_repeats_reads_and_reports_writes() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(
        client,
        &(request(&["incr", LOWER]) + &request(&["get", LOWER])),
    );
    bench.sent(1);
    bench.input(client, &request(&["incr", LOWER]));
    bench.lose(1);
    bench.wait(Duration::from_millis(40));
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
    bench.reply(1, "$1\r\n7\r\n");
    assert_eq!(
        bench.sent(1),
        request(&["incr", LOWER]),
        "the unsent one, once"
    );
    bench.reply(1, ":8\r\n");
    let unknown = "-ERR proxy: connection lost after sending, result unknown\r\n";
    assert_eq!(bench.written(client), format!("{unknown}$1\r\n7\r\n:8\r\n"));
    assert_eq!(bench.stats.results_unknown.value(), 1);
}

#[test]
fn a_read_is_not_repeated_behind_a_write_of_its_client() {
    let mut bench = Bench::with_two_nodes();
    let (client, other) = (bench.client(), bench.client());
    bench.input(
        client,
        &(request(&["get", LOWER]) + &request(&["incr", LOWER])),
    );
    bench.input(other, &request(&["get", LOWER]));
    bench.sent(1);
    bench.lose(1);
    bench.wait(Duration::from_millis(40));
    assert_eq!(
        bench.sent(1),
        request(&["get", LOWER]),
        "only the other client's"
    );
    let unknown = "-ERR proxy: connection lost after sending, result unknown\r\n";
    assert_eq!(bench.written(client), unknown.repeat(2));
}

#[test]
fn requests_wait_for_a_node_until_their_time_is_over() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["set", LOWER, "1"]));
    for _ in 0..20 {
        bench.refuse();
        bench.pass(Duration::from_millis(100));
    }
    assert_eq!(bench.written(client), "");
    let mut sent = String::new();
    for _ in 0..11 {
        bench.pass(Duration::from_millis(100));
        sent += &bench.sent(1);
    }
    assert_eq!(
        sent,
        request(&["set", LOWER, "1"]),
        "it is sent once the node is back"
    );
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.written(client), "+OK\r\n");

    bench.lose(1);
    bench.input(client, &request(&["set", LOWER, "2"]));
    for _ in 0..100 {
        bench.refuse();
        bench.pass(Duration::from_millis(100));
    }
    assert_eq!(
        bench.written(client),
        "-CLUSTERDOWN proxy cannot reach node:1\r\n"
    );
}

#[test]
fn requests_wait_for_the_first_topology() {
    let mut bench = Bench::new(Options::default());
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.topology(&[(0, 16383, 1)]);
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
}

#[test]
fn a_new_owner_waits_for_the_old_one_to_answer() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.sent(1);
    bench.topology(&[(0, 16383, 2)]);
    bench.input(client, &request(&["set", LOWER, "2"]));
    assert_eq!(bench.sent(2), "");
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.sent(2), request(&["set", LOWER, "2"]));
}

#[test]
fn a_node_that_does_not_answer_loses_its_connection() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.sent(1);
    bench.wait(Duration::from_millis(4_900));
    assert_eq!(bench.closed, []);
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.closed, [(bench.nodes[&1], CloseWhen::Now)]);
    assert_eq!(bench.stats.backend_timeouts.value(), 1);
}

#[test]
fn a_reply_that_nobody_asked_for_cuts_the_connection() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, "$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(bench.closed, [(bench.nodes[&1], CloseWhen::Now)]);
    assert_eq!(bench.written(client), "$1\r\na\r\n");
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
            &["dbsize"],
            "-ERR proxy: 'dbsize' is not supported through the proxy yet",
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
fn a_script_cannot_invent_redirects() {
    let mut bench = Bench::with_two_nodes();
    let (client, other) = (bench.client(), bench.client());
    let slot = Slot::of(LOWER.as_bytes());
    let script = request(&["eval", "return 1", "1", LOWER]);
    bench.input(client, &script);
    bench.sent(1);
    bench.reply(1, &format!("-MOVED {slot} evil:6379\r\n"));
    assert_eq!(bench.wanted.len(), 0, "nobody connects there");
    bench.wait(Duration::from_millis(20));
    assert_eq!(bench.sent(1), script, "the topology counts");
    bench.reply(1, &format!("-MOVED {slot} node:2\r\n"));
    assert_eq!(
        bench.sent(2),
        request(&["ASKING"]) + &script,
        "a member is believed once"
    );
    bench.reply(2, "+OK\r\n-TRYAGAIN invented\r\n");
    assert_eq!(bench.written(client), "-TRYAGAIN invented\r\n");
    bench.input(other, &request(&["get", LOWER]));
    assert_eq!(
        bench.sent(1),
        request(&["get", LOWER]),
        "the map is as it was"
    );
}

#[test]
fn a_redirect_to_a_dead_node_is_not_believed_for_ever() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(
        1,
        &format!("-MOVED {} dead:9\r\n", Slot::of(LOWER.as_bytes())),
    );
    bench.refuse();
    bench.wait(Duration::from_millis(100));
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
}

#[test]
fn no_redirect_reaches_a_client() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.wait(Duration::from_millis(4_500));
    bench.reply(
        1,
        &format!("-MOVED {} node:2\r\n", Slot::of(LOWER.as_bytes())),
    );
    for _ in 0..60 {
        bench.refuse();
        bench.wait(Duration::from_millis(100));
    }
    assert_eq!(
        bench.written(client),
        "-CLUSTERDOWN proxy cannot reach node:2\r\n"
    );
}

#[test]
fn a_node_that_refuses_our_login_is_asked_ever_more_seldom() {
    let credentials = super::Credentials {
        username: None,
        password: "wrong".into(),
    };
    let options = Options {
        credentials: Some(credentials),
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.client();
    bench.input(client, &request(&["incr", LOWER]));
    let mut logins = 0;
    for _ in 0..40 {
        if bench.sent(1) == request(&["AUTH", "wrong"]) {
            logins += 1;
            bench.reply(1, "-WRONGPASS no\r\n");
            bench.lose(1);
        }
        bench.wait(Duration::from_millis(100));
    }
    assert!((4..12).contains(&logins), "{logins}");
    assert_eq!(bench.refusals.len(), logins);
    for _ in 0..30 {
        bench.refuse();
        bench.wait(Duration::from_millis(100));
    }
    let answer = bench.written(client);
    assert_eq!(
        answer, "-CLUSTERDOWN proxy cannot reach node:1\r\n",
        "it did not run"
    );
}

#[test]
fn a_reply_before_its_request_is_sent_ends_the_connection() {
    let mut bench = Bench::with_two_nodes();
    let (client, other) = (bench.client(), bench.client());
    bench.input(client, &request(&["set", LOWER, "large"]));
    bench.connect();
    let node = bench.nodes[&1];
    bench.proxy.output(node).advance(10);
    bench.input(other, &request(&["incr", LOWER]));
    bench.reply(1, "-ERR Protocol error: invalid bulk length\r\n");
    assert_eq!(bench.closed, [(node, CloseWhen::Now)]);
    bench.lose(1);
    bench.wait(Duration::from_millis(100));
    assert_eq!(
        bench.sent(1),
        request(&["incr", LOWER]),
        "the other one never ran"
    );
    assert!(bench.written(client).starts_with("-ERR Protocol error"));
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
    assert_eq!(bench.stats.clients_cut.value(), 1);
}

#[test]
fn a_machine_that_stood_still_blames_no_node() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.sent(1);
    bench.pass(Duration::from_secs(7));
    assert_eq!(bench.closed, []);
    bench.wait(Duration::from_millis(5_080));
    assert_eq!(bench.closed, [(bench.nodes[&1], CloseWhen::Now)]);
}
