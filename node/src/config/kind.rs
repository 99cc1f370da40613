//! The kinds of values that directives have: how each is read, shown and written to a file.

use std::borrow::Cow;

use super::words::quoted;
use crate::number;

/// What a field of the settings holds, in the form that its kind reads and shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    /// Of a number without sign, the bits.
    Number(i64),
    Text(String),
    /// The place in the names of a choice.
    Choice(usize),
    Words(Vec<String>),
}

/// How text becomes a value. Texts of errors are those of redis-server.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    /// `yes` is refused with this text.
    NeverYes(&'static str),
    /// Between these, inclusive.
    Number(i64, i64),
    /// Any number, taken to the nearest of these.
    Clamped(i64, i64),
    Octal(i64, i64),
    /// A number of bytes with a unit, between these.
    Memory(i64, i64),
    AnyMemory,
    /// Bytes up to the number, or percent up to 100, which are kept as a number below 0.
    MemoryOrPercent,
    Text(Check),
    /// As text, but an empty one is the same as none at all.
    OptionalText(Check),
    /// A directory: in files it stands always.
    Directory,
    /// The names, and the place in the list of values of each.
    Choice(&'static [(&'static str, usize)]),
    /// One or several of names, each with its bits.
    Flags(&'static [(&'static str, i64)]),
    /// Classes of events, a letter each.
    Events,
    Words(&'static Words),
}

/// Why a text is refused, if it is.
pub(crate) type Check = fn(&str) -> Result<(), ConfigError>;

/// What the words given make of the words that were.
type Change = fn(given: &[&str], old: Vec<String>) -> Result<Vec<String>, ConfigError>;

/// What stands in a file after a directive's name, for each of its lines, and whether the line
/// stands there although it did not before.
pub(crate) type Lines = Vec<(String, bool)>;

/// A kind whose values are several words.
pub(crate) struct Words {
    /// Lines of one file add to each other, but not to what was before.
    pub(crate) accumulates: bool,
    pub(crate) change: Change,
    pub(crate) lines: fn(value: &[String], default: &[String]) -> Lines,
}

/// Why a value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("Bad directive or wrong number of arguments")]
    UnknownDirective,
    #[error("wrong number of arguments")]
    WrongCount,
    #[error("Unbalanced quotes in configuration line")]
    UnbalancedQuotes,
    #[error("argument must be 'yes' or 'no'")]
    NotABool,
    #[error("argument couldn't be parsed into an integer")]
    NotAnInteger,
    #[error("argument couldn't be parsed as an octal number")]
    NotOctal,
    #[error("argument must be a memory value")]
    NotAMemoryValue,
    #[error("argument must be a memory or percent value")]
    NotMemoryOrPercent,
    #[error("argument must be between {0} and {1} inclusive")]
    OutOfRange(i64, i64),
    #[error("argument must be between {0:o} and {1:o} inclusive")]
    OutOfOctalRange(i64, i64),
    #[error("percentage argument must be less or equal to 100")]
    PercentageTooLarge,
    #[error("argument(s) must be one of the following: {0}")]
    NoChoice(String),
    #[error("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")]
    NoEvent,
    #[error("{0}")]
    Other(Cow<'static, str>),
}

impl ConfigError {
    pub(crate) const fn text(text: &'static str) -> Self {
        Self::Other(Cow::Borrowed(text))
    }
}

impl Kind {
    /// Whether several words may be given.
    pub(crate) fn takes_words(&self) -> bool {
        matches!(self, Self::Flags(_) | Self::Words(_))
    }

    /// The value that these words give, where `old` was before.
    pub(crate) fn read(&self, given: &[&str], old: Value) -> Result<Value, ConfigError> {
        match self {
            Self::Words(words) => {
                let Value::Words(old) = old else {
                    unreachable!("a field of words holds words");
                };
                (words.change)(given, old).map(Value::Words)
            }
            Self::Flags(names) => read_flags(names, given).map(Value::Number),
            _ => match given {
                [text] => self.read_one(text),
                _ => Err(ConfigError::WrongCount),
            },
        }
    }

