//! Sessions on the node's engine, driven by hand: what depends on connections, time and events.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::time::Duration;

use bytes::BytesMut;
use slotway_node::{ClusterConfig, ClusterView, Config, Event, Node, NodeConfig, NodeInfo, Notice};
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::{
    Action, CloseWhen, ConnectionId, Engine, Instant, Now, Origin, Peer,
};

/// A node, its clients' input that it has left, and what it wished.
struct Bench {
    node: Node,
    now: Now,
    inputs: Vec<BytesMut>,
    actions: Vec<Action<Notice>>,
}

const IDS: [&str; 2] = [
    "1111111111111111111111111111111111111111",
    "2222222222222222222222222222222222222222",
];

impl Bench {
    fn new(config: NodeConfig) -> Self {
        let now = Now {
            instant: Instant::from_micros(0),
            unix_ms: 1_700_000_000_000,
        };
        Self {
            node: Node::new(config, now),
            now,
            inputs: Vec::new(),
            actions: Vec::new(),
        }
    }

    fn standalone() -> Self {
        Self::new(NodeConfig::default())
    }

    fn with(config: Config) -> Self {
        Self::new(NodeConfig {
            config,
            ..NodeConfig::default()
        })
    }

    /// The first of two primaries, or its replica; the first owns slots 0 to 8,191.
    fn cluster(me: usize, second_is_replica: bool) -> Self {
        Self::new(NodeConfig {
            cluster: Some(ClusterConfig {
                me: IDS[me].to_owned(),
                view: view(second_is_replica),
            }),
            ..NodeConfig::default()
        })
    }

    /// The first of two primaries, with 16 databases.
    fn with_databases() -> Self {
        let mut bench = Self::cluster(0, true);
        let config = Config {
            cluster_databases: 16,
            ..Config::default()
        };
        let cluster = Some(ClusterConfig {
            me: IDS[0].to_owned(),
            view: view(true),
        });
        bench.node = Node::new(
            NodeConfig {
                config,
                cluster,
                seed: 1,
            },
            bench.now,
        );
        bench
    }

    fn open(&mut self) -> usize {
        let index = self.inputs.len();
        self.inputs.push(BytesMut::new());
        let peer = Peer {
            remote: format!("127.0.0.1:{}", 40_000 + index).parse().unwrap(),
            local: "127.0.0.1:7000".parse().unwrap(),
            origin: Origin::Accepted(0),
        };
        self.node.handle_open(id(index), peer, self.now);
        self.settle();
        index
    }

    fn send(&mut self, client: usize, bytes: &[u8]) {
        self.inputs[client].extend_from_slice(bytes);
        let mut input = std::mem::take(&mut self.inputs[client]);
        self.node.handle_input(id(client), &mut input, self.now);
        self.inputs[client] = input;
        self.settle();
    }

    /// Takes at most `count` bytes of a client's output.
    fn take(&mut self, client: usize, count: usize) -> Vec<u8> {
        let output = self.node.output(id(client));
        let mut slices = [std::io::IoSlice::new(&[]); 16];
        let used = output.slices(&mut slices);
        let mut bytes: Vec<u8> = slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect();
        bytes.truncate(count);
        output.advance(bytes.len());
        self.node.handle_written(id(client), self.now);
        self.settle();
        bytes
    }

