//! Scripts that take longer than a turn: goes on with them, and has all others wait meanwhile.

use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::{Action, ConnectionId, Now};
use slotway_protocol::resp::{Protocol, RequestBuffers};
use std::time::Duration;

use super::execute::Refused;
use super::session::Sessions;
use super::{Node, State};
use crate::command::{self, Call, CommandError};
use crate::script::{Outcome, Suspended};

impl Node {
    /// Has the script that was interrupted do its next piece, if it is time.
    pub(super) fn continue_script(&mut self, now: Now) {
        let next = self.state.server.scripts.next_turn;
        if next.is_none_or(|next| now.instant < next) {
            return;
        }
        self.state.server.scripts.next_turn = None;
        let Some(suspended) = self.state.server.scripts.suspended.take() else {
            return;
        };
        let client = suspended.running.client;
        match self.state.go_on_with_script(suspended, now) {
            None => self.state.server.scripts.next_turn = Some(now.instant + SCRIPT_PAUSE),
            Some(outcome) => {
                let reply = command::late_reply(outcome);
                self.answer_late(client, &reply, now);
                self.state.server.scripts.was_busy = false;
                self.state.server.scripts.released = true;
                if let Some(link) = self.state.server.scripts.paused_link.take() {
                    self.actions.push_back(Action::Resume(link));
                }
            }
        }
        self.release_postponed(now);
    }

    /// What is done ten times a second while a script keeps the node busy: what does not touch
    /// keys.
    pub(super) fn tick_while_busy(&mut self, now: Now) {
        self.tick_cluster(now);
        self.state.server.stats.sample(now);
        self.end_turn(now);
    }

    /// What follows a call of the driver while a script keeps the node busy.
    #[cold]
    pub(super) fn end_turn_while_busy(&mut self, now: Now) {
        if self.state.server.scripts.next_turn.is_none() {
            self.state.server.scripts.next_turn = Some(now.instant + SCRIPT_PAUSE);
        }
        self.answer_blocked(now);
        self.serve_cluster(now);
        if self.state.server.ending.is_begun() {
            self.end_while_busy(now);
        }
    }

    /// Keys can be saved only when the script has ended, so it does if it may.
    fn end_while_busy(&mut self, now: Now) {
        if self.state.server.ending.how.saves == Some(false) {
            return self.go_on_with_end(now);
        }
        if let Some(suspended) = &mut self.state.server.scripts.suspended {
            suspended.running.is_killed |= !suspended.running.has_written;
        }
    }

    /// The primary has to wait like all others. Whether it does.
    pub(super) fn pause_link(&mut self, connection: ConnectionId) -> bool {
        let scripts = &mut self.state.server.scripts;
        if !scripts.is_suspended() {
            return false;
        }
        if scripts.paused_link.replace(connection) != Some(connection) {
            self.actions.push_back(Action::Pause(connection));
        }
        true
    }

    /// Tries again what had to wait, once it is refused instead, or once the script has ended.
    fn release_postponed(&mut self, now: Now) {
        let scripts = &mut self.state.server.scripts;
        if !std::mem::take(&mut scripts.released) {
            return;
        }
        let postponed: Vec<ConnectionId> = std::mem::take(&mut scripts.postponed);
        for connection in postponed {
            self.answer_late(connection, b"", now);
        }
    }
}

impl State {
    fn go_on_with_script(&mut self, suspended: Box<Suspended>, now: Now) -> Option<Outcome> {
        let Suspended {
            mut running,
            interpreter,
            input,
        } = *suspended;
        running.budget = command::TURN_BUDGET;
        running.turns += 1;
        let threshold = self.server.config.busy_reply_threshold;
        if !self.server.scripts.was_busy && command::is_busy(&running, now, threshold) {
            tracing::warn!(script = running.name, "Slow script detected");
            self.server.scripts.was_busy = true;
            self.server.scripts.released = true;
        }
        let client = running.client;
        self.lend_session(client, now);
        // For a script the time stands still.
        self.begin_turn(running.began);
        let began = running.began;
        let outcome = command::go_on_with_script(
            &mut Call {
                request: RequestBuffers::default().request(b""),
                keyspace: &mut self.keyspace,
                out: &mut Vec::new(),
                protocol: Protocol::Resp2,
                random: &mut self.random,
                client: Sessions::INTERNAL,
                sessions: &mut self.sessions,
                server: &mut self.server,
                dispatch: &self.dispatch,
                now: began,
                asking: false,
            },
            running,
            interpreter,
            input,
        );
        self.sessions.close_internal();
        if outcome.is_some() {
            self.end_script(client);
        }
        self.begin_turn(now);
        outcome
    }

    /// Has the script run in nobody's name, as its client may go.
    fn lend_session(&mut self, client: ConnectionId, now: Now) {
        self.sessions.open_internal(now.instant);
        let Some(session) = self.sessions.find(client) else {
            return;
        };
        let readonly = session.readonly;
        self.sessions[Sessions::INTERNAL].readonly = readonly;
    }

    /// What follows any command.
    fn end_script(&mut self, client: ConnectionId) {
        self.keyspace.finish();
        self.mark_disturbed();
        if self.server.propagation.is_heard() && self.finish_unit() > 0 {
            let offset = self.server.replication.offset();
            if let Some(session) = self.sessions.find(client) {
                session.wrote_until = offset;
            }
        }
        if self.keyspace.has_ready() {
            self.serve_blocked();
        }
    }

    /// What others are told while a script runs: for some time nothing.
    #[cold]
    pub(super) fn check_busy(&self, command: &Command, now: Now) -> Result<(), Refused> {
        let Some(suspended) = &self.server.scripts.suspended else {
            return Ok(());
        };
        let threshold = self.server.config.busy_reply_threshold;
        if !command::is_busy(&suspended.running, now, threshold) {
            return Err(Refused::Held);
        }
        if command.flags.contains(Flags::ALLOW_BUSY) {
            return Ok(());
        }
        let is_function = suspended.running.is_function;
        Err(CommandError::text(command::busy(is_function)).into())
    }
}

/// Between two pieces of a script others are looked after.
const SCRIPT_PAUSE: Duration = Duration::from_millis(1);
