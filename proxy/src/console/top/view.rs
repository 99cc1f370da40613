//! Where on the screen everything stands, for any size of it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::model::Picture;
use super::super::words::span;
use super::app::{App, Page};
use super::{charts, panels};

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App) {
    let [header, rest] = split_top(frame.area(), 1);
    panels::header(frame, header, app);
    let [pages, mut rest] = split_top(rest, 1);
    self::pages(frame, pages, app);
    if let Some(lost) = &app.lost {
        rest = panels::lost(frame, rest, app, lost);
    }
    if app.helps {
        return panels::help(frame, rest, app);
    }
    let Some(picture) = &app.picture else {
        return;
    };
    match app.page {
        Page::Overview => overview(frame, rest, app, picture),
        Page::Nodes => panels::nodes(frame, rest, app, picture),
        Page::HotKeys => panels::hot_keys(frame, rest, app, picture),
        Page::Slots => panels::slots(frame, rest, app, picture),
    }
}

fn pages(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let mut line = Line::default();
    for page in Page::ALL {
        let style = app.theme.heading();
        let style = if page == app.page && !app.helps {
            app.theme.turned(style)
        } else {
            app.theme.dim()
        };
        line.push_span(Span::styled(format!(" {} ", page.name()), style));
    }
    frame.render_widget(line, area);
    let keys = Line::styled("tab page  ? help  q quit ", app.theme.dim());
    if area.width >= KEYS_WIDTH_MIN {
        frame.render_widget(keys.right_aligned(), area);
    }
}

fn overview(frame: &mut Frame<'_>, area: Rect, app: &App, picture: &Picture) {
    let rest = panels::problems(frame, area, app, picture);
    let rest = panels::numbers(frame, rest, app, picture);
    let rest = all_charts(frame, rest, app);
    if rest.width >= WIDE {
        let [left, right] = split_left(rest, rest.width * 3 / 5);
        panels::nodes(frame, left, app, picture);
        let right = indented(right);
        let [map, keys] = split_top(right, right.height / 2);
        panels::slots(frame, map, app, picture);
        return panels::hot_keys(frame, keys, app, picture);
    }
    // The nodes have what they need, and the others the rest, if that is worth it.
    let nodes = picture.told.nodes.len().max(1) as u16 + 2;
    let [nodes, rest] = split_top(rest, nodes.min(rest.height));
    panels::nodes(frame, nodes, app, picture);
    let map_height = if rest.height >= 12 {
        rest.height / 2
    } else {
        2
    };
    if rest.height < map_height {
        return;
    }
    let [map, keys] = split_top(rest, map_height);
    panels::slots(frame, map, app, picture);
    if keys.height >= 3 {
        panels::hot_keys(frame, keys, app, picture);
    }
}

/// As many as there is room for; returns what is left.
fn all_charts(frame: &mut Frame<'_>, area: Rect, app: &App) -> Rect {
    let across = if area.width >= WIDE { 4 } else { 2 };
    let height = match area.height {
        0..8 => return area,
        8..20 => 3,
        20..30 => 4,
        _ => 6,
    };
    let lines = if across == 4 || area.height < 26 {
        1
    } else {
        2
    };
    let mut rest = area;
    for charts in charts::CHARTS.chunks(across).take(lines) {
        let [mut line, below] = split_top(rest, height);
        for chart in charts {
            let [place, others] = split_left(line, area.width / across as u16);
            // A column between them.
            let place = Rect {
                width: place.width.saturating_sub(1),
                ..place
            };
            charts::draw(frame, place, chart, app);
            line = others;
        }
        rest = below;
    }
    rest
}

/// The upper lines, and what is below them.
pub(super) fn split_top(area: Rect, lines: u16) -> [Rect; 2] {
    let lines = lines.min(area.height);
    let (top, below) = (
        Rect {
            height: lines,
            ..area
        },
        Rect {
            y: area.y + lines,
            height: area.height - lines,
            ..area
        },
    );
    [top, below]
}

