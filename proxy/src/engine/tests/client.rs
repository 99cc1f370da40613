//! Commands about the clients themselves, and what workers tell each other of them.

use super::*;

/// Two workers whose messages reach each other when told to.
struct Pair {
    workers: [Bench; 2],
}

impl Pair {
    fn new() -> Self {
        let bench = |worker| {
            Bench::new(Options {
                worker,
                worker_count: 2,
                ..Options::default()
            })
        };
        Self {
            workers: [bench(0), bench(1)],
        }
    }

    /// Delivers messages until there are no more.
    fn deliver(&mut self) {
        loop {
            let messages: Vec<Message> = self
                .workers
                .iter_mut()
                .flat_map(|bench| std::mem::take(&mut bench.messages))
                .collect();
            if messages.is_empty() {
                return;
            }
            for message in messages {
                let to = usize::from(message.to.unwrap_or(1 - message.from));
                self.workers[to].call(|proxy, now| proxy.handle_event(Event::Peer(message), now));
            }
        }
    }
}

#[test]
fn all_workers_are_asked_and_the_answers_become_one() {
    let mut pair = Pair::new();
    let client = pair.workers[0].client();
    pair.workers[0].input(client, "CLIENT UNBLOCK 7\r\nPING\r\n");
    assert_eq!(
        pair.workers[0].written(client),
        "",
        "the other's is missing"
    );
    pair.deliver();
    assert_eq!(pair.workers[0].written(client), ":0\r\n+PONG\r\n");
}

#[test]
fn a_worker_that_does_not_answer_is_not_waited_for() {
    let mut pair = Pair::new();
    let client = pair.workers[0].client();
    pair.workers[0].input(client, "CLIENT UNBLOCK 7\r\n");
    pair.workers[0].wait(Duration::from_millis(900));
    assert_eq!(pair.workers[0].written(client), "");
    pair.workers[0].wait(Duration::from_millis(200));
    assert_eq!(pair.workers[0].written(client), ":0\r\n");
    assert_eq!(pair.workers[0].stats.peer_answers_late.value(), 1);
    pair.deliver();
    assert_eq!(pair.workers[0].written(client), "", "too late");
}

/// The value of a field of a CLIENT LIST line.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let mut fields = line.split(' ').filter_map(|field| field.split_once('='));
    fields.find(|(key, _)| *key == name).expect(name).1
}

#[test]
fn clients_of_all_workers_are_listed_in_the_order_of_their_numbers() {
    let mut pair = Pair::new();
    let [first, second] = &mut pair.workers;
    let clients = [first.client(), second.client(), first.client()];
    second.input(clients[1], "CLIENT SETNAME other\r\n");
    second.written(clients[1]);
    first.now = first.now + Duration::from_secs(3);
    first.input(clients[2], "CLIENT NO-EVICT ON\r\nHELLO 3\r\n");
    first.written(clients[2]);
    first.input(clients[2], "CLIENT LIST\r\n");
    pair.deliver();
    let reply = pair.workers[0].written(clients[2]);
    assert!(reply.starts_with('='), "{reply}");
    let lines: Vec<&str> = reply.lines().skip(1).collect();
    let line = lines[2];
    assert_eq!(
        [
            "id", "addr", "laddr", "name", "age", "idle", "flags", "cmd", "resp"
        ]
        .map(|name| field(line, name)),
        [
            "512",
            "127.0.0.1:1",
            "127.0.0.1:1",
            "",
            "3",
            "0",
            "e",
            "client|list",
            "3"
        ]
    );
    assert_eq!(field(lines[1], "name"), "other");
    assert_eq!(field(lines[1], "cmd"), "client|setname");
    assert_eq!(field(lines[1], "flags"), "N");
    assert_eq!(field(lines[0], "cmd"), "NULL");
}

