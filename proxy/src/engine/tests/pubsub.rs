//! Publish and subscribe: clients of both protocols, and nodes that are lost or lose slots.

use super::client::Pair;
use super::*;

impl Bench {
    /// What a node has been sent on its feed since it was last asked; a login is answered.
    fn fed(&mut self, port: u16) -> String {
        self.connect();
        let Some(feed) = self.feeds.get(&port).copied() else {
            return String::new();
        };
        let mut sent = self.written(feed);
        let login = request(&["HELLO", "3"]);
        if let Some(rest) = sent.strip_prefix(&login) {
            assert_eq!(rest, "", "nothing is sent before the login is accepted");
            self.says(port, "%1\r\n$5\r\nproto\r\n:3\r\n");
            sent = self.written(feed);
        }
        sent
    }

    /// A node says something on its feed.
    fn says(&mut self, port: u16, bytes: &str) {
        let rest = self.input(self.feeds[&port], bytes);
        assert!(rest.is_empty(), "nodes say whole things here");
    }

    fn lose_feed(&mut self, port: u16) {
        let feed = self.feeds.remove(&port).unwrap();
        self.call(|proxy, now| proxy.handle_close(feed, now));
    }

    /// A client in that protocol with subscriptions that the node at the port has confirmed.
    fn subscriber(&mut self, protocol: &str, port: u16, channel: &str) -> ConnectionId {
        let client = self.client();
        self.input(client, &request(&["HELLO", protocol]));
        self.written(client);
        self.input(client, &request(&["SUBSCRIBE", channel]));
        if self.fed(port) == request(&["subscribe", channel]) {
            self.says(port, &push(&["subscribe", channel, ":1"]));
        }
        assert!(self.written(client).ends_with(":1\r\n"));
        client
    }
}

/// A push as nodes send it; a word that begins with a colon is an integer.
fn push(words: &[&str]) -> String {
    format!(">{}", &array(words)[1..])
}

/// The same as an array, as it is told in RESP2.
fn array(words: &[&str]) -> String {
    let word = |word: &&str| match word.strip_prefix(':') {
        Some(_) => format!("{word}\r\n"),
        None => format!("${}\r\n{word}\r\n", word.len()),
    };
    let words: Vec<_> = words.iter().map(word).collect();
    format!("*{}\r\n{}", words.len(), words.concat())
}

#[test]
fn one_subscription_serves_all_clients_in_their_protocol() {
    let mut bench = Bench::with_two_nodes();
    let old = bench.client();
    let new = bench.client();
    bench.input(new, &request(&["HELLO", "3"]));
    bench.written(new);
    bench.input(old, &request(&["SUBSCRIBE", LOWER]));
    bench.input(new, &request(&["SUBSCRIBE", LOWER]));
    assert_eq!(bench.fed(1), request(&["subscribe", LOWER]));
    assert_eq!(bench.fed(2), "", "one node is enough");
    assert_eq!(bench.written(old), "", "it is not confirmed yet");
    let confirmed = ["subscribe", LOWER, ":1"];
    bench.says(1, &push(&confirmed));
    assert_eq!(bench.written(old), array(&confirmed));
    assert_eq!(bench.written(new), push(&confirmed));
    let message = ["message", LOWER, "hello"];
    bench.says(1, &push(&message));
    assert_eq!(bench.written(old), array(&message));
    assert_eq!(bench.written(new), push(&message));
    assert_eq!(bench.stats.messages.value(), 2);

    let late = bench.subscriber("2", 1, LOWER);
    assert_eq!(bench.fed(1), "", "we are subscribed already");
    for client in [old, late] {
        bench.input(client, &request(&["UNSUBSCRIBE", LOWER]));
        let ended = array(&["unsubscribe", LOWER, ":0"]);
        assert_eq!(bench.written(client), ended);
        assert_eq!(bench.fed(1), "", "somebody still wants it");
    }
    bench.call(|proxy, now| proxy.handle_close(new, now));
    assert_eq!(bench.fed(1), request(&["unsubscribe", LOWER]));
    bench.says(1, &push(&["unsubscribe", LOWER, ":0"]));
    bench.says(1, &push(&message));
    assert_eq!(bench.written(old), "");
    assert_eq!(bench.closed, []);
}

