//! However the bytes of a client are cut, the same requests and errors come out, the model agrees,
//! and the time it takes grows with the bytes and not with the cuts.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use slotway_protocol::resp::{
    RequestBuffers, RequestError, RequestLimits, RequestScanner, Scan, encode,
};

#[path = "resp_reference.rs"]
#[allow(dead_code)]
mod resp_reference;

use resp_reference::Found;

/// All that is found in the input of one connection.
type Outcome = (Vec<Found>, Option<RequestError>);

/// Scans `input`, of which only the bytes before each cut are here at first.
fn scanned(input: &[u8], cuts: &[usize], limits: &RequestLimits) -> Outcome {
    let mut scanner = RequestScanner::default();
    let mut buffers = RequestBuffers::default();
    let mut found = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([input.len()]) {
        while start < end {
            let here = &input[start..end];
            match scanner.scan(here, limits, &mut buffers) {
                Ok(Scan::Incomplete) => break,
                Ok(Scan::Empty { consumed }) => {
                    found.push(Found::Empty(consumed));
                    start += consumed;
                }
                Ok(Scan::Request { consumed }) => {
                    let request = buffers.request(&here[..consumed]);
                    let args: Vec<_> = request.args(0).map(<[u8]>::to_vec).collect();
                    let mut canonical = Vec::new();
                    encode::request(&mut canonical, &args);
                    assert_eq!(request.frame(), canonical, "a frame is fit to be forwarded");
                    found.push(Found::Request(consumed, args));
                    start += consumed;
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn modelled(input: &[u8], limits: &RequestLimits) -> Outcome {
    let mut found = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        match resp_reference::request(rest, limits) {
            Ok(Found::Incomplete) => break,
            Ok(one) => {
                let (Found::Empty(consumed) | Found::Request(consumed, _)) = one else {
                    unreachable!("it is not incomplete");
                };
                rest = &rest[consumed..];
                found.push(one);
            }
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

/// Pieces of requests, right and wrong, that meet all kinds of neighbours.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let arg = prop::collection::vec(any::<u8>(), 0..20);
    let request = prop::collection::vec(arg, 1..6).prop_map(|args| {
        let mut out = Vec::new();
        encode::request(&mut out, &args);
        out
    });
    let fixed: Vec<&[u8]> = vec![
        b"*",
        b"$",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"*0\r\n",
        b"*-1\r\n",
        b"*1\r\n",
        b"*2\r\n",
        b"*12\r\n",
        b"$1\r\na\r\n",
        b"$-1\r\n",
        b"$4\r\nPING\r\n",
        b"$4\r\nPOSTxy",
        b"$1\rxa\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
        b"PING\r\n",
        b"GET 'a b' \"\\x41\"\r\n",
        b"\"",
        b"'",
        b" ",
        b"\\",
        b"x4",
        b"Host: a\r\n",
        b"$99\r\n",
        b"$1000\r\n",
        b"9",
        b"-",
        b"+1",
    ];
    prop_oneof![
        4 => request,
        4 => prop::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..8),
        1 => "[ a-c\"'\\\\x4]{0,12}\r?\n".prop_map(String::into_bytes),
    ]
}

fn input() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..8).prop_map(|pieces| pieces.concat())
}

fn limits() -> impl Strategy<Value = RequestLimits> {
    let small = (
        0..30_u64,
        1..12_u64,
        4..40_usize,
        0..90_usize,
        any::<bool>(),
    );
    let small = small.prop_map(
        |(bulk, arguments, inline, query, unauthenticated)| RequestLimits {
            bulk_bytes_max: bulk,
            arguments_max: arguments,
            inline_bytes_max: inline,
            query_bytes_max: query,
            unauthenticated,
        },
    );
    prop_oneof![2 => Just(RequestLimits::default()), 1 => small]
}

fn sorted_cuts(cuts: &[prop::sample::Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// Failures are printed, not written into the source tree.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 4096,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_cut_yields_what_the_model_does(
        input in input(),
        limits in limits(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let expected = modelled(&input, &limits);
        let cuts = sorted_cuts(&cuts, input.len());
        prop_assert_eq!(&scanned(&input, &cuts, &limits), &expected);
        let each_byte: Vec<_> = (1..input.len()).collect();
        prop_assert_eq!(&scanned(&input, &each_byte, &limits), &expected);
        for cut in 1..input.len().min(20) {
            prop_assert_eq!(&scanned(&input, &[cut], &limits), &expected);
        }
    }

    #[test]
    fn what_is_written_is_read(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1200), 1..20),
            1..4,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut input = Vec::new();
        let mut expected = Vec::new();
        for args in requests {
            let start = input.len();
            encode::request(&mut input, &args);
            expected.push(Found::Request(input.len() - start, args));
        }
        let cuts = sorted_cuts(&cuts, input.len());
        let found = scanned(&input, &cuts, &RequestLimits::default());
        prop_assert_eq!(found, (expected, None));
    }
}

/// Scans `input` in reads of `read_bytes` and returns the number of the last request's arguments.
fn arguments_in_reads(input: &[u8], read_bytes: usize) -> usize {
    let mut scanner = RequestScanner::default();
    let mut buffers = RequestBuffers::default();
    let limits = RequestLimits {
        inline_bytes_max: 16 * 1024 * 1024,
        ..RequestLimits::default()
    };
    let mut end = 0;
    while end < input.len() {
        end = (end + read_bytes).min(input.len());
        let scan = scanner.scan(&input[..end], &limits, &mut buffers);
        let is_whole = matches!(scan, Ok(Scan::Request { .. }));
        assert_eq!(
            is_whole,
            end == input.len(),
            "only all of the bytes are a request"
        );
    }
    buffers.request(input).len()
}

/// Each of these takes minutes when what has been seen is looked at again.
#[test]
fn time_grows_with_the_bytes_only() {
    let start = Instant::now();
    let mut large = Vec::new();
    encode::request(
        &mut large,
        &[&b"SET"[..], b"key", &vec![b'\n'; 64 * 1024 * 1024]],
    );
    assert_eq!(arguments_in_reads(&large, 8 * 1024), 3);

    let mut many = Vec::new();
    encode::request(&mut many, &vec![b"argument"; 1_000_000]);
    assert_eq!(arguments_in_reads(&many, 100), 1_000_000);

    let mut long_line = vec![b'a'; 16 * 1024 * 1024];
    long_line.push(b'\n');
    assert_eq!(arguments_in_reads(&long_line, 100), 1);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}

/// `cargo test --release -- --ignored --nocapture speed` prints what one request costs.
#[test]
#[ignore = "measures"]
#[allow(clippy::print_stdout)]
fn speed_of_one_request() {
    let mut input = Vec::new();
    for _ in 0..500 {
        encode::request(&mut input, &[&b"SET"[..], b"key:000000012345", &[b'v'; 64]]);
    }
    let limits = RequestLimits::default();
    let mut scanner = RequestScanner::default();
    let mut buffers = RequestBuffers::default();
    let start = Instant::now();
    let (mut requests, mut bytes) = (0_u32, 0);
    for _ in 0..10_000 {
        let mut rest = &input[..];
        while let Ok(Scan::Request { consumed }) = scanner.scan(rest, &limits, &mut buffers) {
            bytes += buffers.request(rest).arg(1).len();
            requests += 1;
            rest = &rest[consumed..];
            if rest.is_empty() {
                break;
            }
        }
    }
    println!(
        "{:?} for one request ({requests}, {bytes})",
        start.elapsed() / requests
    );
}
