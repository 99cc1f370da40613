//! The parts of the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use slotway_protocol::cluster::SLOTS;

use super::super::model::{HotKey, Picture, Severity};
use super::super::nodes::{self, Column, Row, letter};
use super::super::report::topology;
use super::super::slots::{Part, map};
use super::super::words::{
    NOTHING, bytes, clock, cut, milliseconds, number, plural, short_number, span,
};
use super::app::{App, Lost};
use super::view::{ago, split_top};

/// Which proxy, how it is, and what time it is there.
pub(super) fn header(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let theme = app.theme;
    let told = app.picture.as_ref().map(|picture| &picture.told);
    let (word, style) = match (&app.lost, told) {
        (Some(lost), _) => {
            let silent = span(app.now - lost.since);
            (
                format!("does not answer for {silent}"),
                theme.turned(theme.bad()),
            )
        }
        (None, None) => ("asked for the first time".to_owned(), theme.dim()),
        (None, Some(told)) if told.problems.is_empty() => ("all is well".to_owned(), theme.good()),
        (None, Some(told)) => {
            let verb = if told.problems.len() == 1 {
                "is"
            } else {
                "are"
            };
            let count = plural(told.problems.len(), "thing");
            (format!("{count} {verb} wrong"), theme.turned(theme.bad()))
        }
    };
    let version = told
        .map(|told| format!("{} ", told.version))
        .unwrap_or_default();
    let line = Line::from_iter([
        Span::styled(format!(" slotway {version}"), theme.heading()),
        Span::raw(format!("at {}  ", app.address)),
        Span::styled(format!(" {word} "), style),
    ]);
    let width = line.width();
    frame.render_widget(line, area);
    let time = if told.is_some() {
        app.proxy_time()
    } else {
        app.now
    };
    let time = format!("{} UTC ", clock(time));
    if width + time.len() < usize::from(area.width) {
        frame.render_widget(Line::styled(time, theme.dim()).right_aligned(), area);
    }
}

/// That nobody answers; returns what is left of the area.
pub(super) fn lost(frame: &mut Frame<'_>, area: Rect, app: &App, lost: &Lost) -> Rect {
    let since = clock(lost.since);
    let below = if app.picture.is_some() {
        "Below is what it told last. "
    } else {
        ""
    };
    let text = format!(
        "No answer since {since} UTC: {}. {below}Asked again every {}.",
        lost.why,
        span(app.interval.as_secs_f64())
    );
    paragraph(frame, area, &[(text, app.theme.bad())], area.height / 3)
}

/// What is wrong; returns what is left of the area.
pub(super) fn problems(frame: &mut Frame<'_>, area: Rect, app: &App, picture: &Picture) -> Rect {
    let problems = &picture.told.problems;
    if problems.is_empty() {
        let text = vec![("Nothing is wrong.".to_owned(), app.theme.good())];
        return paragraph(frame, area, &text, 1);
    }
    let said: Vec<(String, Style)> = problems
        .iter()
        .map(|problem| {
            let (mark, style) = match problem.severity {
                Severity::Critical => ("!!", app.theme.bad()),
                Severity::Warning => ("! ", app.theme.warning()),
            };
            let (since, ago) = (clock(problem.since), ago(app, problem.since));
            (
                format!("{mark} {} Since {since} UTC, {ago}.", problem.text),
                style,
            )
        })
        .collect();
    paragraph(frame, area, &said, (area.height / 4).max(4))
}

/// Texts with line breaks, in at most so many lines; says how many more texts there would be.
fn paragraph(frame: &mut Frame<'_>, area: Rect, texts: &[(String, Style)], lines_max: u16) -> Rect {
    let lines_max = usize::from(lines_max.clamp(1, area.height.max(1)));
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (place, (text, style)) in texts.iter().enumerate() {
        let wrapped = wrapped(text, usize::from(area.width));
        let others = texts.len() - place - 1;
        // The last line is kept for saying that there is more.
        if lines.len() + wrapped.len() + usize::from(others > 0) > lines_max && place > 0 {
            lines.push(Line::from(format!("   and {} more", others + 1)));
            break;
        }
        lines.extend(wrapped.into_iter().map(|line| Line::styled(line, *style)));
    }
    lines.truncate(lines_max);
    let [mut here, rest] = split_top(area, lines.len() as u16);
    for line in lines {
        let [place, below] = split_top(here, 1);
        frame.render_widget(line, place);
        here = below;
    }
    rest
}

/// Lines of at most so many columns, broken between words.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
            Some(_) => lines.push(format!("   {word}")),
        }
    }
    lines
}

