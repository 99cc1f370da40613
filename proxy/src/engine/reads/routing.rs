//! Which node serves a read: what the settings say of its keys, what its client has written, and
//! which nodes are fit. Replicas are asked on connections that say READONLY and carry nothing but
//! reads.
//!
//! A client keeps to one node of a shard as long as that is fit, so that what it sees never gets
//! older. Its requests for one slot are executed in order where a write is involved: reads behind a
//! write go to the primary, and a write waits for reads that replicas have not answered.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::keys::each_key;
use slotway_protocol::command::{Command, Group};
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::resp::Request;

use super::footprint::Written;
use super::{Fitness, ReadFrom};
use crate::engine::pausing::may_write;
use crate::engine::pipeline::{InFlight, Kind, Link};
use crate::engine::plan::{Plan, common_slot};
use crate::engine::requests::{Incoming, lane};
use crate::engine::transactions::TransactionCommand;
use crate::engine::{Connection, NO_OWNER, Proxy};

/// What a client needs of the replica that serves it.
#[derive(Debug, Clone, Copy)]
struct Needs {
    /// Which of the nodes has its turn.
    turn: usize,
    lane: usize,
    /// It has to have all that was answered before that time.
    since: Option<Instant>,
}

/// Who is to serve a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// The owner of the slot, in the usual way.
    Primary,
    /// The replica that is this backend.
    Replica(usize),
    /// None yet: it waits for a replica.
    Nobody,
}

impl Proxy {
    /// Sends a request to a replica if one is to serve it. Says whether that is so.
    pub(in crate::engine) fn read_at_replica(
        &mut self,
        incoming: &Incoming<'_>,
        command: &'static Command,
        plan: Plan,
    ) -> bool {
        if !self.reads.is_readable(command.id) {
            return false;
        }
        let request = &incoming.request;
        let Some((slot, from)) = self.wanted(command, request, plan) else {
            return false;
        };
        let connection = incoming.connection;
        let place = self.session(connection).map_or(0, |it| it.next_place(true));
        let server = self.server_for(connection, slot, from, incoming.now);
        if !self.note_server(connection, slot, place, server) {
            return false;
        }
        if command.group == Group::Scripting {
            self.note_script(command, request);
        }
        if let Some((ticket, lane)) = self.reserve(incoming, command.id) {
            let frame = request.frame();
            let entry = InFlight::request(ticket, command.id, slot, frame.len(), incoming.now);
            self.send_read(entry, lane, frame, incoming.shared, server);
        }
        true
    }

