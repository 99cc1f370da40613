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
