//! Kills the node while it writes, again and again: what it has promised has to be there after
//! that, and transactions whole.
//!
//! `AOF_CRASH_ROUNDS=n` sets how many rounds each test has.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::servers::{Client, Process, line};

/// Says what was seen; `cargo test -- --nocapture` shows it.
#[allow(clippy::print_stdout, reason = "figures of a test that is run by hand")]
fn say(text: &str) {
    println!("{text}");
}

/// How many clients write, each to keys of its own.
const CLIENTS: usize = 8;

/// What one client knows: a number that it wrote last, and when it was told of each.
#[derive(Debug, Default)]
struct Written {
    sent: u64,
    acknowledged: Vec<(Instant, u64)>,
}

#[test]
fn with_always_nothing_that_was_answered_is_lost() {
    let lost = run("always", |_, _| true);
    assert_eq!(lost, 0);
}

#[test]
fn with_everysec_nothing_is_lost_that_was_answered_two_seconds_before() {
    let lost = run("everysec", |answered, killed| {
        killed.duration_since(answered) > Duration::from_secs(2)
    });
    say(&format!(
        "everysec: {lost} answered writes of the last moment lost"
    ));
}

/// Runs the rounds. `is_promised` says of a write that was answered then, when the node is killed
/// now, whether it has to be there. Returns how many answered writes were lost that were not.
fn run(policy: &str, is_promised: impl Fn(Instant, Instant) -> bool) -> u64 {
    let rounds = std::env::var("AOF_CRASH_ROUNDS").map_or(6, |text| text.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let mut numbers = vec![0; CLIENTS];
    let mut lost = 0;
    for round in 0..rounds {
        let mut process = start(folder.path(), policy);
        let mut client = process.client();
        let stop = AtomicBool::new(false);
        let (written, killed) = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..CLIENTS)
                .map(|index| {
                    let (port, first, stop) = (process.port, numbers[index], &stop);
                    scope.spawn(move || write(port, index, first, stop))
                })
                .collect();
            let millis = 100 + round * 7_919 % 1_400;
            std::thread::sleep(Duration::from_millis(millis));
            if round % 3 == 1 {
                client.text("BGREWRITEAOF");
                std::thread::sleep(Duration::from_millis(round % 9));
            }
            let killed = Instant::now();
            process.kill();
            stop.store(true, Ordering::Relaxed);
            let written = writers.into_iter().map(|writer| writer.join().unwrap());
            (written.collect::<Vec<_>>(), killed)
        });
        if round % 5 == 4 {
            same_in_the_server(folder.path(), policy);
        }
        let mut process = start(folder.path(), policy);
        let mut client = process.client();
        for (index, written) in written.iter().enumerate() {
            let found = whole(&mut client, index);
            assert!(found <= written.sent, "nothing is there that nobody wrote");
            for (answered, number) in &written.acknowledged {
                if *number > found {
                    let promised = is_promised(*answered, killed);
                    assert!(
                        !promised,
                        "round {round}: {number} of {index} is lost at {found}"
                    );
                    lost += 1;
                }
            }
            numbers[index] = found;
        }
        process.kill();
    }
    say(&format!("{policy}: {rounds} rounds, {numbers:?}"));
    lost
}

fn start(folder: &Path, policy: &str) -> Process {
    let options = [
        "--appendonly",
        "yes",
        "--appendfsync",
        policy,
        "--auto-aof-rewrite-min-size",
        "100kb",
        "--save",
        "",
    ];
    Process::ours(folder, &options)
}

/// Writes one number after the other, in transactions that belong together, until it can't.
fn write(port: u16, index: usize, first: u64, stop: &AtomicBool) -> Written {
    let mut written = Written {
        sent: first,
        acknowledged: Vec::new(),
    };
    let Some(mut client) = Client::connect(port) else {
        return written;
    };
    while !stop.load(Ordering::Relaxed) {
        let number = written.sent + 1;
        written.sent = number;
        for text in [
            "MULTI".to_owned(),
            format!("SET number:{index} {number}"),
            format!("RPUSH list:{index} {number}"),
            format!("LTRIM list:{index} -50 -1"),
            format!("INCRBY sum:{index} {number}"),
            "EXEC".to_owned(),
        ] {
            client.send(&line(&text));
        }
        for _ in 0..5 {
            if client.receive().is_none() {
                return written;
            }
        }
        match client.receive() {
            Some(reply) if reply.starts_with(b"*4\r\n+OK") => {
                written.acknowledged.push((Instant::now(), number));
            }
            _ => return written,
        }
    }
    written
}

/// The last number of a client, after a look whether all that was written with it is there.
fn whole(client: &mut Client, index: usize) -> u64 {
    let number = |reply: &str| -> u64 {
        let last = reply.lines().last().unwrap();
        last.parse().unwrap_or(0)
    };
    let found = number(&client.text(&format!("GET number:{index}")));
    let sum = number(&client.text(&format!("GET sum:{index}")));
    assert_eq!(sum, found * (found + 1) / 2, "each number is there once");
    let last = number(&client.text(&format!("LRANGE list:{index} -1 -1")));
    assert_eq!(last, if found == 0 { 0 } else { found });
    found
}

/// A copy of the files is the same in a redis-server.
fn same_in_the_server(folder: &Path, policy: &str) {
    let copy = TempDir::new().unwrap();
    let (from, to) = (
        folder.join("appendonlydir"),
        copy.path().join("appendonlydir"),
    );
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(&from).unwrap() {
        let name = entry.unwrap().file_name();
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
    let mut theirs = Process::theirs(copy.path(), &["--appendonly", "yes", "--save", ""]);
    let mut theirs = theirs.client();
    let mut process = start(folder, policy);
    let mut ours = process.client();
    for index in 0..CLIENTS {
        for text in [
            format!("GET number:{index}"),
            format!("GET sum:{index}"),
            format!("LRANGE list:{index} 0 -1"),
        ] {
            assert_eq!(ours.text(&text), theirs.text(&text), "{text}");
        }
    }
    process.kill();
}
