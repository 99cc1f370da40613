//! The assisted failover without any nodes: what it wishes, given what they would say.

use bytes::BytesMut;
use slotway_protocol::cluster::nodes::{NodeId, NodeLine, parse_nodes};

use super::super::addresses::Addresses;
use super::super::standing::Following;
use super::*;

/// The primaries have the ports 1 to 3, the replicas of the first 4 and 5.
const PRIMARIES: [u16; 3] = [1, 2, 3];
const REPLICAS: [u16; 2] = [4, 5];

/// A cluster whose first primary has just died.
struct Bench {
    assist: Assist,
    now: Instant,
    standings: BTreeMap<u16, Standing>,
    /// What the probes find, one after the other; after the last, that it is gone.
    pulses: Vec<Pulse>,
    /// Ports that were told to take over.
    ordered: Vec<u16>,
    stories: Vec<Story>,
    probes: Vec<Instant>,
    asked: Vec<u16>,
    /// How often all were asked.
    rounds: usize,
    watched: Vec<u16>,
}

fn node(port: u16) -> Address {
    Address::new("127.0.0.1", port)
}

fn id(port: u16) -> NodeId {
    NodeId::parse(&format!("{port:040x}")).unwrap()
}

fn stricken() -> Stricken {
    Stricken {
        id: id(1),
        address: node(1),
        slot: Slot::new(0).unwrap(),
        replicas: REPLICAS.map(node).to_vec(),
        others: vec![node(2), node(3)],
    }
}

/// What the node `me` says of all, the first primary being gone.
fn lines(me: u16) -> Vec<NodeLine> {
    let line = |port: u16| {
        let myself = if port == me { "myself," } else { "" };
        let link = if port == 1 {
            "disconnected"
        } else {
            "connected"
        };
        if PRIMARIES.contains(&port) {
            let slot = port - 1;
            format!(
                "{} 127.0.0.1:{port}@9 {myself}master - 0 0 {port} {link} {slot}\n",
                id(port)
            )
        } else {
            format!(
                "{} 127.0.0.1:{port}@9 {myself}slave {} 0 0 1 {link}\n",
                id(port),
                id(1)
            )
        }
    };
    let text: String = (1..=5).map(line).collect();
    parse_nodes(&text, &node(me)).unwrap()
}

fn standing(me: u16) -> Standing {
    let following = Following {
        is_linked: false,
        is_syncing: false,
        down_seconds: Some(0),
        offset: 100 + u64::from(me),
    };
    Standing {
        lines: lines(me),
        epoch: 7,
        following: REPLICAS.contains(&me).then_some(following),
        node_timeout: Some(Duration::from_secs(15)),
    }
}

impl Bench {
    fn new() -> Self {
        Self {
            assist: Assist::new(1),
            now: Instant::from_micros(1_000_000),
            standings: (2..=5).map(|port| (port, standing(port))).collect(),
            pulses: Vec::new(),
            ordered: Vec::new(),
            stories: Vec::new(),
            probes: Vec::new(),
            asked: Vec::new(),
            rounds: 0,
            watched: Vec::new(),
        }
    }

    fn standing(&mut self, port: u16) -> &mut Standing {
        self.standings.get_mut(&port).unwrap()
    }

    /// Changes what some say about others.
    fn lines(&mut self, says: &[u16], about: &[u16], change: fn(&mut NodeLine)) {
        for says in says {
            let lines = self.standing(*says).lines.iter_mut();
            let about = about.iter().map(|port| id(*port)).collect::<Vec<_>>();
            lines
                .filter(|line| about.contains(&line.id))
                .for_each(change);
        }
    }

    /// Changes how both replicas follow their primary.
    fn following(&mut self, change: fn(&mut Following)) {
        for port in REPLICAS {
            self.standing(port).following.as_mut().map(change).unwrap();
        }
    }

