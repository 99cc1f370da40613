//! The discovery between scripted nodes.

use core::time::Duration;
use std::sync::Arc;

use bytes::BytesMut;
use slotway_protocol::cluster::{SLOTS, Slot, Topology};
use slotway_protocol::engine::{
    Action, Address, ConnectError, ConnectToken, ConnectionId, Engine, Instant, Now, Origin, Peer,
};

use super::addresses::Addresses;
use super::question::Subject;
use super::{Discovery, Event, Notice, Options};

const REFRESH: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(1);

/// Drives one discovery by hand.
struct Bench {
    discovery: Discovery,
    now: Instant,
    connections: u32,
    /// Connections asked for and not answered.
    wanted: Vec<(ConnectToken, Address)>,
    topologies: Vec<Arc<Topology>>,
    /// For each round that has ended, whether anybody answered.
    refreshed: Vec<bool>,
    unreachable: Vec<String>,
    /// What was learned, by the commands' names, and why nothing was.
    learned: Vec<String>,
    /// What nodes answer when they are asked how many databases they have.
    databases_reply: &'static str,
    databases: Vec<u32>,
    unknown: Vec<String>,
    /// How often a replica was told to take over, and what came of it.
    assisting: usize,
    stories: Vec<String>,
}

impl Bench {
    fn new(seeds: &[u16]) -> Self {
        Self::that_learns_every(Duration::ZERO, seeds)
    }

    fn that_learns_every(commands_interval: Duration, seeds: &[u16]) -> Self {
        let options = Options {
            seeds: seeds.iter().map(|&port| node(port)).collect(),
            credentials: None,
            refresh_interval: REFRESH,
            answer_timeout: ANSWER,
            commands_interval,
            addresses: Addresses::default(),
            assist_failover: false,
            random_seed: 7,
        };
        Self {
            discovery: Discovery::new(options),
            now: Instant::from_micros(1_000_000),
            connections: 0,
            wanted: Vec::new(),
            topologies: Vec::new(),
            refreshed: Vec::new(),
            unreachable: Vec::new(),
            learned: Vec::new(),
            databases_reply: "*0\r\n",
            databases: Vec::new(),
            unknown: Vec::new(),
            assisting: 0,
            stories: Vec::new(),
        }
    }

    /// Has asked node 1 and knows the nodes 1 to 3, each with a third of the slots.
    fn with_three_nodes() -> Self {
        let mut bench = Self::new(&[1]);
        bench.begin();
        bench.answer(1, &thirds(1));
        assert_eq!(bench.owners(), [1, 2, 3]);
        bench
    }

