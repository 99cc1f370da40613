//! Scripts that a node does not know, and the commands that go to all shards for them.

use super::*;
use crate::engine::peers::{Answer, Body};

/// `SCRIPT LOAD "return 1"`
const DIGEST: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
const BODY: &str = "return 1";
const NO_SCRIPT: &str = "-NOSCRIPT No matching script. Please use EVAL.\r\n";

fn bench_that_knows_the_script() -> (Bench, ConnectionId) {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["eval", BODY, "1", LOWER]));
    bench.sent(1);
    bench.reply(1, ":1\r\n");
    assert_eq!(bench.written(client), ":1\r\n");
    (bench, client)
}

#[test]
fn a_node_that_does_not_know_a_script_is_sent_it() {
    let (mut bench, client) = bench_that_knows_the_script();
    let other = bench.client();
    let by_name = request(&["EVALSHA", DIGEST, "1", UPPER, "x"]);
    let next = request(&["get", UPPER]);
    bench.input(client, &by_name);
    bench.input(other, &next);
    bench.input(client, &request(&["get", LOWER]));
    assert_eq!(bench.sent(2), by_name + &next);
    bench.reply(2, NO_SCRIPT);
    assert_eq!(bench.sent(2), "", "the next request is still under way");
    bench.reply(2, "$1\r\ny\r\n");
    assert_eq!(bench.written(other), "$1\r\ny\r\n");
    assert_eq!(bench.sent(2), request(&["EVAL", BODY, "1", UPPER, "x"]));
    assert_eq!(bench.written(client), "");
    bench.reply(2, ":1\r\n");
    assert_eq!(bench.written(client), ":1\r\n");
    assert_eq!(bench.stats.scripts_healed.value(), 1);
}

#[test]
fn a_client_does_not_see_its_requests_change_places() {
    let (mut bench, client) = bench_that_knows_the_script();
    let by_name = request(&["EVALSHA", DIGEST, "1", LOWER]);
    bench.input(
        client,
        &(by_name.clone() + &request(&["get", LOWER]) + &by_name),
    );
    bench.sent(1);
    bench.reply(1, &format!("{NO_SCRIPT}$1\r\nx\r\n{NO_SCRIPT}"));
    assert_eq!(bench.sent(1), request(&["EVAL", BODY, "1", LOWER]));
    bench.reply(1, ":1\r\n");
    let expected = format!("{NO_SCRIPT}$1\r\nx\r\n:1\r\n");
    assert_eq!(bench.written(client), expected);
}

#[test]
fn a_script_that_may_only_read_stays_so() {
    let (mut bench, client) = bench_that_knows_the_script();
    bench.input(
        client,
        &request(&["evalsha_ro", &DIGEST.to_uppercase(), "0"]),
    );
    bench.sent(1);
    bench.reply(1, NO_SCRIPT);
    assert_eq!(bench.sent(1), request(&["EVAL_RO", BODY, "0"]));
    bench.reply(1, ":1\r\n");
    assert_eq!(bench.written(client), ":1\r\n");
}

#[test]
fn a_script_that_is_sent_follows_redirects() {
    let (mut bench, client) = bench_that_knows_the_script();
    bench.input(client, &request(&["EVALSHA", DIGEST, "1", LOWER]));
    bench.sent(1);
    let slot = Slot::of(LOWER.as_bytes());
    bench.reply(1, &format!("-ASK {slot} node:2\r\n"));
    let asking = request(&["ASKING"]);
    let by_name = request(&["EVALSHA", DIGEST, "1", LOWER]);
    assert_eq!(bench.sent(2), asking.clone() + &by_name);
    bench.reply(2, &format!("+OK\r\n{NO_SCRIPT}"));
    let whole = request(&["EVAL", BODY, "1", LOWER]);
    assert_eq!(
        bench.sent(2),
        asking + &whole,
        "it is sent to who was asked"
    );
    bench.reply(2, &format!("+OK\r\n-MOVED {slot} node:2\r\n"));
    bench.pass(Duration::from_millis(60));
    bench.pass(Duration::from_millis(60));
    let sent = bench.sent(2) + &bench.sent(1);
    assert!(sent.ends_with(&whole), "{sent}");
}