    /// Sends and expects that exactly this comes back.
    fn check(&mut self, client: usize, input: &str, expected: &str) {
        self.send(client, input.as_bytes());
        let reply = self.take(client, usize::MAX);
        assert_eq!(String::from_utf8_lossy(&reply), expected, "{input:?}");
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while self.now.instant < end {
            let next = self.node.poll_timeout().unwrap_or(end).min(end);
            self.now.unix_ms += next.micros_since(self.now.instant) / 1_000;
            self.now.instant = next;
            self.node.handle_timeout(self.now);
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.actions
            .extend(std::iter::from_fn(|| self.node.poll_action()));
        self.node.check_invariants();
    }

    fn wished(&mut self, action: &Action<Notice>) -> bool {
        let found = self.actions.contains(action);
        self.actions.clear();
        found
    }
}

fn id(index: usize) -> ConnectionId {
    ConnectionId {
        index: index as u32,
        generation: 0,
    }
}

fn slot(number: u64) -> Slot {
    Slot::new(number).unwrap()
}

fn view(second_is_replica: bool) -> ClusterView {
    let second = if second_is_replica {
        NodeInfo::replica(IDS[1], "10.0.0.2", 7001, IDS[0])
    } else {
        NodeInfo::primary(IDS[1], "10.0.0.2", 7001)
    };
    let mut view = ClusterView::new(vec![NodeInfo::primary(IDS[0], "10.0.0.1", 7000), second]);
    view.assign(slot(0), slot(8_191), Some(IDS[0]));
    let upper = usize::from(!second_is_replica);
    view.assign(slot(8_192), slot(16_383), Some(IDS[upper]));
    view
}

fn close(client: usize, when: CloseWhen) -> Action<Notice> {
    Action::Close {
        connection: id(client),
        when,
    }
}

#[test]
fn any_cut_of_the_bytes_gives_the_same_replies() {
    let script = "SET a 1\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n\r\nGET a\r\n*1\r\n$4\r\nPING\r\n";
    let expected = "+OK\r\n:2\r\n$1\r\n2\r\n+PONG\r\n";
    for cut in 0..=script.len() {
        let mut bench = Bench::standalone();
        let client = bench.open();
        bench.send(client, &script.as_bytes()[..cut]);
        bench.check(client, &script[cut..], expected);
    }
}

#[test]
fn the_driver_is_woken_once_until_it_has_written() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    bench.actions.clear();
    bench.send(client, b"PING\r\n");
    bench.send(client, b"PING\r\n");
    assert_eq!(bench.actions, [Action::Wake(id(client))]);
    assert_eq!(bench.take(client, usize::MAX), b"+PONG\r\n+PONG\r\n");
    bench.actions.clear();
    bench.send(client, b"PING\r\n");
    assert_eq!(bench.actions, [Action::Wake(id(client))]);
}

#[test]
fn a_client_that_does_not_read_is_not_served_further() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    let value = "v".repeat(100_000);
    bench.check(
        client,
        &format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n{value}\r\n"),
        "+OK\r\n",
    );
    let requests = "GET k\r\n".repeat(100) + "ECHO end\r\nECHO pa";
    bench.send(client, requests.as_bytes());
    assert!(bench.wished(&Action::Pause(id(client))));
    assert!(
        bench.node.output(id(client)).len() < 1_300_000,
        "the output is bounded"
    );
    bench.send(client, b"rt\r\nPING");
    let mut replies = Vec::new();
    loop {
        let bytes = bench.take(client, 50_000);
        if bytes.is_empty() {
            break;
        }
        replies.extend_from_slice(&bytes);
    }
    assert!(bench.wished(&Action::Resume(id(client))));
    assert_eq!(
        replies.len(),
        100 * (100_000 + 11) + "$3\r\nend\r\n$4\r\npart\r\n".len()
    );
    assert!(replies.ends_with(b"$3\r\nend\r\n$4\r\npart\r\n"));
    bench.check(client, "\r\n", "+PONG\r\n");
    bench.check(client, "PING\r\n", "+PONG\r\n");
}

#[test]
fn a_paused_client_that_ends_gets_all_its_replies_first() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    let value = "v".repeat(900_000);
    bench.send(client, format!("SET k {}\r\n", &value[..60_000]).as_bytes());
    bench.send(client, "GET k\r\n".repeat(40).as_bytes());
    bench.node.handle_end(id(client), bench.now);
    bench.settle();
    assert!(!bench.actions.contains(&close(client, CloseWhen::Flushed)));
    let mut taken = 0;
    loop {
        let bytes = bench.take(client, 100_000);
        if bytes.is_empty() {
            break;
        }
        taken += bytes.len();
    }
    assert_eq!(taken, 5 + 40 * (60_000 + 10));
    assert!(bench.wished(&close(client, CloseWhen::Flushed)));
}

