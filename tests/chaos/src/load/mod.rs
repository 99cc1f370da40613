//! `chaos-load`: clients that do a mix of everything at a steady rate through one address, each
//! reply checked, and a verdict on their whole history at the end as one line of JSON.
//!
//! Most clients keep to the keys of one shard, so that a shard that fails does not hold up the
//! clients that show whether the others go on; the rest read and write across all shards.

mod arguments;
mod keys;
mod plan;

mod client;
mod connection;
mod settling;

mod ending;
mod figures;
mod verdict;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::history::History;
use crate::slots::Shards;
use arguments::Arguments;
use client::Client;
use connection::Asking;
use ending::Ending;
use figures::Figures;
use keys::Keys;

pub use arguments::parse as parse_arguments;

/// What all clients of a run share; they are in one thread.
#[derive(Debug)]
struct Run {
    arguments: Arguments,
    keys: Keys,
    clock: Clock,
    stopped: Cell<bool>,
    figures: RefCell<Figures>,
    history: RefCell<History>,
}

/// Nanoseconds since the run began, which is also known as a time of day, for other processes.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
    unix: Duration,
}

impl Clock {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// From a time of day in seconds.
    fn at(&self, unix: f64) -> u64 {
        let since = unix - self.unix.as_secs_f64();
        Duration::try_from_secs_f64(since).map_or(0, |since| since.as_nanos() as u64)
    }

    fn unix_of(&self, nanos: u64) -> f64 {
        (self.unix + Duration::from_nanos(nanos)).as_secs_f64()
    }
}

/// Runs the load and returns its report.
pub fn run(arguments: Arguments) -> Result<Value, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(load(arguments)))
}

async fn load(arguments: Arguments) -> Result<Value, Box<dyn Error>> {
    let shards = find_shards(&arguments).await?;
    let keys = Keys::new(&arguments, &shards);
    let mut asking = Asking::new(&arguments.targets[0]);
    keys.prepare(&mut asking).await?;
    let clock = Clock {
        began: Instant::now(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH)?,
    };
    let run = Rc::new(Run {
        figures: RefCell::new(Figures::new(keys.shards)),
        arguments,
        keys,
        clock,
        stopped: Cell::new(false),
        history: RefCell::default(),
    });
    let clients = 0..run.arguments.clients;
    let running: Vec<_> = clients
        .map(|number| tokio::task::spawn_local(Client::new(&run, number).run()))
        .collect();
    let watching = tokio::task::spawn_local(watch_own_delay(Rc::clone(&run)));
    let ending = wait_for_end(&run).await?;
    run.stopped.set(true);
    for one in running {
        one.await?;
    }
    watching.await?;
    let finals = run.keys.read_all(&mut asking).await?;
    let end = run.clock.now();
    let losses = ending.losses(&run.clock);
    let findings = verdict::judge(
        &run.keys,
        &mut run.history.borrow_mut(),
        &finals,
        &losses,
        end,
    );
    let mut report = run.figures.borrow_mut().report(&run.clock, &ending);
    report["findings"] = verdict::shown(&findings);
    report["faults"] = json!(findings.faults());
    report["examples"] = json!(findings.examples);
    Ok(report)
}

/// Until the time is over or the file that ends the run is there; what is in it says what happened.
async fn wait_for_end(run: &Run) -> Result<Ending, Box<dyn Error>> {
    const LOOK: Duration = Duration::from_millis(50);
    let end = run.clock.began + run.arguments.duration;
    let text = loop {
        if let Some(file) = &run.arguments.until_file {
            match std::fs::read_to_string(file) {
                Ok(text) => break text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        if Instant::now() >= end {
            break String::new();
        }
        tokio::time::sleep(LOOK).await;
    };
    Ok(text.parse::<Ending>()?)
}

/// How late this process itself is: what it measures of others is no more certain.
async fn watch_own_delay(run: Rc<Run>) {
    const PAUSE: Duration = Duration::from_millis(2);
    while !run.stopped.get() {
        let before = Instant::now();
        tokio::time::sleep(PAUSE).await;
        let late = before.elapsed().saturating_sub(PAUSE);
        let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        run.figures
            .borrow_mut()
            .note_own_delay(run.clock.now(), late);
    }
}

async fn find_shards(arguments: &Arguments) -> Result<Shards, Box<dyn Error>> {
    if let Some(shards) = &arguments.shards {
        return Ok(shards.clone());
    }
    let node = arguments
        .node
        .as_ref()
        .ok_or("neither --shards nor --node")?;
    let reply = Asking::new(node).ask(&[b"CLUSTER", b"SLOTS"]).await?;
    Shards::from_reply(&reply).ok_or_else(|| format!("CLUSTER SLOTS of {node}: {reply:?}").into())
}
