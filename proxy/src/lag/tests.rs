//! The watch between scripted nodes.

use slotway_protocol::cluster::{Shard, Slot};

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);
const ASKED: &str = "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n";

struct Bench {
    watch: LagWatch,
    seen: Arc<Seen>,
    now: Instant,
    connections: u32,
    wanted: Vec<(ConnectToken, u16)>,
    closed: Vec<u16>,
    open: BTreeMap<u16, ConnectionId>,
}

fn node(port: u16) -> Address {
    Address::new("node", port)
}

impl Bench {
    /// Node 1 is a primary, and 2 and 3 follow it.
    fn new(credentials: Option<Credentials>) -> Self {
        let options = Options {
            interval: INTERVAL,
            answer_timeout: Duration::from_secs(2),
            credentials,
        };
        let seen = Arc::new(Seen::default());
        let mut bench = Self {
            watch: LagWatch::new(options, Arc::clone(&seen)),
            seen,
            now: Instant::from_micros(1_000_000),
            connections: 0,
            wanted: Vec::new(),
            closed: Vec::new(),
            open: BTreeMap::new(),
        };
        bench.topology(1, &[2, 3]);
        bench
    }

    fn topology(&mut self, primary: u16, replicas: &[u16]) {
        let mut topology = Topology::empty();
        let shard = Shard {
            primary: node(primary),
            replicas: replicas.iter().map(|port| node(*port)).collect(),
        };
        let slot = Slot::new(0).unwrap();
        topology.assign(slot, slot, shard);
        let event = Event::Topology(Arc::new(topology));
        self.call(|watch, now| watch.handle_event(event, now));
    }

    fn call(&mut self, call: impl FnOnce(&mut LagWatch, Now)) {
        let now = Now {
            instant: self.now,
            unix_ms: 0,
        };
        call(&mut self.watch, now);
        while let Some(action) = self.watch.poll_action() {
            match action {
                Action::Connect { token, address } => self.wanted.push((token, address.port)),
                Action::Close { connection, .. } => {
                    let port = self.open.iter().find(|(_, open)| **open == connection);
                    let port = *port.expect("what is open is closed").0;
                    self.open.remove(&port);
                    self.closed.push(port);
                    self.watch.handle_close(connection, now);
                }
                _ => {}
            }
        }
    }

    /// The next round, to which all nodes are connected that are not among `down`.
    fn round(&mut self, down: &[u16]) {
        self.now = self.now + INTERVAL;
        self.call(|watch, now| watch.handle_timeout(now));
        self.connect(down);
    }

    fn connect(&mut self, down: &[u16]) {
        while let Some((token, port)) = self.wanted.pop() {
            if down.contains(&port) {
                let error = ConnectError::Refused;
                self.call(|watch, now| watch.handle_connect_failed(token, error, now));
                continue;
            }
            let connection = ConnectionId {
                index: self.connections,
                generation: 0,
            };
            self.connections += 1;
            let anywhere = ([127, 0, 0, 1], 7000).into();
            let peer = Peer {
                origin: Origin::Connected(token),
                remote: anywhere,
                local: anywhere,
            };
            self.open.insert(port, connection);
            self.call(|watch, now| watch.handle_open(connection, peer, now));
        }
    }

    /// What a node has been sent since it was looked at last.
    fn sent(&mut self, port: u16) -> String {
        let output = self.watch.output(self.open[&port]);
        let sent = String::from_utf8(output.buffer().to_vec()).unwrap();
        output.buffer().clear();
        sent
    }

    fn reply(&mut self, port: u16, bytes: &str) {
        let connection = self.open[&port];
        let mut input = BytesMut::from(bytes);
        self.call(|watch, now| watch.handle_input(connection, &mut input, now));
        assert_eq!(input, "", "what was read");
    }

    fn lag(&self, port: u16) -> Option<u128> {
        let look = self.seen.look(&node(port));
        look.lag.map(|lag| lag.as_millis())
    }
}

