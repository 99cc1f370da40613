//! What the engine promises with an answer, and what it does when the disk fails: without files,
//! as if it were a driver.

use std::io::IoSlice;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use slotway_node::config::AppendFsync;
use slotway_node::{
    AofEvent, AofPart, AofSizes, Config, Event, LoadPart, Node, NodeConfig, Notice, SaveId,
    SavePart,
};
use slotway_protocol::engine::{
    Action, CloseWhen, ConnectionId, Engine, Instant, Now, Origin, Peer,
};

/// A node with clients, whose wishes are noted.
struct Driven {
    node: Node,
    seconds: u64,
    parts: Vec<AofPart>,
    saves: Vec<(SaveId, SavePart)>,
    closed: Vec<(ConnectionId, CloseWhen)>,
}

impl Driven {
    fn new(policy: AppendFsync) -> Self {
        let config = Config {
            appendonly: true,
            appendfsync: policy,
            save: Vec::new(),
            aof_buffer_max: 1_000,
            ..Config::default()
        };
        let config = NodeConfig {
            config,
            ..NodeConfig::default()
        };
        let mut driven = Self {
            node: Node::new(config, at(0)),
            seconds: 0,
            parts: Vec::new(),
            saves: Vec::new(),
            closed: Vec::new(),
        };
        driven.node.set_has_files();
        driven.node.begin_loading_files(0, at(0));
        let sizes = AofSizes { base: 0, total: 0 };
        driven.event(Event::Load(LoadPart::End { log: Some(sizes) }));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let peer = Peer {
            remote: address,
            local: address,
            origin: Origin::Accepted(0),
        };
        for index in 0..3 {
            driven.node.handle_open(client(index), peer, at(0));
        }
        driven
    }

    fn event(&mut self, event: Event) {
        self.node.handle_event(event, at(self.seconds));
        self.drain();
    }

    fn log(&mut self, event: AofEvent) {
        self.event(Event::Aof(event));
    }

    fn send(&mut self, index: u32, text: &str) {
        let mut input = BytesMut::from(text.as_bytes());
        let now = at(self.seconds);
        self.node.handle_input(client(index), &mut input, now);
        self.drain();
    }

    fn pass(&mut self, seconds: u64) {
        self.seconds += seconds;
        self.node.handle_timeout(at(self.seconds));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Notify(Notice::Aof(part)) => self.parts.push(part),
                Action::Notify(Notice::Save(id, part)) => self.saves.push((id, part)),
                Action::Close { connection, when } => self.closed.push((connection, when)),
                _ => {}
            }
        }
        self.node.check_invariants();
    }

    /// What a driver would write to a client now.
    fn written(&mut self, index: u32) -> String {
        let output = self.node.output(client(index));
        let mut text = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            let used = output.slices(&mut slices);
            let before = text.len();
            let slices = &slices[..used];
            slices
                .iter()
                .for_each(|slice| text.extend_from_slice(slice));
            output.advance(text.len() - before);
        }
        let now = at(self.seconds);
        self.node.handle_written(client(index), now);
        self.drain();
        String::from_utf8(text).unwrap()
    }

    /// The bytes that were last handed over to be appended, and whether they are to be synced.
    fn appended(&mut self) -> (u64, bool) {
        match self.parts.pop() {
            Some(AofPart::Append { bytes, sync }) => (bytes.len() as u64, sync),
            other => panic!("nothing is appended but {other:?}"),
        }
    }

    fn succeed(&mut self) {
        let (bytes, synced) = self.appended();
        self.log(AofEvent::Written {
            pieces: 1,
            bytes,
            synced,
        });
    }

    fn save_id(&self) -> SaveId {
        self.saves.last().expect("a save has begun").0
    }
}

fn at(seconds: u64) -> Now {
    Now {
        instant: Instant::from_micros(seconds * 1_000_000),
        unix_ms: 1_700_000_000_000 + seconds * 1_000,
    }
}

fn client(index: u32) -> ConnectionId {
    ConnectionId {
        index,
        generation: 0,
    }
}

