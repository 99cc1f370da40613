//! Clusters of six to twenty engines to which things happen by chance, a story for each seed.
//!
//! `SLOTWAY_CLUSTER_SEEDS=10000` runs so many; `SLOTWAY_CLUSTER_SEED=7` runs one, with all that
//! happens in it on standard error.

mod judge;
mod large;
mod nemesis;
mod operator;
mod random;
mod scenario;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use world::Report;

#[test]
fn clusters_survive_whatever_happens() {
    if let Some(seed) = variable("SLOTWAY_CLUSTER_SEED") {
        let report = logged(|| world::run(seed));
        return eprintln!("seed {seed}: {report:?}");
    }
    let first = variable("SLOTWAY_CLUSTER_FIRST").unwrap_or(0);
    let seeds = variable("SLOTWAY_CLUSTER_SEEDS").unwrap_or(SEEDS);
    let (reports, failed) = run_all(first, first + seeds, world::run);
    eprintln!("{}", summary(&reports));
    assert!(failed.is_empty(), "failed, seeds and why: {failed:#?}");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// With all that happens on standard error.
fn logged<T>(run: impl FnOnce() -> T) -> T {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .finish();
    tracing::subscriber::with_default(subscriber, run)
}

/// Runs seeds on all cores, until some have failed.
fn run_all<R: Send>(
    first: u64,
    end: u64,
    run: impl Fn(u64) -> R + Sync + std::panic::RefUnwindSafe,
) -> (Vec<R>, Vec<(u64, String)>) {
    let next = AtomicU64::new(first);
    let (reports, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let is_over = AtomicBool::new(false);
    let work = || {
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match std::panic::catch_unwind(|| run(seed)) {
                Ok(report) => reports.lock().unwrap().push(report),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let mut failed = failed.lock().unwrap();
                    failed.push((seed, text.unwrap_or_default()));
                    eprintln!("seed {seed} has failed");
                    is_over.store(failed.len() >= FAILURES_MAX, Ordering::Relaxed);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    (reports.into_inner().unwrap(), failed)
}

fn summary(reports: &[Report]) -> String {
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    let longest = reports.iter().max_by_key(|report| report.healing_ms);
    let (longest, seed) = longest.map_or((0, 0), |report| (report.healing_ms, report.seed));
    format!(
        "{} clusters: {} elections, {} writes acknowledged, {} of them by two \
         after one of {} failovers that were forced, {} virtual hours, \
         at most {longest} ms until all was well again (seed {seed})",
        reports.len(),
        sum(|report| report.elections),
        sum(|report| report.writes),
        sum(|report| report.conflicts),
        sum(|report| report.forced),
        sum(|report| report.virtual_ms) / 3_600_000,
    )
}

/// How many seeds are run when nobody says.
const SEEDS: u64 = 40;

/// After so many failures no further seeds are run.
const FAILURES_MAX: usize = 5;
