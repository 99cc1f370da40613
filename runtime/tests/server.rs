//! The listener, the workers and the process around them: limits, faults, memory.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod lab;

use std::cell::RefCell;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lab::{Client, Event, Lab, Notice, Server};
use slotway_runtime::listener::{AcceptOptions, ConnectionsMax, Overload, bind};
use slotway_runtime::process::Usage;
use slotway_runtime::signals::{Drained, Signal, Signals};
use slotway_runtime::worker::{SendError, WorkerHandle, local_runtime};
use slotway_runtime::{Driver, DriverOptions, WorkerOptions, spawn_worker};

#[test]
fn the_idlest_worker_gets_the_next_connection() {
    let server = Server::start(3, WorkerOptions::default(), AcceptOptions::default());
    let counts = || -> Vec<_> {
        let workers = server.workers.iter();
        workers.map(|worker| worker.connections()).collect()
    };
    let mut clients = Vec::new();
    for _ in 0..30 {
        let mut client = server.client();
        assert_eq!(client.ask(b"hello"), b"hello");
        clients.push(client);
    }
    assert_eq!(counts(), [10, 10, 10]);
    // Connections went round, so every third belongs to the same worker.
    for index in [27, 24, 21, 18] {
        drop(clients.remove(index));
        server.closed();
    }
    let mut uneven = counts();
    uneven.sort_unstable();
    assert_eq!(uneven, [6, 10, 10]);
    for _ in 0..4 {
        let mut client = server.client();
        assert_eq!(client.ask(b"hello"), b"hello");
        clients.push(client);
    }
    assert_eq!(counts(), [10, 10, 10]);
}

#[test]
fn a_worker_that_is_full_does_not_keep_the_others_from_clients() {
    let options = WorkerOptions {
        accept_capacity: 1,
        ..WorkerOptions::default()
    };
    let server = Server::start(2, options, AcceptOptions::default());
    let begun = Instant::now();
    let stall = Duration::from_secs(2);
    server.stall(stall);
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(b"hello");
    }
    let wait = Some(Duration::from_millis(50));
    let answered = clients.iter_mut().filter_map(|client| {
        client.0.set_read_timeout(wait).unwrap();
        client.try_receive().ok()
    });
    // One waits in the queue of the worker that is stalled.
    assert_eq!(answered.count(), 9);
    assert!(begun.elapsed() < stall, "the machine is too slow for this");
    let counts: Vec<_> = server
        .workers
        .iter()
        .map(WorkerHandle::connections)
        .collect();
    assert_eq!(counts, [1, 9]);
}

#[test]
fn with_all_workers_full_clients_wait_and_are_served_at_last() {
    let options = WorkerOptions {
        accept_capacity: 1,
        ..WorkerOptions::default()
    };
    let server = Server::start(1, options, AcceptOptions::default());
    server.stall(Duration::from_millis(300));
    let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        server.workers[0].connections(),
        1,
        "the others are not counted yet"
    );
    for client in &mut clients {
        assert_eq!(client.ask(b"hello"), b"hello");
    }
    assert_eq!(server.workers[0].connections(), 5);
}

#[test]
fn an_event_finds_the_connections_that_were_accepted_before_it() {
    let server = Server::small();
    server.stall(Duration::from_millis(300));
    let _clients = [server.client(), server.client()];
    while server.metrics.accepted.value() < 2 {
        std::thread::yield_now();
    }
    assert!(server.workers[0].send(Event::Mark(2)).is_ok());
    let mut opened = 0;
    while server.notice(|notice| match notice {
        Notice::Opened(..) => Some(true),
        Notice::Mark(2) => Some(false),
        _ => None,
    }) {
        opened += 1;
    }
    assert_eq!(opened, 2);
}

#[test]
fn one_connection_too_many_is_told_so() {
    let accept = AcceptOptions {
        connections_max: ConnectionsMax::new(2),
        ..AcceptOptions::default()
    };
    let server = Server::start(1, WorkerOptions::default(), accept);
    let mut clients = [server.client(), server.client()];
    for client in &mut clients {
        assert_eq!(client.ask(b"hello"), b"hello");
    }
    let mut text = String::new();
    server.client().0.read_to_string(&mut text).unwrap();
    assert_eq!(text, "-ERR max number of clients reached\r\n");
    assert_eq!(
        (
            server.metrics.accepted.value(),
            server.metrics.refused.value()
        ),
        (2, 1)
    );
    let [first, mut second] = clients;
    drop(first);
    server.closed();
    assert_eq!(server.client().ask(b"again"), b"again");
    assert_eq!(second.ask(b"still here"), b"still here");
}

