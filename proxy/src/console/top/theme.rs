//! How things look, with colours and without: what matters is told by words and weight, too.

use ratatui::style::{Color, Modifier, Style};

/// Whether there are colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Theme {
    pub(super) has_colours: bool,
}

impl Theme {
    /// Requests fail.
    pub(super) fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn warning(self) -> Style {
        self.coloured(Color::Yellow)
    }

    pub(super) fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    /// What nobody would miss at first.
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is chosen, or may not be overlooked.
    pub(super) fn turned(self, style: Style) -> Style {
        style.add_modifier(Modifier::REVERSED)
    }

    pub(super) fn bars(self, is_trouble: bool) -> Style {
        self.coloured(if is_trouble { Color::Red } else { Color::Cyan })
    }

    /// Of a shard, the same on the map and in the tables.
    pub(super) fn shard(self, shard: usize) -> Style {
        self.coloured(SHARDS[shard % SHARDS.len()])
    }

    fn coloured(self, colour: Color) -> Style {
        if self.has_colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}

/// Readable on black and on white, and apart for most who are colour-blind; letters tell the rest.
const SHARDS: [Color; 5] = [
    Color::Blue,
    Color::Magenta,
    Color::Cyan,
    Color::Green,
    Color::LightBlue,
];
