//! What must hold when several things happen at once: replies that cross, nodes that hang, clients
//! that leave at the wrong moment.

use super::waiting_keys::{invalidate, waiting};
use super::*;
use slotway_protocol::resp::Protocol;

fn element() -> String {
    format!("*2\r\n$4\r\n{LOWER}\r\n$1\r\ne\r\n")
}

fn slot_of(key: &str) -> u16 {
    Slot::of(key.as_bytes()).number()
}

/// Opens the connections that are asked for, each to be told from the others by its place.
fn open_wanted(bench: &mut Bench) -> Vec<(u16, ConnectionId)> {
    let wanted = std::mem::take(&mut bench.wanted);
    let open = |(token, address): (ConnectToken, Address)| {
        (address.port, bench.open(Origin::Connected(token)))
    };
    wanted.into_iter().map(open).collect()
}

/// A client with a shared connection to the lower node.
fn with_shared(bench: &mut Bench) -> ConnectionId {
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, "$-1\r\n");
    bench.written(client);
    client
}

#[test]
fn a_request_that_a_reply_leads_to_may_find_its_slot_without_connection() {
    let mut bench = Bench::with_two_nodes();
    // Both wait for the same key, the second one in RESP3 and so on another connection.
    let first = bench.client();
    bench.input(first, &request(&["blpop", LOWER, UPPER, "0"]));
    assert_eq!(bench.sent(1), request(&["LPOP", LOWER]));
    bench.reply(1, "$-1\r\n");
    bench.sent(2);
    bench.reply(2, "$-1\r\n");
    let second = bench.client();
    bench.input(second, &request(&["hello", "3"]));
    bench.refuse();
    bench.input(second, &request(&["blpop", LOWER, UPPER, "0"]));
    for _ in 0..2 {
        for (_, connection) in open_wanted(&mut bench) {
            bench.written(connection);
            bench.input(connection, "%0\r\n");
            bench.written(connection);
            bench.input(connection, "_\r\n");
        }
    }
    bench.refuse();
    let lost: Vec<_> = (0..bench.proxy.pipelines.len())
        .filter(|index| bench.proxy.pipelines[*index].protocol == Protocol::Resp3)
        .filter_map(|index| bench.proxy.pipelines[index].connection())
        .collect();
    assert_eq!(lost.len(), 2);
    // The first one looks again, since no node says when something comes.
    bench.wait(Duration::from_millis(120));
    bench.refuse();
    assert_eq!(bench.sent(1), request(&["LPOP", LOWER]));
    for pipeline in &mut bench.proxy.pipelines {
        pipeline.failures = 1;
    }
    for connection in lost {
        bench.call(|proxy, now| proxy.handle_close(connection, now));
    }
    bench.reply(1, "$1\r\ne\r\n");
    assert_eq!(bench.written(first), element());
}

