//! However the bytes of a node are cut, the same replies and errors come out, the model and the
//! token reader agree, and the time it takes grows with the bytes and not with the cuts.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Protocol, ReplyError, ReplyScanner, encode};

#[path = "resp_reference.rs"]
#[allow(dead_code)]
mod resp_reference;

type Outcome = (Vec<usize>, Option<ReplyError>);

/// Scans `input`, of which only the bytes before each cut are here at first.
fn scanned(input: &[u8], cuts: &[usize]) -> Outcome {
    let mut scanner = ReplyScanner::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        while start < end {
            match scanner.scan(&input[start..end]) {
                Ok(None) => break,
                Ok(Some(len)) => {
                    found.push(len);
                    start += len;
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn modelled(input: &[u8]) -> Outcome {
    let mut found = Vec::new();
    let mut rest = input;
    loop {
        match resp_reference::reply(rest) {
            Ok(None) => return (found, None),
            Ok(Some(len)) => {
                found.push(len);
                rest = &rest[len..];
            }
            Err(error) => return (found, Some(error)),
        }
    }
}

/// Reads the tokens of the reply at the front of `input` and returns its length.
fn length_in_tokens(input: &[u8]) -> Result<usize, ReplyError> {
    let mut reader = TokenReader::new(input);
    let mut remaining = 1;
    while remaining > 0 {
        remaining -= 1;
        remaining += match reader.next_token()?.ok_or(ReplyError::Truncated)? {
            Token::Array(len) | Token::Set(len) | Token::Push(len) => len,
            Token::Map(pairs) => 2 * pairs,
            Token::Attribute(pairs) => 2 * pairs + 1,
            _ => 0,
        };
    }
    Ok(input.len() - reader.rest().len())
}

/// A value as it is written: scalars, and aggregates of values.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        "[ -~]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        "[ -~]{0,80}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
        any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..1200).prop_map(|bytes| {
            let mut out = Vec::new();
            encode::bulk(&mut out, &bytes);
            out
        }),
        "[a-z]{0,9}".prop_map(|text| format!("=%\r\ntxt:{text}\r\n")
            .replace('%', &(text.len() + 4).to_string())
            .into_bytes()),
        any::<f64>().prop_map(|number| {
            let mut out = Vec::new();
            encode::double(&mut out, Protocol::Resp3, number);
            out
        }),
        prop::sample::select(vec![
            &b"_\r\n"[..],
            b"$-1\r\n",
            b"*-1\r\n",
            b"#t\r\n",
            b"#f\r\n",
            b"(123456789012345678901234567890\r\n",
            b"!5\r\nERR a\r\n",
            b"+a\rb\nc\r\n",
            b"+OK\r\n",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        let values = prop::collection::vec(inner, 0..6);
        (values, prop::sample::select(b"*~>%|".to_vec())).prop_map(|(values, kind)| {
            let mut values = values;
            let last = values.len() % 2;
            let count = match kind {
                b'%' | b'|' => {
                    values.truncate(values.len() - last);
                    values.len() / 2
                }
                _ => values.len(),
            };
            let mut out = vec![kind];
            out.extend_from_slice(format!("{count}\r\n").as_bytes());
            out.extend_from_slice(&values.concat());
            if kind == b'|' {
                out.extend_from_slice(b"+value\r\n");
            }
            out
        })
    })
}

/// Values, some with one byte changed.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let change = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (prop::collection::vec(value(), 1..4), change).prop_map(|(values, change)| {
        let mut input = values.concat();
        if let Some((index, byte)) = change {
            let index = index.index(input.len());
            input[index] = byte;
        }
        input
    })
}

fn sorted_cuts(cuts: &[prop::sample::Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// Failures are printed, not written into the source tree.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2048,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_cut_yields_what_the_model_does(
        input in input(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let expected = modelled(&input);
        let cuts = sorted_cuts(&cuts, input.len());
        prop_assert_eq!(&scanned(&input, &cuts), &expected);
        let each_byte: Vec<_> = (1..input.len()).collect();
        prop_assert_eq!(&scanned(&input, &each_byte), &expected);
        for cut in 1..input.len().min(20) {
            prop_assert_eq!(&scanned(&input, &[cut]), &expected);
        }
    }

    #[test]
    fn any_bytes_yield_what_the_model_does(input in "[-+:$*_#,(!=%~>|0-3a\r\n]{0,24}") {
        let input = input.as_bytes();
        let each_byte: Vec<_> = (1..input.len()).collect();
        prop_assert_eq!(scanned(input, &each_byte), modelled(input));
    }

    #[test]
    fn every_value_is_one_reply(value in value()) {
        prop_assert_eq!(scanned(&value, &[]), (vec![value.len()], None));
    }

    #[test]
    fn tokens_agree(input in input()) {
        let tokens = length_in_tokens(&input);
        let skipped = TokenReader::new(&input).next_value().map(<[u8]>::len);
        prop_assert_eq!(&skipped, &tokens);
        let scanned = ReplyScanner::default().scan(&input);
        prop_assert_eq!(scanned.and_then(|len| len.ok_or(ReplyError::Truncated)), tokens);
    }
}

fn is_one_reply_in_reads(input: &[u8], read_bytes: usize) {
    let mut scanner = ReplyScanner::default();
    let mut end = 0;
    while end < input.len() {
        end = (end + read_bytes).min(input.len());
        let expected = (end == input.len()).then_some(end);
        assert_eq!(scanner.scan(&input[..end]), Ok(expected));
    }
}

/// Each of these takes minutes when what has been seen is looked at again.
#[test]
fn time_grows_with_the_bytes_only() {
    let start = Instant::now();
    let mut large = Vec::new();
    encode::bulk(&mut large, &vec![b'\r'; 64 * 1024 * 1024]);
    is_one_reply_in_reads(&large, 8 * 1024);

    let text = [&b"-"[..], &vec![b'e'; 16 * 1024 * 1024], b"\r\n"].concat();
    is_one_reply_in_reads(&text, 1024);

    let deep = [b"*1\r\n".repeat(100), b":1\r\n".to_vec()].concat();
    let deep = [&b"*40000\r\n"[..], &deep.repeat(40_000)].concat();
    is_one_reply_in_reads(&deep, 100);

    let wide = [&b"*1000000\r\n"[..], &b"$3\r\nabc\r\n".repeat(1_000_000)].concat();
    is_one_reply_in_reads(&wide, 100);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}