#[test]
fn what_is_not_known_or_not_said_by_a_server_is_for_the_client() {
    let (mut bench, client) = bench_that_knows_the_script();
    let other = "f".repeat(40);
    bench.input(client, &request(&["EVALSHA", &other, "1", LOWER]));
    bench.sent(1);
    bench.reply(1, NO_SCRIPT);
    assert_eq!(bench.written(client), NO_SCRIPT);
    bench.input(client, &request(&["EVALSHA", DIGEST, "1", LOWER]));
    bench.sent(1);
    bench.reply(1, "-NOSCRIPT says the script\r\n");
    assert_eq!(bench.written(client), "-NOSCRIPT says the script\r\n");
    bench.input(client, &request(&["EVAL", BODY, "1", LOWER]));
    bench.sent(1);
    bench.reply(1, NO_SCRIPT);
    assert_eq!(bench.written(client), NO_SCRIPT);
    assert_eq!(bench.stats.scripts_healed.value(), 0);
}

#[test]
fn a_script_that_all_shards_have_loaded_is_known() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let load = request(&["script", "load", BODY]);
    let name = format!("$40\r\n{DIGEST}\r\n");
    for (second, known) in [("-OOM no\r\n", false), (name.as_str(), true)] {
        bench.input(client, &load);
        assert_eq!((bench.sent(1), bench.sent(2)), (load.clone(), load.clone()));
        bench.reply(1, &name);
        assert_eq!(bench.written(client), "");
        bench.reply(2, second);
        assert_eq!(bench.written(client), second);
        bench.input(client, &request(&["EVALSHA", DIGEST, "1", LOWER]));
        bench.sent(1);
        bench.reply(1, NO_SCRIPT);
        let again = bench.sent(1);
        assert_eq!(!again.is_empty(), known);
        if known {
            assert_eq!(again, request(&["EVAL", BODY, "1", LOWER]));
        } else {
            assert_eq!(bench.written(client), NO_SCRIPT);
        }
    }
}

fn with_two_workers() -> (Bench, ConnectionId) {
    let mut bench = Bench::new(Options {
        worker_count: 2,
        ..Options::default()
    });
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    // The first sweep allows to tell others of scripts.
    let client = bench.client();
    bench.pass(Duration::from_millis(200));
    (bench, client)
}

#[test]
fn a_new_script_is_known_to_all_workers() {
    let (mut bench, client) = with_two_workers();
    for _ in 0..2 {
        bench.input(client, &request(&["eval", BODY, "1", LOWER]));
        bench.sent(1);
        bench.reply(1, ":1\r\n");
    }
    let message = bench.messages.pop().unwrap();
    assert!(bench.messages.is_empty(), "they are told once");
    assert_eq!(*message.body, Body::Script(BODY.into()));
    let (mut other, client) = with_two_workers();
    other.call(|proxy, now| proxy.handle_event(Event::Peer(message), now));
    assert!(other.messages.is_empty(), "it is not passed on");
    other.input(client, &request(&["EVALSHA", DIGEST, "1", LOWER]));
    other.sent(1);
    other.reply(1, NO_SCRIPT);
    assert_eq!(other.sent(1), request(&["EVAL", BODY, "1", LOWER]));
}

#[test]
fn a_flood_of_new_scripts_does_not_flood_the_workers() {
    let (mut bench, client) = with_two_workers();
    for number in 0..100 {
        let body = format!("return {number}{}", " ".repeat(1000));
        let client = bench.client();
        bench.input(client, &request(&["eval", &body, "1", LOWER]));
    }
    assert_eq!(bench.messages.len(), 64);
    bench.pass(Duration::from_millis(200));
    let body = " ".repeat(1000);
    bench.input(client, &request(&["eval", &body, "1", LOWER]));
    assert_eq!(bench.messages.len(), 65);
}

#[test]
fn a_flush_waits_for_all_shards_and_workers() {
    for worker_first in [false, true] {
        let (mut bench, client) = with_two_workers();
        bench.input(client, &request(&["eval", BODY, "1", LOWER]));
        bench.sent(1);
        bench.reply(1, ":1\r\n");
        bench.written(client);
        bench.messages.clear();
        let flush = request(&["script", "flush", "Async"]);
        let by_name = request(&["EVALSHA", DIGEST, "1", LOWER]);
        bench.input(client, &(flush.clone() + &by_name));
        assert_eq!(bench.sent(1), flush.clone() + &by_name);
        assert_eq!(bench.sent(2), flush);
        let question = bench.messages.pop().unwrap();
        let Body::Question { asker, .. } = *question.body else {
            panic!("{question:?}");
        };
        let body = Body::Answer {
            asker,
            answer: Answer::Count(7),
        };
        let (from, to) = (1, Some(0));
        let body = Box::new(body);
        let answer = Message { from, to, body };
        if worker_first {
            bench.call(|proxy, now| proxy.handle_event(Event::Peer(answer), now));
            bench.reply(2, "+OK\r\n");
            assert_eq!(bench.written(client), "");
            bench.reply(1, "+OK\r\n");
        } else {
            bench.reply(2, "+OK\r\n");
            bench.reply(1, "+OK\r\n");
            assert_eq!(bench.written(client), "");
            bench.call(|proxy, now| proxy.handle_event(Event::Peer(answer), now));
        }
        assert_eq!(bench.written(client), "+OK\r\n");
        bench.reply(1, NO_SCRIPT);
        assert_eq!(bench.written(client), NO_SCRIPT);
    }
}

