//! From a request to its reply: looks the command up, checks whether it may run here and now, and
//! runs it.

use bytes::Bytes;
use slotway_protocol::command::{Command, Flags, Refusal, resolve};
use slotway_protocol::engine::Now;
use slotway_protocol::resp::{Protocol, Request};

use super::State;
use super::session::{Kind, Replies};
use super::transaction::Queued;
use crate::cluster::{self, Permissions};
use crate::command::{Call, CommandError, Run};
use crate::keyspace::ExpiryRule;
use crate::replication::propagation::{propagate, propagate_expired};
use crate::script::runs_script;
use crate::server_state::DiskError;

impl State {
    /// Runs one request of a client and appends its reply to `out`.
    #[inline]
    pub(crate) fn execute(
        &mut self,
        client: usize,
        request: Request<'_>,
        out: &mut Vec<u8>,
        now: Now,
    ) {
        let start = out.len();
        if let Err(refused) = self.admit_and_run(client, request, out, now) {
            out.truncate(start);
            if matches!(refused, Refused::Held) {
                return self.hold(client, now);
            }
            if self.server.ending.turns_away() {
                self.server.ending.turned_away_at = now.instant;
            }
            match refused {
                Refused::Held => {}
                Refused::AsNoCommand(refusal) => refusal.write(&request, out),
                Refused::Error(error) => error.write(out),
            }
            self.server.stats.errors.note(&out[start..]);
        }
        self.keyspace.finish();
        self.mark_disturbed();
        if self.server.propagation.is_heard() {
            self.finish_unit_of(client);
        }
        if self.keyspace.has_ready() && !self.server.scripts.is_suspended() {
            self.serve_blocked();
        }
        let session = &mut self.sessions[client];
        if session.replies != Replies::On {
            out.truncate(start);
            session.replies = match session.replies {
                Replies::SkipNext => Replies::Skip,
                Replies::Skip => Replies::On,
                unchanged => unchanged,
            };
        }
        if self.server.answers_when_saved {
            self.keep_until_saved(client, start, out);
        }
    }

    /// Takes the reply back until the cluster's file has what it tells of. A script that goes on
    /// later has no reply yet.
    #[cold]
    fn keep_until_saved(&mut self, client: usize, start: usize, out: &mut Vec<u8>) {
        self.server.answers_when_saved = false;
        let session = &mut self.sessions[client];
        let cluster = self.server.cluster.as_mut().filter(|_| out.len() > start);
        if cluster.is_some_and(|cluster| cluster.answer_when_saved(session.connection)) {
            session.kept = Some(out.split_off(start).into());
            session.waiting = true;
        }
    }

    /// Tells clients whose watched keys were changed.
    #[inline]
    pub(crate) fn mark_disturbed(&mut self) {
        while let Some(client) = self.keyspace.poll_disturbed() {
            if let Some(session) = self.sessions.by_id(client) {
                session.transaction.disturbed = true;
            }
        }
    }

    /// Says that keys have expired that nobody has asked for: each for itself.
    pub(crate) fn propagate_expired(&mut self) {
        for (database, key) in self.keyspace.take_expired() {
            let propagation = &mut self.server.propagation;
            propagation.add(database, &[&b"DEL"[..], &key]);
            self.finish_unit();
        }
    }

    /// Ends what belongs together in what is propagated; how many bytes that is.
    #[cold]
    pub(crate) fn finish_unit(&mut self) -> u64 {
        if self.server.scripts.is_suspended() {
            return 0;
        }
        propagate_expired(&mut self.keyspace, &mut self.server.propagation);
        let bytes = self.server.propagation.finish_unit();
        self.server.replication.produce(bytes);
        bytes
    }

    /// The same for what a client has done, which may want to wait for replicas to have it.
    #[cold]
    fn finish_unit_of(&mut self, client: usize) {
        if self.finish_unit() > 0 {
            self.sessions[client].wrote_until = self.server.replication.offset();
        }
    }

    /// Begins a turn: what the time is, and what is done about keys that have expired.
    #[inline]
    pub(super) fn begin_turn(&mut self, now: Now) {
        self.keyspace.set_now(now.unix_ms);
        self.server.nanos = (self.server.probe.nanos)();
        let replication = &self.server.replication;
        self.keyspace.expiry = if replication.primary().is_some()
            || replication.is_paused(now.instant)
            || self.server.loading.is_some()
        {
            ExpiryRule::Keep
        } else if self.server.propagation.is_heard() {
            ExpiryRule::RemoveAndTell
        } else {
            ExpiryRule::Remove
        };
    }

