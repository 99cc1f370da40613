//! Numbers as text, read and written as redis-server does.

pub(crate) mod long_double;

/// The integer that `text` is, in the only form in which it would be written: no sign but `-`, no
/// leading zeros, no spaces.
#[inline]
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits are below 10^19, which fits.
        value = value * 10 + u64::from(digit);
    }
    if negative {
        0i64.checked_sub_unsigned(value)
    } else {
        i64::try_from(value).ok()
    }
}

/// The number that `text` is for commands that take a score or a floating point increment: decimal
/// or hexadecimal with an exponent, or an infinity; not a NaN, no spaces.
pub(crate) fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = core::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hexadecimal) = unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"))
    {
        let value = parse_hexadecimal(hexadecimal)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    let value: f64 = text.parse().ok()?;
    if value.is_nan() || (value.is_infinite() && unsigned.starts_with(|c: char| c.is_ascii_digit()))
    {
        return None;
    }
    Some(value)
}

/// `1f.8p3`, without the `0x`.
fn parse_hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0f64;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?;
    Some(value * 2f64.powi(exponent.saturating_sub(places.saturating_mul(4))))
}

/// Room for an integer as text.
#[derive(Debug, Clone)]
pub(crate) struct IntegerText {
    bytes: [u8; 20],
}

impl Default for IntegerText {
    #[inline]
    fn default() -> Self {
        Self { bytes: [0; 20] }
    }
}

impl IntegerText {
    /// Writes a number and returns its text.
    #[inline]
    pub(crate) fn write(&mut self, number: i64) -> &[u8] {
        let mut rest = number.unsigned_abs();
        let mut start = self.bytes.len();
        loop {
            start -= 1;
            self.bytes[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            start -= 1;
            self.bytes[start] = b'-';
        }
        &self.bytes[start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_integers_as_the_server_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", None),
            ("", None),
            ("-", None),
            ("+1", None),
            ("01", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("99999999999999999999", None),
            ("-42", Some(-42)),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn writes_integers() {
        for number in [0, 1, -1, 10, 1234567890, i64::MAX, i64::MIN] {
            let mut text = IntegerText::default();
            assert_eq!(text.write(number), number.to_string().as_bytes());
        }
    }

    #[test]
    fn reads_floating_point_numbers() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("1.5e3", Some(1500.0)),
            ("+3", Some(3.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("+Infinity", Some(f64::INFINITY)),
            ("nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("0x10", Some(16.0)),
            ("-0x1.8p1", Some(-3.0)),
            ("1e400", None),
            (".5", Some(0.5)),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), expected, "{text}");
        }
    }
}
