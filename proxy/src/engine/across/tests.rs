//! Reads over several slots against a model: one server that has all keys, asked the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use slotway_protocol::resp::{Request, RequestBuffers, RequestLimits, RequestScanner, Scan};

use super::*;

/// The keys of one server, each a sorted set; scores are small and whole, so sums are exact.
type Model = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, i32>>;

fn with_request<R>(words: &[Vec<u8>], use_it: impl FnOnce(&Request<'_>) -> R) -> R {
    let mut frame = Vec::new();
    encode::request(&mut frame, words);
    let mut buffers = RequestBuffers::default();
    let scan = RequestScanner::default().scan(&frame, &RequestLimits::default(), &mut buffers);
    assert!(matches!(scan, Ok(Scan::Request { .. })));
    use_it(&buffers.request(&frame))
}

fn parse(words: &[Vec<u8>]) -> Option<Result<Query, &'static [u8]>> {
    let command = lookup(&words[0]).unwrap();
    with_request(words, |request| Query::parse(command, request))
}

/// What the model replies to a leg, in RESP3, as the server does for sets and sorted sets.
fn answer_leg(model: &Model, frame: &[u8]) -> Vec<u8> {
    let mut buffers = RequestBuffers::default();
    let scan = RequestScanner::default().scan(frame, &RequestLimits::default(), &mut buffers);
    assert!(matches!(scan, Ok(Scan::Request { .. })));
    let words: Vec<Vec<u8>> = buffers.request(frame).args(0).map(<[u8]>::to_vec).collect();
    evaluate(model, &words)
}

/// Does it the slow way, member by member.
fn evaluate(model: &Model, words: &[Vec<u8>]) -> Vec<u8> {
    let name = String::from_utf8(words[0].to_ascii_uppercase()).unwrap();
    let sorted = name.starts_with('Z');
    let (first, count) = if sorted || name == "SINTERCARD" {
        (2, String::from_utf8_lossy(&words[1]).parse().unwrap())
    } else {
        (1, words.len() - 1)
    };
    let keys = &words[first..first + count];
    let options: Vec<String> = words[first + count..]
        .iter()
        .map(|word| String::from_utf8_lossy(word).to_ascii_uppercase())
        .collect();
    let after = |word: &str| options.iter().position(|option| option == word);
    let weight =
        |key: usize| after("WEIGHTS").map_or(1, |at| options[at + 1 + key].parse().unwrap());
    let aggregate = after("AGGREGATE").map_or("SUM", |at| options[at + 1].as_str());
    let empty = BTreeMap::new();
    let sets: Vec<_> = keys
        .iter()
        .map(|key| model.get(key).unwrap_or(&empty))
        .collect();
    let all: BTreeSet<&Vec<u8>> = sets.iter().flat_map(|set| set.keys()).collect();
    let mut result: Vec<(i32, &Vec<u8>)> = Vec::new();
    for member in all {
        let has = |set: &&BTreeMap<Vec<u8>, i32>| set.contains_key(member);
        let (is_in, scores) = if name.contains("DIFF") {
            let only = has(&sets[0]) && !sets[1..].iter().any(has);
            (only, sets[0].get(member).into_iter().copied().collect())
        } else {
            let is_in = name.contains("UNION") || sets.iter().all(has);
            let with_weights = sets.iter().enumerate();
            let scores = with_weights.filter_map(|(key, set)| Some(set.get(member)? * weight(key)));
            (is_in, scores.collect::<Vec<i32>>())
        };
        if is_in {
            let score = match aggregate {
                "MIN" => scores.iter().copied().min(),
                "MAX" => scores.iter().copied().max(),
                _ => Some(scores.iter().sum()),
            };
            result.push((score.unwrap(), member));
        }
    }
    let mut out = Vec::new();
    if name.ends_with("CARD") {
        let limit = after("LIMIT").map_or(0, |at| options[at + 1].parse().unwrap());
        let size = if limit == 0 {
            result.len()
        } else {
            result.len().min(limit)
        };
        encode::integer(&mut out, size as i64);
        return out;
    }
    if sorted {
        result.sort_unstable();
        encode::array(&mut out, result.len());
    } else {
        encode::set(&mut out, Protocol::Resp3, result.len());
    }
    for (score, member) in result {
        if after("WITHSCORES").is_some() {
            encode::array(&mut out, 2);
            encode::bulk(&mut out, member);
            encode::double(&mut out, Protocol::Resp3, f64::from(score));
        } else {
            encode::bulk(&mut out, member);
        }
    }
    out
}

/// The same, whatever the order of a set.
fn in_order(reply: &[u8]) -> Vec<u8> {
    if reply.first() != Some(&b'~') {
        return reply.to_vec();
    }
    let mut members = members(reply).unwrap();
    members.sort_unstable();
    let mut out = Vec::new();
    encode::array(&mut out, members.len());
    members
        .iter()
        .for_each(|member| encode::bulk(&mut out, member));
    out
}

fn gathered(model: &Model, words: &[Vec<u8>]) -> Vec<u8> {
    let mut gather = Gather::new(parse(words).unwrap().unwrap(), usize::MAX);
    for (part, leg) in gather.legs.iter().enumerate() {
        let (_, frame) = leg.request(&gather.query.keys);
        gather.replies[part] = answer_leg(model, &frame);
    }
    gather.combine(Protocol::Resp3)
}

