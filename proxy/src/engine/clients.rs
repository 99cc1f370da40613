//! The commands of the CLIENT family that are about any client of the proxy, whichever worker
//! serves it: their arguments, what each worker does for them, and the reply.

use core::time::Duration;

use slotway_protocol::engine::{CloseWhen, ConnectionId, Instant};
use slotway_protocol::resp::{Protocol, Request, encode};

use super::listing::write_line;
use super::local::parse_integer;
use super::peers::{Answer, Question};
use super::running::TaskId;
use super::session::Session;
use super::survey::Survey;
use super::task::Steps;
use super::{Connection, Proxy, answer};

/// What CLIENT LIST and CLIENT KILL choose clients by; all that is named must fit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Filter {
    /// Any of these.
    client_ids: Option<Vec<u64>>,
    remote: Option<Vec<u8>>,
    local: Option<Vec<u8>>,
    kind: Option<Kind>,
    age_min: Duration,
    /// Anyone but that client.
    except: Option<u64>,
}

/// What a client is to CLIENT LIST and CLIENT KILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    PubSub,
    /// A node of a cluster, which nobody is to the proxy.
    Node,
}

/// `CLIENT LIST [TYPE <type> | ID <id> ...]`
pub(super) fn list(request: &Request<'_>) -> Result<Survey, Vec<u8>> {
    let mut filter = Filter::default();
    match request.len() {
        2 => {}
        4 if request.is_arg(2, b"type") => filter.kind = Some(kind(request.arg(3))?),
        4.. if request.is_arg(2, b"id") => {
            let ids = request.args(3).map(|argument| {
                let number = parse_integer(argument);
                // No client has a number that is not positive.
                number.map(|number| u64::try_from(number).unwrap_or(0))
            });
            let ids: Option<Vec<_>> = ids.collect();
            let ids = ids.ok_or_else(|| answer::error(b"ERR Invalid client ID"))?;
            filter.client_ids = Some(ids);
        }
        _ => return Err(answer::error(SYNTAX)),
    }
    Ok(Survey::new(Question::List(filter), listing))
}

/// In the order of the question, or else in that in which the clients came.
fn listing(question: &Question, answers: Vec<Answer>, protocol: Protocol) -> Vec<u8> {
    let mut lines: Vec<(u64, Vec<u8>)> = Vec::new();
    for answer in answers {
        if let Answer::Lines(more) = answer {
            lines.extend(more);
        }
    }
    lines.sort_unstable_by_key(|(id, _)| *id);
    let mut text = Vec::new();
    match question {
        Question::List(Filter {
            client_ids: Some(ids),
            ..
        }) => {
            for id in ids {
                if let Ok(found) = lines.binary_search_by_key(id, |(id, _)| *id) {
                    text.extend_from_slice(&lines[found].1);
                }
            }
        }
        _ => lines
            .iter()
            .for_each(|(_, line)| text.extend_from_slice(line)),
    }
    let mut reply = Vec::with_capacity(text.len() + 16);
    encode::verbatim(&mut reply, protocol, &text);
    reply
}

/// `CLIENT KILL <address>` or `CLIENT KILL <filter> <value> ...`
pub(super) fn kill(request: &Request<'_>, me: u64, user: &str) -> Result<Survey, Vec<u8>> {
    if request.len() == 3 {
        let filter = Filter {
            remote: Some(request.arg(2).to_vec()),
            ..Filter::default()
        };
        let summary = |_: &Question, answers: Vec<Answer>, _| match sum(&answers) {
            0 => answer::error(b"ERR No such client"),
            _ => b"+OK\r\n".to_vec(),
        };
        return Ok(Survey::new(Question::Kill { filter, me }, summary));
    }
    let filter = kill_filter(request, me, user)?;
    Ok(Survey::new(Question::Kill { filter, me }, count))
}

fn kill_filter(request: &Request<'_>, me: u64, user: &str) -> Result<Filter, Vec<u8>> {
    let mut filter = Filter {
        except: Some(me),
        ..Filter::default()
    };
    let mut next = 2;
    while next < request.len() {
        // A filter without a value is none of those below.
        if next + 1 == request.len() {
            return Err(answer::error(SYNTAX));
        }
        let value = request.arg(next + 1);
        if request.is_arg(next, b"id") {
            let id = parse_integer(value).filter(|id| *id > 0);
            let id = id.ok_or_else(|| answer::error(BAD_CLIENT_ID))?;
            filter.client_ids = Some(vec![id.unsigned_abs()]);
        } else if request.is_arg(next, b"type") {
            filter.kind = Some(kind(value)?);
        } else if request.is_arg(next, b"addr") {
            filter.remote = Some(value.to_vec());
        } else if request.is_arg(next, b"laddr") {
            filter.local = Some(value.to_vec());
        } else if request.is_arg(next, b"user") {
            // All clients are the same user.
            if value != user.as_bytes() {
                return Err(error_about("No such user", value));
            }
        } else if request.is_arg(next, b"skipme") {
            filter.except = match value {
                yes if yes.eq_ignore_ascii_case(b"yes") => Some(me),
                no if no.eq_ignore_ascii_case(b"no") => None,
                _ => return Err(answer::error(SYNTAX)),
            };
        } else if request.is_arg(next, b"maxage") {
            filter.age_min = Duration::from_secs(age(value)?);
        } else {
            return Err(answer::error(SYNTAX));
        }
        next += 2;
    }
    Ok(filter)
}

