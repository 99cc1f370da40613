//! The settings that can be changed while the proxy runs, and what the workers tell each other of
//! such changes.

use core::fmt;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::sync::Arc;

use super::options::Options;
use super::totals::Totals;

/// A number among the options that every later request goes by.
#[derive(Debug)]
pub struct Setting {
    /// As in the config file.
    pub name: &'static str,
    /// What the config file allows too.
    pub range: RangeInclusive<u64>,
    pub(crate) read: fn(&Options) -> u64,
    write: fn(&mut Options, u64),
}

impl Setting {
    /// Whether it counts bytes, which may be written with a unit.
    pub(crate) fn is_bytes(&self) -> bool {
        self.name.contains("_bytes_")
    }
}

/// The setting of that name, in any case.
pub(crate) fn setting(name: &[u8]) -> Option<&'static Setting> {
    let name = NAMES_OF_REDIS
        .iter()
        .find(|(redis, _)| redis.as_bytes().eq_ignore_ascii_case(name))
        .map_or(name, |(_, ours)| ours.as_bytes());
    SETTINGS
        .iter()
        .find(|setting| setting.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Settings and their new values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes(Vec<(&'static str, u64)>);

impl Changes {
    pub(crate) fn set(&mut self, setting: &'static Setting, value: u64) {
        self.0.retain(|(name, _)| *name != setting.name);
        self.0.push((setting.name, value));
    }

    /// # Errors
    /// The name of a setting that would not go together with the others, and why.
    pub(crate) fn check(&self, options: &Options) -> Result<(), (&'static str, &'static str)> {
        let mut changed = options.clone();
        self.apply(&mut changed);
        let limits = &changed.request;
        if limits.bulk_bytes_max > limits.query_bytes_max as u64 {
            return Err(("bulk_bytes_max", "must not exceed request_bytes_max"));
        }
        if (1..MEMORY_MIN as usize).contains(&changed.memory_bytes_max) {
            return Err((
                "memory_bytes_max",
                "must be 0 or at least 33554432 (32 MiB)",
            ));
        }
        Ok(())
    }

    pub(crate) fn apply(&self, options: &mut Options) {
        for (name, value) in &self.0 {
            if let Some(setting) = setting(name.as_bytes()) {
                (setting.write)(options, *value);
            }
        }
    }
}

/// What all workers of one proxy go by besides their options. Whoever changes it tells the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreed {
    pub(crate) changes: Changes,
    /// What INFO counts from since CONFIG RESETSTAT.
    pub(crate) baseline: Option<Arc<Totals>>,
}

impl Agreed {
    /// What has to change for the settings of `before` to become those of `after`.
    pub fn between(before: &Options, after: &Options) -> Self {
        let mut changes = Changes::default();
        for setting in SETTINGS {
            let value = (setting.read)(after);
            if value != (setting.read)(before) {
                changes.set(setting, value);
            }
        }
        Self {
            changes,
            baseline: None,
        }
    }

    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.changes.0.is_empty() && self.baseline.is_none()
    }

    /// Takes over what is newer.
    pub fn merge(&mut self, newer: &Self) {
        for (name, value) in &newer.changes.0 {
            if let Some(setting) = setting(name.as_bytes()) {
                self.changes.set(setting, *value);
            }
        }
        if newer.baseline.is_some() {
            self.baseline.clone_from(&newer.baseline);
        }
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, value) in &self.changes.0 {
            write!(f, "{separator}{name} = {value}")?;
            separator = ", ";
        }
        if self.baseline.is_some() {
            write!(f, "{separator}INFO counts anew")?;
        }
        Ok(())
    }
}

/// Two settings that redis-server has too, and their names there.
pub(crate) const NAMES_OF_REDIS: [(&str, &str); 2] = [
    ("client-query-buffer-limit", "request_bytes_max"),
    ("proto-max-bulk-len", "bulk_bytes_max"),
];

pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "access_log_lines_max",
        range: 1..=100_000,
        read: |options| options.access_log_lines_max,
        write: |options, value| options.access_log_lines_max = value,
    },
    Setting {
        name: "access_log_sample",
        range: 0..=1_000_000_000,
        read: |options| options.access_log_sample,
        write: |options, value| options.access_log_sample = value,
    },
    Setting {
        name: "arguments_max",
        range: 16..=i32::MAX as u64,
        read: |options| options.request.arguments_max,
        write: |options, value| options.request.arguments_max = value,
    },
    Setting {
        name: "backend_queue_bytes_max",
        range: MIB..=4096 * MIB,
        read: |options| options.backend_queue_bytes_max as u64,
        write: |options, value| options.backend_queue_bytes_max = value as usize,
    },
    Setting {
        name: "backend_queue_requests_max",
        range: 1..=16 * MIB,
        read: |options| options.backend_queue_requests_max as u64,
        write: |options, value| options.backend_queue_requests_max = value as usize,
    },
    Setting {
        name: "bulk_bytes_max",
        range: KIB..=512 * MIB,
        read: |options| options.request.bulk_bytes_max,
        write: |options, value| options.request.bulk_bytes_max = value,
    },
    Setting {
        name: "client_hold_bytes_max",
        range: KIB..=4096 * MIB,
        read: |options| options.client_hold_bytes_max as u64,
        write: |options, value| options.client_hold_bytes_max = value as usize,
    },
    Setting {
        name: "client_in_flight_max",
        range: 1..=65_536,
        read: |options| options.client_in_flight_max as u64,
        write: |options, value| options.client_in_flight_max = value as usize,
    },
    Setting {
        name: "client_output_bytes_cut",
        range: MIB..=64 * 1024 * MIB,
        read: |options| options.client_output_bytes_cut as u64,
        write: |options, value| options.client_output_bytes_cut = value as usize,
    },
    Setting {
        name: "client_output_bytes_max",
        range: KIB..=1024 * MIB,
        read: |options| options.client_output_bytes_max as u64,
        write: |options, value| options.client_output_bytes_max = value as usize,
    },
    Setting {
        name: "client_idle_timeout_ms",
        range: 0..=24 * HOUR_MS,
        read: |options| millis(options.client_idle_timeout),
        write: |options, value| options.client_idle_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "client_login_timeout_ms",
        range: 1..=HOUR_MS,
        read: |options| millis(options.client_login_timeout),
        write: |options, value| options.client_login_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "client_output_timeout_ms",
        range: 1..=24 * HOUR_MS,
        read: |options| millis(options.client_output_timeout),
        write: |options, value| options.client_output_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "client_request_timeout_ms",
        range: 1..=HOUR_MS,
        read: |options| millis(options.client_request_timeout),
        write: |options, value| options.client_request_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "client_subscription_bytes_max",
        range: KIB..=64 * 1024 * MIB,
        read: |options| options.client_subscription_bytes_max as u64,
        write: |options, value| options.client_subscription_bytes_max = value as usize,
    },
    Setting {
        name: "close_timeout_ms",
        range: 1..=HOUR_MS,
        read: |options| millis(options.close_timeout),
        write: |options, value| options.close_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "command_timeout_ms",
        range: 1..=HOUR_MS,
        read: |options| millis(options.command_timeout),
        write: |options, value| options.command_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "hold_bytes_max",
        range: MIB..=4096 * MIB,
        read: |options| options.hold_bytes_max as u64,
        write: |options, value| options.hold_bytes_max = value as usize,
    },
    Setting {
        name: "hold_requests_max",
        range: 1..=16 * MIB,
        read: |options| options.hold_requests_max as u64,
        write: |options, value| options.hold_requests_max = value as usize,
    },
    Setting {
        name: "hold_timeout_ms",
        range: 1..=HOUR_MS,
        read: |options| millis(options.hold_timeout),
        write: |options, value| options.hold_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "inline_bytes_max",
        range: 64..=MIB,
        read: |options| options.request.inline_bytes_max as u64,
        write: |options, value| options.request.inline_bytes_max = value as usize,
    },
    Setting {
        name: "large_in_flight_max",
        range: 1..=1024,
        read: |options| options.large_in_flight_max as u64,
        write: |options, value| options.large_in_flight_max = value as usize,
    },
    Setting {
        name: "login_failures_max",
        range: 0..=65_536,
        read: |options| options.login_failures_max as u64,
        write: |options, value| options.login_failures_max = value as usize,
    },
    Setting {
        name: "login_failures_window_ms",
        range: 1..=HOUR_MS,
        read: |options| millis(options.login_failures_window),
        write: |options, value| options.login_failures_window = Duration::from_millis(value),
    },
    Setting {
        name: "memory_bytes_max",
        range: 0..=MEMORY_MAX,
        read: |options| options.memory_bytes_max as u64,
        write: |options, value| options.memory_bytes_max = value as usize,
    },
    Setting {
        name: "merge_bytes_max",
        range: MIB..=4096 * MIB,
        read: |options| options.merge_bytes_max as u64,
        write: |options, value| options.merge_bytes_max = value as usize,
    },
    Setting {
        name: "cross_slot_bytes_max",
        range: KIB..=4096 * MIB,
        read: |options| options.cross_slot_bytes_max as u64,
        write: |options, value| options.cross_slot_bytes_max = value as usize,
    },
    Setting {
        name: "node_check_interval_ms",
        range: 0..=HOUR_MS,
        read: |options| millis(options.node_check_interval),
        write: |options, value| options.node_check_interval = Duration::from_millis(value),
    },
    Setting {
        name: "private_connections_max",
        range: 0..=65_536,
        read: |options| options.private_connections_max as u64,
        write: |options, value| options.private_connections_max = value as usize,
    },
    Setting {
        name: "private_idle_max",
        range: 0..=65_536,
        read: |options| options.private_idle_max as u64,
        write: |options, value| options.private_idle_max = value as usize,
    },
    Setting {
        name: "read_your_writes_ms",
        range: 0..=HOUR_MS,
        read: |options| millis(options.reads.your_writes),
        write: |options, value| options.reads.your_writes = Duration::from_millis(value),
    },
    Setting {
        name: "redirects_max",
        range: 1..=64,
        read: |options| options.redirects_max.into(),
        write: |options, value| options.redirects_max = u8::try_from(value).unwrap_or(u8::MAX),
    },
    Setting {
        name: "replica_lag_max_bytes",
        range: 0..=1024 * 1024 * MIB,
        read: |options| options.reads.lag_bytes_max,
        write: |options, value| options.reads.lag_bytes_max = value,
    },
    Setting {
        name: "replica_lag_max_ms",
        range: 0..=600_000,
        read: |options| millis(options.reads.lag_max),
        write: |options, value| options.reads.lag_max = Duration::from_millis(value),
    },
    Setting {
        name: "replica_timeout_ms",
        range: 10..=HOUR_MS,
        read: |options| millis(options.reads.replica_timeout),
        write: |options, value| options.reads.replica_timeout = Duration::from_millis(value),
    },
    Setting {
        name: "request_bytes_max",
        range: KIB..=4096 * MIB - 1,
        read: |options| options.request.query_bytes_max as u64,
        write: |options, value| options.request.query_bytes_max = value as usize,
    },
    Setting {
        name: "retry_percent",
        range: 0..=1_000,
        read: |options| options.retry_percent,
        write: |options, value| options.retry_percent = value,
    },
    Setting {
        name: "subscriber_output_bytes_max",
        range: KIB..=64 * 1024 * MIB,
        read: |options| options.subscriber_output_bytes_max as u64,
        write: |options, value| options.subscriber_output_bytes_max = value as usize,
    },
    Setting {
        name: "script_cache_bytes_max",
        range: 0..=4096 * MIB,
        read: |options| options.script_cache_bytes_max as u64,
        write: |options, value| options.script_cache_bytes_max = value as usize,
    },
    Setting {
        name: "hot_key_sample",
        range: 0..=65_536,
        read: |options| options.hot_key_sample as u64,
        write: |options, value| options.hot_key_sample = value as usize,
    },
    Setting {
        name: "large_value_bytes_min",
        range: 32 * KIB..=512 * MIB,
        read: |options| options.large_value_bytes as u64,
        write: |options, value| options.large_value_bytes = value as usize,
    },
    Setting {
        name: "slowlog_max_len",
        range: 0..=65_536,
        read: |options| options.slowlog_max_len as u64,
        write: |options, value| options.slowlog_max_len = value as usize,
    },
    Setting {
        name: "slowlog_slower_than_us",
        range: 0..=1000 * HOUR_MS,
        read: |options| options.slowlog_slower_than_us,
        write: |options, value| options.slowlog_slower_than_us = value,
    },
    Setting {
        name: "traces_sample",
        range: 0..=1_000_000_000,
        read: |options| options.traces_sample,
        write: |options, value| options.traces_sample = value,
    },
    Setting {
        name: "transaction_bytes_max",
        range: KIB..=4096 * MIB,
        read: |options| options.transaction_bytes_max as u64,
        write: |options, value| options.transaction_bytes_max = value as usize,
    },
];

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The least and the most that memory can be limited to.
pub const MEMORY_MIN: u64 = 32 * MIB;
pub const MEMORY_MAX: u64 = 16 * 1024 * 1024 * MIB;

