//! Transactions with and without watched keys.

use super::*;

/// MULTI, one command and EXEC, as the node gets them.
fn block(words: &[&str]) -> String {
    request(&["MULTI"]) + &request(words) + &request(&["EXEC"])
}

#[test]
fn a_transaction_leaves_as_one_block() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.input(client, &request(&["publish", "channel", "x"]));
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_eq!(bench.sent(1), "");
    bench.input(client, &(request(&["exec"]) + &request(&["get", LOWER])));
    let queued = request(&["set", LOWER, "1"]) + &request(&["publish", "channel", "x"]);
    let expected = request(&["MULTI"]) + &queued + &request(&["EXEC"]);
    assert_eq!(bench.sent(1), expected + &request(&["get", LOWER]));
    bench.reply(1, "+OK\r\n+QUEUED\r\n");
    assert_eq!(bench.written(client), "");
    bench.reply(1, "+QUEUED\r\n*2\r\n+OK\r\n:0\r\n$1\r\n1\r\n");
    assert_eq!(bench.written(client), "*2\r\n+OK\r\n:0\r\n$1\r\n1\r\n");
}

#[test]
fn a_redirect_moves_the_whole_block() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let set = ["set", LOWER, "1"];
    bench.input(
        client,
        &(request(&["multi"]) + &request(&set) + &request(&["exec"])),
    );
    assert_eq!(bench.sent(1), block(&set));
    let slot = Slot::of(LOWER.as_bytes()).number();
    let moved = format!("-MOVED {slot} node:2\r\n");
    bench.reply(
        1,
        &format!("+OK\r\n{moved}-EXECABORT Transaction discarded because of previous errors.\r\n"),
    );
    assert_eq!(bench.sent(2), block(&set));
    bench.reply(2, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
}

#[test]
fn an_asked_block_has_its_asking() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let set = ["set", LOWER, "1"];
    bench.input(
        client,
        &(request(&["multi"]) + &request(&set) + &request(&["exec"])),
    );
    bench.sent(1);
    let slot = Slot::of(LOWER.as_bytes()).number();
    bench.reply(
        1,
        &format!("+OK\r\n-ASK {slot} node:2\r\n-EXECABORT Transaction discarded\r\n"),
    );
    assert_eq!(bench.sent(2), request(&["ASKING"]) + &block(&set));
    bench.reply(2, "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
}

#[test]
fn what_cannot_be_queued_spoils_the_transaction() {
    for (words, error) in [
        (
            &["mget", LOWER, UPPER][..],
            "-CROSSSLOT Keys in request don't hash to the same slot\r\n",
        ),
        (
            &["get"],
            "-ERR wrong number of arguments for 'get' command\r\n",
        ),
        (
            &["nothing"],
            "-ERR unknown command 'nothing', with args beginning with: \r\n",
        ),
        (
            &["save"],
            "-ERR Command not allowed inside a transaction\r\n",
        ),
        (
            &["dbsize"],
            "-ERR proxy: 'dbsize' can't be part of a transaction, which is for one shard\r\n",
        ),
    ] {
        let mut bench = Bench::with_two_nodes();
        let client = bench.client();
        bench.input(client, &(request(&["multi"]) + &request(words)));
        bench.input(client, &request(&["exec"]));
        let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(bench.written(client), format!("+OK\r\n{error}{aborted}"));
        bench.input(client, &request(&["exec"]));
        assert_eq!(bench.written(client), "-ERR EXEC without MULTI\r\n");
    }
}

#[test]
fn keys_of_two_commands_must_share_a_slot() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["get", LOWER]));
    bench.input(client, &request(&["get", UPPER]));
    let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    assert_eq!(
        bench.written(client),
        format!("+OK\r\n+QUEUED\r\n{crossed}")
    );
    bench.input(client, &request(&["discard"]));
    assert_eq!(bench.written(client), "+OK\r\n");
}

#[test]
fn the_proxy_answers_its_part_of_a_transaction() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["echo", "a"]));
    bench.input(client, &request(&["get", LOWER]));
    bench.input(client, &request(&["echo", "b"]));
    bench.input(client, &request(&["exec"]));
    assert_eq!(bench.sent(1), block(&["get", LOWER]));
    bench.written(client);
    bench.reply(1, "+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n");
    assert_eq!(bench.written(client), "*3\r\n$1\r\na\r\n$-1\r\n$1\r\nb\r\n");
    bench.input(client, &(request(&["multi"]) + &request(&["exec"])));
    assert_eq!(bench.written(client), "+OK\r\n*0\r\n");
}