    fn call(&mut self, call: impl FnOnce(&mut Discovery, Now)) {
        let now = Now {
            instant: self.now,
            unix_ms: 0,
        };
        call(&mut self.discovery, now);
        while let Some(action) = self.discovery.poll_action() {
            match action {
                Action::Connect { token, address } => self.wanted.push((token, address)),
                Action::Notify(Notice::Topology(topology)) => self.topologies.push(topology),
                Action::Notify(Notice::Refreshed { answered }) => self.refreshed.push(answered),
                Action::Notify(Notice::Unreachable { reason, .. }) => self.unreachable.push(reason),
                Action::Notify(Notice::Commands(learned)) => {
                    let names: Vec<&str> = learned.all().map(|command| command.name).collect();
                    self.learned.push(names.join(" "));
                }
                Action::Notify(Notice::Assisting) => self.assisting += 1,
                Action::Notify(Notice::Assisted(story)) => self.stories.push(story.to_string()),
                Action::Notify(Notice::Databases(number)) => self.databases.push(number),
                Action::Notify(Notice::CommandsUnknown { reason, .. }) => self.unknown.push(reason),
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.call(Discovery::handle_timeout);
    }

    /// Waits for what the discovery waits for, and says how long that was.
    fn wait(&mut self) -> Duration {
        let due = self.discovery.poll_timeout().unwrap();
        let time = due.since(self.now);
        self.pass(time);
        time
    }

    /// Waits for the next round; whoever the last one asked has not answered.
    fn begin(&mut self) {
        let ended = self.refreshed.len();
        while self.discovery.round.is_some() {
            self.wait();
        }
        assert!(self.refreshed.len() <= ended + 1);
        self.wanted.clear();
        self.wait();
        assert!(!self.wanted.is_empty(), "nobody is asked");
    }

    fn asked(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.wanted.iter().map(|(_, node)| node.port).collect();
        ports.sort_unstable();
        ports
    }

    /// Takes the connection to the node of that port.
    fn connect(&mut self, port: u16) -> ConnectionId {
        let found = self.wanted.iter().position(|(_, node)| node.port == port);
        let (token, _) = self.wanted.remove(found.unwrap());
        let connection = ConnectionId {
            index: self.connections,
            generation: 0,
        };
        self.connections += 1;
        let peer = Peer {
            remote: ([127, 0, 0, 1], port).into(),
            local: ([127, 0, 0, 1], 9).into(),
            origin: Origin::Connected(token),
        };
        self.call(|it, now| it.handle_open(connection, peer, now));
        connection
    }

    fn answer(&mut self, port: u16, lines: &str) {
        let reply = format!("${}\r\n{lines}\r\n", lines.len());
        self.reply(port, &reply);
    }

    /// Takes the connection to the node of that port, and gives its reply to whatever was asked.
    fn reply(&mut self, port: u16, reply: &str) {
        let connection = self.connect(port);
        let mut input = BytesMut::from(reply.as_bytes());
        let question = self.discovery.connections.get(&connection);
        if question.is_some_and(|question| question.subject == Subject::Commands) {
            input = BytesMut::from(format!("{}{reply}", self.databases_reply).as_bytes());
        }
        self.call(|it, now| it.handle_input(connection, &mut input, now));
        self.call(|it, now| it.handle_close(connection, now));
    }

    /// Waits until that node is asked for its commands; all rounds meanwhile find what is known.
    fn begin_lesson(&mut self, port: u16) {
        for _ in 0..100 {
            let due = self.discovery.lessons.due();
            let is_lesson = due == self.discovery.poll_timeout();
            self.wait();
            if is_lesson && self.asked() == [port] {
                return;
            }
            for port in self.asked() {
                self.answer(port, &thirds(port));
            }
        }
        panic!("node {port} is not asked");
    }

    fn refuse(&mut self, port: u16) {
        let found = self.wanted.iter().position(|(_, node)| node.port == port);
        let (token, _) = self.wanted.remove(found.unwrap());
        self.call(|it, now| it.handle_connect_failed(token, ConnectError::Refused, now));
    }

    /// Who owns the first slot of each third, by port; 0 where nobody does.
    fn owners(&self) -> [u16; 3] {
        let topology = self.topologies.last().unwrap();
        THIRDS.map(|(first, _)| {
            let owner = topology.owner(Slot::new(first).unwrap());
            owner.map_or(0, |shard| topology.shards()[shard].primary.port)
        })
    }
}

const NOBODY: [u16; 0] = [];

const THIRDS: [(u64, u64); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

fn node(port: u16) -> Address {
    Address::new("127.0.0.1", port)
}

/// A primary on `port` whose id is made of `id`.
fn primary(id: u16, port: u16, epoch: u64, thirds: &[usize], myself: bool) -> String {
    let flags = if myself { "myself,master" } else { "master" };
    let mut line = format!("{id:040x} 127.0.0.1:{port}@1{port} {flags} - 0 0 {epoch} connected");
    for &third in thirds {
        let (first, last) = THIRDS[third];
        line.push_str(&format!(" {first}-{last}"));
    }
    line + "\n"
}

/// Nodes 1 to 3 have a third each, at epochs 1 to 3, says the node `me`.
fn thirds(me: u16) -> String {
    let line = |port: u16| primary(port, port, port.into(), &[port as usize - 1], port == me);
    (1..=3).map(line).collect()
}

/// What `me` says when node 4 has taken the last third over from node 3.
fn after_failover(me: u16) -> String {
    [
        primary(1, 1, 1, &[0], me == 1),
        primary(2, 2, 2, &[1], me == 2),
        primary(3, 3, 3, &[], me == 3),
        primary(4, 4, 4, &[2], me == 4),
    ]
    .concat()
}

#[test]
fn a_blank_node_does_not_wipe_the_topology() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    assert_eq!(bench.asked(), [1, 2, 3]);
    // Node 2 has lost its files; the others do not answer in time.
    bench.answer(2, &primary(9, 2, 0, &[], true));
    bench.refuse(1);
    bench.wait();
    assert_eq!(bench.refreshed, [true, false], "it is no answer");
    assert!(
        bench
            .unreachable
            .contains(&"it knows of no slots".to_owned())
    );
    assert_eq!((bench.topologies.len(), bench.owners()), (1, [1, 2, 3]));
    // All nodes are still known, and asked again soon.
    bench.begin();
    assert_eq!(bench.asked(), [1, 2, 3]);
    bench.answer(2, &primary(9, 2, 0, &[], true));
    bench.answer(1, &thirds(1));
    bench.answer(3, &thirds(3));
    assert_eq!((bench.topologies.len(), bench.owners()), (1, [1, 2, 3]));
    assert_eq!(bench.refreshed, [true, false, true]);
}

#[test]
fn a_blank_node_is_a_cluster_to_begin_with() {
    let mut bench = Bench::new(&[1, 2]);
    bench.begin();
    bench.answer(1, &primary(1, 1, 0, &[], true));
    assert_eq!(bench.topologies.len(), 0, "the other may know more");
    bench.answer(2, &primary(2, 2, 0, &[], true));
    assert_eq!(bench.topologies[0].covered(), 0);
    assert_eq!(bench.refreshed, [true]);
    // The first answer with slots is good at once, while the other is still awaited.
    bench.begin();
    bench.answer(1, &thirds(1));
    assert_eq!(bench.owners(), [1, 2, 3]);
    assert_eq!(bench.refreshed, [true]);
}

#[test]
fn a_doubt_during_a_round_begins_another() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.call(|it, now| it.handle_event(Event::Stale, now));
    assert_eq!(bench.asked(), [1, 2, 3], "one round at a time");
    for port in 1..=3 {
        bench.answer(port, &thirds(port));
    }
    assert_eq!(bench.wait(), Duration::from_millis(50));
    assert_eq!(bench.asked(), [1, 2, 3]);
    // The doubt is heeded once.
    for port in 1..=3 {
        bench.answer(port, &thirds(port));
    }
    assert!(bench.wait() >= REFRESH);
}

#[test]
fn a_doubt_during_a_long_round_begins_another_at_once() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.call(|it, now| it.handle_event(Event::Stale, now));
    bench.pass(Duration::from_millis(80));
    for port in 1..=3 {
        bench.answer(port, &thirds(port));
    }
    assert_eq!(bench.wait(), Duration::ZERO);
    assert_eq!(bench.asked(), [1, 2, 3]);
}

