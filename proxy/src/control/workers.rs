//! The worker threads: started, told of topologies and of the drain, and stopped.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use slotway::engine::{self, Agreed, LargeKeys, Memory, Options, Program, Proxy, Stats, Suspicion};
use slotway_protocol::cluster::Topology;
use slotway_protocol::command::Learned;
use slotway_protocol::engine::Address;
use slotway_runtime::signals::{Drained, Signals};
use slotway_runtime::worker::SendError;
use slotway_runtime::{WorkerHandle, WorkerOptions, spawn_worker};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_local;

use super::finding::random_seed;
use super::story::tell_holds;
use super::{StartError, driver_options, system};
use crate::config::Config;
use crate::trails::{Followers, SpanCounts};

pub(super) type Worker = WorkerHandle<engine::Event>;

/// The worker threads and what they tell the control thread.
pub(super) struct Workers {
    pub(super) handles: Vec<Worker>,
    pub(super) stats: Vec<Arc<Stats>>,
    /// Some worker has seen that the topology is not true any more; any number of such sightings
    /// is one.
    pub(super) stale: Arc<Notify>,
    /// Nodes to which workers have lost a connection. What has no room is lost again soon.
    lost: Option<mpsc::Receiver<Address>>,
    /// What workers tell of requests that had to wait.
    stories: Option<mpsc::Receiver<engine::HoldStory>>,
    /// What clients have changed for all workers; however often, the newest is all there is.
    pub(super) agreed: Arc<watch::Sender<Arc<Agreed>>>,
    /// The number of each worker that has no client left; one may say so more than once.
    drained: mpsc::UnboundedReceiver<usize>,
    /// The workers for each other, once all of them are there.
    peers: Peers,
    /// Where requests go that the workers have followed.
    followers: Followers,
}

type Peers = Arc<OnceLock<Vec<Worker>>>;

impl Workers {
    pub(super) fn start(
        config: &Config,
        program: &Arc<Program>,
        memory: &Arc<Memory>,
    ) -> Result<Self, StartError> {
        let stale = Arc::new(Notify::new());
        let (lost_sender, lost) = mpsc::channel(LOST_MAX);
        let (stories_sender, stories) = mpsc::channel(LOST_MAX);
        let (drained_sender, drained) = mpsc::unbounded_channel();
        let (agreed, _) = watch::channel(Arc::default());
        let agreed = Arc::new(agreed);
        let stats: Vec<Arc<Stats>> = (0..config.proxy.workers).map(|_| Arc::default()).collect();
        let (followers, sinks) = Followers::start(config).map_err(system("the traces"))?;
        let mut workers = Self {
            handles: Vec::new(),
            stats: stats.clone(),
            stale,
            lost: Some(lost),
            stories: Some(stories),
            agreed,
            drained,
            peers: Peers::default(),
            followers,
        };
        let large_keys = Arc::new(LargeKeys::new(random_seed()));
        for (worker, own) in stats.iter().enumerate() {
            let own = Arc::clone(own);
            let options = Options {
                workers: stats.clone().into(),
                program: Arc::clone(program),
                memory: Arc::clone(memory),
                random_seed: random_seed(),
                large_keys: Arc::clone(&large_keys),
                ..config.engine_options(worker)
            };
            let agreed = Arc::clone(&workers.agreed);
            let stale = Arc::clone(&workers.stale);
            let (lost, drained) = (lost_sender.clone(), drained_sender.clone());
            let (stories, sinks) = (stories_sender.clone(), sinks.clone());
            let (peers, counted) = (Arc::clone(&workers.peers), Arc::clone(&own));
            let on_notice = move |notice| match notice {
                engine::Notice::TopologyStale => stale.notify_one(),
                engine::Notice::NodeLost { address } => drop(lost.try_send(address)),
                engine::Notice::LoginRefused { address, text } => {
                    tracing::warn!(node = %address, reply = %text, "a node refuses our login");
                }
                engine::Notice::Suspicious { client, suspicion } => warn_of(client, suspicion),
                engine::Notice::Agreed(newer) => {
                    agreed.send_modify(|all| Arc::make_mut(all).merge(&newer));
                }
                // One that finds no room is not told.
                engine::Notice::Held(story) => drop(stories.try_send(*story)),
                engine::Notice::Followed(trail) => sinks.take(*trail, &counted),
                // Nobody listens before the drain has begun and after it has ended.
                engine::Notice::Peers(message) => pass_on(&message, &peers, &counted),
                engine::Notice::Drained => drop(drained.send(worker)),
            };
            let handle = spawn_worker(
                &format!("worker-{worker}"),
                worker_options(config),
                move || Proxy::new(options, own),
                on_notice,
            );
            workers
                .handles
                .push(handle.map_err(system("a worker thread"))?);
        }
        // Nobody else sets it.
        let _ = workers.peers.set(workers.handles.clone());
        Ok(workers)
    }