#[test]
fn large_messages_reach_both_protocols_whole() {
    let mut bench = Bench::with_two_nodes();
    let old = bench.subscriber("2", 1, LOWER);
    let new = bench.subscriber("3", 1, LOWER);
    let message = ["message", LOWER, &"x".repeat(40_000)];
    bench.says(1, &push(&message));
    assert_eq!(bench.written(old), array(&message));
    assert_eq!(bench.written(new), push(&message));
}

#[test]
fn confirmations_count_as_the_server_does() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let ask = |words: &[&str]| request(words);
    bench.input(client, &ask(&["SUBSCRIBE", LOWER, UPPER, LOWER]));
    bench.input(client, &ask(&["PSUBSCRIBE", "{bar4}*"]));
    bench.input(client, &ask(&["SSUBSCRIBE", UPPER]));
    assert_eq!(
        bench.fed(1),
        ask(&["subscribe", LOWER]) + &ask(&["psubscribe", "{bar4}*"])
    );
    assert_eq!(
        bench.fed(2),
        ask(&["subscribe", UPPER]) + &ask(&["ssubscribe", UPPER])
    );
    bench.says(2, &push(&["subscribe", UPPER, ":1"]));
    bench.says(2, &push(&["ssubscribe", UPPER, ":1"]));
    assert_eq!(bench.written(client), "", "in the order of the requests");
    bench.says(1, &push(&["subscribe", LOWER, ":1"]));
    bench.says(1, &push(&["psubscribe", "{bar4}*", ":2"]));
    let expected = [
        array(&["subscribe", LOWER, ":1"]),
        array(&["subscribe", UPPER, ":2"]),
        array(&["subscribe", LOWER, ":2"]),
        array(&["psubscribe", "{bar4}*", ":3"]),
        array(&["ssubscribe", UPPER, ":1"]),
    ];
    assert_eq!(bench.written(client), expected.concat());
    bench.input(client, &ask(&["SUNSUBSCRIBE"]));
    bench.input(client, &ask(&["UNSUBSCRIBE"]));
    bench.input(client, &ask(&["UNSUBSCRIBE", "unknown"]));
    bench.input(client, &ask(&["PUNSUBSCRIBE", "{bar4}*"]));
    bench.input(client, &(ask(&["PUNSUBSCRIBE"]) + &ask(&["SUNSUBSCRIBE"])));
    let expected = [
        array(&["sunsubscribe", UPPER, ":0"]),
        array(&["unsubscribe", LOWER, ":2"]),
        array(&["unsubscribe", UPPER, ":1"]),
        array(&["unsubscribe", "unknown", ":1"]),
        array(&["punsubscribe", "{bar4}*", ":0"]),
        "*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n".to_owned(),
        "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n".to_owned(),
    ];
    assert_eq!(bench.written(client), expected.concat());
    let end = ask(&["sunsubscribe", UPPER]) + &ask(&["ECHO", ""]);
    assert_eq!(bench.fed(2), end + &ask(&["unsubscribe", UPPER]));
}

#[test]
fn in_resp2_a_subscriber_hears_and_little_else() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.subscriber("2", 1, LOWER);
    bench.input(
        client,
        &(request(&["get", UPPER]) + &request(&["client", "id"])),
    );
    let barred = |name| {
        format!(
            "-ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / \
             RESET are allowed in this context\r\n"
        )
    };
    assert_eq!(bench.written(client), barred("get") + &barred("client|id"));
    bench.input(client, "PING\r\nPING hi\r\n");
    assert_eq!(
        bench.written(client),
        array(&["pong", ""]) + &array(&["pong", "hi"])
    );
    bench.input(client, "RESET\r\nPING\r\n");
    assert_eq!(bench.written(client), "+RESET\r\n+PONG\r\n");
    assert_eq!(bench.fed(1), request(&["unsubscribe", LOWER]));
}

