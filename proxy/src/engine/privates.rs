//! Private connections at work: got for tasks, written and read, put away or closed.

use core::time::Duration;

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Action, CloseWhen, ConnectToken, ConnectionId, Instant};
use slotway_protocol::resp::value::{Token, TokenReader};
use slotway_protocol::resp::{Protocol, encode};

use super::fail_point;
use super::pipeline::{ASKING, InFlight, Kind, Link, Pipeline};
use super::private::PrivateId;
use super::redirect::{Verdict, judge, was_not_run};
use super::running::TaskId;
use super::session::Reply;
use super::task::Leg;
use super::{Connection, NO_OWNER, Notice, Proxy, answer};

impl Proxy {
    /// Sends a task's request on a connection that is the task's alone.
    pub(super) fn send_private(
        &mut self,
        task: TaskId,
        leg: Leg,
        slot: Slot,
        private: Result<(PrivateId, bool), Vec<u8>>,
        now: Instant,
    ) {
        let ticket = task.ticket(leg.part);
        let (id, asking) = match private {
            Ok(found) => found,
            Err(reply) => return self.deliver(ticket, Reply::Copied(&reply), now),
        };
        let Some(place) = self.privates.get(id).filter(|place| !place.is_doomed()) else {
            let reply = answer::error(answer::PRIVATE_LOST);
            return self.deliver(ticket, Reply::Copied(&reply), now);
        };
        place.asks |= asking;
        let pipeline = &mut place.pipeline;
        let mut was_empty = pipeline.output().is_empty();
        if place.asks {
            was_empty |= pipeline.push(ASKING, InFlight::asking(now));
        }
        let entry = InFlight {
            kind: Kind::Direct,
            preceding: leg.preceding,
            ..InFlight::request(ticket, leg.command, slot, leg.frame.len(), now)
        };
        self.stats.backend_bytes_out.add(leg.frame.len() as u64);
        was_empty |= pipeline.push_shared(leg.frame.into(), entry);
        fail_point::pass();
        match pipeline.link {
            Link::Open(connection) if was_empty => {
                self.actions.push_back(Action::Wake(connection));
            }
            Link::Idle => {
                pipeline.link = Link::Connecting;
                self.actions.push_back(Action::Connect {
                    token: ConnectToken(id.index | PRIVATE_TOKEN),
                    address: pipeline.address.clone(),
                });
            }
            _ => {}
        }
    }

    /// The connection of the task's that leads to the slot's owner, or where a redirect said, or a
    /// new one; and whether it wants an ASKING. Or the reply that says why there is none.
    pub(super) fn private_for(
        &mut self,
        task: TaskId,
        slot: Slot,
        now: Instant,
    ) -> Result<(PrivateId, bool), Vec<u8>> {
        let asked = self.tasks.get(task).and_then(|running| running.ask.take());
        let backend = match &asked {
            Some(address) => self.backend(address),
            None => match self.owners[slot.index()] {
                NO_OWNER => return Err(answer::error(answer::SLOT_NOT_SERVED)),
                owner => owner as usize,
            },
        };
        let Some(running) = self.tasks.get(task) else {
            return Err(answer::error(answer::PRIVATE_LOST));
        };
        let (protocol, lane) = (running.protocol, running.lane);
        for private in running.privates.clone() {
            let place = self.privates.get(private);
            if place.is_some_and(|it| it.pipeline.backend == backend && !it.is_doomed()) {
                // The one that was used last is the one that a client may keep.
                if let Some(running) = self.tasks.get(task) {
                    running.privates.retain(|other| *other != private);
                    running.privates.push(private);
                }
                return Ok((private, asked.is_some()));
            }
        }
        let (_, database) = self.about_lane(lane);
        let private = self.new_private(backend, protocol, database, now)?;
        if let Some(running) = self.tasks.get(task) {
            running.privates.push(private);
        }
        Ok((private, asked.is_some()))
    }

    fn new_private(
        &mut self,
        backend: usize,
        protocol: Protocol,
        database: u16,
        now: Instant,
    ) -> Result<PrivateId, Vec<u8>> {
        let address = self.pipelines[backend * self.lanes()].address.clone();
        if self.down_until(backend, now).is_some() {
            return Err(answer::unreachable(&address));
        }
        if let Some(private) = self.privates.take_idle(backend, protocol, database) {
            return Ok(private);
        }
        if self.privates.busy_len() >= self.options.private_connections_max {
            self.stats.privates_refused.inc();
            return Err(answer::error(answer::PRIVATES_FULL));
        }
        // One to another node makes room.
        if self.privates.len() >= self.options.private_connections_max
            && let Some(idle) = self.privates.any_idle()
        {
            self.discard(idle);
        }
        let mut pipeline = Pipeline::new(backend, address, protocol);
        pipeline.database = database;
        Ok(self.privates.add(pipeline))
    }

