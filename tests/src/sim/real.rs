//! The programs under test, as the simulator sees them.

use core::time::Duration;
use std::sync::Arc;

use slotway::discovery::{self, Discovery};
use slotway::engine::{self as proxy, Proxy, Stats};
use slotway_node::{
    ClusterConfig, ClusterView, Config, Event as NodeEvent, Exported, Node, NodeConfig, NodeInfo,
    Notice as NodeNotice,
};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{Address, Engine, Instant, Now};

use super::host::Host;
use super::machine::{Keeper, Limits, Machine, Mood, Payload, Signal, Stimulus, Subject};
use super::random::Random;
use super::scenario::Scenario;
use super::view::View;

/// A proxy with the scenario's limits.
pub fn proxy(scenario: &Scenario, random: Random) -> Box<dyn Machine> {
    let options = proxy::Options {
        command_timeout: Duration::from_secs(1),
        hold_timeout: Duration::from_micros(HOLD_MICROS),
        client_in_flight_max: scenario.in_flight_max,
        client_output_bytes_max: scenario.output_bytes_max,
        // The large values of the workload take turns.
        large_request: LARGE_VALUE,
        large_reply: LARGE_VALUE,
        // Clients never have very many, so half of the seeds take some for that.
        many_keys_min: if scenario.seed.is_multiple_of(2) {
            2
        } else {
            4096
        },
        ..proxy::Options::default()
    };
    let engine = Proxy::new(options, Arc::new(Stats::new()));
    Box::new(Host::new(engine, limits(scenario), random))
}

/// Of the values that a scenario calls large nearly all are larger.
const LARGE_VALUE: usize = 33_200;

/// A discovery that knows all nodes.
pub fn discovery(_: &Scenario, seeds: Vec<Address>, mut random: Random) -> Box<dyn Machine> {
    let options = discovery::Options {
        seeds,
        credentials: None,
        refresh_interval: Duration::from_secs(1),
        answer_timeout: Duration::from_millis(500),
        commands_interval: Duration::from_secs(1),
        addresses: discovery::Addresses::default(),
        assist_failover: false,
        random_seed: random.next(),
    };
    Box::new(Host::new(Discovery::new(options), Limits::NONE, random))
}

/// A node without keys.
pub fn node(_: &Scenario, view: View, mut random: Random) -> Box<dyn Machine> {
    let config = NodeConfig {
        config: Config {
            // The proxies of a simulated network are at other addresses.
            protected_mode: false,
            cluster_enabled: true,
            ..Config::default()
        },
        cluster: Some(ClusterConfig {
            me: node_id(view.me),
            view: cluster_view(&view),
        }),
        seed: random.next(),
    };
    let started = Now {
        instant: Instant::default(),
        unix_ms: 0,
    };
    Box::new(Host::new(Node::new(config, started), Limits::NONE, random))
}

/// What may wait in the proxy: the limit it was told, and the replies that were under way when
/// it was reached.
fn limits(scenario: &Scenario) -> Limits {
    let reply_bytes = if scenario.large_values {
        400_000
    } else {
        40_000
    };
    let in_flight = scenario.in_flight_max.min(scenario.pipeline) + 1;
    Limits {
        accepted_output_bytes: scenario.output_bytes_max + in_flight * reply_bytes,
        connected_output_bytes: scenario.clients * in_flight * reply_bytes,
    }
}

impl Subject for Proxy {
    fn event(stimulus: Stimulus) -> Option<proxy::Event> {
        match stimulus {
            Stimulus::Topology(topology) => Some(proxy::Event::Topology(topology)),
            Stimulus::Refresh => None,
        }
    }

    fn signals(notice: proxy::Notice) -> Vec<Signal> {
        match notice {
            proxy::Notice::TopologyStale => vec![Signal::TopologyStale],
            _ => Vec::new(),
        }
    }

    fn check(&self, _: u64) {
        self.check_invariants();
    }

    fn waits_for(&self) -> Option<String> {
        let left @ [tasks, privates, merges, held] = self.work_left();
        (left != [0; 4]).then(|| {
            format!(
                "a proxy has {tasks} tasks, {privates} private connections in use, {merges} merges \
                 and {held} held requests"
            )
        })
    }
}

impl Subject for Discovery {
    fn event(stimulus: Stimulus) -> Option<discovery::Event> {
        matches!(stimulus, Stimulus::Refresh).then_some(discovery::Event::Stale)
    }

    fn signals(notice: discovery::Notice) -> Vec<Signal> {
        match notice {
            discovery::Notice::Topology(topology) => vec![Signal::Topology(topology)],
            _ => Vec::new(),
        }
    }

    fn check(&self, _: u64) {}
}

impl Subject for Node {
    fn event(_: Stimulus) -> Option<NodeEvent> {
        None
    }

    fn signals(_: NodeNotice) -> Vec<Signal> {
        Vec::new()
    }

    fn check(&self, step: u64) {
        if step.is_multiple_of(SLOW_CHECK_STEPS) {
            self.check_invariants();
        }
    }

    fn keeper(&mut self) -> Option<&mut dyn Keeper> {
        Some(self)
    }
}

impl Keeper for Node {
    fn set_view(&mut self, view: &View, now: Now) {
        self.handle_event(NodeEvent::SetView(Box::new(cluster_view(view))), now);
    }

    fn export(&mut self, key: &[u8]) -> Option<Payload> {
        Some(Box::new(self.export_key(key)?))
    }

    fn import(&mut self, _: &[u8], payload: Payload) {
        self.import_key(
            *payload
                .downcast::<Exported>()
                .expect("all nodes are of one kind"),
        );
    }

    fn set_mood(&mut self, _: Option<Mood>) -> bool {
        false
    }
}

fn cluster_view(view: &View) -> ClusterView {
    let info = |node: usize| {
        let Address { host, port } = &view.addresses[node];
        let id = node_id(node);
        NodeInfo {
            epoch: view.epochs[node],
            failed: view.failed.contains(&node),
            ..match view.primaries[node] {
                None => NodeInfo::primary(id, host, *port),
                Some(primary) => NodeInfo::replica(id, host, *port, node_id(primary)),
            }
        }
    };
    let mut cluster = ClusterView::new(view.listed().into_iter().map(info).collect());
    cluster.require_full_coverage = view.full_coverage || view.is_isolated;
    let slot = |number: u16| Slot::new(u64::from(number)).expect("a view has only slots");
    for (first, last, node) in view.ranges() {
        cluster.assign(slot(first), slot(last), Some(&node_id(node)));
    }
    for (slot, to) in &view.migrating {
        cluster.set_migrating(*slot, Some(node_id(*to)));
    }
    for (slot, from) in &view.importing {
        cluster.set_importing(*slot, Some(node_id(*from)));
    }
    cluster
}

fn node_id(node: usize) -> String {
    format!("{node:040x}")
}

/// How long the proxy tries requests again that are not served.
pub const HOLD_MICROS: u64 = 4_000_000;

/// A look at all of a node's slots takes long.
const SLOW_CHECK_STEPS: u64 = 512;
