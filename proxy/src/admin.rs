//! What the admin server answers: metrics, health, and the topology the proxy believes in.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::Registry;
use slotway_protocol::cluster::{SLOTS, Topology};
use slotway_protocol::engine::Address;
use slotway_runtime::admin::{AdminResponse, AdminRoute, AdminRoutes};
use slotway_runtime::metrics::{TEXT_FORMAT, encode};

/// What the control thread knows, for those who ask over HTTP.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The latest topology, and when it came.
    pub(crate) topology: RefCell<Option<(Arc<Topology>, Instant)>>,
    /// When a node last said that the topology still holds, or gave a new one.
    pub(crate) confirmed: Cell<Option<Instant>>,
    pub(crate) draining: Cell<bool>,
}

impl View {
    /// Whether requests can be served, and why not.
    fn readiness(&self) -> Result<String, String> {
        if self.draining.get() {
            return Err("draining: this process is about to end".to_owned());
        }
        let covered = match &*self.topology.borrow() {
            Some((topology, _)) => topology.covered(),
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
    pub(crate) view: Rc<View>,
    pub(crate) registry: Registry,
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
        match &*self.view.topology.borrow() {
            Some((topology, since)) => {
                let confirmed = self.view.confirmed.get().unwrap_or(*since);
                let json = topology_json(topology, since.elapsed(), confirmed.elapsed());
                AdminResponse::json(200, json)
            }
            None => AdminResponse::json(503, "{\"error\":\"no topology yet\"}\n"),
        }
    }
}

const ROUTES: [AdminRoute; 4] = [
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
];

/// The topology as JSON. `age` is how long it has been this one, `confirmed` how long ago it was
/// last heard of.
fn topology_json(topology: &Topology, age: Duration, confirmed: Duration) -> String {
    let shards = topology.shards().iter().enumerate().map(|(index, shard)| {
        let ranges = topology.ranges(index).into_iter();
        let slots = ranges.map(|(first, last)| format!("[{first},{last}]"));
        let replicas = shard.replicas.iter().map(address_json);
        format!(
            "{{\"primary\":{},\"replicas\":[{}],\"slots\":[{}]}}",
            address_json(&shard.primary),
            join(replicas),
            join(slots)
        )
    });
    format!(
        "{{\"age_ms\":{},\"confirmed_ms_ago\":{},\"slots_covered\":{},\"shards\":[{}]}}\n",
        age.as_millis(),
        confirmed.as_millis(),
        topology.covered(),
        join(shards)
    )
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

fn address_json(address: &Address) -> String {
    let mut json = String::from("\"");
    for c in address.to_string().chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => {
                // Writing to a string can't fail.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
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
            view: Rc::default(),
            registry: Registry::new(),
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
            topology_json(&topology(), age, confirmed),
            "{\"age_ms\":1500,\"confirmed_ms_ago\":20,\"slots_covered\":16384,\"shards\":[\
             {\"primary\":\"127.0.0.1:7000\",\"replicas\":[\"[::1]:7003\",\"[::1]:7004\"],\
             \"slots\":[[0,99],[200,200]]},\
             {\"primary\":\"127.0.0.1:7001\",\"replicas\":[],\
             \"slots\":[[100,199],[201,16383]]}]}\n"
        );
    }

    #[test]
    fn a_host_cannot_break_out_of_its_string() {
        let address = Address::new("a\"b\\c\n", 1);
        assert_eq!(address_json(&address), "\"a\\\"b\\\\c\\u000a:1\"");
    }

    #[test]
    fn readiness_follows_the_topology_and_the_drain() {
        let routes = routes();
        let not_ready = "not ready: no node has told the topology yet\n";
        assert_eq!(ask(&routes, "/ready"), (503, not_ready.to_owned()));
        assert_eq!(ask(&routes, "/topology").0, 503);
        assert_eq!(ask(&routes, "/live").0, 200);

        let set = |topology| {
            *routes.view.topology.borrow_mut() = Some((Arc::new(topology), Instant::now()));
        };
        set(Topology::empty());
        let not_ready = "not ready: 0 of 16384 slots have a node\n";
        assert_eq!(ask(&routes, "/ready"), (503, not_ready.to_owned()));

        set(topology());
        let ready = "ready: 16384 of 16384 slots have a node\n";
        assert_eq!(ask(&routes, "/ready"), (200, ready.to_owned()));
        assert_eq!(ask(&routes, "/topology").0, 200);

        routes.view.draining.set(true);
        let not_ready = "not ready: draining: this process is about to end\n";
        assert_eq!(ask(&routes, "/ready"), (503, not_ready.to_owned()));
        assert_eq!(ask(&routes, "/live").0, 200);
    }

    #[test]
    fn every_listed_route_is_answered() {
        let routes = routes();
        for route in routes.routes() {
            assert!(
                [200, 503].contains(&ask(&routes, route.path).0),
                "{}",
                route.path
            );
        }
    }
}