    pub(super) fn open_private(&mut self, connection: ConnectionId, index: u32, now: Instant) {
        self.connections[connection.index as usize] = Connection::Private { index };
        self.stats.backends.add(1);
        self.stats.backend_connects.inc();
        self.stats.private_connects.inc();
        let Some(place) = self.privates.at(index).and_then(|id| self.privates.get(id)) else {
            return self.close(connection, CloseWhen::Now);
        };
        let doomed = place.is_doomed();
        let pipeline = &place.pipeline;
        let (protocol, database) = (pipeline.protocol, pipeline.database);
        let mut login = self.login(protocol, database);
        let mut client_id = Vec::new();
        encode::request(&mut client_id, &["CLIENT", "ID"]);
        login.push(client_id);
        let Some(place) = self.privates.at(index).and_then(|id| self.privates.get(id)) else {
            return;
        };
        place.pipeline.link = Link::Open(connection);
        place.pipeline.log_in(&login, now);
        if doomed {
            self.close(connection, CloseWhen::Now);
        } else {
            self.actions.push_back(Action::Wake(connection));
        }
    }

    /// A private connection is gone, or never came to be.
    pub(super) fn private_lost(&mut self, index: u32, now: Instant) {
        let Some(id) = self.privates.at(index) else {
            return;
        };
        let Some(mut private) = self.privates.remove(id) else {
            return;
        };
        fail_point::pass();
        let unreachable = answer::unreachable(&private.pipeline.address);
        let unknown = answer::error(answer::RESULT_UNKNOWN);
        if private.left_at.is_none() {
            self.topology_is_stale();
        }
        for (entry, _, sent) in private.pipeline.take_all() {
            let reply = if sent { &unknown } else { &unreachable };
            self.deliver(entry.ticket, Reply::Copied(reply), now);
        }
    }