#[test]
fn a_silent_node_is_not_waited_for_once_another_has_answered() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.pass(Duration::from_millis(10));
    bench.answer(1, &after_failover(1));
    bench.pass(Duration::from_millis(60));
    bench.answer(2, &after_failover(2));
    assert_eq!(bench.wait(), Duration::from_millis(40));
    assert_eq!(bench.refreshed, [true, true]);
    assert_eq!(bench.owners(), [1, 2, 4]);
    // Without any answer the whole time is theirs, and no longer than that.
    bench.begin();
    bench.refuse(bench.asked()[0]);
    assert_eq!(bench.wait(), ANSWER);
    bench.begin();
    bench.pass(ANSWER - Duration::from_millis(1));
    let port = bench.asked()[0];
    bench.answer(port, &after_failover(port));
    assert_eq!(bench.wait(), Duration::from_millis(1));
}

#[test]
fn nodes_that_lag_behind_do_not_bring_an_old_map_back() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    bench.answer(1, &after_failover(1));
    bench.wait();
    assert_eq!(bench.owners(), [1, 2, 4]);
    // Three of four are asked, and none of them has heard of it.
    bench.begin();
    for port in bench.asked() {
        if port != 1 && port != 4 {
            bench.answer(port, &thirds(port));
        }
    }
    while bench.refreshed.len() < 3 {
        bench.wait();
    }
    assert_eq!((bench.topologies.len(), bench.owners()), (2, [1, 2, 4]));
}

#[test]
fn an_old_answer_is_not_believed_for_ever() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    // Node 1 alone says so, and never again.
    bench.answer(1, &after_failover(1));
    bench.wait();
    let begun = bench.now;
    while bench.owners() == [1, 2, 4] {
        bench.begin();
        for port in bench.asked() {
            if port == 2 || port == 3 {
                bench.answer(port, &thirds(port));
            }
        }
        let since = bench.now.since(begun);
        assert!(since < 4 * REFRESH, "still believed after {since:?}");
    }
    assert!(bench.now.since(begun) >= 2 * REFRESH);
    assert_eq!(bench.owners(), [1, 2, 3]);
}

