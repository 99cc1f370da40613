//! What the engine does when memory is scarce: counts what it keeps, reads less, lets large
//! requests in as far as there is room for them, and at last cuts off the clients that take most.

use std::collections::VecDeque;

use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Instant};

use super::memory::Strain;
use super::options::Options;
use super::pipeline::InFlight;
use super::stats::Cut;
use super::{Connection, Proxy, SHRINK_INTERVAL, answer};

/// Limits that are narrower than the options say while memory is scarce.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Reply bytes waiting for one client; beyond it nothing more is read from that client.
    pub(super) output: usize,
    /// Request bytes kept for one connection to a node; beyond it requests get an error.
    pub(super) queue: usize,
    /// Of a reply that is not whole the beginning is handed on from here on. A smaller one can
    /// still be asked for again when the connection to the node is lost.
    pub(super) passed: usize,
    /// Reply bytes waiting for all clients to which replies are handed on; a node waits beyond its
    /// part of it.
    pub(super) passing: usize,
}

impl Bounds {
    pub(super) fn new(options: &Options, strain: Strain) -> Self {
        let (mut output, mut queue) = (
            options.client_output_bytes_max,
            options.backend_queue_bytes_max,
        );
        if strain >= Strain::Tight {
            output = output.min(TIGHT_OUTPUT_BYTES);
        }
        if strain >= Strain::Short {
            queue = queue.min(SHORT_QUEUE_BYTES);
        }
        let memory_max = options.memory.max(options.memory_bytes_max);
        Self {
            output,
            queue,
            passed: (memory_max / 64).clamp(MIB, 4 * MIB),
            passing: match strain {
                Strain::None => (memory_max / 16 / options.memory.workers())
                    .min(options.client_output_bytes_cut)
                    .max(MIB),
                _ => MIB,
            },
        }
    }
}

/// Who may go on sending a large request. What has begun has to be kept until it is whole, so that
/// it is too late to wait once memory is scarce.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Those for whose requests there is room. They are few, since only large ones are asked about.
    let_in: Vec<ConnectionId>,
    /// Those that are not read from until it is their turn.
    waiting: VecDeque<ConnectionId>,
}

impl Queue {
    #[inline]
    pub(super) fn makes_wait(&self, connection: ConnectionId) -> bool {
        !self.waiting.is_empty() && self.waiting.contains(&connection)
    }
}

impl Proxy {
    /// Whether to count without regard to what has come in.
    pub(super) fn is_to_count(&self, now: Instant) -> bool {
        let is_eventful = self.meter.strain > Strain::None || !self.queue.waiting.is_empty();
        is_eventful || now.since(self.counted) >= SHRINK_INTERVAL
    }

    /// Counts what this worker keeps, tells the others, and does what has to be done about it.
    #[cold]
    pub(super) fn count_memory(&mut self, now: Instant) {
        self.counted = now;
        let kept = self.kept_bytes();
        self.stats.memory_kept.set(kept as i64);
        let worker = usize::from(self.options.worker);
        let pipelines = self.pipelines.iter().map(|pipeline| pipeline.memory());
        self.options.memory.set_sent(pipelines.sum(), worker);
        self.tell_expected();
        let (memory, setting) = (&self.options.memory, self.options.memory_bytes_max);
        let counted = self.meter.set(kept, worker, memory, setting);
        if worker == 0 {
            self.stats.memory_strain.set(counted.now as i64);
            self.show_memory_max();
        }
        if counted.before != counted.now {
            self.bounds = Bounds::new(&self.options, counted.now);
        }
        if counted.excess > 0 {
            self.cut_largest(counted.excess);
        }
        self.let_next_in();
    }

    /// One worker shows it for all.
    pub(super) fn show_memory_max(&self) {
        let options = &self.options;
        let max = options.memory.max(options.memory_bytes_max);
        if options.worker == 0 && max < usize::MAX {
            self.stats.memory_max.set(max as i64);
        }
    }

    fn kept_bytes(&self) -> usize {
        let clients = self.connections.iter().map(|connection| match connection {
            Connection::Client(session) if !session.leaving => session.memory(),
            _ => 0,
        });
        let pipelines = self.pipelines.iter().map(|pipeline| pipeline.memory());
        let feeds = self.feeds.iter().map(|feed| feed.memory());
        clients.chain(pipelines).chain(feeds).sum::<usize>()
            + self.privates.memory()
            + self.holds.bytes()
            + self.reads.waiting_bytes()
            + self.merges.memory()
            + self.gradual.memory()
            + self.tasks.memory()
            + self.subscriptions.memory()
            + self.scripts.bytes()
    }

