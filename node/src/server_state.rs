//! What a node knows of itself: settings, its cluster, and what INFO counts.

use std::borrow::Cow;
use std::time::Duration;

use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::Now;
use slotway_protocol::resp::Request;

use crate::blocking::Blocking;
use crate::cluster::Cluster;
use crate::command::{CommandError, Random};
use crate::config::{AppendFsync, Config};
use crate::ending::Ending;
use crate::engine::configuring::Configuring;
use crate::engine::session::Session;
use crate::migration::Migrations;
use crate::persistence::aof::{AppendLog, LogState};
use crate::persistence::rdb::Encoder;
use crate::persistence::saving::Saving;
use crate::pubsub::PubSub;
use crate::replication::Replication;
use crate::replication::propagation::Propagation;
use crate::script::Scripts;
use crate::statistics::{Caller, Probe, SlowLog, Stats};

pub(crate) struct ServerState {
    pub(crate) config: Config,
    /// CONFIG SET was used, and those who keep copies of settings have to look again.
    pub(crate) config_changed: bool,
    pub(crate) configuring: Configuring,
    /// `None` on a node that is not part of a cluster.
    pub(crate) cluster: Option<Cluster>,
    pub(crate) stats: Stats,
    pub(crate) slow_log: SlowLog,
    pub(crate) probe: Probe,
    /// The probe's time at the start of the turn or at the end of its latest command, which is when
    /// the next one begins: looking twice would cost as much as a small command.
    pub(crate) nanos: u64,
    /// Forty hexadecimal digits, by chance; INFO shows them.
    pub(crate) run_id: String,
    pub(crate) replication: Replication,
    /// What writes have done, for replicas and the append-only file.
    pub(crate) propagation: Propagation,
    pub(crate) started: Now,
    pub(crate) draining: bool,
    /// Writes values for DUMP.
    pub(crate) encoder: Encoder,
    pub(crate) saving: Saving,
    pub(crate) migrations: Migrations,
    pub(crate) pubsub: PubSub,
    pub(crate) blocking: Blocking,
    /// Expired keys are looked for, besides of those that are asked for.
    pub(crate) active_expire: bool,
    /// A client asked for DEBUG SLEEP.
    pub(crate) sleep_wished: Option<Duration>,
    /// Files are being loaded, and commands that need keys have to wait.
    pub(crate) loading: Option<LoadProgress>,
    /// The append-only file.
    pub(crate) log: AppendLog,
    /// Why writes are refused, if they are.
    pub(crate) disk_error: DiskError,
    /// The commands of a transaction are running, or those of a script.
    pub(crate) in_exec: bool,
    /// What a client is told just now has to wait until the cluster's file has what it changed.
    pub(crate) answers_when_saved: bool,
    pub(crate) scripts: Scripts,
    /// The end of the node, which somebody may have asked for.
    pub(crate) ending: Ending,
}

/// Which file can't be written, so that writes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskError {
    None,
    Rdb,
    Aof,
}

/// How far the loading of files at the start has come.
#[derive(Debug)]
pub(crate) struct LoadProgress {
    pub(crate) began: Now,
    pub(crate) total_bytes: u64,
    pub(crate) loaded_bytes: u64,
}

impl ServerState {
    pub(crate) fn new(
        config: Config,
        cluster: Option<Cluster>,
        random: &mut Random,
        started: Now,
    ) -> Self {
        let replication = Replication::new(&config, random, started);
        Self {
            config,
            config_changed: false,
            configuring: Configuring::default(),
            cluster,
            stats: Stats::default(),
            slow_log: SlowLog::default(),
            probe: Probe::default(),
            nanos: 0,
            run_id: hexadecimal_id(random),
            replication,
            propagation: Propagation::default(),
            started,
            draining: false,
            encoder: Encoder::default(),
            saving: Saving::new(started),
            migrations: Migrations::default(),
            pubsub: PubSub::default(),
            blocking: Blocking::default(),
            active_expire: true,
            sleep_wished: None,
            loading: None,
            log: AppendLog::default(),
            disk_error: DiskError::None,
            in_exec: false,
            answers_when_saved: false,
            scripts: Scripts::default(),
            ending: Ending::default(),
        }
    }