#[test]
fn a_node_is_believed_about_itself() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    // The slots were taken from node 3 and given to node 2, without a new epoch.
    let moved = [
        primary(1, 1, 1, &[0], false),
        primary(2, 2, 2, &[1, 2], false),
        primary(3, 3, 3, &[], true),
    ];
    bench.answer(3, &moved.concat());
    bench.wait();
    assert_eq!(bench.owners(), [1, 2, 2]);
}

#[test]
fn a_node_that_has_given_slots_away_is_believed_more_than_one_that_missed_it() {
    let mut bench = Bench::with_three_nodes();
    bench.begin();
    // Node 1 gave the first third to node 2, and then got the last one and a new epoch with it.
    let says_1 = [
        primary(1, 1, 5, &[2], true),
        primary(2, 2, 4, &[0, 1], false),
        primary(3, 3, 3, &[], false),
    ];
    let says_2 = [
        primary(1, 1, 1, &[], false),
        primary(2, 2, 4, &[0, 1], true),
        primary(3, 3, 3, &[2], false),
    ];
    let says_3 = [
        primary(1, 1, 5, &[0, 2], false),
        primary(2, 2, 2, &[1], false),
        primary(3, 3, 3, &[], true),
    ];
    for (port, lines) in [(2, says_2), (1, says_1), (3, says_3)] {
        bench.answer(port, &lines.concat());
    }
    bench.wait();
    assert_eq!(bench.owners(), [2, 2, 1]);
}

#[test]
fn a_cluster_made_anew_at_the_same_addresses_is_believed() {
    let mut bench = Bench::new(&[1]);
    bench.begin();
    let high = |me| {
        [
            primary(1, 1, 11, &[0], me == 1),
            primary(2, 2, 12, &[1], me == 2),
            primary(3, 3, 13, &[2], me == 3),
        ]
        .concat()
    };
    bench.answer(1, &high(1));
    assert_eq!(bench.owners(), [1, 2, 3]);
    // Reset: new ids, low epochs, other slots.
    bench.begin();
    for port in [1, 2, 3] {
        let lines = [
            primary(21, 1, 1, &[2], port == 1),
            primary(22, 2, 2, &[0], port == 2),
            primary(23, 3, 3, &[1], port == 3),
        ];
        bench.answer(port, &lines.concat());
    }
    assert_eq!(bench.owners(), [2, 3, 1]);
    assert_eq!(bench.topologies.last().unwrap().covered(), SLOTS);
}

#[test]
fn among_equal_epochs_the_newest_answer_wins() {
    let mut bench = Bench::new(&[1]);
    bench.begin();
    bench.answer(1, &thirds(1));
    bench.begin();
    // Node 3 has moved to another address: same id, same epoch.
    let moved = [
        primary(1, 1, 1, &[0], false),
        primary(2, 2, 2, &[1], true),
        primary(3, 5, 3, &[2], false),
    ];
    bench.answer(2, &moved.concat());
    bench.wait();
    assert_eq!(bench.owners(), [1, 2, 5]);
    assert_eq!(bench.topologies.last().unwrap().shards().len(), 3);
}

#[test]
fn what_is_remembered_is_bounded_by_the_nodes_that_are_known() {
    let mut bench = Bench::new(&[1, 2]);
    bench.begin();
    bench.answer(1, &thirds(1));
    bench.answer(2, &thirds(2));
    // The cluster moves to new addresses again and again, faster than answers grow old.
    for generation in 1..20 {
        bench.call(|it, now| it.handle_event(Event::Stale, now));
        bench.begin();
        let base = generation * 10;
        let lines: String = (0..3)
            .map(|third| {
                let epoch = u64::from(base) + third as u64;
                let port = base + third;
                primary(port, port, epoch, &[usize::from(third)], false)
            })
            .collect();
        for port in bench.asked() {
            bench.answer(port, &lines);
        }
        assert_eq!(bench.owners(), [base, base + 1, base + 2]);
        assert!(bench.discovery.beliefs.len() <= 5);
    }
}