#[test]
fn a_flush_does_not_wait_for_ever() {
    let (mut bench, client) = with_two_workers();
    bench.input(client, &request(&["script", "flush"]));
    bench.sent(1);
    bench.sent(2);
    bench.reply(1, "+OK\r\n");
    bench.reply(2, "+OK\r\n");
    bench.wait(Duration::from_millis(1100));
    assert_eq!(bench.written(client), "+OK\r\n");
    assert_eq!(bench.stats.peer_answers_late.value(), 1);
    bench.input(client, &request(&["script", "flush", "now"]));
    assert_eq!(
        bench.written(client),
        "-ERR SCRIPT FLUSH only support SYNC|ASYNC option\r\n"
    );
}

#[test]
fn a_killer_gets_past_the_script_and_one_success_is_enough() {
    const NONE: &str = "-NOTBUSY No scripts in execution right now.\r\n";
    const UNKILLABLE: &str = "-UNKILLABLE Sorry\r\n";
    for (replies, reply) in [
        ([NONE, NONE], NONE),
        ([NONE, "+OK\r\n"], "+OK\r\n"),
        (["+OK\r\n", NONE], "+OK\r\n"),
        ([NONE, UNKILLABLE], UNKILLABLE),
        ([UNKILLABLE, NONE], UNKILLABLE),
    ] {
        let mut bench = Bench::with_two_nodes();
        let client = bench.client();
        bench.input(client, &request(&["script", "kill"]));
        let wanted = std::mem::take(&mut bench.wanted);
        let mut nodes = Vec::new();
        for (token, _) in wanted {
            let node = bench.open(Origin::Connected(token));
            assert_eq!(bench.written(node), request(&["CLIENT", "ID"]));
            nodes.push(node);
        }
        // The one that is busy does not even tell the number of a connection.
        let busy = "-BUSY Redis is busy running a script.\r\n";
        for (node, id) in nodes.iter().zip([busy, ":7\r\n"]) {
            bench.input(*node, id);
            assert_eq!(bench.written(*node), request(&["script", "kill"]));
        }
        assert_eq!(nodes.len(), 2);
        bench.input(nodes[0], replies[0]);
        assert_eq!(bench.written(client), "");
        bench.input(nodes[1], replies[1]);
        assert_eq!(bench.written(client), reply);
    }
}

#[test]
fn a_transaction_brings_the_scripts_that_it_names() {
    let (mut bench, client) = bench_that_knows_the_script();
    let commands = [
        request(&["multi"]),
        request(&["EVALSHA", DIGEST, "1", LOWER]),
        request(&["EVALSHA", DIGEST, "1", LOWER]),
        request(&["exec"]),
    ];
    bench.input(client, &commands.concat());
    let load = request(&["SCRIPT", "LOAD", BODY]);
    let block = request(&["MULTI"]) + &commands[1] + &commands[2] + &request(&["EXEC"]);
    assert_eq!(bench.sent(1), load.clone() + &block);
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    let slot = Slot::of(LOWER.as_bytes());
    let ask = format!("-ASK {slot} node:2\r\n");
    bench.reply(
        1,
        &format!("$3\r\nsha\r\n+OK\r\n{ask}{ask}-EXECABORT x\r\n"),
    );
    // An ASKING holds until the EXEC only if it is the MULTI that follows it.
    assert_eq!(bench.sent(2), load + &request(&["ASKING"]) + &block);
    bench.reply(
        2,
        "$3\r\nsha\r\n+OK\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:1\r\n",
    );
    assert_eq!(bench.written(client), "*2\r\n:1\r\n:1\r\n");
}
