//! The driver over real sockets: what goes in comes out, whatever the sizes, pauses and ends.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod lab;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::{Duration, Instant};

use lab::{Client, Event, Notice, Server, dead_address, frame};
use slotway_protocol::engine::{ConnectError, Interrupted, Origin};
use slotway_runtime::listener::AcceptOptions;
use slotway_runtime::{DriverOptions, WorkerOptions};

#[test]
fn any_cut_of_the_bytes_gives_the_same_frames() {
    let server = Server::small();
    let mut client = server.client();
    let bodies: [&[u8]; 4] = [b"one", b"", b"three and more", &[b'4'; 300]];
    let bytes: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
    for size in [1, 2, 3, 5, 7, 64, bytes.len()] {
        for piece in bytes.chunks(size) {
            client.0.write_all(piece).unwrap();
            if size < 64 {
                // Long enough for the piece to be read alone, most times.
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        for body in bodies {
            assert_eq!(client.receive(), body, "in pieces of {size}");
        }
    }
}

#[test]
fn values_around_each_limit_come_back_whole() {
    let server = Server::small();
    let mut client = server.client();
    let kib = 1024;
    for size in [
        32 * kib - 5,
        32 * kib,
        60 * kib,
        64 * kib - 4,
        64 * kib,
        64 * kib + 1,
        999_999,
    ] {
        let body: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        // Small frames around it end up in the same reads.
        let bytes = [frame(b"before"), frame(&body), frame(b"after")].concat();
        client.0.write_all(&bytes).unwrap();
        assert_eq!(client.receive(), b"before");
        assert!(client.receive() == body, "{size} bytes");
        assert_eq!(client.receive(), b"after");
    }
}

/// The time to send a value in small writes and to read it back.
fn large_value(client: &mut Client, size: usize) -> Duration {
    let body: Vec<u8> = (0..size).map(|i| (i % 253) as u8).collect();
    let start = Instant::now();
    for piece in frame(&body).chunks(8 * 1024) {
        client.0.write_all(piece).unwrap();
    }
    assert!(client.receive() == body);
    start.elapsed()
}

#[test]
fn a_large_value_costs_linear_time() {
    let server = Server::small();
    let mut client = server.client();
    large_value(&mut client, 1_000_000);
    let small = large_value(&mut client, 12_500_000);
    let large = large_value(&mut client, 100_000_000);
    let reads = server.notices.try_iter().filter_map(|notice| match notice {
        Notice::Frame(inputs) => Some(inputs),
        _ => None,
    });
    assert!(reads.max().unwrap() > 100, "it came in pieces");
    // Eight times the size; quadratic would be sixty-four times the time.
    assert!(large < small * 30, "{small:?} and {large:?}");
    // The buffer of the large value is not kept, the small path still works.
    assert_eq!(client.ask(b"small"), b"small");
}

#[test]
fn many_clients_at_once() {
    let server = Server::small();
    let mut clients: Vec<_> = (0..1000).map(|_| server.client()).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(format!("{round}:{number}").as_bytes());
        }
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.receive(), format!("{round}:{number}").as_bytes());
        }
    }
    assert_eq!(server.workers[0].connections(), 1000);
    let ids: HashSet<_> = (0..1000).map(|_| server.opened().index).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.iter().all(|&index| index < 1000), "numbered densely");
}

#[test]
fn one_write_carries_the_requests_of_all_ready_clients() {
    let (relay, backend) = (Server::small(), Server::small());
    let mut clients: Vec<_> = (0..500).map(|_| relay.client()).collect();
    let order = format!("!connect {}", backend.address);
    assert_eq!(clients[0].ask(order.as_bytes()), b"connected");
    let is_backend = |notice: &Notice| match notice {
        Notice::Opened(id, peer) => matches!(peer.origin, Origin::Connected(_)).then_some(*id),
        _ => None,
    };
    let backend_id = relay.notice(is_backend);
    // All send while the worker sleeps, so that all are ready when it wakes up.
    relay.stall(Duration::from_millis(300));
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("!relay {number}").as_bytes());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.receive(), number.to_string().as_bytes());
    }
    let written = relay.notices.try_iter();
    let written = written
        .filter(|notice| *notice == Notice::Written(backend_id))
        .count();
    assert!(
        (1..=3).contains(&written),
        "{written} writes to the backend"
    );
}

