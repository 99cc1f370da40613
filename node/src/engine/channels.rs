//! The connections of a node: writing to them, closing them, and what goes with one that is gone.

use slotway_protocol::engine::{Action, CloseWhen, ConnectionId, Now};

use super::session::Kind;
use super::{Channel, Node, State};

impl Node {
    pub(super) fn close(&mut self, connection: ConnectionId, when: CloseWhen) {
        let Some(session) = self.state.sessions.find(connection) else {
            return;
        };
        let overrules = when == CloseWhen::Now && session.closing == Some(CloseWhen::Flushed);
        session.closing.get_or_insert(when);
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
        let channel = &mut self.channels[connection.index as usize];
        if !channel.woken && !channel.output.is_empty() {
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
