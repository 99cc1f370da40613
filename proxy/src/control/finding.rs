//! The discovery on the control thread, and what its notices come to: topologies, log lines, the
//! verdict that no seed is part of a cluster.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slotway::discovery::{self, Discovery, Outcome, Story};
use slotway_protocol::cluster::Topology;
use slotway_protocol::command::Learned;
use slotway_protocol::engine::Address;
use slotway_runtime::{Driver, DriverHandle};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::spawn_local;

use super::driver_options;
use super::metrics::ControlMetrics;
use super::story::{Losses, tell_changes};
use crate::admin::View;
use crate::config::Config;

/// What the discovery needs to start.
pub(super) struct Discovering {
    pub(super) seeds: Vec<Address>,
    /// Rung by whoever doubts the topology.
    pub(super) stale: Arc<Notify>,
    pub(super) view: Arc<View>,
    pub(super) metrics: Arc<ControlMetrics>,
}

/// What comes out of the discovery.
pub(super) struct Found {
    pub(super) topologies: watch::Receiver<Arc<Topology>>,
    /// The commands that the nodes have besides those of the table.
    pub(super) commands: watch::Receiver<Arc<Learned>>,
    /// How many databases the nodes have.
    pub(super) databases: watch::Receiver<u32>,
    /// Told the seeds when none of them is part of a cluster.
    pub(super) no_cluster: oneshot::Receiver<String>,
}

impl Discovering {
    /// Starts the discovery on this thread. To the nodes that come out of `lost`, a connection was
    /// lost.
    pub(super) fn start(self, config: &Config, lost: mpsc::Receiver<Address>) -> Found {
        let options = discovery::Options {
            seeds: self.seeds.clone(),
            credentials: config.credentials(),
            refresh_interval: config.cluster.refresh_interval,
            answer_timeout: config.cluster.connect_timeout,
            commands_interval: config.cluster.commands_interval,
            addresses: config.cluster.addresses.clone(),
            assist_failover: config.cluster.assist_failover,
            random_seed: random_seed(),
        };
        let stale = Arc::clone(&self.stale);
        let (mut findings, found) = self.findings();
        let losses = findings.losses.clone();
        let discovery = Driver::start(
            Discovery::new(options),
            driver_options(config),
            move |notice| findings.handle(notice),
        );
        spawn_local(forward_lost(lost, losses, discovery.clone()));
        spawn_local(forward_stale(stale, discovery));
        found
    }

    fn findings(self) -> (Findings, Found) {
        let (topologies, receiver) = watch::channel(Arc::new(Topology::empty()));
        let (commands, commands_receiver) = watch::channel(Arc::default());
        let (databases, databases_receiver) = watch::channel(1);
        let (no_cluster, when_no_cluster) = oneshot::channel();
        let findings = Findings {
            view: self.view,
            metrics: self.metrics,
            topologies,
            commands,
            databases,
            commands_problem: None,
            seeds: self.seeds,
            not_a_cluster: BTreeSet::new(),
            no_cluster: Some(no_cluster),
            logged: None,
            problem: None,
            losses: Losses::default(),
        };
        let found = Found {
            topologies: receiver,
            commands: commands_receiver,
            databases: databases_receiver,
            no_cluster: when_no_cluster,
        };
        (findings, found)
    }
}

/// What the notices of the discovery come to.
struct Findings {
    view: Arc<View>,
    metrics: Arc<ControlMetrics>,
    topologies: watch::Sender<Arc<Topology>>,
    commands: watch::Sender<Arc<Learned>>,
    databases: watch::Sender<u32>,
    /// Why commands could not be learned, as logged last; a problem that lasts is logged once.
    commands_problem: Option<String>,
    seeds: Vec<Address>,
    /// Seeds that said, when last asked, that they are no cluster.
    not_a_cluster: BTreeSet<Address>,
    /// Where to say that no seed is one. Gone once some node has told a topology.
    no_cluster: Option<oneshot::Sender<String>>,
    /// When a problem was last logged.
    logged: Option<Instant>,
    /// Why a node could not be asked, the latest of such reasons.
    problem: Option<String>,
    losses: Losses,
}

