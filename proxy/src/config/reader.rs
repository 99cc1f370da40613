//! Walks a TOML document key by key and collects every mistake with its line. It knows no key of
//! its own: a key is known because somebody asked for it.

use core::fmt;
use core::net::SocketAddr;
use core::ops::{Range, RangeInclusive};
use core::time::Duration;
use std::borrow::Cow;

use slotway_protocol::engine::Address;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::{nearest, suggestion};

/// Every mistake of one file, in the order of its lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistakes {
    file: String,
    /// Line, counted from 1, and what is wrong there.
    mistakes: Vec<(usize, String)>,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (line, mistake)) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{line}: {mistake}", self.file)?;
        }
        Ok(())
    }
}

/// A document whose sections are taken out one after the other.
pub(super) struct Document<'t> {
    text: &'t str,
    sections: DeTable<'t>,
    taken: Vec<Taken>,
    /// Byte offset and what is wrong there.
    mistakes: Vec<(usize, String)>,
}

/// What is left of a section after reading: the keys that were asked for, and those nobody
/// asked for.
struct Taken {
    name: &'static str,
    known: Vec<&'static str>,
    unknown: Vec<(usize, String)>,
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mistakes = errors
            .into_iter()
            .map(|error| {
                let offset = error.span().map_or(0, |span| span.start);
                (offset, error.message().trim_end().replace('\n', ", "))
            })
            .collect();
        Self {
            text,
            sections: table.into_inner(),
            taken: Vec::new(),
            mistakes,
        }
    }

    /// Reads one section; a section that is not there is an empty one.
    pub(super) fn section<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'t>) -> T,
    ) -> T {
        let mut section = Section {
            entries: DeTable::new(),
            known: Vec::new(),
            mistakes: Vec::new(),
        };
        if let Some(value) = self.sections.remove(name) {
            let offset = value.span().start;
            match value.into_inner() {
                DeValue::Table(entries) => section.entries = entries,
                other => {
                    let found = describe(&other);
                    let mistake = format!("'{name}' must be a section, [{name}], got {found}");
                    self.mistakes.push((offset, mistake));
                }
            }
        }
        let value = read(&mut section);
        self.mistakes.append(&mut section.mistakes);
        let unknown = section.entries.iter();
        self.taken.push(Taken {
            name,
            known: section.known,
            unknown: unknown.map(|(key, _)| key_place(key)).collect(),
        });
        value
    }

    /// Ends reading: whatever nobody asked for is a mistake too.
    pub(super) fn finish(mut self, file: &str) -> Result<(), Mistakes> {
        for (key, value) in &self.sections {
            let (offset, name) = key_place(key);
            let is_section = matches!(value.get_ref(), DeValue::Table(_));
            let mistake = self.unknown_at_top(&name, is_section);
            self.mistakes.push((offset, mistake));
        }
        for section in &self.taken {
            for (offset, key) in &section.unknown {
                let mistake = self.unknown_in(section, key);
                self.mistakes.push((*offset, mistake));
            }
        }
        if self.mistakes.is_empty() {
            return Ok(());
        }
        self.mistakes.sort();
        let line_of = |offset: usize| {
            let before = self.text.get(..offset).unwrap_or(self.text);
            1 + memchr::memchr_iter(b'\n', before.as_bytes()).count()
        };
        Err(Mistakes {
            file: file.to_owned(),
            mistakes: (self.mistakes.into_iter())
                .map(|(offset, mistake)| (line_of(offset), mistake))
                .collect(),
        })
    }

    fn unknown_at_top(&self, name: &str, is_section: bool) -> String {
        if let Some(home) = self.home_of(name) {
            return format!("'{name}' stands outside of its section; it belongs in [{home}]");
        }
        let sections = self.taken.iter().map(|section| section.name);
        if is_section {
            match nearest(name, sections) {
                Some(near) => format!("unknown section [{name}]; did you mean [{near}]?"),
                None => format!("unknown section [{name}]"),
            }
        } else {
            let known = (self.taken.iter()).flat_map(|section| section.known.iter().copied());
            let suggestion = suggestion(name, known);
            format!("unknown key '{name}' outside of any section{suggestion}")
        }
    }

    fn unknown_in(&self, section: &Taken, key: &str) -> String {
        let unknown = format!("unknown key '{key}' in [{}]", section.name);
        if let Some(home) = self.home_of(key) {
            return format!("{unknown}; it belongs in [{home}]");
        }
        let suggestion = suggestion(key, section.known.iter().copied());
        format!("{unknown}{suggestion}")
    }

    /// The section that has a key of that name.
    fn home_of(&self, key: &str) -> Option<&'static str> {
        let home = self
            .taken
            .iter()
            .find(|section| section.known.contains(&key))?;
        Some(home.name)
    }

    /// Every key that was asked for, as `section.key`.
    #[cfg(test)]
    pub(super) fn known(&self) -> Vec<String> {
        let keys = self.taken.iter().flat_map(|section| {
            let name = section.name;
            section.known.iter().map(move |key| format!("{name}.{key}"))
        });
        keys.collect()
    }
}

