//! MULTI, EXEC, DISCARD, WATCH and UNWATCH. A transaction is checked and queued here and leaves as
//! one block on a shared connection; only a client that watches keys has a connection for itself.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{self, Command, Flags};
use slotway_protocol::engine::ConnectionId;
use slotway_protocol::resp::{RequestBuffers, RequestLimits, RequestScanner, Scan, encode};

use super::pipeline::InFlight;
use super::plan::{Plan, SlotError, common_slot};
use super::pubsub::Family;
use super::requests::Incoming;
use super::session::Watch;
use super::task::Task;
use super::transaction::{Transaction, aborted};
use super::watch::{ExecMixed, ExecWatched, Patience, Unwatch, WatchKeys};
use super::{Proxy, answer};

/// The commands that begin and end transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransactionCommand {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

impl TransactionCommand {
    /// The one of that name in the table.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "multi" => Self::Multi,
            "exec" => Self::Exec,
            "discard" => Self::Discard,
            "watch" => Self::Watch,
            "unwatch" => Self::Unwatch,
            _ => return None,
        })
    }
}

impl Proxy {
    pub(super) fn run_transaction_command(
        &mut self,
        incoming: &Incoming<'_>,
        command: &'static Command,
        which: TransactionCommand,
    ) {
        let Some(session) = self.session(incoming.connection) else {
            return;
        };
        let queued = session.transaction.take();
        let watch = session.watch;
        match (which, queued) {
            (TransactionCommand::Multi, None) => {
                session.transaction = Some(Box::default());
                self.answer_at_once(incoming, command.id, b"+OK\r\n");
            }
            (TransactionCommand::Exec, Some(queued)) => self.exec(incoming, command, &queued),
            (TransactionCommand::Discard, Some(_)) => match watch {
                None => self.answer_at_once(incoming, command.id, b"+OK\r\n"),
                Some(watch) => self.unwatch(incoming, command, watch),
            },
            (TransactionCommand::Watch, None) => self.watch(incoming, command),
            (TransactionCommand::Unwatch, None) => match watch {
                None => self.answer_at_once(incoming, command.id, b"+OK\r\n"),
                Some(watch) => self.unwatch(incoming, command, watch),
            },
            (TransactionCommand::Unwatch, Some(mut queued)) => {
                // By the time it runs nothing is watched any more.
                queued.push(incoming.request.frame());
                session.transaction = Some(queued);
                self.answer_at_once(incoming, command.id, QUEUED);
            }
            (which, queued) => {
                session.transaction = queued;
                let text = match which {
                    TransactionCommand::Multi => answer::MULTI_NESTED,
                    TransactionCommand::Watch => answer::WATCH_INSIDE,
                    TransactionCommand::Exec => answer::EXEC_WITHOUT_MULTI,
                    _ => answer::DISCARD_WITHOUT_MULTI,
                };
                self.answer_at_once(incoming, command.id, &answer::error(text));
            }
        }
    }

    /// Whether the client is between MULTI and EXEC.
    #[inline]
    pub(super) fn is_queuing(&mut self, connection: ConnectionId) -> bool {
        self.session(connection)
            .is_some_and(|session| session.transaction.is_some())
    }

    /// Whether the command needs the connection that watches keys, or makes one watch them.
    pub(super) fn needs_own_connection(
        &mut self,
        connection: ConnectionId,
        which: TransactionCommand,
    ) -> bool {
        let Some(session) = self.session(connection) else {
            return false;
        };
        match which {
            TransactionCommand::Multi => false,
            TransactionCommand::Watch => session.transaction.is_none(),
            _ => session.watch.is_some(),
        }
    }

    /// Forgets what is queued and watched.
    pub(super) fn leave_transaction(&mut self, connection: ConnectionId) {
        let Some(session) = self.session(connection) else {
            return;
        };
        session.transaction = None;
        if let Some(watch) = session.watch.take() {
            self.discard(watch.private);
        }
    }