fn words(request: &str) -> Vec<Vec<u8>> {
    request
        .split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// Products of whole numbers know no negative zero.
fn not_zero() -> impl Strategy<Value = i32> {
    prop_oneof![-3..0, 1..4]
}

fn models() -> impl Strategy<Value = Model> {
    let members = proptest::collection::btree_map("[a-f]", not_zero(), 0..6);
    let members = members.prop_map(|set| {
        let named = set.into_iter();
        named
            .map(|(member, score)| (member.into_bytes(), score))
            .collect()
    });
    // Two keys of each of three slots.
    proptest::collection::btree_map("\\{[xyz]\\}[12]", members, 0..6).prop_map(|keys| {
        keys.into_iter()
            .map(|(key, set)| (key.into_bytes(), set))
            .collect()
    })
}

fn reads() -> impl Strategy<Value = String> {
    let keys = proptest::collection::vec("\\{[xyz]\\}[12]", 1..6);
    let weights = proptest::collection::vec(not_zero(), 6);
    (0..8_usize, keys, weights, 0..4_usize, any::<bool>(), 0..4).prop_map(
        |(which, keys, weights, aggregate, with_scores, limit)| {
            let count = keys.len();
            let weights: Vec<String> = weights[..count].iter().map(i32::to_string).collect();
            let keys = keys.join(" ");
            let mut scored = String::new();
            if limit > 0 {
                scored += &format!(" weights {}", weights.join(" "));
            }
            scored += ["", " aggregate sum", " AGGREGATE Min", " aggregate max"][aggregate];
            let with = if with_scores { " withscores" } else { "" };
            match which {
                0 => format!("sunion {keys}"),
                1 => format!("sinter {keys}"),
                2 => format!("sdiff {keys}"),
                3 => format!("sintercard {count} {keys} limit {limit}"),
                4 => format!("zintercard {count} {keys} limit {limit}"),
                5 => format!("zunion {count} {keys}{scored}{with}"),
                6 => format!("zinter {count} {keys}{scored}{with}"),
                _ => format!("zdiff {count} {keys}{with}"),
            }
        },
    )
}

proptest! {
    #[test]
    fn many_nodes_reply_what_one_would(model in models(), read in reads()) {
        let words = words(&read);
        let expected = in_order(&evaluate(&model, &words));
        let got = in_order(&gathered(&model, &words));
        prop_assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&expected),
            "{}",
            read
        );
    }
}

#[test]
fn each_node_reduces_what_it_has() {
    for (read, expected) in [
        (
            "sunion {a}1 {b}1 {a}2",
            &["SUNION {a}1 {a}2", "SUNION {b}1"][..],
        ),
        (
            "sinter {a}1 {b}1 {a}2",
            &["SINTER {a}1 {a}2", "SINTER {b}1"],
        ),
        ("sdiff {a}1 {b}1 {a}2", &["SDIFF {a}1 {a}2", "SUNION {b}1"]),
        (
            "zdiff 3 {a}1 {b}1 {a}2",
            &["ZDIFF 2 {a}1 {a}2 WITHSCORES", "ZUNION 1 {b}1"],
        ),
        (
            "zintercard 3 {a}1 {b}1 {a}2",
            &["ZINTER 2 {a}1 {a}2", "ZINTER 1 {b}1"],
        ),
        (
            "zunion 3 {a}1 {b}1 {a}1",
            &["ZUNION 1 {a}1 WITHSCORES", "ZUNION 1 {b}1 WITHSCORES"],
        ),
        (
            "pfcount {a}1 {b}1 {a}2 {a}1",
            &["GET {a}1", "GET {b}1", "GET {a}2"],
        ),
    ] {
        let query = parse(&words(read)).unwrap().unwrap();
        let sent: Vec<_> = legs(&query)
            .iter()
            .map(|leg| leg.request(&query.keys).1)
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|request| {
                let mut frame = Vec::new();
                encode::request(&mut frame, &words(request));
                frame
            })
            .collect();
        assert_eq!(sent, expected, "{read}");
    }
}

/// Each was tried at redis-server 7.0.15, with keys of one slot.
#[test]
fn malformed_reads_are_refused_as_the_server_does() {
    for (read, text) in [
        ("sintercard 2 a b LIMIT", "ERR syntax error"),
        ("sintercard 2 a b x 1", "ERR syntax error"),
        ("sintercard 2 a b LIMIT x", "ERR LIMIT can't be negative"),
        ("zintercard 2 a b LIMIT -1", "ERR LIMIT can't be negative"),
        ("zintercard 2 a b WITHSCORES", "ERR syntax error"),
        ("zunion 2 a b WEIGHTS 1", "ERR syntax error"),
        (
            "zunion 2 a b WEIGHTS 1 x",
            "ERR weight value is not a float",
        ),
        (
            "zunion 2 a b WEIGHTS 1 nan",
            "ERR weight value is not a float",
        ),
        ("zinter 2 a b AGGREGATE", "ERR syntax error"),
        ("zinter 2 a b AGGREGATE avg", "ERR syntax error"),
        ("zdiff 2 a b AGGREGATE SUM", "ERR syntax error"),
        ("zdiff 2 a b WEIGHTS 1 2", "ERR syntax error"),
    ] {
        let error = match parse(&words(read)).unwrap() {
            Ok(query) => match query.read {
                Read::Malformed(text) => text,
                other => panic!("{read}: {other:?}"),
            },
            Err(text) => text,
        };
        assert_eq!(error, text.as_bytes(), "{read}");
        assert_eq!(read.starts_with('z'), parse(&words(read)).unwrap().is_ok());
    }
    assert!(parse(&words("sunionstore a b c")).is_none());
    assert!(parse(&words("smove a b c")).is_none());
}
