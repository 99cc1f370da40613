//! Nodes that are gone, silent or wrong.

use super::*;

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
fn a_node_that_refuses_our_login_is_asked_ever_more_seldom() {
    let credentials = Credentials {
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
