//! What is done when memory is scarce: who is not read from, who is refused, who is cut off.

use super::super::{Cut, Memory};
use super::*;

const MIB: usize = 1024 * 1024;

/// One node; the process may take eight mebibytes.
fn bench() -> (Bench, Arc<Memory>) {
    bench_of(1)
}

/// The same with the first of so many workers.
fn bench_of(workers: usize) -> (Bench, Arc<Memory>) {
    let memory = Arc::new(Memory::new(workers, 0, 8 * MIB));
    let options = Options {
        memory: Arc::clone(&memory),
        large_in_flight_max: 2,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 16383, 1)]);
    (bench, memory)
}

fn bulk(len: usize) -> String {
    format!("${len}\r\n{}\r\n", "x".repeat(len))
}

/// The first bytes of a SET of so many bytes, of which so many are there.
fn begun(len: usize, here: usize) -> String {
    let value = "x".repeat(here);
    format!("*3\r\n$3\r\nset\r\n$3\r\nfoo\r\n${len}\r\n{value}")
}

#[test]
fn who_takes_most_is_cut_off_and_nobody_else() {
    let (mut bench, memory) = bench();
    let (greedy, modest) = (bench.client(), bench.client());
    bench.input(greedy, &request(&["get", LOWER]).repeat(7));
    bench.input(modest, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, &bulk(MIB).repeat(6));
    assert_eq!(bench.closed, []);
    assert!(memory.is_short(), "nobody else is let in");
    bench.reply(1, &bulk(MIB));
    bench.reply(1, &bulk(100_000));
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.closed, [(greedy, CloseWhen::Now)]);
    assert_eq!(bench.stats.cut(Cut::Memory), 1);
    bench.call(|proxy, now| proxy.handle_close(greedy, now));
    bench.wait(Duration::from_millis(200));
    assert!(!memory.is_short(), "there is room again");
    assert_eq!(bench.written(modest), bulk(100_000));
    assert_eq!(bench.closed.len(), 1);
}

/// Makes memory tight: the client does not take the replies that are here.
fn fill(bench: &mut Bench, len: usize) -> ConnectionId {
    let client = bench.client();
    bench.input(client, &request(&["get", LOWER]));
    bench.sent(1);
    bench.reply(1, &bulk(len));
    bench.wait(Duration::from_millis(200));
    client
}

#[test]
fn large_requests_come_one_after_the_other_when_memory_is_tight() {
    let (mut bench, _) = bench();
    fill(&mut bench, 5_500_000);
    let clients = [(); 3].map(|()| bench.client());
    let mut inputs = clients.map(|client| bench.input(client, &begun(150_000, 70_000)));
    assert_eq!(bench.paused, clients[1..], "the first may go on");
    assert_eq!(bench.stats.requests_delayed.value(), 2);
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.resumed, []);
    let rest = format!("{}\r\n", "x".repeat(80_000));
    inputs[0].extend_from_slice(rest.as_bytes());
    bench.call(|proxy, now| proxy.handle_input(clients[0], &mut inputs[0], now));
    assert!(inputs[0].is_empty());
    assert_eq!(bench.resumed, clients[1..2], "now the second");
    bench.call(|proxy, now| proxy.handle_close(clients[1], now));
    assert_eq!(bench.resumed, clients[1..]);
}

#[test]
fn large_requests_that_have_no_room_together_come_one_after_the_other() {
    let (mut bench, _) = bench();
    let clients = [(); 4].map(|()| bench.client());
    let mut inputs = clients.map(|client| bench.input(client, &begun(2 * MIB, 70_000)));
    assert_eq!(bench.paused, clients[2..], "there is room for two");
    let rest = format!("{}\r\n", "x".repeat(2 * MIB - 70_000));
    for (client, input) in clients.iter().zip(&mut inputs[..2]) {
        input.extend_from_slice(rest.as_bytes());
        bench.call(|proxy, now| proxy.handle_input(*client, input, now));
        assert!(input.is_empty());
    }
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.resumed, [], "they are still kept, for the node");
    bench.connect();
    let node = bench.large[&1];
    while !bench.written(node).is_empty() {}
    bench.input(node, "+OK\r\n+OK\r\n");
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.resumed, clients);
    assert_eq!(bench.stats.cut(Cut::Memory), 0);
}

#[test]
fn a_large_request_waits_for_one_that_another_worker_reads() {
    let (mut bench, memory) = bench_of(2);
    let options = Options {
        worker: 1,
        memory,
        ..Options::default()
    };
    let mut other = Bench::new(options);
    other.topology(&[(0, 16383, 1)]);
    let (first, second) = (other.client(), bench.client());
    other.input(first, &begun(3 * MIB, 70_000));
    bench.input(second, &begun(3 * MIB, 70_000));
    assert_eq!(
        (&other.paused[..], &bench.paused[..]),
        (&[][..], &[second][..])
    );
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.resumed, []);
    other.call(|proxy, now| proxy.handle_close(first, now));
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.resumed, [second]);
}

#[test]
fn the_next_request_of_a_client_waits_for_its_turn() {
    let (mut bench, _) = bench();
    let clients = [(); 2].map(|()| bench.client());
    let mut inputs = clients.map(|client| bench.input(client, &begun(3 * MIB, 70_000)));
    assert_eq!(bench.paused, clients[1..]);
    let next = begun(3 * MIB, 70_000);
    let rest = format!("{}\r\n{next}", "x".repeat(3 * MIB - 70_000));
    inputs[0].extend_from_slice(rest.as_bytes());
    bench.call(|proxy, now| proxy.handle_input(clients[0], &mut inputs[0], now));
    assert_eq!(inputs[0].len(), next.len());
    assert_eq!(bench.paused, [clients[1], clients[0]]);
}

#[test]
fn those_who_wait_are_read_from_when_there_is_room() {
    let (mut bench, _) = bench();
    let clients = [(); 3].map(|()| bench.client());
    for client in clients {
        bench.input(client, &begun(3 * MIB, 70_000));
    }
    assert_eq!(bench.paused, clients[1..]);
    let changes = request(&["config", "set", "memory_bytes_max", "100mb"]);
    let admin = bench.client();
    bench.input(admin, &changes);
    assert_eq!(bench.written(admin), "+OK\r\n");
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.resumed, clients[1..]);
}

#[test]
fn nothing_is_sent_to_a_busy_node_when_memory_is_short() {
    let (mut bench, _) = bench();
    let client = bench.client();
    let set = format!("{}\r\n", begun(900_000, 900_000));
    for _ in 0..7 {
        bench.input(client, &set);
    }
    bench.wait(Duration::from_millis(1200));
    let other = bench.client();
    bench.input(other, &request(&["get", LOWER]));
    let refused = "-OOM proxy: too much is under way for the memory that there is \
                   (memory_bytes_max)\r\n";
    assert_eq!(bench.written(other), refused);
    bench.connect();
    let node = bench.nodes[&1];
    while !bench.written(node).is_empty() {}
    bench.reply(1, &"+OK\r\n".repeat(6));
    bench.wait(Duration::from_millis(200));
    bench.input(other, &request(&["get", LOWER]));
    assert_eq!(bench.written(other), "");
    bench.reply(1, "+OK\r\n$-1\r\n");
    assert_eq!(bench.written(other), "$-1\r\n");
}