#[test]
fn a_watch_has_a_connection_for_itself() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let watch = request(&["watch", LOWER]);
    // What comes behind it must not overtake it.
    let rest = bench.input(client, &(watch.clone() + &request(&["get", LOWER])));
    assert_eq!(rest, request(&["get", LOWER]));
    let private = bench.log_in_private(1);
    assert_eq!(bench.written(private), watch);
    bench.input(private, "+OK\r\n");
    assert_eq!(bench.written(client), "+OK\r\n");
    assert_eq!(bench.resumed, [client]);
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.input(client, &request(&["exec"]));
    assert_eq!(bench.written(private), block(&["set", LOWER, "1"]));
    bench.input(private, "+OK\r\n+QUEUED\r\n*-1\r\n");
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n*-1\r\n");

    // The next one has the same connection.
    bench.input(client, &watch);
    assert_eq!(bench.written(private), watch);
    assert!(bench.wanted.is_empty());
}

#[test]
fn a_watch_that_is_lost_aborts_the_transaction() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, "+OK\r\n");
    bench.call(|proxy, now| proxy.handle_close(private, now));
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.input(client, &request(&["exec"]));
    assert_eq!(bench.written(client), "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
    assert_eq!(bench.sent(1), "");
}

#[test]
fn a_watch_whose_connection_breaks_is_made_on_another() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    let watch = request(&["watch", LOWER]);
    bench.input(client, &watch);
    let private = bench.log_in_private(1);
    assert_eq!(bench.written(private), watch);
    bench.call(|proxy, now| proxy.handle_close(private, now));
    bench.wait(Duration::from_millis(20));
    let other = bench.log_in_private(1);
    assert_eq!(bench.written(other), watch);
    bench.input(other, "+OK\r\n");
    // With the second one what the first one watched is lost.
    bench.input(client, &watch);
    bench.call(|proxy, now| proxy.handle_close(other, now));
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.input(client, &request(&["exec"]));
    let replies = "+OK\r\n+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n";
    assert_eq!(bench.written(client), replies);
}

#[test]
fn a_watch_follows_its_slot_and_a_watched_slot_that_moves_aborts() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let slot = Slot::of(LOWER.as_bytes()).number();
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, &format!("-MOVED {slot} node:2\r\n"));
    bench.wait(Duration::from_millis(20));
    let other = bench.log_in_private(2);
    assert_eq!(bench.written(other), request(&["watch", LOWER]));
    bench.input(other, "+OK\r\n");
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.input(client, &request(&["exec"]));
    assert_eq!(bench.written(other), block(&["set", LOWER, "1"]));
    bench.input(
        other,
        &format!("+OK\r\n-MOVED {slot} node:1\r\n-EXECABORT Transaction discarded\r\n"),
    );
    assert_eq!(bench.written(client), "+OK\r\n+OK\r\n+QUEUED\r\n*-1\r\n");
}

#[test]
fn a_second_watch_of_a_slot_that_has_moved_aborts() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let slot = Slot::of(LOWER.as_bytes()).number();
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, "+OK\r\n");
    bench.input(client, &request(&["watch", LOWER]));
    bench.written(private);
    bench.input(private, &format!("-MOVED {slot} node:2\r\n"));
    assert_eq!(bench.written(client), "+OK\r\n+OK\r\n");
    assert_eq!(bench.closed, [(private, CloseWhen::Now)]);
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["set", LOWER, "1"]));
    bench.input(client, &request(&["exec"]));
    assert_eq!(bench.written(client), "+OK\r\n+QUEUED\r\n*-1\r\n");
}

#[test]
fn a_client_that_leaves_takes_its_watch_along() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, "+OK\r\n");
    bench.call(|proxy, now| proxy.handle_close(client, now));
    assert_eq!(bench.closed, [(private, CloseWhen::Now)]);
}

#[test]
fn too_much_cannot_be_queued() {
    let mut bench = Bench::new(Options {
        transaction_bytes_max: 100,
        ..Options::default()
    });
    bench.topology(&[(0, 16383, 1)]);
    let client = bench.client();
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["set", LOWER, &"x".repeat(100)]));
    assert_eq!(
        bench.written(client),
        "+OK\r\n-ERR proxy: the transaction is too large (transaction_bytes_max)\r\n"
    );
    assert_eq!(bench.stats.transactions_refused.value(), 1);
}

#[test]
fn a_transaction_is_for_the_slot_that_is_watched() {
    let mut bench = Bench::with_two_nodes();
    let client = bench.client();
    bench.input(client, &request(&["watch", LOWER]));
    let private = bench.log_in_private(1);
    bench.written(private);
    bench.input(private, "+OK\r\n");
    bench.input(client, &request(&["multi"]));
    bench.input(client, &request(&["get", UPPER]));
    assert_eq!(
        bench.written(client),
        "+OK\r\n+OK\r\n-CROSSSLOT Keys in request don't hash to the same slot\r\n"
    );
}
