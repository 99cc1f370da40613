//! The `slotway` program: what the command line asks for, done. See `control` for the proxy.

mod admin;
mod cli;
mod config;
mod console;
mod control;
mod embedded;
mod status;
mod trails;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use slotway_runtime::allocator::Allocator;
use slotway_runtime::logging;

use crate::cli::{Command, Flags};
use crate::config::{Config, Mistakes};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("slotway: {error}\nslotway --help lists the options");
            return ExitCode::from(USAGE);
        }
    };
    match execute(command) {
        Ok(status) => status,
        // Each mistake begins with its place, as compilers write it, so that editors find it.
        Err(Error::Config(mistakes)) => {
            eprintln!("{mistakes}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("slotway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Help => say(cli::HELP)?,
        Command::Version => say(&format!("slotway {}\n", env!("CARGO_PKG_VERSION")))?,
        Command::ShowHelp => say(console::HELP)?,
        Command::Show(options) => return Ok(console::show(&options)),
        Command::Check(file) => {
            let config = load(&file)?;
            logging::init(&config.log.filter)?;
            say(&format!("{}: ok\n", file.display()))?;
        }
        Command::Run(flags) => run(&flags)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run(flags: &Flags) -> Result<(), Error> {
    let mut config = match &flags.config {
        Some(file) => load(file)?,
        None => Config::default(),
    };
    flags.apply(&mut config);
    if let Some(file) = &flags.config
        && config.cluster.seeds.is_empty()
        && !flags.embedded
    {
        // Nodes that forget everything are no substitute for the cluster that was meant.
        return Err(Error::NoSeeds(file.display().to_string()));
    }
    let filter = &config.log.filter;
    let says_nothing_of_nodes =
        config.cluster.seeds.is_empty() && *filter == Config::default().log.filter;
    let filter = if says_nothing_of_nodes {
        // What six nodes have to say of becoming a cluster would drown all else.
        format!("{filter},slotway_node=warn")
    } else {
        filter.clone()
    };
    let log = logging::start(&filter, config.log.format)?;
    Ok(control::run(&config, flags, log)?)
}

/// Reads a configuration file.
fn load(file: &Path) -> Result<Config, Error> {
    let name = file.display().to_string();
    match fs::read_to_string(file) {
        Ok(text) => Ok(Config::parse(&name, &text)?),
        Err(source) => Err(Error::Unreadable { name, source }),
    }
}

/// Writes to the standard output.
fn say(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Error::Output)
}

/// Why the program ends with status 1.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(#[from] Mistakes),
    #[error("can't read {name}: {source}")]
    Unreadable { name: String, source: io::Error },
    #[error(
        "{0}: no seeds in [cluster]; add the address of a node, or pass --embedded to start six \
         nodes in this process"
    )]
    NoSeeds(String),
    #[error("{0}")]
    Log(#[from] logging::LogError),
    #[error("can't write to the standard output: {0}")]
    Output(io::Error),
    #[error(transparent)]
    Start(#[from] control::StartError),
}

/// The exit status for wrong arguments.
const USAGE: u8 = 2;
