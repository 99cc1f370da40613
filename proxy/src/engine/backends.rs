//! The nodes behind the proxy: finding them, connecting, noticing that they are gone.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;

use slotway_protocol::cluster::{SLOTS, Slot, Topology};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Instant,
};

use super::fail_point;
use super::feed::Feed;
use super::feeds::feed_of;
use super::hold::{Held, Target};
use super::node_stats::{NodeError, NodeStats};
use super::pipeline::{InFlight, Kind, Link, PING, Pipeline};
use super::retries::{RetryBudget, repeatable};
use super::session::Reply;
use super::strangers::Members;
use super::{Connection, NO_OWNER, Notice, Proxy, answer};

/// A node that requests go to.
#[derive(Debug)]
pub(super) struct Backend {
    address: Address,
    /// The topology names it. Others serve redirects, and are dropped when idle.
    used: bool,
    /// It is a node of the cluster.
    member: bool,
    /// It is a replica that may serve reads.
    pub(super) is_read: bool,
    /// When the topology ceased to name it.
    pub(super) left: Option<Instant>,
    /// Since when nothing was in flight to an unused backend.
    idle_since: Option<Instant>,
    /// What may be sent to it again.
    pub(super) retries: RetryBudget,
    /// What is counted of it.
    pub(super) stats: Arc<NodeStats>,
}

impl Backend {
    pub(super) fn address(&self) -> &Address {
        &self.address
    }
}

impl Proxy {
    /// The backend at that address, a new one if need be.
    pub(super) fn backend(&mut self, address: &Address) -> usize {
        let known = self
            .backends
            .iter()
            .position(|backend| backend.address == *address);
        if let Some(index) = known {
            self.backends[index].idle_since = None;
            return index;
        }
        let backend = Backend {
            address: address.clone(),
            used: false,
            member: false,
            is_read: false,
            left: None,
            idle_since: None,
            retries: RetryBudget::new(self.swept),
            stats: Arc::new(NodeStats::new(address.clone())),
        };
        let index = match self.free_backend() {
            Some(index) => {
                self.backends[index] = backend;
                index
            }
            None => {
                self.backends.push(backend);
                self.backends.len() - 1
            }
        };
        let feed = Feed::new(address.clone());
        match self.feeds.get_mut(index) {
            Some(place) => *place = feed,
            None => self.feeds.push(feed),
        }
        self.runs.resize(self.backends.len(), None);
        self.runs[index] = None;
        self.reads.set_fresh(index);
        self.list_nodes();
        let lanes = self.lanes();
        for lane in 0..lanes {
            let (protocol, database) = self.about_lane(lane);
            let mut pipeline = Pipeline::new(index, address.clone(), protocol);
            pipeline.database = database;
            match self.pipelines.get_mut(index * lanes + lane) {
                Some(place) => *place = pipeline,
                None => self.pipelines.push(pipeline),
            }
        }
        index
    }

    /// A backend's place that nothing refers to any more.
    fn free_backend(&self) -> Option<usize> {
        let lanes = self.lanes();
        let free = |(index, backend): &(usize, &Backend)| {
            let pipelines = &self.pipelines[index * lanes..(index + 1) * lanes];
            !backend.used
                && !backend.is_read
                && matches!(self.feeds[*index].link, Link::Idle | Link::Down { .. })
                && backend.idle_since.is_some()
                && !self.owners.contains(&(*index as u32))
                && self
                    .privates
                    .of_backends(|backend| backend == *index)
                    .is_empty()
                && pipelines.iter().all(|pipeline| {
                    pipeline.in_flight_len() == 0
                        && matches!(pipeline.link, Link::Idle | Link::Down { .. })
                })
        };
        self.backends
            .iter()
            .enumerate()
            .find(free)
            .map(|(index, _)| index)
    }

