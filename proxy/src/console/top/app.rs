//! What `slotway top` knows and shows: answers and keys go in, and the view reads the rest.

use core::time::Duration;

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::super::fetch::FetchError;
use super::super::model::{Picture, Printable};
use super::super::nodes::{self, Column, Row};
use super::super::trail::Trail;
use super::theme::Theme;

/// All there is to draw. Times are Unix times in seconds, by this machine's clock where nothing
/// else is said.
#[derive(Debug)]
pub(super) struct App {
    pub(super) address: String,
    pub(super) interval: Duration,
    pub(super) theme: Theme,
    pub(super) now: f64,
    /// What was told last, and when that was.
    pub(super) picture: Option<Picture>,
    told_at: f64,
    pub(super) trail: Trail,
    /// Since when nobody answers, and why.
    pub(super) lost: Option<Lost>,
    pub(super) page: Page,
    pub(super) sort: Column,
    pub(super) is_reversed: bool,
    /// How many lines of the page's list are above the screen.
    pub(super) scrolled: usize,
    pub(super) helps: bool,
}

#[derive(Debug)]
pub(super) struct Lost {
    pub(super) since: f64,
    pub(super) why: Printable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Overview,
    Nodes,
    HotKeys,
    Slots,
}

impl Page {
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Nodes, Self::HotKeys, Self::Slots];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Nodes => "Nodes",
            Self::HotKeys => "Hot keys",
            Self::Slots => "Slots",
        }
    }
}

/// What a key asks of whoever runs this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// Nobody knows what is on the screen.
    Redraw,
    Quit,
}

impl App {
    pub(super) fn new(address: String, interval: Duration, has_colours: bool, now: f64) -> Self {
        Self {
            address,
            interval,
            theme: Theme { has_colours },
            now,
            picture: None,
            told_at: now,
            trail: Trail::default(),
            lost: None,
            page: Page::Overview,
            sort: Column::Shard,
            is_reversed: false,
            scrolled: 0,
            helps: false,
        }
    }

    /// The proxy has answered, or has not.
    pub(super) fn take(&mut self, answer: Result<Picture, FetchError>, now: f64) {
        match answer {
            Ok(mut picture) => {
                let history = core::mem::take(&mut picture.history);
                self.trail.add(picture.told.time, history);
                self.picture = Some(picture);
                self.told_at = now;
                self.lost = None;
            }
            Err(error) => {
                let since = self.lost.take().map_or(now, |lost| lost.since);
                let why = Printable::of(&error.to_string());
                self.lost = Some(Lost { since, why });
            }
        }
    }

    /// The last second of which the proxy has told, by its own clock.
    pub(super) fn known_until(&self) -> f64 {
        self.trail.last_time()
    }

    /// The time now, by the proxy's clock.
    pub(super) fn proxy_time(&self) -> f64 {
        let told = self
            .picture
            .as_ref()
            .map_or(0.0, |picture| picture.told.time);
        told + (self.now - self.told_at).max(0.0)
    }

    /// The nodes in the order that was chosen.
    pub(super) fn rows<'a>(&self, picture: &'a Picture) -> Vec<Row<'a>> {
        let mut rows = nodes::rows(picture);
        nodes::sort(&mut rows, self.sort, self.is_reversed);
        rows
    }

    pub(super) fn handle(&mut self, event: &Event) -> Wish {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.handle_key(key),
            // A terminal that became smaller and larger again has lost what was there, and has the
            // size for which it was drawn.
            Event::Resize(..) => Wish::Redraw,
            _ => Wish::Nothing,
        }
    }

    fn handle_key(&mut self, key: &KeyEvent) -> Wish {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Wish::Quit;
        }
        if is_control && key.code == KeyCode::Char('l') {
            return Wish::Redraw;
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Char('?' | 'h') => self.helps = !self.helps,
            KeyCode::Esc => self.helps = false,
            KeyCode::Tab => self.turn_to(1),
            KeyCode::BackTab => self.turn_to(Page::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='4') => {
                let place = digit as usize - '1' as usize;
                self.show(Page::ALL[place]);
            }
            KeyCode::Right => self.sort_by(1),
            KeyCode::Left => self.sort_by(Column::ALL.len() - 1),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Down | KeyCode::Char('j') => self.scroll(1),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(-1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll(SCREENFUL),
            KeyCode::PageUp => self.scroll(-SCREENFUL),
            KeyCode::Home => self.scrolled = 0,
            _ => {}
        }
        Wish::Nothing
    }

    fn turn_to(&mut self, places: usize) {
        let here = Page::ALL.iter().position(|page| *page == self.page);
        let next = (here.unwrap_or_default() + places) % Page::ALL.len();
        self.show(Page::ALL[next]);
    }

    fn show(&mut self, page: Page) {
        self.page = page;
        self.scrolled = 0;
        self.helps = false;
    }

    fn sort_by(&mut self, places: usize) {
        let here = Column::ALL.iter().position(|column| *column == self.sort);
        self.sort = Column::ALL[(here.unwrap_or_default() + places) % Column::ALL.len()];
    }

    /// By so many lines, as far as there are any.
    fn scroll(&mut self, lines: isize) {
        let length = self.picture.as_ref().map_or(0, |picture| match self.page {
            Page::HotKeys => picture.hot.as_ref().map_or(0, |hot| hot.keys.len()),
            _ => picture.told.nodes.len(),
        });
        let scrolled = self.scrolled.saturating_add_signed(lines);
        self.scrolled = scrolled.min(length.saturating_sub(1));
    }
}

