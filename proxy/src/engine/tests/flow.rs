//! How much a client may be owed: as much as its replies are small.

use super::super::Cut;
use super::*;

fn bulk(len: usize) -> String {
    format!("${len}\r\n{}\r\n", "x".repeat(len))
}

fn one_node() -> Bench {
    let mut bench = Bench::new(Options::default());
    bench.topology(&[(0, 16383, 1)]);
    bench
}

/// How many requests a node has been sent since it was last asked.
fn sent(bench: &mut Bench) -> usize {
    let mut count = 0;
    loop {
        let sent = bench.sent(1);
        if sent.is_empty() {
            return count;
        }
        count += sent.matches("*2").count();
    }
}

#[test]
fn the_window_grows_while_replies_are_small() {
    let mut bench = one_node();
    let client = bench.client();
    let mut input = BytesMut::from(&*request(&["get", LOWER]).repeat(10_000));
    let mut windows = Vec::new();
    for _ in 0..7 {
        bench.call(|proxy, now| proxy.handle_input(client, &mut input, now));
        windows.push(sent(&mut bench));
        while bench.resumed.is_empty() {
            bench.reply(1, "$-1\r\n");
        }
        bench.resumed.clear();
    }
    // Half of the window is refilled each time.
    assert_eq!(windows, [16, 24, 48, 96, 192, 384, 768]);
}

#[test]
fn the_window_narrows_when_replies_are_large() {
    let mut bench = one_node();
    let client = bench.client();
    // Each key is asked for once, so that nothing is known of any.
    let requests: String = (0..1000)
        .map(|number| request(&["get", &format!("key:{number}")]))
        .collect();
    let mut input = BytesMut::from(&*requests);
    bench.call(|proxy, now| proxy.handle_input(client, &mut input, now));
    let first = sent(&mut bench);
    assert_eq!(first, 16);
    bench.reply(1, &bulk(200_000).repeat(16));
    for _ in 0..5 {
        assert_eq!(bench.resumed, [], "the client has not taken them");
        while !bench.written(client).is_empty() {}
        assert_eq!(bench.resumed, [client]);
        bench.resumed.clear();
        bench.call(|proxy, now| proxy.handle_input(client, &mut input, now));
        let owed = sent(&mut bench);
        assert!((1..=10).contains(&owed), "{owed} replies of 200 kB");
        bench.reply(1, &bulk(200_000).repeat(owed));
    }
    assert_eq!(bench.stats.cut(Cut::Output), 0);
}

fn set_large(bench: &mut Bench, client: ConnectionId, key: &str) {
    bench.input(client, &request(&["set", key, &"x".repeat(300_000)]));
    while !bench.sent(1).is_empty() {}
    bench.reply(1, "+OK\r\n");
}

/// How many requests a node has been sent through the connection for what is large.
fn sent_large(bench: &mut Bench) -> usize {
    bench.connect();
    let Some(connection) = bench.large.get(&1).copied() else {
        return 0;
    };
    let mut count = 0;
    loop {
        let sent = bench.written(connection);
        if sent.is_empty() {
            return count;
        }
        count += sent.matches("*2").count();
    }
}

#[test]
fn of_a_key_that_is_known_to_be_large_one_reply_is_owed() {
    let mut bench = one_node();
    let (writer, reader) = (bench.client(), bench.client());
    set_large(&mut bench, writer, LOWER);
    let mut input = BytesMut::from(&*request(&["get", LOWER]).repeat(10));
    bench.call(|proxy, now| proxy.handle_input(reader, &mut input, now));
    assert_eq!(sent(&mut bench), 0);
    assert_eq!(sent_large(&mut bench), 1);
    assert_eq!(bench.paused, [reader], "what follows could overtake it");
    // Another command is not slowed down by it.
    let other = bench.client();
    bench.input(other, &request(&["strlen", LOWER]).repeat(3));
    assert_eq!(sent(&mut bench), 3);
    bench.input(bench.large[&1], &bulk(300_000));
    assert_eq!(bench.resumed, [reader]);
    bench.call(|proxy, now| proxy.handle_input(reader, &mut input, now));
    assert_eq!(sent_large(&mut bench), 1);
    // It is small now, and after a while that is believed.
    bench.reply(1, ":1\r\n:1\r\n:1\r\n");
    bench.input(bench.large[&1], "$1\r\nx\r\n");
    for _ in 0..2 {
        bench.pass(Duration::from_secs(61));
    }
    bench.call(|proxy, now| proxy.handle_input(reader, &mut input, now));
    assert_eq!(sent(&mut bench), 6, "as many as its window allows");
}

#[test]
fn large_replies_are_asked_for_in_turns() {
    let max = 2;
    let mut bench = Bench::new(Options {
        large_in_flight_max: max,
        ..Options::default()
    });
    bench.topology(&[(0, 16383, 1)]);
    let writer = bench.client();
    set_large(&mut bench, writer, LOWER);
    let readers: Vec<_> = (0..6).map(|_| bench.client()).collect();
    let get = request(&["get", LOWER]);
    let mut inputs: Vec<_> = readers.iter().map(|_| BytesMut::from(&*get)).collect();
    for (reader, input) in readers.iter().zip(&mut inputs) {
        bench.call(|proxy, now| proxy.handle_input(*reader, input, now));
    }
    assert_eq!(sent_large(&mut bench), max);
    let waiting = 6 - max;
    assert_eq!(bench.stats.large_waits.value(), waiting as u64);
    // The first of those who wait leaves, another one's turn comes instead.
    bench.call(|proxy, now| proxy.handle_close(readers[max], now));
    bench.input(bench.large[&1], &bulk(300_000));
    assert_eq!(bench.resumed, [readers[max + 1], readers[0]]);
    let (reader, input) = (readers[max + 1], &mut inputs[max + 1]);
    bench.call(|proxy, now| proxy.handle_input(reader, input, now));
    assert_eq!(sent_large(&mut bench), 1);
    // One that is called and does not come holds nobody up.
    bench.resumed.clear();
    bench.call(|proxy, now| proxy.handle_close(readers[1], now));
    assert_eq!(bench.resumed, [readers[max + 2]]);
    bench.call(|proxy, now| proxy.handle_close(readers[max + 2], now));
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.resumed.last(), readers.get(max + 3));
}

#[test]
fn large_requests_do_not_hold_up_others() {
    let mut bench = one_node();
    let (writer, other) = (bench.client(), bench.client());
    let value = "x".repeat(2_000_000);
    let both = request(&["set", LOWER, &value]) + &request(&["get", LOWER]);
    let mut input = BytesMut::from(&*both);
    bench.call(|proxy, now| proxy.handle_input(writer, &mut input, now));
    bench.input(other, &request(&["get", "other"]));
    assert_eq!(bench.sent(1), request(&["get", "other"]));
    sent_large(&mut bench);
    assert!(!input.is_empty(), "the GET waits for the SET");
    bench.input(bench.large[&1], "+OK\r\n");
    assert_eq!(bench.resumed, [writer]);
    bench.call(|proxy, now| proxy.handle_input(writer, &mut input, now));
    assert!(input.is_empty());
}