    /// Takes over a new map of the slots. Requests that are in flight to a slot's former owner
    /// come back first; until then the slot's other requests wait.
    pub(super) fn set_topology(&mut self, topology: &Topology, now: Instant) {
        let mut owners = vec![NO_OWNER; SLOTS];
        let primaries = topology.shards().iter().map(|shard| &shard.primary);
        let backends: Vec<_> = primaries.map(|address| self.backend(address)).collect();
        for slot in Slot::all() {
            if let Some(shard) = topology.owner(slot) {
                owners[slot.index()] = backends[shard] as u32;
            }
        }
        for (index, backend) in self.backends.iter_mut().enumerate() {
            let used = backends.contains(&index);
            if backend.used && !used {
                backend.left = Some(now);
            } else if used {
                backend.left = None;
            }
            backend.used = used;
            backend.member = topology.has_node(&backend.address);
        }
        fail_point::pass();
        let knew_shards = self.knows_shards();
        self.members = Members::of(topology);
        if !knew_shards {
            self.resume_postponed();
        }
        self.told.clone_from(&owners);
        let before = std::mem::replace(&mut self.owners, owners);
        for slot in self.slots_in_flight_elsewhere() {
            self.begin_hold(slot, now);
        }
        let owners = &self.owners;
        let has_moved = |slot: Slot| before[slot.index()] != owners[slot.index()];
        self.holds.hurry(now, has_moved);
        self.set_replicas(topology, &before, now);
        self.advance_due(now);
        self.cut_silent(now);
        self.move_subscriptions(now);
    }

    /// Slots without a hold that have requests in flight to another node than their owner.
    fn slots_in_flight_elsewhere(&self) -> Vec<Slot> {
        let mut slots = Vec::new();
        for pipeline in &self.pipelines {
            let owner = pipeline.backend as u32;
            let elsewhere = pipeline.in_flight().filter(|entry| {
                entry.has_slot()
                    && self.owners[entry.slot.index()] != owner
                    && !self.holds.contains(entry.slot)
            });
            slots.extend(elsewhere.map(|entry| entry.slot));
        }
        slots.sort_unstable();
        slots.dedup();
        slots
    }

    /// Whether the topology has named the backend as a primary, and does not any more.
    pub(super) fn has_left(&self, index: usize) -> bool {
        self.backends[index].left.is_some()
    }

    /// Whether the topology names the backend as a primary.
    pub(super) fn is_used(&self, index: usize) -> bool {
        self.backends[index].used
    }

    /// Whether the topology names the backend at all.
    pub(super) fn is_in_cluster(&self, index: usize) -> bool {
        self.backends[index].member
    }

    /// A node that only a redirect has named can't be reached: what the topology says counts again.
    pub(super) fn distrust(&mut self, backend: usize, now: Instant) {
        if self.backends[backend].used {
            return;
        }
        // What is under way on its other connections comes back first.
        let busy = |slot: &Slot| {
            self.owners[slot.index()] == backend as u32 && self.outstanding(*slot) > 0
        };
        let busy: Vec<Slot> = Slot::all().filter(busy).collect();
        busy.into_iter().for_each(|slot| self.begin_hold(slot, now));
        for (owner, told) in self.owners.iter_mut().zip(&self.told) {
            if *owner == backend as u32 {
                *owner = *told;
            }
        }
    }

    pub(super) fn connect(&mut self, index: usize) {
        let pipeline = &mut self.pipelines[index];
        pipeline.link = Link::Connecting;
        let token = ConnectToken(index as u32);
        self.actions.push_back(Action::Connect {
            token,
            address: pipeline.address.clone(),
        });
    }

    pub(super) fn open_backend(
        &mut self,
        connection: ConnectionId,
        token: ConnectToken,
        now: Instant,
    ) {
        if let Some(backend) = feed_of(token) {
            return self.open_feed(connection, backend, now);
        }
        let index = token.0 as usize;
        self.connections[connection.index as usize] = Connection::Backend { pipeline: index };
        fail_point::pass();
        let mut login = self.pipeline_login(index);
        let pipeline = &mut self.pipelines[index];
        if !login.is_empty() {
            // Its replies show as well that the node lives.
            pipeline.suspect = false;
        } else if pipeline.suspect {
            login.push(PING.to_vec());
        }
        pipeline.link = Link::Open(connection);
        pipeline.cut = false;
        // A connection that ends before it has served anything is a failure, too.
        pipeline.failures = pipeline.failures.saturating_add(1);
        pipeline.log_in(&login, now);
        self.stats.backends.add(1);
        self.stats.backend_connects.inc();
        let backend = self.pipelines[index].backend;
        self.backends[backend].stats.connects.inc();
        if !self.pipelines[index].output().is_empty() {
            self.actions.push_back(Action::Wake(connection));
        }
    }

