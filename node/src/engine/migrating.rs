//! The work of MIGRATE: opens connections to other nodes, sends keys, and removes those that were
//! confirmed. Requests that would change a key on its way wait until it is over.

use bytes::BytesMut;
use slotway_protocol::engine::{Action, CloseWhen, ConnectError, ConnectToken, ConnectionId, Now};
use slotway_protocol::resp::encode;

use super::roles::Role;
use super::{Channel, Node};
use crate::migration::{Failure, Migration, Prelude, Progress, Target, TargetId, WINDOW_BYTES};
use crate::persistence::payload;

impl Node {
    /// Takes up what clients have begun.
    #[inline]
    pub(super) fn begin_migrations(&mut self, now: Now) {
        if !self.state.server.migrations.begun.is_empty() {
            for migration in std::mem::take(&mut self.state.server.migrations.begun) {
                self.find_target(migration, now);
            }
        }
    }

    /// Gives a migration a connection; when there is none to be had, it waits for one.
    fn find_target(&mut self, mut migration: Migration, now: Now) {
        migration.progressed_at = now.instant;
        let targets = &mut self.state.server.migrations.targets;
        if let Some(target) = targets.idle(&migration.address)
            && !migration.is_retry
        {
            target.migration = Some(migration);
            let id = target.id;
            self.begin_on_target(id);
            return;
        }
        if targets.is_full() {
            match targets.take_idle() {
                Some(target) => self.close_target(&target),
                None => {
                    self.state.server.migrations.queued.push_back(migration);
                    return;
                }
            }
        }
        let token = self.roles.connect(Role::MigrateTarget);
        let address = migration.address.clone();
        self.state.server.migrations.targets.open(token, migration);
        self.actions.push_back(Action::Connect { token, address });
    }

    /// A connection is open.
    pub(super) fn open_target(&mut self, connection: ConnectionId, token: ConnectToken, now: Now) {
        let targets = &mut self.state.server.migrations.targets;
        let Some(target) = targets.by_token(token) else {
            // What it was for was given up meanwhile.
            let when = CloseWhen::Now;
            self.actions.push_back(Action::Close { connection, when });
            return;
        };
        target.connection = Some(connection);
        if let Some(migration) = &mut target.migration {
            migration.progressed_at = now.instant;
        }
        let id = target.id;
        self.begin_on_target(id);
    }

    /// A connection could not be opened.
    pub(super) fn refuse_target(&mut self, token: ConnectToken, error: &ConnectError, now: Now) {
        let targets = &mut self.state.server.migrations.targets;
        if let Some(target) = targets.by_token(token) {
            let id = target.id;
            // redis-server finds out that nobody listens when it writes.
            let failure = match error {
                ConnectError::Refused => Failure::Refused,
                _ => Failure::Connecting,
            };
            self.give_up_target(id, failure, now);
        }
    }

    /// A connection is gone.
    pub(super) fn lose_target(&mut self, connection: ConnectionId, now: Now) {
        let is_all_written = self.channels[connection.index as usize].output.is_empty();
        self.channels[connection.index as usize] = Channel::default();
        let targets = &mut self.state.server.migrations.targets;
        let Some(target) = targets.by_connection(connection) else {
            return;
        };
        let id = target.id;
        let failure = if is_all_written {
            Failure::Reading
        } else {
            Failure::Writing
        };
        self.give_up_target(id, failure, now);
    }

    /// Sends what comes before the keys, and the first of them.
    fn begin_on_target(&mut self, id: TargetId) {
        let Some(mut target) = self.state.server.migrations.targets.remove(id) else {
            return;
        };
        if let (Some(connection), Some(migration)) = (target.connection, &mut target.migration) {
            let out = self.channels[connection.index as usize].output.buffer();
            if let Some(password) = &migration.password {
                let mut request: Vec<&[u8]> = vec![b"AUTH"];
                request.extend(password.iter().map(Vec::as_slice));
                encode::request(out, &request);
                migration.progress.prelude.push_back(Prelude::Auth);
            }
            if target.database != Some(migration.target_database) {
                let database = migration.target_database.to_string();
                encode::request(out, &[&b"SELECT"[..], database.as_bytes()]);
                migration.progress.prelude.push_back(Prelude::Select);
            }
        }
        self.put_back_and_send(target);
    }

