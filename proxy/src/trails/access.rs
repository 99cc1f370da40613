//! The access log: a line of the log for each request that was chosen for it.

use std::sync::Arc;
use std::time::Duration;

use slotway::engine::Trail;
use tokio::sync::mpsc;

/// Writes lines until no worker is left that could want one.
pub(super) async fn write_lines(mut trails: mpsc::Receiver<Arc<Trail>>) {
    let mut some = Vec::new();
    while trails.recv_many(&mut some, AT_ONCE).await > 0 {
        for trail in some.drain(..) {
            write(&trail);
        }
        // The next come together: a worker need not wake this thread for each.
        tokio::time::sleep(PAUSE).await;
    }
}

/// What clients can choose is escaped: there is nothing but printable ASCII in a line.
fn write(trail: &Trail) {
    let client = trail.client.to_string();
    let name = (!trail.client_name.is_empty()).then(|| escaped(&trail.client_name));
    let keys = trail.keys.iter().map(|key| escaped(key));
    let keys = (!trail.keys.is_empty()).then(|| keys.collect::<Vec<_>>().join(" "));
    let slot = trail.slot().map(|slot| u64::from(slot.number()));
    let node = trail.node().map(ToString::to_string);
    let trace = trail.is_traced.then(|| format!("{:032x}", trail.trace_id));
    tracing::info!(
        target: slotway_runtime::logging::ACCESS,
        client = client.as_str(),
        name = name.as_deref(),
        user = &*trail.user,
        db = u64::from(trail.database),
        command = trail.command,
        keys = keys.as_deref(),
        slot,
        node = node.as_deref(),
        outcome = trail.error.unwrap_or("ok"),
        request_bytes = trail.request_bytes,
        reply_bytes = trail.reply_bytes,
        total_us = trail.total_us,
        backend_us = trail.backend_us(),
        redirects = u64::from(trail.redirects()),
        held_us = trail.held_us(),
        trace = trace.as_deref(),
        "request"
    );
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

const AT_ONCE: usize = 64;

const PAUSE: Duration = Duration::from_millis(5);