    #[inline]
    fn admit_and_run(
        &mut self,
        client: usize,
        request: Request<'_>,
        out: &mut Vec<u8>,
        now: Now,
    ) -> Result<(), Refused> {
        let session = &mut self.sessions[client];
        let asking = std::mem::take(&mut session.asking);
        self.keyspace.select_database(session.database);
        let outcome = self.admit_and_run_asking(client, request, asking, out, now);
        // What was asked for with MULTI is asked for up to its EXEC, and what is held is asked for
        // when it is tried again.
        let lasts =
            self.sessions[client].transaction.is_open() || matches!(outcome, Err(Refused::Held));
        if asking && lasts {
            self.sessions[client].asking = true;
        }
        outcome
    }

    #[inline]
    fn admit_and_run_asking(
        &mut self,
        client: usize,
        request: Request<'_>,
        asking: bool,
        out: &mut Vec<u8>,
        now: Now,
    ) -> Result<(), Refused> {
        let (command, run) = match self.admit(client, &request, asking, now) {
            Ok(admitted) => admitted,
            Err(Refused::Held) => return Err(Refused::Held),
            Err(refused) => {
                if let Some(command) = refused.command(&request) {
                    self.server.stats.calls.reject(command.id);
                }
                self.break_transaction(client, &refused);
                return Err(refused);
            }
        };
        let session = &mut self.sessions[client];
        session.last_command = Some(command.id);
        let protocol = session.protocol;
        if let Some(queue) = &mut session.transaction.queue
            && !self.dispatch.runs_in_transaction(command.id)
        {
            queue.push(Queued {
                command,
                frame: Bytes::copy_from_slice(request.frame()),
            });
            out.extend_from_slice(b"+QUEUED\r\n");
            return Ok(());
        }
        let changes = self.keyspace.changes;
        let began = self.server.nanos;
        let outcome = run(&mut Call {
            request,
            keyspace: &mut self.keyspace,
            out,
            protocol,
            random: &mut self.random,
            client,
            sessions: &mut self.sessions,
            server: &mut self.server,
            dispatch: &self.dispatch,
            now,
            asking,
        });
        let nanos = self.server.note_call(command, began, outcome.is_err());
        if self.server.is_slow(command, nanos) {
            self.server
                .note_slow(&self.sessions[client], &request, nanos, now);
        }
        if self.server.propagation.is_heard() {
            let propagation = &mut self.server.propagation;
            propagate(&mut self.keyspace, propagation, (command, request), changes);
        }
        outcome.map_err(|error| Refused::Error(error.of(command)))
    }

    /// A transaction does not survive that one of its commands is refused, and it ends at once
    /// when that is its EXEC.
    #[cold]
    fn break_transaction(&mut self, client: usize, refused: &Refused) {
        let session = &mut self.sessions[client];
        let transaction = &mut session.transaction;
        transaction.broken |= transaction.is_open();
        if let Refused::AsNoCommand(Refusal::WrongArity(command)) = refused
            && self.dispatch.is_exec(command)
        {
            for watched in std::mem::take(transaction).watched {
                self.keyspace
                    .unwatch(watched.database, &watched.key, session.id);
            }
        }
    }

    /// Refuses writes while what they do could not be kept.
    #[cold]
    fn check_disk(&self, client: usize, command: &Command) -> Result<(), CommandError> {
        if !self.writes(client, command) && command.name != "ping" {
            return Ok(());
        }
        Err(self.server.disk_refusal())
    }

