//! The command line of `chaos-load`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use crate::slots::Shards;

pub(crate) const USAGE: &str =
    "usage: chaos-load --target HOST:PORT[,...] --node HOST:PORT|--shards A-B,C-D,...
    --clients N (64)       connections, spread over the targets
    --rate N (20000)       operations in a second of all clients; 0: as fast as replies come
    --depth N (4)          operations of one client that may be under way
    --seconds S (10)       how long, at most
    --until-file FILE      ends the run when it is there; what it holds names windows and losses
    --without KIND[,...]   leaves out: get set own tiny tags range push count eval multi across
    --big-every N (1000)   one GET or SET in so many has a value of 10 KB to 1 MB; 0: none
    --big-bytes N          the largest of those (1000000)
    --timeout S (30)       a client that waits longer for a reply gives up its connection
    --prefix TEXT          of all keys; those that are there are deleted (chaos)
    --errors-unknown       after any error a write may have been executed, as of other proxies
    --fixed-connections    a connection that is lost is not opened again
    --seed N (1)           of what is done when";

/// What the run is to be.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub(crate) targets: Vec<String>,
    pub(crate) node: Option<String>,
    pub(crate) shards: Option<Shards>,
    pub(crate) clients: u16,
    pub(crate) rate: f64,
    pub(crate) depth: usize,
    pub(crate) duration: Duration,
    pub(crate) until_file: Option<PathBuf>,
    pub(crate) without: Vec<String>,
    pub(crate) big_every: u64,
    pub(crate) big_bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) prefix: String,
    pub(crate) errors_unknown: bool,
    pub(crate) reconnect: bool,
    pub(crate) seed: u64,
}

/// Reads the words behind the program's name.
pub fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, Box<dyn Error>> {
    let mut words = words;
    let mut arguments = defaults();
    while let Some(flag) = words.next() {
        match flag.as_str() {
            "--errors-unknown" => arguments.errors_unknown = true,
            "--fixed-connections" => arguments.reconnect = false,
            _ => {
                let value = words.next().ok_or(USAGE)?;
                set(&mut arguments, &flag, value)?;
            }
        }
    }
    if arguments.targets.is_empty() || arguments.node.is_none() && arguments.shards.is_none() {
        return Err(USAGE.into());
    }
    Ok(arguments)
}

fn defaults() -> Arguments {
    Arguments {
        targets: Vec::new(),
        node: None,
        shards: None,
        clients: 64,
        rate: 20_000.0,
        depth: 4,
        duration: Duration::from_secs(10),
        until_file: None,
        without: Vec::new(),
        big_every: 1000,
        big_bytes: 1_000_000,
        timeout: Duration::from_secs(30),
        prefix: "chaos".to_owned(),
        errors_unknown: false,
        reconnect: true,
        seed: 1,
    }
}

fn set(arguments: &mut Arguments, flag: &str, value: String) -> Result<(), Box<dyn Error>> {
    match flag {
        "--target" => arguments.targets = value.split(',').map(str::to_owned).collect(),
        "--node" => arguments.node = Some(value),
        "--shards" => arguments.shards = Some(Shards::parse(&value).ok_or(USAGE)?),
        "--clients" => arguments.clients = value.parse()?,
        "--rate" => arguments.rate = value.parse()?,
        "--depth" => arguments.depth = value.parse::<usize>()?.max(1),
        "--seconds" => arguments.duration = Duration::try_from_secs_f64(value.parse()?)?,
        "--until-file" => arguments.until_file = Some(value.into()),
        "--without" => arguments.without = value.split(',').map(str::to_owned).collect(),
        "--big-every" => arguments.big_every = value.parse()?,
        "--big-bytes" => arguments.big_bytes = value.parse()?,
        "--timeout" => arguments.timeout = Duration::try_from_secs_f64(value.parse()?)?,
        "--prefix" => arguments.prefix = value,
        "--seed" => arguments.seed = value.parse()?,
        _ => return Err(USAGE.into()),
    }
    Ok(())
}
