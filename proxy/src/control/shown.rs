//! What the admin server shows: the metrics from all that counts something, the status page, and
//! the rest of its routes.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

use prometheus::Registry;
use slotway::engine::{Program, Stats};
use slotway::lag::Seen;
use slotway::metrics::{families, node_families};
use slotway_node::server::watch::Watch;
use slotway_runtime::admin::{AdminOptions, serve_admin};
use slotway_runtime::listener::ConnectionsMax;
use slotway_runtime::logging::LogControl;
use slotway_runtime::metrics::{Family, collector};
use slotway_runtime::process::process_collector;
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;

use super::Reloader;
use super::metrics::{ControlMetrics, log_families};
use crate::admin::{Routes, View};
use crate::status::Status;
use crate::trails::{SpanCounts, span_family};

/// Where all of it comes from.
pub(super) struct Shown {
    pub(super) view: Arc<View>,
    pub(super) seen: Arc<Seen>,
    pub(super) metrics: Arc<ControlMetrics>,
    pub(super) workers: Vec<Arc<Stats>>,
    pub(super) spans: Arc<SpanCounts>,
    pub(super) clients_max: ConnectionsMax,
    pub(super) program: Arc<Program>,
    pub(super) log: Rc<LogControl>,
    pub(super) reloader: Rc<Reloader>,
    /// The nodes inside.
    pub(super) nodes: Vec<(String, Watch)>,
}

impl Shown {
    /// Answers until it is told to stop.
    pub(super) fn serve(
        self,
        listener: TcpListener,
        serving: &CancellationToken,
    ) -> prometheus::Result<()> {
        let registry = self.registry()?;
        let status = Status::new(registry.clone(), Arc::clone(&self.view));
        spawn_local(Rc::clone(&status).follow(serving.clone()));
        let routes = Routes {
            view: self.view,
            registry,
            reloader: self.reloader,
            status,
            program: self.program,
            workers: self.workers,
            log: Some(self.log),
            nodes: self.nodes,
        };
        let options = AdminOptions::default();
        spawn_local(serve_admin(listener, routes, options, serving.clone()));
        Ok(())
    }

    fn registry(&self) -> prometheus::Result<Registry> {
        let registry = Registry::new();
        let log_counts = Arc::clone(self.log.counts());
        let stats = self.workers.clone();
        registry.register(collector("workers", move || families(&stats))?)?;
        registry.register(process_collector()?)?;
        self.metrics.register(&registry, &self.view)?;
        registry.register(collector("log", move || log_families(&log_counts))?)?;
        let (stats, counts) = (self.workers.clone(), Arc::clone(&self.spans));
        let spans = move || vec![span_family(&counts, &stats)];
        registry.register(collector("traces", spans)?)?;
        let (stats, view) = (self.workers.clone(), Arc::clone(&self.view));
        let seen = Arc::clone(&self.seen);
        let nodes = move || node_families(view.topology().as_deref(), &view.left(), &stats, &seen);
        registry.register(collector("nodes", nodes)?)?;
        let (max, program) = (self.clients_max.clone(), Arc::clone(&self.program));
        registry.register(collector("limits", move || limits(&max, &program))?)?;
        Ok(registry)
    }
}

fn limits(clients_max: &ConnectionsMax, program: &Program) -> Vec<Family> {
    let help = "How many clients there may be at a time.";
    let mut clients = Family::gauge("slotway_clients_max", help);
    clients.sample(&[], clients_max.value() as f64);
    let help = "The part of all requests to nodes that the busiest slot had, 0 to 1.";
    let mut share = Family::gauge("slotway_hot_slot_share_ratio", help);
    share.sample(&[], program.heat.load().busiest_share());
    vec![clients, share]
}
