//! The proxy as a pure state machine: clients' bytes in, nodes' bytes out, and back. Only this
//! module and its `impl Proxy` parts know all the pieces; the pieces do not know each other.

mod across;
mod answer;
mod audit;
mod backends;
mod blocked;
mod blocking;
mod clients;
mod connection;
mod databases;
mod early;
mod fail_point;
mod fan_out;
mod feed;
mod feeds;
mod flow;
mod gates;
mod gather;
mod gathered;
mod gradual;
mod heat;
mod hold;
mod hold_story;
mod hot;
mod invariants;
mod key_news;
mod large_keys;
mod lateness;
mod learned;
mod lifecycle;
mod listing;
mod local;
mod login;
mod login_limit;
mod many_keys;
mod memory;
mod merge;
mod monitor;
mod newcomers;
mod node_stats;
mod options;
mod outside;
mod own;
mod passing;
mod pausing;
mod peers;
mod pipeline;
mod places;
mod plain;
mod plan;
mod popping;
mod private;
mod privates;
mod program;
mod proxy_command;
mod publish;
mod pubsub;
mod random_key;
mod reading;
mod reads;
mod recovery;
mod redirect;
mod replicas;
mod replies;
mod requests;
mod restore;
mod retries;
mod running;
mod scan;
mod scan_cursor;
mod scan_moved;
mod scan_node;
mod scan_request;
mod scatter;
mod scratch;
mod script_cache;
mod script_commands;
mod scripts;
mod session;
mod settings;
mod shedding;
mod slow_log;
mod special;
mod stats;
mod strangers;
mod subscribing;
mod subscriptions;
mod survey;
mod task;
mod tasks;
mod totals;
mod trail;
mod trails;
mod transaction;
mod transactions;
mod turns;
mod wait_time;
mod waiters;
mod waiting;
mod watch;
mod watched;

#[cfg(test)]
mod guide;
#[cfg(test)]
mod tests;

pub use heat::{Heat, SlotCounts, Thermometer};
pub use hold_story::HoldStory;
pub use hot::{Hot, HotKey, LargeValue, hot_of};
pub use large_keys::LargeKeys;
pub use memory::Memory;
pub use newcomers::Suspicion;
pub(crate) use node_stats::NodeError;
pub use node_stats::NodeStats;
pub use options::{Credentials, Emulation, Login, Options};
pub use outside::{Event, Notice};
pub use peers::Message;
pub use program::Program;
pub(crate) use reads::{NodeHealth, Report};
pub use reads::{READ_RULES_MAX, ReadFrom, ReadOptions, ReadRule};
pub(crate) use redirect::Later;
pub use settings::{Agreed, MEMORY_MAX, MEMORY_MIN, SETTINGS, Setting};
pub use stats::Stats;
pub(crate) use stats::{Cut, CutBackend, ERROR_CODES};
pub use trail::{Hop, Trail};

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::cluster::SLOTS;
use slotway_protocol::command::Learned;
use slotway_protocol::engine::{
    Action, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Interrupted, Now,
    Origin, Peer,
};
use slotway_protocol::output::Output;

use self::backends::Backend;
use self::connection::Connection;
use self::feed::Feed;
use self::gates::Gates;
use self::gradual::Gradual;
use self::hold::Holds;
use self::lateness::Backlogs;
use self::login_limit::LoginLimit;
use self::memory::{Meter, Strain};
use self::merge::Merges;
use self::monitor::Monitors;
use self::pausing::Pause;
use self::pipeline::Pipeline;
use self::plan::Plans;
use self::private::Privates;
use self::privates::PRIVATE_TOKEN;
use self::pubsub::Subscriptions;
use self::reads::Reads;
use self::running::Tasks;
use self::scatter::Scattered;
use self::scratch::Scratch;
use self::script_cache::ScriptCache;
use self::session::Session;
use self::shedding::{Bounds, Queue};
use self::turns::Turns;
use self::waiters::Waiters;
use self::watched::Watched;

