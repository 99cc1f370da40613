//! The `[watch]` of the configuration: how closely requests are looked at.

use slotway::engine::Options;

use super::limits::{KIB, MIB};
use super::reader::Section;

/// The slow log, hot keys and large values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchConfig {
    pub(crate) slowlog_slower_than_us: usize,
    pub(crate) slowlog_max_len: usize,
    pub(crate) hot_key_sample: usize,
    pub(crate) large_value_bytes_min: usize,
}

impl WatchConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            slowlog_slower_than_us: section.count(
                "slowlog_slower_than_us",
                0..=3_600_000_000,
                default.slowlog_slower_than_us,
            ),
            slowlog_max_len: section.count("slowlog_max_len", 0..=65_536, default.slowlog_max_len),
            hot_key_sample: section.count("hot_key_sample", 0..=65_536, default.hot_key_sample),
            large_value_bytes_min: section.count(
                "large_value_bytes_min",
                32 * KIB..=512 * MIB,
                default.large_value_bytes_min,
            ),
        }
    }

    pub(super) fn apply(&self, options: &mut Options) {
        options.slowlog_slower_than_us = self.slowlog_slower_than_us as u64;
        options.slowlog_max_len = self.slowlog_max_len;
        options.hot_key_sample = self.hot_key_sample;
        options.large_value_bytes = self.large_value_bytes_min;
    }
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            slowlog_slower_than_us: 10_000,
            slowlog_max_len: 128,
            hot_key_sample: 64,
            large_value_bytes_min: 256 * KIB,
        }
    }
}
