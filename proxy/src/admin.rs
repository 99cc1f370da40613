//! What the admin server answers: metrics, health, and the topology the proxy believes in.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use prometheus::Registry;
use serde::Serialize;
use slotway_protocol::cluster::{SLOTS, Topology};
use slotway_protocol::engine::Address;
use slotway_runtime::admin::{AdminResponse, AdminRoute, AdminRoutes};
use slotway_runtime::metrics::{TEXT_FORMAT, encode};

use crate::control::Reloader;

/// What the control thread knows, for those who ask; it is replaced as a whole, never locked.
#[derive(Debug, Default)]
pub(crate) struct View {
    topology: ArcSwapOption<Published>,
    /// When a node last said that the topology still holds, or gave a new one.
    confirmed: ArcSwapOption<Instant>,
    draining: AtomicBool,
}

/// A topology and when it came.
#[derive(Debug)]
struct Published {
    topology: Arc<Topology>,
    since: Instant,
}

impl View {
    pub(crate) fn set_topology(&self, topology: Arc<Topology>) {
        let since = Instant::now();
        self.topology
            .store(Some(Arc::new(Published { topology, since })));
    }

    /// A node has confirmed the topology just now.
    pub(crate) fn confirm(&self) {
        self.confirmed.store(Some(Arc::new(Instant::now())));
    }

    pub(crate) fn topology(&self) -> Option<Arc<Topology>> {
        Some(Arc::clone(&self.topology.load().as_ref()?.topology))
    }

    pub(crate) fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// How long ago a node last confirmed the topology; `None` before the first time.
    pub(crate) fn topology_age(&self) -> Option<Duration> {
        Some(self.confirmed.load().as_ref()?.elapsed())
    }

    /// Whether requests can be served, and why not.
    fn readiness(&self) -> Result<String, String> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining: this process is about to end".to_owned());
        }
        let covered = match &*self.topology.load() {
            Some(published) => published.topology.covered(),
            None => return Err("no node has told the topology yet".to_owned()),
        };
        let slots = format!("{covered} of {SLOTS} slots have a node");
        // With some slots uncovered the others still work, so a load balancer should not turn
        // away from every proxy at once.
        if covered > 0 { Ok(slots) } else { Err(slots) }
    }
}

/// The routes, to be handed to the admin server.
pub(crate) struct Routes {
    pub(crate) view: Arc<View>,
    pub(crate) registry: Registry,
    pub(crate) reloader: Rc<Reloader>,
}

impl AdminRoutes for Routes {
    fn routes(&self) -> &[AdminRoute] {
        &ROUTES
    }

    fn handle(&self, _method: &str, path: &str, _query: &str) -> AdminResponse {
        match path {
            "/metrics" => self.metrics(),
            "/live" => AdminResponse::text(200, "live\n"),
            "/ready" => match self.view.readiness() {
                Ok(why) => AdminResponse::text(200, format!("ready: {why}\n")),
                Err(why) => AdminResponse::text(503, format!("not ready: {why}\n")),
            },
            "/reload" => match self.reloader.reload() {
                Ok(text) => AdminResponse::text(200, format!("{text}\n")),
                Err(problem) => AdminResponse::text(400, format!("{problem}\n")),
            },
            _ => {
                assert_eq!(path, "/topology", "every route of the list is handled");
                self.topology()
            }
        }
    }
}

impl Routes {
    fn metrics(&self) -> AdminResponse {
        match encode(&self.registry) {
            Ok(text) => AdminResponse {
                status: 200,
                content_type: TEXT_FORMAT,
                body: text.into(),
            },
            Err(error) => AdminResponse::text(500, format!("{error}\n")),
        }
    }

    fn topology(&self) -> AdminResponse {
        let published = self.view.topology.load();
        let Some(Published { topology, since }) = published.as_deref() else {
            return AdminResponse::json(503, "{\"error\":\"no topology yet\"}\n");
        };
        let age = since.elapsed();
        let confirmed = self.view.topology_age().unwrap_or(age);
        match topology_json(topology, age, confirmed) {
            Ok(json) => AdminResponse::json(200, json),
            Err(error) => AdminResponse::text(500, format!("{error}\n")),
        }
    }
}

const ROUTES: [AdminRoute; 5] = [
    AdminRoute {
        method: "GET",
        path: "/metrics",
        about: "metrics for Prometheus",
    },
    AdminRoute {
        method: "GET",
        path: "/live",
        about: "200 while the process runs",
    },
    AdminRoute {
        method: "GET",
        path: "/ready",
        about: "200 when requests can be served, else 503 and why",
    },
    AdminRoute {
        method: "GET",
        path: "/topology",
        about: "shards, slots and nodes, as JSON",
    },
    AdminRoute {
        method: "POST",
        path: "/reload",
        about: "reads the configuration file again, as SIGHUP does",
    },
];

