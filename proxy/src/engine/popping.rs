//! Blocking pops without a connection of their own, for keys of any slots: tries the keys in order
//! without blocking, and when none has anything waits until one may have. Only one pop is under way
//! at a time, so that never two elements are taken.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{CommandId, lookup};
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::{Request, encode};

use super::answer;
use super::blocking::{end_wait, is_nothing, nothing};
use super::redirect::was_not_run;
use super::restore::restore;
use super::task::{Cluster, Steps, Task};
use super::wait_time;

/// A blocking pop under way.
#[derive(Debug)]
pub(crate) struct Popping {
    name: &'static str,
    words: Vec<Vec<u8>>,
    keys: Vec<Bytes>,
    deadline: Option<Instant>,
    /// Keys to try, by their number.
    todo: VecDeque<usize>,
    /// The key that is being tried.
    trying: Option<usize>,
    /// Every key has been tried once.
    waits: bool,
    /// CLIENT UNBLOCK was called, and whether it is to end with an error.
    unblocked: Option<bool>,
    abandoned: bool,
}

impl Popping {
    /// For a request with these keys, in order; `None` for commands that have no such form.
    pub(crate) fn new(
        name: &'static str,
        request: &Request<'_>,
        keys: Vec<Bytes>,
        now: Instant,
    ) -> Option<Result<Self, Vec<u8>>> {
        let words: Vec<Vec<u8>> = request.args(0).map(<[u8]>::to_vec).collect();
        if matches!(name, "blmpop" | "bzmpop") && !has_direction(name, &words, keys.len()) {
            return Some(Err(answer::error(answer::SYNTAX)));
        }
        attempt(name, &words, keys.first()?)?;
        let Some(time) = wait_time::read(name, &words) else {
            return Some(Err(wait_time::refuse(name, &words)));
        };
        Some(Ok(Self {
            name,
            words,
            todo: (0..keys.len()).collect(),
            keys,
            deadline: time.map(|time| now + time),
            trying: None,
            waits: false,
            unblocked: None,
            abandoned: false,
        }))
    }

    fn go_on(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        if let Some(error) = self.unblocked {
            return end_wait(error, steps);
        }
        if let Some(number) = self.todo.pop_front() {
            self.trying = Some(number);
            let key = &self.keys[number];
            if let Some((command, frame)) = attempt(self.name, &self.words, key) {
                steps.send(number as u32, Slot::of(key), command, frame);
            }
            return;
        }
        self.waits = true;
        match self.deadline {
            Some(deadline) if deadline <= cluster.now => steps.finish(nothing(cluster)),
            deadline => {
                if let Some(deadline) = deadline {
                    steps.wake_after(deadline.since(cluster.now).max(SHORTEST));
                }
                steps.await_keys(self.keys.clone(), true);
            }
        }
    }
}

impl Task for Popping {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.go_on(cluster, steps);
    }

    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        let Some(number) = self.trying.take() else {
            // The element is back where it was, or the connection to the node is lost.
            return;
        };
        debug_assert_eq!(number, part as usize, "one pop at a time");
        let whole = self.whole_reply(number, reply);
        if self.abandoned {
            let key = &self.keys[number];
            if let Some(restore) = restore(self.name, &self.words, &whole) {
                steps.note_restored(restore.elements);
                steps.send(0, Slot::of(key), restore.command, restore.frame);
            }
            return;
        }
        let is_error = reply.first() == Some(&b'-');
        // What can't be told now may be told later; a key that has become something else while
        // the client is blocked is one that has no elements.
        let is_none = is_nothing(reply)
            || reply == b"*0\r\n"
            || was_not_run(reply)
            || answer::is_unknown(reply)
            || is_error && self.waits;
        if is_none {
            self.go_on(cluster, steps);
        } else {
            steps.finish(whole);
        }
    }

    fn wake(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        let is_over = self
            .deadline
            .is_some_and(|deadline| deadline <= cluster.now);
        if is_over && self.trying.is_none() {
            steps.finish(nothing(cluster));
        }
    }

    fn key_changed(&mut self, key: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        if self.abandoned {
            return;
        }
        for (number, known) in self.keys.iter().enumerate() {
            if known == key && !self.todo.contains(&number) {
                self.todo.push_back(number);
            }
        }
        if self.trying.is_none() {
            self.go_on(cluster, steps);
        }
    }

    fn unblock(&mut self, error: bool, steps: &mut Steps) -> bool {
        if !self.waits {
            return false;
        }
        // What is being taken at this moment is the client's.
        match self.trying {
            Some(_) => self.unblocked = Some(error),
            None => end_wait(error, steps),
        }
        true
    }

    fn abandon(&mut self, _steps: &mut Steps) -> bool {
        self.abandoned = true;
        true
    }
}

impl Popping {
    /// The reply of the blocking command that belongs to the reply of the pop.
    fn whole_reply(&self, number: usize, reply: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        let taken = reply.first().is_some_and(|byte| b"$*,".contains(byte))
            && !is_nothing(reply)
            && reply != b"*0\r\n";
        match self.name {
            "blpop" | "brpop" if taken => {
                encode::array(&mut whole, 2);
                encode::bulk(&mut whole, &self.keys[number]);
                whole.extend_from_slice(reply);
            }
            "bzpopmin" | "bzpopmax" if taken => {
                encode::array(&mut whole, 3);
                encode::bulk(&mut whole, &self.keys[number]);
                let header = reply.iter().position(|byte| *byte == b'\n').unwrap_or(0) + 1;
                whole.extend_from_slice(&reply[header..]);
            }
            _ => whole.extend_from_slice(reply),
        }
        whole
    }
}

/// Whether a direction is where it has to be, behind that many keys.
fn has_direction(name: &str, words: &[Vec<u8>], keys: usize) -> bool {
    let directions: [&[u8]; 2] = match name {
        "blmpop" => [b"left", b"right"],
        _ => [b"min", b"max"],
    };
    let direction = words.get(3 + keys);
    direction.is_some_and(|word| {
        directions
            .iter()
            .any(|known| word.eq_ignore_ascii_case(known))
    })
}

/// The pop that does not block, of one key.
fn attempt(name: &str, words: &[Vec<u8>], key: &[u8]) -> Option<(CommandId, Vec<u8>)> {
    let mut frame = Vec::new();
    let pop = match name {
        "blpop" => "LPOP",
        "brpop" => "RPOP",
        "bzpopmin" => "ZPOPMIN",
        "bzpopmax" => "ZPOPMAX",
        "blmpop" => "LMPOP",
        "bzmpop" => "ZMPOP",
        "blmove" => "LMOVE",
        "brpoplpush" => "RPOPLPUSH",
        _ => return None,
    };
    let mut parts: Vec<&[u8]> = vec![pop.as_bytes()];
    match name {
        "blmpop" | "bzmpop" => {
            let count: usize = core::str::from_utf8(words.get(2)?).ok()?.parse().ok()?;
            parts.extend([&b"1"[..], key]);
            parts.extend(words.get(3 + count..)?.iter().map(Vec::as_slice));
        }
        "blmove" | "brpoplpush" => {
            parts.extend(words[1..words.len() - 1].iter().map(Vec::as_slice));
        }
        _ => parts.push(key),
    }
    encode::request(&mut frame, &parts);
    Some((lookup(pop.as_bytes())?.id, frame))
}

/// A wait that is due is done in the next round, not in this one.
const SHORTEST: Duration = Duration::from_millis(1);
