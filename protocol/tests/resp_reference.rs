//! A slow and simple model of how RESP is read, to compare the scanners with. It takes the bytes
//! one at a time and looks at all of them again each time, and it calls itself for nested values.

use slotway_protocol::resp::{ReplyError, RequestError, RequestLimits};

/// What the model makes of the bytes at the front of a connection's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Incomplete,
    Empty(usize),
    Request(usize, Vec<Vec<u8>>),
}

/// The first request of `input`, whose bytes arrive one at a time.
pub(crate) fn request(input: &[u8], limits: &RequestLimits) -> Result<Found, RequestError> {
    for len in 1..=input.len() {
        match request_in(&input[..len], limits)? {
            Found::Incomplete => {}
            found => return Ok(found),
        }
    }
    Ok(Found::Incomplete)
}

/// The length of the first reply of `input`.
pub(crate) fn reply(input: &[u8]) -> Result<Option<usize>, ReplyError> {
    let Some(kind) = input.first() else {
        return Ok(None);
    };
    let kind = char::from(*kind);
    if !"+-:$*_#,(!=%~>|".contains(kind) {
        return Err(ReplyError::UnknownType(input[0]));
    }
    let is_text = "+-,(".contains(kind);
    let Some(line_len) = input.windows(2).position(|two| two == b"\r\n") else {
        let is_too_long = !is_text && input.len() > 66;
        return if is_too_long {
            Err(ReplyError::LineTooLong)
        } else {
            Ok(None)
        };
    };
    if !is_text && line_len - 1 > 64 {
        return Err(ReplyError::LineTooLong);
    }
    let line = String::from_utf8_lossy(&input[1..line_len]).into_owned();
    let after_line = line_len + 2;
    let number = line.parse::<i64>().ok();
    let is_canonical = number.is_some_and(|number| number.to_string() == line);
    let elements = match kind {
        '+' | '-' | ',' | '(' => return Ok(Some(after_line)),
        ':' if number.is_some() => return Ok(Some(after_line)),
        '_' if line.is_empty() => return Ok(Some(after_line)),
        '#' if line == "t" || line == "f" => return Ok(Some(after_line)),
        ':' | '_' | '#' => return Err(ReplyError::InvalidScalar),
        '$' | '*' if line == "-1" => return Ok(Some(after_line)),
        _ => match number {
            Some(number) if is_canonical && number >= 0 => number as usize,
            _ => return Err(ReplyError::InvalidLength),
        },
    };
    if "$!=".contains(kind) {
        if elements > 4 << 30 {
            return Err(ReplyError::InvalidLength);
        }
        return match input.get(after_line + elements..after_line + elements + 2) {
            None => Ok(None),
            Some(b"\r\n") => Ok(Some(after_line + elements + 2)),
            Some(_) => Err(ReplyError::MissingLineEnd),
        };
    }
    if elements > u32::MAX as usize {
        return Err(ReplyError::TooManyElements);
    }
    let values = match kind {
        '%' => 2 * elements,
        '|' => 2 * elements + 1,
        _ => elements,
    };
    let mut end = after_line;
    for _ in 0..values {
        match reply(&input[end..])? {
            None => return Ok(None),
            Some(len) => end += len,
        }
    }
    Ok(Some(end))
}

/// One look at the bytes that have arrived so far.
fn request_in(input: &[u8], limits: &RequestLimits) -> Result<Found, RequestError> {
    if input[0] != b'*' {
        return inline_in(input, limits);
    }
    let query_max = limits.query_bytes_max;
    let Some((line, mut at)) = line_in(input, 0, limits, RequestError::TooBigMultibulkCount)?
    else {
        return Ok(Found::Incomplete);
    };
    let count = strict(&line[1..]).ok_or(RequestError::InvalidMultibulkLength)?;
    if count > i128::from(limits.arguments_max) {
        return Err(RequestError::InvalidMultibulkLength);
    }
    if count > 10 && limits.unauthenticated {
        return Err(RequestError::UnauthenticatedMultibulkLength);
    }
    if count <= 0 {
        return Ok(Found::Empty(at));
    }
    let mut args = Vec::new();
    while (args.len() as i128) < count {
        let Some((line, start)) = line_in(input, at, limits, RequestError::TooBigBulkCount)? else {
            return Ok(Found::Incomplete);
        };
        if line.first() != Some(&b'$') {
            return Err(RequestError::ExpectedBulk(input[at]));
        }
        let len = strict(&line[1..]).ok_or(RequestError::InvalidBulkLength)?;
        if len < 0 || len > i128::from(limits.bulk_bytes_max) {
            return Err(RequestError::InvalidBulkLength);
        }
        if len > 16384 && limits.unauthenticated {
            return Err(RequestError::UnauthenticatedBulkLength);
        }
        if start as i128 + len + 2 > query_max as i128 {
            return Err(RequestError::QueryTooBig);
        }
        let len = len as usize;
        if input.len() < start + len + 2 {
            return Ok(Found::Incomplete);
        }
        args.push(input[start..start + len].to_vec());
        at = start + len + 2;
    }
    checked(at, args)
}

fn inline_in(input: &[u8], limits: &RequestLimits) -> Result<Found, RequestError> {
    let text_len = input.iter().position(|byte| *byte == 0);
    let text = &input[..text_len.unwrap_or(input.len())];
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
        return unfinished(input, 0, limits, RequestError::TooBigInline)
            .map(|()| Found::Incomplete);
    };
    if end + 1 > limits.query_bytes_max {
        return Err(RequestError::QueryTooBig);
    }
    let line = if end > 0 && text[end - 1] == b'\r' {
        &text[..end - 1]
    } else {
        &text[..end]
    };
    let args = words(line).ok_or(RequestError::UnbalancedQuotes)?;
    if args.is_empty() {
        return Ok(Found::Empty(end + 1));
    }
    checked(end + 1, args)
}

