//! Ending in order, for SHUTDOWN and signals: writes wait until the replicas have all there is, a
//! replica takes over, clients learn of it, and every reply is written before connections close.

use bytes::BytesMut;
use core::time::Duration;
use slotway_protocol::engine::{Action, CloseWhen, ConnectError, ConnectToken, ConnectionId, Now};
use slotway_protocol::resp::encode;

use super::roles::Role;
use super::session::Kind;
use super::{Channel, Node, Notice};
use crate::cluster::Cluster;
use crate::command::begin_save;
use crate::config::OnSignal;
use crate::ending::{Handover, Quiet, Stage};
use crate::persistence::saving::{SaveTarget, Waiter};
use crate::replication::Hold;

impl Node {
    /// A signal asks for the end.
    pub(super) fn terminate(&mut self, flags: OnSignal) {
        self.state.server.ending.wish(flags.into());
    }

    /// Does what is next for the end. Called at the end of every turn once it is asked for.
    #[cold]
    pub(super) fn go_on_with_end(&mut self, now: Now) {
        if self.state.server.ending.is_aborted {
            tracing::warn!("Shutdown manually aborted.");
            return self.call_off_end(now);
        }
        let deadline = self.state.server.ending.deadline();
        let is_late = deadline.is_some_and(|deadline| now.instant >= deadline);
        match self.state.server.ending.stage {
            Stage::Wished => self.begin_end(now),
            Stage::Waiting { until } => self.wait_for_replicas(now.instant >= until, now),
            Stage::Parting { .. } if is_late => self.begin_closing(now),
            Stage::Closing { .. } if is_late || self.is_deserted() => {
                self.state.server.ending.stage = Stage::Over;
                self.log_position(now);
                self.actions.push_back(Action::Notify(Notice::Shutdown));
            }
            Stage::None
            | Stage::Saving
            | Stage::Parting { .. }
            | Stage::Closing { .. }
            | Stage::Over => {}
        }
    }

    fn begin_end(&mut self, now: Now) {
        tracing::warn!("User requested shutdown...");
        let server = &mut self.state.server;
        if server.loading.is_some() {
            // What is here may be half of what is in the files.
            server.ending.how.saves = Some(false);
        }
        let patience = Duration::from_secs(server.config.shutdown_timeout.into());
        let may_wait = !server.ending.how.is_now && !patience.is_zero() && server.is_primary();
        server.ending.offset = server.replication.offset();
        let lags = !server.replication.has_all_up_to(server.ending.offset);
        if !may_wait || (!lags && !self.hands_over()) {
            return self.save_at_the_end(now);
        }
        let server = &mut self.state.server;
        if lags {
            tracing::info!("Waiting for replicas before shutting down.");
        }
        let until = now.instant + patience;
        server.ending.stage = Stage::Waiting { until };
        server.replication.hold(Hold::Writes);
        server.replication.ask_for_acknowledgements();
        self.settle_replication(now);
        self.wait_for_replicas(false, now);
    }

    /// Whether a replica is to take over, if there is one that can.
    fn hands_over(&self) -> bool {
        let server = &self.state.server;
        let is_wished = server.ending.how.hands_over || server.config.cluster_shutdown_failover;
        let cluster = server.cluster.as_ref();
        is_wished
            && cluster.is_some_and(Cluster::can_hand_over)
            && server.replication.replicas().next().is_some()
    }

    fn wait_for_replicas(&mut self, is_late: bool, now: Now) {
        if !self.state.server.is_primary() {
            return self.end_handover(now);
        }
        if let Some(handover) = &self.state.server.ending.handover {
            // That it does not follow any more may be the first sign of its success. If it is gone,
            // so is the connection on which it was asked.
            if now.instant < handover.until {
                return;
            }
            self.give_up_handover("it took too long");
        }
        if !is_late && self.hands_over() && self.begin_handover(now) {
            return;
        }
        let server = &self.state.server;
        if is_late || server.replication.has_all_up_to(server.ending.offset) {
            server
                .replication
                .report_lagging(server.ending.offset, now.instant);
            self.save_at_the_end(now);
        }
    }