#[test]
fn a_paused_connection_is_not_read_until_it_is_resumed() {
    let server = Server::small();
    let mut client = server.client();
    let start = Instant::now();
    let bytes = [frame(b"!pause 300"), frame(b"a"), frame(b"b")].concat();
    client.0.write_all(&bytes).unwrap();
    // What came with the order was read already.
    assert_eq!(
        (client.receive(), client.receive()),
        (b"a".to_vec(), b"b".to_vec())
    );
    assert!(start.elapsed() < Duration::from_millis(250));
    client.send(b"c");
    assert_eq!(client.receive(), b"c");
    assert!(
        start.elapsed() >= Duration::from_millis(300),
        "{:?}",
        start.elapsed()
    );
    // While it is paused only the kernel's buffers fill.
    client.send(b"!pause 500");
    client.0.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut sent = 0;
    while let Ok(count) = client.0.write(&[0; 65536]) {
        sent += count;
    }
    assert!(sent < 64 << 20, "{sent} bytes went through");
}

#[test]
fn a_resumed_connection_is_handed_what_it_had_left() {
    let server = Server::small();
    let mut client = server.client();
    for size in [10, 50_000] {
        let start = Instant::now();
        let body = vec![b'a'; size];
        let bytes = [
            frame(b"!hold 200"),
            frame(&body),
            frame(b"!hold 100"),
            frame(b"b"),
        ]
        .concat();
        client.0.write_all(&bytes).unwrap();
        if size > 10 {
            // The end is only seen after the resume, so the frames before it are not lost.
            client.0.shutdown(Shutdown::Write).unwrap();
        }
        assert!(client.receive() == body);
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert_eq!(client.receive(), b"b");
        assert!(start.elapsed() >= Duration::from_millis(300));
    }
}

#[test]
fn a_flushed_close_loses_nothing() {
    let server = Server::small();
    for size in [0, 10, 20_000_000] {
        let mut client = server.client();
        // What follows the order is not read, and must not reset the connection either.
        let bytes = [frame(format!("!close {size}").as_bytes()), vec![9; 5]].concat();
        client.0.write_all(&bytes).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        if size == 10 {
            client.0.write_all(&[9; 100]).ok();
        }
        assert_eq!(client.receive().len(), size);
        assert!(client.is_over());
        assert_eq!(server.opened(), server.closed());
    }
    assert_eq!(server.workers[0].connections(), 0);
}

#[test]
fn unread_input_does_not_cost_the_last_reply() {
    let server = Server::small();
    let mut client = server.client();
    assert_eq!(client.ask(b"hello"), b"hello");
    server.stall(Duration::from_millis(200));
    // More than the engine is given in one poll once it has asked for the close.
    client.send(b"!close 100");
    client.0.write_all(&[7; 200_000]).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(client.receive().len(), 100);
    assert_eq!(client.0.read(&mut [0]).unwrap(), 0, "an end, not a reset");
}

#[test]
fn a_close_at_once_drops_the_output() {
    let server = Server::small();
    let mut client = server.client();
    client.send(b"!closenow 1000");
    assert!(client.is_over());
    server.closed();
    assert_eq!(server.workers[0].connections(), 0);
}

#[test]
fn a_peer_that_ends_its_side_still_gets_its_replies() {
    let server = Server::small();
    let mut client = server.client();
    let body = vec![b'z'; 8_000_000];
    let (mut reader, mut writer) = (client.0.try_clone().unwrap(), client.0.try_clone().unwrap());
    let bytes = [frame(&body), frame(b"last"), b"\0\0".to_vec()].concat();
    let sender = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    assert!(client.receive() == body);
    assert_eq!(client.receive(), b"last");
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    sender.join().unwrap();
    let ends = std::cell::Cell::new(0);
    server.notice(|notice| {
        ends.set(ends.get() + usize::from(matches!(notice, Notice::Ended(_))));
        matches!(notice, Notice::Closed(_)).then_some(())
    });
    assert_eq!(ends.get(), 1, "it is told of the end once");
}