#[test]
fn in_resp3_messages_come_between_replies() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.subscriber("3", 1, LOWER);
    bench.input(client, &request(&["get", UPPER]));
    let message = push(&["message", LOWER, "hello"]);
    bench.says(1, &message);
    bench.sent(2);
    let login = "%0\r\n$1\r\nv\r\n";
    bench.reply(2, login);
    assert_eq!(bench.written(client), message + "$1\r\nv\r\n");
    bench.input(
        client,
        &(request(&["HELLO", "2"]) + &request(&["get", UPPER])),
    );
    let written = bench.written(client);
    assert!(written.contains("-ERR Can't execute 'get'"), "{written}");
}

#[test]
fn no_message_comes_before_its_confirmation() {
    let mut bench = Bench::with_two_nodes();
    let other = bench.subscriber("2", 1, LOWER);
    let client = bench.client();
    bench.input(
        client,
        &(request(&["get", UPPER]) + &request(&["SUBSCRIBE", LOWER])),
    );
    bench.sent(2);
    let message = |text| ["message", LOWER, text];
    bench.says(1, &push(&message("early")));
    assert_eq!(bench.written(client), "");
    bench.reply(2, "$1\r\nv\r\n");
    bench.says(1, &push(&message("late")));
    let confirmed = "$1\r\nv\r\n".to_owned() + &array(&["subscribe", LOWER, ":1"]);
    assert_eq!(bench.written(client), confirmed + &array(&message("late")));
    let both = array(&message("early")) + &array(&message("late"));
    assert_eq!(bench.written(other), both);
}

#[test]
fn a_lost_node_is_replaced_without_clients_noticing() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.subscriber("2", 1, LOWER);
    bench.input(client, &request(&["PSUBSCRIBE", "{bar4}*", "f*"]));
    let patterns = bench.fed(1) + &bench.fed(2);
    assert!(
        patterns.contains("{bar4}*") && patterns.contains("f*"),
        "{patterns}"
    );
    for pattern in ["{bar4}*", "f*"] {
        let port = if Slot::of(pattern.as_bytes()).index() < 8192 {
            1
        } else {
            2
        };
        bench.says(port, &push(&["psubscribe", pattern, ":1"]));
    }
    assert!(bench.written(client).ends_with(":3\r\n"));
    let stale = bench.stale;
    bench.lose_feed(1);
    assert!(bench.stale > stale, "the topology may have changed");
    bench.refuse();
    let sent = bench.fed(2);
    assert!(sent.starts_with(&request(&["subscribe", LOWER])), "{sent}");
    bench.says(2, &push(&["message", LOWER, "not confirmed"]));
    bench.says(2, &push(&["subscribe", LOWER, ":1"]));
    assert_eq!(bench.written(client), "", "clients notice nothing");
    let message = ["message", LOWER, "hello"];
    bench.says(2, &push(&message));
    assert_eq!(bench.written(client), array(&message));
    assert_eq!(bench.stats.feeds_lost.value(), 1);
}

#[test]
fn a_feed_that_ends_well_is_opened_again() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.subscriber("2", 1, LOWER);
    bench.lose_feed(1);
    assert_eq!(bench.fed(1), request(&["subscribe", LOWER]));
    bench.says(1, &push(&["subscribe", LOWER, ":1"]));
    bench.says(1, &push(&["message", LOWER, "hello"]));
    assert_eq!(bench.written(client), array(&["message", LOWER, "hello"]));
}

#[test]
fn a_silent_feed_is_cut() {
    let mut bench = Bench::with_two_nodes();
    bench.subscriber("2", 1, LOWER);
    bench.wait(Duration::from_millis(5_100));
    assert_eq!(bench.fed(1), request(&["PING"]));
    bench.says(1, "+PONG\r\n");
    bench.wait(Duration::from_millis(5_200));
    assert_eq!(bench.fed(1), request(&["PING"]));
    bench.wait(Duration::from_millis(5_200));
    assert_eq!(bench.closed[0], (bench.feeds[&1], CloseWhen::Now));
}