    /// The other node has taken bytes.
    pub(super) fn go_on_with_target(&mut self, connection: ConnectionId, now: Now) {
        let targets = &mut self.state.server.migrations.targets;
        let Some(target) = targets.by_connection(connection) else {
            return;
        };
        if let Some(migration) = &mut target.migration {
            migration.progressed_at = now.instant;
            let id = target.id;
            if let Some(target) = self.state.server.migrations.targets.remove(id) {
                self.put_back_and_send(target);
            }
        }
    }

    /// Sends more keys, as long as not too much waits to be written.
    fn put_back_and_send(&mut self, mut target: Target) {
        if let (Some(connection), Some(migration)) = (target.connection, &mut target.migration) {
            let output = &mut self.channels[connection.index as usize].output;
            let state = &mut self.state;
            while migration.progress.looked_at < migration.keys.len() && output.len() < WINDOW_BYTES
            {
                send_next(state, migration, output.buffer());
            }
            self.state.server.migrations.targets.put_back(target);
            self.wake(connection);
        } else {
            self.state.server.migrations.targets.put_back(target);
        }
    }

    /// Takes replies of the other node.
    pub(super) fn take_target_input(
        &mut self,
        connection: ConnectionId,
        input: &mut BytesMut,
        now: Now,
    ) {
        // While writes wait, no key may be removed: the replies are left for later.
        if self.state.server.replication.is_paused(now.instant) {
            self.state.server.migrations.paused.push(connection);
            self.actions.push_back(Action::Pause(connection));
            return;
        }
        let targets = &mut self.state.server.migrations.targets;
        let Some(target) = targets.by_connection(connection) else {
            return input.clear();
        };
        let id = target.id;
        let mut confirmed = Vec::new();
        let mut failed = target.migration.is_none();
        while let Some(migration) = &mut target.migration
            && !failed
            && !input.is_empty()
        {
            match target.scanner.scan(input) {
                Ok(Some(len)) => {
                    let reply = input.split_to(len);
                    migration.progressed_at = now.instant;
                    failed = !migration.progress.take_reply(&reply, &mut confirmed);
                }
                Ok(None) => break,
                Err(_) => failed = true,
            }
        }
        let migration = target.migration.as_ref();
        let is_over = migration.is_none_or(|migration| {
            migration.progress.unanswered.is_empty()
                && migration.progress.prelude.is_empty()
                && migration.progress.looked_at == migration.keys.len()
        });
        let keys = migration.map_or_else(Vec::new, |migration| {
            let keys = confirmed.into_iter();
            keys.map(|index| migration.keys[index].clone()).collect()
        });
        let removes = migration.is_some_and(|migration| !migration.copies);
        let database = migration.map_or(0, |migration| migration.database);
        if removes {
            self.remove_migrated(database, &keys, now);
        }
        if failed {
            input.clear();
            self.give_up_target(id, Failure::Reading, now);
        } else if is_over {
            self.end_target(id, now);
        }
    }

    /// Removes keys that the other node has.
    fn remove_migrated(&mut self, database: u32, keys: &[Box<[u8]>], now: Now) {
        if keys.is_empty() || !self.state.server.is_primary() {
            return;
        }
        let keyspace = &mut self.state.keyspace;
        keyspace.set_now(now.unix_ms);
        keyspace.select_database(database);
        for key in keys {
            keyspace.select_key(key);
            keyspace.remove(key);
        }
        keyspace.finish();
        self.state.mark_disturbed();
        let propagation = &mut self.state.server.propagation;
        if propagation.is_heard() {
            let mut request: Vec<&[u8]> = vec![b"DEL"];
            request.extend(keys.iter().map(|key| &key[..]));
            propagation.add(database, &request);
            self.state.finish_unit();
        }
    }

    /// All keys were answered: the connection is free.
    fn end_target(&mut self, id: TargetId, now: Now) {
        let Some(mut target) = self.state.server.migrations.targets.remove(id) else {
            return;
        };
        let Some(migration) = target.release(now.instant) else {
            return self.close_target(&target);
        };
        // After an error it is not certain which database is selected.
        let is_fine = migration.progress.error.is_none();
        target.database = is_fine.then_some(migration.target_database);
        self.state.server.migrations.targets.put_back(target);
        let demoted = !migration.copies && !self.state.server.is_primary();
        let reply = match &migration.progress.error {
            Some(error) => {
                let mut reply = b"-ERR Target instance replied with error: ".to_vec();
                reply.extend_from_slice(error);
                reply.extend_from_slice(b"\r\n");
                reply
            }
            None if demoted => Failure::Demoted.reply().to_vec(),
            None => b"+OK\r\n".to_vec(),
        };
        self.end_migration(&migration, &reply, now);
    }