const HOUR_MS: u64 = 3_600_000;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

#[cfg(test)]
mod tests {
    use super::*;

    /// Each setting changes what it reads, and nothing that another one reads.
    #[test]
    fn every_setting_is_its_own() {
        for one in SETTINGS {
            let before = Options::default();
            let mut options = Options::default();
            let value = match (one.read)(&before) {
                few @ 1..=2 => few + 1,
                usual => usual / 2 + 1,
            };
            assert!(one.range.contains(&value), "{}", one.name);
            let mut changes = Changes::default();
            changes.set(one, value);
            changes.apply(&mut options);
            for other in SETTINGS {
                let expected = if one.name == other.name {
                    value
                } else {
                    (other.read)(&before)
                };
                assert_eq!(
                    (other.read)(&options),
                    expected,
                    "{} {}",
                    one.name,
                    other.name
                );
            }
        }
    }

    #[test]
    fn what_lies_between_options_leads_from_one_to_the_other() {
        let before = Options::default();
        assert!(Agreed::between(&before, &before).is_empty());
        let mut after = before.clone();
        after.hold_timeout = Duration::from_secs(33);
        after.redirects_max = 7;
        let between = Agreed::between(&before, &after);
        assert_eq!(
            between.to_string(),
            "hold_timeout_ms = 33000, redirects_max = 7"
        );
        let mut changed = before.clone();
        between.changes.apply(&mut changed);
        assert!(Agreed::between(&changed, &after).is_empty());
    }

    #[test]
    fn the_newest_value_counts() {
        let change = |name: &str, value| {
            let mut changes = Changes::default();
            changes.set(setting(name.as_bytes()).unwrap(), value);
            Agreed {
                changes,
                baseline: None,
            }
        };
        let mut agreed = change("hold_timeout_ms", 1);
        let baseline = Some(Arc::new(Totals::default()));
        agreed.baseline.clone_from(&baseline);
        agreed.merge(&change("redirects_max", 2));
        agreed.merge(&change("HOLD_TIMEOUT_MS", 3));
        assert_eq!(
            agreed.changes.0,
            [("redirects_max", 2), ("hold_timeout_ms", 3)]
        );
        assert_eq!(agreed.baseline, baseline);
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let options = Options::default();
        let mut changes = Changes::default();
        changes.set(setting(b"client-query-buffer-limit").unwrap(), 4096);
        let refused = Err(("bulk_bytes_max", "must not exceed request_bytes_max"));
        assert_eq!(changes.check(&options), refused);
        changes.set(setting(b"bulk_bytes_max").unwrap(), 4096);
        assert_eq!(changes.check(&options), Ok(()));
    }
}
