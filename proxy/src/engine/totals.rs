//! What all workers have counted together, as INFO shows it.

use std::sync::Arc;

use slotway_protocol::command::{Command, CommandId};

use super::program::Program;
use super::stats::{ERROR_CODES, Stats};

/// Sums over all workers; after CONFIG RESETSTAT only of what came later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) connections: u64,
    pub(crate) rejected: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) requests: u64,
    /// Requests refused before they were looked at closely.
    pub(crate) invalid: u64,
    /// By command id: answered well, answered with an error, microseconds spent.
    pub(crate) commands: Vec<[u64; 3]>,
    /// In the order of [`ERROR_CODES`].
    pub(crate) errors: Vec<u64>,
}

impl Totals {
    pub(crate) fn of(workers: &[Arc<Stats>], program: &Program) -> Self {
        let mut totals = Self {
            rejected: program.rejected.value().unsigned_abs(),
            commands: vec![[0; 3]; Command::count() + 1],
            errors: vec![0; ERROR_CODES.len()],
            ..Self::default()
        };
        for stats in workers {
            totals.connections += stats.clients_accepted.value();
            totals.input_bytes += stats.client_bytes_in.value();
            totals.output_bytes += stats.client_bytes_out.value();
            totals.invalid += stats.requests_invalid.value();
            for (id, sums) in (0..).zip(&mut totals.commands) {
                let command = CommandId(id);
                let (ok, failed) = stats.requests(command);
                let counts = [ok, failed, stats.micros(command)];
                add(sums, &counts);
            }
            for (sum, counter) in totals.errors.iter_mut().zip(stats.errors()) {
                *sum += counter.value();
            }
        }
        totals.requests = totals
            .commands
            .iter()
            .map(|[ok, failed, _]| ok + failed)
            .sum();
        totals
    }

    /// What came after `baseline`.
    #[must_use]
    pub(crate) fn since(mut self, baseline: &Self) -> Self {
        let numbers = [
            (&mut self.connections, baseline.connections),
            (&mut self.rejected, baseline.rejected),
            (&mut self.input_bytes, baseline.input_bytes),
            (&mut self.output_bytes, baseline.output_bytes),
            (&mut self.requests, baseline.requests),
            (&mut self.invalid, baseline.invalid),
        ];
        for (number, before) in numbers {
            *number = number.saturating_sub(before);
        }
        for (counts, before) in self.commands.iter_mut().zip(&baseline.commands) {
            subtract(counts, before);
        }
        subtract(&mut self.errors, &baseline.errors);
        self
    }
}

fn add(sums: &mut [u64], counts: &[u64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum += count;
    }
}

fn subtract(numbers: &mut [u64], before: &[u64]) {
    for (number, before) in numbers.iter_mut().zip(before) {
        *number = number.saturating_sub(*before);
    }
}

#[cfg(test)]
mod tests {
    use slotway_protocol::command::lookup;

    use super::*;

    #[test]
    fn all_workers_count_and_the_baseline_does_not() {
        let get = lookup(b"get").unwrap().id;
        let workers = [Arc::new(Stats::new()), Arc::new(Stats::new())];
        let program = Program::default();
        for stats in &workers {
            stats.clients_accepted.inc();
            stats.client_bytes_in.add(10);
            stats.client_bytes_out.add(20);
            stats.count_request(get, false, 5);
            stats.count_request(get, true, 7);
            stats.count_error(b"-WRONGTYPE no\r\n");
        }
        let before = Totals::of(&workers, &program);
        assert_eq!(before.connections, 2);
        assert_eq!((before.input_bytes, before.output_bytes), (20, 40));
        assert_eq!(before.commands[usize::from(get.0)], [2, 2, 24]);
        assert_eq!(before.requests, 4);
        let wrong_type = ERROR_CODES.iter().position(|code| *code == "WRONGTYPE");
        assert_eq!(before.errors[wrong_type.unwrap()], 2);
        workers[1].count_request(get, false, 1);
        let after = Totals::of(&workers, &program).since(&before);
        assert_eq!((after.connections, after.requests), (0, 1));
        assert_eq!(after.commands[usize::from(get.0)], [1, 0, 1]);
        assert_eq!(after.errors, vec![0; ERROR_CODES.len()]);
    }
}
