//! What the admin server answers: metrics, health, and the topology the proxy believes in.

mod hot;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus::Registry;
use serde::Serialize;
use slotway::engine::{Program, Stats};
use slotway_node::server::metrics::metrics_response;
use slotway_node::server::watch::{self, Watch};
use slotway_protocol::cluster::{SLOTS, Topology};
use slotway_protocol::engine::Address;
use slotway_runtime::admin::{AdminResponse, AdminRoute, AdminRoutes, Events, LaterResponse};
use slotway_runtime::logging::LogControl;
use slotway_runtime::metrics::{TEXT_FORMAT, encode};
use tokio::task::spawn_local;

use self::hot::hot_json;
use crate::control::Reloader;
use crate::status::{self, Status};

/// What the control thread knows, for those who ask; it is replaced as a whole, never locked.
#[derive(Debug)]
pub(crate) struct View {
    started: Instant,
    topology: ArcSwapOption<Published>,
    /// When a node last said that the topology still holds, or gave a new one.
    confirmed: ArcSwapOption<Instant>,
    draining: AtomicBool,
    /// Nodes that the topology does not name any more, and since when.
    left: ArcSwap<Vec<(Address, Instant)>>,
}

/// A topology and when it came.
#[derive(Debug)]
struct Published {
    topology: Arc<Topology>,
    since: Instant,
}

impl Default for View {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            topology: ArcSwapOption::default(),
            confirmed: ArcSwapOption::default(),
            draining: AtomicBool::new(false),
            left: ArcSwap::default(),
        }
    }
}

impl View {
    pub(crate) fn set_topology(&self, topology: Arc<Topology>) {
        let since = Instant::now();
        self.note_left(&topology, since);
        self.topology
            .store(Some(Arc::new(Published { topology, since })));
    }

    fn note_left(&self, topology: &Topology, now: Instant) {
        let mut left: Vec<(Address, Instant)> = self.left.load().to_vec();
        if let Some(before) = self.topology() {
            left.extend(members(&before).map(|node| (node.clone(), now)));
        }
        let here: BTreeSet<&Address> = members(topology).collect();
        left.retain(|(node, since)| now - *since < LEFT_SHOWN && !here.contains(node));
        let surplus = left.len().saturating_sub(LEFT_MAX);
        left.drain(..surplus);
        self.left.store(Arc::new(left));
    }

