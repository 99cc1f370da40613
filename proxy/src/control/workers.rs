//! The worker threads: started, told of topologies and of the drain, and stopped.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use slotway::engine::{self, Proxy, Stats};
use slotway_protocol::cluster::Topology;
use slotway_runtime::signals::{Drained, Signals};
use slotway_runtime::worker::SendError;
use slotway_runtime::{WorkerHandle, WorkerOptions, spawn_worker};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_local;

use super::{StartError, driver_options, system};
use crate::config::Config;

pub(super) type Worker = WorkerHandle<engine::Event>;

/// The worker threads and what they tell the control thread.
pub(super) struct Workers {
    pub(super) handles: Vec<Worker>,
    pub(super) stats: Vec<Arc<Stats>>,
    /// Some worker has seen that the topology is not true any more; any number of such sightings
    /// is one.
    pub(super) stale: Arc<Notify>,
    /// One message from each worker that has no client left.
    drained: mpsc::UnboundedReceiver<()>,
}

impl Workers {
    pub(super) fn start(config: &Config) -> Result<Self, StartError> {
        let stale = Arc::new(Notify::new());
        let (drained_sender, drained) = mpsc::unbounded_channel();
        let mut workers = Self {
            handles: Vec::new(),
            stats: Vec::new(),
            stale,
            drained,
        };
        for worker in 0..config.proxy.workers {
            let stats = Arc::new(Stats::new());
            workers.stats.push(Arc::clone(&stats));
            let options = config.engine_options(worker);
            let stale = Arc::clone(&workers.stale);
            let drained = drained_sender.clone();
            let on_notice = move |notice| match notice {
                engine::Notice::TopologyStale => stale.notify_one(),
                engine::Notice::LoginRefused { address, text } => {
                    tracing::warn!(node = %address, reply = %text, "a node refuses our login");
                }
                // Nobody listens before the drain has begun and after it has ended.
                engine::Notice::Drained => drop(drained.send(())),
            };
            let handle = spawn_worker(
                &format!("worker-{worker}"),
                worker_options(config),
                move || Proxy::new(options, stats),
                on_notice,
            );
            workers
                .handles
                .push(handle.map_err(system("a worker thread"))?);
        }
        Ok(workers)
    }

    /// From now on each worker is given every new topology.
    pub(super) fn follow(&self, topologies: &watch::Receiver<Arc<Topology>>) {
        for worker in &self.handles {
            spawn_local(deliver_topologies(topologies.clone(), worker.clone()));
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
        let all = async {
            for _ in 0..self.handles.len() {
                self.drained.recv().await;
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

    pub(super) fn stop(&self) {
        for worker in &self.handles {
            worker.stop();
        }
        for worker in &self.handles {
            worker.join();
        }
    }
}

/// Gives one worker each new topology; one that is replaced before the worker takes it is
/// skipped.
async fn deliver_topologies(mut topologies: watch::Receiver<Arc<Topology>>, worker: Worker) {
    while topologies.changed().await.is_ok() {
        loop {
            let topology = Arc::clone(&topologies.borrow_and_update());
            match worker.send(engine::Event::Topology(topology)) {
                Ok(()) => break,
                Err(SendError::Full(_)) => tokio::time::sleep(RETRY).await,
                Err(SendError::Stopped(_)) => return,
            }
        }
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

/// How long to wait before offering an event again to a worker that has no room for it.
const RETRY: Duration = Duration::from_millis(5);