/// What is measured, as numbers; returns what is left of the area.
pub(super) fn numbers(frame: &mut Frame<'_>, area: Rect, app: &App, picture: &Picture) -> Rect {
    let (told, theme) = (&picture.told, app.theme);
    let rate = |field| {
        app.trail
            .latest(field)
            .map_or_else(|| NOTHING.to_owned(), short_number)
    };
    let time = |field| milliseconds(app.trail.latest(field));
    let plain = Style::new();
    let unless_zero = |value: Option<f64>, style: Style| match value {
        Some(value) if value > 0.0 => style,
        _ => plain,
    };
    let style_of = |field, style| unless_zero(app.trail.latest(field), style);
    let uncovered = SLOTS as f64 - told.slots_covered;
    let of_most = |value: f64, most: f64| match most {
        most if most > 0.0 => format!("{}/{}", short_number(value), short_number(most)),
        _ => short_number(value),
    };
    let items = [
        ("requests/s", rate("requests"), plain),
        ("errors/s", rate("errors"), style_of("errors", theme.bad())),
        ("p50", time("p50_ms"), plain),
        ("p99", time("p99_ms"), plain),
        ("p99.9", time("p999_ms"), plain),
        ("clients", of_most(told.clients, told.clients_max), plain),
        ("in flight", rate("in_flight"), plain),
        (
            "slots that wait",
            rate("holds"),
            style_of("holds", theme.warning()),
        ),
        ("held/s", rate("held"), style_of("held", theme.warning())),
        ("redirects/s", rate("redirects"), plain),
        ("retries/s", rate("retries"), plain),
        ("memory", bytes(told.memory_bytes), plain),
        (
            "slots",
            number(told.slots_covered),
            unless_zero(Some(uncovered), theme.bad()),
        ),
        ("in/s", rate("received_bytes"), plain),
        ("out/s", rate("sent_bytes"), plain),
    ];
    let per_line = (usize::from(area.width) / NUMBER_WIDTH).clamp(1, 8);
    let width = usize::from(area.width) / per_line;
    let mut rest = area;
    let lines_max = usize::from(area.height / 4).max(1);
    for items in items.chunks(per_line).take(lines_max) {
        let mut line = Line::default();
        for (name, value, style) in items {
            let text = cut(&format!("{name} {value}"), width.saturating_sub(1));
            let value_at = text.char_indices().nth(name.len());
            let (name, value) = text.split_at(value_at.map_or(text.len(), |(at, _)| at));
            line.push_span(Span::styled(name.to_owned(), theme.dim()));
            let value_width = width.saturating_sub(name.chars().count());
            line.push_span(Span::styled(value.to_owned(), *style));
            let gap = value_width.saturating_sub(value.chars().count());
            line.push_span(" ".repeat(gap));
        }
        let [place, below] = split_top(rest, 1);
        frame.render_widget(line, place);
        rest = below;
    }
    rest
}

/// The nodes in a table.
pub(super) fn nodes(frame: &mut Frame<'_>, area: Rect, app: &App, picture: &Picture) {
    let rows = app.rows(picture);
    let columns = nodes::fitting(&rows, usize::from(area.width));
    let summary = format!("{}; {}", nodes::summary(picture), topology(picture));
    let heading = columns.iter().map(|(column, width)| {
        let is_chosen = *column == app.sort;
        let mark = match (is_chosen, app.is_reversed) {
            (true, false) => "v",
            (true, true) => "^",
            (false, _) => "",
        };
        let text = format!("{}{mark}", column.heading());
        let style = app.theme.heading();
        let style = if is_chosen {
            app.theme.turned(style)
        } else {
            style
        };
        Span::styled(nodes::placed(*column, &text, *width), style)
    });
    let lines = rows.iter().map(|row| node(row, &columns, app));
    list(frame, area, app, summary, Line::from_iter(heading), lines);
}

