//! Writes replies and requests. Every function appends to `out` and does nothing else.

use std::io::Write;

use super::Protocol;

/// `+text`. The text holds no line ends.
pub fn simple(out: &mut Vec<u8>, text: &[u8]) {
    debug_assert!(memchr::memchr2(b'\r', b'\n', text).is_none());
    out.push(b'+');
    out.extend_from_slice(text);
    out.extend_from_slice(LINE_END);
}

/// `-text`, with line ends replaced by spaces.
pub fn error(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'-');
    let start = out.len();
    out.extend_from_slice(text);
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(LINE_END);
}

/// `:number`
pub fn integer(out: &mut Vec<u8>, number: i64) {
    if number >= 0 {
        return line(out, b':', number.unsigned_abs());
    }
    out.push(b':');
    line(out, b'-', number.unsigned_abs());
}

/// `$len` and the bytes.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    line(out, b'$', bytes.len() as u64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(LINE_END);
}

/// A bulk string that holds the number in decimal.
pub fn bulk_integer(out: &mut Vec<u8>, number: i64) {
    let mut digits = [0; DIGITS_MAX];
    let digits = decimal(number.unsigned_abs(), &mut digits);
    let sign: &[u8] = if number < 0 { b"-" } else { b"" };
    line(out, b'$', (sign.len() + digits.len()) as u64);
    out.extend_from_slice(sign);
    out.extend_from_slice(digits);
    out.extend_from_slice(LINE_END);
}

/// `*len`; the elements follow.
#[inline]
pub fn array(out: &mut Vec<u8>, len: usize) {
    line(out, b'*', len as u64);
}

/// `>len`, in RESP2 `*len`; the elements follow.
pub fn push(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    match protocol {
        Protocol::Resp2 => array(out, len),
        Protocol::Resp3 => line(out, b'>', len as u64),
    }
}

/// `%pairs`, in RESP2 `*(2*pairs)`; keys and values follow.
pub fn map(out: &mut Vec<u8>, protocol: Protocol, pairs: usize) {
    match protocol {
        Protocol::Resp2 => array(out, 2 * pairs),
        Protocol::Resp3 => line(out, b'%', pairs as u64),
    }
}

/// `~len`, in RESP2 `*len`; the elements follow.
pub fn set(out: &mut Vec<u8>, protocol: Protocol, len: usize) {
    match protocol {
        Protocol::Resp2 => array(out, len),
        Protocol::Resp3 => line(out, b'~', len as u64),
    }
}

/// `_`, in RESP2 `$-1`.
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// `_`, in RESP2 `*-1`.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// `,number`, in RESP2 a bulk string, both as redis-server 7.0 writes a double.
pub fn double(out: &mut Vec<u8>, protocol: Protocol, number: f64) {
    let mut text = Text::default();
    write_double(&mut text, number);
    match protocol {
        Protocol::Resp2 => bulk(out, text.as_slice()),
        Protocol::Resp3 => {
            out.push(b',');
            out.extend_from_slice(text.as_slice());
            out.extend_from_slice(LINE_END);
        }
    }
}

/// `#t` or `#f`, in RESP2 `:1` or `:0`.
pub fn boolean(out: &mut Vec<u8>, protocol: Protocol, value: bool) {
    out.extend_from_slice(match (protocol, value) {
        (Protocol::Resp2, true) => b":1\r\n",
        (Protocol::Resp2, false) => b":0\r\n",
        (Protocol::Resp3, true) => b"#t\r\n",
        (Protocol::Resp3, false) => b"#f\r\n",
    });
}

/// `=len` with the three-letter format `txt`, in RESP2 a bulk string.
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, text: &[u8]) {
    if protocol == Protocol::Resp2 {
        return bulk(out, text);
    }
    let format = b"txt:";
    line(out, b'=', (format.len() + text.len()) as u64);
    out.extend_from_slice(format);
    out.extend_from_slice(text);
    out.extend_from_slice(LINE_END);
}

