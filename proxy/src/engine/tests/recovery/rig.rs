//! A driver, clients and nodes for one engine, in an order that depends on a seed.

use std::collections::{BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};

use slotway_protocol::engine::Interrupted;
use slotway_protocol::output::LARGE_BYTES;

use super::peers::{Client, HUGE_REPLY, KINDS, LARGE_REQUEST, Node, REQUESTS};
use super::*;

pub(super) struct Rig {
    proxy: Proxy,
    pub(super) stats: Arc<Stats>,
    now: Instant,
    links: Vec<Place>,
    wanted: VecDeque<(ConnectToken, Address)>,
    random: u64,
    /// What nodes have refused once.
    refused: BTreeSet<String>,
    clients_left: usize,
    pub(super) panics: usize,
    /// Clients that the engine, or a panic, has closed.
    pub(super) closed: usize,
    pub(super) errors: usize,
}

#[derive(Default)]
struct Place {
    generation: u32,
    link: Option<Link>,
}

struct Link {
    end: End,
    /// What the engine has not taken.
    input: BytesMut,
    paused: bool,
    resumed: bool,
    closing: Option<CloseWhen>,
}

enum End {
    Client(Client),
    Node(Node),
}

impl Rig {
    pub(super) fn new(seed: u64) -> Self {
        let stats = Arc::new(Stats::new());
        let mut rig = Self {
            proxy: proxy(seed, &stats),
            stats,
            now: Instant::from_micros(1_000_000),
            links: Vec::new(),
            wanted: VecDeque::new(),
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            refused: BTreeSet::new(),
            clients_left: CLIENTS,
            panics: 0,
            closed: 0,
            errors: 0,
        };
        let mut topology = Topology::empty();
        for (first, last, port) in [(0, 8191, 1), (8192, 16383, 2)] {
            let primary = Address::new("node", port);
            let replicas = Vec::new();
            let shard = Shard { primary, replicas };
            topology.assign(Slot::new(first).unwrap(), Slot::new(last).unwrap(), shard);
        }
        rig.enter(Interrupted::Other, |proxy, now| {
            proxy.handle_event(Event::Databases(1), now);
            proxy.handle_event(Event::Topology(Arc::new(topology)), now);
        });
        rig
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % bound as u64) as usize
    }

    /// Until every client that is left has all its replies.
    pub(super) fn run(&mut self) {
        for _ in 0..STEPS_MAX {
            self.step();
            let is_done = |client: &Client| client.asked == REQUESTS && client.expected.is_empty();
            if self.clients_left == 0 && self.clients().all(is_done) {
                return;
            }
        }
        let waiting: Vec<_> = self.clients().map(|it| (it.number, &it.expected)).collect();
        panic!("not answered: {waiting:?}");
    }

    fn clients(&self) -> impl Iterator<Item = &Client> {
        let links = self.links.iter().filter_map(|place| place.link.as_ref());
        links.filter_map(|link| match &link.end {
            End::Client(client) => Some(client),
            End::Node(_) => None,
        })
    }

    fn step(&mut self) {
        if self.clients_left > 0 && self.below(8) == 0 {
            self.clients_left -= 1;
            let client = Client {
                number: self.clients_left,
                ..Client::default()
            };
            self.open(Origin::Accepted(0), End::Client(client));
        }
        match self.below(12) {
            0 => self.pass_time(),
            1 | 2 => self.connect(),
            _ if self.links.is_empty() => {}
            _ => {
                let index = self.below(self.links.len());
                let generation = self.links[index].generation;
                let id = ConnectionId {
                    index: index as u32,
                    generation,
                };
                self.serve(id);
            }
        }
    }

    fn pass_time(&mut self) {
        self.now = self.now + Duration::from_millis(20);
        if self.proxy.poll_timeout().is_some_and(|due| due <= self.now) {
            self.enter(Interrupted::Other, |proxy, now| proxy.handle_timeout(now));
        }
    }

    fn connect(&mut self) {
        let Some((token, address)) = self.wanted.pop_front() else {
            return;
        };
        if self.below(10) == 0 {
            return self.enter(Interrupted::Connect(token), |proxy, now| {
                proxy.handle_connect_failed(token, ConnectError::Refused, now);
            });
        }
        let node = Node {
            port: address.port,
            is_feed: feed_of(token).is_some(),
            received: BytesMut::new(),
            queued: None,
            replies: BytesMut::new(),
        };
        self.open(Origin::Connected(token), End::Node(node));
    }

    fn open(&mut self, origin: Origin, end: End) {
        let vacant = self.links.iter().position(|place| place.link.is_none());
        let index = vacant.unwrap_or_else(|| {
            self.links.push(Place::default());
            self.links.len() - 1
        });
        let place = &mut self.links[index];
        place.link = Some(Link {
            end,
            input: BytesMut::new(),
            paused: false,
            resumed: false,
            closing: None,
        });
        let id = ConnectionId {
            index: index as u32,
            generation: place.generation,
        };
        let any = "127.0.0.1:1".parse().unwrap();
        let peer = Peer {
            remote: any,
            local: any,
            origin,
        };
        self.enter(Interrupted::Connection(id), |proxy, now| {
            proxy.handle_open(id, peer, now);
        });
    }

    fn link(&mut self, id: ConnectionId) -> Option<&mut Link> {
        let place = self.links.get_mut(id.index as usize)?;
        let current = place.generation == id.generation;
        place.link.as_mut().filter(|_| current)
    }

    /// One call into the engine, as the driver does it.
    fn enter(&mut self, about: Interrupted, call: impl FnOnce(&mut Proxy, Now)) {
        let now = Now {
            instant: self.now,
            unix_ms: 0,
        };
        let enter = AssertUnwindSafe(|| call(&mut self.proxy, now));
        if catch_unwind(enter).is_err() {
            self.panics += 1;
            assert!(self.proxy.recover(about, now), "{about:?}");
            if let Interrupted::Connection(id) = about
                && let Some(link) = self.link(id)
            {
                link.closing = Some(CloseWhen::Now);
            }
        }
        while let Some(action) = self.proxy.poll_action() {
            match action {
                Action::Connect { token, address } => self.wanted.push_back((token, address)),
                Action::Close { connection, when } => {
                    if let Some(link) = self.link(connection) {
                        link.closing = match link.closing {
                            Some(CloseWhen::Now) => Some(CloseWhen::Now),
                            _ => Some(when),
                        };
                    }
                }
                Action::Pause(id) => drop(self.link(id).map(|link| link.paused = true)),
                Action::Resume(id) => {
                    if let Some(link) = self.link(id) {
                        link.paused = false;
                        link.resumed = true;
                    }
                }
                Action::Wake(_) | Action::Notify(_) => {}
            }
        }
        self.proxy.check_invariants();
    }

    /// What a driver does for a connection that is ready.
    fn serve(&mut self, id: ConnectionId) {
        self.write(id);
        self.act(id);
        self.read(id);
        let Some(link) = self.link(id) else { return };
        let may_break = matches!(link.end, End::Node(_)) && self.panics == 0;
        let breaks = may_break && self.below(60) == 0;
        let is_over = match self.link(id).and_then(|link| link.closing) {
            Some(CloseWhen::Now) => true,
            Some(CloseWhen::Flushed) => self.proxy.output(id).is_empty(),
            None => breaks,
        };
        if !is_over {
            return;
        }
        self.enter(Interrupted::Close(id), |proxy, now| {
            proxy.handle_close(id, now);
        });
        let place = &mut self.links[id.index as usize];
        place.generation += 1;
        if let Some(link) = place.link.take()
            && matches!(link.end, End::Client(_))
        {
            self.closed += 1;
        }
    }

    /// From the engine to the peer.
    fn write(&mut self, id: ConnectionId) {
        let Some(link) = self.link(id) else { return };
        if link.closing == Some(CloseWhen::Now) {
            return;
        }
        let len = self.proxy.output(id).len();
        if len == 0 {
            return;
        }
        let count = 1 + self.below(len);
        let output = self.proxy.output(id);
        let mut slices = [IoSlice::new(&[]); 64];
        let used = output.slices(&mut slices);
        let bytes: Vec<u8> = slices[..used].iter().flat_map(|it| it.to_vec()).collect();
        let count = count.min(bytes.len());
        output.advance(count);
        let Some(link) = self.link(id) else { return };
        match &mut link.end {
            End::Client(client) => client.received.extend_from_slice(&bytes[..count]),
            End::Node(node) => node.received.extend_from_slice(&bytes[..count]),
        }
        self.enter(Interrupted::Connection(id), |proxy, now| {
            proxy.handle_written(id, now);
        });
    }

    /// From the peer to the engine.
    fn read(&mut self, id: ConnectionId) {
        let (part, many) = (self.below(64), self.below(LARGE_BYTES));
        let Some(link) = self.link(id) else { return };
        if link.paused || link.closing.is_some() {
            return;
        }
        let was_resumed = std::mem::take(&mut link.resumed);
        let arriving = match &mut link.end {
            End::Client(client) => &mut client.requests,
            End::Node(node) => &mut node.replies,
        };
        let piece = 8 + if arriving.len() < 1000 { part } else { many };
        let piece = arriving.split_to(arriving.len().min(piece));
        if piece.is_empty() && !was_resumed {
            return;
        }
        link.input.extend_from_slice(&piece);
        if link.input.is_empty() {
            return;
        }
        let mut input = std::mem::take(&mut link.input);
        self.enter(Interrupted::Connection(id), |proxy, now| {
            proxy.handle_input(id, &mut input, now);
        });
        if let Some(link) = self.link(id) {
            link.input = input;
        }
    }

    /// What the peer does of its own.
    fn act(&mut self, id: ConnectionId) {
        let chance = self.below(3);
        let kind = self.below(KINDS);
        let (panics, refused) = (self.panics, &mut self.refused);
        let place = &mut self.links[id.index as usize];
        let Some(link) = place.link.as_mut() else {
            return;
        };
        match &mut link.end {
            End::Client(client) => {
                self.errors += client.check(panics > 0);
                if client.asked < REQUESTS && chance == 0 {
                    let asked = client.ask(kind);
                    client.requests.extend_from_slice(asked.as_bytes());
                }
            }
            End::Node(node) => node.answer_all(refused),
        }
    }
}

/// Requests and replies that are large, and replies that are handed on in pieces; with some seeds
/// two keys are very many.
fn proxy(seed: u64, stats: &Arc<Stats>) -> Proxy {
    let options = Options {
        large_request: LARGE_REQUEST,
        large_reply: LARGE_REQUEST,
        large_in_flight_max: 1,
        many_keys_min: if seed.is_multiple_of(2) { 2 } else { 4096 },
        ..Options::default()
    };
    let mut proxy = Proxy::new(options, stats.clone());
    proxy.bounds.passed = HUGE_REPLY / 2;
    proxy
}

const CLIENTS: usize = 5;
const STEPS_MAX: usize = 60_000;
