//! The HTTP port of a node for those who watch it: metrics, health, readiness. It has a thread of
//! its own, so that it answers when the node does not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread::JoinHandle;

use slotway_runtime::admin::{
    AdminOptions, AdminResponse, AdminRoute, AdminRoutes, LaterResponse, serve_admin,
};
use slotway_runtime::listener::bind;
use slotway_runtime::metrics::{Family, TEXT_FORMAT, encode_families};
use slotway_runtime::process::{process_families, resident_peak_bytes};
use slotway_runtime::worker::local_runtime;
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::watch::{Watch, families};
use crate::config::Config;

/// Listens as the settings say; on nothing if they name no port.
pub(super) fn listen(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    if config.metrics_port == 0 {
        return Ok(Vec::new());
    }
    let listeners = config.metrics_bind.iter().filter_map(|text| {
        let (optional, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text.as_str()),
        };
        let ip: IpAddr = match text {
            "*" => Ipv4Addr::UNSPECIFIED.into(),
            "::*" => Ipv6Addr::UNSPECIFIED.into(),
            text => match text.parse() {
                Ok(ip) => ip,
                Err(_) => return Some(Err(StartError::Address(text.to_owned()))),
            },
        };
        let address = SocketAddr::new(ip, config.metrics_port);
        match bind(address, BACKLOG, "--metrics-port or --metrics-bind") {
            Err(_) if optional => None,
            outcome => Some(outcome.map_err(StartError::Metrics)),
        }
    });
    let listeners: Vec<TcpListener> = listeners.collect::<Result<_, _>>()?;
    if listeners.is_empty() {
        return Err(StartError::NoMetricsAddress);
    }
    Ok(listeners)
}

/// Serves on a thread of its own until told to stop.
pub(super) fn start(
    listeners: Vec<TcpListener>,
    watch: Watch,
    stop: CancellationToken,
) -> io::Result<JoinHandle<()>> {
    let thread = std::thread::Builder::new().name("node-metrics".to_owned());
    thread.spawn(move || {
        let served =
            local_runtime().and_then(|runtime| runtime.block_on(serve(listeners, watch, stop)));
        if let Err(error) = served {
            tracing::error!(%error, "metrics are not shown");
        }
    })
}

async fn serve(
    listeners: Vec<TcpListener>,
    watch: Watch,
    stop: CancellationToken,
) -> io::Result<()> {
    let serve = |listener| {
        let watch = watch.clone();
        let options = AdminOptions::default();
        serve_admin(listener, Routes { watch }, options, stop.clone())
    };
    let serving: Vec<_> = listeners
        .into_iter()
        .map(|listener| tokio::task::spawn_local(serve(listener)))
        .collect();
    for served in serving {
        served.await??;
    }
    Ok(())
}

/// What there is to ask.
struct Routes {
    watch: Watch,
}

impl AdminRoutes for Routes {
    fn routes(&self) -> &[AdminRoute] {
        &ROUTES
    }

    fn handle(&self, _method: &str, path: &str, _query: &str) -> AdminResponse {
        AdminResponse::text(404, format!("there is no {path}\n"))
    }

    fn later(&self, path: &str) -> Option<LaterResponse> {
        let watch = self.watch.clone();
        match path {
            "/metrics" => Some(Box::pin(async move {
                let mut all = families(&[(None, watch.ask().await)]);
                all.extend(peak());
                all.extend(process_families());
                metrics_response(all)
            })),
            "/health" => Some(Box::pin(async move {
                if watch.ask().await.is_responding {
                    AdminResponse::text(200, "the node answers\n")
                } else {
                    AdminResponse::text(503, "the node does not answer\n")
                }
            })),
            "/ready" => Some(Box::pin(async move {
                match watch.ask().await.readiness() {
                    Ok(()) => AdminResponse::text(200, "ready\n"),
                    Err(why) => AdminResponse::text(503, format!("not ready: {why}\n")),
                }
            })),
            _ => None,
        }
    }
}

/// The answer with these metrics.
pub fn metrics_response(families: Vec<Family>) -> AdminResponse {
    match encode_families(families) {
        Ok(text) => AdminResponse {
            status: 200,
            content_type: TEXT_FORMAT,
            body: text.into(),
        },
        Err(error) => AdminResponse::text(500, format!("{error}\n")),
    }
}

/// What no `process_*` metric tells.
fn peak() -> Option<Family> {
    let bytes = resident_peak_bytes().ok()?;
    let help = "The most memory that the process ever had, as process_resident_memory_bytes.";
    let mut family = Family::gauge("slotway_node_process_memory_peak_bytes", help);
    family.sample(&[], bytes as f64);
    Some(family)
}

const ROUTES: [AdminRoute; 3] = [
    AdminRoute {
        method: "GET",
        path: "/metrics",
        about: "metrics for Prometheus",
    },
    AdminRoute {
        method: "GET",
        path: "/health",
        about: "200 while the node answers",
    },
    AdminRoute {
        method: "GET",
        path: "/ready",
        about: "200 when it serves clients, else 503 and why",
    },
];

const BACKLOG: u32 = 128;
