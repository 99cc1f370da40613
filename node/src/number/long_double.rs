//! The 80-bit floating point numbers in which redis-server counts INCRBYFLOAT, so that the same
//! sums come out to the last digit. No such type exists in Rust; only what the command needs is
//! here: reading, adding, writing.

/// A number as the x87 `long double` holds it: a sign and 64 bits of mantissa.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct LongDouble {
    negative: bool,
    /// The value is `mantissa * 2^exponent`; the top bit is set unless the value is 0.
    mantissa: u64,
    exponent: i32,
    infinite: bool,
}

impl LongDouble {
    /// The number that `text` is, in C's notation; not a NaN, no spaces, not out of range.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let magnitude = match unsigned.first()? {
            b'0' if unsigned.get(1).is_some_and(|byte| byte | 0x20 == b'x') => {
                Self::from_f64(super::parse_f64(unsigned)?)
            }
            b'0'..=b'9' | b'.' => Self::parse_decimal(unsigned)?,
            _ if unsigned.eq_ignore_ascii_case(b"inf")
                || unsigned.eq_ignore_ascii_case(b"infinity") =>
            {
                Self {
                    infinite: true,
                    ..Self::default()
                }
            }
            _ => return None,
        };
        Some(Self {
            negative,
            ..magnitude
        })
    }

    /// As `%.17Lf` prints it, without zeros at the end of the fraction.
    pub(crate) fn to_text(&self) -> String {
        let mut text = if self.exponent >= 0 {
            let mut whole = Natural::from(u128::from(self.mantissa));
            whole.shift_left(self.exponent.unsigned_abs());
            whole.to_decimal()
        } else {
            self.fraction_text()
        };
        if self.negative && text != "0" {
            text.insert(0, '-');
        }
        text
    }

    fn fraction_text(&self) -> String {
        let scaled = u128::from(self.mantissa) * PLACES_FACTOR;
        let shift = self.exponent.unsigned_abs();
        let rounded = if shift >= u128::BITS {
            0
        } else {
            round_shift(scaled, shift)
        };
        let (whole, fraction) = (rounded / PLACES_FACTOR, rounded % PLACES_FACTOR);
        let text = format!("{whole}.{fraction:017}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    fn from_f64(value: f64) -> Self {
        if value == 0.0 {
            return Self::default();
        }
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, exponent) = if exponent == 0 {
            (fraction, -1074)
        } else {
            (fraction | 1 << 52, exponent - 1075)
        };
        let shift = mantissa.leading_zeros();
        Self {
            negative: value < 0.0,
            mantissa: mantissa << shift,
            exponent: exponent - shift as i32,
            infinite: false,
        }
    }

    fn parse_decimal(text: &[u8]) -> Option<Self> {
        let end = text.iter().position(|byte| byte | 0x20 == b'e');
        let (number, exponent) = match end {
            Some(end) => {
                let exponent = core::str::from_utf8(&text[end + 1..]).ok()?;
                (&text[..end], exponent.parse::<i32>().ok()?)
            }
            None => (text, 0),
        };
        let mut digits = Natural::default();
        let (mut places, mut seen, mut after_point) = (0i32, false, false);
        for byte in number {
            match byte {
                b'0'..=b'9' => {
                    digits.multiply_add(10, u32::from(byte - b'0'));
                    places += i32::from(after_point);
                    seen = true;
                }
                b'.' if !after_point => after_point = true,
                _ => return None,
            }
        }
        if !seen {
            return None;
        }
        if digits.is_zero() {
            return Some(Self::default());
        }
        let power = exponent.checked_sub(places)?;
        if power.abs() > POWER_MAX {
            return None;
        }
        Self::from_ratio(digits, power)
    }

    /// The number nearest to `digits * 10^power`.
    fn from_ratio(mut digits: Natural, power: i32) -> Option<Self> {
        let mut divisor = Natural::from(1);
        for _ in 0..power.unsigned_abs() {
            if power > 0 {
                digits.multiply_add(10, 0);
            } else {
                divisor.multiply_add(10, 0);
            }
        }
        // Scaled so that the quotient has 66 or 67 bits: 64, and some to round by.
        let scale = QUOTIENT_BITS + divisor.bits() as i32 - digits.bits() as i32;
        if scale >= 0 {
            digits.shift_left(scale.unsigned_abs());
        } else {
            divisor.shift_left(scale.unsigned_abs());
        }
        let (quotient, exact) = digits.divide(&divisor);
        // A bit at the end stands for all that was cut off.
        let sticky = quotient << 1 | u128::from(!exact);
        Self::rounded(false, sticky, -scale - 1)
    }

    /// The number nearest to `wide * 2^exponent`; `None` when it is out of range.
    fn rounded(negative: bool, wide: u128, exponent: i32) -> Option<Self> {
        if wide == 0 {
            return Some(Self::default());
        }
        let bits = (u128::BITS - wide.leading_zeros()) as i32;
        let excess = bits - 64;
        let (mut mantissa, mut exponent) = if excess > 0 {
            (round_shift(wide, excess.unsigned_abs()), exponent + excess)
        } else {
            (wide << excess.unsigned_abs(), exponent + excess)
        };
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        if !(EXPONENT_MIN..=EXPONENT_MAX).contains(&exponent) {
            return None;
        }
        Some(Self {
            negative,
            mantissa: mantissa as u64,
            exponent,
            infinite: false,
        })
    }
}

