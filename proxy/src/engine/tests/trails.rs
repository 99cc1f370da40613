//! What is told of requests that are followed: for the access log and for traces.

use super::watching::bench;
use super::*;

/// All requests are followed, for both.
fn followed() -> Bench {
    bench(|options| {
        options.access_log_sample = 1;
        options.traces_sample = 1;
    })
}

impl Bench {
    /// What was told since the last time.
    fn told(&mut self) -> Vec<Trail> {
        std::mem::take(&mut self.trails)
    }

    fn passes(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }
}

/// The node of a hop, the times in milliseconds before it was asked and until it answered, and the
/// error.
fn hops(trail: &Trail) -> Vec<(u16, u64, u64, Option<&'static str>)> {
    let hops = trail.hops.iter();
    let hops = hops.map(|hop| {
        (
            hop.node.port,
            hop.queue_us / 1000,
            hop.backend_us / 1000,
            hop.error,
        )
    });
    hops.collect()
}

#[test]
fn nothing_is_told_by_default() {
    let mut bench = bench(|_| ());
    let client = bench.client();
    bench.served(client, &["set", LOWER, "1"], 1, 1);
    bench.ask(client, &["ping"]);
    assert_eq!(bench.told(), []);
}

#[test]
fn a_request_is_told_with_what_its_node_took() {
    let mut bench = followed();
    let client = bench.client();
    bench.ask(client, &["client", "setname", "me"]);
    bench.told();
    bench.served(client, &["set", LOWER, "a secret"], 1, 9);
    let told = bench.told();
    let [trail] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(trail.is_logged && trail.is_traced);
    assert_eq!((trail.command, trail.error), ("set", None));
    assert_eq!(trail.client_name, b"me");
    assert_eq!(&*trail.user, "default");
    assert_eq!((trail.total_us, trail.backend_us()), (9_000, 9_000));
    assert_eq!(hops(trail), [(1, 0, 9, None)]);
    assert_eq!(trail.slot(), Some(Slot::of(LOWER.as_bytes())));
    let sent = request(&["set", LOWER, "a secret"]).len() as u64;
    assert_eq!((trail.request_bytes, trail.reply_bytes), (sent, 5));
    let text = format!("{trail:?}");
    assert!(!text.contains("secret") && !text.contains(LOWER), "{text}");
}

#[test]
fn the_error_is_told_by_its_code_alone() {
    let mut bench = followed();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, "-WRONGTYPE of a secret\r\n");
    bench.written(client);
    bench.ask(client, &["select", "99"]);
    let told = bench.told();
    let errors: Vec<_> = told.iter().map(|trail| trail.error).collect();
    assert_eq!(errors, [Some("WRONGTYPE"), Some("ERR")]);
    assert_eq!(hops(&told[0]), [(1, 0, 0, Some("WRONGTYPE"))]);
    assert!(!format!("{told:?}").contains("secret"));
}

#[test]
fn a_redirect_is_a_hop_of_its_own() {
    let mut bench = followed();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.passes(2);
    let slot = Slot::of(LOWER.as_bytes()).number();
    bench.reply(1, &format!("-MOVED {slot} node:2\r\n"));
    assert_eq!(bench.sent(2), request(&["get", LOWER]));
    bench.passes(3);
    bench.reply(2, "$1\r\nx\r\n");
    let told = bench.told();
    assert_eq!(told.len(), 1);
    assert_eq!(hops(&told[0]), [(1, 0, 2, Some("MOVED")), (2, 2, 3, None)]);
    assert_eq!((told[0].redirects(), told[0].total_us), (1, 5_000));
    assert_eq!(told[0].request_bytes, request(&["get", LOWER]).len() as u64);
}

#[test]
fn the_time_in_a_hold_is_told() {
    let mut bench = followed();
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, "-TRYAGAIN Multiple keys request during rehashing\r\n");
    bench.wait(Duration::from_millis(100));
    bench.sent(1);
    bench.reply(1, "$1\r\nx\r\n");
    let told = bench.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].hops.len(), 2);
    assert!(told[0].held_us() > 0, "{told:?}");
}

