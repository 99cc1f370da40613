//! The 80-bit floating point numbers that increments by a fraction are computed with on x86, so
//! that results have the same digits as the server's there: 64 bits of mantissa, 15 of exponent.

/// A number, or an infinity. There is no NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LongDouble {
    is_negative: bool,
    magnitude: Magnitude,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Magnitude {
    /// `mantissa * 2^exponent`. The mantissa's highest bit is set, but for 0 and numbers so small
    /// that the exponent is [`EXPONENT_MIN`].
    Finite {
        mantissa: u64,
        exponent: i32,
    },
    Infinite,
}

/// The exponent of the lowest bit of the smallest number.
const EXPONENT_MIN: i32 = -16445;
/// The exponent of the lowest bit of the largest number.
const EXPONENT_MAX: i32 = 16383 - 63;

/// The longest text that is read as a number.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;

/// Decimal places that are written at most.
const PLACES: u32 = 17;

impl LongDouble {
    pub(crate) const ZERO: Self = Self {
        is_negative: false,
        magnitude: Magnitude::Finite {
            mantissa: 0,
            exponent: EXPONENT_MIN,
        },
    };

    /// Reads what C's `strtold` reads: decimal or hexadecimal digits with an exponent, or an
    /// infinity. `None` when there is anything else, for a NaN, and when the number is too large
    /// or too small to be told from 0.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let (is_negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let magnitude = if is_word(unsigned, "inf") || is_word(unsigned, "infinity") {
            Magnitude::Infinite
        } else if let [b'0', b'x' | b'X', digits @ ..] = unsigned {
            Digits::parse(digits, 16)?.to_magnitude()?
        } else {
            Digits::parse(unsigned, 10)?.to_magnitude()?
        };
        Some(Self {
            is_negative,
            magnitude,
        })
    }

    pub(crate) fn is_finite(self) -> bool {
        self.magnitude != Magnitude::Infinite
    }

    /// The sum, rounded to the nearest number. Both must be finite.
    pub(crate) fn add(self, other: Self) -> Self {
        let (Some((m1, e1)), Some((m2, e2))) = (self.parts(), other.parts()) else {
            return self;
        };
        if m1 == 0 || m2 == 0 {
            return if m1 == 0 { other } else { self };
        }
        // Compared by their highest bits, so that the larger one is to be shifted up.
        let swap = (e1 - m1.leading_zeros() as i32, m1) < (e2 - m2.leading_zeros() as i32, m2);
        let (large, (m1, e1), (m2, e2)) = if swap {
            (other, normalized(m2, e2), normalized(m1, e1))
        } else {
            (self, normalized(m1, e1), normalized(m2, e2))
        };
        let shift = (e1 - e2) as u32;
        let large_bits = u128::from(m1) << 63;
        let small_bits = u128::from(m2) << 63;
        let shifted = small_bits.checked_shr(shift).unwrap_or(0);
        let is_inexact = shifted.checked_shl(shift).unwrap_or(0) != small_bits;
        let sum = if self.is_negative == other.is_negative {
            large_bits + shifted
        } else {
            large_bits - shifted - u128::from(is_inexact)
        };
        if sum == 0 {
            return Self::ZERO;
        }
        Self {
            is_negative: large.is_negative,
            magnitude: round(sum, e1 - 63, is_inexact),
        }
    }

    /// The number with as many decimal places as it needs, 17 at most, and no exponent.
    pub(crate) fn to_text(self) -> Vec<u8> {
        let sign = if self.is_negative { "-" } else { "" };
        let Some((mantissa, exponent)) = self.parts() else {
            return format!("{sign}inf").into_bytes();
        };
        if exponent >= 0 {
            let mut integer = Natural::from(mantissa);
            integer.shift_left(exponent as u32);
            return format!("{sign}{}", integer.to_decimal()).into_bytes();
        }
        let scaled = u128::from(mantissa) * 10_u128.pow(PLACES);
        let scaled = round_shift(scaled, exponent.unsigned_abs(), false);
        let unit = 10_u128.pow(PLACES);
        let (whole, fraction) = (scaled / unit, scaled % unit);
        let fraction = format!("{fraction:017}");
        let fraction = fraction.trim_end_matches('0');
        match (whole, fraction) {
            (0, "") => b"0".to_vec(),
            (whole, "") => format!("{sign}{whole}").into_bytes(),
            (whole, fraction) => format!("{sign}{whole}.{fraction}").into_bytes(),
        }
    }

    fn parts(self) -> Option<(u64, i32)> {
        match self.magnitude {
            Magnitude::Finite { mantissa, exponent } => Some((mantissa, exponent)),
            Magnitude::Infinite => None,
        }
    }
}