    /// Cuts off those that take most, until they take that much less.
    fn cut_largest(&mut self, excess: usize) {
        let clients = self.connections.iter().filter_map(Connection::client);
        let sizes = clients.map(|session| {
            let request = self.gradual.memory_of(session.connection);
            (session.memory() + request, session.connection)
        });
        let mut sizes: Vec<_> = sizes.filter(|(size, _)| *size >= WORTH_IT).collect();
        sizes.sort_unstable();
        let mut freed = 0;
        while freed < excess
            && let Some((size, connection)) = sizes.pop()
        {
            freed += size;
            self.cut_client(connection, Cut::Memory);
        }
    }

    /// Part of a large request has come, and so much of it is still to come. It is read on if there
    /// is room for it; clients wait for that in the order in which they came.
    #[cold]
    pub(super) fn limit_large(&mut self, connection: ConnectionId, missing: usize) {
        if self.has_usual_room(missing)
            || self.queue.let_in.contains(&connection)
            || self.queue.makes_wait(connection)
        {
            return;
        }
        if self.queue.waiting.is_empty() && self.has_room(connection) {
            self.queue.let_in.push(connection);
            self.tell_expected();
        } else {
            self.stats.requests_delayed.inc();
            self.pause(connection);
            self.queue.waiting.push_back(connection);
        }
    }

    /// Whether so little is still to come that nobody need be asked, unless memory is scarce.
    fn has_usual_room(&self, missing: usize) -> bool {
        let max = self.options.memory.max(self.options.memory_bytes_max);
        self.meter.strain < Strain::Tight && missing <= max / 64
    }

    /// Whether the request that the client is sending has room.
    fn has_room(&self, connection: ConnectionId) -> bool {
        // What has come of it may have been counted already, but that is little.
        let (unread, missing) = self.arriving(connection);
        let setting = self.options.memory_bytes_max;
        self.options.memory.has_room(unread + missing, setting)
    }

    /// How much of a request is here, and how much more there will be at least.
    pub(super) fn arriving(&self, connection: ConnectionId) -> (usize, usize) {
        match self.connections.get(connection.index as usize) {
            Some(Connection::Client(session)) if session.connection == connection => {
                let unread = session.unread as usize;
                (unread, session.scanner.missing(unread))
            }
            _ => (0, 0),
        }
    }

    /// Tells the other workers what is still to come of the requests that were let in.
    fn tell_expected(&self) {
        let missing = self.queue.let_in.iter().map(|it| self.arriving(*it).1);
        // One that is nearly whole is still under way.
        let expected = missing.map(|missing| missing.max(1)).sum();
        let worker = usize::from(self.options.worker);
        self.options.memory.set_expected(expected, worker);
    }

    /// The client's large request is whole, or the client is gone.
    #[cold]
    pub(super) fn end_large(&mut self, connection: ConnectionId, now: Instant) {
        self.queue.waiting.retain(|waiting| *waiting != connection);
        let let_in = self.queue.let_in.len();
        self.queue.let_in.retain(|it| *it != connection);
        if self.queue.let_in.len() < let_in {
            // What was expected of it is kept from now on, or will never come.
            self.count_memory(now);
        }
    }

    /// Reads on from those that wait, as far as there is room.
    fn let_next_in(&mut self) {
        while let Some(next) = self.queue.waiting.front().copied() {
            let is_usual = self.has_usual_room(self.arriving(next).1);
            if !is_usual && !self.has_room(next) {
                return;
            }
            self.queue.waiting.pop_front();
            if !is_usual {
                self.queue.let_in.push(next);
                self.tell_expected();
            }
            self.read_on(next);
        }
    }

    /// Too much waits for the node that the request is for.
    #[cold]
    pub(super) fn refuse_full(&mut self, entry: &InFlight) {
        self.stats.queue_full.inc();
        let text = match self.meter.strain {
            Strain::None | Strain::Tight => answer::QUEUE_FULL,
            Strain::Short | Strain::Over => answer::OUT_OF_MEMORY,
        };
        self.deliver_error(entry.ticket, text, entry.arrived);
    }

    fn read_on(&mut self, connection: ConnectionId) {
        // One that must have all replies first goes on once it has.
        if let Some(session) = self.session(connection)
            && session.paused
            && !session.leaving
            && !(session.waits_for_all && session.owed() > 0)
        {
            session.paused = false;
            self.actions.push_back(Action::Resume(connection));
        }
    }

    /// The client makes us keep too much, or does what no client does.
    #[cold]
    pub(super) fn cut_client(&mut self, connection: ConnectionId, reason: Cut) {
        self.stats.clients_cut[reason as usize].inc();
        if let Some(session) = self.session(connection) {
            session.closing = true;
            session.leaving = true;
        }
        self.close(connection, CloseWhen::Now);
    }
}

/// A request is large once this much of it has come and it is not whole.
pub(super) const LARGE_UNREAD: usize = 64 * 1024;

/// Who takes less than this is not cut off for it.
const WORTH_IT: usize = 64 * 1024;

const MIB: usize = 1024 * 1024;
const TIGHT_OUTPUT_BYTES: usize = 64 * 1024;
const SHORT_QUEUE_BYTES: usize = 1024 * 1024;