/// One section; every method takes one key out of it. A key that is absent or wrong yields the
/// default, and a wrong one a mistake besides.
pub(super) struct Section<'t> {
    entries: DeTable<'t>,
    known: Vec<&'static str>,
    mistakes: Vec<(usize, String)>,
}

impl<'t> Section<'t> {
    pub(super) fn count(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> usize {
        self.read(key, default, |value| integer(value, &range))
    }

    pub(super) fn count_u8(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u8>,
        default: u8,
    ) -> u8 {
        let wide = usize::from(*range.start())..=usize::from(*range.end());
        let count = self.count(key, wide, usize::from(default));
        u8::try_from(count).unwrap_or(default)
    }

    pub(super) fn millis(
        &mut self,
        key: &'static str,
        range: RangeInclusive<usize>,
        default: Duration,
    ) -> Duration {
        self.read(key, default, |value| {
            let millis = integer(value, &range)?;
            Ok(Duration::from_millis(millis as u64))
        })
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(key, None, |value| {
            string(value).map(|text| Some(text.into_owned()))
        })
    }

    /// Where to listen: an IP address and a port.
    pub(super) fn listen(&mut self, key: &'static str, default: SocketAddr) -> SocketAddr {
        self.read(key, default, |value| parse_listen(&string(value)?))
    }

    /// Where to listen, or nowhere when the text is empty.
    pub(super) fn listen_or_off(
        &mut self,
        key: &'static str,
        default: Option<SocketAddr>,
    ) -> Option<SocketAddr> {
        self.read(key, default, |value| match string(value)?.as_ref() {
            "" => Ok(None),
            text => parse_listen(text).map(Some),
        })
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, default, |value| match value {
            DeValue::Boolean(flag) => Ok(flag),
            other => Err(format!("must be true or false, got {}", describe(&other))),
        })
    }

