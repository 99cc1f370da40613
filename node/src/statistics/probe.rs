//! What an engine has to ask outside: how late it is within a turn, and what its process costs.

/// The questions, each answered by who runs the engine.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Nanoseconds of a clock that never goes back. An engine on a virtual clock gets zeros, and
    /// so reports that commands take no time.
    pub nanos: fn() -> u64,
    pub process: fn() -> ProcessFacts,
}

/// What the system says of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFacts {
    pub pid: u32,
    /// Seconds of processor time, in the process and in the system for it.
    pub cpu_user: f64,
    pub cpu_system: f64,
    /// Bytes of memory that it occupies.
    pub resident_bytes: u64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            nanos: || 0,
            process: ProcessFacts::default,
        }
    }
}
