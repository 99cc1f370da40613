//! Any bytes of a client, cut anywhere: the scanner finds what the simple model finds, and each
//! frame is fit to be forwarded. From the top of the repository:
//! `mkdir -p fuzz/corpus/request && cargo +nightly fuzz run --sanitizer none request
//! fuzz/corpus/request fuzz/seeds/request`. No code here is unsafe, so a sanitizer finds nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slotway_protocol::resp::{
    RequestBuffers, RequestError, RequestLimits, RequestScanner, Scan, encode,
};

#[path = "../../protocol/tests/resp_reference.rs"]
#[allow(dead_code)]
mod resp_reference;

use resp_reference::Found;

fuzz_target!(|data: &[u8]| {
    let Some((&[choice, first, second, third], input)) = data.split_first_chunk() else {
        return;
    };
    // The model takes quadratic time.
    let input = &input[..input.len().min(INPUT_BYTES_MAX)];
    let limits = limits(choice);
    let expected = modelled(input, &limits);
    let mut cuts = [first, second, third].map(|cut| usize::from(cut) % (input.len() + 1));
    cuts.sort_unstable();
    assert_eq!(scanned(input, &cuts, &limits), expected, "with three cuts");
    assert_eq!(scanned(input, &[], &limits), expected, "without a cut");
    let each_byte: Vec<_> = (1..input.len()).collect();
    assert_eq!(
        scanned(input, &each_byte, &limits),
        expected,
        "byte by byte"
    );
});

/// Small limits, so that short inputs reach them, or those of redis-server.
fn limits(choice: u8) -> RequestLimits {
    let unauthenticated = choice & 1 != 0;
    if choice & 2 != 0 {
        return RequestLimits {
            unauthenticated,
            ..RequestLimits::default()
        };
    }
    RequestLimits {
        bulk_bytes_max: u64::from(choice >> 2),
        arguments_max: u64::from(choice >> 4),
        inline_bytes_max: 4 + usize::from(choice >> 3),
        query_bytes_max: usize::from(choice),
        unauthenticated,
    }
}

type Outcome = (Vec<Found>, Option<RequestError>);

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
                    found.push(Found::Request(consumed, arguments(&buffers, here)));
                    start += consumed;
                }
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

fn arguments(buffers: &RequestBuffers, input: &[u8]) -> Vec<Vec<u8>> {
    let request = buffers.request(input);
    let args: Vec<_> = request.args(0).map(<[u8]>::to_vec).collect();
    let mut canonical = Vec::new();
    encode::request(&mut canonical, &args);
    assert_eq!(request.frame(), canonical, "a frame is fit to be forwarded");
    let line_len = canonical.len() - request.encoded_args(0..args.len()).len();
    assert_eq!(
        canonical[line_len - 1],
        b'\n',
        "the arguments follow the first line"
    );
    args
}

fn modelled(input: &[u8], limits: &RequestLimits) -> Outcome {
    let mut found = Vec::new();
    let mut rest = input;
    loop {
        match resp_reference::request(rest, limits) {
            Ok(Found::Incomplete) => return (found, None),
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
}

const INPUT_BYTES_MAX: usize = 150;