#[test]
fn replicas_follow_the_newest_answer() {
    let mut bench = Bench::new(&[1]);
    let replica = |of: u16, flags: &str| {
        format!(
            "{:040x} 127.0.0.1:8@18 {flags} {of:040x} 0 0 1 connected\n",
            8
        )
    };
    let replicas = |bench: &Bench| -> Vec<usize> {
        let topology = bench.topologies.last().unwrap();
        let shards = topology.shards().iter();
        shards.map(|shard| shard.replicas.len()).collect()
    };
    bench.begin();
    bench.answer(1, &(thirds(1) + &replica(1, "slave")));
    assert_eq!(replicas(&bench), [1, 0, 0]);
    bench.begin();
    bench.answer(2, &(thirds(2) + &replica(2, "slave")));
    bench.wait();
    assert_eq!(
        replicas(&bench),
        [0, 1, 0],
        "it follows another primary now"
    );
    bench.begin();
    let port = bench.asked()[0];
    bench.answer(port, &(thirds(port) + &replica(2, "slave,fail")));
    bench.wait();
    assert_eq!(replicas(&bench), [0, 0, 0]);
}

#[test]
fn scattered_slots_are_one_shard() {
    let mut bench = Bench::new(&[1]);
    bench.begin();
    let mut lines = [String::new(), String::new()];
    for (port, line) in [1_u16, 2].into_iter().zip(&mut lines) {
        *line = primary(port, port, port.into(), &[], port == 1);
        line.pop();
        for slot in (usize::from(port) - 1..SLOTS).step_by(2) {
            line.push_str(&format!(" {slot}"));
        }
        line.push('\n');
    }
    bench.answer(1, &lines.concat());
    let topology = bench.topologies.last().unwrap();
    assert_eq!((topology.shards().len(), topology.covered()), (2, SLOTS));
    for slot in Slot::all() {
        assert_eq!(topology.owner(slot), Some(slot.index() % 2));
    }
}

const MINUTES: Duration = Duration::from_mins(5);

/// A reply to COMMAND with these commands, none of which has keys.
fn commands(names: &[&str]) -> String {
    let entry = |name: &&str| {
        let len = name.len();
        format!("*6\r\n${len}\r\n{name}\r\n:-1\r\n*0\r\n:0\r\n:0\r\n:0\r\n")
    };
    let entries: String = names.iter().map(entry).collect();
    format!("*{}\r\n{entries}", names.len())
}

/// Knows the three nodes and is about to be answered by the first, whom it asks for its commands.
fn learner() -> Bench {
    let mut bench = Bench::that_learns_every(MINUTES, &[1]);
    bench.begin();
    assert_eq!(
        bench.asked(),
        [1],
        "nobody is asked before there is a topology"
    );
    bench.answer(1, &thirds(1));
    assert_eq!(bench.wait(), Duration::ZERO);
    assert_eq!(bench.asked(), [1]);
    bench
}

/// Lets time pass without anything new from the nodes; whom the lessons asked, and when.
fn lessons(bench: &mut Bench, time: Duration, lines: &dyn Fn(u16) -> String) -> Vec<u64> {
    let (start, mut asked) = (bench.now, Vec::new());
    while bench.now.since(start) < time {
        let lesson_is_due = bench.discovery.lessons.due() == bench.discovery.poll_timeout();
        bench.wait();
        let is_round = bench.discovery.round.is_some();
        for port in bench.asked() {
            if lesson_is_due && !is_round {
                asked.push(bench.now.since(start).as_secs());
                bench.reply(port, &commands(&["my.get"]));
            } else {
                bench.answer(port, &lines(port));
            }
        }
    }
    asked
}

#[test]
fn commands_are_learned_once_and_asked_for_seldom() {
    let mut bench = learner();
    bench.reply(1, &commands(&["get", "my.get", "MY.set"]));
    assert_eq!(bench.learned, ["my.get MY.set"]);
    bench.learned.clear();
    let asked = lessons(&mut bench, MINUTES * 2 + REFRESH, &thirds);
    assert_eq!(asked, [300, 600]);
    assert_eq!(bench.learned, ["my.get"], "the second time is no news");
    assert_eq!(bench.unreachable, [] as [&str; 0]);
}

#[test]
fn a_server_without_other_commands_is_no_news() {
    let mut bench = learner();
    bench.reply(1, &commands(&["get", "set"]));
    assert_eq!((bench.learned.len(), bench.unknown.len()), (0, 0));
}

