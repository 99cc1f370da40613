//! The status page: what the proxy has seen in the last fifteen minutes and what is wrong now, for
//! a browser. It is read from the metrics once a second, whether or not anybody looks.

mod history;
mod problems;
mod reading;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prometheus::Registry;
use serde::Serialize;
use slotway_runtime::admin::{AdminResponse, Broadcaster, Events, event};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin::View;
use history::{FIELDS, History, Sample};
use problems::{Before, Problem, Problems, Standing, is_silent};
use reading::Reading;

/// What the page shows, and who looks at it.
pub(crate) struct Status {
    registry: Registry,
    view: Arc<View>,
    seen: RefCell<Seen>,
    watchers: Broadcaster,
}

#[derive(Debug, Default)]
struct Seen {
    history: History,
    problems: Problems,
    /// The latest, as it was told.
    told: Option<String>,
}

impl Status {
    pub(crate) fn new(registry: Registry, view: Arc<View>) -> Rc<Self> {
        Rc::new(Self {
            registry,
            view,
            seen: RefCell::default(),
            watchers: Broadcaster::new(WATCHERS_MAX),
        })
    }

    /// Looks once a second until told to stop.
    pub(crate) async fn follow(self: Rc<Self>, stop: CancellationToken) {
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = seconds.tick() => self.look(unix_seconds()),
                () = stop.cancelled() => return self.watchers.end(),
            }
        }
    }

    fn look(&self, time: f64) {
        let reading = Reading::of(&self.registry.gather());
        let seen = &mut *self.seen.borrow_mut();
        let sample = seen.history.take(time, reading).cloned();
        let history = &seen.history;
        let (Some(now), Some(minute_ago)) = (history.latest(), history.minute_ago()) else {
            return;
        };
        let before = Before {
            moment: history.moment_ago(),
            minute_ago,
        };
        let standing = self.standing();
        let problems = seen.problems.find(now, before, &standing, time);
        let news = self.news(&seen.history, now, &standing, problems, time, sample);
        match serde_json::to_string(&news) {
            Ok(json) => {
                self.watchers.send(&event("news", &json));
                seen.told = Some(json);
            }
            Err(error) => tracing::warn!(%error, "the status can't be told"),
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            is_draining: self.view.is_draining(),
            not_ready: self.view.readiness().err(),
            silence_seconds: self.view.silence().as_secs_f64(),
        }
    }

    fn news<'a>(
        &self,
        history: &History,
        now: &'a Reading,
        standing: &Standing,
        problems: Vec<Problem>,
        time: f64,
        sample: Option<Sample>,
    ) -> News<'a> {
        let moment = history.moment_ago();
        let nodes = now.nodes.iter().map(|(address, node)| {
            let rates = history.rates_of(address, node);
            NodeNews {
                address,
                role: if node.is_primary {
                    "primary"
                } else {
                    "replica"
                },
                state: match () {
                    () if node.has_left => "gone",
                    () if !node.is_up => "down",
                    () if is_silent(moment.and_then(|it| it.nodes.get(address)), node) => "silent",
                    () if node.circuits_open > 0.0 => "refusing",
                    () => "up",
                },
                slots: node.slots,
                connections: node.connections,
                in_flight: node.in_flight,
                requests: rates.requests,
                latency_ms: rates.latency_ms,
                errors: rates.errors,
                lag_ms: node.lag_seconds.map(|seconds| seconds * 1_000.0),
            }
        });
        News {
            time,
            version: env!("CARGO_PKG_VERSION"),
            ready: standing.not_ready.is_none(),
            slots_covered: now.slots_covered,
            epoch: now.epoch,
            clients: now.clients,
            clients_max: now.clients_max,
            memory_bytes: now.memory_bytes,
            memory_max: now.memory_max,
            problems,
            nodes: nodes.collect(),
            sample,
        }
    }

    /// What a new watcher is told: all there is, and then each second.
    pub(crate) fn watch(&self) -> Option<Events> {
        self.watchers.subscribe(self.all())
    }

    fn all(&self) -> Bytes {
        let seen = self.seen.borrow();
        let samples: Vec<&Sample> = seen.history.samples().collect();
        let history = serde_json::json!({ "fields": FIELDS, "samples": samples });
        let mut events = event("history", &history.to_string()).to_vec();
        if let Some(told) = &seen.told {
            events.extend_from_slice(&event("news", told));
        }
        events.into()
    }

    /// The seconds after that Unix time, for programs.
    pub(crate) fn history(&self, query: &str) -> AdminResponse {
        let since = query.split('&').find_map(|it| it.strip_prefix("since="));
        let since: f64 = match since.map_or(Ok(0.0), str::parse) {
            Ok(since) => since,
            Err(_) => return AdminResponse::text(400, "since is a Unix time in seconds\n"),
        };
        let seen = self.seen.borrow();
        let is_later = |sample: &&Sample| sample[0].is_some_and(|time| time > since);
        let samples: Vec<&Sample> = seen.history.samples().filter(is_later).collect();
        let history = serde_json::json!({ "fields": FIELDS, "samples": samples });
        AdminResponse::json(200, format!("{history}\n"))
    }

    /// The latest, for programs.
    pub(crate) fn latest(&self) -> AdminResponse {
        match &self.seen.borrow().told {
            Some(json) => AdminResponse::json(200, format!("{json}\n")),
            None => AdminResponse::json(503, "{\"error\":\"nothing was looked at yet\"}\n"),
        }
    }
}