    fn read_one(&self, text: &str) -> Result<Value, ConfigError> {
        Ok(match self {
            Self::Bool => Value::Bool(read_bool(text)?),
            Self::NeverYes(reason) => {
                if read_bool(text)? {
                    return Err(ConfigError::text(reason));
                }
                Value::Bool(false)
            }
            Self::Number(least, most) => {
                let number = number::parse_i64(text.as_bytes()).ok_or(ConfigError::NotAnInteger)?;
                Value::Number(within(number, *least, *most, ConfigError::OutOfRange)?)
            }
            Self::Clamped(least, most) => {
                let number = number::parse_i64(text.as_bytes()).ok_or(ConfigError::NotAnInteger)?;
                let number = within(number, 0, i32::MAX.into(), ConfigError::OutOfRange)?;
                Value::Number(number.clamp(*least, *most))
            }
            Self::Octal(least, most) => {
                let number = i64::from_str_radix(text, 8).map_err(|_| ConfigError::NotOctal)?;
                Value::Number(within(number, *least, *most, ConfigError::OutOfOctalRange)?)
            }
            Self::Memory(least, most) => {
                let bytes = read_memory(text).ok_or(ConfigError::NotAMemoryValue)?;
                Value::Number(within(bytes, *least, *most, ConfigError::OutOfRange)?)
            }
            Self::AnyMemory => {
                Value::Number(read_memory(text).ok_or(ConfigError::NotAMemoryValue)?)
            }
            Self::MemoryOrPercent => Value::Number(read_memory_or_percent(text)?),
            Self::Text(check) | Self::OptionalText(check) => {
                check(text)?;
                Value::Text(text.to_owned())
            }
            Self::Directory => Value::Text(text.to_owned()),
            Self::Choice(names) => {
                let found = names
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(text));
                let (_, place) =
                    found.ok_or_else(|| no_choice(names.iter().map(|(name, _)| *name)))?;
                Value::Choice(*place)
            }
            Self::Events => Value::Number(read_events(text)?),
            Self::Flags(_) | Self::Words(_) => unreachable!("these take several words"),
        })
    }

    /// The value as CONFIG GET shows it.
    pub(crate) fn show(&self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Bool(value)) => if *value { "yes" } else { "no" }.to_owned(),
            (_, Value::Text(value)) => value.clone(),
            (_, Value::Words(words)) => words.join(" "),
            (Self::Choice(names), Value::Choice(place)) => {
                let named = names.iter().find(|(_, other)| other == place);
                named.map_or("unknown", |(name, _)| *name).to_owned()
            }
            (Self::Flags(names), Value::Number(bits)) => show_flags(names, *bits),
            (Self::Events, Value::Number(bits)) => show_events(*bits),
            (Self::Octal(..), Value::Number(number)) => format!("{number:o}"),
            (Self::MemoryOrPercent, Value::Number(number)) if *number < 0 => {
                format!("{}%", -number)
            }
            (Self::Memory(..) | Self::AnyMemory, Value::Number(number)) => {
                (*number as u64).to_string()
            }
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Choice(_)) => unreachable!("only choices hold choices"),
        }
    }

    pub(crate) fn lines(&self, value: &Value, default: &Value) -> Lines {
        let differs = value != default;
        match (self, value) {
            (Self::Words(words), Value::Words(value)) => {
                let Value::Words(default) = default else {
                    unreachable!("a field of words holds words");
                };
                (words.lines)(value, default)
            }
            (Self::OptionalText(_), Value::Text(text)) if text.is_empty() => Vec::new(),
            (Self::Directory, Value::Text(text)) => vec![(quoted(text), true)],
            (_, Value::Text(text)) => vec![(quoted(text), differs)],
            (Self::Events, _) => vec![(quoted(&self.show(value)), differs)],
            (Self::Memory(..) | Self::AnyMemory, Value::Number(bytes)) => {
                vec![(in_units(*bytes), differs)]
            }
            (Self::MemoryOrPercent, Value::Number(bytes)) if *bytes >= 0 => {
                vec![(in_units(*bytes), differs)]
            }
            _ => vec![(self.show(value), differs)],
        }
    }
}

fn within(
    number: i64,
    least: i64,
    most: i64,
    error: fn(i64, i64) -> ConfigError,
) -> Result<i64, ConfigError> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(error(least, most))
    }
}

fn read_bool(text: &str) -> Result<bool, ConfigError> {
    if text.eq_ignore_ascii_case("yes") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("no") {
        Ok(false)
    } else {
        Err(ConfigError::NotABool)
    }
}

/// A number of bytes with an optional unit: `k` is 1000, `kb` is 1024, and so on. What is too large
/// for 64 bits wraps around, as in redis-server.
pub(super) fn read_memory(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    if digits.len() >= MEMORY_DIGITS_MAX {
        return None;
    }
    let digits = digits.bytes().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    Some(digits.unwrap_or(u64::MAX).wrapping_mul(factor) as i64)
}

fn read_memory_or_percent(text: &str) -> Result<i64, ConfigError> {
    let percent = text
        .strip_suffix('%')
        .and_then(|digits| number::parse_i64(digits.as_bytes()))
        .filter(|percent| *percent >= 0);
    match (read_memory(text), percent) {
        (Some(bytes), _) if bytes < -100 => Err(ConfigError::PercentageTooLarge),
        (Some(bytes), _) => Ok(bytes),
        (None, Some(percent)) if percent > 100 => Err(ConfigError::PercentageTooLarge),
        (None, Some(percent)) => Ok(-percent),
        (None, None) => Err(ConfigError::NotMemoryOrPercent),
    }
}