    pub(super) fn handle_private_input(&mut self, index: u32, input: &mut BytesMut, now: Instant) {
        let before = input.len();
        let mut consumed = 0;
        while let Some(id) = self.privates.at(index)
            && let Some(place) = self.privates.get(id)
        {
            let rest = &input[consumed..];
            place.pipeline.heard = now;
            let len = match place.pipeline.scanner.scan(rest) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                Err(_) => return self.cut_private(id, input),
            };
            let reply = &rest[..len];
            consumed += len;
            if reply[0] == b'>' {
                continue;
            }
            if place.pipeline.is_logging_in() {
                // A node that runs a long script tells nobody's number, but lets it be killed.
                let goes_on = place.pipeline.is_last_login_reply() && reply.starts_with(b"-BUSY ");
                if reply[0] == b'-' && !goes_on {
                    let address = place.pipeline.address.clone();
                    let text = String::from_utf8_lossy(reply[1..].trim_ascii_end()).into_owned();
                    let notice = Notice::LoginRefused { address, text };
                    self.actions.push_back(Action::Notify(notice));
                    return self.cut_private(id, input);
                }
                self.private_login(id, reply);
                continue;
            }
            if place.pipeline.front().is_none() || place.pipeline.is_front_unsent() {
                return self.cut_private(id, input);
            }
            if !place.pipeline.note_preceding(reply) {
                self.private_reply(id, reply, now);
            }
        }
        input.advance(consumed);
        let bytes = (before - input.len()) as u64;
        self.stats.backend_bytes_in.add(bytes);
        let unread = match self.privates.at(index).and_then(|id| self.privates.get(id)) {
            Some(place) => std::mem::replace(&mut place.pipeline.unread, input.len()),
            None => 0,
        };
        if self.meter.note(before.saturating_sub(unread)) {
            self.count_memory(now);
        }
    }

    fn private_login(&mut self, id: PrivateId, reply: &[u8]) {
        let Some(place) = self.privates.get(id) else {
            return;
        };
        if let Ok(Some(Token::Integer(number))) = TokenReader::new(reply).next_token() {
            place.client_id = Some(number);
        }
        place.pipeline.note_login_reply();
        if let Some(connection) = place.pipeline.connection()
            && !place.pipeline.output().is_empty()
        {
            self.actions.push_back(Action::Wake(connection));
        }
    }

    /// A whole reply to a task: what it says of the slot's home is noted, the rest is the task's.
    fn private_reply(&mut self, id: PrivateId, reply: &[u8], now: Instant) {
        let Some(place) = self.privates.get(id) else {
            return;
        };
        let cause = place.pipeline.preceding_error();
        let Some(entry) = place.pipeline.pop() else {
            return;
        };
        if entry.kind == Kind::Asking {
            return;
        }
        let cause = cause.as_deref().unwrap_or(reply);
        let failed = reply.first() == Some(&b'-');
        if failed {
            let origin = place.pipeline.address.clone();
            let verdict = judge(cause, &origin, entry.slot, false);
            match self.screen(verdict) {
                Verdict::Moved(address) => {
                    self.stats.redirects_moved.inc();
                    // What is under way to the former owner comes back first.
                    if self.outstanding(entry.slot) > 0 {
                        self.begin_hold(entry.slot, now);
                    }
                    self.owners[entry.slot.index()] = self.backend(&address) as u32;
                    self.topology_is_stale();
                }
                Verdict::Ask(address) => {
                    self.stats.redirects_ask.inc();
                    let task = TaskId::of(entry.ticket).and_then(|task| self.tasks.get(task));
                    if let Some(running) = task {
                        running.ask = Some(address);
                    }
                }
                Verdict::Later(reason) => self.stats.count_later(reason),
                Verdict::Deliver => {}
            }
        }
        fail_point::pass();
        let not_run = failed && was_not_run(cause);
        let reply = if not_run { cause } else { reply };
        self.deliver(entry.ticket, Reply::Copied(reply), now);
    }

    /// What the node said makes no sense: nothing that follows can be trusted.
    fn cut_private(&mut self, id: PrivateId, input: &mut BytesMut) {
        input.clear();
        self.discard(id);
    }

    /// Ends a connection that nobody may use again.
    pub(super) fn discard(&mut self, id: PrivateId) {
        self.privates.doom(id);
        let Some(place) = self.privates.get(id) else {
            return;
        };
        match place.pipeline.link {
            Link::Open(connection) => self.close(connection, CloseWhen::Now),
            // Nothing was asked for yet, so nobody else would say that it is gone.
            Link::Idle | Link::Down { .. } => drop(self.privates.remove(id)),
            Link::Connecting => {}
        }
    }

    /// Its task has ended: a connection on which nothing is owed serves the next one.
    pub(super) fn put_away(&mut self, id: PrivateId, now: Instant) {
        let Some(place) = self.privates.get(id) else {
            return;
        };
        let is_ready = matches!(place.pipeline.link, Link::Open(_))
            && !place.pipeline.is_logging_in()
            && place.pipeline.in_flight_len() == 0
            && place.left_at.is_none()
            && !place.is_doomed();
        if is_ready && self.privates.idle_len() < self.options.private_idle_max {
            self.privates.release(id, now);
        } else {
            self.discard(id);
        }
    }

    /// Tells the nodes to let go of what a task waits for on its private connections. What was
    /// not sent whole is taken back by ending the connection.
    pub(super) fn interrupt(&mut self, task: TaskId, now: Instant) {
        let Some(running) = self.tasks.get(task) else {
            return;
        };
        let lane = running.lane;
        for id in running.privates.clone() {
            let Some(place) = self.privates.get(id) else {
                continue;
            };
            let waits = place.pipeline.in_flight_len() > 0;
            if !waits {
                continue;
            }
            place.left_at = Some(now);
            let client_id = place.client_id.filter(|_| !place.pipeline.has_unsent());
            let backend = place.pipeline.backend;
            let Some(client_id) = client_id else {
                self.discard(id);
                continue;
            };
            let mut frame = Vec::new();
            let number = client_id.to_string();
            encode::request(&mut frame, &["CLIENT", "UNBLOCK", number.as_str()]);
            let entry = InFlight::unowned(Kind::Direct, frame.len(), now);
            self.dispatch_direct(entry, backend, lane, &frame);
        }
    }

    /// Looks after private connections: ends those that are idle for long, and those whose node
    /// does not let go, or is not part of the cluster any more.
    pub(super) fn sweep_privates(&mut self, now: Instant) {
        for id in self.privates.idle_before(now.before(IDLE_KEPT)) {
            self.discard(id);
        }
        for id in self
            .privates
            .left_before(now.before(self.options.command_timeout))
        {
            self.discard(id);
        }
        for id in self.privates.silent(self.options.command_timeout, now) {
            self.stats.backend_timeouts.inc();
            self.discard(id);
        }
        let backends = &self.backends;
        let is_gone = |backend: usize| {
            let left: Option<Instant> = backends[backend].left;
            left.is_some_and(|left| now.since(left) >= LEFT_GRACE)
        };
        for id in self.privates.of_backends(is_gone) {
            self.discard(id);
        }
        self.stats.privates.set(self.privates.len() as i64);
        self.stats
            .privates_idle
            .set(self.privates.idle_len() as i64);
    }
}

/// Tells the token of a private connection from that of a shared one.
pub(super) const PRIVATE_TOKEN: u32 = 1 << 30;

/// How long a private connection is kept for the next one who needs it.
const IDLE_KEPT: Duration = Duration::from_secs(60);

/// How long a node that the topology does not name any more has to say by itself that it does not
/// serve what it was asked; after that it is taken for dead.
const LEFT_GRACE: Duration = Duration::from_secs(1);