fn split_left(area: Rect, columns: u16) -> [Rect; 2] {
    let columns = columns.min(area.width);
    let left = Rect {
        width: columns,
        ..area
    };
    let right = Rect {
        x: area.x + columns,
        width: area.width - columns,
        ..area
    };
    [left, right]
}

fn indented(area: Rect) -> Rect {
    split_left(area, 2)[1]
}

/// `2 min 3 s ago`.
pub(super) fn ago(app: &App, since: f64) -> String {
    span(app.proxy_time() - since)
}

/// From so many columns on, things stand side by side.
const WIDE: u16 = 120;
const KEYS_WIDTH_MIN: u16 = 64;

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyCode;

    use super::super::super::model::{HotKey, Picture, Printable, Severity};
    use super::super::app::tests::{app, lost, press};
    use super::*;

    /// The lines of a screen of that size.
    fn lines(app: &App, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| {
            (0..width)
                .map(|x| buffer[(x, y)].symbol())
                .collect::<String>()
        };
        (0..height).map(line).collect()
    }

    fn has(lines: &[String], parts: &[&str]) {
        for part in parts {
            assert!(
                lines.iter().any(|line| line.contains(part)),
                "{part}: {lines:#?}"
            );
        }
    }

    #[test]
    fn the_usual_terminal_has_all_that_matters() {
        let app = app();
        let shown = lines(&app, 80, 24);
        let picture = app.picture.as_ref().unwrap();
        has(
            &shown[..1],
            &["slotway 0.1.0 at 127.0.0.1:9379", " wrong ", "UTC"],
        );
        has(&shown[1..2], &["Overview", "Hot keys", "? help", "q quit"]);
        has(&shown[2..3], &["!! Node 127.0.0.1:"]);
        let parts = [
            "requests/s",
            "p99 ",
            "15 min, peak",
            "#v",
            "16,384 slots",
            "hot key",
        ];
        has(&shown, &parts);
        for node in &picture.told.nodes {
            has(&shown, &[node.address.as_str()]);
        }
        has(&shown, &["silent"]);
        let bars = shown.iter().flat_map(|line| line.chars());
        assert!(
            bars.filter(|c| ('▁'..='█').contains(c)).count() > 5,
            "{shown:#?}"
        );
        let map = shown.iter().find(|line| line.starts_with("AAAA"));
        assert!(map.is_some_and(|line| line.contains("+C")), "{shown:#?}");
    }

    #[test]
    fn a_large_terminal_has_all_of_it_side_by_side() {
        let app = app();
        let shown = lines(&app, 200, 50);
        has(
            &shown,
            &[
                "errors/s",
                "clients",
                "conns",
                "in flight",
                "16,384 slots",
                "hot key",
            ],
        );
        let chart = shown.iter().find(|line| line.contains("peak")).unwrap();
        assert_eq!(chart.matches("15 min").count(), 4, "{chart}");
        let map = shown
            .iter()
            .filter(|line| line.trim_end().ends_with("AAAA"));
        assert!(map.count() > 2, "{shown:#?}");
    }

    #[test]
    fn every_page_is_drawn_at_every_size() {
        let mut app = app();
        let sizes = [
            (1, 1),
            (2, 3),
            (20, 5),
            (5, 60),
            (80, 24),
            (300, 2),
            (119, 30),
            (120, 30),
        ];
        for _ in 0..2 {
            for page in Page::ALL {
                app.page = page;
                let narrow = (1..=130).map(|width| (width, 24));
                for (width, height) in sizes.into_iter().chain(narrow) {
                    app.helps = false;
                    lines(&app, width, height);
                    app.helps = true;
                    lines(&app, width, height);
                }
            }
            // And once more with nothing known but that nobody answers.
            app = App::new("h:1".to_owned(), app.interval, false, 5.0);
            app.take(Err(lost()), 6.0);
        }
    }

    #[test]
    fn nobody_who_answers_is_told_over_what_was_known() {
        let mut app = app();
        app.take(Err(lost()), 10.0);
        app.now = 75.0;
        let shown = lines(&app, 80, 24);
        has(&shown[..1], &["does not answer for 1 min 5 s"]);
        has(
            &shown,
            &["No answer since 00:00:10 UTC: it answered /status with 500: no."],
        );
        has(&shown, &["told last.", "127.0.0.1:"]);
        let mut never = App::new("h:1".to_owned(), app.interval, true, 5.0);
        has(&lines(&never, 80, 24), &["asked for the first time"]);
        never.take(Err(lost()), 5.0);
        has(
            &lines(&never, 80, 24),
            &["No answer since 00:00:05 UTC", "every 1 s."],
        );
    }

    #[test]
    fn a_cluster_that_nobody_knows_is_no_trouble() {
        let mut app = app();
        app.take(Ok(Picture::default()), 5.0);
        for (width, height) in [(80, 24), (200, 50)] {
            let shown = lines(&app, width, height);
            let parts = [
                "no node is known; no node has told one yet",
                "!!!!!!",
                "no hot keys",
            ];
            has(&shown, &parts);
        }
    }

    #[test]
    fn many_nodes_are_scrolled_and_sorted() {
        let mut picture = super::super::super::model::tests::picture();
        let node = picture.told.nodes[0].clone();
        for number in 0..100 {
            let mut node = node.clone();
            node.address = Printable::of(&format!("n{number}:1"));
            node.requests = 1e6 + f64::from(number);
            picture.told.nodes.push(node);
        }
        let mut app = app();
        app.take(Ok(picture), 5.0);
        press(&mut app, &[KeyCode::Char('2')]);
        for _ in 0..7 {
            press(&mut app, &[KeyCode::Right]);
        }
        let shown = lines(&app, 80, 24);
        has(&shown, &["req/sv", "106 nodes"]);
        has(&shown[4..5], &["n99:1"]);
        press(&mut app, &[KeyCode::PageDown, KeyCode::Down]);
        has(&lines(&app, 80, 24)[4..5], &["n88:1"]);
        press(&mut app, &[KeyCode::Home, KeyCode::Char('r')]);
        has(&lines(&app, 80, 24), &["req/s^", "127.0.0.1:"]);
        press(&mut app, &[KeyCode::Char('?')]);
        has(&lines(&app, 80, 24), &["Ctrl-C", "sort the nodes"]);
    }

    #[test]
    fn many_problems_leave_room_for_the_rest() {
        let mut picture = super::super::super::model::tests::picture();
        let mut problem = picture.told.problems[0].clone();
        problem.severity = Severity::Warning;
        for _ in 0..50 {
            picture.told.problems.push(problem.clone());
        }
        let mut app = app();
        app.take(Ok(picture), 5.0);
        let shown = lines(&app, 80, 24);
        has(&shown, &["requests/s", "silent", "more"]);
    }

    #[test]
    fn keys_of_any_bytes_are_shown_as_text() {
        let mut picture = super::super::super::model::tests::picture();
        let json = r#"{"key":"\u001b[2J\u009b\u202e\\xff","slot":1,"node":"\u0007h:1",
            "command":"get\r","per_second":1,"writes_per_second":0}"#;
        let key: HotKey = serde_json::from_str(json).unwrap();
        picture.hot.as_mut().unwrap().keys = vec![key];
        let mut app = app();
        app.take(Ok(picture), 5.0);
        app.page = Page::HotKeys;
        let shown = lines(&app, 120, 10);
        has(
            &shown,
            &[r"\u{1b}[2J\u{9b}\u{202e}\xff", r"\u{7}h:1", r"get\r"],
        );
        let text: String = shown.concat();
        assert!(
            text.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
            "{shown:#?}"
        );
    }

    #[test]
    fn without_colours_there_are_none() {
        let mut app = app();
        app.theme.has_colours = false;
        let mut terminal = Terminal::new(TestBackend::new(200, 50)).unwrap();
        terminal.draw(|frame| draw(frame, &app)).unwrap();
        let cells = &terminal.backend().buffer().content;
        use ratatui::style::Color::Reset;
        assert!(
            cells
                .iter()
                .all(|cell| cell.fg == Reset && cell.bg == Reset)
        );
    }
}