fn is_word(text: &[u8], word: &str) -> bool {
    text.eq_ignore_ascii_case(word.as_bytes())
}

/// The same number with the highest bit of its mantissa set; the mantissa is not 0.
fn normalized(mantissa: u64, exponent: i32) -> (u64, i32) {
    let shift = mantissa.leading_zeros();
    (mantissa << shift, exponent - shift as i32)
}

/// The nearest number to `bits * 2^exponent`, or to a little more when that is inexact; `bits` is
/// not 0, and has 66 bits or more when it is inexact.
fn round(bits: u128, exponent: i32, is_inexact: bool) -> Magnitude {
    let len = 128 - bits.leading_zeros() as i32;
    let mut target = (exponent + len - 64).max(EXPONENT_MIN);
    let mut mantissa = if target >= exponent {
        round_shift(bits, (target - exponent) as u32, is_inexact)
    } else {
        // There are fewer than 64 bits, so all of them stay.
        bits << (exponent - target)
    };
    if mantissa > u128::from(u64::MAX) {
        mantissa >>= 1;
        target += 1;
    }
    if target > EXPONENT_MAX {
        return Magnitude::Infinite;
    }
    Magnitude::Finite {
        mantissa: mantissa as u64,
        exponent: target,
    }
}

/// `bits / 2^shift`, rounded to the nearest integer, to the even one when two are as near.
fn round_shift(bits: u128, shift: u32, is_inexact: bool) -> u128 {
    if shift == 0 {
        return bits;
    }
    if shift > 128 {
        return 0;
    }
    let kept = bits.checked_shr(shift).unwrap_or(0);
    let dropped = bits - kept.checked_shl(shift).unwrap_or(0);
    let half = 1_u128 << (shift - 1);
    let is_up = dropped > half || (dropped == half && (is_inexact || kept % 2 == 1));
    kept + u128::from(is_up)
}

/// A number as it was written: `digits * base^scale`, hexadecimal digits times a power of 2.
struct Digits {
    digits: Natural,
    base: u32,
    scale: i64,
}

impl Digits {
    /// Digits with an optional point and exponent, and nothing else.
    fn parse(text: &[u8], base: u32) -> Option<Self> {
        let is_marker = |byte: &u8| match base {
            16 => byte.eq_ignore_ascii_case(&b'p'),
            _ => byte.eq_ignore_ascii_case(&b'e'),
        };
        let (number, exponent) = match text.iter().position(is_marker) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let point = number.iter().position(|byte| *byte == b'.');
        let places = point.map_or(0, |point| number.len() - point - 1) as i64;
        if number.len() == usize::from(point.is_some()) {
            return None;
        }
        let mut digits = Natural::default();
        for (at, byte) in number.iter().enumerate() {
            if Some(at) != point {
                digits.multiply_add(base, char::from(*byte).to_digit(base)?);
            }
        }
        let places = if base == 16 { places * 4 } else { places };
        Some(Self {
            digits,
            base,
            scale: exponent - places,
        })
    }

    /// The nearest number; `None` when it is too large, or rounds to 0 though it is not.
    fn to_magnitude(mut self) -> Option<Magnitude> {
        if self.digits.is_zero() {
            return Some(LongDouble::ZERO.magnitude);
        }
        // Beyond these a text of the greatest length makes no difference any more.
        let scale = self.scale.clamp(-SCALE_MAX, SCALE_MAX) as i32;
        let mut exponent = scale;
        let mut is_inexact = false;
        if self.base == 10 && scale > 0 {
            self.digits.multiply_power_of_5(scale.unsigned_abs());
        } else if self.base == 10 {
            // Enough bits for the quotient: 5 is a little more than 2^2.
            let bits = scale.unsigned_abs() * 7 / 3 + 130;
            self.digits.shift_left(bits);
            exponent -= bits as i32;
            is_inexact = self.digits.divide_power_of_5(scale.unsigned_abs());
        }
        let (bits, shift, is_cut) = self.digits.highest_bits();
        match round(bits, exponent + shift, is_inexact || is_cut) {
            Magnitude::Infinite | Magnitude::Finite { mantissa: 0, .. } => None,
            magnitude => Some(magnitude),
        }
    }
}

/// Far beyond the range of exponents, also for a text full of digits.
const SCALE_MAX: i64 = 40_000;

fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let exponent = digits.iter().fold(0_i64, |exponent, digit| {
        (exponent * 10 + i64::from(digit - b'0')).min(1 << 40)
    });
    Some(if is_negative { -exponent } else { exponent })
}

/// A natural number of any size, its lowest digit to base 2^32 first.
#[derive(Debug, Clone, Default)]
struct Natural {
    limbs: Vec<u32>,
}

