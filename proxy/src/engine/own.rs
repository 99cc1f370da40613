//! What the engine does for the commands that the proxy answers by itself.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{Command, CommandId};
use slotway_protocol::engine::{Action, Instant, Now};

use super::gather::Gather;
use super::local::{self, After, Local, Surroundings};
use super::requests::Incoming;
use super::settings::Agreed;
use super::shedding::Bounds;
use super::{Connection, Notice, Proxy};

impl Proxy {
    pub(super) fn run_local(&mut self, incoming: &Incoming<'_>, command: CommandId, local: Local) {
        if local::says_password(local, &incoming.request) && self.refuse_login(incoming, command) {
            return;
        }
        let mut reply = std::mem::take(&mut self.scratch.reply);
        reply.clear();
        self.local_reply(incoming, local, &mut reply);
        if matches!(local, Local::Auth | Local::Hello | Local::Reset) {
            self.note_login(incoming.connection, &reply, incoming.now);
        }
        if local == Local::Info && local::needs_nodes(&incoming.request) {
            let task = Box::new(Gather::keyspace(&reply));
            self.begin_task(incoming, command, task, None);
            self.scratch.reply = reply;
            return;
        }
        self.answer_at_once(incoming, command, &reply);
        self.scratch.reply = reply;
    }

    /// Appends the reply of a command that the proxy answers by itself.
    pub(super) fn local_reply(
        &mut self,
        incoming: &Incoming<'_>,
        local: Local,
        reply: &mut Vec<u8>,
    ) {
        if local == Local::Reset {
            self.leave_transaction(incoming.connection);
            self.leave_monitor(incoming.connection);
            self.drop_subscriptions(incoming.connection, incoming.now);
        }
        if let After::Agree(newer) = self.reply_to(incoming, local, reply) {
            self.agree(&newer);
            self.actions
                .push_back(Action::Notify(Notice::Agreed(newer)));
        }
    }

    fn reply_to(&mut self, incoming: &Incoming<'_>, local: Local, reply: &mut Vec<u8>) -> After {
        let uptime_s = self.uptime_s(incoming.now);
        let place = self.connections.get_mut(incoming.connection.index as usize);
        let Some(Connection::Client(session)) = place else {
            return After::Nothing;
        };
        let around = Surroundings {
            now: Now {
                instant: incoming.now,
                unix_ms: self.unix_ms,
            },
            uptime_s,
            options: &self.options,
            plans: &self.plans,
            learned: self.learned.as_deref(),
            databases: self.databases.unwrap_or(1),
            agreed: &self.agreed,
        };
        let before = session.protocol;
        let after = local::run(local, &incoming.request, session, &around, reply);
        session.closing |= after == After::Close;
        let lost = session.watch.filter(|_| session.protocol != before);
        if let Some(watch) = lost {
            // The connection that watches speaks as the client did: its EXEC has to be aborted.
            self.discard(watch.private);
        }
        after
    }

    /// How long the program runs; where nothing is known of that, this worker.
    fn uptime_s(&self, now: Instant) -> u64 {
        match self.options.program.started_unix_ms {
            0 => self
                .started
                .map_or(0, |started| now.since(started).as_secs()),
            started => self.unix_ms.saturating_sub(started) / 1000,
        }
    }

    /// Goes by what a worker has changed, this one or another.
    pub(super) fn agree(&mut self, newer: &Agreed) {
        self.agreed.merge(newer);
        newer.changes.apply(&mut self.options);
        self.watched.trails.configure(&self.options);
        self.bounds = Bounds::new(&self.options, self.meter.strain);
        self.shut_windows();
    }

    /// Sends the request to the owner of the slot that it names.
    pub(super) fn forward_to_slot(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        position: usize,
    ) {
        let slot = local::parse_integer(incoming.request.arg(position))
            .and_then(|number| u64::try_from(number).ok())
            .and_then(Slot::new);
        // Every node can say what is wrong with a number that is none of a slot.
        self.forward(incoming, command, slot.unwrap_or_else(|| Slot::of(b"")));
    }
}
