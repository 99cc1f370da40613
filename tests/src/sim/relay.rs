//! A proxy so simple that it is right by looking at it: one request of a client at a time, one
//! key at a time, no connection shared. It shows that the simulation finds nothing in a right
//! proxy and something in a broken one, which it is with a flaw.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use slotway_protocol::cluster::{Redirect, Slot, Topology};
use slotway_protocol::engine::{
    Action, Address, CloseWhen, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now,
    Origin, Peer,
};
use slotway_protocol::output::Output;

use super::flaw::Flaw;
use super::machine::{Signal, Stimulus, Subject};
use super::relay_job::Job;
use super::resp::{self, Read, Value};

/// The proxy.
pub struct Relay {
    flaw: Option<Flaw>,
    topology: Arc<Topology>,
    clients: BTreeMap<ConnectionId, Client>,
    backends: BTreeMap<Route, Backend>,
    routes: BTreeMap<ConnectionId, Route>,
    tokens: Vec<Route>,
    /// Clients whose request is to be sent again, and when.
    retries: BTreeSet<(Instant, ConnectionId)>,
    /// Clients that wait for the first topology.
    unrouted: Vec<ConnectionId>,
    actions: VecDeque<Action<()>>,
}

/// A client's own connection to a node, in one of the two protocols.
type Route = (ConnectionId, bool, Address);

#[derive(Default)]
struct Client {
    output: Output,
    queue: VecDeque<Vec<Vec<u8>>>,
    job: Option<Job>,
    resp3: bool,
    ended: bool,
    paused: bool,
}

#[derive(Default)]
struct Backend {
    connection: Option<ConnectionId>,
    output: Output,
    /// Replies to what the relay itself has asked, which come first.
    skip: usize,
    /// A part is on its way.
    busy: bool,
    /// Since when the node has been silent.
    heard: Instant,
}

impl Relay {
    pub fn new(flaw: Option<Flaw>) -> Self {
        Self {
            flaw,
            topology: Arc::new(Topology::empty()),
            clients: BTreeMap::new(),
            backends: BTreeMap::new(),
            routes: BTreeMap::new(),
            tokens: Vec::new(),
            retries: BTreeSet::new(),
            unrouted: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    /// Answers or begins a client's requests until one has to wait.
    fn go_on(&mut self, id: ConnectionId, now: Now) {
        while let Some(client) = self.clients.get_mut(&id)
            && client.job.is_none()
            && let Some(args) = client.queue.pop_front()
        {
            match answer(client, &args) {
                Some(reply) => self.reply(id, &reply),
                None => {
                    client.job = Some(Job::new(args));
                    self.send_part(id, None, now);
                }
            }
        }
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let is_idle = client.job.is_none() && client.queue.is_empty();
        if client.paused && client.queue.len() < QUEUE_MAX / 2 {
            client.paused = false;
            self.actions.push_back(Action::Resume(id));
        } else if client.ended && is_idle {
            let when = CloseWhen::Flushed;
            self.actions.push_back(Action::Close {
                connection: id,
                when,
            });
        }
    }

    fn reply(&mut self, id: ConnectionId, reply: &Value) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let mut bytes = Vec::new();
        resp::write(&mut bytes, reply);
        client.output.push(&bytes);
        self.actions.push_back(Action::Wake(id));
    }

    /// Sends the part in turn to the slot's owner, or elsewhere behind an ASKING if told so.
    fn send_part(&mut self, id: ConnectionId, redirect: Option<Redirect>, now: Now) {
        let Some(client) = self.clients.get(&id) else {
            return;
        };
        let Some(args) = client.job.as_ref().and_then(|job| job.parts.front()) else {
            return;
        };
        let Some(owner) = self.topology.owner(Slot::of(&args[1])) else {
            return self.unrouted.push(id);
        };
        let (address, asking) = match redirect {
            None => (self.topology.shards()[owner].primary.clone(), false),
            Some(Redirect::Moved { address, .. }) => (address, false),
            Some(Redirect::Ask { address, .. }) => (address, true),
        };
        let mut bytes = Vec::new();
        if asking {
            resp::write_request(&mut bytes, &["ASKING"]);
        }
        resp::write_request(&mut bytes, args);
        let route = (id, client.resp3, address);
        if !self.backends.contains_key(&route) {
            self.connect(&route);
        }
        let backend = self.backends.get_mut(&route).expect("it was just added");
        backend.skip += usize::from(asking);
        backend.busy = true;
        backend.heard = now.instant;
        backend.output.push(&bytes);
        self.actions.extend(backend.connection.map(Action::Wake));
    }

    fn connect(&mut self, route: &Route) {
        let mut backend = Backend::default();
        if route.1 {
            let mut hello = Vec::new();
            resp::write_request(&mut hello, &["HELLO", "3"]);
            backend.output.push(&hello);
            backend.skip = 1;
        }
        self.backends.insert(route.clone(), backend);
        let token = ConnectToken(self.tokens.len() as u32);
        self.tokens.push(route.clone());
        self.actions.push_back(Action::Connect {
            token,
            address: route.2.clone(),
        });
    }

    fn take_reply(&mut self, route: &Route, reply: Value, now: Now) {
        let Some(backend) = self.backends.get_mut(route) else {
            return;
        };
        backend.heard = now.instant;
        if backend.skip > 0 {
            backend.skip -= 1;
            return;
        }
        if !std::mem::take(&mut backend.busy) {
            // A reply to nothing.
            return self.cut(route, now);
        }
        let Value::Error(text) = &reply else {
            return self.finish_part(route.0, reply, now);
        };
        if let Some(redirect) = Redirect::parse(text, &route.2) {
            self.actions.push_back(Action::Notify(()));
            let (Redirect::Moved { address, .. } | Redirect::Ask { address, .. }) = &redirect;
            if self.topology.has_node(address) || self.flaw == Some(Flaw::FollowsAnywhere) {
                return self.send_part(route.0, Some(redirect), now);
            }
            return self.retry(route.0, now);
        }
        let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        if PASSING.contains(&word) && self.flaw != Some(Flaw::HoldsNothing) {
            return self.retry(route.0, now);
        }
        self.finish_part(route.0, reply, now);
    }

    /// Ends a connection that is of no use any more.
    fn cut(&mut self, route: &Route, now: Now) {
        if let Some(connection) = self.backends.get(route).and_then(|it| it.connection) {
            self.routes.remove(&connection);
            let when = CloseWhen::Now;
            self.actions.push_back(Action::Close { connection, when });
        }
        self.lose(route, now);
    }

    fn retry(&mut self, id: ConnectionId, now: Now) {
        self.actions.push_back(Action::Notify(()));
        if self.flaw == Some(Flaw::ForgetsRetry) {
            return;
        }
        self.retries
            .insert((now.instant + Duration::from_millis(5), id));
    }

    fn finish_part(&mut self, id: ConnectionId, reply: Value, now: Now) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let job = client.job.as_mut().expect("a reply belongs to a request");
        job.replies.push(reply);
        job.parts.pop_front();
        if !job.parts.is_empty() {
            return self.send_part(id, None, now);
        }
        let reply = client.job.take().map(Job::merge).expect("there was one");
        self.reply(id, &reply);
        self.go_on(id, now);
    }