#[test]
fn new_nodes_are_asked_soon_but_not_at_once() {
    let mut bench = learner();
    bench.reply(1, &commands(&["my.get"]));
    let asked = lessons(&mut bench, Duration::from_secs(60), &after_failover);
    // The topology with node 4 comes with the next round, about ten seconds after the first.
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!((10..=12).contains(&asked[0]), "{asked:?}");
}

#[test]
fn who_does_not_tell_its_commands_is_not_asked_again_at_once() {
    let mut bench = learner();
    bench.reply(
        1,
        "-NOPERM this user has no permissions to run the 'command' command\r\n",
    );
    assert!(bench.unknown[0].contains("NOPERM"), "{:?}", bench.unknown);
    let topologies = bench.topologies.len();
    // Another one is, and is lost; then one is silent.
    for (port, problem) in [(2, "connection lost"), (3, "no answer in time")] {
        bench.begin_lesson(port);
        let connection = bench.connect(port);
        if port == 2 {
            bench.call(|it, now| it.handle_close(connection, now));
        } else {
            bench.pass(ANSWER * 5);
        }
        assert_eq!(bench.unknown.last().unwrap(), problem);
    }
    bench.begin_lesson(1);
    bench.refuse(1);
    assert_eq!(bench.unknown.len(), 4);
    // Not even reached is the next one.
    bench.begin_lesson(2);
    bench.pass(ANSWER * 5);
    bench.begin_lesson(3);
    bench.reply(3, &commands(&["my.get"]));
    assert_eq!(bench.learned, ["my.get"]);
    assert_eq!(bench.topologies.len(), topologies);
}

#[test]
fn a_reply_may_come_in_pieces_but_not_without_end() {
    let mut bench = learner();
    let connection = bench.connect(1);
    let reply = "*0\r\n".to_owned() + &commands(&["my.get", "my.set"]);
    let mut input = BytesMut::new();
    for byte in reply.bytes() {
        assert_eq!(bench.learned, [] as [&str; 0]);
        input.extend_from_slice(&[byte]);
        bench.call(|it, now| it.handle_input(connection, &mut input, now));
    }
    assert_eq!(bench.learned, ["my.get my.set"]);

    let mut bench = learner();
    let connection = bench.connect(1);
    let endless = format!("*1\r\n$16000000\r\n{}", "x".repeat(8 * 1024 * 1024));
    let mut input = BytesMut::from(endless.as_bytes());
    bench.call(|it, now| it.handle_input(connection, &mut input, now));
    assert!(input.is_empty());
    assert_eq!(bench.unknown.len(), 1);
}

#[test]
fn an_interval_of_zero_asks_nobody() {
    let mut bench = Bench::with_three_nodes();
    let asked = lessons(&mut bench, MINUTES * 2, &thirds);
    assert_eq!((asked.len(), bench.learned.len()), (0, 0));
}

#[test]
fn how_many_databases_there_are_is_asked_with_the_commands() {
    for (reply, expected) in [
        ("*0\r\n", Some(1)),
        ("*2\r\n$17\r\ncluster-databases\r\n$2\r\n16\r\n", Some(16)),
        ("*2\r\n$17\r\ncluster-databases\r\n$1\r\nx\r\n", None),
        (
            "-NOPERM this user has no permissions to run the 'config|get' command\r\n",
            Some(1),
        ),
        ("-LOADING Redis is loading the dataset in memory\r\n", None),
    ] {
        let mut bench = learner();
        bench.databases_reply = reply;
        bench.reply(1, &commands(&["my.get"]));
        let asked = lessons(&mut bench, MINUTES + REFRESH, &thirds);
        assert_eq!(asked.len(), 1);
        assert_eq!(
            bench.databases,
            Vec::from_iter(expected),
            "said once: {reply}"
        );
        assert_eq!(bench.learned, ["my.get"], "{reply}");
    }
    let mut bench = Bench::with_three_nodes();
    assert_eq!(bench.databases, [1], "nobody is asked");
    bench.begin();
    assert_eq!(bench.databases, [1]);
}

/// The nodes 1 to 3 as in `thirds`, and node 4, a replica of the first.
fn with_a_replica(me: u16) -> String {
    let myself = if me == 4 { "myself," } else { "" };
    let replica = format!(
        "{:040x} 127.0.0.1:4@14 {myself}slave {:040x} 0 0 1 connected\n",
        4, 1
    );
    thirds(me) + &replica
}

