//! Following a primary: connects, asks for what is missing, takes all keys if need be, and runs
//! what the primary sends.

use bytes::{Buf, Bytes, BytesMut};
use core::time::Duration;
use slotway_protocol::engine::{Action, CloseWhen, ConnectToken, ConnectionId, Instant, Now};
use slotway_protocol::resp::{RequestLimits, Scan, encode};

use super::Node;
use super::roles::Role;
use super::session::Kind;
use crate::command::Random;
use crate::config::DisklessLoad;
use crate::ending::Stage;
use crate::keyspace::ExpiryRule;
use crate::replication::transfer::Transfer;
use crate::replication::upstream::{Credentials, Form, LINE_MAX, Step, Verdict};
use crate::replication::{Link, RETRY_DELAY};
use crate::script::Restore;

/// What is kept for the connection to the primary.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The keys that are arriving.
    transfer: Option<Box<Transfer>>,
    /// The id and offset behind the keys that are going to come.
    promised: Option<(String, u64)>,
    /// What was run of the stream and not passed on to our own replicas: at most one transaction
    /// that is not complete.
    unfed: Vec<u8>,
    /// So much of that is complete.
    complete: usize,
    next_ack: Instant,
    /// The keys are loaded slowly, as `key-load-delay` wants it: what has come waits until then.
    pub(super) next_keys: Option<Instant>,
}

impl Node {
    /// Does what has to be done after this node has begun to follow another, or nobody.
    pub(super) fn turn(&mut self, now: Now) {
        self.state.server.replication.turned = false;
        self.drop_link(now);
        let follows = self.state.server.replication.primary().is_some();
        let retry_at = follows.then_some(now.instant);
        self.state.server.replication.link = Link::None { retry_at };
        if !follows {
            tracing::info!("this node is a primary now");
            self.disconnect_replicas();
        }
        self.state.server.propagation.select_again();
        self.state.update_listening();
        self.refuse_waiters(now);
        self.tend_link(now);
    }

    /// Nobody on a replica waits for its replicas.
    fn refuse_waiters(&mut self, now: Now) {
        if self.state.server.replication.primary().is_none() {
            return;
        }
        let waiting = &mut self.state.server.replication.waiting;
        for waiter in std::mem::take(&mut waiting.acknowledged) {
            self.answer_late(waiter.connection, UNBLOCKED, now);
            self.close(waiter.connection, CloseWhen::Flushed);
        }
    }

    /// Connects when it is time, and gives up on a primary that is silent. Called ten times a
    /// second, and when anything has changed.
    pub(super) fn tend_link(&mut self, now: Now) {
        if self.state.server.loading.is_some() {
            // What a primary sends must not mix with what the files hold.
            return;
        }
        let replication = &self.state.server.replication;
        let Some(primary) = replication.primary().cloned() else {
            return;
        };
        let is_silent = now.instant.since(replication.last_io) > replication.settings.timeout;
        match &replication.link {
            Link::None { retry_at } if retry_at.is_some_and(|at| now.instant >= at) => {
                tracing::info!(%primary, "Connecting to MASTER");
                let token = self.roles.connect(Role::PrimaryLink);
                let replication = &mut self.state.server.replication;
                replication.link = Link::Connecting(token);
                replication.last_io = now.instant;
                let address = primary;
                self.actions.push_back(Action::Connect { token, address });
            }
            Link::Talking(..) | Link::Receiving(_) | Link::Up(_) if is_silent => {
                tracing::warn!("MASTER timeout: no data nor PING received...");
                self.drop_link(now);
                self.retry(now.instant);
            }
            Link::Up(_) if now.instant >= self.following.next_ack => self.acknowledge(now.instant),
            _ => {}
        }
    }

    fn retry(&mut self, at: Instant) {
        self.state.server.replication.link = Link::None { retry_at: Some(at) };
    }

    /// Closes the connection to the primary, and forgets what was under way on it.
    fn drop_link(&mut self, now: Now) {
        let replication = &mut self.state.server.replication;
        if replication.is_up() {
            replication.down_since = now.instant;
        }
        replication.set_loading(None);
        let connection = replication.link.connection();
        replication.link = Link::None { retry_at: None };
        self.following = Following {
            next_ack: self.following.next_ack,
            ..Following::default()
        };
        if let Some(connection) = connection {
            self.close(connection, CloseWhen::Now);
        }
    }

