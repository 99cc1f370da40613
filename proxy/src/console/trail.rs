//! The last fifteen minutes, as far as a proxy has told of them.

use std::collections::VecDeque;

use super::model::{History, Printable};

/// Seconds in their order.
#[derive(Debug, Default)]
pub(super) struct Trail {
    fields: Vec<Printable>,
    samples: VecDeque<Vec<Option<f64>>>,
}

/// What stands for all seconds of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    Mean,
    Highest,
}

impl Trail {
    /// Takes what a proxy told at that time of its clock.
    pub(super) fn add(&mut self, time: f64, history: History) {
        // Another proxy in its place, or a clock that was set back: what was before can't be
        // compared.
        if self.fields != history.fields || self.last_time() > time + 1.0 {
            self.samples.clear();
            self.fields = history.fields;
        }
        let fields = self.fields.len();
        let whole = history.samples.into_iter();
        for sample in whole.filter(|sample| sample.len() == fields) {
            let is_later = self.time_field().is_some_and(|place| {
                let last = self.samples.back();
                last.is_none_or(|last| sample[place] > last[place])
            });
            if is_later {
                self.samples.push_back(sample);
            }
        }
        let surplus = self.samples.len().saturating_sub(SAMPLES_MAX);
        self.samples.drain(..surplus);
    }

    /// The time of the last second; 0 when there is none.
    pub(super) fn last_time(&self) -> f64 {
        self.latest("time").unwrap_or_default()
    }

    /// What the last second had.
    pub(super) fn latest(&self, field: &str) -> Option<f64> {
        self.samples.back()?[self.place(field)?]
    }

    /// All that there is of a field.
    pub(super) fn values(&self, field: &str) -> impl Iterator<Item = f64> {
        let place = self.place(field);
        let samples = self.samples.iter();
        samples.filter_map(move |sample| sample[place?])
    }

    /// Fifteen minutes that end at `end` in so many bars, `None` where nothing is known.
    pub(super) fn bars(&self, field: &str, end: f64, count: usize, pick: Pick) -> Vec<Option<f64>> {
        let mut bars: Vec<Option<(f64, f64)>> = vec![None; count];
        let (Some(time), Some(place)) = (self.time_field(), self.place(field)) else {
            return vec![None; count];
        };
        let seconds_each = SECONDS / count.max(1) as f64;
        for sample in &self.samples {
            let (Some(at), Some(value)) = (sample[time], sample[place]) else {
                continue;
            };
            let age = end - at;
            if !(0.0..SECONDS).contains(&age) {
                continue;
            }
            let back = (age / seconds_each) as usize;
            let Some(bar) = count.checked_sub(1 + back).map(|place| &mut bars[place]) else {
                continue;
            };
            let (sum, number) = bar.unwrap_or_default();
            *bar = Some(match pick {
                Pick::Mean => (sum + value, number + 1.0),
                Pick::Highest => (sum.max(value), 1.0),
            });
        }
        let bars = bars.into_iter();
        bars.map(|bar| bar.map(|(sum, number)| sum / number))
            .collect()
    }

    fn time_field(&self) -> Option<usize> {
        self.place("time")
    }

    fn place(&self, field: &str) -> Option<usize> {
        self.fields.iter().position(|name| name.as_str() == field)
    }
}

pub(super) const SECONDS: f64 = 900.0;
const SAMPLES_MAX: usize = 900;

#[cfg(test)]
mod tests {
    use super::*;

    fn history(times: impl IntoIterator<Item = u32>) -> History {
        let sample = |time: u32| vec![Some(f64::from(time)), Some(f64::from(time % 10)), None];
        History {
            fields: ["time", "requests", "p99_ms"].map(Printable::of).into(),
            samples: times.into_iter().map(sample).collect(),
        }
    }

    #[test]
    fn what_is_told_again_counts_once_and_old_seconds_go() {
        let mut trail = Trail::default();
        assert_eq!((trail.last_time(), trail.latest("requests")), (0.0, None));
        trail.add(103.0, history(100..104));
        trail.add(105.0, history(102..106));
        assert_eq!(trail.values("requests").count(), 6);
        assert_eq!(
            (trail.last_time(), trail.latest("requests")),
            (105.0, Some(5.0))
        );
        assert_eq!(
            (trail.latest("p99_ms"), trail.latest("nonsense")),
            (None, None)
        );
        trail.add(5_000.0, history(4_000..5_001));
        assert_eq!(trail.values("time").count(), 900);
        trail.add(50.0, history(49..51));
        assert_eq!(trail.values("time").count(), 2, "the clock was set back");
        let mut odd = history([60]);
        odd.samples.push(vec![Some(61.0)]);
        trail.add(61.0, odd);
        assert_eq!(
            trail.last_time(),
            60.0,
            "a second of another length is none"
        );
    }

    #[test]
    fn bars_have_gaps_where_nothing_is_known() {
        let mut trail = Trail::default();
        trail.add(1_000.0, history((105..115).chain(996..1_001)));
        let bars = trail.bars("requests", 1_000.0, 90, Pick::Highest);
        assert_eq!((bars[0], bars[1], bars[2]), (Some(9.0), Some(4.0), None));
        assert_eq!(bars[89], Some(9.0));
        let bars = trail.bars("requests", 1_000.0, 90, Pick::Mean);
        assert_eq!(bars[89], Some(6.0), "of 6, 7, 8, 9 and 0");
        assert_eq!(trail.bars("requests", 1_000.0, 0, Pick::Mean), []);
        assert_eq!(trail.bars("requests", 1.0, 3, Pick::Mean), [None; 3]);
        assert_eq!(trail.bars("p99_ms", 1_000.0, 2, Pick::Mean), [None; 2]);
        let bars = trail.bars("requests", 1_000.0, 2_000, Pick::Mean);
        assert_eq!(bars.iter().flatten().count(), 15);
    }
}