const SCREENFUL: isize = 10;

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::model::tests::picture;
    use super::*;

    /// As it is after the first answer.
    pub(in crate::console::top) fn app() -> App {
        let mut app = App::new(
            "127.0.0.1:9379".to_owned(),
            Duration::from_secs(1),
            true,
            5.0,
        );
        app.take(Ok(picture()), 5.0);
        app
    }

    pub(in crate::console::top) fn lost() -> FetchError {
        FetchError::Refused {
            path: "/status".to_owned(),
            status: 500,
            said: Printable::of("no"),
        }
    }

    pub(in crate::console::top) fn press(app: &mut App, codes: &[KeyCode]) -> Wish {
        let mut wish = Wish::Nothing;
        for code in codes {
            wish = app.handle(&Event::Key(KeyEvent::new(*code, KeyModifiers::NONE)));
        }
        wish
    }

    #[test]
    fn q_and_control_c_quit() {
        let mut app = app();
        assert_eq!(
            press(&mut app, &[KeyCode::Char('x'), KeyCode::Char('c')]),
            Wish::Nothing
        );
        assert_eq!(press(&mut app, &[KeyCode::Char('q')]), Wish::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(app.handle(&Event::Key(control_c)), Wish::Quit);
        assert_eq!(app.handle(&Event::Resize(1, 1)), Wish::Redraw);
        assert_eq!(app.handle(&Event::FocusGained), Wish::Nothing);
    }

    #[test]
    fn pages_and_columns_go_round() {
        let mut app = app();
        let pages = [Page::Nodes, Page::HotKeys, Page::Slots, Page::Overview];
        for page in pages {
            press(&mut app, &[KeyCode::Tab]);
            assert_eq!(app.page, page);
        }
        press(&mut app, &[KeyCode::BackTab]);
        assert_eq!(app.page, Page::Slots);
        press(&mut app, &[KeyCode::Char('2')]);
        assert_eq!(app.page, Page::Nodes);
        press(&mut app, &[KeyCode::Left]);
        assert_eq!(app.sort, Column::Connections);
        press(&mut app, &[KeyCode::Right, KeyCode::Right]);
        assert_eq!(app.sort, Column::Node);
    }

    #[test]
    fn a_list_is_scrolled_no_further_than_it_goes() {
        let mut app = app();
        press(&mut app, &[KeyCode::Up]);
        assert_eq!(app.scrolled, 0);
        press(&mut app, &[KeyCode::PageDown, KeyCode::PageDown]);
        assert_eq!(app.scrolled, 5);
        press(&mut app, &[KeyCode::Tab]);
        assert_eq!(app.scrolled, 0);
    }

    #[test]
    fn since_when_nobody_answers_stays_until_somebody_does() {
        let mut app = app();
        assert_eq!(app.proxy_time(), picture().told.time);
        app.take(Err(lost()), 7.0);
        app.take(Err(lost()), 9.0);
        app.now = 9.0;
        assert_eq!(app.lost.as_ref().map(|lost| lost.since), Some(7.0));
        assert_eq!(app.proxy_time(), picture().told.time + 4.0);
        assert!(app.picture.is_some(), "what was told last stays");
        app.take(Ok(picture()), 10.0);
        assert!(app.lost.is_none());
    }
}
