//! SCAN: a walk over the slots in their order that any proxy can take up where another left it.
//!
//! A unit of the walk is a range of slots that one node says are its own, or a single slot where
//! the node keeps its keys by slot. A unit is walked with the node's own cursor, and its end counts
//! only if the node then still is the same run of the same process in the same epoch and still
//! owns the slots. A key that is there all the time was then either seen at that node; or it had
//! left before the end, and is listed at the node that its slot is moving to; or its slot is not
//! the node's any more, and the walk goes back to it. What has changed is walked again, so keys may
//! be found twice. Who calls a migration off and carries keys back may make a walk miss these.

use core::time::Duration;

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Request, encode};

use super::answer;
use super::scan_cursor::Place;
use super::scan_moved::{Moved, Taken, read_keys};
use super::scan_node::{Process, Run, View};
use super::scan_request::ScanRequest;
use super::task::{Cluster, Node, Steps, Task, command_id, request};

/// One SCAN of a client: finds one page.
#[derive(Debug)]
pub(crate) struct Scan {
    request: ScanRequest,
    /// Where the walk is, as far as it is certain.
    place: Place,
    state: State,
    /// Replies to requests of earlier turns do not matter any more.
    turn: u32,
    /// The keys of the page, encoded.
    found: Vec<u8>,
    found_len: usize,
    /// Pages of nodes that were taken.
    pages: u32,
    began: Instant,
    /// Since when it has got no further.
    waiting: Option<Instant>,
}

#[derive(Debug, Default)]
enum State {
    /// For the time to go on.
    #[default]
    Waiting,
    /// A node was asked what it is. The reply to INFO comes first, if it is not known.
    Asking {
        node: Node,
        process: Option<Process>,
    },
    /// A node was asked for a page.
    Walking(Walk),
    /// A node was asked which slots are its own.
    Checking(Walk, Moved),
    /// Keys that have left are being listed.
    Listing(Walk, Moved),
}

/// A walk over one unit, or over single slots that follow one another.
#[derive(Debug, Clone, Copy)]
struct Walk {
    node: Node,
    run: Run,
    first: u16,
    last: u16,
    /// Where it is, if what was walked so far counts.
    next: Place,
}

impl Scan {
    /// The reply is an error when the cursor is no number.
    pub(crate) fn new(request: &Request<'_>) -> Result<Self, Vec<u8>> {
        let place = Place::parse(request.arg(1)).ok_or_else(|| answer::error(INVALID_CURSOR))?;
        let request = ScanRequest::new(request);
        let place = match request.only {
            Some(slot) if Some(slot) != place.slot() => Place::at(slot.number()),
            _ => place,
        };
        Ok(Self {
            request,
            place,
            state: State::default(),
            turn: 0,
            found: Vec::new(),
            found_len: 0,
            pages: 0,
            began: Instant::default(),
            waiting: None,
        })
    }
}

impl Task for Scan {
    fn begin(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.began = cluster.now;
        self.go_on(cluster, steps);
    }

    fn reply(&mut self, part: u32, reply: &[u8], cluster: &Cluster<'_>, steps: &mut Steps) {
        if part != self.turn {
            return;
        }
        if matches!(reply.first(), Some(b'-' | b'!')) {
            return match answer::is_passing(reply) {
                true => self.wait(reply.to_vec(), cluster, steps),
                false => steps.finish(reply.to_vec()),
            };
        }
        let state = std::mem::take(&mut self.state);
        let outcome = match state {
            State::Waiting => Some(()),
            State::Asking { node, process } => self.asked(node, process, reply, cluster, steps),
            State::Walking(walk) => self.walked(walk, reply, cluster, steps),
            State::Checking(walk, moved) => self.checked(walk, moved, reply, cluster, steps),
            State::Listing(walk, moved) => {
                self.listed(walk, moved, reply, steps);
                Some(())
            }
        };
        if outcome.is_none() {
            steps.finish(answer::error(answer::WRONG_FORM));
        } else if self.found.len() > cluster.merge_bytes_max {
            steps.finish(answer::error(answer::MERGE_FULL));
        }
    }