/// In the largest unit that does not round.
pub(super) fn in_units(bytes: i64) -> String {
    for (unit, size) in [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)] {
        if bytes != 0 && bytes % size == 0 {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

fn no_choice(names: impl Iterator<Item = &'static str>) -> ConfigError {
    ConfigError::NoChoice(names.collect::<Vec<_>>().join(", "))
}

fn read_flags(names: &[(&'static str, i64)], given: &[&str]) -> Result<i64, ConfigError> {
    let wrong = || no_choice(names.iter().map(|(name, _)| *name));
    if given.is_empty() {
        return Err(wrong());
    }
    let mut bits = 0;
    for word in given {
        let found = names
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word));
        bits |= found.ok_or_else(wrong)?.1;
    }
    if bits & SAVE_AND_NOSAVE == SAVE_AND_NOSAVE {
        return Err(ConfigError::text(
            "shutdown options SAVE and NOSAVE can't be used simultaneously",
        ));
    }
    Ok(bits)
}

fn show_flags(names: &[(&str, i64)], bits: i64) -> String {
    let exact = names.iter().find(|(_, other)| *other == bits);
    if let Some((name, _)) = exact {
        return (*name).to_owned();
    }
    let set = names.iter().filter(|(_, bit)| bits & bit != 0);
    set.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

fn read_events(text: &str) -> Result<i64, ConfigError> {
    let mut bits = 0;
    for letter in text.chars() {
        if letter == 'A' {
            bits |= ALL_EVENTS;
            continue;
        }
        let place = EVENTS.find(letter).ok_or(ConfigError::NoEvent)?;
        bits |= 1 << place;
    }
    Ok(bits)
}

/// The same letters in an order of their own. What `n` means is not among `A`, but is not shown
/// beside it; redis-server does the same.
fn show_events(bits: i64) -> String {
    let mut text = String::new();
    let all = bits & ALL_EVENTS == ALL_EVENTS;
    if all {
        text.push('A');
    }
    for (place, letter) in EVENTS.char_indices() {
        let is_among_all = place < KINDS_OF_EVENTS;
        if bits & (1 << place) != 0 && !(all && is_among_all) {
            text.push(letter);
        }
    }
    text
}

/// What stands in front of these three are kinds of events; they say how to publish those, and `m`
/// is a miss.
const EVENTS: &str = "g$lshzxetdnKEm";
const KINDS_OF_EVENTS: usize = 11;

/// All kinds but `n`.
const ALL_EVENTS: i64 = (1 << (KINDS_OF_EVENTS - 1)) - 1;

/// `save` and `nosave`, of the flags for signals.
const SAVE_AND_NOSAVE: i64 = 1 | 2;

const MEMORY_DIGITS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, old: &Value, cases: &[(&str, Result<&str, &str>)]) {
        for (text, expected) in cases {
            let words: Vec<&str> = text.split(' ').collect();
            let given = if kind.takes_words() {
                &words[..]
            } else {
                &[*text][..]
            };
            let shown = kind
                .read(given, old.clone())
                .map(|value| kind.show(&value))
                .map_err(|error| error.to_string());
            let shown = shown.as_deref().map_err(String::as_str);
            assert_eq!(shown, *expected, "{text}");
        }
    }

    #[test]
    fn numbers_and_bytes() {
        let old = Value::Number(0);
        check(
            Kind::Number(-1, 9),
            &old,
            &[
                ("-1", Ok("-1")),
                ("9", Ok("9")),
                ("10", Err("argument must be between -1 and 9 inclusive")),
                ("+1", Err("argument couldn't be parsed into an integer")),
                ("", Err("argument couldn't be parsed into an integer")),
            ],
        );
        check(
            Kind::AnyMemory,
            &old,
            &[
                ("1gb", Ok("1073741824")),
                ("1G", Ok("1000000000")),
                ("99999999999999999999", Ok("18446744073709551615")),
                ("-1", Err("argument must be a memory value")),
                ("1tb", Err("argument must be a memory value")),
            ],
        );
        check(
            Kind::MemoryOrPercent,
            &old,
            &[
                ("10%", Ok("10%")),
                ("1kb", Ok("1024")),
                (
                    "101%",
                    Err("percentage argument must be less or equal to 100"),
                ),
                ("x", Err("argument must be a memory or percent value")),
            ],
        );
    }

    #[test]
    fn events_are_put_in_order() {
        check(
            Kind::Events,
            &Value::Number(0),
            &[
                ("KEA", Ok("AKE")),
                ("xg", Ok("gx")),
                ("g$lshzxetd", Ok("A")),
                ("An", Ok("A")),
                ("mn", Ok("nm")),
                ("", Ok("")),
                (
                    "q",
                    Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
                ),
            ],
        );
    }

    #[test]
    fn bytes_in_units() {
        for (bytes, expected) in [(0, "0"), (1023, "1023"), (2048, "2kb"), (3 << 30, "3gb")] {
            assert_eq!(in_units(bytes), expected);
        }
    }
}
