//! Slots that move and nodes that send requests elsewhere.

use super::*;

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
fn nodes_that_ask_in_a_circle_get_time_to_agree() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    let (slot, mut rounds) = (Slot::of(LOWER.as_bytes()), 0);
    for _ in 0..100 {
        for port in [1, 2] {
            let asked = bench.sent(port);
            if asked.is_empty() {
                continue;
            }
            rounds += 1;
            let first = if rounds > 1 { "+OK\r\n" } else { "" };
            bench.reply(port, &format!("{first}-ASK {slot} node:{}\r\n", 3 - port));
        }
        bench.pass(Duration::from_millis(2));
    }
    assert!(rounds > 5, "redirects are followed");
    assert_eq!(bench.written(client), "", "200 ms are not too long");
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
    let mut bench = Bench::new(Options::default());
    bench.slotless = vec![9];
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(
        1,
        &format!("-MOVED {} node:9\r\n", Slot::of(LOWER.as_bytes())),
    );
    bench.refuse();
    bench.wait(Duration::from_millis(100));
    assert_eq!(bench.sent(1), request(&["get", LOWER]));
}

#[test]
fn a_redirect_to_a_stranger_is_not_followed() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let slot = Slot::of(LOWER.as_bytes());
    for word in ["MOVED", "ASK"] {
        bench.input(client, &request(&["get", LOWER]));
        bench.sent(1);
        bench.reply(1, &format!("-{word} {slot} evil:6379\r\n"));
        bench.wait(Duration::from_millis(20));
        assert_eq!(bench.wanted.len(), 0, "nobody connects there");
        assert_eq!(bench.sent(1), request(&["get", LOWER]), "the owner counts");
        bench.reply(1, "$1\r\nx\r\n");
        assert_eq!(bench.written(client), "$1\r\nx\r\n");
    }
    assert_eq!(bench.stats.redirects_refused.value(), 2);
    assert_eq!(bench.stats.redirects_moved.value(), 0);

    bench.input(client, &request(&["get", LOWER]));
    for _ in 0..110 {
        if !bench.sent(1).is_empty() {
            bench.reply(1, &format!("-MOVED {slot} evil:6379\r\n"));
        }
        bench.wait(Duration::from_millis(100));
    }
    let answer = bench.written(client);
    assert!(
        answer.starts_with("-CLUSTERDOWN proxy: a redirect leads out of the cluster"),
        "{answer}"
    );
}

#[test]
fn a_redirect_may_call_a_node_by_another_name() {
    let mut bench = Bench::with_two_nodes();
    bench.aliases = vec![("redis-2.example", 2)];
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    let client = bench.client();
    let slot = Slot::of(LOWER.as_bytes());
    for reply in ["MOVED", "ASK"] {
        bench.input(client, &request(&["get", LOWER]));
        bench.sent(1);
        bench.reply(1, &format!("-{reply} {slot} redis-2.example:2\r\n"));
        let sent = bench.sent(2);
        assert!(sent.ends_with(&request(&["get", LOWER])), "{sent}");
        bench.reply(
            2,
            if reply == "ASK" {
                "+OK\r\n$1\r\n7\r\n"
            } else {
                "$1\r\n7\r\n"
            },
        );
        assert_eq!(bench.written(client), "$1\r\n7\r\n");
        bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    }
    assert_eq!(bench.stats.redirects_refused.value(), 0);
}

#[test]
fn a_redirect_may_lead_to_hosts_that_the_settings_name() {
    let mut bench = Bench::new(Options {
        redirect_hosts: vec!["new".into()],
        ..Options::default()
    });
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    let slot = Slot::of(LOWER.as_bytes());
    bench.reply(1, &format!("-MOVED {slot} new:7\r\n"));
    assert_eq!(bench.sent(7), request(&["get", LOWER]));
}

#[test]
fn a_node_that_serves_nobody_is_asked_by_one_request_at_a_time() {
    let mut bench = Bench::with_two_nodes();
    let clients: Vec<_> = (0..10).map(|_| bench.client()).collect();
    let keys: Vec<String> = (0..1000)
        .map(|number| format!("key{number}"))
        .filter(|key| Slot::of(key.as_bytes()).number() < 8192)
        .take(10)
        .collect();
    for (client, key) in clients.iter().zip(&keys) {
        bench.input(*client, &request(&["get", key]));
    }
    bench.sent(1);
    bench.reply(1, &"-CLUSTERDOWN The cluster is down\r\n".repeat(10));
    assert_eq!(bench.sent(1), "");
    let mut rounds = 0;
    for _ in 0..100 {
        bench.pass(Duration::from_millis(2));
        let sent = bench.sent(1);
        assert!(sent.matches("get").count() <= 1, "one asks for all: {sent}");
        if !sent.is_empty() {
            rounds += 1;
            bench.reply(1, "-CLUSTERDOWN The cluster is down\r\n");
        }
    }
    assert!((15..40).contains(&rounds), "{rounds}");
    while bench.sent(1).is_empty() {
        bench.pass(Duration::from_millis(2));
    }
    bench.reply(1, "$1\r\nx\r\n");
    let rest = bench.sent(1);
    assert_eq!(rest.matches("get").count(), 9, "it serves again: all go");
    bench.reply(1, &"$1\r\nx\r\n".repeat(9));
    for client in clients {
        assert_eq!(bench.written(client), "$1\r\nx\r\n");
    }
}

