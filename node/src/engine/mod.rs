//! The node as a state machine: connections, bytes, events and time go in, replies come out.

mod appending;
mod blocking;
pub(crate) mod bus;
mod channels;
pub(crate) mod configuring;
mod ending;
pub(crate) mod execute;
mod following;
mod guard;
mod input;
mod loading;
mod migrating;
mod outside;
mod publishing;
mod replay;
mod replicating;
mod rewriting;
pub(crate) mod roles;
mod saving;
mod scripting;
pub(crate) mod session;
pub(crate) mod transaction;
mod withholding;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::BytesMut;
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{
    Action, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Interrupted, Now,
    Origin, Peer,
};
use slotway_protocol::output::Output;
use slotway_protocol::resp::{RequestBuffers, RequestLimits};

use crate::cluster::{Cluster, ClusterView, Settings};
use crate::command::{Dispatch, Random};
use crate::config::{Config, NodeConfig};
use crate::keyspace::{Exported, Keyspace};
use crate::report::Report;
use crate::server_state::ServerState;
use crate::statistics::Probe;
use bus::BusConnections;
use channels::Channel;
use following::Following;
use guard::PROTECTED;
use input::{OUTPUT_RESUME, limits};
use replicating::FullSync;
use roles::{Role, Roles};
use session::Sessions;

pub use appending::{AofEvent, AofPart, AofSizes};
pub use bus::BUS_LISTENER;
pub use configuring::{ConfigOutcome, ConfigWork};
pub use loading::{FileKind, LoadCut, LoadFailure, LoadPart, LoadReply};
pub use outside::{Event, Notice};
pub use saving::{Loading, SavePart};

/// A node. Drive it through [`Engine`].
pub struct Node {
    pub(crate) state: State,
    /// By the index of the connection.
    channels: Vec<Channel>,
    roles: Roles,
    bus: BusConnections,
    buffers: RequestBuffers,
    limits: RequestLimits,
    actions: VecDeque<Action<Notice>>,
    next_tick: Option<Instant>,
    /// What the outside knows of the role.
    was_primary: bool,
    following: Following,
    /// All keys on their way to replicas, and when to go on with them.
    full_sync: Option<FullSync>,
    next_piece: Option<Instant>,
    next_ping: Instant,
    next_second: Instant,
    loading: loading::LoadingFiles,
    /// Connections with replies that wait for the disk.
    withholding: Vec<ConnectionId>,
    /// How much the connection had to write that the driver has looked at last.
    offered: usize,
}

/// What a command can touch, apart from the connections' bytes.
pub(crate) struct State {
    pub(crate) keyspace: Keyspace,
    pub(crate) sessions: Sessions,
    pub(crate) server: ServerState,
    pub(crate) dispatch: Dispatch,
    pub(crate) random: Random,
}

impl Node {
    /// A node without keys. `started` is only used for reporting the uptime.
    pub fn new(config: NodeConfig, started: Now) -> Self {
        let NodeConfig {
            config,
            cluster,
            seed,
        } = config;
        let mut random = Random::new(seed);
        let settings = Settings::of(&config);
        let seed = random.next();
        let cluster = cluster.map(|cluster| Cluster::new(cluster, settings, seed));
        let limits = limits(&config);
        let mut keyspace = Keyspace::new(cluster.is_some(), random.next());
        keyspace.set_now(started.unix_ms);
        Self {
            state: State {
                keyspace,
                sessions: Sessions::default(),
                server: ServerState::new(config, cluster, &mut random, started),
                dispatch: Dispatch::new(),
                random,
            },
            channels: Vec::new(),
            roles: Roles::default(),
            bus: BusConnections::default(),
            buffers: RequestBuffers::default(),
            limits,
            actions: VecDeque::new(),
            next_tick: Some(started.instant + TICK),
            was_primary: true,
            following: Following::default(),
            full_sync: None,
            next_piece: None,
            next_ping: started.instant,
            next_second: started.instant,
            loading: loading::LoadingFiles::default(),
            withholding: Vec::new(),
            offered: 0,
        }
    }

    /// Has it ask for what it can't know by itself; else no command takes any time.
    pub fn with_probe(mut self, probe: Probe) -> Self {
        self.state.server.probe = probe;
        self
    }

    /// Takes a key out, with its value and expiry, to put it into another node.
    pub fn export_key(&mut self, key: &[u8]) -> Option<Exported> {
        self.state.keyspace.export(key)
    }

    /// Takes all keys of a slot out at once.
    pub fn export_slot(&mut self, slot: Slot) -> Vec<Exported> {
        self.state.keyspace.export_slot(slot)
    }

    /// The keys of a slot, at most `count` of them; with expired ones that nobody has asked for
    /// since.
    pub fn slot_keys(&self, slot: Slot, count: usize) -> Vec<Box<[u8]>> {
        let keys = self.state.keyspace.slot_keys(slot, count).into_iter();
        keys.map(Box::from).collect()
    }

    /// Puts a key in, in the place of one of that name.
    pub fn import_key(&mut self, key: Exported) {
        self.state.keyspace.import(key);
    }

