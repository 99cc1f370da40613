//! Requests of very many keys, which are sent little by little: the same requests and replies as
//! else, nobody waits long for them, and little is kept.

use slotway_protocol::resp::{ArgReader, RequestBuffers, RequestLimits, RequestScanner, Scan};

use super::*;

/// Two nodes; from three keys on there are many.
fn bench() -> Bench {
    let options = Options {
        many_keys_min: 3,
        merge_bytes_max: 16 * 1024 * 1024,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 8191, 1), (8192, 16383, 2)]);
    bench
}

/// Does all that can be done before a node answers.
fn prepare(bench: &mut Bench) {
    for _ in 0..100 {
        bench.pass(Duration::ZERO);
    }
}

/// The requests that a node has been sent.
fn asked(bench: &mut Bench, port: u16) -> Vec<Vec<String>> {
    let sent = bench.sent(port);
    let (mut rest, mut all) = (sent.as_bytes(), Vec::new());
    let mut buffers = RequestBuffers::default();
    while !rest.is_empty() {
        let limits = RequestLimits::default();
        let scan = RequestScanner::default().scan(rest, &limits, &mut buffers);
        let Ok(Scan::Request { consumed }) = scan else {
            panic!("nodes are sent whole requests");
        };
        let words = ArgReader::new(&rest[..consumed]);
        let words = words.map(|word| String::from_utf8(word.to_vec()).unwrap());
        all.push(words.collect());
        rest = &rest[consumed..];
    }
    all
}

