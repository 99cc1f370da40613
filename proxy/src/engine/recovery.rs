//! After a panic: what the interrupted call may have left half done is given up, so that nobody
//! gets a reply that is not theirs. First as little as possible: the client or the node whose bytes
//! were being handled, and whatever does not add up any more. If that does not put everything in
//! order, all clients that wait for anything and all connections to nodes. What is in order is what
//! the tests check after each call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use slotway_protocol::engine::{
    Action, CloseWhen, ConnectError, ConnectToken, ConnectionId, Instant, Interrupted,
};

use super::audit::{Fault, Filler};
use super::feeds::{feed_of, token_of};
use super::gates::Gates;
use super::gradual::Gradual;
use super::hold::Holds;
use super::merge::MergeId;
use super::pipeline::Link;
use super::privates::PRIVATE_TOKEN;
use super::pubsub::Subscriptions;
use super::running::{Running, TaskId};
use super::scatter::Scattered;
use super::script_cache::ScriptCache;
use super::session::{Reply, Session, Ticket};
use super::shedding::Queue;
use super::stats::Cut;
use super::turns::Turns;
use super::waiters::Waiters;
use super::{Connection, Proxy, Scratch, answer};

impl Proxy {
    /// Says whether everything is in order again.
    pub(super) fn recover_from(&mut self, interrupted: Interrupted, now: Instant) -> bool {
        self.stats.panics.inc();
        [Self::mend, Self::start_over].into_iter().any(|recover| {
            let attempt = || {
                recover(self, interrupted, now);
                self.check_invariants();
            };
            catch_unwind(AssertUnwindSafe(attempt)).is_ok()
        })
    }

    /// Gives up what the call was about, and what does not add up.
    fn mend(&mut self, interrupted: Interrupted, now: Instant) {
        self.forget_call();
        self.forget_gradual();
        self.cut_broken_clients();
        match interrupted {
            Interrupted::Connection(connection) => self.give_up(connection, now),
            Interrupted::Close(connection) => self.close_again(connection, now),
            Interrupted::Connect(token) => self.fail_again(token, now),
            Interrupted::Other => {}
        }
        self.give_up_broken_pipelines();
        for ticket in self.lost_parts(&self.tickets()) {
            self.scattered.remove(ticket);
        }
        self.recount();
        self.fail_tasks(now);
        self.answer_orphans(now);
        self.tasks.running = None;
        self.tell_all(now);
        self.settle_turns();
        self.settle_gradual(now);
        self.go_on(now);
    }

    /// What only counts during a call.
    fn forget_call(&mut self) {
        self.current = u32::MAX;
        self.scratch = Scratch::default();
    }

    /// The connection that is about to be closed.
    fn give_up(&mut self, connection: ConnectionId, now: Instant) {
        if let Some(session) = self.session(connection) {
            session.closing = true;
            session.leaving = true;
            self.drop_subscriptions(connection, now);
            return self.end_large(connection, now);
        }
        let place = self.connections.get(connection.index as usize);
        if let Some(Connection::Backend { pipeline }) = place {
            let pipeline = &mut self.pipelines[*pipeline];
            // Its reply may be the cause, and asking again would come to the same.
            if pipeline.passing.is_none() && !pipeline.is_front_unsent() && pipeline.is_whole() {
                pipeline.pop();
            }
        }
    }

    /// What has a connection that is closed does not know it yet.
    fn close_again(&mut self, connection: ConnectionId, now: Instant) {
        let lost = Link::Open(connection);
        if let Some(index) = self.pipelines.iter().position(|it| it.link == lost) {
            self.backend_lost(index, now);
        }
        if let Some(backend) = self.feeds.iter().position(|it| it.link == lost) {
            self.feed_lost(backend, now);
        }
        let privates = self.privates.all();
        for id in privates {
            if let Some(private) = self.privates.get(id)
                && private.pipeline.link == lost
            {
                self.private_lost(id.index, now);
            }
        }
        // Or it was a client, which nobody is to look for.
        self.drop_subscriptions(connection, now);
        self.leave_monitor(connection);
        self.end_large(connection, now);
        self.end_turn(connection);
    }

    /// What asked for a connection does not know yet that there is none.
    fn fail_again(&mut self, token: ConnectToken, now: Instant) {
        let error = ConnectError::Other("interrupted".to_owned());
        let index = (token.0 & !PRIVATE_TOKEN) as usize;
        if let Some(backend) = feed_of(token) {
            if self.feeds[backend].link == Link::Connecting {
                self.feed_unreachable(backend, now);
            }
        } else if token.0 & PRIVATE_TOKEN != 0 {
            self.private_lost(index as u32, now);
        } else if self.pipelines[index].link == Link::Connecting {
            self.backend_unreachable(token, &error, now);
        }
    }

