//! Processes that are told to end while a client writes, with replicas of both kinds.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::processes::{Kind, Process, wait_for};
use crate::real::{create, is_primary, replica_of, settle};

const OURS: Kind = Kind::Ours;
const REDIS: Kind = Kind::Redis;

/// A client that follows redirects and nothing else: any other end of a request is told.
struct Writer {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, String>>,
}

impl Writer {
    fn start(port: u16) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut connection = connect(port)?;
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                let reply = ask(&mut connection, "INCR k")?;
                if let Some(moved) = reply.strip_prefix("-MOVED ") {
                    let port = moved.rsplit(':').next().and_then(|port| port.parse().ok());
                    connection = connect(port.ok_or(reply)?)?;
                } else {
                    count += 1;
                    if reply != format!(":{count}") {
                        return Err(format!("{reply} instead of {count}"));
                    }
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            Ok(count)
        });
        Self { over, thread }
    }

    /// How many writes there were, or what went wrong.
    fn end(self) -> Result<u64, String> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn connect(port: u16) -> Result<BufReader<TcpStream>, String> {
    let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).unwrap();
    stream.set_nodelay(true).unwrap();
    Ok(BufReader::new(stream))
}

fn ask(connection: &mut BufReader<TcpStream>, line: &str) -> Result<String, String> {
    let mut reply = String::new();
    connection
        .get_mut()
        .write_all(format!("{line}\r\n").as_bytes())
        .and_then(|()| connection.read_line(&mut reply))
        .map_err(|error| error.to_string())?;
    match reply.strip_suffix("\r\n") {
        Some(reply) => Ok(reply.to_owned()),
        None => Err(format!("closed after {reply:?}")),
    }
}

/// The primary of the slot that is written to.
fn holder(nodes: &[Process]) -> usize {
    let holds = |node: &Process| node.ask("SET k 0") == "+OK";
    nodes.iter().position(holds).unwrap()
}

fn end_under_load(nodes: &mut [Process], command: Option<&str>) {
    let victim = holder(nodes);
    let heir = replica_of(nodes, &nodes[victim]);
    assert_eq!(nodes[victim].kind, OURS);
    let writer = Writer::start(nodes[victim].port);
    std::thread::sleep(Duration::from_millis(200));
    match command {
        None => assert!(nodes[victim].terminate(), "its exit status"),
        Some(command) => {
            assert_eq!(nodes[victim].ask(command), "");
            nodes[victim].kill();
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let count = writer.end().unwrap();
    assert!(is_primary(&nodes[heir]));
    assert_eq!(nodes[heir].ask("INCR k"), format!(":{}", count + 1));
    nodes[victim].restart();
    wait_for(Duration::from_secs(20), "it is a replica", || {
        !is_primary(&nodes[victim])
    });
    settle(nodes, 6);
}

#[test]
fn a_client_that_follows_redirects_sees_nothing_of_it() {
    let mut nodes = create([OURS; 6], 2_000);
    end_under_load(&mut nodes, None);
    end_under_load(&mut nodes, Some("SHUTDOWN"));
}

#[test]
fn a_replica_of_the_other_kind_takes_over_too() {
    // All primaries are ours, and all replicas are not.
    let mut nodes = create([OURS, OURS, OURS, REDIS, REDIS, REDIS], 2_000);
    end_under_load(&mut nodes, None);
}
