//! The numbered databases of the nodes: how many there are, and which one a client is in. Each has
//! connections of its own, since a connection is in one database; they are opened when the first
//! client needs them.

use slotway_protocol::command::Command;
use slotway_protocol::engine::{Action, ConnectionId, Instant};
use slotway_protocol::resp::{Protocol, Request};

use super::Proxy;
use super::local::{Local, database_number};
use super::plan::Plan;
use super::requests::lanes_of_protocol;

impl Proxy {
    /// The nodes have that many databases. Clients that want to know go on.
    pub(super) fn set_databases(&mut self, databases: u32) {
        let most = u16::try_from(self.options.databases_max).unwrap_or(u16::MAX);
        let databases = u16::try_from(databases).unwrap_or(u16::MAX);
        self.databases = Some(databases.clamp(1, most.max(1)));
        self.resume_postponed();
    }

    /// When nobody has said how many databases there are, the one is there that all nodes have.
    pub(super) fn settle_databases(&mut self, now: Instant) {
        let started = self.started.unwrap_or(now);
        if self.databases.is_none() && now.since(started) >= self.options.hold_timeout {
            self.set_databases(1);
        }
    }

    /// Whether a SELECT must wait: until it is known how many databases there are, or until the
    /// client has all replies that it is owed, because what follows goes through other connections
    /// and could overtake them.
    pub(super) fn must_wait_to_select(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
    ) -> bool {
        let is_known = self.databases.is_some();
        let Some(session) = self.session(connection) else {
            return false;
        };
        let wanted = database_number(request);
        let stays = wanted.is_none_or(|wanted| wanted == i32::from(session.database));
        if stays || session.transaction.is_some() {
            return false;
        }
        if is_known {
            return self.wait_for_replies(connection);
        }
        if !core::mem::replace(&mut session.postponed, true) {
            self.postponed.push(connection);
        }
        true
    }

    /// Whether a command between MULTI and EXEC would change the database of those behind it. They
    /// leave as one block, on a connection that is in one database.
    pub(super) fn leaves_database(
        &self,
        command: &Command,
        request: &Request<'_>,
        database: u16,
    ) -> bool {
        let known = self.databases.unwrap_or(u16::MAX);
        self.selected(command, request, known)
            .is_some_and(|wanted| wanted != database)
    }

    /// The database that a client is in after a command, as MONITOR shows it.
    pub(super) fn database_after(
        &self,
        command: &Command,
        request: &Request<'_>,
        database: u16,
    ) -> u16 {
        let known = self.databases.unwrap_or(1);
        self.selected(command, request, known).unwrap_or(database)
    }

    /// The one of that many databases which a command selects.
    fn selected(&self, command: &Command, request: &Request<'_>, known: u16) -> Option<u16> {
        if self.plans.of(command) != Plan::Local(Local::Select) {
            return None;
        }
        let wanted = u16::try_from(database_number(request)?).ok()?;
        (wanted < known).then_some(wanted)
    }

    /// Lets the clients go on whose request waits for news.
    pub(super) fn resume_postponed(&mut self) {
        for connection in core::mem::take(&mut self.postponed) {
            let Some(session) = self.session(connection) else {
                continue;
            };
            session.postponed = false;
            session.paused &= session.waits_for_all;
            if !session.paused {
                self.actions.push_back(Action::Resume(connection));
            }
        }
    }

    /// Pipelines to one backend: the usual ones, and behind them as many for reads at a replica if
    /// replicas may serve any.
    pub(super) fn lanes(&self) -> usize {
        self.base_lanes() << usize::from(self.reads.is_on())
    }

    /// The usual ones, in the order of their databases, and of their protocols in each.
    pub(super) fn base_lanes(&self) -> usize {
        self.lanes_of_database() * self.options.databases_max
    }

    /// Whether that pipeline is for reads at a replica.
    pub(super) fn is_read_lane(&self, index: usize) -> bool {
        index % self.lanes() >= self.base_lanes()
    }

    /// Whether that pipeline is for what is large; for tests.
    #[cfg(test)]
    pub(super) fn is_large_lane(&self, index: usize) -> bool {
        let of_protocol = lanes_of_protocol(self.options.connections_per_node);
        index % self.lanes() % of_protocol == of_protocol - 1
    }

    /// For each protocol version as many as the options say, and one for what is large.
    fn lanes_of_database(&self) -> usize {
        2 * lanes_of_protocol(self.options.connections_per_node)
    }

    /// What a lane speaks, and the database that it is in.
    pub(super) fn about_lane(&self, lane: usize) -> (Protocol, u16) {
        let lane = lane % self.base_lanes();
        let of_protocol = lanes_of_protocol(self.options.connections_per_node);
        let protocol = if lane % self.lanes_of_database() < of_protocol {
            Protocol::Resp2
        } else {
            Protocol::Resp3
        };
        (protocol, (lane / self.lanes_of_database()) as u16)
    }
}
