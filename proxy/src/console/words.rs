//! Numbers, times and spans as an operator reads them.

/// `1,234`, or with one digit behind the point where there are few.
pub(super) fn number(value: f64) -> String {
    if value > 0.0 && value < 9.95 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.split_at(usize::from(digits.starts_with('-')));
    let mut text = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// In few columns: `999`, `12.3k`, `4.5M`.
pub(super) fn short_number(value: f64) -> String {
    match value {
        value if value < 999.5 => number(value),
        value if value < 99_950.0 => format!("{:.1}k", value / 1e3),
        value if value < 999_500.0 => format!("{:.0}k", value / 1e3),
        value if value < 999.5e6 => format!("{:.1}M", value / 1e6),
        value => format!("{:.1}G", value / 1e9),
    }
}

/// Three digits of it: `0.12 ms`, `12.3 ms`, `1.23 s`.
pub(super) fn milliseconds(value: Option<f64>) -> String {
    let Some(value) = value else {
        return NOTHING.to_owned();
    };
    match value {
        value if value < 9.995 => format!("{value:.2} ms"),
        value if value < 99.95 => format!("{value:.1} ms"),
        value if value < 999.5 => format!("{value:.0} ms"),
        value => format!("{:.2} s", value / 1e3),
    }
}

pub(super) fn bytes(value: f64) -> String {
    match value {
        value if value < 999.5 => format!("{value:.0} B"),
        value if value < 999.5e3 => format!("{:.0} kB", value / 1e3),
        value if value < 999.5e6 => format!("{:.0} MB", value / 1e6),
        value => format!("{:.1} GB", value / 1e9),
    }
}

/// How long: `12 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`.
pub(super) fn span(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min {} s", seconds % 60),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

/// The time of the day of a Unix time: `00:41:07`. All of it is UTC, as in the log.
pub(super) fn clock(unix_seconds: f64) -> String {
    let seconds = unix_seconds.max(0.0) as u64 % 86_400;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// At most so many columns of a text that is printable ASCII.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(columns.saturating_sub(1)).collect();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

/// `1 thing`, `2 things`.
pub(super) fn plural(count: usize, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {one}{ending}")
}

/// Where there is nothing to say.
pub(super) const NOTHING: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text, short) in [
            (0.0, "0", "0"),
            (0.26, "0.3", "0.3"),
            (9.0, "9", "9"),
            (99.96, "100", "100"),
            (999.4, "999", "999"),
            (1_234.0, "1,234", "1.2k"),
            (123_456.0, "123,456", "123k"),
            (16_384_000.0, "16,384,000", "16.4M"),
            (2e9, "2,000,000,000", "2.0G"),
            (-1_234.0, "-1,234", "-1,234"),
        ] {
            assert_eq!((&*number(value), &*short_number(value)), (text, short));
        }
    }

    #[test]
    fn times_and_sizes_have_units() {
        for (value, text) in [
            (None, "-"),
            (Some(0.123), "0.12 ms"),
            (Some(9.999), "10.0 ms"),
            (Some(123.4), "123 ms"),
            (Some(1_234.0), "1.23 s"),
        ] {
            assert_eq!(milliseconds(value), text);
        }
        for (value, text) in [
            (5.0, "5 B"),
            (5e3, "5 kB"),
            (45e6, "45 MB"),
            (2.1e9, "2.1 GB"),
        ] {
            assert_eq!(bytes(value), text);
        }
        for (value, text) in [
            (-1.0, "0 s"),
            (59.9, "59 s"),
            (185.0, "3 min 5 s"),
            (7_800.0, "2 h 10 min"),
            (357_000.0, "4 d 3 h"),
        ] {
            assert_eq!(span(value), text);
        }
        assert_eq!(clock(1_790_644_817.2), "01:20:17");
        assert_eq!(
            (cut("abcd", 4), cut("abcde", 4)),
            ("abcd".into(), "abc…".into())
        );
        assert_eq!((cut("ab", 1), cut("ab", 0)), ("…".into(), String::new()));
    }
}