#[test]
fn a_former_primary_that_hangs_is_left_soon() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.subscriber("2", 1, LOWER);
    bench.topology(&[(0, 16383, 2)]);
    // It is no member any more, so another node is asked, which has still to confirm.
    assert_eq!(bench.fed(2), request(&["subscribe", LOWER]));
    bench.wait(Duration::from_millis(600));
    assert!(bench.fed(1).ends_with(&request(&["PING"])));
    bench.wait(Duration::from_millis(600));
    assert_eq!(bench.closed[0], (bench.feeds[&1], CloseWhen::Now));
    bench.lose_feed(1);
    bench.says(2, &push(&["subscribe", LOWER, ":1"]));
    bench.says(2, &push(&["message", LOWER, "hello"]));
    assert_eq!(bench.written(client), array(&["message", LOWER, "hello"]));
}

#[test]
fn client_list_shows_subscriptions() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.subscriber("3", 1, LOWER);
    bench.input(client, &request(&["client", "info"]));
    let line = bench.written(client);
    assert!(
        line.contains(" flags=P db=0 sub=1 psub=0 ssub=0 "),
        "{line}"
    );
}

#[test]
fn a_shard_channel_follows_its_slot() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["SSUBSCRIBE", LOWER]));
    assert_eq!(bench.fed(1), request(&["ssubscribe", LOWER]));
    bench.says(1, &push(&["ssubscribe", LOWER, ":1"]));
    assert_eq!(bench.written(client), array(&["ssubscribe", LOWER, ":1"]));
    // The slot leaves its node before we hear of it from anybody else.
    bench.says(1, &push(&["sunsubscribe", LOWER, ":0"]));
    assert_eq!(bench.fed(1), request(&["ssubscribe", LOWER]));
    let slot = Slot::of(LOWER.as_bytes()).index();
    bench.says(1, &format!("-MOVED {slot} node:2\r\n"));
    assert_eq!(bench.fed(2), request(&["ssubscribe", LOWER]));
    bench.says(2, &push(&["ssubscribe", LOWER, ":1"]));
    assert_eq!(bench.written(client), "", "the client notices nothing");
    bench.says(2, &push(&["smessage", LOWER, "hello"]));
    assert_eq!(bench.written(client), array(&["smessage", LOWER, "hello"]));
    assert_eq!(bench.stats.subscriptions_moved.value(), 1);

    // And back, told by the topology this time: nothing is heard twice.
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    assert_eq!(bench.fed(1), request(&["ssubscribe", LOWER]));
    let message = |text| push(&["smessage", LOWER, text]);
    bench.says(1, &message("once"));
    bench.says(2, &message("once"));
    bench.says(1, &push(&["ssubscribe", LOWER, ":1"]));
    bench.says(2, &message("twice"));
    bench.says(1, &message("twice"));
    let end = request(&["sunsubscribe", LOWER]) + &request(&["ECHO", ""]);
    assert_eq!(bench.fed(2), end);
    bench.says(2, &format!("-MOVED {slot} node:1\r\n$0\r\n\r\n"));
    let both = ["once", "twice"].map(|text| array(&["smessage", LOWER, text]));
    assert_eq!(bench.written(client), both.concat());
    assert_eq!(bench.closed, []);
}

#[test]
fn a_subscription_that_no_node_confirms_is_refused_in_time() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &(request(&["SUBSCRIBE", LOWER]) + "PING\r\n"));
    for _ in 0..110 {
        bench.refuse();
        bench.pass(Duration::from_millis(100));
    }
    let error = "-CLUSTERDOWN proxy: no node has confirmed the subscription in time\r\n";
    let written = bench.written(client);
    assert!(written.starts_with(error), "{written}");
    bench.input(client, "PING\r\n");
    assert_eq!(bench.written(client), "+PONG\r\n", "it is not subscribed");
    assert_eq!(bench.stats.subscriptions_expired.value(), 1);
}