/// The page and what belongs to it; `None` for another path.
pub(crate) fn file(path: &str) -> Option<AdminResponse> {
    let (content_type, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "/status.css" => ("text/css; charset=utf-8", include_str!("page/status.css")),
        "/status.js" => (JAVASCRIPT, include_str!("page/status.js")),
        "/cluster-map.js" => (JAVASCRIPT, include_str!("page/cluster-map.js")),
        "/uplot.js" => (JAVASCRIPT, include_str!("page/uplot/uPlot.iife.min.js")),
        "/uplot.css" => (
            "text/css; charset=utf-8",
            include_str!("page/uplot/uPlot.min.css"),
        ),
        _ => return None,
    };
    Some(AdminResponse {
        status: 200,
        content_type,
        body: Bytes::from_static(text.as_bytes()),
    })
}

/// How things are, told each second.
#[derive(Serialize)]
struct News<'a> {
    time: f64,
    version: &'static str,
    ready: bool,
    slots_covered: f64,
    epoch: f64,
    clients: f64,
    clients_max: f64,
    memory_bytes: f64,
    memory_max: f64,
    problems: Vec<Problem>,
    nodes: Vec<NodeNews<'a>>,
    /// The second that has passed, as the fields of `history` say.
    sample: Option<Sample>,
}

#[derive(Serialize)]
struct NodeNews<'a> {
    address: &'a str,
    role: &'static str,
    state: &'static str,
    slots: f64,
    connections: f64,
    in_flight: f64,
    /// Of the last second.
    requests: f64,
    latency_ms: Option<f64>,
    errors: f64,
    /// Of a replica, where it is known.
    lag_ms: Option<f64>,
}

fn unix_seconds() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// How many browsers are told at a time; more are asked to come later.
const WATCHERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_after_a_time_are_told() {
        let status = Status::new(Registry::new(), Arc::default());
        assert_eq!(status.latest().status, 503);
        for time in 100..105 {
            status.look(f64::from(time));
        }
        assert_eq!(status.latest().status, 200);
        let times = |query: &str| {
            let answer = status.history(query);
            assert_eq!(answer.status, 200, "{query}");
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(told["fields"][0], "time");
            let samples = told["samples"].as_array().unwrap().clone();
            let times = samples.iter().map(|sample| sample[0].as_f64().unwrap());
            times.collect::<Vec<_>>()
        };
        assert_eq!(times(""), [101.0, 102.0, 103.0, 104.0]);
        assert_eq!(times("a=b&since=102"), [103.0, 104.0]);
        assert_eq!(times("since=1e9"), [0.0; 0]);
        assert_eq!(status.history("since=now").status, 400);
    }
}
