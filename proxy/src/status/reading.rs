//! What the metrics say at one moment, as far as the status page shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::proto::{Metric, MetricFamily};

/// Totals since the start, and how things are now.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) requests: f64,
    pub(super) errors: f64,
    pub(super) redirects: f64,
    pub(super) retries: f64,
    pub(super) held: f64,
    pub(super) unknown: f64,
    /// Requests that failed for want of room or of a node.
    pub(super) failed: f64,
    pub(super) clients_refused: f64,
    pub(super) panics: f64,
    pub(super) received_bytes: f64,
    pub(super) sent_bytes: f64,
    pub(super) clients: f64,
    pub(super) clients_max: f64,
    pub(super) in_flight: f64,
    pub(super) holds: f64,
    pub(super) memory_bytes: f64,
    pub(super) memory_max: f64,
    pub(super) memory_strain: f64,
    pub(super) slots_covered: f64,
    pub(super) epoch: f64,
    pub(super) reload_ok: bool,
    pub(super) latency: Buckets,
    pub(super) nodes: BTreeMap<String, NodeReading>,
}

/// What the metrics say of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeReading {
    /// The topology does not name it any more.
    pub(super) has_left: bool,
    pub(super) is_up: bool,
    pub(super) is_primary: bool,
    pub(super) slots: f64,
    pub(super) connections: f64,
    pub(super) circuits_open: f64,
    pub(super) in_flight: f64,
    pub(super) requests: f64,
    pub(super) replies: f64,
    pub(super) reply_seconds: f64,
    pub(super) errors: f64,
    /// Of a replica, where it is known.
    pub(super) lag_seconds: Option<f64>,
}

/// A histogram: upper bounds in seconds, and how many were at most that, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Reading {
    pub(super) fn of(families: &[MetricFamily]) -> Self {
        let mut reading = Self {
            reload_ok: true,
            ..Self::default()
        };
        for family in families {
            for metric in family.get_metric() {
                reading.take(family.name(), metric);
            }
        }
        reading
    }

    fn take(&mut self, name: &str, metric: &Metric) {
        if let Some(name) = name.strip_prefix("slotway_node_") {
            return self.take_node(name, metric);
        }
        let value = value(metric);
        let place = match name {
            "slotway_requests_total" => {
                if label(metric, "outcome") == Some("error") {
                    self.errors += value;
                }
                &mut self.requests
            }
            "slotway_redirects_total" => &mut self.redirects,
            "slotway_retries_total" => &mut self.retries,
            "slotway_held_requests_total" => &mut self.held,
            "slotway_results_unknown_total" => &mut self.unknown,
            "slotway_held_requests_expired_total"
            | "slotway_held_requests_refused_total"
            | "slotway_backend_queue_full_total" => &mut self.failed,
            "slotway_clients_refused_total" => &mut self.clients_refused,
            "slotway_panics_total" => &mut self.panics,
            "slotway_client_received_bytes_total" => &mut self.received_bytes,
            "slotway_client_sent_bytes_total" => &mut self.sent_bytes,
            "slotway_clients" => &mut self.clients,
            "slotway_clients_max" => &mut self.clients_max,
            "slotway_in_flight_requests" => &mut self.in_flight,
            "slotway_holds" => &mut self.holds,
            "process_resident_memory_bytes" => &mut self.memory_bytes,
            "slotway_memory_max_bytes" => &mut self.memory_max,
            "slotway_memory_strain" => &mut self.memory_strain,
            "slotway_topology_slots_covered" => &mut self.slots_covered,
            "slotway_topology_epoch" => &mut self.epoch,
            "slotway_config_last_reload_successful" => {
                self.reload_ok = value > 0.0;
                return;
            }
            "slotway_client_request_duration_seconds" => {
                self.latency = Buckets::of(metric);
                return;
            }
            _ => return,
        };
        *place += value;
    }

    fn take_node(&mut self, name: &str, metric: &Metric) {
        let Some(address) = label(metric, "node") else {
            return;
        };
        let value = value(metric);
        let node = self.nodes.entry(address.to_owned()).or_default();
        let place = match name {
            "in_topology" => {
                node.has_left = value == 0.0;
                return;
            }
            "up" => {
                node.is_up = value > 0.0;
                return;
            }
            "primary" => {
                node.is_primary = value > 0.0;
                return;
            }
            "lag_seconds" => {
                node.lag_seconds = Some(value).filter(|seconds| !seconds.is_nan());
                return;
            }
            "slots" => &mut node.slots,
            "connections" => &mut node.connections,
            "circuit_open" => &mut node.circuits_open,
            "in_flight_requests" => &mut node.in_flight,
            "requests_total" => &mut node.requests,
            "replies_total" => &mut node.replies,
            "request_seconds_total" => &mut node.reply_seconds,
            "errors_total" => &mut node.errors,
            _ => return,
        };
        *place += value;
    }
}

impl Buckets {
    fn of(metric: &Metric) -> Self {
        let buckets = metric.get_histogram().get_bucket().iter();
        Self(
            buckets
                .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count() as f64))
                .collect(),
        )
    }

    /// The time within which that share of what came since `before` was done; `None` when nothing
    /// came. Within a bucket all times are taken to be as likely.
    pub(super) fn quantile_since(&self, before: &Self, share: f64) -> Option<Duration> {
        let count_at = |place: usize| {
            let before = before.0.get(place).map_or(0.0, |(_, count)| *count);
            self.0[place].1 - before
        };
        let total = count_at(self.0.len().checked_sub(1)?);
        if total <= 0.0 {
            return None;
        }
        let wanted = share * total;
        let place = (0..self.0.len()).find(|place| count_at(*place) >= wanted)?;
        let (lower, below) = match place.checked_sub(1) {
            Some(previous) => (self.0[previous].0, count_at(previous)),
            None => (0.0, 0.0),
        };
        let upper = self.0[place].0;
        if !upper.is_finite() {
            return Some(Duration::from_secs_f64(lower));
        }
        let part = (wanted - below) / (count_at(place) - below).max(1.0);
        let seconds = lower + (upper - lower) * part.clamp(0.0, 1.0);
        Some(Duration::from_secs_f64(seconds))
    }
}

/// A counter's or a gauge's; the other one is zero.
fn value(metric: &Metric) -> f64 {
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

fn label<'a>(metric: &'a Metric, name: &str) -> Option<&'a str> {
    let mut labels = metric.get_label().iter();
    Some(labels.find(|label| label.name() == name)?.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_between_the_bounds_of_their_bucket() {
        let before = Buckets(vec![(0.001, 10.0), (0.002, 10.0), (f64::INFINITY, 10.0)]);
        let after = Buckets(vec![(0.001, 10.0), (0.002, 110.0), (f64::INFINITY, 110.0)]);
        let quantile = |share| after.quantile_since(&before, share);
        assert_eq!(quantile(0.5), Some(Duration::from_micros(1_500)));
        assert_eq!(quantile(1.0), Some(Duration::from_micros(2_000)));
        assert_eq!(after.quantile_since(&after, 0.5), None, "nothing came");
        assert_eq!(Buckets::default().quantile_since(&before, 0.5), None);
        let late = Buckets(vec![(0.001, 0.0), (0.002, 0.0), (f64::INFINITY, 5.0)]);
        let none = Buckets::default();
        let longest = late.quantile_since(&none, 0.99);
        assert_eq!(longest, Some(Duration::from_micros(2_000)), "or longer");
    }
}
