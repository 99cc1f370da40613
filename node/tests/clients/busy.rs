//! Scripts that take long: what others are told meanwhile, and how they can be ended.

use std::time::Duration;

use slotway_node::{NodeConfig, Notice};
use slotway_protocol::engine::Action;

use crate::bench::Bench;

const BUSY: &str = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or \
    SHUTDOWN NOSAVE.\r\n";

const FOREVER: &str = "EVAL \"while true do end\" 0\r\n";

/// A script does a piece of its work in each millisecond of the bench.
fn bench() -> Bench {
    let mut config = NodeConfig::default();
    config.config.busy_reply_threshold = 5;
    Bench::new(config)
}

#[test]
fn a_script_that_never_ends_can_be_killed() {
    let mut bench = bench();
    let (one, two, three) = (bench.client(), bench.client(), bench.client());
    bench.check(
        two,
        "SCRIPT KILL\r\n",
        "-NOTBUSY No scripts in execution right now.\r\n",
    );
    bench.check(one, FOREVER, "");
    bench.check(two, "PING\r\n", "");
    bench.pass(Duration::from_millis(20));
    assert_eq!(bench.take(two), BUSY);
    bench.check(two, "GET a\r\n", BUSY);
    bench.check(two, "FUNCTION STATS\r\n", BUSY);
    bench.check(three, "SHUTDOWN\r\n", BUSY);
    bench.check(two, "SCRIPT KILL\r\n", "+OK\r\n");
    bench.pass(Duration::from_millis(5));
    let killed = "-ERR Script killed by user with SCRIPT KILL. script: \
        694a5fe1ddb97a4c6a1bf299d9537c7d3d0f84e7, on @user_script:1.\r\n";
    assert_eq!(bench.take(one), killed);
    bench.check(one, "PING\r\n", "+PONG\r\n");
    bench.check(two, "EVAL \"return 1\" 0\r\n", ":1\r\n");
}

#[test]
fn one_that_catches_its_errors_can_be_killed() {
    let mut bench = bench();
    let (one, two) = (bench.client(), bench.client());
    let script = "EVAL \"while true do pcall(function() while true do redis.pcall('ping') end end) \
        end\" 0\r\n";
    bench.check(one, script, "");
    bench.pass(Duration::from_millis(20));
    bench.check(two, "SCRIPT KILL\r\n", "+OK\r\n");
    bench.pass(Duration::from_millis(5));
    let reply = bench.take(one);
    assert!(
        reply.starts_with("-ERR Script killed by user with SCRIPT KILL."),
        "{reply}"
    );
    bench.check(two, "PING\r\n", "+PONG\r\n");
}

#[test]
fn one_that_has_written_ends_only_with_the_node() {
    let mut bench = bench();
    let (one, two) = (bench.client(), bench.client());
    bench.check(
        one,
        "EVAL \"redis.call('set','a',1) while true do end\" 0\r\n",
        "",
    );
    bench.pass(Duration::from_millis(20));
    bench.send(two, "SCRIPT KILL\r\n");
    assert!(
        bench
            .take(two)
            .starts_with("-UNKILLABLE Sorry the script already executed write")
    );
    bench.send(two, "SHUTDOWN NOSAVE NOW\r\n");
    bench.pass(Duration::from_secs(1));
    assert!(bench.actions.contains(&Action::Notify(Notice::Shutdown)));
}

#[test]
fn others_wait_for_one_that_ends_in_time() {
    let mut config = NodeConfig::default();
    config.config.busy_reply_threshold = 10_000;
    let mut bench = Bench::new(config);
    let (one, two, three) = (bench.client(), bench.client(), bench.client());
    bench.check(three, "BLPOP l 0\r\n", "");
    let script = "EVAL \"redis.call('rpush','l','x') for i=1,20000000 do end \
         redis.call('set','a',2) \
        return {redis.call('get','a'),'end'}\" 0\r\n";
    bench.check(one, &format!("SELECT 0\r\n{script}GET a\r\n"), "+OK\r\n");
    bench.check(two, "SET a 1\r\nGET a\r\n", "");
    bench.pass(Duration::from_millis(50));
    assert_eq!(bench.take(one), "*2\r\n$1\r\n2\r\n$3\r\nend\r\n$1\r\n2\r\n");
    assert_eq!(bench.take(two), "+OK\r\n$1\r\n1\r\n");
    assert_eq!(bench.take(three), "*2\r\n$1\r\nl\r\n$1\r\nx\r\n");
}

#[test]
fn it_goes_on_when_its_client_is_gone() {
    let mut bench = bench();
    let (one, two) = (bench.client(), bench.client());
    let script = "EVAL \"for i=1,20000000 do end redis.call('set','a',2)\" 0\r\n";
    bench.check(one, script, "");
    bench.lose(one);
    bench.pass(Duration::from_millis(50));
    bench.check(two, "GET a\r\n", "$1\r\n2\r\n");
}

#[test]
fn in_a_transaction_it_is_ended() {
    let mut bench = bench();
    let one = bench.client();
    bench.send(one, &format!("MULTI\r\n{FOREVER}PING\r\nEXEC\r\n"));
    let reply = bench.take(one);
    assert!(reply.contains("*2\r\n-ERR Script killed"), "{reply}");
    assert!(reply.ends_with("+PONG\r\n"), "{reply}");
}