#[test]
fn the_parts_of_a_split_request_belong_together() {
    let mut bench = followed();
    let client = bench.client();
    bench.input(client, &request(&["mget", LOWER, UPPER]));
    let sent = bench.sent(1).len() + bench.sent(2).len();
    bench.passes(1);
    bench.reply(2, "*1\r\n$1\r\nu\r\n");
    assert_eq!(bench.told(), []);
    bench.passes(1);
    bench.reply(1, "*1\r\n$1\r\nl\r\n");
    let told = bench.told();
    assert_eq!(told.len(), 1);
    assert_eq!(hops(&told[0]), [(2, 0, 1, None), (1, 0, 2, None)]);
    assert_eq!(told[0].slot(), None);
    assert_eq!(told[0].request_bytes, sent as u64);
    assert_eq!(told[0].backend_us(), 2_000, "the longer part of both");
}

#[test]
fn a_lost_connection_is_told() {
    let mut bench = followed();
    let client = bench.client();
    bench.input(client, &request(&["incr", LOWER]));
    bench.sent(1);
    bench.passes(4);
    bench.lose(1);
    let told = bench.told();
    assert_eq!(told.len(), 1);
    assert_eq!(hops(&told[0]), [(1, 0, 4, Some("connection_lost"))]);
    assert!(told[0].error.is_some());
}

#[test]
fn what_the_proxy_answers_has_no_hop() {
    let mut bench = followed();
    let client = bench.client();
    bench.ask(client, &["ping"]);
    let told = bench.told();
    assert_eq!((told.len(), told[0].command), (1, "ping"));
    assert_eq!(told[0].hops, []);
}

#[test]
fn keys_are_told_where_the_settings_want_that() {
    let mut bench = bench(|options| {
        options.access_log_sample = 1;
        options.access_log_keys = true;
    });
    let client = bench.client();
    bench.served(client, &["set", LOWER, "a secret"], 1, 1);
    let told = bench.told();
    assert_eq!(told[0].keys, [LOWER.as_bytes()]);
    assert!(!told[0].is_traced);
    assert!(!format!("{told:?}").contains("a secret"));
}

#[test]
fn lines_have_a_bound_and_traces_have_none() {
    let mut bench = bench(|options| {
        options.access_log_sample = 1;
        options.access_log_lines_max = 2;
        options.traces_sample = 1;
    });
    let client = bench.client();
    for _ in 0..5 {
        bench.ask(client, &["ping"]);
    }
    let logged: Vec<_> = bench.told().iter().map(|trail| trail.is_logged).collect();
    assert_eq!(logged, [true, true, false, false, false]);
    assert_eq!(bench.stats.access_lines_dropped.value(), 3);
}

#[test]
fn what_is_followed_can_be_changed() {
    let mut bench = bench(|_| ());
    let client = bench.client();
    bench.ask(client, &["config", "set", "access_log_sample", "1"]);
    bench.told();
    bench.served(client, &["set", LOWER, "1"], 1, 1);
    assert_eq!(bench.told().len(), 1);
    bench.ask(client, &["config", "set", "access_log_sample", "0"]);
    bench.told();
    bench.served(client, &["set", LOWER, "1"], 1, 1);
    assert_eq!(bench.told(), []);
}

/// What is noted of clients that leave does not stay.
#[test]
fn a_client_that_leaves_is_forgotten() {
    let mut bench = followed();
    for _ in 0..300 {
        let client = bench.client();
        bench.input(client, &request(&["mget", LOWER, UPPER]));
        bench.sent(1);
        bench.sent(2);
        bench.reply(1, "*1\r\n$1\r\nl\r\n");
        bench.call(|proxy, now| proxy.handle_close(client, now));
        bench.reply(2, "*1\r\n$1\r\nu\r\n");
    }
    assert_eq!(bench.stats.trace_spans_dropped.value(), 0);
    assert_eq!(bench.told(), []);
}