    /// Sends a part of a request that is split.
    pub(in crate::engine) fn dispatch_part<'k>(
        &mut self,
        entry: InFlight,
        lane: usize,
        frame: &[u8],
        keys: impl Iterator<Item = &'k [u8]>,
    ) {
        if !self.reads.is_on() || !self.reads.is_readable(entry.command) {
            return self.dispatch(entry, lane, frame, None);
        }
        let from = self.options.reads.of_keys(keys);
        let connection = entry.ticket.connection;
        // The request has its place already.
        let place = self
            .session(connection)
            .map_or(0, |it| it.next_place(true) - 1);
        let server = self.server_for(connection, entry.slot, from, entry.arrived);
        if self.note_server(connection, entry.slot, place, server) {
            self.send_read(entry, lane, frame, None, server);
        } else {
            self.dispatch(entry, lane, frame, None);
        }
    }

    /// Takes note of who is to serve a read. Says whether that is a replica.
    fn note_server(
        &mut self,
        connection: ConnectionId,
        slot: Slot,
        place: u64,
        server: Server,
    ) -> bool {
        if server == Server::Primary {
            self.stats.reads_primary.inc();
            return false;
        }
        if let Some(session) = self.session(connection) {
            let footprint = session.footprint.get_or_insert_default();
            footprint.note_read(slot, place);
        }
        true
    }

    /// The slot of a read, and where the settings let it go. Requests for several slots have none.
    pub(super) fn wanted(
        &self,
        command: &'static Command,
        request: &Request<'_>,
        plan: Plan,
    ) -> Option<(Slot, ReadFrom)> {
        let options = &self.options.reads;
        if let Plan::Key(position) = plan {
            let key = request.arg(position);
            return Some((Slot::of(key), options.of_key(key)));
        }
        let slot = common_slot(command, request).ok()??;
        if options.rules.is_empty() {
            return Some((slot, options.read_from));
        }
        let mut keys = Vec::new();
        each_key(command, request, &mut |position| {
            keys.push(request.arg(position))
        })
        .ok()?;
        Some((slot, options.of_keys(keys.into_iter())))
    }

    /// Who is to serve a read of the slot for that client.
    pub(super) fn server_for(
        &mut self,
        connection: ConnectionId,
        slot: Slot,
        from: ReadFrom,
        now: Instant,
    ) -> Server {
        if from == ReadFrom::Primary {
            return Server::Primary;
        }
        match self.needs_of(connection, slot, now) {
            Some(needs) => self.fit_server(slot, from, needs, now),
            None => {
                self.stats.reads_own.inc();
                Server::Primary
            }
        }
    }

    /// What a client needs of a replica; `None` when it must ask the primary.
    fn needs_of(&mut self, connection: ConnectionId, slot: Slot, now: Instant) -> Option<Needs> {
        let your_writes = self.options.reads.your_writes;
        let kept = self.options.reads.footprint_kept();
        let per_node = self.options.connections_per_node;
        let session = self.session(connection)?;
        if session.watch.is_some() {
            // It will take what it reads now for what it was when it began to watch.
            return None;
        }
        let mut needs = Needs {
            turn: session.turn(),
            lane: lane(session, per_node),
            since: None,
        };
        session.settle_footprint(kept, now);
        let Some(footprint) = &session.footprint else {
            return Some(needs);
        };
        let at = match footprint.written(slot) {
            Written::Open => return None,
            Written::Answered(at) => Some(at),
            Written::No => footprint.forgotten(),
        };
        if at.is_some_and(|at| now.since(at) < your_writes) {
            return None;
        }
        if !your_writes.is_zero() {
            needs.since = at;
        }
        Some(needs)
    }

    /// The node whose turn it is, or the next one that is fit and has what was written by then.
    fn fit_server(&self, slot: Slot, from: ReadFrom, needs: Needs, now: Instant) -> Server {
        let none = match from {
            ReadFrom::Replica => Server::Nobody,
            _ => Server::Primary,
        };
        let owner = self.owners[slot.index()];
        if owner == NO_OWNER {
            return none;
        }
        let owner = owner as usize;
        if from != ReadFrom::Replica && self.reads.nodes[owner].moving_until > now {
            self.stats.reads_moving.inc();
            return Server::Primary;
        }
        let followers = &self.reads.followers[owner];
        let with_primary = from == ReadFrom::Any && self.is_primary_fit(owner, slot);
        // Behind the replicas it is the primary's turn.
        let places = followers.len() + usize::from(with_primary);
        for place in (0..places).map(|step| (needs.turn + step) % places) {
            match followers.get(place) {
                Some(replica) if self.is_replica_fit(*replica as usize, needs) => {
                    return Server::Replica(*replica as usize);
                }
                None => return Server::Primary,
                Some(_) => {}
            }
        }
        if from != ReadFrom::Replica {
            self.stats.reads_unfit.inc();
        }
        none
    }

    fn is_replica_fit(&self, replica: usize, needs: Needs) -> bool {
        let node = &self.reads.nodes[replica];
        // At the very same time it may have been before the write.
        let is_current = needs.since.is_none() || node.current_to > needs.since;
        let pipeline = &self.pipelines[self.read_lane(replica, needs.lane)];
        node.fitness == Fitness::Fit
            && is_current
            && !matches!(pipeline.link, Link::Down { .. })
            && pipeline.queued_bytes() <= self.bounds.queue
            && pipeline.in_flight_len() < self.options.backend_queue_requests_max
    }

    /// Whether the slot's owner serves at once, as far as is known.
    fn is_primary_fit(&self, owner: usize, slot: Slot) -> bool {
        let fitness = self.reads.nodes[owner].fitness;
        !matches!(fitness, Fitness::Silent | Fitness::Unreachable) && !self.holds.contains(slot)
    }

    /// Puts a read into the pipeline to a replica, or lets it wait for one.
    pub(super) fn send_read(
        &mut self,
        entry: InFlight,
        lane: usize,
        frame: &[u8],
        shared: Option<&Bytes>,
        server: Server,
    ) {
        let replica = match server {
            Server::Replica(replica) => replica,
            Server::Primary => return self.dispatch(entry, lane, frame, shared),
            Server::Nobody => return self.await_replica(entry, lane, frame.to_vec()),
        };
        let index = self.read_lane(replica, lane);
        let pipeline = &mut self.pipelines[index];
        let entry = InFlight {
            kind: Kind::Read,
            len: frame.len() as u32,
            ..entry
        };
        self.stats.reads_replica.inc();
        self.stats.backend_bytes_out.add(frame.len() as u64);
        let was_empty = match shared {
            Some(shared) => pipeline.push_shared(shared.clone(), entry),
            None => pipeline.push(frame, entry),
        };
        match pipeline.link {
            Link::Open(connection) if was_empty => {
                self.actions.push_back(Action::Wake(connection));
            }
            Link::Idle => self.connect(index),
            _ => {}
        }
    }

    /// Looks at a request before it is taken: a write is noted, because reads behind it go to the
    /// primary, and it waits as long as replicas owe the client replies about the same slot. Says
    /// whether it does.
    pub(in crate::engine) fn must_wait_for_reads(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
        command: &'static Command,
        now: Instant,
    ) -> bool {
        let plan = self.plans.of(command);
        let kept = self.options.reads.footprint_kept();
        let Some(session) = self.session(connection) else {
            return false;
        };
        let is_exec = plan == Plan::Transaction(TransactionCommand::Exec);
        let block = match &session.transaction {
            Some(queued) if is_exec => Some(queued.slot()),
            Some(_) => return false,
            None if may_write(command) && !matches!(plan, Plan::Publish(_)) => None,
            None => return false,
        };
        let each = |visit: &mut dyn FnMut(Option<Slot>)| match block {
            Some(slot) => visit(slot),
            None => each_slot(command, request, visit),
        };
        session.settle_footprint(kept, now);
        let place = session.next_place(true);
        let footprint = session.footprint.get_or_insert_default();
        let mut is_reading = false;
        each(&mut |slot| is_reading |= footprint.is_reading(slot));
        if is_reading && self.wait_for_replies(connection) {
            return true;
        }
        if let Some(session) = self.session(connection) {
            let footprint = session.footprint.get_or_insert_default();
            each(&mut |slot| footprint.note_write(slot, place, kept, now));
        }
        false
    }

    /// Does what is to be done for reads from time to time.
    pub(in crate::engine) fn sweep_reads(&mut self, now: Instant) {
        if !self.reads.is_on() {
            return;
        }
        self.probe_nodes(now);
        self.advance_reads(now);
        self.forget_footprints(now);
        self.stats
            .reads_waiting
            .set(self.reads.waiting_len() as i64);
        for (gauge, count) in self.stats.replicas.iter().zip(self.reads.census()) {
            gauge.set(count);
        }
    }

    /// Forgets what clients have touched long ago.
    fn forget_footprints(&mut self, now: Instant) {
        let kept = self.options.reads.footprint_kept();
        for connection in &mut self.connections {
            if let Connection::Client(session) = connection {
                session.settle_footprint(kept, now);
                session.footprint.take_if(|footprint| footprint.is_blank());
            }
        }
    }
}

/// Visits the slots of a request's keys; without any it may be about every slot.
fn each_slot(
    command: &'static Command,
    request: &Request<'_>,
    visit: &mut dyn FnMut(Option<Slot>),
) {
    let mut visited = false;
    let result = each_key(command, request, &mut |position| {
        visited = true;
        visit(Some(Slot::of(request.arg(position))));
    });
    if result.is_err() || !visited {
        visit(None);
    }
}