/// The sum, rounded once; `None` when it is infinite or not a number.
pub(crate) fn add(one: &LongDouble, other: &LongDouble) -> Option<LongDouble> {
    if one.infinite || other.infinite {
        return None;
    }
    if one.mantissa == 0 || other.mantissa == 0 {
        let sum = if one.mantissa == 0 { other } else { one };
        return Some(sum.clone());
    }
    let (large, small) = if one.exponent >= other.exponent {
        (one, other)
    } else {
        (other, one)
    };
    let distance = (large.exponent - small.exponent).unsigned_abs();
    let room = distance.min(ALIGN_BITS);
    let large_wide = u128::from(large.mantissa) << room;
    let cut = distance - room;
    let small_wide = if cut >= u64::BITS {
        1
    } else {
        let kept = small.mantissa >> cut;
        u128::from(kept | u64::from(kept << cut != small.mantissa))
    };
    let exponent = large.exponent - room as i32;
    if large.negative == small.negative {
        return LongDouble::rounded(large.negative, large_wide + small_wide, exponent);
    }
    let negative = if large_wide >= small_wide {
        large.negative
    } else {
        small.negative
    };
    LongDouble::rounded(negative, large_wide.abs_diff(small_wide), exponent)
}

/// `wide / 2^bits`, to the nearest, to the even one of two.
fn round_shift(wide: u128, bits: u32) -> u128 {
    if bits == 0 {
        return wide;
    }
    let (quotient, rest) = (wide >> bits, wide & ((1 << bits) - 1));
    let half = 1 << (bits - 1);
    let up = rest > half || (rest == half && quotient & 1 == 1);
    quotient + u128::from(up)
}

/// A natural number of any size, its digits to base 2^32 from the lowest.
#[derive(Debug, Clone, Default)]
struct Natural {
    digits: Vec<u32>,
}

impl From<u128> for Natural {
    fn from(mut value: u128) -> Self {
        let mut digits = Vec::new();
        while value > 0 {
            digits.push(value as u32);
            value >>= 32;
        }
        Self { digits }
    }
}

impl Natural {
    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    fn bits(&self) -> u32 {
        let top = self.digits.last().copied().unwrap_or(0);
        self.digits.len() as u32 * 32 - top.leading_zeros().min(32 * self.digits.len() as u32)
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for digit in &mut self.digits {
            carry += u64::from(*digit) * u64::from(factor);
            *digit = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.digits.push(carry as u32);
        }
    }

