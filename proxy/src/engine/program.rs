//! What an engine can't know by itself and INFO and CONFIG GET tell: facts about the process
//! around it. The control thread writes the gauges, the workers read them.

use arc_swap::ArcSwap;
use slotway_protocol::metrics::Gauge;

use super::heat::Heat;

/// One process; all of its workers share it.
#[derive(Debug, Default)]
pub struct Program {
    pub process_id: u32,
    /// When it started, in milliseconds since 1970-01-01 UTC; 0 for when the worker did.
    pub started_unix_ms: u64,
    /// Forty hexadecimal digits, other ones at every start.
    pub run_id: String,
    /// System and machine.
    pub system: String,
    pub executable: String,
    /// Empty when it runs without one.
    pub config_file: String,
    /// The address and the port that clients connect to.
    pub host: String,
    pub port: u16,
    /// Every key of the config that can't be changed while the proxy runs, with its value.
    pub settings: Vec<(&'static str, String)>,
    /// How many clients there may be at a time.
    pub clients_max: Gauge,
    /// Clients turned away because there were too many.
    pub rejected: Gauge,
    pub resident_bytes: Gauge,
    pub resident_bytes_peak: Gauge,
    pub system_micros: Gauge,
    pub user_micros: Gauge,
    /// Over the last second.
    pub requests_per_second: Gauge,
    pub input_bytes_per_second: Gauge,
    pub output_bytes_per_second: Gauge,
    /// How hot the slots have been lately.
    pub heat: ArcSwap<Heat>,
}
