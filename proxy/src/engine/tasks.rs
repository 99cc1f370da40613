//! Runs the tasks: starts them for clients, tells them what has happened, does what they want.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::engine::{Action, Instant};
use slotway_protocol::resp::encode;

use super::fail_point;
use super::pipeline::{InFlight, Kind, Link};
use super::private::PrivateId;
use super::reads::is_probe;
use super::requests::Incoming;
use super::running::{News, Running, TaskId};
use super::scatter::is_scattered;
use super::session::{Reply, Ticket, Watch};
use super::special::Special;
use super::task::{Cluster, Leg, Steps, Task, To};
use super::{Proxy, answer};

impl Proxy {
    /// Begins a task whose reply takes the place of the request's.
    pub(super) fn begin_task(
        &mut self,
        incoming: &Incoming<'_>,
        command: CommandId,
        task: Box<dyn Task>,
        private: Option<PrivateId>,
    ) {
        let Some((ticket, lane)) = self.reserve(incoming, command) else {
            return;
        };
        let protocol = self
            .session(incoming.connection)
            .map_or_else(Default::default, |session| session.protocol);
        let id = self.tasks.add(Running {
            task,
            client: Some(ticket),
            protocol,
            lane,
            in_flight: 0,
            wake: None,
            privates: private.into_iter().collect(),
            keys: Vec::new(),
            ask: None,
        });
        fail_point::pass();
        if let Some(session) = self.session(incoming.connection) {
            session.set_task(ticket, id);
        }
        self.tell(id, News::Begin, incoming.now);
    }

    /// Serves a command by the task that belongs to it.
    pub(super) fn run_special(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        special: Special,
    ) {
        let Some(session) = self.session(incoming.connection) else {
            return;
        };
        let client_id = session.client_id;
        if special.asks_all_shards() && !self.knows_shards() {
            let reply = answer::error(answer::SLOT_NOT_SERVED);
            return self.answer_at_once(incoming, command.id, &reply);
        }
        let user = self.options.user();
        match special.task(command.id, &incoming.request, user, client_id) {
            Ok(task) => self.begin_task(incoming, command.id, task, None),
            Err(reply) => self.answer_at_once(incoming, command.id, &reply),
        }
    }

    /// The client of a task has left.
    pub(super) fn abandon_task(&mut self, id: TaskId, now: Instant) {
        let Some(running) = self.tasks.get(id) else {
            return;
        };
        running.client = None;
        let mut steps = Steps::default();
        let goes_on = running.task.abandon(&mut steps) && running.in_flight > 0;
        if goes_on {
            self.take_steps(id, steps, now);
        } else {
            self.end_task(id, None, now);
        }
    }

    /// Forgets a task; its connections serve others, or stay with the client.
    pub(super) fn end_task(
        &mut self,
        id: TaskId,
        keep: Option<Slot>,
        now: Instant,
    ) -> Option<Ticket> {
        let mut running = self.tasks.remove(id)?;
        fail_point::pass();
        if let (Some(slot), Some(ticket)) = (keep, running.client)
            && let Some(private) = running.privates.pop()
        {
            match self.session(ticket.connection) {
                Some(session) => session.watch = Some(Watch { private, slot }),
                None => running.privates.push(private),
            }
        }
        for private in running.privates {
            self.put_away(private, now);
        }
        if !running.keys.is_empty() {
            self.stop_waiting(id, running.lane, running.keys, now);
        }
        if running.client.is_none() {
            self.notify_if_drained();
        }
        running.client
    }