    /// Asks the next replica that has all writes to take over, if there is one.
    fn begin_handover(&mut self, now: Now) -> bool {
        let server = &mut self.state.server;
        let Stage::Waiting { until } = server.ending.stage else {
            return false;
        };
        let (offset, tried) = (server.ending.offset, &server.ending.tried);
        let cluster = server.cluster.as_ref();
        let candidates = server.replication.heirs(offset);
        let is_barred = |address: &_| cluster.is_some_and(|cluster| cluster.is_barred(address));
        let candidates =
            candidates.filter(|address| !tried.contains(address) && !is_barred(address));
        let heir = candidates.max_by_key(|address| {
            cluster.is_some_and(|cluster| cluster.is_fit_to_take_over(address))
        });
        let Some(address) = heir else {
            return false;
        };
        tracing::info!(replica = %address, "Asking a replica to take over before shutting down.");
        let token = self.roles.connect(Role::Heir);
        server.ending.handover = Some(Handover {
            address: address.clone(),
            token,
            connection: None,
            preludes: 0,
            until: until.min(now.instant + HANDOVER_TIMEOUT),
        });
        self.actions.push_back(Action::Connect { token, address });
        true
    }

    /// The connection to the replica that is to take over is open.
    pub(super) fn open_heir(&mut self, connection: ConnectionId, token: ConnectToken) {
        let server = &mut self.state.server;
        let handover = server.ending.handover.as_mut();
        let Some(handover) = handover.filter(|handover| handover.token == token) else {
            let when = CloseWhen::Now;
            return self.actions.push_back(Action::Close { connection, when });
        };
        handover.connection = Some(connection);
        let settings = &server.replication.settings;
        let out = self.channels[connection.index as usize].output.buffer();
        if !settings.password.is_empty() {
            // What it may answer besides OK shows in the next reply.
            handover.preludes = 1;
            match settings.user.as_str() {
                "" => encode::request(out, &["AUTH", &settings.password]),
                user => encode::request(out, &["AUTH", user, &settings.password]),
            }
        }
        encode::request(out, &["CLUSTER", "FAILOVER"]);
        self.wake(connection);
    }

    pub(super) fn refuse_heir(&mut self, token: ConnectToken, error: &ConnectError) {
        let handover = self.state.server.ending.handover.as_ref();
        if handover.is_some_and(|handover| handover.token == token) {
            self.give_up_handover(&error.to_string());
        }
    }

    /// The replica has answered.
    pub(super) fn take_heir_input(&mut self, connection: ConnectionId, input: &mut BytesMut) {
        loop {
            let handover = self.state.server.ending.handover.as_mut();
            let handover = handover.filter(|handover| handover.connection == Some(connection));
            let (Some(handover), Some(end)) =
                (handover, input.iter().position(|byte| *byte == b'\n'))
            else {
                if input.len() > ANSWER_MAX {
                    self.give_up_handover("its answer is too long");
                }
                return;
            };
            let line = input.split_to(end + 1);
            if handover.preludes > 0 {
                handover.preludes -= 1;
            } else if !line.starts_with(b"+OK") {
                let text = String::from_utf8_lossy(&line);
                self.give_up_handover(text.trim_end());
            }
        }
    }

    /// The connection to the replica is gone. What it has agreed to, it does without.
    pub(super) fn lose_heir(&mut self, connection: ConnectionId) {
        self.channels[connection.index as usize] = Channel::default();
        let handover = self.state.server.ending.handover.as_ref();
        if handover.is_some_and(|handover| handover.connection == Some(connection)) {
            self.give_up_handover("it has closed the connection");
        }
    }

    /// Another replica may be asked, or else the node ends without.
    fn give_up_handover(&mut self, reason: &str) {
        let Some(handover) = self.close_heir() else {
            return;
        };
        let replica = &handover.address;
        tracing::warn!(%replica, reason, "The replica does not take over.");
        self.state.server.ending.tried.push(handover.address);
    }

    fn close_heir(&mut self) -> Option<Handover> {
        let handover = self.state.server.ending.handover.take()?;
        if let Some(connection) = handover.connection {
            let when = CloseWhen::Now;
            self.actions.push_back(Action::Close { connection, when });
        }
        Some(handover)
    }