#[test]
fn who_has_no_password_is_let_in_with_it_only() {
    let mut bench = Bench::with(Config {
        requirepass: "secret".to_owned(),
        ..Config::default()
    });
    let client = bench.open();
    let noauth = "-NOAUTH Authentication required.\r\n";
    bench.check(client, "GET a\r\n", noauth);
    bench.check(client, "PING\r\n", noauth);
    bench.check(
        client,
        "FOO\r\n",
        "-ERR unknown command 'FOO', with args beginning with: \r\n",
    );
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    for password in ["secre", "secrets", "", "xxxxxx", "secretsecret"] {
        let request = format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len());
        bench.check(client, &request, wrong);
    }
    bench.check(client, "AUTH other secret\r\n", wrong);
    bench.check(client, "GET a\r\n", noauth);
    bench.check(client, "AUTH secret\r\nGET a\r\n", "+OK\r\n$-1\r\n");
    bench.check(client, "RESET\r\nGET a\r\n", &format!("+RESET\r\n{noauth}"));
    bench.check(
        client,
        "AUTH default secret\r\nPING\r\n",
        "+OK\r\n+PONG\r\n",
    );
    bench.check(client, "HELLO 2 AUTH default x\r\n", wrong);
}

#[test]
fn hello_without_a_password_says_what_to_do() {
    let mut bench = Bench::with(Config {
        requirepass: "secret".to_owned(),
        ..Config::default()
    });
    let client = bench.open();
    bench.send(client, b"HELLO 3\r\n");
    assert!(
        bench
            .take(client, usize::MAX)
            .starts_with(b"-NOAUTH HELLO must be called with")
    );
    bench.send(
        client,
        b"HELLO 3 AUTH default secret SETNAME me\r\nCLIENT GETNAME\r\nGET a\r\n",
    );
    let reply = bench.take(client, usize::MAX);
    assert!(reply.starts_with(b"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
    assert!(reply.ends_with(b"$2\r\nme\r\n_\r\n"));
}

#[test]
fn a_broken_protocol_closes_the_connection_after_the_error() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    let expected = "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n";
    bench.check(client, "PING\r\n*x\r\nPING\r\n", expected);
    assert!(bench.wished(&close(client, CloseWhen::Flushed)));
    bench.check(client, "PING\r\n", "");
}

#[test]
fn quit_answers_and_closes() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    bench.check(client, "QUIT\r\nPING\r\n", "+OK\r\n");
    assert!(bench.wished(&close(client, CloseWhen::Flushed)));
}

#[test]
fn shutdown_is_told_to_the_outside_once_clients_have_what_they_are_owed() {
    let end = Action::Notify(Notice::Shutdown);
    for is_late in [false, true] {
        let mut bench = Bench::standalone();
        let (client, other) = (bench.open(), bench.open());
        bench.send(other, b"PING\r\n");
        bench.check(client, "SHUTDOWN NOSAVE\r\n", "");
        for index in [client, other] {
            let closed = close(index, CloseWhen::Flushed);
            assert!(bench.actions.contains(&closed));
        }
        let refused = Action::Notify(Notice::Closing);
        assert!(bench.actions.contains(&refused));
        bench.node.handle_close(id(client), bench.now);
        bench.settle();
        assert!(!bench.wished(&end));
        if is_late {
            // It does not take its replies.
            bench.pass(Duration::from_millis(499));
            assert!(!bench.wished(&end));
            bench.pass(Duration::from_millis(2));
        } else {
            bench.node.handle_close(id(other), bench.now);
            bench.settle();
        }
        assert!(bench.wished(&end));
    }
}

