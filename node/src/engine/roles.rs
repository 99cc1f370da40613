//! What each connection of a node is for: most are clients, some the node has opened itself.

use std::collections::HashMap;

use slotway_protocol::engine::{ConnectToken, ConnectionId, Origin};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Role {
    /// Somebody who sends commands and reads replies.
    #[default]
    Client,
    /// To or from another node's bus.
    BusLink,
    /// To the primary that this node follows. It has a session as clients have, to run what the
    /// primary sends.
    PrimaryLink,
    /// To the node that takes over keys.
    MigrateTarget,
    /// To the replica that is to take over before this node ends.
    Heir,
}

/// The roles of all connections, and of those that are being opened.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    /// By the index of the connection.
    open: Vec<Role>,
    /// What was asked for and is not answered yet; as many as its owners ask for.
    awaited: HashMap<ConnectToken, Role>,
    last_token: u32,
}

impl Roles {
    /// A token for [`slotway_protocol::engine::Action::Connect`].
    pub(crate) fn connect(&mut self, role: Role) -> ConnectToken {
        self.last_token = self.last_token.wrapping_add(1);
        let token = ConnectToken(self.last_token);
        self.awaited.insert(token, role);
        token
    }

    /// Notes that a connection is open; what it is for. Who listens on several ports tells what
    /// comes in there apart with `accepted`.
    pub(crate) fn open(
        &mut self,
        connection: ConnectionId,
        origin: Origin,
        accepted: impl FnOnce(u16) -> Role,
    ) -> Role {
        let role = match origin {
            Origin::Accepted(listener) => accepted(listener),
            Origin::Connected(token) => self.awaited.remove(&token).unwrap_or_default(),
        };
        let index = connection.index as usize;
        if self.open.len() <= index {
            self.open.resize(index + 1, Role::default());
        }
        self.open[index] = role;
        role
    }

    /// Notes that a connection that was asked for did not come to be; what it was for.
    pub(crate) fn connect_failed(&mut self, token: ConnectToken) -> Role {
        self.awaited.remove(&token).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn of(&self, connection: ConnectionId) -> Role {
        let role = self.open.get(connection.index as usize);
        role.copied().unwrap_or_default()
    }

    /// Notes that a connection is gone.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        if let Some(role) = self.open.get_mut(connection.index as usize) {
            *role = Role::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_what_it_was_asked_for() {
        let mut roles = Roles::default();
        let id = |index| ConnectionId {
            index,
            generation: 1,
        };
        let client = |_| Role::Client;
        let (one, other) = (
            roles.connect(Role::PrimaryLink),
            roles.connect(Role::PrimaryLink),
        );
        assert_ne!(one, other);
        assert_eq!(roles.connect_failed(other), Role::PrimaryLink);
        let opened = roles.open(id(3), Origin::Connected(one), client);
        assert_eq!(opened, Role::PrimaryLink);
        roles.open(id(1), Origin::Accepted(0), client);
        assert_eq!(roles.of(id(3)), Role::PrimaryLink);
        assert_eq!(roles.of(id(1)), Role::Client);
        roles.close(id(3));
        assert_eq!(roles.of(id(3)), Role::Client);
        assert_eq!(roles.of(id(9)), Role::Client);
    }
}