    /// A replica has taken over: whoever waits is sent there.
    fn end_handover(&mut self, now: Now) {
        tracing::info!("Another node has taken over; shutting down.");
        self.close_heir();
        self.state.server.ending.has_handed_over = true;
        self.release_writes(Hold::No, now);
        self.check_blocked();
        self.answer_blocked(now);
        self.save_at_the_end(now);
    }

    fn release_writes(&mut self, hold: Hold, now: Now) {
        self.state.server.replication.hold(hold);
        self.settle_replication(now);
    }

    /// Saves all keys, if they are to be saved. Nothing is written any more meanwhile.
    fn save_at_the_end(&mut self, now: Now) {
        self.close_heir();
        let server = &mut self.state.server;
        let saves = server.ending.how.saves;
        if !saves.unwrap_or_else(|| server.saves_at_the_end()) {
            return self.part(now);
        }
        tracing::info!("Saving the final RDB snapshot before exiting.");
        server.ending.stage = Stage::Saving;
        if server.is_primary() {
            server.replication.hold(Hold::Writes);
        }
        let target = SaveTarget::File;
        let waiter = Some(Waiter::End);
        begin_save(&mut self.state.keyspace, server, target, waiter, now);
        self.announce_save(now);
    }

    /// The save that belongs to the end is over.
    pub(super) fn end_final_save(&mut self, succeeded: bool, now: Now) {
        if self.state.server.ending.stage != Stage::Saving {
            return;
        }
        if succeeded {
            return self.part(now);
        }
        if self.state.server.ending.how.is_forced {
            tracing::warn!("Error trying to save the DB, but forced to exit anyway.");
            return self.part(now);
        }
        tracing::error!("Errors trying to shut down the server. Check the logs.");
        self.call_off_end(now);
    }

    /// Sends clients of a cluster elsewhere for a moment, so that as few requests as possible are
    /// under way when the connections close. Those would never know what has become of them.
    fn part(&mut self, now: Now) {
        let server = &mut self.state.server;
        let cluster = server.cluster.as_ref().filter(|cluster| cluster.has_bus());
        let quiet = match cluster {
            Some(_) if server.ending.has_handed_over => Quiet::Moved,
            Some(cluster) if cluster.owns_any_slot() && !server.ending.how.is_now => Quiet::Refused,
            _ => return self.begin_closing(now),
        };
        let began = now.instant;
        server.ending.stage = Stage::Parting { began, quiet };
        if quiet == Quiet::Refused {
            self.release_writes(Hold::Refuses, now);
        }
    }

    /// Closes all connections once their replies are written, and takes no new ones.
    fn begin_closing(&mut self, now: Now) {
        let until = now.instant + CLOSING_MAX;
        self.state.server.ending.stage = Stage::Closing { until };
        self.actions.push_back(Action::Notify(Notice::Closing));
        self.drain();
        if self.is_deserted() {
            self.go_on_with_end(now);
        }
    }

    /// Closes all clients and replicas once their output is written.
    pub(super) fn drain(&mut self) {
        self.state.server.draining = true;
        let sessions = self.state.sessions.iter();
        let others = sessions.filter(|session| session.kind != Kind::Primary);
        let all: Vec<ConnectionId> = others.map(|session| session.connection).collect();
        for connection in all {
            self.close(connection, CloseWhen::Flushed);
        }
    }

    fn is_deserted(&self) -> bool {
        let mut sessions = self.state.sessions.iter();
        sessions.all(|session| session.kind == Kind::Primary)
    }

    /// The node goes on as if nobody had asked.
    fn call_off_end(&mut self, now: Now) {
        self.close_heir();
        let ending = std::mem::take(&mut self.state.server.ending);
        for waiter in ending.waiters {
            self.answer_late(waiter, FAILED, now);
        }
        self.release_writes(Hold::No, now);
        if !self.state.server.propagation.is_empty() {
            self.hand_over(now);
        }
    }
}

/// How long a replica may take, as after CLUSTER FAILOVER.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long clients may take to read what they are still owed.
const CLOSING_MAX: Duration = Duration::from_millis(500);

/// No answer of a replica has so many bytes.
const ANSWER_MAX: usize = 16 * 1024;

const FAILED: &[u8] = b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n";