#[test]
fn nothing_is_acknowledged_while_the_last_save_is_made() {
    let mut bench = Bench::standalone();
    bench.node.set_has_files();
    let (client, writer, reader) = (bench.open(), bench.open(), bench.open());
    let failed = "-ERR Errors trying to SHUTDOWN. Check logs.\r\n";
    let takes_writes = "CONFIG SET stop-writes-on-bgsave-error no\r\n";
    bench.check(client, takes_writes, "+OK\r\n");
    for (words, goes_on) in [("SAVE", true), ("SAVE FORCE", false)] {
        bench.check(client, &format!("SHUTDOWN {words}\r\n"), "");
        bench.check(writer, "APPEND a 1\r\n", "");
        let held = if goes_on { "$-1\r\n" } else { "$1\r\n1\r\n" };
        bench.check(reader, "GET a\r\n", held);
        let save = bench.actions.iter().find_map(|action| match action {
            Action::Notify(Notice::Save(id, _)) => Some(*id),
            _ => None,
        });
        bench.actions.clear();
        let ended = Event::SaveEnded(save.unwrap(), false);
        bench.node.handle_event(ended, bench.now);
        bench.settle();
        if goes_on {
            bench.check(client, "", failed);
            bench.check(writer, "", ":1\r\n");
        } else {
            assert!(bench.actions.contains(&close(writer, CloseWhen::Flushed)));
            assert!(bench.wished(&Action::Notify(Notice::Closing)));
        }
    }
}

#[test]
fn shutdown_takes_the_words_that_it_knows() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    for words in [
        "FOO",
        "SAVE NOSAVE",
        "ABORT NOW",
        "NOW ABORT",
        "FAILOVER ABORT",
    ] {
        let line = format!("SHUTDOWN {words}\r\n");
        bench.check(client, &line, "-ERR syntax error\r\n");
    }
    for words in ["ABORT", "abort ABORT"] {
        let line = format!("SHUTDOWN {words}\r\n");
        bench.check(client, &line, "-ERR No shutdown in progress.\r\n");
    }
}

#[test]
fn clients_see_and_close_each_other() {
    let mut bench = Bench::standalone();
    let (one, other) = (bench.open(), bench.open());
    bench.check(one, "CLIENT ID\r\n", ":1\r\n");
    bench.check(other, "CLIENT ID\r\n", ":2\r\n");
    bench.send(one, b"CLIENT LIST\r\n");
    let list = String::from_utf8(bench.take(one, usize::MAX)).unwrap();
    assert!(
        list.contains("id=1 addr=127.0.0.1:40000 laddr=127.0.0.1:7000 "),
        "{list}"
    );
    assert!(list.contains("id=2 addr=127.0.0.1:40001 "), "{list}");
    assert!(list.contains(" cmd=client|list "), "{list}");
    bench.check(one, "CLIENT KILL 127.0.0.1:40001\r\n", "+OK\r\n");
    assert!(bench.wished(&close(other, CloseWhen::Now)));
    bench.node.handle_close(id(other), bench.now);
    bench.check(one, "CLIENT KILL ID 2\r\n", ":0\r\n");
    bench.check(one, "CLIENT KILL ID 1\r\n", ":0\r\n");
    bench.check(one, "CLIENT KILL ID 1 SKIPME no\r\n", ":1\r\n");
    assert!(bench.wished(&close(one, CloseWhen::Flushed)));
}

#[test]
fn replies_can_be_switched_off() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    bench.check(client, "CLIENT REPLY OFF\r\nPING\r\nFOO\r\n", "");
    bench.check(client, "CLIENT REPLY ON\r\nPING\r\n", "+OK\r\n+PONG\r\n");
    bench.check(
        client,
        "CLIENT REPLY SKIP\r\nPING\r\nECHO a\r\n",
        "$1\r\na\r\n",
    );
}

#[test]
fn too_many_clients_are_told_so() {
    let mut bench = Bench::with(Config {
        maxclients: 1,
        ..Config::default()
    });
    bench.open();
    let second = bench.open();
    assert_eq!(
        bench.take(second, usize::MAX),
        b"-ERR max number of clients reached\r\n"
    );
    assert!(bench.wished(&close(second, CloseWhen::Flushed)));
}

#[test]
fn idle_clients_are_closed_when_that_is_wanted() {
    let mut bench = Bench::standalone();
    let (busy, idle) = (bench.open(), bench.open());
    bench.check(busy, "CONFIG SET timeout 10\r\n", "+OK\r\n");
    bench.pass(Duration::from_secs(6));
    bench.check(busy, "PING\r\n", "+PONG\r\n");
    bench.pass(Duration::from_secs(6));
    assert!(!bench.actions.contains(&close(busy, CloseWhen::Now)));
    assert!(bench.wished(&close(idle, CloseWhen::Now)));
}