#[test]
fn nobody_is_let_in_while_there_is_no_room() {
    let full = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&full);
    let accept = AcceptOptions {
        overload: Overload::new(move || asked.load(Ordering::Relaxed)),
        ..AcceptOptions::default()
    };
    let server = Server::start(1, WorkerOptions::default(), accept);
    let mut client = server.client();
    assert_eq!(client.ask(b"hello"), b"hello");
    full.store(true, Ordering::Relaxed);
    let mut text = String::new();
    server.client().0.read_to_string(&mut text).unwrap();
    let expected = "-OOM proxy: no room for another client now (memory_bytes_max)\r\n";
    assert_eq!(text, expected);
    assert_eq!(server.metrics.overloaded.value(), 1);
    assert_eq!(client.ask(b"still here"), b"still here");
    full.store(false, Ordering::Relaxed);
    assert_eq!(server.client().ask(b"again"), b"again");
}

#[test]
fn files_above_a_number_are_not_for_clients() {
    let accept = AcceptOptions {
        files_max: 3,
        ..AcceptOptions::default()
    };
    let server = Server::start(1, WorkerOptions::default(), accept);
    let mut text = String::new();
    server.client().0.read_to_string(&mut text).unwrap();
    assert_eq!(text, "-ERR max number of clients reached\r\n");
    assert_eq!(server.metrics.short_of_files.value(), 1);
    assert_eq!(server.metrics.accepted.value(), 0);
}

#[test]
fn a_taken_address_names_the_way_out() {
    let taken = bind("127.0.0.1:0".parse().unwrap(), 16, "--listen").unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind(address, 16, "--listen").unwrap_err().to_string();
    let expected = format!("address {address} is in use; another redis-server or slotway may");
    assert!(
        error.starts_with(&expected) && error.contains("with --listen"),
        "{error}"
    );
    let error = bind("192.0.2.1:1".parse().unwrap(), 16, "admin.listen").unwrap_err();
    assert!(
        error.to_string().contains("no interface of this machine"),
        "{error}"
    );
}

#[test]
fn both_families_have_the_port_to_themselves() {
    let six: SocketAddr = "[::]:0".parse().unwrap();
    let Ok(six) = bind(six, 16, "--listen") else {
        return;
    };
    let port = six.local_addr().unwrap().port();
    bind(SocketAddr::from(([0, 0, 0, 0], port)), 16, "--listen").unwrap();
}