    /// Nodes that the topology has ceased to name within the last minutes.
    pub(crate) fn left(&self) -> Vec<Address> {
        let left = self.left.load();
        let recent = left
            .iter()
            .filter(|(_, since)| since.elapsed() < LEFT_SHOWN);
        recent.map(|(node, _)| node.clone()).collect()
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

    /// How long no node has confirmed the topology.
    pub(crate) fn silence(&self) -> Duration {
        self.topology_age()
            .unwrap_or_else(|| self.started.elapsed())
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether requests can be served, and why not.
    pub(crate) fn readiness(&self) -> Result<String, String> {
        if self.is_draining() {
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

fn members(topology: &Topology) -> impl Iterator<Item = &Address> {
    let shards = topology.shards().iter();
    shards.flat_map(|shard| shard.replicas.iter().chain([&shard.primary]))
}

/// For how long a node that has left is still told of, and how many there may be: enough for
/// Prometheus to see what ended it.
const LEFT_SHOWN: Duration = Duration::from_mins(5);
const LEFT_MAX: usize = 64;

/// The routes, to be handed to the admin server.
pub(crate) struct Routes {
    pub(crate) view: Arc<View>,
    pub(crate) registry: Registry,
    pub(crate) reloader: Rc<Reloader>,
    pub(crate) status: Rc<Status>,
    pub(crate) program: Arc<Program>,
    pub(crate) workers: Vec<Arc<Stats>>,
    pub(crate) log: Option<Rc<LogControl>>,
    /// The nodes in this process, with their names.
    pub(crate) nodes: Vec<(String, Watch)>,
}

impl AdminRoutes for Routes {
    fn routes(&self) -> &[AdminRoute] {
        &ROUTES
    }

    fn file(&self, path: &str) -> Option<AdminResponse> {
        status::file(path)
    }

    fn events(&self, path: &str) -> Option<Events> {
        if path == "/events" {
            self.status.watch()
        } else {
            None
        }
    }

    fn later(&self, path: &str) -> Option<LaterResponse> {
        let is_asked = path == "/metrics/nodes" && !self.nodes.is_empty();
        is_asked.then(|| -> LaterResponse { Box::pin(node_metrics(self.nodes.clone())) })
    }

    fn handle(&self, method: &str, path: &str, query: &str) -> AdminResponse {
        match path {
            "/metrics" => self.metrics(),
            "/metrics/nodes" => AdminResponse::text(404, NO_NODES),
            "/live" => AdminResponse::text(200, "live\n"),
            "/ready" => match self.view.readiness() {
                Ok(why) => AdminResponse::text(200, format!("ready: {why}\n")),
                Err(why) => AdminResponse::text(503, format!("not ready: {why}\n")),
            },
            "/hot" => self.hot(query),
            "/status" => self.status.latest(),
            "/history" => self.status.history(query),
            "/events" => AdminResponse::text(503, "too many listen already\n"),
            "/log" => self.log(method, query),
            "/reload" => match self.reloader.reload() {
                Ok(text) => AdminResponse::text(200, format!("{text}\n")),
                Err(problem) => AdminResponse::text(400, format!("{problem}\n")),
            },
            "/topology" => self.topology(),
            file => status::file(file)
                .unwrap_or_else(|| AdminResponse::text(404, "there is no such file\n")),
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

    /// What is logged; PUT changes it first.
    fn log(&self, method: &str, query: &str) -> AdminResponse {
        let Some(log) = &self.log else {
            return AdminResponse::text(503, "there is no log\n");
        };
        if method == "PUT" {
            let filter = query.strip_prefix("filter=").and_then(percent_decoded);
            let Some(filter) = filter else {
                return AdminResponse::text(400, "say what to log: /log?filter=info\n");
            };
            if let Err(error) = log.set_filter(&filter) {
                return AdminResponse::text(400, format!("{error}\n"));
            }
            tracing::warn!(%filter, "what is logged was changed");
        }
        AdminResponse::text(200, format!("{}\n", log.filter()))
    }

    fn hot(&self, query: &str) -> AdminResponse {
        let topology = self.view.topology();
        match hot_json(query, &self.workers, &self.program, topology.as_deref()) {
            Ok(json) => AdminResponse::json(200, json),
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

/// Asks all nodes at once, so that one that is stuck does not hold the others up.
async fn node_metrics(nodes: Vec<(String, Watch)>) -> AdminResponse {
    let asked = nodes
        .into_iter()
        .map(|(node, watch)| spawn_local(async move { (Some(node), watch.ask().await) }));
    let mut answers = Vec::new();
    for answer in asked.collect::<Vec<_>>() {
        match answer.await {
            Ok(answer) => answers.push(answer),
            Err(error) => return AdminResponse::text(500, format!("{error}\n")),
        }
    }
    metrics_response(watch::families(&answers))
}

const NO_NODES: &str = "there is no node in this process; a slotway-node shows its own metrics \
    where its metrics-port says\n";

/// What `%NN` stand for.
fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}

const ROUTES: [AdminRoute; 13] = [
    AdminRoute {
        method: "GET",
        path: "/metrics",
        about: "metrics for Prometheus",
    },
    AdminRoute {
        method: "GET",
        path: "/metrics/nodes",
        about: "the same of the nodes in this process",
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
        path: "/",
        about: "the status page, for a browser",
    },
    AdminRoute {
        method: "GET",
        path: "/status",
        about: "what the page shows of this second, as JSON",
    },
    AdminRoute {
        method: "GET",
        path: "/history",
        about: "the last 15 minutes, second by second, as JSON; since=UNIX-TIME",
    },
    AdminRoute {
        method: "GET",
        path: "/events",
        about: "the same each second, as server-sent events",
    },
    AdminRoute {
        method: "GET",
        path: "/topology",
        about: "shards, slots and nodes, as JSON",
    },
    AdminRoute {
        method: "GET",
        path: "/hot",
        about: "hot keys, hot slots and large values, as JSON; count=N, slots=all",
    },
    AdminRoute {
        method: "GET",
        path: "/log",
        about: "what is logged",
    },
    AdminRoute {
        method: "PUT",
        path: "/log",
        about: "changes it until the proxy stops: /log?filter=info,slotway=debug",
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
            status: Status::new(Registry::new(), Arc::default()),
            program: Arc::default(),
            workers: Vec::new(),
            log: None,
            nodes: Vec::new(),
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
    fn nodes_that_have_left_are_known_for_a_while() {
        let view = View::default();
        view.set_topology(Arc::new(topology()));
        assert_eq!(view.left(), []);
        let slot = Slot::new(0).unwrap();
        let mut smaller = Topology::empty();
        let shard = Shard {
            primary: Address::new("127.0.0.1", 7000),
            replicas: vec![Address::new("::1", 7004)],
        };
        smaller.assign(slot, slot, shard);
        view.set_topology(Arc::new(smaller));
        let gone = [Address::new("::1", 7003), Address::new("127.0.0.1", 7001)];
        assert_eq!(view.left(), gone);
        view.set_topology(Arc::new(topology()));
        assert_eq!(view.left(), [], "they are back");
    }

    #[test]
    fn a_query_may_be_escaped() {
        for (text, expected) in [
            ("info,a=debug", Some("info,a=debug")),
            ("info%2Ca%3ddebug%20", Some("info,a=debug ")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decoded(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn every_listed_route_is_answered() {
        let routes = routes();
        for route in routes.routes() {
            let (status, text) = ask(&routes, route.path);
            // There is no node in this process.
            let is_answered = [200, 400, 503].contains(&status) || text == NO_NODES;
            assert!(is_answered, "{}", route.path);
        }
        let (status, page) = ask(&routes, "/");
        assert!(status == 200 && page.contains("status.js"), "{page}");
    }
}
