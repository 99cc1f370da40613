//! What INFO tells of the process: noted once at the start, or looked up every second.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use slotway::engine::{Memory, Program, Stats, Thermometer};
use slotway_node::server::random_seed;
use slotway_runtime::listener::{AcceptMetrics, ConnectionsMax};
use slotway_runtime::process::{Times, memory_max, resident_bytes};

use crate::config::Config;

/// What stays as it is.
pub(super) fn program(config: &Config, config_file: Option<&Path>) -> Arc<Program> {
    let kernel = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
        text.map_or_else(|_| String::new(), |text| text.trim().to_owned())
    };
    let executable = std::env::current_exe().unwrap_or_default();
    // As redis-server shows it: where it is, whatever it was called at the start.
    let file = config_file.map(|file| fs::canonicalize(file).unwrap_or_else(|_| file.into()));
    Arc::new(Program {
        process_id: std::process::id(),
        started_unix_ms: unix_ms(),
        run_id: random_id(),
        system: format!("{} {} {ARCH}", kernel("ostype"), kernel("osrelease")),
        executable: executable.display().to_string(),
        config_file: file.map_or_else(String::new, |file| file.display().to_string()),
        host: config.proxy.listen.ip().to_string(),
        port: config.proxy.listen.port(),
        settings: config.shown(),
        ..Program::default()
    })
}

/// The memory that the workers share: three quarters of what the system lets this process have,
/// where no setting says how much. The rest is for what is not counted, such as the kernel's
/// buffers.
pub(super) fn memory(config: &Config) -> Arc<Memory> {
    let max = memory_max().map_or(usize::MAX, |max| {
        usize::try_from(max / 4 * 3).unwrap_or(usize::MAX)
    });
    let workers = config.proxy.workers;
    let now = resident_bytes().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let memory = Memory::new(workers, now + workers * WORKER_BYTES, max);
    tracing::debug!(
        max,
        "memory that may be taken, unless memory_bytes_max is set"
    );
    Arc::new(memory)
}

/// What a worker takes before it has clients.
const WORKER_BYTES: usize = 2 * 1024 * 1024;

/// Forty hexadecimal digits.
fn random_id() -> String {
    let numbers = [random_seed(), random_seed(), random_seed()];
    let [first, second, third] = numbers;
    let id = format!("{first:016x}{second:016x}{third:016x}");
    id.chars().take(40).collect()
}

pub(super) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Where the numbers come from that change.
pub(super) struct Sources {
    pub(super) program: Arc<Program>,
    pub(super) stats: Vec<Arc<Stats>>,
    pub(super) accept: Arc<AcceptMetrics>,
    pub(super) clients_max: ConnectionsMax,
}

impl Sources {
    /// Looks at them again and again.
    pub(super) async fn follow(self) {
        let mut before = self.read(Instant::now());
        let mut thermometer = Thermometer::new();
        let mut measured = before.at;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let now = self.read(Instant::now());
            self.note_rates(&before, &now);
            before = now;
            let seconds = before.at.duration_since(measured).as_secs_f64();
            if seconds >= HEAT_SECONDS {
                let heat = thermometer.measure(&self.stats, seconds);
                self.program.heat.store(Arc::new(heat));
                measured = before.at;
            }
        }
    }

    fn read(&self, at: Instant) -> Sums {
        let program = &self.program;
        program.clients_max.set(self.clients_max.value() as i64);
        program.rejected.set(signed(self.accept.refused.value()));
        if let Ok(bytes) = resident_bytes() {
            let bytes = signed(bytes);
            program.resident_bytes.set(bytes);
            let peak = &program.resident_bytes_peak;
            peak.set(peak.value().max(bytes));
        }
        if let Ok(times) = Times::read() {
            program.user_micros.set((times.user_seconds * 1e6) as i64);
            program
                .system_micros
                .set((times.system_seconds * 1e6) as i64);
        }
        let sum = |of: fn(&Stats) -> u64| self.stats.iter().map(|stats| of(stats)).sum();
        Sums {
            at,
            requests: sum(Stats::requests_total),
            input_bytes: sum(|stats| stats.client_bytes_in.value()),
            output_bytes: sum(|stats| stats.client_bytes_out.value()),
        }
    }

    fn note_rates(&self, before: &Sums, now: &Sums) {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let rate = |before: u64, now: u64| (now.saturating_sub(before) as f64 / seconds) as i64;
        let program = &self.program;
        let requests = rate(before.requests, now.requests);
        program.requests_per_second.set(requests);
        let input = rate(before.input_bytes, now.input_bytes);
        program.input_bytes_per_second.set(input);
        let output = rate(before.output_bytes, now.output_bytes);
        program.output_bytes_per_second.set(output);
    }
}

/// What the workers had counted at a moment.
struct Sums {
    at: Instant,
    requests: u64,
    input_bytes: u64,
    output_bytes: u64,
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Slots are as hot as they were in this time.
const HEAT_SECONDS: f64 = 5.0;

const INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_interval() {
        let config = Config::default();
        let sources = Sources {
            program: program(&config, None),
            stats: vec![Arc::default(), Arc::default()],
            accept: Arc::default(),
            clients_max: ConnectionsMax::new(7),
        };
        let start = Instant::now();
        let before = sources.read(start);
        sources.accept.refused.add(3);
        for stats in &sources.stats {
            stats.client_bytes_in.add(1000);
            stats.client_bytes_out.add(500);
        }
        let now = sources.read(start + Duration::from_secs(2));
        sources.note_rates(&before, &now);
        let program = &sources.program;
        assert_eq!(program.input_bytes_per_second.value(), 1000);
        assert_eq!(program.output_bytes_per_second.value(), 500);
        assert_eq!(program.clients_max.value(), 7);
        assert_eq!(program.rejected.value(), 3);
        let (bytes, peak) = (&program.resident_bytes, &program.resident_bytes_peak);
        assert!(bytes.value() > 0 && peak.value() >= bytes.value());
    }

    #[test]
    fn every_start_has_a_name_of_its_own() {
        let config = Config::default();
        let (one, other) = (program(&config, None), program(&config, None));
        assert_eq!(one.run_id.len(), 40);
        assert_ne!(one.run_id, other.run_id);
        assert!(one.system.contains(ARCH) && !one.executable.is_empty());
    }
}