    /// Counts a command that has run since `began`; how many nanoseconds it took.
    #[inline]
    pub(crate) fn note_call(&mut self, command: &Command, began: u64, failed: bool) -> u64 {
        self.nanos = (self.probe.nanos)();
        let mut nanos = self.nanos.saturating_sub(began);
        if let Some(time) = self.sleep_wished {
            // It sleeps once the turn is over.
            nanos += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        }
        self.stats.commands += 1;
        let tracks_latency = self.config.latency_tracking;
        self.stats
            .calls
            .note(command.id, nanos, failed, tracks_latency);
        nanos
    }

    /// Whether a command that took so long belongs into the slow log.
    #[inline]
    pub(crate) fn is_slow(&self, command: &Command, nanos: u64) -> bool {
        let limit = self.config.slowlog_log_slower_than;
        u64::try_from(limit).is_ok_and(|limit| nanos / 1_000 >= limit)
            && !command.flags.contains(Flags::SKIP_SLOWLOG)
    }

    /// Writes a command of a client into the slow log.
    #[cold]
    pub(crate) fn note_slow(
        &mut self,
        session: &Session,
        request: &Request<'_>,
        nanos: u64,
        now: Now,
    ) {
        let caller = Caller {
            address: session.peer.remote.to_string(),
            name: session.name.to_vec(),
        };
        let times = (nanos / 1_000, now.unix_ms / 1_000);
        let len_max = self.config.slowlog_max_len;
        self.slow_log.add(request, times, caller, len_max);
    }

    /// How many databases there are; their numbers are those below.
    pub(crate) fn databases(&self) -> u32 {
        if self.cluster.is_some() {
            self.config.cluster_databases
        } else {
            self.config.databases
        }
    }

    /// Up to where what writes have done is as safe as the settings promise.
    pub(crate) fn safe_position(&self) -> u64 {
        if self.log.state != LogState::On {
            u64::MAX
        } else if self.syncs_each_write() {
            self.log.synced()
        } else if self.log.has_failed() {
            // Writes are refused from now on; these were taken and are kept to be written later.
            u64::MAX
        } else {
            self.log.written()
        }
    }

    /// Whether each write is brought to the disk at once.
    pub(crate) fn syncs_each_write(&self) -> bool {
        self.config.appendfsync == AppendFsync::Always && !self.spares_the_disk()
    }

    /// Whether nothing is brought to the disk as all keys are being written.
    pub(crate) fn spares_the_disk(&self) -> bool {
        self.config.no_appendfsync_on_rewrite && self.saving.running.is_some()
    }

    /// Whether the end of the node saves all keys, if nobody says otherwise.
    pub(crate) fn saves_at_the_end(&self) -> bool {
        self.saving.has_files && !self.config.save.is_empty() && self.loading.is_none()
    }

    /// Looks again whether writes have to be refused as what they do could not be kept.
    pub(crate) fn note_disk_error(&mut self) {
        let config = &self.config;
        let needs_saves = config.stop_writes_on_bgsave_error && !config.save.is_empty();
        self.disk_error = if needs_saves && self.saving.last_failed {
            DiskError::Rdb
        } else if self.log.has_failed() {
            DiskError::Aof
        } else {
            DiskError::None
        };
    }

    /// Why writes are refused while what they do could not be kept.
    #[cold]
    pub(crate) fn disk_refusal(&self) -> CommandError {
        CommandError::text(match self.disk_error {
            DiskError::Aof => {
                let reason = self.log.failure().unwrap_or_default();
                format!("MISCONF Errors writing to the AOF file: {reason}").into()
            }
            _ => Cow::Borrowed(BGSAVE_ERROR),
        })
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.replication.primary().is_none()
            && self.cluster.as_ref().is_none_or(Cluster::is_primary)
    }
}

/// Forty hexadecimal digits by chance.
pub(crate) fn hexadecimal_id(random: &mut Random) -> String {
    let mut id = String::new();
    while id.len() < ID_LEN {
        id.push_str(&format!("{:016x}", random.next()));
    }
    id.truncate(ID_LEN);
    id
}

pub(crate) const ID_LEN: usize = 40;

const BGSAVE_ERROR: &str = "MISCONF Redis is configured to save RDB snapshots, but it's \
    currently unable to persist to disk. Commands that may modify the data set are disabled, \
    because this instance is configured to report errors during writes if RDB snapshotting fails \
    (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
    error.";
