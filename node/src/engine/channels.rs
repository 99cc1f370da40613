//! The connections of a node: writing to them, closing them, and what goes with one that is gone.

use bytes::BytesMut;
use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Now};
use slotway_protocol::output::Output;

use super::session::Kind;
use super::withholding::Withheld;
use super::{Node, State};

/// The bytes of one connection.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) output: Output,
    /// The driver knows that there is output to write.
    pub(super) woken: bool,
    /// Input that was not looked at because too much output waits, and after that the front of a
    /// request whose rest has not arrived.
    pub(super) held: BytesMut,
    pub(super) paused: bool,
    /// The output is sorted: what the driver sees is in here, and so is what waits.
    pub(super) withheld: Option<Box<Withheld>>,
}

impl Channel {
    /// What may be written.
    #[inline]
    pub(super) fn visible(&mut self) -> &mut Output {
        match &mut self.withheld {
            Some(withheld) => &mut withheld.ready,
            None => &mut self.output,
        }
    }

    /// Whether there is anything that may be written.
    pub(super) fn has_visible(&self) -> bool {
        let withheld = self.withheld.as_ref();
        withheld.map_or(!self.output.is_empty(), |withheld| withheld.ready_len() > 0)
    }

    /// How much is kept for the client.
    #[inline]
    pub(super) fn output_len(&self) -> usize {
        let withheld = self.withheld.as_ref();
        self.output.len() + withheld.map_or(0, |withheld| withheld.ready_len())
    }
}

impl Node {
    pub(super) fn close(&mut self, connection: ConnectionId, when: CloseWhen) {
        let Some(session) = self.state.sessions.find(connection) else {
            return;
        };
        let overrules = when == CloseWhen::Now && session.closing == Some(CloseWhen::Flushed);
        session.closing.get_or_insert(when);
        if when == CloseWhen::Flushed && self.must_wait_to_close(connection) {
            return;
        }
        let Some(session) = self.state.sessions.find(connection) else {
            return;
        };
        if !session.close_requested || overrules {
            session.close_requested = true;
            self.actions.push_back(Action::Close { connection, when });
        }
    }

    pub(super) fn close_killed(&mut self) {
        while let Some(connection) = self.state.sessions.poll_killed() {
            self.close(connection, CloseWhen::Now);
        }
    }

    pub(super) fn is_waiting(&mut self, connection: ConnectionId) -> bool {
        let session = self.state.sessions.find(connection);
        session.is_some_and(|session| session.waiting)
    }

    pub(super) fn wake(&mut self, connection: ConnectionId) {
        self.sort_replies(connection);
        let channel = &mut self.channels[connection.index as usize];
        if !channel.woken && !channel.visible().is_empty() {
            channel.woken = true;
            self.actions.push_back(Action::Wake(connection));
        }
    }

    pub(super) fn refuse(&mut self, connection: ConnectionId, text: &[u8]) {
        self.channels[connection.index as usize].output.push(text);
        self.wake(connection);
        self.close(connection, CloseWhen::Flushed);
    }

    /// Forgets a client, with all that it waits for.
    pub(super) fn close_session(&mut self, connection: ConnectionId, now: Now) {
        let Some(session) = self.state.sessions.find(connection) else {
            return;
        };
        if session.kind != Kind::Client || !self.state.server.replication.replicas.is_empty() {
            self.state
                .server
                .replication
                .forget(connection, now.instant);
        }
        let index = connection.index as usize;
        let blocked = self.state.sessions[index].blocked;
        if let Some(ticket) = blocked {
            let State {
                keyspace,
                sessions,
                server,
                ..
            } = &mut self.state;
            server.blocking.forget(keyspace, sessions, ticket);
        }
        if let Some(session) = self.state.sessions.close(index) {
            if let Some(own) = &session.subscriptions {
                let pubsub = &mut self.state.server.pubsub;
                pubsub.unsubscribe_all(session.connection, own);
            }
            for watched in &session.transaction.watched {
                let database = watched.database;
                self.state
                    .keyspace
                    .unwatch(database, &watched.key, session.id);
            }
        }
        self.channels[index] = Channel::default();
    }
}
