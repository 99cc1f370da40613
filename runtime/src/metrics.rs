//! Turns what several threads count, summed up, into what Prometheus scrapes.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, Registry, TextEncoder};
use slotway_protocol::metrics::BOUNDS_MICROS;
pub use slotway_protocol::metrics::{Counter, Gauge, Histogram};

/// A histogram's numbers at one moment, or the sum of several histograms'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Distribution {
    buckets: [u64; BOUNDS_MICROS.len() + 1],
    sum_micros: u64,
}

impl Distribution {
    /// The sum of all of them.
    pub fn of<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Self {
        let mut sum = Self::default();
        for histogram in histograms {
            sum.add(histogram);
        }
        sum
    }

    pub fn add(&mut self, histogram: &Histogram) {
        let (buckets, sum_micros) = histogram.snapshot();
        for (bucket, count) in self.buckets.iter_mut().zip(buckets) {
            *bucket += count;
        }
        self.sum_micros += sum_micros;
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    pub fn sum_micros(&self) -> u64 {
        self.sum_micros
    }

    fn to_proto(&self) -> proto::Histogram {
        let mut count = 0;
        let bounds = BOUNDS_MICROS.iter().zip(&self.buckets);
        let buckets = bounds.map(|(&bound, &observed)| {
            count += observed;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(bound as f64 / 1e6);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.count());
        histogram.set_sample_sum(self.sum_micros as f64 / 1e6);
        histogram
    }
}

/// One metric on its way to the text format: its name, its help and its samples.
///
/// ```
/// use slotway_runtime::metrics::{Counter, Family};
/// let workers = [Counter::default(), Counter::default()];
/// let total = workers.iter().map(Counter::value).sum::<u64>();
/// let mut family = Family::counter("slotway_requests_total", "Requests read from clients.");
/// family.sample(&[("kind", "read")], total as f64);
/// let family = family.into_proto();
/// ```
#[derive(Debug)]
pub struct Family(MetricFamily);

impl Family {
    pub fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    pub fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    /// Of times, in seconds as is Prometheus' custom.
    pub fn histogram(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    /// Adds a value of a counter or a gauge.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let mut metric = Metric::from_label(label_pairs(labels));
        match self.0.get_field_type() {
            MetricType::COUNTER => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            MetricType::GAUGE => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
            other => unreachable!("{other:?} has no single value"),
        }
        self.0.mut_metric().push(metric);
    }

    /// Adds the values of a histogram.
    pub fn distribution(&mut self, labels: &[(&str, &str)], distribution: &Distribution) {
        assert_eq!(
            self.0.get_field_type(),
            MetricType::HISTOGRAM,
            "only a histogram has a distribution"
        );
        let mut metric = Metric::from_label(label_pairs(labels));
        metric.set_histogram(distribution.to_proto());
        self.0.mut_metric().push(metric);
    }

    pub fn into_proto(self) -> MetricFamily {
        self.0
    }

    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self(family)
    }
}

/// A collector made of a function, for [`Registry::register`]. `name` tells it from the others in
/// the registry and appears nowhere.
pub fn collector(
    name: &str,
    collect: impl Fn() -> Vec<Family> + Send + Sync + 'static,
) -> prometheus::Result<Box<dyn Collector>> {
    let description = Desc::new(
        name.to_owned(),
        "A group of metrics.".to_owned(),
        Vec::new(),
        std::collections::HashMap::new(),
    )?;
    Ok(Box::new(FunctionCollector {
        description,
        collect,
    }))
}

struct FunctionCollector<F> {
    description: Desc,
    collect: F,
}

impl<F: Fn() -> Vec<Family> + Send + Sync> Collector for FunctionCollector<F> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = (self.collect)().into_iter();
        families.map(Family::into_proto).collect()
    }
}

/// All of a registry's metrics in the text format.
///
/// # Errors
/// When a family breaks the format's rules.
pub fn encode(registry: &Registry) -> prometheus::Result<Vec<u8>> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

/// These metrics in the text format, in their order. What has no sample is left out.
///
/// # Errors
/// When a family breaks the format's rules.
pub fn encode_families(families: Vec<Family>) -> prometheus::Result<Vec<u8>> {
    let families = families.into_iter().map(Family::into_proto);
    let families: Vec<_> = families
        .filter(|family| !family.get_metric().is_empty())
        .collect();
    let mut text = Vec::new();
    TextEncoder::new().encode(&families, &mut text)?;
    Ok(text)
}

/// The content type of what [`encode`] returns.
pub const TEXT_FORMAT: &str = prometheus::TEXT_FORMAT;

fn label_pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_time_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let cases = [
            (0, 0),
            (50, 0),
            (51, 1),
            (100, 1),
            (999, 4),
            (1_000, 4),
            (1_001, 5),
            (5_000_000, 15),
            (5_000_001, 16),
            (u64::from(u32::MAX) + 5, 16),
        ];
        for (micros, bucket) in cases {
            let histogram = Histogram::default();
            histogram.observe(micros);
            let distribution = Distribution::of([&histogram]);
            assert_eq!(distribution.buckets[bucket], 1, "{micros} µs");
            assert_eq!(
                (distribution.count(), distribution.sum_micros()),
                (1, micros)
            );
        }
    }

    #[test]
    fn workers_are_summed_and_written_as_text() {
        let workers: Arc<[(Counter, Histogram)]> = (0..2).map(|_| Default::default()).collect();
        workers[0].0.add(3);
        workers[1].0.inc();
        workers[0].1.observe(40);
        workers[1].1.observe(150);
        workers[1].1.observe(9_000_000);
        let registry = Registry::new();
        let collect = move || {
            let mut requests = Family::counter("test_requests_total", "Requests.");
            let total: u64 = workers.iter().map(|worker| worker.0.value()).sum();
            requests.sample(&[("command", "get")], total as f64);
            let mut empty = Family::gauge("test_nothing", "No samples yet.");
            let mut seconds = Family::histogram("test_seconds", "Times.");
            let times = Distribution::of(workers.iter().map(|worker| &worker.1));
            seconds.distribution(&[], &times);
            if total == 0 {
                empty.sample(&[], 1.0);
            }
            vec![requests, empty, seconds]
        };
        registry
            .register(collector("test", collect).unwrap())
            .unwrap();
        let text = String::from_utf8(encode(&registry).unwrap()).unwrap();
        let expected = [
            "# TYPE test_requests_total counter\ntest_requests_total{command=\"get\"} 4\n",
            "test_seconds_bucket{le=\"0.00005\"} 1\n",
            "test_seconds_bucket{le=\"0.0002\"} 2\n",
            "test_seconds_bucket{le=\"5\"} 2\ntest_seconds_bucket{le=\"+Inf\"} 3\n",
            "test_seconds_sum 9.00019\ntest_seconds_count 3\n",
        ];
        for part in expected {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains("test_nothing"));
    }

    #[test]
    fn a_gauge_goes_both_ways() {
        let gauge = Gauge::default();
        gauge.set(5);
        gauge.add(-7);
        assert_eq!(gauge.value(), -2);
    }
}