fn node(row: &Row<'_>, columns: &[(Column, usize)], app: &App) -> Line<'static> {
    let theme = app.theme;
    let style = match row.node.state.as_str() {
        "up" => Style::new(),
        "refusing" => theme.warning(),
        _ => theme.bad(),
    };
    let cells = columns.iter().map(|(column, width)| {
        let text = nodes::placed(*column, &column.cell(row), *width);
        let style = match (column, row.shard) {
            (Column::Shard, Some(shard)) => theme.shard(shard),
            (Column::Errors, _) if row.node.errors > 0.0 => theme.bad(),
            _ => style,
        };
        Span::styled(text, style)
    });
    Line::from_iter(cells)
}

/// The keys that are asked for most.
pub(super) fn hot_keys(frame: &mut Frame<'_>, area: Rect, app: &App, picture: &Picture) {
    let keys = picture
        .hot
        .as_ref()
        .map(|hot| &*hot.keys)
        .unwrap_or_default();
    let summary = match &picture.hot {
        Some(hot) => format!(
            "{}, of {} requests/s to nodes",
            plural(keys.len(), "hot key"),
            short_number(hot.per_second)
        ),
        None => "no hot keys are known".to_owned(),
    };
    let fixed = if area.width >= HOT_NODE_MIN { 56 } else { 34 };
    let width = usize::from(area.width).saturating_sub(fixed).max(8);
    let line = |key: &str, slot: &str, command: &str, rates: [&str; 2], node: &str| {
        let [all, writes] = rates;
        let key = cut(key, width);
        let command = cut(command, 10);
        let line = format!("{key:<width$} {slot:>5} {command:<10} {all:>7} {writes:>8}");
        if fixed > 34 {
            format!("{line} {}", cut(node, 21))
        } else {
            line
        }
    };
    let heading = line("hot key", "slot", "command", ["req/s", "writes/s"], "node");
    let shown = |key: &HotKey| {
        let node = key.node.as_ref().map_or(NOTHING, |node| node.as_str());
        let rates = [
            short_number(key.per_second),
            short_number(key.writes_per_second),
        ];
        let (name, slot) = (key.key.as_str(), key.slot.to_string());
        Line::from(line(
            name,
            &slot,
            key.command.as_str(),
            [&rates[0], &rates[1]],
            node,
        ))
    };
    let heading = Line::styled(heading, app.theme.heading());
    list(frame, area, app, summary, heading, keys.iter().map(shown));
}

/// A summary, a heading, and lines from where they are scrolled to.
fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &App,
    summary: String,
    heading: Line<'_>,
    lines: impl Iterator<Item = Line<'static>>,
) {
    let [place, rest] = split_top(area, 1);
    let summary = cut(&summary, usize::from(place.width));
    frame.render_widget(Line::styled(summary, app.theme.dim()), place);
    let [place, mut rest] = split_top(rest, 1);
    frame.render_widget(heading, place);
    for line in lines.skip(app.scrolled).take(usize::from(rest.height)) {
        let [place, below] = split_top(rest, 1);
        frame.render_widget(line, place);
        rest = below;
    }
}

/// Whose each slot is, row by row.
pub(super) fn slots(frame: &mut Frame<'_>, area: Rect, app: &App, picture: &Picture) {
    let [place, rest] = split_top(area, 1);
    let cells = usize::from(rest.width) * usize::from(rest.height);
    let parts = map(picture.topology.as_ref(), cells);
    let each = SLOTS.checked_div(parts.len()).unwrap_or_default();
    let words = format!(
        "16,384 slots, about {each} a letter: that of the shard, + several, ! at least one without"
    );
    let words = cut(&words, usize::from(place.width));
    frame.render_widget(Line::styled(words, app.theme.dim()), place);
    let mut rest = rest;
    for parts in parts.chunks(usize::from(rest.width).max(1)) {
        let [place, below] = split_top(rest, 1);
        let cells = parts.iter().map(|part| {
            let style = match part {
                Part::Of(shard) => app.theme.shard(*shard),
                Part::Mixed => app.theme.warning(),
                Part::Uncovered => app.theme.bad(),
            };
            Span::styled(part.symbol().to_string(), style)
        });
        frame.render_widget(Line::from_iter(cells), place);
        rest = below;
    }
}

pub(super) fn help(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let mut rest = area;
    for (keys, what) in KEYS {
        let [place, below] = split_top(rest, 1);
        let line = Line::from_iter([
            Span::styled(format!("  {keys:<16}"), app.theme.heading()),
            Span::raw(*what),
        ]);
        frame.render_widget(line, place);
        rest = below;
    }
    let first = letter(Some(0));
    let words = [
        format!("  # is the letter of a shard, {first} the first; the map of the slots uses them."),
        "  States: up; silent: owes replies for 2 s; refusing: serves nobody; down; gone."
            .to_owned(),
        "  Lag: for how long a replica lacks something; rates are those of the last second."
            .to_owned(),
    ];
    for text in words {
        let [place, below] = split_top(rest, 1);
        frame.render_widget(Line::styled(text, app.theme.dim()), place);
        rest = below;
    }
}

const KEYS: &[(&str, &str)] = &[
    ("q, Ctrl-C", "quit"),
    (
        "tab, 1 to 4",
        "the next page; overview, nodes, hot keys, slots",
    ),
    ("left, right", "sort the nodes by another column"),
    ("r", "turn that order round"),
    ("up, down", "scroll by a line; page up, page down by ten"),
    ("Ctrl-L", "draw all of it again"),
    ("?", "this, and back"),
];

const NUMBER_WIDTH: usize = 20;
/// From so many columns on, there is room for the node of a key.
const HOT_NODE_MIN: u16 = 75;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "   three"]);
        assert_eq!(wrapped("toolongword x", 3), ["toolongword", "   x"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