#[test]
fn what_ends_one_wait_does_not_end_the_next_one_on_its_connection() {
    let mut bench = Bench::with_two_nodes();
    with_shared(&mut bench);
    let client = bench.client();
    bench.input(client, &request(&["blpop", LOWER, "0"]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    assert_eq!(bench.sent(1), request(&["CLIENT", "UNBLOCK", "77"]));
    // The reply comes while the node has not seen that yet.
    bench.input(private, "*-1\r\n");
    let next = bench.client();
    bench.input(next, &request(&["blpop", LOWER, "0"]));
    assert_eq!(bench.written(private), "", "it would be unblocked");
    assert_eq!(bench.wanted.len(), 1);
}

#[test]
fn a_redirect_on_a_private_connection_lets_nobody_overtake_his_own_requests() {
    let mut bench = Bench::with_two_nodes();
    let client = with_shared(&mut bench);
    let blocked = bench.client();
    bench.input(blocked, &request(&["blpop", LOWER, "0"]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.sent(1);
    let moved = format!("-MOVED {} node:2\r\n", slot_of(LOWER));
    bench.input(private, &moved);
    bench.input(client, &request(&["set", LOWER, "2"]));
    assert_eq!(bench.sent(2), "", "the first one is on its way elsewhere");
    bench.reply(1, &moved);
    assert_eq!(bench.sent(2), request(&["set", LOWER, "1"]));
    bench.reply(2, "+OK\r\n");
    assert_eq!(bench.sent(2), request(&["set", LOWER, "2"]));
}

#[test]
fn a_node_that_hangs_is_not_waited_for_on_private_connections_either() {
    for logged_in in [false, true] {
        let mut bench = Bench::with_two_nodes();
        let client = bench.client();
        bench.input(client, &request(&["watch", LOWER]));
        let private = open_wanted(&mut bench)[0].1;
        bench.written(private);
        if logged_in {
            bench.input(private, ":77\r\n");
            assert_eq!(bench.written(private), request(&["watch", LOWER]));
        }
        bench.wait(bench.proxy.options.command_timeout + Duration::from_millis(200));
        assert_eq!(bench.closed, [(private, CloseWhen::Now)], "{logged_in}");
    }
}

#[test]
fn one_who_is_blocked_is_no_sign_of_a_node_that_hangs() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["blpop", LOWER, "0"]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.wait(bench.proxy.options.command_timeout * 2);
    assert_eq!(bench.closed, []);
}

#[test]
fn a_client_that_gives_up_is_not_told_where_slots_are() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let moved = |port: u16| format!("-MOVED {} node:{port}\r\n", slot_of(LOWER));
    bench.input(client, &request(&["blpop", LOWER, "0"]));
    let mut privates = HashMap::new();
    let end = bench.now + bench.proxy.options.hold_timeout + Duration::from_millis(500);
    while bench.now < end {
        for (port, private) in open_wanted(&mut bench) {
            bench.written(private);
            bench.input(private, ":77\r\n");
            privates.insert(port, private);
        }
        for (port, private) in privates.clone() {
            if !bench.written(private).is_empty() {
                bench.input(private, &moved(3 - port));
            }
        }
        bench.pass(Duration::from_millis(20));
    }
    assert_eq!(
        bench.written(client),
        "-CLUSTERDOWN Hash slot not served\r\n"
    );
}

#[test]
fn a_second_watch_that_is_redirected_aborts_the_transaction() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, "+OK\r\n");
    bench.written(client);
    bench.input(client, &request(&["watch", LOWER]));
    bench.written(private);
    let moved = format!("-MOVED {} node:2\r\n", slot_of(LOWER));
    bench.input(private, &moved);
    assert_eq!(bench.written(client), "+OK\r\n");
    bench.input(client, &(request(&["multi"]) + &request(&["exec"])));
    assert_eq!(bench.written(private), "");
    assert_eq!(bench.written(client), "+OK\r\n*-1\r\n");
}

#[test]
fn a_watch_that_was_sent_around_stays_where_it_is() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let moved = |port: u16| format!("-MOVED {} node:{port}\r\n", slot_of(LOWER));
    let lower = bench.log_in_private(1);
    bench.written(lower);
    bench.input(lower, &moved(2));
    bench.wait(Duration::from_millis(20));
    let upper = bench.log_in_private(2);
    bench.written(upper);
    bench.input(upper, &moved(1));
    bench.wait(Duration::from_millis(20));
    assert_eq!(bench.written(lower), request(&["watch", LOWER]));
    bench.input(lower, "+OK\r\n");
    bench.input(client, &(request(&["multi"]) + &request(&["exec"])));
    assert_eq!(bench.written(upper), "");
    assert_eq!(
        bench.written(lower),
        request(&["MULTI"]) + &request(&["EXEC"])
    );
}

#[test]
fn a_client_that_has_left_takes_nothing_when_its_element_goes_back() {
    let mut bench = Bench::with_two_nodes();
    let (client, [lower, upper]) = waiting(&mut bench);
    bench.input(upper, &invalidate(UPPER));
    bench.sent(2);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    bench.reply(2, "$1\r\ne\r\n");
    assert_eq!(bench.sent(2), request(&["LPUSH", UPPER, "e"]));
    bench.input(lower, &invalidate(LOWER));
    assert_eq!(bench.sent(1), "", "nobody is left to take it");
    bench.reply(2, ":1\r\n");
    assert_eq!(bench.proxy.tasks.len(), 0);
}

#[test]
fn who_comes_second_is_told_of_what_the_first_one_has_left() {
    let mut bench = Bench::with_two_nodes();
    let clients = [0, 1].map(|_| {
        let client = bench.client();
        bench.input(client, &request(&["blpop", LOWER, UPPER, "0"]));
        bench.sent(1);
        bench.reply(1, "$-1\r\n");
        bench.sent(2);
        bench.reply(2, "$-1\r\n");
        client
    });
    // The feeds come late: the first one looks for itself, and the node is asked to say.
    bench.wanted.clear();
    let feeds: Vec<_> = (0..2)
        .map(|backend| {
            let token = ConnectToken(1 << 31 | backend);
            let feed = bench.open(Origin::Connected(token));
            bench.written(feed);
            bench.input(feed, "%0\r\n");
            bench.written(feed);
            feed
        })
        .collect();
    bench.input(feeds[0], "+OK\r\n:0\r\n");
    bench.input(feeds[1], "+OK\r\n-ERR not now\r\n");
    bench.wait(Duration::from_millis(120));
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]));
    assert_eq!(bench.written(feeds[1]), request(&["EXISTS", UPPER]));
    // The node had two elements when it was asked for one, and one when it was asked for them.
    bench.input(feeds[1], ":1\r\n");
    bench.reply(2, "$1\r\na\r\n");
    assert_eq!(bench.written(clients[0]), "*2\r\n$3\r\nfoo\r\n$1\r\na\r\n");
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]));
}