    /// The connection is open.
    pub(super) fn open_link(&mut self, connection: ConnectionId, token: ConnectToken, now: Now) {
        let replication = &mut self.state.server.replication;
        if !matches!(replication.link, Link::Connecting(awaited) if awaited == token) {
            return self.close(connection, CloseWhen::Now);
        }
        replication.last_io = now.instant;
        let out = self.channels[connection.index as usize].output.buffer();
        replication.link = Link::Talking(connection, Step::begin(out));
        if let Some(session) = self.state.sessions.find(connection) {
            session.kind = Kind::Primary;
            session.authenticated = true;
        }
        self.wake(connection);
    }

    pub(super) fn refuse_link(&mut self, token: ConnectToken, now: Now) {
        let replication = &self.state.server.replication;
        if matches!(replication.link, Link::Connecting(awaited) if awaited == token) {
            tracing::warn!("Error condition on socket for SYNC: can't connect");
            self.retry(now.instant + RETRY_DELAY);
        }
    }

    /// The connection is gone, and it was not this node that closed it.
    pub(super) fn lose_link(&mut self, connection: ConnectionId, now: Now) {
        let replication = &mut self.state.server.replication;
        if replication.link.connection() != Some(connection) {
            return;
        }
        tracing::warn!("Connection with master lost.");
        replication.link_was_reset = true;
        // The cluster has to know that this node has had all, however short that was.
        self.note_standing();
        let replication = &mut self.state.server.replication;
        // One that was up is tried again at once.
        let delay = if replication.is_up() {
            Duration::ZERO
        } else {
            RETRY_DELAY
        };
        self.drop_link(now);
        self.retry(now.instant + delay);
    }

    /// Takes what the primary has sent.
    pub(super) fn take_link_input(
        &mut self,
        connection: ConnectionId,
        input: &mut BytesMut,
        now: Now,
    ) {
        if self.pause_link(connection) {
            return;
        }
        while self.state.server.replication.link.connection() == Some(connection) {
            self.state.server.replication.last_io = now.instant;
            match self.state.server.replication.link {
                Link::Talking(..) => {
                    let Some(line) = take_line(input) else {
                        if input.len() > LINE_MAX {
                            self.give_up_link("a line is too long", now);
                        }
                        break;
                    };
                    if !line.is_empty() {
                        self.take_line(connection, &line, now);
                    }
                }
                Link::Receiving(_) if self.following.next_keys.is_some() => break,
                Link::Receiving(_) if !input.is_empty() => self.take_keys(connection, input, now),
                Link::Up(_) => {
                    self.apply(connection, input, now);
                    break;
                }
                Link::Receiving(_) | Link::None { .. } | Link::Connecting(_) => break,
            }
        }
        if self.state.server.replication.link.connection() != Some(connection) {
            input.clear();
        }
        self.wake(connection);
    }

    fn give_up_link(&mut self, reason: &str, now: Now) {
        tracing::warn!(reason, "MASTER <-> REPLICA sync is given up");
        self.drop_link(now);
        self.retry(now.instant + RETRY_DELAY);
    }

    /// Takes a line of the conversation before the stream.
    fn take_line(&mut self, connection: ConnectionId, line: &[u8], now: Now) {
        let replication = &mut self.state.server.replication;
        let settings = &replication.settings;
        let credentials = Credentials {
            user: settings.user.clone(),
            password: settings.password.clone(),
            port: settings.announced_port,
            address: settings.announced_host.clone(),
            position: replication.position(),
        };
        let Link::Talking(_, step) = &mut replication.link else {
            return;
        };
        let out = self.channels[connection.index as usize].output.buffer();
        match step.handle_line(line, &credentials, out) {
            Verdict::Wait => {}
            Verdict::Continue(id) => self.continue_stream(connection, id, now),
            Verdict::Everything { id, offset } => {
                tracing::info!(id, offset, "Full resync from master");
                self.following.promised = Some((id, offset));
            }
            Verdict::Keys(form) => self.begin_keys(connection, form),
            Verdict::GiveUp(reason) => self.give_up_link(&reason, now),
        }
    }

