//! Reads that a replica did not serve: it refused, or was lost. Repeating a read does no harm, so
//! another node is asked, and a read that is for replicas only waits for one.

use slotway_protocol::command::{Command, Group, resolve_with};
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan};

use super::routing::Server;
use super::{Fitness, ReadFrom};
use crate::engine::hold::{Held, Target};
use crate::engine::pipeline::{InFlight, Kind};
use crate::engine::scripts::is_no_script;
use crate::engine::waiting::note_held;
use crate::engine::{Proxy, answer};

impl Proxy {
    /// A replica answered the oldest read with an error. Says whether another node is asked.
    #[cold]
    pub(in crate::engine) fn is_read_refused(
        &mut self,
        index: usize,
        reply: &[u8],
        now: Instant,
    ) -> bool {
        let pipeline = &self.pipelines[index];
        let (replica, lane) = (pipeline.backend, index % self.base_lanes());
        let Some(front) = pipeline.front().copied() else {
            return false;
        };
        let frame = pipeline.front_bytes();
        let from = self.where_to_read(&frame);
        // A script may return any text that it likes. What a node says itself is believed of it.
        let is_script = Command::by_id(front.command).group == Group::Scripting;
        let is_redirect = reply.starts_with(b"-MOVED ") || reply.starts_with(b"-ASK ");
        let fitness = match Fitness::of_error(reply) {
            None if is_redirect => Some(Fitness::Refusing),
            told => told,
        };
        let lacks_script = is_script && is_no_script(reply);
        if fitness.is_none() && !lacks_script {
            return false;
        }
        let with_script = match lacks_script && front.redirects == 0 {
            true => self.with_script(&frame),
            false => None,
        };
        if is_script && with_script.is_none() && from == ReadFrom::Replica {
            // Nobody else may be asked, and this one has answered.
            return false;
        }
        let Some(mut entry) = self.pipelines[index].pop() else {
            return false;
        };
        entry.redirects = entry.redirects.saturating_add(1);
        if let Some((command, frame)) = with_script {
            self.stats.scripts_healed.inc();
            let entry = InFlight { command, ..entry };
            self.send_read(entry, lane, &frame, None, Server::Replica(replica));
            return true;
        }
        self.stats.reads_refused.inc();
        if is_script {
            self.send_to_primary(entry, lane, &frame);
            return true;
        }
        if let Some(fitness) = fitness {
            self.set_fitness(replica, fitness, now);
        }
        if is_redirect {
            self.note_asked(entry.slot, now);
            self.topology_is_stale();
        }
        self.read_elsewhere(entry, lane, frame, from, now);
        true
    }

    /// The connection to a replica was lost while it owed the reply to a read.
    pub(in crate::engine) fn read_lost(
        &mut self,
        entry: InFlight,
        lane: usize,
        frame: Vec<u8>,
        now: Instant,
    ) {
        self.stats.reads_lost.inc();
        let from = self.where_to_read(&frame);
        self.read_elsewhere(entry, lane % self.base_lanes(), frame, from, now);
    }

    fn read_elsewhere(
        &mut self,
        entry: InFlight,
        lane: usize,
        frame: Vec<u8>,
        from: ReadFrom,
        now: Instant,
    ) {
        if self.session(entry.ticket.connection).is_none() {
            // Nobody waits for it any more.
            return;
        }
        if entry.redirects > self.options.redirects_max {
            return self.deliver_error(entry.ticket, answer::REDIRECTS, now);
        }
        match self.server_for(entry.ticket.connection, entry.slot, from, now) {
            Server::Primary => self.send_to_primary(entry, lane, &frame),
            Server::Nobody => self.await_replica(entry, lane, frame),
            replica @ Server::Replica(_) => self.send_read(entry, lane, &frame, None, replica),
        }
    }

    fn send_to_primary(&mut self, entry: InFlight, lane: usize, frame: &[u8]) {
        self.stats.reads_primary.inc();
        let entry = InFlight {
            kind: Kind::Request,
            ..entry
        };
        self.dispatch(entry, lane, frame, None);
    }

    /// Where the settings let a read go that was sent before.
    fn where_to_read(&self, frame: &[u8]) -> ReadFrom {
        let mut buffers = RequestBuffers::default();
        // What was let in was within the limits then, whatever they are now.
        let limits = RequestLimits::default();
        let scan = RequestScanner::default().scan(frame, &limits, &mut buffers);
        if !matches!(scan, Ok(Scan::Request { .. })) {
            return ReadFrom::Primary;
        }
        let request = buffers.request(frame);
        let Ok(command) = resolve_with(&request, self.learned.as_deref()) else {
            return ReadFrom::Primary;
        };
        let wanted = self.wanted(command, &request, self.plans.of(command));
        wanted.map_or(ReadFrom::Primary, |(_, from)| from)
    }

    /// No replica can serve a read that is for replicas only: it waits for one.
    pub(super) fn await_replica(&mut self, entry: InFlight, lane: usize, frame: Vec<u8>) {
        let mut held = Held {
            entry: InFlight {
                kind: Kind::Request,
                len: frame.len() as u32,
                ..entry
            },
            frame,
            lane,
            target: Target::Owner,
            error: None,
        };
        note_held(&mut held, entry.arrived);
        let waiting = self.holds.bytes() + self.reads.waiting_bytes;
        if waiting > 0 && waiting + held.bytes() > self.options.hold_bytes_max {
            self.stats.holds_refused.inc();
            return self.deliver_error(entry.ticket, answer::HOLD_FULL, entry.arrived);
        }
        self.stats.held.inc();
        self.reads.waiting_bytes += held.bytes();
        self.reads.waiting.push_back(held);
    }

    /// Sends the reads that waited for a replica, as far as there is one now; ends those that have
    /// waited too long.
    pub(in crate::engine) fn advance_reads(&mut self, now: Instant) {
        for _ in 0..self.reads.waiting.len() {
            let Some(held) = self.reads.waiting.pop_front() else {
                return;
            };
            self.reads.waiting_bytes -= held.bytes();
            if now.since(held.entry.held_since) >= self.options.hold_timeout {
                self.stats.holds_expired.inc();
                self.deliver_error(held.entry.ticket, answer::NO_REPLICA, now);
                continue;
            }
            self.read_elsewhere(held.entry, held.lane, held.frame, ReadFrom::Replica, now);
        }
    }
}