    /// The command and its function, when the client may run it on this node now.
    #[inline]
    fn admit(
        &mut self,
        client: usize,
        request: &Request<'_>,
        asking: bool,
        now: Now,
    ) -> Result<(&'static Command, Run), Refused> {
        let mut command = resolve(request).map_err(Refused::AsNoCommand)?;
        if runs_script(command) {
            command = self.server.scripts.declared(command, request);
        }
        let session = &self.sessions[client];
        if !session.authenticated && !command.flags.contains(Flags::NO_AUTH) {
            return Err(CommandError::text("NOAUTH Authentication required.").into());
        }
        if session.transaction.is_open() && command.flags.contains(Flags::NO_MULTI) {
            return Err(CommandError::text("ERR Command not allowed inside a transaction").into());
        }
        let is_guarded = self.server.replication.is_guarded();
        if is_guarded && session.kind == Kind::Primary {
            return self.admit_of_primary(command, request);
        }
        if let Some(cluster) = &self.server.cluster {
            if cluster::has_keys(command) {
                let permissions = Permissions {
                    asking,
                    readonly: session.readonly,
                };
                let requests = [(command, *request)];
                let slot = cluster::route(cluster, &mut self.keyspace, &requests, permissions)?;
                if let Some(slot) = slot {
                    self.keyspace.select(slot);
                }
            } else if command.flags.contains(Flags::WRITE) && !cluster.is_primary() {
                return Err(CommandError::text(
                    "READONLY You can't write against a read only replica.",
                )
                .into());
            }
        }
        if self.server.disk_error != DiskError::None {
            self.check_disk(client, command)?;
        }
        let session = &self.sessions[client];
        if session.subscriptions.is_some()
            && session.protocol == Protocol::Resp2
            && !self.dispatch.runs_while_subscribed(command.id)
        {
            return Err(while_subscribed(command).into());
        }
        if is_guarded {
            self.check_guards(client, command, now)?;
        }
        if self.server.loading.is_some() && !command.flags.contains(Flags::LOADING) {
            return Err(
                CommandError::text("LOADING Redis is loading the dataset in memory").into(),
            );
        }
        if self.server.scripts.is_suspended() {
            self.check_busy(command, now)?;
        }
        let run = self
            .dispatch
            .run(command.id)
            .ok_or_else(|| unsupported(command))?;
        if !self.server.migrations.is_idle() && self.changes_locked_key(client, command, request) {
            return Err(Refused::Held);
        }
        Ok((command, run))
    }

    /// What the primary says is done, whoever has the slot.
    #[cold]
    fn admit_of_primary(
        &mut self,
        command: &'static Command,
        request: &Request<'_>,
    ) -> Result<(&'static Command, Run), Refused> {
        if let Some(slot) = cluster::slot_of(&(command, *request)) {
            self.keyspace.select(slot);
        }
        let run = self.dispatch.run(command.id);
        Ok((command, run.ok_or_else(|| unsupported(command))?))
    }

    /// Whether a request changes a key that is on its way to another node.
    #[cold]
    fn changes_locked_key(
        &self,
        client: usize,
        command: &'static Command,
        request: &Request<'_>,
    ) -> bool {
        let migrations = &self.server.migrations;
        let is_locked = |command: &'static Command, request: Request<'_>| {
            let mut found = false;
            if command.flags.contains(Flags::WRITE) {
                let requests = [(command, request)];
                cluster::each_key(&requests, &mut |key| found |= migrations.is_locked(key));
            }
            found
        };
        match &self.sessions[client].transaction.queue {
            None => is_locked(command, *request),
            Some(queue) if self.dispatch.is_exec(command) => queue.iter().any(|queued| {
                let buffers = queued.parse();
                is_locked(queued.command, buffers.request(&queued.frame))
            }),
            Some(_) => false,
        }
    }

    /// Leaves the request where it is, to be tried again when what it waits for is over.
    #[cold]
    fn hold(&mut self, client: usize, now: Now) {
        let session = &mut self.sessions[client];
        session.held = true;
        session.waiting = true;
        let connection = session.connection;
        if self.server.scripts.is_suspended() {
            self.server.scripts.postponed.push(connection);
        } else if self.server.replication.is_paused(now.instant) {
            self.server.replication.waiting.postponed.push(connection);
        } else {
            self.server.migrations.hold(connection);
        }
    }
}

/// Why a request has an error as its reply.
pub(super) enum Refused {
    /// It may not run yet.
    Held,
    /// Nothing in the command table fits it.
    AsNoCommand(Refusal),
    Error(CommandError),
}

impl Refused {
    /// Which command it was, if it is one.
    #[cold]
    fn command(&self, request: &Request<'_>) -> Option<&'static Command> {
        match self {
            Self::AsNoCommand(Refusal::WrongArity(command)) => Some(command),
            Self::AsNoCommand(_) => None,
            Self::Held | Self::Error(_) => resolve(request).ok(),
        }
    }
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

#[cold]
fn while_subscribed(command: &Command) -> CommandError {
    CommandError::text(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
         allowed in this context",
        command.name
    ))
}

#[cold]
fn unsupported(command: &Command) -> CommandError {
    CommandError::text(format!(
        "ERR '{}' is not supported by this node yet",
        command.name
    ))
}