/// Lets both nodes answer what they are asked until they are asked nothing more. Gives all that
/// they were asked, and what the client got.
fn serve(
    bench: &mut Bench,
    client: ConnectionId,
    reply: impl Fn(&[String]) -> String,
) -> (Vec<Vec<String>>, String) {
    let (mut all, mut got) = (Vec::new(), String::new());
    loop {
        prepare(bench);
        let mut is_over = true;
        for port in [2, 1] {
            for words in asked(bench, port) {
                is_over = false;
                bench.reply(port, &reply(&words));
                all.push(words);
            }
        }
        let written = bench.written(client);
        is_over &= written.is_empty();
        got.push_str(&written);
        if is_over {
            return (all, got);
        }
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A node where each key has a value that tells its name, but for some that have none, or a large
/// one.
fn value(key: &str) -> String {
    match key.len() % 7 {
        0 => "$-1\r\n".to_owned(),
        1 if key.ends_with("333") => bulk(&key.repeat(10_000)),
        _ => bulk(&format!("the value of {key}")),
    }
}

fn values(words: &[String]) -> String {
    let values: String = words[1..].iter().map(|key| value(key)).collect();
    format!("*{}\r\n{values}", words.len() - 1)
}

fn command(name: &str, keys: &[String]) -> String {
    let mut words = vec![name];
    words.extend(keys.iter().map(String::as_str));
    request(&words)
}

/// Keys of different lengths, some of them more than once.
fn keys(count: usize) -> Vec<String> {
    let key = |number: usize| format!("{}{}", "k".repeat(number % 11), number % (count / 2 + 1));
    (0..count).map(key).collect()
}

#[test]
fn values_come_in_the_order_of_the_keys() {
    for count in [3, 4, 50, 1000, 20_000] {
        let mut bench = bench();
        let client = bench.client();
        let keys = keys(count);
        bench.input(client, &command("MGET", &keys));
        let (asked, got) = serve(&mut bench, client, values);
        let expected: String = keys.iter().map(|key| value(key)).collect();
        assert!(got == format!("*{count}\r\n{expected}"), "{count}");
        let mut slots: Vec<_> = asked.iter().map(|it| Slot::of(it[1].as_bytes())).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!(slots.len(), asked.len(), "each slot is asked once");
        assert_eq!(bench.stats.gradual.value(), 1);
        bench.input(client, &request(&["GET", LOWER]));
        assert_eq!(bench.sent(1), request(&["GET", LOWER]), "it goes on");
    }
}

#[test]
fn numbers_are_added_up_and_pairs_stay_together() {
    let mut bench = bench();
    let client = bench.client();
    let keys = keys(500);
    bench.input(client, &command("DEL", &keys));
    let count = |words: &[String]| format!(":{}\r\n", words.len() - 1);
    assert_eq!(serve(&mut bench, client, count).1, ":500\r\n");
    let pairs: Vec<_> = keys
        .iter()
        .zip(0..)
        .flat_map(|(key, number)| [key.clone(), format!("value {number}")])
        .collect();
    bench.input(client, &command("MSET", &pairs));
    let (asked, got) = serve(&mut bench, client, |_| "+OK\r\n".to_owned());
    assert_eq!(got, "+OK\r\n");
    let last = |words: &[String], key: &str| {
        let mut pairs = words.chunks(2).rev();
        pairs
            .find(|pair| pair[0] == key)
            .map(|pair| pair[1].clone())
    };
    let set: Vec<_> = asked.iter().flat_map(|words| words[1..].to_vec()).collect();
    assert_eq!(set.len(), pairs.len());
    for key in &keys {
        assert_eq!(last(&set, key), last(&pairs, key), "the last value counts");
    }
}

#[test]
fn a_step_looks_at_some_keys_only() {
    let mut bench = bench();
    let client = bench.client();
    bench.input(client, &command("DEL", &keys(50_000)));
    let mut steps = 0;
    while bench.sent(1).is_empty() {
        let timeout = bench.proxy.poll_timeout();
        assert!(timeout <= Some(bench.now), "it goes on at once");
        bench.pass(Duration::ZERO);
        steps += 1;
    }
    assert!(steps >= 2 * 50_000 / 8192, "{steps}");
}

#[test]
fn little_is_under_way_and_others_are_served() {
    let mut bench = bench();
    let (client, other) = (bench.client(), bench.client());
    let keys: Vec<_> = keys(3000).iter().map(|key| key.repeat(100)).collect();
    let whole = command("DEL", &keys);
    bench.input(client, &whole);
    prepare(&mut bench);
    let sent = [1, 2].map(|port| bench.sent(port).len());
    let sum = sent[0] + sent[1];
    assert!(
        (128 * 1024..140 * 1024).contains(&sum),
        "{sum} bytes of {}",
        whole.len()
    );
    bench.input(other, &request(&["GET", LOWER]));
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
}

#[test]
fn nothing_of_the_client_overtakes_it() {
    let mut bench = bench();
    let client = bench.client();
    let many = command("DEL", &keys(100));
    let next = request(&["GET", LOWER]);
    let all = request(&["GET", UPPER]) + &many + &next;
    let rest = bench.input(client, &all);
    assert_eq!(
        rest,
        (many.clone() + &next).as_bytes(),
        "it waits for what is owed"
    );
    bench.sent(2);
    bench.reply(2, "$1\r\nu\r\n");
    assert_eq!(bench.written(client), "$1\r\nu\r\n");
    assert_eq!(bench.resumed, [client]);
    let rest = bench.input(client, &(many + &next));
    assert_eq!(rest, next.as_bytes());
    let (_, got) = serve(&mut bench, client, |_| ":0\r\n".to_owned());
    assert_eq!(got, ":0\r\n");
    assert_eq!(bench.resumed, [client, client]);
}

#[test]
fn after_an_error_no_further_part_is_sent() {
    let mut bench = bench();
    let client = bench.client();
    let keys: Vec<_> = keys(3000).iter().map(|key| key.repeat(100)).collect();
    bench.input(client, &command("DEL", &keys));
    prepare(&mut bench);
    let under_way = [1, 2].map(|port| asked(&mut bench, port).len());
    bench.reply(1, "-OOM no\r\n");
    bench.reply(1, &":1\r\n".repeat(under_way[0] - 1));
    assert_eq!(bench.written(client), "", "nodes still work on it");
    bench.reply(2, &":1\r\n".repeat(under_way[1]));
    assert_eq!(bench.written(client), "-OOM no\r\n");
    prepare(&mut bench);
    assert_eq!([1, 2].map(|port| bench.sent(port)), ["", ""]);
    assert_eq!(bench.proxy.work_left(), [0; 4]);
}

#[test]
fn a_reply_of_the_wrong_form_or_too_large_is_an_error() {
    let wrong = "-ERR proxy: a node gave a reply of the wrong form\r\n";
    let large = format!("*1\r\n{}", bulk(&"x".repeat(1024 * 1024)));
    for (reply, expected) in [
        ("$1\r\nx\r\n", wrong),
        ("*2\r\n:1\r\n:2\r\n", wrong),
        ("*0\r\n", wrong),
        (&large, "-ERR proxy: the reply is too large"),
    ] {
        let mut bench = bench();
        let client = bench.client();
        let keys: Vec<_> = (0..20).map(|number| format!("key {number}")).collect();
        bench.input(client, &command("MGET", &keys));
        let (_, got) = serve(&mut bench, client, |_| reply.to_owned());
        assert!(got.starts_with(expected), "{got:.100}");
    }
}

#[test]
fn keys_of_one_slot_go_to_its_node_in_one_request() {
    let mut bench = bench();
    let client = bench.client();
    let keys: Vec<_> = (0..20_000).map(|number| format!("{{a}}{number}")).collect();
    let whole = command("DEL", &keys);
    bench.input(client, &whole);
    prepare(&mut bench);
    assert!(bench.sent(2) == whole);
    bench.reply(2, ":7\r\n");
    assert_eq!(bench.written(client), ":7\r\n");
    assert_eq!(bench.resumed, [client]);
}

#[test]
fn a_slot_that_has_moved_is_found() {
    let mut bench = bench();
    let client = bench.client();
    bench.input(client, &request(&["MGET", LOWER, UPPER, "x", "y"]));
    let slot = Slot::of(LOWER.as_bytes()).number();
    let moved = std::cell::Cell::new(false);
    let (asked, got) = serve(&mut bench, client, |words| {
        if words[1] == LOWER && !moved.replace(true) {
            return format!("-MOVED {slot} node:2\r\n");
        }
        values(words)
    });
    let expected: String = [LOWER, UPPER, "x", "y"].map(value).concat();
    assert_eq!((asked.len(), got), (5, format!("*4\r\n{expected}")));
}

#[test]
fn what_a_client_leaves_behind_is_forgotten() {
    for replies in 0..3 {
        let mut bench = bench();
        let client = bench.client();
        bench.input(client, &command("MGET", &keys(3000)));
        for _ in 0..replies {
            bench.pass(Duration::ZERO);
            bench.pass(Duration::ZERO);
        }
        let words = asked(&mut bench, 1);
        bench.call(|proxy, now| proxy.handle_close(client, now));
        for words in words {
            bench.reply(1, &values(&words));
        }
        let next = bench.client();
        bench.input(next, &command("MGET", &keys(30)));
        bench.sent(2);
        prepare(&mut bench);
        assert_eq!(bench.proxy.work_left(), [0; 4]);
    }
}

#[test]
fn the_reply_is_written_as_the_client_takes_it() {
    let mut bench = bench();
    let client = bench.client();
    let keys: Vec<_> = (0..5000).map(|number| format!("key {number}")).collect();
    bench.input(client, &command("MGET", &keys));
    let long = bulk(&"x".repeat(300));
    let of = |words: &[String]| format!("*{}\r\n{}", words.len() - 1, long.repeat(words.len() - 1));
    prepare(&mut bench);
    loop {
        let words = [1, 2].map(|port| asked(&mut bench, port));
        if words.iter().all(Vec::is_empty) {
            break;
        }
        for (words, port) in words.iter().zip(1..) {
            words.iter().for_each(|words| bench.reply(port, &of(words)));
        }
    }
    let mut got = String::new();
    loop {
        let waiting = bench.proxy.output(client).len();
        assert!(waiting < 130 * 1024, "{waiting} bytes wait");
        let written = bench.written(client);
        if written.is_empty() {
            break;
        }
        got.push_str(&written);
    }
    assert!(got == format!("*5000\r\n{}", long.repeat(5000)));
}

#[test]
fn who_hears_messages_gets_the_reply_in_one_piece() {
    let mut bench = bench();
    let client = bench.client();
    bench.input(client, &request(&["HELLO", "3"]));
    bench.written(client);
    bench.input(client, &request(&["SSUBSCRIBE", LOWER]));
    bench.connect();
    let feed = bench.feeds[&1];
    assert_eq!(bench.written(feed), request(&["HELLO", "3"]));
    bench.input(feed, "%1\r\n+proto\r\n:3\r\n");
    bench.written(feed);
    let subscribed = format!(">3\r\n{}{}:1\r\n", bulk("ssubscribe"), bulk(LOWER));
    bench.input(feed, &subscribed);
    assert_eq!(bench.written(client), subscribed);
    let keys: Vec<_> = (0..5000).map(|number| format!("key {number}")).collect();
    bench.input(client, &command("MGET", &keys));
    prepare(&mut bench);
    bench.connect();
    for port in [1, 2] {
        assert_eq!(bench.sent(port), request(&["HELLO", "3"]));
        bench.reply(port, "%1\r\n+proto\r\n:3\r\n");
    }
    let long = bulk(&"x".repeat(300));
    let of = |words: &[String]| format!("*{}\r\n{}", words.len() - 1, long.repeat(words.len() - 1));
    loop {
        let words = [1, 2].map(|port| asked(&mut bench, port));
        if words.iter().all(Vec::is_empty) {
            break;
        }
        for (words, port) in words.iter().zip(1..) {
            words.iter().for_each(|words| bench.reply(port, &of(words)));
        }
    }
    let message = format!(">3\r\n{}{}{}", bulk("smessage"), bulk(LOWER), bulk("m"));
    bench.input(feed, &message);
    let got = bench.written(client);
    assert!(got == format!("*5000\r\n{}{message}", long.repeat(5000)));
}

#[test]
fn a_reply_that_is_not_wanted_is_not_written() {
    let mut bench = bench();
    let client = bench.client();
    bench.input(client, &request(&["CLIENT", "REPLY", "SKIP"]));
    bench.input(client, &command("MGET", &keys(100)));
    assert_eq!(serve(&mut bench, client, values).1, "");
    bench.input(client, &request(&["PING"]));
    assert_eq!(bench.written(client), "+PONG\r\n");
}