    /// The stream goes on where it was.
    fn continue_stream(&mut self, connection: ConnectionId, id: Option<String>, now: Now) {
        tracing::info!("MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.");
        if self.state.server.replication.go_on(connection, id) {
            // Our own replicas have to learn of the new id.
            self.disconnect_replicas();
        }
        self.state.update_listening();
        let database = self.state.server.replication.stream_database;
        if let Some(session) = self.state.sessions.find(connection) {
            session.database = database;
        }
        self.acknowledge(now.instant);
    }

    fn begin_keys(&mut self, connection: ConnectionId, form: Form) {
        let seed = self.state.random.next();
        let keyspace = self.state.keyspace.empty_twin(Random::new(seed).next());
        let databases = self.state.server.databases();
        let checks = self.state.server.config.rdbchecksum;
        let mut transfer = Transfer::new(keyspace, databases, form, checks);
        let mut id = None;
        if let Some((promised, offset)) = self.following.promised.take() {
            id = Some(promised.clone());
            transfer.id = Some(promised);
            transfer.offset = offset;
        }
        self.following.transfer = Some(Box::new(transfer));
        // Beside keys of the same stream, if from another time, reads are served as before.
        let config = &self.state.server.config;
        let swaps = config.repl_diskless_load == DisklessLoad::Swapdb;
        let replication = &mut self.state.server.replication;
        let is_same = id.is_some_and(|id| id == replication.id());
        replication.link = Link::Receiving(connection);
        replication.set_loading(Some(swaps && is_same));
    }

    /// Loads what has come of the keys.
    fn take_keys(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        let Some(transfer) = &mut self.following.transfer else {
            return;
        };
        let config = &self.state.server.config;
        let delay = u32::try_from(config.key_load_delay).unwrap_or(0);
        let most = match delay {
            0 => usize::MAX,
            _ => config.loading_process_events_interval_bytes as usize,
        };
        let keys_before = transfer.keys();
        let pushed = transfer.push(&input[..input.len().min(most)]);
        let keys = u32::try_from(transfer.keys() - keys_before).unwrap_or(u32::MAX);
        let replication = &mut self.state.server.replication;
        replication.transfer_bytes = (transfer.received(), transfer.left());
        match pushed {
            Err(error) => self.give_up_link(&error.to_string(), now),
            Ok((taken, is_last)) => {
                input.advance(taken);
                if is_last {
                    self.take_over_keys(connection, now);
                } else if delay > 0 && keys > 0 {
                    let delay = Duration::from_micros(delay.into()).saturating_mul(keys);
                    self.following.next_keys = Some(now.instant + delay);
                    self.actions.push_back(Action::Pause(connection));
                }
            }
        }
    }

    /// Goes on with keys that are loaded slowly.
    pub(super) fn continue_slow_keys(&mut self, now: Now) {
        if self
            .following
            .next_keys
            .is_none_or(|next| now.instant < next)
        {
            return;
        }
        self.following.next_keys = None;
        if let Link::Receiving(connection) = self.state.server.replication.link {
            self.actions.push_back(Action::Resume(connection));
        }
    }

    /// All keys are there: they take the place of those that were.
    fn take_over_keys(&mut self, connection: ConnectionId, now: Now) {
        let Some(transfer) = self.following.transfer.take() else {
            return;
        };
        let (id, offset) = (transfer.id.clone(), transfer.offset);
        let (keyspace, position, libraries) = match transfer.finish() {
            Ok(finished) => finished,
            Err(error) => return self.give_up_link(&error.to_string(), now),
        };
        let scripts = &mut self.state.server.scripts;
        if let Err(text) = scripts.restore_libraries(&libraries, Restore::Flush) {
            let why = String::from_utf8_lossy(&text).into_owned();
            return self.give_up_link(&why, now);
        }
        self.state.keyspace.take_over(keyspace);
        self.state.mark_disturbed();
        let database = position.database.unwrap_or(0);
        let replication = &mut self.state.server.replication;
        replication.begin_anew(connection, id, offset);
        replication.stream_database = database;
        replication.set_loading(None);
        replication.reloaded = true;
        if let Some(session) = self.state.sessions.find(connection) {
            session.database = database;
        }
        self.disconnect_replicas();
        self.state.server.propagation.select_again();
        self.state.update_listening();
        self.acknowledge(now.instant);
        self.close_log();
        tracing::info!(
            keys = self.len(),
            "MASTER <-> REPLICA sync: Finished with success"
        );
    }

