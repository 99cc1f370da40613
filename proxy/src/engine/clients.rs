//! The commands of the CLIENT family that are about any client of the proxy, whichever worker
//! serves it: their arguments, what each worker does for them, and the reply.

use slotway_protocol::engine::Instant;
use slotway_protocol::resp::{Request, encode};

use super::local::parse_integer;
use super::peers::{Answer, Question};
use super::survey::Survey;
use super::task::{Steps, TaskId};
use super::{Connection, Proxy, answer};

/// `CLIENT UNBLOCK <clientid> [TIMEOUT | ERROR]`
pub(super) fn unblock(request: &Request<'_>) -> Result<Survey, Vec<u8>> {
    let error = match request.len() {
        3 => false,
        4 if request.is_arg(3, b"timeout") => false,
        4 if request.is_arg(3, b"error") => true,
        4 => return Err(answer::error(BAD_UNBLOCK_REASON)),
        _ => return Err(unknown_form(request)),
    };
    let client_id = parse_integer(request.arg(2)).ok_or_else(|| answer::error(NOT_A_NUMBER))?;
    // No client has a number that is not positive.
    let client_id = u64::try_from(client_id).unwrap_or(0);
    Ok(Survey::new(
        Question::Unblock { client_id, error },
        |_, answers| integer(sum(&answers)),
    ))
}

impl Proxy {
    /// Ends the waiting of a client that is blocked, as if its time were over or with an error.
    /// Says whether there is such a client.
    pub(super) fn unblock(&mut self, client_id: u64, error: bool, now: Instant) -> bool {
        let sessions = self.connections.iter().filter_map(Connection::client);
        let mut found = sessions.filter(|session| session.client_id == client_id);
        let Some(session) = found.next() else {
            return false;
        };
        let tasks: Vec<TaskId> = session.tasks().collect();
        for id in tasks {
            let mut steps = Steps::default();
            if let Some(running) = self.tasks.get(id)
                && running.task.unblock(error, &mut steps)
            {
                self.take_steps(id, steps, now);
                return true;
            }
        }
        false
    }
}

/// What the server says of a subcommand that has too many arguments and a shape of its own.
fn unknown_form(request: &Request<'_>) -> Vec<u8> {
    let shown = String::from_utf8_lossy(request.arg(1));
    let text = format!(
        "ERR unknown subcommand or wrong number of arguments for '{shown}'. Try CLIENT HELP."
    );
    answer::error(text.as_bytes())
}

fn sum(answers: &[Answer]) -> u64 {
    let counts = answers.iter().map(|answer| match answer {
        Answer::Count(count) => *count,
    });
    counts.sum()
}

fn integer(number: u64) -> Vec<u8> {
    let mut reply = Vec::new();
    encode::integer(&mut reply, i64::try_from(number).unwrap_or(i64::MAX));
    reply
}

const NOT_A_NUMBER: &[u8] = b"ERR value is not an integer or out of range";
const BAD_UNBLOCK_REASON: &[u8] = b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
