//! Large replies, handed on in pieces: to whom, at whose speed, and what if somebody is lost.

use super::super::{Cut, Memory};
use super::*;

const MIB: usize = 1024 * 1024;

/// One node; the beginning of a reply is handed on from a mebibyte on, and the node waits when two
/// of them wait.
fn bench() -> Bench {
    let options = Options {
        memory: Arc::new(Memory::new(1, 0, 32 * MIB)),
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 16383, 1)]);
    bench
}

/// Takes what is to be written to a client, however many pieces it has.
fn all(bench: &mut Bench, client: ConnectionId) -> String {
    let mut all = String::new();
    loop {
        let written = bench.written(client);
        if written.is_empty() {
            return all;
        }
        all.push_str(&written);
    }
}

fn array(bulks: usize, len: usize) -> String {
    let bulk = format!("${len}\r\n{}\r\n", "-".repeat(len));
    format!("*{bulks}\r\n{}", bulk.repeat(bulks))
}

#[test]
fn a_reply_comes_out_as_it_came_in() {
    let mut bench = bench();
    let (client, other) = (bench.client(), bench.client());
    bench.input(client, &request(&["lrange", LOWER, "0", "-1"]));
    bench.input(other, &request(&["get", UPPER]));
    bench.sent(1);
    let node = bench.nodes[&1];
    let reply = array(50, 70_001);
    let whole = format!("{reply}$1\r\nx\r\n");
    let (mut input, mut got) = (BytesMut::new(), String::new());
    for piece in whole.as_bytes().chunks(50_000) {
        input.extend_from_slice(piece);
        bench.call(|proxy, now| proxy.handle_input(node, &mut input, now));
        assert!(input.len() <= 2 * MIB, "it is not held whole");
        got.push_str(&all(&mut bench, client));
    }
    assert!(got == reply, "{} bytes of {}", got.len(), reply.len());
    assert_eq!(bench.written(other), "$1\r\nx\r\n");
    assert_eq!(bench.stats.replies_passed.value(), 1);
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, "-ERR x\r\n");
    assert_eq!(bench.written(client), "-ERR x\r\n");
}

#[test]
fn a_reply_that_is_not_in_turn_waits() {
    let mut bench = bench();
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    let client = bench.client();
    bench.input(client, &request(&["get", UPPER]));
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.sent(2);
    let node = bench.nodes[&1];
    let reply = array(3, MIB);
    let (early, late) = reply.split_at(2 * MIB);
    let mut input = BytesMut::from(early);
    bench.call(|proxy, now| proxy.handle_input(node, &mut input, now));
    assert_eq!(input.len(), early.len());
    bench.reply(2, ":1\r\n");
    assert_eq!(bench.written(client), ":1\r\n");
    input.extend_from_slice(late.as_bytes());
    bench.call(|proxy, now| proxy.handle_input(node, &mut input, now));
    assert!(all(&mut bench, client) == reply);
}

#[test]
fn the_node_waits_for_the_client_but_not_for_ever() {
    let mut bench = bench();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    let node = bench.nodes[&1];
    let mut input = BytesMut::from(&*format!("$20000000\r\n{}", "x".repeat(3 * MIB)));
    bench.call(|proxy, now| proxy.handle_input(node, &mut input, now));
    assert_eq!(bench.paused, [node]);
    all(&mut bench, client);
    assert_eq!(bench.resumed, [node]);
    input.extend_from_slice("x".repeat(3 * MIB).as_bytes());
    bench.call(|proxy, now| proxy.handle_input(node, &mut input, now));
    assert_eq!(bench.paused, [node, node]);
    bench.wait(Duration::from_millis(4800));
    assert_eq!(bench.closed, []);
    bench.wait(Duration::from_millis(400));
    assert_eq!(bench.closed, [(client, CloseWhen::Now)]);
    assert_eq!(bench.stats.cut(Cut::Output), 1);
    assert_eq!(bench.resumed, [node, node], "the rest is for nobody");
    bench.call(|proxy, now| proxy.handle_close(client, now));
    let other = bench.client();
    bench.input(other, &request(&["get", "other"]));
    bench.sent(1);
    let rest = format!("{}\r\n$1\r\ny\r\n", "x".repeat(20_000_000 - 6 * MIB));
    input.extend_from_slice(rest.as_bytes());
    bench.call(|proxy, now| proxy.handle_input(node, &mut input, now));
    assert_eq!(bench.written(other), "$1\r\ny\r\n");
}

#[test]
fn who_has_the_beginning_of_a_lost_reply_is_cut_off() {
    let mut bench = bench();
    let (client, other) = (bench.client(), bench.client());
    bench.input(client, &request(&["get", LOWER]));
    bench.input(other, &request(&["get", LOWER]));
    bench.sent(1);
    let node = bench.nodes[&1];
    let mut input = BytesMut::from(&*format!("$20000000\r\n{}", "x".repeat(MIB)));
    bench.call(|proxy, now| proxy.handle_input(node, &mut input, now));
    bench.lose(1);
    assert_eq!(bench.closed, [(client, CloseWhen::Now)]);
    assert_eq!(bench.stats.cut(Cut::ReplyLost), 1);
    bench.wait(Duration::from_millis(100));
    assert_eq!(
        bench.sent(1),
        request(&["get", LOWER]),
        "the other's is asked for again"
    );
    bench.reply(1, ":1\r\n");
    assert_eq!(bench.written(other), ":1\r\n");
}

#[test]
fn a_node_that_speaks_nonsense_is_cut() {
    for (said, reason) in [(":1\r\n:2\r\n", "unasked"), ("@\r\n", "unreadable")] {
        let mut bench = bench();
        let client = bench.client();
        bench.input(client, &request(&["set", LOWER, "x"]));
        bench.sent(1);
        let node = bench.nodes[&1];
        bench.input(node, said);
        assert_eq!(bench.closed, [(node, CloseWhen::Now)], "{reason}");
        let cut = [0, 1].map(|index| bench.stats.backends_cut[index].value());
        assert_eq!(cut, if reason == "unasked" { [0, 1] } else { [1, 0] });
        bench.lose(1);
        let told = bench.written(client);
        assert!(
            told == ":1\r\n" || told.contains("result unknown"),
            "{told}"
        );
    }
}
