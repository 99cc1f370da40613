//! Clients that take too long, with whatever it is, and those that are no clients of Redis.

use super::super::{Cut, Login};
use super::*;

fn one_node(options: Options) -> Bench {
    let mut bench = Bench::new(options);
    bench.topology(&[(0, 16383, 1)]);
    bench
}

/// Lets seconds pass.
fn seconds(bench: &mut Bench, count: u64) {
    (0..count * 10).for_each(|_| bench.pass(Duration::from_millis(100)));
}

#[test]
fn a_request_has_to_come_to_its_end() {
    let mut bench = one_node(Options::default());
    let (slow, idle, patient) = (bench.client(), bench.client(), bench.client());
    let mut input = BytesMut::new();
    for byte in request(&["get", "a-key-of-thirty-three-bytes-in-all"])
        .bytes()
        .take(32)
    {
        input.extend_from_slice(&[byte]);
        bench.call(|proxy, now| proxy.handle_input(slow, &mut input, now));
        seconds(&mut bench, 1);
    }
    assert_eq!(
        bench.closed,
        [(slow, CloseWhen::Now)],
        "a byte a second does not help"
    );
    assert_eq!(bench.stats.cut(Cut::RequestTime), 1);
    bench.call(|proxy, now| proxy.handle_close(slow, now));
    // One who waits for a reply, or has nothing to say, is not late.
    bench.input(patient, &request(&["get", LOWER]));
    seconds(&mut bench, 40);
    bench.input(idle, &request(&["ping"]));
    assert_eq!(bench.closed.len(), 1);
}

#[test]
fn a_large_request_may_take_longer() {
    let mut bench = one_node(Options::default());
    let client = bench.client();
    let begun = format!(
        "*3\r\n$3\r\nset\r\n$1\r\nk\r\n$2000000\r\n{}",
        "x".repeat(655_360)
    );
    let mut input = bench.input(client, &begun);
    seconds(&mut bench, 39);
    assert_eq!(bench.closed, []);
    seconds(&mut bench, 3);
    assert_eq!(bench.closed, [(client, CloseWhen::Now)]);
    input.clear();
}

#[test]
fn who_says_nothing_leaves_when_the_settings_say_so() {
    let options = Options {
        client_idle_timeout: Duration::from_secs(5),
        ..Options::default()
    };
    let mut bench = one_node(options);
    let (idle, busy) = (bench.client(), bench.client());
    for _ in 0..7 {
        seconds(&mut bench, 1);
        bench.input(busy, &request(&["ping"]));
    }
    assert_eq!(bench.closed, [(idle, CloseWhen::Now)]);
    assert_eq!(bench.stats.cut(Cut::Idle), 1);
}

#[test]
fn replies_have_to_be_taken_at_some_speed() {
    let options = Options {
        client_output_bytes_max: 10_000,
        client_output_timeout: Duration::from_secs(10),
        ..Options::default()
    };
    let mut bench = one_node(options);
    let clients = [(); 2].map(|()| bench.client());
    for client in clients {
        bench.input(client, &request(&["get", LOWER]));
        bench.sent(1);
        bench.reply(1, &format!("$200000\r\n{}\r\n", "x".repeat(200_000)));
    }
    for _ in 0..12 {
        // One takes just enough, the other a little less.
        for (client, count) in clients.iter().zip([1100, 900]) {
            let client = *client;
            bench.proxy.output(client).advance(count);
            bench.call(|proxy, now| proxy.handle_written(client, now));
        }
        seconds(&mut bench, 1);
    }
    let cut = clients.map(|client| bench.closed.contains(&(client, CloseWhen::Now)));
    assert_eq!(cut, [false, true]);
    assert_eq!(bench.stats.cut(Cut::OutputTime), 1);
}

#[test]
fn other_protocols_are_known_by_how_they_begin() {
    let mut bench = one_node(Options::default());
    let client = bench.client();
    bench.input(client, "\x16\x03\x01\x02\x00");
    assert_eq!(bench.closed, [(client, CloseWhen::Now)]);
    let client = bench.client();
    bench.input(client, "GET / HTTP/1.1\r\nHost: there\r\n\r\n");
    assert_eq!(bench.closed.pop(), Some((client, CloseWhen::Now)));
    let client = bench.client();
    let mut noise = BytesMut::from(&[0x80, 0x01, 0xff, b'a'][..]);
    bench.call(|proxy, now| proxy.handle_input(client, &mut noise, now));
    seconds(&mut bench, 2);
    assert_eq!(bench.closed.pop(), Some((client, CloseWhen::Now)));
    let cuts = [Cut::Tls, Cut::Http, Cut::Garbage].map(|reason| bench.stats.cut(reason));
    assert_eq!(cuts, [1, 1, 1]);
    assert_eq!(
        bench.suspicions,
        [Suspicion::Tls],
        "not more often than every ten seconds"
    );
    // Half a command of somebody who types is no noise, nor are later requests.
    let client = bench.client();
    bench.input(client, "GE");
    seconds(&mut bench, 3);
    let other = bench.client();
    bench.input(other, &request(&["ping"]));
    bench.input(other, "\u{1}");
    seconds(&mut bench, 3);
    assert_eq!(bench.closed.len(), 1);
}

fn with_password() -> Bench {
    one_node(Options {
        login: Some(Login {
            username: "default".into(),
            password: "secret".into(),
        }),
        ..Options::default()
    })
}

const NO_AUTH: &str = "-NOAUTH Authentication required.\r\n";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