    /// Does at once what is wished; nodes without a standing do not answer, ever.
    fn serve(&mut self) {
        loop {
            while let Some(suspect) = self.assist.next_suspect(self.now) {
                assert_eq!(suspect, node(1));
                self.assist.begin(stricken(), self.now);
            }
            let Some(wish) = self.assist.poll_wish() else {
                return;
            };
            match wish {
                Wish::Probe(address) => {
                    assert_eq!(address, node(1));
                    let pulse = self.pulses.get(self.probes.len()).copied();
                    self.probes.push(self.now);
                    let pulse = pulse.unwrap_or(Pulse::Gone);
                    self.assist.handle_probe(pulse, self.now);
                }
                Wish::Ask(address) => {
                    let port = address.port;
                    self.rounds += usize::from(port == 2);
                    self.asked.push(port);
                    if let Some(standing) = self.standings.get(&port).cloned() {
                        let told = Some(standing);
                        self.assist.handle_standing(&address, told, self.now);
                    }
                }
                Wish::Order(address) => self.ordered.push(address.port),
                Wish::Watch { node, .. } => self.watched.push(node.port),
                Wish::Forget => {}
                Wish::Tell(story) => self.stories.push(story),
            }
        }
    }

    fn suspect(&mut self) {
        self.assist.suspect(&node(1));
        self.serve();
    }

    /// Waits for what it waits for, up to a time from now on.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.assist.due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.assist.handle_timeout(self.now);
            self.serve();
        }
        self.now = end;
    }

    fn outcomes(&self) -> Vec<&Outcome> {
        self.stories.iter().map(|story| &story.outcome).collect()
    }

    /// A bench in which everything went well up to the order.
    fn after_order() -> Self {
        let mut bench = Self::new();
        bench.suspect();
        bench.run(SOON);
        assert_eq!(bench.ordered, [5]);
        bench
    }
}

const NOBODY: [u16; 0] = [];

/// Until then a replica is told, if one is.
const SOON: Duration = Duration::from_millis(140);

fn suppressed(reason: &str) -> Outcome {
    Outcome::Suppressed(reason.to_owned())
}

#[test]
fn the_replica_that_has_most_is_told_after_four_refusals_and_two_looks() {
    let mut bench = Bench::new();
    bench.suspect();
    assert_eq!(
        bench.asked,
        [2, 3, 4, 5],
        "at once, after the first refusal"
    );
    bench.run(Duration::from_millis(79));
    assert_eq!((bench.probes.len(), bench.ordered.len()), (2, 0));
    bench.run(Duration::from_millis(61));
    assert_eq!((bench.probes.len(), bench.rounds), (4, 2));
    assert_eq!(
        (&bench.ordered[..], &bench.watched[..]),
        (&[5][..], &[5][..])
    );
    assert_eq!(bench.stories, []);
    bench.assist.handle_reply(None, bench.now);
    bench.assist.handle_owner(Some(&node(1)), bench.now);
    bench.run(Duration::from_millis(100));
    assert_eq!(bench.assist.slot(), Slot::new(0));
    bench.assist.handle_owner(Some(&node(5)), bench.now);
    bench.serve();
    assert_eq!(bench.outcomes(), [&Outcome::Succeeded]);
    assert_eq!(
        bench.stories[0].to_string(),
        "primary 127.0.0.1:1 is gone, 4 connections refused; told replica 127.0.0.1:5 at offset \
         105 to take over; it is primary; 240 ms"
    );
    assert_eq!(bench.assist.slot(), None);
}

#[test]
fn one_sign_of_life_or_of_a_broken_network_ends_it() {
    for pulse in [Pulse::Alive, Pulse::Unclear] {
        for refusals in 0..4 {
            let mut bench = Bench::new();
            bench.pulses = vec![Pulse::Gone; refusals];
            bench.pulses.push(pulse);
            bench.suspect();
            bench.run(Duration::from_secs(9));
            assert_eq!((bench.ordered.len(), bench.stories.len()), (0, 0));
            assert_eq!(bench.probes.len(), refusals + 1);
        }
    }
}

/// A stopped process takes connections, or does not, and says nothing either way.
#[test]
fn silence_is_no_sign_of_death() {
    for refusals in 0..4 {
        let mut bench = Bench::new();
        bench.assist.suspect(&node(1));
        assert_eq!(bench.assist.next_suspect(bench.now), Some(node(1)));
        bench.assist.begin(stricken(), bench.now);
        for _ in 0..refusals {
            bench.assist.handle_probe(Pulse::Gone, bench.now);
            bench.now = bench.assist.due().unwrap();
            bench.assist.handle_timeout(bench.now);
        }
        while bench.assist.slot().is_some() {
            bench.now = bench.assist.due().unwrap();
            bench.assist.handle_timeout(bench.now);
        }
        while let Some(wish) = bench.assist.poll_wish() {
            assert!(!matches!(wish, Wish::Order(_) | Wish::Tell(_)), "{wish:?}");
        }
    }
}