    /// A connection is gone: a part that was sent whole and writes is not sent again.
    fn lose(&mut self, route: &Route, now: Now) {
        let Some(backend) = self.backends.remove(route).filter(|it| it.busy) else {
            return;
        };
        let client = self.clients.get(&route.0);
        let job = client.and_then(|client| client.job.as_ref());
        let reads = job.is_some_and(|job| READS.contains(&&job.name[..]));
        let is_sent = backend.output.is_empty();
        if reads || !is_sent || self.flaw == Some(Flaw::SendsAgain) {
            return self.retry(route.0, now);
        }
        self.finish_part(route.0, Value::Error(UNKNOWN.to_vec()), now);
    }

    /// Ends connections whose nodes have been silent for too long.
    fn end_silent(&mut self, now: Now) {
        let is_late = |backend: &Backend| backend.late_at().is_some_and(|at| at <= now.instant);
        let late = self.backends.iter().filter(|(_, backend)| is_late(backend));
        let late: Vec<Route> = late.map(|(route, _)| route.clone()).collect();
        for route in late {
            if self.flaw != Some(Flaw::KeepsLateConnection) {
                self.cut(&route, now);
            } else if let Some(backend) = self.backends.get_mut(&route) {
                backend.busy = false;
                self.finish_part(route.0, Value::Error(UNKNOWN.to_vec()), now);
            }
        }
    }
}

impl Backend {
    fn late_at(&self) -> Option<Instant> {
        let waits = self.busy && self.connection.is_some();
        waits.then(|| self.heard + SILENCE_MAX)
    }
}

/// The reply to what needs no node.
fn answer(client: &mut Client, args: &[Vec<u8>]) -> Option<Value> {
    let text = |text: String| Some(Value::Error(text.into_bytes()));
    match (&args[0].to_ascii_uppercase()[..], args.len()) {
        (b"PING", 1) => Some(Value::Simple(b"PONG".to_vec())),
        (b"ECHO", 2) => Some(Value::Bulk(args[1].clone())),
        (b"HELLO", 2) => {
            client.resp3 = args[1] == b"3";
            Some(if client.resp3 {
                Value::Map(Vec::new())
            } else {
                Value::Array(Vec::new())
            })
        }
        (b"GET", 1) => text("ERR wrong number of arguments for 'get' command".to_owned()),
        (_, 1) => text(format!(
            "ERR unknown command '{}'",
            String::from_utf8_lossy(&args[0])
        )),
        _ => None,
    }
}

impl Engine for Relay {
    type Event = Arc<Topology>;
    type Notice = ();

