//! Clients in several databases of the nodes.

use super::*;

fn select(database: &str) -> String {
    request(&["SELECT", database])
}

/// Two nodes with 16 databases.
fn with_databases() -> Bench {
    let mut bench = Bench::with_two_nodes();
    bench.call(|proxy, now| proxy.handle_event(Event::Databases(16), now));
    bench
}

/// A client in database 3 that has been answered once, by the first node.
fn in_three(bench: &mut Bench) -> ConnectionId {
    let client = bench.client();
    bench.input(client, &(select("3") + &request(&["GET", LOWER])));
    assert_eq!(bench.sent(1), select("3"), "requests wait for the login");
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
    bench.reply(1, "$1\r\n3\r\n");
    assert_eq!(bench.written(client), "+OK\r\n$1\r\n3\r\n");
    client
}

#[test]
fn each_database_has_connections_of_its_own() {
    let mut bench = with_databases();
    let client = in_three(&mut bench);
    let three = bench.nodes[&1];
    let other = bench.client();
    bench.input(other, &request(&["GET", LOWER]));
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
    assert_ne!(bench.nodes[&1], three, "another connection");
    bench.reply(1, "$1\r\n0\r\n");
    assert_eq!(bench.written(other), "$1\r\n0\r\n");
    // Back in database 0, the client uses that connection, too.
    bench.input(client, &(select("0") + &request(&["GET", LOWER])));
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
    assert!(bench.wanted.is_empty());
}

#[test]
fn all_parts_of_a_request_are_of_its_database() {
    let mut bench = with_databases();
    let client = bench.client();
    bench.input(client, &(select("3") + &request(&["DBSIZE"])));
    for port in [1, 2] {
        assert_eq!(bench.sent(port), select("3"));
        bench.reply(port, "+OK\r\n");
        assert_eq!(bench.sent(port), request(&["DBSIZE"]));
        bench.reply(port, ":4\r\n");
    }
    assert_eq!(bench.written(client), "+OK\r\n:8\r\n");
}

#[test]
fn another_database_is_chosen_once_all_replies_are_there() {
    let mut bench = with_databases();
    let client = bench.client();
    let input = request(&["GET", LOWER]) + &select("0") + &select("3");
    let rest = bench.input(client, &input);
    assert_eq!(rest, select("3").as_bytes(), "where it is it may stay");
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
    bench.reply(1, "$-1\r\n");
    assert_eq!(bench.resumed, [client]);
    bench.input(client, &select("3"));
    assert_eq!(bench.written(client), "$-1\r\n+OK\r\n+OK\r\n");
}

#[test]
fn a_connection_that_is_opened_again_is_in_its_database() {
    let mut bench = with_databases();
    let client = in_three(&mut bench);
    bench.input(client, &request(&["GET", LOWER]));
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
    bench.lose(1);
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.sent(1), select("3"));
    bench.reply(1, "+OK\r\n");
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
    bench.reply(1, "$1\r\n3\r\n");
    assert_eq!(bench.written(client), "$1\r\n3\r\n");
}

#[test]
fn a_moved_request_stays_in_its_database() {
    let mut bench = with_databases();
    let client = in_three(&mut bench);
    bench.input(client, &request(&["GET", LOWER]));
    assert_eq!(bench.sent(1), request(&["GET", LOWER]));
    let slot = Slot::of(LOWER.as_bytes());
    bench.reply(1, &format!("-MOVED {slot} node:2\r\n"));
    assert_eq!(bench.sent(2), select("3"));
    bench.reply(2, "+OK\r\n");
    assert_eq!(bench.sent(2), request(&["GET", LOWER]));
}