/// What a node answers when it is asked for its standing after the death of node 1.
fn standing(me: u16) -> String {
    let nodes = with_a_replica(me).replacen("connected", "disconnected", 1);
    let replication = if me == 4 {
        "role:slave\r\nmaster_link_status:down\r\nmaster_sync_in_progress:0\r\n\
         slave_repl_offset:77\r\nmaster_link_down_since_seconds:0\r\n"
    } else {
        "role:master\r\n"
    };
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let timeout = "*2\r\n$20\r\ncluster-node-timeout\r\n$5\r\n15000\r\n";
    let (info, replication) = (bulk("cluster_current_epoch:3\r\n"), bulk(replication));
    info + &replication + timeout + &bulk(&nodes)
}

impl Bench {
    fn is_ordered(&self) -> bool {
        let mut connecting = self.discovery.connecting.values();
        connecting.any(|(_, subject)| *subject == Subject::Order)
    }

    /// Answers whoever is asked for its standing, and refuses connections to node 1, until somebody
    /// is told to take over.
    fn serve_assist(&mut self) {
        while !self.wanted.is_empty() && !self.is_ordered() {
            for port in self.asked() {
                match port {
                    1 => self.refuse(1),
                    _ => self.reply(port, &standing(port)),
                }
            }
        }
    }

    fn with_a_replica() -> Self {
        let mut bench = Self::new(&[1]);
        bench.discovery.options.assist_failover = true;
        bench.begin();
        bench.answer(1, &with_a_replica(1));
        bench.wanted.clear();
        bench
    }

    fn lose(&mut self, port: u16) {
        self.call(|it, now| it.handle_event(Event::Lost(node(port)), now));
    }