#[test]
fn keys_expire_when_asked_for_and_when_not() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    bench.check(
        client,
        "SET a 1 PX 1000\r\nSET b 1 PX 5000\r\nSET c 1\r\n",
        "+OK\r\n+OK\r\n+OK\r\n",
    );
    bench.now.unix_ms += 999;
    bench.check(
        client,
        "GET a\r\nPTTL a\r\nDBSIZE\r\n",
        "$1\r\n1\r\n:1\r\n:3\r\n",
    );
    bench.now.unix_ms += 1;
    bench.check(
        client,
        "DBSIZE\r\nGET a\r\nDBSIZE\r\n",
        ":3\r\n$-1\r\n:2\r\n",
    );
    bench.pass(Duration::from_secs(5));
    bench.check(client, "DBSIZE\r\nTTL c\r\n", ":1\r\n:-1\r\n");
}

#[test]
fn an_expired_key_can_be_created_anew() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    bench.check(client, "RPUSH l a\r\nPEXPIRE l 10\r\n", ":1\r\n:1\r\n");
    bench.now.unix_ms += 10;
    bench.check(
        client,
        "RPUSH l b\r\nTTL l\r\nLLEN l\r\n",
        ":1\r\n:-1\r\n:1\r\n",
    );
    bench.check(client, "SET s 5 PX 10\r\n", "+OK\r\n");
    bench.now.unix_ms += 10;
    bench.check(
        client,
        "EXISTS s\r\nINCR s\r\nTTL s\r\n",
        ":0\r\n:1\r\n:-1\r\n",
    );
}

#[test]
fn a_watched_key_of_another_client_ends_a_transaction() {
    let mut bench = Bench::standalone();
    let (one, other) = (bench.open(), bench.open());
    let begin = "WATCH k\r\nMULTI\r\nSET k mine\r\n";
    let begun = "+OK\r\n+OK\r\n+QUEUED\r\n";
    for (change, reply, done) in [
        ("GET k\r\n", "$-1\r\n", "*1\r\n+OK\r\n"),
        ("SET k theirs\r\n", "+OK\r\n", "*-1\r\n"),
        ("APPEND k x\r\n", ":7\r\n", "*-1\r\n"),
        ("EXPIRE k 100\r\n", ":1\r\n", "*-1\r\n"),
        ("SET other x\r\n", "+OK\r\n", "*1\r\n+OK\r\n"),
        ("FLUSHALL\r\n", "+OK\r\n", "*-1\r\n"),
        ("SADD k a\r\n", ":1\r\n", "*-1\r\n"),
        ("SADD k a\r\n", ":0\r\n", "*1\r\n+OK\r\n"),
    ] {
        bench.check(one, begin, begun);
        bench.check(other, change, reply);
        bench.check(one, "EXEC\r\n", done);
    }
    bench.check(one, "SET k 1 PX 10\r\n", "+OK\r\n");
    bench.check(one, begin, begun);
    bench.now.unix_ms += 10;
    bench.check(one, "EXEC\r\n", "*-1\r\n");
}

#[test]
fn requests_go_where_their_slot_is() {
    // foo is in slot 12182, bar in 5061.
    let mut bench = Bench::cluster(0, false);
    let client = bench.open();
    bench.check(client, "SET bar 1\r\n", "+OK\r\n");
    bench.check(client, "GET foo\r\n", "-MOVED 12182 10.0.0.2:7001\r\n");
    let crossing = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    bench.check(client, "MGET foo bar\r\n", crossing);
    bench.check(client, "DBSIZE\r\n", ":1\r\n");
    let mut changed = view(false);
    changed.assign(slot(12_182), slot(12_182), Some(IDS[0]));
    bench
        .node
        .handle_event(Event::SetView(Box::new(changed.clone())), bench.now);
    bench.check(client, "GET foo\r\n", "$-1\r\n");
    changed.node_mut(IDS[1]).unwrap().failed = true;
    bench
        .node
        .handle_event(Event::SetView(Box::new(changed.clone())), bench.now);
    bench.check(
        client,
        "GET bar\r\n",
        "-CLUSTERDOWN The cluster is down\r\n",
    );
    changed.require_full_coverage = false;
    bench
        .node
        .handle_event(Event::SetView(Box::new(changed.clone())), bench.now);
    bench.check(client, "GET bar\r\n", "$1\r\n1\r\n");
    changed.assign(slot(5_061), slot(5_061), None);
    bench
        .node
        .handle_event(Event::SetView(Box::new(changed)), bench.now);
    bench.check(
        client,
        "GET bar\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
    );
}

