//! What the kernel says of this process: times, memory, files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;

use crate::metrics::{Family, collector};

/// A collector with Prometheus' customary `process_*` metrics.
pub fn process_collector() -> prometheus::Result<Box<dyn Collector>> {
    collector("process", process_families)
}

/// What `/proc/self` says now.
#[derive(Debug, Clone, PartialEq)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_files: u64,
    /// The soft limit; none when unlimited.
    pub open_files_max: Option<u64>,
    pub threads: u64,
    /// Seconds since 1970; the same at every call, whatever becomes of the clock.
    pub start_seconds: f64,
}

impl Usage {
    /// # Errors
    /// Where there is no `/proc`, or it speaks another language.
    pub fn read() -> io::Result<Self> {
        let fields = Fields::read()?;
        let times = Times::of(&fields)?;
        let status = fs::read_to_string("/proc/self/status")?;
        Ok(Self {
            cpu_seconds: times.user_seconds + times.system_seconds,
            resident_bytes: kilobytes(&status, "VmRSS:")?,
            virtual_bytes: kilobytes(&status, "VmSize:")?,
            open_files: fs::read_dir("/proc/self/fd")?.count() as u64,
            open_files_max: open_files_max()?,
            threads: fields.number(THREADS)?,
            start_seconds: start_seconds(&fields)?,
        })
    }
}

/// The kernel counts from its own start, so the time of day is worked out; and only once, since it
/// would come out a little different each time, which looks like a restart.
fn start_seconds(fields: &Fields) -> io::Result<f64> {
    static START_SECONDS: OnceLock<f64> = OnceLock::new();
    if let Some(known) = START_SECONDS.get() {
        return Ok(*known);
    }
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = parse(uptime.split_whitespace().next().unwrap_or_default())?;
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(io::Error::other)?;
    let age_seconds = uptime - fields.number(START_TIME)? as f64 / TICKS_PER_SECOND;
    Ok(*START_SECONDS.get_or_init(|| since_epoch.as_secs_f64() - age_seconds))
}

/// The processor time of this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    pub user_seconds: f64,
    pub system_seconds: f64,
}

impl Times {
    /// # Errors
    /// Where there is no `/proc`, or it speaks another language.
    pub fn read() -> io::Result<Self> {
        Self::of(&Fields::read()?)
    }

    fn of(fields: &Fields) -> io::Result<Self> {
        Ok(Self {
            user_seconds: fields.number(USER_TIME)? as f64 / TICKS_PER_SECOND,
            system_seconds: fields.number(SYSTEM_TIME)? as f64 / TICKS_PER_SECOND,
        })
    }
}

/// The memory of this process that is not swapped out.
///
/// # Errors
/// Where there is no `/proc`, or it speaks another language.
pub fn resident_bytes() -> io::Result<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status")?, "VmRSS:")
}

/// The most that it ever was.
///
/// # Errors
/// Where there is no `/proc`, or it speaks another language.
pub fn resident_peak_bytes() -> io::Result<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status")?, "VmHWM:")
}

/// The memory that this process can have before the system ends it: what its control groups allow,
/// or what the machine has, whichever is less.
///
/// # Errors
/// Where there is no `/proc`, or it speaks another language.
pub fn memory_max() -> io::Result<u64> {
    let machine = kilobytes(&fs::read_to_string("/proc/meminfo")?, "MemTotal:")?;
    // Without control groups there is no such file.
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_files(&groups).into_iter().filter_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        // "max" stands for no limit.
        text.trim().parse::<u64>().ok()
    });
    Ok(limits.fold(machine, u64::min))
}

/// The files that may limit a process of these control groups, the groups around them included. In
/// a container the path can be one that only the host knows, so the root is always looked at.
fn group_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|it| it == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(path.trim_start_matches('/'));
        let around = group
            .ancestors()
            .map(|it| Path::new(root).join(it).join(name));
        files.extend(around);
    }
    files
}

/// What `/proc/self/stat` says behind the program's name.
struct Fields(String);

