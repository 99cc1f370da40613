//! Commands that wait for elements.

use super::*;

/// A client that is blocked on the lower node, and its private connection there.
fn blocked(bench: &mut Bench, words: &[&str]) -> (ConnectionId, ConnectionId) {
    let client = bench.client();
    bench.input(client, &request(words));
    let private = bench.log_in_private(1);
    assert_eq!(bench.written(private), request(words));
    (client, private)
}

fn slot() -> u16 {
    Slot::of(LOWER.as_bytes()).number()
}

fn element() -> String {
    format!("*2\r\n$4\r\n{LOWER}\r\n$1\r\ne\r\n")
}

#[test]
fn a_blocked_client_has_a_connection_for_itself_and_the_next_one_has_it_again() {
    let mut bench = Bench::with_two_nodes();
    let (client, private) = blocked(&mut bench, &["blpop", LOWER, "0"]);
    let get = request(&["get", LOWER]);
    assert_eq!(bench.input(client, &get), get, "it is blocked");
    bench.input(private, &element());
    assert_eq!(bench.written(client), element());
    assert_eq!(bench.resumed, [client]);

    let other = bench.client();
    bench.input(other, &request(&["blpop", LOWER, "0"]));
    assert_eq!(bench.written(private), request(&["blpop", LOWER, "0"]));
    assert!(bench.wanted.is_empty());
}

#[test]
fn it_waits_for_the_replies_before_it() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let blpop = request(&["blpop", LOWER, "0"]);
    let rest = bench.input(client, &(request(&["rpush", LOWER, "e"]) + &blpop));
    assert_eq!(rest, blpop);
    bench.sent(1);
    assert!(bench.wanted.is_empty());
    bench.reply(1, ":1\r\n");
    assert_eq!(bench.resumed, [client]);
}

#[test]
fn it_follows_its_slot_with_the_time_that_is_left() {
    let mut bench = Bench::with_two_nodes();
    let (client, private) = blocked(&mut bench, &["blpop", LOWER, "10"]);
    bench.wait(Duration::from_secs(4));
    bench.input(private, &format!("-MOVED {} node:2\r\n", slot()));
    bench.wait(Duration::from_millis(20));
    let other = bench.log_in_private(2);
    assert_eq!(bench.written(other), request(&["blpop", LOWER, "5.980"]));
    bench.input(other, "*-1\r\n");
    assert_eq!(bench.written(client), "*-1\r\n");
}

#[test]
fn it_goes_on_after_its_node_is_lost() {
    let mut bench = Bench::with_two_nodes();
    let (client, private) = blocked(&mut bench, &["blpop", LOWER, "0"]);
    bench.wait(Duration::from_secs(60));
    bench.call(|proxy, now| proxy.handle_close(private, now));
    assert!(bench.stale > 0);
    bench.topology(&[(0, 16383, 2)]);
    bench.wait(Duration::from_millis(20));
    let other = bench.log_in_private(2);
    assert_eq!(bench.written(other), request(&["blpop", LOWER, "0"]));
    bench.input(other, &element());
    assert_eq!(bench.written(client), element());
}

#[test]
fn it_is_asked_elsewhere_behind_an_asking() {
    let mut bench = Bench::with_two_nodes();
    let (client, private) = blocked(&mut bench, &["blpop", LOWER, "0"]);
    bench.input(private, &format!("-ASK {} node:2\r\n", slot()));
    bench.wait(Duration::from_millis(20));
    let other = bench.log_in_private(2);
    let asked = request(&["ASKING"]) + &request(&["blpop", LOWER, "0"]);
    assert_eq!(bench.written(other), asked);
    bench.input(other, &("+OK\r\n".to_owned() + &element()));
    assert_eq!(bench.written(client), element());
}

