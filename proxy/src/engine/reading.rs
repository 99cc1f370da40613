//! XREAD and XREADGROUP of streams in several slots: each stream is asked without blocking, the
//! answers become one, and when there are none the streams are asked again once one has changed.

use core::time::Duration;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{CommandId, lookup};
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Protocol, Request, encode};

use super::answer;
use super::blocking::{end_wait, is_nothing, nothing};
use super::redirect::was_not_run;
use super::task::{Cluster, Steps, Task};
use super::wait_time;

/// Reading streams, perhaps waiting for them.
#[derive(Debug)]
pub(crate) struct Reading {
    command: CommandId,
    /// The command up to STREAMS, without its time.
    options: Vec<Vec<u8>>,
    streams: Vec<Stream>,
    /// `$` stands for the last entry, which it does not in a group.
    resolves: bool,
    /// All streams have been read once.
    waited: bool,
    /// CLIENT UNBLOCK was called, and whether it is to end with an error.
    unblocked: Option<bool>,
    /// What is read is taken from a group.
    hands_out: bool,
    /// How long to wait, `None` for not at all, `Some(None)` for without end.
    wait: Option<Option<Duration>>,
    deadline: Option<Instant>,
    /// Replies that have not come.
    waiting: usize,
    /// What has been read in this round is asked for again in the next.
    changed: bool,
    phase: Phase,
}

#[derive(Debug)]
struct Stream {
    key: Bytes,
    id: Vec<u8>,
    /// The stream's part of the reply, or the error that came instead.
    found: Option<Vec<u8>>,
    failed: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Finding out what `$` stands for.
    Resolving,
    Reading,
    Waiting,
}

impl Reading {
    /// For a request whose arity is right and whose keys can be told.
    pub(crate) fn new(
        name: &'static str,
        command: CommandId,
        request: &Request<'_>,
    ) -> Option<Result<Self, Vec<u8>>> {
        let words: Vec<Vec<u8>> = request.args(0).map(<[u8]>::to_vec).collect();
        let is = |word: &Vec<u8>, name: &[u8]| word.eq_ignore_ascii_case(name);
        let streams = words.iter().position(|word| is(word, b"streams"))?;
        let block = words[..streams].iter().position(|word| is(word, b"block"));
        let wait = match block {
            None => None,
            Some(_) => match wait_time::read(name, &words) {
                Some(time) => Some(time),
                None => return Some(Err(wait_time::refuse(name, &words))),
            },
        };
        let mut options = words[..streams].to_vec();
        if let Some(block) = block {
            options.drain(block..block + 2);
        }
        let rest = &words[streams + 1..];
        let (keys, ids) = rest.split_at(rest.len() / 2);
        let stream = |(key, id): (&Vec<u8>, &Vec<u8>)| Stream {
            key: Bytes::copy_from_slice(key),
            id: id.clone(),
            found: None,
            failed: None,
        };
        Some(Ok(Self {
            command,
            hands_out: name == "xreadgroup",
            options,
            streams: keys.iter().zip(ids).map(stream).collect(),
            resolves: name == "xread",
            waited: false,
            unblocked: None,
            wait,
            deadline: None,
            waiting: 0,
            changed: false,
            phase: Phase::Resolving,
        }))
    }

    fn read(&mut self, steps: &mut Steps) {
        self.phase = Phase::Reading;
        self.changed = false;
        self.waiting = self.streams.len();
        for (stream, part) in self.streams.iter().zip(0..) {
            let mut words: Vec<&[u8]> = self.options.iter().map(Vec::as_slice).collect();
            words.extend([&b"STREAMS"[..], &stream.key, &stream.id]);
            let mut frame = Vec::new();
            encode::request(&mut frame, &words);
            steps.send(part, Slot::of(&stream.key), self.command, frame);
        }
    }