#[test]
fn what_a_node_does_not_allow_fails_alone() {
    let mut bench = Bench::with_two_nodes();
    let clients = ["{bar4}1", "{bar4}2"].map(|channel| {
        let client = bench.client();
        bench.input(client, &request(&["SUBSCRIBE", channel]));
        client
    });
    assert_eq!(bench.fed(1), request(&["subscribe", "{bar4}1", "{bar4}2"]));
    let refusal = "-NOPERM this user has no permissions to access one of the channels\r\n";
    bench.says(1, refusal);
    let alone = ["{bar4}1", "{bar4}2"].map(|channel| request(&["subscribe", channel]));
    assert_eq!(bench.fed(1), alone.concat());
    bench.says(1, refusal);
    bench.says(1, &push(&["subscribe", "{bar4}2", ":1"]));
    assert_eq!(bench.written(clients[0]), refusal);
    let confirmed = array(&["subscribe", "{bar4}2", ":1"]);
    assert_eq!(bench.written(clients[1]), confirmed);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["SUBSCRIBE", LOWER]));
    assert_eq!(bench.fed(1), request(&["subscribe", LOWER]));
    bench.call(|proxy, now| proxy.handle_close(client, now));
    assert_eq!(bench.fed(1), request(&["unsubscribe", LOWER]));
    // Another one wants it before the node has answered: what comes first is not for it.
    let client = bench.client();
    bench.input(client, &request(&["SUBSCRIBE", LOWER]));
    assert_eq!(bench.fed(1), request(&["subscribe", LOWER]));
    bench.says(1, &push(&["subscribe", LOWER, ":1"]));
    bench.says(1, &push(&["message", LOWER, "early"]));
    bench.says(1, &push(&["unsubscribe", LOWER, ":0"]));
    assert_eq!(bench.written(client), "");
    bench.says(1, &push(&["subscribe", LOWER, ":1"]));
    assert_eq!(bench.written(client), array(&["subscribe", LOWER, ":1"]));
    assert_eq!(bench.closed, []);
}

#[test]
fn a_slow_subscriber_is_cut_and_no_other() {
    let mut bench = Bench::new(Options {
        subscriber_output_bytes_max: 10_000,
        ..Options::default()
    });
    bench.topology(&[(0, 16383, 1)]);
    let slow = bench.subscriber("3", 1, LOWER);
    let quick = bench.subscriber("3", 1, LOWER);
    let message = push(&["message", LOWER, &"x".repeat(1_000)]);
    for _ in 0..12 {
        bench.says(1, &message);
        assert_eq!(bench.written(quick), message);
    }
    assert_eq!(bench.closed, [(slow, CloseWhen::Now)]);
    assert_eq!(bench.stats.subscribers_cut.value(), 1);
}

#[test]
fn what_one_client_may_be_subscribed_to_is_bounded() {
    let mut bench = Bench::new(Options {
        client_subscription_bytes_max: 600,
        ..Options::default()
    });
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.subscriber("2", 1, LOWER);
    bench.input(client, &request(&["SUBSCRIBE", "a", "b"]));
    let error = "-ERR proxy: too many subscriptions (client_subscription_bytes_max)\r\n";
    assert_eq!(bench.written(client), error);
    bench.input(client, &request(&["SUBSCRIBE", "a"]));
    assert_eq!(bench.fed(1), request(&["subscribe", "a"]));
}

#[test]
fn many_subscriptions_are_asked_for_in_batches() {
    let mut bench = Bench::new(Options::default());
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.client();
    let names: Vec<_> = (0..600).map(|number| format!("c{number}")).collect();
    let mut words = vec!["SUBSCRIBE"];
    words.extend(names.iter().map(String::as_str));
    bench.input(client, &request(&words));
    let sent = bench.fed(1);
    let sizes = ["*257\r\n", "*257\r\n", "*89\r\n"].map(|size| size.to_owned() + "$9\r\nsubscribe");
    assert!(
        sizes.iter().all(|size| sent.contains(size)),
        "{}",
        &sent[..60]
    );
    for name in &names {
        bench.says(1, &push(&["subscribe", name, ":1"]));
    }
    assert!(bench.written(client).ends_with(":600\r\n"));
}

