//! What was asked of the node: by command, and what came of it.

use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::resp::error_codes::ERROR_CODES;

use super::{Figures, Label, Number, counter, gauge};
use crate::engine::State;
use crate::statistics::{CallStats, Errors};

pub(super) fn figures(state: &State) -> Vec<Figures> {
    let server = &state.server;
    let mut figures = vec![counter(
        "slotway_node_commands_total",
        "Commands that have run.",
        server.stats.commands,
    )];
    figures.extend(BY_COMMAND.iter().map(|(name, help, number)| {
        let mut figures = Figures::counters(name, help);
        for command in known(state) {
            if let Some(stats) = server.stats.calls.of(command) {
                let labels = vec![("command", Label::Word(command.name))];
                figures.add(labels, number(stats));
            }
        }
        figures
    }));
    figures.push(errors(&server.stats.errors));
    figures.push(gauge(
        "slotway_node_slow_log_entries",
        "Commands that SLOWLOG shows.",
        server.slow_log.entries().len(),
    ));
    figures.push(counter(
        "slotway_node_slow_commands_total",
        "Commands that took longer than slowlog-log-slower-than.",
        server.slow_log.added(),
    ));
    figures
}

/// The commands that the node has; others are refused, whatever they are called.
fn known(state: &State) -> impl Iterator<Item = &'static Command> {
    let ids = (0..Command::count()).map(|number| CommandId(number as u16));
    let known = ids.filter(|id| state.dispatch.run(*id).is_some());
    known.map(Command::by_id)
}

fn errors(errors: &Errors) -> Figures {
    let help = "Error replies, by the word that they begin with, OTHER for unusual ones.";
    let mut counts = [0; ERROR_CODES.len()];
    let mut rest = errors.total();
    for (code, count) in errors.iter() {
        let place = ERROR_CODES
            .iter()
            .position(|known| known.as_bytes() == code);
        if let Some(place) = place {
            counts[place] += count;
            rest = rest.saturating_sub(count);
        }
    }
    let mut figures = Figures::counters("slotway_node_error_replies_total", help);
    for (code, count) in ERROR_CODES.into_iter().zip(counts) {
        figures = figures.with("code", code, count);
    }
    figures.with("code", "OTHER", rest)
}

type OfCommand = fn(&CallStats) -> Number;

const BY_COMMAND: [(&str, &str, OfCommand); 4] = [
    (
        "slotway_node_command_calls_total",
        "Times each command has run.",
        |stats| Number::Count(stats.calls),
    ),
    (
        "slotway_node_command_seconds_total",
        "Time that each command took, added up.",
        |stats| Number::Nanos(stats.nanos),
    ),
    (
        "slotway_node_command_rejected_total",
        "Times each command was refused before it ran.",
        |stats| Number::Count(stats.rejected),
    ),
    (
        "slotway_node_command_failed_total",
        "Times each command ran and ended with an error.",
        |stats| Number::Count(stats.failed),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_made_up_is_no_label() {
        let mut counted = Errors::default();
        for number in 0..1_000 {
            counted.note(format!("-E{number} so\r\n").as_bytes());
        }
        counted.note(b"-MOVED 1 127.0.0.1:7000\r\n");
        let figures = errors(&counted);
        assert_eq!(figures.samples.len(), ERROR_CODES.len() + 1);
        let of = |word: &'static str| {
            let labels = vec![("code", Label::Word(word))];
            let found = figures.samples.iter().find(|it| it.labels == labels);
            found.map(|sample| sample.number)
        };
        assert_eq!(of("MOVED"), Some(Number::Count(1)));
        assert_eq!(of("OTHER"), Some(Number::Count(1_000)));
        assert_eq!(of("ASK"), Some(Number::Count(0)));
    }
}