fn checked(consumed: usize, args: Vec<Vec<u8>>) -> Result<Found, RequestError> {
    let name = String::from_utf8_lossy(&args[0]).to_lowercase();
    let word = name.split('\0').next().unwrap_or_default();
    if word == "post" || word == "host:" {
        return Err(RequestError::CrossProtocol);
    }
    Ok(Found::Request(consumed, args))
}

/// The line that starts at `from`, and where the next one does.
fn line_in<'a>(
    input: &'a [u8],
    from: usize,
    limits: &RequestLimits,
    too_big: RequestError,
) -> Result<Option<(&'a [u8], usize)>, RequestError> {
    let rest = &input[from..];
    let text_len = rest.iter().position(|byte| *byte == 0);
    let text = &rest[..text_len.unwrap_or(rest.len())];
    let Some(len) = text.iter().position(|byte| *byte == b'\r') else {
        return unfinished(input, from, limits, too_big).map(|()| None);
    };
    if from + len + 2 > limits.query_bytes_max {
        return Err(RequestError::QueryTooBig);
    }
    if rest.len() < len + 2 {
        return Ok(None);
    }
    Ok(Some((&text[..len], from + len + 2)))
}

fn unfinished(
    input: &[u8],
    from: usize,
    limits: &RequestLimits,
    too_big: RequestError,
) -> Result<(), RequestError> {
    if input.len() > limits.query_bytes_max {
        return Err(RequestError::QueryTooBig);
    }
    if input.len() - from > limits.inline_bytes_max {
        return Err(too_big);
    }
    Ok(())
}

fn strict(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let number = text.parse::<i64>().ok()?;
    (number.to_string() == text).then_some(i128::from(number))
}

/// The words of an inline command, `None` when its quotes are wrong.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let space = |byte: u8| byte == b' ' || (9..=13).contains(&byte);
    let byte_at = |at: usize| line.get(at).copied();
    let hex = |at: usize| byte_at(at).and_then(|byte| char::from(byte).to_digit(16));
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut at = 0;
    loop {
        while byte_at(at).is_some_and(space) {
            at += 1;
        }
        if at >= line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        let mut quote = None;
        loop {
            match (quote, byte_at(at)) {
                (None, None | Some(b' ' | b'\n' | b'\r' | b'\t')) => break,
                (Some(_), None) => return None,
                (None, Some(byte @ (b'"' | b'\''))) => quote = Some(byte),
                (Some(open), Some(byte)) if open == byte => {
                    if byte_at(at + 1).is_some_and(|byte| !space(byte)) {
                        return None;
                    }
                    at += 1;
                    break;
                }
                (Some(b'\''), Some(b'\\')) if byte_at(at + 1) == Some(b'\'') => {
                    word.push(b'\'');
                    at += 1;
                }
                (Some(b'"'), Some(b'\\')) if at + 1 < line.len() => {
                    if let (Some(b'x'), Some(high), Some(low)) =
                        (byte_at(at + 1), hex(at + 2), hex(at + 3))
                    {
                        word.push((high * 16 + low) as u8);
                        at += 3;
                    } else {
                        let names = b"nrtba";
                        let name = names.iter().position(|name| *name == line[at + 1]);
                        word.push(name.map_or(line[at + 1], |name| b"\n\r\t\x08\x07"[name]));
                        at += 1;
                    }
                }
                (_, Some(byte)) => word.push(byte),
            }
            at += 1;
        }
        words.push(word);
    }
}

/// The model itself is right: these outcomes were taken from redis-server 7.0.15.
#[test]
fn the_model_agrees_with_the_server() {
    let limits = RequestLimits::default();
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    let table: &[(&[u8], Result<Found, RequestError>)] = &[
        (
            b"*1\r\n$4\rXPINGXY",
            Ok(Found::Request(14, words(&[b"PING"]))),
        ),
        (b"*0\rXPING", Ok(Found::Empty(4))),
        (b"*-1\r\n", Ok(Found::Empty(5))),
        (b"*1\r\nX\r", Ok(Found::Incomplete)),
        (b"*1\r\nX\r\n", Err(RequestError::ExpectedBulk(b'X'))),
        (b"*1\r\n\0\r\n", Ok(Found::Incomplete)),
        (b"*01\r\n", Err(RequestError::InvalidMultibulkLength)),
        (b"*1\r\n$-1\r\n", Err(RequestError::InvalidBulkLength)),
        (
            b"ECHO foo\"b\\x41\\q\"\n",
            Ok(Found::Request(18, words(&[b"ECHO", b"foobAq"]))),
        ),
        (
            b"ECHO 'a\\'b\\n'\r\n",
            Ok(Found::Request(15, words(&[b"ECHO", b"a'b\\n"]))),
        ),
        (b"ECHO \"a\"b\r\n", Err(RequestError::UnbalancedQuotes)),
        (b" \x0b\r\n", Ok(Found::Empty(4))),
        (b"hOsT: x\r\n", Err(RequestError::CrossProtocol)),
    ];
    for (input, expected) in table {
        assert_eq!(
            request(input, &limits),
            *expected,
            "{}",
            input.escape_ascii()
        );
    }
    assert_eq!(
        reply(b"*2\r\n|1\r\n+a\r\n:1\r\n$1\r\na\r\n_\r\nrest"),
        Ok(Some(26))
    );
}
