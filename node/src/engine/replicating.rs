//! Being followed: sends replicas what they ask for, all keys or what they have missed, and then
//! all that is produced.

use bytes::Bytes;
use core::time::Duration;
use slotway_protocol::engine::{CloseWhen, ConnectionId, Instant, Now};
use slotway_protocol::resp::encode;

use super::session::Replies;
use super::{Channel, Node};
use crate::REDIS_VERSION;
use crate::keyspace::{Reader, SnapshotStep};
use crate::persistence::rdb::{About, Saver, StreamPosition};
use crate::replication::propagation::Listener;
use crate::replication::replica::{Phase, Replica, Wish};
use crate::server_state::hexadecimal_id;

/// All keys on their way to the replicas that have asked for them together.
#[derive(Debug)]
pub(super) struct FullSync {
    /// What comes behind the keys for replicas that look for it.
    mark: Vec<u8>,
    /// All that was made so far, for replicas that have to be told the length first.
    file: Option<Vec<Bytes>>,
    file_bytes: u64,
}

impl Node {
    /// Gives bytes of the stream to all who follow it.
    pub(super) fn feed(&mut self, bytes: &Bytes) {
        let replication = &mut self.state.server.replication;
        if let Some(backlog) = &mut replication.backlog {
            backlog.append(bytes);
        }
        let mut woken = Vec::new();
        for replica in &mut replication.replicas {
            match replica.phase {
                Phase::Online => woken.push(replica.connection),
                Phase::Receiving { .. } | Phase::Loading | Phase::Ready => replica.hold(bytes),
                Phase::Introducing | Phase::Asking(_) | Phase::Waiting { .. } => {}
            }
        }
        for connection in woken {
            self.channel(connection).output.push_shared(bytes.clone());
            self.wake(connection);
        }
    }

    /// Produces what is for replicas only.
    fn feed_replicas(&mut self, args: &[&str]) {
        let mut bytes = Vec::new();
        encode::request(&mut bytes, args);
        self.state.server.replication.produce(bytes.len() as u64);
        self.feed(&Bytes::from(bytes));
    }

    /// Answers the replicas and the clients that have asked for something in this turn.
    pub(super) fn answer_replicas(&mut self, now: Now) {
        self.state.server.replication.is_asked = false;
        if std::mem::take(&mut self.state.server.replication.waiting.asks) {
            self.feed_replicas(&["REPLCONF", "GETACK", "*"]);
        }
        for index in 0..self.state.server.replication.replicas.len() {
            let replica = &mut self.state.server.replication.replicas[index];
            let connection = replica.connection;
            match replica.phase.clone() {
                Phase::Asking(wish) => self.answer_wish(connection, &wish, now),
                Phase::Ready => {
                    replica.phase = Phase::Online;
                    self.put_online(connection);
                }
                _ => {}
            }
        }
        self.state.server.replication.count_good(now.instant);
        self.begin_full_sync(now);
        self.answer_waiters(now);
        self.run_postponed(now);
    }

    fn answer_wish(&mut self, connection: ConnectionId, wish: &Wish, now: Now) {
        let replication = &mut self.state.server.replication;
        let can_continue = replication.can_continue(wish);
        let id = replication.id().to_owned();
        let counts = &mut replication.counts;
        if let Wish::Continue { id, .. } = wish
            && id != "?"
            && !can_continue
        {
            counts.partial_refused += 1;
        }
        let Some(replica) = replication.replica(connection) else {
            return;
        };
        if let (true, Wish::Continue { offset, .. }) = (can_continue, wish) {
            let answer = if replica.knows_ids {
                format!("+CONTINUE {id}\r\n")
            } else {
                "+CONTINUE\r\n".to_owned()
            };
            replica.phase = Phase::Online;
            let name = format!("{}:{}", replica.host(), replica.port);
            tracing::info!(replica = name, "Partial resynchronization request accepted");
            replication.counts.partial += 1;
            let missed = offset.and_then(|offset| replication.backlog.as_ref()?.from(offset));
            let missed = missed.map(|(one, two)| [one, two].concat());
            let output = &mut self.channels[connection.index as usize].output;
            output.push(answer.as_bytes());
            output.push_shared(Bytes::from(missed.unwrap_or_default()));
        } else {
            let psync = *wish != Wish::Everything;
            replica.phase = Phase::Waiting { psync };
            replica.took_at = now.instant;
        }
        if let Some(session) = self.state.sessions.find(connection) {
            session.waiting = false;
        }
        self.resume(connection, now);
        self.wake(connection);
    }