    /// The connection is of no more use, and what it was used for has failed, unless it may be
    /// tried on another.
    fn give_up_target(&mut self, id: TargetId, failure: Failure, now: Now) {
        let Some(mut target) = self.state.server.migrations.targets.remove(id) else {
            return;
        };
        self.close_target(&target);
        let Some(mut migration) = target.release(now.instant) else {
            return;
        };
        let may_retry = matches!(failure, Failure::Writing | Failure::Reading)
            && !migration.is_retry
            && !migration.progress.any_reply
            && !migration.is_late(now.instant);
        if may_retry {
            migration.is_retry = true;
            migration.progress = Progress::default();
            return self.find_target(migration, now);
        }
        match &migration.progress.error {
            Some(error) => {
                let mut reply = b"-ERR Target instance replied with error: ".to_vec();
                reply.extend_from_slice(error);
                reply.extend_from_slice(b"\r\n");
                self.end_migration(&migration, &reply, now);
            }
            None => self.end_migration(&migration, failure.reply(), now),
        }
    }

    fn close_target(&mut self, target: &Target) {
        if let Some(connection) = target.connection {
            let when = CloseWhen::Now;
            self.actions.push_back(Action::Close { connection, when });
        }
    }

    /// Answers the client, and goes on with those who have waited for this.
    fn end_migration(&mut self, migration: &Migration, reply: &[u8], now: Now) {
        let migrations = &mut self.state.server.migrations;
        for key in &migration.keys {
            migrations.unlock(key);
        }
        let held = migrations.take_held();
        if !self.state.server.blocking.is_empty() {
            self.state.keyspace.ready_all();
            self.state.serve_blocked();
        }
        let migrations = &mut self.state.server.migrations;
        let queued = migrations.queued.pop_front();
        self.answer_later(migration.client, migration.is_answered, reply, now);
        for client in held {
            self.retry_held(client, now);
        }
        if let Some(queued) = queued {
            self.find_target(queued, now);
        }
    }

    /// Runs the request that had to wait, unless it has to wait again.
    fn retry_held(&mut self, client: ConnectionId, now: Now) {
        let Some(session) = self.state.sessions.find(client) else {
            return;
        };
        session.waiting = false;
        self.resume(client, now);
        self.wake(client);
    }

    /// Gives up what has not come on for too long, and closes what nobody has used for a while.
    pub(super) fn check_migrations(&mut self, now: Now) {
        let is_paused = self.state.server.replication.is_paused(now.instant);
        let migrations = &mut self.state.server.migrations;
        if is_paused || (migrations.targets.len() == 0 && migrations.queued.is_empty()) {
            return;
        }
        for connection in std::mem::take(&mut migrations.paused) {
            if let Some(target) = migrations.targets.by_connection(connection) {
                target.touch(now.instant);
                self.actions.push_back(Action::Resume(connection));
            }
        }
        for target in migrations.targets.take_expired(now.instant) {
            self.close_target(&target);
        }
        for id in self.state.server.migrations.targets.late(now.instant) {
            let failure = self.late_failure(id);
            self.give_up_target(id, failure, now);
        }
        let queued = &mut self.state.server.migrations.queued;
        let (late, rest): (Vec<Migration>, Vec<Migration>) =
            (queued.drain(..)).partition(|queued| queued.is_late(now.instant));
        queued.extend(rest);
        for migration in late {
            self.end_migration(&migration, Failure::Connecting.reply(), now);
        }
    }

    fn late_failure(&self, id: TargetId) -> Failure {
        match self.state.server.migrations.targets.connection(id) {
            None => Failure::Connecting,
            Some(connection) if self.channels[connection.index as usize].output.is_empty() => {
                Failure::Reading
            }
            Some(_) => Failure::Writing,
        }
    }
}

