//! The `[limits]` of the configuration.

use slotway::engine::{MEMORY_MAX, MEMORY_MIN};

use super::reader::Section;
use super::{HOUR_MS, WAIT_MS};

/// Bounds on what one peer can make the proxy hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitsConfig {
    pub(crate) bulk_bytes_max: usize,
    pub(crate) arguments_max: usize,
    pub(crate) inline_bytes_max: usize,
    pub(crate) request_bytes_max: usize,
    pub(crate) client_output_bytes_max: usize,
    pub(crate) client_output_bytes_cut: usize,
    pub(crate) client_in_flight_max: usize,
    pub(crate) large_in_flight_max: usize,
    pub(crate) client_login_timeout_ms: usize,
    pub(crate) login_failures_max: usize,
    pub(crate) login_failures_window_ms: usize,
    pub(crate) client_request_timeout_ms: usize,
    pub(crate) client_idle_timeout_ms: usize,
    pub(crate) client_output_timeout_ms: usize,
    pub(crate) subscriber_output_bytes_max: usize,
    pub(crate) client_subscription_bytes_max: usize,
    pub(crate) backend_queue_bytes_max: usize,
    pub(crate) backend_queue_requests_max: usize,
    pub(crate) hold_bytes_max: usize,
    pub(crate) hold_requests_max: usize,
    pub(crate) client_hold_bytes_max: usize,
    pub(crate) memory_bytes_max: usize,
    pub(crate) merge_bytes_max: usize,
    pub(crate) transaction_bytes_max: usize,
    pub(crate) cross_slot_bytes_max: usize,
    pub(crate) script_cache_bytes_max: usize,
    pub(crate) private_connections_max: usize,
    pub(crate) private_idle_max: usize,
}

/// Reads each key, which is a number within a range.
macro_rules! limits {
    ($section:ident, $($key:ident: $range:expr,)*) => {
        Self {
            $($key: $section.count(stringify!($key), $range, Self::default().$key),)*
        }
    };
}

impl LimitsConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let place = section.place("bulk_bytes_max");
        let place = place.or_else(|| section.place("request_bytes_max"));
        let memory_place = section.place("memory_bytes_max");
        let limits = limits!(section,
            bulk_bytes_max: KIB..=512 * MIB,
            arguments_max: 16..=ARGUMENTS,
            inline_bytes_max: 64..=MIB,
            request_bytes_max: KIB..=4096 * MIB - 1,
            client_output_bytes_max: KIB..=1024 * MIB,
            client_output_bytes_cut: MIB..=64 * 1024 * MIB,
            client_in_flight_max: 1..=65_536,
            large_in_flight_max: 1..=1024,
            client_login_timeout_ms: WAIT_MS,
            login_failures_max: 0..=65_536,
            login_failures_window_ms: WAIT_MS,
            client_request_timeout_ms: WAIT_MS,
            client_idle_timeout_ms: 0..=24 * HOUR_MS,
            client_output_timeout_ms: 1..=24 * HOUR_MS,
            subscriber_output_bytes_max: KIB..=64 * 1024 * MIB,
            client_subscription_bytes_max: KIB..=64 * 1024 * MIB,
            backend_queue_bytes_max: MIB..=4096 * MIB,
            backend_queue_requests_max: 1..=16 * MIB,
            hold_bytes_max: MIB..=4096 * MIB,
            hold_requests_max: 1..=16 * MIB,
            client_hold_bytes_max: KIB..=4096 * MIB,
            memory_bytes_max: 0..=MEMORY_MAX as usize,
            merge_bytes_max: MIB..=4096 * MIB,
            transaction_bytes_max: 1024..=4096 * MIB,
            cross_slot_bytes_max: KIB..=4096 * MIB,
            script_cache_bytes_max: 0..=4096 * MIB,
            private_connections_max: 0..=65_536,
            private_idle_max: 0..=65_536,
        );
        limits.refuse_contradictions(section, place);
        if (1..MEMORY_MIN as usize).contains(&limits.memory_bytes_max) {
            let problem = "must be 0 or at least 33554432 (32 MiB)";
            section.refuse(memory_place, "memory_bytes_max", problem);
        }
        limits
    }

    fn refuse_contradictions(&self, section: &mut Section<'_>, place: Option<usize>) {
        if self.bulk_bytes_max > self.request_bytes_max {
            section.refuse(place, "bulk_bytes_max", "must not exceed request_bytes_max");
        }
    }
}

/// The most arguments that a request can announce.
const ARGUMENTS: usize = i32::MAX as usize;
pub(super) const KIB: usize = 1024;
pub(super) const MIB: usize = 1024 * KIB;
