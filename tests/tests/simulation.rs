//! Runs the simulator: many seeds of the proxy against nodes, each seed twice, and broken proxies
//! that must be found out.

use std::sync::atomic::{AtomicUsize, Ordering};

use slotway_tests::sim::cast::{Cast, MakeNode, Report};
use slotway_tests::sim::flaw::Flaw;
use slotway_tests::sim::host::Host;
use slotway_tests::sim::machine::Limits;
use slotway_tests::sim::model::ModelNode;
use slotway_tests::sim::mutant::Mutant;
use slotway_tests::sim::real;
use slotway_tests::sim::relay::Relay;
use slotway_tests::sim::scenario::Scenario;
use slotway_tests::sim::story::Story;
use slotway_tests::sim::tap::Refusals;
use slotway_tests::sim::world;

/// Seeds to run: one that the environment names, or the first so many.
fn seeds(default: u64) -> Vec<u64> {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    match variable("SLOTWAY_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..variable("SLOTWAY_SIM_SEEDS").unwrap_or(default)).collect(),
    }
}

/// The relay against the model nodes.
fn run_relay(scenario: Scenario, mutant: Option<Mutant>, flaw: Option<Flaw>) -> Report {
    let cast = Cast {
        node: &|_, view, random| Box::new(Host::new(ModelNode::new(view), Limits::NONE, random)),
        proxy: &move |_, random| Box::new(Host::new(Relay::new(flaw), Limits::NONE, random)),
        discovery: None,
    };
    // A mutant has to be found out by what clients see. The relay knows no transactions.
    let scenario = Scenario {
        is_tapped: mutant.is_none() && flaw.is_none(),
        has_errands: false,
        // It asks for one key after the other.
        pipeline: match scenario.story {
            Story::Isolated => 1,
            _ => scenario.pipeline,
        },
        bound_micros: 3 * scenario.bound_micros,
        ..scenario
    };
    world::run(scenario, &cast, mutant)
}

/// The real proxy against the model nodes, which can misbehave, or against the real ones.
fn run_real(scenario: Scenario, mutant: Option<Mutant>) -> Report {
    let model: &MakeNode =
        &|_, view, random| Box::new(Host::new(ModelNode::new(view), Limits::NONE, random));
    let cast = Cast {
        node: if scenario.seed.is_multiple_of(2) {
            model
        } else {
            &real::node
        },
        proxy: &real::proxy,
        discovery: if scenario.seed.is_multiple_of(3) {
            None
        } else {
            Some(&real::discovery)
        },
    };
    // A mutant has to be found out by what clients see.
    let scenario = Scenario {
        is_tapped: mutant.is_none(),
        ..scenario
    };
    world::run(scenario, &cast, mutant)
}

/// Runs all seeds, on all cores; the reports come in the order of the seeds.
fn reports(seeds: &[u64], run: impl Fn(u64) -> Report + Sync) -> Vec<Option<Report>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            let run = std::panic::AssertUnwindSafe(|| run(*seed));
            done.push((*seed, std::panic::catch_unwind(run).ok()));
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let done = workers.into_iter().map(|worker| worker.join());
        let done = done.map(|done| done.expect("a run that panics is caught"));
        done.flatten().collect::<Vec<_>>()
    });
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, report)| report).collect()
}

/// Runs all seeds and fails with the lines that repeat those that went wrong.
fn check_all(test: &str, seeds: &[u64], has_errands: bool, run: impl Fn(u64) -> Report + Sync) {
    let (mut answered, mut executed, mut lost, mut walked) = (0, 0, 0, 0);
    let (mut slowest, mut wait) = (0, 0);
    let mut refusals = Refusals::default();
    let mut wrong = Vec::new();
    for (seed, report) in seeds.iter().zip(reports(seeds, run)) {
        let what = match report {
            Some(Report {
                violation: Some(violation),
                ..
            }) => violation,
            Some(report) => {
                answered += report.answered;
                executed += report.executed;
                lost += report.lost;
                walked += report.walked;
                slowest = slowest.max(report.slowest_micros);
                wait = wait.max(report.wait_micros);
                refusals.add(report.refusals);
                continue;
            }
            None => "panicked, see above".to_owned(),
        };
        let scenario = Scenario::of(*seed);
        wrong.push(format!(
            "{what}\n{scenario:?}\nagain with: SLOTWAY_SIM_SEED={seed} SLOTWAY_SIM_TRACE=1 \
             cargo test -p slotway-tests --test simulation {test} -- --nocapture\n"
        ));
    }
    let first: String = wrong.iter().take(SHOWN_MAX).map(String::as_str).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} seeds went wrong:\n{first}",
        wrong.len(),
        seeds.len()
    );
    if seeds.len() >= SEEDS_TELLING {
        let count = seeds.len() as u64;
        assert!(
            answered > 100 * count,
            "hardly anything was asked: {answered}"
        );
        eprintln!("healthy shards {slowest}us at most, {wait}us after the last fault");
        eprintln!("{executed} transactions, {lost} lost, {walked} walks");
        if has_errands {
            assert!(
                executed > 4 * count && lost > count && walked > count / 2,
                "hardly any transactions or walks: {executed}, {lost} lost, {walked} walks"
            );
        }
        let Refusals { moved, ask, later } = refusals;
        assert!(
            moved > count && ask > count && later > count,
            "too calm: {refusals:?}"
        );
    }
}