    /// Begins to send all keys to those who wait for them, unless it is being done for others.
    fn begin_full_sync(&mut self, now: Now) {
        let is_waiting = |replica: &Replica| matches!(replica.phase, Phase::Waiting { .. });
        let replicas = &self.state.server.replication.replicas;
        if self.full_sync.is_some() || !replicas.iter().any(is_waiting) {
            return;
        }
        if !self.state.server.propagation.is_empty() {
            self.hand_over(now);
        }
        self.state.server.replication.begin_backlog();
        self.state.update_listening();
        // Who begins to read here knows of no SELECT before.
        self.state.server.propagation.select_again();
        let (server, keyspace) = (&mut self.state.server, &mut self.state.keyspace);
        let replication = &mut server.replication;
        let follows = replication.primary().is_some();
        let (id, offset) = (replication.id().to_owned(), replication.offset());
        let about = About {
            server_version: REDIS_VERSION,
            unix_seconds: now.unix_ms / 1_000,
            memory: keyspace.memory(),
            is_aof_base: false,
            position: Some(StreamPosition {
                id: &id,
                offset,
                database: if follows {
                    replication.stream_database
                } else {
                    0
                },
            }),
        };
        let mut saver = Saver::new(
            about,
            server.config.rdbcompression,
            server.config.rdbchecksum,
        );
        saver.libraries(server.scripts.libraries.codes());
        let buffer_max = usize::try_from(server.config.save_buffer_max).unwrap_or(usize::MAX);
        keyspace.begin_snapshot(Reader::Replicas, saver, buffer_max);
        let mark = hexadecimal_id(&mut self.state.random);
        let is_diskless = replication.settings.is_diskless;
        let (mut file, mut begun) = (None, Vec::new());
        for replica in &mut replication.replicas {
            let Phase::Waiting { psync } = replica.phase else {
                continue;
            };
            let by_mark = replica.knows_end_mark && is_diskless;
            replica.phase = Phase::Receiving { by_mark };
            replica.took_at = now.instant;
            replication.counts.full += 1;
            let mut answer = String::new();
            if psync {
                answer = format!("+FULLRESYNC {id} {offset}\r\n");
            }
            if by_mark {
                answer.push_str(&format!("$EOF:{mark}\r\n"));
            } else {
                file = Some(Vec::new());
            }
            begun.push((replica.connection, answer));
        }
        for (connection, answer) in begun {
            self.channel(connection).output.push(answer.as_bytes());
            self.wake(connection);
        }
        self.full_sync = Some(FullSync {
            mark: mark.into_bytes(),
            file,
            file_bytes: 0,
        });
        self.next_piece = Some(now.instant);
    }

    /// The replicas that get the keys now, and whether each looks for the mark.
    fn receivers(&self) -> Vec<(ConnectionId, bool)> {
        let replicas = self.state.server.replication.replicas.iter();
        let receivers = replicas.filter_map(|replica| match replica.phase {
            Phase::Receiving { by_mark } => Some((replica.connection, by_mark)),
            _ => None,
        });
        receivers.collect()
    }

    /// Makes the next piece of the keys, once all who receive them have taken most of the last.
    pub(super) fn continue_full_sync(&mut self, now: Now) {
        self.next_piece = None;
        let receivers = self.receivers();
        if self.full_sync.is_none() {
            return;
        }
        if receivers.is_empty() {
            self.end_full_sync(now);
            return;
        }
        let is_full = |(connection, _): &(ConnectionId, bool)| {
            self.channels[connection.index as usize].output_len() > SYNC_OUTPUT_MAX
        };
        if receivers.iter().any(is_full) {
            return;
        }
        // With a delay, about one key is made at a time.
        let delay = u32::try_from(self.config().rdb_key_save_delay).unwrap_or(0);
        let bytes = if delay == 0 { PIECE_BYTES } else { 1 };
        let keyspace = &mut self.state.keyspace;
        match keyspace.continue_snapshot(Reader::Replicas, bytes) {
            SnapshotStep::Bytes(bytes) => {
                self.send_piece(&receivers, Bytes::from(bytes));
                self.next_piece = Some(now.instant + Duration::from_micros(delay.into()));
            }
            SnapshotStep::Last(bytes) => {
                self.send_piece(&receivers, Bytes::from(bytes));
                self.finish_full_sync(&receivers, now);
                self.end_full_sync(now);
            }
            SnapshotStep::GivenUp => {
                tracing::warn!("sending all keys was given up: too much was changed meanwhile");
                for (connection, _) in receivers {
                    self.close(connection, CloseWhen::Now);
                }
                self.end_full_sync(now);
            }
        }
    }