/// A request: an array of bulk strings.
pub fn request<A: AsRef<[u8]>>(out: &mut Vec<u8>, args: &[A]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg.as_ref());
    }
}

/// `kind`, the number and a line end, written at once.
#[inline]
fn line(out: &mut Vec<u8>, kind: u8, number: u64) {
    if number < 10 {
        out.extend_from_slice(&[kind, b'0' + number as u8, b'\r', b'\n']);
        return;
    }
    let mut buffer = [0; DIGITS_MAX + 3];
    let len = buffer.len();
    buffer[len - 2..].copy_from_slice(LINE_END);
    let start = fill_decimal(number, &mut buffer[1..len - 2]);
    buffer[start] = kind;
    out.extend_from_slice(&buffer[start..]);
}

fn decimal(number: u64, buffer: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let start = fill_decimal(number, buffer);
    &buffer[start..]
}

/// Writes the digits at the end of the buffer and returns where they start.
#[inline]
fn fill_decimal(number: u64, buffer: &mut [u8]) -> usize {
    let mut rest = number;
    let mut start = buffer.len();
    loop {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return start;
        }
    }
}

/// Writes `number` as C's `%.17g` does: seventeen digits, which tell every double from its
/// neighbours, without zeros at the end, and an exponent below 1e-4 and from 1e17 on.
fn write_double(text: &mut Text, number: f64) {
    if number.is_sign_negative() {
        text.push(b"-");
    }
    if number.is_nan() {
        return text.push(b"nan");
    }
    if number.is_infinite() {
        return text.push(b"inf");
    }
    let mut scientific = Text::default();
    write!(scientific, "{:.16e}", number.abs()).expect("a double is at most 23 bytes long");
    let (digits, exponent) = digits_and_exponent(scientific.as_slice());
    let significant = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(0) + 1;
    let digits = &digits[..significant];
    match usize::try_from(exponent) {
        Ok(exponent) if exponent < DOUBLE_DIGITS => {
            let whole = digits.len().min(exponent + 1);
            text.push(&digits[..whole]);
            text.push(&ZEROS[..exponent + 1 - whole]);
            text.push_fraction(&digits[whole..]);
        }
        Err(_) if exponent >= -4 => {
            text.push(b"0.");
            text.push(&ZEROS[..(-1 - exponent) as usize]);
            text.push(digits);
        }
        _ => {
            text.push(&digits[..1]);
            text.push_fraction(&digits[1..]);
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(text, "e{sign}{:02}", exponent.unsigned_abs()).expect("it has room");
        }
    }
}

/// Takes `d.dddde-x` apart.
fn digits_and_exponent(scientific: &[u8]) -> ([u8; DOUBLE_DIGITS], i32) {
    let mut digits = [b'0'; DOUBLE_DIGITS];
    digits[0] = scientific[0];
    digits[1..].copy_from_slice(&scientific[2..DOUBLE_DIGITS + 1]);
    let exponent = &scientific[DOUBLE_DIGITS + 2..];
    let exponent = std::str::from_utf8(exponent)
        .ok()
        .and_then(|text| text.parse().ok());
    (
        digits,
        exponent.expect("a formatted double has an exponent"),
    )
}

/// A few bytes on the stack.
#[derive(Default)]
struct Text {
    bytes: [u8; TEXT_LEN_MAX],
    len: usize,
}

impl Text {
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_fraction(&mut self, digits: &[u8]) {
        if !digits.is_empty() {
            self.push(b".");
            self.push(digits);
        }
    }
}

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const LINE_END: &[u8] = b"\r\n";

/// The digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// The significant digits of `%.17g`.
const DOUBLE_DIGITS: usize = 17;

const ZEROS: [u8; DOUBLE_DIGITS] = [b'0'; DOUBLE_DIGITS];