#[test]
fn a_right_proxy_passes() {
    check_all("a_right_proxy_passes", &seeds(64), false, |seed| {
        run_relay(Scenario::of(seed), None, None)
    });
}

#[test]
fn the_proxy_passes() {
    check_all("the_proxy_passes", &seeds(256), true, |seed| {
        run_real(Scenario::of(seed), None)
    });
}

/// Runs seeds until a broken proxy is found out, which the same proxy is not when it is whole.
fn find_out(
    who: &dyn std::fmt::Debug,
    scenario: impl Fn(u64) -> Scenario,
    broken: impl Fn(Scenario) -> Report,
    whole: impl Fn(Scenario) -> Report,
) {
    let run = |seed| Some((seed, broken(scenario(seed)).violation?));
    let found = (0..MUTANT_SEEDS).find_map(run);
    let (seed, violation) =
        found.unwrap_or_else(|| panic!("{who:?} was not found out in {MUTANT_SEEDS} seeds"));
    eprintln!("{who:?} found out in seed {seed}: {violation}");
    let violation = whole(scenario(seed)).violation;
    assert_eq!(violation, None, "seed {seed} goes wrong without {who:?}");
}

/// A run with a mutant that counts only if the mutant did something.
fn struck(report: Report) -> Report {
    let violation = report.violation.filter(|_| report.strikes > 0);
    Report {
        violation,
        ..report
    }
}

#[test]
fn mutants_of_a_right_proxy_are_found_out() {
    // The relay never has two requests of one client under way, so none can change places; it
    // knows no transactions, and has no discovery that could forget what it has found out.
    let odd = [Mutant::SwapRetries, Mutant::FlipMap];
    let fits = |mutant: &Mutant| !odd.contains(mutant) && !mutant.is_about_errands();
    for mutant in Mutant::ALL.into_iter().filter(fits) {
        let broken = |scenario| struck(run_relay(scenario, Some(mutant), None));
        let whole = |scenario| run_relay(scenario, None, None);
        find_out(&mutant, |seed| mutant.scenario(seed), broken, whole);
    }
}

#[test]
fn flaws_of_a_right_proxy_are_found_out() {
    for flaw in Flaw::ALL {
        let broken = |scenario| run_relay(scenario, None, Some(flaw));
        let whole = |scenario| run_relay(scenario, None, None);
        find_out(&flaw, |seed| flaw.scenario(seed), broken, whole);
    }
}

#[test]
fn mutants_of_the_proxy_are_found_out() {
    for mutant in Mutant::ALL {
        let broken = |scenario| struck(run_real(scenario, Some(mutant)));
        let whole = |scenario| run_real(scenario, None);
        find_out(&mutant, |seed| mutant.scenario(seed), broken, whole);
    }
}

#[test]
fn a_seed_is_the_whole_story() {
    let seeds: Vec<u64> = (0..32).collect();
    let twice = [(); 2].map(|()| reports(&seeds, |seed| run_real(Scenario::of(seed), None)));
    let [first, second] = twice.map(|reports| {
        let told = |report: Report| (report.trace, report.answered, report.events);
        reports
            .into_iter()
            .map(|it| it.map(told))
            .collect::<Vec<_>>()
    });
    for (seed, (first, second)) in seeds.iter().zip(first.into_iter().zip(second)) {
        assert!(first.is_some(), "seed {seed} panicked");
        assert_eq!(first, second, "seed {seed} had two stories");
    }
    let trace = |seed| run_real(Scenario::of(seed), None).trace;
    assert_ne!(trace(0), trace(2));
}

/// Within so many seeds a broken proxy has to be found out. Each shows in a quarter or more.
const MUTANT_SEEDS: u64 = 32;

/// So many failures are described.
const SHOWN_MAX: usize = 8;

/// Fewer seeds than this may happen to be calm.
const SEEDS_TELLING: usize = 32;