#[test]
fn what_comes_while_the_disk_is_busy_goes_there_together() {
    let mut driven = Driven::new(AppendFsync::Always);
    driven.send(0, "SET a 1\r\n");
    let (first, sync) = driven.appended();
    assert!(sync);
    driven.send(1, "SET b 1\r\nSET c 1\r\n");
    driven.send(2, "GET a\r\nSET d 1\r\n");
    assert_eq!(driven.parts, [], "one piece at a time");
    for index in 0..3 {
        assert_eq!(driven.written(index), "", "nothing is on the disk");
    }
    driven.log(AofEvent::Written {
        pieces: 1,
        bytes: first,
        synced: true,
    });
    assert_eq!(driven.written(0), "+OK\r\n");
    assert_eq!(driven.written(1) + &driven.written(2), "", "theirs is not");
    assert_eq!(driven.parts.len(), 1);
    driven.succeed();
    assert_eq!(driven.written(1), "+OK\r\n+OK\r\n");
    assert_eq!(driven.written(2), "$1\r\n1\r\n+OK\r\n");
    driven.send(0, "GET a\r\n");
    assert_eq!(driven.written(0), "$1\r\n1\r\n", "nothing to wait for");
    assert_eq!(driven.parts, []);
}

#[test]
fn replies_wait_for_the_kernel_with_everysec_and_the_disk_is_asked_each_second() {
    let mut driven = Driven::new(AppendFsync::EverySec);
    driven.send(0, "SET a 1\r\n");
    assert_eq!(driven.written(0), "");
    let (bytes, sync) = driven.appended();
    assert!(!sync);
    driven.log(AofEvent::Written {
        pieces: 1,
        bytes,
        synced: false,
    });
    assert_eq!(driven.written(0), "+OK\r\n");
    driven.pass(1);
    assert_eq!(driven.parts, [AofPart::Sync]);
    driven.log(AofEvent::Synced);
    driven.pass(1);
    assert_eq!(driven.parts, [AofPart::Sync], "there is nothing new");
}

#[test]
fn a_client_that_ends_gets_what_it_waits_for() {
    let mut driven = Driven::new(AppendFsync::Always);
    driven.send(0, "SET a 1\r\n");
    driven.node.handle_end(client(0), at(0));
    driven.drain();
    assert_eq!(driven.closed, [], "its reply waits");
    driven.succeed();
    assert_eq!(driven.closed, [(client(0), CloseWhen::Flushed)]);
    assert_eq!(driven.written(0), "+OK\r\n");
}

#[test]
fn more_than_may_wait_is_refused() {
    let mut driven = Driven::new(AppendFsync::EverySec);
    let refused = "-MISCONF Errors writing to the AOF file: more than aof-buffer-max waits to be \
                   written\r\n";
    driven.send(0, &format!("SET a {}\r\nSET b 1\r\n", "v".repeat(2_000)));
    driven.send(1, "SET c 1\r\n");
    assert_eq!(driven.written(1), refused);
    driven.send(1, "GET c\r\n");
    assert_eq!(driven.written(1), "$-1\r\n");
    driven.succeed();
    driven.send(1, "SET c 1\r\n");
    driven.succeed();
    assert_eq!(driven.written(1), "+OK\r\n");
}

/// A disk that has lost what it was given says so once: trying again proves nothing.
#[test]
fn what_the_disk_has_lost_is_made_good_by_a_rewrite() {
    let mut driven = Driven::new(AppendFsync::Always);
    driven.send(0, "SET a 1\r\n");
    let (bytes, _) = driven.appended();
    driven.log(AofEvent::SyncFailed("Input/output error".to_owned()));
    driven.log(AofEvent::Written {
        pieces: 1,
        bytes,
        synced: false,
    });
    assert_eq!(driven.written(0), "", "it is lost if the machine crashes");
    driven.send(1, "SET b 1\r\n");
    let refused = "-MISCONF Errors writing to the AOF file: Input/output error\r\n";
    assert_eq!(driven.written(1), refused);
    driven.pass(1);
    let id = driven.save_id();
    assert!(driven.parts.contains(&AofPart::Begin { id, starts: false }));
    assert_eq!(driven.saves[0], (id, SavePart::BeginBase));
    driven.event(Event::SaveEnded(id, true));
    let finish = AofPart::Finish {
        id,
        keeps_history: false,
    };
    assert_eq!(driven.parts.last(), Some(&finish));
    assert_eq!(driven.written(0), "");
    let sizes = AofSizes {
        base: 100,
        total: 100,
    };
    driven.log(AofEvent::Finished(id, Some(sizes)));
    assert_eq!(driven.written(0), "+OK\r\n", "now it is on the disk");
    driven.parts.clear();
    driven.send(1, "SET b 1\r\n");
    driven.succeed();
    assert_eq!(driven.written(1), "+OK\r\n");
}