#[test]
fn nobody_is_served_before_the_password() {
    let mut bench = with_password();
    let client = bench.client();
    for (words, reply) in [
        (&["get", "k"][..], NO_AUTH),
        (&["ping"], NO_AUTH),
        (&["client", "setinfo", "lib-name", "x"], NO_AUTH),
        (
            &["get"],
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        (&["auth", "secre"], WRONG),
        (&["auth", "secrets"], WRONG),
        (&["auth", "other", "secret"], WRONG),
        (&["reset"], "+RESET\r\n"),
        (&["auth", "secret"], "+OK\r\n"),
        (&["auth", "default", "secret"], "+OK\r\n"),
        (&["ping"], "+PONG\r\n"),
        (&["auth", "wrong"], WRONG),
        (&["ping"], "+PONG\r\n"),
        (&["reset"], "+RESET\r\n"),
        (&["ping"], NO_AUTH),
    ] {
        bench.input(client, &request(words));
        assert_eq!(bench.written(client), reply, "{words:?}");
    }
    assert_eq!(bench.stats.logins_failed.value(), 4);
    assert_eq!(bench.suspicions, [Suspicion::Login]);
    bench.input(client, &request(&["hello", "3"]));
    assert!(
        bench
            .written(client)
            .starts_with("-NOAUTH HELLO must be called")
    );
    bench.input(
        client,
        &request(&["hello", "2", "auth", "default", "secret"]),
    );
    assert!(bench.written(client).starts_with("*14\r\n"));
    bench.input(client, &request(&["get", LOWER]).repeat(3));
    assert_eq!(bench.sent(1).matches("get").count(), 3);
    let options = format!("{:?}", bench.proxy);
    assert!(!options.contains("secret"), "it is not shown");
}

const TOO_MANY: &str = "-ERR proxy: too many failed logins from this address, try again in";

#[test]
fn after_too_many_wrong_passwords_none_is_looked_at() {
    let mut bench = with_password();
    let clients = [0; 3].map(|_| bench.client());
    let right = request(&["auth", "secret"]);
    let hello = request(&["hello", "3", "auth", "default", "secret"]);
    bench.input(clients[0], &right);
    assert_eq!(bench.written(clients[0]), "+OK\r\n");
    bench.input(clients[1], &request(&["auth", "x"]).repeat(9));
    assert_eq!(bench.written(clients[1]), WRONG.repeat(9));
    bench.wait(Duration::from_secs(5));
    let wrong_hello = request(&["hello", "3", "auth", "default", "x"]);
    bench.input(
        clients[1],
        &(wrong_hello + &request(&["ping"]) + &right + &right),
    );
    let refused = format!("{TOO_MANY} 60 s (login_failures_max)\r\n");
    assert_eq!(
        bench.written(clients[1]),
        format!("{WRONG}{NO_AUTH}{refused}")
    );
    bench.input(clients[2], &hello);
    assert_eq!(bench.written(clients[2]), refused);
    let closed = [1, 2].map(|client| (clients[client], CloseWhen::Flushed));
    assert_eq!(bench.closed, closed);
    assert_eq!(bench.suspicions, [Suspicion::Login, Suspicion::Logins]);
    assert_eq!(bench.stats.logins_failed.value(), 10);
    assert_eq!(bench.stats.logins_refused.value(), 2);
    bench.input(clients[0], &request(&["ping"]));
    assert_eq!(bench.written(clients[0]), "+PONG\r\n", "who is in stays in");
    bench.wait(Duration::from_secs(8));
    let late = bench.client();
    bench.input(late, &request(&["hello", "3", "setname", "auth"]));
    assert!(bench.written(late).starts_with("-NOAUTH HELLO"));
    bench.input(late, &hello);
    let refused = format!("{TOO_MANY} 52 s (login_failures_max)\r\n");
    assert_eq!(bench.written(late), refused);
    bench.wait(Duration::from_secs(52));
    let client = bench.client();
    bench.input(client, &hello);
    assert!(bench.written(client).starts_with("%7\r\n"));
}

#[test]
fn without_a_limit_every_password_is_looked_at() {
    let mut bench = with_password();
    let client = bench.client();
    bench.input(client, &request(&["auth", "secret"]));
    let setting = request(&["config", "set", "login_failures_max", "0"]);
    bench.input(client, &setting);
    bench.written(client);
    for _ in 0..30 {
        bench.input(client, &request(&["auth", "x"]));
        assert_eq!(bench.written(client), WRONG);
    }
    bench.input(client, &request(&["auth", "secret"]));
    assert_eq!(bench.written(client), "+OK\r\n");
}

#[test]
fn who_has_not_said_the_password_can_keep_little() {
    let mut bench = with_password();
    let client = bench.client();
    bench.input(client, "*11\r\n");
    let said = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    assert_eq!(bench.written(client), said);
    let client = bench.client();
    bench.input(client, "*2\r\n$4\r\nAUTH\r\n$16385\r\n");
    let said = "-ERR Protocol error: unauthenticated bulk length\r\n";
    assert_eq!(bench.written(client), said);
    bench.closed.clear();
    // One who does not read is not read from.
    let client = bench.client();
    let left = bench.input(client, &request(&["ping"]).repeat(1000));
    assert!(left.len() > 10_000);
    assert!(bench.written(client).len() < 1100);
    assert_eq!(
        (&bench.paused[..], &bench.resumed[..]),
        (&[client][..], &[client][..])
    );
    seconds(&mut bench, 11);
    assert_eq!(
        bench.stats.cut(Cut::Login),
        1,
        "the other two are closing anyway"
    );
}