/// Something that is not as it should be, and what is said then.
type Flaw = (fn(&mut Bench), &'static str);

const FLAWS: [Flaw; 17] = [
    (
        |it| drop(it.standings.remove(&2)),
        "only 1 other primaries can be reached, and 2 votes are needed",
    ),
    (
        |it| it.lines(&[2], &[2], |line| line.slots.clear()),
        "only 1 other primaries can be reached, and 2 votes are needed",
    ),
    (
        |it| it.lines(&[3], &[1], |line| line.is_failed = true),
        "the nodes hold it to be down and act themselves",
    ),
    (
        |it| it.lines(&[2, 3], &[1], |line| line.is_linked = true),
        "the other primaries have a connection to it",
    ),
    (
        |it| it.standings.retain(|port, _| *port < 4),
        "no replica of it can be reached",
    ),
    (
        |it| it.following(|it| it.is_linked = true),
        "its replica 127.0.0.1:4 has a connection to it",
    ),
    (
        |it| it.following(|it| it.is_syncing = true),
        "its replica 127.0.0.1:4 has only a part of its data",
    ),
    (
        |it| it.following(|it| it.down_seconds = None),
        "its replica 127.0.0.1:4 has lost it too long ago",
    ),
    (
        |it| it.following(|it| it.down_seconds = Some(18)),
        "its replica 127.0.0.1:4 has lost it too long ago",
    ),
    (
        |it| it.following(|it| it.offset = 0),
        "its replica 127.0.0.1:4 has lost it too long ago",
    ),
    (
        |it| it.lines(&REPLICAS, &REPLICAS, |line| line.is_passive = true),
        "its replica 127.0.0.1:4 is told never to take over",
    ),
    (
        |it| it.lines(&REPLICAS, &REPLICAS, |line| line.primary = Some(id(2))),
        "its replica 127.0.0.1:4 does not follow it any more",
    ),
    (
        |it| it.lines(&[2], &REPLICAS, |line| line.is_linked = false),
        "its replica 127.0.0.1:4 is not seen by the other primaries",
    ),
    (
        |it| it.lines(&[3], &REPLICAS, |line| line.is_suspected = true),
        "its replica 127.0.0.1:4 is not seen by the other primaries",
    ),
    (
        |it| it.lines(&[2], &REPLICAS, |line| line.is_failed = true),
        "its replica 127.0.0.1:4 is not seen by the other primaries",
    ),
    (
        |it| it.standing(3).epoch = 8,
        "its replica 127.0.0.1:4 knows less of the cluster than the others",
    ),
    (
        |it| it.lines(&[3], &[1], |line| line.config_epoch = 6),
        "its replica 127.0.0.1:4 knows less of the cluster than the others",
    ),
];

#[test]
fn nobody_is_told_unless_everything_holds() {
    for (number, (spoil, reason)) in FLAWS.into_iter().enumerate() {
        let mut bench = Bench::new();
        spoil(&mut bench);
        bench.suspect();
        bench.run(Duration::from_secs(4));
        assert_eq!(bench.ordered, NOBODY, "flaw {number}");
        assert_eq!(bench.outcomes(), [&suppressed(reason)], "flaw {number}");
    }
}

#[test]
fn what_passes_is_waited_for() {
    let passing = FLAWS.iter().filter(|(spoil, _)| {
        let mut bench = Bench::new();
        spoil(&mut bench);
        bench.suspect();
        bench.run(Duration::from_millis(1_500));
        bench.stories.is_empty() && {
            bench.standings = Bench::new().standings;
            bench.run(Duration::from_millis(1_200));
            bench.ordered == [5]
        }
    });
    assert_eq!(passing.count(), 10);
}

#[test]
fn a_fit_replica_is_found_behind_unfit_ones() {
    let mut bench = Bench::new();
    let best = bench.standing(5).following.as_mut().unwrap();
    best.is_syncing = true;
    bench.suspect();
    bench.run(SOON);
    assert_eq!(bench.ordered, [4]);
}

#[test]
fn all_proxies_choose_the_same_replica() {
    for seed in 0..50 {
        let mut bench = Bench::new();
        bench.assist = Assist::new(seed);
        bench.following(|following| following.offset = 9);
        bench.suspect();
        bench.run(SOON);
        assert_eq!(bench.ordered, [4], "of equal ones the first");
    }
}

#[test]
fn the_later_of_two_proxies_leaves_it_to_the_first() {
    let mut bench = Bench::new();
    bench.suspect();
    bench.run(Duration::from_millis(79));
    for port in 2..=5 {
        bench.standing(port).epoch = 8;
    }
    bench.run(Duration::from_millis(200));
    assert_eq!(bench.ordered, NOBODY);
    // The other one has been successful, and this one has not heard of it yet.
    bench.lines(&[2, 3], &[1], |line| line.slots.clear());
    bench.run(Duration::from_millis(200));
    assert_eq!(
        (&bench.ordered[..], &bench.watched[..]),
        (&[][..], &[2][..])
    );
    assert_eq!(bench.stories, []);
}

#[test]
fn an_election_about_another_shard_is_waited_for() {
    let mut bench = Bench::new();
    bench.suspect();
    bench.run(Duration::from_millis(79));
    for port in 2..=5 {
        bench.standing(port).epoch = 8;
    }
    bench.run(Duration::from_millis(500));
    assert_eq!(bench.ordered, [5]);
}

#[test]
fn a_primary_that_has_moved_is_not_gone() {
    let mut bench = Bench::new();
    bench.lines(&[2, 3], &[1], |line| line.address = node(9));
    bench.suspect();
    bench.run(SOON);
    assert_eq!((&bench.ordered[..], bench.stories.len()), (&[][..], 0));
    assert_eq!(bench.watched, [2], "the others know where it is");
}

/// More than half of all primaries have to vote, the one that is gone counted among them.
#[test]
fn a_majority_is_of_all_primaries() {
    for (others, needed) in [(1, 2), (2, 2), (3, 3), (4, 3), (5, 4)] {
        let mut stricken = stricken();
        stricken.others = (20..20 + others).map(node).collect();
        for voters in 0..=others {
            let mut standings = BTreeMap::from([(node(4), standing(4))]);
            for port in 20..20 + voters {
                let mut standing = standing(2);
                standing.lines.extend(lines(3));
                standings.insert(node(port), standing);
            }
            let verdict = judge(&stricken, &BTreeMap::new(), &standings);
            assert_eq!(
                verdict.is_ok(),
                voters >= needed,
                "{voters} of {others}: {verdict:?}"
            );
        }
    }
}

/// After a vote about a primary there is none for twice the cluster-node-timeout.
#[test]
fn one_that_was_replaced_is_left_alone_when_it_comes_back_and_dies() {
    let mut bench = Bench::after_order();
    bench.assist.handle_owner(Some(&node(5)), bench.now);
    bench.serve();
    // A sign of life first: nothing is said of one that may be well.
    bench.pulses = vec![Pulse::Alive; 5];
    bench.suspect();
    bench.run(Duration::from_secs(1));
    bench.pulses.clear();
    for _ in 0..288 {
        bench.suspect();
        bench.run(Duration::from_millis(100));
    }
    let tried = suppressed(
        "it was replaced not long ago, and the nodes do not vote about it again so soon",
    );
    assert_eq!(bench.outcomes(), [&Outcome::Succeeded, &tried], "said once");
    assert_eq!((bench.probes.len(), bench.ordered.len()), (9, 1));
    bench.run(Duration::from_millis(400));
    assert_eq!(bench.ordered, [5, 5], "it is still gone");
}

/// A replica that has lost an election begins no other for four times the cluster-node-timeout.
#[test]
fn without_votes_it_is_not_tried_again_soon() {
    let mut bench = Bench::after_order();
    bench.assist.handle_reply(None, bench.now);
    bench.run(Duration::from_millis(4_800));
    assert_eq!(bench.stories, []);
    bench.run(Duration::from_millis(200));
    let refused = "it has not taken over in time, as without a majority of the votes";
    assert_eq!(bench.outcomes(), [&Outcome::Refused(refused.to_owned())]);
    for _ in 0..59 {
        bench.suspect();
        bench.run(Duration::from_secs(1));
    }
    assert_eq!((bench.ordered.len(), bench.stories.len()), (1, 2));
    bench.run(Duration::from_secs(2));
    assert_eq!(bench.ordered, [5, 5]);
}

#[test]
fn a_replica_may_refuse_and_may_have_taken_over_already() {
    let mut bench = Bench::after_order();
    let already = "ERR You should send CLUSTER FAILOVER to a replica".to_owned();
    bench.assist.handle_reply(Some(already), bench.now);
    bench.serve();
    assert_eq!(bench.stories, []);
    let denied = "NOPERM this user has no permissions".to_owned();
    bench.assist.handle_reply(Some(denied.clone()), bench.now);
    bench.serve();
    assert_eq!(bench.outcomes(), [&Outcome::Refused(denied)]);
    bench.suspect();
    bench.run(Duration::from_millis(1_990));
    assert_eq!(bench.ordered, [5]);
    bench.run(Duration::from_millis(200));
    assert_eq!(bench.ordered, [5, 5]);
}

#[test]
fn what_can_not_be_helped_is_looked_at_ever_less_often() {
    let mut bench = Bench::new();
    bench.lines(&[3], &[1], |line| line.is_failed = true);
    for _ in 0..6_000 {
        bench.suspect();
        bench.run(Duration::from_millis(100));
    }
    // Within ten minutes: after 2, 4, 8, 16, 32 seconds, then every minute.
    assert_eq!(bench.stories.len(), 14);
    assert_eq!(bench.ordered, NOBODY);
}

#[test]
fn one_primary_is_dealt_with_at_a_time() {
    let mut bench = Bench::new();
    bench.suspect();
    bench.assist.suspect(&node(2));
    assert_eq!(bench.assist.next_suspect(bench.now), None);
    bench.run(SOON);
    bench.assist.handle_owner(Some(&node(5)), bench.now);
    assert_eq!(bench.assist.due(), Some(Instant::default()));
    assert_eq!(bench.assist.next_suspect(bench.now), Some(node(2)));
}

/// What redis-server 7.0.15 says.
#[test]
fn standings_are_read_from_replies() {
    let bulk = |text: &str| BytesMut::from(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    let info = "cluster_state:ok\r\ncluster_size:3\r\ncluster_current_epoch:9\r\n";
    let replica = "# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:1\r\n\
                   master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\n\
                   master_sync_in_progress:0\r\nslave_read_repl_offset:1443\r\n\
                   slave_repl_offset:1442\r\nmaster_link_down_since_seconds:3\r\n";
    let primary = "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n";
    let nodes = format!(
        "{} 127.0.0.1:1@2 myself,master - 0 0 1 connected 0-5\n",
        id(1)
    );
    let timeout = BytesMut::from("*2\r\n$20\r\ncluster-node-timeout\r\n$4\r\n2000\r\n");
    let read = |replication: &str, timeout: &BytesMut| {
        let replies = [bulk(info), bulk(replication), timeout.clone(), bulk(&nodes)];
        Standing::read(&replies, &node(1), &Addresses::default()).unwrap()
    };
    let standing = read(replica, &timeout);
    let following = Following {
        is_linked: false,
        is_syncing: false,
        down_seconds: Some(3),
        offset: 1442,
    };
    assert_eq!((standing.epoch, standing.following), (9, Some(following)));
    assert_eq!(standing.node_timeout, Some(Duration::from_secs(2)));
    assert!(standing.votes());
    let never = replica.replace("seconds:3", "seconds:-1");
    let following = read(&never, &timeout).following.unwrap();
    assert_eq!(following.down_seconds, None);
    let denied = BytesMut::from("-NOPERM no\r\n");
    let standing = read(primary, &denied);
    assert_eq!((standing.following, standing.node_timeout), (None, None));
    let replies = [denied.clone(), bulk(primary), timeout.clone(), bulk(&nodes)];
    assert_eq!(
        Standing::read(&replies, &node(1), &Addresses::default()),
        None
    );
    assert_eq!(
        Standing::read(&[denied], &node(1), &Addresses::default()),
        None,
        "the login was refused"
    );
}