/// Two keys of one slot, which belongs to the lower half.
const SAME: [&str; 2] = ["{bar4}1", "{bar4}2"];

#[test]
fn keys_on_two_nodes_are_asked_for_one_by_one() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let [first, second] = SAME;
    let slot = Slot::of(first.as_bytes());
    // The request has keys of another slot, too, which is served at once.
    bench.input(client, &request(&["mget", second, UPPER, first]));
    assert_eq!(bench.sent(1), request(&["mget", second, first]));
    assert_eq!(bench.sent(2), request(&["mget", UPPER]));
    bench.reply(2, "*1\r\n$1\r\nu\r\n");
    bench.reply(
        1,
        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    );
    bench.input(client, &request(&["set", first, "new"]));
    assert_eq!(bench.sent(1), request(&["mget", second]));
    bench.reply(1, &format!("-ASK {slot} node:2\r\n"));
    let asked = request(&["ASKING"]) + &request(&["mget", second]);
    assert_eq!(bench.sent(2), asked);
    bench.reply(2, "+OK\r\n*1\r\n$1\r\n2\r\n");
    let rest = request(&["mget", first]) + &request(&["set", first, "new"]);
    assert_eq!(bench.sent(1), rest, "in order");
    bench.reply(1, "*1\r\n$1\r\n1\r\n+OK\r\n");
    let reply = "*3\r\n$1\r\n2\r\n$1\r\nu\r\n$1\r\n1\r\n+OK\r\n";
    assert_eq!(bench.written(client), reply);
    assert_eq!(bench.stats.scattered.value(), 1);
    assert_eq!(bench.proxy.work_left(), [0; 4]);
}

#[test]
fn a_client_may_leave_while_its_keys_are_asked_for() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let [first, second] = SAME;
    bench.input(client, &request(&["mset", first, "1", second, "2"]));
    bench.sent(1);
    bench.reply(
        1,
        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    );
    bench.call(|proxy, now| proxy.handle_close(client, now));
    assert_eq!(bench.sent(1), request(&["mset", first, "1"]));
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.sent(1), request(&["mset", second, "2"]));
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.proxy.work_left(), [0; 4]);
}

#[test]
fn what_cant_be_split_waits_for_its_slot() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let [first, second] = SAME;
    for words in [&["sunion", first, second][..], &["mget", first]] {
        bench.input(client, &request(words));
        bench.sent(1);
        bench.reply(
            1,
            "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        );
        bench.wait(Duration::from_millis(20));
        assert_eq!(bench.sent(1), request(words));
        bench.reply(1, "*0\r\n");
    }
    assert_eq!(bench.stats.scattered.value(), 0);
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
    for _ in 0..110 {
        bench.refuse();
        bench.wait(Duration::from_millis(100));
    }
    assert_eq!(
        bench.written(client),
        "-CLUSTERDOWN proxy cannot reach node:2\r\n"
    );
}

#[test]
fn a_request_for_all_shards_waits_until_they_are_known() {
    for ask in [
        &["dbsize"][..],
        &["flushall"],
        &["script", "flush"],
        &["randomkey"],
    ] {
        let mut bench = Bench::new(Options::default());
        let client = bench.client();
        let rest = bench.input(client, &request(ask));
        assert_eq!(rest, request(ask).as_bytes(), "it stays unread");
        bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
        assert_eq!(bench.resumed, [client]);
        bench.input(client, &request(ask));
        let sent = [bench.sent(1), bench.sent(2)];
        assert!(!sent[0].is_empty() && !sent[1].is_empty(), "{sent:?}");
    }
}

#[test]
fn a_request_for_all_shards_gets_an_error_when_they_stay_unknown() {
    let mut bench = Bench::new(Options::default());
    let client = bench.client();
    bench.input(client, &request(&["dbsize"]));
    bench.wait(Duration::from_millis(9_900));
    assert_eq!(bench.resumed, []);
    bench.wait(Duration::from_millis(300));
    assert_eq!(bench.resumed, [client]);
    for ask in [&["dbsize"][..], &["randomkey"]] {
        bench.input(client, &request(ask));
        let answer = bench.written(client);
        assert_eq!(answer, "-CLUSTERDOWN Hash slot not served\r\n");
    }
}
