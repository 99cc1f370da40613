//! An event of the log as a line of text.

use std::fmt::{self, Write};

use tracing::Event;
use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One object a line.
    Json,
    /// The message first.
    Human,
}

impl LogFormat {
    /// Their names in a configuration.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("logfmt", Self::Logfmt),
        ("json", Self::Json),
        ("human", Self::Human),
    ];

    pub fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, format)| *format == self);
        found.map_or("", |(name, _)| name)
    }

    /// The line, with how many like it were left out since the last one.
    pub(super) fn line(self, event: &Event<'_>, left_out: u64) -> String {
        let mut fields = Fields {
            is_json: self == Self::Json,
            message: String::new(),
            rest: String::new(),
        };
        event.record(&mut fields);
        if left_out > 0 {
            fields.push("left_out", &left_out.to_string(), true);
        }
        let Fields { message, rest, .. } = fields;
        let metadata = event.metadata();
        let (level, target) = (metadata.level().as_str(), metadata.target());
        let time = now();
        match self {
            Self::Logfmt => {
                let level = level.to_ascii_lowercase();
                let message = quoted(&message);
                format!("time={time} level={level} target={target} msg={message}{rest}\n")
            }
            Self::Json => {
                let level = level.to_ascii_lowercase();
                let (target, message) = (json(target), json(&message));
                format!(
                    "{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":{target},\
                     \"msg\":{message}{rest}}}\n"
                )
            }
            Self::Human => {
                // Only the message may have spaces, but no more than one line.
                let message = message.replace(char::is_control, " ");
                format!("{time} {level:<5} {message}{rest} ({target})\n")
            }
        }
    }
}

fn now() -> String {
    let mut time = String::new();
    // Writing to a string can't fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

/// An event's message, and its other fields as they stand behind it.
struct Fields {
    is_json: bool,
    message: String,
    rest: String,
}

impl Fields {
    fn push(&mut self, name: &str, value: &str, is_plain: bool) {
        if name == "message" {
            value.clone_into(&mut self.message);
        } else if self.is_json {
            let value = if is_plain {
                value.to_owned()
            } else {
                json(value)
            };
            let _ = write!(self.rest, ",{}:{value}", json(name));
        } else {
            let _ = write!(self.rest, " {name}={}", quoted(value));
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only where the value's own formatting does.
        let _ = write!(text, "{value:?}");
        self.push(field.name(), &text, false);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field.name(), value, false);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), &value.to_string(), true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), &value.to_string(), true);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), &value.to_string(), true);
    }
}

/// In quotes if it has to be.
fn quoted(value: &str) -> String {
    let must_quote = value.is_empty()
        || value.contains(|c: char| c.is_whitespace() || c.is_control() || "=\"\\".contains(c));
    if must_quote {
        format!("{value:?}")
    } else {
        value.to_owned()
    }
}

/// As a string of JSON.
fn json(value: &str) -> String {
    let mut text = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}