#[test]
fn a_node_that_is_distrusted_answers_what_it_was_asked_before_others_are() {
    let mut bench = Bench::new(Options::default());
    bench.slotless = vec![3];
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    let client = with_shared(&mut bench);
    // Both are in the lower half of the slots.
    for key in [LOWER, "bar"] {
        bench.input(client, &request(&["get", key]));
        bench.sent(1);
        bench.reply(1, &format!("-MOVED {} node:3\r\n", slot_of(key)));
        assert_eq!(bench.sent(3), request(&["get", key]));
        bench.reply(3, "$-1\r\n");
    }
    bench.input(client, &request(&["set", LOWER, "1"]));
    assert_eq!(bench.sent(3), request(&["set", LOWER, "1"]));
    // Another client's connection to the same node can't be opened.
    let other = bench.client();
    bench.input(other, &request(&["hello", "3"]));
    bench.input(other, &request(&["get", "bar"]));
    bench.refuse();
    bench.input(client, &request(&["set", LOWER, "2"]));
    assert_eq!(bench.sent(1), "", "the one before is not answered");
    bench.reply(3, "+OK\r\n");
    assert_eq!(bench.sent(1), request(&["set", LOWER, "2"]));
}

#[test]
fn a_watch_does_not_outlive_a_change_of_protocol() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, "+OK\r\n");
    bench.input(client, &request(&["hello", "3"]));
    bench.written(client);
    bench.input(client, &(request(&["multi"]) + &request(&["exec"])));
    assert_eq!(bench.written(private), "");
    assert_eq!(bench.written(client), "+OK\r\n_\r\n");
}

#[test]
fn an_exec_follows_its_watch_to_where_the_slot_is_imported() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, &format!("-ASK {} node:2\r\n", slot_of(LOWER)));
    bench.wait(Duration::from_millis(20));
    let other = bench.log_in_private(2);
    let asking = request(&["ASKING"]);
    assert_eq!(
        bench.written(other),
        asking.clone() + &request(&["watch", LOWER])
    );
    bench.input(other, "+OK\r\n+OK\r\n");
    bench.written(client);
    bench.input(client, &(request(&["multi"]) + &request(&["exec"])));
    let block = request(&["MULTI"]) + &request(&["EXEC"]);
    assert_eq!(bench.written(other), asking + &block);
    bench.input(other, "+OK\r\n+OK\r\n*0\r\n");
    assert_eq!(bench.written(client), "+OK\r\n*0\r\n");
    // The next one who has the connection asks for what is there.
    bench.topology(&[(0, 16383, 2)]);
    bench.input(client, &request(&["watch", LOWER]));
    assert_eq!(bench.written(other), request(&["watch", LOWER]));
}

#[test]
fn a_mistake_in_exec_ends_the_transaction_and_the_watch() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, "+OK\r\n");
    bench.written(client);
    bench.input(client, &(request(&["multi"]) + &request(&["exec", "x"])));
    assert_eq!(
        bench.written(client),
        "+OK\r\n-EXECABORT Transaction discarded because of: \
         wrong number of arguments for 'exec' command\r\n"
    );
    assert_eq!(bench.closed, [(private, CloseWhen::Now)]);
    assert!(bench.proxy.session(client).unwrap().watch.is_none());
}

#[test]
fn one_who_is_looking_at_this_moment_can_be_unblocked_too() {
    let mut bench = Bench::with_two_nodes();
    let (client, [_, upper]) = waiting(&mut bench);
    bench.input(upper, &invalidate(UPPER));
    bench.sent(2);
    let id = bench.proxy.session(client).unwrap().client_id.to_string();
    let other = bench.client();
    bench.input(other, &request(&["client", "unblock", &id]));
    assert_eq!(bench.written(other), ":1\r\n");
    assert_eq!(bench.written(client), "");
    bench.reply(2, "$-1\r\n");
    assert_eq!(bench.written(client), "*-1\r\n");
}

#[test]
fn the_last_entry_is_no_place_to_begin_for_a_group() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let read = ["xreadgroup", "group", "g", "c", "streams", LOWER, UPPER];
    bench.input(client, &request(&[&read[..], &["$", ">"]].concat()));
    let read = ["xreadgroup", "group", "g", "c", "STREAMS", LOWER, "$"];
    assert_eq!(bench.sent(1), request(&read));
}