#[test]
fn a_client_that_leaves_takes_nothing_along() {
    let mut bench = Bench::with_two_nodes();
    // A shared connection, on which the node can be told.
    let other = bench.client();
    bench.input(other, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, "$-1\r\n");

    let (client, private) = blocked(&mut bench, &["blpop", LOWER, "0"]);
    bench.call(|proxy, now| proxy.handle_end(client, now));
    assert_eq!(bench.closed, [(client, CloseWhen::Now)]);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    assert_eq!(bench.sent(1), request(&["CLIENT", "UNBLOCK", "77"]));
    // It was too late: the element goes back to where it came from.
    bench.reply(1, ":0\r\n");
    bench.input(private, &element());
    assert_eq!(bench.sent(1), request(&["LPUSH", LOWER, "e"]));
    assert_eq!(bench.stats.restored.value(), 1);
    bench.reply(1, ":1\r\n");
    assert_eq!(bench.proxy.tasks.len(), 0);
    assert_eq!(bench.proxy.privates.idle_len(), 0);
}

#[test]
fn a_client_that_leaves_before_its_request_was_sent_leaves_no_trace() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["blpop", LOWER, "0"]));
    bench.call(|proxy, now| proxy.handle_close(client, now));
    let (token, _) = bench.wanted.remove(0);
    let private = bench.open(Origin::Connected(token));
    assert_eq!(bench.closed, [(private, CloseWhen::Now)]);
    bench.call(|proxy, now| proxy.handle_close(private, now));
    assert_eq!(bench.proxy.tasks.len(), 0);
    assert_eq!(bench.proxy.privates.len(), 0);
}

#[test]
fn a_client_can_be_unblocked() {
    let mut bench = Bench::with_two_nodes();
    let (client, private) = blocked(&mut bench, &["blpop", LOWER, "0"]);
    let id = bench.proxy.session(client).unwrap().client_id.to_string();
    let other = bench.client();
    bench.input(other, &request(&["client", "unblock", &id, "error"]));
    assert_eq!(bench.sent(1), request(&["CLIENT", "UNBLOCK", "77"]));
    assert_eq!(bench.written(other), ":1\r\n");
    bench.reply(1, ":1\r\n");
    bench.input(private, "*-1\r\n");
    assert_eq!(
        bench.written(client),
        "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    );
}

#[test]
fn there_is_a_limit_to_such_connections() {
    let mut bench = Bench::new(Options {
        private_connections_max: 1,
        ..Options::default()
    });
    bench.topology(&[(0, 16383, 1)]);
    blocked(&mut bench, &["blpop", LOWER, "0"]);
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    assert!(bench.written(client).starts_with("-ERR proxy: too many"));
    assert_eq!(bench.stats.privates_refused.value(), 1);
    // Who waits for elements can wait without one.
    bench.input(client, &request(&["brpoplpush", LOWER, LOWER, "0"]));
    assert_eq!(bench.sent(1), request(&["RPOPLPUSH", LOWER, LOWER]));
    bench.reply(1, "$1\r\ne\r\n");
    assert_eq!(bench.written(client), "$1\r\ne\r\n");
}

#[test]
fn replicas_are_waited_for_on_every_shard() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["wait", "1", "100"]));
    let wanted = std::mem::take(&mut bench.wanted);
    let ask = request(&["PING"]) + &request(&["wait", "1", "100"]);
    for ((token, _), replicas) in wanted.into_iter().zip([":2\r\n", ":1\r\n"]) {
        let private = bench.open(Origin::Connected(token));
        bench.written(private);
        bench.input(private, ":77\r\n");
        assert_eq!(bench.written(private), ask);
        bench.input(private, &format!("+PONG\r\n{replicas}"));
    }
    assert_eq!(bench.written(client), ":1\r\n");
}

#[test]
fn a_drain_does_not_wait_for_those_who_are_blocked() {
    let mut bench = Bench::with_two_nodes();
    let (client, private) = blocked(&mut bench, &["blpop", LOWER, "0"]);
    bench.call(|proxy, now| proxy.handle_event(Event::Drain, now));
    assert_eq!(bench.closed, [(client, CloseWhen::Now)]);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    assert!(!bench.proxy.drained, "an element may have to go back");
    bench.input(private, &element());
    assert_eq!(
        bench.sent(1),
        request(&["CLIENT", "UNBLOCK", "77"]) + &request(&["LPUSH", LOWER, "e"])
    );
    assert!(!bench.proxy.drained);
    bench.reply(1, ":0\r\n:1\r\n");
    assert!(bench.proxy.drained);
}