    fn wake(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.go_on(cluster, steps);
    }
}

impl Scan {
    /// Begins the unit of the place where the walk is, or goes on in it.
    fn go_on(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.turn += 1;
        let Some(slot) = self.place.slot().filter(|_| self.found_len == 0) else {
            return self.finish_page(steps);
        };
        let Some(node) = cluster.owner(slot) else {
            return self.wait(answer::error(answer::SLOT_NOT_SERVED), cluster, steps);
        };
        let run = cluster.run(node).map(Run::of_number);
        if let Some(run) = run
            && let Some(walk) = self.walk(node, run, cluster.last_of_range(slot))
        {
            let begins_range = self.place.bucket() == 0 && !run.is_by_slot();
            if walk.next == self.place && !begins_range {
                return self.ask_page(walk, steps);
            }
        }
        let process = run.map(Run::process);
        if process.is_none() {
            let frame = request(&["INFO", "server"]);
            steps.send_to(self.turn, node, command_id("info"), frame);
        }
        let frame = request(&["CLUSTER", "NODES"]);
        steps.send_to(self.turn, node, command_id("cluster|nodes"), frame);
        self.state = State::Asking { node, process };
    }

    /// The walk from the place on, back to the beginning of the unit if what the cursor knows of
    /// the unit is not so.
    fn walk(&self, node: Node, run: Run, last: Slot) -> Option<Walk> {
        let first = self.place.slot()?.number();
        let last = match self.request.only {
            Some(slot) => slot.number(),
            None => last.number(),
        };
        let same =
            self.place.bucket() == 0 || self.place.fingerprint() == run.fingerprint(first, last);
        let next = if same { self.place } else { Place::at(first) };
        Some(Walk {
            node,
            run,
            first,
            last,
            next,
        })
    }

    /// What a node says it is.
    fn asked(
        &mut self,
        node: Node,
        process: Option<Process>,
        reply: &[u8],
        cluster: &Cluster<'_>,
        steps: &mut Steps,
    ) -> Option<()> {
        let Some(process) = process else {
            let process = Some(Process::parse(text(reply)?)?);
            self.state = State::Asking { node, process };
            return Some(());
        };
        let view = View::parse(text(reply)?, cluster.address(node)?)?;
        let run = Run::new(process, view.epoch);
        steps.note_run(node, run.number());
        let slot = self.place.slot()?;
        let Some(last) = view.last_from(slot) else {
            self.wait(answer::error(answer::SLOT_NOT_SERVED), cluster, steps);
            return Some(());
        };
        let walk = self.walk(node, run, last)?;
        self.ask_page(walk, steps);
        Some(())
    }

    fn ask_page(&mut self, walk: Walk, steps: &mut Steps) {
        let bucket = walk.next.bucket();
        let cursor = if walk.run.is_by_slot() {
            bucket << SLOT_BITS | u64::from(walk.next.slot_number())
        } else {
            bucket
        };
        let frame = self.request.frame(cursor);
        steps.send_to(self.turn, walk.node, command_id("scan"), frame);
        self.state = State::Walking(walk);
    }

    /// A page of a node.
    fn walked(
        &mut self,
        mut walk: Walk,
        reply: &[u8],
        cluster: &Cluster<'_>,
        steps: &mut Steps,
    ) -> Option<()> {
        if cluster.run(walk.node) != Some(walk.run.number()) {
            // A connection to it was lost, so it may be another process by now.
            self.go_on(cluster, steps);
            return Some(());
        }
        let (cursor, keys) = read_page(reply)?;
        for key in keys {
            if (walk.first..=walk.last).contains(&Slot::of(key).number()) {
                self.keep(key);
            }
        }
        self.pages += 1;
        let Some(next) = walk.after(cursor)? else {
            steps.finish(answer::error(CURSOR_TOO_LARGE));
            return Some(());
        };
        walk.next = next;
        let has_end = next.slot_number() > walk.first;
        let enough = self.has_enough(cluster);
        if next.slot_number() > walk.last || enough && has_end {
            self.check(walk, Moved::default(), steps);
        } else if enough {
            self.place = next;
            self.finish_page(steps);
        } else {
            self.ask_page(walk, steps);
        }
        Some(())
    }

