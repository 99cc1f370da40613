//! The program `slotway-node`: reads redis.conf and the command line, and runs one node.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use slotway_node::server::command_line::{CommandLine, Sources};
use slotway_node::server::settings::Settings;
use slotway_node::server::{lonely_cluster, random_seed, spawn_with_files};
use slotway_node::{NodeConfig, REDIS_VERSION};
use slotway_runtime::allocator::Allocator;
use slotway_runtime::signals::Signals;
use slotway_runtime::{logging, worker};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell whom when this fails too.
            let _ = writeln!(std::io::stderr(), "{error}");
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
        CommandLine::Run(sources) => serve(&sources),
    }
}

fn serve(sources: &Sources) -> Result<(), Box<dyn Error>> {
    logging::init("info")?;
    let settings = Settings::read(sources)?;
    let config = settings.config;
    if !settings.without_effect.is_empty() {
        let names = settings.without_effect.join(", ");
        tracing::warn!("these directives have no effect yet: {names}");
    }
    if config.is_open_by_bind() {
        tracing::warn!(
            "clients at other machines may connect without a password, since 'bind' names other \
             addresses than those by default; redis-server would refuse them in protected mode"
        );
    }
    let seed = random_seed();
    let cluster = config
        .cluster_enabled
        .then(|| lonely_cluster(&config, random_seed()));
    let server = spawn_with_files(NodeConfig {
        config,
        cluster,
        seed,
    })?;
    for address in server.addresses() {
        tracing::info!(%address, "ready to accept connections");
    }
    let stop = server.stop_token();
    worker::local_runtime()?.block_on(async {
        let mut signals = Signals::install()?;
        tokio::select! {
            _ = signals.stop() => stop.cancel(),
            () = stop.cancelled() => {}
        }
        Ok::<_, std::io::Error>(())
    })?;
    server.join();
    tracing::info!("stopped");
    Ok(())
}

const HELP: &str = "\
A Redis Cluster node.

Usage: slotway-node [/path/to/redis.conf] [options] [-]
       slotway-node - (read config from stdin)
       slotway-node -v or --version
       slotway-node -h or --help

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

Examples:
       slotway-node /etc/redis-cluster/redis-7000.conf
       slotway-node --port 7777 --cluster-enabled yes
       echo 'port 7777' | slotway-node - --loglevel verbose
";
