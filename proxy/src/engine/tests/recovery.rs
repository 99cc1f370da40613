//! Calls that are interrupted, at each of the fail points in turn, while clients do all kinds of
//! things: no client gets what is another's, and each that is left gets all that it is owed.

mod peers;
mod rig;

use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

use self::rig::Rig;
use super::super::fail_point::armed;
use super::*;

/// What came of one run.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// There was a call that was interrupted.
    interrupted: bool,
    /// How many clients were closed.
    closed: usize,
    /// Requests that were answered with an error, also because a node was lost.
    errors: usize,
}

/// One run, interrupted where so many fail points have been passed.
fn run(seed: u64, left: u32) -> Outcome {
    let mut rig = Rig::new(seed);
    armed::arm(left);
    rig.run();
    let interrupted = !armed::disarm();
    assert_eq!(interrupted, rig.panics > 0);
    assert_eq!(rig.stats.panics.value(), rig.panics as u64);
    Outcome {
        interrupted,
        closed: rig.closed,
        errors: rig.errors,
    }
}

#[test]
fn wherever_a_call_is_interrupted_nobody_gets_what_is_anothers() {
    let (mut closed, mut errors, mut failed) = ([0; 3], 0, Vec::new());
    for seed in 1..=SEEDS {
        let undisturbed = run(seed, u32::MAX);
        assert_eq!(undisturbed.closed, 0, "seed {seed}, not interrupted");
        for left in 0.. {
            // To see of all what is wrong, and not of the first one only.
            let Ok(outcome) = std::panic::catch_unwind(|| run(seed, left)) else {
                failed.push((seed, left));
                continue;
            };
            if !outcome.interrupted {
                break;
            }
            closed[outcome.closed.min(2)] += 1;
            errors += outcome.errors;
        }
    }
    assert!(failed.is_empty(), "by seed and fail point: {failed:?}");
    let runs: usize = closed.iter().sum();
    let figures = format!("{closed:?} runs closed none, one or more, {errors} errors");
    assert!(runs > 2000, "{figures}");
    // Seldom does anybody but the client that was being handled notice more than an error.
    assert!(closed[2] * 20 < runs && errors * 2 < runs, "{figures}");
}

const SEEDS: u64 = 4;