    fn check(&mut self, walk: Walk, moved: Moved, steps: &mut Steps) {
        let frame = request(&["CLUSTER", "NODES"]);
        steps.send_to(self.turn, walk.node, command_id("cluster|nodes"), frame);
        self.state = State::Checking(walk, moved);
    }

    /// What a node says is its own, after it was walked.
    fn checked(
        &mut self,
        walk: Walk,
        moved: Moved,
        reply: &[u8],
        cluster: &Cluster<'_>,
        steps: &mut Steps,
    ) -> Option<()> {
        let view = View::parse(text(reply)?, cluster.address(walk.node)?)?;
        if cluster.run(walk.node) != Some(walk.run.number()) {
            self.go_on(cluster, steps);
            return Some(());
        }
        let run = Run::new(walk.run.process(), view.epoch);
        if run != walk.run {
            steps.note_run(walk.node, run.number());
            self.place = Place::at(walk.first);
            self.pause(cluster, steps);
            return Some(());
        }
        let done = walk.next.slot_number() - 1;
        let mut slots = (walk.first..=done).filter_map(|slot| Slot::new(slot.into()));
        let lost = slots.find(|slot| !view.owns(*slot));
        let kept = lost.map_or(done + 1, Slot::number);
        if !moved.was_listed() && kept > walk.first {
            match Moved::new(view.leaving(walk.first, kept - 1)) {
                Some(moved) if moved.is_empty() => {}
                Some(moved) => {
                    self.list(walk, moved, steps);
                    return Some(());
                }
                None => {
                    self.wait(answer::error(answer::SLOT_NOT_SERVED), cluster, steps);
                    return Some(());
                }
            }
        }
        let lost = lost.into_iter().chain(moved.first_changed(&view)).min();
        self.move_on(walk, lost, cluster, steps);
        Some(())
    }

    /// A part of the walk is certain: up to the slot that was lost, or all of it.
    fn move_on(
        &mut self,
        walk: Walk,
        lost: Option<Slot>,
        cluster: &Cluster<'_>,
        steps: &mut Steps,
    ) {
        if let Some(slot) = lost {
            if slot.number() == walk.first {
                let error = answer::error(answer::SLOT_NOT_SERVED);
                return self.wait(error, cluster, steps);
            }
            self.waiting = None;
            self.place = Place::at(slot.number());
            return self.pause(cluster, steps);
        }
        self.waiting = None;
        self.place = walk.next;
        if self.request.only.is_some() && self.place.slot_number() > walk.last {
            self.place = Place::END;
        }
        match self.has_enough(cluster) {
            true => self.finish_page(steps),
            false => self.go_on(cluster, steps),
        }
    }

    fn list(&mut self, walk: Walk, moved: Moved, steps: &mut Steps) {
        if moved.ask_next(self.turn, steps) {
            self.state = State::Listing(walk, moved);
        } else {
            self.check(walk, moved, steps);
        }
    }

    fn listed(&mut self, walk: Walk, mut moved: Moved, reply: &[u8], steps: &mut Steps) {
        let (found, found_len) = (&mut self.found, &mut self.found_len);
        let mut keep = |key: &[u8]| {
            encode::bulk(found, key);
            *found_len += 1;
        };
        match moved.take(reply, &self.request, self.turn, steps, &mut keep) {
            Taken::Partly => self.state = State::Listing(walk, moved),
            Taken::Whole => self.list(walk, moved, steps),
            Taken::Failed(error) => steps.finish(error),
        }
    }