/// The answer of `/topology`.
#[derive(Serialize)]
struct TopologyAnswer {
    /// How long the topology is this one.
    age_ms: u128,
    /// How long ago it was last heard of.
    confirmed_ms_ago: u128,
    slots_covered: usize,
    shards: Vec<ShardAnswer>,
}

#[derive(Serialize)]
struct ShardAnswer {
    primary: String,
    replicas: Vec<String>,
    /// First and last slot of each range.
    slots: Vec<(u16, u16)>,
}

fn topology_json(
    topology: &Topology,
    age: Duration,
    confirmed: Duration,
) -> serde_json::Result<String> {
    let shards = topology.shards().iter().enumerate().map(|(index, shard)| {
        let ranges = topology.ranges(index).into_iter();
        ShardAnswer {
            primary: shard.primary.to_string(),
            replicas: shard.replicas.iter().map(Address::to_string).collect(),
            slots: ranges
                .map(|(first, last)| (first.number(), last.number()))
                .collect(),
        }
    });
    let answer = TopologyAnswer {
        age_ms: age.as_millis(),
        confirmed_ms_ago: confirmed.as_millis(),
        slots_covered: topology.covered(),
        shards: shards.collect(),
    };
    Ok(serde_json::to_string(&answer)? + "\n")
}

#[cfg(test)]
mod tests {
    use slotway_protocol::cluster::{Shard, Slot};

    use super::*;

    fn topology() -> Topology {
        let slot = |number| Slot::new(number).unwrap();
        let shard = |port, replicas: &[u16]| Shard {
            primary: Address::new("127.0.0.1", port),
            replicas: replicas
                .iter()
                .map(|port| Address::new("::1", *port))
                .collect(),
        };
        let mut topology = Topology::empty();
        topology.assign(slot(0), slot(99), shard(7000, &[7003]));
        topology.assign(slot(100), slot(16383), shard(7001, &[]));
        topology.assign(slot(200), slot(200), shard(7000, &[7003, 7004]));
        topology
    }

    fn routes() -> Routes {
        Routes {
            view: Arc::default(),
            registry: Registry::new(),
            reloader: Reloader::without_file(),
        }
    }

    fn ask(routes: &Routes, path: &str) -> (u16, String) {
        let answer = routes.handle("GET", path, "");
        let body = String::from_utf8(answer.body.to_vec()).unwrap();
        (answer.status, body)
    }

    #[test]
    fn a_topology_is_shown_as_json() {
        let (age, confirmed) = (Duration::from_millis(1500), Duration::from_millis(20));
        assert_eq!(
            topology_json(&topology(), age, confirmed).unwrap(),
            "{\"age_ms\":1500,\"confirmed_ms_ago\":20,\"slots_covered\":16384,\"shards\":[\
             {\"primary\":\"127.0.0.1:7000\",\"replicas\":[\"[::1]:7003\",\"[::1]:7004\"],\
             \"slots\":[[0,99],[200,200]]},\
             {\"primary\":\"127.0.0.1:7001\",\"replicas\":[],\
             \"slots\":[[100,199],[201,16383]]}]}\n"
        );
    }

    #[test]
    fn readiness_follows_the_topology_and_the_drain() {
        let routes = routes();
        let not_ready = "not ready: no node has told the topology yet\n";
        assert_eq!(ask(&routes, "/ready"), (503, not_ready.to_owned()));
        assert_eq!(ask(&routes, "/topology").0, 503);
        assert_eq!(ask(&routes, "/live").0, 200);

        let set = |topology| {
            routes.view.set_topology(Arc::new(topology));
        };
        set(Topology::empty());
        let not_ready = "not ready: 0 of 16384 slots have a node\n";
        assert_eq!(ask(&routes, "/ready"), (503, not_ready.to_owned()));

        set(topology());
        let ready = "ready: 16384 of 16384 slots have a node\n";
        assert_eq!(ask(&routes, "/ready"), (200, ready.to_owned()));
        assert_eq!(ask(&routes, "/topology").0, 200);

        routes.view.set_draining();
        let not_ready = "not ready: draining: this process is about to end\n";
        assert_eq!(ask(&routes, "/ready"), (503, not_ready.to_owned()));
        assert_eq!(ask(&routes, "/live").0, 200);
    }

    #[test]
    fn every_listed_route_is_answered() {
        let routes = routes();
        for route in routes.routes() {
            assert!(
                [200, 400, 503].contains(&ask(&routes, route.path).0),
                "{}",
                route.path
            );
        }
    }
}
