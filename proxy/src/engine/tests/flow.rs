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
    assert_eq!(windows, [32, 48, 96, 192, 384, 768, 512]);
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
    assert_eq!(first, 32);
    bench.reply(1, &bulk(200_000).repeat(32));
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

#[test]
fn of_a_key_that_is_known_to_be_large_one_reply_is_owed() {
    let mut bench = one_node();
    let (writer, reader) = (bench.client(), bench.client());
    let value = "x".repeat(300_000);
    bench.input(writer, &request(&["set", LOWER, &value]));
    while !bench.sent(1).is_empty() {}
    bench.reply(1, "+OK\r\n");
    let mut input = BytesMut::from(&*request(&["get", LOWER]).repeat(10));
    bench.call(|proxy, now| proxy.handle_input(reader, &mut input, now));
    assert_eq!(sent(&mut bench), 1);
    // Another command is not slowed down by it.
    let other = bench.client();
    bench.input(other, &request(&["strlen", LOWER]).repeat(3));
    assert_eq!(sent(&mut bench), 3);
    bench.reply(1, &bulk(300_000));
    assert_eq!(bench.resumed, [reader]);
    bench.call(|proxy, now| proxy.handle_input(reader, &mut input, now));
    assert_eq!(sent(&mut bench), 1);
    // It is small now, and after a while that is believed.
    bench.reply(1, ":1\r\n:1\r\n:1\r\n$1\r\nx\r\n");
    for _ in 0..2 {
        bench.pass(Duration::from_secs(61));
    }
    bench.call(|proxy, now| proxy.handle_input(reader, &mut input, now));
    assert_eq!(sent(&mut bench), 6, "as many as its window allows");
}