impl Findings {
    fn handle(&mut self, notice: discovery::Notice) {
        match notice {
            discovery::Notice::Topology(topology) => self.take_topology(topology),
            discovery::Notice::Commands(learned) => self.take_commands(learned),
            discovery::Notice::Databases(databases) => {
                tracing::info!(databases, "the nodes say how many databases they have");
                self.metrics.databases.set(databases.into());
                self.databases.send_replace(databases);
            }
            discovery::Notice::CommandsUnknown { address, reason } => {
                if self.commands_problem.as_ref() != Some(&reason) {
                    tracing::warn!(node = %address, %reason, "a node does not tell its commands");
                    self.commands_problem = Some(reason);
                }
            }
            discovery::Notice::Refreshed {
                answered,
                trigger,
                epoch,
            } => {
                self.metrics.refreshes[trigger as usize][usize::from(!answered)].inc();
                self.metrics.epoch.set(epoch as i64);
                if answered {
                    self.view.confirm();
                    self.logged = None;
                } else {
                    self.log_problem();
                }
            }
            discovery::Notice::Unreachable { address, reason } => {
                tracing::debug!(node = %address, %reason, "can't ask for the topology");
                self.not_a_cluster.remove(&address);
                self.problem = Some(format!("{address}: {reason}"));
            }
            discovery::Notice::Assisting => self.metrics.assist_attempts.inc(),
            discovery::Notice::Assisted(story) => self.tell(&story),
            discovery::Notice::NotACluster { address } => {
                self.problem = Some(format!("{address}: cluster support disabled"));
                self.not_a_cluster.insert(address);
                self.judge_seeds();
            }
        }
    }

    fn take_topology(&mut self, topology: Arc<Topology>) {
        let shards = topology.shards().len();
        let slots = topology.covered();
        tracing::info!(shards, slots, "new topology");
        if let Some(before) = self.view.topology() {
            tell_changes(&before, &topology, &self.losses);
        }
        self.metrics.count_topology(&topology);
        self.no_cluster = None;
        self.logged = None;
        self.view.set_topology(Arc::clone(&topology));
        self.topologies.send_replace(topology);
    }

    fn take_commands(&mut self, learned: Arc<Learned>) {
        self.commands_problem = None;
        let names: Vec<&str> = learned.all().map(|command| command.name).collect();
        let shown = names[..names.len().min(LOGGED_NAMES)].join(" ");
        let more = if names.len() > LOGGED_NAMES {
            " ..."
        } else {
            ""
        };
        tracing::info!("learned {} commands: {shown}{more}", names.len());
        if learned.left_out() > 0 {
            let left_out = learned.left_out();
            tracing::warn!(left_out, "some commands of the nodes could not be learned");
        }
        self.metrics.commands_learned.set(names.len() as i64);
        self.metrics
            .commands_left_out
            .set(learned.left_out() as i64);
        self.commands.send_replace(learned);
    }

    /// Counts and logs what became of a primary whose process is gone.
    fn tell(&self, story: &Story) {
        let counter = match &story.outcome {
            Outcome::Succeeded => &self.metrics.assist_succeeded,
            Outcome::Refused(_) => &self.metrics.assist_refused,
            Outcome::Suppressed(_) => &self.metrics.assist_suppressed,
        };
        counter.inc();
        tracing::warn!("{story}");
    }

    /// Says that nobody answers: at once, and then now and again.
    fn log_problem(&mut self) {
        let is_due = self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY);
        if is_due && let Some(problem) = self.problem.take() {
            self.logged = Some(Instant::now());
            let has_topology = self.view.topology().is_some();
            let then = if has_topology {
                "keeping the last topology"
            } else {
                "waiting"
            };
            tracing::warn!(%problem, "no node tells the topology; {then} and asking again");
        }
    }

    /// Waiting is of no use when every seed is up and is something else.
    fn judge_seeds(&mut self) {
        let all = self
            .seeds
            .iter()
            .all(|seed| self.not_a_cluster.contains(seed));
        if all && let Some(no_cluster) = self.no_cluster.take() {
            // The program ends with this, so it must not log as well that it goes on asking.
            self.problem = None;
            let seeds: Vec<String> = self.seeds.iter().map(ToString::to_string).collect();
            // The receiver is gone when a signal has come first.
            let _ = no_cluster.send(seeds.join(", "));
        }
    }
}

/// However many workers say that the topology is stale, the discovery hears it once.
async fn forward_stale(stale: Arc<Notify>, discovery: DriverHandle<Discovery>) {
    loop {
        stale.notified().await;
        discovery.send(discovery::Event::Stale);
    }
}

