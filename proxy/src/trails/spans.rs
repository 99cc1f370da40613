//! A followed request as spans, by the semantic conventions of OpenTelemetry for databases: one for
//! the proxy's part, and below it one for each node that it was sent to.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use slotway::engine::{Hop, Trail};

use super::Ended;

/// Makes spans, and knows what is the same for all of them.
pub(super) struct Spans {
    scope: InstrumentationScope,
    /// Where clients connect to.
    listen: SocketAddr,
}

impl Spans {
    pub(super) fn new(listen: SocketAddr) -> Self {
        let scope = InstrumentationScope::builder("slotway")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        Self { scope, listen }
    }

    /// Appends the spans of one request.
    pub(super) fn of(&self, ended: &Ended, batch: &mut Vec<SpanData>) {
        let Ended { trail, at } = ended;
        let operation = trail.command.to_ascii_uppercase().replace('|', " ");
        let own = span_id(trail, 0);
        let arrived = before(*at, trail.total_us);
        let mut attributes = common(trail, &operation, trail.error);
        attributes.extend([
            KeyValue::new("client.address", trail.client.ip().to_string()),
            KeyValue::new("client.port", i64::from(trail.client.port())),
            KeyValue::new("server.address", self.listen.ip().to_string()),
            KeyValue::new("server.port", i64::from(self.listen.port())),
            KeyValue::new("slotway.request.bytes", trail.request_bytes as i64),
            KeyValue::new("slotway.reply.bytes", trail.reply_bytes as i64),
            KeyValue::new("slotway.redirects", i64::from(trail.redirects())),
            KeyValue::new("slotway.held_us", trail.held_us() as i64),
        ]);
        batch.push(SpanData {
            name: operation.clone().into(),
            span_kind: SpanKind::Server,
            span_context: context(trail, own),
            parent_span_id: SpanId::INVALID,
            start_time: arrived,
            end_time: *at,
            attributes,
            status: status(trail.error),
            ..self.blank()
        });
        for (index, hop) in trail.hops.iter().enumerate() {
            let sent = arrived + Duration::from_micros(hop.queue_us);
            batch.push(SpanData {
                name: operation.clone().into(),
                span_kind: SpanKind::Client,
                span_context: context(trail, span_id(trail, 1 + index as u64)),
                parent_span_id: own,
                start_time: sent,
                end_time: sent + Duration::from_micros(hop.backend_us),
                attributes: of_node(trail, hop, &operation),
                status: status(hop.error),
                ..self.blank()
            });
        }
    }

    /// A span of nothing.
    fn blank(&self) -> SpanData {
        SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: "".into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

fn of_node(trail: &Trail, hop: &Hop, operation: &str) -> Vec<KeyValue> {
    let mut attributes = common(trail, operation, hop.error);
    attributes.extend([
        KeyValue::new("server.address", hop.node.host.to_string()),
        KeyValue::new("server.port", i64::from(hop.node.port)),
        KeyValue::new("slotway.slot", i64::from(hop.slot.number())),
        KeyValue::new("slotway.redirects", i64::from(hop.redirects)),
    ]);
    attributes
}

fn common(trail: &Trail, operation: &str, error: Option<&'static str>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("db.system.name", "redis"),
        KeyValue::new("db.operation.name", operation.to_owned()),
        KeyValue::new("db.namespace", trail.database.to_string()),
    ];
    if let Some(code) = error {
        attributes.push(KeyValue::new("error.type", code));
        if code != Hop::LOST {
            attributes.push(KeyValue::new("db.response.status_code", code));
        }
    }
    attributes
}

fn status(error: Option<&'static str>) -> Status {
    error.map_or(Status::Unset, |_| Status::error(""))
}

fn context(trail: &Trail, span_id: SpanId) -> SpanContext {
    let trace_id = TraceId::from_bytes(trail.trace_id.to_be_bytes());
    let flags = TraceFlags::SAMPLED;
    SpanContext::new(trace_id, span_id, flags, false, TraceState::default())
}

/// The number of one of the spans of a trace; within it they differ, and none is zero.
fn span_id(trail: &Trail, index: u64) -> SpanId {
    let first = trail.trace_id as u64 & !0xffff;
    SpanId::from_bytes((first + 1 + index).to_be_bytes())
}

fn before(at: SystemTime, micros: u64) -> SystemTime {
    let start = at.checked_sub(Duration::from_micros(micros));
    start.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use opentelemetry::Value;
    use slotway_protocol::cluster::Slot;
    use slotway_protocol::engine::Address;

    use super::*;

    /// A request that was redirected once.
    pub(in crate::trails) fn trail() -> Trail {
        let hop = |port, queue_us, backend_us, error, redirects| Hop {
            node: Address::new("10.0.0.1", port),
            slot: Slot::of(b"secret"),
            part: 0,
            queue_us,
            backend_us,
            redirects,
            held_us: 0,
            request_bytes: 30,
            error,
        };
        Trail {
            trace_id: 7 << 64 | 0x1234_5678,
            is_logged: true,
            is_traced: true,
            client: SocketAddr::from(([127, 0, 0, 1], 5)),
            client_name: b"me".to_vec(),
            user: Arc::from("default"),
            database: 3,
            command: "config|get",
            keys: vec![b"secret".to_vec()],
            error: None,
            total_us: 1_000,
            request_bytes: 30,
            reply_bytes: 5,
            hops: vec![hop(1, 10, 200, Some("MOVED"), 0), hop(2, 300, 600, None, 1)],
        }
    }

    #[test]
    fn the_nodes_parts_lie_within_the_proxys() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let ended = Ended {
            trail: Arc::new(trail()),
            at,
        };
        let mut spans = Vec::new();
        Spans::new(SocketAddr::from(([127, 0, 0, 1], 6379))).of(&ended, &mut spans);
        let [parent, moved, served] = &spans[..] else {
            panic!("{spans:?}");
        };
        let micros =
            |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap().as_micros();
        assert_eq!(micros(parent.start_time, at), 1_000);
        assert_eq!(parent.end_time, at);
        assert_eq!(micros(parent.start_time, moved.start_time), 10);
        assert_eq!(micros(moved.start_time, moved.end_time), 200);
        assert_eq!(micros(parent.start_time, served.start_time), 300);
        assert_eq!(micros(served.start_time, served.end_time), 600);
        let ids: Vec<_> = spans.iter().map(|it| it.span_context.span_id()).collect();
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        for child in [moved, served] {
            assert_eq!(child.parent_span_id, ids[0]);
            assert_eq!(
                child.span_context.trace_id(),
                parent.span_context.trace_id()
            );
            assert_eq!(child.span_kind, SpanKind::Client);
        }
        let value = |span: &SpanData, key: &str| {
            let found = span.attributes.iter().find(|it| it.key.as_str() == key);
            found.map(|it| it.value.clone())
        };
        assert_eq!(
            value(parent, "db.operation.name"),
            Some(Value::from("CONFIG GET"))
        );
        assert_eq!(value(parent, "db.namespace"), Some(Value::from("3")));
        assert_eq!(value(parent, "error.type"), None);
        assert_eq!(value(moved, "error.type"), Some(Value::from("MOVED")));
        assert_eq!(value(served, "server.port"), Some(Value::from(2_i64)));
        assert_eq!(
            (&parent.status, &moved.status),
            (&Status::Unset, &Status::error(""))
        );
        assert!(!format!("{spans:?}").contains("secret"));
    }
}
