//! The control thread: starts the workers and the discovery, accepts clients, carries topologies
//! from the discovery to the workers, serves the admin routes, and drains on a signal.

mod facts;
mod files;
mod finding;
mod lagging;
mod metrics;
mod reload;
mod shown;
mod story;
mod workers;

use std::io::{self, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;

use slotway::engine::Memory;
use slotway_protocol::engine::Address;
use slotway_runtime::DriverOptions;
use slotway_runtime::listener::{AcceptOptions, BACKLOG, BindError, Overload, accept_loop, bind};
use slotway_runtime::logging::LogControl;
use slotway_runtime::signals::{Signal, Signals};
use slotway_runtime::worker::local_runtime;
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;

use self::files::Files;
use self::metrics::ControlMetrics;
pub(crate) use self::reload::Reloader;
use self::shown::Shown;
use self::workers::Workers;
use crate::admin::View;
use crate::cli::Flags;
use crate::config::Config;
use crate::embedded::{self, EmbeddedCluster};

/// Why the proxy did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Embedded(#[from] embedded::StartError),
    #[error("can't start {what}: {source}")]
    System {
        what: &'static str,
        source: io::Error,
    },
    #[error("can't register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error(
        "{0}: cluster support disabled; start that server with 'cluster-enabled yes' and make a \
         cluster of it with redis-cli --cluster create, or name another node with --seed"
    )]
    NotACluster(String),
}

/// Runs until a signal says to stop.
pub(crate) fn run(config: &Config, flags: &Flags, log: LogControl) -> Result<(), StartError> {
    let runtime = local_runtime().map_err(system("the control thread"))?;
    runtime.block_on(control(config, flags, Rc::new(log)))
}

async fn control(config: &Config, flags: &Flags, log: Rc<LogControl>) -> Result<(), StartError> {
    // First of all what may already be somebody else's.
    let listener = bind(config.proxy.listen, BACKLOG, "--listen")?;
    let admin = config
        .admin
        .listen
        .map(|address| bind(address, ADMIN_BACKLOG, "--admin"));
    let admin = admin.transpose()?;
    let (embedded, seeds) = cluster(config, flags)?;
    // Up to here, where nodes may have much to load, a signal ends the process.
    let mut signals = Signals::install().map_err(system("the signal handlers"))?;
    let program = facts::program(config, flags.config.as_deref());
    let memory = facts::memory(config);
    let mut workers = Workers::start(config, &program, &memory)?;
    let view = Arc::new(View::default());
    let metrics = Arc::new(ControlMetrics::default());
    let discovering = finding::Discovering {
        seeds: seeds.clone(),
        stale: Arc::clone(&workers.stale),
        view: Arc::clone(&view),
        metrics: Arc::clone(&metrics),
    };
    let found = discovering.start(config, workers.take_lost());
    workers.follow(&found.topologies, &found.commands, &found.databases);
    let accepting = CancellationToken::new();
    let serving = CancellationToken::new();
    let files = Files::new(config);
    let sources = facts::Sources {
        program: Arc::clone(&program),
        stats: workers.stats.clone(),
        accept: Arc::clone(&metrics.accept),
        clients_max: files.clients_max(),
    };
    let clients_max = files.clients_max();
    spawn_local(sources.follow());
    accept(listener, &files, memory, &workers, &metrics, &accepting);
    spawn_local(files.follow(found.topologies.clone()));
    let agreed = Arc::clone(&workers.agreed);
    let reloader = Reloader::new(config, flags, agreed, Arc::clone(&metrics));
    if let Some(admin) = admin {
        let shown = Shown {
            view: Arc::clone(&view),
            seen: lagging::follow(config, found.topologies.clone()),
            metrics,
            workers: workers.stats.clone(),
            spans: workers.span_counts(),
            clients_max,
            program,
            log,
            reloader: Rc::clone(&reloader),
            nodes: embedded
                .as_ref()
                .map_or_else(Vec::new, EmbeddedCluster::watches),
        };
        shown.serve(admin, &serving)?;
    }
    announce(config, &seeds, embedded.as_ref());

    let outcome = tokio::select! {
        () = serve_signals(&mut signals, &reloader) => Ok(()),
        Ok(seeds) = found.no_cluster => Err(StartError::NotACluster(seeds)),
    };
    if outcome.is_ok() {
        view.set_draining();
        accepting.cancel();
        workers
            .drain(&mut signals, config.proxy.drain_timeout)
            .await;
    }
    serving.cancel();
    workers.stop().await;
    outcome
}

/// The nodes inside, if there are to be any, and whom to ask for the topology.
fn cluster(
    config: &Config,
    flags: &Flags,
) -> Result<(Option<EmbeddedCluster>, Vec<Address>), StartError> {
    if !config.cluster.seeds.is_empty() {
        return Ok((None, config.cluster.seeds.clone()));
    }
    let port = flags.node_port.unwrap_or(embedded::FIRST_PORT);
    let embedded = EmbeddedCluster::start(&config.embedded, port)?;
    let seeds = embedded.addresses();
    Ok((Some(embedded), seeds))
}

/// Reads the configuration again on each SIGHUP; returns when it is time to stop.
async fn serve_signals(signals: &mut Signals, reloader: &Reloader) {
    while signals.next().await == Signal::Hangup {
        // What came of it is in the log, and nobody else is there to be told.
        let _ = reloader.reload();
    }
}

/// Clients need a file each, and memory.
fn accept_options(files: &Files, memory: Arc<Memory>) -> AcceptOptions {
    AcceptOptions {
        connections_max: files.clients_max(),
        overload: Overload::new(move || memory.is_short()),
        files_max: files.files_max(),
        ..AcceptOptions::default()
    }
}

fn accept(
    listener: TcpListener,
    files: &Files,
    memory: Arc<Memory>,
    workers: &Workers,
    metrics: &ControlMetrics,
    stop: &CancellationToken,
) {
    let accepting = accept_loop(
        listener,
        workers.handles.clone(),
        accept_options(files, memory),
        Arc::clone(&metrics.accept),
        stop.clone(),
    );
    spawn_local(async {
        if let Err(error) = accepting.await {
            tracing::error!(%error, "no further clients are accepted");
        }
    });
}

/// Tells whoever started this at a terminal where everything is.
fn announce(config: &Config, seeds: &[Address], embedded: Option<&EmbeddedCluster>) {
    let listen = config.proxy.listen;
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!(
        "slotway {} listens on {listen}",
        env!("CARGO_PKG_VERSION")
    )];
    if let Some(embedded) = embedded {
        lines.push(format!("nodes    {}", embedded.describe()));
    } else {
        lines.push(format!("cluster  found through {}", seeds.join(" ")));
    }
    if let Some(admin) = config.admin.listen {
        lines.push(format!("status   http://{admin}/"));
        lines.push(format!("metrics  http://{admin}/metrics"));
        lines.push(format!("health   http://{admin}/ready"));
    }
    lines.push(format!(
        "try      redis-cli -p {} set greeting hello",
        listen.port()
    ));
    lines.push("stop     Ctrl-C".to_owned());
    // Nobody need be there to read it.
    let _ = writeln!(io::stdout().lock(), "{}", lines.join("\n"));
}

fn driver_options(config: &Config) -> DriverOptions {
    DriverOptions {
        connect_timeout: config.cluster.connect_timeout,
        unacknowledged_max: Some(config.cluster.command_timeout),
        ..DriverOptions::default()
    }
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

const ADMIN_BACKLOG: u32 = 128;