    /// A reply that is for no client: it may be for a task, or for one of several keys.
    #[cold]
    pub(super) fn deliver_to_task(&mut self, ticket: Ticket, reply: Reply<'_>, now: Instant) {
        if is_scattered(ticket) {
            return self.deliver_scattered(ticket, reply, now);
        }
        if is_probe(ticket) {
            return self.handle_probe(ticket, reply.bytes(), now);
        }
        let Some(id) = TaskId::of(ticket) else { return };
        let Some(running) = self.tasks.get(id) else {
            return;
        };
        running.in_flight -= 1;
        fail_point::pass();
        let reply = match reply {
            Reply::Copied(bytes) => Bytes::copy_from_slice(bytes),
            Reply::Shared(bytes) => bytes,
        };
        let part = ticket.part;
        self.tell(id, News::Reply { part, reply }, now);
    }

    /// Wakes the tasks whose time has come.
    pub(super) fn wake_tasks(&mut self, now: Instant) {
        while let Some(id) = self.tasks.pop_due(now) {
            self.tell(id, News::Wake, now);
        }
        if let Some(next) = self.tasks.next_wake() {
            self.wake_at(next);
        }
    }

    /// Tells a task what has happened, and then whatever came of that to it or others. What one
    /// task does can reach the next only through here, so nobody is told while telling.
    pub(super) fn tell(&mut self, id: TaskId, news: News, now: Instant) {
        self.tasks.news.push_back((id, news));
        if self.tasks.running.is_none() {
            self.tell_all(now);
        }
    }

    /// Tells the tasks all that they have not been told.
    pub(super) fn tell_all(&mut self, now: Instant) {
        while let Some((id, news)) = self.tasks.news.pop_front() {
            self.tasks.running = Some(id);
            self.tell_one(id, news, now);
        }
        self.tasks.running = None;
    }

    fn tell_one(&mut self, id: TaskId, news: News, now: Instant) {
        let mut steps = Steps::default();
        let Some(running) = self.tasks.get(id) else {
            return;
        };
        let cluster = Cluster {
            owners: &self.owners,
            backends: &self.backends,
            runs: &self.runs,
            subscriptions: &self.subscriptions,
            protocol: running.protocol,
            now,
            hold_timeout: self.options.hold_timeout,
            merge_bytes_max: self.options.merge_bytes_max,
            workers: self.options.worker_count,
        };
        let task = &mut running.task;
        match news {
            News::Begin => task.begin(&cluster, &mut steps),
            News::Reply { part, reply } => task.reply(part, &reply, &cluster, &mut steps),
            News::Answer(answer) => task.answer(answer, &cluster, &mut steps),
            News::Wake => task.wake(&cluster, &mut steps),
            News::KeyChanged(key) => task.key_changed(&key, &cluster, &mut steps),
        }
        fail_point::pass();
        self.take_steps(id, steps, now);
    }

    /// Does what a task wants.
    pub(super) fn take_steps(&mut self, id: TaskId, mut steps: Steps, now: Instant) {
        if steps.nothing
            && let Some(running) = self.tasks.get(id)
        {
            let mut reply = Vec::new();
            encode::null_array(&mut reply, running.protocol);
            steps.finished = Some(reply);
        }
        for (node, run) in steps.runs {
            if let Some(known) = self.runs.get_mut(node.0 as usize) {
                *known = Some(run);
            }
        }
        if steps.stale {
            self.topology_is_stale();
        }
        if let Some(time) = steps.wake_after {
            self.tasks.wake_at(id, now + time);
            self.wake_at(now + time);
        }
        if steps.late {
            self.stats.peer_answers_late.inc();
        }
        if steps.too_large {
            self.stats.cross_slot_refused.inc();
        }
        if let Some(body) = steps.script {
            self.share_script(body);
        }
        for question in steps.questions {
            self.ask_workers(id, question, now);
        }
        for leg in steps.legs {
            self.send_leg(id, leg, now);
        }
        if steps.lose {
            self.lose_privates(id);
        }
        if steps.interrupt {
            self.interrupt(id, now);
        }
        self.stats.restored.add(steps.restored);
        if let Some((keys, takes)) = steps.await_keys {
            self.await_keys(id, keys, takes, now);
        }
        let idle = self
            .tasks
            .get(id)
            .is_some_and(|running| running.in_flight == 0);
        if steps.wake_if_idle && idle {
            self.tell(id, News::Wake, now);
        }
        let Some(running) = self.tasks.get(id) else {
            return;
        };
        let abandoned = running.client.is_none() && running.in_flight == 0;
        if abandoned || steps.finished.is_some() {
            let client = self.end_task(id, steps.keep, now);
            fail_point::pass();
            if let (Some(ticket), Some(reply)) = (client, steps.finished) {
                if reply
                    .get(1..)
                    .is_some_and(|text| text.starts_with(answer::MERGE_FULL))
                {
                    self.stats.merges_full.inc();
                }
                self.deliver(ticket, Reply::Shared(reply.into()), now);
            }
        }
    }

