//! Commands about the clients themselves, and what workers tell each other of them.

use super::*;

/// Two workers whose messages reach each other when told to.
pub(super) struct Pair {
    pub(super) workers: [Bench; 2],
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let bench = |worker| {
            Bench::new(Options {
                worker,
                worker_count: 2,
                ..options.clone()
            })
        };
        Self {
            workers: [bench(0), bench(1)],
        }
    }

    /// Delivers messages until there are no more.
    pub(super) fn deliver(&mut self) {
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

/// Hands in again what a client could not send on.
fn resume(bench: &mut Bench, client: ConnectionId, rest: BytesMut) -> BytesMut {
    assert!(bench.resumed.contains(&client), "it is to go on");
    bench.resumed.clear();
    bench.input(client, std::str::from_utf8(&rest).unwrap())
}

#[test]
fn writes_wait_in_their_order_while_clients_are_paused() {
    let mut bench = Bench::with_two_nodes();
    let (admin, client) = (bench.client(), bench.client());
    bench.input(client, "GET foo\r\n");
    bench.input(admin, "CLIENT PAUSE 500 WRITE\r\n");
    assert_eq!(bench.written(admin), "+OK\r\n");
    let rest = bench.input(client, "GET foo\r\nSET foo 1\r\nGET foo\r\nSET\r\n");
    assert_eq!(rest, "SET foo 1\r\nGET foo\r\nSET\r\n".as_bytes());
    assert_eq!(bench.sent(2).matches("GET").count(), 2);
    bench.reply(2, "$-1\r\n$-1\r\n");
    assert_eq!(bench.written(client), "$-1\r\n$-1\r\n");
    bench.wait(Duration::from_millis(480));
    assert!(bench.resumed.is_empty(), "too early");
    bench.wait(Duration::from_millis(40));
    let rest = resume(&mut bench, client, rest);
    assert!(rest.is_empty());
    assert_eq!(bench.sent(2).matches("ET").count(), 2);
    bench.reply(2, "+OK\r\n$1\r\n1\r\n");
    let expected = "+OK\r\n$1\r\n1\r\n-ERR wrong number of arguments for 'set' command\r\n";
    assert_eq!(bench.written(client), expected);
}

#[test]
fn the_longer_and_the_stricter_pause_counts_until_it_is_ended() {
    let mut pair = Pair::new();
    let (admin, client) = (pair.workers[0].client(), pair.workers[1].client());
    pair.workers[0].input(admin, "CLIENT PAUSE 60000 WRITE\r\nCLIENT PAUSE 1\r\n");
    pair.deliver();
    assert_eq!(pair.workers[0].written(admin), "+OK\r\n+OK\r\n");
    pair.workers[1].wait(Duration::from_millis(100));
    let rest = pair.workers[1].input(client, "PING\r\n");
    assert_eq!(rest, "PING\r\n".as_bytes());
    assert_eq!(pair.workers[1].written(client), "");
    pair.workers[0].input(admin, "CLIENT UNPAUSE\r\nPING\r\n");
    pair.deliver();
    assert_eq!(pair.workers[0].written(admin), "+OK\r\n+PONG\r\n");
    let rest = resume(&mut pair.workers[1], client, rest);
    assert!(rest.is_empty());
    assert_eq!(pair.workers[1].written(client), "+PONG\r\n");
}

#[test]
fn a_paused_client_is_not_read_from_without_limit_and_may_leave() {
    let mut bench = Bench::with_two_nodes();
    let (admin, client) = (bench.client(), bench.client());
    bench.input(admin, "CLIENT PAUSE 60000\r\n");
    bench.input(client, "PING\r\n");
    assert!(bench.paused.is_empty());
    bench.input(client, &"PING\r\n".repeat(11_000));
    assert_eq!(bench.paused, [client]);
    let other = bench.client();
    bench.input(other, "PING\r\n");
    bench.call(|proxy, now| proxy.handle_end(other, now));
    assert_eq!(bench.closed, [(other, CloseWhen::Flushed)]);
    bench.input(admin, "CLIENT UNPAUSE\r\n");
    assert!(bench.resumed.contains(&client));
}

#[test]
fn what_may_write_waits_for_the_end_of_a_pause() {
    for (line, waits) in [
        ("PUBLISH a b", true),
        ("EVAL script 0", true),
        ("EVALSHA sha 0", true),
        ("EVAL_RO script 0", false),
        ("FCALL f 0", true),
        ("PFCOUNT key", true),
        ("FLUSHALL", true),
        ("DEL foo bar4", true),
        ("MGET foo bar4", false),
        ("SCRIPT LOAD x", false),
        ("MULTI", false),
        ("EXEC", false),
        ("MULTI\r\nGET foo\r\nEXEC", true),
    ] {
        let mut bench = Bench::with_two_nodes();
        let (admin, client) = (bench.client(), bench.client());
        bench.input(admin, "CLIENT PAUSE 60000 WRITE\r\n");
        let rest = bench.input(client, &format!("{line}\r\n"));
        assert_eq!(!rest.is_empty(), waits, "{line}");
    }
}

#[test]
fn wrong_pauses_are_refused_in_the_words_of_the_server() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    for (arguments, expected) in [
        ("PAUSE x", "timeout is not an integer or out of range"),
        ("PAUSE -1", "timeout is negative"),
        ("PAUSE x foo", "CLIENT PAUSE mode must be WRITE or ALL"),
        (
            "PAUSE 1 ALL x",
            "unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.",
        ),
        (
            "UNPAUSE x",
            "wrong number of arguments for 'client|unpause' command",
        ),
    ] {
        bench.input(client, &format!("CLIENT {arguments}\r\n"));
        assert_eq!(
            bench.written(client),
            format!("-ERR {expected}\r\n"),
            "{arguments}"
        );
    }
}