    /// Tells the primary how far this node is.
    pub(super) fn acknowledge(&mut self, now: Instant) {
        let replication = &mut self.state.server.replication;
        replication.ack_wished = false;
        let Link::Up(connection) = replication.link else {
            return;
        };
        self.following.next_ack = now + ACK_PERIOD;
        let offset = replication.offset().to_string();
        let out = self.channels[connection.index as usize].output.buffer();
        encode::request(out, &["REPLCONF", "ACK", &offset]);
        self.wake(connection);
    }

    /// Runs what is complete of the stream.
    fn apply(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        if self.state.server.ending.stage == Stage::Over {
            // The file is closed with what it says of this node's place in the stream.
            return input.clear();
        }
        let index = connection.index as usize;
        // The primary alone knows what has expired.
        self.state.keyspace.set_now(0);
        self.state.keyspace.expiry = ExpiryRule::Keep;
        let limits = RequestLimits {
            bulk_bytes_max: u64::from(u32::MAX),
            ..RequestLimits::default()
        };
        let (mut consumed, mut reply) = (0, Vec::new());
        while consumed < input.len() {
            let rest = &input[consumed..];
            let scanner = &mut self.state.sessions[index].scanner;
            let length = match scanner.scan(rest, &limits, &mut self.buffers) {
                Ok(Scan::Incomplete) => break,
                Ok(Scan::Empty { consumed }) => consumed,
                Ok(Scan::Request { consumed: length }) => {
                    let request = self.buffers.request(&rest[..length]);
                    self.state.execute(index, request, &mut reply, now);
                    if reply.first() == Some(&b'-') {
                        let reply = String::from_utf8_lossy(&reply);
                        tracing::error!(%reply, "a write of the primary was refused");
                    }
                    reply.clear();
                    length
                }
                Err(error) => {
                    // What is behind this can't be told, so the keys have to come anew.
                    self.state.server.replication.is_astray = true;
                    return self.give_up_link(&error.to_string(), now);
                }
            };
            self.following.unfed.extend_from_slice(&rest[..length]);
            consumed += length;
            self.note_applied(index);
            if self.state.server.replication.ack_wished {
                self.acknowledge(now.instant);
            }
            if self.state.server.replication.turned {
                break;
            }
        }
        input.advance(consumed);
        self.state.begin_turn(now);
        self.pass_on();
    }

    /// Counts what was run, but for a transaction that is not complete: it has not happened yet.
    fn note_applied(&mut self, index: usize) {
        let session = &self.state.sessions[index];
        if session.transaction.is_open() {
            return;
        }
        let following = &mut self.following;
        let bytes = following.unfed.len() - following.complete;
        following.complete = following.unfed.len();
        let replication = &mut self.state.server.replication;
        replication.process(bytes as u64);
        replication.stream_database = session.database;
    }

    /// Gives our own replicas what has happened, byte by byte as it came.
    fn pass_on(&mut self) {
        let following = &mut self.following;
        if following.complete > 0 {
            let rest = following.unfed.split_off(following.complete);
            let bytes = Bytes::from(std::mem::replace(&mut following.unfed, rest));
            following.complete = 0;
            self.feed(&bytes);
        }
    }
}

/// Takes a line off the front, without its end.
fn take_line(input: &mut BytesMut) -> Option<Vec<u8>> {
    let end = input
        .iter()
        .take(LINE_MAX)
        .position(|byte| *byte == b'\n')?;
    let mut line = input.split_to(end + 1).to_vec();
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(line)
}

/// How often a replica says how far it is, unasked.
const ACK_PERIOD: Duration = Duration::from_secs(1);

const UNBLOCKED: &[u8] = b"-UNBLOCKED force unblock from blocking operation, instance state \
    changed (master -> replica?)\r\n";
