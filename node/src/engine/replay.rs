//! Does again what an append-only file says: its commands, in the name of no client.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{Command, Flags, keys, resolve};
use slotway_protocol::engine::Now;
use slotway_protocol::resp::{Protocol, Request};

use super::State;
use super::loading::{LoadCut, LoadFailure};
use super::session::Sessions;
use crate::command::Call;
use crate::persistence::aof::{AofInput, LoggedPosition, Next};

/// A file of commands that is being read.
#[derive(Debug)]
pub(super) struct Replay {
    input: AofInput,
    /// Where the last whole command ends, or the transaction that it began.
    valid_bytes: u64,
    database: u32,
    /// The commands since MULTI, which are done at EXEC.
    transaction: Option<Vec<u8>>,
}

impl Replay {
    /// Commands begin behind that many bytes of the file.
    pub(super) fn at(position: u64) -> Self {
        Self {
            input: AofInput::at(position),
            valid_bytes: position,
            database: 0,
            transaction: None,
        }
    }

    /// Up to where in the stream of writes the file is whole, if its end says so.
    pub(super) fn logged_position(&self) -> Option<LoggedPosition> {
        self.input.logged_position().cloned()
    }

    /// Where the file would have to end to be whole, unless it is.
    pub(super) fn end(self) -> Option<LoadCut> {
        let in_transaction = self.transaction.is_some();
        (in_transaction || !self.input.is_empty()).then_some(LoadCut {
            valid_bytes: self.valid_bytes,
            in_transaction,
        })
    }
}

impl State {
    /// Takes the next bytes of a file and runs the commands that are complete.
    pub(super) fn replay(
        &mut self,
        replay: &mut Replay,
        bytes: &[u8],
        now: Now,
    ) -> Result<(), LoadFailure> {
        replay.input.push(bytes);
        self.sessions.open_internal(now.instant);
        self.sessions[Sessions::INTERNAL].database = replay.database;
        let outcome = self.replay_commands(replay, now);
        replay.database = self.sessions[Sessions::INTERNAL].database;
        self.sessions.close_internal();
        outcome
    }

    fn replay_commands(&mut self, replay: &mut Replay, now: Now) -> Result<(), LoadFailure> {
        loop {
            let len = match replay.input.find_next() {
                Next::Incomplete => return Ok(()),
                Next::Wrong => return Err(LoadFailure::Format),
                Next::Command(len) => len,
            };
            let request = replay.input.command(len);
            let command = self.command_of(&request)?;
            match &mut replay.transaction {
                None if command.name == "multi" => replay.transaction = Some(Vec::new()),
                None => self.run_again(command, request, now),
                Some(queue) if !self.dispatch.is_exec(command) => {
                    queue.extend_from_slice(request.frame());
                }
                Some(_) => {
                    let queue = replay.transaction.take().unwrap_or_default();
                    self.run_transaction(&queue, now)?;
                }
            }
            replay.input.consume(len);
            if replay.transaction.is_none() {
                replay.valid_bytes = replay.input.position();
            }
        }
    }

    fn run_transaction(&mut self, queue: &[u8], now: Now) -> Result<(), LoadFailure> {
        let mut input = AofInput::default();
        input.push(queue);
        while let Next::Command(len) = input.find_next() {
            let request = input.command(len);
            let command = self.command_of(&request)?;
            self.run_again(command, request, now);
            input.consume(len);
        }
        Ok(())
    }

    /// The command, unless this node could not do what it does.
    fn command_of(&self, request: &Request<'_>) -> Result<&'static Command, LoadFailure> {
        let known = resolve(request).ok();
        known
            .filter(|command| self.dispatch.run(command.id).is_some())
            .ok_or_else(|| {
                let name = String::from_utf8_lossy(request.arg(0));
                LoadFailure::UnknownCommand(name.into_owned())
            })
    }

    fn run_again(&mut self, command: &'static Command, request: Request<'_>, now: Now) {
        // Nothing else changes keys; what waits or ends the process has no place in a file.
        if !(command.flags.contains(Flags::WRITE) || command.name == "select") {
            return;
        }
        let Some(run) = self.dispatch.run(command.id) else {
            return;
        };
        let database = self.sessions[Sessions::INTERNAL].database;
        self.keyspace.select_database(database);
        if let Some(slot) = slot_of(command, &request) {
            self.keyspace.select(slot);
        }
        let mut reply = Vec::new();
        let outcome = run(&mut Call {
            request,
            keyspace: &mut self.keyspace,
            out: &mut reply,
            protocol: Protocol::Resp2,
            random: &mut self.random,
            client: Sessions::INTERNAL,
            sessions: &mut self.sessions,
            server: &mut self.server,
            dispatch: &self.dispatch,
            now,
            asking: false,
        });
        if let Err(error) = outcome {
            tracing::warn!(
                command = command.name,
                ?error,
                "a command of the append only file fails"
            );
        }
        self.keyspace.finish();
        self.mark_disturbed();
    }
}

/// The slot of the first key; a node writes no commands with keys of several.
fn slot_of(command: &Command, request: &Request<'_>) -> Option<Slot> {
    let mut slot = None;
    // A request whose keys can't be told fails when it is run.
    let _ = keys::each_key(command, request, &mut |index| {
        slot.get_or_insert_with(|| Slot::of(request.arg(index)));
    });
    slot
}