#[test]
fn what_was_left_at_the_end_is_handed_in_once_more() {
    let server = Server::small();
    let mut client = server.client();
    assert_eq!(client.ask(b"hello"), b"hello");
    // All of it and the end are there when the worker looks.
    server.stall(Duration::from_millis(200));
    let bytes = [frame(b"!rest"), frame(b"!hold 100"), frame(b"last")].concat();
    client.0.write_all(&bytes).unwrap();
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.receive(), b"last");
    assert!(client.is_over());
    let ended = server.notices.try_iter();
    let ended = ended.filter(|notice| matches!(notice, Notice::Ended(_)));
    assert_eq!(ended.count(), 1, "it is told of the end, and once");
}

#[test]
fn a_failed_write_does_not_lose_what_has_arrived() {
    let relay = Server::small();
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = backend.local_addr().unwrap();
    let mut client = relay.client();
    assert_eq!(
        client.ask(format!("!connect {address}").as_bytes()),
        b"connected"
    );
    let (mut backend, _) = backend.accept().unwrap();
    client.send(b"!relay first");
    let mut request = [0; 9];
    backend.read_exact(&mut request).unwrap();
    // Small enough to be on the other side in whole before the reset is.
    let reply = vec![b'r'; 40_000];
    relay.stall(Duration::from_millis(500));
    // The client is looked at first, so that the relay writes before it reads the reply.
    client.send(b"!relay second");
    std::thread::sleep(Duration::from_millis(50));
    backend.write_all(&frame(&reply)).unwrap();
    socket2::SockRef::from(&backend)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(backend);
    assert!(client.receive() == reply);
}

#[test]
fn a_reset_closes_the_connection() {
    let server = Server::small();
    let mut client = server.client();
    assert_eq!(client.ask(b"hello"), b"hello");
    let id = server.opened();
    socket2::SockRef::from(&client.0)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    assert_eq!(server.closed(), id);
    assert_eq!(server.workers[0].connections(), 0);
}

#[test]
fn connects_that_come_to_nothing_say_why() {
    let options = WorkerOptions {
        driver: DriverOptions {
            connect_timeout: Duration::from_millis(300),
            ..DriverOptions::default()
        },
        ..WorkerOptions::default()
    };
    let server = Server::start(1, options, AcceptOptions::default());
    let mut client = server.client();
    let refused = format!("!connect {}", dead_address());
    assert_eq!(client.ask(refused.as_bytes()), b"connection refused");
    let reply = client.ask(b"!connect no.such.host.invalid:1");
    let reply = String::from_utf8(reply).unwrap();
    assert!(
        reply.contains("resolve no.such.host.invalid") || reply == "timed out",
        "{reply}"
    );
    // A listener whose queue is full drops further attempts.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(
        &"127.0.0.1:0"
            .parse::<std::net::SocketAddr>()
            .unwrap()
            .into(),
    )
    .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let fillers: Vec<_> = (0..4)
        .filter_map(|_| {
            std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok()
        })
        .collect();
    assert!(fillers.len() < 4, "the queue is full");
    let start = Instant::now();
    assert_eq!(
        client.ask(format!("!connect {address}").as_bytes()),
        b"timed out"
    );
    assert!((250..2000).contains(&start.elapsed().as_millis()));
    let failures = server.notices.try_iter().filter_map(|notice| match notice {
        Notice::ConnectFailed(error) => Some(error),
        _ => None,
    });
    let failures: Vec<_> = failures.collect();
    assert_eq!(failures.first(), Some(&ConnectError::Refused));
    assert_eq!(failures.last(), Some(&ConnectError::TimedOut));
}

#[test]
fn a_name_is_resolved_and_the_backend_relays() {
    let (relay, backend) = (Server::small(), Server::small());
    let mut client = relay.client();
    let order = format!("!connect localhost:{}", backend.address.port());
    assert_eq!(client.ask(order.as_bytes()), b"connected");
    assert_eq!(client.ask(b"!relay there and back"), b"there and back");
}