    /// Where the nodes come from to which workers have lost a connection; asked for once.
    pub(super) fn take_lost(&mut self) -> mpsc::Receiver<Address> {
        self.lost.take().expect("it is asked for once")
    }

    /// From now on each worker is given every new topology, what is learned of commands and
    /// databases, and what the others have changed.
    pub(super) fn follow(
        &mut self,
        topologies: &watch::Receiver<Arc<Topology>>,
        commands: &watch::Receiver<Arc<Learned>>,
        databases: &watch::Receiver<u32>,
    ) {
        spawn_local(log_changes(self.agreed.subscribe()));
        if let Some(stories) = self.stories.take() {
            spawn_local(tell_holds(stories));
        }
        for worker in &self.handles {
            let (topologies, agreed) = (topologies.clone(), self.agreed.subscribe());
            spawn_local(deliver(topologies, engine::Event::Topology, worker.clone()));
            let commands = commands.clone();
            spawn_local(deliver(commands, engine::Event::Commands, worker.clone()));
            let databases = databases.clone();
            spawn_local(deliver(databases, engine::Event::Databases, worker.clone()));
            spawn_local(deliver(agreed, engine::Event::Agreed, worker.clone()));
        }
    }

    /// Lets the clients have the replies they still expect.
    pub(super) async fn drain(&mut self, signals: &mut Signals, timeout: Duration) {
        let clients: usize = self.handles.iter().map(Worker::connections).sum();
        tracing::info!(clients, "draining; a second signal ends it at once");
        for worker in &self.handles {
            spawn_local(deliver_drain(worker.clone()));
        }
        let in_time = Cell::new(false);
        let (handles, drained) = (&self.handles, &mut self.drained);
        let all = async {
            all_drained(handles.len(), drained).await;
            // What a worker had not taken from its queue before it said so is closed by now, or
            // will be in a moment.
            while handles.iter().any(|worker| worker.connections() > 0) {
                tokio::time::sleep(RETRY).await;
            }
        };
        let outcome = signals
            .drain(async { in_time.set(tokio::time::timeout(timeout, all).await.is_ok()) })
            .await;
        match outcome {
            Drained::Completely if in_time.get() => tracing::info!("drained"),
            Drained::Completely => tracing::warn!("clients remained, but the time was over"),
            Drained::CutShort => tracing::warn!("cut short by a second signal"),
        }
    }

    /// What became of the spans of followed requests.
    pub(super) fn span_counts(&self) -> Arc<SpanCounts> {
        Arc::clone(&self.followers.counts)
    }

    pub(super) async fn stop(self) {
        for worker in &self.handles {
            worker.stop();
        }
        for worker in &self.handles {
            worker.join();
        }
        self.followers.finish().await;
    }
}