    fn handle_open(&mut self, connection: ConnectionId, peer: Peer, now: Now) {
        let Origin::Connected(token) = peer.origin else {
            self.clients.insert(connection, Client::default());
            return;
        };
        let route = self.tokens[token.0 as usize].clone();
        match self.backends.get_mut(&route) {
            Some(backend) => {
                backend.connection = Some(connection);
                backend.heard = now.instant;
                self.actions.push_back(Action::Wake(connection));
            }
            None => self.actions.push_back(Action::Close {
                connection,
                when: CloseWhen::Now,
            }),
        }
        self.routes.insert(connection, route);
    }

    fn handle_connect_failed(&mut self, token: ConnectToken, _: ConnectError, now: Now) {
        let route = self.tokens[token.0 as usize].clone();
        self.backends.remove(&route);
        self.retry(route.0, now);
    }

    fn handle_input(&mut self, connection: ConnectionId, input: &mut BytesMut, now: Now) {
        let route = self.routes.get(&connection).cloned();
        loop {
            let paused = self
                .clients
                .get(&connection)
                .is_some_and(|client| client.paused);
            let (value, len) = match resp::read(input) {
                Read::Whole(value, len) => (value, len),
                Read::Incomplete => return,
                Read::Broken => {
                    input.clear();
                    return route.iter().for_each(|route| self.cut(route, now));
                }
            };
            if paused {
                return;
            }
            input.advance(len);
            if route.is_some() && !self.routes.contains_key(&connection) {
                return input.clear();
            }
            if let Some(route) = &route {
                self.take_reply(route, value, now);
            } else if let Some(client) = self.clients.get_mut(&connection) {
                client
                    .queue
                    .push_back(resp::arguments(value).expect("clients send requests"));
                if client.queue.len() >= QUEUE_MAX {
                    client.paused = true;
                    self.actions.push_back(Action::Pause(connection));
                }
                self.go_on(connection, now);
            }
        }
    }

    fn handle_end(&mut self, connection: ConnectionId, now: Now) {
        if let Some(client) = self.clients.get_mut(&connection) {
            client.ended = true;
            return self.go_on(connection, now);
        }
        self.actions.push_back(Action::Close {
            connection,
            when: CloseWhen::Now,
        });
    }

    fn handle_close(&mut self, connection: ConnectionId, now: Now) {
        if let Some(route) = self.routes.remove(&connection) {
            return self.lose(&route, now);
        }
        self.clients.remove(&connection);
        let routes: Vec<Route> = self
            .backends
            .keys()
            .filter(|route| route.0 == connection)
            .cloned()
            .collect();
        for backend in routes
            .iter()
            .filter_map(|route| self.backends.remove(route))
        {
            let close = |connection| Action::Close {
                connection,
                when: CloseWhen::Now,
            };
            self.actions.extend(backend.connection.map(close));
        }
    }

    fn handle_written(&mut self, _: ConnectionId, _: Now) {}

    fn handle_timeout(&mut self, now: Now) {
        while let Some((at, id)) = self.retries.first().copied()
            && at <= now.instant
        {
            self.retries.remove(&(at, id));
            self.send_part(id, None, now);
        }
        self.end_silent(now);
    }

    fn handle_event(&mut self, topology: Arc<Topology>, now: Now) {
        self.topology = topology;
        for id in std::mem::take(&mut self.unrouted) {
            self.retry(id, now);
        }
    }

    fn output(&mut self, connection: ConnectionId) -> &mut Output {
        if let Some(client) = self.clients.get_mut(&connection) {
            return &mut client.output;
        }
        let backend = self
            .routes
            .get(&connection)
            .and_then(|route| self.backends.get_mut(route));
        &mut backend.expect("only open connections are written").output
    }

    fn poll_action(&mut self) -> Option<Action<()>> {
        self.actions.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let late = self.backends.values().filter_map(Backend::late_at).min();
        let retry = self.retries.first().map(|(at, _)| *at);
        retry.into_iter().chain(late).min()
    }
}

impl Subject for Relay {
    fn event(stimulus: Stimulus) -> Option<Arc<Topology>> {
        match stimulus {
            Stimulus::Topology(topology) => Some(topology),
            Stimulus::Refresh => None,
        }
    }

    fn signals((): ()) -> Vec<Signal> {
        vec![Signal::TopologyStale]
    }

    fn check(&self, _: u64) {}
}

/// What a node says that may serve a request later.
const PASSING: [&[u8]; 5] = [
    b"TRYAGAIN",
    b"CLUSTERDOWN",
    b"LOADING",
    b"MASTERDOWN",
    b"READONLY",
];

/// Commands that may be sent again.
const READS: [&[u8]; 4] = [b"GET", b"MGET", b"EXISTS", b"LRANGE"];

const UNKNOWN: &[u8] = b"ERR connection lost after sending, result unknown";

/// How long a node may be silent while it owes a reply.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Requests that are taken from a client before it has to wait.
const QUEUE_MAX: usize = 16;