    /// A command between MULTI and EXEC: queued, or refused, and then so will be the EXEC.
    #[cold]
    pub(super) fn queue(&mut self, incoming: &Incoming<'_>, command: &'static Command) {
        let plan = self.plans.of(command);
        let bytes_max = self.options.transaction_bytes_max;
        let script = self.script_of(command, &incoming.request);
        self.note_script(command, &incoming.request);
        let Some(session) = self.session(incoming.connection) else {
            return;
        };
        let watched = session.watch.map(|watch| watch.slot);
        let database = session.database;
        let Some(mut queued) = session.transaction.take() else {
            return;
        };
        let frame = incoming.request.frame();
        let script_len = script.as_ref().map_or(0, Bytes::len);
        let result = if queued.bytes() + frame.len() + script_len > bytes_max {
            self.stats.transactions_refused.inc();
            Err(answer::error(answer::TRANSACTION_FULL))
        } else if self.leaves_database(command, &incoming.request, database) {
            Err(answer::error(answer::SELECT_INSIDE))
        } else {
            queue_one(&mut queued, watched, incoming, command, plan)
        };
        if let (Ok(()), Some(script)) = (&result, script) {
            queued.need_script(script);
        }
        if result.is_err() {
            queued.fail();
        }
        if let Some(session) = self.session(incoming.connection) {
            session.transaction = Some(queued);
        }
        match result {
            Ok(()) => self.answer_at_once(incoming, command.id, QUEUED),
            Err(reply) => self.answer_at_once(incoming, command.id, &reply),
        }
    }

    /// A request that could not even be understood spoils the transaction it is part of; when
    /// it is an EXEC, that is over.
    #[cold]
    pub(super) fn spoil_transaction(&mut self, incoming: &Incoming<'_>) {
        let is_exec = incoming.request.arg(0).eq_ignore_ascii_case(b"exec");
        if is_exec {
            self.leave_transaction(incoming.connection);
        } else if let Some(session) = self.session(incoming.connection)
            && let Some(queued) = &mut session.transaction
        {
            queued.fail();
        }
    }

    fn exec(&mut self, incoming: &Incoming<'_>, command: &Command, queued: &Transaction) {
        let watch = self
            .session(incoming.connection)
            .and_then(|session| session.watch);
        if queued.has_failed() {
            self.leave_transaction(incoming.connection);
            let reply = answer::error(answer::EXEC_ABORTED);
            return self.answer_at_once(incoming, command.id, &reply);
        }
        self.stats.transactions.inc();
        let local = self.local_replies(incoming, queued);
        let (block, preceding) = queued.block();
        if let Some(watch) = watch {
            return self.exec_watched(incoming, command, watch, (block, preceding), local);
        }
        if queued.for_node() == 0 {
            let mut reply = Vec::new();
            encode::array(&mut reply, local.len());
            local
                .iter()
                .for_each(|(_, own)| reply.extend_from_slice(own));
            return self.answer_at_once(incoming, command.id, &reply);
        }
        let slot = queued.slot().unwrap_or_else(|| Slot::of(b""));
        if local.is_empty() {
            let Some((ticket, lane)) = self.reserve(incoming, command.id) else {
                return;
            };
            let entry = InFlight {
                preceding,
                ..InFlight::request(ticket, command.id, slot, block.len(), incoming.now)
            };
            return self.dispatch(entry, lane, &block, None);
        }
        let task = ExecMixed {
            command: command.id,
            slot,
            block,
            preceding,
            local,
        };
        self.begin_task(incoming, command.id, Box::new(task), None);
    }

    /// The replies of the queued commands that the proxy answers by itself, with their places.
    fn local_replies(
        &mut self,
        incoming: &Incoming<'_>,
        queued: &Transaction,
    ) -> Vec<(u32, Vec<u8>)> {
        // What was queued was within the limits then, whatever they are now.
        let limits = RequestLimits::default();
        let mut replies = Vec::new();
        for (place, frame) in queued.local() {
            let mut buffers = RequestBuffers::default();
            let scan = RequestScanner::default().scan(frame, &limits, &mut buffers);
            if !matches!(scan, Ok(Scan::Request { .. })) {
                continue;
            }
            let again = Incoming {
                request: buffers.request(frame),
                shared: None,
                large: None,
                ..*incoming
            };
            let mut reply = Vec::new();
            if let Ok(command) = command::resolve_with(&again.request, self.learned.as_deref())
                && let Plan::Local(local) = self.plans.of(command)
            {
                self.local_reply(&again, local, &mut reply);
            }
            replies.push((*place, reply));
        }
        replies
    }

    fn exec_watched(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        watch: Watch,
        (block, preceding): (Vec<u8>, u32),
        local: Vec<(u32, Vec<u8>)>,
    ) {
        if let Some(session) = self.session(incoming.connection) {
            session.watch = None;
        }
        let task = ExecWatched {
            command: command.id,
            slot: watch.slot,
            block,
            preceding,
            local,
        };
        self.begin_task_with(incoming, command, Box::new(task), watch);
    }

