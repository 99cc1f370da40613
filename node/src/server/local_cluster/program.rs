//! `slotway-node create-cluster`: a whole cluster on this machine in one command, for as long as
//! that runs.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use slotway_runtime::signals::Signals;
use slotway_runtime::worker::local_runtime;

use super::{LocalCluster, LocalClusterOptions};
use crate::config::{Config, LogLevel};
use crate::server::log;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateCluster {
    /// By default as many as have files in the directory, or else six.
    nodes: Option<usize>,
    /// How many each primary has.
    replicas: usize,
    first_port: u16,
    /// 0 for no metrics.
    first_metrics_port: u16,
    directory: Option<PathBuf>,
}

impl CreateCluster {
    /// `arguments` are those after `create-cluster`.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            nodes: None,
            replicas: 1,
            first_port: 7000,
            first_metrics_port: 0,
            directory: None,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument.as_str(), None),
            };
            if !OPTIONS.contains(&name) {
                return Err(format!("unknown option '{name}'; see slotway-node --help"));
            }
            let value = value.or_else(|| arguments.next().map(String::as_str));
            let value = value.ok_or_else(|| format!("{name} needs a value"))?;
            options.set(name, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = |least: u16, most: u16| {
            let number = value.parse().ok().filter(|it| (least..=most).contains(it));
            number.ok_or_else(|| format!("{name} must be between {least} and {most}, got {value}"))
        };
        match name {
            "--nodes" => self.nodes = Some(usize::from(number(1, NODES_MAX)?)),
            "--replicas" => self.replicas = usize::from(number(0, NODES_MAX)?),
            "--port" => self.first_port = number(1, u16::MAX)?,
            "--metrics-port" => self.first_metrics_port = number(1, u16::MAX)?,
            _ => self.directory = Some(value.into()),
        }
        Ok(())
    }

    fn options(self) -> Result<LocalClusterOptions, String> {
        let found = self.directory.as_deref().map_or(0, LocalCluster::count_in);
        let by_default = if found > 0 { found } else { NODES };
        let (nodes, shard) = (self.nodes.unwrap_or(by_default), 1 + self.replicas);
        if !nodes.is_multiple_of(shard) {
            let replicas = self.replicas;
            return Err(format!(
                "{nodes} nodes are no whole number of primaries with {replicas} replicas each"
            ));
        }
        Ok(LocalClusterOptions {
            primaries: nodes / shard,
            replicas: self.replicas,
            first_port: self.first_port,
            first_metrics_port: self.first_metrics_port,
            directory: self.directory,
            config: Config::default(),
        })
    }

    /// Runs the cluster until a signal comes, or until its nodes have ended by themselves.
    pub fn run(self) -> Result<(), Box<dyn Error>> {
        let options = self.options()?;
        let mut log_file = String::new();
        if let Some(directory) = &options.directory {
            std::fs::create_dir_all(directory)?;
            log_file = directory.join(LOG).display().to_string();
        }
        let level = if log_file.is_empty() {
            LogLevel::Warning
        } else {
            LogLevel::Notice
        };
        log::init(level, log_file)?;
        let cluster = LocalCluster::start(&options)?;
        // Nobody need be there to read it.
        let _ = io::stdout().write_all(describe(&cluster, &options).as_bytes());
        local_runtime()?.block_on(async {
            let mut signals = Signals::install()?;
            let ended = async {
                for node in cluster.nodes() {
                    node.stop_token().cancelled().await;
                }
            };
            tokio::select! {
                _ = signals.stop() => {}
                () = ended => {}
            }
            Ok(())
        })
    }
}

fn describe(cluster: &LocalCluster, options: &LocalClusterOptions) -> String {
    let addresses = cluster.addresses();
    let mut text = format!("{} nodes on this machine are a cluster:\n", addresses.len());
    for address in &addresses {
        text.push_str(&format!("  {address}\n"));
    }
    match &options.directory {
        Some(directory) => text.push_str(&format!(
            "data     in {0}, the log is {0}/{LOG}\n",
            directory.display()
        )),
        None => text.push_str("data     gone with the nodes; --dir DIR keeps it\n"),
    }
    if options.first_metrics_port != 0 {
        let first = options.first_metrics_port;
        let last = usize::from(first) + addresses.len() - 1;
        text.push_str(&format!(
            "metrics  http://127.0.0.1:{first}/metrics to port {last}, a port for each node\n"
        ));
    }
    let port = options.first_port;
    text.push_str(&format!(
        "try      redis-cli -c -p {port} set greeting hello\n\
         stop     Ctrl-C\n"
    ));
    text
}

const OPTIONS: [&str; 5] = ["--nodes", "--replicas", "--port", "--metrics-port", "--dir"];

/// As many as `redis-cli --cluster create` needs for replicas.
const NODES: usize = 6;

const NODES_MAX: u16 = 100;

const LOG: &str = "cluster.log";

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<LocalClusterOptions, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        CreateCluster::parse(&arguments)?.options()
    }

    #[test]
    fn options_win_over_defaults() {
        for (line, primaries, replicas, ports, directory) in [
            ("", 3, 1, (7000, 0), None),
            ("--nodes 9 --replicas=2", 3, 2, (7000, 0), None),
            (
                "--replicas 0 --port 8000 --metrics-port 9400 --dir d",
                6,
                0,
                (8000, 9400),
                Some("d"),
            ),
        ] {
            let options = options(line).unwrap();
            assert_eq!((options.primaries, options.replicas), (primaries, replicas));
            assert_eq!((options.first_port, options.first_metrics_port), ports);
            assert_eq!(options.directory, directory.map(PathBuf::from));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (line, expected) in [
            ("--port", "--port needs a value"),
            ("--port 0", "--port must be between 1 and 65535, got 0"),
            ("--nodes x", "--nodes must be between 1 and 100, got x"),
            ("more", "unknown option 'more'; see slotway-node --help"),
            (
                "--nodes 7",
                "7 nodes are no whole number of primaries with 1 replicas each",
            ),
        ] {
            assert_eq!(options(line).unwrap_err(), expected, "{line}");
        }
    }
}
