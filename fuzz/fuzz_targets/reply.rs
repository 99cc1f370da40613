//! Any bytes of a node, cut anywhere: the scanner finds what the simple model finds, and the
//! token reader agrees. From the top of the repository: `mkdir -p fuzz/corpus/reply && cargo
//! +nightly fuzz run --sanitizer none reply fuzz/corpus/reply fuzz/seeds/reply`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use slotway_protocol::resp::value::{Token, TokenReader, without_attributes};
use slotway_protocol::resp::{ReplyError, ReplyScanner};

#[path = "../../protocol/tests/resp_reference.rs"]
#[allow(dead_code)]
mod resp_reference;

fuzz_target!(|data: &[u8]| {
    let Some((&[first, second, third], input)) = data.split_first_chunk() else {
        return;
    };
    // The model calls itself for each level of nesting.
    let input = &input[..input.len().min(INPUT_BYTES_MAX)];
    let expected = modelled(input);
    let mut cuts = [first, second, third].map(|cut| usize::from(cut) % (input.len() + 1));
    cuts.sort_unstable();
    assert_eq!(scanned(input, &cuts), expected, "with three cuts");
    assert_eq!(scanned(input, &[]), expected, "without a cut");
    let each_byte: Vec<_> = (1..input.len()).collect();
    assert_eq!(scanned(input, &each_byte), expected, "byte by byte");

    let scanned = ReplyScanner::default().scan(input);
    let scanned = scanned.and_then(|len| len.ok_or(ReplyError::Truncated));
    assert_eq!(length_in_tokens(input), scanned, "tokens");
    if let Ok(len) = scanned {
        let inner = without_attributes(&input[..len]).expect("a whole reply");
        assert_ne!(inner.first(), Some(&b'|'));
        assert_eq!(ReplyScanner::default().scan(inner), Ok(Some(inner.len())));
    }
});

type Outcome = (Vec<usize>, Option<ReplyError>);

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

fn length_in_tokens(input: &[u8]) -> Result<usize, ReplyError> {
    let mut reader = TokenReader::new(input);
    let mut remaining = 1_u64;
    while remaining > 0 {
        remaining -= 1;
        remaining += match reader.next_token()?.ok_or(ReplyError::Truncated)? {
            Token::Array(len) | Token::Set(len) | Token::Push(len) => len as u64,
            Token::Map(pairs) => 2 * pairs as u64,
            Token::Attribute(pairs) => 2 * pairs as u64 + 1,
            _ => 0,
        };
    }
    Ok(input.len() - reader.rest().len())
}

const INPUT_BYTES_MAX: usize = 1000;