    fn keep(&mut self, key: &[u8]) {
        encode::bulk(&mut self.found, key);
        self.found_len += 1;
    }

    /// An empty page is allowed, but a client would ask again at once.
    fn has_enough(&self, cluster: &Cluster<'_>) -> bool {
        let tired = cluster.now.since(self.began) >= PAGE_TIME_MAX;
        self.found_len > 0 || self.pages >= PAGES_MAX || tired
    }

    fn finish_page(&self, steps: &mut Steps) {
        let mut reply = Vec::with_capacity(self.found.len() + 48);
        encode::array(&mut reply, 2);
        encode::bulk(&mut reply, self.place.number().to_string().as_bytes());
        encode::array(&mut reply, self.found_len);
        reply.extend_from_slice(&self.found);
        steps.finish(reply);
    }

    /// Goes on a little later, since what we know of the cluster is not so any more.
    fn pause(&mut self, cluster: &Cluster<'_>, steps: &mut Steps) {
        self.wait(answer::error(answer::SLOT_NOT_SERVED), cluster, steps);
    }

    /// The unit has to begin again later, or to go on. The error is the reply when that has lasted
    /// too long.
    fn wait(&mut self, error: Vec<u8>, cluster: &Cluster<'_>, steps: &mut Steps) {
        steps.topology_is_stale();
        self.turn += 1;
        self.state = State::Waiting;
        let since = *self.waiting.get_or_insert(cluster.now);
        let waited = cluster.now.since(since);
        if waited >= cluster.hold_timeout {
            return steps.finish(error);
        }
        steps.wake_after((waited / 2).clamp(WAIT_MIN, WAIT_MAX));
    }
}

impl Walk {
    /// The place that a node's cursor means, where the outer `None` is a cursor that it can't have
    /// given and the inner one a bucket that is too large.
    fn after(&self, cursor: u64) -> Option<Option<Place>> {
        if cursor == 0 {
            return Some(Some(Place::at(self.last + 1)));
        }
        let (slot, bucket) = if self.run.is_by_slot() {
            let slot = (cursor & SLOT_MASK) as u16;
            if slot < self.next.slot_number() {
                return None;
            }
            (slot, cursor >> SLOT_BITS)
        } else {
            (self.first, cursor)
        };
        if slot > self.last {
            return Some(Some(Place::at(self.last + 1)));
        }
        let fingerprint = self.run.fingerprint(self.first, self.last);
        Some(match bucket {
            0 => Some(Place::at(slot)),
            _ => Place::inside(slot, bucket, fingerprint),
        })
    }
}

/// A node's cursor and keys.
fn read_page(reply: &[u8]) -> Option<(u64, Vec<&[u8]>)> {
    let mut reader = TokenReader::new(reply);
    let Ok(Some(Token::Array(2))) = reader.next_token() else {
        return None;
    };
    let Ok(Some(Token::Bulk(cursor))) = reader.next_token() else {
        return None;
    };
    let cursor = core::str::from_utf8(cursor).ok()?.parse().ok()?;
    Some((cursor, read_keys(reader.rest())?))
}

/// The text of a reply that is one.
fn text(reply: &[u8]) -> Option<&[u8]> {
    match TokenReader::new(reply).next_token() {
        Ok(Some(Token::Bulk(text))) => Some(text),
        Ok(Some(Token::Verbatim(text))) => text.get(4..),
        _ => None,
    }
}

const INVALID_CURSOR: &[u8] = b"ERR invalid cursor";

const CURSOR_TOO_LARGE: &[u8] =
    b"ERR proxy: the node's cursor is larger than 29 bits, and clients can't be given more";

/// A client gets an empty page after so many empty pages of nodes, or that time.
const PAGES_MAX: u32 = 64;
const PAGE_TIME_MAX: Duration = Duration::from_millis(100);

const WAIT_MIN: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_millis(100);

const SLOT_BITS: u32 = 14;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