    pub(super) fn backend_unreachable(
        &mut self,
        token: ConnectToken,
        error: &ConnectError,
        now: Instant,
    ) {
        if let Some(backend) = feed_of(token) {
            return self.feed_unreachable(backend, now);
        }
        if *error == ConnectError::Refused {
            self.node_is_lost(token.0 as usize);
        }
        self.count_node_error(token.0 as usize, NodeError::of_connect(error));
        let pipeline = &mut self.pipelines[token.0 as usize];
        pipeline.failed = Some(now);
        pipeline.failures = pipeline.failures.saturating_add(1);
        let delay = match error {
            // It has taken long enough, and the node may be back since it began.
            ConnectError::TimedOut => reconnect_delay(1),
            _ => reconnect_delay(pipeline.failures),
        };
        let until = now + delay;
        pipeline.link = Link::Down { until };
        let backend = pipeline.backend;
        if !self.is_read_lane(token.0 as usize) {
            self.distrust(backend, now);
        }
        self.note_unreachable(backend, now);
        self.stats.backend_connects_failed.inc();
        self.give_back(token.0 as usize, until, now);
    }

    pub(super) fn backend_lost(&mut self, index: usize, now: Instant) {
        fail_point::pass();
        self.node_is_lost(index);
        self.stats.backends.add(-1);
        let pipeline = &mut self.pipelines[index];
        // The kernel of a node that has just died may still accept one more connection.
        pipeline.suspect = true;
        pipeline.failed = Some(now);
        let ended_by_node = !std::mem::take(&mut pipeline.cut);
        let until = if pipeline.failures > 0 {
            let until = now + reconnect_delay(pipeline.failures);
            pipeline.link = Link::Down { until };
            until
        } else {
            pipeline.link = Link::Idle;
            now
        };
        let backend = pipeline.backend;
        if ended_by_node {
            self.backends[backend].stats.count(NodeError::Lost);
        }
        if until > now && !self.is_read_lane(index) {
            self.distrust(backend, now);
        }
        self.note_unreachable(backend, now);
        self.give_back(index, until, now);
    }

    fn node_is_lost(&mut self, pipeline: usize) {
        let address = self.pipelines[pipeline].address.clone();
        self.actions
            .push_back(Action::Notify(Notice::NodeLost { address }));
    }

    /// Takes all requests out of a pipeline that has no connection: those that certainly did not
    /// run, or that only read, wait for another chance; the others get an error.
    fn give_back(&mut self, index: usize, not_before: Instant, now: Instant) {
        self.topology_is_stale();
        let lane = index % self.lanes();
        self.runs[self.pipelines[index].backend] = None;
        self.gates.open(self.pipelines[index].backend);
        let error = Bytes::from(answer::unreachable(&self.pipelines[index].address));
        self.abandon_passing(index, now);
        let taken = self.pipelines[index].take_all();
        let repeatable = repeatable(&taken);
        let owned = || taken.iter().filter(|(entry, ..)| entry.has_slot());
        // They still count as in flight, so each hold waits for those taken out here.
        owned().for_each(|(entry, ..)| self.begin_hold(entry.slot, now));
        owned().for_each(|(entry, ..)| self.in_flight_by_slot[entry.slot.index()] -= 1);
        fail_point::pass();
        for ((entry, frame, _), repeatable) in taken.into_iter().zip(repeatable) {
            fail_point::pass();
            self.note_lost(index, &entry, &frame, now);
            if entry.kind == Kind::Read {
                self.read_lost(entry, lane, frame, now);
                continue;
            }
            if !entry.has_slot() {
                self.deliver(entry.ticket, Reply::Copied(&error), now);
                continue;
            }
            if !repeatable {
                self.stats.results_unknown.inc();
                self.deliver_error(entry.ticket, answer::RESULT_UNKNOWN, now);
            } else {
                self.stats.retries_lost.inc();
                let error = Some(error.clone());
                let held = Held {
                    entry,
                    frame,
                    lane,
                    target: Target::Owner,
                    error,
                };
                self.put_back(held, not_before, now);
            }
            if self.holds.settle(entry.slot) {
                self.advance_hold(entry.slot, now);
            }
        }
    }

