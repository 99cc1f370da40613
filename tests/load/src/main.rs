//! `slotway-load`: clients that each send a request, compare its reply byte for byte with what must
//! come, and send the next; at the end one line of JSON says how many there were and how long they
//! took. The programs in `tests/acceptance/` start it, as Python would be the bottleneck.

mod arguments;
mod client;
mod workload;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Instant;

use arguments::Arguments;
use client::{Client, Tally};

fn main() -> ExitCode {
    match arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "slotway-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (tally, seconds) = runtime.block_on(load(arguments))?;
    writeln!(std::io::stdout(), "{}", summary(tally, seconds))?;
    Ok(())
}

/// Connects and prepares all clients before the first of them starts to count.
async fn load(arguments: &Arguments) -> Result<(Tally, f64), Box<dyn Error>> {
    let mut clients = Vec::new();
    for number in 0..arguments.clients {
        let plan = workload::plan(arguments, number);
        clients.push(Client::prepare(arguments.port, plan, arguments.pause).await?);
    }
    let started = Instant::now();
    let end = started + arguments.duration;
    let tasks = tokio::task::LocalSet::new();
    let running: Vec<_> = clients
        .into_iter()
        .map(|client| tasks.spawn_local(client.run(end)))
        .collect();
    let mut total = Tally::default();
    tasks
        .run_until(async {
            for one in running {
                total.add(one.await?);
            }
            Ok::<(), tokio::task::JoinError>(())
        })
        .await?;
    Ok((total, started.elapsed().as_secs_f64()))
}

/// The figures as one line of JSON.
fn summary(mut tally: Tally, seconds: f64) -> String {
    tally.micros.sort_unstable();
    let at = |part: usize| {
        let place = tally.micros.len() * part / 1000;
        let last = tally.micros.len().saturating_sub(1);
        tally.micros.get(place.min(last)).copied().unwrap_or(0)
    };
    format!(
        concat!(
            r#"{{"operations": {}, "seconds": {:.3}, "p50_us": {}, "p99_us": {}, "#,
            r#""p999_us": {}, "max_us": {}, "wrong": {}, "lost": {}, "first_wrong": "{}"}}"#
        ),
        tally.micros.len(),
        seconds,
        at(500),
        at(990),
        at(999),
        at(1000),
        tally.wrong,
        tally.lost,
        tally
            .first_wrong
            .escape_ascii()
            .to_string()
            .replace('\\', "/")
            .replace('"', "'"),
    )
}