#[test]
fn a_transaction_is_of_one_database() {
    let mut bench = with_databases();
    let client = in_three(&mut bench);
    let set = request(&["SET", LOWER, "v"]);
    bench.input(client, &(request(&["MULTI"]) + &set + &request(&["EXEC"])));
    let block = request(&["MULTI"]) + &set + &request(&["EXEC"]);
    assert_eq!(bench.sent(1), block);
    bench.reply(1, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    bench.input(
        client,
        &(request(&["MULTI"]) + &select("3") + &select("99")),
    );
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    bench.input(client, &request(&["EXEC"]));
    let executed = "*2\r\n+OK\r\n-ERR DB index is out of range\r\n";
    assert_eq!(bench.written(client), executed);
    bench.input(
        client,
        &(request(&["MULTI"]) + &select("4") + &request(&["EXEC"])),
    );
    let refused = "+OK\r\n-ERR proxy: another database can't be selected in a transaction; SELECT \
                   before MULTI\r\n-EXECABORT Transaction discarded because of previous \
                   errors.\r\n";
    assert_eq!(bench.written(client), refused);
}

#[test]
fn blocking_and_watching_connections_are_of_one_database() {
    let mut bench = with_databases();
    let client = in_three(&mut bench);
    bench.input(client, &request(&["BLPOP", LOWER, "0"]));
    let wanted = bench.wanted.remove(0);
    let private = bench.open(Origin::Connected(wanted.0));
    let login = select("3") + &request(&["CLIENT", "ID"]);
    assert_eq!(bench.written(private), login);
    bench.input(private, "+OK\r\n:77\r\n");
    assert_eq!(bench.written(private), request(&["BLPOP", LOWER, "0"]));
    bench.input(private, "*2\r\n$4\r\nbar4\r\n$1\r\ne\r\n");
    assert_eq!(bench.written(client), "*2\r\n$4\r\nbar4\r\n$1\r\ne\r\n");
    // The same connection serves the next in that database, and nobody in another.
    bench.input(client, &request(&["WATCH", LOWER]));
    assert_eq!(bench.written(private), request(&["WATCH", LOWER]));
    bench.input(private, "+OK\r\n");
    bench.input(client, &select("4"));
    let refused = "+OK\r\n-ERR proxy: another database can't be selected while keys are watched; \
                   UNWATCH first\r\n";
    assert_eq!(bench.written(client), refused);
    bench.input(client, &request(&["UNWATCH"]));
    assert_eq!(bench.written(private), request(&["UNWATCH"]));
    bench.input(private, "+OK\r\n");
    bench.written(client);
    bench.input(client, &(select("4") + &request(&["BLPOP", LOWER, "0"])));
    assert_eq!(bench.wanted.len(), 1, "a new connection");
}

#[test]
fn keys_of_another_database_are_looked_at_now_and_then() {
    let mut bench = with_databases();
    let client = in_three(&mut bench);
    let pop = |key| request(&["LPOP", key]);
    bench.input(client, &request(&["BLPOP", LOWER, UPPER, "0"]));
    assert_eq!(bench.sent(1), pop(LOWER));
    bench.reply(1, "$-1\r\n");
    assert_eq!(bench.sent(2), select("3"));
    bench.reply(2, "+OK\r\n");
    assert_eq!(bench.sent(2), pop(UPPER));
    bench.reply(2, "$-1\r\n");
    assert!(bench.wanted.is_empty(), "no node is asked to say when");
    bench.wait(Duration::from_millis(200));
    assert_eq!(bench.sent(1), pop(LOWER));
    bench.reply(1, "$-1\r\n");
    assert_eq!(bench.sent(2), pop(UPPER));
    bench.reply(2, "$1\r\ne\r\n");
    assert_eq!(bench.written(client), "*2\r\n$3\r\nfoo\r\n$1\r\ne\r\n");
}

#[test]
fn select_waits_until_the_number_of_databases_is_known() {
    let mut bench = Bench::with_two_nodes();
    bench.proxy.databases = None;
    let client = bench.client();
    let rest = bench.input(client, &(select("0") + &select("3")));
    assert_eq!(rest, select("3").as_bytes());
    bench.call(|proxy, now| proxy.handle_event(Event::Databases(16), now));
    assert_eq!(bench.resumed, [client]);
    bench.input(client, &select("3"));
    assert_eq!(bench.written(client), "+OK\r\n+OK\r\n");

    let mut bench = Bench::with_two_nodes();
    bench.proxy.databases = None;
    let client = bench.client();
    bench.input(client, &select("3"));
    bench.wait(Options::default().hold_timeout + Duration::from_millis(200));
    assert_eq!(bench.resumed, [client], "nobody says it");
    bench.input(client, &select("3"));
    let refused = "-ERR SELECT is not allowed in cluster mode\r\n";
    assert_eq!(bench.written(client), refused);
}

#[test]
fn clients_choose_of_so_many_databases_as_the_options_say() {
    let options = Options {
        databases_max: 2,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.call(|proxy, now| proxy.handle_event(Event::Databases(16), now));
    let client = bench.client();
    bench.input(client, &(select("1") + &select("2")));
    let replies = "+OK\r\n-ERR DB index is out of range\r\n";
    assert_eq!(bench.written(client), replies);
    let about = size_of::<crate::engine::pipeline::Pipeline>();
    assert!(
        about <= 512,
        "a pipeline that is not used takes {about} bytes"
    );
}

#[test]
fn what_is_shown_of_a_client_names_its_database() {
    let options = Options {
        monitor: true,
        ..Options::default()
    };
    let mut bench = Bench::new(options);
    bench.call(|proxy, now| proxy.handle_event(Event::Databases(16), now));
    let (monitor, client) = (bench.client(), bench.client());
    bench.input(monitor, "MONITOR\r\n");
    assert_eq!(bench.written(monitor), "+OK\r\n");
    bench.input(client, &(select("99") + &select("3") + "PING\r\n"));
    let shown = bench.written(monitor);
    let shown: Vec<&str> = shown
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(_, line)| line)
        .collect();
    let expected = [
        r#"[0 127.0.0.1:1] "SELECT" "99""#,
        r#"[3 127.0.0.1:1] "SELECT" "3""#,
        r#"[3 127.0.0.1:1] "PING""#,
    ];
    assert_eq!(shown, expected);
    bench.written(client);
    bench.input(client, "CLIENT INFO\r\n");
    assert!(bench.written(client).contains(" db=3 "));
    bench.input(client, "RESET\r\nCLIENT INFO\r\n");
    assert!(bench.written(client).contains(" db=0 "));
}