/// `MAXAGE`, which Redis has from 7.4 on: seconds that the client has been connected at least.
fn age(value: &[u8]) -> Result<u64, Vec<u8>> {
    match parse_integer(value).map(u64::try_from) {
        None => Err(answer::error(
            b"ERR maxage is not an integer or out of range",
        )),
        Some(Err(_) | Ok(0)) => Err(answer::error(b"ERR maxage should be greater than 0")),
        Some(Ok(seconds)) => Ok(seconds),
    }
}

fn kind(name: &[u8]) -> Result<Kind, Vec<u8>> {
    const KINDS: [(&[u8], Kind); 5] = [
        (b"normal", Kind::Normal),
        (b"slave", Kind::Node),
        (b"replica", Kind::Node),
        (b"pubsub", Kind::PubSub),
        (b"master", Kind::Node),
    ];
    let mut kinds = KINDS.iter();
    let found = kinds.find(|(known, _)| known.eq_ignore_ascii_case(name));
    let found = found.map(|(_, kind)| *kind);
    found.ok_or_else(|| error_about("Unknown client type", name))
}

/// `CLIENT UNBLOCK <clientid> [TIMEOUT | ERROR]`
pub(super) fn unblock(request: &Request<'_>) -> Result<Survey, Vec<u8>> {
    let error = match request.len() {
        3 => false,
        4 if request.is_arg(3, b"timeout") => false,
        4 if request.is_arg(3, b"error") => true,
        4 => return Err(answer::error(BAD_UNBLOCK_REASON)),
        _ => return Err(answer::unknown_form(request)),
    };
    let client_id = parse_integer(request.arg(2)).ok_or_else(|| answer::error(NOT_A_NUMBER))?;
    let client_id = u64::try_from(client_id).unwrap_or(0);
    let question = Question::Unblock { client_id, error };
    Ok(Survey::new(question, count))
}

impl Filter {
    fn fits(&self, session: &Session, now: Instant) -> bool {
        let is = |wanted: &Option<Vec<u8>>, address: core::net::SocketAddr| match wanted {
            Some(wanted) => *wanted == address.to_string().into_bytes(),
            None => true,
        };
        let id = session.client_id;
        let ids = self.client_ids.as_ref();
        self.except != Some(id)
            && ids.is_none_or(|ids| ids.contains(&id))
            && self.kind.is_none_or(|kind| kind == Kind::of(session))
            && now.since(session.opened) >= self.age_min
            && is(&self.remote, session.ends.remote())
            && is(&self.local, session.ends.local())
    }
}

impl Kind {
    fn of(session: &Session) -> Self {
        if session.is_subscribed() {
            Self::PubSub
        } else {
            Self::Normal
        }
    }
}

impl Proxy {
    /// The lines of CLIENT LIST for the clients that fit.
    pub(super) fn list_clients(&self, filter: &Filter, now: Instant) -> Answer {
        let clients = self.connections.iter().filter_map(Connection::client);
        let fitting = clients.filter(|session| filter.fits(session, now));
        let lines = fitting.map(|session| {
            let mut line = Vec::new();
            write_line(session, self.options.user(), now, &mut line);
            (session.client_id, line)
        });
        Answer::Lines(lines.collect())
    }

    /// Closes the clients that fit, at once, and says how many they were; the one who asks for it
    /// gets its reply before.
    pub(super) fn kill_clients(&mut self, filter: &Filter, me: u64, now: Instant) -> Answer {
        let clients = self.connections.iter().filter_map(Connection::client);
        let fitting = clients.filter(|session| filter.fits(session, now));
        let killed: Vec<ConnectionId> = fitting.map(|session| session.connection).collect();
        for connection in &killed {
            let Some(session) = self.session(*connection) else {
                continue;
            };
            session.closing = true;
            if session.client_id != me {
                session.leaving = true;
                self.close(*connection, CloseWhen::Now);
            }
        }
        Answer::Count(killed.len() as u64)
    }

    /// Ends the waiting of a client that is blocked, as if its time were over or with an error.
    /// Says whether there is such a client.
    pub(super) fn unblock(&mut self, client_id: u64, error: bool, now: Instant) -> bool {
        let mut clients = self.connections.iter().filter_map(Connection::client);
        let Some(session) = clients.find(|session| session.client_id == client_id) else {
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

fn error_about(text: &str, word: &[u8]) -> Vec<u8> {
    // To the server it is a C string.
    let shown = word.split(|byte| *byte == 0).next().unwrap_or_default();
    answer::error(&[b"ERR ", text.as_bytes(), b" '", shown, b"'"].concat())
}

fn count(_: &Question, answers: Vec<Answer>, _: Protocol) -> Vec<u8> {
    let mut reply = Vec::new();
    let sum = i64::try_from(sum(&answers)).unwrap_or(i64::MAX);
    encode::integer(&mut reply, sum);
    reply
}

fn sum(answers: &[Answer]) -> u64 {
    let counts = answers.iter().map(|answer| match answer {
        Answer::Count(count) => *count,
        Answer::Done | Answer::Lines(_) | Answer::More(_) | Answer::Slow(_) => 0,
    });
    counts.sum()
}

const SYNTAX: &[u8] = b"ERR syntax error";
const NOT_A_NUMBER: &[u8] = b"ERR value is not an integer or out of range";
const BAD_CLIENT_ID: &[u8] = b"ERR client-id should be greater than 0";
const BAD_UNBLOCK_REASON: &[u8] = b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
