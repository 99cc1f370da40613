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
fn a_node_that_refuses_or_breaks_off_is_told_but_not_one_that_is_silent() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", UPPER]));
    let (token, _) = bench.wanted.remove(0);
    bench.call(|proxy, now| proxy.handle_connect_failed(token, ConnectError::TimedOut, now));
    assert!(bench.lost.is_empty());
    bench.input(client, &request(&["get", LOWER]));
    bench.refuse();
    assert_eq!(bench.lost, [1]);
    bench.pass(Duration::from_millis(100));
    bench.sent(1);
    bench.lose(1);
    assert_eq!(bench.lost, [1, 1]);
}

#[test]
fn an_attempt_that_took_its_time_is_followed_by_the_next_one() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    for attempt in 0..8 {
        assert_eq!(bench.wanted.len(), 1, "attempt {attempt}");
        let (token, _) = bench.wanted.remove(0);
        bench.pass(Duration::from_secs(1));
        bench.call(|proxy, now| proxy.handle_connect_failed(token, ConnectError::TimedOut, now));
        bench.wait(Duration::from_millis(40));
    }
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
}

/// The engine is called when it asks to be, and not besides: what it does not wake up for is late.
#[test]
fn nobody_waits_longer_than_hold_timeout() {
    for wait_ms in (300..4_000).step_by(370) {
        let mut bench = Bench::with_two_nodes();
        bench.proxy.options.hold_timeout = Duration::from_millis(wait_ms);
        let clients = [bench.client(), bench.client()];
        let (begun, second_at) = (bench.now, bench.now + Duration::from_millis(217));
        let (mut asked, mut answered) = (0, [None; 2]);
        while answered.contains(&None) {
            if asked == 0 || asked == 1 && bench.now >= second_at {
                bench.input(clients[asked], &request(&["get", LOWER]));
                asked += 1;
            }
            while !bench.wanted.is_empty() {
                bench.refuse();
            }
            for (client, answered) in clients.into_iter().zip(&mut answered) {
                if !bench.written(client).is_empty() {
                    *answered = Some(bench.now);
                }
            }
            let mut next = bench.proxy.poll_timeout().expect("something is under way");
            if asked == 1 && bench.now < second_at {
                next = next.min(second_at);
            }
            assert!(next.since(begun) < Duration::from_secs(6), "no answer");
            bench.pass(next.since(bench.now));
        }
        for (answered, asked) in answered.into_iter().zip([begun, second_at]) {
            let waited = answered.expect("an answer").since(asked);
            let limit = Duration::from_millis(wait_ms);
            assert!(waited <= limit, "{waited:?} with a limit of {limit:?}");
        }
    }
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
    for _ in 0..150 {
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
fn after_a_silence_a_node_has_to_show_that_it_lives() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.wait(Duration::from_millis(5_100));
    bench.lose(1);
    bench.wait(Duration::from_millis(100));
    assert_eq!(
        bench.sent_first(1),
        request(&["PING"]),
        "nothing but the question"
    );
    bench.input(client, &request(&["incr", LOWER]));
    assert_eq!(bench.sent_first(1), "");
    bench.wait(Duration::from_millis(1_100));
    assert_eq!(bench.closed.len(), 2, "it has a second to answer");
    bench.lose(1);
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.sent_first(1), request(&["PING"]));
    bench.reply(1, "-LOADING Redis is loading the dataset in memory\r\n");
    assert_eq!(
        bench.sent(1),
        request(&["get", LOWER]),
        "any answer will do"
    );
    bench.reply(1, "$1\r\n7\r\n");
    assert_eq!(bench.sent(1), request(&["incr", LOWER]));
    bench.reply(1, ":8\r\n");
    assert_eq!(bench.written(client), "$1\r\n7\r\n:8\r\n");
    bench.lose(1);
    bench.input(client, &request(&["get", LOWER]));
    bench.wait(Duration::from_millis(100));
    let first = bench.sent_first(1);
    assert_eq!(first, request(&["PING"]), "a dying host may take one more");
    bench.reply(1, "+PONG\r\n");
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
}

