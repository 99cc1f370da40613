//! Fifteen minutes as bars.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, SparklineBar};

use super::super::trail::Pick;
use super::super::words::{milliseconds, number};
use super::app::App;

/// One thing that was measured each second.
pub(super) struct Chart {
    name: &'static str,
    field: &'static str,
    pick: Pick,
    /// Nobody wants to see any of it.
    is_trouble: bool,
    shown: fn(Option<f64>) -> String,
}

/// In the order of their weight.
pub(super) const CHARTS: [Chart; 4] = [
    Chart {
        name: "requests/s",
        field: "requests",
        pick: Pick::Mean,
        is_trouble: false,
        shown: rate,
    },
    Chart {
        name: "p99",
        field: "p99_ms",
        pick: Pick::Highest,
        is_trouble: false,
        shown: milliseconds,
    },
    Chart {
        name: "errors/s",
        field: "errors",
        pick: Pick::Highest,
        is_trouble: true,
        shown: rate,
    },
    Chart {
        name: "clients",
        field: "clients",
        pick: Pick::Highest,
        is_trouble: false,
        shown: rate,
    },
];

fn rate(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

/// A line of words, and bars in what is left.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, chart: &Chart, app: &App) {
    let [words, bars] = super::view::split_top(area, 1);
    let peak = app
        .trail
        .values(chart.field)
        .fold(None, |peak: Option<f64>, value| {
            Some(peak.map_or(value, |peak| peak.max(value)))
        });
    let now = (chart.shown)(app.trail.latest(chart.field));
    let line = Line::from_iter([
        Span::styled(chart.name, app.theme.heading()),
        Span::raw(format!(" {now}")),
        Span::styled(
            format!("  15 min, peak {}", (chart.shown)(peak)),
            app.theme.dim(),
        ),
    ]);
    frame.render_widget(line, words);
    let levels = u64::from(bars.height) * LEVELS;
    let columns = usize::from(bars.width);
    let values = app
        .trail
        .bars(chart.field, app.proxy_time(), columns, chart.pick);
    let values = values.into_iter().map(|value| {
        let share = value? / peak.filter(|peak| *peak > 0.0).unwrap_or(1.0);
        // Zero is drawn too: only what is not known is blank.
        Some(((share * levels as f64).round() as u64).max(1))
    });
    let is_trouble = chart.is_trouble && peak.is_some_and(|peak| peak > 0.0);
    let sparkline = Sparkline::default()
        .data(values.map(SparklineBar::from))
        .max(levels.max(1))
        .style(app.theme.bars(is_trouble));
    frame.render_widget(sparkline, bars);
}

/// Of one character.
const LEVELS: u64 = 8;