    /// What this node knows of its cluster.
    pub fn view(&self) -> Option<&ClusterView> {
        self.state.server.cluster.as_ref().map(Cluster::view)
    }

    /// The number of keys, with expired ones that nobody has asked for since.
    pub fn len(&self) -> usize {
        self.state.keyspace.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the node is.
    pub fn report(&self, now: Now) -> Report {
        Report::of(&self.state, now)
    }

    /// The settings in force.
    pub fn config(&self) -> &Config {
        &self.state.server.config
    }

    /// Panics when the node's parts contradict each other. For tests; slow.
    pub fn check_invariants(&self) {
        self.state.keyspace.check_invariants();
        let subscribed = self.state.sessions.iter().filter_map(|session| {
            let own = session.subscriptions.as_deref()?;
            Some((session.connection, own))
        });
        self.state.server.pubsub.check_invariants(subscribed);
        self.state.check_blocked_invariants();
        for session in self.state.sessions.iter() {
            let channel = &self.channels[session.connection.index as usize];
            assert!(
                !channel.has_visible() || channel.woken,
                "the driver knows of all output"
            );
        }
    }

    /// Tells the outside when the node has become a replica or a primary.
    fn tell_role(&mut self) {
        let is_primary = self.state.server.is_primary();
        if std::mem::replace(&mut self.was_primary, is_primary) != is_primary {
            let notice = Notice::IsPrimary(is_primary);
            self.actions.push_back(Action::Notify(notice));
        }
    }
}

impl Engine for Node {
    type Event = Event;
    type Notice = Notice;

