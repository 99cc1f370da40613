//! The terminal while `slotway top` has it, and giving it back in whatever way that ends.

use std::io::{self, BufWriter, Stdout, Write, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

/// A terminal that is ours; it is the user's again when this is dropped, or something panics.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        // What is drawn goes out as one write, so that nobody sees half of it.
        let backend = CrosstermBackend::new(BufWriter::new(stdout()));
        let terminal = Terminal::new(backend)?;
        let screen = Self { terminal };
        IS_OURS.store(true, Ordering::SeqCst);
        restore_on_panic();
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen)?;
        Ok(screen)
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// The next time all of it is drawn, whatever the terminal may have made of what it had.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// The words of a panic are for a terminal that shows them.
fn restore_on_panic() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        restore();
        before(info);
    }));
}

/// Nothing can be done about a terminal that has gone.
fn restore() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        let mut out = stdout();
        let _ = execute!(out, LeaveAlternateScreen, Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}

static IS_OURS: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Runs in a terminal that the test below makes.
    #[test]
    #[ignore = "it needs a terminal, and panics"]
    fn panics_on_a_screen() {
        let mut screen = Screen::open().unwrap();
        screen
            .draw(|frame| frame.render_widget("drawn", frame.area()))
            .unwrap();
        panic!("the reason");
    }

    /// A terminal of Python's that shows its settings, those afterwards included.
    const IN_A_TERMINAL: &str = "
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
before = termios.tcgetattr(terminal)[3]
said = b''
while True:
    try:
        part = os.read(terminal, 65536)
    except OSError:
        break
    if not part:
        break
    said += part
    # Only while the other side is open can they be asked for.
    if b'the reason' in said and b'restored' not in said:
        said += b' restored ' if termios.tcgetattr(terminal)[3] == before else b' raw '
os.waitpid(pid, 0)
sys.stdout.buffer.write(said)
";

    #[test]
    fn a_panic_is_told_on_the_users_own_terminal() {
        let test = "console::top::screen::tests::panics_on_a_screen";
        let output = Command::new("python3")
            .args(["-c", IN_A_TERMINAL])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .output();
        let Ok(output) = output else {
            eprintln!("NOT RUN: there is no python3");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let place = |text: &str| {
            said.find(text)
                .unwrap_or_else(|| panic!("{text:?}: {said:?}"))
        };
        let (enter, leave) = (place("\x1b[?1049h"), place("\x1b[?1049l"));
        assert!(enter < place("drawn") && place("drawn") < leave, "{said:?}");
        assert!(leave < place("the reason"), "{said:?}");
        assert!(
            place("\x1b[?25h") < place("the reason"),
            "the cursor: {said:?}"
        );
        place("restored");
    }
}
