//! What the engine is told once at its start: limits, times and credentials.

use core::time::Duration;
use std::sync::Arc;

use slotway_protocol::engine::Address;
use slotway_protocol::resp::RequestLimits;

use super::large_keys::LargeKeys;
use super::memory::Memory;
use super::program::Program;
use super::reads::ReadOptions;
use super::stats::Stats;

/// The engine's settings; the config file's keys, checked and typed.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bounds on one request.
    pub request: RequestLimits,
    /// Connections that one worker keeps to each node, for each protocol version.
    pub connections_per_node: usize,
    /// Of how many databases of the nodes clients may choose one.
    pub databases_max: usize,
    /// A node that owes a reply and is silent for this time loses its connection.
    pub command_timeout: Duration,
    /// How long a node may take to accept a connection's login; no request has been sent then.
    pub login_timeout: Duration,
    /// After which silence a node is asked whether a connection still lives; zero: never.
    pub node_check_interval: Duration,
    /// How long a request waits for its slot to be served, from the first time that it has to,
    /// before it is answered with an error.
    pub hold_timeout: Duration,
    /// After which silence a node is asked whether a connection with subscriptions still lives.
    pub feed_check_interval: Duration,
    /// How long a client that is being closed may take to read its last replies.
    pub close_timeout: Duration,
    /// How many MOVED and ASK one request may follow.
    pub redirects_max: u8,
    /// Hosts to which they may lead though the topology does not name them.
    pub redirect_hosts: Vec<Arc<str>>,
    /// Replies owed to one client; beyond it nothing more is read from that client.
    pub client_in_flight_max: usize,
    /// Requests to one node that are large, or whose reply will be, under way at a time.
    pub large_in_flight_max: usize,
    /// A request of that many bytes is large. Not for users: the figure is in the documentation.
    pub large_request: usize,
    /// A reply of that many bytes is.
    pub large_reply: usize,
    /// Reply bytes waiting for one client; beyond it nothing more is read from that client.
    pub client_output_bytes_max: usize,
    /// Reply bytes waiting for one client; one that has asked for more than that and does not read
    /// is cut off.
    pub client_output_bytes_cut: usize,
    /// Bytes waiting for a client that is subscribed; one that does not read is cut off there.
    pub subscriber_output_bytes_max: usize,
    /// Memory for the subscriptions of one client; beyond it a further one gets an error.
    pub client_subscription_bytes_max: usize,
    /// Request bytes kept for one connection to a node, answered ones and the one being served not
    /// counted; beyond it requests get an error.
    pub backend_queue_bytes_max: usize,
    /// Requests that one connection to a node may owe; beyond it further ones get an error.
    pub backend_queue_requests_max: usize,
    /// Request bytes held by one worker for slots that are moving or down; beyond it requests get
    /// an error.
    pub hold_bytes_max: usize,
    /// The same, counted in requests.
    pub hold_requests_max: usize,
    /// Held request bytes of one client; beyond it nothing more is read from that client.
    pub client_hold_bytes_max: usize,
    /// Connections to nodes that one worker keeps for one client each, while that client blocks
    /// or watches keys; beyond it such commands get an error.
    pub private_connections_max: usize,
    /// How many of those one worker keeps when nobody uses them.
    pub private_idle_max: usize,
    /// Bytes that one client may queue between MULTI and EXEC; beyond it commands get an error.
    pub transaction_bytes_max: usize,
    /// From how many keys on a request that is split is sent little by little.
    pub many_keys_min: usize,
    /// Reply bytes kept for one request while the replies of several nodes come together, or of one
    /// node page by page; beyond it the request gets an error.
    pub merge_bytes_max: usize,
    /// Whether reads such as SUNION are served when their keys belong to different slots.
    pub cross_slot_reads: bool,
    /// Bytes kept for one such read; beyond it the request gets an error.
    pub cross_slot_bytes_max: usize,
    /// What clients have to log in with, if they have to.
    pub login: Option<Login>,
    /// How long a client may take to do that.
    pub client_login_timeout: Duration,
    /// After so many wrong passwords from one address within the window no further ones are looked
    /// at until as much time has passed again; 0: never.
    pub login_failures_max: usize,
    pub login_failures_window: Duration,
    /// How long a client may take to send a request whole, and a second more for each 64 KiB of it.
    pub client_request_timeout: Duration,
    /// After which time a client that says nothing is cut off; zero for never.
    pub client_idle_timeout: Duration,
    /// Within which time a client for which more than `client_output_bytes_max` waits must take as
    /// much again.
    pub client_output_timeout: Duration,
    /// Bytes that the process may take; 0 for as many as `memory` says. When they are nearly used
    /// up, less is read, and who takes most is cut off.
    pub memory_bytes_max: usize,
    /// What all workers keep.
    pub memory: Arc<Memory>,
    /// Which keys all workers know to be large.
    pub large_keys: Arc<LargeKeys>,
    /// Bytes of the scripts that one worker remembers to help nodes that have lost them; the ones
    /// unused for longest are forgotten first.
    pub script_cache_bytes_max: usize,
    /// Requests that took this long come into the slow log, of which this worker keeps so many.
    pub slowlog_slower_than_us: u64,
    pub slowlog_max_len: usize,
    /// Of so many requests the keys of one are counted; 0: of none.
    pub hot_key_sample: usize,
    /// Requests and replies of this size are remembered with their keys.
    pub large_value_bytes: usize,
    /// Of so many requests one comes into the access log, and one into the traces; 0: none.
    pub access_log_sample: u64,
    pub traces_sample: u64,
    /// Lines of the access log that one worker writes within a second; further ones are left out.
    pub access_log_lines_max: u64,
    /// Whether they have the names of keys.
    pub access_log_keys: bool,
    /// Of what a node is sent, so many per cent may be requests that it refused before.
    pub retry_percent: u64,
    /// Where the random numbers begin.
    pub random_seed: u64,
    /// Which nodes serve reads.
    pub reads: ReadOptions,
    /// What to log in with at the nodes.
    pub credentials: Option<Credentials>,
    /// Whether clients may see what others ask for.
    pub monitor: bool,
    /// Which worker this is; client ids of different workers differ by it.
    pub worker: u16,
    /// How many workers there are, numbered from 0.
    pub worker_count: usize,
    /// What all workers count, this one included; INFO adds it up. Empty: this one is alone.
    pub workers: Arc<[Arc<Stats>]>,
    pub program: Arc<Program>,
    /// Whether clients of Redis Cluster are served too.
    pub cluster: Option<Emulation>,
}

