//! The log of the program, in the form of redis-server:
//! `PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL message`. Times are those of UTC.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use slotway_runtime::logging::{self, LogError};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::config::LogLevel;

/// Sends log lines from now on to the file of that path, or to the standard output where it is
/// empty. The file is opened for each line, so that it can be moved away.
///
/// # Errors
/// At the second call.
pub fn init(level: LogLevel, path: String) -> Result<(), LogError> {
    set_level(level);
    logging::init_with(Lines { path })
}

/// Chooses what is logged, also before there is a log.
pub fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// Lines say that a primary or a replica wrote them, from now on; before they name neither.
pub fn set_role(is_primary: bool) {
    ROLE.store(if is_primary { b'M' } else { b'S' }, Ordering::Relaxed);
}

/// Writes a line whatever is set up, for those that come too early for a log.
pub fn say(message: &str) {
    let line = line('#', message);
    // Nothing is left to tell whom when this fails.
    let _ = io::stdout().write_all(line.as_bytes());
}

struct Lines {
    path: String,
}

impl Lines {
    fn write(&self, line: &str) -> io::Result<()> {
        if self.path.is_empty() {
            let mut out = io::stdout().lock();
            out.write_all(line.as_bytes())?;
            return out.flush();
        }
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        file.write_all(line.as_bytes())
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.target().starts_with("slotway") {
            // The level may change.
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        rank(*metadata.level()) >= LEVEL.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let mark = MARKS[usize::from(rank(*event.metadata().level()))];
        // A log that can't be written has nobody to be told to.
        let _ = self.write(&line(mark, &format!("{}{}", text.message, text.fields)));
    }
}

/// The place of a level among those of `loglevel`.
fn rank(level: Level) -> u8 {
    let level = match level {
        Level::ERROR | Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Notice,
        Level::DEBUG => LogLevel::Verbose,
        _ => LogLevel::Debug,
    };
    level as u8
}

fn line(mark: char, message: &str) -> String {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |since| since.as_millis() as u64);
    let role = char::from(ROLE.load(Ordering::Relaxed));
    let process = std::process::id();
    // One event is one line, whatever is in it.
    let message = message.replace('\n', " ");
    format!("{process}:{role} {} {mark} {message}\n", date(millis))
}

/// `28 Nov 2026 14:11:28.048`
fn date(millis: u64) -> String {
    let seconds = millis / 1_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March on, so that the day that is there in some comes last.
    let since_march_0000 = days + 719_468;
    let (era, of_era) = (since_march_0000 / 146_097, since_march_0000 % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{day:02} {} {year} {:02}:{:02}:{:02}.{:03}",
        MONTHS[month as usize],
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60,
        millis % 1_000
    )
}

/// An event's message, and its fields as ` key=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string fails only where the value's own formatting does.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

/// In the order of [`LogLevel`].
const MARKS: [char; 4] = ['.', '-', '*', '#'];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Notice as u8);

/// Up to the first [`set_role`] it is that of a child, as in redis-server.
static ROLE: AtomicU8 = AtomicU8::new(b'C');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "01 Jan 1970 00:00:00.000"),
            (951_782_400, "29 Feb 2000 00:00:00.000"),
            (1_709_251_199, "29 Feb 2024 23:59:59.000"),
            (1_795_875_088, "28 Nov 2026 14:11:28.000"),
            (4_107_542_400, "01 Mar 2100 00:00:00.000"),
        ] {
            assert_eq!(date(seconds * 1_000), expected);
        }
    }

    #[test]
    fn a_line_has_the_form_of_the_original() {
        let line = line('*', "Ready\nnow");
        let words: Vec<&str> = line.split(' ').collect();
        let process = std::process::id().to_string();
        assert!(words[0].starts_with(&process), "{line}");
        assert_eq!(words.len(), 8, "{line}");
        assert_eq!(words[5..], ["*", "Ready", "now\n"]);
        assert_eq!(words[4].len(), "14:11:28.048".len());
    }
}