    fn send_piece(&mut self, receivers: &[(ConnectionId, bool)], bytes: Bytes) {
        for (connection, _) in receivers.iter().filter(|(_, by_mark)| *by_mark) {
            self.channel(*connection).output.push_shared(bytes.clone());
            self.wake(*connection);
        }
        let hard = self.state.server.replication.settings.output_hard;
        let Some(sync) = &mut self.full_sync else {
            return;
        };
        if let Some(file) = &mut sync.file {
            sync.file_bytes += bytes.len() as u64;
            file.push(bytes);
            if hard > 0 && sync.file_bytes > hard {
                tracing::warn!("replicas that need the length of all keys can't get so many");
                sync.file = None;
                for (connection, _) in receivers.iter().filter(|(_, by_mark)| !by_mark) {
                    self.close(*connection, CloseWhen::Now);
                }
            }
        }
    }

    /// All keys are on their way.
    fn finish_full_sync(&mut self, receivers: &[(ConnectionId, bool)], now: Now) {
        let Some(sync) = self.full_sync.take() else {
            return;
        };
        for (connection, by_mark) in receivers {
            let Some(replica) = self.state.server.replication.replica(*connection) else {
                continue;
            };
            replica.acked_at = now.instant;
            if *by_mark {
                replica.phase = Phase::Loading;
                self.channel(*connection).output.push(&sync.mark);
                self.wake(*connection);
            } else if let Some(file) = &sync.file {
                replica.phase = Phase::Online;
                let header = format!("${}\r\n", sync.file_bytes);
                let output = &mut self.channel(*connection).output;
                output.push(header.as_bytes());
                file.iter()
                    .for_each(|piece| output.push_shared(piece.clone()));
                self.put_online(*connection);
            }
        }
    }

    fn end_full_sync(&mut self, now: Now) {
        self.full_sync = None;
        self.state.keyspace.end_snapshot(Reader::Replicas);
        self.begin_full_sync(now);
    }

    /// Sends a replica what was produced while it got the keys.
    fn put_online(&mut self, connection: ConnectionId) {
        let Some(replica) = self.state.server.replication.replica(connection) else {
            return;
        };
        let held = replica.take_held();
        let output = &mut self.channel(connection).output;
        held.into_iter().for_each(|bytes| output.push_shared(bytes));
        self.wake(connection);
        tracing::info!("Synchronization with replica succeeded");
    }

    /// A replica has taken bytes.
    pub(super) fn note_replica_took(&mut self, connection: ConnectionId, now: Now) {
        if let Some(replica) = self.state.server.replication.replica(connection) {
            replica.took_at = now.instant;
            if self.full_sync.is_some() && self.next_piece.is_none() {
                self.next_piece = Some(now.instant);
            }
        }
    }

    /// Called ten times a second.
    pub(super) fn tend_replication(&mut self, now: Now) {
        self.state.server.replication.end_pauses(now.instant);
        self.run_postponed(now);
        self.tend_link(now);
        self.tend_replicas(now);
        self.answer_waiters(now);
    }

    /// What replicas are owed from time to time, and which of them are to go. Called ten times a
    /// second.
    pub(super) fn tend_replicas(&mut self, now: Now) {
        let replication = &mut self.state.server.replication;
        if replication.replicas.is_empty() {
            let settings = &replication.settings;
            let is_idle = replication.primary().is_none()
                && replication.backlog.is_some()
                && !settings.backlog_ttl.is_zero()
                && now.instant.since(replication.deserted_at) > settings.backlog_ttl;
            if is_idle {
                replication.end_backlog();
                self.state.update_listening();
            }
            return;
        }
        let follows = replication.primary().is_some();
        let is_paused = replication.is_paused(now.instant);
        let period = replication.settings.ping_period;
        if !follows && !is_paused && now.instant >= self.next_ping {
            self.next_ping = now.instant + period;
            self.feed_replicas(&["PING"]);
        }
        if now.instant >= self.next_second {
            self.next_second = now.instant + SECOND;
            self.state.server.replication.count_good(now.instant);
            self.keep_waiting_alive();
        }
        self.cut_off_replicas(now.instant);
    }

