//! RESP2 as a client needs it: requests out, whole replies in.

/// A reply, taken from the bytes that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Simple(Vec<u8>),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
    Array(Option<Vec<Self>>),
}

/// Bytes that are no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// Appends a request.
pub(crate) fn request(words: &[&[u8]], output: &mut Vec<u8>) {
    output.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        output.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        output.extend_from_slice(word);
        output.extend_from_slice(b"\r\n");
    }
}

/// The reply at the front of `bytes` and its length, once all of it is there.
pub(crate) fn reply(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Malformed> {
    let mut at = 0;
    Ok(one(bytes, &mut at)?.map(|reply| (reply, at)))
}

fn one(bytes: &[u8], at: &mut usize) -> Result<Option<Reply>, Malformed> {
    let Some(line) = line(bytes, at) else {
        return Ok(None);
    };
    let (Some(kind), text) = (line.first(), line.get(1..).unwrap_or_default()) else {
        return Err(malformed(bytes));
    };
    let reply = match kind {
        b'+' => Reply::Simple(text.to_vec()),
        b'-' => Reply::Error(String::from_utf8_lossy(text).into_owned()),
        b':' => Reply::Integer(number(text)?),
        b'$' => return bulk(bytes, at, number(text)?),
        b'*' => return array(bytes, at, number(text)?),
        _ => return Err(malformed(line)),
    };
    Ok(Some(reply))
}

fn bulk(bytes: &[u8], at: &mut usize, len: i64) -> Result<Option<Reply>, Malformed> {
    let Ok(len) = usize::try_from(len) else {
        return Ok(Some(Reply::Bulk(None)));
    };
    let Some(rest) = bytes.get(*at..).filter(|rest| rest.len() >= len + 2) else {
        return Ok(None);
    };
    if &rest[len..len + 2] != b"\r\n" {
        return Err(malformed(&rest[len..]));
    }
    *at += len + 2;
    Ok(Some(Reply::Bulk(Some(rest[..len].to_vec()))))
}

fn array(bytes: &[u8], at: &mut usize, len: i64) -> Result<Option<Reply>, Malformed> {
    if len < 0 {
        return Ok(Some(Reply::Array(None)));
    }
    let mut items = Vec::new();
    for _ in 0..len {
        match one(bytes, at)? {
            Some(item) => items.push(item),
            None => return Ok(None),
        }
    }
    Ok(Some(Reply::Array(Some(items))))
}

fn line<'bytes>(bytes: &'bytes [u8], at: &mut usize) -> Option<&'bytes [u8]> {
    let rest = bytes.get(*at..)?;
    let len = rest.windows(2).position(|two| two == b"\r\n")?;
    *at += len + 2;
    Some(&rest[..len])
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    let text = str::from_utf8(text).map_err(|_| malformed(text))?;
    text.parse().map_err(|_| malformed(text.as_bytes()))
}

fn malformed(bytes: &[u8]) -> Malformed {
    Malformed(bytes[..bytes.len().min(80)].escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_whole_or_not_at_all() {
        let bytes = b"*3\r\n$2\r\nab\r\n:-7\r\n*2\r\n$-1\r\n-ERR no\r\n+OK\r\n";
        for len in 0..bytes.len() - 5 {
            assert_eq!(reply(&bytes[..len]), Ok(None), "{len} bytes");
        }
        let inner = Reply::Array(Some(vec![
            Reply::Bulk(None),
            Reply::Error("ERR no".to_owned()),
        ]));
        let whole = Reply::Array(Some(vec![
            Reply::Bulk(Some(b"ab".to_vec())),
            Reply::Integer(-7),
            inner,
        ]));
        assert_eq!(reply(bytes), Ok(Some((whole, bytes.len() - 5))));
    }

    #[test]
    fn what_is_no_reply_is_said() {
        for bytes in [&b"hello\r\n"[..], b"$2\r\nabcd\r\n", b":x\r\n", b"\r\n"] {
            assert!(reply(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }
}