#[test]
fn full_events_are_handed_back() {
    let options = WorkerOptions {
        event_capacity: 2,
        ..WorkerOptions::default()
    };
    let server = Server::start(1, options, AcceptOptions::default());
    server.stall(Duration::from_millis(500));
    let worker = &server.workers[0];
    let sent: Vec<_> = (0..3).map(|mark| worker.send(Event::Mark(mark))).collect();
    assert!(matches!(
        sent[..],
        [Ok(()), Ok(()), Err(SendError::Full(Event::Mark(2)))]
    ));
    let marks = (0..2).map(|_| {
        server.notice(|notice| match notice {
            Notice::Mark(mark) => Some(*mark),
            _ => None,
        })
    });
    assert_eq!(marks.collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_driver_on_this_thread_takes_events_from_its_own_notices() {
    let runtime = local_runtime().unwrap();
    let marks = Rc::new(RefCell::new(Vec::new()));
    runtime.block_on(async {
        let handle = Rc::new(RefCell::new(None));
        let (again, seen) = (Rc::clone(&handle), Rc::clone(&marks));
        let on_notice = move |notice| {
            if let Notice::Mark(mark) = notice {
                seen.borrow_mut().push(mark);
                let handle: std::cell::Ref<'_, Option<slotway_runtime::DriverHandle<Lab>>> =
                    again.borrow();
                if mark < 3 {
                    handle.as_ref().unwrap().send(Event::Mark(mark + 1));
                }
            }
        };
        let driver = Driver::start(Lab::default(), DriverOptions::default(), on_notice);
        *handle.borrow_mut() = Some(driver.clone());
        driver.send(Event::Mark(0));
        assert_eq!(*marks.borrow(), [0, 1, 2, 3]);
        let listener = bind("127.0.0.1:0".parse().unwrap(), 16, "--listen").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = Client::connect(address);
        driver.accept(listener.accept().unwrap().0, 0);
        assert_eq!(driver.connections(), 1);
        let asked = std::thread::spawn(move || (client.ask(b"over here"), client));
        let asked = tokio::task::spawn_blocking(|| asked.join().unwrap());
        let (reply, mut client) = asked.await.unwrap();
        assert_eq!(reply, b"over here");
        driver.stop();
        tokio::task::yield_now().await;
        let over = tokio::task::spawn_blocking(move || client.is_over());
        assert!(over.await.unwrap());
    });
}

#[test]
fn a_second_signal_cuts_a_drain_short() {
    let runtime = local_runtime().unwrap();
    let kill = |signal: &str| {
        let pid = std::process::id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    };
    runtime.block_on(async {
        let mut signals = Signals::install().unwrap();
        kill("-HUP");
        assert_eq!(signals.next().await, Signal::Hangup);
        kill("-TERM");
        assert_eq!(signals.stop().await, Signal::Terminate);
        assert_eq!(signals.drain(async {}).await, Drained::Completely);
        kill("-INT");
        assert_eq!(
            signals.drain(std::future::pending()).await,
            Drained::CutShort
        );
    });
}

#[test]
fn a_panic_that_an_engine_does_not_recover_from_ends_the_process() {
    for (orders, place) in [
        ("!panic give-up", "place=engine"),
        ("!panic again", "place=engine"),
        ("!panic-late 1,!panic-late 30", "place=\"timer or event\""),
    ] {
        let mut child = child("child_panics", &format!("export ORDERS='{orders}';"));
        let status = child.wait().unwrap();
        let mut text = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(status.code(), None, "ended by a signal: {status}");
        assert!(
            text.contains("lab/mod.rs:") && text.contains("as it was told to"),
            "{text}"
        );
        let last = text.lines().last().unwrap_or_default();
        assert!(last.contains("ends the process"), "{text}");
        assert!(last.contains("worker-0") && last.contains(place), "{text}");
    }
}

#[test]
#[ignore = "ends its process; run by the test above"]
fn child_panics() {
    slotway_runtime::logging::init("info").unwrap();
    let orders = std::env::var("ORDERS").unwrap();
    let server = Server::small();
    let mut client = server.client();
    orders
        .split(',')
        .for_each(|order| client.send(order.as_bytes()));
    assert!(client.try_receive().is_err());
    std::thread::sleep(Duration::from_secs(5));
}

#[test]
fn without_free_files_the_listener_waits_and_recovers() {
    let mut child = child("child_runs_out_of_files", "ulimit -n 64;");
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(child.wait().unwrap().success(), "{text}");
    let lines = text.matches("can't accept connections").count();
    assert!(
        (1..=3).contains(&lines),
        "{lines} log lines in two seconds:\n{text}"
    );
}

#[test]
#[ignore = "needs a small limit of open files; run by the test above"]
fn child_runs_out_of_files() {
    slotway_runtime::logging::init("info").unwrap();
    let server = Server::small();
    let mut first = server.client();
    assert_eq!(first.ask(b"hello"), b"hello");
    // Each of these takes a file here; the ones that are accepted take another.
    let mut sockets = Vec::new();
    while let Ok(socket) = std::net::TcpStream::connect(server.address) {
        sockets.push(socket);
    }
    std::thread::sleep(Duration::from_millis(300));
    // The limit leaves no room to read /proc either.
    drop(sockets.split_off(sockets.len() - 2));
    let last = sockets.pop().unwrap();
    let failed = server.metrics.failed.value();
    std::thread::sleep(Duration::from_secs(2));
    let more = server.metrics.failed.value() - failed;
    assert!(more <= 25, "{more} attempts in two seconds");
    assert_eq!(first.ask(b"served meanwhile"), b"served meanwhile");
    assert!(server.metrics.failed.value() >= 1);
    drop((sockets, last));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(server.client().ask(b"recovered"), b"recovered");
}

/// One of this file's ignored tests in a process of its own.
fn child(test: &str, before: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let program = program.to_str().unwrap();
    let script = format!("{before} exec '{program}' --ignored --exact --nocapture {test}");
    Command::new("sh")
        .args(["-c", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn an_idle_connection_costs_little_memory() {
    let count = 9_000;
    let limit = slotway_runtime::process::open_files_max().unwrap();
    if limit.is_some_and(|limit| limit < 2 * count + 100) {
        return;
    }
    let listener = bind("127.0.0.1:0".parse().unwrap(), 4096, "--listen").unwrap();
    listener.set_nonblocking(false).unwrap();
    let address = listener.local_addr().unwrap();
    let options = WorkerOptions::default();
    let worker = spawn_worker("worker-0", options, Lab::default, drop).unwrap();
    let open = |count: u64| -> Vec<_> {
        let open_one = |_| {
            let client = Client::connect(address);
            let (mut socket, _) = listener.accept().unwrap();
            while let Err(SendError::Full(back)) = worker.accept(socket, 0) {
                socket = back;
                std::thread::yield_now();
            }
            client
        };
        (0..count).map(open_one).collect()
    };
    // What is needed once is there before.
    let mut warm = open(50);
    for client in &mut warm {
        client.ask(b"hello");
    }
    let before = Usage::read().unwrap().resident_bytes;
    let mut clients = open(count);
    for client in &mut clients {
        assert_eq!(client.ask(&[b'x'; 40]).len(), 40);
    }
    let grown = Usage::read().unwrap().resident_bytes - before;
    let each = grown / count;
    let engine = Lab::link_bytes() as u64 * 16_384 / count;
    eprintln!("{each} bytes a connection, {engine} of them for the engine's own table");
    assert!(each - engine < 500, "{each} bytes a connection");
    let start = Instant::now();
    drop(clients);
    while worker.connections() > 50 {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    worker.stop();
    worker.join();
}