    /// Ends connections to nodes on which it is not certain any more which reply is whose.
    fn give_up_broken_pipelines(&mut self) {
        for index in 0..self.pipelines.len() {
            let pipeline = &mut self.pipelines[index];
            if pipeline.is_whole() {
                continue;
            }
            pipeline.start_over();
            if let Some(connection) = pipeline.connection() {
                self.close(connection, CloseWhen::Now);
            }
        }
        for id in self.privates.all() {
            if let Some(private) = self.privates.get(id)
                && !private.pipeline.is_whole()
            {
                private.pipeline.start_over();
                self.discard(id);
            }
        }
    }

    /// Cuts off clients of which it is not certain which replies they have got.
    fn cut_broken_clients(&mut self) {
        let clients = self.connections.iter().filter_map(Connection::client);
        let broken = clients.filter(|session| {
            session.is_broken() || session.is_passed && !self.passes_to(session.connection)
        });
        let broken: Vec<ConnectionId> = broken.map(|session| session.connection).collect();
        for connection in broken {
            self.cut_client(connection, Cut::Panic);
        }
    }

    /// What is counted besides what there is.
    fn recount(&mut self) {
        self.in_flight_by_slot = self.count_in_flight();
        self.holds.recount(&self.in_flight_by_slot);
        self.reads.recount();
        self.merges.keep(&self.merges_in_use());
        let mut clients = 0;
        let mut blocked = 0;
        let mut backends = 0;
        for connection in &self.connections {
            match connection {
                Connection::Vacant => {}
                Connection::Client(session) => {
                    clients += 1;
                    blocked += i64::from(session.solo);
                }
                Connection::Backend { .. }
                | Connection::Feed { .. }
                | Connection::Private { .. } => backends += 1,
            }
        }
        self.stats.clients.set(clients);
        self.stats.clients_blocked.set(blocked);
        self.stats.backends.set(backends);
    }

    fn merges_in_use(&self) -> Vec<MergeId> {
        let clients = self.connections.iter().filter_map(|connection| {
            let Connection::Client(session) = connection else {
                return None;
            };
            Some(session.merges())
        });
        let scattered = self.scattered.requests().map(|(_, merge)| merge);
        let mut used: Vec<MergeId> = clients.flatten().chain(scattered).collect();
        used.sort_unstable();
        used
    }

    /// Ends the tasks that were interrupted, those whose client has gone, and those that would wait
    /// for ever.
    fn fail_tasks(&mut self, now: Instant) {
        let told = self.tasks.running;
        let tickets = self.tickets();
        let is_lost = |(id, running): &(TaskId, &Running)| {
            let waits = running.in_flight > 0 || running.wake.is_some() || !running.keys.is_empty();
            told == Some(*id)
                || tickets.legs(*id) != running.in_flight
                || !(waits || self.tasks.has_news(*id))
                || running.client.is_some() && !self.is_client_of(*id, running)
        };
        let lost: Vec<TaskId> = self.tasks.all().filter(is_lost).map(|(id, _)| id).collect();
        for id in lost {
            if let Some(running) = self.tasks.get(id) {
                // They may be in any state.
                let privates = running.privates.clone();
                privates.into_iter().for_each(|it| self.discard(it));
            }
            if let Some(ticket) = self.end_task(id, None, now) {
                let reply = answer::error(answer::RESULT_UNKNOWN);
                self.deliver(ticket, Reply::Copied(&reply), now);
            }
        }
    }

    fn is_client_of(&self, id: TaskId, running: &Running) -> bool {
        let client = running.client.map(|ticket| ticket.connection);
        let place = client.and_then(|client| self.connections.get(client.index as usize));
        let Some(Connection::Client(session)) = place else {
            return false;
        };
        Some(session.connection) == client && session.tasks().any(|task| task == id)
    }

    /// Tells the clients whose request nobody has any more.
    fn answer_orphans(&mut self, now: Instant) {
        let tickets = self.tickets();
        for (ticket, filler, fault) in self.faults(&tickets) {
            match (fault, filler) {
                (Fault::Orphan, Filler::Node | Filler::Task(_)) => {
                    self.stats.results_unknown.inc();
                    self.deliver_error(ticket, answer::RESULT_UNKNOWN, now);
                }
                // Which part is missing can't be told, nor which reply is the right one.
                (Fault::Orphan, Filler::Merge(_) | Filler::Gradual) | (Fault::Crowded, _) => {
                    self.cut_client(ticket.connection, Cut::Panic);
                }
            }
        }
    }

    /// Nobody has a turn who has nothing under way, so that the others get theirs.
    fn settle_turns(&mut self) {
        let connections = &self.connections;
        self.turns
            .recount(|connection| client(connections, connection).map(Session::owed));
        self.sweep_turns();
    }

    /// Requests of many keys of which nobody waits for the reply.
    fn forget_gradual(&mut self) {
        let connections = &self.connections;
        let is_owed = |ticket: Ticket| {
            let session = client(connections, ticket.connection);
            session.is_some_and(|session| session.is_gradual(ticket))
        };
        self.gradual.retain(is_owed);
    }

    /// Goes on with those that are left.
    fn settle_gradual(&mut self, now: Instant) {
        self.forget_gradual();
        for connection in self.gradual.writing() {
            if let Some(session) = self.session(connection) {
                session.is_passed = true;
            }
            self.write_gradual(connection, now);
        }
    }