#[test]
fn an_idle_connection_is_asked_whether_it_lives() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, "$1\r\n7\r\n");
    bench.written(client);
    bench.wait(Duration::from_millis(4_800));
    assert_eq!(bench.stats.backend_checks.value(), 0);
    bench.wait(Duration::from_millis(300));
    assert_eq!(bench.sent_first(1), request(&["PING"]));
    bench.reply(1, "+PONG\r\n");
    assert_eq!(bench.written(client), "");
    bench.wait(Duration::from_millis(5_300));
    assert_eq!(bench.sent_first(1), request(&["PING"]));
    bench.wait(Duration::from_millis(5_300));
    assert_eq!(bench.closed[0], (bench.nodes[&1], CloseWhen::Now));
    assert_eq!(bench.stats.backend_checks.value(), 2);
}

#[test]
fn a_silent_node_is_let_go_as_soon_as_its_slots_have_another() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.wait(Duration::from_millis(1_000));
    bench.topology(&[(0, 16383, 2)]);
    assert_eq!(bench.closed, [(bench.nodes[&1], CloseWhen::Now)]);
    bench.lose(1);
    bench.wait(Duration::from_millis(20));
    assert_eq!(bench.sent(2), request(&["get", LOWER]));
}

#[test]
fn a_client_of_which_much_is_held_is_not_read_from() {
    let mut bench = Bench::new(Options {
        client_hold_bytes_max: 1000,
        ..Options::default()
    });
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    let (client, other) = (bench.client(), bench.client());
    bench.input(client, &request(&["get", LOWER]));
    bench.refuse();
    let rest = bench.input(client, &request(&["get", LOWER]).repeat(100));
    assert!(rest.len() > 1000, "the rest stays unread: {}", rest.len());
    assert_eq!(bench.paused, [client]);
    bench.input(other, &request(&["get", UPPER]));
    assert_eq!(bench.sent(2), request(&["get", UPPER]), "others go on");
    bench.wait(Duration::from_millis(40));
    let mut answered = 0;
    for _ in 0..10 {
        let sent = bench.sent(1).matches("get").count();
        answered += sent;
        bench.reply(1, &"$1\r\n7\r\n".repeat(sent));
    }
    assert!(answered > 1, "{answered}");
    assert_eq!(bench.resumed, [client]);
}

#[test]
fn those_who_waited_behind_others_are_told_why_the_others_did() {
    let mut bench = Bench::with_two_nodes();
    let (client, other) = (bench.client(), bench.client());
    bench.input(client, &request(&["sunion", "{bar4}1", "{bar4}2"]));
    bench.sent(1);
    let again = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
    bench.reply(1, again);
    bench.input(other, &request(&["get", LOWER]));
    for _ in 0..110 {
        bench.wait(Duration::from_millis(100));
        if !bench.sent(1).is_empty() {
            bench.reply(1, again);
        }
    }
    assert_eq!(bench.written(client), again);
    bench.wait(Duration::from_millis(10_000));
    assert!(bench.written(other).starts_with("-TRYAGAIN"));
}

#[test]
fn while_requests_wait_the_topology_is_asked_for() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    for _ in 0..6 {
        bench.refuse();
        bench.wait(Duration::from_millis(100));
    }
    let stale = bench.stale;
    // The node is asked ever more seldom whether it is back; the others are not.
    bench.wait(Duration::from_millis(500));
    assert!(bench.stale >= stale + 4, "{} {stale}", bench.stale);
    bench.refuse();
    bench.topology(&[(0, 16383, 2)]);
    assert_eq!(bench.sent(2), request(&["get", LOWER]));
    bench.reply(2, "$1\r\n7\r\n");
    bench.wait(Duration::from_millis(100));
    let stale = bench.stale;
    bench.wait(Duration::from_millis(500));
    assert_eq!(bench.stale, stale, "nothing waits");
}

#[test]
fn more_requests_than_may_wait_are_refused() {
    let mut bench = Bench::new(Options {
        hold_requests_max: 3,
        ..Options::default()
    });
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.refuse();
    bench.input(client, &request(&["get", LOWER]).repeat(4));
    assert_eq!(bench.stats.holds_refused.value(), 2);
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
    for _ in 0..80 {
        bench.refuse();
        bench.wait(Duration::from_millis(100));
    }
    let answer = bench.written(client);
    assert_eq!(
        answer, "-CLUSTERDOWN proxy cannot reach node:1\r\n",
        "it did not run"
    );
}
