//! RESP as the simulation reads it: simple, and on purpose not the code under test.

/// A reply, or a request as an array of bulk strings.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// `$-1` or `*-1`: how RESP2 says that there is nothing.
    Nil,
    /// `_`: how RESP3 says it.
    Null,
    /// An array, set or push.
    Array(Vec<Self>),
    /// Keys and values in turn.
    Map(Vec<Self>),
    /// Any other single line, with its type byte.
    Other(u8, Vec<u8>),
}

impl core::fmt::Debug for Value {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Self::Simple(line) => write!(f, "+{}", text(line)),
            Self::Error(line) => write!(f, "-{}", text(line)),
            Self::Integer(number) => write!(f, ":{number}"),
            Self::Bulk(bytes) => write!(f, "{:?}", text(bytes)),
            Self::Nil => f.write_str("nil"),
            Self::Null => f.write_str("null"),
            Self::Array(items) => f.debug_list().entries(items).finish(),
            Self::Map(items) => f.debug_set().entries(items).finish(),
            Self::Other(kind, line) => write!(f, "{}{}", char::from(*kind), text(line)),
        }
    }
}

/// What came of reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// More bytes are needed.
    Incomplete,
    /// A value, and the bytes it took.
    Whole(Value, usize),
    /// No RESP.
    Broken,
}

/// Reads the value at the front of `input`.
pub fn read(input: &[u8]) -> Read {
    let mut at = 0;
    match read_value(input, &mut at) {
        Ok(value) => Read::Whole(value, at),
        Err(Stop::Short) => Read::Incomplete,
        Err(Stop::Broken) => Read::Broken,
    }
}

/// The length of the whole frame at the front of `input`, if it is all there.
pub fn frame_len(input: &[u8]) -> Option<usize> {
    let (mut at, mut values) = (0, 1);
    while values > 0 {
        let kind = *input.get(at)?;
        at += 1;
        let line = read_line(input, &mut at).ok()?;
        match kind {
            b'$' | b'*' if line == b"-1" => {}
            b'$' | b'=' => drop(read_bytes(input, &mut at, number(line).ok()?).ok()?),
            b'*' | b'~' | b'>' => values += number(line).ok()?,
            b'%' => values += 2 * number(line).ok()?,
            b':' => drop(number(line).ok()?),
            b'+' | b'-' | b'_' | b',' | b'#' | b'(' => {}
            _ => return None,
        }
        values -= 1;
    }
    Some(at)
}

/// The arguments of a request that [`read`] gave.
pub fn arguments(value: Value) -> Option<Vec<Vec<u8>>> {
    let Value::Array(items) = value else {
        return None;
    };
    let bulk = |item| {
        if let Value::Bulk(bytes) = item {
            Some(bytes)
        } else {
            None
        }
    };
    items.into_iter().map(bulk).collect()
}

pub fn write_request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        write_bulk(out, arg.as_ref());
    }
}

pub fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Simple(text) => write_line(out, b'+', text),
        Value::Error(text) => write_line(out, b'-', text),
        Value::Integer(number) => write_line(out, b':', number.to_string().as_bytes()),
        Value::Bulk(bytes) => write_bulk(out, bytes),
        Value::Nil => out.extend_from_slice(b"$-1\r\n"),
        Value::Null => out.extend_from_slice(b"_\r\n"),
        Value::Array(items) => {
            write_line(out, b'*', items.len().to_string().as_bytes());
            items.iter().for_each(|item| write(out, item));
        }
        Value::Map(items) => {
            write_line(out, b'%', (items.len() / 2).to_string().as_bytes());
            items.iter().for_each(|item| write(out, item));
        }
        Value::Other(kind, text) => write_line(out, *kind, text),
    }
}

fn write_line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    write_line(out, b'$', bytes.len().to_string().as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

enum Stop {
    Short,
    Broken,
}

fn read_value(input: &[u8], at: &mut usize) -> Result<Value, Stop> {
    let kind = *input.get(*at).ok_or(Stop::Short)?;
    *at += 1;
    let line = read_line(input, at)?;
    Ok(match kind {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Integer(number(line)?),
        b'_' => Value::Null,
        b'$' | b'=' => match number(line)? {
            -1 => Value::Nil,
            len => Value::Bulk(read_bytes(input, at, len)?.to_vec()),
        },
        b'*' | b'~' | b'>' => match number(line)? {
            -1 => Value::Nil,
            len => Value::Array(read_items(input, at, len)?),
        },
        b'%' => Value::Map(read_items(input, at, number(line)? * 2)?),
        b',' | b'#' | b'(' => Value::Other(kind, line.to_vec()),
        _ => return Err(Stop::Broken),
    })
}

fn read_items(input: &[u8], at: &mut usize, len: i64) -> Result<Vec<Value>, Stop> {
    (0..len).map(|_| read_value(input, at)).collect()
}

fn read_line<'a>(input: &'a [u8], at: &mut usize) -> Result<&'a [u8], Stop> {
    let rest = &input[*at..];
    let end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .and_then(|end| end.checked_sub(1))
        .filter(|end| rest[*end] == b'\r')
        .ok_or(Stop::Short)?;
    *at += end + 2;
    Ok(&rest[..end])
}

fn read_bytes<'a>(input: &'a [u8], at: &mut usize, len: i64) -> Result<&'a [u8], Stop> {
    let len = usize::try_from(len).map_err(|_| Stop::Broken)?;
    let rest = input.get(*at..*at + len + 2).ok_or(Stop::Short)?;
    if &rest[len..] != b"\r\n" {
        return Err(Stop::Broken);
    }
    *at += len + 2;
    Ok(&rest[..len])
}

fn number(line: &[u8]) -> Result<i64, Stop> {
    let text = core::str::from_utf8(line).map_err(|_| Stop::Broken)?;
    text.parse().map_err(|_| Stop::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes_at_any_cut() {
        let value = Value::Array(vec![
            Value::Simple(b"OK".to_vec()),
            Value::Bulk(b"a\r\nb".to_vec()),
            Value::Nil,
            Value::Null,
            Value::Map(vec![Value::Integer(-7), Value::Error(b"ERR no".to_vec())]),
        ]);
        let mut bytes = Vec::new();
        write(&mut bytes, &value);
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), Read::Incomplete, "{cut}");
            assert_eq!(frame_len(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(frame_len(&bytes), Some(bytes.len()));
        assert_eq!(read(&bytes), Read::Whole(value, bytes.len()));
        assert_eq!(read(b"?\r\n"), Read::Broken);
    }
}