    /// Does what the call may have left undone: who has something to say or to hear is woken, who
    /// has caught up is read from.
    fn go_on(&mut self, now: Instant) {
        for index in 0..self.connections.len() {
            let Connection::Client(session) = &self.connections[index] else {
                continue;
            };
            if session.leaving {
                continue;
            }
            let connection = session.connection;
            if !session.output.is_empty() {
                self.actions.push_back(Action::Wake(connection));
            }
            self.attend(connection);
            if self.session(connection).is_some_and(|it| !it.paused) {
                // Whether it was told before is not known.
                self.actions.push_back(Action::Resume(connection));
            }
        }
        for index in 0..self.pipelines.len() {
            let pipeline = &self.pipelines[index];
            if pipeline.link == Link::Idle && pipeline.in_flight_len() > 0 {
                self.connect(index);
            }
        }
        let pipelines = self.pipelines.iter_mut();
        let links = pipelines.map(|it| (it.link, it.output().is_empty()));
        let feeds = self.feeds.iter_mut();
        let links = links.chain(feeds.map(|it| (it.link, it.output().is_empty())));
        for (link, is_empty) in links {
            if let Link::Open(connection) = link
                && !is_empty
            {
                self.actions.push_back(Action::Wake(connection));
            }
        }
        self.notify_if_drained();
        self.wake_at(now);
    }

    /// Keeps nothing but the clients that wait for nothing, and what is known of the cluster.
    fn start_over(&mut self, interrupted: Interrupted, now: Instant) {
        self.forget_call();
        for index in 0..self.connections.len() {
            self.close_busy_client(index, now);
        }
        for index in 0..self.pipelines.len() {
            self.pipelines[index].start_over();
            let mut link = self.pipelines[index].link;
            self.settle_link(&mut link, interrupted, index as u32, |connection| {
                matches!(connection, Connection::Backend { pipeline } if *pipeline == index)
            });
            self.pipelines[index].link = link;
        }
        for index in 0..self.feeds.len() {
            self.feeds[index].clear();
            let mut link = self.feeds[index].link;
            self.settle_link(&mut link, interrupted, token_of(index).0, |connection| {
                matches!(connection, Connection::Feed { backend } if *backend == index)
            });
            self.feeds[index].link = link;
        }
        self.start_over_with_privates(interrupted);
        self.tasks.start_over();
        self.reads.start_over();
        self.monitors.start_over();
        self.waiters = Waiters::default();
        self.subscriptions = Subscriptions::default();
        self.holds = Holds::default();
        self.gates = Gates::default();
        self.scattered = Scattered::default();
        self.scripts = ScriptCache::default();
        self.queue = Queue::default();
        self.turns = Turns::default();
        self.gradual = Gradual::default();
        self.postponed.clear();
        self.recount();
        self.topology_is_stale();
        self.go_on(now);
    }

    /// A client at rest stays as it is. Another one is closed, and nothing of it kept.
    fn close_busy_client(&mut self, index: usize, now: Instant) {
        let Connection::Client(session) = &mut self.connections[index] else {
            return;
        };
        if session.is_at_rest() {
            return;
        }
        let connection = session.connection;
        let mut fresh = Session::new(connection, session.client_id, session.ends, now);
        fresh.closing = true;
        fresh.leaving = true;
        *session = fresh;
        self.stats.clients_cut[Cut::Panic as usize].inc();
        self.close(connection, CloseWhen::Now);
    }

    /// Ends the connection that there is. There may be none where one is said to be.
    fn settle_link(
        &mut self,
        link: &mut Link,
        interrupted: Interrupted,
        token: u32,
        is_it: impl Fn(&Connection) -> bool,
    ) {
        match *link {
            Link::Open(connection) => {
                let place = self.connections.get(connection.index as usize);
                if place.is_some_and(is_it) {
                    self.close(connection, CloseWhen::Now);
                } else {
                    *link = Link::Idle;
                }
            }
            Link::Connecting if interrupted == Interrupted::Connect(ConnectToken(token)) => {
                *link = Link::Idle;
            }
            Link::Connecting | Link::Idle | Link::Down { .. } => {}
        }
    }

    fn start_over_with_privates(&mut self, interrupted: Interrupted) {
        self.privates.start_over();
        for id in self.privates.all() {
            let Some(private) = self.privates.get(id) else {
                continue;
            };
            let mut link = private.pipeline.link;
            let token = id.index | PRIVATE_TOKEN;
            self.settle_link(&mut link, interrupted, token, |connection| {
                matches!(connection, Connection::Private { index } if *index == id.index)
            });
            if let Some(private) = self.privates.get(id) {
                private.pipeline.link = link;
            }
            if !matches!(link, Link::Open(_)) {
                self.discard(id);
            }
        }
    }
}

/// The client with that connection, unless it is as good as gone.
fn client(connections: &[Connection], connection: ConnectionId) -> Option<&Session> {
    let client = connections.get(connection.index as usize)?.client()?;
    (client.connection == connection).then_some(client)
}