#[test]
fn a_replica_serves_readers_who_say_so() {
    let mut bench = Bench::cluster(1, true);
    let client = bench.open();
    let moved = "-MOVED 5061 10.0.0.1:7000\r\n";
    bench.check(client, "GET bar\r\n", moved);
    bench.check(client, "READONLY\r\nGET bar\r\n", "+OK\r\n$-1\r\n");
    bench.check(client, "SET bar 1\r\n", moved);
    bench.check(
        client,
        "READWRITE\r\nGET bar\r\n",
        &format!("+OK\r\n{moved}"),
    );
    let readonly = "-READONLY You can't write against a read only replica.\r\n";
    bench.check(client, "FLUSHALL\r\n", readonly);
}

#[test]
fn a_replica_goes_by_what_a_script_says_of_itself() {
    let mut bench = Bench::cluster(1, true);
    let client = bench.open();
    let eval = |flags: &str| {
        let script = format!("#!lua{flags}\nreturn 5");
        let len = script.len();
        format!("*4\r\n$4\r\nEVAL\r\n${len}\r\n{script}\r\n$1\r\n1\r\n$3\r\nbar\r\n")
    };
    let moved = "-MOVED 5061 10.0.0.1:7000\r\n";
    bench.check(client, "READONLY\r\n", "+OK\r\n");
    bench.check(client, &eval(""), moved);
    bench.check(client, &eval(" flags=no-writes"), ":5\r\n");
    bench.check(client, "EVAL 'return(6)' 1 bar\r\n", ":6\r\n");
    // By its digest, too, and so for a transaction.
    let load = "*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n$14\r\n#!lua\nreturn 5\r\n";
    let digest = "5a587e284055f48beb407ddaaa03be829725631c";
    bench.check(client, load, &format!("$40\r\n{digest}\r\n"));
    let evalsha = format!("EVALSHA {digest} 1 bar\r\n");
    bench.check(client, &evalsha, moved);
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    let replies = format!("+OK\r\n{moved}{aborted}");
    bench.check(client, &format!("MULTI\r\n{evalsha}EXEC\r\n"), &replies);
}

#[test]
fn keys_are_moved_by_hand() {
    let (mut from, mut to) = (Bench::cluster(0, false), Bench::cluster(0, false));
    let (source, target) = (from.open(), to.open());
    from.check(
        source,
        "RPUSH bar a b\r\nPEXPIRE bar 5000\r\n",
        ":2\r\n:1\r\n",
    );
    let key = from.node.export_key(b"bar").unwrap();
    assert_eq!(key.key(), b"bar");
    assert!(from.node.export_key(b"bar").is_none());
    to.node.import_key(key);
    from.check(source, "EXISTS bar\r\n", ":0\r\n");
    to.check(
        target,
        "LRANGE bar 0 -1\r\nPTTL bar\r\n",
        "*2\r\n$1\r\na\r\n$1\r\nb\r\n:5000\r\n",
    );
}

