//! DEBUG, and what else tools ask of a node's inside.

use std::time::{Duration, Instant};

use crate::stage::{Kind, Stage, compare};

/// Longer than what small forms take.
const LONG_HASH: &str = concat!(
    "0 hset hash long xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxx"
);
const LONG_SET: &str = concat!(
    "0 zadd z 2 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxx"
);

const SCRIPT: &[&str] = &[
    "0 debug",
    "0 debug foo",
    "0 debug digest",
    "0 debug digest x",
    "0 debug digest-value",
    "0 debug digest-value a b",
    // Every type in every form; the sum of each and of all.
    "0 set int 12345",
    "0 set text hello",
    "0 set zero \\x00\\xff\\x00",
    "0 append text world",
    "0 set ttl x ex 1000",
    "0 rpush list a b c 1 -5 99999999999",
    "0 sadd ints 1 2 3 -70000",
    "0 sadd members a b 1 2",
    "0 zadd z 1 a 1.5 b -inf c inf d 0.1 e 1e300 f 3 g",
    "0 hset hash f v g 1 h w",
    LONG_HASH,
    LONG_SET,
    "0 expire hash 1000",
    "0 debug digest-value int text zero ttl list ints members z hash nokey",
    "0 debug digest",
    "0 debug reload",
    "0 debug digest",
    "0 ttl hash",
    "0 dbsize",
    "0 del hash",
    "0 debug digest",
    "0 flushall",
    "0 debug digest",
    "0 debug populate",
    "0 debug populate a",
    "0 debug populate -1",
    "0 debug populate 3",
    "0 debug populate 3 pre 0",
    "0 debug populate 3 short 4",
    "0 debug populate 3 long 20",
    "0 debug populate 3 bad -2",
    "0 debug populate 5",
    "0 dbsize",
    "0 mget key:0 pre:1 short:2 long:0 key:4",
    "0 debug digest",
    "0 debug set-active-expire",
    "0 debug set-active-expire 0",
    "0 debug set-active-expire 1",
    "0 debug reload foo bar",
    "0 debug object",
    "0 debug object nokey",
    "0 debug sleep",
    "0 debug sleep 0",
    "0 debug sleep x",
    "0 debug error",
    "0 debug protocol",
    "0 debug protocol string",
    "0 debug protocol integer",
    "0 debug protocol double",
    "0 debug protocol null",
    "0 debug protocol array",
    "0 debug protocol set",
    "0 debug protocol map",
    "0 debug protocol attrib",
    "0 debug protocol push",
    "0 debug protocol bignum",
    "0 debug protocol true",
    "0 debug protocol false",
    "0 debug protocol verbatim",
    "0 debug protocol foo",
    "0 hello 3",
    "0 debug protocol string",
    "0 debug protocol integer",
    "0 debug protocol double",
    "0 debug protocol null",
    "0 debug protocol array",
    "0 debug protocol set",
    "0 debug protocol map",
    "0 debug protocol attrib",
    "0 debug protocol push",
    "0 debug protocol bignum",
    "0 debug protocol true",
    "0 debug protocol false",
    "0 debug protocol verbatim",
    "0 debug protocol foo",
    "0 hello 2",
    "0 object idletime nokey",
    "0 object idletime key:0",
    "0 object refcount key:0",
    "0 object freq key:0",
    "0 object encoding key:0",
    "0 object help",
    "0 pubsub help",
    "0 slowlog help",
    "0 object help x",
    "0 slowlog get",
    "0 slowlog get 5",
    "0 slowlog get -1",
    "0 slowlog get -2",
    "0 slowlog get x",
    "0 slowlog get 1 2",
    "0 slowlog len",
    "0 slowlog reset",
    "0 latency latest",
    "0 latency history command",
    "0 latency reset",
    "0 latency reset command",
];

#[test]
fn answers_as_a_real_server() {
    let script: Vec<&str> = SCRIPT
        .iter()
        .copied()
        .filter(|line| !line.contains("reload foo"))
        .collect();
    // A busy machine would have slow commands, and not the same ones.
    let settings = [
        ("enable-debug-command", "yes"),
        ("slowlog-log-slower-than", "-1"),
    ];
    compare(false, 1, &settings, &script);
}

/// In a cluster keys of all slots are summed.
#[test]
fn sums_a_cluster_as_a_real_server() {
    let script: Vec<String> = (0..100)
        .map(|number| format!("0 set key:{number} {number}"))
        .chain(["0 debug digest", "0 debug digest-value key:1 key:2 key:3"].map(str::to_owned))
        .collect();
    let script: Vec<&str> = script.iter().map(String::as_str).collect();
    compare(true, 1, &[("enable-debug-command", "yes")], &script);
}

#[test]
fn has_to_be_allowed() {
    for value in ["no", "local"] {
        let settings = [("enable-debug-command", value)];
        compare(
            false,
            1,
            &settings,
            &["0 debug digest", "0 debug", "0 debug help x"],
        );
    }
}

#[test]
fn an_object_is_described() {
    let mut stage = Stage::start(Kind::Ours, 0, &[("enable-debug-command", "yes")]);
    stage.ask(&["set", "k", "abc"]);
    stage.ask(&["rpush", "l", "a", "b", "c"]);
    let text = |stage: &mut Stage, key| {
        String::from_utf8_lossy(&stage.ask(&["debug", "object", key])).into_owned()
    };
    let described = text(&mut stage, "k");
    assert!(described.starts_with("+Value at:0x"), "{described}");
    let rest = " refcount:1 encoding:embstr serializedlength:4 lru:0 lru_seconds_idle:0\r\n";
    assert!(described.ends_with(rest), "{described}");
    let described = text(&mut stage, "l");
    assert!(described.contains(" encoding:quicklist "), "{described}");
    assert!(
        described.contains(" ql_nodes:1 ql_avg_node:3.00 "),
        "{described}"
    );
}

#[test]
fn a_node_sleeps_as_a_whole() {
    let mut stage = Stage::start(Kind::Ours, 1, &[("enable-debug-command", "yes")]);
    let start = Instant::now();
    // What is asked over another connection waits, too.
    stage.send(0, &crate::stage::parse("debug sleep 0.3"));
    assert!(start.elapsed() >= Duration::from_millis(300));
}
