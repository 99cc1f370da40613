//! Log lines on stderr, one `key=value` list each, filtered by level and module.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;

use crate::panics;

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log filter {filter:?} is not understood: {reason}; try info or slotway=debug")]
    Filter { filter: String, reason: String },
    #[error("logging is set up already")]
    Twice,
}

/// Sends log lines to stderr from now on, panics among them.
///
/// `filter` is a level (`info`) or a list such as
/// `info,slotway=debug`.
///
/// # Errors
/// When the filter is not understood, or at the second call.
pub fn init(filter: &str) -> Result<(), LogError> {
    let env_filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|error| LogError::Filter {
            filter: filter.to_owned(),
            reason: error.to_string(),
        })?;
    tracing_subscriber::fmt()
        .with_env_filter(env_filter)
        .with_writer(std::io::stderr)
        .event_format(Line)
        .try_init()
        .map_err(|_| LogError::Twice)?;
    panics::log_all();
    Ok(())
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

/// `2026-01-01T00:00:00.000000Z info slotway::listen the message key=value`.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        writer.write_str("time=")?;
        SystemTime.format_time(&mut writer)?;
        let level = metadata.level().as_str().to_ascii_lowercase();
        write!(writer, " level={level} target={}", metadata.target())?;
        let mut fields = Fields {
            text: String::new(),
        };
        event.record(&mut fields);
        writeln!(writer, "{}", fields.text)
    }
}

/// An event's fields as `key=value`, the message first as `msg`.
struct Fields {
    text: String,
}

impl Fields {
    fn push(&mut self, field: &Field, value: &str) {
        let name = field.name();
        let is_message = name == "message";
        let name = if is_message { "msg" } else { name };
        let must_quote = value.is_empty()
            || value.contains(|c: char| c.is_whitespace() || c.is_control() || "=\"\\".contains(c));
        let pair = if must_quote {
            format!(" {name}={value:?}")
        } else {
            format!(" {name}={value}")
        };
        if is_message {
            self.text.insert_str(0, &pair);
        } else {
            self.text.push_str(&pair);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string fails only where the value's own formatting does.
        let _ = write!(text, "{value:?}");
        self.push(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_a_list_of_pairs() {
        let sink = Sink::default();
        let copy = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || copy.clone())
            .event_format(Line)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let error = "no such \"host\"\nnext";
            tracing::warn!(target: "here", port = 6379, %error, empty = "", "can't connect");
        });
        let line = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("time=2") && time.ends_with('Z'), "{time}");
        assert_eq!(
            rest,
            "level=warn target=here msg=\"can't connect\" port=6379 \
             error=\"no such \\\"host\\\"\\nnext\" empty=\"\"\n"
        );
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = init("slotway=nonsense").unwrap_err().to_string();
        assert!(error.contains("slotway=nonsense"), "{error}");
    }
}