/// Appends the request for the next key, unless it is gone.
fn send_next(state: &mut super::State, migration: &mut Migration, out: &mut Vec<u8>) {
    let index = migration.progress.looked_at;
    migration.progress.looked_at += 1;
    let key = &migration.keys[index];
    let keyspace = &mut state.keyspace;
    keyspace.select_database(migration.database);
    keyspace.select_key(key);
    let expires_at = keyspace.expires_at(key).unwrap_or(0);
    let Some(value) = keyspace.peek(key) else {
        return;
    };
    let server = &mut state.server;
    server.encoder.set_compression(server.config.rdbcompression);
    let payload = payload::seal(&mut server.encoder, value);
    let ttl = match expires_at {
        0 => 0,
        date => date.saturating_sub(keyspace.now_ms()).max(1),
    };
    let command: &[u8] = if server.cluster.is_some() {
        b"RESTORE-ASKING"
    } else {
        b"RESTORE"
    };
    let ttl = ttl.to_string();
    let mut request: Vec<&[u8]> = vec![command, key, ttl.as_bytes(), &payload];
    if migration.replaces {
        request.push(b"REPLACE");
    }
    encode::request(out, &request);
    migration.progress.unanswered.push_back(index);
}

impl Progress {
    /// Takes the next reply; keys that it confirms are added. Whether it was expected.
    fn take_reply(&mut self, reply: &[u8], confirmed: &mut Vec<usize>) -> bool {
        self.any_reply = true;
        let error = reply.strip_prefix(b"-").map(|text| text.trim_ascii_end());
        if self.prelude.pop_front().is_some() {
            self.prelude_failed |= error.is_some();
        } else {
            let Some(index) = self.unanswered.pop_front() else {
                return false;
            };
            if error.is_none() && !self.prelude_failed {
                confirmed.push(index);
            }
        }
        if let Some(error) = error {
            self.error.get_or_insert_with(|| error.to_vec());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use slotway_protocol::engine::{ConnectToken, Engine, Instant, Origin, Peer};

    use super::*;
    use crate::config::NodeConfig;
    use crate::replication::propagation::Listener;

    const NOW: Now = Now {
        instant: Instant::from_micros(0),
        unix_ms: 1_700_000_000_000,
    };

    fn open(node: &mut Node, index: u32, origin: Origin) -> ConnectionId {
        let id = ConnectionId {
            index,
            generation: 0,
        };
        let address = core::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let peer = Peer {
            remote: address,
            local: address,
            origin,
        };
        node.handle_open(id, peer, NOW);
        id
    }

    fn send(node: &mut Node, id: ConnectionId, text: &str) {
        node.handle_input(id, &mut BytesMut::from(text), NOW);
    }

    /// A node that has sent `a`, `b` and `c`, and the connection to the other one.
    fn migrating() -> (Node, ConnectionId) {
        let mut node = Node::new(NodeConfig::default(), NOW);
        let client = open(&mut node, 0, Origin::Accepted(0));
        send(&mut node, client, "MSET a 1 b 2 c 3\r\n");
        let propagation = &mut node.state.server.propagation;
        propagation.listen(Listener::Replicas, true);
        send(&mut node, client, "MIGRATE h 1 \"\" 0 0 KEYS a b c\r\n");
        let connect = std::iter::from_fn(|| node.poll_action()).find_map(|action| match action {
            Action::Connect { token, .. } => Some(token),
            _ => None,
        });
        let token: ConnectToken = connect.unwrap();
        let target = open(&mut node, 1, Origin::Connected(token));
        (node, target)
    }

    #[test]
    fn what_has_moved_is_propagated_as_removed() {
        let (mut node, target) = migrating();
        // Not the last reply, after which the bytes would be handed over.
        let mut input = BytesMut::from("+OK\r\n+OK\r\n+OK\r\n");
        node.take_target_input(target, &mut input, NOW);
        let bytes = node.state.server.propagation.take();
        assert_eq!(
            String::from_utf8_lossy(&bytes),
            "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n"
        );
    }

    #[test]
    fn nothing_is_removed_while_writes_wait() {
        let (mut node, target) = migrating();
        while node.poll_action().is_some() {}
        let later = Now {
            instant: Instant::from_micros(3_000_000),
            ..NOW
        };
        let replication = &mut node.state.server.replication;
        replication.pause_writes(Some(later.instant));
        let mut input = BytesMut::from("+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
        node.take_target_input(target, &mut input, NOW);
        assert_eq!((input.len(), node.len()), (20, 3));
        assert_eq!(node.poll_action(), Some(Action::Pause(target)));
        // The timeout of a second does not run meanwhile.
        node.check_migrations(later);
        let resumed = std::iter::from_fn(|| node.poll_action()).collect::<Vec<_>>();
        assert_eq!(resumed, [Action::Resume(target)]);
        node.take_target_input(target, &mut input, later);
        assert_eq!((input.len(), node.len()), (0, 0));
    }
}
