//! Where requests go that the workers have followed: to lines of the access log, and to a collector
//! of traces. Both are behind queues of fixed length, so that nobody who writes or listens slowly
//! holds up a worker: what finds no room is left out and counted.

mod access;
mod collector;
mod export;
mod spans;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slotway::engine::{Stats, Trail};
use slotway_protocol::metrics::Counter;
use slotway_runtime::metrics::Family;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};

use crate::config::Config;

/// What one worker gives its notices to.
#[derive(Debug, Clone)]
pub(crate) struct Sinks {
    lines: mpsc::Sender<Arc<Trail>>,
    spans: Option<mpsc::Sender<Ended>>,
}

/// A request, and when its reply was there.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    trail: Arc<Trail>,
    at: SystemTime,
}

/// What became of spans that found room in the queue.
#[derive(Debug, Default)]
pub(crate) struct SpanCounts {
    exported: Counter,
    failed: Counter,
}

/// Those who write lines and export spans.
#[derive(Debug)]
pub(crate) struct Followers {
    lines: JoinHandle<()>,
    exporter: Option<export::Exporter>,
    pub(crate) counts: Arc<SpanCounts>,
}

impl Sinks {
    /// Takes a request; never waits. The counters are those of the worker that calls this.
    pub(crate) fn take(&self, trail: Trail, stats: &Stats) {
        let at = SystemTime::now();
        let trail = Arc::new(trail);
        if trail.is_logged {
            match self.lines.try_send(Arc::clone(&trail)) {
                Ok(()) => stats.access_lines.inc(),
                Err(_) => stats.access_lines_dropped.inc(),
            }
        }
        let spans = trail.spans();
        if trail.is_traced
            && let Some(sender) = &self.spans
            && sender.try_send(Ended { trail, at }).is_err()
        {
            stats.trace_spans_dropped.add(spans);
        }
    }
}

impl Followers {
    /// To be called on the control thread, which writes the lines.
    ///
    /// # Errors
    /// When a thread can't be started.
    pub(crate) fn start(config: &Config) -> io::Result<(Self, Sinks)> {
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let counts: Arc<SpanCounts> = Arc::default();
        let exporter = export::start(config, Arc::clone(&counts))?;
        let (exporter, spans) = exporter.unzip();
        let followers = Self {
            lines: spawn_local(access::write_lines(receiver)),
            exporter,
            counts,
        };
        Ok((followers, Sinks { lines, spans }))
    }

    /// Lets what is queued go out, if that does not take long. The workers have ended.
    pub(crate) async fn finish(self) {
        // What does not go out by then is lost with the process.
        let _ = tokio::time::timeout(FINISH, async {
            let _ = self.lines.await;
            if let Some(exporter) = self.exporter {
                exporter.ended().await;
            }
        })
        .await;
    }
}

/// What became of spans, those included for which there was no room.
pub(crate) fn span_family(counts: &SpanCounts, workers: &[Arc<Stats>]) -> Family {
    let mut family = Family::counter(
        "slotway_trace_spans_total",
        "Spans of traced requests: exported, left out for want of room, or not taken.",
    );
    let dropped = workers.iter().map(|it| it.trace_spans_dropped.value());
    for (result, count) in [
        ("exported", counts.exported.value()),
        ("dropped", dropped.sum()),
        ("failed", counts.failed.value()),
    ] {
        family.sample(&[("result", result)], count as f64);
    }
    family
}

/// Lines that may wait to be written.
const LINES_MAX: usize = 1024;

/// How long the end of the process may take because of them.
const FINISH: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::spans::tests::trail;
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted() {
        let (lines, mut written) = mpsc::channel(1);
        let (spans, mut exported) = mpsc::channel(2);
        let sinks = Sinks {
            lines,
            spans: Some(spans),
        };
        let stats = Stats::new();
        for _ in 0..3 {
            sinks.take(trail(), &stats);
        }
        assert_eq!(stats.access_lines.value(), 1);
        assert_eq!(stats.access_lines_dropped.value(), 2);
        assert_eq!(stats.trace_spans_dropped.value(), trail().spans());
        assert!(written.try_recv().is_ok() && exported.try_recv().is_ok());
        let only_traced = Trail {
            is_logged: false,
            ..trail()
        };
        sinks.take(only_traced, &stats);
        assert!(written.try_recv().is_err());
        assert_eq!(stats.trace_spans_dropped.value(), trail().spans());
    }
}
