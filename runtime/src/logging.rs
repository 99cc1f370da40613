//! Log lines on stderr: in one of three formats, filtered by level and module, which can be changed
//! while the program runs, and not more of the same than anybody would read.

mod format;
mod limit;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, reload};

pub use self::format::LogFormat;
use self::limit::Limits;
use crate::panics;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log filter {filter:?} is not understood: {reason}; try info or slotway=debug")]
    Filter { filter: String, reason: String },
    #[error("logging is set up already")]
    Twice,
}

/// Sends log lines to stderr from now on, panics among them. `filter` is a level (`info`) or a list
/// such as `info,slotway=debug`.
///
/// # Errors
/// When the filter is not understood, or at the second call.
pub fn init(filter: &str) -> Result<(), LogError> {
    start(filter, LogFormat::default()).map(drop)
}

/// The same, in a format, and changeable.
///
/// # Errors
/// When the filter is not understood, or at the second call.
pub fn start(filter: &str, format: LogFormat) -> Result<LogControl, LogError> {
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let counts = Arc::new(LogCounts::default());
    let lines = Lines {
        format,
        limits: Mutex::default(),
        counts: Arc::clone(&counts),
        write: |line: &[u8]| {
            // Where nobody reads it there is nobody to be told.
            let _ = std::io::stderr().lock().write_all(line);
        },
    };
    let subscriber = Registry::default().with(layer).with(lines);
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    panics::log_all();
    Ok(LogControl {
        handle,
        filter: Mutex::new(filter.to_owned()),
        counts,
    })
}

/// Hands all events to a layer of the program's own from now on, panics among them.
///
/// # Errors
/// When logging is set up already.
pub fn init_with(layer: impl Layer<Registry> + Send + Sync) -> Result<(), LogError> {
    let subscriber = Registry::default().with(layer);
    subscriber.try_init().map_err(|_| LogError::Twice)?;
    panics::log_all();
    Ok(())
}

/// Changes what is logged.
#[derive(Debug)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
    filter: Mutex<String>,
    counts: Arc<LogCounts>,
}

impl LogControl {
    /// What is logged by now.
    pub fn filter(&self) -> String {
        let filter = self.filter.lock();
        filter.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// # Errors
    /// When the filter is not understood: then the one before stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), LogError> {
        let parsed = parse(filter)?;
        self.handle
            .reload(parsed)
            .map_err(|error| LogError::Filter {
                filter: filter.to_owned(),
                reason: error.to_string(),
            })?;
        let mut shown = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        filter.clone_into(&mut shown);
        Ok(())
    }

    pub fn counts(&self) -> &Arc<LogCounts> {
        &self.counts
    }
}

/// How many lines there were. Any thread writes it.
#[derive(Debug, Default)]
pub struct LogCounts {
    lines: [AtomicU64; LEVELS.len()],
    suppressed: AtomicU64,
}

impl LogCounts {
    /// Of each level, the gravest first.
    pub fn lines(&self) -> [(&'static str, u64); LEVELS.len()] {
        let names = ["error", "warn", "info", "debug", "trace"];
        core::array::from_fn(|index| (names[index], self.lines[index].load(Relaxed)))
    }

    /// Lines that were not written, because there were too many of the kind.
    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Relaxed)
    }
}

/// The target of lines that tell of single requests. How many there may be is for those to say who
/// write them, since all are of one kind.
pub const ACCESS: &str = "access";

const LEVELS: [Level; 5] = [
    Level::ERROR,
    Level::WARN,
    Level::INFO,
    Level::DEBUG,
    Level::TRACE,
];

fn parse(filter: &str) -> Result<EnvFilter, LogError> {
    let parsed = EnvFilter::builder().parse(filter);
    parsed.map_err(|error| LogError::Filter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

/// Writes a line for each event.
struct Lines<W> {
    format: LogFormat,
    limits: Mutex<Limits>,
    counts: Arc<LogCounts>,
    write: W,
}

impl<S: Subscriber, W: Fn(&[u8]) + Send + Sync + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let limits = self.limits.lock();
        let admitted = limits
            .unwrap_or_else(PoisonError::into_inner)
            .admit(metadata, Instant::now());
        let Some(left_out) = admitted else {
            self.counts.suppressed.fetch_add(1, Relaxed);
            return;
        };
        let level = LEVELS.iter().position(|level| level == metadata.level());
        if let Some(count) = level.and_then(|level| self.counts.lines.get(level)) {
            count.fetch_add(1, Relaxed);
        }
        (self.write)(self.format.line(event, left_out).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written meanwhile, and the counts.
    fn written(format: LogFormat, log: impl FnOnce()) -> (String, Arc<LogCounts>) {
        let text = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&text);
        let counts = Arc::new(LogCounts::default());
        let lines = Lines {
            format,
            limits: Mutex::default(),
            counts: Arc::clone(&counts),
            write: move |line: &[u8]| copy.lock().unwrap().extend_from_slice(line),
        };
        tracing::subscriber::with_default(Registry::default().with(lines), log);
        let text = text.lock().unwrap().clone();
        (String::from_utf8(text).unwrap(), counts)
    }

    fn one_line() {
        let error = "no such \"host\"\nnext";
        tracing::warn!(target: "here", port = 6379, %error, empty = "", "can't connect");
    }

    #[test]
    fn a_line_is_a_list_of_pairs() {
        let (line, _) = written(LogFormat::Logfmt, one_line);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("time=2") && time.ends_with('Z'), "{time}");
        assert_eq!(
            rest,
            "level=warn target=here msg=\"can't connect\" port=6379 \
             error=\"no such \\\"host\\\"\\nnext\" empty=\"\"\n"
        );
    }

    #[test]
    fn a_line_can_be_json() {
        let (line, _) = written(LogFormat::Json, one_line);
        let (time, rest) = line.split_once(',').unwrap();
        assert!(
            time.starts_with("{\"time\":\"2") && time.ends_with("Z\""),
            "{time}"
        );
        assert_eq!(
            rest,
            "\"level\":\"warn\",\"target\":\"here\",\"msg\":\"can't connect\",\"port\":6379,\
             \"error\":\"no such \\\"host\\\"\\nnext\",\"empty\":\"\"}\n"
        );
    }

    #[test]
    fn a_line_can_be_for_people() {
        let (line, _) = written(LogFormat::Human, one_line);
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with('2') && time.ends_with('Z'), "{time}");
        assert_eq!(
            rest,
            "WARN  can't connect port=6379 error=\"no such \\\"host\\\"\\nnext\" empty=\"\" \
             (here)\n"
        );
    }

    #[test]
    fn of_many_lines_of_a_kind_some_are_left_out_and_counted() {
        let (text, counts) = written(LogFormat::Logfmt, || {
            for number in 0..1000 {
                tracing::info!(number, "again");
                if number % 100 == 0 {
                    tracing::warn!(number, "another kind");
                }
            }
        });
        let again = text.matches("msg=again").count() as u64;
        assert!((limit::BURST..1000).contains(&again), "{again}");
        assert_eq!(text.matches("another kind").count(), 10);
        assert_eq!(counts.suppressed(), 1000 - again);
        assert_eq!(counts.lines()[1..3], [("warn", 10), ("info", again)]);
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = init("slotway=nonsense").unwrap_err().to_string();
        assert!(error.contains("slotway=nonsense"), "{error}");
    }
}