/// The proxy engine of one worker.
#[derive(Debug)]
pub struct Proxy {
    options: Options,
    stats: Arc<Stats>,
    plans: Plans,
    /// How many databases the nodes have, once that is known.
    databases: Option<u16>,
    learned: Option<Arc<Learned>>,
    /// By the index of a [`ConnectionId`].
    connections: Vec<Connection>,
    /// The nodes that requests go to. Their places stay; unused ones are taken again.
    backends: Vec<Backend>,
    /// For each slot the index of the backend that owns it, or [`NO_OWNER`].
    owners: Vec<u32>,
    /// The same as the last topology told it, without what redirects said since.
    told: Vec<u32>,
    /// All nodes of the last topology.
    members: strangers::Members,
    /// For each slot how many requests nodes have not answered.
    in_flight_by_slot: Vec<u32>,
    /// [`Proxy::lanes`] for each backend, in the order of the backends.
    pipelines: Vec<Pipeline>,
    /// For each backend the connection on which it speaks unasked.
    feeds: Vec<Feed>,
    /// For each backend what tells one run of its process from another, if a task has noted it.
    runs: Vec<Option<u64>>,
    tasks: Tasks,
    privates: Privates,
    waiters: Waiters,
    subscriptions: Subscriptions,
    scripts: ScriptCache,
    /// Bytes of new scripts of which the other workers may still be told before the next sweep.
    scripts_told: usize,
    holds: Holds,
    gates: Gates,
    reads: Reads,
    /// Requests are looked at before they are taken: clients are paused, or replicas serve reads.
    careful: bool,
    merges: Merges,
    scattered: Scattered,
    gradual: Gradual,
    actions: VecDeque<Action<Notice>>,
    /// When the engine wants to be called next.
    timeout: Instant,
    /// When the regular work was done last.
    swept: Instant,
    /// When idle memory was given back last.
    shrunk: Instant,
    /// When what is kept was counted last.
    counted: Instant,
    meter: Meter,
    /// Some keys are among the `large_keys` of the options: to be asked for each request.
    knows_large_keys: bool,
    /// When those were made to grow old last.
    aged: Instant,
    bounds: Bounds,
    queue: Queue,
    turns: Turns,
    backlogs: Backlogs,
    watched: Watched,
    login_limit: LoginLimit,
    /// When the outside was told of something suspicious last.
    suspicion_told: Option<Instant>,
    started: Option<Instant>,
    clients_seen: u64,
    /// The connection whose input is being handled: it is written without a wake.
    current: u32,
    /// What the workers have told each other.
    agreed: Agreed,
    /// The wall clock at the last input.
    unix_ms: u64,
    /// CLIENT PAUSE is in force.
    pause: Option<Pause>,
    /// Clients with a request that waits for the end of it.
    postponed: Vec<ConnectionId>,
    monitors: Monitors,
    draining: bool,
    drained: bool,
    random: u64,
    scratch: Scratch,
}

impl Proxy {
    pub fn new(mut options: Options, stats: Arc<Stats>) -> Self {
        if options.workers.is_empty() {
            options.workers = [Arc::clone(&stats)].into();
        }
        let plans = Plans::new(options.cluster.is_some());
        let reads = Reads::new(&options.reads, &plans);
        let mut proxy = Self {
            counted: Instant::default(),
            meter: Meter::default(),
            knows_large_keys: false,
            aged: Instant::default(),
            bounds: Bounds::new(&options, Strain::None),
            queue: Queue::default(),
            turns: Turns::default(),
            backlogs: Backlogs::default(),
            watched: Watched::default(),
            login_limit: LoginLimit::default(),
            suspicion_told: None,
            plans,
            random: options.random_seed | 1,
            databases: None,
            learned: None,
            options,
            stats,
            connections: Vec::new(),
            backends: Vec::new(),
            owners: vec![NO_OWNER; SLOTS],
            told: vec![NO_OWNER; SLOTS],
            members: strangers::Members::default(),
            in_flight_by_slot: vec![0; SLOTS],
            pipelines: Vec::new(),
            feeds: Vec::new(),
            runs: Vec::new(),
            tasks: Tasks::default(),
            privates: Privates::default(),
            waiters: Waiters::default(),
            subscriptions: Subscriptions::default(),
            scripts: ScriptCache::default(),
            scripts_told: 0,
            holds: Holds::default(),
            gates: Gates::default(),
            careful: reads.is_on(),
            reads,
            merges: Merges::default(),
            scattered: Scattered::default(),
            gradual: Gradual::default(),
            actions: VecDeque::new(),
            timeout: Instant::default(),
            swept: Instant::default(),
            shrunk: Instant::default(),
            started: None,
            clients_seen: 0,
            current: u32::MAX,
            agreed: Agreed::default(),
            unix_ms: 0,
            pause: None,
            postponed: Vec::new(),
            monitors: Monitors::default(),
            draining: false,
            drained: false,
            scratch: Scratch::default(),
        };
        proxy.watched.trails.configure(&proxy.options);
        proxy.show_memory_max();
        proxy.show_limits();
        proxy
    }

    fn session(&mut self, connection: ConnectionId) -> Option<&mut Session> {
        match self.connections.get_mut(connection.index as usize) {
            Some(Connection::Client(session)) if session.connection == connection => Some(session),
            _ => None,
        }
    }

    /// Sees to it that [`Engine::handle_timeout`] is called by then.
    fn wake_at(&mut self, time: Instant) {
        self.timeout = self.timeout.min(time);
    }
}

impl Engine for Proxy {
    type Event = Event;
    type Notice = Notice;

    fn handle_open(&mut self, connection: ConnectionId, peer: Peer, now: Now) {
        self.started.get_or_insert(now.instant);
        self.wake_at(now.instant + TICK);
        let index = connection.index as usize;
        if index >= self.connections.len() {
            self.connections
                .resize_with(index + 1, || Connection::Vacant);
        }
        match peer.origin {
            Origin::Accepted(_) => self.open_client(connection, &peer, now.instant),
            Origin::Connected(ConnectToken(token)) if token & PRIVATE_TOKEN != 0 => {
                self.open_private(connection, token & !PRIVATE_TOKEN, now.instant);
            }
            Origin::Connected(token) => self.open_backend(connection, token, now.instant),
        }
    }