    fn unwatch(&mut self, incoming: &Incoming<'_>, command: &Command, watch: Watch) {
        if let Some(session) = self.session(incoming.connection) {
            session.watch = None;
        }
        let task = Unwatch {
            command: command.id,
            slot: watch.slot,
        };
        self.begin_task_with(incoming, command, Box::new(task), watch);
    }

    fn watch(&mut self, incoming: &Incoming<'_>, command: &'static Command) {
        let Ok(Some(slot)) = common_slot(command, &incoming.request) else {
            let reply = answer::error(answer::CROSS_SLOT);
            return self.answer_at_once(incoming, command.id, &reply);
        };
        let Some(session) = self.session(incoming.connection) else {
            return;
        };
        let watch = session.watch;
        if watch.is_some_and(|watch| watch.slot != slot) {
            let reply = answer::error(answer::CROSS_SLOT);
            return self.answer_at_once(incoming, command.id, &reply);
        }
        session.watch = None;
        let task = Box::new(WatchKeys {
            command: command.id,
            slot,
            frame: incoming.request.frame().to_vec(),
            watches: watch.is_some(),
            patience: Patience::new(self.options.hold_timeout),
        });
        match watch {
            None => {
                self.begin_task(incoming, command.id, task, None);
                self.wait_for_replies(incoming.connection);
            }
            Some(watch) => self.begin_task_with(incoming, command, task, watch),
        }
    }

    /// Begins a task on the connection that watches keys. If that is lost, so is the watch: the
    /// task must not find itself on another one.
    fn begin_task_with(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        task: Box<dyn Task>,
        watch: Watch,
    ) {
        let lives = self
            .privates
            .get(watch.private)
            .is_some_and(|private| !private.is_doomed());
        if lives {
            self.begin_task(incoming, command.id, task, Some(watch.private));
            self.wait_for_replies(incoming.connection);
            return;
        }
        let reply = match TransactionCommand::of(command.name) {
            Some(TransactionCommand::Exec) => {
                let session = self.session(incoming.connection);
                aborted(session.map_or_else(Default::default, |session| session.protocol))
            }
            Some(TransactionCommand::Watch) => {
                // EXEC will say that what was watched may have changed.
                if let Some(session) = self.session(incoming.connection) {
                    session.watch = Some(watch);
                }
                b"+OK\r\n".to_vec()
            }
            _ => b"+OK\r\n".to_vec(),
        };
        self.answer_at_once(incoming, command.id, &reply);
    }
}

/// Queues a command, or says why it can't be part of a transaction.
fn queue_one(
    queued: &mut Transaction,
    watched: Option<Slot>,
    incoming: &Incoming<'_>,
    command: &'static Command,
    plan: Plan,
) -> Result<(), Vec<u8>> {
    let frame = incoming.request.frame();
    if command.flags.contains(Flags::NO_MULTI) {
        return Err(answer::error(answer::NOT_IN_TRANSACTION));
    }
    match plan {
        Plan::Key(_)
        | Plan::Keys
        | Plan::Split { .. }
        | Plan::Block
        | Plan::Publish(Family::Shard) => {
            match common_slot(command, &incoming.request) {
                // It runs where the keys are watched.
                Ok(Some(slot)) if watched.is_some_and(|watched| watched != slot) => {
                    return Err(answer::error(answer::CROSS_SLOT));
                }
                Ok(Some(slot)) => queued
                    .join(slot)
                    .map_err(|_| answer::error(answer::CROSS_SLOT))?,
                Err(SlotError::Crossed) => return Err(answer::error(answer::CROSS_SLOT)),
                // The node says what is wrong with it.
                Ok(None) | Err(SlotError::Keys(_)) => {}
            }
            queued.push(frame);
        }
        Plan::Any | Plan::Publish(_) => queued.push(frame),
        Plan::Local(local) if local.fits_transaction() => queued.push_local(frame),
        Plan::KeyBehind(behind) if behind.slot(&incoming.request).is_none() => {
            return Err(behind.or.reply(command));
        }
        Plan::Refused(refusal) => return Err(refusal.reply(command)),
        _ => return Err(answer::not_in_transaction(command.name)),
    }
    Ok(())
}

const QUEUED: &[u8] = b"+QUEUED\r\n";