/// To clients of Redis Cluster the proxy is a cluster of one node that has all slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulation {
    /// The address of that node. `None`: the one that the client asking is connected to.
    pub announce: Option<Address>,
}

/// A user name and password for the nodes.
#[derive(Clone)]
pub struct Credentials {
    /// `None` for the default user.
    pub username: Option<Arc<str>>,
    pub password: Arc<str>,
}

/// The user name and the password of the clients.
#[derive(Clone)]
pub struct Login {
    pub username: Arc<str>,
    pub password: Arc<str>,
}

impl core::fmt::Debug for Login {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Login {
    /// Takes the same time for every password of one length, however much of it is right.
    pub(crate) fn accepts(&self, username: &[u8], password: &[u8]) -> bool {
        let secret = self.password.as_bytes();
        let mut different = secret.len() ^ password.len();
        for (index, byte) in password.iter().enumerate() {
            let own = secret.get(index % secret.len().max(1)).unwrap_or(&0);
            different |= usize::from(own ^ byte);
        }
        let is_user = username == self.username.as_bytes();
        core::hint::black_box(different) == 0 && is_user
    }
}

/// The user that clients are unless the settings say otherwise.
pub(crate) const DEFAULT_USER: &str = "default";

impl Options {
    /// What the user is called that all clients are.
    pub(crate) fn user(&self) -> &str {
        let login = self.login.as_ref();
        login.map_or(DEFAULT_USER, |login| &login.username)
    }
}

impl core::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            request: RequestLimits::default(),
            connections_per_node: 1,
            databases_max: 16,
            command_timeout: Duration::from_secs(5),
            login_timeout: Duration::from_secs(1),
            node_check_interval: Duration::from_secs(5),
            hold_timeout: Duration::from_secs(10),
            feed_check_interval: Duration::from_secs(5),
            close_timeout: Duration::from_secs(10),
            redirects_max: 16,
            redirect_hosts: Vec::new(),
            client_in_flight_max: 1024,
            large_in_flight_max: 1,
            large_request: 1024 * 1024,
            large_reply: 256 * 1024,
            client_output_bytes_max: 1024 * 1024,
            client_output_bytes_cut: 64 * 1024 * 1024,
            subscriber_output_bytes_max: 32 * 1024 * 1024,
            client_subscription_bytes_max: 64 * 1024 * 1024,
            backend_queue_bytes_max: 256 * 1024 * 1024,
            backend_queue_requests_max: 262_144,
            hold_bytes_max: 64 * 1024 * 1024,
            hold_requests_max: 100_000,
            client_hold_bytes_max: 1024 * 1024,
            private_connections_max: 1024,
            private_idle_max: 128,
            transaction_bytes_max: 64 * 1024 * 1024,
            many_keys_min: 4096,
            merge_bytes_max: 256 * 1024 * 1024,
            cross_slot_reads: false,
            cross_slot_bytes_max: 64 * 1024 * 1024,
            login: None,
            client_login_timeout: Duration::from_secs(10),
            login_failures_max: 10,
            login_failures_window: Duration::from_secs(60),
            client_request_timeout: Duration::from_secs(30),
            client_idle_timeout: Duration::ZERO,
            client_output_timeout: Duration::from_secs(60),
            memory_bytes_max: 0,
            memory: Arc::default(),
            large_keys: Arc::default(),
            script_cache_bytes_max: 16 * 1024 * 1024,
            slowlog_slower_than_us: 10_000,
            slowlog_max_len: 128,
            hot_key_sample: 64,
            large_value_bytes: 256 * 1024,
            access_log_sample: 0,
            traces_sample: 0,
            access_log_lines_max: 100,
            access_log_keys: false,
            retry_percent: 20,
            random_seed: 1,
            reads: ReadOptions::default(),
            credentials: None,
            monitor: false,
            worker: 0,
            worker_count: 1,
            workers: Arc::default(),
            program: Arc::default(),
            cluster: None,
        }
    }
}
