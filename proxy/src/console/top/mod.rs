//! `slotway top`: the status page in a terminal, until somebody has seen enough.

mod app;
mod charts;
mod panels;
mod screen;
mod theme;
mod view;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event};
use slotway_protocol::engine::Address;
use slotway_runtime::signals::Signals;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::app::{App, Wish};
use self::screen::Screen;
use super::fetch::{FetchError, fetch};
use super::model::Picture;
use super::{ConsoleError, runtime, unix_seconds};

/// Draws until told to stop. Whatever ends it, the terminal is as it was.
pub(super) fn run(
    address: &Address,
    interval: Duration,
    has_colours: bool,
) -> Result<(), ConsoleError> {
    if !io::stdout().is_terminal() {
        return Err(ConsoleError::NoTerminal);
    }
    let app = App::new(address.to_string(), interval, has_colours, unix_seconds());
    runtime()?
        .block_on(follow(app, address, interval))
        .map_err(ConsoleError::Terminal)
}

async fn follow(mut app: App, address: &Address, pause: Duration) -> io::Result<()> {
    // Before the terminal is changed, so that no signal ends us in between.
    let mut signals = Signals::install()?;
    let mut screen = Screen::open()?;
    let mut events = listen()?;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut asking = std::pin::pin!(ask(address, Duration::ZERO, 0.0));
    loop {
        app.now = unix_seconds();
        screen.draw(|frame| view::draw(frame, &app))?;
        tokio::select! {
            answer = &mut asking => {
                app.take(answer, unix_seconds());
                asking.set(ask(address, pause, app.known_until()));
            }
            event = events.recv() => {
                let ended = || io::Error::other("the keyboard is not read any more");
                let event = event.ok_or_else(ended)??;
                match app.handle(&event) {
                    Wish::Nothing => {}
                    Wish::Redraw => screen.forget()?,
                    Wish::Quit => return Ok(()),
                }
            }
            _ = signals.next() => return Ok(()),
            // What has passed since is told anew.
            _ = seconds.tick() => {}
        }
    }
}

async fn ask(address: &Address, pause: Duration, since: f64) -> Result<Picture, FetchError> {
    sleep(pause).await;
    fetch(address, since).await
}

/// Keys, and that the terminal has another size, from a thread that waits for them. It ends with
/// the process: nothing wakes it before.
fn listen() -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let read = move || {
        loop {
            let event = event::read();
            let is_over = event.is_err();
            if sender.blocking_send(event).is_err() || is_over {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(read)?;
    Ok(receiver)
}

/// How many keys may wait to be looked at; more stay with the terminal.
const EVENTS_MAX: usize = 64;