/// Each node to which a worker has lost a connection is told to the discovery.
async fn forward_lost(
    mut lost: mpsc::Receiver<Address>,
    losses: Losses,
    discovery: DriverHandle<Discovery>,
) {
    while let Some(address) = lost.recv().await {
        losses.note(&address, Instant::now());
        discovery.send(discovery::Event::Lost(address));
    }
}

/// Two proxies that start together should not ask the same node at the same moment for ever.
pub(super) fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A problem that lasts is logged this often.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// So many names of learned commands are logged.
const LOGGED_NAMES: usize = 20;

#[cfg(test)]
mod tests {
    use discovery::Notice;
    use slotway_protocol::cluster::{SLOTS, Shard, Slot};

    use super::*;

    fn node(port: u16) -> Address {
        Address::new("127.0.0.1", port)
    }

    fn not_a_cluster(port: u16) -> Notice {
        Notice::NotACluster {
            address: node(port),
        }
    }

    fn unreachable(port: u16) -> Notice {
        let reason = "connection refused".to_owned();
        Notice::Unreachable {
            address: node(port),
            reason,
        }
    }

    fn refreshed(answered: bool) -> Notice {
        Notice::Refreshed {
            answered,
            trigger: discovery::Trigger::Interval,
            epoch: 7,
        }
    }

    fn topology() -> Arc<Topology> {
        let mut topology = Topology::empty();
        let (first, last) = (Slot::new(0).unwrap(), Slot::new(SLOTS as u64 - 1).unwrap());
        let shard = Shard {
            primary: node(1),
            replicas: Vec::new(),
        };
        topology.assign(first, last, shard);
        Arc::new(topology)
    }

    fn start() -> (Findings, Found) {
        let discovering = Discovering {
            seeds: vec![node(1), node(2)],
            stale: Arc::default(),
            view: Arc::default(),
            metrics: Arc::default(),
        };
        discovering.findings()
    }

    #[test]
    fn only_when_every_seed_says_so_there_is_no_cluster() {
        let (mut findings, mut found) = start();
        findings.handle(not_a_cluster(1));
        findings.handle(not_a_cluster(1));
        assert!(found.no_cluster.try_recv().is_err());
        findings.handle(not_a_cluster(2));
        assert_eq!(
            found.no_cluster.try_recv().unwrap(),
            "127.0.0.1:1, 127.0.0.1:2"
        );
        findings.handle(refreshed(false));
        assert!(findings.logged.is_none(), "it says that it waits, and ends");
        // It is said once, to somebody who may be gone.
        findings.handle(not_a_cluster(2));
    }

    #[test]
    fn a_seed_that_went_away_may_come_back_as_a_cluster() {
        let (mut findings, mut found) = start();
        findings.handle(not_a_cluster(1));
        findings.handle(unreachable(1));
        findings.handle(not_a_cluster(2));
        assert!(found.no_cluster.try_recv().is_err());
    }

    #[test]
    fn a_cluster_that_was_there_once_is_not_given_up() {
        let (mut findings, mut found) = start();
        findings.handle(Notice::Topology(topology()));
        findings.handle(not_a_cluster(1));
        findings.handle(not_a_cluster(2));
        assert!(found.no_cluster.try_recv().is_err());
    }

    #[test]
    fn a_topology_reaches_the_workers_and_the_view() {
        let (mut findings, mut found) = start();
        assert!(!found.topologies.has_changed().unwrap());
        findings.handle(Notice::Topology(topology()));
        assert!(found.topologies.has_changed().unwrap());
        assert_eq!(*found.topologies.borrow_and_update(), topology());
        assert_eq!(findings.view.topology(), Some(topology()));
        assert_eq!(findings.metrics.topologies.value(), 1);
    }

    #[test]
    fn a_lasting_problem_is_logged_seldom_and_again_after_a_success() {
        let (mut findings, _found) = start();
        let failed = refreshed(false);
        findings.handle(unreachable(1));
        assert!(findings.logged.is_none());
        findings.handle(failed.clone());
        let first = findings.logged.unwrap();
        findings.handle(unreachable(2));
        findings.handle(failed.clone());
        assert_eq!(findings.logged, Some(first));
        assert_eq!(findings.metrics.refreshes[1][1].value(), 2);

        findings.handle(refreshed(true));
        findings.handle(unreachable(2));
        findings.handle(failed);
        assert!(findings.logged.unwrap() > first);
    }
}
