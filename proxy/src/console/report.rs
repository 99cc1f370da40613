//! `slotway status`: all of it as one screen of text, what is wrong first.

use core::fmt::Write;

use slotway_protocol::cluster::SLOTS;

use super::model::{Picture, Severity};
use super::nodes;
use super::trail::Trail;
use super::words::{bytes, clock, milliseconds, number, plural, span};

/// Whether the text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn red(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn yellow(self, text: &str) -> String {
        self.with("33", text)
    }

    fn green(self, text: &str) -> String {
        self.with("32", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// `width` columns at most, where the words allow it.
pub(super) fn text(address: &str, picture: &Picture, width: usize, paint: Paint) -> String {
    let mut trail = Trail::default();
    trail.add(picture.told.time, picture.history.clone());
    let mut text = format!("slotway {} at {address}: ", picture.told.version);
    problems(&mut text, picture, paint);
    numbers(&mut text, picture, &trail);
    table(&mut text, picture, width, paint);
    text
}

fn problems(text: &mut String, picture: &Picture, paint: Paint) {
    let told = &picture.told;
    if told.problems.is_empty() {
        text.push_str(&paint.green("all is well"));
        text.push_str("\n\n");
        return;
    }
    let verb = if told.problems.len() == 1 {
        "is"
    } else {
        "are"
    };
    let count = plural(told.problems.len(), "thing");
    let headline = format!("{count} {verb} wrong");
    text.push_str(&paint.red(&headline));
    text.push('\n');
    for problem in &told.problems {
        let word = match problem.severity {
            Severity::Critical => paint.red("critical"),
            Severity::Warning => paint.yellow("warning "),
        };
        let since = clock(problem.since);
        let ago = span(told.time - problem.since);
        // Writing to a string can't fail.
        let _ = writeln!(text, "  {word}  since {since} UTC, {ago}");
        let _ = writeln!(text, "            {}", problem.text);
    }
    text.push('\n');
}

fn numbers(text: &mut String, picture: &Picture, trail: &Trail) {
    let told = &picture.told;
    let rate = |field| trail.latest(field).map_or_else(|| "-".to_owned(), number);
    let total = |field| number(trail.values(field).sum());
    let seconds = trail.values("time").count();
    let mean = match seconds {
        0 => "-".to_owned(),
        seconds => number(trail.values("requests").sum::<f64>() / seconds as f64),
    };
    let known = span(seconds as f64);
    let ready = if told.ready { "yes" } else { "no" };
    let covered = number(told.slots_covered);
    let slots = number(SLOTS as f64);
    let latency = |field| milliseconds(trail.latest(field));
    let limit = |value: f64, limit: f64, shown: fn(f64) -> String| match limit {
        limit if limit > 0.0 => format!("{} of at most {}", shown(value), shown(limit)),
        _ => shown(value),
    };
    let lines = [
        (
            "ready",
            format!("{ready}; {covered} of {slots} slots have a node"),
        ),
        ("topology", topology(picture)),
        ("clients", limit(told.clients, told.clients_max, number)),
        (
            "requests",
            format!("{}/s; {mean}/s on average over {known}", rate("requests")),
        ),
        (
            "latency",
            format!(
                "p50 {}, p99 {}, p99.9 {}",
                latency("p50_ms"),
                latency("p99_ms"),
                latency("p999_ms")
            ),
        ),
        (
            "errors",
            format!("{}/s; {} in {known}", rate("errors"), total("errors")),
        ),
        (
            "holds",
            format!(
                "{} slots wait; {} requests were held in {known}",
                rate("holds"),
                total("held")
            ),
        ),
        (
            "resent",
            format!(
                "{} redirects/s, {} retries/s",
                rate("redirects"),
                rate("retries")
            ),
        ),
        ("memory", limit(told.memory_bytes, told.memory_max, bytes)),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<10}{value}");
    }
    text.push('\n');
}

/// What is known of the topology, and for how long.
pub(super) fn topology(picture: &Picture) -> String {
    let Some(topology) = &picture.topology else {
        return "no node has told one yet".to_owned();
    };
    format!(
        "{}, epoch {}; the same for {}, confirmed {} ago",
        plural(topology.shards.len(), "shard"),
        picture.told.epoch,
        span(topology.age_ms / 1e3),
        span(topology.confirmed_ms_ago / 1e3)
    )
}

fn table(text: &mut String, picture: &Picture, width: usize, paint: Paint) {
    let rows = nodes::rows(picture);
    text.push_str(&nodes::summary(picture));
    text.push('\n');
    if rows.is_empty() {
        return;
    }
    for (place, line) in nodes::lines(&rows, width).into_iter().enumerate() {
        let row = place.checked_sub(1).map(|place| &rows[place]);
        let line = match row.map(|row| row.node.state.as_str()) {
            None | Some("up") => line,
            Some("refusing") => paint.yellow(&line),
            Some(_) => paint.red(&line),
        };
        text.push_str(&line);
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::picture;
    use super::super::model::{Printable, Problem};
    use super::*;

    fn shown(picture: &Picture) -> String {
        text("127.0.0.1:9379", picture, 80, Paint(false))
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let picture = picture();
        let text = shown(&picture);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("slotway 0.1.0 at 127.0.0.1:9379: "),
            "{text}"
        );
        assert!(lines[0].contains(" wrong"), "{text}");
        assert!(lines[1].starts_with("  critical  since "), "{text}");
        assert_eq!(lines[2].trim(), picture.told.problems[0].text.as_str());
        for part in [
            "p99 ",
            "16,384 of 16,384 slots",
            "6 nodes: 3 primaries",
            "3 shards",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn all_is_well_when_nothing_is_wrong() {
        let mut picture = picture();
        picture.told.problems.clear();
        assert!(shown(&picture).contains(": all is well\n"));
    }

    #[test]
    fn nothing_known_is_shown_as_such() {
        let mut picture = Picture::default();
        picture.told.problems.push(Problem {
            severity: Severity::Critical,
            text: Printable::of("Not ready: \x1b[2J."),
            since: 0.0,
        });
        let text = shown(&picture);
        for part in [
            "1 thing is wrong",
            "Not ready: \\u{1b}[2J.",
            "no node is known",
            "ready     no;",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn colours_change_nothing_else() {
        let picture = picture();
        let coloured = text("127.0.0.1:9379", &picture, 80, Paint(true));
        let mut plain = String::new();
        for (place, part) in coloured.split('\x1b').enumerate() {
            plain.push_str(match place {
                0 => part,
                _ => part.split_once('m').unwrap().1,
            });
        }
        assert!(coloured.contains("\x1b[1;31m"));
        assert_eq!(plain, shown(&picture));
    }
}
