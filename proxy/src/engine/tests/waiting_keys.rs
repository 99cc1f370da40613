//! Commands that wait for keys of several slots.

use super::*;

fn exists(key: &str) -> String {
    request(&["EXISTS", key])
}

/// A client that waits for one key on each node, until both nodes have been asked to say when.
pub(super) fn waiting(bench: &mut Bench) -> (ConnectionId, [ConnectionId; 2]) {
    let client = bench.client();
    bench.input(client, &request(&["blpop", LOWER, UPPER, "0"]));
    assert_eq!(bench.sent(1), request(&["LPOP", LOWER]));
    assert_eq!(bench.sent(2), "", "one after the other");
    bench.reply(1, "$-1\r\n");
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]));
    bench.reply(2, "$-1\r\n");
    let feeds = [(1, LOWER), (2, UPPER)].map(|(port, key)| {
        let (token, address) = bench.wanted.remove(0);
        assert_eq!(address.port, port);
        let feed = bench.open(Origin::Connected(token));
        assert_eq!(bench.written(feed), request(&["HELLO", "3"]));
        bench.input(feed, "%0\r\n");
        let asked = request(&["CLIENT", "TRACKING", "ON"]) + &exists(key);
        assert_eq!(bench.written(feed), asked);
        bench.input(feed, "+OK\r\n:0\r\n");
        feed
    });
    (client, feeds)
}

pub(super) fn invalidate(key: &str) -> String {
    format!(
        ">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\n{key}\r\n",
        key.len()
    )
}

#[test]
fn a_client_waits_until_a_node_says_that_a_key_has_changed() {
    let mut bench = Bench::with_two_nodes();
    let (client, [_, upper]) = waiting(&mut bench);
    bench.input(upper, &invalidate(UPPER));
    assert_eq!(bench.sent(1), "");
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]));
    bench.reply(2, "$1\r\ne\r\n");
    assert_eq!(bench.written(client), "*2\r\n$3\r\nfoo\r\n$1\r\ne\r\n");
    assert_eq!(bench.proxy.waiters.len(), 0);
}

#[test]
fn a_client_that_finds_nothing_waits_on() {
    let mut bench = Bench::with_two_nodes();
    let (client, [_, upper]) = waiting(&mut bench);
    bench.input(upper, &invalidate(UPPER));
    bench.sent(2);
    bench.reply(2, "$-1\r\n");
    assert_eq!(bench.written(upper), exists(UPPER));
    // Something came while it was being asked.
    bench.input(upper, ":1\r\n");
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]));
    bench.reply(2, "$1\r\ne\r\n");
    assert_eq!(bench.written(client), "*2\r\n$3\r\nfoo\r\n$1\r\ne\r\n");
}

#[test]
fn clients_have_their_turn_in_the_order_they_came() {
    let mut bench = Bench::with_two_nodes();
    let (first, [_, upper]) = waiting(&mut bench);
    let second = bench.client();
    bench.input(second, &request(&["blpop", LOWER, UPPER, "0"]));
    bench.sent(1);
    bench.reply(1, "$-1\r\n");
    bench.sent(2);
    bench.reply(2, "$-1\r\n");
    bench.input(upper, &invalidate(UPPER));
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]), "only one");
    bench.reply(2, "$1\r\na\r\n");
    assert_eq!(bench.written(first), "*2\r\n$3\r\nfoo\r\n$1\r\na\r\n");
    // There may be more, and nobody else would say so.
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]));
    bench.reply(2, "$-1\r\n");
    assert_eq!(bench.written(second), "");
    assert_eq!(bench.written(upper), exists(UPPER));
}

#[test]
fn time_ends_the_wait() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["brpop", LOWER, UPPER, "0.5"]));
    bench.sent(1);
    bench.reply(1, "$-1\r\n");
    bench.sent(2);
    bench.reply(2, "$-1\r\n");
    bench.wait(Duration::from_millis(480));
    assert_eq!(bench.written(client), "");
    bench.wait(Duration::from_millis(40));
    // Without a feed it looks for itself now and then; one look may be under way.
    bench.sent(1);
    bench.sent(2);
    if !bench.proxy.tasks.is_empty() {
        bench.reply(1, "$-1\r\n");
        bench.sent(2);
        bench.reply(2, "$-1\r\n");
    }
    assert_eq!(bench.written(client), "*-1\r\n");
}

