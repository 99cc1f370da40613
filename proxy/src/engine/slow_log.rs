//! The slow log: the requests to nodes that took longest lately, with what they waited for before
//! they were sent and how long the node took. Each worker keeps its own; SLOWLOG asks all of them.

use core::net::SocketAddr;
use std::collections::VecDeque;
use std::sync::Arc;

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::{Address, Instant};
use slotway_protocol::resp::{
    Protocol, Request, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

use super::local::parse_integer;
use super::peers::{Answer, Question};
use super::pipeline::{InFlight, Kind};
use super::survey::Survey;
use super::{Connection, Proxy, answer};

/// What one worker remembers.
#[derive(Debug, Default)]
pub(super) struct SlowLog {
    /// The newest first.
    entries: VecDeque<Arc<SlowEntry>>,
    /// How many there ever were.
    seen: u64,
}

/// One request, or the part of one that went to one node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SlowEntry {
    /// Unique in this proxy.
    id: u64,
    unix_ms: u64,
    /// From its arrival to the node's reply.
    total_us: u64,
    /// The part of that before it was sent to the node that answered.
    queue_us: u64,
    slot: Slot,
    node: Address,
    client: SocketAddr,
    client_name: Vec<u8>,
    /// Shortened as redis-server does it.
    arguments: Vec<Vec<u8>>,
}

impl SlowLog {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The newest so many.
    pub(super) fn newest(&self, count: usize) -> Vec<Arc<SlowEntry>> {
        self.entries.iter().take(count).cloned().collect()
    }

    fn add(&mut self, entry: SlowEntry, len_max: usize) {
        self.entries.push_front(Arc::new(entry));
        self.entries.truncate(len_max);
    }
}

impl Proxy {
    /// Takes note of the oldest request of a pipeline, which is being answered, if it took long.
    #[inline]
    pub(super) fn note_if_slow(&mut self, index: usize, now: Instant) {
        if let Some(front) = self.pipelines[index].front()
            && now.micros_since(front.arrived) >= self.options.slowlog_slower_than_us
        {
            let front = *front;
            self.note_slow(index, &front, now);
        }
    }

    #[cold]
    fn note_slow(&mut self, index: usize, front: &InFlight, now: Instant) {
        let len_max = self.options.slowlog_max_len;
        let command = Command::by_id(front.command);
        // The server does not log what may have a password in it, and others that say nothing.
        let is_silent = command.flags.contains(Flags::SKIP_SLOWLOG) && front.preceding == 0;
        if !front.has_slot() && front.kind != Kind::Read || is_silent || len_max == 0 {
            return;
        }
        let place = self.connections.get(front.ticket.connection.index as usize);
        let Some(Connection::Client(session)) = place else {
            return;
        };
        let arguments = match front.preceding {
            0 => arguments_of(&self.pipelines[index].front_bytes()),
            // A transaction is one entry, whatever is in it.
            queued => vec![b"EXEC".to_vec(), more(queued as usize - 1, "commands")],
        };
        let worker_count = self.options.worker_count as u64;
        let entry = SlowEntry {
            id: self.watched.slow_log.seen * worker_count + u64::from(self.options.worker),
            unix_ms: self.unix_ms,
            total_us: now.micros_since(front.arrived),
            queue_us: front.sent.micros_since(front.arrived),
            slot: front.slot,
            node: self.pipelines[index].address.clone(),
            client: session.ends.remote(),
            client_name: session
                .about
                .as_ref()
                .map_or_else(Vec::new, |about| about.name.clone()),
            arguments,
        };
        self.watched.slow_log.seen += 1;
        self.watched.slow_log.add(entry, len_max);
        self.stats.slow_requests.inc();
    }
}

/// The arguments of a request, few and short.
fn arguments_of(frame: &[u8]) -> Vec<Vec<u8>> {
    let mut buffers = RequestBuffers::default();
    let limits = RequestLimits::default();
    let scanned = RequestScanner::default().scan(frame, &limits, &mut buffers);
    let Ok(Scan::Request { consumed }) = scanned else {
        return Vec::new();
    };
    let request = buffers.request(&frame[..consumed]);
    let is_cut = request.len() > ARGUMENTS_MAX;
    let shown = if is_cut {
        ARGUMENTS_MAX - 1
    } else {
        request.len()
    };
    let mut arguments: Vec<Vec<u8>> = request.args(0).take(shown).map(shortened).collect();
    if is_cut {
        arguments.push(more(request.len() - shown, "arguments"));
    }
    arguments
}

fn shortened(argument: &[u8]) -> Vec<u8> {
    if argument.len() <= ARGUMENT_BYTES_MAX {
        return argument.to_vec();
    }
    let (shown, rest) = argument.split_at(ARGUMENT_BYTES_MAX);
    let mut text = shown.to_vec();
    text.extend(more(rest.len(), "bytes"));
    text
}

fn more(count: usize, what: &str) -> Vec<u8> {
    format!("... ({count} more {what})").into_bytes()
}

