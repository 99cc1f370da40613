//! Exports traces: a thread of its own takes requests from the queue, makes batches of spans and
//! gives them to the collector, one batch at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::collector::Collector;
use super::spans::Spans;
use super::{Ended, SpanCounts};
use crate::config::{Config, TracesConfig};

/// The thread that exports.
#[derive(Debug)]
pub(super) struct Exporter {
    ended: oneshot::Receiver<()>,
}

impl Exporter {
    pub(super) async fn ended(self) {
        // It is also over when nobody is left to say so.
        let _ = self.ended.await;
    }
}

/// Starts the thread, if there is anywhere to export to.
pub(super) fn start(
    config: &Config,
    counts: Arc<SpanCounts>,
) -> io::Result<Option<(Exporter, mpsc::Sender<Ended>)>> {
    let traces = &config.traces;
    let Some(endpoint) = &traces.endpoint else {
        return Ok(None);
    };
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(&endpoint.authority, traces.timeout))
        .with_endpoint(&endpoint.url)
        .with_timeout(traces.timeout)
        .build()
        .map_err(io::Error::other)?;
    exporter.set_resource(&resource(config));
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (sender, queue) = mpsc::channel(traces.queue_max);
    let (done, ended) = oneshot::channel();
    let batches = Batches {
        queue,
        exporter,
        counts,
        spans: Spans::new(config.proxy.listen),
        spans_max: traces.batch_spans_max,
        interval: traces.interval,
        is_failing: false,
    };
    let run = move || {
        runtime.block_on(batches.export_all());
        drop(done);
    };
    std::thread::Builder::new()
        .name("traces".to_owned())
        .spawn(run)?;
    Ok(Some((Exporter { ended }, sender)))
}

/// What is said of this process with every batch.
fn resource(config: &Config) -> Resource {
    let TracesConfig {
        service_name,
        attributes,
        ..
    } = &config.traces;
    let own = [
        KeyValue::new("service.name", service_name.clone()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let more = attributes.iter();
    let more = more.map(|(name, value)| KeyValue::new(name.clone(), value.clone()));
    Resource::builder_empty()
        .with_attributes(own)
        .with_attributes(more)
        .build()
}

struct Batches {
    queue: mpsc::Receiver<Ended>,
    exporter: SpanExporter,
    counts: Arc<SpanCounts>,
    spans: Spans,
    spans_max: usize,
    interval: Duration,
    /// The last batch was not taken.
    is_failing: bool,
}

impl Batches {
    /// Until no worker is left and the queue is empty.
    async fn export_all(mut self) {
        while let Some(batch) = self.next().await {
            self.export(batch).await;
        }
    }

    /// Waits for a batch: a full one, or what there is when the first of it has waited long enough.
    async fn next(&mut self) -> Option<Vec<SpanData>> {
        let mut some = vec![self.queue.recv().await?];
        let deadline = Instant::now() + self.interval;
        let mut batch = Vec::new();
        loop {
            for ended in some.drain(..) {
                self.spans.of(&ended, &mut batch);
            }
            // Each request makes one span at least.
            let room = self.spans_max.saturating_sub(batch.len());
            if room == 0 || Instant::now() >= deadline {
                return Some(batch);
            }
            if self.queue.is_empty() {
                if self.queue.is_closed() {
                    return Some(batch);
                }
                // Not to be woken for each: a worker would pay for that.
                tokio::time::sleep(LOOK.min(self.interval)).await;
            }
            while some.len() < room
                && let Ok(ended) = self.queue.try_recv()
            {
                some.push(ended);
            }
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        match self.exporter.export(batch).await {
            Ok(()) => {
                self.counts.exported.add(spans);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("traces are exported again");
                }
            }
            Err(error) => {
                self.counts.failed.add(spans);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(%error, "traces can't be exported");
                }
            }
        }
    }
}

/// How often the queue is looked at while a batch is not full.
const LOOK: Duration = Duration::from_millis(20);
