//! Random commands on collections, to the node and to a real redis-server: the replies must be the
//! same, byte for byte where the server's are in a certain order.
//!
//! A failure prints the seed; `COLLECTIONS_SEED=n` runs that one alone.

mod generator;
mod lines;
mod reply;
mod servers;

use std::collections::{BTreeSet, HashSet};

use generator::Generator;
use lines::{GROUPS, HASH, LEX, LIST, SET, SORTED_SET, STREAM};
use reply::Reply;
use servers::{Ours, Server};

#[test]
fn hashes() {
    compare(24400, HASH);
}

#[test]
fn lists() {
    compare(24401, LIST);
}

#[test]
fn sets() {
    compare(24402, SET);
}

#[test]
fn sorted_sets() {
    compare(24403, SORTED_SET);
}

#[test]
fn sorted_sets_by_bytes() {
    compare(24404, LEX);
}

#[test]
fn streams() {
    compare(24407, STREAM);
}

#[test]
fn groups_of_streams() {
    compare(24408, GROUPS);
}

#[test]
fn all_types_at_once() {
    compare(24405, &[HASH, LIST, SET, SORTED_SET, LEX].concat());
}

const SEEDS: u64 = 24;
const STEPS: usize = 400;

fn compare(port: u16, lines: &[&str]) {
    let mut server = Server::start(port);
    let seeds = match std::env::var("COLLECTIONS_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("COLLECTIONS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    for seed in seeds {
        run_seed(&mut server, lines, seed);
    }
}

fn run_seed(server: &mut Server, lines: &[&str], seed: u64) {
    let mut ours = Ours::new(seed);
    let mut generator = Generator::new(seed);
    let protocol = if seed.is_multiple_of(2) { "2" } else { "3" };
    let hello = ["HELLO", protocol].map(|arg| arg.as_bytes().to_vec());
    assert!(!ours.run(&hello).is_empty());
    server.run(&hello);
    server.run(&[b"FLUSHALL".to_vec()]);
    for (name, value) in [("entries", "100"), ("bytes", "4096")] {
        let setting = format!("stream-node-max-{name}");
        server.run(&["CONFIG", "SET", &setting, value].map(|arg| arg.as_bytes().to_vec()));
    }
    let text = [b"SET".to_vec(), b"x0".to_vec(), b"text".to_vec()];
    assert_eq!(ours.run(&text), server.run(&text));
    for step in 0..STEPS {
        let pattern = lines[generator.below(lines.len())];
        let line = generator.line(pattern);
        let context = format!("seed {seed}, step {step}: {}", show(&line));
        let is_watched = line.len() > 1 && generator.below(3) == 0;
        if is_watched {
            let watch = [&[b"WATCH".to_vec()], &line[1..]].concat();
            assert_same(&ours.run(&watch), &server.run(&watch), &context);
        }
        compare_line(&mut ours, server, &line, &context);
        if is_watched {
            compare_watched(&mut ours, server, &context);
        }
        let key = line[generator.below(line.len())].clone();
        let object = [b"OBJECT".to_vec(), b"ENCODING".to_vec(), key];
        let (got, expected) = (ours.run(&object), server.run(&object));
        assert_same(
            &got,
            &expected,
            &format!("{} after {context}", show(&object)),
        );
    }
}

/// That the node noticed a change of a watched key if and only if the server did.
fn compare_watched(ours: &mut Ours, server: &mut Server, context: &str) {
    for command in [b"MULTI".to_vec(), b"EXEC".to_vec()] {
        let line = [command];
        assert_same(
            &ours.run(&line),
            &server.run(&line),
            &format!("watched, {context}"),
        );
    }
}

/// How the replies to a command are compared.
enum Comparison {
    Exact,
    /// Elements, or groups of so many elements, in any order.
    Unordered(usize),
    /// As unordered, and when there is more than one reply can hold, all replies are taken.
    Scanned(usize),
    /// With times in it, which are not looked at.
    Timed,
    /// A random choice: only its length, and that the server knows each element.
    Chosen,
    /// As chosen, and then the server removes what was chosen.
    Taken,
}

fn comparison(command: &str) -> Comparison {
    match command {
        "HGETALL" => Comparison::Unordered(2),
        "HSCAN" | "ZSCAN" => Comparison::Scanned(2),
        "SSCAN" => Comparison::Scanned(1),
        "HKEYS" | "HVALS" | "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" => Comparison::Unordered(1),
        "SRANDMEMBER" | "HRANDFIELD" | "ZRANDMEMBER" => Comparison::Chosen,
        "SPOP" => Comparison::Taken,
        "XPENDING" | "XINFO" => Comparison::Timed,
        _ => Comparison::Exact,
    }
}

fn compare_line(ours: &mut Ours, server: &mut Server, line: &[Vec<u8>], context: &str) {
    let command = String::from_utf8_lossy(&line[0]).to_uppercase();
    let got = ours.run(line);
    if got.first() == Some(&b'-') {
        assert_same(&got, &server.run(line), context);
        return;
    }
    match comparison(&command) {
        Comparison::Exact => {
            assert_same(&got, &server.run(line), context);
        }
        Comparison::Unordered(group) => {
            let is_ordered = is_ordered(server, line);
            let expected = server.run(line);
            if is_ordered {
                assert_same(&got, &expected, context);
            }
            let (got, expected) = (Reply::parse(&got), Reply::parse(&expected));
            assert_eq!(got.sorted(group), expected.sorted(group), "{context}");
        }
        Comparison::Timed => {
            let expected = server.run(line);
            if Reply::parse(&got).timeless() != Reply::parse(&expected).timeless() {
                assert_same(&got, &expected, context);
            }
        }
        Comparison::Scanned(_) if is_ordered(server, line) => {
            assert_same(&got, &server.run(line), context);
        }
        Comparison::Scanned(group) => {
            let got = scan_all(line, group, |line| ours.run(line));
            let expected = scan_all(line, group, |line| server.run(line));
            assert_eq!(got, expected, "{context}");
        }
        Comparison::Chosen => {
            let expected = Reply::parse(&server.run(line));
            check_choice(server, line, &Reply::parse(&got), &expected, context);
        }
        Comparison::Taken => take(server, line, &got, context),
    }
}

/// What a whole scan that begins with `line` finds.
fn scan_all(
    line: &[Vec<u8>],
    group: usize,
    mut run: impl FnMut(&[Vec<u8>]) -> Vec<u8>,
) -> BTreeSet<Vec<Reply>> {
    let mut line = line.to_vec();
    let mut found = BTreeSet::new();
    for _ in 0..10_000 {
        let reply = Reply::parse(&run(&line));
        let Reply::Many(parts) = &reply else {
            panic!("a scan has no answer but {reply:?}");
        };
        let [Reply::Text(cursor), Reply::Many(elements)] = &parts[..] else {
            panic!("a scan has no answer but {reply:?}");
        };
        found.extend(elements.chunks(group).map(<[Reply]>::to_vec));
        if cursor == b"0" {
            return found;
        }
        line[2].clone_from(cursor);
    }
    panic!("a scan comes to an end");
}

/// Whether the server keeps the elements of a key in an order that is the same everywhere.
fn is_ordered(server: &mut Server, line: &[Vec<u8>]) -> bool {
    let Some(key) = line.get(1) else {
        return true;
    };
    let object = [b"OBJECT".to_vec(), b"ENCODING".to_vec(), key.clone()];
    let encoding = server.run(&object);
    let is_single = !line[0].eq_ignore_ascii_case(b"SINTER")
        && !line[0].eq_ignore_ascii_case(b"SUNION")
        && !line[0].eq_ignore_ascii_case(b"SDIFF");
    is_single && !encoding.ends_with(b"hashtable\r\n") && !encoding.ends_with(b"skiplist\r\n")
}

/// A random choice of ours beside one of the server's: of the same shape, and without an element
/// that is not there.
fn check_choice(
    server: &mut Server,
    line: &[Vec<u8>],
    got: &Reply,
    expected: &Reply,
    context: &str,
) {
    assert_eq!(
        got.shape(),
        expected.shape(),
        "{context}: {got:?} {expected:?}"
    );
    let (key, is_flat) = (&line[1], line.len() == 4 && got.is_flat());
    let mut members = got.first_strings(if is_flat { 2 } else { 1 });
    for member in &members {
        let check = match line[0][0].to_ascii_uppercase() {
            b'S' => [b"SISMEMBER".to_vec(), key.clone(), member.clone()],
            b'H' => [b"HGET".to_vec(), key.clone(), member.clone()],
            _ => [b"ZSCORE".to_vec(), key.clone(), member.clone()],
        };
        let known = server.run(&check);
        assert!(
            known != b":0\r\n" && known != b"$-1\r\n" && known != b"_\r\n",
            "{context}"
        );
    }
    if line.get(2).is_some_and(|count| !count.starts_with(b"-")) {
        members.sort();
        let len = members.len();
        members.dedup();
        assert_eq!(members.len(), len, "{context}: {got:?}");
    }
}

/// The server can't be made to pop what the node popped, so it removes that.
fn take(server: &mut Server, line: &[Vec<u8>], got: &[u8], context: &str) {
    let reply = Reply::parse(got);
    let members = reply.first_strings(1);
    if members.is_empty() {
        assert_same(got, &server.run(line), context);
        return;
    }
    let mut choice = line.to_vec();
    choice[0] = b"SRANDMEMBER".to_vec();
    let expected = Reply::parse(&server.run(&choice));
    assert_eq!(reply.len(), expected.len(), "{context}");
    let mut removal = vec![b"SREM".to_vec(), line[1].clone()];
    removal.extend(members.iter().cloned());
    let removed = server.run(&removal);
    assert_eq!(
        removed,
        format!(":{}\r\n", members.len()).as_bytes(),
        "{context}"
    );
}

/// What is too rare to be met at random.
#[test]
fn rarities() {
    let mut server = Server::start(24406);
    let mut ours = Ours::new(1);
    for text in [
        "SADD s m",
        "EXPIRE s 1000",
        "SMOVE s s m",
        "PERSIST s",
        "RPUSH l e",
        "EXPIRE l 1000",
        "LMOVE l l left right",
        "PERSIST l",
        "HSET h f 9223372036854775807",
        "HINCRBYFLOAT h f 0.1",
        "HINCRBYFLOAT h f -1e4000",
        "HINCRBYFLOAT h g 1e300",
        "HINCRBYFLOAT h i inf",
        "HSET h i inf",
        "HINCRBYFLOAT h i 1",
        "LPOS l e RANK -9223372036854775808",
        "ZADD z inf a",
        "ZINCRBY z -inf a",
        "ZADD z INCR -inf a",
        "HRANDFIELD h 4611686018427387904 WITHVALUES",
        "SRANDMEMBER s -9223372036854775808",
    ] {
        let line: Vec<_> = text.split(' ').map(|arg| arg.as_bytes().to_vec()).collect();
        assert_same(&ours.run(&line), &server.run(&line), text);
    }
}

/// A whole scan returns every element that stays, and of the others at most what was ever there.
#[test]
fn scans_of_large_collections() {
    for (family, add, scan, remove) in [
        ("h", "HSET", "HSCAN", "HDEL"),
        ("s", "SADD", "SSCAN", "SREM"),
        ("z", "ZADD", "ZSCAN", "ZREM"),
    ] {
        let mut ours = Ours::new(1);
        let args = |line: String| -> Vec<Vec<u8>> {
            line.split(' ').map(|arg| arg.as_bytes().to_vec()).collect()
        };
        for i in 0..2000 {
            let line = match family {
                "h" => format!("{add} k member:{i} {i}"),
                "s" => format!("{add} k member:{i}"),
                _ => format!("{add} k {i} member:{i}"),
            };
            assert_eq!(ours.run(&args(line)), b":1\r\n");
        }
        let mut seen = HashSet::new();
        let (mut cursor, mut calls) = (b"0".to_vec(), 0);
        loop {
            let line = format!("{scan} k {} COUNT 50", String::from_utf8_lossy(&cursor));
            let Reply::Many(parts) = Reply::parse(&ours.run(&args(line))) else {
                panic!("a scan returns two parts");
            };
            let [Reply::Text(next), found] = &parts[..] else {
                panic!("a scan returns a cursor and elements");
            };
            seen.extend(found.first_strings(if family == "s" { 1 } else { 2 }));
            // Odd ones go while the scan is under way.
            for _ in 0..10 {
                ours.run(&args(format!(
                    "{remove} k member:{}",
                    2 * (calls * 37 % 1000) + 1
                )));
                calls += 1;
            }
            cursor = next.clone();
            if cursor == b"0" {
                break;
            }
        }
        assert!(calls > 300, "{scan} is not done at once");
        for i in (0..2000).step_by(2) {
            assert!(
                seen.contains(format!("member:{i}").as_bytes()),
                "{scan} misses {i}"
            );
        }
    }
}

fn show(line: &[Vec<u8>]) -> String {
    line.iter()
        .map(|arg| format!("\"{}\"", arg.escape_ascii()))
        .collect::<Vec<_>>()
        .join(" ")
}

#[track_caller]
fn assert_same(got: &[u8], expected: &[u8], context: &str) {
    if got != expected {
        let same = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let show = |reply: &[u8]| {
            let part = &reply[same.saturating_sub(60)..reply.len().min(same + 60)];
            part.escape_ascii().to_string()
        };
        panic!(
            "{context}\nat byte {same} of {} and {}:\n  node:   {}\n  server: {}",
            got.len(),
            expected.len(),
            show(got),
            show(expected)
        );
    }
}