/// `SLOWLOG GET [count]`
pub(super) fn get(request: &Request<'_>) -> Result<Survey, Vec<u8>> {
    let count = match request.len() {
        2 => Some(COUNT),
        3 => parse_integer(request.arg(2)),
        _ => {
            let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
            text.extend_from_slice(request.arg(1));
            text.extend_from_slice(b"'. Try SLOWLOG HELP.");
            return Err(answer::error(&text));
        }
    };
    let count = count
        .filter(|count| *count >= -1)
        .ok_or_else(|| answer::error(b"ERR count should be greater than or equal to -1"))?;
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Survey::new(Question::SlowLog { limit }, as_server))
}

/// `PROXY SLOWLOG [COUNT count]`, with all that is known.
pub(super) fn get_all(limit: usize) -> Survey {
    Survey::new(Question::SlowLog { limit }, in_full)
}

/// `SLOWLOG LEN`
pub(super) fn len() -> Survey {
    Survey::new(Question::SlowLogLen, |_, answers, _| {
        let counts = answers.iter().map(|answer| match answer {
            Answer::Count(count) => *count,
            _ => 0,
        });
        let mut out = Vec::new();
        encode::integer(&mut out, counts.sum::<u64>() as i64);
        out
    })
}

/// `SLOWLOG RESET`
pub(super) fn reset() -> Survey {
    Survey::new(Question::ForgetSlowLog, |_, _, _| b"+OK\r\n".to_vec())
}

/// All workers' entries, the newest first.
fn together(question: &Question, answers: Vec<Answer>) -> Vec<Arc<SlowEntry>> {
    let mut entries: Vec<Arc<SlowEntry>> = Vec::new();
    for answer in answers {
        if let Answer::Slow(more) = answer {
            entries.extend(more);
        }
    }
    entries.sort_by_key(|entry| core::cmp::Reverse((entry.unix_ms, entry.id)));
    if let Question::SlowLog { limit } = question {
        entries.truncate(*limit);
    }
    entries
}

/// In the form of redis-server, and not an element more: there are clients that would take it for
/// the next entry.
fn as_server(question: &Question, answers: Vec<Answer>, _protocol: Protocol) -> Vec<u8> {
    let entries = together(question, answers);
    let mut out = Vec::new();
    encode::array(&mut out, entries.len());
    for entry in entries {
        encode::array(&mut out, 6);
        encode::integer(&mut out, entry.id as i64);
        encode::integer(&mut out, (entry.unix_ms / 1000) as i64);
        encode::integer(&mut out, entry.total_us as i64);
        write_arguments(&entry, &mut out);
        encode::bulk(&mut out, entry.client.to_string().as_bytes());
        encode::bulk(&mut out, &entry.client_name);
    }
    out
}

fn in_full(question: &Question, answers: Vec<Answer>, protocol: Protocol) -> Vec<u8> {
    let entries = together(question, answers);
    let mut out = Vec::new();
    encode::array(&mut out, entries.len());
    for entry in entries {
        encode::map(&mut out, protocol, 10);
        let numbers = [
            ("id", entry.id),
            ("unix_ms", entry.unix_ms),
            ("total_us", entry.total_us),
            ("queue_us", entry.queue_us),
            ("backend_us", entry.total_us.saturating_sub(entry.queue_us)),
            ("slot", u64::from(entry.slot.number())),
        ];
        for (name, number) in numbers {
            encode::bulk(&mut out, name.as_bytes());
            encode::integer(&mut out, number as i64);
        }
        encode::bulk(&mut out, b"node");
        encode::bulk(&mut out, entry.node.to_string().as_bytes());
        encode::bulk(&mut out, b"client");
        encode::bulk(&mut out, entry.client.to_string().as_bytes());
        encode::bulk(&mut out, b"client_name");
        encode::bulk(&mut out, &entry.client_name);
        encode::bulk(&mut out, b"arguments");
        write_arguments(&entry, &mut out);
    }
    out
}

fn write_arguments(entry: &SlowEntry, out: &mut Vec<u8>) {
    encode::array(out, entry.arguments.len());
    for argument in &entry.arguments {
        encode::bulk(out, argument);
    }
}

/// What SLOWLOG GET shows when nothing else is asked for.
const COUNT: i64 = 10;

/// As redis-server keeps them.
const ARGUMENTS_MAX: usize = 32;
const ARGUMENT_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_few_and_short() {
        let frame = |arguments: &[&[u8]]| {
            let mut out = Vec::new();
            encode::array(&mut out, arguments.len());
            arguments
                .iter()
                .for_each(|argument| encode::bulk(&mut out, argument));
            out
        };
        let long = [b'x'; 129];
        let shown = arguments_of(&frame(&[b"set", b"key", &long]));
        let cut = [&[b'x'; 128][..], b"... (1 more bytes)"].concat();
        assert_eq!(shown, [b"set".to_vec(), b"key".to_vec(), cut]);
        let shown = arguments_of(&frame(&[&b"a"[..]; 32]));
        assert_eq!((shown.len(), &shown[31][..]), (32, &b"a"[..]));
        let shown = arguments_of(&frame(&[&b"a"[..]; 40]));
        assert_eq!(shown.len(), 32);
        assert_eq!(shown[31], b"... (9 more arguments)");
    }
}