fn info(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn primary(offset: u64) -> String {
    info(&format!("role:master\r\nmaster_repl_offset:{offset}\r\n"))
}

fn replica(offset: u64) -> String {
    info(&format!(
        "role:slave\r\nmaster_link_status:up\r\nslave_repl_offset:{offset}\r\n"
    ))
}

#[test]
fn replicas_are_asked_after_their_primary_and_their_lag_is_told() {
    let mut bench = Bench::new(None);
    for round in 0..5 {
        bench.round(&[]);
        assert_eq!(bench.sent(1), ASKED);
        bench.reply(1, &primary(100 * round));
        bench.connect(&[]);
        for port in [2, 3] {
            assert_eq!(bench.sent(port), ASKED, "{port}");
        }
        bench.reply(2, &replica(100 * round));
        // It has what the primary had at the second round.
        bench.reply(3, &replica(100.min(100 * round)));
    }
    bench.round(&[]);
    assert_eq!((bench.lag(1), bench.lag(2)), (None, Some(0)));
    assert_eq!(bench.lag(3), Some(2_000));
    assert_eq!(bench.connections, 3, "one to each");
}

#[test]
fn who_cannot_be_reached_is_down_until_he_can() {
    let mut bench = Bench::new(None);
    bench.round(&[3]);
    bench.reply(1, &primary(7));
    bench.connect(&[3]);
    bench.reply(2, &replica(7));
    bench.round(&[]);
    let is_down = |bench: &Bench, port| bench.seen.look(&node(port)).is_down;
    assert_eq!(
        [1, 2, 3].map(|port| is_down(&bench, port)),
        [false, false, true]
    );
    // The primary dies: its replicas are asked all the same, and nobody knows their lag.
    let connection = bench.open.remove(&1).unwrap();
    bench.call(|watch, now| watch.handle_close(connection, now));
    bench.connect(&[]);
    bench.round(&[1]);
    bench.connect(&[]);
    bench.reply(2, &replica(7));
    bench.reply(3, &replica(7));
    bench.round(&[1]);
    assert_eq!(
        [1, 2, 3].map(|port| is_down(&bench, port)),
        [true, false, false]
    );
    assert_eq!((bench.lag(2), bench.lag(3)), (None, None));
}

#[test]
fn who_does_not_tell_is_not_asked_again_until_something_changes() {
    let credentials = Credentials {
        username: None,
        password: "secret".into(),
    };
    let mut bench = Bench::new(Some(credentials));
    bench.round(&[]);
    assert_eq!(
        bench.sent(1),
        format!("*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n{ASKED}")
    );
    bench.reply(1, "+OK\r\n");
    bench.reply(
        1,
        "-NOPERM this user has no permissions to run the 'info' command\r\n",
    );
    assert_eq!(bench.closed, [1]);
    bench.round(&[]);
    assert!(!bench.open.contains_key(&1));
    bench.topology(1, &[2]);
    assert_eq!(bench.closed, [1, 3], "the one that is gone");
    bench.round(&[]);
    bench.reply(
        1,
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    );
    assert_eq!(bench.closed, [1, 3, 1]);
    // Its replica is looked after all the same, and it is asked again a minute later.
    bench.round(&[2]);
    assert!(bench.seen.look(&node(2)).is_down);
    assert!(!bench.open.contains_key(&1));
    for _ in 0..60 {
        bench.round(&[2]);
    }
    assert!(bench.open.contains_key(&1));
}

#[test]
fn nonsense_and_silence_end_a_connection_but_not_for_ever() {
    for nonsense in [
        "-ERR max number of clients reached\r\n",
        "?\r\n",
        "+OK\r\n",
        "-LOADING x\r\n",
        "$-1\r\n",
        "$4\r\nrole\r\n",
    ] {
        let mut bench = Bench::new(None);
        bench.round(&[]);
        bench.reply(1, nonsense);
        assert_eq!(bench.closed, [1], "{nonsense}");
        bench.round(&[]);
        bench.reply(1, &(primary(1) + &primary(1)));
        assert_eq!(bench.closed, [1, 1], "nobody has asked twice");
    }
    let mut bench = Bench::new(None);
    bench.round(&[]);
    for _ in 0..2 {
        assert!(bench.closed.is_empty());
        bench.round(&[]);
    }
    assert_eq!(bench.closed, [1], "silent");
    assert!(bench.seen.look(&node(1)).is_down);
    let unasked = primary(1) + &primary(2);
    bench.round(&[]);
    assert!(bench.seen.look(&node(1)).is_down, "connections say nothing");
    bench.reply(1, &primary(1));
    assert!(!bench.seen.look(&node(1)).is_down);
    bench.reply(1, &unasked);
    assert_eq!(bench.closed, [1, 1]);
}

#[test]
fn a_reply_may_come_in_pieces_but_not_without_end() {
    let mut bench = Bench::new(None);
    bench.round(&[]);
    let connection = bench.open[&1];
    let mut input = BytesMut::new();
    for byte in primary(1).bytes() {
        input.extend_from_slice(&[byte]);
        bench.call(|watch, now| watch.handle_input(connection, &mut input, now));
    }
    assert_eq!(input, "");
    bench.round(&[]);
    input.extend_from_slice(b"$999999999\r\n");
    while bench.closed.is_empty() {
        assert!(input.len() < 1 << 20);
        input.extend_from_slice(&[b'x'; 4096]);
        bench.call(|watch, now| watch.handle_input(connection, &mut input, now));
    }
    assert_eq!(bench.closed, [1]);
}

/// A node leaves the cluster while it is connected to, and is back before that comes to anything.
#[test]
fn a_node_has_one_connection_however_often_it_comes_and_goes() {
    for fails in [false, true] {
        let mut bench = Bench::new(None);
        bench.now = bench.now + INTERVAL;
        bench.call(|watch, now| watch.handle_timeout(now));
        let early = std::mem::take(&mut bench.wanted);
        bench.topology(4, &[]);
        bench.topology(1, &[2, 3]);
        bench.round(&[]);
        let connection = bench.open[&1];
        bench.wanted = early;
        if fails {
            bench.connect(&[1]);
            assert_eq!(bench.open[&1], connection);
        } else {
            bench.connect(&[]);
            // It closes the one that came late, which the bench has put in the place of the other.
            assert_eq!(bench.closed, [1]);
            bench.open.insert(1, connection);
        }
        assert!(!bench.seen.look(&node(1)).is_down);
        bench.reply(1, &primary(1));
        bench.round(&[]);
        assert!(bench.sent(1).ends_with(ASKED));
        assert_eq!(bench.watch.connections.len(), bench.open.len());
    }
}

#[test]
fn a_node_that_is_named_twice_is_one_node() {
    let mut bench = Bench::new(None);
    for _ in 0..3 {
        bench.topology(1, &[1, 2, 2]);
        bench.round(&[]);
        bench.reply(1, &primary(1));
        bench.connect(&[]);
        bench.reply(2, &replica(1));
    }
    assert_eq!(bench.connections, 2);
    assert_eq!((bench.lag(1), bench.lag(2)), (None, Some(0)));
}

/// However often the topology changes meanwhile.
#[test]
fn everybody_is_asked_in_turn() {
    let mut bench = Bench::new(None);
    let mut topology = Topology::empty();
    for port in 1..=200 {
        let slot = Slot::new(port.into()).unwrap();
        let shard = Shard {
            primary: node(port),
            replicas: Vec::new(),
        };
        topology.assign(slot, slot, shard);
    }
    for round in 1..=4 {
        let topology = Arc::new(topology.clone());
        bench.call(|watch, now| watch.handle_event(Event::Topology(topology), now));
        bench.round(&[]);
        let asked = (SHARDS_A_ROUND * round).min(200);
        let all: BTreeSet<u16> = bench.open.keys().chain(&bench.closed).copied().collect();
        assert_eq!(all.len(), asked);
    }
}