    fn handle_open(&mut self, connection: ConnectionId, peer: Peer, now: Now) {
        let role = self.roles.open(connection, peer.origin, bus::accepted_role);
        let index = connection.index as usize;
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, Channel::default);
        }
        self.channels[index] = Channel::default();
        if role == Role::BusLink {
            return self.open_bus_link(connection, peer, now);
        }
        if let (Role::MigrateTarget, Origin::Connected(token)) = (role, peer.origin) {
            return self.open_target(connection, token, now);
        }
        if let (Role::Heir, Origin::Connected(token)) = (role, peer.origin) {
            return self.open_heir(connection, token);
        }
        self.state.sessions.open(connection, peer, now.instant);
        if let (Role::PrimaryLink, Origin::Connected(token)) = (role, peer.origin) {
            return self.open_link(connection, token, now);
        }
        let server = &mut self.state.server;
        server.stats.connections += 1;
        self.state.sessions[index].authenticated = server.config.requirepass.is_empty();
        if server.draining {
            self.close(connection, CloseWhen::Now);
        } else if server.config.is_protected_from(peer.remote.ip()) {
            server.stats.rejected += 1;
            self.refuse(connection, PROTECTED);
        } else if self.state.sessions.len() > server.config.maxclients as usize {
            server.stats.rejected += 1;
            self.refuse(connection, b"-ERR max number of clients reached\r\n");
        }
    }

    fn handle_connect_failed(&mut self, token: ConnectToken, error: ConnectError, now: Now) {
        match self.roles.connect_failed(token) {
            Role::MigrateTarget => self.refuse_target(token, &error, now),
            Role::BusLink => return self.fail_bus_link(token, &error, now),
            Role::PrimaryLink => self.refuse_link(token, now),
            Role::Heir => self.refuse_heir(token, &error),
            Role::Client => {}
        }
        self.end_turn(now);
    }

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        match self.roles.of(connection) {
            Role::MigrateTarget => {
                self.take_target_input(connection, input, now);
                self.end_turn(now);
            }
            Role::BusLink => self.take_bus_input(connection, input, now),
            Role::PrimaryLink => {
                self.take_link_input(connection, input, now);
                self.end_turn(now);
            }
            Role::Heir => {
                self.take_heir_input(connection, input);
                self.end_turn(now);
            }
            Role::Client => self.take_input(connection, input, now),
        }
    }

    fn handle_end(&mut self, connection: ConnectionId, now: Now) {
        let role = self.roles.of(connection);
        if role == Role::PrimaryLink {
            self.lose_link(connection, now);
            return self.end_turn(now);
        }
        if matches!(role, Role::MigrateTarget | Role::BusLink | Role::Heir) {
            let when = CloseWhen::Now;
            return self.actions.push_back(Action::Close { connection, when });
        }
        if let Some(session) = self.state.sessions.find(connection) {
            session.ended = true;
            // Nobody is there any more to take what it waits for.
            if session.blocked.is_some() {
                return self.close(connection, CloseWhen::Now);
            }
            if !self.channels[connection.index as usize].paused {
                self.close(connection, CloseWhen::Flushed);
            }
        }
    }

    fn handle_close(&mut self, connection: ConnectionId, now: Now) {
        let role = self.roles.of(connection);
        self.roles.close(connection);
        if role == Role::BusLink {
            return self.lose_bus_link(connection, now);
        }
        if role == Role::MigrateTarget {
            self.lose_target(connection, now);
            return self.end_turn(now);
        }
        if role == Role::Heir {
            self.lose_heir(connection);
            return self.end_turn(now);
        }
        if role == Role::PrimaryLink {
            self.lose_link(connection, now);
        }
        self.close_session(connection, now);
        if self.state.server.ending.is_begun() {
            self.end_turn(now);
        }
    }

    fn handle_written(&mut self, connection: ConnectionId, now: Now) {
        let Some(channel) = self.channels.get_mut(connection.index as usize) else {
            return;
        };
        channel.woken = false;
        let written = self.offered.saturating_sub(channel.visible().len());
        let role = self.roles.of(connection);
        if role != Role::BusLink {
            self.state.server.stats.output_bytes += written as u64;
        }
        match role {
            Role::MigrateTarget => {
                self.go_on_with_target(connection, now);
                return self.wake(connection);
            }
            Role::Heir => return self.wake(connection),
            Role::Client | Role::PrimaryLink | Role::BusLink => {}
        }
        let channel = &mut self.channels[connection.index as usize];
        if channel.paused && channel.output_len() <= OUTPUT_RESUME && !self.is_waiting(connection) {
            self.resume(connection, now);
            self.end_turn(now);
        }
        self.wake(connection);
        if !self.state.server.replication.replicas.is_empty() {
            self.note_replica_took(connection, now);
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.time_out_blocked(now);
        if self.next_piece.is_some_and(|piece| now.instant >= piece) {
            self.continue_full_sync(now);
        }
        self.continue_slow_keys(now);
        self.continue_script(now);
        if self.next_tick.is_none_or(|tick| now.instant < tick) {
            return self.end_turn(now);
        }
        self.next_tick = Some(now.instant + TICK);
        if self.state.server.scripts.is_suspended() {
            return self.tick_while_busy(now);
        }
        self.state.begin_turn(now);
        if self.state.server.active_expire && self.state.server.loading.is_none() {
            self.state.keyspace.expire_some();
        }
        self.state.propagate_expired();
        self.state.mark_disturbed();
        self.begin_scheduled_save(now);
        self.check_migrations(now);
        self.leave_lost_slots();
        self.check_blocked();
        self.tick_cluster(now);
        self.tend_replication(now);
        self.apply_appendonly(now);
        self.begin_due_rewrite(now);
        self.tend_log(now);
        self.state.server.stats.sample(now);
        self.tell_role();
        self.close_idle(now);
        self.end_turn(now);
    }

    fn handle_event(&mut self, event: Event, now: Now) {
        match event {
            Event::SetView(view) => {
                if let Some(cluster) = &mut self.state.server.cluster {
                    cluster.set_view(*view);
                }
            }
            Event::SaveWritten(id) => self.continue_save(id, now),
            Event::SaveEnded(id, succeeded) => self.end_save(id, succeeded, now),
            Event::Config(outcome) => self.end_configuring(outcome, now),
            Event::NodesConfSaved(number) => self.note_saved(number, now),
            Event::Load(part) => self.take_load_part(part, now),
            Event::Aof(event) => self.take_log_event(event, now),
            Event::Terminate => self.terminate(self.config().shutdown_on_sigterm),
            Event::Interrupt => self.terminate(self.config().shutdown_on_sigint),
            Event::Flush => {
                self.end_turn(now);
                self.hand_to_log(true);
            }
            Event::Drain => self.drain(),
            Event::Report => {
                let report = Box::new(self.report(now));
                self.actions
                    .push_back(Action::Notify(Notice::Report(report)));
            }
        }
        self.end_turn(now);
    }

    #[inline]
    fn output(&mut self, connection: ConnectionId) -> &mut Output {
        let output = self.channels[connection.index as usize].visible();
        self.offered = output.len();
        output
    }

    #[inline]
    fn poll_action(&mut self) -> Option<Action<Notice>> {
        self.actions.pop_front()
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Instant> {
        let blocked = self.state.server.blocking.next_deadline();
        let ending = self.state.server.ending.deadline();
        let others = [self.next_piece, self.following.next_keys, self.next_tick];
        let script = self.state.server.scripts.next_turn;
        let all = blocked.into_iter().chain(ending).chain(script);
        all.chain(others.into_iter().flatten()).min()
    }

    /// What the connection has begun is forgotten. A command that was interrupted may have done a
    /// part of its work, as one that fails may not: where the parts of the node contradict each
    /// other after that, it has lost what it keeps.
    fn recover(&mut self, interrupted: Interrupted, _now: Now) -> bool {
        let (Interrupted::Connection(connection) | Interrupted::Close(connection)) = interrupted
        else {
            return false;
        };
        if let Some(session) = self.state.sessions.find(connection) {
            if matches!(interrupted, Interrupted::Close(_)) {
                // Nobody would close it again.
                return false;
            }
            session.closing = Some(CloseWhen::Now);
            session.close_requested = true;
        }
        if let Some(channel) = self.channels.get_mut(connection.index as usize) {
            *channel = Channel::default();
        }
        self.buffers = RequestBuffers::default();
        let check = AssertUnwindSafe(|| self.check_invariants());
        catch_unwind(check).is_ok()
    }
}

/// How often expired keys are looked for.
const TICK: Duration = Duration::from_millis(100);
