//! On the control thread, the nodes are asked how far they are, for whoever looks at the metrics.

use std::sync::Arc;

use slotway::lag::{Event, LagWatch, Options, Seen};
use slotway_protocol::cluster::Topology;
use slotway_runtime::Driver;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::driver_options;
use crate::config::Config;

/// Whether there is a connection to each node for it.
pub(super) fn is_on(config: &Config) -> bool {
    let cluster = &config.cluster;
    let is_asked_by_workers = cluster.reads.is_on();
    config.admin.listen.is_some() && !cluster.lag_check_interval.is_zero() && !is_asked_by_workers
}

/// What comes to be seen of the nodes; nothing where the workers ask them themselves, or where
/// nobody could be told.
pub(super) fn follow(config: &Config, mut topologies: watch::Receiver<Arc<Topology>>) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    if !is_on(config) {
        return seen;
    }
    let options = Options {
        interval: config.cluster.lag_check_interval,
        answer_timeout: config.cluster.command_timeout,
        credentials: config.credentials(),
    };
    let engine = LagWatch::new(options, Arc::clone(&seen));
    let nodes = Driver::start(engine, driver_options(config), |notice| match notice {});
    spawn_local(async move {
        while topologies.changed().await.is_ok() {
            let topology = topologies.borrow_and_update().clone();
            nodes.send(Event::Topology(topology));
        }
    });
    seen
}
