//! On the control thread, the nodes are asked how far they are, for whoever looks at the metrics.

use std::sync::Arc;

use slotway::lag::{Event, LagWatch, Options, Seen};
use slotway_protocol::cluster::Topology;
use slotway_runtime::Driver;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::driver_options;
use crate::config::Config;

/// What comes to be seen of the nodes; nothing where the workers ask them themselves, or where
/// nobody could be told.
pub(super) fn follow(config: &Config, mut topologies: watch::Receiver<Arc<Topology>>) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let cluster = &config.cluster;
    let interval = cluster.lag_check_interval;
    if interval.is_zero() || cluster.reads.is_on() || config.admin.listen.is_none() {
        return seen;
    }
    let options = Options {
        interval,
        answer_timeout: cluster.command_timeout,
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