#[test]
fn what_was_taken_for_a_client_that_left_goes_back() {
    let mut bench = Bench::with_two_nodes();
    let (client, [_, upper]) = waiting(&mut bench);
    bench.input(upper, &invalidate(UPPER));
    bench.sent(2);
    bench.call(|proxy, now| proxy.handle_close(client, now));
    bench.reply(2, "$1\r\ne\r\n");
    assert_eq!(bench.sent(2), request(&["LPUSH", UPPER, "e"]));
    bench.reply(2, ":1\r\n");
    assert_eq!(bench.proxy.tasks.len(), 0);
    assert_eq!(bench.stats.restored.value(), 1);
}

#[test]
fn a_lost_feed_is_made_up_for() {
    let mut bench = Bench::with_two_nodes();
    let (client, [_, upper]) = waiting(&mut bench);
    bench.call(|proxy, now| proxy.handle_close(upper, now));
    bench.wait(Duration::from_millis(120));
    bench.wanted.clear();
    assert_eq!(bench.sent(2), request(&["LPOP", UPPER]));
    bench.reply(2, "$1\r\ne\r\n");
    assert_eq!(bench.written(client), "*2\r\n$3\r\nfoo\r\n$1\r\ne\r\n");
}

#[test]
fn scores_and_counts_have_the_form_of_the_blocking_command() {
    for (words, sent, reply, expected) in [
        (
            &["bzpopmin", LOWER, UPPER, "0"][..],
            &["ZPOPMIN", LOWER][..],
            "*2\r\n$1\r\nm\r\n$1\r\n1\r\n",
            "*3\r\n$4\r\nbar4\r\n$1\r\nm\r\n$1\r\n1\r\n",
        ),
        (
            &["blmpop", "0", "2", LOWER, UPPER, "left", "count", "2"],
            &["LMPOP", "1", LOWER, "left", "count", "2"],
            "*2\r\n$4\r\nbar4\r\n*1\r\n$1\r\ne\r\n",
            "*2\r\n$4\r\nbar4\r\n*1\r\n$1\r\ne\r\n",
        ),
    ] {
        let mut bench = Bench::with_two_nodes();
        let client = bench.client();
        bench.input(client, &request(words));
        assert_eq!(bench.sent(1), request(sent));
        bench.reply(1, reply);
        assert_eq!(bench.written(client), expected);
    }
}

#[test]
fn a_wrong_type_is_told_and_a_bad_time_too() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["blpop", LOWER, UPPER, "0"]));
    bench.sent(1);
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    bench.reply(1, wrong);
    assert_eq!(bench.written(client), wrong);
    bench.input(client, &request(&["blpop", LOWER, UPPER, "x"]));
    assert_eq!(
        bench.written(client),
        "-ERR timeout is not a float or out of range\r\n"
    );
    bench.input(
        client,
        &request(&["blmpop", "0", "3", LOWER, UPPER, "left"]),
    );
    assert_eq!(bench.written(client), "-ERR syntax error\r\n");
    bench.input(client, &request(&["blpop", LOWER, UPPER, "-1"]));
    assert_eq!(bench.written(client), "-ERR timeout is negative\r\n");
}

#[test]
fn streams_of_several_slots_are_read_together() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let read = ["xread", "block", "0", "streams", LOWER, UPPER, "0", "$"];
    bench.input(client, &request(&read));
    assert_eq!(bench.sent(1), "");
    assert_eq!(bench.sent(2), request(&["XINFO", "STREAM", UPPER]));
    bench.reply(2, "*2\r\n$17\r\nlast-generated-id\r\n$3\r\n5-1\r\n");
    assert_eq!(bench.sent(1), request(&["xread", "STREAMS", LOWER, "0"]));
    assert_eq!(bench.sent(2), request(&["xread", "STREAMS", UPPER, "5-1"]));
    bench.reply(1, "*1\r\n*2\r\n$4\r\nbar4\r\n*0\r\n");
    bench.reply(2, "*-1\r\n");
    assert_eq!(bench.written(client), "*1\r\n*2\r\n$4\r\nbar4\r\n*0\r\n");
}

#[test]
fn what_a_group_has_handed_out_is_told_and_else_the_first_error() {
    let read = [
        "xreadgroup",
        "group",
        "g",
        "c",
        "streams",
        LOWER,
        UPPER,
        ">",
        ">",
    ];
    let none = |key: &str| format!("-NOGROUP No such key '{key}'\r\n");
    let entries = "*1\r\n*2\r\n$3\r\nfoo\r\n*0\r\n";
    for (upper, expected) in [(none(UPPER), none(LOWER)), (entries.into(), entries.into())] {
        let mut bench = Bench::with_two_nodes();
        let client = bench.client();
        bench.input(client, &request(&read));
        bench.sent(1);
        bench.sent(2);
        bench.reply(2, &upper);
        bench.reply(1, &none(LOWER));
        assert_eq!(bench.written(client), expected);
    }
}