#[test]
fn a_database_has_its_own_keys() {
    let mut bench = Bench::with_databases();
    let (three, none) = (bench.open(), bench.open());
    bench.check(
        three,
        "SELECT 3\r\nSET k three EX 100\r\nSET k2 v\r\n",
        "+OK\r\n+OK\r\n+OK\r\n",
    );
    bench.check(
        none,
        "GET k\r\nDBSIZE\r\nRANDOMKEY\r\n",
        "$-1\r\n:0\r\n$-1\r\n",
    );
    bench.check(none, "SET k zero\r\n", "+OK\r\n");
    bench.check(three, "GET k\r\nDBSIZE\r\n", "$5\r\nthree\r\n:2\r\n");
    bench.check(none, "KEYS *\r\n", "*1\r\n$1\r\nk\r\n");
    bench.check(
        none,
        "SCAN 0 COUNT 100\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
    );
    bench.check(
        three,
        "SCAN 0 MATCH k COUNT 100\r\n",
        "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
    );
    let slot = Slot::of(b"k");
    bench.check(
        none,
        &format!("CLUSTER COUNTKEYSINSLOT {slot}\r\n"),
        ":2\r\n",
    );
    bench.send(none, b"INFO keyspace\r\n");
    let info = String::from_utf8(bench.take(none, usize::MAX)).unwrap();
    assert!(
        info.contains("db0:keys=1,expires=0,avg_ttl=0\r\n"),
        "{info}"
    );
    assert!(
        info.contains("db3:keys=2,expires=1,avg_ttl=100000\r\n"),
        "{info}"
    );
    bench.send(three, b"CLIENT INFO\r\n");
    let info = String::from_utf8(bench.take(three, usize::MAX)).unwrap();
    assert!(info.contains(" db=3 "), "{info}");
    bench.check(three, "FLUSHDB\r\nDBSIZE\r\n", "+OK\r\n:0\r\n");
    bench.check(none, "DBSIZE\r\n", ":1\r\n");
    bench.check(
        three,
        "SET a 1\r\nRESET\r\nDBSIZE\r\nFLUSHALL\r\nSELECT 3\r\nDBSIZE\r\n",
        "+OK\r\n+RESET\r\n:1\r\n+OK\r\n+OK\r\n:0\r\n",
    );
    bench.check(
        none,
        "DBSIZE\r\nSET k v PX 50\r\nSELECT 3\r\nSET k v PX 50\r\n",
        ":0\r\n+OK\r\n+OK\r\n+OK\r\n",
    );
    bench.pass(Duration::from_millis(250));
    assert!(bench.node.is_empty(), "keys of all databases expire");
}

#[test]
fn a_database_is_chosen_by_its_number() {
    let mut bench = Bench::with_databases();
    let client = bench.open();
    for (number, expected) in [
        ("15", "+OK\r\n"),
        ("16", "-ERR DB index is out of range\r\n"),
        ("-1", "-ERR DB index is out of range\r\n"),
        ("x", "-ERR value is not an integer or out of range\r\n"),
        ("0", "+OK\r\n"),
    ] {
        bench.check(client, &format!("SELECT {number}\r\n"), expected);
    }
    let config = "CONFIG GET cluster-databases\r\n";
    bench.check(
        client,
        config,
        "*2\r\n$17\r\ncluster-databases\r\n$2\r\n16\r\n",
    );
    bench.check(
        client,
        "SWAPDB 0 1\r\n",
        "-ERR SWAPDB is not allowed in cluster mode\r\n",
    );
    let mut bench = Bench::cluster(0, true);
    let client = bench.open();
    bench.check(client, "SELECT 0\r\n", "+OK\r\n");
    for refused in ["SELECT", "MOVE k"] {
        let name = refused.split(' ').next().unwrap();
        let expected = format!("-ERR {name} is not allowed in cluster mode\r\n");
        bench.check(client, &format!("{refused} 1\r\n"), &expected);
    }
}

#[test]
fn keys_go_from_one_database_to_another() {
    let mut bench = Bench::with_databases();
    let client = bench.open();
    bench.check(
        client,
        "SET k v EX 100\r\nMOVE k 2\r\nMOVE k 2\r\nEXISTS k\r\n",
        "+OK\r\n:1\r\n:0\r\n:0\r\n",
    );
    bench.check(
        client,
        "SET k w\r\nMOVE k 2\r\nMOVE k 0\r\nMOVE k 16\r\n",
        "+OK\r\n:0\r\n-ERR source and destination objects are the same\r\n\
         -ERR DB index is out of range\r\n",
    );
    bench.check(
        client,
        "COPY k k DB 2\r\nCOPY k k DB 2 REPLACE\r\n",
        ":0\r\n:1\r\n",
    );
    bench.check(
        client,
        "COPY k k\r\nCOPY k {k}2 DB 16\r\n",
        "-ERR source and destination objects are the same\r\n-ERR DB index is out of range\r\n",
    );
    bench.check(
        client,
        "SELECT 2\r\nGET k\r\nTTL k\r\n",
        "+OK\r\n$1\r\nw\r\n:-1\r\n",
    );
    bench.check(
        client,
        "COPY k {k}2\r\nDBSIZE\r\nTTL k\r\n",
        ":1\r\n:2\r\n:-1\r\n",
    );
}

