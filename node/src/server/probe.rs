//! What a node reports of time and of its process, as Linux tells it.

use std::fs;
use std::sync::LazyLock;
use std::time::Instant;

use crate::statistics::{Probe, ProcessFacts};

/// Asks the system.
pub(super) fn probe() -> Probe {
    Probe { nanos, process }
}

fn nanos() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What can't be read is reported as zero.
fn process() -> ProcessFacts {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let (cpu_user, cpu_system) = processor_seconds(&stat).unwrap_or_default();
    ProcessFacts {
        pid: std::process::id(),
        cpu_user,
        cpu_system,
        resident_bytes: resident_bytes(&status).unwrap_or_default(),
    }
}

/// The fields 14 and 15 of proc(5); the second is a name that may have spaces, in parentheses.
fn processor_seconds(stat: &str) -> Option<(f64, f64)> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(11);
    let mut next = || Some(fields.next()?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some((next()?, next()?))
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// Fixed for programs on all architectures of Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 899 0 1 0 250 125 0 0 20 0 5 0 1 2";
        assert_eq!(processor_seconds(stat), Some((2.5, 1.25)));
        assert_eq!(
            resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(processor_seconds("42 (cut"), None);
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        assert!(process().resident_bytes > 0);
    }
}