    /// Looks after connections: cuts those whose node does not answer, asks those that are silent
    /// whether they live, ends unused ones.
    pub(super) fn sweep_backends(&mut self, now: Instant) {
        for index in 0..self.pipelines.len() {
            let pipeline = &mut self.pipelines[index];
            if let Link::Down { until } = pipeline.link
                && until <= now
            {
                pipeline.link = Link::Idle;
            }
        }
        self.cut_silent(now);
        self.ask_quiet(now);
        self.fill_retries(now);
        self.end_unused(now);
    }

    /// Ends connections whose nodes do not answer.
    fn cut_silent(&mut self, now: Instant) {
        for index in 0..self.pipelines.len() {
            let is_read_lane = self.is_read_lane(index);
            let pipeline = &mut self.pipelines[index];
            let (Some(connection), Some(silence)) = (pipeline.connection(), pipeline.silence(now))
            else {
                continue;
            };
            let limit = if pipeline.is_logging_in() {
                self.options.login_timeout
            } else if self.backends[pipeline.backend].left.is_some() {
                // A former primary may hang for ever; its slots have a new one to go to.
                LEFT_TIMEOUT
            } else if is_read_lane {
                self.options.reads.replica_timeout
            } else {
                self.options.command_timeout
            };
            if silence >= limit.min(self.options.command_timeout) {
                pipeline.suspect = true;
                pipeline.cut = true;
                self.stats.backend_timeouts.inc();
                self.count_node_error(index, NodeError::Silent);
                self.close(connection, CloseWhen::Now);
            }
        }
    }

    /// A connection that leads nowhere any more is found out before a request needs it.
    fn ask_quiet(&mut self, now: Instant) {
        let interval = self.options.node_check_interval;
        if interval.is_zero() {
            return;
        }
        for pipeline in &mut self.pipelines {
            if let Link::Open(connection) = pipeline.link
                && self.backends[pipeline.backend].used
                && pipeline.is_quiet(now, interval)
            {
                self.stats.backend_checks.inc();
                let entry = InFlight::unowned(Kind::Direct, PING.len(), now);
                if pipeline.push(PING, entry) {
                    self.actions.push_back(Action::Wake(connection));
                }
            }
        }
    }

    fn fill_retries(&mut self, now: Instant) {
        let lanes = self.lanes();
        let percent = self.options.retry_percent;
        let backends = self.backends.iter_mut();
        for (backend, pipelines) in backends.zip(self.pipelines.chunks(lanes)) {
            let sent = pipelines.iter().map(Pipeline::pushed).sum();
            backend.retries.fill(sent, percent, now);
        }
    }

    fn end_unused(&mut self, now: Instant) {
        let lanes = self.lanes();
        for index in 0..self.backends.len() {
            let pipelines = &self.pipelines[index * lanes..(index + 1) * lanes];
            let busy = pipelines
                .iter()
                .any(|pipeline| pipeline.in_flight_len() > 0);
            let backend = &mut self.backends[index];
            let feed = &self.feeds[index];
            let fed =
                feed.connection().is_some() && (feed.is_busy() || self.subscriptions.uses(index));
            if backend.used || backend.is_read || busy || fed {
                backend.idle_since = None;
                continue;
            }
            let since = *backend.idle_since.get_or_insert(now);
            if now.since(since) < UNUSED_KEPT {
                continue;
            }
            let feed = self.feeds[index].connection();
            let pipelines = &mut self.pipelines[index * lanes..(index + 1) * lanes];
            pipelines
                .iter_mut()
                .for_each(|pipeline| pipeline.cut = true);
            let open = pipelines.iter().filter_map(|it| it.connection());
            let open: Vec<_> = open.chain(feed).collect();
            open.into_iter()
                .for_each(|connection| self.close(connection, CloseWhen::Now));
        }
    }
}

/// 20 ms after the first failure, then twice as long each time, up to one second.
pub(super) fn reconnect_delay(failures: u32) -> Duration {
    Duration::from_millis((10 << failures.min(7)).min(1_000))
}

/// How long an idle connection to a node outside the topology is kept.
const UNUSED_KEPT: Duration = Duration::from_secs(10);

/// How long a node that the topology does not name any more may be silent while it owes a reply.
pub(super) const LEFT_TIMEOUT: Duration = Duration::from_millis(500);