#[test]
fn a_transaction_and_a_watch_are_of_one_database() {
    let mut bench = Bench::with_databases();
    let (watcher, other) = (bench.open(), bench.open());
    bench.check(
        watcher,
        "SELECT 4\r\nWATCH k\r\nMULTI\r\nSET k 1\r\n",
        "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n",
    );
    bench.check(other, "SET k 2\r\nFLUSHDB\r\n", "+OK\r\n+OK\r\n");
    bench.check(watcher, "EXEC\r\n", "*1\r\n+OK\r\n");
    bench.check(
        watcher,
        "WATCH k\r\nMULTI\r\nSET k 1\r\n",
        "+OK\r\n+OK\r\n+QUEUED\r\n",
    );
    bench.check(other, "SELECT 4\r\nSET k 2\r\n", "+OK\r\n+OK\r\n");
    bench.check(watcher, "EXEC\r\n", "*-1\r\n");
    bench.check(
        watcher,
        "MULTI\r\nSET k 5\r\nSELECT 5\r\nSET k 6\r\nEXEC\r\nGET k\r\n",
        "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n+OK\r\n$1\r\n6\r\n",
    );
    bench.check(other, "GET k\r\n", "$1\r\n5\r\n");
}

#[test]
fn a_slot_moves_with_the_keys_of_all_databases() {
    let mut bench = Bench::with_databases();
    let client = bench.open();
    bench.check(
        client,
        "SET k 0\r\nSELECT 7\r\nSET k 7\r\nSET {k}2 7\r\n",
        "+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
    );
    let keys = bench.node.export_slot(Slot::of(b"k"));
    assert_eq!((keys.len(), bench.node.len()), (3, 0));
    keys.into_iter().for_each(|key| bench.node.import_key(key));
    bench.check(
        client,
        "GET k\r\nDBSIZE\r\nSELECT 0\r\nGET k\r\n",
        "$1\r\n7\r\n:2\r\n+OK\r\n$1\r\n0\r\n",
    );
    let key = bench.node.export_key(b"k").unwrap();
    assert_eq!(bench.node.slot_keys(Slot::of(b"k"), 10).len(), 2);
    bench.node.import_key(key);
    bench.check(client, "GET k\r\n", "$1\r\n0\r\n");
}

#[test]
fn a_drained_node_closes_its_clients() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    bench.node.handle_event(Event::Drain, bench.now);
    bench.settle();
    assert!(bench.wished(&close(client, CloseWhen::Flushed)));
    let late = bench.open();
    assert!(bench.wished(&close(late, CloseWhen::Now)));
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let run = |seed| {
        let mut bench = Bench::new(NodeConfig {
            seed,
            ..NodeConfig::default()
        });
        let client = bench.open();
        for index in 0..100 {
            bench.send(
                client,
                format!("SADD s {index}\r\nSET k{index} v\r\n").as_bytes(),
            );
        }
        bench.send(
            client,
            "SPOP s\r\nRANDOMKEY\r\nSCAN 0\r\n".repeat(10).as_bytes(),
        );
        bench.take(client, usize::MAX)
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn what_is_not_there_yet_says_so() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    bench.check(
        client,
        "PFADD h a\r\n",
        "-ERR 'pfadd' is not supported by this node yet\r\n",
    );
    let tracking = "-ERR 'client|tracking' is not supported by this node yet\r\n";
    bench.check(client, "CLIENT TRACKING on\r\n", tracking);
}

#[test]
fn help_names_what_is_there() {
    let mut bench = Bench::standalone();
    let client = bench.open();
    let title = "+MEMORY <subcommand> [<argument> ...]. This node knows:\r\n";
    let expected = format!("*3\r\n{title}+HELP\r\n+USAGE\r\n");
    bench.check(client, "memory help\r\n", &expected);
}