#[test]
fn timers_fire_in_order_and_an_earlier_one_moves_the_alarm() {
    let server = Server::small();
    let mut client = server.client();
    let start = Instant::now();
    for millis in [400, 50, 200] {
        client.send(format!("!timer {millis}").as_bytes());
        // Long enough for the alarm to be set for this one alone.
        std::thread::sleep(Duration::from_millis(10));
    }
    for millis in [50, 200, 400] {
        assert_eq!(client.receive(), b"timer");
        let elapsed = start.elapsed().as_millis();
        assert!(
            (millis..millis + 130).contains(&elapsed),
            "{elapsed} ms for {millis}"
        );
    }
    let lates = server.notices.try_iter().filter_map(|notice| match notice {
        Notice::Timeout(late) => Some(late),
        _ => None,
    });
    let lates: Vec<_> = lates.collect();
    assert_eq!(lates.len(), 3);
    assert!(lates.iter().all(|&micros| micros < 50_000), "{lates:?}");
}

#[test]
fn a_timer_that_goes_away_with_its_connection_does_no_harm() {
    let server = Server::small();
    let mut client = server.client();
    client.send(b"!timer 100");
    client.send(b"!closenow 0");
    assert!(client.is_over());
    let mut client = server.client();
    std::thread::sleep(Duration::from_millis(150));
    let start = Instant::now();
    client.send(b"!timer 50");
    assert_eq!(client.receive(), b"timer");
    assert!((50..150).contains(&start.elapsed().as_millis()));
}

#[test]
fn numbers_are_used_again_with_a_new_generation() {
    let server = Server::small();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let client = server.client();
        let id = server.opened();
        seen.push((id.index, id.generation));
        drop(client);
        assert_eq!(server.closed(), id);
    }
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn a_stopped_worker_ends_its_connections_and_its_thread() {
    let server = Server::small();
    let mut clients: Vec<_> = (0..10).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.ask(b"hello"), b"hello");
    }
    let worker = server.workers[0].clone();
    worker.stop();
    worker.join();
    for client in &mut clients {
        assert!(client.is_over());
    }
    assert!(worker.send(Event::Mark(1)).is_err());
}

#[test]
fn a_panic_ends_only_the_connection_that_it_was_about() {
    let server = Server::small();
    let recovered = || {
        server.notice(|notice| match notice {
            Notice::Recovered(interrupted) => Some(*interrupted),
            _ => None,
        })
    };
    let mut other = server.client();
    assert_eq!(other.ask(b"hello"), b"hello");
    server.opened();
    let mut client = server.client();
    client
        .0
        .write_all(&[frame(b"before"), frame(b"!panic"), frame(b"after")].concat())
        .unwrap();
    let id = server.opened();
    assert_eq!(recovered(), Interrupted::Connection(id));
    assert_eq!(server.closed(), id);
    assert!(client.try_receive().is_err(), "what it was owed is dropped");
    assert_eq!(other.ask(b"still here"), b"still here");

    // The next one takes its place, and what panics while it closes leaves that free, too.
    let mut client = server.client();
    assert_eq!(server.opened().index, id.index);
    client.send(b"!panic-at-close");
    assert_eq!(client.ask(b"hello"), b"hello");
    drop(client);
    assert!(matches!(recovered(), Interrupted::Close(closed) if closed.index == id.index));
    let mut client = server.client();
    assert_eq!(server.opened().index, id.index);

    client.send(b"!panic-late 1");
    assert_eq!(recovered(), Interrupted::Other);
    assert_eq!(client.ask(b"nobody's fault"), b"nobody's fault");
    assert_eq!(other.ask(b"still here"), b"still here");
    assert_eq!(server.workers[0].connections(), 2);
}

#[test]
fn the_wall_clock_is_the_systems() {
    let server = Server::small();
    let mut client = server.client();
    let reply = String::from_utf8(client.ask(b"!now")).unwrap();
    let system = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert!(reply.parse::<u128>().unwrap().abs_diff(system) < 50);
}

#[test]
fn peers_know_each_others_addresses() {
    let accept = AcceptOptions {
        listener: 3,
        ..AcceptOptions::default()
    };
    let server = Server::start(1, WorkerOptions::default(), accept);
    let client = server.client();
    let peer = server.notice(|notice| match notice {
        Notice::Opened(_, peer) => Some(*peer),
        _ => None,
    });
    assert_eq!(peer.remote, client.0.local_addr().unwrap());
    assert_eq!(peer.local, server.address);
    assert_eq!(peer.origin, Origin::Accepted(3));
}