    /// What is to be written to a connection.
    fn written(&mut self, connection: ConnectionId) -> String {
        let output = self.discovery.output(connection);
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        let used = output.slices(&mut slices);
        let bytes: Vec<u8> = slices[..used].iter().flat_map(|it| it.to_vec()).collect();
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn a_replica_of_a_dead_primary_is_told_to_take_over_and_watched() {
    let mut bench = Bench::with_a_replica();
    bench.lose(1);
    let died = bench.now;
    let connection = loop {
        bench.serve_assist();
        if bench.is_ordered() {
            break bench.connect(4);
        }
        bench.wait();
        assert!(bench.now.since(died) < Duration::from_millis(150));
    };
    assert_eq!(
        bench.written(connection),
        "*3\r\n$7\r\nCLUSTER\r\n$8\r\nFAILOVER\r\n$5\r\nFORCE\r\n"
    );
    assert_eq!((bench.assisting, bench.stories.len()), (1, 0));
    let mut input = BytesMut::from("+OK\r\n");
    bench.call(|it, now| it.handle_input(connection, &mut input, now));
    // Until the topology is a new one, it is asked for every 20 ms, of the replica first.
    for _ in 0..10 {
        assert!(bench.wait() <= Duration::from_millis(20));
        assert_eq!(bench.wanted[0].1.port, 4);
        for port in bench.asked() {
            match port {
                1 => bench.refuse(1),
                _ => bench.answer(port, &with_a_replica(port)),
            }
        }
    }
    bench.wait();
    let after = |me| {
        let lines = [
            primary(1, 1, 1, &[], false),
            primary(2, 2, 2, &[1], me == 2),
            primary(3, 3, 3, &[2], me == 3),
            primary(4, 4, 4, &[0], me == 4),
        ];
        lines.concat()
    };
    for port in bench.asked() {
        match port {
            1 => bench.refuse(1),
            _ => bench.answer(port, &after(port)),
        }
    }
    assert_eq!(bench.owners(), [4, 2, 3]);
    assert!(
        bench.stories[0].contains("; it is primary; "),
        "{:?}",
        bench.stories
    );
    assert!(bench.wait() >= REFRESH, "nothing is expected any more");
}

#[test]
fn a_refused_question_is_a_sign_too_but_not_when_nobody_is_to_help() {
    for is_on in [true, false] {
        let mut bench = Bench::with_a_replica();
        bench.discovery.options.assist_failover = is_on;
        bench.begin();
        bench.refuse(1);
        let probed = bench.asked().contains(&1);
        assert_eq!(probed, is_on);
    }
    // Nor is a replica helped, nor a stranger.
    let mut bench = Bench::with_a_replica();
    bench.lose(4);
    bench.lose(9);
    assert_eq!(bench.asked(), NOBODY);
}

#[test]
fn a_node_that_answers_anything_is_alive() {
    for reply in [
        "+PONG\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-LOADING\r\n",
    ] {
        let mut bench = Bench::with_a_replica();
        bench.lose(1);
        assert_eq!(bench.asked(), [1]);
        bench.reply(1, reply);
        assert_eq!(bench.asked(), NOBODY);
        // One that takes the connection and ends it is not.
        bench.pass(Duration::from_millis(50));
        bench.lose(1);
        let connection = bench.connect(1);
        bench.call(|it, now| it.handle_close(connection, now));
        assert_eq!(bench.asked(), [2, 3, 4]);
    }
    for error in [
        ConnectError::TimedOut,
        ConnectError::Other("no route".to_owned()),
    ] {
        let mut bench = Bench::with_a_replica();
        bench.lose(1);
        let (token, _) = bench.wanted.remove(0);
        bench.call(|it, now| it.handle_connect_failed(token, error, now));
        assert_eq!(bench.asked(), NOBODY);
    }
}

#[test]
fn while_most_primaries_are_silent_the_others_do_not_lead_back() {
    let mut bench = Bench::with_three_nodes();
    // A replica at port 4 has taken over from node 1, which is cut off and has not heard of it.
    let after = |me: u16| {
        [
            primary(1, 1, 1, &[], false),
            primary(2, 2, 2, &[1], me == 2),
            primary(3, 3, 3, &[2], me == 3),
            primary(4, 4, 4, &[0], me == 4),
        ]
        .concat()
    };
    bench.begin();
    for port in [2, 3] {
        bench.answer(port, &after(port));
    }
    bench.refuse(1);
    assert_eq!(bench.owners(), [4, 2, 3]);
    // Now only node 1 is reached.
    let begun = bench.now;
    let mut answers = 0;
    while bench.now.since(begun) < 6 * REFRESH {
        bench.wait();
        for port in bench.asked() {
            match port {
                1 => {
                    bench.answer(1, &thirds(1));
                    answers += 1;
                }
                _ => bench.refuse(port),
            }
        }
    }
    assert!(answers >= 3, "it was asked {answers} times");
    assert_eq!(bench.owners(), [4, 2, 3]);
    // What all of them say counts as always, and some day even what the few say.
    let forever = REFRESH * 100;
    while bench.now.since(begun) < forever {
        bench.wait();
        for port in bench.asked() {
            match port {
                1 => bench.answer(1, &thirds(1)),
                _ => bench.refuse(port),
            }
        }
    }
    assert_eq!(bench.owners(), [1, 2, 3]);
}

#[test]
fn a_primary_that_is_said_to_be_down_is_watched() {
    let mut bench = Bench::with_three_nodes();
    let pauses = |bench: &mut Bench, flags: &str| {
        bench.begin();
        for port in bench.asked() {
            let suspected = thirds(port).replace("master", flags);
            let own = suspected.replace(&format!("myself,{flags}"), "myself,master");
            bench.answer(port, &own);
        }
        bench.discovery.next_round.since(bench.now).as_millis()
    };
    assert!(pauses(&mut bench, "master") >= REFRESH.as_millis());
    assert_eq!(pauses(&mut bench, "master,fail?"), 100);
    assert_eq!(pauses(&mut bench, "master,fail"), 100);
    bench.pass(Duration::from_secs(61));
    assert_eq!(pauses(&mut bench, "master,fail"), 500, "it lasts");
    assert!(pauses(&mut bench, "master") >= REFRESH.as_millis());
    assert_eq!(pauses(&mut bench, "master,fail"), 100, "it is another time");
}

#[test]
fn a_translated_address_is_the_one_to_connect_to() {
    let mut bench = Bench::new(&[1]);
    let to = Address::new("gate", 7003);
    let map = [(Address::new("127.0.0.1", 3), to.clone())];
    bench.discovery.options.addresses.nodes = map.into();
    bench.begin();
    bench.answer(1, &thirds(1));
    let topology = bench.topologies.last().unwrap();
    assert!(topology.has_node(&to) && !topology.has_node(&Address::new("127.0.0.1", 3)));
    let aliases: Vec<_> = topology.aliases().collect();
    assert_eq!(aliases, [(&Address::new("127.0.0.1", 3), &to)]);
    bench.begin();
    assert_eq!(bench.asked(), [1, 2, 7003]);
}