/// The engine sees to it that this is not said too often.
fn warn_of(client: SocketAddr, suspicion: Suspicion) {
    let what = match suspicion {
        Suspicion::Login => "a client says a wrong user name or password",
        Suspicion::Logins => {
            "too many wrong passwords from one address; no more are looked at for a while"
        }
        Suspicion::Http => "a client speaks HTTP, perhaps from a browser that was made to; cut off",
        Suspicion::Tls => "a client speaks TLS, which this port does not; cut off",
        Suspicion::Garbage => "a client speaks nothing that can be understood; cut off",
    };
    tracing::warn!(%client, "{what}");
}

/// Gives a message to the workers that it is for, straight from the one that it is from. One whose
/// queue is full does not get it.
fn pass_on(message: &engine::Message, peers: &OnceLock<Vec<Worker>>, stats: &Stats) {
    let all = peers.get().map_or(&[][..], Vec::as_slice);
    for (peer, worker) in (0..).zip(all) {
        let is_for = message.to.map_or(peer != message.from, |to| peer == to);
        if is_for && worker.send(engine::Event::Peer(message.clone())).is_err() {
            stats.peer_messages_lost.inc();
        }
    }
}

/// Tells of what clients, or a file read again, have changed, but not as often as clients can
/// change it.
async fn log_changes(mut agreed: watch::Receiver<Arc<Agreed>>) {
    while agreed.changed().await.is_ok() {
        let changes = agreed.borrow_and_update().to_string();
        tracing::info!("changed: {changes}");
        tokio::time::sleep(LOG_INTERVAL).await;
    }
}

/// Gives one worker each new value as an event; one that is replaced before the worker takes it
/// is skipped.
async fn deliver<T: Clone>(
    mut values: watch::Receiver<T>,
    event: fn(T) -> engine::Event,
    worker: Worker,
) {
    while values.changed().await.is_ok() {
        loop {
            let value = values.borrow_and_update().clone();
            match worker.send(event(value)) {
                Ok(()) => break,
                Err(SendError::Full(_)) => tokio::time::sleep(RETRY).await,
                Err(SendError::Stopped(_)) => return,
            }
        }
    }
}

/// Returns when each of so many workers has said that it has no client left, or is gone.
async fn all_drained(workers: usize, drained: &mut mpsc::UnboundedReceiver<usize>) {
    let mut busy: BTreeSet<usize> = (0..workers).collect();
    while !busy.is_empty()
        && let Some(worker) = drained.recv().await
    {
        busy.remove(&worker);
    }
}

async fn deliver_drain(worker: Worker) {
    while let Err(SendError::Full(_)) = worker.send(engine::Event::Drain) {
        tokio::time::sleep(RETRY).await;
    }
}

fn worker_options(config: &Config) -> WorkerOptions {
    WorkerOptions {
        driver: driver_options(config),
        ..WorkerOptions::default()
    }
}

/// How many nodes that were lost may wait for the control thread.
const LOST_MAX: usize = 64;

/// How soon another change is told of.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait before offering an event again to a worker that has no room for it.
const RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use slotway_runtime::worker::local_runtime;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn a_worker_that_says_twice_that_it_is_done_speaks_for_no_other() {
        let runtime = local_runtime().unwrap();
        runtime.block_on(async {
            let (sender, mut drained) = mpsc::unbounded_channel();
            let wait = Duration::from_millis(20);
            for worker in [0, 2, 0, 2] {
                sender.send(worker).unwrap();
            }
            let mut all = std::pin::pin!(all_drained(3, &mut drained));
            assert!(timeout(wait, &mut all).await.is_err(), "one is not done");
            sender.send(1).unwrap();
            assert!(timeout(wait, &mut all).await.is_ok());
        });
    }

    #[test]
    fn workers_that_are_gone_are_not_waited_for() {
        let runtime = local_runtime().unwrap();
        runtime.block_on(async {
            let (sender, mut drained) = mpsc::unbounded_channel();
            sender.send(0).unwrap();
            drop(sender);
            let all = all_drained(2, &mut drained);
            assert!(timeout(Duration::from_secs(1), all).await.is_ok());
        });
    }
}