    /// Nobody may use the task's private connections again.
    fn lose_privates(&mut self, id: TaskId) {
        let privates = self.tasks.get(id).map(|running| running.privates.clone());
        let privates = privates.into_iter().flatten();
        privates.for_each(|private| self.discard(private));
    }

    fn send_leg(&mut self, id: TaskId, leg: Leg, now: Instant) {
        let Some(running) = self.tasks.get(id) else {
            return;
        };
        running.in_flight += 1;
        fail_point::pass();
        let lane = running.lane;
        let ticket = id.ticket(leg.part);
        match leg.to {
            To::Owner(slot) => {
                let entry = InFlight {
                    preceding: leg.preceding,
                    ..InFlight::request(ticket, leg.command, slot, leg.frame.len(), now)
                };
                self.dispatch(entry, lane, &leg.frame, None);
            }
            To::Node(node) => {
                let entry = direct_entry(ticket, &leg, now);
                self.dispatch_direct(entry, node.0 as usize, lane, &leg.frame);
            }
            To::Private(slot) => {
                let private = self.private_for(id, slot, now);
                self.send_private(id, leg, slot, private, now);
            }
            To::Pinned(slot) => {
                let pinned = running.privates.first().copied();
                let private = match pinned {
                    Some(private) => Ok((private, false)),
                    None => Err(answer::error(answer::PRIVATE_LOST)),
                };
                self.send_private(id, leg, slot, private, now);
            }
            To::Address(ref address) => {
                let Some(address) = self.way_to(address.clone()) else {
                    self.stats.redirects_refused.inc();
                    let reply = answer::error(answer::STRANGER);
                    return self.deliver(ticket, Reply::Copied(&reply), now);
                };
                let backend = self.backend(&address);
                let entry = direct_entry(ticket, &leg, now);
                self.dispatch_direct(entry, backend, lane, &leg.frame);
            }
        }
    }

    /// Puts a request into the pipeline to one node; when there is no connection the answer is
    /// that there is none.
    pub(super) fn dispatch_direct(
        &mut self,
        entry: InFlight,
        backend: usize,
        lane: usize,
        frame: &[u8],
    ) {
        let index = backend * self.lanes() + lane;
        let kind = Kind::Direct;
        let entry = InFlight { kind, ..entry };
        let pipeline = &mut self.pipelines[index];
        if matches!(pipeline.link, Link::Down { .. }) {
            let reply = answer::unreachable(&pipeline.address);
            return self.deliver(entry.ticket, Reply::Copied(&reply), entry.arrived);
        }
        if pipeline.queued_bytes() > self.bounds.queue {
            return self.refuse_full(&entry);
        }
        self.stats.backend_bytes_out.add(frame.len() as u64);
        let was_empty = pipeline.push(frame, entry);
        match pipeline.link {
            Link::Open(connection) if was_empty => {
                self.actions.push_back(Action::Wake(connection));
            }
            Link::Idle => self.connect(index),
            _ => {}
        }
    }
}

/// Which slot it has does not matter, since it is not routed by it.
fn direct_entry(ticket: Ticket, leg: &Leg, now: Instant) -> InFlight {
    InFlight::request(ticket, leg.command, Slot::of(b""), leg.frame.len(), now)
}
