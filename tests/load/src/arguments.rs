//! The command line of `slotway-load`.

use std::error::Error;
use std::time::Duration;

const USAGE: &str = "usage: slotway-load --port PORT --workload get|transaction|steps|churn|storm \
                     [--clients N] [--seconds S] [--keys N] [--value-bytes N] \
                     [--pause-ms N]";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// GETs of keys that were stored before.
    Get,
    /// MULTI, five commands and EXEC in one write.
    Transaction,
    /// The same, each command after the reply to the one before.
    Steps,
    /// A PING on a connection of its own.
    Storm,
    /// SET and DEL of keys that nothing else uses; errors are counted, and do not end it.
    Churn,
}

#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) port: u16,
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
    pub(crate) duration: Duration,
    pub(crate) keys: usize,
    pub(crate) value_bytes: usize,
    /// How long each client waits between two operations.
    pub(crate) pause: Duration,
}

pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut words = words;
    let mut port = None;
    let mut kind = None;
    let (mut clients, mut seconds, mut keys, mut value_bytes) = (50, 5.0, 10_000, 16);
    let mut pause_ms = 0;
    while let Some(flag) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match flag.as_str() {
            "--port" => port = Some(value.parse()?),
            "--workload" => kind = Some(kind_of(&value)?),
            "--clients" => clients = value.parse()?,
            "--seconds" => seconds = value.parse()?,
            "--keys" => keys = value.parse()?,
            "--value-bytes" => value_bytes = value.parse()?,
            "--pause-ms" => pause_ms = value.parse()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(Arguments {
        port: port.ok_or(USAGE)?,
        kind: kind.ok_or(USAGE)?,
        clients,
        duration: Duration::try_from_secs_f64(seconds)?,
        keys,
        value_bytes,
        pause: Duration::from_millis(pause_ms),
    })
}

fn kind_of(name: &str) -> Result<Kind, Box<dyn Error>> {
    match name {
        "get" => Ok(Kind::Get),
        "transaction" => Ok(Kind::Transaction),
        "steps" => Ok(Kind::Steps),
        "churn" => Ok(Kind::Churn),
        "storm" => Ok(Kind::Storm),
        _ => Err(USAGE.into()),
    }
}