/// `-d.dddddddddddddddde-ddd` has 24 bytes.
const TEXT_LEN_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        out.escape_ascii().to_string()
    }

    #[test]
    fn integers() {
        for number in [
            0,
            1,
            9,
            10,
            99,
            100,
            12_345,
            -1,
            -10,
            i64::MAX,
            i64::MIN,
            999_999_999_999,
        ] {
            let text = number.to_string();
            assert_eq!(
                written(|out| integer(out, number)),
                format!(":{text}\\r\\n")
            );
            assert_eq!(
                written(|out| bulk_integer(out, number)),
                format!("${}\\r\\n{text}\\r\\n", text.len())
            );
        }
        for len in [0, 9, 10, 1_000_000, usize::MAX] {
            assert_eq!(written(|out| array(out, len)), format!("*{len}\\r\\n"));
        }
    }

    /// Taken from redis-server 7.0.15.
    #[test]
    fn doubles_are_written_as_the_server_does() {
        let table: &[(f64, &str)] = &[
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (100.0, "100"),
            (1.5, "1.5"),
            (-1.5, "-1.5"),
            (0.1, "0.10000000000000001"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (0.000_123_456, "0.00012345600000000001"),
            (123_456.789, "123456.789"),
            (1e15, "1000000000000000"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1e22, "1e+22"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (
                f64::from_bits(0x3e60_0000_0000_0000),
                "2.9802322387695312e-08",
            ),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1e300, "1.0000000000000001e+300"),
        ];
        for (number, expected) in table {
            let resp3 = written(|out| double(out, Protocol::Resp3, *number));
            assert_eq!(resp3, format!(",{expected}\\r\\n"));
            let resp2 = written(|out| double(out, Protocol::Resp2, *number));
            assert_eq!(resp2, format!("${}\\r\\n{expected}\\r\\n", expected.len()));
        }
    }

    #[test]
    fn texts_and_nothing() {
        assert_eq!(written(|out| simple(out, b"OK")), "+OK\\r\\n");
        assert_eq!(
            written(|out| error(out, b"ERR a\r\nb\n")),
            "-ERR a  b \\r\\n"
        );
        assert_eq!(written(|out| bulk(out, b"")), "$0\\r\\n\\r\\n");
        assert_eq!(written(|out| bulk(out, b"a\r\n")), "$3\\r\\na\\r\\n\\r\\n");
        let request = written(|out| request(out, &["GET", "k"]));
        assert_eq!(request, "*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n");
    }

    #[test]
    fn both_protocols() {
        type Writer = fn(&mut Vec<u8>, Protocol);
        let table: &[(Writer, &str, &str)] = &[
            (|out, protocol| null(out, protocol), "$-1\\r\\n", "_\\r\\n"),
            (
                |out, protocol| null_array(out, protocol),
                "*-1\\r\\n",
                "_\\r\\n",
            ),
            (
                |out, protocol| map(out, protocol, 6),
                "*12\\r\\n",
                "%6\\r\\n",
            ),
            (
                |out, protocol| set(out, protocol, 6),
                "*6\\r\\n",
                "~6\\r\\n",
            ),
            (
                |out, protocol| push(out, protocol, 3),
                "*3\\r\\n",
                ">3\\r\\n",
            ),
            (
                |out, protocol| boolean(out, protocol, true),
                ":1\\r\\n",
                "#t\\r\\n",
            ),
            (
                |out, protocol| boolean(out, protocol, false),
                ":0\\r\\n",
                "#f\\r\\n",
            ),
            (
                |out, protocol| verbatim(out, protocol, b"text"),
                "$4\\r\\ntext\\r\\n",
                "=8\\r\\ntxt:text\\r\\n",
            ),
        ];
        for (write, resp2, resp3) in table {
            assert_eq!(written(|out| write(out, Protocol::Resp2)), *resp2);
            assert_eq!(written(|out| write(out, Protocol::Resp3)), *resp3);
        }
    }
}
