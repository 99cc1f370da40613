//! The program `slotway-node`: reads redis.conf and the command line, and runs one node.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use slotway_node::config::FileError;
use slotway_node::server::command_line::{CommandLine, Sources};
use slotway_node::server::process::{self, PidFile};
use slotway_node::server::settings::Settings;
use slotway_node::server::{
    CreateCluster, StartError, log, lonely_cluster, random_seed, spawn_program,
};
use slotway_node::{Config, Event, NodeConfig, REDIS_VERSION};
use slotway_runtime::allocator::Allocator;
use slotway_runtime::signals::{Signal, Signals};
use slotway_runtime::worker;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = error.to_string();
            if !text.is_empty() {
                // Nothing is left to tell whom when this fails too.
                let _ = writeln!(std::io::stderr(), "{text}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match CommandLine::parse(&arguments) {
        CommandLine::Help => Ok(std::io::stdout().write_all(HELP.as_bytes())?),
        CommandLine::Version => Ok(writeln!(
            std::io::stdout(),
            "Redis server v={REDIS_VERSION} sha=00000000:0 malloc=jemalloc bits=64 \
             build=slotway-node-{}",
            env!("CARGO_PKG_VERSION")
        )?),
        CommandLine::CreateCluster(arguments) => CreateCluster::parse(&arguments)?.run(),
        CommandLine::Run(sources) => serve(&sources),
    }
}

fn serve(sources: &Sources) -> Result<(), Box<dyn Error>> {
    let mut settings = match Settings::read(sources) {
        Ok(settings) => settings,
        Err(error @ FileError::Open { .. }) => {
            log::say(&error.to_string());
            return Err(String::new().into());
        }
        Err(error) => return Err(error.into()),
    };
    if process::goes_to_background(&settings.config) {
        return Ok(process::start_in_background(&settings.input)?);
    }
    let config = &mut settings.config;
    if config.daemonize && config.pidfile.is_empty() {
        config.pidfile = process::DEFAULT_PIDFILE.to_owned();
    }
    log::init(config.loglevel, config.logfile.clone())?;
    greet(&settings);
    let Settings { config, file, .. } = settings;
    if config.cluster_enabled && config.cluster_port == 0 && config.port > BUS_PORT_MAX {
        tracing::warn!(
            "Redis port number too high. Cluster communication port is 10,000 port numbers higher \
             than your Redis port. Your Redis port number must be 55535 or less."
        );
        return Err(String::new().into());
    }
    run_node(config, file).map_err(|error| {
        tracing::warn!("{error}");
        String::new().into()
    })
}

/// What redis-server says at the start, and what there is to say about the settings.
fn greet(settings: &Settings) {
    tracing::warn!("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo");
    tracing::warn!(
        "Redis version={REDIS_VERSION}, bits=64, commit=00000000, modified=0, pid={}, just started \
         (slotway-node {})",
        std::process::id(),
        env!("CARGO_PKG_VERSION")
    );
    tracing::warn!("Configuration loaded");
    if !settings.without_effect.is_empty() {
        let names = settings.without_effect.join(", ");
        tracing::warn!("These directives are kept, but have no effect yet: {names}");
    }
    if settings.config.is_open_by_bind() {
        tracing::warn!(
            "Clients at other machines may connect without a password, since 'bind' names other \
             addresses than those by default; redis-server would refuse them in protected mode"
        );
    }
}

fn run_node(config: Config, file: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    log::set_role(true);
    let mode = if config.cluster_enabled {
        "cluster"
    } else {
        "standalone"
    };
    tracing::info!("Running mode={mode}, port={}.", config.port);
    let pid_file = PidFile::write(&config);
    let (seed, port) = (random_seed(), config.port);
    let cluster = config
        .cluster_enabled
        .then(|| lonely_cluster(&config, random_seed()));
    let node = NodeConfig {
        config: config.clone(),
        cluster,
        seed,
    };
    let server = spawn_program(node, file).inspect_err(|error| {
        if matches!(error, StartError::Bind(_)) {
            tracing::warn!("Failed listening on port {port} (TCP), aborting.");
        }
    })?;
    process::check_backlog(&config);
    tracing::warn!("Server initialized");
    tracing::info!("Ready to accept connections");
    process::tell_ready(&config);
    let stop = server.stop_token();
    worker::local_runtime()?.block_on(async {
        let mut signals = Signals::install()?;
        tokio::select! {
            signal = signals.stop() => {
                let (name, event) = match signal {
                    Signal::Interrupt => ("SIGINT", Event::Interrupt),
                    _ => ("SIGTERM", Event::Terminate),
                };
                tracing::warn!("Received {name} scheduling shutdown...");
                server.send(event);
            }
            () = stop.cancelled() => {}
        }
        tokio::select! {
            _ = signals.stop() => stop.cancel(),
            () = stop.cancelled() => {}
        }
        Ok::<_, std::io::Error>(())
    })?;
    server.join();
    drop(pid_file);
    tracing::warn!("Redis is now ready to exit, bye bye...");
    Ok(())
}

/// The highest port of a node whose bus is 10,000 above it.
const BUS_PORT_MAX: u16 = 55_535;

const HELP: &str = "\
A Redis Cluster node.

Usage: slotway-node [/path/to/redis.conf] [options] [-]
       slotway-node - (read config from stdin)
       slotway-node create-cluster [--nodes 6] [--replicas 1] [--port 7000] [--dir DIR]
                                   [--metrics-port 9400]
       slotway-node -v or --version
       slotway-node -h or --help

create-cluster runs a whole cluster on this machine until Ctrl-C: three primaries with a replica
each at 127.0.0.1, ports 7000 to 7005. With --dir it is there again the next time, with its keys.
With --metrics-port each node shows its metrics, the first one at that port.

Options are the directives of redis.conf, and count more than the file:
  --port 7000                      the port to listen on (default 6379)
  --bind 127.0.0.1 -::1            the addresses to listen on; * is all (default * -::*)
  --cluster-enabled yes            be a node of a cluster (default no)
  --cluster-config-file FILE       what the node knows of its cluster (default nodes.conf)
  --cluster-node-timeout MS        how long a cluster node may be silent (default 15000)
  --cluster-port PORT              the port of the cluster bus (default: 10000 above the port)
  --cluster-announce-ip IP         how the other nodes of the cluster reach this one
  --cluster-require-full-coverage  whether a cluster with a slot too few serves none (default yes)
  --cluster-allow-reads-when-down  whether reads go on while the cluster is down (default no)
  --cluster-replica-no-failover    whether this replica never takes over (default no)
  --cluster-crash-failover         whether it takes over at once from a process that has ended
                                   (default yes)
  --requirepass SECRET             clients have to authenticate
  --dir DIR                        where the files are (default ./)
  --appendonly yes                 write each change to a file
  --metrics-port PORT              show metrics to Prometheus at that port (default 0, nowhere)
  --metrics-bind 127.0.0.1         the addresses for it (default 127.0.0.1)

Examples:
       slotway-node /etc/redis-cluster/redis-7000.conf
       slotway-node --port 7777 --cluster-enabled yes
       echo 'port 7777' | slotway-node - --loglevel verbose
";