#[test]
fn clients_are_listed_by_id_in_the_order_asked_for() {
    let mut pair = Pair::new();
    let client = pair.workers[0].client();
    pair.workers[1].client();
    pair.workers[0].input(client, "CLIENT LIST ID 257 99 256 -4 257\r\n");
    pair.deliver();
    let reply = pair.workers[0].written(client);
    let ids: Vec<&str> = reply
        .lines()
        .filter(|line| line.contains(" addr="))
        .map(|line| line.trim_start_matches("id=").split(' ').next().unwrap())
        .collect();
    assert_eq!(ids, ["257", "256", "257"]);
    for (command, expected) in [
        ("CLIENT LIST TYPE replica", "$0\r\n\r\n"),
        ("CLIENT LIST TYPE x", "-ERR Unknown client type 'x'\r\n"),
        ("CLIENT LIST TYPE", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n"),
    ] {
        pair.workers[0].input(client, &format!("{command}\r\n"));
        pair.deliver();
        assert_eq!(pair.workers[0].written(client), expected, "{command}");
    }
}

#[test]
fn a_client_of_another_worker_is_killed_at_once_and_the_caller_after_its_reply() {
    let mut pair = Pair::new();
    let (me, other) = (pair.workers[0].client(), pair.workers[1].client());
    pair.workers[0].input(me, "CLIENT KILL TYPE normal\r\n");
    pair.deliver();
    assert_eq!(pair.workers[0].written(me), ":1\r\n");
    assert_eq!(pair.workers[1].closed, [(other, CloseWhen::Now)]);
    // What is as good as gone is not there any more.
    pair.workers[0].input(
        me,
        "CLIENT KILL 127.0.0.1:2\r\nCLIENT KILL SKIPME no ID 512\r\n",
    );
    pair.deliver();
    assert_eq!(pair.workers[0].written(me), "-ERR No such client\r\n:0\r\n");
    pair.workers[0].input(me, "CLIENT KILL 127.0.0.1:1\r\nPING\r\n");
    assert!(pair.workers[0].closed.is_empty());
    pair.deliver();
    assert_eq!(pair.workers[0].written(me), "+OK\r\n");
    assert_eq!(pair.workers[0].closed, [(me, CloseWhen::Flushed)]);
}

#[test]
fn all_filters_of_kill_must_fit() {
    let mut bench = Bench::with_two_nodes();
    let (me, _other) = (bench.client(), bench.client());
    bench.now = bench.now + Duration::from_secs(10);
    for (filters, expected) in [
        ("ADDR 127.0.0.1:1 LADDR 127.0.0.1:2", ":0\r\n"),
        ("ID 512 TYPE pubsub", ":0\r\n"),
        ("ID 512 MAXAGE 11", ":0\r\n"),
        ("ID 512 USER default MAXAGE 10", ":1\r\n"),
        ("ID 256", ":0\r\n"),
        ("ID 0", "-ERR client-id should be greater than 0\r\n"),
        ("ID 1 SKIPME", "-ERR syntax error\r\n"),
        ("ID 1 SKIPME maybe", "-ERR syntax error\r\n"),
        ("USER foo", "-ERR No such user 'foo'\r\n"),
        ("TYPE foo", "-ERR Unknown client type 'foo'\r\n"),
        ("ID 1 MAXAGE 0", "-ERR maxage should be greater than 0\r\n"),
    ] {
        bench.input(me, &format!("CLIENT KILL {filters}\r\n"));
        assert_eq!(bench.written(me), expected, "{filters}");
    }
}

#[test]
fn a_client_that_is_killed_leaves_no_task_behind() {
    let mut bench = Bench::with_two_nodes();
    let (me, other) = (bench.client(), bench.client());
    bench.input(other, "RANDOMKEY\r\nDBSIZE\r\n");
    assert!(bench.sent(1).contains("DBSIZE"));
    bench.sent(2);
    bench.input(me, "CLIENT KILL ID 512\r\n");
    assert_eq!(bench.written(me), ":1\r\n");
    bench.reply(1, ":0\r\n");
    bench.reply(2, ":0\r\n");
    bench.call(|proxy, now| proxy.handle_close(other, now));
    bench.reply(1, ":0\r\n");
    bench.reply(2, ":0\r\n");
    assert_eq!(bench.proxy.tasks.len(), 0);
    assert_eq!(bench.proxy.merges.len(), 0);
}

#[test]
fn replies_that_a_client_does_not_want_are_dropped_in_their_place() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let lines = [
        "GET foo",
        "CLIENT REPLY OFF",
        "GET foo",
        "MGET foo bar4",
        "DBSIZE",
        "PING",
        "FOO",
        "CLIENT REPLY maybe",
        "RANDOMKEY",
        "CLIENT REPLY SKIP",
        "GET bar4",
        "CLIENT REPLY ON",
        "GET bar4",
        "CLIENT REPLY SKIP",
        "GET foo",
        "GET foo",
    ];
    bench.input(client, &(lines.join("\r\n") + "\r\n"));
    bench.sent(1);
    bench.sent(2);
    // Lower: part of MGET, DBSIZE twice, GET bar4 twice. Upper: GET, GET, part of MGET, DBSIZE
    // twice, GET twice.
    bench.reply(1, "*1\r\n$1\r\nm\r\n:0\r\n:0\r\n$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(bench.written(client), "");
    bench.reply(2, "$1\r\n1\r\n");
    assert_eq!(bench.written(client), "$1\r\n1\r\n");
    bench.reply(2, "$1\r\n2\r\n*1\r\n$1\r\nm\r\n:0\r\n:0\r\n");
    assert_eq!(bench.written(client), "+OK\r\n$1\r\nb\r\n");
    bench.reply(2, "$1\r\n3\r\n");
    assert_eq!(bench.written(client), "");
    bench.reply(2, "$1\r\n4\r\n");
    assert_eq!(bench.written(client), "$1\r\n4\r\n");
    for (lines, expected) in [
        (
            "CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nPING",
            "+PONG\r\n",
        ),
        (
            "CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nPING",
            "+OK\r\n+PONG\r\n",
        ),
        ("CLIENT REPLY SKIP\r\nFOO\r\nPING", "+PONG\r\n"),
        ("CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\nPING", ""),
        ("RESET\r\nPING", "+RESET\r\n+PONG\r\n"),
    ] {
        bench.input(client, &format!("{lines}\r\n"));
        assert_eq!(bench.written(client), expected, "{lines}");
    }
}

#[test]
fn what_is_about_a_connection_never_reaches_a_node() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(
        client,
        "CLIENT TRACKING ON\r\nCLIENT HELP\r\nCLIENT TRACKING OFF\r\n",
    );
    assert!(
        bench
            .written(client)
            .starts_with("-ERR proxy: CLIENT TRACKING")
    );
    assert_eq!(
        (bench.sent(1), bench.sent(2)),
        (String::new(), String::new())
    );
}
