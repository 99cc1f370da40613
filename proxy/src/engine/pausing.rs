//! CLIENT PAUSE: for some time the requests of all clients wait in their order, or those that may
//! change data do. What has begun goes on.

use core::time::Duration;

use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::{ConnectionId, Instant};
use slotway_protocol::resp::{Protocol, Request};

use super::flow::SOLO_BYTES_MAX;
use super::local::parse_integer;
use super::peers::{Answer, Question};
use super::survey::Survey;
use super::{Proxy, answer};

/// Which requests wait, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pause {
    until: Instant,
    /// Not only those that may change data.
    all: bool,
}

/// `CLIENT PAUSE <timeout> [WRITE | ALL]`
pub(super) fn pause(request: &Request<'_>) -> Result<Survey, Vec<u8>> {
    let all = match request.len() {
        3 => true,
        4 if request.is_arg(3, b"all") => true,
        4 if request.is_arg(3, b"write") => false,
        4 => return Err(answer::error(BAD_MODE)),
        _ => return Err(answer::unknown_form(request)),
    };
    let time = match parse_integer(request.arg(2)).map(u64::try_from) {
        Some(Ok(milliseconds)) => Duration::from_millis(milliseconds),
        Some(Err(_)) => return Err(answer::error(b"ERR timeout is negative")),
        None => return Err(answer::error(BAD_TIMEOUT)),
    };
    Ok(Survey::new(Question::Pause { time, all }, done))
}

/// `CLIENT UNPAUSE`
pub(super) fn unpause() -> Survey {
    Survey::new(Question::Unpause, done)
}

/// All workers, or all that answer, have done what was asked.
pub(super) fn done(_: &Question, _: Vec<Answer>, _: Protocol) -> Vec<u8> {
    b"+OK\r\n".to_vec()
}

impl Proxy {
    /// Of two pauses the longer and the stricter one counts.
    pub(super) fn pause_clients(&mut self, time: Duration, all: bool, now: Instant) {
        let new = Pause {
            until: now + time,
            all,
        };
        let pause = self.pause.get_or_insert(new);
        pause.until = pause.until.max(new.until);
        pause.all |= all;
        let until = pause.until;
        self.careful = true;
        self.wake_at(until);
    }

    /// Lets the clients go on.
    pub(super) fn unpause_clients(&mut self) {
        self.pause = None;
        self.careful = self.reads.is_on();
        self.resume_postponed();
    }

    pub(super) fn end_pause(&mut self, now: Instant) {
        match self.pause {
            Some(pause) if pause.until <= now => self.unpause_clients(),
            Some(pause) => self.wake_at(pause.until),
            None => {}
        }
    }

    /// Whether the request must wait until the pause is over.
    #[cold]
    pub(super) fn postpone(&mut self, connection: ConnectionId, command: &Command) -> bool {
        let all = self.pause.is_some_and(|pause| pause.all);
        let Some(session) = self.session(connection) else {
            return false;
        };
        let writes = match &session.transaction {
            // What is queued was looked at when it was, but maybe before the pause.
            Some(transaction) if command.name == "exec" => transaction.len() > 0,
            _ => may_write(command),
        };
        let passes = matches!(command.name, "client|pause" | "client|unpause");
        if passes || !all && !writes {
            return false;
        }
        if !std::mem::replace(&mut session.postponed, true) {
            self.postponed.push(connection);
        }
        true
    }

    /// The client's next request waits. Reading goes on all the same, up to a limit, so that it is
    /// noticed when the client leaves.
    #[cold]
    pub(super) fn limit_waiting(&mut self, connection: ConnectionId, waiting: usize) {
        let postponed = self.session(connection).is_some_and(|it| it.postponed);
        if postponed && waiting > SOLO_BYTES_MAX {
            self.pause(connection);
        }
    }
}

/// Whether the command may change data, or have others do something.
pub(crate) fn may_write(command: &Command) -> bool {
    command.flags.contains(Flags::WRITE) || MAY_REPLICATE.contains(&command.name)
}

/// The table does not tell which these are.
const MAY_REPLICATE: [&str; 6] = ["eval", "evalsha", "fcall", "pfcount", "publish", "spublish"];

const BAD_MODE: &[u8] = b"ERR CLIENT PAUSE mode must be WRITE or ALL";
const BAD_TIMEOUT: &[u8] = b"ERR timeout is not an integer or out of range";