impl From<u64> for Natural {
    fn from(number: u64) -> Self {
        let mut natural = Self {
            limbs: vec![number as u32, (number >> 32) as u32],
        };
        natural.trim();
        natural
    }
}

impl Natural {
    fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn trim(&mut self) {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.limbs {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.limbs.push(carry as u32);
        }
    }

    /// Divides and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0_u64;
        for limb in self.limbs.iter_mut().rev() {
            rest = rest << 32 | u64::from(*limb);
            *limb = (rest / u64::from(divisor)) as u32;
            rest %= u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    fn multiply_power_of_5(&mut self, power: u32) {
        for step in steps_of_5(power) {
            self.multiply_add(step, 0);
        }
    }

    /// Divides; whether there was a remainder.
    fn divide_power_of_5(&mut self, power: u32) -> bool {
        steps_of_5(power).fold(false, |is_inexact, step| {
            (self.divide(step) != 0) | is_inexact
        })
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        let zeros = std::iter::repeat_n(0, bits as usize / 32);
        self.limbs.splice(0..0, zeros);
    }

    /// The highest 128 bits at most, how far they are shifted, and whether lower ones are not 0.
    fn highest_bits(&self) -> (u128, i32, bool) {
        let cut = self.limbs.len().saturating_sub(4);
        let bits = self.limbs[cut..].iter().rev();
        let bits = bits.fold(0_u128, |bits, limb| bits << 32 | u128::from(*limb));
        let is_cut = self.limbs[..cut].iter().any(|limb| *limb != 0);
        (bits, cut as i32 * 32, is_cut)
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.is_zero() {
            groups.push(rest.divide(1_000_000_000));
        }
        let highest = groups.pop().unwrap_or(0).to_string();
        groups
            .iter()
            .rev()
            .fold(highest, |text, group| format!("{text}{group:09}"))
    }
}

/// Factors that fit into a digit and whose product is a power of 5.
fn steps_of_5(power: u32) -> impl Iterator<Item = u32> {
    let whole = std::iter::repeat_n(5_u32.pow(13), power as usize / 13);
    whole.chain([5_u32.pow(power % 13)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        match LongDouble::parse(text.as_bytes()) {
            Some(number) => String::from_utf8(number.to_text()).unwrap(),
            None => "none".to_owned(),
        }
    }

    /// What redis-server 7.0.15 answers when 0 is incremented by these.
    #[test]
    fn reads_and_writes_as_the_server_does() {
        for (number, expected) in [
            ("0", "0"),
            ("-0", "0"),
            ("5.0e3", "5000"),
            (".5", "0.5"),
            ("5.", "5"),
            (".", "none"),
            ("1e", "none"),
            ("", "none"),
            (" 1", "none"),
            ("nan", "none"),
            ("-INF", "-inf"),
            ("0x10", "16"),
            ("-0x.8p1", "-1"),
            ("0.1", "0.1"),
            ("3.0000000000000000001", "3"),
            ("1e-17", "0.00000000000000001"),
            ("4e-18", "0"),
            ("-4e-18", "0"),
            ("1e-4950", "0"),
            ("1e-5000", "none"),
            ("1e5000", "none"),
            ("1e999999999999", "none"),
            ("0e999999999999", "0"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551617", "18446744073709551616"),
            ("18446744073709551619", "18446744073709551620"),
            ("123456789.123456789", "123456789.12345678899873747"),
            ("1e30", "1000000000000000000024696061952"),
        ] {
            assert_eq!(text(number), expected, "{number}");
        }
    }

    #[test]
    fn adds_as_the_server_does() {
        for (a, b, expected) in [
            ("0.1", "0.2", "0.3"),
            ("9223372036854775807", "0.1", "9223372036854775807"),
            ("10.5", "0.1", "10.6"),
            ("1", "-1", "0"),
            ("-3", "1.25", "-1.75"),
            ("1e20", "-1e20", "0"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("1", "-1e-30", "1"),
            ("5e3", "2e2", "5200"),
        ] {
            let sum = |a: &str, b: &str| {
                let (a, b) = (
                    LongDouble::parse(a.as_bytes()),
                    LongDouble::parse(b.as_bytes()),
                );
                String::from_utf8(a.unwrap().add(b.unwrap()).to_text()).unwrap()
            };
            assert_eq!(sum(a, b), expected, "{a} + {b}");
            assert_eq!(sum(b, a), expected, "{b} + {a}");
        }
        let largest = LongDouble::parse(b"1.18973149535723176502e4932").unwrap();
        assert!(!largest.add(largest).is_finite());
    }
}