#[test]
fn counts_of_receivers_are_those_of_clients() {
    let mut bench = Bench::with_two_nodes();
    let clients = [(); 3].map(|()| bench.subscriber("2", 1, LOWER));
    bench.input(clients[0], &request(&["PSUBSCRIBE", "bar*"]));
    let port = if Slot::of(b"bar*").index() < 8192 {
        1
    } else {
        2
    };
    assert_eq!(bench.fed(port), request(&["psubscribe", "bar*"]));
    bench.says(port, &push(&["psubscribe", "bar*", ":1"]));
    let publisher = bench.client();
    bench.input(publisher, &request(&["PUBLISH", LOWER, "m"]));
    assert_eq!(bench.sent(1), request(&["PUBLISH", LOWER, "m"]));
    // Ours, and seven clients of the node itself.
    let ours = if port == 1 { 2 } else { 1 };
    bench.reply(1, &format!(":{}\r\n", ours + 7));
    assert_eq!(bench.written(publisher), ":11\r\n");

    bench.input(publisher, &request(&["PUBSUB", "NUMSUB", LOWER, "other"]));
    let ask = request(&["PUBSUB", "NUMSUB", LOWER, "other"]);
    assert_eq!((bench.sent(1), bench.sent(2)), (ask.clone(), ask));
    bench.reply(1, &array(&[LOWER, ":3", "other", ":5"]));
    bench.reply(2, &array(&[LOWER, ":1", "other", ":5"]));
    assert_eq!(
        bench.written(publisher),
        array(&[LOWER, ":6", "other", ":10"])
    );

    bench.input(publisher, &request(&["PUBSUB", "CHANNELS"]));
    bench.sent(1);
    bench.sent(2);
    bench.reply(1, &array(&[LOWER]));
    bench.reply(2, &array(&["other"]));
    assert_eq!(bench.written(publisher), array(&[LOWER, "other"]));

    // Each node counts different patterns, and ours are with one node each.
    bench.input(publisher, &request(&["PUBSUB", "NUMPAT"]));
    bench.sent(1);
    bench.sent(2);
    bench.reply(1, ":4\r\n");
    bench.reply(2, ":2\r\n");
    assert_eq!(bench.written(publisher), ":6\r\n");
}

#[test]
fn confirmations_are_no_replies_to_be_suppressed() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["client", "reply", "off"]));
    bench.input(client, &request(&["unsubscribe", "a"]));
    assert_eq!(
        bench.written(client),
        "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n"
    );
    bench.input(client, &request(&["echo", "x"]));
    assert_eq!(bench.written(client), "");
}

#[test]
fn clients_of_all_workers_are_counted() {
    let mut pair = Pair::new();
    for (worker, subscribers) in pair.workers.iter_mut().zip([1, 3]) {
        worker.topology(&[(0, 16383, 1)]);
        for _ in 0..subscribers {
            worker.subscriber("2", 1, LOWER);
        }
    }
    let client = pair.workers[0].client();
    let ask = request(&["PUBSUB", "NUMSUB", LOWER, "other"]);
    pair.workers[0].input(client, &ask);
    assert_eq!(pair.workers[0].sent(1), ask);
    // One connection of each worker, and seven clients of the node itself.
    let counted = array(&[LOWER, ":9", "other", ":5"]);
    pair.workers[0].reply(1, &counted);
    assert_eq!(pair.workers[0].written(client), "");
    pair.deliver();
    let right = array(&[LOWER, ":11", "other", ":5"]);
    assert_eq!(pair.workers[0].written(client), right);

    // Who does not answer is not waited for.
    pair.workers[0].input(client, &ask);
    pair.workers[0].wait(Duration::from_secs(1));
    assert_eq!(pair.workers[0].sent(1), ask);
    pair.workers[0].reply(1, &counted);
    assert_eq!(pair.workers[0].written(client), counted);
    assert_eq!(pair.workers[0].stats.peer_answers_late.value(), 1);
}
