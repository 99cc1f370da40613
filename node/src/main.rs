//! The program `slotway-node`: reads redis.conf and the command line, and runs one node.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use slotway_node::server::{lonely_cluster, random_seed, spawn_with_files};
use slotway_node::{Config, NodeConfig};
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
            let _ = writeln!(std::io::stderr(), "slotway-node: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--help" | "-h") => return Ok(std::io::stdout().write_all(HELP.as_bytes())?),
        Some("--version" | "-v") => {
            let version = env!("CARGO_PKG_VERSION");
            return Ok(writeln!(std::io::stdout(), "slotway-node {version}")?);
        }
        _ => {}
    }
    let config = read_config(&arguments)?;
    logging::init("info")?;
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

/// `[FILE] [--directive value...]...`
fn read_config(arguments: &[String]) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::default();
    let mut rest = arguments;
    if let Some((path, after)) = rest.split_first()
        && !path.starts_with("--")
    {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        config
            .apply_file(&text)
            .map_err(|error| format!("{path}, {error}"))?;
        rest = after;
    }
    while let Some((option, after)) = rest.split_first() {
        let name = option
            .strip_prefix("--")
            .ok_or_else(|| format!("'{option}' is no option; options begin with --"))?;
        let next = after.iter().position(|argument| argument.starts_with("--"));
        let (values, after) = after.split_at(next.unwrap_or(after.len()));
        config
            .apply(name, &values.join(" "))
            .map_err(|error| format!("--{name}: {error}"))?;
        rest = after;
    }
    Ok(config)
}

const HELP: &str = "\
A Redis Cluster node.

Usage: slotway-node [redis.conf] [--directive value ...] ...

Options are the directives of redis.conf, such as
  --port 7000              the port to listen on (default 6379)
  --bind 127.0.0.1 -::1    the addresses to listen on; * is all
  --cluster-enabled yes    be part of a cluster (default no)
  --requirepass SECRET     clients have to authenticate
  --maxclients 10000       how many clients may be connected
  --dir DIR                where its file with all keys is (default ./)
  --dbfilename dump.rdb    the name of that file
and
  --version                print the version
  --help                   print this
";
