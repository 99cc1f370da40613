//! The `[access_log]` of the configuration: which requests have a line in the log, and what of.

use slotway::engine::Options;

use super::reader::Section;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccessLogConfig {
    /// One in so many requests; 0: none.
    pub(crate) sample: usize,
    /// In each worker, within a second.
    pub(crate) lines_max: usize,
    pub(crate) keys: bool,
}

impl AccessLogConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            sample: section.count("sample", 0..=1_000_000_000, default.sample),
            lines_max: section.count("lines_max", 1..=100_000, default.lines_max),
            keys: section.flag("keys", default.keys),
        }
    }

    pub(super) fn apply(&self, options: &mut Options) {
        options.access_log_sample = self.sample as u64;
        options.access_log_lines_max = self.lines_max as u64;
        options.access_log_keys = self.keys;
    }
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            sample: 0,
            lines_max: 100,
            keys: false,
        }
    }
}