    fn shift_left(&mut self, bits: u32) {
        if self.is_zero() {
            return;
        }
        self.multiply_add(1 << (bits % 32), 0);
        let zeros = (bits / 32) as usize;
        self.digits.splice(0..0, std::iter::repeat_n(0, zeros));
    }

    /// The quotient, which must fit, and whether nothing is left.
    fn divide(mut self, divisor: &Self) -> (u128, bool) {
        let mut quotient = 0u128;
        for bit in (0..QUOTIENT_BITS.unsigned_abs() + 2).rev() {
            let mut part = divisor.clone();
            part.shift_left(bit);
            if self.subtract(&part) {
                quotient |= 1 << bit;
            }
        }
        (quotient, self.is_zero())
    }

    /// Subtracts `other` unless it is greater; whether it did.
    fn subtract(&mut self, other: &Self) -> bool {
        let key = |natural: &Self| natural.digits.len();
        let less = key(self)
            .cmp(&key(other))
            .then_with(|| self.digits.iter().rev().cmp(other.digits.iter().rev()))
            .is_lt();
        if less {
            return false;
        }
        let mut borrow = false;
        for (index, digit) in self.digits.iter_mut().enumerate() {
            let subtrahend = other.digits.get(index).copied().unwrap_or(0);
            let (rest, first) = digit.overflowing_sub(subtrahend);
            let (rest, second) = rest.overflowing_sub(u32::from(borrow));
            *digit = rest;
            borrow = first || second;
        }
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        true
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut parts = Vec::new();
        while !rest.is_zero() {
            let mut remainder = 0u64;
            for digit in rest.digits.iter_mut().rev() {
                let value = remainder << 32 | u64::from(*digit);
                *digit = (value / CHUNK) as u32;
                remainder = value % CHUNK;
            }
            parts.push(remainder);
            while rest.digits.last() == Some(&0) {
                rest.digits.pop();
            }
        }
        let mut text = parts.pop().unwrap_or(0).to_string();
        for part in parts.iter().rev() {
            text.push_str(&format!("{part:09}"));
        }
        text
    }
}

/// Ten to the number of places that are printed.
const PLACES_FACTOR: u128 = 100_000_000_000_000_000;

/// Longer texts are no numbers to the server either.
const TEXT_MAX: usize = 5 * 1024;

/// Greater powers of ten are out of range whatever they are multiplied with.
const POWER_MAX: i32 = 10_100;

const QUOTIENT_BITS: i32 = 66;

/// How far a mantissa can be moved up with room for a carry.
const ALIGN_BITS: u32 = 62;

const EXPONENT_MAX: i32 = 16_383 - 63;

const EXPONENT_MIN: i32 = -16_382 - 63;

const CHUNK: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, other: &str) -> Option<String> {
        let parse = |text: &str| LongDouble::parse(text.as_bytes());
        add(&parse(one)?, &parse(other)?).map(|sum| sum.to_text())
    }

    /// Sums that INCRBYFLOAT of redis-server 7.0.15 gave.
    #[test]
    fn adds_as_the_server_does() {
        for (one, other, expected) in [
            ("0", "0", "0"),
            ("10.5", "0.1", "10.6"),
            ("3.0e3", "5.0e3", "8000"),
            ("1", "-1.5", "-0.5"),
            ("1.23", "-1.23", "0"),
            ("0.1", "0.2", "0.3"),
            ("17179869184", "1.5", "17179869185.5"),
            ("18446744073709551617", "0", "18446744073709551616"),
            ("18446744073709551619", "0", "18446744073709551620"),
            ("18446744073709551617.0000001", "0", "18446744073709551618"),
        ] {
            assert_eq!(
                sum(one, other).as_deref(),
                Some(expected),
                "{one} + {other}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in [
            "", "a", "1 ", " 1", "1e", "1e99999", "nan", ".", "1.2.3", "--1",
        ] {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(sum("inf", "1"), None);
    }
}
