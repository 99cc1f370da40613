//! What the nodes' commands and databases are.

use super::*;

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