impl Fields {
    fn read() -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The second field is the program's name in brackets and may contain anything.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Ok(Self(after_name.to_owned()))
    }

    fn number(&self, field: usize) -> io::Result<u64> {
        let text = self.0.split_whitespace().nth(field - FIRST_AFTER_NAME);
        parse(text.unwrap_or_default())
    }
}

/// How many files this process may have open at a time; none when unlimited.
///
/// # Errors
/// Where there is no `/proc`.
pub fn open_files_max() -> io::Result<Option<u64>> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|line| line.split_whitespace().next()) {
        Some("unlimited") => Ok(None),
        soft => parse(soft.unwrap_or_default()).map(Some),
    }
}

/// Prometheus' customary `process_*` metrics; none where there is no `/proc`.
pub fn process_families() -> Vec<Family> {
    let Ok(usage) = Usage::read() else {
        return Vec::new();
    };
    let mut cpu = Family::counter(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
    );
    cpu.sample(&[], usage.cpu_seconds);
    let mut families = vec![cpu];
    let mut gauge = |name: &str, help: &str, value: f64| {
        let mut family = Family::gauge(name, help);
        family.sample(&[], value);
        families.push(family);
    };
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        usage.resident_bytes as f64,
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        usage.virtual_bytes as f64,
    );
    gauge(
        "process_open_fds",
        "Number of open file descriptors.",
        usage.open_files as f64,
    );
    if let Some(max) = usage.open_files_max {
        gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            max as f64,
        );
    }
    gauge(
        "process_threads",
        "Number of threads of the process.",
        usage.threads as f64,
    );
    gauge(
        "process_start_time_seconds",
        "Start time of the process since the Unix epoch in seconds.",
        usage.start_seconds,
    );
    families
}

fn kilobytes(status: &str, name: &str) -> io::Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(parse::<u64>(number.unwrap_or_default())? * 1024)
}

fn parse<T: std::str::FromStr>(text: &str) -> io::Result<T> {
    let unreadable = || io::Error::other(format!("{text:?} under /proc is not a number"));
    text.parse().map_err(|_| unreadable())
}

/// Numbers of fields of `/proc/PID/stat`, as proc(5) counts them.
const FIRST_AFTER_NAME: usize = 3;
const USER_TIME: usize = 14;
const SYSTEM_TIME: usize = 15;
const THREADS: usize = 20;
const START_TIME: usize = 22;

/// The unit of times under `/proc`, the same on every Linux we run on.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_limited_by_every_group_around() {
        let groups = "12:cpu,cpuacct:/a\n4:memory:/a/b\n0::/c\nnonsense\n";
        let found: Vec<_> = group_files(groups)
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let expected = [
            "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/a/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/c/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(found, expected);
        let max = memory_max().unwrap();
        assert!(max > 32 << 20, "{max}");
    }

    #[test]
    fn usage_follows_what_the_process_does() {
        let before = Usage::read().unwrap();
        let files: Vec<_> = (0..200)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        let memory = vec![1u8; 64 << 20];
        let start = std::time::Instant::now();
        let mut spun = 0u64;
        while start.elapsed().as_millis() < 200 {
            spun = std::hint::black_box(spun + 1);
        }
        let after = Usage::read().unwrap();
        // Other tests open and close some meanwhile.
        let opened = after.open_files.saturating_sub(before.open_files);
        assert!(opened.abs_diff(files.len() as u64) < 50, "{opened}");
        assert!(after.resident_bytes >= before.resident_bytes + (60 << 20));
        assert!(after.virtual_bytes >= after.resident_bytes);
        assert!(after.cpu_seconds > before.cpu_seconds);
        assert!(after.threads >= 1 && after.open_files_max.is_none_or(|max| max > 10));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - after.start_seconds;
        assert!((0.0..600.0).contains(&age), "{age}");
        assert_eq!(
            after.start_seconds.to_bits(),
            before.start_seconds.to_bits()
        );
        assert_eq!(memory[memory.len() - 1], 1);
    }
}