    /// An empty line says that this node lives, to those for which nothing comes yet.
    fn keep_waiting_alive(&mut self) {
        let replicas = self.state.server.replication.replicas.iter();
        let waiting = replicas.filter(|replica| {
            matches!(
                replica.phase,
                Phase::Waiting { .. } | Phase::Receiving { by_mark: false }
            )
        });
        let waiting: Vec<ConnectionId> = waiting.map(|replica| replica.connection).collect();
        for connection in waiting {
            self.channel(connection).output.push(b"\n");
            self.wake(connection);
        }
    }

    /// Closes replicas that are silent, or for which too much waits.
    fn cut_off_replicas(&mut self, now: Instant) {
        let replication = &mut self.state.server.replication;
        let settings = replication.settings.clone();
        let mut cut = Vec::new();
        for replica in &mut replication.replicas {
            let output = self.channels[replica.connection.index as usize]
                .output
                .len();
            let waits = (output + replica.held_bytes) as u64;
            let last = match replica.phase {
                Phase::Online => replica.acked_at,
                _ => replica.took_at.max(replica.acked_at),
            };
            let is_silent = replica.is_replica() && now.since(last) > settings.timeout;
            let is_over = |limit: u64| limit > 0 && waits > limit;
            let since =
                is_over(settings.output_soft).then(|| *replica.behind_since.get_or_insert(now));
            replica.behind_since = since;
            let is_behind = since.is_some_and(|since| now.since(since) > settings.output_soft_time);
            if is_silent || is_behind || is_over(settings.output_hard) {
                cut.push((replica.connection, is_silent));
            }
        }
        for (connection, is_silent) in cut {
            if is_silent {
                tracing::warn!("Disconnecting timedout replica");
            } else {
                tracing::warn!("a replica is cut off: too much waits for it");
            }
            self.close(connection, CloseWhen::Now);
        }
    }

    /// Closes all replicas, so that they ask anew.
    pub(super) fn disconnect_replicas(&mut self) {
        let replicas = self.state.server.replication.replicas.iter();
        let all: Vec<ConnectionId> = replicas.map(|replica| replica.connection).collect();
        for connection in all {
            self.close(connection, CloseWhen::Now);
        }
    }

    /// Answers clients in WAIT that have waited enough.
    pub(super) fn answer_waiters(&mut self, now: Now) {
        if self
            .state
            .server
            .replication
            .waiting
            .acknowledged
            .is_empty()
        {
            return;
        }
        for (connection, count) in self.state.server.replication.take_answered(now.instant) {
            let mut reply = Vec::new();
            encode::integer(&mut reply, count);
            self.answer_late(connection, &reply, now);
        }
    }

    /// Answers a client that waits.
    pub(super) fn answer_late(&mut self, connection: ConnectionId, reply: &[u8], now: Now) {
        let Some(session) = self.state.sessions.find(connection) else {
            return;
        };
        let is_answered = session.replies == Replies::On;
        self.answer_later(connection, is_answered, reply, now);
    }

    fn channel(&mut self, connection: ConnectionId) -> &mut Channel {
        &mut self.channels[connection.index as usize]
    }

    /// Tries again what was to wait, when a pause is over.
    pub(super) fn run_postponed(&mut self, now: Now) {
        let waiting = &mut self.state.server.replication.waiting;
        if !std::mem::take(&mut waiting.released) {
            return;
        }
        for connection in std::mem::take(&mut waiting.postponed) {
            self.answer_late(connection, b"", now);
        }
    }
}

impl super::State {
    /// Has the stream made while anybody may ask for it.
    pub(super) fn update_listening(&mut self) {
        let replication = &self.server.replication;
        let on = replication.primary().is_none() && replication.backlog.is_some();
        if self.server.propagation.is_heard_by(Listener::Replicas) != on {
            self.server.propagation.listen(Listener::Replicas, on);
        }
    }
}

/// How much of the keys is made in one go, about; takes less than a millisecond or two.
const PIECE_BYTES: usize = 256 * 1024;

/// No more is made while so much waits for a replica.
const SYNC_OUTPUT_MAX: usize = 1024 * 1024;

const SECOND: Duration = Duration::from_secs(1);
