//! `slotway status` and `slotway top`: how a running proxy is, as its admin port tells, for a
//! terminal and for scripts.

mod arguments;
mod fetch;
mod json;
mod model;
mod nodes;
mod report;
mod slots;
mod top;
mod trail;
mod words;

use std::io::{self, ErrorKind, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slotway_protocol::engine::Address;
use tokio::runtime::{Builder, Runtime};

use crate::config::Config;
pub(crate) use arguments::{HELP, Options, What, parse};
use fetch::{FetchError, fetch};
use model::{Picture, Printable};
use report::Paint;

/// Shows what is asked for. The exit status says how it is, as [`HELP`] documents.
pub(crate) fn show(options: &Options) -> ExitCode {
    let shown = address(options).and_then(|address| match options.what {
        What::Status { json } => status(&address, json),
        What::Top { interval } => {
            top::run(&address, interval, has_colours())?;
            Ok(ExitCode::SUCCESS)
        }
    });
    shown.unwrap_or_else(|error| {
        match error {
            // Each mistake begins with its place, as everywhere.
            ConsoleError::Config(crate::Error::Config(mistakes)) => eprintln!("{mistakes}"),
            error => eprintln!("slotway: {error}"),
        }
        ExitCode::from(UNKNOWN)
    })
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum ConsoleError {
    #[error("{0}")]
    Config(crate::Error),
    #[error("{0}: there is no admin port, listen under [admin] is empty")]
    NoAdmin(String),
    #[error(
        "slotway top needs a terminal to draw on; slotway status prints the same once, and \
         slotway status --json is for scripts"
    )]
    NoTerminal,
    #[error("the terminal can't be used: {0}")]
    Terminal(#[source] io::Error),
    #[error("can't write to the standard output: {0}")]
    Output(#[source] io::Error),
    #[error("can't begin: {0}")]
    Runtime(#[source] io::Error),
    #[error("can't put it as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

fn address(options: &Options) -> Result<Address, ConsoleError> {
    if let Some(address) = &options.admin {
        return Ok(address.clone());
    }
    let (name, config) = match &options.config {
        Some(file) => {
            let config = crate::load(file).map_err(ConsoleError::Config)?;
            (file.display().to_string(), config)
        }
        None => (String::new(), Config::default()),
    };
    let listen = config.admin.listen.ok_or(ConsoleError::NoAdmin(name))?;
    Ok(reachable(listen))
}

/// Where a listener on all interfaces can be reached from here.
fn reachable(listen: SocketAddr) -> Address {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    Address::new(ip.to_string(), listen.port())
}

fn status(address: &Address, json: bool) -> Result<ExitCode, ConsoleError> {
    let name = address.to_string();
    let picture = runtime()?.block_on(fetch_soon(address));
    let (text, status) = match &picture {
        Ok(picture) if json => (json::told(&name, picture)?, exit_status(picture)),
        Ok(picture) => {
            let paint = Paint(has_colours());
            let text = report::text(&name, picture, width(), paint);
            (text, exit_status(picture))
        }
        Err(error) => {
            let error = Printable::of(&error.to_string());
            let text = if json {
                json::unreachable(&name, error.as_str())?
            } else {
                let why = format!("nobody can say: {error}");
                format!(
                    "slotway at {name}: {}\nIs it running? --admin names the address of its \
                     admin server.\n",
                    Paint(has_colours()).red(&why)
                )
            };
            (text, UNKNOWN)
        }
    };
    match crate::say(&text) {
        Ok(()) => {}
        // Whoever reads has seen enough, as head does.
        Err(crate::Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(crate::Error::Output(error)) => return Err(ConsoleError::Output(error)),
        Err(error) => return Err(ConsoleError::Config(error)),
    }
    Ok(ExitCode::from(status))
}

/// A proxy that has only just started is asked again.
async fn fetch_soon(address: &Address) -> Result<Picture, FetchError> {
    for _ in 0..EARLY_TRIES {
        match fetch(address, 0.0).await {
            Err(error) if error.is_too_early() => tokio::time::sleep(EARLY_PAUSE).await,
            told => return told,
        }
    }
    fetch(address, 0.0).await
}

fn exit_status(picture: &Picture) -> u8 {
    u8::from(!picture.told.problems.is_empty())
}

fn runtime() -> Result<Runtime, ConsoleError> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().map_err(ConsoleError::Runtime)
}

fn has_colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
}

/// Of the terminal; what is read by programs is as wide as it is.
fn width() -> usize {
    let size = ratatui::crossterm::terminal::size();
    let columns = size.map_or(0, |(columns, _)| usize::from(columns));
    if io::stdout().is_terminal() && columns > 0 {
        columns
    } else {
        WIDTH
    }
}

/// By this machine's clock.
fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

/// The exit status when nobody can say how it is.
const UNKNOWN: u8 = 2;
const EARLY_TRIES: usize = 5;
const EARLY_PAUSE: Duration = Duration::from_millis(500);
/// Where there is no terminal.
const WIDTH: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_interfaces_are_reached_through_this_machine() {
        for (listen, expected) in [
            ("127.0.0.1:9379", "127.0.0.1:9379"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:2", "10.0.0.1:2"),
        ] {
            let address = reachable(listen.parse().unwrap());
            assert_eq!(address.to_string(), expected);
        }
    }
}