    /// One of some words, each for a value.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
        default: T,
    ) -> T {
        self.read(key, default, |value| {
            let text = string(value)?;
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                format!("must be one of {}, got \"{text}\"", words.join(", "))
            })
        })
    }

    /// A list of tables, each with keys of its own.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        most: usize,
        read: impl Fn(&mut Self) -> T,
    ) -> Vec<T> {
        let Some((offset, value)) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value else {
            let problem = format!("must be a list of tables, got {}", describe(&value));
            self.mistake(offset, key, &problem);
            return Vec::new();
        };
        if items.len() > most {
            self.mistake(offset, key, &format!("has more than {most} entries"));
        }
        let mut values = Vec::new();
        for item in items {
            let offset = item.span().start;
            match item.into_inner() {
                DeValue::Table(entries) => values.push(self.table(key, entries, offset, &read)),
                other => {
                    let problem = format!("must be a table, got {}", describe(&other));
                    self.mistake(offset, key, &problem);
                }
            }
        }
        values
    }

    fn table<T>(
        &mut self,
        key: &str,
        entries: DeTable<'t>,
        offset: usize,
        read: impl Fn(&mut Self) -> T,
    ) -> T {
        let mut inner = Self {
            entries,
            known: Vec::new(),
            mistakes: Vec::new(),
        };
        let value = read(&mut inner);
        for (unknown, _) in &inner.entries {
            let (offset, name) = key_place(unknown);
            let suggestion = suggestion(&name, inner.known.iter().copied());
            let mistake = format!("unknown key '{name}' in '{key}'{suggestion}");
            self.mistakes.push((offset, mistake));
        }
        // What is not there has no place of its own.
        let mistakes = inner.mistakes.into_iter();
        self.mistakes
            .extend(mistakes.map(|(at, mistake)| (at.max(offset), mistake)));
        value
    }

    /// One `host:port`.
    pub(super) fn address(&mut self, key: &'static str) -> Option<Address> {
        self.read(key, None, |value| parse_address(&string(value)?).map(Some))
    }

    /// A list of `host:port`.
    pub(super) fn addresses(&mut self, key: &'static str) -> Vec<Address> {
        self.list(key, "\"host:port\"", |value| parse_address(&string(value)?))
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.list(key, "texts", |value| string(value).map(Cow::into_owned))
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        of: &str,
        convert: impl Fn(DeValue<'t>) -> Result<T, String>,
    ) -> Vec<T> {
        let Some((offset, value)) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value else {
            let problem = format!("must be a list of {of}, got {}", describe(&value));
            self.mistake(offset, key, &problem);
            return Vec::new();
        };
        let mut values = Vec::new();
        for item in items {
            let offset = item.span().start;
            match convert(item.into_inner()) {
                Ok(value) => values.push(value),
                Err(problem) => self.mistake(offset, key, &problem),
            }
        }
        values
    }

    /// A table of texts, `{ "from" = "to" }`, in the order of its keys.
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(usize, String, String)> {
        let Some((offset, value)) = self.take(key) else {
            return Vec::new();
        };
        let DeValue::Table(entries) = value else {
            let found = describe(&value);
            let problem = format!("must be a table such as {{ \"from\" = \"to\" }}, got {found}");
            self.mistake(offset, key, &problem);
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for (from, to) in entries {
            let (offset, from) = (from.span().start, from.into_inner().into_owned());
            match string(to.into_inner()) {
                Ok(to) => pairs.push((offset, from, to.into_owned())),
                Err(problem) => self.mistake(offset, key, &problem),
            }
        }
        pairs
    }

    /// Takes the key and turns its value into what the config wants, by the caller's rule.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        convert: impl FnOnce(DeValue<'t>) -> Result<T, String>,
    ) -> T {
        let Some((offset, value)) = self.take(key) else {
            return default;
        };
        convert(value).unwrap_or_else(|problem| {
            self.mistake(offset, key, &problem);
            default
        })
    }

    /// Says that a value which could be read cannot be meant.
    pub(super) fn refuse(&mut self, place: Option<usize>, key: &'static str, problem: &str) {
        self.mistake(place.unwrap_or(0), key, problem);
    }

    /// Where the key's value stands; ask before reading it.
    pub(super) fn place(&self, key: &str) -> Option<usize> {
        Some(self.entries.get(key)?.span().start)
    }

    fn take(&mut self, key: &'static str) -> Option<(usize, DeValue<'t>)> {
        self.known.push(key);
        let value = self.entries.remove(key)?;
        // The parser puts a value of no length where it could not read one; it said so itself.
        let Range { start, end } = value.span();
        (start < end).then(|| (start, value.into_inner()))
    }

    fn mistake(&mut self, offset: usize, key: &str, problem: &str) {
        self.mistakes.push((offset, format!("'{key}' {problem}")));
    }
}

/// Reads `127.0.0.1:6379` or `[::1]:6379`.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("must be an IP address and a port such as 127.0.0.1:6379, got \"{text}\"")
    })
}

/// Reads `host:port`, `127.0.0.1:7000` or `[::1]:7000`.
pub(crate) fn parse_address(text: &str) -> Result<Address, String> {
    let problem = || format!("must be host:port such as 10.0.0.1:7000, got \"{text}\"");
    let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
    let port: u16 = port.parse().map_err(|_| problem())?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let valid = match bracketed {
        Some(inner) => inner.parse::<core::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && !host.contains(|c: char| c == ':' || c == '/' || c.is_whitespace())
        }
    };
    if !valid || port == 0 {
        return Err(problem());
    }
    Ok(Address::new(bracketed.unwrap_or(host), port))
}

fn integer(value: DeValue<'_>, range: &RangeInclusive<usize>) -> Result<usize, String> {
    let DeValue::Integer(number) = &value else {
        return Err(format!("must be an integer, got {}", describe(&value)));
    };
    usize::from_str_radix(number.as_str(), number.radix())
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| out_of_range(range, &number.to_string()))
}

/// What is wrong with a number outside of its range.
pub(crate) fn out_of_range(range: &RangeInclusive<usize>, found: &str) -> String {
    format!(
        "must be between {} and {}, got {found}",
        range.start(),
        range.end()
    )
}

pub(super) fn string<'t>(value: DeValue<'t>) -> Result<Cow<'t, str>, String> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(format!(
            "must be a string in quotes, got {}",
            describe(&other)
        )),
    }
}

/// The kind of a value, never its text: it may be a password.
fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn key_place(key: &Spanned<Cow<'_, str>>) -> (usize, String) {
    let Range { start, .. } = key.span();
    (start, key.get_ref().to_string())
}