    /// All streams have been read: answers, or waits.
    fn conclude(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        // Entries that a group has handed out are not handed out again: they go before errors.
        let has_found = self.streams.iter().any(|stream| stream.found.is_some());
        let mut failed = self.streams.iter_mut().filter_map(|it| it.failed.take());
        if let Some(error) = failed.next()
            && !(self.hands_out && has_found)
        {
            return steps.finish(error);
        }
        let found: Vec<&Vec<u8>> = self
            .streams
            .iter()
            .filter_map(|it| it.found.as_ref())
            .collect();
        if !found.is_empty() {
            let mut reply = Vec::new();
            match cluster.protocol {
                Protocol::Resp2 => encode::array(&mut reply, found.len()),
                Protocol::Resp3 => encode::map(&mut reply, Protocol::Resp3, found.len()),
            }
            found.iter().for_each(|part| reply.extend_from_slice(part));
            return steps.finish(reply);
        }
        if self.wait.is_none()
            || self
                .deadline
                .is_some_and(|deadline| deadline <= cluster.now)
        {
            return steps.finish(nothing(cluster));
        }
        if let Some(error) = self.unblocked {
            return end_wait(error, steps);
        }
        if self.changed {
            return self.read(steps);
        }
        self.phase = Phase::Waiting;
        self.waited = true;
        if let Some(deadline) = self.deadline {
            steps.wake_after(deadline.since(cluster.now).max(Duration::from_millis(1)));
        }
        let keys = self.streams.iter().map(|stream| stream.key.clone());
        steps.await_keys(keys.collect(), false);
    }

    /// Notes what `$` stands for: the last id of the stream, or the first possible one.
    fn resolve(&mut self, part: usize, reply: &[u8]) {
        let mut reader = TokenReader::new(reply);
        let _ = reader.next_token();
        let mut last = b"0-0".to_vec();
        while let Ok(Some(token)) = reader.next_token() {
            if token == Token::Bulk(b"last-generated-id")
                && let Ok(Some(Token::Bulk(id))) = reader.next_token()
            {
                last = id.to_vec();
                break;
            }
        }
        self.streams[part].id = last;
    }
}

impl Task for Reading {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.deadline = self.wait.flatten().map(|time| cluster.now + time);
        for (stream, part) in self.streams.iter().zip(0..) {
            if stream.id == b"$" && self.resolves {
                self.waiting += 1;
                let mut frame = Vec::new();
                encode::request(&mut frame, &[&b"XINFO"[..], b"STREAM", &stream.key]);
                steps.send(part, Slot::of(&stream.key), info_id(), frame);
            }
        }
        if self.waiting == 0 {
            self.read(steps);
        }
    }

    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        self.waiting -= 1;
        let is_error = reply.first() == Some(&b'-');
        if self.phase == Phase::Resolving {
            if is_error && !reply.starts_with(b"-ERR no such key") {
                return steps.finish(reply.to_vec());
            }
            self.resolve(part as usize, reply);
            if self.waiting == 0 {
                self.read(steps);
            }
            return;
        }
        let may_come_later = was_not_run(reply) || answer::is_unknown(reply);
        if is_error && !(may_come_later && self.wait.is_some()) {
            self.streams[part as usize].failed = Some(reply.to_vec());
        }
        if !is_error && !is_nothing(reply) {
            self.streams[part as usize].found = inner(reply).map(<[u8]>::to_vec);
        }
        if self.waiting == 0 {
            self.conclude(cluster, steps);
        }
    }

    fn wake(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.phase == Phase::Waiting {
            steps.finish(nothing(cluster));
        }
    }

    fn key_changed(&mut self, _key: &[u8], _cluster: &Cluster<'_>, steps: &mut Steps) {
        match self.phase {
            Phase::Waiting => self.read(steps),
            _ => self.changed = true,
        }
    }

    fn unblock(&mut self, error: bool, steps: &mut Steps) -> bool {
        match self.phase {
            Phase::Waiting => end_wait(error, steps),
            // What is being read at this moment is the client's.
            Phase::Reading if self.waited => self.unblocked = Some(error),
            _ => return false,
        }
        true
    }
}

/// What is inside of the reply about one stream: in RESP2 an array of a key and its entries, in
/// RESP3 the two themselves.
fn inner(reply: &[u8]) -> Option<&[u8]> {
    let mut reader = TokenReader::new(reply);
    match reader.next_token() {
        Ok(Some(Token::Array(1) | Token::Map(1))) => Some(reader.rest()),
        _ => None,
    }
}

fn info_id() -> CommandId {
    lookup(b"xinfo")
        .and_then(|command| command.subcommand(b"stream"))
        .map_or(CommandId(0), |command| command.id)
}