fn with_monitor() -> Options {
    Options {
        monitor: true,
        ..Options::default()
    }
}

/// Lines as MONITOR shows them, without the time.
fn shown(written: &str) -> Vec<&str> {
    written
        .lines()
        .map(|line| line.split_once(' ').map_or(line, |(_, rest)| rest))
        .collect()
}

#[test]
fn a_monitor_is_shown_what_clients_of_all_workers_ask_for() {
    let mut pair = Pair::with(with_monitor());
    let (monitor, client) = (pair.workers[0].client(), pair.workers[1].client());
    pair.workers[0].input(monitor, "MONITOR\r\n");
    assert_eq!(pair.workers[0].written(monitor), "");
    pair.deliver();
    assert_eq!(pair.workers[0].written(monitor), "+OK\r\n");
    let lines = [
        "GET",
        "CONFIG GET save",
        "AUTH default secret",
        "HELLO 3 AUTH default secret SETNAME x",
        "FOO",
        "EVAL script 0",
        "set foo \"a\\\"\\\\\\n\\r\\t\\a\\b\\x01\\xff~\"",
    ];
    pair.workers[1].input(client, &(lines.join("\r\n") + "\r\n"));
    pair.workers[1].wait(Duration::from_millis(20));
    pair.deliver();
    pair.workers[0].input(monitor, "PING\r\nGET foo\r\n");
    let written = pair.workers[0].written(monitor);
    assert_eq!(
        shown(&written),
        [
            "[0 127.0.0.1:1] \"AUTH\" \"(redacted)\" \"(redacted)\"",
            "[0 127.0.0.1:1] \"HELLO\" \"3\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \
             \"x\"",
            "[0 127.0.0.1:1] \"EVAL\" \"script\" \"0\"",
            "[0 127.0.0.1:1] \"set\" \"foo\" \"a\\\"\\\\\\n\\r\\t\\a\\b\\x01\\xff~\"",
            "+PONG",
            "Replica can't interact with the keyspace",
            "[0 127.0.0.1:1] \"PING\"",
        ]
    );
    let time = written.split(' ').next().unwrap();
    assert_eq!(time.split_once('.').unwrap().1.len(), 6, "{time}");
    pair.workers[0].input(monitor, "MONITOR\r\nRESET\r\nPING\r\n");
    let end = pair.workers[0].written(monitor);
    assert!(end.ends_with("+RESET\r\n+PONG\r\n"), "{end}");
    pair.deliver();
    pair.workers[1].input(client, "PING\r\n");
    pair.workers[1].wait(Duration::from_millis(20));
    assert!(
        pair.workers[1].messages.is_empty(),
        "nobody watches any more"
    );
}

#[test]
fn a_monitor_that_does_not_read_is_cut_off() {
    let mut bench = Bench::new(Options {
        subscriber_output_bytes_max: 10_000,
        ..with_monitor()
    });
    let (monitor, client) = (bench.client(), bench.client());
    bench.input(monitor, "MONITOR\r\n");
    bench.written(monitor);
    for _ in 0..400 {
        bench.input(client, "ECHO hello\r\n");
        bench.written(client);
    }
    assert_eq!(bench.closed, [(monitor, CloseWhen::Now)]);
    bench.call(|proxy, now| proxy.handle_close(monitor, now));
    bench.input(client, "ECHO hello\r\n");
    assert_eq!(bench.written(client), "$5\r\nhello\r\n");
}

#[test]
fn nobody_monitors_unless_that_is_allowed() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, "MONITOR\r\nPING\r\n");
    let written = bench.written(client);
    assert!(
        written.starts_with("-ERR proxy: MONITOR is off"),
        "{written}"
    );
    assert!(written.contains("'monitor = true' in [proxy]"), "{written}");
    assert!(written.ends_with("+PONG\r\n"), "{written}");
}