    fn handle_connect_failed(&mut self, token: ConnectToken, error: ConnectError, now: Now) {
        if token.0 & PRIVATE_TOKEN != 0 {
            self.stats.backend_connects_failed.inc();
            return self.private_lost(token.0 & !PRIVATE_TOKEN, now.instant);
        }
        self.backend_unreachable(token, &error, now.instant);
    }

    #[inline]
    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        self.current = connection.index;
        self.unix_ms = now.unix_ms;
        match self.connections.get(connection.index as usize) {
            Some(Connection::Client(_)) => {
                self.handle_client_input(connection, input, now.instant);
            }
            Some(Connection::Backend { pipeline }) => {
                let pipeline = *pipeline;
                self.handle_backend_input(pipeline, input, now.instant);
            }
            Some(Connection::Feed { backend }) => {
                let backend = *backend;
                self.handle_feed_input(backend, input, now.instant);
            }
            Some(Connection::Private { index }) => {
                let index = *index;
                self.handle_private_input(index, input, now.instant);
            }
            _ => input.clear(),
        }
        self.current = u32::MAX;
    }

    fn handle_end(&mut self, connection: ConnectionId, _now: Now) {
        let Some(session) = self.session(connection) else {
            return self.close(connection, CloseWhen::Now);
        };
        if session.solo {
            // Nobody is left to wait, and what it waits for must not be taken from others.
            return self.close(connection, CloseWhen::Now);
        }
        session.ended = true;
        self.close_if_finished(connection);
    }

    fn handle_close(&mut self, connection: ConnectionId, now: Now) {
        let Some(place) = self.connections.get_mut(connection.index as usize) else {
            return;
        };
        match std::mem::replace(place, Connection::Vacant) {
            Connection::Vacant => {}
            Connection::Client(session) => self.close_client(&session, now.instant),
            Connection::Backend { pipeline } => self.backend_lost(pipeline, now.instant),
            Connection::Feed { backend } => self.feed_lost(backend, now.instant),
            Connection::Private { index } => {
                self.stats.backends.add(-1);
                self.private_lost(index, now.instant);
            }
        }
    }

    #[inline]
    fn handle_written(&mut self, connection: ConnectionId, now: Now) {
        match self.connections.get(connection.index as usize) {
            Some(Connection::Client(session)) if session.is_passed => {
                self.go_on_if_taken(connection, now.instant);
            }
            Some(Connection::Client(session)) if session.paused || session.solo => {
                self.resume_if_ready(connection);
            }
            Some(Connection::Backend { pipeline }) => {
                self.pipelines[*pipeline].note_written(now.instant);
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let now = now.instant;
        self.forgive_after_stall(now);
        self.timeout = now + TICK;
        if now.since(self.swept) >= TICK {
            self.sweep(now);
        }
        if now.since(self.shrunk) >= SHRINK_INTERVAL {
            self.shrink(now);
            self.cut_late(now);
        }
        fail_point::pass();
        self.advance_due(now);
        self.prepare_gradual(now);
        self.wake_tasks(now);
        self.end_pause(now);
        self.send_lines_due(now);
        self.place_topics(now);
    }

    fn handle_event(&mut self, event: Event, now: Now) {
        self.wake_at(now.instant + TICK);
        match event {
            Event::Topology(topology) => self.set_topology(&topology, now.instant),
            Event::Commands(learned) => self.set_commands(learned),
            Event::Databases(databases) => self.set_databases(databases),
            Event::Agreed(agreed) => self.agree(&agreed),
            Event::Drain => self.drain(),
            Event::Peer(message) => self.handle_peer(message, now.instant),
        }
    }

    #[inline(always)]
    fn output(&mut self, connection: ConnectionId) -> &mut Output {
        match &mut self.connections[connection.index as usize] {
            Connection::Client(session) => &mut session.output,
            Connection::Backend { pipeline } => self.pipelines[*pipeline].output(),
            Connection::Feed { backend } => self.feeds[*backend].output(),
            Connection::Private { index } => self.privates.output(*index),
            Connection::Vacant => panic!("the driver asks for open connections only"),
        }
    }

    #[inline]
    fn poll_action(&mut self) -> Option<Action<Notice>> {
        self.actions.pop_front()
    }

    #[inline]
    fn poll_timeout(&self) -> Option<Instant> {
        self.started.map(|_| self.timeout)
    }

    fn recover(&mut self, interrupted: Interrupted, now: Now) -> bool {
        self.recover_from(interrupted, now.instant)
    }
}

/// Marks a slot that no node serves.
const NO_OWNER: u32 = u32::MAX;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(100);

/// A client that was idle for this long gives its buffers back.
const SHRINK_INTERVAL: Duration = Duration::from_secs(1);
