//! Serves clients that wait for a key, tells them that they have waited long enough, and that what
//! they wait for is another node's now.

use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{CloseWhen, ConnectionId, Now};

use super::{Node, State};
use crate::blocking::{Answer, Ending, Ticket};
use crate::cluster;
use crate::command::{CommandError, Stock};

impl State {
    /// Gives those who wait for keys what has come there.
    #[cold]
    pub(super) fn serve_blocked(&mut self) {
        while let Some((database, key)) = self.keyspace.poll_ready() {
            self.keyspace.select_database(database);
            self.keyspace.select_key(&key);
            let mut last = None;
            while let Some(ticket) = self.keyspace.next_awaiting(&key, last) {
                last = Some(ticket);
                self.serve(ticket, &key);
            }
        }
    }

    /// Gives one who waits what it wishes, if the key has that.
    fn serve(&mut self, ticket: Ticket, key: &[u8]) {
        let Some(waiter) = self.server.blocking.get(ticket) else {
            return;
        };
        // A replica's keys are changed by its primary only.
        if !waiter.wish.only_reads() && !self.server.is_primary() {
            return;
        }
        let value = self.keyspace.peek(key);
        if let Some(error) = waiter.wish.refusal(value) {
            let client = waiter.client;
            let mut reply = Vec::new();
            self.write_late_error(client, &error, &mut reply);
            return self.end_wait(ticket, Ending::Reply(reply));
        }
        let fits = value.is_some_and(|value| waiter.wish.fits(value));
        let destination = waiter.wish.destination();
        let is_locked = destination.is_some_and(|key| self.server.migrations.is_locked(key));
        if !fits || is_locked {
            return;
        }
        let (wish, client) = (waiter.wish.clone(), waiter.client);
        let Some(session) = self.sessions.find(waiter.client) else {
            return;
        };
        let mut reply = Vec::new();
        let stock = &mut Stock {
            keyspace: &mut self.keyspace,
            server: &mut self.server,
            protocol: session.protocol,
            out: &mut reply,
        };
        match wish.take(stock, key) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => self.write_late_error(client, &error, &mut reply),
        }
        self.keyspace.finish();
        self.mark_disturbed();
        if self.server.propagation.is_heard() {
            self.finish_unit();
        }
        self.end_wait(ticket, Ending::Reply(reply));
    }

    /// The reply to a command that has waited and fails now, which is counted.
    #[cold]
    fn write_late_error(
        &mut self,
        client: ConnectionId,
        error: &CommandError,
        reply: &mut Vec<u8>,
    ) {
        error.write(reply);
        self.server.stats.errors.note(reply);
        let session = self.sessions.look_up(client);
        if let Some(command) = session.and_then(|session| session.last_command) {
            self.server.stats.calls.fail(command);
        }
    }

    /// Ends the wait of a client.
    fn end_wait(&mut self, ticket: Ticket, ending: Ending) {
        let blocking = &mut self.server.blocking;
        blocking.end(&mut self.keyspace, &mut self.sessions, ticket, ending);
    }

    /// Panics when those who wait and those who know of it contradict each other.
    pub(super) fn check_blocked_invariants(&self) {
        let sessions = self.sessions.iter();
        let known: Vec<Ticket> = sessions.filter_map(|session| session.blocked).collect();
        assert_eq!(known.len(), self.server.blocking.len(), "waiters know it");
        let mut awaited = 0;
        for ticket in known {
            let waiter = self.server.blocking.get(ticket);
            awaited += waiter.map_or(0, |waiter| waiter.distinct_keys());
            assert!(waiter.is_some(), "who waits is known");
        }
        let in_keyspace = self.keyspace.awaited_len();
        assert_eq!(awaited, in_keyspace, "the keyspace knows who waits");
    }

    /// Ends waits for keys that are not this node's any more.
    fn unblock_lost(&mut self) {
        let mut lost = Vec::new();
        for (ticket, waiter) in self.server.blocking.iter() {
            let only_reads = waiter.wish.only_reads();
            let error = match &self.server.cluster {
                Some(cluster) => {
                    let session = self.sessions.look_up(waiter.client);
                    let may_read = only_reads && session.is_some_and(|session| session.readonly);
                    cluster::lost(cluster, Slot::of(&waiter.keys[0]), may_read)
                }
                None if self.server.is_primary() || (only_reads && !waiter.on_primary) => None,
                None => Some(CommandError::text(
                    "UNBLOCKED force unblock from blocking operation, instance state changed \
                     (master -> replica?)",
                )),
            };
            lost.extend(error.map(|error| (ticket, error)));
        }
        let closes = self.server.cluster.is_none();
        for (ticket, error) in lost {
            let mut reply = Vec::new();
            error.write(&mut reply);
            self.server.stats.errors.note(&reply);
            let ending = if closes {
                Ending::Last(reply)
            } else {
                Ending::Reply(reply)
            };
            self.end_wait(ticket, ending);
        }
    }
}

impl Node {
    /// Tells those who have waited what has come of it. Each goes on with what it has sent since,
    /// which may end the wait of others.
    #[inline]
    pub(super) fn answer_blocked(&mut self, now: Now) {
        while let Some(answer) = self.state.server.blocking.answers.pop_front() {
            self.answer(&answer, now);
            self.close_killed();
            self.announce_save(now);
            self.begin_migrations(now);
        }
    }

    fn answer(&mut self, answer: &Answer, now: Now) {
        if !answer.closes {
            return self.answer_later(answer.client, answer.is_answered, &answer.reply, now);
        }
        if answer.is_answered && self.state.sessions.find(answer.client).is_some() {
            let channel = &mut self.channels[answer.client.index as usize];
            channel.output.push(&answer.reply);
            self.wake(answer.client);
        }
        self.close(answer.client, CloseWhen::Flushed);
    }

    /// Ends the waits that have lasted long enough.
    pub(super) fn time_out_blocked(&mut self, now: Now) {
        while let Some(ticket) = self.state.server.blocking.late(now.instant) {
            self.state.end_wait(ticket, Ending::Late);
        }
    }

    /// Ends waits that can't come to an end here.
    pub(super) fn check_blocked(&mut self) {
        if !self.state.server.blocking.is_empty() {
            self.state.unblock_lost();
        }
    }
}
